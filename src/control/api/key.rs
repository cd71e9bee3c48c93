//! Keys in paths: plain text for a key of one column, a JSON object for one of several.

use arrow::datatypes::{DataType, FieldRef};
use serde_json::Value;

use crate::wording;

/// One value per key column, in their order, each as fits its column. Without text there is no key, which is
/// right only where there are no key columns.
pub fn parse(text: Option<&str>, columns: &[FieldRef]) -> Result<Vec<Value>, String> {
    let names: Vec<&str> = columns.iter().map(|column| column.name().as_str()).collect();
    let Some(text) = text else {
        return if names.is_empty() {
            Ok(Vec::new())
        } else {
            Err(format!("the key is {}", names.join(", ")))
        };
    };
    if names.is_empty() && object(text).is_none_or(|object| !object.is_empty()) {
        return Err("it has one row and no key".to_owned());
    }
    if let [column] = columns {
        // A key may itself be text that looks like an object.
        let object = object(text).filter(|object| object.len() == 1 && object.contains_key(column.name()));
        return match object {
            Some(object) => Ok(vec![typed(&object[column.name()], column)?]),
            None => Ok(vec![typed(&Value::String(text.to_string()), column)?]),
        };
    }
    let Some(object) = object(text) else {
        return Err(format!("the key is a JSON object of {}", names.join(", ")));
    };
    if let Some(unknown) = object.keys().find(|name| !names.contains(&name.as_str())) {
        return Err(format!("'{unknown}' is no key column; the key is {}", names.join(", ")));
    }
    let value = |column: &FieldRef| match object.get(column.name()) {
        Some(value) => typed(value, column),
        None => Err(format!("the key column {} is missing", column.name())),
    };
    columns.iter().map(value).collect()
}

fn object(text: &str) -> Option<serde_json::Map<String, Value>> {
    serde_json::from_str(text).ok().filter(|_| text.trim_start().starts_with('{'))
}

/// The value as its column has it: numbers and booleans may be given as text.
fn typed(value: &Value, column: &FieldRef) -> Result<Value, String> {
    let from_text = |text: &str| match column.data_type() {
        DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64 => {
            text.parse::<i64>().ok().map(Value::from)
        }
        DataType::Float32 | DataType::Float64 => {
            // A number that JSON has no text for would become NULL.
            text.parse::<f64>().ok().filter(|number| number.is_finite()).map(Value::from)
        }
        DataType::Boolean => text.parse::<bool>().ok().map(Value::from),
        _ => Some(Value::from(text)),
    };
    let typed = match value {
        Value::Null => Some(Value::Null),
        Value::String(text) => from_text(text),
        Value::Number(_) | Value::Bool(_) if is_text(column.data_type()) => None,
        Value::Number(_) | Value::Bool(_) => from_text(&value.to_string()),
        Value::Array(_) | Value::Object(_) => None,
    };
    let kind = wording::sql_types(&column.data_type().to_string());
    typed.ok_or_else(|| format!("{value} is no {kind} for the key column {}", column.name()))
}

fn is_text(kind: &DataType) -> bool {
    matches!(kind, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}

/// Path of a row.
pub fn path(view: &str, key: Option<&str>) -> String {
    let view = encode(view);
    key.map_or_else(|| format!("/v1/views/{view}"), |key| format!("/v1/views/{view}/{}", encode(key)))
}

/// One segment of a path: everything but letters, digits and `-._~` as `%XX`.
fn encode(segment: &str) -> String {
    let mut encoded = String::with_capacity(segment.len());
    for byte in segment.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::datatypes::Field;
    use serde_json::json;

    use super::*;

    fn column(name: &str, kind: DataType) -> FieldRef {
        Arc::new(Field::new(name, kind, true))
    }

    #[test]
    fn keys_of_one_column_are_plain_text() {
        let did = [column("did", DataType::Utf8)];
        for (text, value) in [
            ("a b/c", json!("a b/c")),
            ("7", json!("7")),
            ("{\"did\":\"x\"}", json!("x")),
            ("{\"did\":null}", Value::Null),
            ("{\"other\":1}", json!("{\"other\":1}")),
        ] {
            assert_eq!(parse(Some(text), &did), Ok(vec![value]), "{text}");
        }
        let number = [column("n", DataType::Int64)];
        assert_eq!(parse(Some("-7"), &number), Ok(vec![json!(-7)]));
        assert_eq!(parse(Some("x"), &number), Err("\"x\" is no BIGINT for the key column n".to_string()));
    }

    #[test]
    fn views_without_key_columns_have_one_row() {
        assert_eq!((parse(None, &[]), parse(Some("{}"), &[])), (Ok(vec![]), Ok(vec![])));
        assert_eq!(parse(Some("x"), &[]), Err("it has one row and no key".to_string()));
        assert_eq!(parse(None, &[column("a", DataType::Utf8)]), Err("the key is a".to_string()));
        assert_eq!(path("v", None), "/v1/views/v");
    }

    #[test]
    fn keys_of_several_columns_are_objects() {
        let columns = [column("a", DataType::Utf8), column("b", DataType::Int32)];
        assert_eq!(parse(Some(r#"{"b":2,"a":"x"}"#), &columns), Ok(vec![json!("x"), json!(2)]));
        assert_eq!(parse(Some(r#"{"b":"2","a":null}"#), &columns), Ok(vec![Value::Null, json!(2)]));
        for (text, expected) in [
            ("x", "the key is a JSON object of a, b"),
            (r#"{"a":"x"}"#, "the key column b is missing"),
            (r#"{"a":"x","b":1,"c":2}"#, "'c' is no key column"),
            (r#"{"a":1,"b":1}"#, "1 is no TEXT for the key column a"),
            (r#"{"a":"x","b":1.5}"#, "1.5 is no INT"),
        ] {
            let error = parse(Some(text), &columns).expect_err("refused");
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn paths_are_encoded() {
        assert_eq!(path("v", Some("ä b/%")), "/v1/views/v/%C3%A4%20b%2F%25");
    }
}

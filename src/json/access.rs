//! A field of an object, an element of an array: found in the text, without building anything.

use super::{Malformed, Scanner, Token};

/// The value of the field `name` of an object. `None` where the text is no object or has no such field; of
/// fields with one name the last counts, as when a record is read.
pub fn field(text: &str, name: &str) -> Option<Token> {
    find_field(text, name).ok().flatten()
}

/// The element at `index` of an array, from 0; negative ones count from the end. `None` where the text is no
/// array or has no such element.
pub fn element(text: &str, index: i64) -> Option<Token> {
    if index < 0 {
        let length = i64::try_from(elements(text, None).ok()?.0).ok()?;
        let from_start = length.checked_add(index).filter(|index| *index >= 0)?;
        return element(text, from_start);
    }
    elements(text, usize::try_from(index).ok()).ok()?.1
}

/// Whether the text is one JSON value and nothing else.
pub fn is_json(text: &str) -> Result<(), Malformed> {
    let mut scanner = Scanner::new(text);
    scanner.value(0)?;
    scanner.end()
}

fn find_field(text: &str, name: &str) -> Result<Option<Token>, Malformed> {
    let mut scanner = Scanner::new(text);
    if !scanner.enter_object(0)? {
        return Ok(None);
    }
    let (mut found, mut scratch, mut first) = (None, String::new(), true);
    while let Some(key) = scanner.next_key(first)? {
        let is_it = key.content(text, &mut scratch) == name;
        let value = scanner.value(1)?;
        if is_it {
            found = Some(value);
        }
        first = false;
    }
    scanner.end()?;
    Ok(found)
}

/// Number of elements, and the one that is wanted.
fn elements(text: &str, wanted: Option<usize>) -> Result<(usize, Option<Token>), Malformed> {
    let mut scanner = Scanner::new(text);
    if !scanner.enter_array(0)? {
        return Ok((0, None));
    }
    let (mut number, mut found) = (0, None);
    while scanner.next_element(number == 0)? {
        let value = scanner.value(1)?;
        if wanted == Some(number) {
            found = Some(value);
        }
        number += 1;
    }
    scanner.end()?;
    Ok((number, found))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(text: &str, token: Option<Token>) -> Option<&str> {
        token.map(|token| token.raw(text))
    }

    #[test]
    fn the_last_field_of_a_name_counts() {
        let text = r#" {"a": 1, "b" : {"a": 2}, "\u0061": [3, "x"] , "": null} "#;
        assert_eq!(raw(text, field(text, "a")), Some(r#"[3, "x"]"#));
        assert_eq!(raw(text, field(text, "b")), Some(r#"{"a": 2}"#));
        assert_eq!(raw(text, field(text, "")), Some("null"));
        assert_eq!(raw(text, field(text, "c")), None);
    }

    #[test]
    fn elements_are_counted_from_either_end() {
        let text = r#"[10, [1, 2], "x" ]"#;
        assert_eq!(raw(text, element(text, 0)), Some("10"));
        assert_eq!(raw(text, element(text, 1)), Some("[1, 2]"));
        assert_eq!(raw(text, element(text, -1)), Some("\"x\""));
        assert_eq!(raw(text, element(text, -3)), Some("10"));
        for index in [3, -4, i64::MAX, i64::MIN] {
            assert_eq!(raw(text, element(text, index)), None);
        }
        assert_eq!(element("[]", 0), None);
        assert_eq!(element("[]", -1), None);
    }

    #[test]
    fn what_is_no_object_or_array_has_nothing_inside() {
        for text in
            ["", "1", "\"a\"", "null", "[1", "[1 2]", "[1,]", "{", "{\"a\":1} x", "[0] x", "{\"a\" 1}"]
        {
            assert_eq!(field(text, "a"), None, "{text}");
            assert_eq!(element(text, 0), None, "{text}");
        }
        assert_eq!(field("[{\"a\": 1}]", "a"), None);
        assert_eq!(element("{\"0\": 1}", 0), None);
    }

    #[test]
    fn hostile_nesting_neither_recurses_nor_matches() {
        let deep = format!("{}1{}", "[".repeat(1_000_000), "]".repeat(1_000_000));
        assert_eq!(element(&deep, 0), None);
        assert!(is_json(&deep).is_err());
        let deep = format!("{{\"a\":{}", "{\"a\":".repeat(1_000_000));
        assert_eq!(field(&deep, "a"), None);
    }
}

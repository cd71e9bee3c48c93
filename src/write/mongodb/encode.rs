//! Rows as BSON.

use mongodb::bson::spec::BinarySubtype;
use mongodb::bson::{Binary, DateTime, RawArrayBuf, RawBson, RawDocumentBuf};
use serde_json::Value;

use super::document::{Cell, Documents, NamedCell};
use crate::batch::RowOrigin;
use crate::error::Result;
use crate::render::{write_date, write_timestamp};
use crate::time::NANOS_PER_MILLI;
use crate::write::ids::IdSource;

const MILLIS_PER_DAY: i64 = 86_400_000;
/// The most that a document may have.
const DOCUMENT_BYTES: usize = 16 << 20;

/// `_id` of row `row`; the inner error is the row's own fault.
pub(super) fn id(
    ids: &mut IdSource,
    documents: &Documents<'_>,
    row: usize,
    origin: Option<&RowOrigin>,
) -> Result<Result<RawBson, String>> {
    Ok(match ids {
        IdSource::Origin(ids) => {
            Ok(RawBson::Binary(Binary { subtype: BinarySubtype::Generic, bytes: ids.id(origin)? }))
        }
        IdSource::Columns(columns) => match columns[..] {
            [column] => id_value(documents.cell(row, column)),
            _ => id_document(documents, row, columns).map(RawBson::Document),
        },
    })
}

/// The document of a row: `_id`, the fields, and `_v` where there is a version. A received field of one of
/// these names gives way.
pub(super) fn document(
    id: &RawBson,
    fields: &[NamedCell<'_>],
    version: Option<i64>,
) -> Result<RawDocumentBuf, String> {
    let mut document = RawDocumentBuf::new();
    document.append_ref("_id", id.as_raw_bson_ref());
    for (name, cell) in fields {
        if name != "_id" && (name != "_v" || version.is_none()) {
            append(&mut document, name, value(cell)?)?;
        }
    }
    if let Some(version) = version {
        document.append("_v", version);
    }
    let size = document.as_bytes().len();
    if size > DOCUMENT_BYTES {
        return Err(format!("a document of {size} bytes is larger than {DOCUMENT_BYTES}"));
    }
    Ok(document)
}

/// Milliseconds cut nanoseconds, so times inside `_id` are text: otherwise keys would collide.
fn id_value(cell: Cell<'_>) -> Result<RawBson, String> {
    match cell {
        Cell::Timestamp(nanos) => text(|out| write_timestamp(out, nanos)),
        Cell::Date(days) => text(|out| write_date(out, days.into())),
        cell => value(&cell),
    }
}

fn text(write: impl FnOnce(&mut Vec<u8>)) -> Result<RawBson, String> {
    let mut text = Vec::with_capacity(30);
    write(&mut text);
    String::from_utf8(text).map(RawBson::String).map_err(|error| error.to_string())
}

fn id_document(documents: &Documents<'_>, row: usize, columns: &[usize]) -> Result<RawDocumentBuf, String> {
    let mut id = RawDocumentBuf::new();
    for &column in columns {
        append(&mut id, documents.name(column), id_value(documents.cell(row, column))?)?;
    }
    Ok(id)
}

fn append(document: &mut RawDocumentBuf, name: &str, value: RawBson) -> Result<(), String> {
    if name.contains('\0') {
        return Err(format!("the name of field {name:?} has a zero byte in it"));
    }
    document.append(name, value);
    Ok(())
}

fn value(cell: &Cell<'_>) -> Result<RawBson, String> {
    Ok(match cell {
        Cell::Null => RawBson::Null,
        Cell::Text(text) => RawBson::String((*text).to_owned()),
        Cell::Json(text) => received(text)?,
        Cell::Received(text) => received(text)?,
        Cell::Int(value) => RawBson::Int32(*value),
        Cell::BigInt(value) => RawBson::Int64(*value),
        Cell::Double(value) => RawBson::Double(*value),
        Cell::Boolean(value) => RawBson::Boolean(*value),
        Cell::Timestamp(nanos) => RawBson::DateTime(DateTime::from_millis(nanos.div_euclid(NANOS_PER_MILLI))),
        Cell::Date(days) => RawBson::DateTime(DateTime::from_millis(i64::from(*days) * MILLIS_PER_DAY)),
    })
}

fn received(text: &str) -> Result<RawBson, String> {
    let value: Value =
        serde_json::from_str(text).map_err(|error| format!("JSON that BSON cannot hold: {error}"))?;
    json(value)
}

/// A received value in the type nearest to it: integers in the smallest that holds them.
fn json(value: Value) -> Result<RawBson, String> {
    Ok(match value {
        Value::Null => RawBson::Null,
        Value::Bool(value) => RawBson::Boolean(value),
        Value::String(text) => RawBson::String(text),
        Value::Number(number) => match number.as_i64() {
            Some(integer) => match i32::try_from(integer) {
                Ok(small) => RawBson::Int32(small),
                Err(_) => RawBson::Int64(integer),
            },
            None => RawBson::Double(number.as_f64().ok_or("a number that no double can hold")?),
        },
        Value::Array(values) => {
            let mut array = RawArrayBuf::new();
            for value in values {
                array.push(json(value)?);
            }
            RawBson::Array(array)
        }
        Value::Object(fields) => {
            let mut document = RawDocumentBuf::new();
            for (name, value) in fields {
                append(&mut document, &name, json(value)?)?;
            }
            RawBson::Document(document)
        }
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::plan::{MongoSink, WriteMode};
    use crate::write::testing::{batch, partitions};

    const SCHEMA: &str = "k text, at timestamp, n bigint, i int, d double, o boolean, j json";

    fn encode(
        spec: &str,
        row: &str,
        received: Option<usize>,
        id_columns: &[usize],
        version: Option<i64>,
    ) -> String {
        let rows = batch(spec, &[row]);
        let documents = Documents::new(&rows, received).expect("known types");
        let sink = MongoSink {
            collection: String::new(),
            database: None,
            mode: WriteMode::Append,
            id: id_columns.to_vec(),
            not_compared: vec![],
        };
        let origin = RowOrigin { source: 0, partition: 0, offset: 1, index: 0 };
        let mut ids = IdSource::new(&sink, &partitions());
        let id = id(&mut ids, &documents, 0, Some(&origin)).expect("id").expect("id");
        let fields = documents.fields(0);
        match document(&id, &fields, version) {
            Ok(document) => document.to_document().expect("valid").to_string(),
            Err(error) => error,
        }
    }

    #[test]
    fn values_keep_their_types_and_times_inside_ids_are_text() {
        let row = r#"{"k":"a","at":-1,"n":1,"i":2,"d":0.5,"o":false,"j":{"x":[1,3000000000,1e3,18446744073709551615,"0",null]}}"#;
        insta::assert_snapshot!(encode(SCHEMA, row, None, &[1, 0], Some(7)), @r#"{ "_id": { "k": "a", "at": "1969-12-31T23:59:59.999999999Z" }, "k": "a", "at": DateTime("1969-12-31 23:59:59.999 +00:00:00"), "n": 1, "i": 2, "d": 0.5, "o": false, "j": { "x": [1, 3000000000, 1000, 18446744073709552000, "0", null] }, "_v": 7 }"#);
        insta::assert_snapshot!(encode("at date, b date", r#"{"at":-1}"#, None, &[0], None), @r#"{ "_id": "1969-12-31", "at": DateTime("1969-12-31 0:00:00.0 +00:00:00"), "b": null }"#);
        insta::assert_snapshot!(encode("k text, i int", "{}", None, &[0], None), @r#"{ "_id": null, "k": null, "i": null }"#);
        insta::assert_snapshot!(encode("i int", "{}", None, &[], None), @r#"{ "_id": Binary(0x0, iKTtGy7ZuhwAAAAAAAAAAAAAAAE=), "i": null }"#);
    }

    #[test]
    fn a_received_document_is_stored_as_it_came_with_our_id() {
        let row = r#"{"payload":{"_id":7,"_v":"old","int_value":"0","did":"981"},"at":1761559635000000000}"#;
        insta::assert_snapshot!(encode("payload json, at timestamp", row, Some(0), &[], None), @r#"{ "_id": Binary(0x0, iKTtGy7ZuhwAAAAAAAAAAAAAAAE=), "_v": "old", "int_value": "0", "did": "981", "at": DateTime("2025-10-27 10:07:15.0 +00:00:00") }"#);
        insta::assert_snapshot!(encode("payload json, at timestamp", row, Some(0), &[1], Some(3)), @r#"{ "_id": "2025-10-27T10:07:15.000000Z", "int_value": "0", "did": "981", "at": DateTime("2025-10-27 10:07:15.0 +00:00:00"), "_v": 3 }"#);
    }

    #[test]
    fn what_bson_cannot_hold_is_told() {
        let names = r#"{"j":{"a\u0000b":1}}"#;
        insta::assert_snapshot!(encode("j json", names, None, &[], None), @r#"the name of field "a\0b" has a zero byte in it"#);
        let large = BTreeMap::from([("k", "x".repeat(DOCUMENT_BYTES))]);
        let large = serde_json::to_string(&large).expect("text");
        insta::assert_snapshot!(encode("k text", &large, None, &[], None), @r#"a document of 16777259 bytes is larger than 16777216"#);
    }
}

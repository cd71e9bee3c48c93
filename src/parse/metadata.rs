//! What is known about a record besides its content, as values of columns.

use std::collections::HashMap;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use super::coerce::Datum;
use crate::json;
use crate::plan::{ColumnType, Metadata};
use crate::record::{Partition, Record};
use crate::time::NANOS_PER_MILLI;

/// The value of a metadata column. `payload` is the record's text as it is kept; `None` if the column cannot
/// hold the value.
pub(super) fn value<'r>(
    metadata: Metadata,
    kind: ColumnType,
    partition: &'r Partition,
    record: &Record<'r>,
    payload: &'r str,
    scratch: &'r mut Vec<u8>,
) -> Option<Datum<'r>> {
    match metadata {
        Metadata::Topic => Some(Datum::Text(&partition.name)),
        Metadata::Partition => integer(i64::from(partition.number), kind),
        Metadata::Offset => integer(i64::try_from(record.offset).ok()?, kind),
        Metadata::Key => {
            Some(record.key.and_then(|key| str::from_utf8(key).ok()).map_or(Datum::Null, Datum::Text))
        }
        Metadata::Headers => {
            scratch.clear();
            write_headers(scratch, record.headers);
            str::from_utf8(scratch).ok().map(Datum::Text)
        }
        Metadata::Timestamp => {
            let nanos = record.timestamp_ms.and_then(|millis| millis.checked_mul(NANOS_PER_MILLI));
            Some(nanos.map_or(Datum::Null, Datum::Timestamp))
        }
        Metadata::IngestionTime => Some(Datum::Null),
        Metadata::Payload => Some(Datum::Text(payload)),
    }
}

fn integer<'r>(value: i64, kind: ColumnType) -> Option<Datum<'r>> {
    match kind {
        ColumnType::Int => i32::try_from(value).ok().map(Datum::Int),
        _ => Some(Datum::BigInt(value)),
    }
}

/// A JSON object of the headers; of those with the same name the last one counts. Values that are not UTF-8
/// are written as base64.
fn write_headers(out: &mut Vec<u8>, headers: &[(&str, Option<&[u8]>)]) {
    out.push(b'{');
    let last: HashMap<&str, usize> = headers.iter().enumerate().map(|(at, (name, _))| (*name, at)).collect();
    for (at, (name, value)) in headers.iter().enumerate() {
        if last.get(name) != Some(&at) {
            continue;
        }
        if out.len() > 1 {
            out.push(b',');
        }
        json::write_string(out, name);
        out.push(b':');
        match value.map(|value| str::from_utf8(value).map_err(|_| value)) {
            None => out.extend_from_slice(b"null"),
            Some(Ok(text)) => json::write_string(out, text),
            Some(Err(bytes)) => json::write_string(out, &BASE64_STANDARD.encode(bytes)),
        }
    }
    out.push(b'}');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_a_json_object() {
        let mut out = Vec::new();
        let headers: &[(&str, Option<&[u8]>)] =
            &[("a", Some(b"1")), ("b\"", None), ("a", Some("é".as_bytes())), ("c", Some(&[0xff, 0]))];
        write_headers(&mut out, headers);
        assert_eq!(String::from_utf8(out).as_deref(), Ok(r#"{"b\"":null,"a":"é","c":"/wA="}"#));
        let mut out = Vec::new();
        write_headers(&mut out, &[]);
        assert_eq!(out, b"{}");
    }
}

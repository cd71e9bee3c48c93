//! Rows as documents: fields in the order of the schema, or behind the fields of a received document.

use std::borrow::Cow;
use std::collections::HashMap;
use std::collections::hash_map::Entry;

use arrow::array::{
    Array, AsArray, BooleanArray, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray,
    TimestampNanosecondArray,
};
use arrow::datatypes::{
    DataType, Field, Float64Type, Int32Type, Int64Type, TimeUnit, TimestampNanosecondType,
};
use chrono::{DateTime, SecondsFormat};

use crate::error::{Error, Result};
use crate::plan::is_json;

/// One value of a row.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Cell<'a> {
    Null,
    Text(&'a str),
    /// JSON text.
    Json(Cow<'a, str>),
    Int(i32),
    BigInt(i64),
    Double(f64),
    Boolean(bool),
    /// Nanoseconds since the Unix epoch.
    Timestamp(i64),
}

/// A column with its type found out.
#[derive(Debug)]
enum Column<'a> {
    Text(&'a StringArray),
    Json(&'a StringArray),
    Int(&'a Int32Array),
    BigInt(&'a Int64Array),
    Double(&'a Float64Array),
    Boolean(&'a BooleanArray),
    Timestamp(&'a TimestampNanosecondArray),
}

/// The rows of a batch as documents.
#[derive(Debug)]
pub(super) struct Documents<'a> {
    columns: Vec<(&'a str, Column<'a>)>,
    /// The column whose fields come first, see [`crate::plan::Sink::document`].
    received: Option<usize>,
}

/// A field of a document.
pub(super) type NamedCell<'a> = (Cow<'a, str>, Cell<'a>);

impl<'a> Documents<'a> {
    /// Finds out the types of the columns of `rows`.
    pub(super) fn new(rows: &'a RecordBatch, received: Option<usize>) -> Result<Self> {
        let schema = rows.schema_ref();
        let columns = schema.fields().iter().zip(rows.columns());
        let columns = columns.map(|(field, array)| Ok((field.name().as_str(), Column::new(field, array)?)));
        Ok(Documents { columns: columns.collect::<Result<_>>()?, received })
    }

    /// Name of column `column`.
    pub(super) fn name(&self, column: usize) -> &'a str {
        self.columns[column].0
    }

    /// The value of one column.
    pub(super) fn cell(&self, row: usize, column: usize) -> Cell<'a> {
        self.columns[column].1.cell(row)
    }

    /// All fields of the document of row `row`, in order; an error where the received document is none.
    pub(super) fn fields(&self, row: usize) -> Result<Vec<NamedCell<'a>>, String> {
        let mut fields = match self.received {
            None => Vec::with_capacity(self.columns.len()),
            Some(column) => self.received_fields(row, column)?,
        };
        for (index, (name, column)) in self.columns.iter().enumerate() {
            if self.received != Some(index) {
                fields.push((Cow::Borrowed(*name), column.cell(row)));
            }
        }
        Ok(fields)
    }

    /// The document of row `row` as a JSON object.
    pub(super) fn text(&self, row: usize) -> Result<String, String> {
        let mut out = String::with_capacity(256);
        self.append_text(row, "", &mut out)?;
        Ok(out)
    }

    /// Appends the document of row `row` as a JSON object whose first fields are `first` (JSON text of
    /// members, each with a comma behind it).
    pub(super) fn append_text(&self, row: usize, first: &str, out: &mut String) -> Result<(), String> {
        if self.received.is_some() {
            append_object(first, &self.fields(row)?, out);
            return Ok(());
        }
        let names = self.columns.iter().map(|(name, column)| (Cow::Borrowed(*name), column.cell(row)));
        append_members(first, names, out);
        Ok(())
    }

    /// A JSON object of some columns of row `row`.
    pub(super) fn key_text(&self, row: usize, columns: &[usize]) -> String {
        let mut out = String::with_capacity(64);
        let fields = columns.iter().map(|&column| (Cow::Borrowed(self.name(column)), self.cell(row, column)));
        append_members("", fields, &mut out);
        out
    }

    /// The fields of a received document without those that an added column has the name of. Where a name
    /// comes twice, the last value counts.
    fn received_fields(&self, row: usize, column: usize) -> Result<Vec<NamedCell<'a>>, String> {
        let text = match self.cell(row, column) {
            Cell::Json(Cow::Borrowed(text)) | Cell::Text(text) => text,
            _ => return Ok(Vec::new()),
        };
        let added = |name: &str| {
            let mut columns = self.columns.iter().enumerate();
            columns.any(|(index, (column_name, _))| index != column && *column_name == name)
        };
        let mut places: HashMap<String, usize> = HashMap::new();
        let mut fields: Vec<NamedCell<'a>> = Vec::new();
        for field in sonic_rs::to_object_iter(text) {
            let (name, value) =
                field.map_err(|_| format!("column {} is not a JSON object", self.name(column)))?;
            if added(&name) {
                continue;
            }
            let value = Cell::Json(value.as_raw_cow());
            match places.entry(name.to_string()) {
                Entry::Occupied(place) => fields[*place.get()].1 = value,
                Entry::Vacant(place) => {
                    fields.push((Cow::Owned(place.key().clone()), value));
                    place.insert(fields.len() - 1);
                }
            }
        }
        Ok(fields)
    }
}

impl<'a> Column<'a> {
    fn new(field: &Field, array: &'a dyn Array) -> Result<Self> {
        Ok(match array.data_type() {
            DataType::Utf8 if is_json(field) => Column::Json(array.as_string()),
            DataType::Utf8 => Column::Text(array.as_string()),
            DataType::Int32 => Column::Int(array.as_primitive::<Int32Type>()),
            DataType::Int64 => Column::BigInt(array.as_primitive::<Int64Type>()),
            DataType::Float64 => Column::Double(array.as_primitive::<Float64Type>()),
            DataType::Boolean => Column::Boolean(array.as_boolean()),
            DataType::Timestamp(TimeUnit::Nanosecond, None) => {
                Column::Timestamp(array.as_primitive::<TimestampNanosecondType>())
            }
            other => {
                return Err(Error::internal(format!("column {} of type {other} at a sink", field.name())));
            }
        })
    }

    fn cell(&self, row: usize) -> Cell<'a> {
        let array: &dyn Array = match self {
            Column::Text(array) | Column::Json(array) => array,
            Column::Int(array) => array,
            Column::BigInt(array) => array,
            Column::Double(array) => array,
            Column::Boolean(array) => array,
            Column::Timestamp(array) => array,
        };
        if array.is_null(row) {
            return Cell::Null;
        }
        match self {
            Column::Text(array) => Cell::Text(array.value(row)),
            Column::Json(array) => Cell::Json(Cow::Borrowed(array.value(row))),
            Column::Int(array) => Cell::Int(array.value(row)),
            Column::BigInt(array) => Cell::BigInt(array.value(row)),
            Column::Double(array) => Cell::Double(array.value(row)),
            Column::Boolean(array) => Cell::Boolean(array.value(row)),
            Column::Timestamp(array) => Cell::Timestamp(array.value(row)),
        }
    }
}

/// A timestamp as RFC 3339 text in UTC: microseconds, or nanoseconds where there are any.
pub(super) fn timestamp_text(nanos: i64) -> String {
    let format = if nanos % 1000 == 0 { SecondsFormat::Micros } else { SecondsFormat::Nanos };
    DateTime::from_timestamp_nanos(nanos).to_rfc3339_opts(format, true)
}

/// Appends one value as JSON.
pub(super) fn append_cell(cell: &Cell<'_>, out: &mut String) {
    use std::fmt::Write;
    let written = match cell {
        Cell::Null => out.write_str("null"),
        Cell::Text(text) => return append_string(text, out),
        Cell::Json(text) => out.write_str(text),
        Cell::Int(value) => write!(out, "{value}"),
        Cell::BigInt(value) => write!(out, "{value}"),
        Cell::Boolean(value) => write!(out, "{value}"),
        Cell::Double(value) => write!(out, "{}", serde_json::Value::from(*value)),
        Cell::Timestamp(value) => write!(out, "\"{}\"", timestamp_text(*value)),
    };
    written.expect("writing to a String cannot fail");
}

/// Appends a text as a JSON string.
pub(super) fn append_string(text: &str, out: &mut String) {
    let plain = |byte: u8| byte >= 0x20 && byte != b'"' && byte != b'\\';
    if text.bytes().all(plain) {
        out.push('"');
        out.push_str(text);
        out.push('"');
    } else {
        out.push_str(&serde_json::Value::from(text).to_string());
    }
}

/// Appends a JSON object of these fields behind the members in `first`.
pub(super) fn append_object(first: &str, fields: &[NamedCell<'_>], out: &mut String) {
    append_members(first, fields.iter().cloned(), out);
}

fn append_members<'a>(first: &str, fields: impl Iterator<Item = NamedCell<'a>>, out: &mut String) {
    out.push('{');
    out.push_str(first);
    let mut some = !first.is_empty();
    for (name, cell) in fields {
        append_string(&name, out);
        out.push(':');
        append_cell(&cell, out);
        out.push(',');
        some = true;
    }
    if some {
        out.pop();
    }
    out.push('}');
}

#[cfg(test)]
mod tests {
    use super::super::testing::batch;
    use super::*;

    #[test]
    fn every_type_is_written_in_the_order_of_the_schema() {
        let rows = batch(
            "t text, j json, i int, b bigint, d double, o boolean, e timestamp",
            &[
                r#"{"t":"a\"b","j":{"x":[1]},"i":1,"b":9007199254740993,"d":0.5,"o":true,"e":1761559635000000000}"#,
                "{}",
            ],
        );
        let documents = Documents::new(&rows, None).expect("known types");
        insta::assert_snapshot!(documents.text(0).expect("text"), @r#"{"t":"a\"b","j":{"x":[1]},"i":1,"b":9007199254740993,"d":0.5,"o":true,"e":"2025-10-27T10:07:15.000000Z"}"#);
        insta::assert_snapshot!(documents.text(1).expect("text"), @r#"{"t":null,"j":null,"i":null,"b":null,"d":null,"o":null,"e":null}"#);
        insta::assert_snapshot!(documents.key_text(0, &[2, 0]), @r#"{"i":1,"t":"a\"b"}"#);
    }

    #[test]
    fn a_received_document_stays_as_it_was_and_added_columns_win() {
        let rows = batch(
            "payload json, at timestamp, n int",
            &[
                r#"{"payload":"{\"int_value\": \"0\", \"n\":1, \"f\":101.50,\"é\\n\":{\"a\":  1}}","at":0,"n":7}"#,
                r#"{"at":1,"n":8}"#,
                r#"{"payload":[1],"n":8}"#,
            ],
        );
        let documents = Documents::new(&rows, Some(0)).expect("known types");
        insta::assert_snapshot!(documents.text(0).expect("text"), @r#"{"int_value":"0","f":101.50,"é\n":{"a":  1},"at":"1970-01-01T00:00:00.000000Z","n":7}"#);
        insta::assert_snapshot!(documents.text(1).expect("text"), @r#"{"at":"1970-01-01T00:00:00.000000001Z","n":8}"#);
        insta::assert_snapshot!(documents.text(2).expect_err("not an object"), @"column payload is not a JSON object");
    }

    #[test]
    fn numbers_that_json_has_no_name_for_are_null() {
        let mut out = String::new();
        append_cell(&Cell::Double(f64::NAN), &mut out);
        append_cell(&Cell::Double(-0.0), &mut out);
        assert_eq!(out, "null-0.0");
    }
}

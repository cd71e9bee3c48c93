//! Rows as documents: fields in the order of the schema, or behind the fields of a received document.

use std::borrow::Cow;
use std::collections::HashMap;
use std::collections::hash_map::Entry;

use arrow::array::{
    Array, AsArray, BooleanArray, Date32Array, Float64Array, Int32Array, Int64Array, RecordBatch,
    StringArray, TimestampNanosecondArray,
};
use arrow::datatypes::{
    DataType, Date32Type, Field, Float64Type, Int32Type, Int64Type, TimeUnit, TimestampNanosecondType,
};

use crate::error::{Error, Result};
use crate::json::Scanner;
use crate::plan::is_json;

/// One value of a row.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Cell<'a> {
    Null,
    Text(&'a str),
    /// JSON text of a column.
    Json(&'a str),
    /// JSON text of a field of a received document.
    Received(&'a str),
    Int(i32),
    BigInt(i64),
    Double(f64),
    Boolean(bool),
    /// Nanoseconds since the Unix epoch.
    Timestamp(i64),
    /// Days since the Unix epoch.
    Date(i32),
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
    Date(&'a Date32Array),
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

    /// All fields of the document of row `row`, in order.
    pub(super) fn fields(&self, row: usize) -> Vec<NamedCell<'a>> {
        let received = self.received.and_then(|column| Some((column, self.received_fields(row, column)?)));
        let (spread, mut fields) =
            received.map_or((None, Vec::new()), |(column, fields)| (Some(column), fields));
        for (index, (name, column)) in self.columns.iter().enumerate() {
            if spread != Some(index) {
                fields.push((Cow::Borrowed(*name), column.cell(row)));
            }
        }
        fields
    }

    /// The fields of a received document without those that an added column has the name of. Where a name
    /// comes twice, the last value counts. `None` for what is neither NULL nor an object.
    fn received_fields(&self, row: usize, column: usize) -> Option<Vec<NamedCell<'a>>> {
        let text = match self.cell(row, column) {
            Cell::Json(text) => text,
            Cell::Null => return Some(Vec::new()),
            _ => return None,
        };
        let added = |name: &str| {
            let mut columns = self.columns.iter().enumerate();
            columns.any(|(index, (column_name, _))| index != column && *column_name == name)
        };
        let mut places: HashMap<String, usize> = HashMap::new();
        let mut fields: Vec<NamedCell<'a>> = Vec::new();
        let mut scanner = Scanner::new(text);
        if !scanner.enter_object(0).ok()? {
            return None;
        }
        let (mut scratch, mut first) = (String::new(), true);
        while let Some(key) = scanner.next_key(first).ok()? {
            first = false;
            let value = Cell::Received(scanner.value(1).ok()?.raw(text));
            let name = key.content(text, &mut scratch);
            if added(name) {
                continue;
            }
            match places.entry(name.to_owned()) {
                Entry::Occupied(place) => fields[*place.get()].1 = value,
                Entry::Vacant(place) => {
                    fields.push((Cow::Owned(place.key().clone()), value));
                    place.insert(fields.len() - 1);
                }
            }
        }
        Some(fields)
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
            DataType::Date32 => Column::Date(array.as_primitive::<Date32Type>()),
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
            Column::Date(array) => array,
        };
        if array.is_null(row) {
            return Cell::Null;
        }
        match self {
            Column::Text(array) => Cell::Text(array.value(row)),
            Column::Json(array) => Cell::Json(array.value(row)),
            Column::Int(array) => Cell::Int(array.value(row)),
            Column::BigInt(array) => Cell::BigInt(array.value(row)),
            Column::Double(array) => Cell::Double(array.value(row)),
            Column::Boolean(array) => Cell::Boolean(array.value(row)),
            Column::Timestamp(array) => Cell::Timestamp(array.value(row)),
            Column::Date(array) => Cell::Date(array.value(row)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::write::testing::batch;

    fn fields(row: usize) -> String {
        let rows = batch(
            "payload json, at timestamp, n int",
            &[
                r#"{"payload":"{\"int_value\": \"0\", \"n\":1, \"f\":1.50, \"f\":101.50}","at":0,"n":7}"#,
                r#"{"at":1,"n":8}"#,
                r#"{"payload":[1],"n":8}"#,
                r#"{"payload":"{\"n\\u0061me\": {\"x\":  1}}","n":9}"#,
                r#"{"payload":"{\"a\":1,","n":9}"#,
            ],
        );
        let documents = Documents::new(&rows, Some(0)).expect("known types");
        let fields = documents.fields(row);
        fields.iter().map(|(name, cell)| format!("{name}: {cell:?}\n")).collect()
    }

    #[test]
    fn a_received_document_stays_as_it_was_and_added_columns_win() {
        insta::assert_snapshot!(fields(0), @r#"
        int_value: Received("\"0\"")
        f: Received("101.50")
        at: Timestamp(0)
        n: Int(7)
        "#);
        insta::assert_snapshot!(fields(1), @r#"
        at: Timestamp(1)
        n: Int(8)
        "#);
        insta::assert_snapshot!(fields(3), @r#"
        name: Received("{\"x\":  1}")
        at: Null
        n: Int(9)
        "#);
    }

    #[test]
    fn what_is_no_object_stays_a_column() {
        insta::assert_snapshot!(fields(2), @r#"
        payload: Json("[1]")
        at: Null
        n: Int(8)
        "#);
        insta::assert_snapshot!(fields(4), @r#"
        payload: Json("{\"a\":1,")
        at: Null
        n: Int(9)
        "#);
    }
}

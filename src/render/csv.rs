//! Rows as records of CSV.
//!
//! NULL is written as the dialect says, by default as nothing, and an empty text as `""`. NaN and the infinities
//! become NULL, as in JSON: no source would read them back. All else has the text that it has in JSON, without
//! the quotes of JSON; in quotes of CSV only where it needs them.

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Date32Type, Float64Type, Int32Type, Int64Type, Schema, TimestampNanosecondType};
use arrow::util::display::array_value_to_string;

use super::{
    FieldWriter, Kind, RowWriter, write_date, write_double, write_integer, write_json, write_timestamp,
};
use crate::csv::{Dialect, end_field, write_text};

/// Writes rows of one schema, each with its line break.
#[derive(Clone, Debug)]
pub struct CsvWriter {
    fields: Vec<FieldWriter>,
    dialect: Dialect,
}

impl CsvWriter {
    /// A writer of rows of `schema`.
    pub fn new(schema: &Schema, dialect: &Dialect) -> Self {
        CsvWriter { fields: RowWriter::new(schema, None).fields, dialect: dialect.clone() }
    }

    /// How the records are written.
    pub fn dialect(&self) -> &Dialect {
        &self.dialect
    }

    /// The first line, if there is one: `first`, then the names of the columns.
    pub fn header(&self, first: Option<&str>) -> Vec<u8> {
        let mut out = Vec::new();
        if self.dialect.header {
            let mut record = Record::begin(&mut out, &self.dialect);
            for name in first.into_iter().chain(self.fields.iter().map(|field| field.name.as_str())) {
                record.next();
                write_text(record.out, name, &self.dialect);
            }
            record.end();
        }
        out
    }

    /// Appends row `row`; `first` is a field in front of its columns.
    pub fn write_row(&self, out: &mut Vec<u8>, first: Option<&str>, rows: &RecordBatch, row: usize) {
        let mut record = Record::begin(out, &self.dialect);
        if let Some(first) = first {
            record.next();
            write_text(record.out, first, &self.dialect);
        }
        for (column, field) in self.fields.iter().enumerate() {
            record.next();
            self.field(record.out, field.kind, rows.column(column), row);
        }
        record.end();
    }

    fn field(&self, out: &mut Vec<u8>, kind: Kind, column: &dyn Array, row: usize) {
        let start = out.len();
        if column.is_null(row) {
            out.extend_from_slice(self.dialect.null.as_bytes());
            return;
        }
        match kind {
            Kind::Text => return write_text(out, column.as_string::<i32>().value(row), &self.dialect),
            Kind::Json => write_json(out, column.as_string::<i32>().value(row)),
            Kind::BigInt => write_integer(out, column.as_primitive::<Int64Type>().value(row)),
            Kind::Int => write_integer(out, column.as_primitive::<Int32Type>().value(row).into()),
            Kind::Double => match column.as_primitive::<Float64Type>().value(row) {
                value if value.is_finite() => write_double(out, value),
                _ => return out.extend_from_slice(self.dialect.null.as_bytes()),
            },
            Kind::Boolean => {
                out.extend_from_slice(if column.as_boolean().value(row) { b"true" } else { b"false" });
            }
            Kind::Timestamp => {
                write_timestamp(out, column.as_primitive::<TimestampNanosecondType>().value(row));
            }
            Kind::Date => write_date(out, column.as_primitive::<Date32Type>().value(row).into()),
            Kind::Other => {
                let text = array_value_to_string(column, row).unwrap_or_default();
                return write_text(out, &text, &self.dialect);
            }
        }
        if out[start..] == *self.dialect.null.as_bytes() {
            let text = String::from_utf8(out.split_off(start)).expect("values are text");
            return write_text(out, &text, &self.dialect);
        }
        end_field(out, start, &self.dialect);
    }
}

/// A record that is being written.
struct Record<'o> {
    out: &'o mut Vec<u8>,
    dialect: &'o Dialect,
    start: usize,
    first: bool,
}

impl<'o> Record<'o> {
    fn begin(out: &'o mut Vec<u8>, dialect: &'o Dialect) -> Self {
        Record { start: out.len(), out, dialect, first: true }
    }

    /// To be called before each field.
    fn next(&mut self) {
        if !self.first {
            self.out.push(self.dialect.delimiter);
        }
        self.first = false;
    }

    /// An empty line would be no record.
    fn end(self) {
        if self.out.len() == self.start {
            self.out.extend_from_slice(&[self.dialect.quote; 2]);
        }
        self.out.push(b'\n');
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{
        ArrayRef, BooleanArray, Date32Array, Float64Array, Int32Array, Int64Array, StringArray,
        TimestampNanosecondArray,
    };

    use super::*;
    use crate::plan::ColumnType;

    fn written(dialect: &Dialect, columns: Vec<(&str, ColumnType, ArrayRef)>) -> String {
        let (fields, arrays): (Vec<_>, Vec<_>) =
            columns.into_iter().map(|(name, kind, array)| (kind.field(name, true), array)).unzip();
        let rows =
            RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).expect("columns of the schema");
        let writer = CsvWriter::new(rows.schema_ref(), dialect);
        let mut out = writer.header(None);
        (0..rows.num_rows()).for_each(|row| writer.write_row(&mut out, None, &rows, row));
        String::from_utf8(out).expect("UTF-8")
    }

    #[test]
    fn every_type_has_its_text_and_null_none() {
        let columns = || -> Vec<(&str, ColumnType, ArrayRef)> {
            vec![
                (
                    "a,b",
                    ColumnType::Text,
                    Arc::new(StringArray::from(vec![Some("x\n\"y\""), Some(""), None])),
                ),
                ("n", ColumnType::BigInt, Arc::new(Int64Array::from(vec![Some(-1), Some(2), None]))),
                ("i", ColumnType::Int, Arc::new(Int32Array::from(vec![Some(7), Some(8), None]))),
                (
                    "d",
                    ColumnType::Double,
                    Arc::new(Float64Array::from(vec![Some(0.1), Some(f64::NAN), None])),
                ),
                (
                    "on",
                    ColumnType::Boolean,
                    Arc::new(BooleanArray::from(vec![Some(true), Some(false), None])),
                ),
                (
                    "j",
                    ColumnType::Json,
                    Arc::new(StringArray::from(vec![Some("{\"a\":\n1}"), Some("null"), None])),
                ),
                ("w", ColumnType::Date, Arc::new(Date32Array::from(vec![Some(19_782), Some(0), None]))),
                (
                    "t",
                    ColumnType::Timestamp,
                    Arc::new(TimestampNanosecondArray::from(vec![Some(1), Some(0), None])),
                ),
            ]
        };
        assert_eq!(
            written(&Dialect::default(), columns()),
            "\"a,b\",n,i,d,on,j,w,t\n\
             \"x\n\"\"y\"\"\",-1,7,0.1,true,\"{\"\"a\"\": 1}\",2024-02-29,1970-01-01T00:00:00.000000001Z\n\
             \"\",2,8,,false,null,1970-01-01,1970-01-01T00:00:00.000000Z\n\
             ,,,,,,,\n"
        );
        let dialect =
            Dialect { delimiter: b'-', chosen: true, quote: b'\'', null: "null".into(), header: false };
        assert_eq!(
            written(&dialect, columns()),
            "'x\n\"y\"'-'-1'-7-0.1-true-{\"a\": 1}-'2024-02-29'-'1970-01-01T00:00:00.000000001Z'\n\
             ''-2-8-null-false-'null'-'1970-01-01'-'1970-01-01T00:00:00.000000Z'\n\
             null-null-null-null-null-null-null-null\n"
        );
    }

    #[test]
    fn a_row_of_one_null_is_no_empty_line() {
        let column: ArrayRef = Arc::new(Int64Array::from(vec![None, Some(1)]));
        assert_eq!(written(&Dialect::default(), vec![("n", ColumnType::BigInt, column)]), "n\n\"\"\n1\n");
    }
}

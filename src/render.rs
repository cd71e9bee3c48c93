//! Rows as JSON text, the way every sink, dead letter and live read shows them.
//!
//! One row is one JSON object on one line, with the fields of the schema in their order. NULL is written as
//! `null`, never left out. A DOUBLE is its shortest text that reads back as the same number; JSON has no
//! text for NaN and the infinities, which become `null`. A TIMESTAMP is RFC 3339 in UTC with microseconds, or
//! nanoseconds where there are any; a DATE is `2025-10-27`. JSON columns are embedded as they are.

mod csv;

use std::ops::Range;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{
    DataType, Date32Type, Field, Float64Type, Int32Type, Int64Type, Schema, TimeUnit, TimestampNanosecondType,
};
use arrow::util::display::array_value_to_string;

use crate::json::{self, Scanner};
use crate::plan::is_json;
use crate::time::EventTime;

pub use self::csv::CsvWriter;

/// Writes rows of one schema.
///
/// ```
/// use std::sync::Arc;
/// use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
/// use tidemill::render::RowWriter;
///
/// let did: ArrayRef = Arc::new(StringArray::from(vec!["981"]));
/// let soc: ArrayRef = Arc::new(Int64Array::from(vec![None]));
/// let rows = RecordBatch::try_from_iter([("did", did), ("soc", soc)])?;
/// let writer = RowWriter::new(rows.schema_ref(), None);
/// let mut out = Vec::new();
/// writer.write_row(&mut out, &rows, 0);
/// assert_eq!(out, br#"{"did":"981","soc":null}"#);
/// # Ok::<(), arrow::error::ArrowError>(())
/// ```
#[derive(Clone, Debug)]
pub struct RowWriter {
    fields: Vec<FieldWriter>,
    document: Option<usize>,
}

#[derive(Clone, Debug)]
struct FieldWriter {
    name: String,
    /// `"name":`
    label: Vec<u8>,
    kind: Kind,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Text,
    Json,
    BigInt,
    Int,
    Double,
    Boolean,
    Timestamp,
    Date,
    /// A type that no column of SQL has: its display text, as a JSON string.
    Other,
}

impl RowWriter {
    /// A writer of rows of `schema`. `document` is a JSON column: the fields of its object come first, as they
    /// were received, in place of the column; a field with the name of another column is left out.
    pub fn new(schema: &Schema, document: Option<usize>) -> Self {
        let fields = schema.fields().iter().map(|field| {
            let mut label = Vec::new();
            json::write_string(&mut label, field.name());
            label.push(b':');
            FieldWriter { name: field.name().clone(), label, kind: Kind::of(field) }
        });
        RowWriter { fields: fields.collect(), document }
    }

    /// Appends row `row` as a JSON object.
    pub fn write_row(&self, out: &mut Vec<u8>, rows: &RecordBatch, row: usize) {
        let mut object = Members::begin(out);
        let spread = self.document.is_some_and(|column| self.spread(&mut object, rows, column, row));
        for (column, field) in self.fields.iter().enumerate() {
            if !(spread && self.document == Some(column)) {
                field.write(object.next(), rows.column(column), row);
            }
        }
        object.end();
    }

    /// Row `row` as the text of a JSON object.
    pub fn row_text(&self, rows: &RecordBatch, row: usize) -> String {
        let mut text = Vec::new();
        self.write_row(&mut text, rows, row);
        String::from_utf8(text).expect("names and values are text")
    }

    /// Appends a JSON object of some columns, in the order given: the key of a row.
    pub fn write_key(&self, out: &mut Vec<u8>, rows: &RecordBatch, columns: &[usize], row: usize) {
        let mut object = Members::begin(out);
        for column in columns {
            self.fields[*column].write(object.next(), rows.column(*column), row);
        }
        object.end();
    }

    /// Writes the fields of the document. `false` if it is something else than an object or NULL and has to be
    /// written as a column.
    fn spread(&self, object: &mut Members<'_>, rows: &RecordBatch, column: usize, row: usize) -> bool {
        let column = rows.column(column);
        if column.is_null(row) {
            return true;
        }
        let Some(documents) = column.as_string_opt::<i32>() else {
            return false;
        };
        let text = documents.value(row);
        let mut scratch = String::new();
        let mut scanner = Scanner::new(text);
        if !matches!(scanner.enter_object(0), Ok(true)) {
            return false;
        }
        // JSON columns hold what a decoder has scanned; what comes of a broken text ends with its good part.
        let mut first = true;
        while let Ok(Some(key)) = scanner.next_key(first) {
            first = false;
            let Ok(value) = scanner.value(1) else {
                break;
            };
            let name = key.content(text, &mut scratch);
            let added = |(at, field): (usize, &FieldWriter)| self.document != Some(at) && field.name == name;
            if self.fields.iter().enumerate().any(added) {
                continue;
            }
            let out = object.next();
            out.extend_from_slice(key.raw(text).as_bytes());
            out.push(b':');
            write_json(out, value.raw(text));
        }
        true
    }
}

/// Appends some values of a column as a JSON array; `field` describes the column.
pub fn write_array(out: &mut Vec<u8>, field: &Field, column: &dyn Array, rows: Range<usize>) {
    let kind = Kind::of(field);
    out.push(b'[');
    for row in rows.clone() {
        if row > rows.start {
            out.push(b',');
        }
        kind.write(out, column, row);
    }
    out.push(b']');
}

/// The members of an object that is being written.
struct Members<'o> {
    out: &'o mut Vec<u8>,
    first: bool,
}

impl<'o> Members<'o> {
    fn begin(out: &'o mut Vec<u8>) -> Self {
        out.push(b'{');
        Members { out, first: true }
    }

    /// Where the next member is to be written.
    fn next(&mut self) -> &mut Vec<u8> {
        if !self.first {
            self.out.push(b',');
        }
        self.first = false;
        self.out
    }

    fn end(self) {
        self.out.push(b'}');
    }
}

impl FieldWriter {
    fn write(&self, out: &mut Vec<u8>, column: &dyn Array, row: usize) {
        out.extend_from_slice(&self.label);
        self.kind.write(out, column, row);
    }
}

impl Kind {
    fn of(field: &Field) -> Self {
        match field.data_type() {
            DataType::Utf8 if is_json(field) => Kind::Json,
            DataType::Utf8 => Kind::Text,
            DataType::Int64 => Kind::BigInt,
            DataType::Int32 => Kind::Int,
            DataType::Float64 => Kind::Double,
            DataType::Boolean => Kind::Boolean,
            DataType::Timestamp(TimeUnit::Nanosecond, _) => Kind::Timestamp,
            DataType::Date32 => Kind::Date,
            _ => Kind::Other,
        }
    }

    fn write(self, out: &mut Vec<u8>, column: &dyn Array, row: usize) {
        if column.is_null(row) {
            out.extend_from_slice(b"null");
            return;
        }
        match self {
            Kind::Text => json::write_string(out, column.as_string::<i32>().value(row)),
            Kind::Json => write_json(out, column.as_string::<i32>().value(row)),
            Kind::BigInt => write_integer(out, column.as_primitive::<Int64Type>().value(row)),
            Kind::Int => write_integer(out, column.as_primitive::<Int32Type>().value(row).into()),
            Kind::Double => write_double(out, column.as_primitive::<Float64Type>().value(row)),
            Kind::Boolean => {
                out.extend_from_slice(if column.as_boolean().value(row) { b"true" } else { b"false" });
            }
            Kind::Timestamp => {
                out.push(b'"');
                write_timestamp(out, column.as_primitive::<TimestampNanosecondType>().value(row));
                out.push(b'"');
            }
            Kind::Date => {
                out.push(b'"');
                write_date(out, column.as_primitive::<Date32Type>().value(row).into());
                out.push(b'"');
            }
            Kind::Other => json::write_string(out, &array_value_to_string(column, row).unwrap_or_default()),
        }
    }
}

/// JSON text without line breaks, which can stand between tokens only.
fn write_json(out: &mut Vec<u8>, text: &str) {
    let start = out.len();
    out.extend_from_slice(text.as_bytes());
    for byte in &mut out[start..] {
        if matches!(byte, b'\n' | b'\r') {
            *byte = b' ';
        }
    }
}

fn write_integer(out: &mut Vec<u8>, value: i64) {
    serde_json::to_writer(out, &value).expect("a vector takes all that is written");
}

fn write_double(out: &mut Vec<u8>, value: f64) {
    serde_json::to_writer(out, &value).expect("a vector takes all that is written");
}

/// Appends `2025-10-27T10:07:15.234000Z`: RFC 3339 in UTC with microseconds, or nanoseconds where there are
/// any. Such texts of the same length sort like the times.
pub fn write_timestamp(out: &mut Vec<u8>, time: EventTime) {
    const NANOS_PER_SECOND: i64 = 1_000_000_000;
    let (seconds, nanos) = (time.div_euclid(NANOS_PER_SECOND), time.rem_euclid(NANOS_PER_SECOND));
    let (day, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    write_date(out, day);
    for (mark, value) in [(b'T', second / 3_600), (b':', second / 60 % 60), (b':', second % 60)] {
        out.push(mark);
        digits::<2>(out, value);
    }
    out.push(b'.');
    if nanos % 1_000 == 0 {
        digits::<6>(out, nanos / 1_000)
    } else {
        digits::<9>(out, nanos)
    }
    out.push(b'Z');
}

/// Appends `2025-10-27`, given days since the Unix epoch; a year of more than four digits, or before the year 0,
/// has a sign, as ISO 8601 has it.
pub fn write_date(out: &mut Vec<u8>, day: i64) {
    // The inverse of counting days in years that begin in March and eras of 400 years, which are all alike.
    let shifted = day + 719_468;
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    if (0..10_000).contains(&year) {
        digits::<4>(out, year);
    } else {
        out.extend_from_slice(format!("{}{:04}", if year < 0 { '-' } else { '+' }, year.abs()).as_bytes());
    }
    out.push(b'-');
    digits::<2>(out, month);
    out.push(b'-');
    digits::<2>(out, day_of_year - (153 * month_from_march + 2) / 5 + 1);
}

/// Appends the last `N` decimal digits.
fn digits<const N: usize>(out: &mut Vec<u8>, mut value: i64) {
    let mut text = [b'0'; N];
    for digit in text.iter_mut().rev() {
        *digit = b'0' + (value % 10) as u8;
        value /= 10;
    }
    out.extend_from_slice(&text);
}

#[cfg(test)]
mod tests;

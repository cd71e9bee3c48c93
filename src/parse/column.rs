//! Columns under construction: plain vectors that become Arrow arrays without a copy.

use std::mem;
use std::sync::Arc;

use arrow::array::builder::{BooleanBufferBuilder, NullBufferBuilder};
use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Date32Array, Float64Array, Int32Array, Int64Array, StringArray,
    TimestampNanosecondArray,
};
use arrow::buffer::{Buffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{Date32Type, Float64Type, Int32Type, Int64Type, TimestampNanosecondType};

use super::coerce::Datum;
use crate::plan::ColumnType;

/// The values of one column.
#[derive(Debug)]
pub(super) struct ColumnBuilder {
    values: Values,
    validity: NullBufferBuilder,
}

#[derive(Debug)]
enum Values {
    /// Ends of the texts, after a zero.
    Text {
        ends: Vec<i32>,
        bytes: Vec<u8>,
    },
    BigInt(Vec<i64>),
    Int(Vec<i32>),
    Double(Vec<f64>),
    Boolean(BooleanBufferBuilder),
    Timestamp(Vec<i64>),
    Date(Vec<i32>),
}

impl ColumnBuilder {
    pub(super) fn new(kind: ColumnType) -> Self {
        let values = match kind {
            ColumnType::Text | ColumnType::Json => Values::Text { ends: vec![0], bytes: Vec::new() },
            ColumnType::BigInt => Values::BigInt(Vec::new()),
            ColumnType::Int => Values::Int(Vec::new()),
            ColumnType::Double => Values::Double(Vec::new()),
            ColumnType::Boolean => Values::Boolean(BooleanBufferBuilder::new(0)),
            ColumnType::Timestamp => Values::Timestamp(Vec::new()),
            ColumnType::Date => Values::Date(Vec::new()),
        };
        ColumnBuilder { values, validity: NullBufferBuilder::new(0) }
    }

    /// Appends a value. `false` if it is of another type, or if texts of a column grow beyond 2 GiB.
    #[inline(always)]
    #[must_use]
    pub(super) fn push(&mut self, datum: Datum<'_>) -> bool {
        match (&mut self.values, datum) {
            (Values::Text { ends, bytes }, Datum::Text(text)) => {
                let Ok(end) = i32::try_from(bytes.len() + text.len()) else {
                    return false;
                };
                bytes.extend_from_slice(text.as_bytes());
                ends.push(end);
            }
            (Values::BigInt(values), Datum::BigInt(value)) => values.push(value),
            (Values::Int(values), Datum::Int(value)) => values.push(value),
            (Values::Double(values), Datum::Double(value)) => values.push(value),
            (Values::Boolean(values), Datum::Boolean(value)) => values.append(value),
            (Values::Timestamp(values), Datum::Timestamp(value)) => values.push(value),
            (Values::Date(values), Datum::Date(value)) => values.push(value),
            (_, Datum::Null) => {
                self.validity.append_null();
                self.push_blank();
                return true;
            }
            _ => return false,
        }
        self.validity.append_non_null();
        true
    }

    /// In place of all rows so many that have no meaning yet: NULL, but in a column without NULLs.
    pub(super) fn fill(&mut self, rows: usize, nullable: bool) {
        self.truncate(0);
        if nullable {
            self.validity.append_n_nulls(rows);
        } else {
            self.validity.append_n_non_nulls(rows);
        }
        match &mut self.values {
            Values::Text { ends, .. } => ends.resize(rows + 1, 0),
            Values::BigInt(values) | Values::Timestamp(values) => values.resize(rows, 0),
            Values::Int(values) | Values::Date(values) => values.resize(rows, 0),
            Values::Double(values) => values.resize(rows, 0.0),
            Values::Boolean(values) => values.append_n(rows, false),
        }
    }

    fn push_blank(&mut self) {
        match &mut self.values {
            Values::Text { ends, bytes } => ends.push(bytes.len() as i32),
            Values::BigInt(values) | Values::Timestamp(values) => values.push(0),
            Values::Int(values) | Values::Date(values) => values.push(0),
            Values::Double(values) => values.push(0.0),
            Values::Boolean(values) => values.append(false),
        }
    }

    /// Takes back what stands behind the first `rows` rows.
    pub(super) fn truncate(&mut self, rows: usize) {
        if self.validity.len() <= rows {
            return;
        }
        self.validity.truncate(rows);
        match &mut self.values {
            Values::Text { ends, bytes } => {
                ends.truncate(rows + 1);
                bytes.truncate(ends[rows] as usize);
            }
            Values::BigInt(values) | Values::Timestamp(values) => values.truncate(rows),
            Values::Int(values) | Values::Date(values) => values.truncate(rows),
            Values::Double(values) => values.truncate(rows),
            Values::Boolean(values) => values.truncate(rows),
        }
    }

    /// The array; the builder starts anew, with room for as much again.
    pub(super) fn finish(&mut self) -> ArrayRef {
        let nulls = mem::replace(&mut self.validity, NullBufferBuilder::new(0)).build();
        match &mut self.values {
            Values::Text { ends, bytes } => {
                let mut fresh = Vec::with_capacity(ends.len());
                fresh.push(0);
                // Ascending by construction; `OffsetBuffer` checks it again.
                let ends = OffsetBuffer::new(ScalarBuffer::from(mem::replace(ends, fresh)));
                Arc::new(StringArray::new(ends, Buffer::from_vec(take(bytes)), nulls))
            }
            Values::BigInt(values) => Arc::new(Int64Array::new(take(values).into(), nulls)),
            Values::Int(values) => Arc::new(Int32Array::new(take(values).into(), nulls)),
            Values::Double(values) => Arc::new(Float64Array::new(take(values).into(), nulls)),
            Values::Boolean(values) => Arc::new(BooleanArray::new(values.finish(), nulls)),
            Values::Timestamp(values) => Arc::new(TimestampNanosecondArray::new(take(values).into(), nulls)),
            Values::Date(values) => Arc::new(Date32Array::new(take(values).into(), nulls)),
        }
    }
}

/// The vector; in its place one with room for as much again, because chunks are alike.
fn take<T>(values: &mut Vec<T>) -> Vec<T> {
    let room = values.len();
    mem::replace(values, Vec::with_capacity(room))
}

/// The one value of an array of a column's type.
pub(super) fn datum(array: &ArrayRef, kind: ColumnType) -> Datum<'_> {
    if array.is_empty() || array.is_null(0) {
        return Datum::Null;
    }
    match kind {
        ColumnType::Text | ColumnType::Json => Datum::Text(array.as_string::<i32>().value(0)),
        ColumnType::BigInt => Datum::BigInt(array.as_primitive::<Int64Type>().value(0)),
        ColumnType::Int => Datum::Int(array.as_primitive::<Int32Type>().value(0)),
        ColumnType::Double => Datum::Double(array.as_primitive::<Float64Type>().value(0)),
        ColumnType::Boolean => Datum::Boolean(array.as_boolean().value(0)),
        ColumnType::Timestamp => Datum::Timestamp(array.as_primitive::<TimestampNanosecondType>().value(0)),
        ColumnType::Date => Datum::Date(array.as_primitive::<Date32Type>().value(0)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_takes_back_rows_and_starts_anew() {
        let kinds = [
            (ColumnType::Text, Datum::Text("abc")),
            (ColumnType::BigInt, Datum::BigInt(-7)),
            (ColumnType::Int, Datum::Int(-7)),
            (ColumnType::Double, Datum::Double(-7.5)),
            (ColumnType::Boolean, Datum::Boolean(true)),
            (ColumnType::Timestamp, Datum::Timestamp(-7)),
            (ColumnType::Date, Datum::Date(-7)),
        ];
        for (kind, value) in kinds {
            let mut column = ColumnBuilder::new(kind);
            for _ in 0..2 {
                assert!(column.push(value));
                assert!(column.push(Datum::Null));
                assert!(column.push(value));
                column.truncate(2);
                column.truncate(2);
                assert!(column.push(value));
                let array = column.finish();
                assert_eq!((array.len(), array.null_count()), (3, 1));
                assert_eq!(array.data_type(), &kind.arrow_type());
                assert_eq!(datum(&array.slice(0, 1), kind), value);
                assert_eq!(datum(&array.slice(1, 1), kind), Datum::Null);
                assert_eq!(datum(&array.slice(2, 1), kind), value);
            }
            assert_eq!(column.finish().len(), 0);
            for (rows, nullable) in [(3, true), (0, false), (2, false)] {
                assert!(column.push(value));
                column.fill(rows, nullable);
                let array = column.finish();
                assert_eq!((array.len(), array.null_count()), (rows, if nullable { rows } else { 0 }));
            }
        }
    }

    #[test]
    fn a_value_of_another_type_is_not_taken() {
        assert!(!ColumnBuilder::new(ColumnType::Int).push(Datum::BigInt(1)));
    }
}

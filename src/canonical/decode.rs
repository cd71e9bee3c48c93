//! From canonical bytes back to columns.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanBuilder, Date32Builder, Float64Builder, Int32Builder, Int64Builder, NullArray,
    StringBuilder, TimestampNanosecondBuilder,
};
use arrow::datatypes::{DataType, TimeUnit};

use super::{BOOLEAN, DATE, ESCAPED, FLOAT64, INT32, INT64, NULL, TIMESTAMP, UTF8, from_ordered_bits};
use crate::error::{Error, Result};

/// Turns canonical rows back into columns of the given types.
///
/// Doubles come back as they were, except that -0.0 is 0.0 and every NaN the same.
pub fn decode<'a>(rows: impl Iterator<Item = &'a [u8]>, types: &[DataType]) -> Result<Vec<ArrayRef>> {
    let mut builders = types.iter().map(Builder::of).collect::<Result<Vec<_>>>()?;
    for mut row in rows {
        for builder in &mut builders {
            builder.read(&mut row).ok_or_else(|| Error::internal("broken canonical bytes"))?;
        }
        if !row.is_empty() {
            return Err(Error::internal("canonical bytes of more columns than expected"));
        }
    }
    Ok(builders.into_iter().map(Builder::finish).collect())
}

enum Builder {
    Null(usize),
    Boolean(BooleanBuilder),
    Int32(Int32Builder),
    Int64(Int64Builder),
    Float64(Float64Builder),
    Timestamp(TimestampNanosecondBuilder),
    Utf8(StringBuilder, Vec<u8>),
    Date(Date32Builder),
}

impl Builder {
    fn of(data_type: &DataType) -> Result<Self> {
        Ok(match data_type {
            DataType::Null => Builder::Null(0),
            DataType::Boolean => Builder::Boolean(BooleanBuilder::new()),
            DataType::Int32 => Builder::Int32(Int32Builder::new()),
            DataType::Int64 => Builder::Int64(Int64Builder::new()),
            DataType::Float64 => Builder::Float64(Float64Builder::new()),
            DataType::Timestamp(TimeUnit::Nanosecond, None) => {
                Builder::Timestamp(TimestampNanosecondBuilder::new())
            }
            DataType::Utf8 => Builder::Utf8(StringBuilder::new(), Vec::new()),
            DataType::Date32 => Builder::Date(Date32Builder::new()),
            other => {
                return Err(Error::internal(format!("values of type {other} have no canonical encoding")));
            }
        })
    }

    /// Moves one value from the front of `row`; `None` if it is not one of this type.
    fn read(&mut self, row: &mut &[u8]) -> Option<()> {
        let (&tag, rest) = row.split_first()?;
        *row = rest;
        match (self, tag) {
            (Builder::Null(rows), NULL) => *rows += 1,
            (Builder::Boolean(builder), NULL) => builder.append_null(),
            (Builder::Boolean(builder), BOOLEAN) => builder.append_value(fixed::<1>(row)? == [1]),
            (Builder::Int32(builder), NULL) => builder.append_null(),
            (Builder::Int32(builder), INT32) => {
                builder.append_value(i32::from_be_bytes(fixed(row)?) ^ i32::MIN);
            }
            (Builder::Date(builder), NULL) => builder.append_null(),
            (Builder::Date(builder), DATE) => {
                builder.append_value(i32::from_be_bytes(fixed(row)?) ^ i32::MIN);
            }
            (Builder::Int64(builder), NULL) => builder.append_null(),
            (Builder::Int64(builder), INT64) => builder.append_value(read_i64(row)?),
            (Builder::Float64(builder), NULL) => builder.append_null(),
            (Builder::Float64(builder), FLOAT64) => {
                builder.append_value(from_ordered_bits(u64::from_be_bytes(fixed(row)?)));
            }
            (Builder::Timestamp(builder), NULL) => builder.append_null(),
            (Builder::Timestamp(builder), TIMESTAMP) => builder.append_value(read_i64(row)?),
            (Builder::Utf8(builder, _), NULL) => builder.append_null(),
            (Builder::Utf8(builder, text), UTF8) => {
                text.clear();
                read_text(row, text)?;
                builder.append_value(std::str::from_utf8(text).ok()?);
            }
            _ => return None,
        }
        Some(())
    }

    fn finish(self) -> ArrayRef {
        match self {
            Builder::Null(rows) => Arc::new(NullArray::new(rows)),
            Builder::Boolean(mut builder) => Arc::new(builder.finish()),
            Builder::Int32(mut builder) => Arc::new(builder.finish()),
            Builder::Int64(mut builder) => Arc::new(builder.finish()),
            Builder::Float64(mut builder) => Arc::new(builder.finish()),
            Builder::Timestamp(mut builder) => Arc::new(builder.finish()),
            Builder::Utf8(mut builder, _) => Arc::new(builder.finish()),
            Builder::Date(mut builder) => Arc::new(builder.finish()),
        }
    }
}

fn fixed<const N: usize>(row: &mut &[u8]) -> Option<[u8; N]> {
    let (value, rest) = row.split_first_chunk::<N>()?;
    *row = rest;
    Some(*value)
}

fn read_i64(row: &mut &[u8]) -> Option<i64> {
    Some(i64::from_be_bytes(fixed(row)?) ^ i64::MIN)
}

fn read_text(row: &mut &[u8], text: &mut Vec<u8>) -> Option<()> {
    loop {
        let end = row.iter().position(|&byte| byte == 0)?;
        text.extend_from_slice(&row[..end]);
        *row = &row[end + 1..];
        if row.first() != Some(&ESCAPED) {
            return Some(());
        }
        text.push(0);
        *row = &row[1..];
    }
}

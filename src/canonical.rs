//! Our own encoding of values as bytes: what is routed, ordered or compared across processes and restarts.
//!
//! A row is the concatenation of its values; a value is a tag for its type, then
//!
//! | type | tag | bytes |
//! |---|---|---|
//! | NULL of any type | `00` | none |
//! | Boolean | `01` | `00` or `01` |
//! | Int32 | `02` | 4, big endian, sign bit flipped |
//! | Int64 | `03` | 8, big endian, sign bit flipped |
//! | Float64 | `04` | 8, big endian; all bits flipped where negative, else the sign bit |
//! | Timestamp(ns) | `05` | 8, as Int64 |
//! | Utf8 | `06` | its bytes with `00` written as `00 FF`, then `00` |
//! | Date32 | `07` | 4, as Int32 |
//!
//! So two rows of the same types have the same bytes only if they are equal, and bytes compare as the rows
//! do, column by column, NULL first. -0.0 is 0.0; there is one NaN, above all numbers. The encoding is part
//! of what is stored: it never changes, and the vectors in the tests hold it still.

mod decode;

use std::ops::Range;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Date32Array, Float64Array, Int32Array, Int64Array, StringArray,
    TimestampNanosecondArray,
};
use arrow::datatypes::{
    DataType, Date32Type, Float64Type, Int32Type, Int64Type, TimeUnit, TimestampNanosecondType,
};
use xxhash_rust::xxh3::xxh3_64;

pub use decode::decode;

/// How many key groups there are.
pub const KEY_GROUPS: usize = 256;

const NULL: u8 = 0x00;
const BOOLEAN: u8 = 0x01;
const INT32: u8 = 0x02;
const INT64: u8 = 0x03;
const FLOAT64: u8 = 0x04;
const TIMESTAMP: u8 = 0x05;
const UTF8: u8 = 0x06;
const DATE: u8 = 0x07;
/// Behind a zero byte that belongs to a text; never a tag and never in UTF-8.
const ESCAPED: u8 = 0xff;
const SIGN: u64 = 1 << 63;

/// The key group of a key, given its canonical bytes.
pub fn key_group(bytes: &[u8]) -> u8 {
    xxh3_64(bytes).to_le_bytes()[0]
}

/// The worker that owns a key group.
pub fn worker_of(group: u8, workers: usize) -> usize {
    usize::from(group) * workers / KEY_GROUPS
}

/// Whether values of this type can be encoded.
pub fn supports(data_type: &DataType) -> bool {
    use DataType::{Boolean, Date32, Float64, Int32, Int64, Null, Timestamp, Utf8};
    matches!(data_type, Null | Boolean | Int32 | Int64 | Float64 | Utf8 | Date32)
        || matches!(data_type, Timestamp(TimeUnit::Nanosecond, None))
}

/// Whether a value of a row is NULL.
///
/// # Panics
///
/// On bytes that are no canonical row.
pub fn has_null(mut row: &[u8]) -> bool {
    while let Some((tag, rest)) = row.split_first() {
        let length = match *tag {
            NULL => return true,
            BOOLEAN => 1,
            INT32 | DATE => 4,
            INT64 | FLOAT64 | TIMESTAMP => 8,
            UTF8 => text_length(rest),
            other => panic!("{other:#04x} is the tag of no type"),
        };
        row = &rest[length..];
    }
    false
}

/// Length of an encoded text, with its end.
fn text_length(text: &[u8]) -> usize {
    let ends = |at: &usize| text[*at] == 0 && text.get(at + 1) != Some(&ESCAPED);
    (0..text.len()).find(ends).map_or(text.len(), |end| end + 1)
}

/// The bits of a double, brought into the order of the numbers as unsigned integers; -0.0 as 0.0, one NaN.
pub fn ordered_bits(value: f64) -> u64 {
    // Adding 0.0 turns -0.0 into 0.0 and changes nothing else.
    let bits = if value.is_nan() { f64::NAN.to_bits() & !SIGN } else { (value + 0.0).to_bits() };
    if bits & SIGN == 0 { bits ^ SIGN } else { !bits }
}

/// The double that [`ordered_bits`] came from.
pub fn from_ordered_bits(bits: u64) -> f64 {
    f64::from_bits(if bits & SIGN == 0 { !bits } else { bits ^ SIGN })
}

/// Rows as canonical bytes, one after the other. Its memory is used again by the next [`encode`](Self::encode).
#[derive(Clone, Debug, Default)]
pub struct CanonicalRows {
    bytes: Vec<u8>,
    /// Where each row ends.
    ends: Vec<usize>,
}

/// Encodes the `rows` rows of `columns`, see [`CanonicalRows::encode`].
pub fn encode(columns: &[ArrayRef], rows: usize) -> CanonicalRows {
    let mut encoded = CanonicalRows::default();
    encoded.encode(columns, rows);
    encoded
}

impl CanonicalRows {
    /// Replaces the content by the `rows` rows of `columns`; without columns every row is empty.
    ///
    /// # Panics
    ///
    /// On a type that is not [supported](supports): the compiler lets none through.
    pub fn encode(&mut self, columns: &[ArrayRef], rows: usize) {
        let columns: Vec<_> = columns.iter().map(Column::of).collect();
        self.bytes.clear();
        self.ends.clear();
        self.ends.reserve(rows);
        self.bytes.reserve(columns.iter().map(|column| column.most_bytes(rows)).sum());
        for row in 0..rows {
            for column in &columns {
                column.push(row, &mut self.bytes);
            }
            self.ends.push(self.bytes.len());
        }
    }

    /// The bytes of row `row`.
    pub fn row(&self, row: usize) -> &[u8] {
        &self.bytes[self.range(row)]
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// All rows in order.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.len()).map(|row| self.row(row))
    }

    fn range(&self, row: usize) -> Range<usize> {
        let start = if row == 0 { 0 } else { self.ends[row - 1] };
        start..self.ends[row]
    }
}

/// A column whose type has been looked at once, for all its rows.
enum Column<'a> {
    Null,
    Boolean(&'a BooleanArray),
    Int32(&'a Int32Array),
    Int64(&'a Int64Array),
    Float64(&'a Float64Array),
    Timestamp(&'a TimestampNanosecondArray),
    /// `plain`: no text has a zero byte, so that none has to be looked at.
    Utf8 {
        array: &'a StringArray,
        plain: bool,
    },
    Date(&'a Date32Array),
}

impl<'a> Column<'a> {
    fn of(array: &'a ArrayRef) -> Self {
        match array.data_type() {
            DataType::Null => Column::Null,
            DataType::Boolean => Column::Boolean(array.as_boolean()),
            DataType::Int32 => Column::Int32(array.as_primitive::<Int32Type>()),
            DataType::Int64 => Column::Int64(array.as_primitive::<Int64Type>()),
            DataType::Float64 => Column::Float64(array.as_primitive::<Float64Type>()),
            DataType::Timestamp(TimeUnit::Nanosecond, None) => {
                Column::Timestamp(array.as_primitive::<TimestampNanosecondType>())
            }
            DataType::Utf8 => {
                let array = array.as_string::<i32>();
                Column::Utf8 { array, plain: !has_zero(texts(array)) }
            }
            DataType::Date32 => Column::Date(array.as_primitive::<Date32Type>()),
            other => panic!("values of type {other} have no canonical encoding"),
        }
    }

    /// How many bytes the rows take, unless texts have zero bytes.
    fn most_bytes(&self, rows: usize) -> usize {
        match self {
            Column::Utf8 { array, .. } => texts(array).len() + 2 * rows,
            _ => 9 * rows,
        }
    }

    #[inline]
    fn push(&self, row: usize, bytes: &mut Vec<u8>) {
        match self {
            Column::Utf8 { array, plain } if array.is_valid(row) => {
                let text = array.value(row).as_bytes();
                bytes.push(UTF8);
                if *plain {
                    bytes.extend_from_slice(text)
                } else {
                    push_escaped(text, bytes)
                }
                bytes.push(0);
            }
            Column::Int64(array) if array.is_valid(row) => push_i64(INT64, array.value(row), bytes),
            Column::Timestamp(array) if array.is_valid(row) => push_i64(TIMESTAMP, array.value(row), bytes),
            Column::Float64(array) if array.is_valid(row) => {
                push_eight(FLOAT64, ordered_bits(array.value(row)).to_be_bytes(), bytes);
            }
            Column::Int32(array) if array.is_valid(row) => {
                push_four(INT32, (array.value(row) ^ i32::MIN).to_be_bytes(), bytes);
            }
            Column::Date(array) if array.is_valid(row) => {
                push_four(DATE, (array.value(row) ^ i32::MIN).to_be_bytes(), bytes);
            }
            Column::Boolean(array) if array.is_valid(row) => {
                bytes.extend_from_slice(&[BOOLEAN, u8::from(array.value(row))]);
            }
            _ => bytes.push(NULL),
        }
    }
}

/// Appends a tag and a value at once, so that there is one look at the room that is left.
#[inline]
fn push_four(tag: u8, value: [u8; 4], bytes: &mut Vec<u8>) {
    let mut both = [tag; 5];
    both[1..].copy_from_slice(&value);
    bytes.extend_from_slice(&both);
}

/// The same with a value of eight bytes.
#[inline]
fn push_eight(tag: u8, value: [u8; 8], bytes: &mut Vec<u8>) {
    let mut both = [tag; 9];
    both[1..].copy_from_slice(&value);
    bytes.extend_from_slice(&both);
}

#[inline]
fn push_i64(tag: u8, value: i64, bytes: &mut Vec<u8>) {
    push_eight(tag, (value ^ i64::MIN).to_be_bytes(), bytes);
}

fn push_escaped(text: &[u8], bytes: &mut Vec<u8>) {
    for &byte in text {
        bytes.push(byte);
        if byte == 0 {
            bytes.push(ESCAPED);
        }
    }
}

/// Whether there is a zero among bytes that mostly have none: without a look at each, many are compared at once.
fn has_zero(bytes: &[u8]) -> bool {
    const AT_ONCE: usize = 1024;
    bytes.chunks(AT_ONCE).any(|chunk| chunk.iter().fold(false, |found, byte| found | (*byte == 0)))
}

/// All texts of a column, one behind the other.
fn texts(array: &StringArray) -> &[u8] {
    let (offsets, values) = (array.value_offsets(), array.value_data());
    let end = |at: Option<&i32>| at.map_or(0, |offset| *offset as usize);
    &values[end(offsets.first())..end(offsets.last())]
}

/// Length of a TIMESTAMP that is not NULL.
pub const TIMESTAMP_BYTES: usize = 9;

/// A TIMESTAMP alone.
pub fn timestamp(time: i64) -> [u8; TIMESTAMP_BYTES] {
    let mut bytes = [TIMESTAMP; TIMESTAMP_BYTES];
    bytes[1..].copy_from_slice(&(time ^ i64::MIN).to_be_bytes());
    bytes
}

/// The TIMESTAMP, not NULL, that canonical bytes begin with.
///
/// # Panics
///
/// If they are shorter.
pub fn leading_timestamp(bytes: &[u8]) -> i64 {
    let value = bytes[1..TIMESTAMP_BYTES].try_into().expect("eight bytes");
    i64::from_be_bytes(value) ^ i64::MIN
}

#[cfg(test)]
mod tests;

//! Columns of values as the ordered states read and hold them.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BooleanArray, Date32Array, Float64Array, Int32Array, Int64Array,
    StringArray, TimestampNanosecondArray,
};
use arrow::buffer::{NullBuffer, ScalarBuffer};
use arrow::datatypes::{
    DataType, Date32Type, Float64Type, Int32Type, Int64Type, TimeUnit, TimestampNanosecondType,
};

use crate::canonical::{from_ordered_bits, ordered_bits};

/// A column whose values have an order and can be kept.
pub trait Values: 'static {
    /// A value in the column or in the state.
    type Ref<'a>: Copy + Ord;
    /// A value in the state.
    type Owned: Clone + Default;

    /// Reads a column.
    fn of(array: &ArrayRef) -> Self;
    /// Whether the row is not NULL.
    fn is_valid(&self, row: usize) -> bool;
    /// The value of a row that is not NULL.
    fn get(&self, row: usize) -> Self::Ref<'_>;
    /// Copies a value into the state.
    fn own(value: Self::Ref<'_>) -> Self::Owned;
    /// Bytes that a value of the state has outside of itself.
    fn bytes(value: &Self::Owned) -> usize;
    /// Looks at a value of the state.
    fn view(value: &Self::Owned) -> Self::Ref<'_>;
    /// A column of values of the state.
    fn array<'a>(values: impl Iterator<Item = Option<&'a Self::Owned>>, data_type: &DataType) -> ArrayRef;
}

/// Values of fixed width as 64 bits, in the order of the values. -0.0 is 0.0; NaN is one, above all numbers.
pub struct Fixed {
    values: ScalarBuffer<i64>,
    nulls: Option<NullBuffer>,
}

/// 64 bits of a state, at any multiple of four bytes: beside smaller fields eight would leave holes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bits([u32; 2]);

impl Bits {
    /// The bits of a number.
    pub fn of(value: i64) -> Self {
        Bits([value as u32, (value >> 32) as u32])
    }

    /// The number.
    pub fn get(self) -> i64 {
        i64::from(self.0[1] as i32) << 32 | i64::from(self.0[0])
    }
}

/// Texts.
pub struct Text(StringArray);

/// Bytes: order keys of several columns.
pub struct Packed(BinaryArray);

/// Whether [`Fixed`] holds values of this type; [`Text`] holds Utf8.
pub fn is_fixed(data_type: &DataType) -> bool {
    use DataType::{Boolean, Date32, Float64, Int32, Int64, Timestamp};
    matches!(data_type, Boolean | Int32 | Int64 | Float64 | Date32 | Timestamp(TimeUnit::Nanosecond, None))
}

fn float_to_fixed(value: f64) -> i64 {
    (ordered_bits(value) as i64) ^ i64::MIN
}

/// The double that [`Fixed`] holds as `value`.
pub fn fixed_to_float(value: i64) -> f64 {
    from_ordered_bits((value ^ i64::MIN) as u64)
}

impl Values for Fixed {
    type Ref<'a> = i64;
    type Owned = Bits;

    fn of(array: &ArrayRef) -> Self {
        let values = match array.data_type() {
            DataType::Boolean => array.as_boolean().values().iter().map(i64::from).collect(),
            DataType::Int32 => {
                array.as_primitive::<Int32Type>().values().iter().map(|v| i64::from(*v)).collect()
            }
            DataType::Date32 => {
                array.as_primitive::<Date32Type>().values().iter().map(|v| i64::from(*v)).collect()
            }
            DataType::Float64 => {
                array.as_primitive::<Float64Type>().values().iter().map(|v| float_to_fixed(*v)).collect()
            }
            DataType::Int64 => array.as_primitive::<Int64Type>().values().clone(),
            _ => array.as_primitive::<TimestampNanosecondType>().values().clone(),
        };
        Fixed { values, nulls: array.nulls().cloned() }
    }

    fn is_valid(&self, row: usize) -> bool {
        self.nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row))
    }

    fn get(&self, row: usize) -> i64 {
        self.values[row]
    }

    fn own(value: i64) -> Bits {
        Bits::of(value)
    }

    fn bytes(_value: &Bits) -> usize {
        0
    }

    fn view(value: &Bits) -> i64 {
        value.get()
    }

    fn array<'a>(values: impl Iterator<Item = Option<&'a Bits>>, data_type: &DataType) -> ArrayRef {
        let values = values.map(|value| value.map(|value| value.get()));
        match data_type {
            DataType::Boolean => Arc::new(values.map(|v| v.map(|v| v != 0)).collect::<BooleanArray>()),
            DataType::Int32 => Arc::new(values.map(|v| v.map(|v| v as i32)).collect::<Int32Array>()),
            DataType::Date32 => Arc::new(values.map(|v| v.map(|v| v as i32)).collect::<Date32Array>()),
            DataType::Float64 => Arc::new(values.map(|v| v.map(fixed_to_float)).collect::<Float64Array>()),
            DataType::Int64 => Arc::new(values.collect::<Int64Array>()),
            _ => Arc::new(values.collect::<TimestampNanosecondArray>()),
        }
    }
}

impl Values for Text {
    type Ref<'a> = &'a str;
    type Owned = Box<str>;

    fn of(array: &ArrayRef) -> Self {
        Text(array.as_string::<i32>().clone())
    }

    fn is_valid(&self, row: usize) -> bool {
        self.0.is_valid(row)
    }

    fn get(&self, row: usize) -> &str {
        self.0.value(row)
    }

    fn own(value: &str) -> Box<str> {
        value.into()
    }

    fn bytes(value: &Box<str>) -> usize {
        value.len()
    }

    fn view(value: &Box<str>) -> &str {
        value
    }

    fn array<'a>(values: impl Iterator<Item = Option<&'a Box<str>>>, _: &DataType) -> ArrayRef {
        Arc::new(values.collect::<StringArray>())
    }
}

impl Values for Packed {
    type Ref<'a> = &'a [u8];
    type Owned = Box<[u8]>;

    fn of(array: &ArrayRef) -> Self {
        Packed(array.as_binary::<i32>().clone())
    }

    fn is_valid(&self, row: usize) -> bool {
        self.0.is_valid(row)
    }

    fn get(&self, row: usize) -> &[u8] {
        self.0.value(row)
    }

    fn own(value: &[u8]) -> Box<[u8]> {
        value.into()
    }

    fn bytes(value: &Box<[u8]>) -> usize {
        value.len()
    }

    fn view(value: &Box<[u8]>) -> &[u8] {
        value
    }

    fn array<'a>(values: impl Iterator<Item = Option<&'a Box<[u8]>>>, _: &DataType) -> ArrayRef {
        Arc::new(values.collect::<BinaryArray>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_those_of_the_number() {
        for value in [0, 1, -1, i64::MIN, i64::MAX, 1 << 31, -1 << 31, 1 << 32, 0xffff_ffff, -0xffff_ffff] {
            assert_eq!(Bits::of(value).get(), value);
        }
        assert_eq!((size_of::<Option<Bits>>(), size_of::<(Bits, u32)>()), (12, 12));
    }
}

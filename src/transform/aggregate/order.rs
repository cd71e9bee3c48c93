//! ORDER BY inside an aggregate function, as one column that compares as the rows are ordered.
//!
//! One ascending expression is that column itself. Several ones, or a descending one, become bytes: of each a
//! mark for NULL, then the canonical bytes of the value, with all bits flipped where it is descending. These
//! bytes are never the beginning of another value's, so that flipping turns their order around.

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray};
use arrow::datatypes::DataType;

use crate::canonical::CanonicalRows;

/// NULL before all values, a value, NULL behind all values. None of them is 0 or 255, which stand at the end of
/// texts: what follows a text must be above the one and below the other.
const NULL_FIRST: u8 = 1;
const VALUE: u8 = 2;
const NULL_LAST: u8 = 3;
/// Stands between the order and what decides ties.
const END: u8 = 1;

/// An evaluated expression of ORDER BY.
pub struct OrderColumn {
    pub values: ArrayRef,
    pub descending: bool,
    pub nulls_first: bool,
}

/// The columns of an ORDER BY as one of bytes.
pub fn pack(columns: &[OrderColumn], rows: usize) -> BinaryArray {
    let encoded: Vec<_> = columns.iter().map(|column| encode(&column.values, rows)).collect();
    let mut packed = Vec::new();
    BinaryArray::from_iter_values((0..rows).map(|row| {
        packed.clear();
        for (column, encoded) in columns.iter().zip(&encoded) {
            if column.values.is_null(row) {
                packed.push(if column.nulls_first { NULL_FIRST } else { NULL_LAST });
                continue;
            }
            packed.push(VALUE);
            let flip = if column.descending { 0xff } else { 0 };
            packed.extend(encoded.row(row).iter().map(|byte| byte ^ flip));
        }
        packed.clone()
    }))
}

fn encode(column: &ArrayRef, rows: usize) -> CanonicalRows {
    let mut encoded = CanonicalRows::default();
    encoded.encode(std::slice::from_ref(column), rows);
    encoded
}

/// The order keys of a batch as bytes.
#[derive(Default)]
pub struct Orders {
    packed: Option<BinaryArray>,
    plain: Option<CanonicalRows>,
}

impl Orders {
    /// Reads the order column of a batch, if there is one.
    pub fn read(&mut self, order: Option<&ArrayRef>, rows: usize) {
        self.packed =
            order.filter(|order| *order.data_type() == DataType::Binary).map(|it| it.as_binary().clone());
        let plain = order.filter(|_| self.packed.is_none());
        self.plain = plain.map(|order| {
            let mut encoded = self.plain.take().unwrap_or_default();
            encoded.encode(std::slice::from_ref(order), rows);
            encoded
        });
    }

    /// Appends the order key of a row.
    pub fn write(&self, key: &mut Vec<u8>, row: usize) {
        if let Some(packed) = &self.packed {
            key.extend_from_slice(packed.value(row));
            key.push(END);
        } else if let Some(plain) = &self.plain {
            key.extend_from_slice(plain.row(row));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Int64Array, StringArray};

    use super::*;

    #[test]
    fn bytes_compare_as_the_rows_are_ordered() {
        let texts: ArrayRef =
            Arc::new(StringArray::from(vec![Some(""), Some("\0"), Some("a"), Some("a\0"), Some("ab"), None]));
        let numbers: ArrayRef =
            Arc::new(Int64Array::from(vec![Some(-1), Some(0), Some(1), None, Some(7), None]));
        let (mut rows, mut expected) = (Vec::new(), Vec::new());
        for text in 0..6 {
            for number in 0..6 {
                rows.push((text, number));
            }
        }
        let take = |column: &ArrayRef, pick: fn(&(u32, u32)) -> u32| {
            let places = arrow::array::UInt32Array::from_iter_values(rows.iter().map(pick));
            arrow::compute::take(column, &places, None).expect("places")
        };
        for (descending, nulls_first) in [(false, false), (false, true), (true, false), (true, true)] {
            let columns = [
                OrderColumn { values: take(&texts, |row| row.0), descending, nulls_first },
                OrderColumn { values: take(&numbers, |row| row.1), descending: !descending, nulls_first },
            ];
            let packed = pack(&columns, rows.len());
            let mut found: Vec<usize> = (0..rows.len()).collect();
            found.sort_by(|a, b| packed.value(*a).cmp(packed.value(*b)));
            let options = |descending| Some(arrow::compute::SortOptions { descending, nulls_first });
            let columns: Vec<_> = columns
                .iter()
                .map(|column| arrow::compute::SortColumn {
                    values: column.values.clone(),
                    options: options(column.descending),
                })
                .collect();
            let sorted = arrow::compute::lexsort_to_indices(&columns, None).expect("sortable");
            expected.clear();
            expected.extend(sorted.values().iter().map(|row| packed.value(*row as usize).to_vec()));
            let found: Vec<_> = found.into_iter().map(|row| packed.value(row).to_vec()).collect();
            assert_eq!(found, expected, "descending {descending}, nulls first {nulls_first}");
        }
    }
}

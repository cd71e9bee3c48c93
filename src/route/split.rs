//! Cuts a batch into one part for each worker.

use arrow::array::{ArrayRef, UInt32Array};

use crate::batch::Batch;
use crate::canonical::{CanonicalRows, key_group, worker_of};

/// The parts of `batch`, each with the worker that owns its keys, in the order of the workers; workers
/// without rows have no part, and rows keep their order. `keys` are the key columns of the rows; without any
/// all rows belong together.
///
/// Rows are sorted by worker with one `take`; the parts are slices of that.
///
/// # Panics
///
/// On key types that have no canonical encoding: the compiler lets none through.
pub fn split(batch: &Batch, keys: &[ArrayRef], workers: usize) -> Vec<(usize, Batch)> {
    if workers == 1 {
        return vec![(0, batch.clone())];
    }
    let mut rows = CanonicalRows::default();
    rows.encode(keys, batch.len());
    let targets: Vec<usize> = rows.iter().map(|row| worker_of(key_group(row), workers)).collect();
    let mut counts = vec![0; workers];
    for &target in &targets {
        counts[target] += 1;
    }
    if let Some(only) = counts.iter().position(|&count| count == batch.len()) {
        return if batch.is_empty() { Vec::new() } else { vec![(only, batch.clone())] };
    }
    let sorted = batch.take(&order(&targets, &counts)).expect("row numbers are in range");
    let mut start = 0;
    let mut parts = Vec::with_capacity(workers);
    for (worker, &count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
        parts.push((worker, sorted.slice(start, count)));
        start += count;
    }
    parts
}

/// Row numbers sorted by target, by counting.
fn order(targets: &[usize], counts: &[usize]) -> UInt32Array {
    let mut next: Vec<usize> = Vec::with_capacity(counts.len());
    let mut start = 0;
    for &count in counts {
        next.push(start);
        start += count;
    }
    let mut order = vec![0; targets.len()];
    for (row, &target) in targets.iter().enumerate() {
        order[next[target]] = row as u32;
        next[target] += 1;
    }
    UInt32Array::from(order)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{AsArray, Int64Array, RecordBatch, StringArray};
    use arrow::datatypes::Int64Type;

    use super::*;

    fn batch(rows: i64) -> (Batch, ArrayRef) {
        let keys: ArrayRef =
            Arc::new((0..rows).map(|row| Some(format!("k{}", row % 37))).collect::<StringArray>());
        let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(0..rows));
        let columns =
            RecordBatch::try_from_iter([("k", Arc::clone(&keys)), ("n", numbers)]).expect("columns");
        let mut batch = Batch::inserts(columns, None, 7);
        batch.diffs = Some(Int64Array::from_iter_values((0..rows).map(|row| row + 1)));
        (batch, keys)
    }

    #[test]
    fn every_row_goes_to_the_owner_of_its_key_in_order() {
        for workers in [2, 3, 8] {
            let (batch, keys) = batch(500);
            let parts = split(&batch, &[keys], workers);
            assert_eq!(parts.iter().map(|(_, part)| part.len()).sum::<usize>(), 500);
            for (worker, part) in &parts {
                let rows = crate::canonical::encode(&part.rows.columns()[..1], part.len());
                assert!(rows.iter().all(|row| worker_of(key_group(row), workers) == *worker));
                let numbers = part.rows.column(1).as_primitive::<Int64Type>();
                assert!(numbers.values().is_sorted());
                assert!((0..part.len()).all(|row| part.diff(row) == numbers.value(row) + 1));
            }
        }
    }

    #[test]
    fn what_needs_no_split_is_not_touched() {
        let (whole, keys) = batch(5);
        let one = split(&whole, &[keys], 1);
        assert!(Arc::ptr_eq(one[0].1.rows.column(0), whole.rows.column(0)));
        let global = split(&whole, &[], 4);
        assert_eq!((global.len(), global[0].0), (1, worker_of(key_group(&[]), 4)));
        let (empty, keys) = batch(0);
        assert!(split(&empty, &[keys], 2).is_empty());
    }
}

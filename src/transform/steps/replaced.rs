//! Which rows of an updating relation replace rows on which an expression has failed.

use std::collections::BTreeSet;

use arrow::array::{ArrayRef, AsArray, BooleanArray, UInt32Array};
use arrow::compute::filter;
use arrow::datatypes::UInt32Type;

use crate::batch::Batch;
use crate::canonical;
use crate::transform::eval::Failed;

/// The rows of a batch on their way through the steps of a leg.
pub struct Replaced {
    /// By row of the whole batch: it is added directly behind a row of its key that is taken back.
    replaces: Vec<bool>,
    /// Rows of the whole batch that are left, by their numbers.
    left: UInt32Array,
    /// Rows of the whole batch that are taken back and failed.
    failed: BTreeSet<u32>,
}

impl Replaced {
    /// All rows of `batch`, which come by pairs of an operator whose key is `key`. `None` where nothing is
    /// taken back.
    pub fn new(batch: &Batch, key: &[usize]) -> Option<Self> {
        let diffs = batch.diffs.as_ref()?.values();
        if !diffs.iter().any(|diff| *diff < 0) {
            return None;
        }
        let columns: Vec<ArrayRef> = key.iter().map(|column| batch.rows.column(*column).clone()).collect();
        let keys = canonical::encode(&columns, batch.len());
        let replaces = |row: usize| {
            row > 0 && diffs[row] > 0 && diffs[row - 1] < 0 && keys.row(row) == keys.row(row - 1)
        };
        Some(Replaced {
            replaces: (0..batch.len()).map(replaces).collect(),
            left: UInt32Array::from_iter_values(0..batch.len() as u32),
            failed: BTreeSet::new(),
        })
    }

    /// Only the rows of the mask are left.
    pub fn keep(&mut self, wanted: &BooleanArray) {
        let left = filter(&self.left, wanted).expect("a mask of the rows that are left");
        self.left = left.as_primitive::<UInt32Type>().clone();
    }

    /// Remembers the rows that are taken back and failed.
    pub fn note(&mut self, failed: &Failed, batch: &Batch) {
        let taken_back = failed.rows().filter(|row| batch.diff(*row) < 0);
        self.failed.extend(taken_back.map(|row| self.left.value(row)));
    }

    /// Whether the row of that number among those that are left replaces one that failed.
    pub fn failed(&self, row: usize) -> bool {
        let number = self.left.value(row);
        self.replaces[number as usize] && self.failed.contains(&(number - 1))
    }
}

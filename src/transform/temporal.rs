//! Rows of a stream, each with the row that a keyed relation has for it.
//!
//! Rows of the stream wait until their epoch is complete, so that they see all changes of the relation up to it
//! and none behind it, whatever came first. What leaves is never written again. A row keeps its origin.
//!
//! - Keys that hold a NULL match nothing.
//! - A row whose key fails is a dead letter, and so is one on which the condition fails.
//! - A row that leaves is emitted, one that has no match and would need one is filtered.

use std::collections::{HashMap, VecDeque};

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, UInt32Array, new_null_array};
use arrow::datatypes::DataType;
use tracing::error;

use crate::batch::Batch;
use crate::canonical::{self, CanonicalRows};
use crate::error::Result;
use crate::plan::{JoinKind, Lookup};
use crate::time::{Epoch, EpochClose};
use crate::transform::aggregate::groups::Group;
use crate::transform::eval::Evaluation;
use crate::transform::keyed_rows::KeyedRows;
use crate::transform::{KeyGroup, Operator, Output, Progress, SnapshotKind};

/// Rows of the stream that are looked up in one call.
const ROWS_MAX: usize = 16_384;

/// Canonical bytes of a row, and how often it is there.
type Odd = (Box<[u8]>, i64);

/// A join of a stream with a keyed relation on one worker.
pub struct TemporalJoin {
    plan: Lookup,
    rows: KeyedRows,
    /// A row of NULLs, for where there is no match.
    nulls: Box<[u8]>,
    /// Keys that have had more rows than one, or less than none, since the epoch began.
    odd: HashMap<Group, Vec<Odd>>,
    /// Keys that may have lost their row.
    emptied: Vec<Group>,
    /// Rows of the stream with their keys.
    waiting: VecDeque<(Batch, CanonicalRows)>,
}

impl TemporalJoin {
    /// The empty state of `plan`. Fails on types that cannot be kept.
    pub fn new(plan: &Lookup) -> Result<Self> {
        let rows = KeyedRows::new(&plan.name, plan.key_types.clone(), &plan.right)?;
        let nulls: Vec<ArrayRef> =
            plan.right.fields().iter().map(|field| new_null_array(field.data_type(), 1)).collect();
        let nulls = rows.encode(&nulls).row(0).as_ref().into();
        Ok(TemporalJoin {
            plan: plan.clone(),
            rows,
            nulls,
            odd: HashMap::new(),
            emptied: Vec::new(),
            waiting: VecDeque::new(),
        })
    }

    /// The rows of a batch whose keys can be computed, with these.
    fn keyed(&self, port: usize, batch: &Batch, out: &mut Output) -> (Batch, CanonicalRows) {
        let mut evaluation = Evaluation::new(batch);
        let keys = self.plan.keys[port].iter().zip(&self.plan.key_types);
        let mut keys: Vec<ArrayRef> = keys.map(|(key, to)| evaluation.column(key, to)).collect();
        let failed = evaluation.finish();
        let mut batch = batch.clone();
        if !failed.is_empty() {
            let good = failed.report(&batch, &self.plan.name, out, |_| false);
            batch = batch.filter(&good).expect("masks of one length");
            for key in &mut keys {
                *key = arrow::compute::filter(key, &good).expect("masks of one length");
            }
        }
        let mut encoded = CanonicalRows::default();
        encoded.encode(&keys, batch.len());
        (batch, encoded)
    }

    /// Takes in changes of the relation. Nobody looks before the epoch is complete.
    fn change(&mut self, batch: &Batch, keys: &CanonicalRows, out: &mut Output) {
        let rows = self.rows.encode(batch.rows.columns());
        for index in 0..batch.len() {
            let (key, diff) = (keys.row(index), batch.diff(index));
            if canonical::has_null(key) {
                // No row of the stream will ever ask for it.
                out.filtered += diff;
                continue;
            }
            let group = self.rows.intern(key);
            let row = rows.row(index);
            if let Some(odd) = self.odd.get_mut(&group) {
                odd.push((row.as_ref().into(), diff));
                continue;
            }
            match (self.rows.get(group), diff) {
                (None, 1) => _ = self.rows.replace(group, Some(row.as_ref().into())),
                (Some(old), -1) if old == row.as_ref() => {
                    self.rows.replace(group, None);
                    self.emptied.push(group);
                }
                _ => {
                    let old = self.rows.replace(group, None).map(|old| (old, 1));
                    let changes = old.into_iter().chain([(row.as_ref().into(), diff)]).collect();
                    self.odd.insert(group, changes);
                }
            }
        }
    }

    /// The epoch is complete: each key has one row or none.
    fn settle(&mut self) {
        for (group, changes) in self.odd.drain() {
            let mut counts: HashMap<Box<[u8]>, i64> = HashMap::new();
            for (row, diff) in changes {
                *counts.entry(row).or_default() += diff;
            }
            let mut left: Vec<(Box<[u8]>, i64)> =
                counts.into_iter().filter(|(_, count)| *count != 0).collect();
            if left.len() > 1 || left.iter().any(|(_, count)| *count != 1) {
                // The ledger counts them all, so that the run does not end well.
                error!(join = %self.plan.name, rows = left.len(), "a key has other than one row");
                debug_assert!(left.is_empty(), "{}: a key has other than one row", self.plan.name);
                left.sort();
            }
            let row = left.into_iter().find(|(_, count)| *count > 0).map(|(row, _)| row);
            if row.is_none() {
                self.emptied.push(group);
            }
            self.rows.replace(group, row);
        }
        self.emptied.sort_unstable();
        self.emptied.dedup();
        for group in std::mem::take(&mut self.emptied) {
            self.rows.forget_if_empty(group);
        }
    }

    /// Joins rows of the stream.
    fn join(&self, batch: Batch, keys: &CanonicalRows, wall_ms: i64, out: &mut Output) {
        let find = |key| if canonical::has_null(key) { None } else { self.rows.find(key) };
        let mut found: Vec<Option<&[u8]>> = keys.iter().map(find).collect();
        let mut failed = vec![false; batch.len()];
        if self.plan.condition.is_some() {
            self.check(&batch, &mut found, &mut failed, out);
        }
        let kept = |row: usize| {
            !failed[row]
                && match self.plan.kind {
                    JoinKind::Inner | JoinKind::Semi => found[row].is_some(),
                    JoinKind::Anti => found[row].is_none(),
                    _ => true,
                }
        };
        let kept: Vec<u32> = (0..batch.len()).filter(|row| kept(*row)).map(|row| row as u32).collect();
        let dead = failed.iter().filter(|failed| **failed).count();
        out.filtered += (batch.len() - kept.len() - dead) as i64;
        out.emitted += kept.len() as i64;
        if kept.is_empty() {
            return;
        }
        let left = if kept.len() == batch.len() { batch } else { taken(&batch, &kept) };
        let mut columns = left.rows.columns().to_vec();
        if self.plan.kind.gives_pairs() {
            let row = |row: &u32| found[*row as usize].unwrap_or(&self.nulls);
            columns.extend(self.rows.decode(kept.iter().map(row)));
        }
        let rows = RecordBatch::try_new(self.plan.schema.clone(), columns).expect("columns of both sides");
        out.batches.push(Batch { wall_ms, ..left.with_rows(rows) });
    }

    /// Takes away matches for which the condition is not true.
    fn check<'r>(
        &'r self,
        batch: &Batch,
        found: &mut [Option<&'r [u8]>],
        failed: &mut [bool],
        out: &mut Output,
    ) {
        let Some(condition) = &self.plan.condition else { return };
        let places: Vec<u32> =
            (0..batch.len()).filter(|row| found[*row].is_some()).map(|row| row as u32).collect();
        if places.is_empty() {
            return;
        }
        let left = taken(batch, &places);
        let mut columns = left.rows.columns().to_vec();
        columns.extend(self.rows.decode(places.iter().filter_map(|row| found[*row as usize])));
        let rows = RecordBatch::try_new(self.plan.pairs.clone(), columns).expect("columns of both sides");
        let pairs = left.with_rows(rows);
        let mut evaluation = Evaluation::new(&pairs);
        let values = evaluation.column(condition, &DataType::Boolean);
        let failures = evaluation.finish();
        let good = match failures.is_empty() {
            true => BooleanArray::from(vec![true; pairs.len()]),
            false => failures.report(&pairs, &self.plan.name, out, |_| false),
        };
        let values = values.as_boolean();
        for (place, row) in places.iter().enumerate() {
            failed[*row as usize] = !good.value(place);
            if !(values.is_valid(place) && values.value(place)) {
                found[*row as usize] = None;
            }
        }
    }
}

fn taken(batch: &Batch, rows: &[u32]) -> Batch {
    batch.take(&UInt32Array::from(rows.to_vec())).expect("rows of the batch")
}

impl Operator for TemporalJoin {
    fn on_batch(&mut self, port: usize, _epoch: Epoch, batch: &Batch, out: &mut Output) {
        let (batch, keys) = self.keyed(port, batch, out);
        if batch.is_empty() {
            return;
        }
        match port {
            0 => self.waiting.push_back((batch, keys)),
            _ => self.change(&batch, &keys, out),
        }
    }

    fn on_epoch(&mut self, close: &EpochClose, out: &mut Output) -> Progress {
        self.settle();
        let mut rows = 0;
        while let Some((batch, keys)) = self.waiting.pop_front() {
            rows += batch.len();
            self.join(batch, &keys, close.wall_ms, out);
            if rows >= ROWS_MAX && !self.waiting.is_empty() {
                return Progress::More;
            }
        }
        self.rows.trim();
        Progress::Done
    }

    fn rows_in_state(&self) -> i64 {
        self.rows.len()
    }

    fn state_bytes(&self) -> usize {
        self.rows.bytes()
    }

    fn snapshot(&mut self, kind: SnapshotKind) -> Vec<(KeyGroup, RecordBatch)> {
        self.rows.snapshot(kind)
    }

    fn snapshot_failed(&mut self) {
        self.rows.snapshot_failed();
    }

    fn restore(&mut self, state: &RecordBatch) -> Result<()> {
        self.rows.restore(state)
    }

    fn state_schema(&self) -> arrow::datatypes::SchemaRef {
        self.rows.state_schema()
    }
}

#[cfg(test)]
mod tests;

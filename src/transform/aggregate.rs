//! GROUP BY without window: keyed state that emits the change of each group once per epoch.
//!
//! Keys are interned to dense numbers; each aggregate keeps one column of state over these. When an epoch
//! first touches a group, its old row is evaluated; at the end of the epoch its new row, and where they
//! differ the old one leaves with diff -1 and the new one with +1. What leaves depends on the rows of the
//! epoch and the state before it, never on the order or the batches in which the rows came.
//!
//! - A group whose rows have all been taken back leaves the view, and its state is gone. Without keys there
//!   is one group, which is always there.
//! - A group of which an aggregate has no result (a sum out of range) has no row until it has one again, and
//!   one dead letter each time that this begins.

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, SchemaRef};
use tracing::error;

use crate::batch::Batch;
use crate::canonical::{self, key_group, worker_of};
use crate::error::Result;
use crate::plan::Aggregation;
use crate::time::{Epoch, EpochClose};
use crate::transform::aggregate::groups::Group;
use crate::transform::aggregate::keyed::Keyed;
use crate::transform::aggregate::partial::PARTIALS;
use crate::transform::aggregate::touched::{EMIT_GROUPS_MAX, Old, Touched};
use crate::transform::{KeyGroup, Operator, Output, Progress, SnapshotKind};

mod accumulate;
mod bits;
mod booleans;
pub(in crate::transform) mod bytes;
mod clipped;
mod distinct;
pub(in crate::transform) mod emit;
pub mod exact;
mod extremum;
pub(in crate::transform) mod groups;
pub(in crate::transform) mod input;
pub(in crate::transform) mod keyed;
mod list;
mod multiset;
pub(in crate::transform) mod order;
mod pairs;
pub mod partial;
mod percentile;
mod pick;
pub(in crate::transform) mod places;
mod quantile;
mod ranked;
mod rational;
mod sketch;
pub(in crate::transform) mod snapshot;
pub mod state;
mod ties;
pub(in crate::transform) mod touched;
mod values;
mod variance;

/// The state of one GROUP BY on one worker.
pub struct KeyedState {
    keyed: Keyed,
    /// The only group, where there are no keys and this worker owns it.
    global: Option<Group>,
    touched: Touched,
}

impl KeyedState {
    /// The empty state of `plan` on worker `worker` of `workers`. Fails on types that cannot be kept.
    pub fn new(plan: &Aggregation, worker: usize, workers: usize) -> Result<Self> {
        let key_fields = &plan.schema.fields()[..plan.keys.len()];
        let key_types: Vec<DataType> = key_fields.iter().map(|field| field.data_type().clone()).collect();
        let mut operator =
            KeyedState { keyed: Keyed::new(plan, key_types)?, global: None, touched: Touched::default() };
        if plan.keys.is_empty() && worker_of(key_group(&[]), workers) == worker {
            operator.global = Some(operator.keyed.groups.intern(&[]));
            operator.make_room();
            operator.touched.insert(0, Old::None);
        }
        Ok(operator)
    }

    /// Whether a group has a row, or would have one if its results were no errors.
    fn exists(&self, group: Group) -> bool {
        self.keyed.groups.rows(group) > 0 || self.global == Some(group)
    }

    fn make_room(&mut self) {
        self.keyed.make_room();
        self.touched.resize(self.keyed.groups.slots());
    }

    /// Takes in groups that other workers, or this one, have added up.
    fn on_partials(&mut self, partials: &RecordBatch) {
        let keys = &partials.columns()[..self.keyed.key_types.len()];
        self.keyed.intern(keys, partials.num_rows());
        self.make_room();
        self.touch();
        self.keyed.merge_saved(partials);
    }

    /// Evaluates the rows of groups that this epoch has not touched before, as they still are.
    fn touch(&mut self) {
        let chunk = self.touched.next_chunk();
        let mut existing = Vec::new();
        for group in &self.keyed.row_groups {
            if !self.touched.contains(*group) {
                let old =
                    if self.exists(*group) { Old::Row(chunk, existing.len() as u32) } else { Old::None };
                if old != Old::None {
                    existing.push(*group);
                }
                self.touched.insert(*group, old);
                self.keyed.tracker.change(*group);
            }
        }
        if !existing.is_empty() {
            let results = self.keyed.evaluate(&existing);
            for place in results.failed.keys() {
                self.touched.set_failed(existing[*place]);
            }
            self.touched.push_chunk(results.columns);
        }
    }

    /// Emits the changes of `groups`.
    fn emit(&self, groups: &[Group], wall_ms: i64, out: &mut Output) {
        let alive: Vec<Group> = groups.iter().copied().filter(|group| self.exists(*group)).collect();
        let results = self.keyed.evaluate(&alive);
        let keys = |groups: &[Group]| {
            let keys = groups.iter().map(|group| self.keyed.groups.key(*group));
            canonical::decode(keys, &self.keyed.key_types).expect("the state holds canonical keys")
        };
        let emitted = emit::changes(&self.touched, groups, &alive, &results, |group, aggregate, error| {
            out.letters.push(self.keyed.letter(keys(&[group]), aggregate, error.to_owned()));
        });
        if let Some(emitted) = emitted {
            let columns = [keys(&emitted.groups), emitted.columns].concat();
            out.batches.push(self.keyed.batch(columns, Some(emitted.diffs), wall_ms));
        }
    }

    /// Drops the groups that have no rows any more.
    fn drop_empty(&mut self, groups: &[Group]) {
        for group in groups.iter().copied() {
            if self.exists(group) {
                continue;
            }
            let rows = self.keyed.groups.rows(group);
            if rows < 0 {
                error!(state = %self.keyed.name, rows, "more rows of a group were taken back than added");
                debug_assert!(rows == 0, "{}: a group with {rows} rows", self.keyed.name);
                continue;
            }
            self.keyed.drop_group(group);
        }
    }
}

impl Operator for KeyedState {
    fn on_batch(&mut self, port: usize, _epoch: Epoch, batch: &Batch, out: &mut Output) {
        if port == usize::from(PARTIALS) {
            self.on_partials(&batch.rows);
            return;
        }
        let taken = self.keyed.take(batch, out);
        if taken.batch.is_empty() {
            return;
        }
        self.keyed.intern(&taken.keys, taken.batch.len());
        self.make_room();
        self.touch();
        self.keyed.update(&taken);
    }

    fn on_epoch(&mut self, close: &EpochClose, out: &mut Output) -> Progress {
        if !self.touched.is_empty() {
            let groups = self.touched.next_groups(&self.keyed.groups, EMIT_GROUPS_MAX);
            self.emit(&groups, close.wall_ms, out);
            self.drop_empty(&groups);
            if !self.touched.is_done() {
                return Progress::More;
            }
            self.touched.clear();
            if self.keyed.trim() {
                self.make_room();
            }
        }
        Progress::Done
    }

    fn rows_in_state(&self) -> i64 {
        self.keyed.groups.total_rows()
    }

    fn state_bytes(&self) -> usize {
        self.keyed.bytes() + self.touched.bytes()
    }

    fn snapshot(&mut self, kind: SnapshotKind) -> Vec<(KeyGroup, RecordBatch)> {
        let (touched, global) = (&self.touched, self.global);
        let lives = |groups: &groups::Groups, group| {
            (groups.rows(group) > 0 || global == Some(group)) && !touched.contains(group)
        };
        self.keyed.snapshot(kind, lives, key_group)
    }

    fn snapshot_failed(&mut self) {
        self.keyed.tracker.fail();
    }

    fn restore(&mut self, state: &RecordBatch) -> Result<()> {
        self.touched.clear();
        self.keyed.load(state)?;
        self.make_room();
        Ok(())
    }

    fn state_schema(&self) -> SchemaRef {
        self.keyed.state_schema.clone()
    }
}

#[cfg(test)]
mod tests;

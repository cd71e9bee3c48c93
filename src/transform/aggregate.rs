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
use crate::canonical::{self, CanonicalRows, key_group, worker_of};
use crate::error::{Error, Result};
use crate::plan::{Aggregate, Aggregation};
use crate::time::{Epoch, EpochClose};
use crate::transform::aggregate::groups::{Group, Groups};
use crate::transform::aggregate::input::{Inputs, Taken, Types};
use crate::transform::aggregate::snapshot::{Tracker, state_schema};
use crate::transform::aggregate::state::{Rows, State};
use crate::transform::aggregate::ties::Ties;
use crate::transform::aggregate::touched::{Old, Touched};
use crate::transform::{KeyGroup, Operator, Output, Progress, SnapshotKind};

mod accumulate;
mod bits;
mod booleans;
mod bytes;
mod distinct;
mod emit;
pub mod exact;
mod extremum;
mod groups;
mod input;
mod list;
mod multiset;
mod order;
mod percentile;
mod pick;
mod sketch;
mod snapshot;
pub mod state;
mod ties;
mod touched;
mod values;
mod variance;

/// The state of one GROUP BY on one worker.
pub struct KeyedState {
    name: String,
    schema: SchemaRef,
    state_schema: SchemaRef,
    key_types: Vec<DataType>,
    /// The aggregates as the user wrote them.
    texts: Vec<String>,
    append_only: bool,
    /// Whether any aggregate asks which row was first or last.
    has_ties: bool,
    /// The only group, where there are no keys and this worker owns it.
    global: Option<Group>,
    inputs: Inputs,
    groups: Groups,
    states: Vec<Box<dyn State>>,
    touched: Touched,
    tracker: Tracker,
    ties: Ties,
    /// Memory of the last batch.
    keys: CanonicalRows,
    row_groups: Vec<Group>,
}

impl KeyedState {
    /// The empty state of `plan` on worker `worker` of `workers`. Fails on types that cannot be kept.
    pub fn new(plan: &Aggregation, worker: usize, workers: usize) -> Result<Self> {
        let types = plan.aggregates.iter().map(|aggregate| Types::of(aggregate, &plan.input));
        let types = types.collect::<Result<Vec<_>>>()?;
        let build = |(aggregate, types)| state::build(aggregate, types, plan.append_only_input);
        let states = plan.aggregates.iter().zip(&types).map(build).collect::<Result<Vec<_>>>()?;
        let key_fields = &plan.schema.fields()[..plan.keys.len()];
        let key_types: Vec<DataType> = key_fields.iter().map(|field| field.data_type().clone()).collect();
        check_types(plan, &key_types)?;
        let mut operator = KeyedState {
            name: plan.name.clone(),
            schema: plan.schema.clone(),
            state_schema: state_schema(&key_types, &states),
            key_types,
            texts: plan.aggregates.iter().map(|aggregate| aggregate.text.clone()).collect(),
            append_only: plan.append_only_input,
            has_ties: has_ties(plan),
            global: None,
            inputs: Inputs::new(plan, &types),
            groups: Groups::default(),
            states,
            touched: Touched::default(),
            tracker: Tracker::default(),
            ties: Ties::default(),
            keys: CanonicalRows::default(),
            row_groups: Vec::new(),
        };
        if plan.keys.is_empty() && worker_of(key_group(&[]), workers) == worker {
            operator.global = Some(operator.groups.intern(&[]));
            operator.make_room();
            operator.touched.insert(0, Old::None);
        }
        Ok(operator)
    }

    /// Whether a group has a row, or would have one if its results were no errors.
    fn exists(&self, group: Group) -> bool {
        self.groups.rows(group) > 0 || self.global == Some(group)
    }

    fn make_room(&mut self) {
        let slots = self.groups.slots();
        self.states.iter_mut().for_each(|state| state.resize(slots));
        self.touched.resize(slots);
        self.tracker.resize(slots);
    }

    /// Evaluates the rows of groups that this epoch has not touched before, as they still are.
    fn touch(&mut self) {
        let chunk = self.touched.next_chunk();
        let mut existing = Vec::new();
        for group in &self.row_groups {
            if !self.touched.contains(*group) {
                let old =
                    if self.exists(*group) { Old::Row(chunk, existing.len() as u32) } else { Old::None };
                if old != Old::None {
                    existing.push(*group);
                }
                self.touched.insert(*group, old);
                self.tracker.change(*group);
            }
        }
        if !existing.is_empty() {
            let results = self.evaluate(&existing);
            for place in results.failed.keys() {
                self.touched.set_failed(existing[*place]);
            }
            self.touched.push_chunk(results.columns);
        }
    }

    /// Takes in rows whose groups have been touched.
    fn update(&mut self, taken: &Taken) {
        let diffs = taken.batch.diffs.as_ref().map(|diffs| &diffs.values()[..]);
        if !self.has_ties {
            // Most aggregates do not ask, and reading ties is not free.
        } else if self.append_only {
            self.ties.read_origins(&taken.batch);
        } else {
            self.ties.read_rows(&taken.batch);
        }
        let rows = Rows { groups: &self.row_groups, diffs, ties: &self.ties };
        for (row, group) in rows.groups.iter().enumerate() {
            self.groups.add_rows(*group, rows.diff(row));
        }
        for (state, arguments) in self.states.iter_mut().zip(&taken.arguments) {
            state.update(&rows, arguments);
        }
    }

    /// Drops the groups that have no rows any more.
    fn drop_empty(&mut self, groups: &[Group]) {
        for group in groups.iter().copied() {
            if self.exists(group) {
                continue;
            }
            let rows = self.groups.rows(group);
            if rows < 0 {
                error!(state = %self.name, rows, "more rows of a group were taken back than added");
                debug_assert!(rows == 0, "{}: a group with {rows} rows", self.name);
                continue;
            }
            self.tracker.remove(group, self.groups.key(group));
            self.forget(group);
        }
    }

    fn forget(&mut self, group: Group) {
        self.states.iter_mut().for_each(|state| state.clear(group));
        self.groups.remove(group);
    }
}

fn has_ties(plan: &Aggregation) -> bool {
    plan.aggregates.iter().any(Aggregate::has_ties)
}

/// Refuses types without canonical bytes where those are needed: in keys, and in all columns of updating
/// input whose rows have to be told apart.
fn check_types(plan: &Aggregation, key_types: &[DataType]) -> Result<()> {
    let by_row = has_ties(plan) && !plan.append_only_input;
    let columns = plan.input.fields().iter().map(|field| field.data_type()).filter(|_| by_row);
    match key_types.iter().chain(columns).find(|data_type| !canonical::supports(data_type)) {
        None => Ok(()),
        Some(other) => Err(Error::internal(format!("{} cannot keep values of type {other}", plan.name))),
    }
}

impl Operator for KeyedState {
    fn on_batch(&mut self, _port: usize, _epoch: Epoch, batch: &Batch, out: &mut Output) {
        let taken = self.inputs.take(batch, &self.name, out);
        if taken.batch.is_empty() {
            return;
        }
        self.keys.encode(&taken.keys, taken.batch.len());
        self.row_groups.clear();
        self.row_groups.extend(self.keys.iter().map(|key| self.groups.intern(key)));
        self.make_room();
        self.touch();
        self.update(&taken);
    }

    fn on_epoch(&mut self, close: &EpochClose, out: &mut Output) -> Progress {
        if !self.touched.is_empty() {
            let groups = self.touched.next_groups(&self.groups);
            self.emit(&groups, close.wall_ms, out);
            self.drop_empty(&groups);
            if !self.touched.is_done() {
                return Progress::More;
            }
            self.touched.clear();
        }
        Progress::Done
    }

    fn rows_in_state(&self) -> i64 {
        self.groups.total_rows()
    }

    fn snapshot(&mut self, kind: SnapshotKind) -> Vec<(KeyGroup, RecordBatch)> {
        self.take_snapshot(kind)
    }

    fn snapshot_failed(&mut self) {
        self.fail_snapshot();
    }

    fn restore(&mut self, state: &RecordBatch) -> Result<()> {
        self.load(state)
    }

    fn state_schema(&self) -> SchemaRef {
        self.state_schema.clone()
    }
}

#[cfg(test)]
mod tests;

//! Groups by key with the states of their aggregates: what GROUP BYs with and without windows have in common.

use std::collections::BTreeMap;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch};
use arrow::compute::filter;
use arrow::datatypes::{DataType, Int64Type, SchemaRef};

use crate::batch::Batch;
use crate::canonical::{self, CanonicalRows};
use crate::dead_letter::{DeadLetter, Reason};
use crate::error::{Error, Result};
use crate::plan::{Aggregate, Aggregation};
use crate::transform::Output;
use crate::transform::aggregate::groups::{Group, Groups};
use crate::transform::aggregate::input::{Inputs, Taken, Types};
use crate::transform::aggregate::snapshot::{ROW_COUNTS, STATES, Tracker, state_schema};
use crate::transform::aggregate::state::{self, Rows, State};
use crate::transform::aggregate::ties::Ties;
use crate::transform::letter::object_json;

/// Of how many groups the memory is looked at.
const SAMPLED_GROUPS: usize = 256;

/// Groups, and for each aggregate one column of state over them.
pub struct Keyed {
    pub name: String,
    /// What leaves.
    pub schema: SchemaRef,
    pub state_schema: SchemaRef,
    /// Types of the columns that make up the key of a group.
    pub key_types: Vec<DataType>,
    pub groups: Groups,
    pub tracker: Tracker,
    /// The group of each row of the last batch.
    pub row_groups: Vec<Group>,
    pub(super) states: Vec<Box<dyn State>>,
    pub(super) ties: Ties,
    /// The aggregates as the user wrote them.
    texts: Vec<String>,
    append_only: bool,
    /// Whether any aggregate asks which row was first or last.
    has_ties: bool,
    inputs: Inputs,
    /// Memory of the last batch.
    keys: CanonicalRows,
}

/// The results of all aggregates for some groups.
pub struct Results {
    pub columns: Vec<ArrayRef>,
    /// By place the first aggregate without a result, and why.
    pub failed: BTreeMap<usize, (usize, String)>,
}

impl Keyed {
    /// The empty state of `plan`, with groups by `key_types`. Fails on types that cannot be kept.
    pub fn new(plan: &Aggregation, key_types: Vec<DataType>) -> Result<Self> {
        let types = plan.aggregates.iter().map(|aggregate| Types::of(aggregate, &plan.input));
        let types = types.collect::<Result<Vec<_>>>()?;
        let build = |(aggregate, types)| state::build(aggregate, types, plan.append_only_input);
        let states = plan.aggregates.iter().zip(&types).map(build).collect::<Result<Vec<_>>>()?;
        check_types(plan, &key_types)?;
        Ok(Keyed {
            name: plan.name.clone(),
            schema: plan.schema.clone(),
            state_schema: state_schema(&key_types, &states),
            key_types,
            groups: Groups::default(),
            tracker: Tracker::default(),
            row_groups: Vec::new(),
            states,
            ties: Ties::default(),
            texts: plan.aggregates.iter().map(|aggregate| aggregate.text.clone()).collect(),
            append_only: plan.append_only_input,
            has_ties: has_ties(plan),
            inputs: Inputs::new(plan, &types),
            keys: CanonicalRows::default(),
        })
    }

    /// Evaluates what a batch brings; rows on which that fails become letters.
    pub fn take(&self, batch: &Batch, out: &mut Output) -> Taken {
        self.inputs.take(batch, &self.name, out)
    }

    /// Finds the group of each row by the columns of its key.
    pub fn intern(&mut self, keys: &[ArrayRef], rows: usize) {
        self.keys.encode(keys, rows);
        self.row_groups.clear();
        self.row_groups.extend(self.keys.iter().map(|key| self.groups.intern(key)));
        self.make_room();
    }

    /// The same for an empty state, if it makes no more than `most` groups; else the state stays empty.
    pub(super) fn intern_few(&mut self, keys: &[ArrayRef], rows: usize, most: usize) -> bool {
        self.keys.encode(keys, rows);
        self.row_groups.clear();
        for key in self.keys.iter() {
            self.row_groups.push(self.groups.intern(key));
            if self.groups.count() > most {
                let groups: Vec<Group> = self.groups.iter().collect();
                groups.into_iter().for_each(|group| self.groups.remove(group));
                return false;
            }
        }
        self.make_room();
        true
    }

    /// Takes in rows, into the groups that [`intern`](Self::intern) has found.
    pub fn update(&mut self, taken: &Taken) {
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

    /// Makes room in the states for all groups.
    pub fn make_room(&mut self) {
        let slots = self.groups.slots();
        self.states.iter_mut().for_each(|state| state.resize(slots));
        self.tracker.resize(slots);
    }

    /// Gives back memory of which most is not needed any more; whether there are fewer slots now.
    pub fn trim(&mut self) -> bool {
        let trimmed = self.groups.trim();
        if trimmed {
            self.make_room();
        }
        trimmed
    }

    /// About how many bytes of memory it takes. What groups have beside their slots is taken from some of them.
    pub fn bytes(&self) -> usize {
        let slots = self.groups.slots();
        let step = slots.div_ceil(SAMPLED_GROUPS).max(1);
        let sample = (0..slots as Group).step_by(step);
        let of_states = self.states.iter().map(|state| {
            let sampled: usize = sample.clone().map(|group| state.bytes_of(group)).sum();
            state.bytes() + sampled * step
        });
        self.groups.bytes() + self.tracker.bytes() + of_states.sum::<usize>()
    }

    /// Evaluates all aggregates for `groups`.
    pub fn evaluate(&self, groups: &[Group]) -> Results {
        let mut failed = BTreeMap::new();
        let mut errors = Vec::new();
        let mut columns = Vec::with_capacity(self.states.len());
        for (aggregate, state) in self.states.iter().enumerate() {
            columns.push(state.evaluate(groups, &mut errors));
            for (place, error) in errors.drain(..) {
                failed.entry(place).or_insert((aggregate, error));
            }
        }
        Results { columns, failed }
    }

    /// Makes `into` what it would be had it seen the rows of `from` too.
    pub fn merge(&mut self, from: Group, into: Group) {
        self.states.iter_mut().for_each(|state| state.merge(from, into, &self.ties));
    }

    /// How many rows there are in each of the groups that [`save`](Self::save) gave.
    pub fn saved_rows(&self, saved: &RecordBatch) -> Int64Array {
        saved.column(self.key_types.len() + ROW_COUNTS).as_primitive::<Int64Type>().clone()
    }

    /// Takes in groups as [`save`](Self::save) gives them, into those that [`intern`](Self::intern) has found by
    /// their keys.
    pub fn merge_saved(&mut self, saved: &RecordBatch) {
        for (group, rows) in self.row_groups.iter().zip(self.saved_rows(saved).values()) {
            self.groups.add_rows(*group, *rows);
        }
        let loaded: Vec<Group> = self.row_groups.iter().map(|_| self.groups.reserve()).collect();
        self.make_room();
        let mut columns = &saved.columns()[self.key_types.len() + STATES..];
        for state in &mut self.states {
            let (own, others) = columns.split_at(state.fields().len());
            state.load(&loaded, own, &mut self.ties).expect("a worker has saved it in the same schema");
            for (from, into) in loaded.iter().zip(&self.row_groups) {
                state.merge(*from, *into, &self.ties);
            }
            columns = others;
        }
        loaded.into_iter().for_each(|group| self.give_back(group));
    }

    /// A group without a key, to merge others into.
    pub fn scratch(&mut self) -> Group {
        let group = self.groups.reserve();
        self.make_room();
        group
    }

    /// Gives back a group from [`scratch`](Self::scratch).
    pub fn give_back(&mut self, group: Group) {
        self.states.iter_mut().for_each(|state| state.clear(group));
        self.groups.give_back(group);
    }

    /// Drops a group, and remembers that it is gone.
    pub fn drop_group(&mut self, group: Group) {
        self.tracker.remove(group, self.groups.key(group));
        self.forget(group);
    }

    pub(super) fn forget(&mut self, group: Group) {
        self.states.iter_mut().for_each(|state| state.clear(group));
        self.groups.remove(group);
    }

    /// Gives out results that were not shown before: rows that are added, and a letter for each error. `keys` are the
    /// columns that name the rows.
    pub fn give_out(&self, keys: Vec<ArrayRef>, results: Results, wall_ms: i64, out: &mut Output) {
        let rows = keys.first().map_or(0, |column| column.len());
        let mut columns = [keys.clone(), results.columns].concat();
        if !results.failed.is_empty() {
            let good: BooleanArray = (0..rows).map(|row| Some(!results.failed.contains_key(&row))).collect();
            columns.iter_mut().for_each(|column| *column = filter(column, &good).expect("one length"));
        }
        for (row, (aggregate, error)) in results.failed {
            let key = keys.iter().map(|column| column.slice(row, 1)).collect();
            out.letters.push(self.letter(key, aggregate, error));
        }
        if columns.first().is_some_and(|column| !column.is_empty()) {
            out.batches.push(self.batch(columns, None, wall_ms));
        }
    }

    /// Rows of the result; without diffs they are all added.
    pub fn batch(&self, columns: Vec<ArrayRef>, diffs: Option<Vec<i64>>, wall_ms: i64) -> Batch {
        let rows = RecordBatch::try_new(self.schema.clone(), columns).expect("columns of the schema");
        Batch { rows, diffs: diffs.map(Int64Array::from), origin: None, wall_ms }
    }

    /// Says that an aggregate has no result; `key` are the columns of the key, of one row.
    pub fn letter(&self, key: Vec<ArrayRef>, aggregate: usize, error: String) -> DeadLetter {
        DeadLetter {
            origin: None,
            row: Some(object_json(&self.schema, key)),
            reason: Reason::Aggregate,
            error,
            rule: self.texts[aggregate].clone(),
            stage: self.name.clone(),
        }
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

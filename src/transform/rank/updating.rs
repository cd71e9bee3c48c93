//! `row_number() OVER (PARTITION BY k ORDER BY x)` without a window: rows leave at once, and are taken back when
//! others move them.
//!
//! What is kept is a GROUP BY of the key with one aggregate, the first rows of the group as bytes that compare as the
//! rows are ordered ([`Entry`]): keys, snapshots and memory are its. What leaves it, the list of a key before and
//! behind the epoch, becomes the rows in which the two differ.
//!
//! - Over append-only input rows that are not among the first are forgotten; over updating input all are kept, since
//!   any of them can move up.
//! - Of rows that are equal in the order the one with the lower origin is the first, see [`Entry::write`].
//! - An epoch gives at most one row to take back and one to add for each place, and nothing where nothing differs.
//!   Where nobody reads the numbers, rows that only move give nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, LargeBinaryBuilder, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion_physical_expr::expressions::Column;

use super::Columns;
use crate::batch::Batch;
use crate::canonical;
use crate::error::Result;
use crate::plan::{Aggregate, AggregateFunction, Aggregation, Expr, Parameter, Rank};
use crate::time::{Epoch, EpochClose};
use crate::transform::aggregate::KeyedState;
use crate::transform::aggregate::bytes::read_part;
use crate::transform::aggregate::places::{self, Counter, Entry};
use crate::transform::{KeyGroup, Operator, Output, Progress, SnapshotKind};

/// The first rows of each key on one worker.
pub struct Updating {
    plan: Rank,
    columns: Columns,
    /// Types of the columns that leave, without the numbers.
    types: Vec<DataType>,
    /// The columns of the key and the row: what the keyed state reads.
    input: SchemaRef,
    keyed: KeyedState,
}

/// A row that leaves, with its numbers.
type Numbered<'a> = (&'a [u8], Vec<i64>);

/// Rows that leave.
#[derive(Default)]
struct Changes<'a> {
    rows: Vec<Numbered<'a>>,
    diffs: Vec<i64>,
}

impl Updating {
    /// The empty state of `plan` on worker `worker` of `workers`. Fails on types that cannot be kept.
    pub fn new(plan: &Rank, worker: usize, workers: usize) -> Result<Self> {
        let columns = Columns::new(plan)?;
        let key = |(index, (_, kind)): (usize, &(Expr, DataType))| {
            Field::new(format!("key.{index}"), kind.clone(), true)
        };
        let keys: Vec<Field> = columns.keys.iter().enumerate().map(key).collect();
        let with = |name: &str| {
            let row = Field::new(name, DataType::LargeBinary, false);
            Arc::new(Schema::new([keys.clone(), vec![row]].concat()))
        };
        let (input, listed) = (with("row"), with("rows"));
        let column = |index: usize| {
            let physical = Arc::new(Column::new(input.field(index).name(), index));
            Expr { physical, text: input.field(index).name().clone(), uses_now: false }
        };
        let aggregate = Aggregate {
            second: None,
            function: AggregateFunction::FirstRows,
            distinct: false,
            argument: Some(column(keys.len())),
            parameter: Some(Parameter::First(plan.first())),
            order_by: Vec::new(),
            ignore_nulls: false,
            filter: None,
            field: Arc::clone(&listed.fields()[keys.len()]),
            text: plan.name.clone(),
        };
        let aggregation = Aggregation {
            name: plan.name.clone(),
            input: Arc::clone(&input),
            keys: (0..keys.len()).map(column).collect(),
            aggregates: vec![aggregate],
            schema: listed,
            append_only_input: plan.append_only_input,
            window: None,
        };
        let types = plan.schema.fields()[..plan.width()].iter().map(|field| field.data_type().clone());
        Ok(Updating {
            types: types.collect(),
            keyed: KeyedState::new(&aggregation, worker, workers)?,
            plan: plan.clone(),
            columns,
            input,
        })
    }

    /// The rows of the lists that a key had and has, as far as they differ.
    fn compare<'a>(&self, old: &'a [u8], new: &'a [u8], changes: &mut Changes<'a>) {
        let (old, new) = (self.rows(old), self.rows(new));
        let mut differences = Vec::new();
        for place in 0..old.len().max(new.len()) {
            let (old, new) = (old.get(place), new.get(place));
            if old != new {
                differences.extend(old.map(|row| (row, -1)).into_iter().chain(new.map(|row| (row, 1))));
            }
        }
        if self.plan.has_places() {
            differences.into_iter().for_each(|(row, diff)| changes.push(row.clone(), diff));
            return;
        }
        // The same row may stand elsewhere.
        let mut sums: BTreeMap<&Numbered, i64> = BTreeMap::new();
        differences.iter().for_each(|(row, diff)| *sums.entry(row).or_default() += diff);
        for (row, diff) in sums.into_iter().filter(|(_, diff)| *diff != 0) {
            changes.push(row.clone(), diff);
        }
    }

    /// The rows of a list, with their numbers.
    fn rows<'a>(&self, mut list: &'a [u8]) -> Vec<Numbered<'a>> {
        let mut counter = Counter::default();
        let mut before = None;
        let rows = std::iter::from_fn(|| {
            let entry = Entry::read(read_part(&mut list)?)?;
            counter.count(before.replace(entry.order) == Some(entry.order));
            Some((entry.content, self.plan.numbers.iter().map(|number| counter.number(*number)).collect()))
        });
        rows.collect()
    }

    /// What leaves, given what the keyed state gives out: for each key its list, the old one in front of the new one.
    fn changed(&self, batch: &Batch) -> Option<Batch> {
        let (list, keys) = batch.rows.columns().split_last().expect("a list of rows");
        let (lists, keys) = (list.as_binary::<i64>(), canonical::encode(keys, batch.len()));
        let mut changes = Changes::default();
        let mut row = 0;
        while row < batch.len() {
            let next = Some(row + 1).filter(|next| *next < batch.len() && keys.row(*next) == keys.row(row));
            match (batch.diff(row) < 0, next) {
                (true, Some(next)) => self.compare(lists.value(row), lists.value(next), &mut changes),
                (true, None) => self.compare(lists.value(row), &[], &mut changes),
                (false, _) => self.compare(&[], lists.value(row), &mut changes),
            }
            row = next.unwrap_or(row) + 1;
        }
        if changes.rows.is_empty() {
            return None;
        }
        let content = changes.rows.iter().map(|(content, _)| *content);
        let mut columns = canonical::decode(content, &self.types).expect("the state holds canonical rows");
        columns.extend((0..self.plan.numbers.len()).map(|number| {
            let numbers = changes.rows.iter().map(|(_, numbers)| numbers[number]);
            Arc::new(Int64Array::from_iter_values(numbers)) as ArrayRef
        }));
        let rows = RecordBatch::try_new(self.plan.schema.clone(), columns).expect("columns of the schema");
        Some(Batch { rows, diffs: Some(changes.diffs.into()), origin: None, wall_ms: batch.wall_ms })
    }
}

impl<'a> Changes<'a> {
    fn push(&mut self, row: Numbered<'a>, diff: i64) {
        self.rows.push(row);
        self.diffs.push(diff);
    }
}

impl Operator for Updating {
    fn on_batch(&mut self, port: usize, epoch: Epoch, batch: &Batch, out: &mut Output) {
        let order = self.columns.order(batch);
        let content = canonical::encode(&batch.rows.columns()[..self.plan.width()], batch.len());
        let mut bytes = Vec::new();
        let mut rows = LargeBinaryBuilder::new();
        for row in 0..batch.len() {
            bytes.clear();
            let origin = places::origin(batch, row, self.plan.append_only_input);
            let entry = Entry { order: order.value(row), content: content.row(row) };
            entry.write(origin, self.plan.newest_first, &mut bytes);
            rows.append_value(&bytes);
        }
        let mut columns = self.columns.key(batch);
        columns.push(Arc::new(rows.finish()));
        let rows = RecordBatch::try_new(self.input.clone(), columns).expect("columns of the schema");
        self.keyed.on_batch(port, epoch, &batch.with_rows(rows), out);
    }

    fn on_epoch(&mut self, close: &EpochClose, out: &mut Output) -> Progress {
        let mut given = Output::default();
        let progress = self.keyed.on_epoch(close, &mut given);
        out.batches.extend(given.batches.iter().filter_map(|batch| self.changed(batch)));
        progress
    }

    fn rows_in_state(&self) -> i64 {
        self.keyed.rows_in_state()
    }

    fn state_bytes(&self) -> usize {
        self.keyed.state_bytes()
    }

    fn snapshot(&mut self, kind: SnapshotKind) -> Vec<(KeyGroup, RecordBatch)> {
        self.keyed.snapshot(kind)
    }

    fn snapshot_failed(&mut self) {
        self.keyed.snapshot_failed();
    }

    fn restore(&mut self, state: &RecordBatch) -> Result<()> {
        self.keyed.restore(state)
    }

    fn state_schema(&self) -> SchemaRef {
        self.keyed.state_schema()
    }
}

#[cfg(test)]
mod tests;

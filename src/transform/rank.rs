//! `row_number() OVER (PARTITION BY window_end, k ORDER BY x)`: rows wait until event time has passed their window,
//! and leave with their place in it.
//!
//! - Of rows that are equal in the order the one with the lower origin is the first, then the one with the lower
//!   canonical bytes: nothing depends on when or in which batches rows came.
//! - A row that comes when its window has closed is late.
//! - What is kept are the rows of the windows that are open.

use arrow::array::{ArrayRef, AsArray, BinaryArray, Int64Array, RecordBatch, UInt32Array};
use arrow::compute::{interleave_record_batch, take_record_batch};
use arrow::datatypes::{DataType, SchemaRef, TimestampNanosecondType};

use crate::batch::Batch;
use crate::canonical::{self, CanonicalRows};
use crate::error::{Error, Result};
use crate::plan::{Expr, Number, Rank};
use crate::time::{Epoch, EpochClose, EventTime, Watermark};
use crate::transform::aggregate::order::{OrderColumn, pack};
use crate::transform::eval::Evaluation;
use crate::transform::waiting::{Place, Waiting, is_passed};
use crate::transform::{KeyGroup, Operator, Output, Progress, SnapshotKind};

mod snapshot;

/// How many rows leave at a time before others may work; rows of one window are not parted.
const ROWS_AT_ONCE: usize = 16_384;

/// The rows that wait on one worker.
pub struct RankState {
    plan: Rank,
    key_types: Vec<DataType>,
    order_types: Vec<DataType>,
    state_schema: SchemaRef,
    waiting: Waiting,
    /// How far event time had come at the close of the last epoch.
    passed: Watermark,
    restored: bool,
    saved: snapshot::Saved,
}

impl RankState {
    /// The empty state. Fails on types that cannot be compared.
    pub fn new(plan: &Rank) -> Result<Self> {
        let type_of = |expr: &Expr| {
            let found = expr.physical.data_type(&plan.input);
            found.map_err(|error| Error::internal(format!("{}: {error}", expr.text)))
        };
        let mut columns = plan.input.fields().iter().map(|field| field.data_type());
        if let Some(other) = columns.find(|data_type| !canonical::supports(data_type)) {
            return Err(Error::internal(format!("{} cannot order values of type {other}", plan.name)));
        }
        Ok(RankState {
            key_types: plan.keys.iter().map(type_of).collect::<Result<_>>()?,
            order_types: plan.order.iter().map(|by| type_of(&by.expr)).collect::<Result<_>>()?,
            state_schema: snapshot::state_schema(&plan.input),
            plan: plan.clone(),
            waiting: Waiting::default(),
            passed: Watermark::NONE,
            restored: false,
            saved: snapshot::Saved::default(),
        })
    }

    /// Whether a row of this time comes too late.
    fn is_late(&self, time: EventTime) -> bool {
        is_passed(time, self.passed, self.plan.at_end)
    }

    /// The canonical bytes of the keys of rows.
    fn keys(&self, batch: &Batch) -> CanonicalRows {
        let mut evaluation = Evaluation::new(batch);
        let keys = self.plan.keys.iter().zip(&self.key_types);
        let keys: Vec<_> = keys.map(|(key, kind)| evaluation.column(key, kind)).collect();
        canonical::encode(&keys, batch.len())
    }

    /// The rows at these places, in their order. Their origins ascend within each time.
    fn rows(&self, places: &[Place], wall_ms: i64) -> Batch {
        let (batches, indices) = self.waiting.locate(places);
        let rows = interleave_record_batch(&batches, &indices).expect("rows of one schema");
        Batch::inserts(rows, None, wall_ms)
    }

    /// Lets the rows at these places go: windows that are complete.
    fn leave(&mut self, places: &[Place], wall_ms: i64, out: &mut Output) {
        let batch = self.rows(places, wall_ms);
        let keys = self.keys(&batch);
        let mut evaluation = Evaluation::new(&batch);
        let columns = self.plan.order.iter().zip(&self.order_types).map(|(by, kind)| OrderColumn {
            values: evaluation.column(&by.expr, kind),
            descending: by.descending,
            nulls_first: by.nulls_first,
        });
        let order = pack(&columns.collect::<Vec<_>>(), batch.len());
        let content = canonical::encode(batch.rows.columns(), batch.len());
        let mut sorted: Vec<usize> = (0..batch.len()).collect();
        let place = |row: usize| (keys.row(row), order.value(row), places[row].at.1, content.row(row));
        sorted.sort_unstable_by(|one, other| place(*one).cmp(&place(*other)));
        let numbers = self.plan.numbers.iter().map(|number| numbered(*number, &sorted, &keys, &order));
        let numbers: Vec<ArrayRef> = numbers.collect();
        let sorted = UInt32Array::from_iter_values(sorted.into_iter().map(|row| row as u32));
        let rows = take_record_batch(&batch.rows, &sorted).expect("an order of the rows");
        let columns = [&rows.columns()[..self.plan.width()], &numbers].concat();
        let rows = RecordBatch::try_new(self.plan.schema.clone(), columns).expect("columns of the schema");
        self.waiting.release(places);
        out.emitted += rows.num_rows() as i64;
        out.batches.push(Batch::inserts(rows, None, wall_ms));
    }

    /// Keeps rows, given their times.
    fn keep(&mut self, batch: &Batch, times: &[EventTime]) {
        let id = self.waiting.keep(batch.rows.clone());
        for (row, time) in times.iter().enumerate() {
            let at = (*time, batch.origin.as_ref().map(|origin| origin.row(row)));
            for _ in 0..batch.diff(row) {
                self.waiting.insert(at, (id, row as u32), 0);
            }
        }
    }
}

/// The numbers of rows that are sorted by key and order.
fn numbered(number: Number, sorted: &[usize], keys: &CanonicalRows, order: &BinaryArray) -> ArrayRef {
    let (mut row_number, mut rank, mut dense_rank) = (0, 0, 0);
    let mut before: Option<usize> = None;
    let numbers = sorted.iter().map(|row| {
        if before.is_none_or(|before| keys.row(before) != keys.row(*row)) {
            (row_number, rank, dense_rank) = (0, 0, 0);
        }
        row_number += 1;
        if row_number == 1 || before.is_some_and(|before| order.value(before) != order.value(*row)) {
            (rank, dense_rank) = (row_number, dense_rank + 1);
        }
        before = Some(*row);
        match number {
            Number::RowNumber => row_number,
            Number::Rank => rank,
            Number::DenseRank => dense_rank,
        }
    });
    std::sync::Arc::new(Int64Array::from_iter_values(numbers))
}

impl Operator for RankState {
    fn on_batch(&mut self, _port: usize, _epoch: Epoch, batch: &Batch, out: &mut Output) {
        let mut evaluation = Evaluation::new(batch);
        let mut times = evaluation.field(&self.plan.time, &self.plan.time_field);
        let failed = evaluation.finish();
        let mut batch = batch.clone();
        if !failed.is_empty() {
            let good = failed.report(&batch, &self.plan.name, out, |_| false);
            times = arrow::compute::filter(&times, &good).expect("masks of one length");
            batch = batch.filter(&good).expect("masks of one length");
        }
        let times = times.as_primitive::<TimestampNanosecondType>();
        let late = |time: &EventTime| Some(self.is_late(*time));
        let late: arrow::array::BooleanArray = times.values().iter().map(late).collect();
        let mut times = times.values().to_vec();
        if late.true_count() > 0 {
            times.retain(|time| !self.is_late(*time));
            out.late.push(batch.filter(&late).expect("masks of one length"));
            let in_time = arrow::compute::not(&late).expect("a mask");
            batch = batch.filter(&in_time).expect("masks of one length");
        }
        if !batch.is_empty() {
            self.keep(&batch, &times);
        }
    }

    fn on_epoch(&mut self, close: &EpochClose, out: &mut Output) -> Progress {
        let watermark = close.watermarks[0].max(self.passed);
        let at_end = self.plan.at_end;
        let is_passed = |time: EventTime| is_passed(time, watermark, at_end);
        if std::mem::take(&mut self.restored) {
            // The close at which the state was saved: what it has passed is out.
            let gone = self.waiting.passed(is_passed, usize::MAX, |_, _| true);
            self.waiting.release(&gone);
            self.passed = watermark;
            return Progress::Done;
        }
        let places = self.waiting.passed(is_passed, ROWS_AT_ONCE, |one, other| one.0 == other.0);
        if !places.is_empty() {
            self.leave(&places, close.wall_ms, out);
        }
        if self.waiting.first().is_some_and(is_passed) {
            return Progress::More;
        }
        self.passed = watermark;
        Progress::Done
    }

    fn rows_in_state(&self) -> i64 {
        self.waiting.len() as i64
    }

    fn state_bytes(&self) -> usize {
        self.waiting.bytes()
    }

    fn snapshot(&mut self, kind: SnapshotKind) -> Vec<(KeyGroup, RecordBatch)> {
        self.take_snapshot(kind)
    }

    fn snapshot_failed(&mut self) {
        self.saved.fail();
    }

    fn restore(&mut self, state: &RecordBatch) -> Result<()> {
        self.restored = true;
        self.load(state)
    }

    fn state_schema(&self) -> SchemaRef {
        self.state_schema.clone()
    }
}

#[cfg(test)]
mod tests;

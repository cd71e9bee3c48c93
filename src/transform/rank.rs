//! `row_number() OVER (PARTITION BY window_end, k ORDER BY x)`: rows wait until event time has passed their window,
//! and leave with their place in it. Without a window see `updating`.
//!
//! - Of rows that are equal in the order the one with the lower origin is the first, or where the newest time is, that
//!   with the higher one; then the one with the lower canonical bytes: nothing depends on when or in which batches
//!   rows came.
//! - A row that comes when its window has closed is late.
//! - What is kept are the rows of the windows that are open.

use arrow::array::{ArrayRef, AsArray, BinaryArray, Int64Array, RecordBatch, UInt32Array};
use arrow::compute::{interleave_record_batch, take_record_batch};
use arrow::datatypes::{DataType, SchemaRef, TimestampNanosecondType};

use crate::batch::Batch;
use crate::canonical::{self, CanonicalRows};
use crate::error::{Error, Result};
use crate::plan::{Close, Expr, Number, OrderBy, Places, Rank};
use crate::time::{Epoch, EpochClose, EventTime, Watermark};
use crate::transform::aggregate::order::{OrderColumn, pack};
use crate::transform::aggregate::places::Counter;
use crate::transform::eval::Evaluation;
use crate::transform::waiting::{Place, Waiting, is_passed};
use crate::transform::{KeyGroup, Operator, Output, Progress, SnapshotKind};

mod snapshot;
mod updating;

/// What is kept for a plan on worker `worker` of `workers`.
pub fn state(plan: &Rank, worker: usize, workers: usize) -> Result<Box<dyn Operator>> {
    Ok(match &plan.places {
        Places::Final(close) => Box::new(RankState::new(plan, close)?),
        Places::Updating(_) => Box::new(updating::Updating::new(plan, worker, workers)?),
    })
}

/// How many rows leave at a time before others may work; rows of one window are not parted.
const ROWS_AT_ONCE: usize = 16_384;

/// The rows that wait on one worker.
pub struct RankState {
    plan: Rank,
    close: Close,
    columns: Columns,
    state_schema: SchemaRef,
    waiting: Waiting,
    /// How far event time had come at the close of the last epoch.
    passed: Watermark,
    restored: bool,
    saved: snapshot::Saved,
}

impl RankState {
    /// The empty state of a plan whose places are final at `close`. Fails on types that cannot be compared.
    fn new(plan: &Rank, close: &Close) -> Result<Self> {
        Ok(RankState {
            columns: Columns::new(plan)?,
            state_schema: snapshot::state_schema(&plan.input),
            plan: plan.clone(),
            close: close.clone(),
            waiting: Waiting::default(),
            passed: Watermark::NONE,
            restored: false,
            saved: snapshot::Saved::default(),
        })
    }

    /// Whether a row of this time comes too late.
    fn is_late(&self, time: EventTime) -> bool {
        is_passed(time, self.passed, self.close.at_end)
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
        let (keys, order) = (self.columns.keys(&batch), self.columns.order(&batch));
        let content = canonical::encode(batch.rows.columns(), batch.len());
        let mut sorted: Vec<usize> = (0..batch.len()).collect();
        let before = |row: usize| (keys.row(row), order.value(row));
        let newest_first = self.plan.newest_first;
        sorted.sort_unstable_by(|one, other| {
            let origins = places[*one].at.1.cmp(&places[*other].at.1);
            let ties = if newest_first { origins.reverse() } else { origins };
            let ties = ties.then_with(|| content.row(*one).cmp(content.row(*other)));
            before(*one).cmp(&before(*other)).then(ties)
        });
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
    let mut counter = Counter::default();
    let mut before: Option<usize> = None;
    let numbers = sorted.iter().map(|row| {
        if before.is_none_or(|before| keys.row(before) != keys.row(*row)) {
            counter = Counter::default();
        }
        counter.count(before.is_some_and(|before| order.value(before) == order.value(*row)));
        before = Some(*row);
        counter.number(number)
    });
    std::sync::Arc::new(Int64Array::from_iter_values(numbers))
}

/// What is compared of rows.
struct Columns {
    keys: Vec<(Expr, DataType)>,
    order: Vec<(OrderBy, DataType)>,
}

impl Columns {
    fn new(plan: &Rank) -> Result<Self> {
        let type_of = |expr: &Expr| {
            let found = expr.physical.data_type(&plan.input);
            found.map_err(|error| Error::internal(format!("{}: {error}", expr.text)))
        };
        let mut columns = plan.input.fields().iter().map(|field| field.data_type());
        if let Some(other) = columns.find(|data_type| !canonical::supports(data_type)) {
            return Err(Error::internal(format!("{} cannot order values of type {other}", plan.name)));
        }
        let keys = plan.keys.iter().map(|key| Ok((key.clone(), type_of(key)?)));
        let order = plan.order.iter().map(|by| Ok((by.clone(), type_of(&by.expr)?)));
        Ok(Columns { keys: keys.collect::<Result<_>>()?, order: order.collect::<Result<_>>()? })
    }

    /// The columns of the key.
    fn key(&self, batch: &Batch) -> Vec<ArrayRef> {
        let mut evaluation = Evaluation::new(batch);
        self.keys.iter().map(|(key, kind)| evaluation.column(key, kind)).collect()
    }

    /// The canonical bytes of the keys of rows.
    fn keys(&self, batch: &Batch) -> CanonicalRows {
        canonical::encode(&self.key(batch), batch.len())
    }

    /// Bytes that compare as rows are ordered.
    fn order(&self, batch: &Batch) -> BinaryArray {
        let mut evaluation = Evaluation::new(batch);
        let columns = self.order.iter().map(|(by, kind)| OrderColumn {
            values: evaluation.column(&by.expr, kind),
            descending: by.descending,
            nulls_first: by.nulls_first,
        });
        pack(&columns.collect::<Vec<_>>(), batch.len())
    }
}

impl Operator for RankState {
    fn on_batch(&mut self, _port: usize, _epoch: Epoch, batch: &Batch, out: &mut Output) {
        let mut evaluation = Evaluation::new(batch);
        let mut times = evaluation.field(&self.close.time, &self.close.field);
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
        let at_end = self.close.at_end;
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

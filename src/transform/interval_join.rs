//! Joins of two streams: rows of one key whose event times are in a given distance.
//!
//! Rows of both sides are kept as long as a partner may come. When an epoch is complete, its rows are joined
//! with those that are kept, and with each other; then rows are forgotten that W(e) of the other side has put
//! out of reach. So what is kept is as large as the interval, and what leaves is only ever added.
//!
//! - A row is late when its time is before W(e-1) of its own side: rows that belong to it may be forgotten. Any
//!   other row finds all its partners that are not late, whenever they come: the result is exactly the join of
//!   all rows that were not late, whatever the order, the batches and the workers.
//! - A row that has found none leaves, where the join keeps such rows, when it is forgotten.
//! - Keys that hold a NULL, and rows without a time, match nothing.
//! - Rows that are equal in all columns are kept once, with their number.
//! - A pair on which the condition fails is a dead letter. It is no match, but its rows do not count as without
//!   a match either.

mod matching;
mod side;
mod snapshot;
#[cfg(test)]
mod tests;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, RecordBatch, RecordBatchOptions, TimestampNanosecondArray,
};
use arrow::datatypes::{SchemaRef, TimestampNanosecondType};

use self::matching::Closing;
use self::side::{Flags, Place, Side};
use crate::batch::Batch;
use crate::canonical::{self, CanonicalRows};
use crate::error::{Error, Result};
use crate::plan;
use crate::time::{Epoch, EpochClose, EventTime, Watermark};
use crate::transform::aggregate::groups::Groups;
use crate::transform::aggregate::state::give_back;
use crate::transform::eval::Evaluation;
use crate::transform::{KeyGroup, Operator, Output, Progress, SnapshotKind};

/// The state of one interval join on one worker.
pub struct IntervalJoin {
    plan: plan::IntervalJoin,
    state_schema: SchemaRef,
    sides: [Side; 2],
    /// Keys of both sides; each with the number of its rows, also of those that wait for the end of the epoch.
    groups: Groups,
    /// W of both sides at the last close.
    before: [Watermark; 2],
    /// Rows of the epoch at hand.
    new: [Vec<New>; 2],
    /// How far the close at hand has come.
    closing: Option<Closing>,
    tracker: snapshot::Tracker,
    /// Memory of the last batch.
    keys: CanonicalRows,
}

/// A row of the epoch at hand; several that are equal stand beside each other.
struct New {
    place: Place,
    count: u64,
    flags: Flags,
}

impl IntervalJoin {
    /// The empty state of `plan`. Fails on types that cannot be kept.
    pub fn new(plan: &plan::IntervalJoin) -> Result<Self> {
        if let Some(other) = plan.key_types.iter().find(|data_type| !canonical::supports(data_type)) {
            return Err(Error::internal(format!("{} cannot keep keys of type {other}", plan.name)));
        }
        Ok(IntervalJoin {
            plan: plan.clone(),
            state_schema: snapshot::state_schema(plan),
            sides: [Side::new(&plan.sides[0].schema)?, Side::new(&plan.sides[1].schema)?],
            groups: Groups::default(),
            before: [Watermark::NONE; 2],
            new: Default::default(),
            closing: None,
            tracker: snapshot::Tracker::default(),
            keys: CanonicalRows::default(),
        })
    }

    /// Takes the late rows out of a batch.
    fn without_late(&self, side: usize, batch: &Batch, out: &mut Output) -> Batch {
        let before = self.before[side];
        let times = self.times(side, &batch.rows);
        let late = |row: usize| times.is_valid(row) && Watermark(times.value(row)) < before;
        if !(0..batch.len()).any(late) {
            return batch.clone();
        }
        let mask = |wanted: bool| -> BooleanArray {
            (0..batch.len()).map(|row| Some(late(row) == wanted)).collect()
        };
        out.late.push(batch.filter(&mask(true)).expect("a mask of the rows"));
        batch.filter(&mask(false)).expect("a mask of the rows")
    }

    fn times<'a>(&self, side: usize, rows: &'a RecordBatch) -> &'a TimestampNanosecondArray {
        rows.column(self.plan.sides[side].time).as_primitive::<TimestampNanosecondType>()
    }

    /// The keys of rows, and which of them could be evaluated.
    fn keys(&mut self, side: usize, batch: &Batch, out: &mut Output) -> Option<BooleanArray> {
        let mut evaluation = Evaluation::new(batch);
        let exprs = self.plan.sides[side].keys.iter().zip(&self.plan.key_types);
        let columns: Vec<ArrayRef> = exprs.map(|(expr, to)| evaluation.column(expr, to)).collect();
        let failed = evaluation.finish();
        self.keys.encode(&columns, batch.len());
        (!failed.is_empty()).then(|| failed.report(batch, &self.plan.name, out, |_| false))
    }

    /// A batch of rows that leave, of which parts may be missing.
    fn batch(
        &self,
        schema: &SchemaRef,
        left: &[Option<&[u8]>],
        right: &[Option<&[u8]>],
        wall_ms: i64,
    ) -> Batch {
        let mut columns = self.sides[0].decode(left);
        if columns.len() < schema.fields().len() {
            columns.extend(self.sides[1].decode(right));
        }
        let options = RecordBatchOptions::new().with_row_count(Some(left.len()));
        let rows = RecordBatch::try_new_with_options(schema.clone(), columns, &options);
        Batch::inserts(rows.expect("columns of the sides"), None, wall_ms)
    }

    /// Rows of `side` by themselves.
    fn alone(&self, side: usize, rows: &[Option<&[u8]>], wall_ms: i64) -> Batch {
        let none = vec![None; rows.len()];
        let (left, right) = if side == 0 { (rows, none.as_slice()) } else { (none.as_slice(), rows) };
        self.batch(&self.plan.schema, left, right, wall_ms)
    }

    /// The last time of rows of `side` that can find no partner any more, where W of the other side is
    /// `watermark`.
    fn through(&self, side: usize, watermark: Watermark) -> Option<EventTime> {
        match watermark {
            Watermark::NONE => None,
            Watermark::END => Some(EventTime::MAX),
            Watermark(time) => {
                let (_, farthest) = self.plan.reach(side);
                let through = i128::from(time) - farthest - 1;
                let through = through.min(i128::from(EventTime::MAX));
                EventTime::try_from(through).ok()
            }
        }
    }
}

impl Operator for IntervalJoin {
    fn on_batch(&mut self, port: usize, _epoch: Epoch, batch: &Batch, out: &mut Output) {
        let batch = self.without_late(port, batch, out);
        if batch.is_empty() {
            return;
        }
        let good = self.keys(port, &batch, out);
        let times = self.times(port, &batch.rows).clone();
        let rows = self.sides[port].encode(batch.rows.columns());
        let mut alone = Vec::new();
        for (row, bytes) in rows.into_iter().enumerate() {
            if good.as_ref().is_some_and(|good| !good.value(row)) {
                continue;
            }
            let (key, rows) = (self.keys.row(row), batch.diff(row));
            let count = u64::try_from(rows).expect("rows are only added");
            if times.is_valid(row) && !canonical::has_null(key) {
                let group = self.groups.intern(key);
                self.groups.add_rows(group, rows);
                let place = Place { group, time: times.value(row), row: bytes };
                self.new[port].push(New { place, count, flags: Flags::default() });
            } else if self.plan.keeps(port) {
                out.emitted += rows;
                alone.extend(std::iter::repeat_n(bytes, count as usize));
            } else {
                out.filtered += rows;
            }
        }
        if !alone.is_empty() {
            let rows: Vec<_> = alone.iter().map(|row| Some(&**row)).collect();
            out.batches.push(self.alone(port, &rows, batch.wall_ms));
        }
    }

    fn on_epoch(&mut self, close: &EpochClose, out: &mut Output) -> Progress {
        if self.step(close, out) == Progress::More {
            return Progress::More;
        }
        for (before, now) in self.before.iter_mut().zip(&close.watermarks) {
            *before = (*before).max(*now);
        }
        self.groups.trim();
        self.new.iter_mut().for_each(give_back);
        Progress::Done
    }

    fn rows_in_state(&self) -> i64 {
        self.groups.total_rows()
    }

    fn state_bytes(&self) -> usize {
        self.groups.bytes() + self.sides.iter().map(Side::bytes).sum::<usize>()
    }

    fn snapshot(&mut self, kind: SnapshotKind) -> Vec<(KeyGroup, RecordBatch)> {
        self.take_snapshot(kind)
    }

    fn snapshot_failed(&mut self) {
        self.tracker.fail(&mut self.sides);
    }

    fn restore(&mut self, state: &RecordBatch) -> Result<()> {
        self.load(state)
    }

    fn state_schema(&self) -> SchemaRef {
        self.state_schema.clone()
    }
}

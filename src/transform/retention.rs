//! `state_retention = '7 days'`: the rows of a relation, each until event time has passed it by so long.
//!
//! Rows go through as they come. When the watermark has passed the time of one by the retention, it is taken back: it
//! leaves with diff -1 at that close, whatever came in which order. What comes later than that, be it a row or that one
//! is taken back, is dropped: nobody has it.

use std::collections::BTreeMap;

use arrow::array::{ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, SchemaRef, TimestampNanosecondType};

use crate::batch::Batch;
use crate::error::{Error, Result};
use crate::plan::{self, Expr};
use crate::time::{Epoch, EpochClose, EventTime, Watermark};
use crate::transform::aggregate::state::tree;
use crate::transform::arrange::RowCodec;
use crate::transform::eval::Evaluation;
use crate::transform::{KeyGroup, Operator, Output, Progress, SnapshotKind};

mod snapshot;

/// Rows that are taken back in one call. Few in tests, so that closes are interrupted.
const ROWS_MAX: usize = if cfg!(test) { 3 } else { 16_384 };

/// A row with its time, in Arrow row format.
type Place = (EventTime, Box<[u8]>);

/// The rows of one relation on one worker.
pub struct RetainedRows {
    plan: plan::Retention,
    keys: Vec<(Expr, DataType)>,
    state_schema: SchemaRef,
    codec: RowCodec,
    rows: BTreeMap<Place, Kept>,
    /// Bytes of the rows.
    row_bytes: usize,
    /// Sum of the counts.
    total: i64,
    /// W(e-1).
    watermark: Watermark,
    saved: snapshot::Saved,
    /// Whether a part of a snapshot has been put back since the last close.
    restored: bool,
}

/// How often a row is there. It is 0 for one that was taken back, until that is in a snapshot; while an epoch is under
/// way it may be less.
#[derive(Clone, Copy, Debug, Default)]
struct Kept {
    count: i64,
    flags: u8,
}

impl RetainedRows {
    /// The empty state of `plan`. Fails on types that cannot be kept.
    pub fn new(plan: &plan::Retention) -> Result<Self> {
        let type_of = |key: &Expr| {
            let found = key.physical.data_type(&plan.schema);
            found.map_err(|error| Error::internal(format!("{}: {error}", key.text)))
        };
        let keys = plan.keys.iter().map(|key| Ok((key.clone(), type_of(key)?)));
        Ok(RetainedRows {
            keys: keys.collect::<Result<Vec<_>>>()?,
            state_schema: snapshot::state_schema(&plan.schema),
            codec: RowCodec::new(&plan.schema)?,
            plan: plan.clone(),
            rows: BTreeMap::new(),
            row_bytes: 0,
            total: 0,
            watermark: Watermark::NONE,
            saved: snapshot::Saved::default(),
            restored: false,
        })
    }

    /// The last time that is forgotten at this watermark. The end of the input forgets nothing: what is there is the
    /// result.
    fn through(&self, watermark: Watermark) -> Option<EventTime> {
        match watermark {
            Watermark::NONE | Watermark::END => None,
            Watermark(time) => time.checked_sub(self.plan.period_ns),
        }
    }

    fn add(&mut self, place: Place, diff: i64) {
        let (bytes, flags) = (place.1.len(), self.saved.changed());
        let kept = self.rows.entry(place).or_insert_with(|| {
            self.row_bytes += bytes;
            Kept::default()
        });
        kept.count += diff;
        kept.flags |= flags;
        self.total += diff;
    }

    /// Takes out the first rows up to a time, at most so many.
    fn forget(&mut self, through: EventTime, most: usize) -> Vec<(Box<[u8]>, i64)> {
        let mut gone = Vec::new();
        while gone.len() < most
            && let Some(entry) = self.rows.first_entry()
            && entry.key().0 <= through
        {
            let ((_, row), kept) = entry.remove_entry();
            self.row_bytes -= row.len();
            self.total -= kept.count;
            if kept.count != 0 {
                gone.push((row, kept.count));
            }
        }
        gone
    }

    /// Lets go of rows that have been taken back, where no snapshot has to say so.
    fn tidy(&mut self, touched: Vec<Place>) {
        for place in touched {
            if self.rows.get(&place).is_some_and(|kept| kept.count == 0 && kept.flags == 0) {
                self.rows.remove(&place);
                self.row_bytes -= place.1.len();
            }
        }
    }

    /// Takes out of a batch what is behind the retention, and rows without a time.
    fn in_time(&self, batch: &Batch, out: &mut Output) -> (Batch, Vec<EventTime>) {
        let mut evaluation = Evaluation::new(batch);
        let mut times: ArrayRef = evaluation.field(&self.plan.time, &self.plan.time_field);
        let failed = evaluation.finish();
        let mut batch = batch.clone();
        if !failed.is_empty() {
            let good = failed.report(&batch, &self.plan.name, out, |_| false);
            times = arrow::compute::filter(&times, &good).expect("masks of one length");
            batch = batch.filter(&good).expect("masks of one length");
        }
        let times = times.as_primitive::<TimestampNanosecondType>().values();
        let through = self.through(self.watermark);
        let stays = |time: &EventTime| through.is_none_or(|through| *time > through);
        if times.iter().all(stays) {
            return (batch, times.to_vec());
        }
        let mask: BooleanArray = times.iter().map(|time| Some(stays(time))).collect();
        let kept = batch.filter(&mask).expect("masks of one length");
        out.filtered += batch.diff_sum() - kept.diff_sum();
        (kept, times.iter().copied().filter(stays).collect())
    }

    fn taken_back(&self, gone: &[(Box<[u8]>, i64)], wall_ms: i64) -> Batch {
        let columns = self.codec.decode(gone.iter().map(|(row, _)| &**row)).expect("rows of the schema");
        let rows = RecordBatch::try_new(self.plan.schema.clone(), columns).expect("columns of the schema");
        let diffs = Int64Array::from_iter_values(gone.iter().map(|(_, count)| -count));
        Batch { rows, diffs: Some(diffs), origin: None, wall_ms }
    }
}

impl Operator for RetainedRows {
    fn on_batch(&mut self, _port: usize, _epoch: Epoch, batch: &Batch, out: &mut Output) {
        let (batch, times) = self.in_time(batch, out);
        if batch.is_empty() {
            return;
        }
        let rows = self.codec.encode(batch.rows.columns()).expect("the columns of the schema");
        let mut emptied = Vec::new();
        for (row, time) in times.into_iter().enumerate() {
            let place = (time, rows.row(row).as_ref().into());
            let diff = batch.diff(row);
            if diff < 0 {
                emptied.push(place);
                self.add(emptied[emptied.len() - 1].clone(), diff);
            } else {
                self.add(place, diff);
            }
        }
        self.tidy(emptied);
        out.batches.push(Batch { origin: None, ..batch });
    }

    fn on_epoch(&mut self, close: &EpochClose, out: &mut Output) -> Progress {
        let watermark = self.watermark.max(close.watermarks[0]);
        if let Some(through) = self.through(watermark) {
            let restored = std::mem::take(&mut self.restored);
            // What is behind the close at which the state was saved has been taken back before it.
            let gone = self.forget(through, if restored { usize::MAX } else { ROWS_MAX });
            if !restored && !gone.is_empty() {
                out.emitted += gone.iter().map(|(_, count)| count).sum::<i64>();
                out.batches.push(self.taken_back(&gone, close.wall_ms));
                if gone.len() == ROWS_MAX {
                    return Progress::More;
                }
            }
        }
        self.restored = false;
        self.watermark = watermark;
        Progress::Done
    }

    fn rows_in_state(&self) -> i64 {
        self.total
    }

    fn state_bytes(&self) -> usize {
        tree(self.rows.len(), size_of::<(Place, Kept)>()) + self.row_bytes
    }

    fn snapshot(&mut self, kind: SnapshotKind) -> Vec<(KeyGroup, RecordBatch)> {
        self.take_snapshot(kind)
    }

    fn snapshot_failed(&mut self) {
        self.save_failed();
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

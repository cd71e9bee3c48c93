//! The first of two phases of a GROUP BY: the rows of a batch are added up by group where they are, and one
//! *partial* per group goes to the worker of the group in their place.
//!
//! A partial is what a snapshot holds of a group: its key, behind the slice of event time where there are
//! windows, its number of rows, and the state of each aggregate. The second phase merges it into its own
//! state, which gives to the last bit what the rows would have given. So whether a batch is added up is a
//! matter of cost only, and may be decided anew for each: nothing is kept from one batch to the next.
//!
//! Rows go on as they are where there would be almost as many partials; where an expression fails on one of
//! them, because whoever keeps the group writes the dead letter; and, if somebody reads the late rows, those
//! that are late.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, RecordBatch, TimestampNanosecondArray};
use arrow::compute::not;
use arrow::datatypes::{DataType, SchemaRef, TimestampNanosecondType};

use crate::batch::Batch;
use crate::error::Result;
use crate::plan::{Aggregation, Windowing};
use crate::time::{EventTime, Watermark};
use crate::transform::Output;
use crate::transform::aggregate::groups::Group;
use crate::transform::aggregate::input::Taken;
use crate::transform::aggregate::keyed::Keyed;
use crate::transform::window::{TIMESTAMP, slices::Slices};

/// The input of an aggregation at which rows arrive.
pub const ROWS: u16 = 0;
/// The input of an aggregation at which partials arrive.
pub const PARTIALS: u16 = 1;

/// Batches that go on without a look, after one of which it was found that it has too many groups: as many again
/// each time, up to this.
const UNSEEN_MAX: u32 = 63;

/// Adds up the rows of one batch after the other.
pub struct Partials {
    /// Empty between two batches.
    keyed: Keyed,
    windows: Option<Windows>,
    /// How many rows there must be for each group of a batch, on average.
    rows_per_partial: usize,
    /// Batches that are not looked at next, and how many that were the last time.
    unseen: u32,
    pause: u32,
}

struct Windows {
    slices: Slices,
    windowing: Windowing,
    /// Whether somebody reads the late rows, so that they must not be added up.
    late_is_read: bool,
    /// That of the epoch before; `None` while it is not known.
    watermark: Option<Watermark>,
}

impl Partials {
    /// The first phase of `plan`, which has two. Fails on types that cannot be kept.
    pub fn new(plan: &Aggregation, rows_per_partial: usize, late_is_read: bool) -> Result<Self> {
        let fields = plan.schema.fields()[..plan.keys.len()].iter();
        let slice = plan.window.as_ref().map(|_| TIMESTAMP);
        let key_types: Vec<DataType> =
            slice.into_iter().chain(fields.map(|field| field.data_type().clone())).collect();
        let windows = plan.window.clone().map(|windowing| Windows {
            slices: Slices::new(windowing.window),
            windowing,
            late_is_read,
            watermark: None,
        });
        let rows_per_partial = rows_per_partial.max(1);
        Ok(Partials { keyed: Keyed::new(plan, key_types)?, windows, rows_per_partial, unseen: 0, pause: 0 })
    }

    /// What a batch of partials looks like.
    pub fn schema(&self) -> SchemaRef {
        self.keyed.state_schema.clone()
    }

    /// Its columns by which a partial finds its worker.
    pub fn key_columns(&self) -> Range<usize> {
        usize::from(self.windows.is_some())..self.keyed.key_types.len()
    }

    /// Whether it has to be told how far event time has come: only then are late rows told from others.
    pub fn judges(&self) -> bool {
        self.windows.as_ref().is_some_and(|windows| windows.late_is_read)
    }

    /// An epoch before that of the next batch has closed at this watermark.
    pub fn pass(&mut self, to: Watermark) {
        if let Some(windows) = &mut self.windows {
            windows.watermark = windows.watermark.max(Some(to));
        }
    }

    /// The batch as it is, or added up, each with the input that it is for.
    pub fn add_up(&mut self, batch: Batch) -> Vec<(u16, Batch)> {
        self.attempt(&batch).unwrap_or_else(|| vec![(ROWS, batch)])
    }

    fn attempt(&mut self, batch: &Batch) -> Option<Vec<(u16, Batch)>> {
        let most = batch.len() / self.rows_per_partial;
        if most == 0 {
            return None;
        }
        if self.unseen > 0 {
            self.unseen -= 1;
            return None;
        }
        let taken = self.keyed.take(batch, &mut Output::default());
        if taken.batch.len() < batch.len() {
            return None;
        }
        let (taken, slices, late) = match &self.windows {
            None => (taken, None, None),
            Some(windows) => {
                let (taken, slices, late) = windows.judge(taken)?;
                (taken, Some(slices), late)
            }
        };
        let slices = slices.map(|slices| Arc::new(TimestampNanosecondArray::from(slices)) as ArrayRef);
        let keys: Vec<ArrayRef> = slices.into_iter().chain(taken.keys.iter().cloned()).collect();
        if !self.keyed.intern_few(&keys, taken.batch.len(), most) {
            self.pause = (2 * self.pause + 1).min(UNSEEN_MAX);
            self.unseen = self.pause;
            return None;
        }
        self.pause = 0;
        self.keyed.update(&taken);
        let partials = Batch::inserts(self.take_out(), None, batch.wall_ms);
        let parts = [(PARTIALS, Some(partials)), (ROWS, late)].into_iter();
        let parts = parts.filter_map(|(port, part)| Some((port, part?))).filter(|(_, part)| !part.is_empty());
        Some(parts.collect())
    }

    /// All groups with their states, which are gone then.
    fn take_out(&mut self) -> RecordBatch {
        let groups: Vec<Group> = self.keyed.groups.iter().collect();
        let saved = self.keyed.save(&groups, &[]);
        groups.into_iter().for_each(|group| self.keyed.forget(group));
        saved
    }
}

impl Windows {
    /// The slices of the rows, and apart from them the rows that are late, if somebody reads these; `None` if a row
    /// has no slice, or it is not known yet what is late.
    fn judge(&self, taken: Taken) -> Option<(Taken, Vec<EventTime>, Option<Batch>)> {
        let times = taken.time.as_ref()?.as_primitive::<TimestampNanosecondType>().values().iter();
        let slices = times.map(|time| self.slices.of(*time)).collect::<Option<Vec<_>>>()?;
        if !self.late_is_read {
            return Some((taken, slices, None));
        }
        let watermark = self.watermark?;
        let is_late = |slice: &EventTime| {
            let last = self.slices.last_end(*slice);
            last.is_some_and(|end| self.windowing.is_closed_at(end, watermark))
        };
        let late: Vec<bool> = slices.iter().map(is_late).collect();
        if !late.contains(&true) {
            return Some((taken, slices, None));
        }
        let slices = slices.into_iter().zip(&late).filter(|(_, late)| !**late).map(|(slice, _)| slice);
        let slices = slices.collect();
        let late = BooleanArray::from(late);
        let rows = taken.batch.filter(&late).expect("a mask of the rows");
        Some((taken.filtered(&not(&late).expect("a mask without NULLs")), slices, Some(rows)))
    }
}

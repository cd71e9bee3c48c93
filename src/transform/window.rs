//! GROUP BY with windows: rows are kept in slices of event time, results come out when a window closes.
//!
//! State is kept by key and slice ([`Slices`]). A *unit* is a key in a window: what has a row in the result. It
//! is visible when the watermark has passed the end of its window, or at once with EMIT CHANGES. What leaves
//! in an epoch are the units that become visible, and those visible ones that a row of the epoch has changed:
//! the old row with diff -1, the new one with +1.
//!
//! - Rows of epoch e are judged by the watermark of the epoch before, so that an epoch is not late to itself.
//!   One whose last window has closed is late; one in some closed and some open windows counts in the open ones.
//! - A window is closed when the watermark is the allowed lateness behind its end: then it changes no more,
//!   and slices that only closed windows hold are dropped.
//! - A row in the gap between two windows belongs to none: it is filtered.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, RecordBatch, TimestampNanosecondArray};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, SchemaRef, TimeUnit, TimestampNanosecondType};

use self::slices::Slices;
use crate::batch::Batch;
use crate::canonical;
use crate::dead_letter::Reason;
use crate::error::{Error, Result};
use crate::plan::{Aggregation, Emit, Window, Windowing};
use crate::time::{Epoch, EpochClose, EventTime, Watermark};
use crate::transform::aggregate::groups::{Group, Groups};
use crate::transform::aggregate::input::Taken;
use crate::transform::aggregate::keyed::Keyed;
use crate::transform::aggregate::partial::PARTIALS;
use crate::transform::aggregate::state::{fit, tree, vector};
use crate::transform::aggregate::touched::Touched;
use crate::transform::eval::Failed;
use crate::transform::{KeyGroup, Operator, Output, Progress, SnapshotKind};

mod emit;
mod fire;
pub mod slices;

pub(in crate::transform) const TIMESTAMP: DataType = DataType::Timestamp(TimeUnit::Nanosecond, None);

/// The state of one GROUP BY with windows on one worker.
pub struct WindowedState {
    windowing: Windowing,
    slices: Slices,
    /// Groups by slice and key: the canonical bytes of the slice stand in front of those of the key.
    keyed: Keyed,
    by_slice: BTreeMap<EventTime, Vec<Group>>,
    /// Per slot the last epoch that has touched the group; 0 for one that is in no slice yet.
    touched_in: Vec<Epoch>,
    /// Ends of windows that hold rows and are not visible yet; not kept with EMIT CHANGES.
    pending: BTreeSet<EventTime>,
    /// Whether a part of a snapshot has been put back since the slices were last looked through.
    restored: bool,
    /// That of the last epoch.
    watermark: Watermark,
    /// The visible units that this epoch changes, by end of the window and key.
    units: Groups,
    changed: Touched,
    firing: Option<fire::Firing>,
}

impl WindowedState {
    /// The empty state of `plan`. Fails on types that cannot be kept, and on a plan without aligned windows.
    pub fn new(plan: &Aggregation) -> Result<Self> {
        let windowing = plan.window.clone().filter(|it| !matches!(it.window, Window::Session { .. }));
        let windowing = windowing.ok_or_else(|| Error::internal(format!("{} has no windows", plan.name)))?;
        let fields = plan.schema.fields()[..plan.keys.len()].iter();
        let key_types = std::iter::once(TIMESTAMP).chain(fields.map(|field| field.data_type().clone()));
        Ok(WindowedState {
            slices: Slices::new(windowing.window),
            windowing,
            keyed: Keyed::new(plan, key_types.collect())?,
            by_slice: BTreeMap::new(),
            touched_in: Vec::new(),
            pending: BTreeSet::new(),
            restored: false,
            watermark: Watermark::NONE,
            units: Groups::default(),
            changed: Touched::default(),
            firing: None,
        })
    }

    /// Whether a window still takes rows.
    fn is_open(&self, end: EventTime) -> bool {
        !self.windowing.is_closed_at(end, self.watermark)
    }

    /// Whether a window had a row in the result before this epoch, or would have had one.
    fn was_visible(&self, end: EventTime) -> bool {
        self.windowing.emit == Emit::Changes || Watermark(end) <= self.watermark
    }

    /// Takes out the rows that no open window holds, and gives the slices of the others.
    fn judge(&self, taken: Taken, out: &mut Output) -> (Taken, Vec<EventTime>) {
        let times = taken.time.as_ref().expect("windows are over event time");
        let times = times.as_primitive::<TimestampNanosecondType>().values().clone();
        let mut slices = Vec::with_capacity(times.len());
        let (mut kept, mut late) = (vec![false; times.len()], vec![false; times.len()]);
        let mut failed = Failed::default();
        for (row, time) in times.iter().enumerate() {
            let Some(slice) = self.slices.of(*time) else {
                let rule = self.windowing.time.text.clone();
                failed.push(row, Reason::Expression, rule, "its windows are out of the range of TIMESTAMP");
                continue;
            };
            match self.slices.last_end(slice) {
                Some(end) if self.is_open(end) => {
                    kept[row] = true;
                    slices.push(slice);
                }
                Some(_) => late[row] = true,
                None => out.filtered += taken.batch.diff(row),
            }
        }
        if slices.len() == times.len() {
            return (taken, slices);
        }
        failed.report(&taken.batch, &self.keyed.name, out, |_| false);
        if late.contains(&true) {
            out.late.push(taken.batch.filter(&BooleanArray::from(late)).expect("masks of one length"));
        }
        (taken.filtered(&BooleanArray::from(kept)), slices)
    }

    /// Takes in groups that other workers, or this one, have added up. All rows of a slice have the same windows, so
    /// they are judged together.
    fn on_partials(&mut self, epoch: Epoch, partials: &RecordBatch, out: &mut Output) {
        let slices = |partials: &RecordBatch| {
            partials.column(0).as_primitive::<TimestampNanosecondType>().values().to_vec()
        };
        let rows = self.keyed.saved_rows(partials);
        let mut kept = vec![false; partials.num_rows()];
        for (place, (slice, rows)) in slices(partials).into_iter().zip(rows.values()).enumerate() {
            match self.slices.last_end(slice) {
                Some(end) if self.is_open(end) => kept[place] = true,
                Some(_) => out.late_rows += rows,
                None => out.filtered += rows,
            }
        }
        let partials =
            filter_record_batch(partials, &BooleanArray::from(kept)).expect("a mask of the partials");
        if partials.num_rows() == 0 {
            return;
        }
        self.keyed.intern(&partials.columns()[..self.keyed.key_types.len()], partials.num_rows());
        self.touch(epoch, &slices(&partials));
        self.keyed.merge_saved(&partials);
    }

    /// Notes what this epoch touches for the first time, before it changes.
    fn touch(&mut self, epoch: Epoch, slices: &[EventTime]) {
        let count = self.keyed.groups.slots();
        self.touched_in.resize(count, 0);
        let mut changed = Vec::new();
        for (row, slice) in slices.iter().enumerate() {
            let group = self.keyed.row_groups[row];
            let before = std::mem::replace(&mut self.touched_in[group as usize], epoch);
            if before == 0 {
                self.enter(group, *slice);
            }
            if before != epoch {
                self.keyed.tracker.change(group);
                if !self.windowing.is_final() {
                    changed.extend(self.visible_units(group, *slice));
                }
            }
        }
        self.change_units(&changed);
    }

    /// Puts a group into its slice.
    fn enter(&mut self, group: Group, slice: EventTime) {
        let groups = self.by_slice.entry(slice).or_default();
        if groups.is_empty() && self.windowing.emit == Emit::Final {
            let watermark = self.watermark;
            self.pending.extend(self.slices.ends(slice).filter(|end| Watermark(*end) > watermark));
        }
        groups.push(group);
    }

    /// Brings slices and windows into order after parts of a snapshot were put back.
    fn look_through(&mut self) {
        self.by_slice.clear();
        self.pending.clear();
        self.touched_in.clear();
        self.touched_in.resize(self.keyed.groups.slots(), 0);
        let groups: Vec<Group> = self.keyed.groups.iter().collect();
        for group in groups {
            // No epoch has this number, so that the next one touches it anew.
            self.touched_in[group as usize] = Epoch::MAX;
            self.enter(group, canonical::leading_timestamp(self.keyed.groups.key(group)));
        }
    }

    /// Drops slices that only closed windows hold; false if there are more of them.
    fn drop_closed(&mut self, watermark: Watermark, out: &mut Output) -> bool {
        let mut left = fire::GROUPS_MAX;
        while let Some(entry) = self.by_slice.first_entry() {
            let end = self.slices.last_end(*entry.key());
            if !end.is_none_or(|end| self.windowing.is_closed_at(end, watermark)) {
                break;
            }
            let Some(mut entry) = self.by_slice.first_entry() else { break };
            let groups = entry.get_mut();
            let dropped = groups.split_off(groups.len().saturating_sub(left));
            if groups.is_empty() {
                entry.remove();
            }
            left -= dropped.len();
            for group in dropped {
                out.emitted += self.keyed.groups.rows(group);
                self.touched_in[group as usize] = 0;
                self.keyed.drop_group(group);
            }
            if left == 0 {
                return false;
            }
        }
        true
    }
}

impl Operator for WindowedState {
    fn on_batch(&mut self, port: usize, epoch: Epoch, batch: &Batch, out: &mut Output) {
        if port == usize::from(PARTIALS) {
            self.on_partials(epoch, &batch.rows, out);
            return;
        }
        let taken = self.keyed.take(batch, out);
        let (taken, slices) = self.judge(taken, out);
        if taken.batch.is_empty() {
            return;
        }
        let column: ArrayRef = Arc::new(TimestampNanosecondArray::from(slices.clone()));
        let keys: Vec<ArrayRef> = std::iter::once(column).chain(taken.keys.iter().cloned()).collect();
        self.keyed.intern(&keys, taken.batch.len());
        self.touch(epoch, &slices);
        self.keyed.update(&taken);
    }

    fn on_epoch(&mut self, close: &EpochClose, out: &mut Output) -> Progress {
        let watermark = self.watermark.max(close.watermarks[0]);
        if std::mem::take(&mut self.restored) {
            // The close at which the state was saved: its windows are out.
            self.watermark = watermark;
            self.look_through();
            return Progress::Done;
        }
        let done = self.emit_changed(close.wall_ms, out)
            && self.fire(watermark, close.wall_ms, out)
            && self.drop_closed(watermark, out);
        if !done {
            return Progress::More;
        }
        self.watermark = watermark;
        if self.keyed.trim() {
            fit(&mut self.touched_in, self.keyed.groups.slots(), || 0);
        }
        Progress::Done
    }

    fn rows_in_state(&self) -> i64 {
        self.keyed.groups.total_rows()
    }

    fn state_bytes(&self) -> usize {
        let slices: usize = self.by_slice.values().map(vector).sum();
        let ends = tree(self.pending.len(), size_of::<EventTime>());
        self.keyed.bytes() + vector(&self.touched_in) + self.changed.bytes() + slices + ends
    }

    fn snapshot(&mut self, kind: SnapshotKind) -> Vec<(KeyGroup, RecordBatch)> {
        self.keyed.snapshot_behind_time(kind)
    }

    fn snapshot_failed(&mut self) {
        self.keyed.tracker.fail();
    }

    fn restore(&mut self, state: &RecordBatch) -> Result<()> {
        self.restored = true;
        self.keyed.load(state)
    }

    fn state_schema(&self) -> SchemaRef {
        self.keyed.state_schema.clone()
    }
}

#[cfg(test)]
pub(in crate::transform) mod tests;

//! GROUP BY with sessions: rows of a key that are at most a gap apart belong together.
//!
//! Which rows are one session is decided at the close of an epoch, when all its rows are there: so it does not
//! depend on the order in which they came. A session is shown when the watermark is behind its end (a row at the
//! watermark may still join), or at once with EMIT CHANGES. A row is late when the session that it would make,
//! with others of its epoch, ends before the watermark of the epoch before, and joins none that is still there.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{AsArray, BooleanArray, RecordBatch};
use arrow::datatypes::{DataType, Field, SchemaRef, TimeUnit, TimestampNanosecondType};

use crate::batch::Batch;
use crate::canonical::{self, CanonicalRows};
use crate::dead_letter::Reason;
use crate::error::{Error, Result};
use crate::plan::{Aggregate, AggregateFunction, Aggregation, Emit, Window, Windowing};
use crate::time::{Epoch, EpochClose, EventTime, Watermark};
use crate::transform::aggregate::groups::{Group, Groups};
use crate::transform::aggregate::input::Taken;
use crate::transform::aggregate::keyed::Keyed;
use crate::transform::aggregate::state::{fit, tree, vector};
use crate::transform::aggregate::touched::{EMIT_GROUPS_MAX, Touched};
use crate::transform::eval::Failed;
use crate::transform::{KeyGroup, Operator, Output, Progress, SnapshotKind};

mod emit;
mod join;
mod sweep;

const TIMESTAMP: DataType = DataType::Timestamp(TimeUnit::Nanosecond, None);

/// The state of one GROUP BY with sessions on one worker.
pub struct SessionState {
    windowing: Windowing,
    gap_ns: i64,
    /// Groups by start of the session and key. Their last aggregate is the time of the last row.
    keyed: Keyed,
    /// The keys that have sessions, and their sessions by start.
    keys: Groups,
    by_key: Vec<Vec<Session>>,
    /// All sessions by the time of their last row, with their key.
    by_last: BTreeSet<(EventTime, Group, Group)>,
    /// The rows of the epoch.
    arrived: Vec<Taken>,
    restored: bool,
    /// That of the last epoch.
    watermark: Watermark,
    /// Rows of the result that were visible before and change: by end, start and key.
    units: Groups,
    /// By unit the session that it is now.
    unit_sessions: Vec<Option<Group>>,
    changed: Touched,
    /// Whether the rows of the epoch are in their sessions.
    closing: bool,
    /// Sessions that become visible, with the times of their last rows.
    firing: Vec<(EventTime, Group)>,
}

#[derive(Clone, Copy, Debug)]
struct Session {
    start: EventTime,
    /// Time of the last row.
    last: EventTime,
    group: Group,
}

impl SessionState {
    /// The empty state of `plan`. Fails on types that cannot be kept, and on a plan without sessions.
    pub fn new(plan: &Aggregation) -> Result<Self> {
        let windowing = plan.window.clone();
        let Some((Window::Session { gap_ns }, windowing)) = windowing.map(|it| (it.window, it)) else {
            return Err(Error::internal(format!("{} has no sessions", plan.name)));
        };
        let mut with_last = plan.clone();
        with_last.aggregates.push(last(&windowing));
        let fields = plan.schema.fields()[..plan.keys.len()].iter();
        let key_types = std::iter::once(TIMESTAMP).chain(fields.map(|field| field.data_type().clone()));
        Ok(SessionState {
            windowing,
            gap_ns,
            keyed: Keyed::new(&with_last, key_types.collect())?,
            keys: Groups::default(),
            by_key: Vec::new(),
            by_last: BTreeSet::new(),
            arrived: Vec::new(),
            restored: false,
            watermark: Watermark::NONE,
            units: Groups::default(),
            unit_sessions: Vec::new(),
            changed: Touched::default(),
            closing: false,
            firing: Vec::new(),
        })
    }

    /// The end of a session: no row from there on joins it.
    fn end(&self, last: EventTime) -> EventTime {
        last + self.gap_ns
    }

    /// Whether a session changes no more.
    fn is_closed(&self, last: EventTime, watermark: Watermark) -> bool {
        Watermark(self.end(last).saturating_add(self.windowing.allowed_lateness_ns)) < watermark
    }

    /// Whether a session had a row in the result before this epoch, or would have had one.
    fn was_visible(&self, last: EventTime) -> bool {
        self.windowing.emit == Emit::Changes || Watermark(self.end(last)) < self.watermark
    }

    /// Finds the sessions again after parts of a snapshot were put back.
    fn look_through(&mut self) {
        self.keys = Groups::default();
        self.by_key.clear();
        self.by_last.clear();
        let groups: Vec<Group> = self.keyed.groups.iter().collect();
        let results = self.keyed.evaluate(&groups);
        let lasts = results.columns.last().expect("the time of the last row");
        let lasts = lasts.as_primitive::<TimestampNanosecondType>();
        for (group, last) in groups.into_iter().zip(lasts.values()) {
            let bytes = self.keyed.groups.key(group);
            let start = canonical::leading_timestamp(bytes);
            let key = self.keys.intern(&bytes[canonical::TIMESTAMP_BYTES..]);
            self.by_key.resize(self.keys.slots(), Vec::new());
            self.by_key[key as usize].push(Session { start, last: *last, group });
            self.by_last.insert((*last, group, key));
        }
        self.by_key.iter_mut().for_each(|sessions| sessions.sort_unstable_by_key(|session| session.start));
    }

    /// Gives back memory of which most is not needed any more.
    fn trim(&mut self) {
        self.keyed.trim();
        if self.keys.trim() {
            fit(&mut self.by_key, self.keys.slots(), Vec::new);
        }
        self.firing.shrink_to_fit();
    }

    /// Drops sessions that change no more; false if there are more of them.
    fn drop_closed(&mut self, watermark: Watermark, out: &mut Output) -> bool {
        for _ in 0..EMIT_GROUPS_MAX {
            let Some((last, group, key)) = self.by_last.first().copied() else { return true };
            if !self.is_closed(last, watermark) {
                return true;
            }
            self.by_last.pop_first();
            out.emitted += self.keyed.groups.rows(group);
            self.keyed.drop_group(group);
            let sessions = &mut self.by_key[key as usize];
            sessions.retain(|session| session.group != group);
            if sessions.is_empty() {
                *sessions = Vec::new();
                self.keys.remove(key);
            }
        }
        false
    }
}

/// The time of the last row of a session, as an aggregate.
fn last(windowing: &Windowing) -> Aggregate {
    Aggregate {
        function: AggregateFunction::Max,
        distinct: false,
        argument: Some(windowing.time.clone()),
        second: None,
        parameter: None,
        order_by: Vec::new(),
        ignore_nulls: false,
        filter: None,
        field: Arc::new(Field::new("last", TIMESTAMP, true)),
        text: format!("max({})", windowing.time.text),
    }
}

impl Operator for SessionState {
    fn on_batch(&mut self, _port: usize, _epoch: Epoch, batch: &Batch, out: &mut Output) {
        let taken = self.keyed.take(batch, out);
        let times = taken.time.as_ref().expect("sessions are over event time");
        let times = times.as_primitive::<TimestampNanosecondType>().values();
        let mut failed = Failed::default();
        for (row, time) in times.iter().enumerate() {
            if !Window::can_hold(*time) {
                let rule = self.windowing.time.text.clone();
                failed.push(row, Reason::Expression, rule, "its session is out of the range of TIMESTAMP");
            }
        }
        if failed.is_empty() {
            self.arrived.push(taken);
        } else {
            let good = failed.report(&taken.batch, &self.keyed.name, out, |_| false);
            self.arrived.push(taken.filtered(&good));
        }
    }

    fn on_epoch(&mut self, close: &EpochClose, out: &mut Output) -> Progress {
        let watermark = self.watermark.max(close.watermarks[0]);
        if std::mem::take(&mut self.restored) {
            // The close at which the state was saved: its sessions are out.
            self.watermark = watermark;
            self.look_through();
            return Progress::Done;
        }
        if !std::mem::replace(&mut self.closing, true) {
            self.join(out);
            self.start_firing(watermark);
        }
        let done = self.emit_changed(close.wall_ms, out)
            && self.fire(close.wall_ms, out)
            && self.drop_closed(watermark, out);
        if !done {
            return Progress::More;
        }
        self.closing = false;
        self.watermark = watermark;
        self.trim();
        Progress::Done
    }

    fn rows_in_state(&self) -> i64 {
        self.keyed.groups.total_rows()
    }

    fn state_bytes(&self) -> usize {
        // A key has one open session, as a rule; those beside it are not looked for.
        let sessions = vector(&self.by_key) + self.keyed.groups.count() * size_of::<Session>();
        let by_last = tree(self.by_last.len(), size_of::<(EventTime, Group, Group)>());
        self.keyed.bytes() + self.keys.bytes() + self.changed.bytes() + sessions + by_last
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
mod tests;

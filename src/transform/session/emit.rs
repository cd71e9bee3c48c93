//! Results of sessions: those that become visible, and changes of those that were.

use arrow::array::{ArrayRef, TimestampNanosecondArray};

use super::*;
use crate::transform::aggregate::emit::{self, Emitted};
use crate::transform::aggregate::keyed::Results;

impl SessionState {
    /// The results of sessions, without the time of the last row.
    pub(super) fn results(&self, groups: &[Group]) -> Results {
        let mut results = self.keyed.evaluate(groups);
        results.columns.pop();
        results
    }

    /// Emits changes of sessions that were visible before; false if there is more.
    pub(super) fn emit_changed(&mut self, wall_ms: i64, out: &mut Output) -> bool {
        if self.changed.is_empty() {
            return true;
        }
        let units = self.changed.next_groups(&self.units, EMIT_GROUPS_MAX);
        let session = |unit: &Group| self.unit_sessions[*unit as usize];
        let alive: Vec<Group> = units.iter().copied().filter(|unit| session(unit).is_some()).collect();
        let groups: Vec<Group> = alive.iter().filter_map(session).collect();
        let results = self.results(&groups);
        let emitted = emit::changes(&self.changed, &units, &alive, &results, |unit, aggregate, error| {
            let key = self.unit_columns(&[unit]);
            out.letters.push(self.keyed.letter(key, aggregate, error.to_owned()));
        });
        if let Some(Emitted { groups, columns, diffs }) = emitted {
            let columns = [self.unit_columns(&groups), columns].concat();
            out.batches.push(self.keyed.batch(columns, Some(diffs), wall_ms));
        }
        let done = self.changed.is_done();
        if done {
            self.changed.clear();
            self.units = Groups::default();
            self.unit_sessions = Vec::new();
        }
        done
    }

    /// Finds the sessions that become visible.
    pub(super) fn start_firing(&mut self, watermark: Watermark) {
        if self.windowing.emit == Emit::Changes || watermark <= self.watermark {
            return;
        }
        let first = |watermark: Watermark| (watermark.0.saturating_sub(self.gap_ns), 0, 0);
        let due = self.by_last.range(first(self.watermark)..first(watermark));
        self.firing = due.map(|(last, group, _)| (*last, *group)).collect();
        // Taken from the end.
        self.firing.reverse();
    }

    /// Gives out the sessions that become visible; false if there is more.
    pub(super) fn fire(&mut self, wall_ms: i64, out: &mut Output) -> bool {
        let due = self.firing.split_off(self.firing.len().saturating_sub(EMIT_GROUPS_MAX));
        if due.is_empty() {
            return true;
        }
        let groups: Vec<Group> = due.iter().rev().map(|(_, group)| *group).collect();
        let ends: Vec<EventTime> = due.iter().rev().map(|(last, _)| self.end(*last)).collect();
        let results = self.results(&groups);
        let keys = groups.iter().map(|group| self.keyed.groups.key(*group));
        let mut keys = canonical::decode(keys, &self.keyed.key_types).expect("canonical keys");
        let starts = keys.remove(0);
        keys.extend([starts, Arc::new(TimestampNanosecondArray::from(ends))]);
        self.keyed.give_out(keys, results, wall_ms, out);
        self.firing.is_empty()
    }

    /// Key, start and end of units.
    fn unit_columns(&self, units: &[Group]) -> Vec<ArrayRef> {
        let types = [&[TIMESTAMP], self.keyed.key_types.as_slice()].concat();
        let units = units.iter().map(|unit| self.units.key(*unit));
        let mut columns = canonical::decode(units, &types).expect("canonical keys");
        let (ends, starts) = (columns.remove(0), columns.remove(0));
        columns.extend([starts, ends]);
        columns
    }
}

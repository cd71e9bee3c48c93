//! Windows whose end the watermark has passed: the results of their units become visible.

use super::WindowedState;
use crate::canonical;
use crate::time::{EventTime, Watermark};
use crate::transform::Output;
use crate::transform::aggregate::groups::{Group, Groups};
use crate::transform::aggregate::touched::EMIT_GROUPS_MAX;

/// How many groups are looked at in one call.
pub(super) const GROUPS_MAX: usize = EMIT_GROUPS_MAX;

/// A window on its way out.
pub(super) struct Firing {
    end: EventTime,
    /// The groups with rows, unit by unit.
    groups: Vec<Group>,
    /// Where each unit ends among `groups`; `None`: each group is one.
    unit_ends: Option<Vec<usize>>,
    /// Units that have been given out.
    emitted: usize,
}

impl Firing {
    fn units(&self) -> usize {
        self.unit_ends.as_ref().map_or(self.groups.len(), Vec::len)
    }

    fn unit(&self, unit: usize) -> &[Group] {
        match &self.unit_ends {
            None => &self.groups[unit..=unit],
            Some(ends) => &self.groups[if unit == 0 { 0 } else { ends[unit - 1] }..ends[unit]],
        }
    }
}

impl WindowedState {
    /// Gives out the windows whose end the watermark has passed; false if there is more.
    pub(super) fn fire(&mut self, watermark: Watermark, wall_ms: i64, out: &mut Output) -> bool {
        if self.firing.is_none() {
            let due = self.pending.first().copied().filter(|end| Watermark(*end) <= watermark);
            let Some(end) = due else { return true };
            self.pending.pop_first();
            self.firing = Some(self.window(end));
        }
        if let Some(mut firing) = self.firing.take() {
            self.emit_units(&mut firing, wall_ms, out);
            self.firing = Some(firing).filter(|firing| firing.emitted < firing.units());
        }
        // The next one, too, may be due.
        self.firing.is_none() && self.pending.first().is_none_or(|end| Watermark(*end) > watermark)
    }

    /// The units of a window.
    fn window(&self, end: EventTime) -> Firing {
        let slices = self.by_slice.range(self.slices.range(end)).map(|(_, groups)| groups);
        let groups = slices.flatten().copied().filter(|group| self.keyed.groups.rows(*group) > 0);
        let groups: Vec<Group> = groups.collect();
        if self.slices.per_window() == 1 {
            return Firing { end, groups, unit_ends: None, emitted: 0 };
        }
        let mut units = Groups::default();
        let mut by_unit: Vec<(Group, Group)> = Vec::with_capacity(groups.len());
        for group in groups {
            let key = &self.keyed.groups.key(group)[canonical::TIMESTAMP_BYTES..];
            by_unit.push((units.intern(key), group));
        }
        by_unit.sort_by_key(|(unit, _)| *unit);
        let mut unit_ends = vec![0; units.slots()];
        for (place, (unit, _)) in by_unit.iter().enumerate() {
            unit_ends[*unit as usize] = place + 1;
        }
        let groups = by_unit.into_iter().map(|(_, group)| group).collect();
        Firing { end, groups, unit_ends: Some(unit_ends), emitted: 0 }
    }

    fn emit_units(&mut self, firing: &mut Firing, wall_ms: i64, out: &mut Output) {
        let last = firing.units().min(firing.emitted + self.units_at_once());
        let units = firing.emitted..last;
        firing.emitted = last;
        if units.is_empty() {
            return;
        }
        let results = self.evaluate(units.clone().map(|unit| firing.unit(unit)));
        let keys = units.map(|unit| self.keyed.groups.key(firing.unit(unit)[0]));
        let keys = self.key_columns(keys, |_| firing.end);
        self.keyed.give_out(keys, results, wall_ms, out);
    }
}

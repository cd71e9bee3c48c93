//! Units that were visible before the epoch and that it has changed: EMIT CHANGES and allowed lateness.

use arrow::array::{ArrayRef, AsArray, TimestampNanosecondArray};
use arrow::datatypes::TimestampNanosecondType;

use super::WindowedState;
use crate::canonical;
use crate::plan::Window;
use crate::time::EventTime;
use crate::transform::Output;
use crate::transform::aggregate::emit::{self, Emitted};
use crate::transform::aggregate::groups::Group;
use crate::transform::aggregate::keyed::Results;
use crate::transform::aggregate::touched::Old;

impl WindowedState {
    /// The visible units that a group is part of and that still change, as bytes: end of the window, key.
    pub(super) fn visible_units(&self, group: Group, slice: EventTime) -> Vec<Vec<u8>> {
        let ends = self.slices.ends(slice).filter(|end| self.was_visible(*end) && self.is_open(*end));
        let key = &self.keyed.groups.key(group)[canonical::TIMESTAMP_BYTES..];
        ends.map(|end| [&canonical::timestamp(end)[..], key].concat()).collect()
    }

    /// Evaluates units that this epoch has not changed before, as they still are.
    pub(super) fn change_units(&mut self, units: &[Vec<u8>]) {
        let chunk = self.changed.next_chunk();
        let mut existing = Vec::new();
        for unit in units {
            let unit = self.units.intern(unit);
            self.changed.resize(self.units.slots());
            if self.changed.contains(unit) {
                continue;
            }
            let old = match self.parts(unit).is_empty() {
                true => Old::None,
                false => Old::Row(chunk, existing.len() as u32),
            };
            self.changed.insert(unit, old);
            if old != Old::None {
                existing.push(unit);
            }
        }
        if !existing.is_empty() {
            let results = self.evaluate_units(&existing);
            for place in results.failed.keys() {
                self.changed.set_failed(existing[*place]);
            }
            self.changed.push_chunk(results.columns);
        }
    }

    /// The groups with rows that make up a unit.
    fn parts(&self, unit: Group) -> Vec<Group> {
        let key = self.units.key(unit);
        let range = self.slices.range(canonical::leading_timestamp(key));
        let key = &key[canonical::TIMESTAMP_BYTES..];
        let slices = self.by_slice.range(range).map(|(slice, _)| *slice);
        let groups = slices
            .filter_map(|slice| self.keyed.groups.find(&[&canonical::timestamp(slice)[..], key].concat()));
        groups.filter(|group| self.keyed.groups.rows(*group) > 0).collect()
    }

    fn evaluate_units(&mut self, units: &[Group]) -> Results {
        let parts: Vec<_> = units.iter().map(|unit| self.parts(*unit)).collect();
        self.evaluate(parts.iter().map(Vec::as_slice))
    }

    /// The results of units, each made of some groups.
    pub(super) fn evaluate<'a>(&mut self, units: impl Iterator<Item = &'a [Group]>) -> Results {
        let mut scratch = Vec::new();
        let groups = units.map(|parts| match parts {
            [group] => *group,
            parts => {
                let whole = self.keyed.scratch();
                parts.iter().for_each(|part| self.keyed.merge(*part, whole));
                scratch.push(whole);
                whole
            }
        });
        let groups: Vec<Group> = groups.collect();
        let results = self.keyed.evaluate(&groups);
        scratch.into_iter().for_each(|group| self.keyed.give_back(group));
        results
    }

    /// Emits what the epoch has changed; false if there is more.
    pub(super) fn emit_changed(&mut self, wall_ms: i64, out: &mut Output) -> bool {
        if self.changed.is_empty() {
            return true;
        }
        let units = self.changed.next_groups(&self.units, self.units_at_once());
        let alive = units.iter().copied().filter(|unit| !self.parts(*unit).is_empty());
        let alive: Vec<Group> = alive.collect();
        let results = self.evaluate_units(&alive);
        let mut failures = Vec::new();
        let emitted = emit::changes(&self.changed, &units, &alive, &results, |unit, aggregate, error| {
            failures.push((unit, aggregate, error.to_owned()));
        });
        for (unit, aggregate, error) in failures {
            out.letters.push(self.keyed.letter(self.unit_columns(&[unit]), aggregate, error));
        }
        if let Some(Emitted { groups, columns, diffs }) = emitted {
            let batch =
                self.keyed.batch([self.unit_columns(&groups), columns].concat(), Some(diffs), wall_ms);
            out.batches.push(batch);
        }
        let done = self.changed.is_done();
        if done {
            self.changed.clear();
            self.units = Default::default();
        }
        done
    }

    /// How many units are emitted at once.
    pub(super) fn units_at_once(&self) -> usize {
        (super::fire::GROUPS_MAX / self.slices.per_window().max(1)).max(1)
    }

    fn unit_columns(&self, units: &[Group]) -> Vec<ArrayRef> {
        self.key_columns(units.iter().map(|unit| self.units.key(*unit)), |end| end)
    }

    /// The columns that name a row: the key, start and end of the window. `keys` begin with a time, of which
    /// `end` makes the end of the window.
    pub(super) fn key_columns<'a>(
        &self,
        keys: impl Iterator<Item = &'a [u8]>,
        end: impl Fn(EventTime) -> EventTime,
    ) -> Vec<ArrayRef> {
        let columns = canonical::decode(keys, &self.keyed.key_types).expect("the state holds canonical keys");
        let times = columns[0].as_primitive::<TimestampNanosecondType>();
        let ends: TimestampNanosecondArray = times.unary(end);
        let mut columns = columns[1..].to_vec();
        if self.windowing.window != Window::Given {
            let starts: TimestampNanosecondArray = ends.unary(|end| self.slices.start(end));
            columns.push(std::sync::Arc::new(starts));
        }
        columns.push(std::sync::Arc::new(ends));
        columns
    }
}

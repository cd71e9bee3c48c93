//! The rows of an epoch into sessions: new ones, longer ones, and ones that grow together.

use super::sweep::{Joined, sweep};
use super::*;
use crate::transform::aggregate::touched::Old;

/// A row of the epoch: its key, its time, and its place among what has arrived.
type Arrival = (Group, EventTime, usize, usize);

/// A session that rows of the epoch are part of.
struct Planned {
    key: Group,
    joined: Joined,
    /// The older sessions in it.
    before: Vec<Session>,
    /// Its rows among the arrivals.
    arrivals: std::ops::Range<usize>,
}

impl SessionState {
    /// Puts the rows of the epoch into sessions.
    pub(super) fn join(&mut self, out: &mut Output) {
        let arrived = std::mem::take(&mut self.arrived);
        let mut arrivals = self.arrivals(&arrived);
        arrivals.sort_unstable();
        let planned = self.plan(&arrivals);
        if !self.windowing.is_final() {
            self.note_changed(&planned);
        }
        // By row of each batch its group, or none if it is late.
        let mut groups: Vec<Vec<Option<Group>>> =
            arrived.iter().map(|taken| vec![None; taken.batch.len()]).collect();
        let mut grown = Vec::with_capacity(planned.len());
        for planned in planned {
            let session = self.absorb(&planned);
            for (_, _, batch, row) in &arrivals[planned.arrivals] {
                groups[*batch][*row] = Some(session.group);
            }
            grown.push((planned.key, session));
        }
        for (taken, groups) in arrived.into_iter().zip(groups) {
            self.take_in(taken, &groups, out);
        }
        if self.windowing.is_final() {
            grown.clear();
        }
        for (key, session) in grown {
            // What becomes visible with this epoch is fired.
            if self.was_visible(session.last) {
                let unit = self.unit(key, session);
                self.unit_sessions[unit as usize] = Some(session.group);
            }
        }
        // Rows that were late may have left keys without a session.
        for (key, ..) in arrivals {
            if self.by_key[key as usize].is_empty() && self.keys.holds(key) {
                self.keys.remove(key);
            }
        }
    }

    fn arrivals(&mut self, arrived: &[Taken]) -> Vec<Arrival> {
        let mut arrivals = Vec::with_capacity(arrived.iter().map(|taken| taken.batch.len()).sum());
        let mut keys = CanonicalRows::default();
        for (batch, taken) in arrived.iter().enumerate() {
            keys.encode(&taken.keys, taken.batch.len());
            let times = taken.time.as_ref().expect("sessions are over event time");
            let times = times.as_primitive::<TimestampNanosecondType>().values();
            for (row, (key, time)) in keys.iter().zip(times.iter()).enumerate() {
                arrivals.push((self.keys.intern(key), *time, batch, row));
            }
        }
        self.by_key.resize(self.keys.slots(), Vec::new());
        arrivals
    }

    /// The sessions that the arrivals, by key and time, make or change.
    fn plan(&self, arrivals: &[Arrival]) -> Vec<Planned> {
        let mut planned = Vec::new();
        let mut first = 0;
        for of_key in arrivals.chunk_by(|left, right| left.0 == right.0) {
            let key = of_key[0].0;
            let sessions = &self.by_key[key as usize];
            let times: Vec<EventTime> = of_key.iter().map(|(_, time, ..)| *time).collect();
            let stretches: Vec<_> = sessions.iter().map(|session| (session.start, session.last)).collect();
            for joined in sweep(&times, &stretches, self.gap_ns) {
                let is_late = joined.sessions.is_empty() && self.is_closed(joined.last, self.watermark);
                if joined.rows.is_empty() || is_late {
                    continue;
                }
                let arrivals = first + joined.rows.start..first + joined.rows.end;
                let before = sessions[joined.sessions.clone()].to_vec();
                planned.push(Planned { key, before, arrivals, joined });
            }
            first += of_key.len();
        }
        planned
    }

    /// Makes one session of all that is planned for it.
    fn absorb(&mut self, planned: &Planned) -> Session {
        let Planned { key, joined, before, .. } = planned;
        let bytes = [&canonical::timestamp(joined.start)[..], self.keys.key(*key)].concat();
        let group = self.keyed.groups.intern(&bytes);
        self.keyed.make_room();
        for old in before {
            self.by_last.remove(&(old.last, old.group, *key));
            if old.group != group {
                self.keyed.merge(old.group, group);
                let rows = self.keyed.groups.rows(old.group);
                self.keyed.groups.add_rows(group, rows);
                self.keyed.drop_group(old.group);
            }
        }
        self.keyed.tracker.change(group);
        let session = Session { start: joined.start, last: joined.last, group };
        self.by_last.insert((session.last, group, *key));
        let sessions = &mut self.by_key[*key as usize];
        let from = sessions.partition_point(|other| other.start < joined.start);
        let to = sessions.partition_point(|other| other.start <= joined.last);
        sessions.splice(from..to, [session]);
        session
    }

    /// Folds the rows of a batch into the groups of their sessions; those without are late.
    fn take_in(&mut self, taken: Taken, groups: &[Option<Group>], out: &mut Output) {
        self.keyed.row_groups.clear();
        self.keyed.row_groups.extend(groups.iter().flatten());
        if self.keyed.row_groups.len() == groups.len() {
            return self.keyed.update(&taken);
        }
        let late: BooleanArray = groups.iter().map(|group| Some(group.is_none())).collect();
        out.late.push(taken.batch.filter(&late).expect("masks of one length"));
        let kept: BooleanArray = groups.iter().map(|group| Some(group.is_some())).collect();
        self.keyed.update(&taken.filtered(&kept));
    }

    /// Evaluates the visible sessions that will change, as they still are.
    fn note_changed(&mut self, planned: &[Planned]) {
        let chunk = self.changed.next_chunk();
        let mut existing = Vec::new();
        for planned in planned {
            for session in &planned.before {
                if self.was_visible(session.last) {
                    let old = Old::Row(chunk, existing.len() as u32);
                    let unit = self.unit_with(planned.key, *session, old);
                    existing.push((unit, session.group));
                }
            }
        }
        if !existing.is_empty() {
            let groups: Vec<Group> = existing.iter().map(|(_, group)| *group).collect();
            let results = self.results(&groups);
            for place in results.failed.keys() {
                self.changed.set_failed(existing[*place].0);
            }
            self.changed.push_chunk(results.columns);
        }
    }

    fn unit(&mut self, key: Group, session: Session) -> Group {
        self.unit_with(key, session, Old::None)
    }

    /// The unit of a session as it is, touched with `old` where it was not before.
    fn unit_with(&mut self, key: Group, session: Session, old: Old) -> Group {
        let times = [self.end(session.last), session.start].map(canonical::timestamp).concat();
        let unit = self.units.intern(&[&times, self.keys.key(key)].concat());
        self.changed.resize(self.units.slots());
        self.unit_sessions.resize(self.units.slots(), None);
        if !self.changed.contains(unit) {
            self.changed.insert(unit, old);
        }
        unit
    }
}

//! The end of an epoch: its rows meet those that are kept, and rows that nothing can match any more leave.

use std::collections::BTreeSet;

use super::side::{Flags, Kept, Place};
use super::{IntervalJoin, New};
use crate::plan::JoinKind;
use crate::time::{EpochClose, EventTime};
use crate::transform::join::condition::{Holds, holds};
use crate::transform::{Output, Progress};

/// How many pairs are made, and rows forgotten, in one call. Few in tests, so that keys are interrupted.
const PAIRS_MAX: usize = if cfg!(test) { 3 } else { 8_192 };

/// What of an epoch comes next.
pub(super) enum Closing {
    /// New rows of a side with the rows of the other one: from this number on, and of it behind this place.
    Pairs { side: usize, number: usize, after: Option<Place> },
    /// New rows of a side become kept ones.
    Keep { side: usize },
    /// Rows of a side that have become too old.
    Forget { side: usize },
}

/// A new row beside one that is kept.
struct Pair<'a> {
    new: usize,
    place: &'a Place,
    kept: &'a Kept,
}

/// What is new of rows: by number of new ones, by place of kept ones.
type Found = (Vec<(usize, Flags)>, Vec<(Place, Flags)>);

impl IntervalJoin {
    /// Does a part of the work of a close.
    pub(super) fn step(&mut self, close: &EpochClose, out: &mut Output) -> Progress {
        let mut closing = self.closing.take().unwrap_or_else(|| {
            self.new.iter_mut().for_each(together);
            Closing::Pairs { side: 0, number: 0, after: None }
        });
        // What has to be gone on with, if the work of a call is done before.
        let rest = loop {
            closing = match closing {
                Closing::Pairs { side, number, after } => {
                    match self.pairs(side, (number, after), close.wall_ms, out) {
                        Some((number, after)) => break Closing::Pairs { side, number, after },
                        None => Closing::Keep { side },
                    }
                }
                Closing::Keep { side } => match self.keep(side) {
                    false => break Closing::Keep { side },
                    // The right side meets the new rows of the left one, too.
                    true if side == 0 => Closing::Pairs { side: 1, number: 0, after: None },
                    true => Closing::Forget { side: 0 },
                },
                Closing::Forget { side } => {
                    let through = self.through(side, close.watermarks[1 - side]);
                    match through.is_none_or(|through| self.forget(side, through, close.wall_ms, out)) {
                        false => break Closing::Forget { side },
                        true if side == 0 => Closing::Forget { side: 1 },
                        true => return Progress::Done,
                    }
                }
            };
        };
        self.closing = Some(rest);
        Progress::More
    }

    /// Keeps some of the new rows of a side. Whether all are kept.
    fn keep(&mut self, side: usize) -> bool {
        for _ in 0..PAIRS_MAX {
            let Some(mut new) = self.new[side].pop() else { return true };
            new.flags.set(Flags::CHANGED, self.tracker.is_based());
            self.sides[side].insert(new);
        }
        self.new[side].is_empty()
    }

    /// Makes some pairs of new rows of `side`; where to go on, if there are more.
    fn pairs(
        &mut self,
        side: usize,
        (mut number, mut after): (usize, Option<Place>),
        wall_ms: i64,
        out: &mut Output,
    ) -> Option<(usize, Option<Place>)> {
        let (news, others) = (&self.new[side], &self.sides[1 - side]);
        let (mut pairs, end) = (Vec::new(), number + PAIRS_MAX);
        while let Some(new) = news.get(number)
            && number < end
            && pairs.len() < PAIRS_MAX
        {
            let last = after.take();
            if let Some(times) = self.partners(side, new.place.time) {
                let found = others.between(new.place.group, times, last.as_ref());
                let found = found.map(|(place, kept)| Pair { new: number, place, kept });
                pairs.extend(found.take(PAIRS_MAX - pairs.len()));
            }
            match pairs.last() {
                Some(pair) if pairs.len() == PAIRS_MAX => after = Some(pair.place.clone()),
                _ => number += 1,
            }
        }
        let next = (number < news.len()).then_some((number, after));
        if !pairs.is_empty() {
            let holds = self.holds(side, &pairs, wall_ms, out);
            self.give(side, &pairs, &holds, wall_ms, out);
            let found = self.found(side, &pairs, &holds);
            self.note(side, found);
        }
        next
    }

    /// The times at which the other side can have partners of a row.
    fn partners(&self, side: usize, time: EventTime) -> Option<(EventTime, EventTime)> {
        let (least, most) = self.plan.reach(side);
        let [first, last] = [least, most].map(|reach| i128::from(time) + reach);
        let (min, max) = (i128::from(EventTime::MIN), i128::from(EventTime::MAX));
        let inside = |time: i128| EventTime::try_from(time.clamp(min, max)).expect("a time is 64 bits");
        (first <= max && last >= min).then(|| (inside(first), inside(last)))
    }

    /// The condition on each pair.
    fn holds(&self, side: usize, pairs: &[Pair], wall_ms: i64, out: &mut Output) -> Vec<Holds> {
        let Some(condition) = &self.plan.condition else { return vec![Holds::True; pairs.len()] };
        let rows = pairs.iter().map(|pair| self.parts(side, pair));
        let (left, right): (Vec<_>, Vec<_>) = rows.unzip();
        let batch = self.batch(&self.plan.pairs, &left, &right, wall_ms);
        holds(condition, &batch, &self.plan.name, out)
    }

    /// The left and the right row of a pair.
    fn parts<'a>(&'a self, side: usize, pair: &Pair<'a>) -> (Option<&'a [u8]>, Option<&'a [u8]>) {
        let (new, kept) = (Some(&*self.new[side][pair.new].place.row), Some(&*pair.place.row));
        if side == 0 { (new, kept) } else { (kept, new) }
    }

    /// Gives out the pairs that match, or the rows that have one for the first time.
    fn give(&self, side: usize, pairs: &[Pair], holds: &[Holds], wall_ms: i64, out: &mut Output) {
        let matching = pairs.iter().zip(holds).filter(|(_, holds)| **holds == Holds::True);
        let matching = matching.map(|(pair, _)| pair);
        let (mut left, mut right) = (Vec::new(), Vec::new());
        if self.plan.kind.gives_pairs() {
            for pair in matching {
                let count = self.new[side][pair.new].count * pair.kept.count;
                for _ in 0..count {
                    let (of_left, of_right) = self.parts(side, pair);
                    left.push(of_left);
                    right.push(of_right);
                }
            }
        } else if self.plan.kind == JoinKind::Semi {
            let mut seen = BTreeSet::new();
            for pair in matching {
                let new = &self.new[side][pair.new];
                let (place, count, flags) = match side {
                    0 => (&new.place, new.count, new.flags),
                    _ => (pair.place, pair.kept.count, pair.kept.flags),
                };
                if !flags.has(Flags::MATCHED) && seen.insert(place) {
                    left.extend(std::iter::repeat_n(Some(&*place.row), count as usize));
                }
            }
        }
        if !left.is_empty() {
            out.batches.push(self.batch(&self.plan.schema, &left, &right, wall_ms));
        }
    }

    /// What pairs say of their rows that is not known yet.
    fn found(&self, side: usize, pairs: &[Pair], holds: &[Holds]) -> Found {
        let asks = |side: usize| self.plan.keeps(side) || side == 0 && self.plan.kind == JoinKind::Semi;
        let (mut new, mut kept) = (Vec::new(), Vec::new());
        for (pair, holds) in pairs.iter().zip(holds) {
            let flag = match holds {
                Holds::True => Flags::MATCHED,
                Holds::Failed => Flags::UNDECIDED,
                Holds::False => continue,
            };
            if asks(side) && !self.new[side][pair.new].flags.has(flag) {
                new.push((pair.new, flag));
            }
            if asks(1 - side) && !pair.kept.flags.has(flag) {
                kept.push((pair.place.clone(), flag));
            }
        }
        (new, kept)
    }

    fn note(&mut self, side: usize, (new, kept): Found) {
        for (number, flag) in new {
            self.new[side][number].flags.set(flag, true);
        }
        for (place, flag) in kept {
            if let Some(kept) = self.sides[1 - side].rows.get_mut(&place) {
                kept.flags.set(flag, true);
                kept.flags.set(Flags::CHANGED, self.tracker.is_based());
            }
        }
    }

    /// Forgets some rows of `side` up to a time; those that were without a match leave where they are kept.
    /// Whether all are forgotten.
    fn forget(&mut self, side: usize, through: EventTime, wall_ms: i64, out: &mut Output) -> bool {
        let gone = self.sides[side].forget(through, PAIRS_MAX);
        let mut alone = Vec::new();
        for (place, kept) in &gone {
            let rows = kept.count as i64;
            out.emitted += rows;
            self.tracker.forget(self.groups.key(place.group));
            self.groups.add_rows(place.group, -rows);
            if self.groups.rows(place.group) == 0 {
                self.groups.remove(place.group);
            }
            let matched = kept.flags.has(Flags::MATCHED) || kept.flags.has(Flags::UNDECIDED);
            if self.plan.keeps(side) && !matched {
                alone.extend(std::iter::repeat_n(Some(&*place.row), kept.count as usize));
            }
        }
        if !alone.is_empty() {
            out.batches.push(self.alone(side, &alone, wall_ms));
        }
        self.tracker.forgotten(side, through);
        gone.len() < PAIRS_MAX
    }
}

/// Brings equal rows together.
fn together(rows: &mut Vec<New>) {
    rows.sort_unstable_by(|left, right| left.place.cmp(&right.place));
    rows.dedup_by(|next, first| {
        let same = next.place == first.place;
        if same {
            first.count += next.count;
        }
        same
    });
}

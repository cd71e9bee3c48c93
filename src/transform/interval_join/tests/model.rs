//! The operator beside all rows that it has seen.

use std::collections::BTreeSet;

use rand::Rng;
use rand::seq::SliceRandom;
use rand_pcg::Pcg64Mcg;

use super::*;

/// What a row of the model has been through.
struct Seen {
    epoch: usize,
    row: Row,
    late: bool,
}

/// The operator beside all rows that it has seen.
pub(super) struct Run<'a> {
    case: &'a Case,
    pub operator: IntervalJoin,
    seen: [Vec<Seen>; 2],
    /// All that has left.
    out: Bag<Joined>,
}

impl<'a> Run<'a> {
    pub fn new(case: &'a Case) -> Self {
        let operator = IntervalJoin::new(&plan(case)).expect("an operator");
        Run { case, operator, seen: Default::default(), out: Bag::new() }
    }

    /// Runs an epoch, in random batches, and compares everything with the model.
    pub fn epoch(&mut self, epoch: usize, random: &mut Pcg64Mcg, name: &str) {
        let name = format!("{name}, epoch {epoch} of {:?}", self.case);
        let mut out = Output::default();
        let mut batches = Vec::new();
        for port in [0, 1] {
            let mut rows = self.case.epochs[epoch].rows[port].clone();
            rows.shuffle(random);
            batches.extend(rows.chunks(random.random_range(1..4)).map(|part| (port, batch(part))));
        }
        batches.shuffle(random);
        for (port, batch) in &batches {
            self.operator.on_batch(*port, epoch as Epoch, batch, &mut out);
        }
        while self.operator.on_epoch(&self.close(epoch), &mut out) == Progress::More {}
        let rows = |batches: &[Batch]| batches.iter().map(Batch::diff_sum).sum::<i64>();
        let read: usize = self.case.epochs[epoch].rows.iter().map(Vec::len).sum();

        let in_state_before = self.in_state(epoch.checked_sub(1));
        self.see(epoch);
        let late = self.seen.iter().flatten().filter(|seen| seen.epoch == epoch && seen.late).count();
        assert_eq!(rows(&out.late), late as i64, "{name}");
        let in_state = self.in_state(Some(epoch));
        assert_eq!(self.operator.rows_in_state(), in_state, "{name}");
        let fates = out.filtered + out.dead + out.emitted + rows(&out.late) + in_state - in_state_before;
        assert_eq!(fates, read as i64, "each row has one fate: {name}");

        for batch in &out.batches {
            (0..batch.len())
                .for_each(|row| *self.out.entry(joined(batch, row)).or_insert(0) += batch.diff(row));
        }
        assert_eq!(self.out, self.expected(epoch), "{name}");
        assert_eq!(out.letters.len(), self.failing(epoch), "letters: {name}");
    }

    pub fn restart(&mut self, epoch: usize, saved: &Snapshots, name: &str) {
        let before = self.operator.rows_in_state();
        self.operator = IntervalJoin::new(&plan(self.case)).expect("an operator");
        saved.restore(&mut self.operator);
        let mut out = Output::default();
        while self.operator.on_epoch(&self.close(epoch), &mut out) == Progress::More {}
        assert!(out.batches.is_empty() && out.emitted == 0, "{name}, epoch {epoch}: {out:?}");
        assert_eq!(self.operator.rows_in_state(), before, "{name}, epoch {epoch}");
    }

    fn close(&self, epoch: usize) -> EpochClose {
        let watermarks = self.case.epochs[epoch].watermarks.to_vec();
        EpochClose { epoch: epoch as Epoch, wall_ms: 0, checkpoint: false, watermarks }
    }

    fn see(&mut self, epoch: usize) {
        for port in [0, 1] {
            let before = epoch.checked_sub(1).map(|before| self.case.epochs[before].watermarks[port]);
            for row in self.case.epochs[epoch].rows[port].iter().copied() {
                let late = row.1.is_some_and(|time| before.is_some_and(|before| Watermark(time) < before));
                self.seen[port].push(Seen { epoch, row, late });
            }
        }
    }

    /// Whether a row of `side` can have a partner that is still to come behind an epoch.
    fn may_match(&self, side: usize, row: Row, epoch: usize) -> bool {
        let (Some(_), Some(time)) = (row.0, row.1) else { return false };
        let farthest = if side == 0 { i128::from(self.case.upper) } else { -i128::from(self.case.lower) };
        let other = self.case.epochs[epoch].watermarks[1 - side];
        other != Watermark::END && i128::from(time) + farthest >= i128::from(other.0)
            || other == Watermark::NONE
    }

    fn in_state(&self, epoch: Option<usize>) -> i64 {
        let Some(epoch) = epoch else { return 0 };
        let rows = |side: usize| {
            let kept =
                |seen: &&Seen| seen.epoch <= epoch && !seen.late && self.may_match(side, seen.row, epoch);
            self.seen[side].iter().filter(kept).count() as i64
        };
        rows(0) + rows(1)
    }

    /// Whether a pair matches; `None` if the condition fails on it.
    fn matches(&self, left: Row, right: Row) -> Option<bool> {
        let ((Some(key), Some(time)), (Some(other), Some(at))) = ((left.0, left.1), (right.0, right.1))
        else {
            return Some(false);
        };
        let distance = i128::from(at) - i128::from(time);
        let (lower, upper) = (i128::from(self.case.lower), i128::from(self.case.upper));
        if key != other || distance < lower || distance > upper {
            return Some(false);
        }
        match self.case.condition {
            Condition::None => Some(true),
            Condition::Less => Some(left.2 < right.2),
            Condition::Fails => (left.2 != right.2).then_some(left.2 > right.2),
        }
    }

    fn rows(&self, side: usize) -> impl Iterator<Item = &Seen> {
        self.seen[side].iter().filter(|seen| !seen.late)
    }

    /// All that has left until an epoch.
    fn expected(&self, epoch: usize) -> Bag<Joined> {
        let mut joined = Bag::new();
        let mut add = |left: Option<Row>, right: Option<Row>| *joined.entry((left, right)).or_insert(0) += 1;
        let kind = self.case.kind;
        for left in self.rows(0) {
            let all: BTreeSet<_> = self.rows(1).map(|right| self.matches(left.row, right.row)).collect();
            let unmatched = all.iter().all(|found| *found == Some(false));
            let final_ = !self.may_match(0, left.row, epoch);
            match kind {
                JoinKind::Left | JoinKind::Full | JoinKind::Anti if unmatched && final_ => {
                    add(Some(left.row), None)
                }
                JoinKind::Semi if all.contains(&Some(true)) => add(Some(left.row), None),
                _ => {}
            }
            for right in self.rows(1).filter(|_| kind.gives_pairs()) {
                if self.matches(left.row, right.row) == Some(true) {
                    add(Some(left.row), Some(right.row));
                }
            }
        }
        for right in self.rows(1).filter(|_| kind.keeps_right()) {
            let unmatched = self.rows(0).all(|left| self.matches(left.row, right.row) == Some(false));
            if unmatched && !self.may_match(1, right.row, epoch) {
                add(None, Some(right.row));
            }
        }
        joined
    }

    /// Pairs that fail first in an epoch.
    fn failing(&self, epoch: usize) -> usize {
        let pairs = self.rows(0).flat_map(|left| self.rows(1).map(move |right| (left, right)));
        let new = pairs.filter(|(left, right)| left.epoch.max(right.epoch) == epoch);
        new.filter(|(left, right)| self.matches(left.row, right.row).is_none()).count()
    }
}

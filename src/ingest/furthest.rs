//! How far event time has come in a partition, without those whose clocks are far ahead of all others.
//!
//! An event time that is further ahead than `max_jump` of all that counted before it counts when most of the last
//! records are there as well: three quarters of the last 1,024, or of all where there are fewer. Until then it moves
//! nothing. Where it takes too long, results come later; were it too fast, everything else would be late.

use std::time::Duration;

use crate::time::EventTime;

/// How many records say where event time stands.
const AROUND: usize = 1_024;

/// The greatest event time of a partition that counts.
#[derive(Debug)]
pub struct Furthest {
    /// `None`: the greatest of all counts.
    max_jump_ns: Option<i64>,
    time: Option<EventTime>,
    around: Around,
}

/// The last event times. They are in order only while records come that are far ahead: then each replaces one among
/// those in order, and only the first of them has to sort.
#[derive(Debug, Default)]
struct Around {
    /// From `next` on the oldest ones.
    times: Vec<EventTime>,
    next: usize,
    /// The same in order as of some records ago; empty where it is not known.
    sorted: Vec<EventTime>,
    /// What has come since then, and what it has replaced.
    changes: Vec<(Option<EventTime>, EventTime)>,
}

/// With more changes than that it is faster to sort again.
const CHANGES_MAX: usize = 64;

/// What the event time of a record is beside those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// None is greater.
    InOrder,
    /// So many nanoseconds behind.
    Behind(u64),
    /// So far ahead that it does not count.
    Ahead,
}

impl Furthest {
    /// Nothing was seen.
    pub fn new(max_jump: Option<Duration>) -> Self {
        let max_jump_ns = max_jump.map(|jump| i64::try_from(jump.as_nanos()).unwrap_or(i64::MAX));
        Furthest { max_jump_ns, time: None, around: Around::default() }
    }

    /// How far event time has come.
    pub fn time(&self) -> Option<EventTime> {
        self.time
    }

    /// Takes the event time of the next record; `certain`, if the clock says that it can be right.
    pub fn see(&mut self, time: EventTime, certain: bool) -> Seen {
        if let Some(jump_ns) = self.max_jump_ns {
            self.around.remember(time);
            if let Some(furthest) = self.time.filter(|_| !certain) {
                let is_ahead = time > furthest.saturating_add(jump_ns);
                // At the beginning it may be the first ones that are ahead.
                let is_behind = self.around.times.len() < AROUND && time < furthest.saturating_sub(jump_ns);
                if is_ahead || is_behind {
                    let counts = self.around.what_counts(jump_ns);
                    self.time = Some(if is_behind { counts } else { furthest.max(counts) });
                }
                if is_ahead && self.time < Some(time) {
                    return Seen::Ahead;
                }
            }
        }
        match self.time {
            Some(furthest) if time < furthest => Seen::Behind(furthest.abs_diff(time)),
            _ => {
                self.time = Some(time);
                Seen::InOrder
            }
        }
    }
}

impl Around {
    fn remember(&mut self, time: EventTime) {
        let replaced = if self.times.len() < AROUND {
            self.times.push(time);
            None
        } else {
            let replaced = std::mem::replace(&mut self.times[self.next], time);
            self.next = (self.next + 1) % AROUND;
            Some(replaced)
        };
        if self.sorted.is_empty() {
            return;
        }
        if self.changes.len() == CHANGES_MAX {
            // None was far ahead for a while: let go of it, so that those who are not cost nothing.
            self.sorted = Vec::new();
            self.changes = Vec::new();
        } else {
            self.changes.push((replaced, time));
        }
    }

    /// The greatest of the last event times that most of them have reached, or come near to: between it and those
    /// that are too few lies more than `jump_ns`.
    fn what_counts(&mut self, jump_ns: i64) -> EventTime {
        self.sort();
        let times = &self.sorted;
        let far = |pair: &[EventTime]| pair[0].saturating_add(jump_ns) < pair[1];
        // Three quarters of them are no too few, wherever the gap is.
        let first = times.len() / 4 + 1;
        let last = (first..times.len()).find(|at| far(&times[at - 1..=*at]));
        times[last.unwrap_or(times.len()) - 1]
    }

    fn sort(&mut self) {
        if self.sorted.is_empty() {
            self.sorted.clone_from(&self.times);
            self.sorted.sort_unstable();
        }
        for (replaced, time) in self.changes.drain(..) {
            let to = self.sorted.partition_point(|other| *other < time);
            let Some(replaced) = replaced else {
                self.sorted.insert(to, time);
                continue;
            };
            let from = self.sorted.partition_point(|other| *other < replaced);
            // What lies between the two moves by one place.
            if from < to {
                self.sorted[from..to].rotate_left(1);
                self.sorted[to - 1] = time;
            } else {
                self.sorted[to..=from].rotate_right(1);
                self.sorted[to] = time;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng};

    use super::*;

    const YEAR: i64 = 365;

    fn furthest() -> Furthest {
        Furthest::new(Some(Duration::from_nanos(30)))
    }

    fn see(furthest: &mut Furthest, times: impl IntoIterator<Item = i64>) -> Vec<Seen> {
        times.into_iter().map(|time| furthest.see(time, false)).collect()
    }

    #[test]
    fn one_clock_that_is_a_year_ahead_moves_nothing() {
        // Of ten devices one is ahead, as the first of all and all the time.
        for broken in 0..10 {
            let mut furthest = furthest();
            for round in 0..2_000 {
                for device in 0..10 {
                    let time = round / 100 + if device == broken { YEAR } else { 0 };
                    furthest.see(time, false);
                }
                assert_eq!(furthest.time(), Some(round / 100), "device {broken}");
            }
        }
    }

    #[test]
    fn what_most_records_have_reached_counts() {
        let mut furthest = furthest();
        assert_eq!(
            see(&mut furthest, [0, 30, 60, 59]),
            [Seen::InOrder, Seen::InOrder, Seen::InOrder, Seen::Behind(1)]
        );
        // All are there: after four records three times as many are needed.
        let seen = see(&mut furthest, YEAR..YEAR + 12);
        assert_eq!(seen[..11], [Seen::Ahead; 11]);
        assert_eq!((seen[11], furthest.time()), (Seen::InOrder, Some(YEAR + 11)));
        assert_eq!(see(&mut furthest, [YEAR]), [Seen::Behind(11)]);
        // Of many records only the last ones count.
        let mut furthest = self::furthest();
        see(&mut furthest, std::iter::repeat_n(0, 100_000));
        let seen = see(&mut furthest, std::iter::repeat_n(YEAR, 768));
        assert_eq!((seen[766], seen[767]), (Seen::Ahead, Seen::InOrder));
    }

    #[test]
    fn a_gap_that_is_real_is_not_crossed_by_those_who_are_even_further_ahead() {
        let mut furthest = furthest();
        see(&mut furthest, [0; 10]);
        see(&mut furthest, (0..100).map(|n| if n % 10 == 0 { 9 * YEAR } else { YEAR + n % 7 }));
        assert_eq!(furthest.time(), Some(YEAR + 6));
    }

    #[test]
    fn what_is_within_the_jump_or_certain_counts_at_once() {
        let mut furthest = furthest();
        assert_eq!(see(&mut furthest, [0, 30, 61]), [Seen::InOrder, Seen::InOrder, Seen::Ahead]);
        assert_eq!((furthest.see(YEAR, true), furthest.time()), (Seen::InOrder, Some(YEAR)));
        let mut all = Furthest::new(None);
        assert_eq!(
            see(&mut all, [0, i64::MAX, 5]),
            [Seen::InOrder, Seen::InOrder, Seen::Behind(i64::MAX.unsigned_abs() - 5)]
        );
    }

    /// The definition: what counts is found among all of the last event times, in order.
    fn as_defined(around: &[EventTime], jump_ns: i64) -> EventTime {
        let mut times = around.to_vec();
        times.sort_unstable();
        let far = |pair: &[EventTime]| pair[0].saturating_add(jump_ns) < pair[1];
        let too_few = |behind: usize| 4 * (times.len() - behind) < 3 * times.len();
        let last = (1..times.len()).find(|at| far(&times[at - 1..=*at]) && too_few(*at));
        times[last.unwrap_or(times.len()) - 1]
    }

    #[test]
    fn what_counts_is_what_the_definition_says_however_many_are_far_ahead() {
        for seed in 0..12 {
            let mut random = rand::rngs::StdRng::seed_from_u64(seed);
            let mut around = Around::default();
            let mut last: Vec<EventTime> = Vec::new();
            let (ahead, asked) = (random.random_range(0.0..1.0), random.random_range(0.002..0.3));
            for n in 0..3_000_i64 {
                let time = match random.random_bool(ahead) {
                    // Some of those who are ahead are so by different lengths, and some at the ends of time.
                    true => YEAR * random.random_range(1..4) + random.random_range(0..40),
                    false => n / 100 + random.random_range(-3..3),
                };
                let time = if n % 997 == 0 { [i64::MIN, i64::MAX][usize::from(n % 2 == 0)] } else { time };
                around.remember(time);
                last.push(time);
                let from = last.len().saturating_sub(AROUND);
                if random.random_bool(asked) {
                    let jump_ns = random.random_range(1..60);
                    let expected = as_defined(&last[from..], jump_ns);
                    assert_eq!(around.what_counts(jump_ns), expected, "seed {seed}, record {n}");
                }
            }
        }
    }
}

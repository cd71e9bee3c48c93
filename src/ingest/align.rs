//! Alignment: the partitions of a source are cut at about the same event time.
//!
//! In a backlog some partitions are read faster than others, or begin hours earlier. What the fast ones give has
//! to wait in windows and joins for the slow ones, so they may be ahead of the slowest by a fixed length of time
//! only ([`Source::max_drift`](crate::plan::Source::max_drift)); beyond that their records wait where they are.
//! Nothing depends on it but memory: what is late is judged by the watermark, which the slowest holds anyway.
//!
//! It cannot get stuck. Who is behind is never held by the ceiling, which is reckoned from where it stands; one
//! with a gap in its data stands behind the gap; one that has nothing to read, for now or for ever, holds nobody.
//!
//! The ceilings are those of an epoch that is a fixed number of epochs ago in a bounded run, so that what is in
//! an epoch depends on the input alone; in a live run they are the newest that are known.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use timely::scheduling::Activator;

use crate::time::{Epoch, EventTime, NANOS_PER_MILLI};

/// By so many epochs the ceilings of a bounded run are behind: sources cut while the one before is reported.
const BEHIND: Epoch = 2;

/// Ceilings by the index of their source in the plan.
pub type BySource = Vec<(u16, EventTime)>;

/// Where a partition stands in event time behind an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Standing {
    /// It has not given an event time, and is not at its end.
    Unknown,
    /// It has been cut to about here.
    At(EventTime),
    /// Records wait that are about here.
    Held(EventTime),
    /// Nothing is left for now.
    AtEnd,
    /// There will never be another record.
    Ended,
}

/// Source, partition, and where that stands.
pub type Stands = (u16, u32, Standing);

/// The partitions of one source.
#[derive(Debug)]
pub struct Alignment {
    /// How far ahead of the slowest a partition may be, and how far it may be now.
    drift_ns: i64,
    reach_ns: i64,
    /// With fewer records an epoch is small.
    epoch_records: u64,
    partitions: BTreeMap<u32, Standing>,
}

impl Alignment {
    /// Nothing is known of any partition. An epoch has `epoch_records` per partition at most.
    pub fn new(drift: Duration, epoch_records: usize) -> Self {
        let drift_ns = i64::try_from(drift.as_nanos()).unwrap_or(i64::MAX).max(1);
        let epoch_records = epoch_records as u64;
        Alignment { drift_ns, reach_ns: drift_ns, epoch_records, partitions: BTreeMap::new() }
    }

    /// Takes in where a partition stands.
    pub fn stands(&mut self, partition: u32, standing: Standing) {
        self.partitions.insert(partition, standing);
    }

    /// Up to which event time partitions may be cut behind an epoch of so many records. `None`: there is nobody
    /// to wait for.
    pub fn close(&mut self, records: u64) -> Option<EventTime> {
        let open = self.partitions.values().filter(|standing| **standing != Standing::Ended);
        if open.clone().count() < 2 {
            return None;
        }
        let active = || open.clone().filter(|standing| **standing != Standing::AtEnd);
        // Where data are sparse, the bound would make epochs small and many; their records need no bound.
        let all_held = active().all(|standing| matches!(standing, Standing::Held(_)));
        let small = all_held && records < self.epoch_records;
        let reach_ns = if small { self.reach_ns.saturating_mul(2) } else { self.reach_ns / 2 };
        let place = |standing: &Standing| match standing {
            Standing::At(time) | Standing::Held(time) => *time,
            _ => EventTime::MIN,
        };
        let slowest = active().map(place).min()?;
        self.reach_ns = reach_ns.max(self.drift_ns);
        // Of one of them nothing is known: nobody may go ahead of it.
        Some(if slowest == EventTime::MIN { slowest } else { slowest.saturating_add(self.reach_ns) })
    }
}

/// A source whose records come when their event times say.
#[derive(Debug)]
pub struct Replay {
    source: u16,
    speed_milli: u64,
    partitions: BTreeMap<u32, Standing>,
    /// The event time at which it began, and the clock then.
    begun: Option<(EventTime, i64)>,
}

impl Replay {
    /// One that has not begun, at a speed in thousandths of the clock's.
    pub fn new(source: u16, speed_milli: u64) -> Self {
        Replay { source, speed_milli, partitions: BTreeMap::new(), begun: None }
    }

    /// Begins when every partition has shown its first records, or that it has none.
    fn begin(&mut self, wall_ms: i64) {
        let place = |standing: &Standing| match standing {
            Standing::Unknown => Some(EventTime::MIN),
            Standing::At(time) | Standing::Held(time) => Some(*time),
            Standing::AtEnd | Standing::Ended => None,
        };
        let first = self.partitions.values().filter_map(place).min();
        if let (None, Some(first)) = (self.begun, first.filter(|first| *first > EventTime::MIN)) {
            self.begun = Some((first, wall_ms));
        }
    }

    fn ceiling(&self, wall_ms: i64) -> EventTime {
        let Some((first, began_ms)) = self.begun else { return EventTime::MIN };
        let gone_ms = i128::from(wall_ms.saturating_sub(began_ms)) * i128::from(self.speed_milli) / 1_000;
        let gone = i64::try_from(gone_ms * i128::from(NANOS_PER_MILLI)).unwrap_or(i64::MAX);
        first.saturating_add(gone)
    }
}

/// The ceilings of all sources on their way from the binder to the ticker, both on worker 0.
#[derive(Debug, Default)]
pub struct Ceilings {
    /// Some source is aligned.
    any: bool,
    /// By the epoch behind which they hold.
    known: RefCell<VecDeque<(Epoch, BySource)>>,
    /// They know the clock only when it ticks.
    replays: RefCell<Vec<Replay>>,
    /// The ticker waits for ceilings.
    waiting: Cell<bool>,
    ticker: RefCell<Option<Activator>>,
}

impl Ceilings {
    /// Nothing is known; `any` says whether sources are aligned.
    pub fn new(any: bool, replays: Vec<Replay>) -> Self {
        Ceilings { any, replays: RefCell::new(replays), ..Ceilings::default() }
    }

    /// Where partitions stand behind an epoch whose clock was this.
    pub fn stand(&self, standings: &[Stands], wall_ms: i64) {
        for replay in self.replays.borrow_mut().iter_mut() {
            let of_source = standings.iter().filter(|(source, ..)| *source == replay.source);
            replay.partitions.extend(of_source.map(|(_, partition, standing)| (*partition, *standing)));
            replay.begin(wall_ms);
        }
    }

    /// Lowers ceilings to where replays are by this clock.
    pub fn lower(&self, ceilings: &mut BySource, wall_ms: i64) {
        for replay in self.replays.borrow().iter() {
            let ceiling = replay.ceiling(wall_ms);
            match ceilings.iter_mut().find(|(source, _)| *source == replay.source) {
                Some((_, aligned)) => *aligned = ceiling.min(*aligned),
                None => ceilings.push((replay.source, ceiling)),
            }
        }
    }

    /// Names the ticker that is to be woken.
    pub fn wake(&self, ticker: Activator) {
        *self.ticker.borrow_mut() = Some(ticker);
    }

    /// The ceilings behind an epoch are known.
    pub fn learn(&self, epoch: Epoch, ceilings: BySource) {
        if !self.any {
            return;
        }
        self.known.borrow_mut().push_back((epoch, ceilings));
        if self.waiting.take()
            && let Some(ticker) = &*self.ticker.borrow()
        {
            ticker.activate();
        }
    }

    /// The ceilings of the next epoch: in a bounded run those behind a fixed earlier one, of which none lies
    /// before `first`. `None`: they are not known yet, and the ticker will be woken.
    pub fn of(&self, next: Epoch, first: Epoch, bounded: bool) -> Option<BySource> {
        let mut known = self.known.borrow_mut();
        let behind = if bounded { next.saturating_sub(BEHIND) } else { next };
        if !self.any || bounded && behind < first {
            return Some(Vec::new());
        }
        while known.get(1).is_some_and(|(epoch, _)| *epoch <= behind) {
            known.pop_front();
        }
        let newest = known.front().filter(|(epoch, _)| if bounded { *epoch == behind } else { true });
        if newest.is_none() && bounded {
            self.waiting.set(true);
            return None;
        }
        Some(newest.map(|(_, ceilings)| ceilings.clone()).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600;

    fn close(alignment: &mut Alignment, standings: &[(u32, Standing)], records: u64) -> Option<i64> {
        standings.iter().for_each(|(partition, standing)| alignment.stands(*partition, *standing));
        alignment.close(records)
    }

    #[test]
    fn nobody_is_further_ahead_of_the_slowest_than_the_drift() {
        use Standing::{At, AtEnd, Ended, Held, Unknown};
        let mut alignment = Alignment::new(Duration::from_nanos(3_600), 100);
        assert_eq!(close(&mut alignment, &[(0, At(10)), (1, Unknown)], 1000), Some(EventTime::MIN));
        assert_eq!(close(&mut alignment, &[(1, At(5))], 1000), Some(5 + HOUR));
        assert_eq!(close(&mut alignment, &[(0, Held(9 * HOUR))], 1000), Some(5 + HOUR));
        assert_eq!(close(&mut alignment, &[(1, At(HOUR))], 1000), Some(2 * HOUR));
        assert_eq!(close(&mut alignment, &[(1, AtEnd)], 1000), Some(10 * HOUR), "it has nothing to read");
        assert_eq!(close(&mut alignment, &[(0, AtEnd)], 1000), None);
        assert_eq!(close(&mut alignment, &[(0, At(10 * HOUR)), (1, At(2))], 1000), Some(2 + HOUR));
        assert_eq!(close(&mut alignment, &[(1, Ended)], 1000), None, "one alone is ahead of nobody");
        assert_eq!(close(&mut alignment, &[(0, Ended)], 1000), None);
    }

    #[test]
    fn a_gap_in_the_data_of_the_slowest_is_passed() {
        let mut alignment = Alignment::new(Duration::from_nanos(1), 10);
        let both = [(0, Standing::Held(50 * HOUR)), (1, Standing::Held(40 * HOUR))];
        assert_eq!(close(&mut alignment, &both, 1000), Some(40 * HOUR + 1));
    }

    #[test]
    fn sparse_data_are_cut_in_larger_steps_and_dense_data_are_not() {
        let mut alignment = Alignment::new(Duration::from_nanos(1), 10);
        let both = [(0, Standing::Held(0)), (1, Standing::Held(0))];
        let steps: Vec<_> = (0..4).map(|_| close(&mut alignment, &both, 3)).collect();
        assert_eq!(steps, [Some(2), Some(4), Some(8), Some(16)]);
        assert_eq!(close(&mut alignment, &both, 10), Some(8));
        assert_eq!(close(&mut alignment, &[(0, Standing::At(0))], 0), Some(4), "who is slow is waited for");
        (0..5).for_each(|_| _ = close(&mut alignment, &both, 10));
        assert_eq!(close(&mut alignment, &both, 10), Some(1));
        (0..100).for_each(|_| _ = close(&mut alignment, &both, 3));
        assert_eq!(close(&mut alignment, &both, 3), Some(i64::MAX));
    }

    #[test]
    fn a_replay_begins_with_the_earliest_partition_and_keeps_to_the_clock() {
        let ceilings = Ceilings::new(false, vec![Replay::new(3, 60_000)]);
        let at = |wall_ms| {
            let mut all = vec![(1, 5)];
            ceilings.lower(&mut all, wall_ms);
            assert_eq!(all.remove(0), (1, 5));
            all
        };
        assert_eq!(at(1_000), [(3, EventTime::MIN)], "nothing goes before all have told");
        ceilings.stand(&[(3, 0, Standing::Held(500)), (3, 1, Standing::Unknown)], 1_000);
        assert_eq!(at(1_000), [(3, EventTime::MIN)]);
        ceilings.stand(&[(3, 1, Standing::Held(200)), (2, 0, Standing::Held(1))], 2_000);
        assert_eq!([at(2_000), at(2_001)], [[(3, 200)], [(3, 200 + 60 * NANOS_PER_MILLI)]]);
        ceilings.stand(&[(3, 2, Standing::Held(100))], 3_000);
        assert_eq!(at(2_000), [(3, 200)], "it has begun");
        let mut aligned = vec![(3, 150)];
        ceilings.lower(&mut aligned, 2_000);
        assert_eq!(aligned, [(3, 150)]);
        assert_eq!(at(i64::MAX), [(3, i64::MAX)]);
    }

    #[test]
    fn a_bounded_run_takes_the_ceilings_of_a_fixed_epoch_and_a_live_run_the_newest() {
        let ceilings = Ceilings::new(true, vec![]);
        assert_eq!(ceilings.of(7, 7, true), Some(vec![]));
        assert_eq!(ceilings.of(8, 7, true), Some(vec![]));
        assert_eq!(ceilings.of(9, 7, true), None);
        assert!(ceilings.waiting.get());
        ceilings.learn(7, vec![(0, 70)]);
        assert!(!ceilings.waiting.get());
        ceilings.learn(8, vec![(0, 80)]);
        assert_eq!(ceilings.of(9, 7, true), Some(vec![(0, 70)]));
        assert_eq!(ceilings.of(10, 7, true), Some(vec![(0, 80)]));
        assert_eq!(ceilings.of(11, 7, true), None);
        let ceilings = Ceilings::new(true, vec![]);
        assert_eq!(ceilings.of(7, 7, false), Some(vec![]));
        ceilings.learn(7, vec![(0, 70)]);
        ceilings.learn(8, vec![(0, 80)]);
        assert_eq!(ceilings.of(12, 7, false), Some(vec![(0, 80)]));
        assert_eq!(ceilings.of(13, 7, false), Some(vec![(0, 80)]));
        assert_eq!(Ceilings::new(false, vec![]).of(99, 7, true), Some(vec![]));
    }
}

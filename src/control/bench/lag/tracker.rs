//! Which events are under way to which target, and how long those took that have arrived.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use super::target::Target;

/// Latencies in microseconds, three digits.
pub type Latencies = Histogram<u64>;

/// Shared by the sender, which registers events before it sends them, and the watchers.
pub struct Tracker {
    routes: Mutex<Vec<Route>>,
}

/// The events of one step on their way to one target.
pub struct Route {
    pub target: Target,
    /// By key: event times that were not seen yet, with the moment at which they were due.
    pending: HashMap<String, BTreeMap<i64, Instant>>,
    /// By key the newest event time that was seen, where newer rows replace older ones.
    newest: HashMap<String, i64>,
    /// Where every event is a row of its own: what was seen.
    seen: HashSet<(String, i64)>,
    began: Instant,
    pub latencies: Latencies,
    /// The same by second in which the event was due.
    pub seconds: Vec<Latencies>,
    /// Events that were registered.
    pub expected: u64,
    /// Rows that came again.
    pub repeated: u64,
}

fn empty() -> Latencies {
    let mut latencies = Histogram::new(3).expect("three digits are allowed");
    latencies.auto(true);
    latencies
}

impl Route {
    fn new(target: Target) -> Self {
        Route {
            target,
            pending: HashMap::new(),
            newest: HashMap::new(),
            seen: HashSet::new(),
            began: Instant::now(),
            latencies: empty(),
            seconds: Vec::new(),
            expected: 0,
            repeated: 0,
        }
    }

    fn sent(&mut self, key: &str, time_ms: i64, due: Instant) {
        if self.target.replaces {
            // It is not seen behind a newer one.
            if self.newest.get(key).is_some_and(|newest| *newest >= time_ms) {
                return;
            }
        } else if self.seen.contains(&(key.to_owned(), time_ms)) {
            return;
        }
        let pending = self.pending.entry(key.to_owned()).or_default();
        // An event that is sent twice was due at the first time.
        if let Entry::Vacant(place) = pending.entry(time_ms) {
            place.insert(due);
            self.expected += 1;
        }
    }

    fn seen(&mut self, key: &str, time_ms: i64, at: Instant) {
        let arrived = if self.target.replaces {
            let newest = self.newest.entry(key.to_owned()).or_insert(time_ms);
            *newest = time_ms.max(*newest);
            let Some(pending) = self.pending.get_mut(key) else { return };
            let later = pending.split_off(&(time_ms + 1));
            std::mem::replace(pending, later)
        } else {
            if !self.seen.insert((key.to_owned(), time_ms)) {
                self.repeated += 1;
            }
            let arrived = self.pending.get_mut(key).and_then(|pending| pending.remove(&time_ms));
            arrived.into_iter().map(|due| (time_ms, due)).collect()
        };
        for due in arrived.into_values() {
            self.record(due, at.saturating_duration_since(due));
        }
    }

    fn record(&mut self, due: Instant, latency: Duration) {
        // Events of the step before are no part of this one.
        let Some(since) = due.checked_duration_since(self.began) else { return };
        let us = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX).max(1);
        let second = since.as_secs() as usize;
        if self.seconds.len() <= second {
            self.seconds.resize_with(second + 1, empty);
        }
        for latencies in [&mut self.latencies, &mut self.seconds[second]] {
            latencies.record(us).expect("a histogram grows");
        }
    }

    fn waiting(&self) -> u64 {
        self.pending.values().map(|pending| pending.len() as u64).sum()
    }

    /// Events that were sent and did not arrive, of those that are told apart.
    pub fn lost(&self) -> u64 {
        self.waiting()
    }
}

impl Tracker {
    /// Nothing is under way.
    pub fn new(targets: &[Target]) -> Self {
        Tracker { routes: Mutex::new(targets.iter().cloned().map(Route::new).collect()) }
    }

    /// A step begins: what it sends is counted from now on.
    pub fn begin(&self) {
        for route in self.lock().iter_mut() {
            route.began = Instant::now();
        }
    }

    /// An event is about to be sent to all targets but those that are sampled.
    pub fn sent(&self, key: &str, time_ms: i64, due: Instant, sampled: &[usize]) {
        for (index, route) in self.lock().iter_mut().enumerate() {
            if !sampled.contains(&index) {
                route.sent(key, time_ms, due);
            }
        }
    }

    /// An event is about to be sent and will be looked for at one target.
    pub fn sampled(&self, target: usize, key: &str, time_ms: i64, due: Instant) {
        self.lock()[target].sent(key, time_ms, due);
    }

    /// A row was seen at a target.
    pub fn seen(&self, target: usize, key: &str, time_ms: i64, at: Instant) {
        self.lock()[target].seen(key, time_ms, at);
    }

    /// Number of events that have not arrived everywhere.
    pub fn waiting(&self) -> u64 {
        self.lock().iter().map(Route::waiting).sum()
    }

    /// What a step has found; the next one starts with nothing.
    pub fn finish(&self) -> Vec<Route> {
        let mut routes = self.lock();
        let targets: Vec<_> = routes.iter().map(|route| Route::new(route.target.clone())).collect();
        let mut finished = std::mem::replace(&mut *routes, targets);
        for (old, new) in finished.iter_mut().zip(routes.iter_mut()) {
            // A row that comes again is one, also across steps.
            new.newest = std::mem::take(&mut old.newest);
            new.seen = std::mem::take(&mut old.seen);
        }
        finished
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Route>> {
        self.routes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::bench::lag::target::Place;

    fn tracker(replaces: bool) -> Tracker {
        Tracker::new(&[Target { name: "t".to_owned(), place: Place::View, replaces }])
    }

    fn after(began: Instant, ms: u64) -> Instant {
        began + Duration::from_millis(ms)
    }

    #[test]
    fn a_newer_row_shows_the_older_ones_too() {
        let tracker = tracker(true);
        let began = Instant::now();
        for (time, due) in [(10, 100), (20, 1_200), (30, 1_300)] {
            tracker.sent("a", time, after(began, due), &[]);
        }
        tracker.seen(0, "a", 20, after(began, 1_250));
        tracker.seen(0, "b", 99, after(began, 1_250));
        assert_eq!(tracker.waiting(), 1);
        // Behind a newer one it is never seen, so it is not waited for.
        tracker.sent("a", 15, after(began, 1_400), &[]);
        let [route] = &tracker.finish()[..] else { panic!("one target") };
        assert_eq!((route.latencies.len(), route.lost(), route.expected), (2, 1, 3));
        assert_eq!(route.seconds.iter().map(|second| second.len()).collect::<Vec<_>>(), [1, 1]);
        assert!((1_149_000..1_151_000).contains(&route.latencies.max()), "{}", route.latencies.max());
    }

    #[test]
    fn every_row_of_its_own_is_counted_once() {
        let tracker = tracker(false);
        let began = Instant::now();
        tracker.sent("a", 10, began, &[]);
        tracker.sent("a", 10, began, &[]);
        tracker.sent("a", 20, began, &[]);
        tracker.seen(0, "a", 20, after(began, 5));
        tracker.seen(0, "a", 20, after(began, 6));
        tracker.sent("a", 20, began, &[]);
        let [route] = &tracker.finish()[..] else { panic!("one target") };
        assert_eq!((route.latencies.len(), route.lost(), route.expected, route.repeated), (1, 1, 2, 1));
    }

    #[test]
    fn a_sampled_target_gets_only_its_samples() {
        let tracker = tracker(true);
        tracker.sent("a", 10, Instant::now(), &[0]);
        assert_eq!(tracker.waiting(), 0);
        tracker.sampled(0, "a", 11, Instant::now());
        assert_eq!(tracker.waiting(), 1);
    }
}

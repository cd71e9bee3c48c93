//! When the ticker of a live run ticks: at the epoch interval, and more slowly while nothing arrives.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use timely::scheduling::SyncActivator;

/// Ticks without arrivals after which a run counts as idle: a second at the default interval.
const QUIET_TICKS: u32 = 50;

/// Tells the ticker that records wait to be cut: by the consumers of its own process at once, for those of
/// others by the binder, when they have been cut.
#[derive(Debug, Default)]
pub struct Arrivals {
    waiting: AtomicBool,
    ticker: OnceLock<SyncActivator>,
}

impl Arrivals {
    /// Something has arrived; wakes the ticker if it has not been told since its last tick.
    pub fn notify(&self) {
        if !self.waiting.swap(true, Ordering::AcqRel)
            && let Some(ticker) = self.ticker.get()
        {
            // A ticker that is gone has nothing left to tick.
            let _ = ticker.activate();
        }
    }

    /// Names the ticker that is to be woken.
    pub fn wake(&self, ticker: SyncActivator) {
        // Set once: worker 0 builds its ticker once.
        let _ = self.ticker.set(ticker);
    }

    /// Whether something waits.
    pub fn waiting(&self) -> bool {
        self.waiting.load(Ordering::Acquire)
    }

    /// What waits is about to be cut; tells whether there is something.
    pub fn take(&self) -> bool {
        self.waiting.swap(false, Ordering::AcqRel)
    }
}

/// The beat of the ticks.
#[derive(Debug)]
pub struct Beat {
    interval: Duration,
    idle_interval: Duration,
    last: Option<Instant>,
    quiet: u32,
}

impl Beat {
    /// A beat that has not begun.
    pub fn new(interval: Duration, idle_interval: Duration) -> Self {
        Beat { interval, idle_interval: idle_interval.max(interval), last: None, quiet: 0 }
    }

    /// How long the next tick must wait; `waiting` says whether records wait to be cut.
    pub fn wait(&self, now: Instant, waiting: bool) -> Duration {
        let idle = self.quiet >= QUIET_TICKS && !waiting;
        let interval = if idle { self.idle_interval } else { self.interval };
        self.last.map_or(Duration::ZERO, |last| (last + interval).saturating_duration_since(now))
    }

    /// A tick has been sent, for which records waited or not. Ticks that come late do not make the later ones
    /// come early, beyond one interval.
    pub fn ticked(&mut self, now: Instant, waiting: bool) {
        let planned = self.last.map_or(now, |last| last + self.interval);
        self.last = Some(planned.clamp(now.checked_sub(self.interval).unwrap_or(now), now));
        self.quiet = if waiting { 0 } else { self.quiet.saturating_add(1) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn ticks_keep_the_interval_even_if_one_is_a_little_late() {
        let mut beat = Beat::new(20 * MS, 200 * MS);
        let start = Instant::now();
        assert_eq!(beat.wait(start, true), Duration::ZERO);
        beat.ticked(start, true);
        assert_eq!(beat.wait(start + 5 * MS, true), 15 * MS);
        beat.ticked(start + 23 * MS, true);
        assert_eq!(beat.wait(start + 23 * MS, true), 17 * MS, "the plan was 20, so the next is at 40");
        beat.ticked(start + 500 * MS, true);
        assert_eq!(beat.wait(start + 500 * MS, true), Duration::ZERO, "at most one tick is made up for");
        beat.ticked(start + 500 * MS, true);
        assert_eq!(beat.wait(start + 500 * MS, true), 20 * MS);
    }

    #[test]
    fn a_quiet_run_ticks_slowly_until_something_arrives() {
        let mut beat = Beat::new(20 * MS, 200 * MS);
        let mut now = Instant::now();
        for _ in 0..=QUIET_TICKS {
            now += 20 * MS;
            beat.ticked(now, false);
        }
        assert_eq!(beat.wait(now, false), 200 * MS);
        assert_eq!(beat.wait(now + 30 * MS, true), Duration::ZERO, "an arrival is cut at once");
        beat.ticked(now + 30 * MS, true);
        assert_eq!(beat.wait(now + 30 * MS, false), 10 * MS, "and the beat goes on as planned");
    }
}

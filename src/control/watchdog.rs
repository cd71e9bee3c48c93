//! Notices a cluster that stands still: a peer that hangs is never reported by timely.

use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::time::Epoch;

/// What a worker sees of the progress of the dataflow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The operators' frontier: epochs below are complete on all workers.
    pub frontier: Epoch,
    /// Epochs that were cut and are not complete.
    pub open_epochs: u64,
    /// Whether a sink waits for its server; then standing still is right.
    pub sink_away: bool,
}

/// Tells standing still from having nothing to do.
#[derive(Debug)]
pub struct Watchdog {
    timeout: Duration,
    frontier: Epoch,
    /// Since when nothing has moved although it should.
    since: Option<Instant>,
    last_look: Option<Instant>,
}

impl Watchdog {
    /// Gives up after `timeout` without progress.
    pub fn new(timeout: Duration) -> Watchdog {
        Watchdog { timeout, frontier: 0, since: None, last_look: None }
    }

    /// Looks at the progress; to be called several times within the timeout. The error ends the process.
    pub fn tick(&mut self, now: Instant, progress: Progress) -> Result<()> {
        // Who was itself stopped for a while (a debugger, a sleeping laptop) cannot blame the others.
        let slept = self.last_look.is_some_and(|last| now.saturating_duration_since(last) > self.timeout / 2);
        self.last_look = Some(now);
        let moved = progress.frontier != self.frontier;
        self.frontier = progress.frontier;
        if moved || slept || progress.open_epochs == 0 || progress.sink_away {
            self.since = None;
            return Ok(());
        }
        let since = *self.since.get_or_insert(now);
        let stalled = now.saturating_duration_since(since);
        if stalled < self.timeout {
            return Ok(());
        }
        Err(Error::internal(format!(
            "nothing has moved for {} s: epoch {} is not complete, {} epochs are open, and every sink is there",
            stalled.as_secs(),
            progress.frontier,
            progress.open_epochs
        ))
        .hint("another process hangs or cannot be reached; cluster.stall_timeout sets how long that may last"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPEN: Progress = Progress { frontier: 5, open_epochs: 2, sink_away: false };

    /// Ticks every second with what `progress` says, and tells when the watchdog gave up.
    fn gives_up(seconds: u64, progress: impl Fn(u64) -> Progress) -> Option<u64> {
        let mut watchdog = Watchdog::new(Duration::from_secs(10));
        let start = Instant::now();
        (0..seconds).find(|s| watchdog.tick(start + Duration::from_secs(*s), progress(*s)).is_err())
    }

    #[test]
    fn a_frontier_that_stands_is_given_up() {
        // The frontier is new at second 0; from second 1 on it stands.
        assert_eq!(gives_up(60, |_| OPEN), Some(11));
    }

    #[test]
    fn nothing_to_do_progress_and_away_sinks_are_no_stall() {
        assert_eq!(gives_up(60, |_| Progress { open_epochs: 0, ..OPEN }), None);
        assert_eq!(gives_up(60, |s| Progress { frontier: s / 9, ..OPEN }), None);
        assert_eq!(gives_up(60, |_| Progress { sink_away: true, ..OPEN }), None);
        // The sink comes back at second 30: the clock starts then.
        assert_eq!(gives_up(60, |s| Progress { sink_away: s < 30, ..OPEN }), Some(40));
    }

    #[test]
    fn own_sleep_is_not_held_against_others() {
        let mut watchdog = Watchdog::new(Duration::from_secs(10));
        let start = Instant::now();
        for seconds in [0, 1, 100, 101] {
            watchdog.tick(start + Duration::from_secs(seconds), OPEN).expect("no stall");
        }
        let error = (102..120).find_map(|s| watchdog.tick(start + Duration::from_secs(s), OPEN).err());
        let error = error.expect("a stall").to_string();
        assert!(error.contains("nothing has moved for 10 s: epoch 5 is not complete"), "{error}");
    }
}

//! What is counted in a process, in one value that is passed down; and its log.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tracing_subscriber::EnvFilter;

use super::status::Status;
use crate::error::{Error, Result};

/// Counters of a process. Nothing in here waits: the status is copied in and out under its lock.
#[derive(Debug, Default)]
pub struct Telemetry {
    status: Mutex<Status>,
    /// From the cut of an epoch to its completion by the operators.
    pub epoch_close: Histogram,
    /// From the cut of an epoch to its confirmation by all sinks.
    pub epoch_confirm: Histogram,
    /// Ticks that were not sent because `flow.max_epochs_computing` were open.
    pub waits_computing: AtomicU64,
    /// Ticks that were not sent because of `flow.max_epochs_in_flight` or `flow.sink_buffer_bytes`.
    pub waits_in_flight: AtomicU64,
    /// Rows that were asked for by key and found.
    pub lookups_found: AtomicU64,
    /// Rows that were asked for by key and are not there.
    pub lookups_missing: AtomicU64,
    /// Lookups that could not be answered.
    pub lookups_failed: AtomicU64,
}

impl Telemetry {
    /// All counts at 0, and the status of a process that starts.
    pub fn new() -> Arc<Telemetry> {
        Arc::default()
    }

    /// The status, to be read or replaced; not to be held.
    pub fn status(&self) -> MutexGuard<'_, Status> {
        self.status.lock().expect("no panic under this lock")
    }
}

/// Upper bounds of the buckets, in microseconds: from an empty epoch to one that waits for a server.
pub const BUCKETS_US: [u64; 14] = [
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 1_000_000, 5_000_000,
    30_000_000,
];

/// Durations counted in buckets.
#[derive(Debug, Default)]
pub struct Histogram {
    /// One count per bound, and one for what is above all.
    counts: [AtomicU64; BUCKETS_US.len() + 1],
    sum_us: AtomicU64,
}

impl Histogram {
    /// Counts one duration.
    pub fn record(&self, duration: Duration) {
        let us = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let bucket = BUCKETS_US.partition_point(|bound| *bound < us);
        self.counts[bucket].fetch_add(1, Ordering::Relaxed);
        self.sum_us.fetch_add(us, Ordering::Relaxed);
    }

    /// Counts up to and including each bound, then of all; and the sum in microseconds.
    pub fn cumulative(&self) -> (Vec<u64>, u64) {
        let mut total = 0;
        let counts = self.counts.iter().map(|count| {
            total += count.load(Ordering::Relaxed);
            total
        });
        (counts.collect(), self.sum_us.load(Ordering::Relaxed))
    }
}

/// Sends the log to standard error; `TIDEMILL_LOG` filters it.
pub fn init_log() -> Result<()> {
    let filter = match std::env::var("TIDEMILL_LOG") {
        Ok(text) => EnvFilter::try_new(&text).map_err(|error| {
            Error::config(format!("TIDEMILL_LOG is no log filter: '{text}'"))
                .caused_by(error)
                .hint("write a level, or one per part: info, debug, tidemill=debug,rdkafka=warn")
        })?,
        Err(_) => EnvFilter::new("info"),
    };
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
        .with_target(false)
        .try_init()
        .map_err(|error| Error::internal("cannot start the log").caused_by(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn histograms_count_at_their_bounds() {
        let histogram = Histogram::default();
        for us in [0, 100, 101, 40_000_000] {
            histogram.record(Duration::from_micros(us));
        }
        let (counts, sum) = histogram.cumulative();
        assert_eq!(counts[..3], [2, 3, 3]);
        assert_eq!((counts[BUCKETS_US.len() - 1], counts[BUCKETS_US.len()], sum), (3, 4, 40_000_201));
    }
}

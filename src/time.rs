//! Time in its three forms: epochs (processing), wall clock (of an epoch) and watermarks (event time).
//!
//! The timely timestamp is the epoch. Event time is a column of the data and never a timestamp of timely;
//! what is known about its progress travels as a [`Watermark`].

use serde::{Deserialize, Serialize};

use crate::record::FoundPartition;

/// A processing tick: everything that was cut in one tick carries its number. Counts up from 1.
pub type Epoch = u64;

/// Nanoseconds since the Unix epoch in UTC; the unit of every TIMESTAMP column.
pub type EventTime = i64;

/// Nanoseconds in a millisecond.
pub const NANOS_PER_MILLI: i64 = 1_000_000;

/// What worker 0 broadcasts to open the end of an epoch. It carries the only clock that there is: no
/// operator, sink or function reads another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tick {
    /// The epoch that ends.
    pub epoch: Epoch,
    /// Wall clock of the epoch, milliseconds since the Unix epoch.
    pub wall_ms: i64,
    /// Whether the state at the end of this epoch is a checkpoint.
    pub checkpoint: bool,
    /// The first epoch of a run with tables: it ends when these are read to their end, and has nothing of any
    /// stream.
    pub loading: bool,
    /// Partitions that exist from this epoch on, by the index of their source in the plan. Only ticks tell of
    /// partitions, so that all workers agree; the first one tells of those that there are at the start.
    pub partitions: Vec<(u16, FoundPartition)>,
    /// Up to which event time sources are cut, by their index in the plan: what is further ahead waits. Sources
    /// without an entry are cut as far as they were read.
    pub ceilings: Vec<(u16, EventTime)>,
}

impl Tick {
    /// Up to which event time a source is cut.
    pub fn ceiling(&self, source: u16) -> Option<EventTime> {
        self.ceilings.iter().find(|(index, _)| *index == source).map(|(_, ceiling)| *ceiling)
    }
}

/// The greatest length of which both are multiples; both are positive.
pub fn greatest_common_divisor(left: i64, right: i64) -> i64 {
    if right == 0 { left } else { greatest_common_divisor(right, left % right) }
}

/// A bound on event time: no record older than this is expected any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Watermark(pub EventTime);

impl Watermark {
    /// Nothing is known yet.
    pub const NONE: Watermark = Watermark(EventTime::MIN);
    /// The input has ended: everything has been seen.
    pub const END: Watermark = Watermark(EventTime::MAX);

    /// Whether it is a time: neither of the two.
    pub fn is_known(self) -> bool {
        self > Watermark::NONE && self < Watermark::END
    }

    /// The watermark of something computed from event time: another time, but the same beginning and end.
    #[must_use]
    pub fn map(self, compute: impl FnOnce(EventTime) -> EventTime) -> Watermark {
        match self {
            Watermark::NONE | Watermark::END => self,
            Watermark(time) => Watermark(compute(time)),
        }
    }
}

/// What one partition contributed to one epoch; with it the epoch can be read again exactly.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Binding {
    pub epoch: Epoch,
    /// Index of the source in the plan.
    pub source: u16,
    /// Number of the partition, see [`crate::batch::Origin`].
    pub partition: u32,
    /// First offset of the epoch.
    pub from: u64,
    /// First offset of the next epoch.
    pub to: u64,
    /// Watermark of the partition at the end of the epoch.
    pub watermark: Watermark,
    /// No data for the idle timeout, and the reader is at the end of the log.
    pub idle: bool,
    /// A bounded input that has been read to its end.
    pub ended: bool,
    /// xxh3 over the offsets and lengths that were read, so that a replay can prove that it read the same.
    pub input_hash: u64,
}

/// What a worker says of the sinks that it opens.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub enum Opening {
    /// A shard is open; it has seen this epoch before.
    Seen(Epoch),
    /// The process was asked to stop before all were open.
    Stopped,
}

/// The end of an epoch as an operator sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EpochClose {
    pub epoch: Epoch,
    /// Wall clock of the epoch, milliseconds since the Unix epoch.
    pub wall_ms: i64,
    /// Whether operators snapshot their state now.
    pub checkpoint: bool,
    /// W(e) of each input port of the operator, in the order of its ports.
    pub watermarks: Vec<Watermark>,
}

//! Sources: partitions that are read by consumer threads, decoded there, and cut into epochs on ticks.
//!
//! ```text
//!   Reader (connector) -> Decode -> PartitionQueue   | consumer thread
//!                                        |
//!                        Tick(e) ->     cut           | timely worker
//!                                        |
//!                       rows, rejects, binding at e
//! ```
//!
//! A [`Connector`] knows how to find partitions and to open a [`Reader`] on some of them. A reader never
//! keeps more than it is asked for: back-pressure is simply that it is not asked. Offsets are ours; nothing
//! is committed on the other side. An error of kind `Away` is waited out by the reader's thread, any other
//! ends the process with its message.

pub mod binder;
pub mod cut;
pub mod driver;
pub mod ticker;

use std::time::Duration;

use crate::error::Result;
use crate::record::{Partition, Record};

/// A kind of source, opened for one dataflow.
pub trait Connector: Send + Sync {
    /// All partitions as they are now, with ids that are the same in every process. Blocks on the other side.
    fn partitions(&self) -> Result<Vec<Partition>>;

    /// A reader of some of the partitions, from the offsets at which the source starts.
    fn open(&self, partitions: &[Partition]) -> Result<Box<dyn Reader>>;
}

/// Reads records of several partitions; lives on one consumer thread.
pub trait Reader: Send {
    /// Hands records of wanted partitions to `out`, at most a few thousand in one call, waiting for the first
    /// at most `max_wait`. Partitions are named by their place in the slice the reader was opened with.
    /// A partition that is not wanted now gives its records, unchanged, in a later call.
    fn read(&mut self, wanted: &[bool], max_wait: Duration, out: &mut dyn RecordSink) -> Result<()>;
}

/// Takes what a reader finds.
pub trait RecordSink {
    /// The next record of a partition. Offsets ascend, gaps are allowed.
    fn record(&mut self, partition: usize, record: &Record<'_>);

    /// The reader stands at the end of the log for now; `next` is the offset that the next record will have
    /// at least.
    fn caught_up(&mut self, partition: usize, next: u64);

    /// There will never be another record in this partition (a bounded input has ended).
    fn ended(&mut self, partition: usize);
}

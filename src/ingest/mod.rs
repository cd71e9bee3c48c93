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
//! A [`Connector`] knows how to find partitions and to read some of them with a [`Reader`]. Process 0 finds
//! them, at the start and again and again ([`discovery`]); the tick tells all workers of them, and each takes
//! on its own. A reader never
//! keeps more than it is asked for: back-pressure is simply that it is not asked. Offsets are ours; nothing
//! is committed on the other side. An error of kind `Away` is waited out by the reader's thread, any other
//! ends the process with its message.

pub mod align;
pub mod beat;
pub mod binder;
#[cfg(test)]
pub(crate) mod collect;
pub mod connect;
pub mod consumer;
pub mod cut;
pub mod discovery;
pub mod driver;
pub mod file;
pub mod fleet;
pub mod furthest;
pub mod hold;
pub mod kafka;
pub mod observed;
pub mod queue;
pub mod simulator;
pub mod survey;
pub mod ticker;
pub mod topic;
mod topics;

use std::time::Duration;

use crate::error::Result;
use crate::record::{FoundPartition, Partition, Record};

/// A kind of source, opened for one dataflow.
pub trait Connector: Send + Sync {
    /// The partitions that there are beyond `known` (`None`: at the start), and what of them is read.
    ///
    /// Asked on process 0 only; what it answers travels with the tick. So start and end of a partition are
    /// settled here, and its id is none that is known. What is found later is read from its beginning. A
    /// partition that was known and is gone is no error. Blocks on the other side.
    fn find(&self, known: Option<&[Partition]>) -> Result<Vec<FoundPartition>>;

    /// How often [`find`](Connector::find) is asked again while a live run goes on. Never: what was found at
    /// the start is all there is, and the run ends with it.
    fn find_interval(&self) -> Option<Duration> {
        None
    }

    /// A reader that has no partition yet. Talks to nobody.
    fn reader(&self) -> Box<dyn Reader>;

    /// A reader of these partitions.
    fn open(&self, partitions: &[FoundPartition]) -> Result<Box<dyn Reader>> {
        let mut reader = self.reader();
        reader.add(partitions)?;
        Ok(reader)
    }
}

/// Reads records of several partitions; lives on one consumer thread.
pub trait Reader: Send {
    /// Takes on more partitions. They are named by their place behind those that the reader has. All of them or,
    /// with an error, none: after one that says that the other side is away, the call is repeated.
    fn add(&mut self, partitions: &[FoundPartition]) -> Result<()>;

    /// Hands records of wanted partitions to `out`, at most a few thousand in one call, waiting for the first
    /// at most `max_wait`. A partition that is not wanted now gives its records, unchanged, in a later call.
    fn read(&mut self, wanted: &[bool], max_wait: Duration, out: &mut dyn RecordSink) -> Result<()>;
}

/// Takes what a reader finds.
pub trait RecordSink {
    /// The record that names the columns of all that follow in the partition, before the first of them.
    fn header(&mut self, _partition: usize, _header: &Record<'_>) {}

    /// The next record of a partition. Offsets ascend, gaps are allowed.
    fn record(&mut self, partition: usize, record: &Record<'_>);

    /// The reader stands at the end of the log for now; `next` is the offset that the next record will have
    /// at least.
    fn caught_up(&mut self, partition: usize, next: u64);

    /// The log ends at this offset, as far as is known now: for the lag of a reader that is behind.
    fn log_end(&mut self, _partition: usize, _end: u64) {}

    /// Whether who keeps the partition answers. While it does not, the end of the log that was told may be old.
    fn answers(&mut self, _partition: usize, _answers: bool) {}

    /// The partition was deleted where it is kept. It counts as read to its end; the others are read on.
    fn gone(&mut self, _partition: usize) {}

    /// There will never be another record in this partition (a bounded input has ended).
    fn ended(&mut self, partition: usize);
}

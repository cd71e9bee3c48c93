//! Sinks: released epochs go out to other systems, in order, and are confirmed when they are safe there.
//!
//! ```text
//!   changes of e  --+                              timely worker
//!   durable >= e  --+-> release -> queue -> Sink (own thread) -> confirmed(e)
//! ```
//!
//! A [`Sink`] blocks on its own thread, never a worker. While the other side is away it waits inside `write`
//! or `confirm` with back-off and says so through its [`Health`]; epochs pile up unconfirmed, the ticker stops,
//! and the sources are not asked for more. Nothing is dropped.

pub mod driver;
pub mod letters;
pub mod outbox;
pub mod release;

mod backoff;
mod blackhole;
mod connect;
pub mod dead_letters;
mod file;
mod final_rows;
mod ids;
mod kafka;
mod lines;
mod mongodb;
mod records;
mod refusal;
pub mod sqlite;
mod stdout;
#[cfg(test)]
mod testing;
mod topic;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use arrow::array::RecordBatch;

use crate::batch::RowOrigin;
use crate::dead_letter::DeadLetter;
use crate::error::{Error, Result};
use crate::time::Epoch;

pub use connect::{Context, connect};
/// For benchmarks: the product sends commands by itself.
#[doc(hidden)]
pub use mongodb::commands as mongodb_commands;

/// Who writes: names progress on the other side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Ties the sinks' progress to the state directory.
    pub lineage: String,
    /// Counts the starts of the dataflow.
    pub generation: u64,
    /// Name of the dataflow.
    pub dataflow: String,
    /// Name of the sink.
    pub sink: String,
    pub shards: u16,
    pub shard: u16,
}

/// What happened to a row of an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    Insert,
    Update,
    /// The row stands as it was before.
    Delete,
}

/// The rows of one epoch, consolidated: at most one per key where the relation has one, in the order of
/// their origins or else of the canonical bytes of key and row.
#[derive(Clone, Debug)]
pub struct Changes {
    pub rows: RecordBatch,
    /// One per row.
    pub ops: Vec<Op>,
    /// One per row for relations that come straight from sources; `None` behind an operator.
    pub origins: Option<Vec<RowOrigin>>,
    /// Wall clock of the epoch, milliseconds since the Unix epoch.
    pub wall_ms: i64,
}

/// What became of the rows of an epoch.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Receipt {
    /// Rows that the other side did not take, each with the number of its row in the epoch's changes.
    pub refused: Vec<(usize, DeadLetter)>,
    /// Rows that were already there with the same content.
    pub duplicates: u64,
}

/// A place outside where something is written epoch by epoch: the changes of a relation, or dead letters.
pub trait Sink<T = Changes>: Send {
    /// Connects, creates what is missing and tells the highest epoch that the other side has seen of this
    /// identity's dataflow and sink (0: none).
    fn open(&mut self, identity: &Identity) -> Result<Epoch>;

    /// Writes one released epoch; may return before the other side has it. Epochs ascend.
    fn write(&mut self, epoch: Epoch, changes: T) -> Result<()>;

    /// Waits until all that was written is safe on the other side. One receipt per epoch written since the
    /// last call.
    fn confirm(&mut self) -> Result<Vec<(Epoch, Receipt)>>;

    /// No further epoch will come (a bounded run has ended, or a stop).
    fn close(&mut self) -> Result<()>;
}

/// Whether the other side of a sink can be reached; read by metrics and `/readyz`.
#[derive(Debug, Default)]
pub struct Health {
    away: AtomicBool,
    stopping: AtomicBool,
    reason: Mutex<String>,
    stop: Condvar,
}

impl Health {
    /// A state to be shared between the sink's thread and those who look.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// The other side is away; the first time it is said in the log, too.
    pub fn set_away(&self, sink: &str, error: &Error) {
        if !self.away.swap(true, Ordering::Relaxed) {
            tracing::warn!(sink, %error, "sink is away, waiting");
        }
        *self.reason.lock().expect("no panic under this lock") = error.to_string();
    }

    /// The other side answers (again).
    pub fn set_back(&self, sink: &str) {
        if self.away.swap(false, Ordering::Relaxed) {
            tracing::info!(sink, "sink is back");
        }
    }

    /// Why the sink waits, if it does.
    pub fn away(&self) -> Option<String> {
        let away = self.away.load(Ordering::Relaxed);
        away.then(|| self.reason.lock().expect("no panic under this lock").clone())
    }

    /// Asks waiting loops to give up because the process stops.
    pub fn stop(&self) {
        let _guard = self.reason.lock().expect("no panic under this lock");
        self.stopping.store(true, Ordering::Relaxed);
        self.stop.notify_all();
    }

    /// Waits as long as `limit`, or until waiting loops must give up; tells whether they must.
    pub fn pause(&self, limit: Duration) -> bool {
        let guard = self.reason.lock().expect("no panic under this lock");
        let waited = self.stop.wait_timeout_while(guard, limit, |_| !self.stopping());
        drop(waited.expect("no panic under this lock"));
        self.stopping()
    }

    /// Whether waiting loops must give up.
    pub fn stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }
}

//! What happens to rows: filters and projections, keyed state, served views.
//!
//! An [`Operator`] is plain synchronous code over batches. Its driver (`harness`) alone touches timely: it
//! delivers epochs in order, collects outputs and keeps the ledger.

pub mod aggregate;
pub mod arrange;
pub mod dedup;
pub mod eval;
pub mod harness;
pub mod interval_join;
pub mod join;
mod keyed_rows;
pub mod lag;
mod letter;
pub mod rank;
pub mod retention;
pub mod session;
pub mod steps;
pub mod table;
pub mod temporal;
#[cfg(test)]
mod testing;
pub mod view;
mod waiting;
pub mod window;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use crate::batch::Batch;
use crate::dead_letter::DeadLetter;
use crate::error::Result;
use crate::time::{Epoch, EpochClose};

/// What an operator gives out in one call.
#[derive(Debug, Default)]
pub struct Output {
    pub batches: Vec<Batch>,
    pub letters: Vec<DeadLetter>,
    /// Rows that came too late, as they arrived.
    pub late: Vec<Batch>,
    /// How many more came too late, and were added up before, so that they are not there any more.
    pub late_rows: i64,
    /// Rows (sum of diffs) that a filter has dropped.
    pub filtered: i64,
    /// Rows (sum of diffs) that were there already.
    pub deduplicated: i64,
    /// How many of them had other content than the row that was there.
    pub conflicts: i64,
    /// Rows (sum of diffs) that became dead letters.
    pub dead: i64,
    /// Rows (sum of diffs) that came in and have left with a result: they are not in the state any more.
    pub emitted: i64,
}

/// Whether an operator has finished an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    Done,
    /// There is more to emit: the driver yields to others and calls again with the same close.
    More,
}

/// How much state a snapshot holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SnapshotKind {
    /// All of it.
    Full,
    /// What has changed since the last snapshot that did not fail.
    Delta,
}

/// Number of a group of keys, 0 to 255, see [`crate::canonical::key_group`].
pub type KeyGroup = u8;

/// A stateful operator. Its identity is `<view>/<role>`, never a position: it names its state across changes
/// of the plan.
pub trait Operator {
    /// Rows of `epoch` on input `port`, or what was added up of them. The driver delivers epochs in order: no batch of a later epoch comes
    /// before [`on_epoch`](Operator::on_epoch) has answered `Done`.
    fn on_batch(&mut self, port: usize, epoch: Epoch, batch: &Batch, out: &mut Output);

    /// The epoch is complete on all inputs.
    fn on_epoch(&mut self, close: &EpochClose, out: &mut Output) -> Progress;

    /// Rows (sum of diffs) that the state holds, summed from the state itself.
    fn rows_in_state(&self) -> i64;

    /// About how many bytes of memory the state takes. It is asked at the end of each epoch.
    fn state_bytes(&self) -> usize;

    /// The state by key group, in the schema of [`state_schema`](Operator::state_schema). A delta names
    /// removed keys too.
    fn snapshot(&mut self, kind: SnapshotKind) -> Vec<(KeyGroup, RecordBatch)>;

    /// The last snapshot did not become durable: the next delta must hold its changes too.
    fn snapshot_failed(&mut self);

    /// Puts back a part of a snapshot; full ones first, then deltas in order. Behind the last one the driver calls
    /// [`on_epoch`](Operator::on_epoch) with the close at which the state was saved, of which an operator takes
    /// the watermarks.
    fn restore(&mut self, state: &RecordBatch) -> Result<()>;

    /// Columns of snapshots.
    fn state_schema(&self) -> SchemaRef;
}

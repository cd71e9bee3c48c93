//! Decoded records of one partition between its consumer thread and the cut.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::Thread;

use super::hold::{self, Hold};
use crate::record::{Chunk, FoundPartition, Partition};
use crate::time::EventTime;

/// Shared by the consumer thread, which fills it, and the timely worker, which empties it on ticks. No call
/// waits for longer than the other side needs to move a few chunks.
#[derive(Clone, Debug)]
pub struct PartitionQueue {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    found: FoundPartition,
    limits: Limits,
    state: Mutex<State>,
    /// Woken when there is room again.
    reader: OnceLock<Thread>,
}

/// How much a partition reads ahead. What one `read` brings can exceed it, the next does not happen then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    pub records: usize,
    pub bytes: usize,
}

#[derive(Debug, Default)]
struct State {
    chunks: VecDeque<Chunk>,
    records: usize,
    bytes: usize,
    /// Bytes of the last record.
    last_bytes: usize,
    caught_up: Option<u64>,
    /// The other side does not answer: what the reader knew of the end of the log may be old.
    unsure: bool,
    log_end: Option<u64>,
    gone: bool,
    ended: bool,
    /// The reader was told that there is no room.
    refused: bool,
}

/// What was taken out for an epoch.
#[derive(Debug, Default)]
pub struct Taken {
    pub chunks: Vec<Chunk>,
    /// Records are left because they are too far ahead: about this event time.
    pub held: Option<EventTime>,
}

/// What a partition has said since the last time.
#[derive(Debug, Default)]
pub(super) struct News {
    pub chunks: Vec<Chunk>,
    pub caught_up: Option<u64>,
    pub ended: bool,
}

impl PartitionQueue {
    pub(super) fn new(found: FoundPartition, limits: Limits) -> Self {
        let (state, reader) = (Mutex::default(), OnceLock::new());
        PartitionQueue { shared: Arc::new(Shared { found, limits, state, reader }) }
    }

    /// Whose records these are.
    pub fn partition(&self) -> &Partition {
        &self.shared.found.partition
    }

    /// Where reading begins.
    pub fn from(&self) -> u64 {
        self.shared.found.from
    }

    /// Takes records out, in order, up to one of the limits. Which ones does not depend on how they were read;
    /// the record that exceeds the bytes is still taken. Those behind the place that `hold` finds wait.
    pub fn take(&self, limits: Limits, hold: Option<Hold>) -> Taken {
        let mut state = self.state();
        let mut left = limits;
        let held = hold.and_then(|hold| hold::place(&parts(&state.chunks, limits), hold));
        if let Some(held) = &held {
            left.records = left.records.min(held.records);
        }
        let mut chunks = Vec::new();
        while left.records > 0
            && left.bytes > 0
            && let Some(chunk) = state.chunks.front_mut()
        {
            let part = chunk.split_front(records_within(chunk, left));
            if chunk.is_empty() {
                state.chunks.pop_front();
            }
            left.records -= part.len();
            left.bytes = left.bytes.saturating_sub(part.raw.bytes());
            state.records -= part.len();
            state.bytes = state.bytes.saturating_sub(part.raw.bytes());
            chunks.push(part);
        }
        if state.refused && self.has_room(&state) {
            state.refused = false;
            drop(state);
            if let Some(thread) = self.shared.reader.get() {
                thread.unpark();
            }
        }
        Taken { chunks, held: held.map(|held| held.time) }
    }

    /// Number of records that [`take`](PartitionQueue::take) can give now.
    pub fn queued_records(&self) -> usize {
        self.state().records
    }

    /// Whether [`take`](PartitionQueue::take) can fill the limits and leaves something, or nothing will come
    /// behind what it can give: so that what is known behind the cut, as whether it was the last one, does not
    /// depend on how far the reader was.
    pub fn fills(&self, limits: Limits) -> bool {
        let state = self.state();
        state.records > limits.records || state.bytes_but_last() >= limits.bytes || state.ended
    }

    /// The reader was at the end of the log behind the last queued record: the next record will have at least
    /// this offset. `None` while it knows of more, or does not know. And whether that may be old, because the
    /// other side does not answer.
    pub fn end(&self) -> (Option<u64>, bool) {
        let state = self.state();
        (state.caught_up, state.unsure)
    }

    pub(super) fn set_unsure(&self, unsure: bool) {
        self.state().unsure = unsure;
    }

    /// Where the log ends, as far as the reader has heard.
    pub fn log_end(&self) -> Option<u64> {
        self.state().log_end
    }

    pub(super) fn set_log_end(&self, end: u64) {
        self.state().log_end = Some(end);
    }

    /// Whether the partition was deleted where it is kept.
    pub fn gone(&self) -> bool {
        self.state().gone
    }

    pub(super) fn set_gone(&self) {
        self.state().gone = true;
    }

    /// No record will come behind those that are queued.
    pub fn ended(&self) -> bool {
        self.state().ended
    }

    /// Whether the reader shall go on with this partition. Where not, it is woken when it shall.
    pub(super) fn wants_more(&self) -> bool {
        let mut state = self.state();
        let room = self.has_room(&state);
        state.refused = !room;
        room && !state.ended
    }

    pub(super) fn push(&self, news: News) {
        let mut state = self.state();
        if !news.chunks.is_empty() {
            state.caught_up = None;
        }
        for chunk in news.chunks {
            state.records += chunk.len();
            state.bytes += chunk.raw.bytes();
            state.last_bytes = chunk.len().checked_sub(1).map_or(0, |last| chunk.raw.size(last));
            state.chunks.push_back(chunk);
        }
        state.caught_up = news.caught_up.or(state.caught_up);
        state.ended |= news.ended;
    }

    /// Names the thread that reads.
    pub(super) fn read_by(&self, thread: Thread) {
        // Called once, before the thread knows of the queue.
        let _ = self.shared.reader.set(thread);
    }

    fn has_room(&self, state: &State) -> bool {
        // Where one record alone is too much, the next one is still read: see `fills`.
        state.records < self.shared.limits.records && state.bytes_but_last() < self.shared.limits.bytes
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Bytes of all records but the last one.
    fn bytes_but_last(&self) -> usize {
        if self.records == 0 { 0 } else { self.bytes.saturating_sub(self.last_bytes) }
    }
}

/// What can be taken within the limits: chunks, with the number of their records.
fn parts(chunks: &VecDeque<Chunk>, limits: Limits) -> Vec<(&Chunk, usize)> {
    let (mut parts, mut left) = (Vec::new(), limits);
    for chunk in chunks {
        if left.records == 0 || left.bytes == 0 {
            break;
        }
        let records = records_within(chunk, left);
        left.records -= records;
        left.bytes = left.bytes.saturating_sub(chunk.raw.bytes_of(records));
        parts.push((chunk, records));
    }
    parts
}

/// Number of records of a chunk up to the limits.
fn records_within(chunk: &Chunk, limits: Limits) -> usize {
    chunk.raw.begin_within(limits.bytes).min(limits.records)
}

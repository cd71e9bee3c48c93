//! The consumer thread: reads partitions, decodes their records, and queues them for the cut.
//!
//! One thread serves all partitions that a worker has of one source, also those that are found later. It reads a
//! partition while the queue of the partition has room, so that the backlog stays where it came from. After every
//! `read` everything is handed on: at low load the latency is that of one read.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::queue::{Limits, News, PartitionQueue};
use super::{Reader, RecordSink};
use crate::error::{Error, ErrorKind, Result};
use crate::record::{Decode, FoundPartition, Record};
use crate::settings::Flow;

const CHUNK_RECORDS: usize = 8_192;
const CHUNK_BYTES: usize = 4 << 20;
/// Records are small; where they are not, this keeps a partition's queue from filling the memory.
const READ_AHEAD_BYTES: usize = 64 << 20;
/// An idle thread looks up so often, also for the stop flag.
const MAX_WAIT: Duration = Duration::from_millis(100);
const BACK_OFF_MIN: Duration = Duration::from_millis(100);
const BACK_OFF_MAX: Duration = Duration::from_secs(5);

/// One partition with the decoder of its records.
pub struct Input {
    pub found: FoundPartition,
    pub decoder: Box<dyn Decode>,
}

/// Limits of a consumer thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConsumerSettings {
    /// How much is queued per partition.
    pub read_ahead: Limits,
    /// A chunk is closed when it has so many records, or bytes of records.
    pub chunk: Limits,
    /// How long a read waits for a record at most.
    pub max_wait: Duration,
}

impl From<&Flow> for ConsumerSettings {
    fn from(flow: &Flow) -> Self {
        ConsumerSettings {
            read_ahead: Limits { records: flow.read_ahead_records.max(1), bytes: READ_AHEAD_BYTES },
            chunk: Limits { records: CHUNK_RECORDS, bytes: CHUNK_BYTES },
            max_wait: MAX_WAIT,
        }
    }
}

/// A running consumer thread. Dropping it stops the thread and waits for its end.
#[derive(Debug)]
pub struct ConsumerHandle {
    read_ahead: Limits,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    status: Mutex<Status>,
    /// Partitions that the thread has not taken on yet.
    added: Mutex<Vec<(Input, PartitionQueue)>>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("stop", &self.stop).field("status", &self.status).finish()
    }
}

#[derive(Debug, Default)]
struct Status {
    away: Option<String>,
    error: Option<Error>,
}

impl ConsumerHandle {
    /// Has the thread read these, too. Gives their queues, in the same order.
    pub fn add(&self, inputs: Vec<Input>) -> Vec<PartitionQueue> {
        let inputs = inputs.into_iter().map(|input| {
            let queue = PartitionQueue::new(input.found.clone(), self.read_ahead);
            self.thread.iter().for_each(|thread| queue.read_by(thread.thread().clone()));
            (input, queue)
        });
        let inputs: Vec<_> = inputs.collect();
        let queues = inputs.iter().map(|(_, queue)| queue.clone()).collect();
        self.shared.added().extend(inputs);
        self.unpark();
        queues
    }

    /// Why the thread waits for the other side, while it does.
    pub fn away(&self) -> Option<String> {
        self.shared.status().away.clone()
    }

    /// The error that has ended the thread, given out once. What was read before it is queued.
    pub fn take_error(&self) -> Option<Error> {
        self.shared.status().error.take()
    }

    /// Makes the thread end soon; records it has not read stay where they are.
    pub fn stop(&self) {
        self.shared.stop.store(true, Ordering::Release);
        self.unpark();
    }

    fn unpark(&self) {
        if let Some(thread) = &self.thread {
            thread.thread().unpark();
        }
    }
}

impl Drop for ConsumerHandle {
    fn drop(&mut self) {
        self.stop();
        if let Some(thread) = self.thread.take() {
            // It catches its panics.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    fn status(&self) -> MutexGuard<'_, Status> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn added(&self) -> MutexGuard<'_, Vec<(Input, PartitionQueue)>> {
        self.added.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Starts a thread that reads with `reader` what is added to it. `wake` is called, on that thread, when there
/// is something new in a queue and when the thread has ended with an error.
pub fn spawn(
    source: &str,
    reader: Box<dyn Reader>,
    settings: ConsumerSettings,
    wake: impl Fn() + Send + 'static,
) -> Result<ConsumerHandle> {
    let shared = Arc::new(Shared::default());
    let mut consumer = Consumer {
        source: source.to_owned(),
        reader,
        added: Vec::new(),
        intake: Intake { slots: Vec::new(), chunk: settings.chunk },
        max_wait: settings.max_wait,
        wake: Box::new(wake),
        shared: shared.clone(),
        back_off: BACK_OFF_MIN,
    };
    let thread = std::thread::Builder::new()
        .name(format!("read {source}"))
        .spawn(move || consumer.run_to_the_end())
        .map_err(|error| Error::config("cannot start a consumer thread").caused_by(error))?;
    Ok(ConsumerHandle { read_ahead: settings.read_ahead, shared, thread: Some(thread) })
}

struct Consumer {
    source: String,
    reader: Box<dyn Reader>,
    /// Partitions that the reader has not taken on yet.
    added: Vec<(Input, PartitionQueue)>,
    intake: Intake,
    max_wait: Duration,
    wake: Box<dyn Fn() + Send>,
    shared: Arc<Shared>,
    back_off: Duration,
}

impl Consumer {
    fn run_to_the_end(&mut self) {
        let result = catch_unwind(AssertUnwindSafe(|| self.run()))
            .unwrap_or_else(|_| Err(Error::internal("the consumer thread panicked")));
        if let Err(error) = result {
            self.shared.status().error = Some(error.context(format!("source {}", self.source)));
            (self.wake)();
        }
    }

    fn run(&mut self) -> Result<()> {
        while !self.shared.stopped() {
            let result = self.take_on().and_then(|()| self.read());
            match result {
                Ok(()) => self.is_back(),
                Err(error) if error.kind() == ErrorKind::Away => self.wait_out(&error),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Takes on the partitions that were added.
    fn take_on(&mut self) -> Result<()> {
        self.added.append(&mut self.shared.added());
        if self.added.is_empty() {
            return Ok(());
        }
        let found: Vec<_> = self.added.iter().map(|(input, _)| input.found.clone()).collect();
        self.reader.add(&found)?;
        self.intake.slots.extend(self.added.drain(..).map(|(input, queue)| Slot::new(input, queue)));
        Ok(())
    }

    fn read(&mut self) -> Result<()> {
        if self.intake.slots.iter().all(|slot| slot.ended) {
            // Until something is added, or the end.
            std::thread::park();
            return Ok(());
        }
        let wanted: Vec<bool> = self.intake.slots.iter().map(|slot| slot.queue.wants_more()).collect();
        if !wanted.contains(&true) {
            std::thread::park_timeout(self.max_wait);
            return Ok(());
        }
        let result = self.reader.read(&wanted, self.max_wait, &mut self.intake);
        if self.intake.hand_on() {
            (self.wake)();
        }
        result
    }

    fn is_back(&mut self) {
        if self.back_off > BACK_OFF_MIN {
            self.back_off = BACK_OFF_MIN;
            self.shared.status().away = None;
            tracing::info!(source = self.source, "the source is back");
            self.intake.slots.iter().for_each(|slot| slot.queue.set_unsure(false));
        }
    }

    fn wait_out(&mut self, error: &Error) {
        if self.back_off == BACK_OFF_MIN {
            tracing::warn!(source = self.source, %error, "the source is away, waiting for it");
        }
        self.shared.status().away = Some(error.to_string());
        self.intake.slots.iter().for_each(|slot| slot.queue.set_unsure(true));
        let until = Instant::now() + self.back_off;
        self.back_off = (self.back_off * 2).min(BACK_OFF_MAX);
        while !self.shared.stopped()
            && let Some(left) = until.checked_duration_since(Instant::now())
            && !left.is_zero()
        {
            std::thread::park_timeout(left);
        }
    }
}

/// Decodes what the reader finds.
struct Intake {
    slots: Vec<Slot>,
    chunk: Limits,
}

struct Slot {
    decoder: Box<dyn Decode>,
    /// Bytes of the records that the decoder holds.
    bytes: usize,
    news: News,
    ended: bool,
    queue: PartitionQueue,
}

impl Slot {
    fn new(input: Input, queue: PartitionQueue) -> Self {
        Slot { queue, decoder: input.decoder, bytes: 0, news: News::default(), ended: false }
    }

    fn close_chunk(&mut self) {
        self.bytes = 0;
        self.news.chunks.push(self.decoder.finish());
    }
}

impl RecordSink for Intake {
    fn header(&mut self, partition: usize, header: &Record<'_>) {
        self.slots[partition].decoder.header(header);
    }

    fn record(&mut self, partition: usize, record: &Record<'_>) {
        let slot = &mut self.slots[partition];
        slot.decoder.push(record);
        slot.bytes += record.key.map_or(0, <[u8]>::len) + record.payload.map_or(0, <[u8]>::len);
        slot.news.caught_up = None;
        if slot.decoder.len() >= self.chunk.records || slot.bytes >= self.chunk.bytes {
            slot.close_chunk();
        }
    }

    fn caught_up(&mut self, partition: usize, next: u64) {
        self.slots[partition].news.caught_up = Some(next);
    }

    fn log_end(&mut self, partition: usize, end: u64) {
        self.slots[partition].queue.set_log_end(end);
    }

    fn answers(&mut self, partition: usize, answers: bool) {
        self.slots[partition].queue.set_unsure(!answers);
    }

    fn gone(&mut self, partition: usize) {
        self.slots[partition].queue.set_gone();
    }

    fn ended(&mut self, partition: usize) {
        let slot = &mut self.slots[partition];
        slot.news.ended = true;
        slot.ended = true;
    }
}

impl Intake {
    /// Queues everything. Whether there was anything.
    fn hand_on(&mut self) -> bool {
        let mut any = false;
        for slot in &mut self.slots {
            if !slot.decoder.is_empty() {
                slot.close_chunk();
            }
            let news = std::mem::take(&mut slot.news);
            if !news.chunks.is_empty() || news.caught_up.is_some() || news.ended {
                any = true;
                slot.queue.push(news);
            }
        }
        any
    }
}

#[cfg(test)]
mod tests;

//! The consumer thread: reads partitions, decodes their records, and queues them for the cut.
//!
//! One thread serves all partitions that a worker has of one source. It reads a partition while the queue of
//! the partition has room, so that the backlog stays where it came from. After every `read` everything is
//! handed on: at low load the latency is that of one read.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::queue::{Limits, News, PartitionQueue};
use super::{Reader, RecordSink};
use crate::error::{Error, ErrorKind, Result};
use crate::record::{Decode, Partition, Record};
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
    pub partition: Partition,
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
    queues: Vec<PartitionQueue>,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    status: Mutex<Status>,
}

#[derive(Debug, Default)]
struct Status {
    away: Option<String>,
    error: Option<Error>,
}

impl ConsumerHandle {
    /// The queues, in the order of the inputs.
    pub fn queues(&self) -> &[PartitionQueue] {
        &self.queues
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
}

/// Starts the thread of a reader that was opened on the partitions of `inputs`. `wake` is called, on that
/// thread, when there is something new in a queue and when the thread has ended with an error.
pub fn spawn(
    source: &str,
    reader: Box<dyn Reader>,
    inputs: Vec<Input>,
    settings: ConsumerSettings,
    wake: impl Fn() + Send + 'static,
) -> Result<ConsumerHandle> {
    let intake = Intake {
        slots: inputs.into_iter().map(|input| Slot::new(input, settings)).collect(),
        chunk: settings.chunk,
    };
    let queues = intake.slots.iter().map(|slot| slot.queue.clone()).collect();
    let shared = Arc::new(Shared::default());
    let mut consumer = Consumer {
        source: source.to_owned(),
        reader,
        intake,
        max_wait: settings.max_wait,
        wake: Box::new(wake),
        shared: shared.clone(),
        back_off: BACK_OFF_MIN,
    };
    let thread = std::thread::Builder::new()
        .name(format!("read {source}"))
        .spawn(move || consumer.run_to_the_end())
        .map_err(|error| Error::config("cannot start a consumer thread").caused_by(error))?;
    Ok(ConsumerHandle { queues, shared, thread: Some(thread) })
}

struct Consumer {
    source: String,
    reader: Box<dyn Reader>,
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
        for slot in &self.intake.slots {
            slot.queue.read_by(std::thread::current());
        }
        while !self.shared.stopped() && !self.intake.slots.iter().all(|slot| slot.ended) {
            let wanted: Vec<bool> = self.intake.slots.iter().map(|slot| slot.queue.wants_more()).collect();
            if !wanted.contains(&true) {
                std::thread::park_timeout(self.max_wait);
                continue;
            }
            let result = self.reader.read(&wanted, self.max_wait, &mut self.intake);
            if self.intake.hand_on() {
                (self.wake)();
            }
            match result {
                Ok(()) => self.is_back(),
                Err(error) if error.kind() == ErrorKind::Away => self.wait_out(&error),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn is_back(&mut self) {
        if self.back_off > BACK_OFF_MIN {
            self.back_off = BACK_OFF_MIN;
            self.shared.status().away = None;
            tracing::info!(source = self.source, "the source is back");
        }
    }

    fn wait_out(&mut self, error: &Error) {
        if self.back_off == BACK_OFF_MIN {
            tracing::warn!(source = self.source, %error, "the source is away, waiting for it");
        }
        self.shared.status().away = Some(error.to_string());
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
    fn new(input: Input, settings: ConsumerSettings) -> Self {
        Slot {
            queue: PartitionQueue::new(input.partition, settings.read_ahead),
            decoder: input.decoder,
            bytes: 0,
            news: News::default(),
            ended: false,
        }
    }

    fn close_chunk(&mut self) {
        self.bytes = 0;
        self.news.chunks.push(self.decoder.finish());
    }
}

impl RecordSink for Intake {
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

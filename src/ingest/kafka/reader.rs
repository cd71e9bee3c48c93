//! Reading assigned partitions.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, OnceLock};
use std::thread::Thread;
use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Headers, Message};
use rdkafka::topic_partition_list::TopicPartitionList;

use super::client::{Client, classify};
use crate::error::{Error, ErrorKind, Result};
use crate::ingest::{Reader, RecordSink};
use crate::record::Record;

/// Records in one call of `read` at most.
const RECORDS_PER_READ: usize = 8_000;
/// Records kept of a partition that is not wanted, before the client is told to stop fetching it. Telling it
/// makes it throw away what it has fetched, so a partition that soon is wanted again is not paused.
const KEPT_MAX: usize = 16_384;
const KEPT_BYTES_MAX: usize = 16 << 20;
/// How long a lost connection is looked for in one call.
const PROBE_TIMEOUT: Duration = Duration::from_millis(200);

/// A topic with its own consumer.
pub(super) struct Topic {
    pub name: String,
    pub client: Client,
    pub slots: Vec<Slot>,
    /// Place in `slots` by partition number.
    places: HashMap<i32, usize>,
    /// What is wrong with the connection.
    down: Option<Error>,
}

/// One partition.
pub(super) struct Slot {
    /// Place in the slice the reader was opened with.
    index: usize,
    pub number: i32,
    /// Least offset that the next record can have.
    pub next: u64,
    /// Offset at which a bounded input ends.
    end: Option<u64>,
    /// Records that came while they were not wanted.
    kept: VecDeque<Kept>,
    kept_bytes: usize,
    /// The end of the log is behind the records in `kept`.
    at_end: bool,
    paused: bool,
    /// The end was seen; it is told when nothing is kept any more.
    finished: bool,
    ended: bool,
}

struct Kept {
    offset: u64,
    key: Option<Vec<u8>>,
    payload: Option<Vec<u8>>,
    headers: Vec<(String, Option<Vec<u8>>)>,
    timestamp_ms: Option<i64>,
}

impl Topic {
    pub fn new(name: &str, client: Client) -> Self {
        Topic { name: name.to_owned(), client, slots: Vec::new(), places: HashMap::new(), down: None }
    }

    pub fn add(&mut self, slot: Slot) {
        self.places.insert(slot.number, self.slots.len());
        self.slots.push(slot);
    }
}

impl Slot {
    pub fn new(index: usize, number: i32, start: u64, end: Option<u64>) -> Self {
        Slot {
            index,
            number,
            next: start,
            end,
            kept: VecDeque::new(),
            kept_bytes: 0,
            at_end: false,
            paused: false,
            finished: end.is_some_and(|end| start >= end),
            ended: false,
        }
    }
}

pub(super) struct KafkaReader {
    topics: Vec<Topic>,
    headers: bool,
    /// The thread that waits in `read`.
    thread: Arc<OnceLock<Thread>>,
}

/// One call of `read`.
struct Call<'a> {
    wanted: &'a [bool],
    headers: bool,
    out: &'a mut dyn RecordSink,
    /// Records that may still be handed on.
    left: usize,
    /// Whether anything was said.
    progress: bool,
}

impl KafkaReader {
    pub fn new(mut topics: Vec<Topic>, headers: bool) -> Self {
        let thread: Arc<OnceLock<Thread>> = Arc::default();
        for topic in &mut topics {
            let thread = thread.clone();
            topic.client.set_nonempty_callback(move || thread.get().map_or((), Thread::unpark));
        }
        KafkaReader { topics, headers, thread }
    }
}

impl Reader for KafkaReader {
    fn read(&mut self, wanted: &[bool], max_wait: Duration, out: &mut dyn RecordSink) -> Result<()> {
        self.thread.get_or_init(std::thread::current);
        let deadline = Instant::now() + max_wait;
        let mut call = Call { wanted, headers: self.headers, out, left: RECORDS_PER_READ, progress: false };
        loop {
            for topic in &mut self.topics {
                topic.hand_on_kept(&mut call)?;
                topic.poll(&mut call)?;
            }
            // Another topic has the first turn next time, so that a long backlog does not starve the others.
            let turn = self.topics.len().min(1);
            self.topics.rotate_left(turn);
            let left = deadline.saturating_duration_since(Instant::now());
            if call.progress || left.is_zero() {
                break;
            }
            std::thread::park_timeout(left);
        }
        let progress = call.progress;
        for topic in &self.topics {
            for (number, end) in topic.client.context().take_ends() {
                if let Some(place) = topic.places.get(&number) {
                    out.log_end(topic.slots[*place].index, end);
                }
            }
        }
        self.topics.iter_mut().try_for_each(|topic| topic.probe(progress))
    }
}

impl Topic {
    /// Hands on what was kept of partitions that are wanted now, and lets their fetching go on.
    fn hand_on_kept(&mut self, call: &mut Call<'_>) -> Result<()> {
        let mut resume = TopicPartitionList::new();
        for slot in self.slots.iter_mut().filter(|slot| !slot.ended) {
            if !call.wanted[slot.index] {
                continue;
            }
            while call.left > 0
                && let Some(kept) = slot.kept.pop_front()
            {
                slot.kept_bytes -= kept.size();
                call.record(slot.index, &kept);
            }
            if !slot.kept.is_empty() {
                continue;
            }
            if slot.finished {
                slot.end_it(call);
                continue;
            }
            if std::mem::take(&mut slot.at_end) {
                call.caught_up(slot.index, slot.next);
            }
            if std::mem::take(&mut slot.paused) {
                resume.add_partition(&self.name, slot.number);
            }
        }
        if resume.count() == 0 {
            return Ok(());
        }
        self.client
            .resume(&resume)
            .map_err(|error| Error::internal(format!("cannot go on with '{}'", self.name)).caused_by(error))
    }

    /// Takes what the client has fetched. Where nothing is wanted, it stays with the client, whose queue is
    /// limited.
    fn poll(&mut self, call: &mut Call<'_>) -> Result<()> {
        if !self.slots.iter().any(|slot| call.wanted[slot.index] && !slot.ended) {
            return Ok(());
        }
        while call.left > 0
            && let Some(polled) = self.client.poll(Duration::ZERO)
        {
            match polled {
                Ok(message) => {
                    self.down = None;
                    let Some(place) = self.places.get(&message.partition()) else { continue };
                    let slot = &mut self.slots[*place];
                    slot.take(&message, call);
                    if !slot.paused && slot.is_too_much() {
                        slot.paused = true;
                        pause(&self.client, &self.name, slot.number)?;
                    }
                }
                Err(KafkaError::PartitionEOF(number)) => {
                    self.down = None;
                    let position = position(&self.client, &self.name, number);
                    if let Some(place) = self.places.get(&number) {
                        self.slots[*place].reached_end(position, call);
                    }
                }
                Err(error) => {
                    let error = self.classify(&error);
                    if error.kind() != ErrorKind::Away {
                        return Err(error);
                    }
                    tracing::debug!(topic = self.name, %error, "trouble with a broker");
                    self.down = Some(error);
                }
            }
        }
        Ok(())
    }

    fn classify(&self, error: &KafkaError) -> Error {
        let what = format!("topic '{}'", self.name);
        match error {
            KafkaError::MessageConsumptionFatal(code) => Error::internal(format!("{what}: {code}")),
            _ => classify(error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown), &what),
        }
    }

    /// After trouble: asks whether the brokers are there. The client itself does not tell when they are back.
    fn probe(&mut self, progress: bool) -> Result<()> {
        let Some(error) = self.down.take() else { return Ok(()) };
        if progress || self.client.fetch_metadata(Some(&self.name), PROBE_TIMEOUT).is_ok() {
            return Ok(());
        }
        let again = Error::new(error.kind(), error.to_string());
        self.down = Some(error);
        Err(again)
    }
}

impl Slot {
    fn take(&mut self, message: &BorrowedMessage<'_>, call: &mut Call<'_>) {
        let Ok(offset) = u64::try_from(message.offset()) else { return };
        // After a pause the client can give a record again.
        if self.finished || offset < self.next {
            return;
        }
        if self.end.is_some_and(|end| offset >= end) {
            self.finish(call);
            return;
        }
        self.next = offset + 1;
        self.at_end = false;
        if call.wanted[self.index] && self.kept.is_empty() {
            call.message(self.index, offset, message);
        } else {
            let kept = Kept::new(offset, message, call.headers);
            self.kept_bytes += kept.size();
            self.kept.push_back(kept);
        }
        if self.end.is_some_and(|end| self.next >= end) {
            self.finish(call);
        }
    }

    fn is_too_much(&self) -> bool {
        self.kept.len() >= KEPT_MAX || self.kept_bytes >= KEPT_BYTES_MAX || self.finished
    }

    fn reached_end(&mut self, position: Option<u64>, call: &mut Call<'_>) {
        // Behind the last record there can be markers of transactions, which have offsets, too.
        self.next = self.next.max(position.unwrap_or(0));
        if self.end.is_some() {
            self.finish(call);
        } else if self.kept.is_empty() {
            call.caught_up(self.index, self.next);
        } else {
            self.at_end = true;
        }
    }

    /// A bounded input has no more records than those that are kept.
    fn finish(&mut self, call: &mut Call<'_>) {
        self.finished = true;
        if self.kept.is_empty() {
            self.end_it(call);
        }
    }

    fn end_it(&mut self, call: &mut Call<'_>) {
        if !std::mem::replace(&mut self.ended, true) {
            call.caught_up(self.index, self.next);
            call.out.ended(self.index);
        }
    }
}

impl Call<'_> {
    fn message(&mut self, index: usize, offset: u64, message: &BorrowedMessage<'_>) {
        let headers = if self.headers { message.headers() } else { None };
        let headers: Vec<_> = headers
            .into_iter()
            .flat_map(|headers| headers.iter().map(|header| (header.key, header.value)))
            .collect();
        self.hand_on(
            index,
            &Record {
                offset,
                key: message.key(),
                payload: message.payload(),
                headers: &headers,
                timestamp_ms: message.timestamp().to_millis(),
            },
        );
    }

    fn record(&mut self, index: usize, kept: &Kept) {
        let headers: Vec<_> =
            kept.headers.iter().map(|(name, value)| (name.as_str(), value.as_deref())).collect();
        self.hand_on(
            index,
            &Record {
                offset: kept.offset,
                key: kept.key.as_deref(),
                payload: kept.payload.as_deref(),
                headers: &headers,
                timestamp_ms: kept.timestamp_ms,
            },
        );
    }

    fn hand_on(&mut self, index: usize, record: &Record<'_>) {
        self.out.record(index, record);
        self.left -= 1;
        self.progress = true;
    }

    fn caught_up(&mut self, index: usize, next: u64) {
        self.out.caught_up(index, next);
        self.progress = true;
    }
}

impl Kept {
    fn new(offset: u64, message: &BorrowedMessage<'_>, headers: bool) -> Self {
        let headers = if headers { message.headers() } else { None };
        Kept {
            offset,
            key: message.key().map(<[u8]>::to_vec),
            payload: message.payload().map(<[u8]>::to_vec),
            headers: headers
                .into_iter()
                .flat_map(|headers| headers.iter())
                .map(|header| (header.key.to_owned(), header.value.map(<[u8]>::to_vec)))
                .collect(),
            timestamp_ms: message.timestamp().to_millis(),
        }
    }

    fn size(&self) -> usize {
        self.key.as_ref().map_or(0, Vec::len) + self.payload.as_ref().map_or(0, Vec::len)
    }
}

fn pause(client: &Client, topic: &str, number: i32) -> Result<()> {
    let mut list = TopicPartitionList::new();
    list.add_partition(topic, number);
    client.pause(&list).map_err(|error| Error::internal(format!("cannot pause '{topic}'")).caused_by(error))
}

/// Where the client stands in a partition.
fn position(client: &Client, topic: &str, number: i32) -> Option<u64> {
    let list = client.position().ok()?;
    let offset = list.find_partition(topic, number)?.offset().to_raw()?;
    u64::try_from(offset).ok()
}

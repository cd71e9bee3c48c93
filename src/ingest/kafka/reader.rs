//! Reading assigned partitions.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, OnceLock};
use std::thread::Thread;
use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::metadata::Metadata;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::client::{Client, classify, connect, created_anew};
use super::slot::{Call, Slot};
use crate::error::{Error, ErrorKind, Result};
use crate::ingest::{Reader, RecordSink};
use crate::record::FoundPartition;

/// Records in one call of `read` at most.
const RECORDS_PER_READ: usize = 8_000;
/// How long a lost connection is looked for in one call.
const PROBE_TIMEOUT: Duration = Duration::from_millis(200);

/// A topic with its own consumer.
struct Topic {
    name: String,
    client: Client,
    slots: Vec<Slot>,
    /// Place in `slots` by partition number.
    places: HashMap<i32, usize>,
    /// What is wrong with the connection.
    down: Option<Error>,
    /// It was deleted.
    gone: bool,
}

impl Topic {
    fn new(name: &str, client: Client) -> Self {
        let (name, slots, places) = (name.to_owned(), Vec::new(), HashMap::new());
        Topic { name, client, slots, places, down: None, gone: false }
    }

    fn add(&mut self, slot: Slot) {
        self.places.insert(slot.number, self.slots.len());
        self.slots.push(slot);
    }
}

/// Reads partitions of any number of topics. An event at the end of a partition does not tell its topic, so each
/// topic has its own consumer.
pub(super) struct KafkaReader {
    properties: BTreeMap<String, String>,
    topics: Vec<Topic>,
    /// Number of partitions.
    partitions: usize,
    headers: bool,
    /// The thread that waits in `read`.
    thread: Arc<OnceLock<Thread>>,
}

impl KafkaReader {
    /// A reader of nothing, whose clients have these properties.
    pub fn new(properties: BTreeMap<String, String>, headers: bool) -> Self {
        KafkaReader { properties, topics: Vec::new(), partitions: 0, headers, thread: Arc::default() }
    }

    /// A topic of which nothing is read yet. Connects in the background.
    fn topic(&self, name: &str) -> Result<Topic> {
        let mut client = connect(&self.properties)?;
        let thread = self.thread.clone();
        client.set_nonempty_callback(move || thread.get().map_or((), Thread::unpark));
        Ok(Topic::new(name, client))
    }

    /// Has the clients fetch all of these, or none of them.
    fn assign(&self, added: &BTreeMap<usize, Added>) -> Result<()> {
        for (place, Added { list, .. }) in added {
            let Err(error) = self.topics[*place].client.incremental_assign(list) else { continue };
            for (place, Added { list, .. }) in added.range(..place) {
                let undone = self.topics[*place].client.incremental_unassign(list);
                undone.map_err(|error| Error::internal("cannot let go of partitions").caused_by(error))?;
            }
            return Err(Error::internal("cannot assign partitions").caused_by(error));
        }
        Ok(())
    }
}

/// Partitions of one topic that are about to be read.
#[derive(Default)]
struct Added {
    list: TopicPartitionList,
    slots: Vec<Slot>,
}

impl Reader for KafkaReader {
    fn add(&mut self, partitions: &[FoundPartition]) -> Result<()> {
        let mut new: Vec<Topic> = Vec::new();
        let mut added: BTreeMap<usize, Added> = BTreeMap::new();
        for (found, index) in partitions.iter().zip(self.partitions..) {
            let name = &*found.partition.name;
            let place = match self.topics.iter().chain(&new).position(|topic| topic.name == name) {
                Some(place) => place,
                None => {
                    new.push(self.topic(name)?);
                    self.topics.len() + new.len() - 1
                }
            };
            let slot = Slot::new(index, found);
            let offset = Offset::Offset(i64::try_from(slot.next).unwrap_or(i64::MAX));
            let Added { list, slots } = added.entry(place).or_default();
            list.add_partition_offset(name, slot.number, offset)
                .map_err(|error| Error::internal("cannot assign a partition").caused_by(error))?;
            slots.push(slot);
        }
        let before = self.topics.len();
        self.topics.append(&mut new);
        if let Err(error) = self.assign(&added) {
            self.topics.truncate(before);
            return Err(error);
        }
        for (place, Added { slots, .. }) in added {
            slots.into_iter().for_each(|slot| self.topics[place].add(slot));
        }
        self.partitions += partitions.len();
        Ok(())
    }

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
            for (number, told) in topic.client.context().take_told() {
                let Some(place) = topic.places.get(&number) else { continue };
                let index = topic.slots[*place].index;
                told.end.iter().for_each(|end| out.log_end(index, *end));
                // What is gone has no broker, and no more records.
                out.answers(index, told.answers || topic.gone);
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
            if !slot.hand_on_kept(call) || slot.ended {
                continue;
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
                    self.check_same()?;
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
                    self.check_same()?;
                    let position = position(&self.client, &self.name, number);
                    if let Some(place) = self.places.get(&number) {
                        self.slots[*place].reached_end(position, call);
                    }
                }
                Err(error) if is_gone(&error) => {
                    if !std::mem::replace(&mut self.gone, true) {
                        let topic = self.name.as_str();
                        tracing::warn!(topic, %error, "a topic does not exist any more, the others are read on");
                    }
                    self.slots.iter_mut().for_each(|slot| slot.lost(call));
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

    /// A topic that was deleted and gives something is another one of that name, unless the client had fetched it
    /// before: then the topic still does not exist.
    fn check_same(&self) -> Result<()> {
        if !self.gone {
            return Ok(());
        }
        let found = self.client.fetch_metadata(Some(&self.name), PROBE_TIMEOUT);
        let exists = |metadata: &Metadata| {
            metadata.topics().iter().any(|topic| topic.name() == self.name && topic.error().is_none())
        };
        match found.is_ok_and(|metadata| exists(&metadata)) {
            true => Err(created_anew(&format!("topic '{}'", self.name))),
            false => Ok(()),
        }
    }

    fn classify(&self, error: &KafkaError) -> Error {
        let what = format!("topic '{}'", self.name);
        let heard = &self.client.context().heard;
        if let Some(refusal) = heard.refusal() {
            return refusal.context(what);
        }
        match error {
            KafkaError::MessageConsumptionFatal(code) => Error::internal(format!("{what}: {code}")),
            KafkaError::MessageConsumption(RDKafkaErrorCode::AutoOffsetReset) if self.gone => {
                created_anew(&what)
            }
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

/// Whether the topic that is read does not exist any more. It did when its partitions were found.
pub(super) fn is_gone(error: &KafkaError) -> bool {
    use RDKafkaErrorCode::{UnknownPartition, UnknownTopic, UnknownTopicOrPartition};
    matches!(error.rdkafka_error_code(), Some(UnknownTopic | UnknownTopicOrPartition | UnknownPartition))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Partition;

    fn found(topic: &str, number: u32) -> FoundPartition {
        FoundPartition::whole(Partition { id: number, name: topic.into(), number })
    }

    /// Numbers of partitions and their places among those of the reader.
    type Places = Vec<(i32, usize)>;

    /// Per topic its name, its partitions, and how many of them its client fetches.
    fn read(reader: &KafkaReader) -> Vec<(&str, Places, usize)> {
        let slots = |topic: &Topic| topic.slots.iter().map(|slot| (slot.number, slot.index)).collect();
        let fetched = |topic: &Topic| topic.client.assignment().expect("an assignment").count();
        reader.topics.iter().map(|topic| (topic.name.as_str(), slots(topic), fetched(topic))).collect()
    }

    #[test]
    fn partitions_are_taken_on_all_or_none_so_that_it_can_be_tried_again() {
        // Nobody listens there, and to assign nobody is needed.
        let properties = [("bootstrap.servers", "127.0.0.1:1"), ("group.id", "test")];
        let properties = properties.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let mut reader = KafkaReader::new(properties.into(), false);
        reader.add(&[found("a", 0)]).expect("taken on");
        // The client of `b` refuses a partition that is there twice; that of `a` was asked before.
        for _ in 0..2 {
            reader.add(&[found("a", 1), found("b", 0), found("b", 0)]).expect_err("refused");
            assert_eq!(read(&reader), [("a", vec![(0, 0)], 1)]);
        }
        reader.add(&[found("b", 0), found("a", 1)]).expect("taken on");
        assert_eq!(read(&reader), [("a", vec![(0, 0), (1, 2)], 2), ("b", vec![(0, 1)], 1)]);
        assert_eq!(reader.partitions, 3);
    }
}

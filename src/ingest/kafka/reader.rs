//! Reading assigned partitions.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread::Thread;
use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::metadata::Metadata;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::client::{Client, classify, connect, created_anew};
use super::fetched::{FetchQueue, Reading};
use super::slot::{Call, Slot, Watch};
use crate::error::{Error, ErrorKind, Result};
use crate::ingest::{Reader, RecordSink};
use crate::record::FoundPartition;

/// Records in one call of `read` at most.
const RECORDS_PER_READ: usize = 8_000;
/// Properties of a client that limit what it fetches ahead of all its partitions, and the least that one of them has.
const PER_PARTITION: [(&str, usize); 2] =
    [("queued.min.messages", 1_000), ("queued.max.messages.kbytes", 1_024)];
/// How long a lost connection is looked for in one call.
const PROBE_TIMEOUT: Duration = Duration::from_millis(200);

/// A topic with its own consumer.
struct Topic {
    state: State,
    slots: Vec<Slot>,
}

/// What is known of a topic.
struct State {
    name: String,
    client: Arc<Client>,
    /// What is wrong with the connection.
    down: Option<Error>,
    /// It was deleted.
    gone: bool,
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
    reading: Reading,
}

impl KafkaReader {
    /// A reader of nothing, whose clients have these properties.
    pub fn new(properties: BTreeMap<String, String>, headers: bool) -> Self {
        KafkaReader { properties, topics: Vec::new(), partitions: 0, headers, reading: Reading::default() }
    }

    /// A topic of which nothing is read yet, and of which so many partitions will be. Connects in the background.
    fn topic(&self, name: &str, partitions: usize) -> Result<Topic> {
        let mut client = connect(&shared(&self.properties, partitions))?;
        let reading = self.reading.clone();
        client.set_nonempty_callback(move || reading.get().map_or((), Thread::unpark));
        let state = State { name: name.to_owned(), client: Arc::new(client), down: None, gone: false };
        Ok(Topic { state, slots: Vec::new() })
    }

    /// Has the clients fetch all of these, or none of them.
    fn assign(&self, added: &BTreeMap<usize, Added>) -> Result<()> {
        for (place, Added { list, .. }) in added {
            let Err(error) = self.topics[*place].state.client.incremental_assign(list) else { continue };
            for (place, Added { list, .. }) in added.range(..place) {
                let undone = self.topics[*place].state.client.incremental_unassign(list);
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

/// The limits of what is fetched ahead are those of a client; here they become those of each of its partitions.
fn shared(properties: &BTreeMap<String, String>, partitions: usize) -> BTreeMap<String, String> {
    let mut properties = properties.clone();
    for (name, least) in PER_PARTITION {
        let Some(value) = properties.get_mut(name) else { continue };
        // What is no number is refused by the client, who says so better.
        let Ok(number) = value.trim().parse::<usize>() else { continue };
        *value = (number / partitions.max(1)).max(least.min(number)).to_string();
    }
    properties
}

impl Reader for KafkaReader {
    fn add(&mut self, partitions: &[FoundPartition]) -> Result<()> {
        let before = self.topics.len();
        let added = self.take_on(partitions).and_then(|added| self.assign(&added).map(|()| added));
        let added = match added {
            Ok(added) => added,
            Err(error) => {
                self.topics.truncate(before);
                return Err(error);
            }
        };
        for (place, Added { slots, .. }) in added {
            self.topics[place].slots.extend(slots);
        }
        self.partitions += partitions.len();
        Ok(())
    }

    fn read(&mut self, wanted: &[bool], max_wait: Duration, out: &mut dyn RecordSink) -> Result<()> {
        self.reading.get_or_init(std::thread::current);
        let deadline = Instant::now() + max_wait;
        let mut call = Call { wanted, headers: self.headers, out, left: RECORDS_PER_READ, progress: false };
        loop {
            for topic in &mut self.topics {
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
            for (number, told) in topic.state.client.context().take_told() {
                let Some(slot) = topic.slots.iter().find(|slot| slot.stand.number == number) else {
                    continue;
                };
                told.end.iter().for_each(|end| out.log_end(slot.stand.index, *end));
                // What is gone has no broker, and no more records.
                out.answers(slot.stand.index, told.answers || topic.state.gone);
            }
        }
        self.topics.iter_mut().try_for_each(|topic| topic.state.probe(progress))
    }
}

impl KafkaReader {
    /// Makes the topics and queues of partitions that are to be assigned, by the places of their topics.
    fn take_on(&mut self, partitions: &[FoundPartition]) -> Result<BTreeMap<usize, Added>> {
        let mut added: BTreeMap<usize, Added> = BTreeMap::new();
        for (found, index) in partitions.iter().zip(self.partitions..) {
            let name = &*found.partition.name;
            let place = match self.topics.iter().position(|topic| topic.state.name == name) {
                Some(place) => place,
                None => {
                    let of_topic = partitions.iter().filter(|found| *found.partition.name == *name).count();
                    self.topics.push(self.topic(name, of_topic)?);
                    self.topics.len() - 1
                }
            };
            let number = i32::try_from(found.partition.number).unwrap_or(i32::MAX);
            let queue = FetchQueue::new(&self.topics[place].state.client, name, number, &self.reading)?;
            let slot = Slot::new(index, found, queue);
            let offset = Offset::Offset(i64::try_from(slot.stand.next).unwrap_or(i64::MAX));
            let Added { list, slots } = added.entry(place).or_default();
            list.add_partition_offset(name, number, offset)
                .map_err(|error| Error::internal("cannot assign a partition").caused_by(error))?;
            slots.push(slot);
        }
        Ok(added)
    }
}

impl Topic {
    /// Takes what the client has fetched of the partitions that are wanted. The rest stays with the client, whose
    /// queues are limited.
    fn poll(&mut self, call: &mut Call<'_>) -> Result<()> {
        self.state.serve()?;
        let mut looked_at = vec![true; self.slots.len()];
        while looked_at.contains(&true) {
            for (slot, again) in self.slots.iter_mut().zip(&mut looked_at) {
                let wanted = call.wanted[slot.stand.index] && !slot.stand.ended;
                if !std::mem::take(again) || !wanted {
                    continue;
                }
                *again = slot.read(call, &mut self.state)?;
                if slot.stand.ended {
                    self.state.stop(slot.stand.number)?;
                }
            }
        }
        if self.state.gone {
            self.slots.iter_mut().for_each(|slot| slot.lost(call));
        }
        // Another partition has the first turn next time.
        let turn = self.slots.len().min(1);
        self.slots.rotate_left(turn);
        Ok(())
    }
}

impl State {
    /// What the client has to say apart from records: there it comes at all only if it is asked.
    fn serve(&mut self) -> Result<()> {
        while let Some(polled) = self.client.poll(Duration::ZERO) {
            match polled {
                Ok(message) => {
                    let place = format!("partition {} of topic '{}'", message.partition(), self.name);
                    return Err(Error::internal(format!(
                        "a record of {place} is not in the queue of its own"
                    )));
                }
                Err(KafkaError::MessageConsumptionFatal(code)) => {
                    return Err(Error::internal(format!("topic '{}': {code}", self.name)));
                }
                Err(error) => {
                    self.error(error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown))?;
                }
            }
        }
        if self.client.context().has_complained() { self.look() } else { Ok(()) }
    }

    /// The client has complained of a partition: asks what is wrong with the topic.
    fn look(&mut self) -> Result<()> {
        let Ok(metadata) = self.client.fetch_metadata(Some(&self.name), PROBE_TIMEOUT) else {
            return Ok(()); // The brokers are away; it is asked again.
        };
        self.client.context().settle();
        let found = metadata.topics().iter().find(|topic| topic.name() == self.name);
        let code = found.and_then(|topic| topic.error()).map(RDKafkaErrorCode::from);
        // What did not exist a moment ago and does now is another topic, see `is_same`.
        self.error(code.unwrap_or(RDKafkaErrorCode::UnknownTopicOrPartition)).map(drop)
    }

    /// Has the client fetch no more of a partition that was read to its end.
    fn stop(&self, number: i32) -> Result<()> {
        let mut list = TopicPartitionList::new();
        list.add_partition(&self.name, number);
        let stopped = self.client.pause(&list);
        stopped.map_err(|error| Error::internal(format!("cannot pause '{}'", self.name)).caused_by(error))
    }

    fn classify(&self, code: RDKafkaErrorCode) -> Error {
        let what = format!("topic '{}'", self.name);
        if let Some(refusal) = self.client.context().heard.refusal() {
            return refusal.context(what);
        }
        match code {
            RDKafkaErrorCode::AutoOffsetReset if self.gone => created_anew(&what),
            _ => classify(code, &what),
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

impl Watch for State {
    fn error(&mut self, code: RDKafkaErrorCode) -> Result<bool> {
        if is_gone(code) {
            if !std::mem::replace(&mut self.gone, true) {
                let topic = self.name.as_str();
                tracing::warn!(topic, error = %code, "a topic does not exist any more, the others are read on");
            }
            return Ok(true);
        }
        let error = self.classify(code);
        if error.kind() != ErrorKind::Away {
            return Err(error);
        }
        tracing::debug!(topic = self.name, %error, "trouble with a broker");
        self.down = Some(error);
        Ok(false)
    }

    /// A topic that was deleted and gives something is another one of that name, unless the client had fetched it
    /// before: then the topic still does not exist.
    fn is_same(&mut self) -> Result<()> {
        self.down = None;
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
}

/// Whether the topic that is read does not exist any more. It did when its partitions were found.
pub(super) fn is_gone(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode::{UnknownPartition, UnknownTopic, UnknownTopicOrPartition};
    matches!(code, UnknownTopic | UnknownTopicOrPartition | UnknownPartition)
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
        let slots =
            |topic: &Topic| topic.slots.iter().map(|slot| (slot.stand.number, slot.stand.index)).collect();
        let fetched = |topic: &Topic| topic.state.client.assignment().expect("an assignment").count();
        reader.topics.iter().map(|topic| (topic.state.name.as_str(), slots(topic), fetched(topic))).collect()
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

//! Kafka: partitions that are assigned by us and read from our own offsets. Nothing is committed there.

mod client;
mod reader;

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use rdkafka::consumer::Consumer;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use self::client::{Client, connect, failed};
use self::reader::{KafkaReader, Slot, Topic};
use super::{Connector, Reader, missing_topic, topic_partitions};
use crate::error::{Error, Result};
use crate::plan::{KafkaSource, StartupMode};
use crate::record::Partition;
use crate::settings;

/// How long one question to the brokers may take; asking again is the caller's part.
const ASK_TIMEOUT: Duration = Duration::from_secs(10);
/// A broker that has just started, or a topic that was just created, may not be known for a moment.
const MISSING_TRIES: u32 = 3;

/// What is not in the source's own options.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KafkaOptions {
    /// The source ends at the end that its partitions have when they are opened.
    pub bounded: bool,
    /// Whether headers are read; they cost time, so only where a column wants them.
    pub headers: bool,
}

/// The topics of one source.
#[derive(Debug)]
pub struct KafkaConnector {
    topics: Vec<String>,
    startup: StartupMode,
    options: KafkaOptions,
    properties: BTreeMap<String, String>,
    /// For messages.
    servers: String,
}

impl KafkaConnector {
    /// Refuses properties that would break the reading; talks to nobody yet.
    pub fn new(source: &KafkaSource, settings: &settings::Kafka, options: KafkaOptions) -> Result<Self> {
        let (properties, servers) = client::properties(source, settings)?;
        let (topics, startup) = (source.topics.clone(), source.startup);
        Ok(KafkaConnector { topics, startup, options, properties, servers })
    }

    /// Numbers of the partitions of a topic.
    fn numbers(&self, client: &Client, topic: &str) -> Result<Vec<u32>> {
        for attempt in 1.. {
            let metadata = client
                .fetch_metadata(Some(topic), ASK_TIMEOUT)
                .map_err(|error| failed(client, "read the metadata", &error))?;
            let found = metadata.topics().iter().find(|found| found.name() == topic);
            let numbers: Vec<u32> = found
                .map_or(&[][..], |found| found.partitions())
                .iter()
                .filter_map(|partition| u32::try_from(partition.id()).ok())
                .collect();
            match found.and_then(|found| found.error()).map(RDKafkaErrorCode::from) {
                None if !numbers.is_empty() => return Ok(numbers),
                None | Some(RDKafkaErrorCode::UnknownTopicOrPartition) if attempt >= MISSING_TRIES => break,
                None | Some(RDKafkaErrorCode::UnknownTopicOrPartition) => {
                    std::thread::park_timeout(Duration::from_millis(300));
                }
                Some(code) => return Err(client::classify(code, &format!("topic '{topic}'"))),
            }
        }
        let metadata = client
            .fetch_metadata(None, ASK_TIMEOUT)
            .map_err(|error| failed(client, "list the topics", &error))?;
        let names: Vec<String> = metadata.topics().iter().map(|topic| topic.name().to_owned()).collect();
        Err(missing_topic(topic, &format!("at {}", self.servers), &names))
    }

    /// Where reading begins, and where it ends in a bounded run.
    fn slot(&self, client: &Client, index: usize, partition: &Partition) -> Result<Slot> {
        let number = i32::try_from(partition.number).unwrap_or(i32::MAX);
        let (low, high) = client.fetch_watermarks(&partition.name, number, ASK_TIMEOUT).map_err(|error| {
            failed(client, &format!("read the offsets of topic '{}'", partition.name), &error)
        })?;
        let offset = |offset: i64| u64::try_from(offset).unwrap_or(0);
        let start = match self.startup {
            StartupMode::Earliest => offset(low),
            StartupMode::Latest => offset(high),
        };
        Ok(Slot::new(index, number, start, self.options.bounded.then_some(offset(high))))
    }
}

impl Connector for KafkaConnector {
    fn partitions(&self) -> Result<Vec<Partition>> {
        let client = connect(&self.properties)?;
        let mut found = Vec::new();
        for (position, topic) in self.topics.iter().enumerate() {
            let mut numbers = self.numbers(&client, topic)?;
            numbers.sort_unstable();
            found.extend(topic_partitions(position, topic, numbers)?);
        }
        Ok(found)
    }

    fn open(&self, partitions: &[Partition]) -> Result<Box<dyn Reader>> {
        // An event at the end of a partition does not tell its topic, so each topic has its own consumer.
        let mut topics: Vec<Topic> = Vec::new();
        let mut places: HashMap<&str, usize> = HashMap::new();
        for (index, partition) in partitions.iter().enumerate() {
            let place = match places.get(&*partition.name) {
                Some(place) => *place,
                None => {
                    topics.push(Topic::new(&partition.name, connect(&self.properties)?));
                    places.insert(&partition.name, topics.len() - 1);
                    topics.len() - 1
                }
            };
            let topic = &mut topics[place];
            let slot = self.slot(&topic.client, index, partition)?;
            topic.add(slot);
        }
        for topic in &topics {
            let mut list = TopicPartitionList::new();
            for slot in &topic.slots {
                let offset = Offset::Offset(i64::try_from(slot.next).unwrap_or(i64::MAX));
                list.add_partition_offset(&topic.name, slot.number, offset)
                    .map_err(|error| Error::internal("cannot assign a partition").caused_by(error))?;
            }
            topic.client.assign(&list).map_err(|error| failed(&topic.client, "assign partitions", &error))?;
        }
        Ok(Box::new(KafkaReader::new(topics, self.options.headers)))
    }
}

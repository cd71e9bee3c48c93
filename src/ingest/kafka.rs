//! Kafka: partitions that are assigned by us and read from our own offsets. Nothing is committed there.

mod client;
mod reader;
mod slot;

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rdkafka::consumer::Consumer;
use rdkafka::error::RDKafkaErrorCode;

use self::client::{Client, connect, failed};
use self::reader::KafkaReader;
use super::{Connector, FIND_INTERVAL, Reader, missing_topic, topic_partitions, unknown};
use crate::error::Result;
use crate::plan::{KafkaSource, StartupMode};
use crate::record::{FoundPartition, Partition};
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
pub struct KafkaConnector {
    topics: Vec<String>,
    startup: StartupMode,
    options: KafkaOptions,
    properties: BTreeMap<String, String>,
    /// For messages.
    servers: String,
    /// What partitions are asked for with.
    asking: Mutex<Option<Client>>,
}

impl KafkaConnector {
    /// Refuses properties that would break the reading; talks to nobody yet.
    pub fn new(source: &KafkaSource, settings: &settings::Kafka, options: KafkaOptions) -> Result<Self> {
        let (properties, servers) = client::properties(source, settings)?;
        let (topics, startup) = (source.topics.clone(), source.startup);
        Ok(KafkaConnector { topics, startup, options, properties, servers, asking: Mutex::default() })
    }

    /// Numbers of the partitions of a topic; none of one that is gone, unless it must be there.
    fn numbers(&self, client: &Client, topic: &str, must_exist: bool) -> Result<Vec<u32>> {
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
                None | Some(RDKafkaErrorCode::UnknownTopicOrPartition) if !must_exist => return Ok(vec![]),
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

    /// Where reading of a partition begins, and where it ends in a bounded run.
    fn extent(&self, client: &Client, partition: Partition, startup: StartupMode) -> Result<FoundPartition> {
        let number = i32::try_from(partition.number).unwrap_or(i32::MAX);
        let (low, high) = client.fetch_watermarks(&partition.name, number, ASK_TIMEOUT).map_err(|error| {
            failed(client, &format!("read the offsets of topic '{}'", partition.name), &error)
        })?;
        let offset = |offset: i64| u64::try_from(offset).unwrap_or(0);
        let from = match startup {
            StartupMode::Earliest => offset(low),
            StartupMode::Latest => offset(high),
        };
        Ok(FoundPartition { partition, from, to: self.options.bounded.then_some(offset(high)) })
    }
}

impl Connector for KafkaConnector {
    fn find(&self, known: Option<&[Partition]>) -> Result<Vec<FoundPartition>> {
        let mut asking = self.asking.lock().unwrap_or_else(PoisonError::into_inner);
        let client = match &mut *asking {
            Some(client) => client,
            None => asking.insert(connect(&self.properties)?),
        };
        let startup = if known.is_some() { StartupMode::Earliest } else { self.startup };
        let mut found = Vec::new();
        for (position, topic) in self.topics.iter().enumerate() {
            let mut numbers = self.numbers(client, topic, known.is_none())?;
            numbers.sort_unstable();
            for partition in unknown(topic_partitions(position, topic, numbers)?, known) {
                found.push(self.extent(client, partition, startup)?);
            }
        }
        Ok(found)
    }

    fn find_interval(&self) -> Option<Duration> {
        Some(FIND_INTERVAL)
    }

    fn reader(&self) -> Box<dyn Reader> {
        Box::new(KafkaReader::new(self.properties.clone(), self.options.headers))
    }
}

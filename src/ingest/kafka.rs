//! Kafka: partitions that are assigned by us and read from our own offsets. Nothing is committed there.

mod client;
mod reader;
mod slot;

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rdkafka::consumer::Consumer;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::metadata::MetadataTopic;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use self::client::{Client, connect, failed, reach};
use self::reader::KafkaReader;
use super::topics::{check_offsets, first_offset, matching, missing_topic, topic_partitions, unknown};
use super::{Connector, Reader};
use crate::error::Result;
use crate::plan::{KafkaSource, StartupMode, Topics};
use crate::record::{FoundPartition, Partition};
use crate::settings;

/// How long one question to the brokers may take; asking again is the caller's part.
const ASK_TIMEOUT: Duration = Duration::from_secs(10);
/// A broker that has just started, or a topic that was just created, may not be known for a moment.
const MISSING_TRIES: u32 = 3;

/// What is not in the source's own options.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KafkaOptions {
    /// The source ends at the end that its partitions have when they are opened.
    pub bounded: bool,
    /// Whether headers are read; they cost time, so only where a column wants them.
    pub headers: bool,
    /// Topics that the dataflow writes; a pattern never matches them.
    pub sinks: Vec<String>,
}

/// The topics of one source.
pub struct KafkaConnector {
    source: KafkaSource,
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
        let (source, asking) = (source.clone(), Mutex::default());
        Ok(KafkaConnector { source, options, properties, servers, asking })
    }

    /// Numbers of the partitions of a topic; none of one that is gone, unless it must be there.
    fn numbers(&self, client: &Client, topic: &str, must_exist: bool) -> Result<Vec<u32>> {
        for attempt in 1.. {
            let metadata = client
                .fetch_metadata(Some(topic), ASK_TIMEOUT)
                .map_err(|error| failed(client, "read the metadata", &error))?;
            let found = metadata.topics().iter().find(|found| found.name() == topic);
            let numbers = found.map_or_else(Vec::new, numbers);
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
        let names: Vec<String> = self.list(client)?.into_keys().collect();
        Err(missing_topic(topic, &format!("at {}", self.servers), &names))
    }

    /// All topics that there are, with the numbers of their partitions.
    fn list(&self, client: &Client) -> Result<BTreeMap<String, Vec<u32>>> {
        let metadata = client
            .fetch_metadata(None, ASK_TIMEOUT)
            .map_err(|error| failed(client, "list the topics", &error))?;
        let topics = metadata.topics().iter().filter(|topic| topic.error().is_none());
        Ok(topics.map(|topic| (topic.name().to_owned(), numbers(topic))).collect())
    }

    /// The topics of the source, with their places in it and the numbers of their partitions.
    fn topics(&self, client: &Client, known: Option<&[Partition]>) -> Result<Vec<(usize, String, Vec<u32>)>> {
        match &self.source.topics {
            Topics::Named(names) => {
                let topic = |(place, name): (usize, &String)| {
                    Ok((place, name.clone(), self.numbers(client, name, known.is_none())?))
                };
                names.iter().enumerate().map(topic).collect()
            }
            Topics::Pattern(pattern) => {
                let mut listed = self.list(client)?;
                let matching = matching(pattern, &self.options.sinks, listed.keys().cloned(), known)?;
                let topic = |(place, name): (usize, String)| {
                    let numbers = listed.remove(&name).unwrap_or_default();
                    (place, name, numbers)
                };
                Ok(matching.into_iter().map(topic).collect())
            }
        }
    }

    /// Where reading of a partition begins, and where it ends in a bounded run.
    fn extent(&self, client: &Client, partition: Partition, startup: &StartupMode) -> Result<FoundPartition> {
        let number = i32::try_from(partition.number).unwrap_or(i32::MAX);
        let what = || format!("read the offsets of topic '{}'", partition.name);
        let (low, high) = client
            .fetch_watermarks(&partition.name, number, ASK_TIMEOUT)
            .map_err(|error| failed(client, &what(), &error))?;
        let offset = |offset: i64| u64::try_from(offset).unwrap_or(0);
        let (low, high) = (offset(low), offset(high));
        let at_time = |ms: i64| {
            let mut list = TopicPartitionList::new();
            list.add_partition_offset(&partition.name, number, Offset::Offset(ms))
                .and_then(|()| client.offsets_for_times(list, ASK_TIMEOUT))
                .map_err(|error| failed(client, &what(), &error))?
                .find_partition(&partition.name, number)
                .map_or(Ok(None), |found| {
                    found.error().map_err(|error| failed(client, &what(), &error))?;
                    // Behind the last record it is "the end", which has no number.
                    Ok(found.offset().to_raw().and_then(|offset| u64::try_from(offset).ok()))
                })
        };
        let from = first_offset(startup, &partition, (low, high), at_time)?;
        Ok(FoundPartition { partition, from, to: self.options.bounded.then_some(high) })
    }
}

/// Numbers of the partitions of a topic, ascending.
fn numbers(topic: &MetadataTopic) -> Vec<u32> {
    let ids = topic.partitions().iter().map(|partition| partition.id());
    let mut numbers: Vec<u32> = ids.filter_map(|id| u32::try_from(id).ok()).collect();
    numbers.sort_unstable();
    numbers
}

impl Connector for KafkaConnector {
    fn find(&self, known: Option<&[Partition]>) -> Result<Vec<FoundPartition>> {
        let mut asking = self.asking.lock().unwrap_or_else(PoisonError::into_inner);
        let client = match &mut *asking {
            Some(client) => client,
            None => {
                let client = connect(&self.properties)?;
                reach(&client, ASK_TIMEOUT)?;
                asking.insert(client)
            }
        };
        let startup = if known.is_some() { &StartupMode::Earliest } else { &self.source.startup };
        let mut found = Vec::new();
        for (place, topic, numbers) in self.topics(client, known)? {
            for partition in unknown(topic_partitions(place, &topic, numbers)?, known) {
                found.push(self.extent(client, partition, startup)?);
            }
        }
        check_offsets(startup, found.iter().map(|found| &found.partition))?;
        Ok(found)
    }

    fn find_interval(&self) -> Option<Duration> {
        self.source.find_interval
    }

    fn reader(&self) -> Box<dyn Reader> {
        Box::new(KafkaReader::new(self.properties.clone(), self.options.headers))
    }
}

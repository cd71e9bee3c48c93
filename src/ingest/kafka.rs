//! Kafka: partitions that are assigned by us and read from our own offsets. Nothing is committed there.

mod client;
mod each;
mod fetched;
mod reader;
mod slot;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::metadata::MetadataTopic;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use self::client::{Client, connect_to_ask, failed, reach};
use self::reader::{KafkaReader, is_gone};
use super::topics::{check_offsets, first_offset, matching, missing_topic, topic_partitions, unknown};
use super::{Connector, Reader};
use crate::error::{Error, Result};
use crate::plan::{KafkaSource, StartupMode, Topics};
use crate::record::{FoundPartition, Partition};
use crate::settings;

pub use self::each::poll_each;

/// How long one question to the brokers may take; asking again is the caller's part.
const ASK_TIMEOUT: Duration = Duration::from_secs(10);
/// How long another question may take behind one without an answer, while the source is read.
const ASK_TIMEOUT_NEXT: Duration = Duration::from_secs(1);
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
    /// How long the first question without an answer may take.
    patience: Duration,
    asking: Mutex<Asking>,
}

/// What partitions are asked for with.
#[derive(Default)]
struct Asking {
    client: Option<Client>,
    /// Topics and partitions that had no answer the last time, with the reason.
    left_out: LeftOut,
}

type LeftOut = BTreeMap<String, String>;

/// A topic of the source.
struct Listed {
    /// Its place in the source.
    place: usize,
    name: String,
    partitions: Numbers,
}

/// The partitions of a topic.
#[derive(Default)]
struct Numbers {
    /// Ascending.
    all: Vec<u32>,
    /// Those that nobody leads.
    leaderless: BTreeSet<u32>,
}

impl KafkaConnector {
    /// Refuses properties that would break the reading; talks to nobody yet.
    pub fn new(source: &KafkaSource, settings: &settings::Kafka, options: KafkaOptions) -> Result<Self> {
        let (properties, servers) = client::properties(source, settings)?;
        let (source, patience, asking) = (source.clone(), ASK_TIMEOUT, Mutex::default());
        Ok(KafkaConnector { source, options, properties, servers, patience, asking })
    }

    /// Numbers of the partitions of a topic; none of one that is gone, unless it must be there.
    fn numbers(&self, client: &Client, topic: &str, must_exist: bool) -> Result<Numbers> {
        for attempt in 1.. {
            let metadata = client
                .fetch_metadata(Some(topic), ASK_TIMEOUT)
                .map_err(|error| failed(client, "read the metadata", &error))?;
            let found = metadata.topics().iter().find(|found| found.name() == topic);
            let numbers = found.map_or_else(Numbers::default, numbers);
            match found.and_then(|found| found.error()).map(RDKafkaErrorCode::from) {
                None if !numbers.all.is_empty() => return Ok(numbers),
                None | Some(RDKafkaErrorCode::UnknownTopicOrPartition) if !must_exist => {
                    return Ok(Numbers::default());
                }
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
    fn list(&self, client: &Client) -> Result<BTreeMap<String, Numbers>> {
        let metadata = client
            .fetch_metadata(None, ASK_TIMEOUT)
            .map_err(|error| failed(client, "list the topics", &error))?;
        let topics = metadata.topics().iter().filter(|topic| topic.error().is_none());
        Ok(topics.map(|topic| (topic.name().to_owned(), numbers(topic))).collect())
    }

    /// The topics of the source. While it is read, one of which nothing can be found out is left out.
    fn topics(
        &self,
        client: &Client,
        known: Option<&[Partition]>,
        left_out: &mut LeftOut,
    ) -> Result<Vec<Listed>> {
        match &self.source.topics {
            Topics::Named(names) => {
                let mut topics = Vec::new();
                for (place, name) in names.iter().enumerate() {
                    match self.numbers(client, name, known.is_none()) {
                        Ok(partitions) => topics.push(Listed { place, name: name.clone(), partitions }),
                        Err(error) => leave_out(format!("topic '{name}'"), error, known, left_out)?,
                    }
                }
                Ok(topics)
            }
            Topics::Pattern(pattern) => {
                let mut listed = self.list(client)?;
                let matching = matching(pattern, &self.options.sinks, listed.keys().cloned(), known)?;
                let topic = |(place, name): (usize, String)| {
                    let partitions = listed.remove(&name).unwrap_or_default();
                    Listed { place, name, partitions }
                };
                Ok(matching.into_iter().map(topic).collect())
            }
        }
    }

    /// Where reading of a partition begins, and where it ends in a bounded run.
    fn extent(
        &self,
        client: &Client,
        partition: Partition,
        startup: &StartupMode,
        patience: Duration,
    ) -> Result<FoundPartition> {
        let number = i32::try_from(partition.number).unwrap_or(i32::MAX);
        let failed = |error: &KafkaError| {
            let answer = failed(client, &format!("read the offsets of {}", named(&partition)), error);
            // It was there a moment ago: whether it still is tells the list of topics.
            if error.rdkafka_error_code().is_some_and(is_gone) {
                Error::away(answer.to_string())
            } else {
                answer
            }
        };
        let (low, high) =
            client.fetch_watermarks(&partition.name, number, patience).map_err(|error| failed(&error))?;
        let offset = |offset: i64| u64::try_from(offset).unwrap_or(0);
        let (low, high) = (offset(low), offset(high));
        let at_time = |ms: i64| {
            let mut list = TopicPartitionList::new();
            list.add_partition_offset(&partition.name, number, Offset::Offset(ms))
                .and_then(|()| client.offsets_for_times(list, patience))
                .map_err(|error| failed(&error))?
                .find_partition(&partition.name, number)
                .map_or(Ok(None), |found| {
                    found.error().map_err(|error| failed(&error))?;
                    // Behind the last record it is "the end", which has no number.
                    Ok(found.offset().to_raw().and_then(|offset| u64::try_from(offset).ok()))
                })
        };
        let from = first_offset(startup, &partition, (low, high), at_time)?;
        Ok(FoundPartition { partition, from, to: self.options.bounded.then_some(high) })
    }
}

/// An error about one topic or partition ends the question at the start; later it is kept, for the others' sake.
fn leave_out(what: String, error: Error, known: Option<&[Partition]>, left_out: &mut LeftOut) -> Result<()> {
    if known.is_none() {
        return Err(error);
    }
    left_out.insert(what, error.to_string());
    Ok(())
}

fn named(partition: &Partition) -> String {
    format!("partition {} of topic '{}'", partition.number, partition.name)
}

fn numbers(topic: &MetadataTopic) -> Numbers {
    let mut numbers = Numbers::default();
    for partition in topic.partitions() {
        let Ok(number) = u32::try_from(partition.id()) else { continue };
        numbers.all.push(number);
        if partition.leader() < 0 {
            numbers.leaderless.insert(number);
        }
    }
    numbers.all.sort_unstable();
    numbers
}

impl Connector for KafkaConnector {
    fn find(&self, known: Option<&[Partition]>) -> Result<Vec<FoundPartition>> {
        let mut asking = self.asking.lock().unwrap_or_else(PoisonError::into_inner);
        let Asking { client, left_out: before } = &mut *asking;
        let client = match client {
            Some(client) => client,
            None => {
                let new = connect_to_ask(&self.properties)?;
                reach(&new, ASK_TIMEOUT)?;
                client.insert(new)
            }
        };
        let mut left_out = LeftOut::new();
        let startup = if known.is_some() { &StartupMode::Earliest } else { &self.source.startup };
        let mut found = Vec::new();
        for Listed { place, name, partitions: Numbers { all, leaderless } } in
            self.topics(client, known, &mut left_out)?
        {
            for partition in unknown(topic_partitions(place, &name, all)?, known) {
                let what = named(&partition);
                let patience =
                    if left_out.is_empty() { self.patience } else { self.patience.min(ASK_TIMEOUT_NEXT) };
                // At the start one that was just created may get its leader in the time of the question.
                let extent = match known.is_some() && leaderless.contains(&partition.number) {
                    true => Err(Error::away("it has no leader")),
                    false => self.extent(client, partition, startup, patience),
                };
                match extent {
                    Ok(partition) => found.push(partition),
                    Err(error) => leave_out(what, error, known, &mut left_out)?,
                }
            }
        }
        for (what, error) in left_out.iter().filter(|(what, _)| !before.contains_key(*what)) {
            tracing::warn!(%what, %error, "cannot be read yet, it is asked for again; the others are read");
        }
        *before = left_out;
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

#[cfg(test)]
mod tests;

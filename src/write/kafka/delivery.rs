//! Delivering records: at least once, in order per key.
//!
//! An idempotent producer keeps order and repeats by itself; when a delivery fails nevertheless (after
//! `message.timeout.ms`, or for good), a new producer sends everything that is not confirmed again, from the
//! beginning, so that the newest record of each key is the last one.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord};

use super::admin::{Prepared, Retired, TopicSpec, prepare};
use super::poller::Poller;
use super::reports::{Context, Reports};
use crate::error::{Error, Result};
use crate::kafka::refused_property;
use crate::settings;
use crate::time::Epoch;
use crate::write::Health;
use crate::write::backoff::{Backoff, stopped, until_it_works};

/// What a record needs besides key, value and headers.
const RECORD_OVERHEAD: usize = 128;
/// How often a waiting thread looks whether it has to stop.
const LOOK: Duration = Duration::from_millis(200);
/// Looks without any report after which the brokers count as away.
const LOOKS: u32 = 15;

/// A record to be delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::write) struct Message {
    pub(in crate::write) epoch: Epoch,
    pub(in crate::write) wall_ms: i64,
    /// Its place in what its epoch brought.
    pub(in crate::write) row: usize,
    pub(in crate::write) topic: Arc<str>,
    pub(in crate::write) key: Option<Vec<u8>>,
    pub(in crate::write) value: Option<Vec<u8>>,
}

/// A record that no broker takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::write) struct Refused {
    pub(in crate::write) epoch: Epoch,
    pub(in crate::write) row: usize,
    pub(in crate::write) error: String,
}

/// The way to the brokers.
pub(in crate::write) struct Delivery {
    name: String,
    config: ClientConfig,
    topics: Vec<TopicSpec>,
    /// The largest record of each topic.
    limits: HashMap<String, usize>,
    /// The client that asked for them, while it ends.
    asked: Retired,
    producer: Option<Poller>,
    unconfirmed: Vec<Message>,
    refused: Vec<Refused>,
    backoff: Backoff,
    health: Arc<Health>,
}

/// What a record weighs against `max.message.bytes`.
fn size(message: &Message) -> usize {
    let length = |bytes: &Option<Vec<u8>>| bytes.as_ref().map_or(0, Vec::len);
    length(&message.key) + length(&message.value) + RECORD_OVERHEAD
}

impl Delivery {
    /// Prepares for these topics; `properties` stand above those of the settings.
    pub(in crate::write) fn new(
        name: &str,
        servers: &str,
        settings: &settings::Kafka,
        properties: &BTreeMap<String, String>,
        topics: Vec<TopicSpec>,
        health: Arc<Health>,
    ) -> Self {
        let mut config = ClientConfig::new();
        let defaults = [
            ("client.id", "tidemill"),
            ("compression.type", "lz4"),
            ("partitioner", "murmur2_random"),
            ("message.timeout.ms", "50000"),
            ("queue.buffering.max.messages", "1000000"),
            ("retry.backoff.ms", "100"),
            ("reconnect.backoff.max.ms", "1000"),
            ("topic.metadata.refresh.interval.ms", "30000"),
        ];
        for (name, value) in defaults {
            config.set(name, value);
        }
        for (name, value) in settings.properties.iter().chain(properties) {
            config.set(name, value);
        }
        config.set("bootstrap.servers", servers).set("enable.idempotence", "true").set("acks", "all");
        Delivery {
            name: name.to_owned(),
            config,
            topics,
            limits: HashMap::new(),
            asked: Retired::default(),
            producer: None,
            unconfirmed: Vec::new(),
            refused: Vec::new(),
            backoff: Backoff::new(name),
            health,
        }
    }

    /// Waits for the brokers, creates what is missing, makes a producer.
    pub(in crate::write) fn open(&mut self) -> Result<()> {
        self.producer = None;
        if self.topics.is_empty() {
            return Ok(());
        }
        let prepared = || prepare(&self.config, &self.topics);
        let Prepared { limits, asked } = until_it_works(&self.name, &self.health, prepared)?;
        (self.limits, self.asked) = (limits, asked);
        let mut config = self.config.clone();
        let largest = self.limits.values().copied().max().unwrap_or_default();
        let smallest = self.limits.values().copied().min().unwrap_or_default();
        // A batch that a broker finds too large fails as a whole, and nobody can tell the culprit.
        config.set("message.max.bytes", largest.clamp(1_000, 1_000_000_000).to_string());
        config.set("batch.size", smallest.saturating_sub(RECORD_OVERHEAD).clamp(1, 1_000_000).to_string());
        let context = Context::default();
        let reports = context.0.clone();
        let producer: BaseProducer<Context> =
            config.create_with_context(context).map_err(refused_property)?;
        self.producer = Some(Poller::start(producer, reports)?);
        Ok(())
    }

    /// Prepares for one more topic, if it is one more. What is not confirmed is sent again, because the producer
    /// goes by the limits of all topics and is made anew.
    pub(in crate::write) fn add_topic(&mut self, topic: TopicSpec) -> Result<()> {
        if self.topics.iter().any(|known| known.name == topic.name) {
            return Ok(());
        }
        self.topics.push(topic);
        let again = std::mem::take(&mut self.unconfirmed);
        self.open()?;
        self.send(again)
    }

    /// The largest record, key and headers included, that a topic takes.
    pub(in crate::write) fn limit(&self, topic: &str) -> usize {
        self.limits.get(topic).map_or(usize::MAX, |limit| limit.saturating_sub(RECORD_OVERHEAD))
    }

    /// Hands records over; they are delivered once [`confirm`](Delivery::confirm) has returned.
    pub(in crate::write) fn send(&mut self, messages: Vec<Message>) -> Result<()> {
        for message in messages {
            let limit = self.limits.get(&*message.topic).copied().unwrap_or(usize::MAX);
            if size(&message) > limit {
                self.refuse(&message, limit);
                continue;
            }
            // What cannot be handed over is sent with the rest when the delivery is repeated.
            let failed = self.producer.as_ref().is_none_or(|producer| producer.reports().has_failed());
            if !failed {
                self.hand_over(&message)?;
            }
            self.unconfirmed.push(message);
        }
        Ok(())
    }

    /// Waits until everything is delivered, however often it has to be sent. Gives back what no broker takes.
    pub(in crate::write) fn confirm(&mut self) -> Result<Vec<Refused>> {
        let mut too_large = false;
        while !self.unconfirmed.is_empty() {
            let failure = match self.settle()? {
                None => break,
                Some(code) => code,
            };
            let error = Error::away("Kafka did not take all records")
                .caused_by(KafkaError::MessageProduction(failure));
            if is_final(failure) {
                return Err(Error::config("Kafka refuses to be written").caused_by(error));
            }
            // The limit of the topic was lowered: it is read again, and if that does not tell the culprit,
            // records are sent one by one.
            let one_by_one = too_large && failure == RDKafkaErrorCode::MessageSizeTooLarge;
            too_large = failure == RDKafkaErrorCode::MessageSizeTooLarge;
            self.backoff.wait(&self.name, &self.health, error)?;
            self.open()?;
            let again = std::mem::take(&mut self.unconfirmed);
            if one_by_one { self.send_one_by_one(again)? } else { self.send(again)? }
        }
        self.unconfirmed.clear();
        self.health.set_back(&self.name);
        self.backoff.reset();
        Ok(std::mem::take(&mut self.refused))
    }

    fn send_one_by_one(&mut self, messages: Vec<Message>) -> Result<()> {
        for message in messages {
            let limit = self.limit(&message.topic);
            self.send(vec![message.clone()])?;
            if self.settle()? == Some(RDKafkaErrorCode::MessageSizeTooLarge) {
                self.unconfirmed.pop();
                self.refuse(&message, limit);
                self.open()?;
            }
        }
        Ok(())
    }

    fn refuse(&mut self, message: &Message, limit: usize) {
        let error = format!(
            "a record of {} bytes is larger than topic {} takes (max.message.bytes = {limit})",
            size(message),
            message.topic
        );
        self.refused.push(Refused { epoch: message.epoch, row: message.row, error });
    }

    /// Gives a record to librdkafka; waits while its queue is full. Any other trouble shows in the reports.
    fn hand_over(&self, message: &Message) -> Result<()> {
        let Some(producer) = &self.producer else { return Ok(()) };
        let reports = producer.reports();
        let epoch = message.epoch.to_string();
        let mut silent = 0;
        loop {
            let headers =
                OwnedHeaders::new_with_capacity(1).insert(Header { key: "epoch", value: Some(&epoch) });
            let mut record =
                BaseRecord::<[u8], [u8]>::to(&message.topic).timestamp(message.wall_ms).headers(headers);
            record.key = message.key.as_deref();
            record.payload = message.value.as_deref();
            reports.expect();
            let Err(error) = producer.send(record) else { return Ok(()) };
            reports.take_back();
            if error.rdkafka_error_code() != Some(RDKafkaErrorCode::QueueFull) {
                reports.expect();
                reports.report(Some(&error));
                return Ok(());
            }
            let before = reports.count();
            silent = if reports.wait_for_one(before, LOOK).reports == before { silent + 1 } else { 0 };
            self.look(silent, reports)?;
        }
    }

    /// Waits for all reports; tells the first failure.
    fn settle(&self) -> Result<Option<RDKafkaErrorCode>> {
        let Some(producer) = &self.producer else {
            return Err(Error::internal("a Kafka sink was used before it was open"));
        };
        let reports = producer.reports();
        let (mut silent, mut before) = (0, 0);
        loop {
            producer.flush(LOOK / 2);
            let state = reports.wait(LOOK / 2);
            if state.under_way == 0 {
                return Ok(state.failed);
            }
            silent = if state.reports == before { silent + 1 } else { 0 };
            before = state.reports;
            self.look(silent, reports)?;
        }
    }

    /// After some time without any report the brokers are away; a stop does not wait for them.
    fn look(&self, silent: u32, reports: &Reports) -> Result<()> {
        if silent < LOOKS {
            return Ok(());
        }
        if let Some(refusal) = reports.heard.refusal() {
            return Err(refusal);
        }
        let error = Error::away(match reports.heard.trouble() {
            Some(trouble) => format!("Kafka does not answer: {trouble}"),
            None => "Kafka does not answer".to_owned(),
        });
        if self.health.stopping() {
            return Err(stopped(error));
        }
        self.health.set_away(&self.name, &error);
        Ok(())
    }
}

/// Errors that only a person can do something about.
fn is_final(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode::{
        Authentication, ClusterAuthorizationFailed, InvalidTopic, TopicAuthorizationFailed,
        UnsupportedVersion,
    };
    matches!(
        code,
        Authentication
            | ClusterAuthorizationFailed
            | InvalidTopic
            | TopicAuthorizationFailed
            | UnsupportedVersion
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    fn delivery(property: &str, value: &str) -> Delivery {
        let settings = settings::Kafka::default();
        let properties = BTreeMap::from([(property.to_owned(), value.to_owned())]);
        let topic = TopicSpec { name: "t".into(), partitions: 1, replication: 1 };
        Delivery::new("s", "127.0.0.1:9", &settings, &properties, vec![topic], Health::new())
    }

    #[test]
    fn a_wrong_property_is_named_without_its_value() {
        let error = delivery("no.such.property", "secret").open().expect_err("refused");
        assert_eq!(error.kind(), ErrorKind::Config);
        let text = error.to_string();
        assert!(text.contains("no.such.property") && !text.contains("secret"), "{text}");
    }

    #[test]
    fn what_keeps_records_safe_cannot_be_switched_off() {
        let config = delivery("acks", "0").config;
        assert_eq!((config.get("acks"), config.get("enable.idempotence")), (Some("all"), Some("true")));
        let own = delivery("linger.ms", "5").config;
        assert_eq!(own.get("linger.ms"), Some("5"));
    }

    #[test]
    fn a_stop_does_not_wait_for_brokers_that_are_away() {
        let mut delivery = delivery("client.id", "x");
        delivery.health.stop();
        assert_eq!(delivery.open().expect_err("stopped").kind(), ErrorKind::Away);
    }
}

//! A topic of a broker that simulated events fill.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::{ClientContext, DefaultClientContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer, ProducerContext, ThreadedProducer};

use crate::error::{Error, Result};
use crate::ingest::fleet::{SimulatedRecord, SimulatedSink};
use crate::kafka::{look_for_refusal, refused_property};
use crate::settings::Settings;

/// How long the broker may take for what is still under way at the end.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(60);

/// Counts deliveries that failed, so that none is missed in silence.
#[derive(Clone, Default)]
struct Deliveries(Arc<AtomicU64>);

impl ClientContext for Deliveries {}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if result.is_err() {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// One topic with a producer of its own.
pub struct KafkaTopic {
    producer: ThreadedProducer<Deliveries>,
    failed: Deliveries,
    topic: String,
    partitions: u32,
}

impl KafkaTopic {
    /// Connects, and creates the topic where it does not exist.
    pub fn open(servers: &str, settings: &Settings, topic: &str, count: u32) -> Result<Self> {
        let away = |error: KafkaError| match error {
            KafkaError::ClientConfig(..) | KafkaError::ClientCreation(_) => refused_property(error),
            error => Error::away(format!("no answer from Kafka at {servers}"))
                .caused_by(error)
                .hint("is the broker running, and is kafka.bootstrap_servers right?"),
        };
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", servers).set("enable.idempotence", "true").set("linger.ms", "5");
        settings.kafka.properties.iter().for_each(|(name, value)| {
            config.set(name, value);
        });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| Error::internal("cannot start a runtime").caused_by(error))?;
        let admin: AdminClient<DefaultClientContext> = config.create().map_err(away)?;
        let new = NewTopic::new(topic, count as i32, TopicReplication::Fixed(1));
        let options = AdminOptions::new().operation_timeout(Some(Duration::from_secs(10)));
        let created = runtime.block_on(admin.create_topics([&new], &options));
        if created.is_err() {
            // The client that asks does not tell why it has no connection.
            look_for_refusal(&config, Duration::from_secs(5))?;
        }
        let created = created.map_err(away)?;
        for result in created {
            if let Err((name, code)) = result
                && code != RDKafkaErrorCode::TopicAlreadyExists
            {
                return Err(Error::config(format!("cannot create topic {name}: {code}")));
            }
        }
        let failed = Deliveries::default();
        let producer: ThreadedProducer<_> = config.create_with_context(failed.clone()).map_err(away)?;
        let metadata = producer.client().fetch_metadata(Some(topic), FLUSH_TIMEOUT).map_err(away)?;
        let partitions = metadata.topics().first().map_or(1, |found| found.partitions().len().max(1));
        Ok(KafkaTopic { producer, failed, topic: topic.to_owned(), partitions: partitions as u32 })
    }

    /// Waits until everything is delivered.
    pub fn finish(&self) -> Result<()> {
        self.producer
            .flush(FLUSH_TIMEOUT)
            .map_err(|error| Error::away("the broker does not take what is under way").caused_by(error))?;
        match self.failed.0.load(Ordering::Relaxed) {
            0 => Ok(()),
            failed => Err(Error::away(format!("{failed} records were not delivered"))),
        }
    }
}

impl SimulatedSink for KafkaTopic {
    fn append(&mut self, record: &SimulatedRecord) -> Result<()> {
        let mut next = BaseRecord::to(&self.topic)
            .key(&record.key)
            .payload(&record.value)
            .partition((record.partition % self.partitions) as i32)
            .timestamp(record.time_ms);
        loop {
            match self.producer.send(next) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), refused)) => {
                    next = refused;
                    std::thread::park_timeout(Duration::from_millis(5));
                }
                Err((error, _)) => return Err(Error::away("cannot send a record").caused_by(error)),
            }
        }
    }

    fn flush(&mut self) -> Result<()> {
        Ok(())
    }
}

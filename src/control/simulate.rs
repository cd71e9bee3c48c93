//! `tidemill simulate`: fills a topic of a broker, or an embedded one, with simulated telemetry.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::{ClientContext, DefaultClientContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer, ProducerContext, ThreadedProducer};

use super::run::SimulateRequest;
use super::{progress, publish, shutdown};
use crate::error::{Error, Result};
use crate::ingest::fleet::{Fleet, SimulatedRecord, SimulatedSink, partitions};
use crate::kafka::{look_for_refusal, refused_property};
use crate::plan::Simulator;
use crate::settings::Settings;
use crate::topic_log::{TopicWriter, topic_directory};

/// How long the broker may take for what is still under way at the end.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(60);

/// Sends the telemetry of a fleet until its end, or until a signal.
pub fn fill(request: &SimulateRequest, settings: &Settings) -> Result<()> {
    let shutdown = shutdown::listen(settings.shutdown_timeout)?;
    let stop = Arc::new(AtomicBool::new(false));
    let flag = stop.clone();
    shutdown.on_request(move || flag.store(true, Ordering::Relaxed));
    let count = partitions(&request.simulator);
    let mut fleet = Fleet::new(&request.simulator, start_ms(&request.simulator, publish::wall_ms()));
    let sent = match &settings.kafka.bootstrap_servers {
        Some(servers) => {
            let mut topic = KafkaTopic::open(servers, settings, &request.topic, count)?;
            let sent = fleet.send(&stop, &mut topic)?;
            topic.finish()?;
            sent
        }
        None => {
            let directory = topic_directory(&settings.state_dir, &request.topic)?;
            fleet.send(&stop, &mut TopicWriter::open(&directory, count)?)?
        }
    };
    progress::say(&format!("{sent} records sent to topic {}\n", request.topic));
    Ok(())
}

/// Where simulated time begins so that no event is in the future: with a rate it is the clock, without one
/// every vehicle sends an event per second of simulated time, and the last ones are sent about now.
pub fn start_ms(simulator: &Simulator, now_ms: i64) -> i64 {
    /// For a stream without end: two days of every vehicle.
    const ENDLESS_S: u64 = 2 * 86_400;
    if simulator.rate > 0 {
        return now_ms;
    }
    let seconds = simulator.count.map_or(ENDLESS_S, |count| count / simulator.keys.max(1) + 1);
    now_ms.saturating_sub(i64::try_from(seconds).unwrap_or(i64::MAX).saturating_mul(1_000))
}

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

pub(super) struct KafkaTopic {
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

//! Topics of a broker, as a client sees them.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::metadata::MetadataTopic;
use rdkafka::producer::{BaseProducer, DeliveryResult, Producer, ProducerContext};
use rdkafka::{ClientConfig, ClientContext, Message, Offset, TopicPartitionList};
use tokio::runtime::Runtime;

/// How long a broker may take for one answer, on a machine that is busy with other things.
pub const TIMEOUT: Duration = Duration::from_secs(120);
/// How often it is asked.
const POLL: Duration = Duration::from_millis(20);

/// Keeps the first record that was not delivered.
#[derive(Default)]
pub struct Deliveries {
    failed: Mutex<Option<String>>,
}

impl ClientContext for Deliveries {}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Err((error, record)) = result {
            let mut failed = self.failed.lock().expect("no panic under this lock");
            failed.get_or_insert_with(|| format!("{} {}: {error}", record.topic(), record.partition()));
        }
    }
}

/// A producer, of which [`flush`] says whether every record has arrived.
pub fn producer(config: &ClientConfig) -> BaseProducer<Deliveries> {
    config.create_with_context(Deliveries::default()).expect("a producer")
}

/// Waits until all records are acknowledged.
pub fn flush(producer: &BaseProducer<Deliveries>) {
    assert_eq!(first_failed(producer), None, "a record was not delivered");
}

/// Waits until the broker has answered to all records; gives the first that it did not take.
pub fn first_failed(producer: &BaseProducer<Deliveries>) -> Option<String> {
    producer.flush(TIMEOUT).expect("all records acknowledged");
    producer.context().failed.lock().expect("no panic under this lock").clone()
}

/// The settings of a client of the broker at `bootstrap`.
pub fn client(bootstrap: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap);
    config
}

pub fn admin(bootstrap: &str) -> AdminClient<DefaultClientContext> {
    client(bootstrap).create().expect("an admin client")
}

/// Creates a topic with this configuration.
pub fn create(runtime: &Runtime, bootstrap: &str, name: &str, partitions: i32, config: &[(&str, &str)]) {
    // Records may be as old as a test says, and no broker deletes them for that.
    let mut topic = NewTopic::new(name, partitions, TopicReplication::Fixed(1)).set("retention.ms", "-1");
    topic.config.extend_from_slice(config);
    let created = runtime.block_on(admin(bootstrap).create_topics([&topic], &AdminOptions::new()));
    created.expect("an answer")[0].as_ref().expect("a topic");
    until_told(bootstrap, name, |topic| has_partitions(topic, partitions));
}

/// Whether a topic has so many partitions, and all can be written.
pub fn has_partitions(topic: &MetadataTopic, count: i32) -> bool {
    let mut partitions = topic.partitions().iter();
    topic.error().is_none()
        && partitions.len() == count as usize
        && partitions.all(|partition| partition.leader() >= 0)
}

/// Waits until the broker tells this of a topic. The controller, which has changed it, is a little ahead of that, and a
/// producer that is told too little drops its records.
pub fn until_told(bootstrap: &str, name: &str, is_so: impl Fn(&MetadataTopic) -> bool) {
    let client: BaseConsumer = client(bootstrap).create().expect("a client");
    let began = Instant::now();
    while !is_so(&client.fetch_metadata(Some(name), TIMEOUT).expect("metadata").topics()[0]) {
        assert!(began.elapsed() < TIMEOUT, "the broker does not tell of a change of {name}");
        std::thread::park_timeout(POLL);
    }
}

/// All records of a topic, as (key, value), as far as they go now.
pub fn consume(bootstrap: &str, topic: &str) -> Vec<(String, String)> {
    let mut config = client(bootstrap);
    let consumer: BaseConsumer = config.set("group.id", "none").create().expect("a consumer");
    let metadata = consumer.fetch_metadata(Some(topic), TIMEOUT).expect("metadata");
    let mut list = TopicPartitionList::new();
    let mut left = 0;
    for partition in metadata.topics()[0].partitions() {
        let (low, high) = consumer.fetch_watermarks(topic, partition.id(), TIMEOUT).expect("watermarks");
        left += high - low;
        list.add_partition_offset(topic, partition.id(), Offset::Beginning).expect("an offset");
    }
    consumer.assign(&list).expect("assigned");
    let mut records = Vec::new();
    while left > 0 {
        let record = consumer.poll(TIMEOUT).expect("a record in time").expect("no error");
        // A key may be any bytes: that of a dead letter is the one that its record had.
        let key = String::from_utf8_lossy(record.key().unwrap_or_default()).into_owned();
        let payload = String::from_utf8(record.payload().unwrap_or_default().to_vec()).expect("UTF-8");
        records.push((key, payload));
        left -= 1;
    }
    records
}

//! Topics of a broker, as a client sees them.

use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};
use tokio::runtime::Runtime;

pub const TIMEOUT: Duration = Duration::from_secs(30);

/// The settings of a client of the broker at `bootstrap`.
pub fn client(bootstrap: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap);
    config
}

pub fn admin(bootstrap: &str) -> AdminClient<DefaultClientContext> {
    client(bootstrap).create().expect("an admin client")
}

/// Creates a topic.
pub fn create(runtime: &Runtime, bootstrap: &str, name: &str, partitions: i32) {
    let topic = NewTopic::new(name, partitions, TopicReplication::Fixed(1));
    let created = runtime.block_on(admin(bootstrap).create_topics([&topic], &AdminOptions::new()));
    created.expect("an answer")[0].as_ref().expect("a topic");
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

//! A Kafka broker as a test sees it from outside: topics of its own, which are deleted at the end.

use std::env;
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};
use tokio::runtime::Runtime;

const TIMEOUT: Duration = Duration::from_secs(30);

/// A variable that `tests/services.py up kafka` prints.
pub fn setting(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| {
        panic!("{name} is not set: eval \"$(tests/services.py up kafka)\" starts a broker")
    })
}

/// The broker, with topics whose names begin with a prefix of this test's own.
pub struct Broker {
    pub bootstrap: String,
    pub prefix: String,
    runtime: Runtime,
    topics: Vec<String>,
}

impl Broker {
    pub fn new(test: &str) -> Broker {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let unique = RandomState::new().hash_one(std::process::id());
        let (bootstrap, prefix) = (setting("KAFKA_BOOTSTRAP"), format!("{test}_{unique:016x}"));
        Broker { bootstrap, prefix, runtime: runtime.expect("a runtime"), topics: Vec::new() }
    }

    /// The name of a topic of this test.
    pub fn name(&self, topic: &str) -> String {
        format!("{}.{topic}", self.prefix)
    }

    fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.bootstrap);
        config
    }

    fn admin(&self) -> AdminClient<DefaultClientContext> {
        self.client().create().expect("an admin client")
    }

    /// Creates a topic, and gives its name.
    pub fn create(&mut self, topic: &str, partitions: i32) -> String {
        let name = self.name(topic);
        let new = NewTopic::new(&name, partitions, TopicReplication::Fixed(1));
        let created = self.runtime.block_on(self.admin().create_topics([&new], &AdminOptions::new()));
        created.expect("an answer")[0].as_ref().expect("a topic");
        self.topics.push(name.clone());
        name
    }

    /// A topic that the product creates is deleted at the end of the test, too.
    pub fn delete_later(&mut self, name: &str) {
        self.topics.push(name.to_owned());
    }

    /// Gives a topic more partitions.
    pub fn grow(&self, name: &str, partitions: usize) {
        let new = NewPartitions::new(name, partitions);
        let grown = self.runtime.block_on(self.admin().create_partitions([&new], &AdminOptions::new()));
        grown.expect("an answer")[0].as_ref().expect("partitions");
    }

    /// Deletes a topic.
    pub fn delete(&mut self, name: &str) {
        self.topics.retain(|topic| topic != name);
        let deleted = self.runtime.block_on(self.admin().delete_topics(&[name], &AdminOptions::new()));
        deleted.expect("an answer")[0].as_ref().expect("deleted");
    }

    /// Appends records `{"value": "..."}` to a partition; `property` is one more of the producer.
    pub fn produce(
        &self,
        topic: &str,
        partition: i32,
        values: impl IntoIterator<Item = String>,
        property: Option<(&str, &str)>,
    ) {
        let mut config = self.client();
        property.into_iter().for_each(|(name, value)| {
            config.set(name, value);
        });
        let producer: BaseProducer = config.set("linger.ms", "5").create().expect("a producer");
        for value in values {
            let payload = format!(r#"{{"value": "{value}"}}"#);
            let record = BaseRecord::<str, str>::to(topic).partition(partition).payload(&payload);
            producer.send(record).map_err(|(error, _)| error).expect("queued");
        }
        producer.flush(TIMEOUT).expect("all records acknowledged");
    }
}

impl Broker {
    /// The values of all records of a topic.
    pub fn consume(&self, topic: &str) -> Vec<String> {
        let mut config = self.client();
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
        let mut values = Vec::new();
        while left > 0 {
            let record = consumer.poll(TIMEOUT).expect("a record in time").expect("no error");
            values.push(String::from_utf8(record.payload().unwrap_or_default().to_vec()).expect("UTF-8"));
            left -= 1;
        }
        values
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // What cannot be removed is not the test's failure; the services' directory is thrown away.
        let topics: Vec<&str> = self.topics.iter().map(String::as_str).collect();
        if !topics.is_empty() {
            let _ = self.runtime.block_on(self.admin().delete_topics(&topics, &AdminOptions::new()));
        }
    }
}

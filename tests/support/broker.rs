//! A Kafka broker as a test sees it from outside: topics of its own, which are deleted at the end.

use std::env;
use std::hash::{BuildHasher, RandomState};

use rdkafka::admin::{AdminOptions, NewPartitions};
use rdkafka::producer::BaseRecord;
use rdkafka::types::RDKafkaErrorCode;
use tokio::runtime::Runtime;

#[path = "topics.rs"]
pub mod topics;

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

    /// Creates a topic, and gives its name.
    pub fn create(&mut self, topic: &str, partitions: i32) -> String {
        let name = self.name(topic);
        topics::create(&self.runtime, &self.bootstrap, &name, partitions, &[]);
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
        let grown = self
            .runtime
            .block_on(topics::admin(&self.bootstrap).create_partitions([&new], &AdminOptions::new()));
        grown.expect("an answer")[0].as_ref().expect("partitions");
        topics::until_told(&self.bootstrap, name, |topic| topics::has_partitions(topic, partitions as i32));
    }

    /// Deletes a topic.
    pub fn delete(&mut self, name: &str) {
        self.topics.retain(|topic| topic != name);
        let deleted = self
            .runtime
            .block_on(topics::admin(&self.bootstrap).delete_topics(&[name], &AdminOptions::new()));
        deleted.expect("an answer")[0].as_ref().expect("deleted");
        // Else what is written to another one of this name may go to this one.
        let unknown = Some(RDKafkaErrorCode::UnknownTopicOrPartition);
        topics::until_told(&self.bootstrap, name, |topic| {
            topic.error().map(RDKafkaErrorCode::from) == unknown
        });
    }

    /// Appends records `{"value": "..."}` to a partition; `property` is one more of the producer.
    pub fn produce(
        &self,
        topic: &str,
        partition: i32,
        values: impl IntoIterator<Item = String>,
        property: Option<(&str, &str)>,
    ) {
        let mut config = topics::client(&self.bootstrap);
        property.into_iter().for_each(|(name, value)| {
            config.set(name, value);
        });
        let producer = topics::producer(config.set("linger.ms", "5"));
        for value in values {
            let payload = format!(r#"{{"value": "{value}"}}"#);
            let record = BaseRecord::<str, str>::to(topic).partition(partition).payload(&payload);
            producer.send(record).map_err(|(error, _)| error).expect("queued");
        }
        topics::flush(&producer);
    }

    /// The values of all records of a topic.
    pub fn consume(&self, topic: &str) -> Vec<String> {
        topics::consume(&self.bootstrap, topic).into_iter().map(|(_, value)| value).collect()
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // What cannot be removed is not the test's failure; the services' directory is thrown away.
        let topics: Vec<&str> = self.topics.iter().map(String::as_str).collect();
        if !topics.is_empty() {
            let _ = self
                .runtime
                .block_on(topics::admin(&self.bootstrap).delete_topics(&topics, &AdminOptions::new()));
        }
    }
}

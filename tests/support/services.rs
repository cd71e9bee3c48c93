//! Kafka and MongoDB as a test sees them from outside, and stopping and starting them.

use std::env;
use std::future::Future;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use mongodb::Collection;
use mongodb::bson::{Document, doc};
use mongodb::options::ClientOptions;
use rdkafka::admin::AdminOptions;
use rdkafka::producer::BaseRecord;
use tokio::runtime::Runtime;

use crate::process::until;

#[path = "topics.rs"]
pub mod topics;

/// A broker and a database of a test's own.
pub struct Services {
    pub bootstrap: String,
    pub mongodb_uri: String,
    pub database: String,
    client: mongodb::Client,
    runtime: Runtime,
    topics: Vec<String>,
    /// Dropped at the end of the test.
    pub databases: Vec<String>,
}

/// A setting that `./test` gives.
fn setting(name: &str) -> String {
    env::var(name)
        .unwrap_or_else(|_| panic!("{name} is not set: run the tests by ./test, which starts the services"))
}

impl Services {
    /// The services with the database `name`.
    pub fn new(name: &str) -> Services {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let mongodb_uri = setting("MONGODB_URI");
        let client = runtime.block_on(async {
            let mut options = ClientOptions::parse(&mongodb_uri).await?;
            options.server_selection_timeout = Some(Duration::from_secs(2));
            mongodb::Client::with_options(options)
        });
        Services {
            bootstrap: setting("KAFKA_BOOTSTRAP"),
            mongodb_uri,
            database: name.to_owned(),
            client: client.expect("a client"),
            runtime,
            topics: Vec::new(),
            databases: vec![name.to_owned()],
        }
    }

    fn collection(&self, name: &str) -> Collection<Document> {
        self.client.database(&self.database).collection(name)
    }

    fn wait<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    /// Creates a topic with this configuration; it is deleted at the end of the test.
    pub fn create_topic(&mut self, name: &str, partitions: i32, config: &[(&str, &str)]) {
        topics::create(&self.runtime, &self.bootstrap, name, partitions, config);
        self.delete_later(name);
    }

    /// A topic that the product creates is deleted at the end of the test, too.
    pub fn delete_later(&mut self, topic: &str) {
        self.topics.push(topic.to_owned());
    }

    /// Appends records to one partition each, in order.
    pub fn produce<'a>(&self, topic: &str, records: impl Iterator<Item = (i32, &'a str, &'a str)>) {
        let mut config = topics::client(&self.bootstrap);
        let producer = topics::producer(config.set("enable.idempotence", "true"));
        for (partition, key, payload) in records {
            let mut record = BaseRecord::to(topic).partition(partition).key(key).payload(payload);
            while let Err((error, refused)) = producer.send(record) {
                let full = error.rdkafka_error_code() == Some(rdkafka::types::RDKafkaErrorCode::QueueFull);
                assert!(full, "cannot produce: {error}");
                producer.poll(Duration::from_millis(100));
                record = refused;
            }
        }
        topics::flush(&producer);
    }

    /// All records of a topic, as (key, value).
    pub fn consume(&self, topic: &str) -> Vec<(String, String)> {
        topics::consume(&self.bootstrap, topic)
    }

    /// All documents of a collection. Waits for the server.
    pub fn documents(&self, collection: &str) -> Vec<Document> {
        self.documents_of(&self.database, collection)
    }

    /// The same of another database.
    pub fn documents_of(&self, database: &str, collection: &str) -> Vec<Document> {
        let find = || async {
            let mut cursor = self.client.database(database).collection(collection).find(doc! {}).await?;
            let mut documents = Vec::new();
            while cursor.advance().await? {
                documents.push(cursor.deserialize_current()?);
            }
            Ok::<_, mongodb::error::Error>(documents)
        };
        let mut found = None;
        until("the documents are read", String::new, || {
            found = self.wait(find()).ok();
            found.is_some()
        });
        found.expect("they are read")
    }

    /// Number of documents of a collection; none while the server is away.
    pub fn count(&self, collection: &str) -> u64 {
        let count = async { self.collection(collection).count_documents(doc! {}).await };
        self.wait(count).unwrap_or_default()
    }

    /// The number that the server keeps, at no cost. It is ahead of what can be read: documents that are being
    /// written count already.
    pub fn count_written(&self, collection: &str) -> u64 {
        let count = async { self.collection(collection).estimated_document_count().await };
        self.wait(count).unwrap_or_default()
    }
}

impl Drop for Services {
    fn drop(&mut self) {
        // What cannot be removed is not the test's failure; the services' directory is thrown away.
        if !self.topics.is_empty() {
            let topics: Vec<&str> = self.topics.iter().map(String::as_str).collect();
            let _ = self.wait(topics::admin(&self.bootstrap).delete_topics(&topics, &AdminOptions::new()));
        }
        for database in &self.databases {
            let _ = self.wait(async { self.client.database(database).drop().await });
        }
    }
}

/// Stops a service (`kafka`, `mongodb`) that `tests/services.py` has started.
pub fn stop(service: &str) {
    control("down", service);
}

/// Starts it again, on the same port and with the same data.
pub fn start(service: &str) {
    control("up", service);
}

fn control(action: &str, service: &str) {
    let pid = format!("{}_PID", service.to_uppercase());
    assert!(
        env::var_os(&pid).is_some(),
        "{pid} is not set: a test that stops {service} needs the one of ./test, not one of your own"
    );
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/services.py");
    let result = Command::new(script).args([action, service]).output().expect("tests/services.py");
    assert!(result.status.success(), "{action} {service}: {}", String::from_utf8_lossy(&result.stderr));
}

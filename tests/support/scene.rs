//! A dataflow of a test's own between real Kafka and real MongoDB.

use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use rdkafka::error::RDKafkaErrorCode;
use rdkafka::producer::BaseRecord;
use serde_json::Value;
use tempfile::TempDir;

use crate::process::{Cluster, check_ledger, tidemill};
use crate::services::{Services, topics};

/// A record of Kafka: its partition, key and payload.
pub type Record = (i32, Option<Vec<u8>>, Option<Vec<u8>>);

/// The dataflow, and the servers with topics and a database that nobody else uses.
pub struct Scene {
    pub services: Services,
    pub prefix: String,
    folder: TempDir,
}

impl Scene {
    pub fn new(test: &str) -> Scene {
        let prefix = format!("{test}_{:016x}", RandomState::new().hash_one(std::process::id()));
        let folder = tempfile::tempdir().expect("a folder");
        fs::create_dir(folder.path().join("dataflow")).expect("a folder");
        Scene { services: Services::new(&prefix), prefix, folder }
    }

    /// The text of the dataflow; topics have names of this test's own.
    pub fn dataflow(&self, sql: &str) -> &Self {
        fs::write(self.folder.path().join("dataflow/dataflow.sql"), sql).expect("a file");
        self
    }

    /// The name of a topic.
    pub fn topic(&self, name: &str) -> String {
        format!("{}.{name}", self.prefix)
    }

    /// Creates a topic that takes records of this size, and gives its name.
    pub fn create(&mut self, name: &str, partitions: i32, bytes_max: usize) -> String {
        let topic = self.topic(name);
        let bytes_max = bytes_max.to_string();
        self.services.create_topic(&topic, partitions, &[("max.message.bytes", &bytes_max)]);
        topic
    }

    /// Appends records of any bytes.
    pub fn produce(&self, topic: &str, records: &[Record]) {
        let mut config = topics::client(&self.services.bootstrap);
        config.set("enable.idempotence", "true").set("message.max.bytes", "10000000");
        let producer = topics::producer(&config);
        for (partition, key, payload) in records {
            let mut record = BaseRecord::<[u8], [u8]>::to(topic).partition(*partition);
            record.key = key.as_deref();
            record.payload = payload.as_deref();
            while let Err((error, refused)) = producer.send(record) {
                let full = error.rdkafka_error_code() == Some(RDKafkaErrorCode::QueueFull);
                assert!(full, "cannot produce: {error}");
                producer.poll(Duration::from_millis(100));
                record = refused;
            }
        }
        topics::flush(&producer);
    }

    /// The state directory of a process.
    pub fn state(&self, process: usize) -> PathBuf {
        self.folder.path().join(format!("state-{process}"))
    }

    /// A file that a sink has written.
    pub fn file(&self, name: &str) -> String {
        fs::read_to_string(self.folder.path().join("dataflow").join(name)).unwrap_or_default()
    }

    /// Starts the dataflow with further arguments; its collections are in the database `database`.
    pub fn start(&self, workers: usize, processes: usize, database: &str, arguments: &[&str]) -> Cluster {
        Cluster::spawn(processes, |process| {
            let mut command: Command = tidemill(&["run", "--no-http", "--print-interval", "0s"]);
            command.arg(self.folder.path().join("dataflow"));
            command.args(["--workers", &workers.to_string()]).args(arguments);
            command.arg("--state-dir").arg(self.state(process));
            command.envs([
                ("TIDEMILL_KAFKA__BOOTSTRAP_SERVERS", self.services.bootstrap.as_str()),
                ("TIDEMILL_MONGODB__URI", &self.services.mongodb_uri),
                ("TIDEMILL_MONGODB__DATABASE", database),
            ]);
            command
        })
    }

    /// Runs it over what there is, to its good end. Gives the ledger, and what was printed.
    pub fn run_to_the_end(&self, workers: usize, processes: usize, arguments: &[&str]) -> (Value, String) {
        let arguments = [&["--bounded"], arguments].concat();
        let mut cluster = self.start(workers, processes, &self.services.database, &arguments);
        let codes = cluster.wait();
        assert!(codes.iter().all(|code| *code == Some(0)), "ended with {codes:?}\n{}", cluster.log());
        let ledger = cluster.ledger();
        check_ledger(&ledger);
        (ledger, cluster.log())
    }
}

/// Asks all processes to stop, and checks that they end well. Gives the ledger.
pub fn stop(cluster: &mut Cluster) -> Value {
    for process in &cluster.processes {
        let status = Command::new("kill").args(["-TERM", &process.child.id().to_string()]).status();
        assert!(status.expect("kill").success());
    }
    let codes = cluster.wait();
    assert!(codes.iter().all(|code| *code == Some(0)), "ended with {codes:?}\n{}", cluster.log());
    cluster.ledger()
}

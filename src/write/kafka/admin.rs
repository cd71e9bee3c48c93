//! What is asked of the brokers before anything is sent: that topics exist, and how large records may be.

use std::collections::HashMap;
use std::thread::JoinHandle;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::{
    AdminClient, AdminOptions, NewTopic, OwnedResourceSpecifier, ResourceSpecifier, TopicReplication,
};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use tokio::runtime::Runtime;

use crate::error::{Error, ErrorKind, Result};
use crate::kafka::{look_for_refusal, refused_property};

/// How long the brokers may take to answer.
const REQUEST: Duration = Duration::from_secs(5);
/// What a topic takes unless it is configured otherwise.
const MAX_MESSAGE_BYTES: usize = 1_048_588;

/// A topic that must exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::write) struct TopicSpec {
    pub(in crate::write) name: String,
    pub(in crate::write) partitions: i32,
    /// -1: as the brokers do by default.
    pub(in crate::write) replication: i32,
}

/// What the brokers said.
#[derive(Debug)]
pub(super) struct Prepared {
    /// The largest record of each topic, in bytes.
    pub(super) limits: HashMap<String, usize>,
    pub(super) asked: Retired,
}

/// A client that is no longer needed and ends beside us: its thread looks only every 100 ms whether it has to, and
/// nothing would be read until then. Whoever drops this waits for the rest.
#[derive(Debug, Default)]
pub(super) struct Retired(Option<JoinHandle<()>>);

impl Retired {
    fn end(client: AdminClient<DefaultClientContext>) -> Result<Self> {
        let thread = std::thread::Builder::new().name("kafka admin ends".to_owned());
        let thread = thread.spawn(move || drop(client));
        let thread = thread.map_err(|error| Error::internal("cannot start a thread").caused_by(error))?;
        Ok(Retired(Some(thread)))
    }
}

impl Drop for Retired {
    /// Its threads must not run any more while the process ends, and OpenSSL with it.
    fn drop(&mut self) {
        if let Some(thread) = self.0.take() {
            // A panic in there has ended the process already.
            let _ = thread.join();
        }
    }
}

/// Creates the topics that are missing and reads the largest record that each takes.
pub(super) fn prepare(config: &ClientConfig, topics: &[TopicSpec]) -> Result<Prepared> {
    let prepared = ask(config, topics);
    if prepared.as_ref().is_err_and(|error| error.kind() == ErrorKind::Away) {
        // The client that asks does not tell why it has no connection.
        look_for_refusal(config, REQUEST)?;
    }
    prepared
}

fn ask(config: &ClientConfig, topics: &[TopicSpec]) -> Result<Prepared> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let runtime = runtime.map_err(|error| Error::internal("cannot start a runtime").caused_by(error))?;
    let admin: AdminClient<DefaultClientContext> = config.create().map_err(refused_property)?;
    let options = AdminOptions::new().request_timeout(Some(REQUEST)).operation_timeout(Some(REQUEST));
    create(&runtime, &admin, &options, topics)?;
    let names: Vec<_> = topics.iter().map(|topic| ResourceSpecifier::Topic(&topic.name)).collect();
    let configs = runtime.block_on(admin.describe_configs(&names, &options)).map_err(silent)?;
    let mut limits: HashMap<String, usize> =
        topics.iter().map(|topic| (topic.name.clone(), MAX_MESSAGE_BYTES)).collect();
    for config in configs {
        match config {
            Ok(config) => {
                let limit =
                    config.get("max.message.bytes").and_then(|entry| entry.value.as_ref()?.parse().ok());
                if let (OwnedResourceSpecifier::Topic(topic), Some(limit)) = (config.specifier, limit) {
                    limits.insert(topic, limit);
                }
            }
            // Who may not read the configuration goes by the default.
            Err(RDKafkaErrorCode::TopicAuthorizationFailed) => {}
            Err(code) => return Err(silent(KafkaError::AdminOp(code))),
        }
    }
    Ok(Prepared { limits, asked: Retired::end(admin)? })
}

fn create(
    runtime: &Runtime,
    admin: &AdminClient<DefaultClientContext>,
    options: &AdminOptions,
    topics: &[TopicSpec],
) -> Result<()> {
    let new: Vec<_> = topics
        .iter()
        .map(|topic| NewTopic::new(&topic.name, topic.partitions, TopicReplication::Fixed(topic.replication)))
        .collect();
    for created in runtime.block_on(admin.create_topics(&new, options)).map_err(silent)? {
        use RDKafkaErrorCode::{
            InvalidPartitions, InvalidReplicationFactor, InvalidTopic, PolicyViolation, TopicAlreadyExists,
            TopicAuthorizationFailed,
        };
        let Err((topic, code)) = created else { continue };
        let text = format!("topic {topic} cannot be created");
        match code {
            // A topic that is there needs nobody who may create it; one that is not shows when it is written.
            TopicAlreadyExists | TopicAuthorizationFailed => {}
            InvalidPartitions | InvalidReplicationFactor | InvalidTopic | PolicyViolation => {
                return Err(Error::config(text)
                    .caused_by(KafkaError::AdminOp(code))
                    .hint("see the options `topic`, `partitions` and `replication` of the sink"));
            }
            _ => return Err(Error::away(text).caused_by(KafkaError::AdminOp(code))),
        }
    }
    Ok(())
}

fn silent(error: KafkaError) -> Error {
    Error::away("Kafka does not answer").caused_by(error)
}

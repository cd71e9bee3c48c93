//! A dataflow on topics and collections of its own, so that measuring it leaves what exists alone.

use std::collections::BTreeMap;
use std::path::Path;

use crate::plan::{Format, KafkaSource, Plan, SinkConnector, SourceConnector, StartupMode, Topics};

/// What stands before names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Redirect {
    /// A source reads the topic of this and its own name.
    pub sources: Option<String>,
    /// Put before the names of the topics and collections that are written; files are written into the state
    /// directory.
    pub sinks: Option<String>,
}

/// The topic of a source, or the topic or collection of a sink.
pub fn redirected(prefix: &str, name: &str) -> String {
    format!("{prefix}{name}")
}

/// The file of a file sink.
pub fn file_of(state_dir: &Path, sink: &str) -> String {
    state_dir.join("files").join(format!("{sink}.jsonl")).display().to_string()
}

impl Redirect {
    /// Changes where a dataflow reads and writes.
    pub fn apply(&self, plan: &mut Plan, state_dir: &Path) {
        for source in &mut plan.sources {
            let Some(prefix) = &self.sources else { break };
            // The events of a benchmark are JSON, whatever the source reads otherwise.
            source.format = Format::Json;
            let properties = match &source.connector {
                SourceConnector::Kafka(kafka) => kafka.properties.clone(),
                _ => BTreeMap::new(),
            };
            source.connector = SourceConnector::Kafka(KafkaSource {
                topics: Topics::Named(vec![redirected(prefix, &source.name)]),
                find_interval: None,
                startup: StartupMode::Earliest,
                properties,
            });
        }
        for sink in &mut plan.sinks {
            let Some(prefix) = &self.sinks else { break };
            match &mut sink.connector {
                SinkConnector::Kafka(kafka) => kafka.topic = redirected(prefix, &kafka.topic),
                SinkConnector::MongoDb(mongo) => mongo.collection = redirected(prefix, &mongo.collection),
                SinkConnector::File(file) => file.path = file_of(state_dir, &sink.name),
                SinkConnector::Stdout | SinkConnector::Blackhole => {}
            }
        }
    }
}

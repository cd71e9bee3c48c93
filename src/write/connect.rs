//! From the sink of a plan to the object that writes.

use std::path::PathBuf;
use std::sync::Arc;

use super::blackhole::Blackhole;
use super::file::FileSink;
use super::stdout::Stdout;
use super::topic::EmbeddedTopic;
use super::{Health, Sink, kafka, mongodb, sqlite};
use crate::error::Result;
use crate::plan::{self, SinkConnector};
use crate::record::PartitionNames;
use crate::settings::Settings;

/// What a sink needs to know besides the plan and the settings.
#[derive(Clone, Debug)]
pub struct Context {
    /// The directory of the dataflow: where relative paths start.
    pub directory: PathBuf,
    /// Whether the run ends with its input.
    pub bounded: bool,
    /// Where every sink writes a file `<sink>.jsonl` (or `.csv`) instead of what its connector says.
    pub output: Option<PathBuf>,
    /// Whether rows are counted and written nowhere, whatever the connector says.
    pub blackhole: bool,
    /// Names of the partitions in origins.
    pub partitions: Arc<PartitionNames>,
}

/// The object that writes what reaches `sink`; nothing is connected before it is opened.
pub fn connect(
    sink: &plan::Sink,
    settings: &Settings,
    context: &Context,
    health: Arc<Health>,
) -> Result<Box<dyn Sink>> {
    let file = |path: PathBuf| Box::new(FileSink::new(sink, path, context.bounded, health.clone()));
    if context.blackhole {
        return Ok(Box::new(Blackhole::default()));
    }
    if let Some(output) = &context.output {
        return Ok(file(output.join(format!("{}.{}", sink.name, sink.format.extension()))));
    }
    match &sink.connector {
        SinkConnector::File(target) => Ok(file(context.directory.join(&target.path))),
        SinkConnector::Stdout => Ok(Box::new(Stdout::new(sink))),
        SinkConnector::Blackhole => Ok(Box::new(Blackhole::default())),
        SinkConnector::MongoDb(target) => Ok(match &settings.mongodb.uri {
            Some(uri) => {
                Box::new(mongodb::Collection::new(sink, target, uri, &settings.mongodb, context, health))
            }
            None => Box::new(sqlite::Collection::new(sink, target, &settings.state_dir, context, health)),
        }),
        SinkConnector::Kafka(target) => match &settings.kafka.bootstrap_servers {
            Some(servers) => Ok(Box::new(kafka::Topic::new(sink, target, servers, &settings.kafka, health))),
            None => Ok(Box::new(EmbeddedTopic::new(sink, target, &settings.state_dir, health)?)),
        },
    }
}

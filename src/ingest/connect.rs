//! From the source of a plan to the connector that reads it.

use std::path::PathBuf;
use std::sync::Arc;

use super::Connector;
use super::file::FileConnector;
use super::kafka::{KafkaConnector, KafkaOptions};
use super::simulator::SimulatorConnector;
use super::topic::TopicConnector;
use crate::error::{Error, Result};
use crate::plan::{ColumnOrigin, FileSource, Metadata, Simulator, Source, SourceConnector};
use crate::settings::Settings;

/// What a source needs to know besides the plan and the settings.
#[derive(Clone, Debug)]
pub struct Context {
    /// The directory of the dataflow: where relative paths start.
    pub directory: PathBuf,
    /// Whether the run ends with its input.
    pub bounded: bool,
    /// Where every source reads `<source>.jsonl` (or `.csv`), or the folder `<source>/`, instead of what its connector says.
    pub input: Option<PathBuf>,
    /// Stands for the connectors of all sources.
    pub simulator: Option<Simulator>,
    /// Topics that the dataflow writes.
    pub sink_topics: Vec<String>,
    /// Where simulated time begins, milliseconds since the Unix epoch.
    pub start_ms: i64,
}

/// The connector that reads `source`; nothing is connected before it is asked for partitions.
pub fn connect(source: &Source, settings: &Settings, context: &Context) -> Result<Arc<dyn Connector>> {
    if let Some(input) = &context.input {
        return input_file(source, input);
    }
    let simulate = |simulator: &Simulator| -> Arc<dyn Connector> {
        let (name, start_ms) = (&source.name, context.start_ms);
        match context.bounded {
            true => Arc::new(SimulatorConnector::bounded(name, simulator, start_ms)),
            false => Arc::new(SimulatorConnector::live(name, simulator, start_ms)),
        }
    };
    if let Some(simulator) = &context.simulator {
        return Ok(simulate(&simulator.standing_for(source)));
    }
    Ok(match &source.connector {
        SourceConnector::Simulator(simulator) => simulate(simulator),
        SourceConnector::File(file) => {
            // A bounded run reads what there is.
            let file = &FileSource { monitor: file.monitor.filter(|_| !context.bounded), ..file.clone() };
            Arc::new(FileConnector::new(&context.directory, file, &source.format, source.max_record_bytes))
        }
        SourceConnector::Kafka(kafka) if settings.kafka.bootstrap_servers.is_none() => {
            let sinks = context.sink_topics.clone();
            Arc::new(TopicConnector::new(&settings.state_dir, kafka, sinks, context.bounded))
        }
        SourceConnector::Kafka(kafka) => {
            let from_headers = ColumnOrigin::Metadata(Metadata::Headers);
            let headers = source.columns.iter().any(|column| column.from == from_headers);
            let sinks = context.sink_topics.clone();
            let options = KafkaOptions { bounded: context.bounded, headers, sinks };
            Arc::new(KafkaConnector::new(kafka, &settings.kafka, options)?)
        }
    })
}

/// `<input>/<source>`, a folder with one file per partition, or `<input>/<source>.jsonl` (`.csv`), plain or gzip.
fn input_file(source: &Source, input: &std::path::Path) -> Result<Arc<dyn Connector>> {
    let extension = source.format.extension();
    let names = ["".to_owned(), format!(".{extension}"), format!(".{extension}.gz")]
        .map(|e| format!("{}{e}", source.name));
    let Some(path) = names.iter().find(|name| input.join(name).exists()) else {
        let message = format!("no input for source \"{}\" in {}", source.name, input.display());
        return Err(Error::config(message).hint(format!("expected {}", names.join(" or "))));
    };
    let file = FileSource { path: path.clone(), monitor: None, replay_milli: None };
    Ok(Arc::new(FileConnector::new(input, &file, &source.format, source.max_record_bytes)))
}

//! How many rows stand at the sinks of a dataflow after a run: read back from where they were written.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::redirect::file_of;
use crate::error::{Error, Result};
use crate::ingest::kafka::{KafkaConnector, KafkaOptions};
use crate::ingest::topic::TopicConnector;
use crate::ingest::{Connector, RecordSink};
use crate::plan::{KafkaSource, Plan, Sink, SinkConnector, StartupMode, Topics, WriteMode};
use crate::record::Record;
use crate::settings::Settings;
use crate::write::sqlite;

/// Number of rows by sink.
pub type Rows = BTreeMap<String, u64>;

const MAX_WAIT: Duration = Duration::from_millis(100);

/// The rows in the files of a run with `--output`.
pub fn in_files(plan: &Plan, folder: &Path) -> Result<Rows> {
    let count = |sink: &Sink| Ok((sink.name.clone(), lines(&folder.join(format!("{}.jsonl", sink.name)))?));
    plan.sinks.iter().map(count).collect()
}

/// The rows that sinks have emitted by the ledger of a run.
pub fn in_ledger(plan: &Plan, ledger: &Value) -> Rows {
    let count = |sink: &Sink| {
        let end = format!("->{}", sink.name);
        let legs = ledger["legs"].as_array().into_iter().flatten();
        let mine = legs.filter(|leg| leg["leg"].as_str().is_some_and(|name| name.ends_with(&end)));
        (sink.name.clone(), mine.filter_map(|leg| leg["emitted"].as_u64()).sum())
    };
    plan.sinks.iter().map(count).collect()
}

/// The rows in topics, collections and files; of sinks that keep nothing, those of the ledger.
pub fn outside(plan: &Plan, settings: &Settings, ledger: &Value) -> Result<Rows> {
    let mut rows = in_ledger(plan, ledger);
    for sink in &plan.sinks {
        let count = match &sink.connector {
            SinkConnector::Kafka(kafka) => records(&kafka.topic, kafka.mode, settings)?,
            SinkConnector::MongoDb(mongo) => documents(mongo, settings)?,
            SinkConnector::File(_) => lines(Path::new(&file_of(&settings.state_dir, &sink.name)))?,
            SinkConnector::Stdout | SinkConnector::Blackhole => continue,
        };
        rows.insert(sink.name.clone(), count);
    }
    Ok(rows)
}

fn lines(path: &Path) -> Result<u64> {
    let text = std::fs::read(path)
        .map_err(|error| Error::config(format!("cannot read '{}'", path.display())).caused_by(error))?;
    Ok(text.iter().filter(|byte| **byte == b'\n').count() as u64)
}

/// Records of a topic; of one that is upserted, the keys whose last record is no tombstone.
fn records(topic: &str, mode: WriteMode, settings: &Settings) -> Result<u64> {
    let source = KafkaSource {
        topics: Topics::Named(vec![topic.to_owned()]),
        find_interval: None,
        startup: StartupMode::Earliest,
        properties: BTreeMap::new(),
    };
    let connector: Arc<dyn Connector> = match settings.kafka.bootstrap_servers {
        Some(_) => {
            let options = KafkaOptions { bounded: true, ..KafkaOptions::default() };
            Arc::new(KafkaConnector::new(&source, &settings.kafka, options)?)
        }
        None => Arc::new(TopicConnector::new(&settings.state_dir, &source, Vec::new(), true)),
    };
    let partitions = connector.find(None)?;
    let mut reader = connector.open(&partitions)?;
    let mut found =
        Found { by_key: mode == WriteMode::Upsert, ended: vec![false; partitions.len()], ..Found::default() };
    while found.ended.contains(&false) {
        let wanted: Vec<bool> = found.ended.iter().map(|ended| !ended).collect();
        reader.read(&wanted, MAX_WAIT, &mut found)?;
    }
    let live = found.keys.values().filter(|live| **live).count() as u64;
    Ok(if found.by_key { live } else { found.records })
}

#[derive(Default)]
struct Found {
    by_key: bool,
    records: u64,
    /// Whether the last record of a key has a value.
    keys: HashMap<Vec<u8>, bool>,
    ended: Vec<bool>,
}

impl RecordSink for Found {
    fn record(&mut self, _partition: usize, record: &Record<'_>) {
        self.records += 1;
        if self.by_key {
            self.keys.insert(record.key.unwrap_or_default().to_vec(), record.payload.is_some());
        }
    }

    fn caught_up(&mut self, _partition: usize, _next: u64) {}

    fn ended(&mut self, partition: usize) {
        self.ended[partition] = true;
    }
}

fn documents(sink: &crate::plan::MongoSink, settings: &Settings) -> Result<u64> {
    let Some(uri) = &settings.mongodb.uri else {
        return sqlite::count(&settings.state_dir, &sink.collection);
    };
    let failed = |error: mongodb::error::Error| Error::away("cannot count documents").caused_by(error);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Error::internal("cannot start a runtime").caused_by(error))?;
    runtime.block_on(async {
        let client = mongodb::Client::with_uri_str(uri.expose()).await.map_err(failed)?;
        let database = client.database(sink.database.as_deref().unwrap_or(&settings.mongodb.database));
        let collection = database.collection::<mongodb::bson::Document>(&sink.collection);
        collection.count_documents(mongodb::bson::doc! {}).await.map_err(failed)
    })
}

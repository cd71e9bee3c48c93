//! Watches views, topics and collections for rows, each on a thread of its own, and notes when a row was seen.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use mongodb::bson::{Bson, Document, doc};
use serde_json::Value;

use super::send::{Sample, time_ms};
use super::target::Identity;
use super::tracker::Tracker;
use crate::control::query;
use crate::error::{Error, Result};
use crate::ingest::kafka::{KafkaConnector, KafkaOptions};
use crate::ingest::{Connector, Reader, RecordSink};
use crate::plan::{KafkaSource, StartupMode, Topics};
use crate::record::Record;
use crate::settings::Settings;

/// How long a watcher waits for something before it looks whether it shall stop.
const WAIT: Duration = Duration::from_millis(100);
/// Between two looks at a row that is not there yet.
const LOOK: Duration = Duration::from_millis(1);

/// What every watcher has.
#[derive(Clone)]
pub struct Watching {
    pub tracker: Arc<Tracker>,
    /// Index of the target.
    pub target: usize,
    pub identity: Identity,
    pub stop: Arc<AtomicBool>,
}

impl Watching {
    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn saw(&self, row: &Value, at: Instant) {
        let key = row.get(&self.identity.key.0).and_then(Value::as_str);
        let time = row.get(&self.identity.time.0).and_then(time_ms);
        if let (Some(key), Some(time)) = (key, time) {
            self.tracker.seen(self.target, key, time, at);
        }
    }

    /// Asks the HTTP server at `address` for the rows of samples, in the order in which they were sent, until
    /// each shows its event or a newer one, or until that has taken too long; then it counts as lost.
    pub fn view(&self, address: &str, view: &str, samples: &Receiver<Sample>, grace: Duration) {
        while !self.stopped() {
            let sample = match samples.recv_timeout(WAIT) {
                Ok(sample) => sample,
                Err(RecvTimeoutError::Timeout) => continue,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            // One that never shows must not hide those behind it.
            let since = Instant::now();
            while !self.stopped() && since.elapsed() < grace {
                // A row that is not there yet is an error of the query, too.
                let row = query::get(address, view, Some(&sample.key)).ok();
                let row = row.and_then(|row| serde_json::from_str::<Value>(&row).ok());
                let time = row.as_ref().and_then(|row| row.get(&self.identity.time.0)).and_then(time_ms);
                if time.is_some_and(|time| time >= sample.time_ms) {
                    self.tracker.seen(self.target, &sample.key, sample.time_ms, Instant::now());
                    break;
                }
                std::thread::park_timeout(LOOK);
            }
        }
    }

    /// Reads a topic from its end.
    pub fn topic(&self, mut reader: Box<dyn Reader>, partitions: usize) -> Result<()> {
        let wanted = vec![true; partitions];
        while !self.stopped() {
            reader.read(&wanted, WAIT, &mut Rows(self))?;
        }
        Ok(())
    }

    /// Watches a collection by a change stream, which shows what a majority has.
    pub fn collection(&self, changes: Changes) -> Result<()> {
        let Changes { runtime, mut stream } = changes;
        runtime.block_on(async {
            while !self.stopped() && stream.is_alive() {
                let change = stream.next_if_any().await.map_err(away)?;
                let at = Instant::now();
                if let Some(change) = change {
                    self.saw(&Value::from(shown(change)), at);
                }
            }
            Ok(())
        })
    }
}

/// Rows of a topic.
struct Rows<'a>(&'a Watching);

impl RecordSink for Rows<'_> {
    fn record(&mut self, _partition: usize, record: &Record<'_>) {
        let at = Instant::now();
        // A tombstone shows no event.
        let row = record.payload.and_then(|payload| serde_json::from_slice::<Value>(payload).ok());
        if let Some(row) = row {
            self.0.saw(&row, at);
        }
    }

    fn caught_up(&mut self, _partition: usize, _next: u64) {}

    fn ended(&mut self, _partition: usize) {}
}

/// A reader at the end of a topic, and the number of its partitions.
pub fn open_topic(topic: &str, settings: &Settings) -> Result<(Box<dyn Reader>, usize)> {
    let source = KafkaSource {
        topics: Topics::Named(vec![topic.to_owned()]),
        find_interval: None,
        startup: StartupMode::Latest,
        // What is measured shall not be the watcher.
        properties: [("fetch.wait.max.ms".to_owned(), "5".to_owned())].into(),
    };
    let options = KafkaOptions::default();
    let connector = KafkaConnector::new(&source, &settings.kafka, options)?;
    let partitions = connector.find(None)?;
    Ok((connector.open(&partitions)?, partitions.len()))
}

/// An open change stream.
pub struct Changes {
    runtime: tokio::runtime::Runtime,
    stream: mongodb::change_stream::ChangeStream<Document>,
}

/// Opens a change stream of a collection that shows the columns of an event's identity.
pub fn open_collection(
    (database, collection): (Option<&str>, &str),
    identity: &Identity,
    settings: &Settings,
) -> Result<Changes> {
    let uri = settings.mongodb.uri.as_ref().ok_or_else(|| Error::config("there is no MongoDB to watch"))?;
    let database = database.unwrap_or(&settings.mongodb.database);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Error::internal("cannot start a runtime").caused_by(error))?;
    // A new document is shown whole, of an update what it has changed; a key that is `_id` stands in both.
    let shown = |name: &str| {
        let (whole, changed) =
            (format!("$fullDocument.{name}"), format!("$updateDescription.updatedFields.{name}"));
        doc! { "$ifNull": [whole, changed] }
    };
    let key = doc! { "$ifNull": [shown(&identity.key.0), "$documentKey._id"] };
    let project = doc! { "$project": { &identity.key.0: key, &identity.time.0: shown(&identity.time.0) } };
    let stream = runtime.block_on(async {
        let client = mongodb::Client::with_uri_str(uri.expose()).await?;
        let collection = client.database(database).collection::<Document>(collection);
        Ok(collection.watch().pipeline([project]).await?.with_type::<Document>())
    });
    Ok(Changes { runtime, stream: stream.map_err(away)? })
}

fn away(error: mongodb::error::Error) -> Error {
    Error::away("cannot watch a collection").caused_by(error)
}

/// The fields of a change, with dates as numbers of milliseconds.
fn shown(change: Document) -> serde_json::Map<String, Value> {
    let value = |value: Bson| match value {
        Bson::DateTime(time) => Value::from(time.timestamp_millis()),
        Bson::String(text) => Value::from(text),
        Bson::Int32(number) => Value::from(number),
        Bson::Int64(number) => Value::from(number),
        _ => Value::Null,
    };
    change.into_iter().map(|(name, field)| (name, value(field))).collect()
}

/// Waits until the HTTP server at `address` says that the dataflow runs.
pub fn until_ready(address: &str, timeout: Duration) -> Result<()> {
    let began = Instant::now();
    loop {
        let answer = ureq::get(format!("http://{address}/readyz")).call();
        match answer {
            Ok(_) => return Ok(()),
            Err(error) if began.elapsed() > timeout => {
                return Err(
                    Error::away(format!("the dataflow is not ready after {timeout:?}")).caused_by(error)
                );
            }
            Err(_) => std::thread::park_timeout(WAIT),
        }
    }
}

//! The loop of bulk writes that a sink is compared with, and what both have written.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use mongodb::bson::{Document, RawArrayBuf, RawBson, RawBsonRef, RawDocument, RawDocumentBuf, doc, rawdoc};
use mongodb::{Client, Database};
use tokio::runtime::Runtime;

use crate::error::{Error, Result};
use crate::plan::{Sink, SinkConnector, WriteMode};
use crate::record::PartitionNames;
use crate::settings::Secret;
use crate::write::{Changes, mongodb_commands};

/// A connection with the defaults of the driver.
pub(super) struct Server {
    runtime: Runtime,
    database: Database,
    /// Commands that are under way at a time.
    in_flight: usize,
}

impl Server {
    pub(super) fn connect(uri: &Secret, database: &str, in_flight: usize) -> Result<Server> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.map_err(|error| Error::internal("cannot start a runtime").caused_by(error))?;
        let client = runtime.block_on(Client::with_uri_str(uri.expose())).map_err(away)?;
        Ok(Server { database: client.database(database), runtime, in_flight })
    }

    /// How many seconds the loop needs for the changes of a sink.
    pub(super) fn write(
        &self,
        sink: &Sink,
        epochs: &[Changes],
        partitions: &Arc<PartitionNames>,
        collection: &str,
    ) -> Result<f64> {
        let mut commands = Vec::new();
        for (epoch, changes) in (1..).zip(epochs) {
            let of_epoch = mongodb_commands(sink, epoch, changes, partitions)?;
            let bare = of_epoch.iter().map(|command| bare(sink, command, collection));
            commands.push(bare.collect::<Result<Vec<_>>>()?);
        }
        self.runtime.block_on(async {
            self.database.create_collection(collection).await.map_err(away)?;
            let began = Instant::now();
            let mut under_way = VecDeque::new();
            for of_epoch in commands {
                for command in of_epoch {
                    if under_way.len() == self.in_flight {
                        done(under_way.pop_front()).await?;
                    }
                    let database = self.database.clone();
                    let send = async move { database.run_raw_command(command).await };
                    under_way.push_back(tokio::spawn(send));
                }
                // The server may take commands that are under way together in any order: those of an epoch write
                // different documents, those of the next may replace them.
                while is_upsert(sink) && !under_way.is_empty() {
                    done(under_way.pop_front()).await?;
                }
            }
            while !under_way.is_empty() {
                done(under_way.pop_front()).await?;
            }
            Ok(began.elapsed().as_secs_f64())
        })
    }

    /// Fails unless two collections have the same documents; `_v` is the sink's own.
    pub(super) fn compare(&self, left: &str, right: &str) -> Result<()> {
        self.runtime.block_on(async {
            let find = async |name: &str| {
                let collection = self.database.collection::<RawDocumentBuf>(name);
                collection.find(doc! {}).sort(doc! { "_id": 1 }).allow_disk_use(true).await.map_err(away)
            };
            let (mut ours, mut theirs) = (find(left).await?, find(right).await?);
            loop {
                match (ours.advance().await.map_err(away)?, theirs.advance().await.map_err(away)?) {
                    (false, false) => return Ok(()),
                    (true, true) if content(ours.current()) == content(theirs.current()) => {}
                    _ => return Err(Error::internal("the sink has written other documents than the loop")),
                }
            }
        })
    }

    pub(super) fn drop(&self, collection: &str) -> Result<()> {
        let collection = self.database.collection::<Document>(collection);
        self.runtime.block_on(async { collection.drop().await }).map_err(away)
    }
}

fn is_upsert(sink: &Sink) -> bool {
    matches!(&sink.connector, SinkConnector::MongoDb(target) if target.mode == WriteMode::Upsert)
}

/// The command of a sink as anybody would write it: without the guard of an upsert.
fn bare(sink: &Sink, command: &RawDocument, collection: &str) -> Result<RawDocumentBuf> {
    let upsert = is_upsert(sink);
    let (verb, list) = if upsert { ("update", "updates") } else { ("insert", "documents") };
    let unknown = |_| Error::internal("a command of another form");
    let mut bodies = RawArrayBuf::new();
    for body in command.get_array(list).map_err(unknown)? {
        let RawBsonRef::Document(body) = body.map_err(|_| Error::internal("a command that is broken"))?
        else {
            return Err(Error::internal("an operation that is no document"));
        };
        bodies.push(if upsert { replacement(body)? } else { body.to_raw_document_buf() });
    }
    let mut bare = RawDocumentBuf::new();
    bare.append(verb, collection);
    bare.append("ordered", false);
    bare.append("writeConcern", rawdoc! { "w": "majority" });
    bare.append(list, bodies);
    Ok(bare)
}

/// `{ q, u: document, upsert }` of a statement with a pipeline around the document.
fn replacement(statement: &RawDocument) -> Result<RawDocumentBuf> {
    let found = || -> Option<(RawBson, RawDocumentBuf)> {
        let stage = statement.get_array("u").ok()?.get_document(0).ok()?;
        let branches = stage.get_document("$replaceWith").ok()?.get_array("$cond").ok()?;
        let document = branches.get_document(1).ok()?.get_document("$literal").ok()?;
        let id = document.get("_id").ok()??.to_raw_bson();
        Some((id, document.to_raw_document_buf()))
    };
    let (id, document) = found().ok_or_else(|| Error::internal("an upsert of another form"))?;
    Ok(rawdoc! { "q": { "_id": id }, "u": document, "upsert": true })
}

type UnderWay = tokio::task::JoinHandle<mongodb::error::Result<Document>>;

async fn done(command: Option<UnderWay>) -> Result<()> {
    let Some(command) = command else { return Ok(()) };
    let reply = command.await.map_err(|error| Error::internal("a task has failed").caused_by(error))?;
    let reply = reply.map_err(away)?;
    if reply.contains_key("writeErrors") || reply.contains_key("writeConcernError") {
        return Err(Error::internal(format!("the loop was refused: {reply}")));
    }
    Ok(())
}

/// The fields of a document but `_v`.
fn content(document: &RawDocument) -> Vec<(String, RawBson)> {
    let fields = document.iter().flatten().filter(|(name, _)| *name != "_v");
    fields.map(|(name, value)| (name.to_owned(), value.to_raw_bson())).collect()
}

fn away(error: mongodb::error::Error) -> Error {
    Error::away("MongoDB does not do what the benchmark asks for").caused_by(error)
}

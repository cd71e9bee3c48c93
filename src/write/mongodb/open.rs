//! Connecting, and what must be true of the server before the first row.

use std::time::Duration;

use mongodb::bson::{Bson, Document, doc};
use mongodb::error::ErrorKind as DriverErrorKind;
use mongodb::options::ClientOptions;
use mongodb::{Client, Database};

use super::classify::failure;
use crate::error::{Error, Result};
use crate::plan::WriteMode;
use crate::settings::Secret;
use crate::time::Epoch;

/// The collection is there already.
const NAMESPACE_EXISTS: i32 = 48;

/// A client whose monitors find a server that is back within seconds. Nothing is repeated by the driver:
/// `_id` makes repeating safe, and transaction numbers make duplicates three times as expensive.
pub(super) async fn client(uri: &Secret) -> Result<Client> {
    // The driver's own text may quote the URI, so it stays out of the message.
    let mut options =
        ClientOptions::parse(uri.expose()).await.map_err(|error| match error.kind.as_ref() {
            DriverErrorKind::DnsResolve { .. } => {
                Error::away("the name of the MongoDB server cannot be resolved")
            }
            _ => Error::config("the URI of MongoDB cannot be understood").hint(
                "it looks like mongodb://host:27017/?replicaSet=name, with special characters %-encoded",
            ),
        })?;
    options.app_name.get_or_insert_with(|| "tidemill".to_owned());
    options.server_selection_timeout = Some(Duration::from_secs(3));
    options.heartbeat_freq = Some(Duration::from_secs(1));
    options.connect_timeout = Some(Duration::from_secs(5));
    options.retry_writes = Some(false);
    Client::with_options(options).map_err(|error| failure("MongoDB cannot be used", error))
}

/// Checks the server, creates what is missing and tells the highest epoch in the collection.
pub(super) async fn prepare(database: &Database, collection: &str, mode: WriteMode) -> Result<Epoch> {
    require_replica_set(database).await?;
    match database.create_collection(collection).await {
        Err(error) if code(&error) == Some(NAMESPACE_EXISTS) => {}
        created => created.map_err(|error| failure("MongoDB refuses to create the collection", error))?,
    }
    if mode == WriteMode::Append {
        return Ok(0);
    }
    // The index makes the question for the highest version quick.
    let index = doc! {
        "createIndexes": collection,
        "indexes": [{ "key": { "_v": -1 }, "name": "_v_-1" }],
        "writeConcern": { "w": "majority" },
    };
    let created = database.run_command(index).await;
    created.map_err(|error| failure("MongoDB refuses to create the index on _v", error))?;
    highest_version(database, collection).await
}

/// Majority writes need one.
async fn require_replica_set(database: &Database) -> Result<()> {
    let hello = database.run_command(doc! { "hello": 1 }).await;
    let hello = hello.map_err(|error| failure("MongoDB does not answer", error))?;
    let sharded = hello.get_str("msg").is_ok_and(|text| text == "isdbgrid");
    if sharded || hello.contains_key("setName") {
        return Ok(());
    }
    Err(Error::config("the MongoDB server is not part of a replica set")
        .hint("start mongod with --replSet rs0 and run rs.initiate() once; a set of one member is enough"))
}

/// Versions are sorted by type first, and everything sorted behind numbers counts as newer for ever.
async fn highest_version(database: &Database, collection: &str) -> Result<Epoch> {
    let collection = database.collection::<Document>(collection);
    let first = collection.find_one(doc! {}).sort(doc! { "_v": -1 }).projection(doc! { "_v": 1 }).await;
    let first = first.map_err(|error| failure("MongoDB refuses to be read", error))?;
    match first.as_ref().and_then(|document| document.get("_v")) {
        None | Some(Bson::Null) => Ok(0),
        Some(Bson::Int32(version)) => Ok((*version).max(0) as Epoch),
        Some(Bson::Int64(version)) => Ok((*version).max(0) as Epoch),
        Some(Bson::Double(version)) => Ok(*version as Epoch),
        Some(other) => Err(Error::config(format!(
            "collection {} has a document with _v = {other}, which no number can exceed",
            collection.name()
        ))
        .hint("remove the field _v from such documents, or write into another collection")),
    }
}

fn code(error: &mongodb::error::Error) -> Option<i32> {
    match error.kind.as_ref() {
        DriverErrorKind::Command(error) => Some(error.code),
        _ => None,
    }
}

//! Removes the topics and collections of a benchmark.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaErrorCode;

use crate::error::{Error, Result};
use crate::plan::{Plan, SinkConnector};
use crate::settings::Settings;

/// Removes what the sinks of a redirected plan have written to servers; the rest goes with its folder.
pub fn sinks(plan: &mut Plan, settings: &Settings) -> Result<()> {
    let mut written = Vec::new();
    for sink in &plan.sinks {
        match &sink.connector {
            SinkConnector::Kafka(kafka) => written.push(kafka.topic.clone()),
            SinkConnector::MongoDb(mongo) => drop_collection(mongo, settings)?,
            SinkConnector::File(_) | SinkConnector::Stdout | SinkConnector::Blackhole => {}
        }
    }
    topics(&written, settings)
}

/// Removes topics of the broker of the settings, if there is one; those that do not exist are none.
pub fn topics(names: &[String], settings: &Settings) -> Result<()> {
    let Some(servers) = settings.kafka.bootstrap_servers.as_ref().filter(|_| !names.is_empty()) else {
        return Ok(());
    };
    let failed = |error: KafkaError| Error::away("cannot remove topics").caused_by(error);
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", servers);
    settings.kafka.properties.iter().for_each(|(name, value)| {
        config.set(name, value);
    });
    let admin: AdminClient<DefaultClientContext> = config.create().map_err(failed)?;
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let options = AdminOptions::new().operation_timeout(Some(Duration::from_secs(30)));
    let removed = runtime()?.block_on(admin.delete_topics(&names, &options)).map_err(failed)?;
    for result in removed {
        if let Err((name, code)) = result
            && code != RDKafkaErrorCode::UnknownTopicOrPartition
        {
            return Err(Error::away(format!("cannot remove topic {name}: {code}")));
        }
    }
    Ok(())
}

fn drop_collection(sink: &crate::plan::MongoSink, settings: &Settings) -> Result<()> {
    let Some(uri) = &settings.mongodb.uri else { return Ok(()) };
    let dropped = runtime()?.block_on(async {
        let client = mongodb::Client::with_uri_str(uri.expose()).await?;
        let database = client.database(sink.database.as_deref().unwrap_or(&settings.mongodb.database));
        database.collection::<mongodb::bson::Document>(&sink.collection).drop().await
    });
    dropped.map_err(|error| Error::away(format!("cannot drop {}", sink.collection)).caused_by(error))
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| Error::internal("cannot start a runtime").caused_by(error))
}

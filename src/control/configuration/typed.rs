//! From settings as typed to settings as meant.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use super::layers::Layers;
use super::security::Security;
use crate::error::{Error, Result};
use crate::settings::{Cluster, Flow, Http, Kafka, MongoDb, Secret, Settings};

/// `config/default.toml` as it stands, but for the two tables with keys of the user's own.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Typed {
    state_dir: PathBuf,
    epoch_interval: String,
    shutdown_timeout: String,
    flow: TypedFlow,
    kafka: Security,
    mongodb: TypedMongoDb,
    http: TypedHttp,
    cluster: TypedCluster,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TypedFlow {
    max_epochs_computing: u64,
    max_epochs_in_flight: u64,
    sink_buffer_bytes: usize,
    max_epoch_records: usize,
    read_ahead_records: usize,
    rows_per_partial: usize,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TypedMongoDb {
    uri: String,
    uri_file: String,
    database: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TypedHttp {
    enabled: bool,
    listen: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TypedCluster {
    connect_timeout: String,
    stall_timeout: String,
}

/// What the merged layers mean, or the first thing in them that means nothing.
pub fn settings(layers: &Layers) -> Result<Settings> {
    let typed: Typed = layers.table().try_into().map_err(|error: toml::de::Error| {
        Error::internal("config/default.toml does not fit the settings")
            .caused_by(error.message().to_string())
    })?;
    let meaning = Meaning { layers };
    if typed.state_dir.as_os_str().is_empty() {
        return Err(Error::config("state_dir is empty").hint("name a folder; `.` is the working directory"));
    }
    Ok(Settings {
        state_dir: typed.state_dir,
        epoch_interval: meaning.duration("epoch_interval", &typed.epoch_interval)?,
        shutdown_timeout: meaning.duration("shutdown_timeout", &typed.shutdown_timeout)?,
        flow: meaning.flow(&typed.flow)?,
        kafka: Kafka {
            properties: typed.kafka.properties(layers)?,
            bootstrap_servers: set(typed.kafka.bootstrap_servers),
        },
        mongodb: meaning.mongodb(typed.mongodb)?,
        http: Http {
            enabled: typed.http.enabled,
            listen: meaning.address("http.listen", &typed.http.listen)?,
        },
        cluster: Cluster {
            connect_timeout: meaning.duration("cluster.connect_timeout", &typed.cluster.connect_timeout)?,
            stall_timeout: meaning.duration("cluster.stall_timeout", &typed.cluster.stall_timeout)?,
        },
        parameters: layers.parameters.clone(),
    })
}

/// An empty text means that the setting is not set.
fn set(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}

/// Reads single values and says where a wrong one came from.
struct Meaning<'a> {
    layers: &'a Layers,
}

impl Meaning<'_> {
    fn wrong(&self, key: &str, what: impl std::fmt::Display) -> Error {
        Error::config(format!("{}: {key} {what}", self.layers.origin(key)))
    }

    fn duration(&self, key: &str, text: &str) -> Result<Duration> {
        let duration = humantime::parse_duration(text).map_err(|error| {
            self.wrong(key, format_args!("is not a duration: '{text}' ({error})"))
                .hint("write a number with a unit: \"20ms\", \"10s\", \"5m\", \"1h\"")
        })?;
        if duration.is_zero() {
            return Err(self.wrong(key, "must be more than zero"));
        }
        Ok(duration)
    }

    fn flow(&self, flow: &TypedFlow) -> Result<Flow> {
        let limits = [
            ("flow.max_epochs_computing", flow.max_epochs_computing),
            ("flow.max_epochs_in_flight", flow.max_epochs_in_flight),
            ("flow.sink_buffer_bytes", flow.sink_buffer_bytes as u64),
            ("flow.max_epoch_records", flow.max_epoch_records as u64),
            ("flow.read_ahead_records", flow.read_ahead_records as u64),
        ];
        match limits.iter().find(|(_, limit)| *limit == 0) {
            // With a limit of nothing, nothing would ever move.
            Some((key, _)) => Err(self.wrong(key, "must be at least 1")),
            None => Ok(Flow {
                max_epochs_computing: flow.max_epochs_computing,
                max_epochs_in_flight: flow.max_epochs_in_flight,
                sink_buffer_bytes: flow.sink_buffer_bytes,
                max_epoch_records: flow.max_epoch_records,
                read_ahead_records: flow.read_ahead_records,
                rows_per_partial: flow.rows_per_partial,
            }),
        }
    }

    fn mongodb(&self, typed: TypedMongoDb) -> Result<MongoDb> {
        if typed.database.is_empty() {
            return Err(self.wrong("mongodb.database", "must not be empty"));
        }
        let uri = match (set(typed.uri), set(typed.uri_file)) {
            (Some(_), Some(_)) => {
                return Err(self
                    .wrong("mongodb.uri_file", "is set, and mongodb.uri is, too")
                    .hint("set one of them; an empty text unsets the other"));
            }
            (uri, None) => uri,
            (None, Some(path)) => Some(self.secret_file("mongodb.uri_file", Path::new(&path))?),
        };
        let uri = uri.map(|uri| uri.trim().to_string());
        if uri
            .as_ref()
            .is_some_and(|uri| !uri.starts_with("mongodb://") && !uri.starts_with("mongodb+srv://"))
        {
            return Err(self.wrong("mongodb.uri", "does not begin with mongodb:// or mongodb+srv://"));
        }
        Ok(MongoDb { uri: uri.map(Secret::new), database: typed.database })
    }

    fn secret_file(&self, key: &str, path: &Path) -> Result<String> {
        let text = std::fs::read_to_string(path).map_err(|error| {
            self.wrong(key, format_args!("names '{}', which cannot be read", path.display())).caused_by(error)
        })?;
        if text.trim().is_empty() {
            return Err(self.wrong(key, format_args!("names '{}', which is empty", path.display())));
        }
        Ok(text)
    }

    fn address(&self, key: &str, text: &str) -> Result<std::net::SocketAddr> {
        text.parse().map_err(|_| {
            self.wrong(key, format_args!("is not an address: '{text}'"))
                .hint("write ip:port, as 127.0.0.1:8410")
        })
    }
}

//! Settings: `config/default.toml`, then `--config`, then `TIDEMILL_*`, then flags.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// All settings of a process, as meant: nothing in here is left to parse.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where embedded topics, embedded collections, dead letters and the lineage live.
    pub state_dir: PathBuf,
    /// Length of an epoch.
    pub epoch_interval: Duration,
    pub flow: Flow,
    pub kafka: Kafka,
    pub mongodb: MongoDb,
    pub http: Http,
    pub cluster: Cluster,
    /// Replacements for `${NAME}` in WITH values.
    pub parameters: BTreeMap<String, String>,
    /// How long a stop may take before the process ends anyway.
    pub shutdown_timeout: Duration,
}

/// Limits of what is under way.
#[derive(Clone, Debug)]
pub struct Flow {
    /// Epochs between the cut and the operators' frontier.
    pub max_epochs_computing: u64,
    /// Epochs between the operators' frontier and the sinks' confirmation.
    pub max_epochs_in_flight: u64,
    /// Bytes that process 0 may hold until sinks have confirmed them before the ticker waits.
    pub sink_buffer_bytes: usize,
    /// Records per partition and epoch at most; in bounded runs exactly, but for the last epoch.
    pub max_epoch_records: usize,
    /// Records per partition that a consumer thread reads ahead.
    pub read_ahead_records: usize,
    /// From how many rows per group of a batch on a GROUP BY adds them up before they are sent to other workers; 0:
    /// never.
    pub rows_per_partial: usize,
}

/// Connection to Kafka; without servers a topic is a folder in the state directory.
#[derive(Clone, Default)]
pub struct Kafka {
    pub bootstrap_servers: Option<String>,
    /// Given to librdkafka as they are, below the `properties.*` of a source or sink.
    pub properties: BTreeMap<String, String>,
}

/// Values of properties may be credentials: only their names show.
impl std::fmt::Debug for Kafka {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Kafka")
            .field("bootstrap_servers", &self.bootstrap_servers)
            .field("properties", &self.properties.keys())
            .finish()
    }
}

/// Connection to MongoDB; without a URI a collection is a table of an SQLite file in the state directory.
#[derive(Clone, Debug)]
pub struct MongoDb {
    pub uri: Option<Secret>,
    /// Database of collections whose sink names none.
    pub database: String,
}

/// The HTTP server of live reads, health and metrics.
#[derive(Clone, Debug)]
pub struct Http {
    pub enabled: bool,
    /// Address of process 0; process p listens p ports higher.
    pub listen: std::net::SocketAddr,
}

/// Several processes.
#[derive(Clone, Debug)]
pub struct Cluster {
    /// How long to wait for the other processes at the start.
    pub connect_timeout: Duration,
    /// How long the frontier may stand while epochs are open before the cluster is given up.
    pub stall_timeout: Duration,
}

/// Text that never shows in logs or errors.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a text.
    pub fn new(text: impl Into<String>) -> Self {
        Secret(text.into())
    }

    /// The text itself, for the client that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(***)")
    }
}

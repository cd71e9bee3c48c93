//! Everything around the data path: command line, settings, cluster, metrics, live reads.

pub mod api;
pub mod bench;
pub mod cli;
pub mod cluster;
pub mod configuration;
pub mod dataflow_path;
pub mod failure;
pub mod lateness;
pub mod lineage;
pub mod live;
pub mod metrics;
pub mod profile;
pub mod progress;
pub mod publish;
pub mod query;
pub mod run;
pub mod samples;
pub mod settlement;
pub mod shutdown;
pub mod simulate;
pub mod status;
pub mod telemetry;
pub mod timings;
pub mod watchdog;

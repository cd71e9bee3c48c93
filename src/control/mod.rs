//! Everything around the data path: command line, settings, cluster, metrics, live reads.

pub mod configuration;
pub mod nearest;

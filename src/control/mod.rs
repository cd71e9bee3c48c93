//! Everything around the data path: command line, settings, cluster, metrics, live reads.

pub mod cluster;
pub mod configuration;
pub mod failure;
pub mod nearest;
pub mod shutdown;
pub mod watchdog;

//! Tidemill: event-time stream processing for telemetry, in one binary, on timely and differential dataflow.
//!
//! Read `dataflow.rs` first: it wires the stages, whose folders are named in the order of the data path.

pub mod alarm;
pub mod batch;
pub mod canonical;
pub mod compile;
pub mod control;
pub mod csv;
pub mod dataflow;
pub mod dead_letter;
pub mod error;
pub mod execution;
pub mod ingest;
pub mod json;
pub mod kafka;
pub mod ledger;
pub mod nearest;
pub mod parse;
pub mod plan;
pub mod probe;
pub mod process;
pub mod record;
pub mod render;
pub mod route;
pub mod settings;
pub mod time;
pub mod topic_log;
pub mod transform;
pub mod unwind;
pub mod wording;
pub mod worker;
pub mod write;

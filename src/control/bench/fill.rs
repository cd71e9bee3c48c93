//! Puts the events of a benchmark where a dataflow finds them.

use std::path::Path;

use super::events::{Amount, Events};
use super::redirect::redirected;
use crate::control::simulate::{Folder, KafkaTopic, Split};
use crate::error::Result;
use crate::ingest::fleet::SimulatedSink;
use crate::plan::Source;
use crate::settings::Settings;
use crate::topic_log::{TopicWriter, topic_directory};

/// Bytes of all values.
pub type Bytes = u64;

/// Writes `<folder>/<source>/<partition>.jsonl`.
pub fn files(folder: &Path, source: &Source, amount: Amount) -> Result<Bytes> {
    let split = Split::Partitions(amount.partitions);
    send(source, amount, &mut Folder::open(&folder.join(&source.name), split)?)
}

/// Fills the topic `<prefix><source>` of the broker of the settings, or the embedded one where there is none.
pub fn topic(prefix: &str, source: &Source, amount: Amount, settings: &Settings) -> Result<Bytes> {
    let name = redirected(prefix, &source.name);
    match &settings.kafka.bootstrap_servers {
        Some(servers) => {
            let mut topic = KafkaTopic::open(servers, settings, &name, amount.partitions)?;
            let bytes = send(source, amount, &mut topic)?;
            topic.finish()?;
            Ok(bytes)
        }
        None => {
            let directory = topic_directory(&settings.state_dir, &name)?;
            send(source, amount, &mut TopicWriter::open(&directory, amount.partitions)?)
        }
    }
}

fn send(source: &Source, amount: Amount, sink: &mut dyn SimulatedSink) -> Result<Bytes> {
    let mut bytes = 0;
    for record in Events::of(source, amount) {
        bytes += record.value.len() as u64;
        sink.append(&record)?;
    }
    sink.flush()?;
    Ok(bytes)
}

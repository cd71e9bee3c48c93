//! Puts the events of a benchmark where a dataflow finds them.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use super::events::{Amount, Events};
use super::redirect::redirected;
use crate::control::simulate::KafkaTopic;
use crate::error::{Error, Result};
use crate::ingest::fleet::{SimulatedRecord, SimulatedSink};
use crate::plan::Source;
use crate::settings::Settings;
use crate::topic_log::{TopicWriter, topic_directory};

/// Bytes of all values.
pub type Bytes = u64;

/// Writes `<folder>/<source>/<partition>.jsonl`.
pub fn files(folder: &Path, source: &Source, amount: Amount) -> Result<Bytes> {
    let folder = folder.join(&source.name);
    let failed = |error: std::io::Error| {
        Error::config(format!("cannot write events to '{}'", folder.display())).caused_by(error)
    };
    std::fs::create_dir_all(&folder).map_err(failed)?;
    let create = |number| File::create(folder.join(format!("{number}.jsonl"))).map(BufWriter::new);
    let files = (0..amount.partitions).map(create).collect::<std::io::Result<Vec<_>>>().map_err(failed)?;
    send(source, amount, &mut Lines { files })
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

struct Lines {
    files: Vec<BufWriter<File>>,
}

impl SimulatedSink for Lines {
    fn append(&mut self, record: &SimulatedRecord) -> Result<()> {
        let number = record.partition as usize % self.files.len();
        let file = &mut self.files[number];
        let written = file.write_all(&record.value).and_then(|()| file.write_all(b"\n"));
        written.map_err(|error| Error::config("cannot write an event").caused_by(error))
    }

    fn flush(&mut self) -> Result<()> {
        let flushed = self.files.iter_mut().try_for_each(Write::flush);
        flushed.map_err(|error| Error::config("cannot write events").caused_by(error))
    }
}

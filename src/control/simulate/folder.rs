//! Files of simulated events.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::ingest::fleet::{SimulatedRecord, SimulatedSink};

/// Which events share a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Split {
    /// Those of one of so many partitions.
    Partitions(u32),
    /// Those that happened on one day.
    Days,
}

/// Files of events.
pub struct Folder {
    path: PathBuf,
    split: Split,
    files: BTreeMap<String, BufWriter<File>>,
}

impl Folder {
    /// Creates the folder where it does not exist, and the files of all partitions.
    pub fn open(path: &Path, split: Split) -> Result<Self> {
        std::fs::create_dir_all(path).map_err(|error| cannot_write(path, error))?;
        let mut folder = Folder { path: path.to_owned(), split, files: BTreeMap::new() };
        if let Split::Partitions(count) = split {
            (0..count).try_for_each(|number| folder.file(number.to_string()).map(drop))?;
        }
        Ok(folder)
    }

    fn file(&mut self, name: String) -> Result<&mut BufWriter<File>> {
        match self.files.entry(name) {
            Entry::Occupied(found) => Ok(found.into_mut()),
            Entry::Vacant(vacant) => {
                let path = self.path.join(format!("{}.jsonl", vacant.key()));
                let file = File::create(&path).map_err(|error| cannot_write(&path, error))?;
                Ok(vacant.insert(BufWriter::new(file)))
            }
        }
    }
}

impl SimulatedSink for Folder {
    fn append(&mut self, record: &SimulatedRecord) -> Result<()> {
        let name = match self.split {
            Split::Partitions(count) => (record.partition % count.max(1)).to_string(),
            Split::Days => {
                let time = chrono::DateTime::from_timestamp_millis(record.event_ms).unwrap_or_default();
                time.date_naive().to_string()
            }
        };
        let file = self.file(name)?;
        let written = file.write_all(&record.value).and_then(|()| file.write_all(b"\n"));
        written.map_err(|error| cannot_write(&self.path, error))
    }

    fn flush(&mut self) -> Result<()> {
        let flushed = self.files.values_mut().try_for_each(Write::flush);
        flushed.map_err(|error| cannot_write(&self.path, error))
    }
}

fn cannot_write(path: &Path, error: std::io::Error) -> Error {
    Error::config(format!("cannot write events to '{}'", path.display())).caused_by(error)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;
    use std::time::Duration;

    use super::*;
    use crate::ingest::fleet::Fleet;
    use crate::plan::{Shape, Simulator};

    #[test]
    fn a_day_has_a_file_and_its_late_events_are_in_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("days");
        let late_by = Duration::from_secs(7_200);
        let simulator =
            Simulator { disorder: 0.2, late_by, count: Some(5_000), ..Simulator::of(Shape::Sensors) };
        let mut days = Folder::open(&path, Split::Days).expect("opened");
        let mut fleet = Fleet::history(&simulator, 1_767_225_600_000, 3);
        assert_eq!(fleet.send(&AtomicBool::new(false), &mut days).expect("sent"), 5_000);
        let mut lines = 0;
        for day in ["2026-01-01", "2026-01-02", "2026-01-03"] {
            let text = std::fs::read_to_string(path.join(format!("{day}.jsonl"))).expect("a file");
            for line in text.lines() {
                let json: serde_json::Value = serde_json::from_str(line).expect("JSON");
                assert!(json["timestamp"].as_str().expect("a time").starts_with(day));
                lines += 1;
            }
        }
        assert_eq!((lines, std::fs::read_dir(&path).expect("a folder").count()), (5_000, 3));
    }

    #[test]
    fn without_days_a_partition_has_a_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let simulator = Simulator { rate: 0, count: Some(100), ..Simulator::of(Shape::Metrics) };
        let mut files = Folder::open(folder.path(), Split::Partitions(4)).expect("opened");
        Fleet::new(&simulator, 0).send(&AtomicBool::new(false), &mut files).expect("sent");
        for partition in 0..4 {
            let text =
                std::fs::read_to_string(folder.path().join(format!("{partition}.jsonl"))).expect("a file");
            assert_eq!(text.lines().count(), 25);
        }
    }
}

//! The identity of a dataflow's state directory, and the epochs that it has used.
//!
//! A run starts above every epoch that the directory and the sinks have seen. Epochs are reserved in large
//! blocks, so that a crash costs numbers and nothing else.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::time::Epoch;

/// Epochs that are reserved at a time: more than a week of 20 ms.
const RESERVED: Epoch = 1 << 25;

#[derive(Debug, Serialize, Deserialize)]
struct Record {
    lineage: String,
    generation: u64,
    next_epoch: Epoch,
}

/// The open state directory of one dataflow. While it lives no other process can open it.
#[derive(Debug)]
pub struct Lineage {
    path: PathBuf,
    record: Record,
    first_epoch: Epoch,
    _lock: File,
}

impl Lineage {
    /// Opens the state of `dataflow` below `state_dir`, or begins it.
    pub fn open(state_dir: &Path, dataflow: &str) -> Result<Self> {
        let directory = state_dir.join(dataflow);
        let failed = |what: &str, error: std::io::Error| {
            Error::config(format!("cannot {what} the state directory {}", directory.display()))
                .caused_by(error)
                .hint("--state-dir DIR names another one")
        };
        std::fs::create_dir_all(&directory).map_err(|error| failed("create", error))?;
        let lock = OpenOptions::new().create(true).truncate(false).write(true).open(directory.join("lock"));
        let lock = lock.map_err(|error| failed("open", error))?;
        if lock.try_lock().is_err() {
            let message = format!("the state directory {} is in use", directory.display());
            return Err(Error::config(message).hint("stop the other process, or give another --state-dir"));
        }
        let path = directory.join("lineage.json");
        let mut record = match std::fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| {
                Error::config(format!("{} cannot be read", path.display())).caused_by(error)
            })?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                Record { lineage: new_id(), generation: 0, next_epoch: 1 }
            }
            Err(error) => return Err(failed("read", error)),
        };
        record.generation += 1;
        let mut lineage = Lineage { path, first_epoch: record.next_epoch, record, _lock: lock };
        lineage.reserve(lineage.first_epoch)?;
        Ok(lineage)
    }

    /// Ties the progress of sinks to this directory.
    pub fn id(&self) -> &str {
        &self.record.lineage
    }

    /// Counts the starts.
    pub fn generation(&self) -> u64 {
        self.record.generation
    }

    /// The first epoch that no earlier run has used.
    pub fn first_epoch(&self) -> Epoch {
        self.first_epoch
    }

    /// Makes sure that epochs well above `epoch` are reserved.
    pub fn reserve(&mut self, epoch: Epoch) -> Result<()> {
        if self.record.next_epoch < epoch + RESERVED / 2 {
            self.record.next_epoch = epoch + RESERVED;
            self.write()?;
        }
        Ok(())
    }

    /// Gives back what is reserved above `next`, after a clean end.
    pub fn close(mut self, next: Epoch) -> Result<()> {
        self.record.next_epoch = next.max(self.first_epoch);
        self.write()
    }

    fn write(&self) -> Result<()> {
        let temporary = self.path.with_extension("json.partial");
        let write = || -> std::io::Result<()> {
            let mut file = File::create(&temporary)?;
            file.write_all(&serde_json::to_vec(&self.record)?)?;
            file.sync_all()?;
            std::fs::rename(&temporary, &self.path)
        };
        write()
            .map_err(|error| Error::config(format!("cannot write {}", self.path.display())).caused_by(error))
    }
}

/// 128 random bits in hex.
fn new_id() -> String {
    use rand::TryRngCore;
    let mut bytes = [0; 16];
    // The operating system's randomness does not fail on the platforms that we run on.
    rand::rngs::OsRng.try_fill_bytes(&mut bytes).expect("the operating system gives random bytes");
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_starts_above_all_epochs_of_earlier_runs() {
        let directory = tempfile::tempdir().expect("a directory");
        let first = Lineage::open(directory.path(), "d").expect("opens");
        assert_eq!((first.first_epoch(), first.generation()), (1, 1));
        let id = first.id().to_owned();
        drop(first); // as a crash would
        let second = Lineage::open(directory.path(), "d").expect("opens");
        assert_eq!((second.first_epoch(), second.generation(), second.id()), (1 + RESERVED, 2, id.as_str()));
        second.close(1 + RESERVED + 7).expect("closes");
        let third = Lineage::open(directory.path(), "d").expect("opens");
        assert_eq!(third.first_epoch(), 1 + RESERVED + 7);
    }

    #[test]
    fn a_directory_in_use_is_refused() {
        let directory = tempfile::tempdir().expect("a directory");
        let _open = Lineage::open(directory.path(), "d").expect("opens");
        let error = Lineage::open(directory.path(), "d").expect_err("refused").to_string();
        assert!(error.contains("in use"), "{error}");
    }
}

//! What a run holds, every so many epochs: for `tidemill bench soak`.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::status::Status;
use crate::error::{Error, Result};
use crate::time::Epoch;

/// What there was when an epoch was confirmed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    pub epoch: Epoch,
    /// The least of the sources, milliseconds since the Unix epoch; `None` before each has one.
    pub watermark_ms: Option<i64>,
    /// Records read from all sources.
    pub read: u64,
    /// Resident bytes of the process.
    pub resident: u64,
    /// Bytes of each state by its name.
    pub states: BTreeMap<String, u64>,
}

/// Takes samples while a run goes on, and writes each as a line.
#[derive(Debug)]
pub struct Sampler {
    file: File,
    every: Epoch,
    next: Epoch,
}

impl Sampler {
    /// Takes a sample every so many epochs, into the file at `path`.
    pub fn start(path: &Path, every: Epoch) -> Result<Self> {
        let file = File::create(path);
        let file = file.map_err(|error| {
            Error::config(format!("cannot write the samples '{}'", path.display())).caused_by(error)
        })?;
        Ok(Sampler { file, every: every.max(1), next: 0 })
    }

    /// Whether a sample is to be taken, where `confirmed` is the first epoch that is not; none is at the end.
    pub fn is_due(&self, confirmed: Option<Epoch>) -> bool {
        confirmed.is_some_and(|confirmed| confirmed >= self.next)
    }

    /// Takes a sample of what the status says, which has just been written.
    pub fn take(&mut self, confirmed: Epoch, status: &Status) -> Result<()> {
        self.next = confirmed + self.every;
        let sources = || status.sources.iter().filter(|source| source.read > 0);
        let watermarks: Option<Vec<i64>> = sources().map(|source| source.watermark_ms).collect();
        let sample = Sample {
            epoch: confirmed,
            watermark_ms: watermarks.and_then(|all| all.into_iter().min()),
            read: sources().map(|source| source.read).sum(),
            resident: resident()?,
            states: status.states.iter().map(|state| (state.name.clone(), state.bytes)).collect(),
        };
        let line = serde_json::to_string(&sample).map_err(std::io::Error::from);
        let written = line.and_then(|line| writeln!(self.file, "{line}"));
        written.map_err(|error| Error::config("cannot write a sample").caused_by(error))
    }
}

/// Resident size of this process without the pages that are free, in bytes. They go back to the system at once, which
/// otherwise happens within some seconds.
pub fn resident_in_use() -> Result<u64> {
    // SAFETY: It may be called by any thread at any time; memory that is in use stays as it is.
    unsafe { libmimalloc_sys::mi_collect(true) };
    resident()
}

/// Resident size of this process, in bytes.
fn resident() -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status");
    let status = status.map_err(|error| {
        Error::away("the resident size of a process is only known on Linux").caused_by(error)
    })?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.map(|kib| kib << 10).ok_or_else(|| Error::internal("no VmRSS in /proc/self/status"))
}

//! Folders and names for one benchmark, gone at its end.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::control::publish;
use crate::error::{Error, Result};

/// A folder that is removed when this is dropped.
#[derive(Debug)]
pub struct Scratch {
    /// Also begins the names of what is outside of the folder.
    pub name: String,
    folder: PathBuf,
}

impl Scratch {
    /// Creates a folder for this process.
    pub fn create() -> Result<Self> {
        let name = name();
        let folder = std::env::temp_dir().join(&name);
        std::fs::create_dir_all(&folder).map_err(|error| {
            Error::config(format!("cannot create '{}'", folder.display()))
                .caused_by(error)
                .hint("TMPDIR names the folder for temporary files")
        })?;
        Ok(Scratch { name, folder })
    }

    /// A path below it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Removes what one repetition has left.
    pub fn remove(&self, name: &str) -> Result<()> {
        let path = self.path(name);
        match std::fs::remove_dir_all(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(cannot_remove(&path, error)),
            _ => Ok(()),
        }
    }
}

fn cannot_remove(path: &Path, error: std::io::Error) -> Error {
    Error::config(format!("cannot remove '{}'", path.display())).caused_by(error)
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.folder) {
            tracing::warn!(error = %cannot_remove(&self.folder, error), "left behind");
        }
    }
}

/// A name that no other benchmark uses.
fn name() -> String {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    format!("tidemill-bench-{}-{}-{number}", publish::wall_ms(), std::process::id())
}

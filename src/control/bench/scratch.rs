//! Folders and names for one benchmark, gone at its end.

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// A folder that is removed when this is dropped.
#[derive(Debug)]
pub struct Scratch {
    folder: PathBuf,
}

impl Scratch {
    /// Creates a folder for this process.
    pub fn create() -> Result<Self> {
        let folder = std::env::temp_dir().join(name());
        std::fs::create_dir_all(&folder).map_err(|error| {
            Error::config(format!("cannot create '{}'", folder.display()))
                .caused_by(error)
                .hint("TMPDIR names the folder for temporary files")
        })?;
        Ok(Scratch { folder })
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

/// A name for topics, collections and folders that no other benchmark on this machine uses now.
pub fn name() -> String {
    format!("tidemill-bench-{}", std::process::id())
}

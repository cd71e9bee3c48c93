//! The files that a path names: one, those of a folder, or those that match a glob.

use std::io::ErrorKind as IoKind;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::plan::{FileSource, Format};

/// What a folder is searched for, each also with `.gz`.
const JSON: &[&str] = &[".jsonl", ".ndjson", ".json"];
const CSV: &[&str] = &[".csv", ".tsv"];

/// Where files are looked for.
#[derive(Clone, Debug)]
pub(super) struct Find {
    /// Where relative paths start.
    pub directory: PathBuf,
    pub path: String,
    extensions: &'static [&'static str],
}

impl Find {
    pub(super) fn new(directory: PathBuf, path: &str, format: &Format) -> Self {
        let extensions = match format {
            Format::Json => JSON,
            Format::Csv(_) => CSV,
        };
        Find { directory, path: path.to_owned(), extensions }
    }

    /// Paths of the files as they are named, sorted. None is an error.
    pub(super) fn files(&self) -> Result<Vec<String>> {
        let files = self.present()?;
        if !files.is_empty() {
            return Ok(files);
        }
        let names: Vec<String> = self.extensions.iter().map(|extension| format!("*{extension}")).collect();
        let hint =
            format!("a folder is searched for {}, each also with .gz; a glob for files", names.join(", "));
        Err(Error::config(format!("no input file in '{}'", self.path)).hint(hint))
    }

    /// The same, where there may be none.
    pub(super) fn present(&self) -> Result<Vec<String>> {
        let path = self.directory.join(&self.path);
        let mut files = match std::fs::metadata(&path) {
            Ok(found) if found.is_dir() => self.folder(&path)?,
            Ok(_) => return Ok(vec![self.path.clone()]),
            Err(error) if error.kind() == IoKind::NotFound && is_glob(&self.path) => self.matches()?,
            Err(error) => return Err(self.failed("find", &self.path, error)),
        };
        files.sort_unstable();
        Ok(files)
    }

    fn folder(&self, path: &Path) -> Result<Vec<String>> {
        let mut files = Vec::new();
        for entry in std::fs::read_dir(path).map_err(|error| self.failed("list", &self.path, error))? {
            let entry = entry.map_err(|error| self.failed("list", &self.path, error))?;
            let Some(name) = self.wanted(&entry.path())? else { continue };
            if self.is_ours(name.strip_suffix(".gz").unwrap_or(&name)) {
                let named = format!("{}/{name}", self.path.trim_end_matches('/'));
                files.extend(self.readable(&entry.path(), named)?);
            }
        }
        Ok(files)
    }

    fn matches(&self) -> Result<Vec<String>> {
        let base = glob::Pattern::escape(&self.text(self.directory.clone())?);
        let pattern = if Path::new(&self.path).is_absolute() {
            self.path.clone()
        } else {
            format!("{}/{}", base.trim_end_matches('/'), self.path)
        };
        let options = glob::MatchOptions { require_literal_leading_dot: true, ..glob::MatchOptions::new() };
        let paths = glob::glob_with(&pattern, options)
            .map_err(|error| Error::config(format!("'{}' is not a glob", self.path)).caused_by(error))?;
        let mut files = Vec::new();
        for path in paths {
            let path = path.map_err(|error| self.failed("list", &self.path, error.into()))?;
            if self.wanted(&path)?.is_some() {
                let named = self.text(path.strip_prefix(&self.directory).unwrap_or(&path).to_owned())?;
                files.extend(self.readable(&path, named)?);
            }
        }
        Ok(files)
    }

    /// Name of a file that is not hidden and that nobody is still writing or has left as a copy.
    fn wanted(&self, path: &Path) -> Result<Option<String>> {
        let name = self.text(path.file_name().unwrap_or_default().into())?;
        let begins = [".", "#", "~$"].iter().any(|beginning| name.starts_with(beginning));
        let ends = ["~", ".unfinished", ".tmp", ".part", ".swp"].iter().any(|ending| name.ends_with(ending));
        let is_compressed =
            |ending: &&str| name.strip_suffix(ending).is_some_and(|plain| self.is_ours(plain));
        if !begins && FileSource::NOT_READ.iter().any(is_compressed) {
            // To leave it out in silence would lose what is in it.
            return Err(Error::config(format!(
                "'{name}' in '{}' is compressed in a way that is not read",
                self.path
            ))
            .hint("compress it with gzip (.gz), or move it away"));
        }
        Ok((!begins && !ends).then_some(name))
    }

    fn is_ours(&self, plain: &str) -> bool {
        self.extensions.iter().any(|extension| plain.ends_with(extension))
    }

    /// `named` if it is a file; folders, sockets and the like are none. A link that leads nowhere is an error:
    /// what it is meant to name would be missing without a word. A file that is gone since it was listed is not.
    fn readable(&self, path: &Path, named: String) -> Result<Option<String>> {
        match std::fs::metadata(path) {
            Ok(found) => Ok(found.is_file().then_some(named)),
            Err(error) if error.kind() == IoKind::NotFound && !path.is_symlink() => Ok(None),
            Err(error) => Err(self.failed("find", &named, error)),
        }
    }

    /// Partitions are told apart by their names, in every process, so a name is text.
    fn text(&self, path: PathBuf) -> Result<String> {
        path.into_os_string().into_string().map_err(|path| {
            Error::config(format!("the file name {path:?} is not UTF-8")).hint("rename the file")
        })
    }

    pub(super) fn failed(&self, what: &str, path: &str, error: std::io::Error) -> Error {
        Error::config(format!("cannot {what} '{path}'"))
            .caused_by(error)
            .hint(format!("paths are relative to '{}'", self.directory.display()))
    }
}

fn is_glob(path: &str) -> bool {
    path.contains(['*', '?', '['])
}

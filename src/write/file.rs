//! JSON Lines in a file.
//!
//! A bounded run leaves a whole file or none: it writes beside the file and renames at the end. Otherwise
//! changes are appended, and what a confirmed epoch wrote survives the end of the process (not a power cut).

use std::fs::{self, File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::backoff::until_it_works;
use super::final_rows::FinalRows;
use super::lines::Lines;
use super::{Changes, Health, Identity, Receipt, Sink};
use crate::error::{Error, Result};
use crate::plan::{self, ChangeMode};
use crate::time::Epoch;

/// Bytes held back before they are written although nobody asked yet.
const BUFFER_BYTES: usize = 1 << 20;

/// Appends to a file, and takes back what was written in part before it tries again.
#[derive(Debug)]
pub(super) struct Log {
    file: File,
    /// Up to here the file is whole.
    good: u64,
}

/// The sink of `connector = 'file'`, and of every sink when a run has an output directory.
#[derive(Debug)]
pub(super) struct FileSink {
    sink: String,
    lines: Lines,
    path: PathBuf,
    bounded: bool,
    /// Where only the rows at the end are wanted.
    last: Option<FinalRows>,
    log: Option<Log>,
    buffer: Vec<u8>,
    epochs: Vec<(Epoch, Receipt)>,
    health: Arc<Health>,
}

impl FileSink {
    /// A sink into the file `path`.
    pub(super) fn new(sink: &plan::Sink, path: PathBuf, bounded: bool, health: Arc<Health>) -> Self {
        let last = bounded && sink.changes == ChangeMode::Updating;
        FileSink {
            sink: sink.name.clone(),
            lines: Lines::new(sink),
            path,
            bounded,
            last: last.then(|| FinalRows::new(sink)),
            log: None,
            buffer: Vec::new(),
            epochs: Vec::new(),
            health,
        }
    }

    /// Where a bounded run writes before it has ended.
    fn unfinished(&self) -> PathBuf {
        let mut name = self.path.as_os_str().to_owned();
        name.push(".unfinished");
        name.into()
    }

    /// Brings everything that is held back into the file.
    fn flush(&mut self) -> Result<()> {
        let log =
            self.log.as_mut().ok_or_else(|| Error::internal("a file sink was used before it was open"))?;
        let (path, buffer) = (&self.path, &self.buffer);
        until_it_works(&self.sink, &self.health, || log.append(path, buffer))?;
        self.buffer.clear();
        Ok(())
    }
}

impl Sink for FileSink {
    fn open(&mut self, _identity: &Identity) -> Result<Epoch> {
        if fs::metadata(&self.path).is_ok_and(|found| !found.is_file()) {
            return Err(Error::config(format!("{} is not a file", self.path.display()))
                .hint("the path of a file sink names a file that exists, or does not exist yet"));
        }
        let path = if self.bounded { self.unfinished() } else { self.path.clone() };
        self.log = Some(Log::open(&path, self.bounded)?);
        Ok(0)
    }

    fn write(&mut self, epoch: Epoch, changes: Changes) -> Result<()> {
        match &mut self.last {
            Some(last) => last.apply(&changes)?,
            None => self.lines.append(&changes, &mut self.buffer),
        }
        self.epochs.push((epoch, Receipt::default()));
        if self.buffer.len() >= BUFFER_BYTES { self.flush() } else { Ok(()) }
    }

    fn confirm(&mut self) -> Result<Vec<(Epoch, Receipt)>> {
        self.flush()?;
        Ok(std::mem::take(&mut self.epochs))
    }

    fn close(&mut self) -> Result<()> {
        if let Some(last) = &self.last {
            self.buffer = last.text();
        }
        self.flush()?;
        if !self.bounded {
            return Ok(());
        }
        let (from, to) = (self.unfinished(), &self.path);
        let synced = self.log.take().map_or(Ok(()), |log| log.file.sync_all());
        synced.and_then(|()| fs::rename(&from, to)).map_err(|error| away("cannot finish", to, error))
    }
}

impl Log {
    /// Opens or creates the file and its folder. A line without an end, left by a process that was killed,
    /// is cut off.
    pub(super) fn open(path: &Path, empty: bool) -> Result<Self> {
        let refused = |error| {
            Error::config(format!("cannot open the file {}", path.display()))
                .caused_by(error)
                .hint("the folder must exist or be creatable, and be writable")
        };
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(refused)?;
        }
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(empty).open(path).map_err(refused)?;
        let good = whole_lines(&file).map_err(refused)?;
        Ok(Log { file, good })
    }

    /// Appends `bytes`; after an error nothing of them counts as written.
    pub(super) fn append(&mut self, path: &Path, bytes: &[u8]) -> Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        let mut attempt = || {
            if self.file.metadata()?.len() != self.good {
                self.file.set_len(self.good)?;
            }
            self.file.seek(SeekFrom::Start(self.good))?;
            self.file.write_all(bytes)
        };
        attempt().map_err(|error| away("cannot write to", path, error))?;
        self.good += bytes.len() as u64;
        Ok(())
    }
}

/// Length of the file up to the end of its last whole line.
fn whole_lines(mut file: &File) -> std::io::Result<u64> {
    use std::io::Read;
    let mut end = file.metadata()?.len();
    let mut block = [0; 4096];
    while end > 0 {
        let start = end.saturating_sub(block.len() as u64);
        let part = &mut block[..(end - start) as usize];
        file.seek(SeekFrom::Start(start))?;
        file.read_exact(part)?;
        if let Some(newline) = part.iter().rposition(|byte| *byte == b'\n') {
            return Ok(start + newline as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}

/// A full disk, a folder that is gone for a while: errors that pass.
fn away(what: &str, path: &Path, error: std::io::Error) -> Error {
    Error::away(format!("{what} {}", path.display())).caused_by(error)
}

#[cfg(test)]
mod tests {
    use super::super::Op;
    use super::super::testing::{changes, identity, sink};
    use super::*;

    fn run(bounded: bool, updating: bool, path: &Path) -> String {
        let mut plan = sink("s", "k text, n int");
        plan.changes = if updating { ChangeMode::Updating } else { ChangeMode::AppendOnly };
        plan.key = updating.then(|| vec![0]);
        let mut file = FileSink::new(&plan, path.to_owned(), bounded, Health::new());
        file.open(&identity()).expect("open");
        let rows = [r#"{"k":"b","n":1}"#, r#"{"k":"a","n":2}"#, r#"{"k":"c","n":3}"#];
        file.write(1, changes(&plan, &rows, &[Op::Insert; 3])).expect("write");
        file.write(2, changes(&plan, &[r#"{"k":"b","n":4}"#], &[Op::Update])).expect("write");
        file.write(3, changes(&plan, &[r#"{"k":"c","n":3}"#], &[Op::Delete])).expect("write");
        let epochs: Vec<Epoch> = file.confirm().expect("confirm").iter().map(|(epoch, _)| *epoch).collect();
        assert_eq!(epochs, [1, 2, 3]);
        assert!(!(bounded && path.exists()), "nobody must see half of a bounded run");
        file.close().expect("close");
        fs::read_to_string(path).expect("the file")
    }

    #[test]
    fn a_bounded_run_leaves_the_final_rows_by_key() {
        let folder = tempfile::tempdir().expect("folder");
        insta::assert_snapshot!(run(true, true, &folder.path().join("x/s.jsonl")), @r#"
        {"k":"a","n":2}
        {"k":"b","n":4}
        "#);
    }

    #[test]
    fn otherwise_changes_begin_with_their_kind() {
        let folder = tempfile::tempdir().expect("folder");
        insta::assert_snapshot!(run(false, true, &folder.path().join("s.jsonl")), @r#"
        {"op":"insert","k":"b","n":1}
        {"op":"insert","k":"a","n":2}
        {"op":"insert","k":"c","n":3}
        {"op":"update","k":"b","n":4}
        {"op":"delete","k":"c","n":3}
        "#);
    }

    #[test]
    fn a_line_cut_short_by_a_crash_is_taken_back() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("s.jsonl");
        fs::write(&path, "{\"old\":1}\n{\"k\":\"to").expect("write");
        let mut log = Log::open(&path, false).expect("open");
        log.append(&path, b"{}\n").expect("append");
        assert_eq!(fs::read_to_string(&path).expect("read"), "{\"old\":1}\n{}\n");
    }

    #[test]
    fn equal_rows_without_a_key_are_counted() {
        let plan = sink("s", "n int");
        let mut rows = FinalRows::new(&plan);
        let one = r#"{"n":1}"#;
        rows.apply(&changes(&plan, &[one, one, r#"{"n":2}"#], &[Op::Insert; 3])).expect("apply");
        rows.apply(&changes(&plan, &[one, r#"{"n":2}"#], &[Op::Delete; 2])).expect("apply");
        assert_eq!(rows.text(), b"{\"n\":1}\n");
    }
}

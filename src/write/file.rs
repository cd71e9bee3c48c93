//! Rows in a file, as JSON Lines or CSV.
//!
//! A bounded run leaves a whole file or none: it writes beside the file and renames at the end. Otherwise
//! changes are appended, and what a confirmed epoch wrote survives the end of the process (not a power cut).

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::backoff::until_it_works;
use super::final_rows::FinalRows;
use super::lines::Lines;
use super::{Changes, Health, Identity, Receipt, Sink};
use crate::csv::Cutter;
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
        let last = bounded && (sink.changes == ChangeMode::Updating || sink.replaces);
        FileSink {
            sink: sink.name.clone(),
            lines: Lines::of_changes(sink),
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
        let log = Log::open(&path, self.bounded, self.lines.cutter())?;
        let header = self.lines.header();
        if log.good > 0 && !begins_with(&log.file, &header).map_err(|error| refused(&path, error))? {
            return Err(Error::config(format!("{} has other columns than the sink", path.display()))
                .hint("move the file away, or write to another one"));
        }
        if log.good == 0 && self.last.is_none() {
            self.buffer = header;
        }
        self.log = Some(log);
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
    pub(super) fn open(path: &Path, empty: bool, cutter: Option<Cutter>) -> Result<Self> {
        let refused = |error| refused(path, error);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(refused)?;
        }
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(empty).open(path).map_err(refused)?;
        let good = match cutter {
            None => whole_lines(&file),
            Some(cutter) => whole_records(&file, cutter),
        };
        let good = good.map_err(refused)?;
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

fn refused(path: &Path, error: std::io::Error) -> Error {
    Error::config(format!("cannot open the file {}", path.display()))
        .caused_by(error)
        .hint("the folder must exist or be creatable, and be writable")
}

fn begins_with(mut file: &File, header: &[u8]) -> std::io::Result<bool> {
    file.seek(SeekFrom::Start(0))?;
    let mut found = Vec::new();
    file.take(header.len() as u64).read_to_end(&mut found)?;
    Ok(found == header)
}

/// Length of the file up to the end of its last whole record. Whether a line break ends one is known only from
/// all that stands before it.
fn whole_records(mut file: &File, mut cutter: Cutter) -> std::io::Result<u64> {
    file.seek(SeekFrom::Start(0))?;
    let (mut whole, mut at) = (0, 0);
    let mut block = vec![0; 64 << 10];
    loop {
        let length = file.read(&mut block)?;
        if length == 0 {
            return Ok(whole);
        }
        let mut part = &block[..length];
        while !part.is_empty() {
            let (taken, ends) = cutter.take(part);
            part = &part[taken..];
            at += taken as u64;
            if ends {
                whole = at;
            }
        }
    }
}

/// Length of the file up to the end of its last whole line.
fn whole_lines(mut file: &File) -> std::io::Result<u64> {
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
    use crate::csv::Dialect;

    fn run(bounded: bool, updating: bool, path: &Path) -> String {
        run_as(plan::Format::Json, bounded, updating, path)
    }

    fn run_as(format: plan::Format, bounded: bool, updating: bool, path: &Path) -> String {
        let mut plan = plan::Sink { format, ..sink("s", "k text, n int") };
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
    fn csv_begins_with_one_header_also_when_it_is_continued() {
        let folder = tempfile::tempdir().expect("folder");
        let csv = || plan::Format::Csv(Dialect::default());
        let path = folder.path().join("s.csv");
        insta::assert_snapshot!(run_as(csv(), true, true, &path), @r"
        k,n
        a,2
        b,4
        ");
        fs::remove_file(&path).expect("removed");
        let once = run_as(csv(), false, true, &path);
        let (_, rows) = once.split_once('\n').expect("a header");
        insta::assert_snapshot!(once, @r"
        op,k,n
        insert,b,1
        insert,a,2
        insert,c,3
        update,b,4
        delete,c,3
        ");
        // What a process left unfinished is taken back, also where a line ends in the middle of a record.
        fs::write(&path, format!("{once}insert,\"x\ny")).expect("written");
        assert_eq!(run_as(csv(), false, true, &path), format!("{once}{rows}"));
        let mut other = FileSink::new(
            &plan::Sink { format: csv(), ..sink("s", "n int") },
            path.clone(),
            false,
            Health::new(),
        );
        let error = other.open(&identity()).expect_err("other columns");
        assert!(error.to_string().contains("has other columns than the sink"), "{error}");
        let none = FileSink::new(
            &plan::Sink { format: csv(), ..sink("s", "n int") },
            path.clone(),
            true,
            Health::new(),
        );
        let mut none = none;
        none.open(&identity()).and_then(|_| none.close()).expect("an empty run");
        assert_eq!(fs::read_to_string(&path).expect("the file"), "n\n");
    }

    #[test]
    fn a_line_cut_short_by_a_crash_is_taken_back() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("s.jsonl");
        fs::write(&path, "{\"old\":1}\n{\"k\":\"to").expect("write");
        let mut log = Log::open(&path, false, None).expect("open");
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

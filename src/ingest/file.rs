//! JSON Lines files, plain or gzip: one line is one record, its offset is its number from 0.

use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind as IoKind, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use flate2::bufread::MultiGzDecoder;

use super::{Connector, Reader, RecordSink};
use crate::error::{Error, Result};
use crate::plan::FileSource;
use crate::record::{FoundPartition, Partition, Record};

/// Records that one call of `read` takes from each file.
const RECORDS_PER_FILE: usize = 2_000;
/// How much is read from the disk at once.
const READ_BYTES: usize = 128 << 10;
/// What a folder is searched for, each also with `.gz`.
const EXTENSIONS: [&str; 3] = [".jsonl", ".ndjson", ".json"];
const BOM: &[u8] = b"\xEF\xBB\xBF";

/// The files of one source. The partition of a file is its path.
#[derive(Debug)]
pub struct FileConnector {
    directory: PathBuf,
    path: String,
    max_record_bytes: usize,
}

impl FileConnector {
    /// The path of the source is relative to `directory`.
    pub fn new(directory: impl Into<PathBuf>, source: &FileSource, max_record_bytes: usize) -> Self {
        FileConnector { directory: directory.into(), path: source.path.clone(), max_record_bytes }
    }

    /// Paths of the files as they are named, sorted.
    fn files(&self) -> Result<Vec<String>> {
        let path = self.directory.join(&self.path);
        let mut files = match std::fs::metadata(&path) {
            Ok(found) if found.is_dir() => self.folder(&path)?,
            Ok(_) => return Ok(vec![self.path.clone()]),
            Err(error) if error.kind() == IoKind::NotFound && is_glob(&self.path) => self.matches()?,
            Err(error) => return Err(self.failed("find", &self.path, error)),
        };
        if files.is_empty() {
            let hint =
                "a folder is searched for *.jsonl, *.ndjson and *.json, each also with .gz; a glob for files";
            return Err(Error::config(format!("no input file in '{}'", self.path)).hint(hint));
        }
        files.sort_unstable();
        Ok(files)
    }

    fn folder(&self, path: &Path) -> Result<Vec<String>> {
        let mut files = Vec::new();
        for entry in std::fs::read_dir(path).map_err(|error| self.failed("list", &self.path, error))? {
            let entry = entry.map_err(|error| self.failed("list", &self.path, error))?;
            let name = self.text(entry.file_name().into())?;
            let plain = name.strip_suffix(".gz").unwrap_or(&name);
            if EXTENSIONS.iter().any(|extension| plain.ends_with(extension)) && entry.path().is_file() {
                files.push(format!("{}/{name}", self.path.trim_end_matches('/')));
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
        let paths = glob::glob(&pattern)
            .map_err(|error| Error::config(format!("'{}' is not a glob", self.path)).caused_by(error))?;
        let mut files = Vec::new();
        for path in paths {
            let path = path.map_err(|error| self.failed("list", &self.path, error.into()))?;
            if path.is_file() {
                files.push(self.text(path.strip_prefix(&self.directory).unwrap_or(&path).to_owned())?);
            }
        }
        Ok(files)
    }

    /// Partitions are told apart by their names, in every process, so a name is text.
    fn text(&self, path: PathBuf) -> Result<String> {
        path.into_os_string().into_string().map_err(|path| {
            Error::config(format!("the file name {path:?} is not UTF-8")).hint("rename the file")
        })
    }

    fn failed(&self, what: &str, path: &str, error: std::io::Error) -> Error {
        failed(&self.directory, what, path, error)
    }
}

fn failed(directory: &Path, what: &str, path: &str, error: std::io::Error) -> Error {
    Error::config(format!("cannot {what} '{path}'"))
        .caused_by(error)
        .hint(format!("paths are relative to '{}'", directory.display()))
}

fn is_glob(path: &str) -> bool {
    path.contains(['*', '?', '['])
}

impl Connector for FileConnector {
    fn find(&self, _known: Option<&[Partition]>) -> Result<Vec<FoundPartition>> {
        let files = self.files()?.into_iter().enumerate();
        let partition = |(id, name): (usize, String)| {
            FoundPartition::whole(Partition { id: id as u32, name: name.as_str().into(), number: 0 })
        };
        Ok(files.map(partition).collect())
    }

    fn reader(&self) -> Box<dyn Reader> {
        let (directory, max_record_bytes) = (self.directory.clone(), self.max_record_bytes);
        Box::new(FileReader { directory, max_record_bytes, files: Vec::new() })
    }
}

struct FileReader {
    directory: PathBuf,
    max_record_bytes: usize,
    files: Vec<Lines>,
}

impl Reader for FileReader {
    fn add(&mut self, partitions: &[FoundPartition]) -> Result<()> {
        for found in partitions {
            let name = found.partition.name.to_string();
            let opened = File::open(self.directory.join(&name))
                .map_err(|error| failed(&self.directory, "open", &name, error))?;
            self.files.push(Lines::new(name, opened, self.max_record_bytes));
        }
        Ok(())
    }

    fn read(&mut self, wanted: &[bool], _max_wait: Duration, out: &mut dyn RecordSink) -> Result<()> {
        for (index, file) in self.files.iter_mut().enumerate() {
            if wanted[index] && file.input.is_some() {
                file.read(index, out)?;
            }
        }
        Ok(())
    }
}

/// The lines of one file.
struct Lines {
    name: String,
    /// `None` behind the end.
    input: Option<Box<dyn BufRead + Send>>,
    max_record_bytes: usize,
    line: Vec<u8>,
    /// Offset of the next record.
    next: u64,
    /// Lines read, blank ones included.
    number: u64,
}

impl Lines {
    fn new(name: String, file: File, max_record_bytes: usize) -> Self {
        let plain = BufReader::with_capacity(READ_BYTES, file);
        let input: Box<dyn BufRead + Send> = if name.ends_with(".gz") {
            Box::new(BufReader::with_capacity(READ_BYTES, MultiGzDecoder::new(plain)))
        } else {
            Box::new(plain)
        };
        Lines { name, input: Some(input), max_record_bytes, line: Vec::new(), next: 0, number: 0 }
    }

    fn read(&mut self, index: usize, out: &mut dyn RecordSink) -> Result<()> {
        let Some(input) = &mut self.input else { return Ok(()) };
        for _ in 0..RECORDS_PER_FILE {
            self.line.clear();
            // Room for a BOM, a CR, and the one byte that shows the decoder that the record is too large.
            let room = self.max_record_bytes.saturating_add(BOM.len() + 2);
            let Some(whole) = next_line(input.as_mut(), room, &mut self.line)
                .map_err(|error| unreadable(&self.name, self.number + 1, error))?
            else {
                self.input = None;
                out.caught_up(index, self.next);
                out.ended(index);
                return Ok(());
            };
            let first = self.number == 0;
            self.number += 1;
            let mut line = &self.line[..];
            if first {
                line = line.strip_prefix(BOM).unwrap_or(line);
            }
            if whole {
                line = line.strip_suffix(b"\r").unwrap_or(line);
                if line.trim_ascii().is_empty() {
                    continue;
                }
            }
            line = &line[..line.len().min(self.max_record_bytes.saturating_add(1))];
            let payload = Some(line);
            out.record(
                index,
                &Record { offset: self.next, key: None, payload, headers: &[], timestamp_ms: None },
            );
            self.next += 1;
        }
        Ok(())
    }
}

/// Reads a line, of which at most `room` bytes are kept, without its LF. Tells whether it was kept whole;
/// `None` at the end of the input.
fn next_line(input: &mut dyn BufRead, room: usize, line: &mut Vec<u8>) -> std::io::Result<Option<bool>> {
    if (&mut *input).take(room as u64 + 1).read_until(b'\n', line)? == 0 {
        return Ok(None);
    }
    if line.pop_if(|last| *last == b'\n').is_some() || line.len() <= room {
        return Ok(Some(true));
    }
    line.truncate(room);
    input.skip_until(b'\n')?;
    Ok(Some(false))
}

fn unreadable(name: &str, line: u64, error: std::io::Error) -> Error {
    let message = format!("cannot read '{name}' at line {line}");
    let hint = match error.kind() {
        IoKind::UnexpectedEof if name.ends_with(".gz") => "the gzip file is cut off: copy it again",
        _ if name.ends_with(".gz") => "the gzip file is damaged: `gzip -t` tests it",
        _ => "look at the disk and at the permissions of the file",
    };
    Error::config(message).caused_by(error).hint(hint)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;
    use crate::error::ErrorKind;
    use crate::ingest::collect::Collected;

    const MAX: usize = 16;

    fn connector(directory: &Path, path: &str) -> FileConnector {
        FileConnector::new(directory, &FileSource { path: path.into() }, MAX)
    }

    fn names(directory: &Path, path: &str) -> Vec<String> {
        let found = connector(directory, path).find(None).expect("found");
        let partitions: Vec<_> = found.into_iter().map(|found| found.partition).collect();
        assert!(partitions.iter().enumerate().all(|(place, p)| p.id == place as u32 && p.number == 0));
        partitions.iter().map(|partition| partition.name.to_string()).collect()
    }

    fn read(directory: &Path, path: &str) -> (Collected, Result<()>) {
        let connector = connector(directory, path);
        let partitions = connector.find(None).expect("found");
        let mut reader = connector.open(&partitions).expect("opened");
        let mut out = Collected::new(partitions.len());
        while out.ended.contains(&false) {
            let wanted = vec![true; partitions.len()];
            if let Err(error) = reader.read(&wanted, Duration::ZERO, &mut out) {
                return (out, Err(error));
            }
        }
        (out, Ok(()))
    }

    fn gzip(text: &str) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(text.as_bytes()).expect("compressed");
        encoder.finish().expect("compressed")
    }

    #[test]
    fn lines_become_records_and_blank_lines_none() {
        let folder = tempfile::tempdir().expect("a folder");
        let text = "\u{feff}{\"a\":1}\r\n\r\n  \n\n{\"a\":2}\n\u{feff}x\n{\"a\":3}";
        std::fs::write(folder.path().join("a.jsonl"), text).expect("written");
        let (out, result) = read(folder.path(), "a.jsonl");
        result.expect("read");
        assert_eq!(out.payloads(0), ["{\"a\":1}", "{\"a\":2}", "\u{feff}x", "{\"a\":3}"]);
        assert_eq!((out.offsets(0), out.caught_up[0]), (vec![0, 1, 2, 3], Some(4)));
        for empty in ["", "\u{feff}", "\n\r\n"] {
            std::fs::write(folder.path().join("a.jsonl"), empty).expect("written");
            assert_eq!(read(folder.path(), "a.jsonl").0.counts(), [0]);
        }
    }

    #[test]
    fn of_a_long_line_only_what_shows_that_it_is_too_long() {
        let folder = tempfile::tempdir().expect("a folder");
        let (fits, long) = ("f".repeat(MAX), " ".repeat(3 * READ_BYTES));
        let text = format!("{fits}\r\n{fits}+\r\n{long}x\n\u{feff}{fits}\n{fits}");
        std::fs::write(folder.path().join("a.jsonl"), text).expect("written");
        let (out, _) = read(folder.path(), "a.jsonl");
        let sizes: Vec<_> = out.payloads(0).iter().map(String::len).collect();
        assert_eq!(sizes, [MAX, MAX + 1, MAX + 1, MAX + 1, MAX]);
    }

    #[test]
    fn a_large_file_is_read_in_pieces() {
        let folder = tempfile::tempdir().expect("a folder");
        let text: String = (0..50_000).map(|n| format!("{n}\n")).collect();
        std::fs::write(folder.path().join("a.jsonl"), &text).expect("written");
        std::fs::write(folder.path().join("b.jsonl.gz"), gzip(&text)).expect("written");
        let (out, _) = read(folder.path(), "*");
        assert_eq!(out.counts(), [50_000, 50_000]);
        assert_eq!(out.records[0], out.records[1]);
        assert_eq!(out.payloads(1)[49_999], "49999");
    }

    #[test]
    fn a_cut_gzip_file_gives_what_is_readable_and_then_an_error() {
        let folder = tempfile::tempdir().expect("a folder");
        let text: String = (0..50_000).map(|n| format!("{}\n", n * 7919 % 10_007)).collect();
        let bytes = [gzip("first\n"), gzip(&text)].concat();
        std::fs::write(folder.path().join("a.json.gz"), &bytes[..bytes.len() / 2]).expect("written");
        let (out, result) = read(folder.path(), "a.json.gz");
        let error = result.expect_err("cut");
        assert!(out.counts()[0] > 1_000, "{:?}", out.counts());
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(
            error.to_string().contains("'a.json.gz'") && error.to_string().contains("cut off"),
            "{error}"
        );
    }

    #[test]
    fn a_path_is_a_file_a_folder_or_a_glob() {
        let folder = tempfile::tempdir().expect("a folder");
        let input = folder.path().join("input [1]");
        std::fs::create_dir_all(input.join("sub.jsonl")).expect("created");
        for name in ["b.jsonl.gz", "a.ndjson", "c.json", "notes.txt", "10.jsonl", "9.jsonl"] {
            std::fs::write(input.join(name), "").expect("written");
        }
        let all = ["10.jsonl", "9.jsonl", "a.ndjson", "b.jsonl.gz", "c.json"];
        assert_eq!(names(folder.path(), "input [1]/"), all.map(|name| format!("input [1]/{name}")));
        assert_eq!(names(&input, "*.jsonl"), ["10.jsonl", "9.jsonl"]);
        assert_eq!(names(&input, "notes.txt"), ["notes.txt"]);
        assert_eq!(names(folder.path(), "in*/[ab].*").len(), 2);
        for nothing in ["gone.jsonl", "*.csv", "a[", "input [1]/sub.jsonl"] {
            let error = connector(folder.path(), nothing).find(None).expect_err(nothing);
            assert_eq!(error.kind(), ErrorKind::Config, "{error}");
        }
    }
}

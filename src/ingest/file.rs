//! Files of JSON Lines or CSV, plain or gzip: a record's offset is its number in the file, from 0.

mod find;
mod frames;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind as IoKind};
use std::path::PathBuf;
use std::time::Duration;

use flate2::bufread::MultiGzDecoder;

use self::find::Find;
use self::frames::Frames;
use super::{Connector, Reader, RecordSink};
use crate::error::{Error, Result};
use crate::plan::{FileSource, Format};
use crate::record::{FoundPartition, Partition, Record};

/// Records that one call of `read` takes from each file.
const RECORDS_PER_FILE: usize = 2_000;
/// How much is read from the disk at once.
const READ_BYTES: usize = 128 << 10;

/// The files of one source. The partition of a file is its path.
#[derive(Debug)]
pub struct FileConnector {
    find: Find,
    format: Format,
    max_record_bytes: usize,
}

impl FileConnector {
    /// The path of the source is relative to `directory`.
    pub fn new(
        directory: impl Into<PathBuf>,
        source: &FileSource,
        format: &Format,
        max_record_bytes: usize,
    ) -> Self {
        let find = Find::new(directory.into(), &source.path, format);
        FileConnector { find, format: format.clone(), max_record_bytes }
    }
}

impl Connector for FileConnector {
    fn find(&self, _known: Option<&[Partition]>) -> Result<Vec<FoundPartition>> {
        let files = self.find.files()?.into_iter().enumerate();
        let partition = |(id, name): (usize, String)| {
            FoundPartition::whole(Partition { id: id as u32, name: name.as_str().into(), number: 0 })
        };
        Ok(files.map(partition).collect())
    }

    fn reader(&self) -> Box<dyn Reader> {
        let (find, format) = (self.find.clone(), self.format.clone());
        Box::new(FileReader { find, format, max_record_bytes: self.max_record_bytes, files: Vec::new() })
    }
}

struct FileReader {
    find: Find,
    format: Format,
    max_record_bytes: usize,
    files: Vec<Records>,
}

impl Reader for FileReader {
    fn add(&mut self, partitions: &[FoundPartition]) -> Result<()> {
        for found in partitions {
            let name = found.partition.name.to_string();
            let opened = File::open(self.find.directory.join(&name))
                .map_err(|error| self.find.failed("open", &name, error))?;
            self.files.push(Records::new(name, opened, &self.format, self.max_record_bytes));
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

/// The records of one file.
struct Records {
    name: String,
    /// `None` behind the end.
    input: Option<Box<dyn BufRead + Send>>,
    frames: Frames,
    /// The next record is the header.
    header: bool,
    /// Offset of the next record.
    next: u64,
    /// Records read, the header and blank lines included.
    number: u64,
}

impl Records {
    fn new(name: String, file: File, format: &Format, max_record_bytes: usize) -> Self {
        let plain = BufReader::with_capacity(READ_BYTES, file);
        let input: Box<dyn BufRead + Send> = if name.ends_with(".gz") {
            Box::new(BufReader::with_capacity(READ_BYTES, MultiGzDecoder::new(plain)))
        } else {
            Box::new(plain)
        };
        Records {
            name,
            input: Some(input),
            frames: Frames::new(format, max_record_bytes),
            header: matches!(format, Format::Csv(dialect) if dialect.header),
            next: 0,
            number: 0,
        }
    }

    fn read(&mut self, index: usize, out: &mut dyn RecordSink) -> Result<()> {
        for _ in 0..RECORDS_PER_FILE {
            let Some(input) = &mut self.input else { return Ok(()) };
            let whole = self
                .frames
                .advance(input.as_mut())
                .map_err(|error| unreadable(&self.name, self.number + 1, error))?;
            if whole || self.frames.has_begun() {
                self.hand_on(index, out);
            }
            if !whole {
                self.input = None;
                out.caught_up(index, self.next);
                out.ended(index);
            }
        }
        Ok(())
    }

    /// Gives out the record that was read.
    fn hand_on(&mut self, index: usize, out: &mut dyn RecordSink) {
        self.number += 1;
        if let Some((payload, left_out)) = self.frames.record() {
            let record = Record { left_out, ..Record::of(self.next, payload) };
            if std::mem::take(&mut self.header) {
                out.header(index, &record);
            } else {
                out.record(index, &record);
                self.next += 1;
            }
        }
        self.frames.clear();
    }
}

fn unreadable(name: &str, record: u64, error: std::io::Error) -> Error {
    let message = format!("cannot read '{name}' at record {record}");
    let hint = match error.kind() {
        IoKind::UnexpectedEof if name.ends_with(".gz") => "the gzip file is cut off: copy it again",
        _ if name.ends_with(".gz") => "the gzip file is damaged: `gzip -t` tests it",
        _ => "look at the disk and at the permissions of the file",
    };
    Error::config(message).caused_by(error).hint(hint)
}

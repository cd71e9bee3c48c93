//! The records of one file.

use std::fs::{File, Metadata};
use std::io::{BufRead, BufReader, ErrorKind as IoKind};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use flate2::bufread::MultiGzDecoder;

use super::find::Find;
use super::frames::Frames;
use crate::error::{Error, Result};
use crate::ingest::RecordSink;
use crate::plan::Format;
use crate::record::Record;

/// Records that one call takes from a file.
const RECORDS_MAX: usize = 2_000;
/// How much is read from the disk at once.
pub(super) const READ_BYTES: usize = 128 << 10;

type Input = Box<dyn BufRead + Send>;

/// Reads a file from its beginning.
pub(super) struct Records {
    name: String,
    path: PathBuf,
    state: State,
    frames: Frames,
    /// The next record is the header.
    header: bool,
    /// Offset of the next record.
    next: u64,
    /// Records read, the header and blank lines included.
    number: u64,
    /// It was said that nothing follows, for now.
    told: bool,
}

enum State {
    /// A gzip file that may still be written; its length when it was looked at last.
    Incomplete(Option<u64>),
    Open {
        input: Input,
        identity: (u64, u64),
    },
    Ended,
}

/// Whether a file has given something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    More,
    Nothing,
}

impl Records {
    /// The file `name`. One that `grows` may be gone already.
    pub(super) fn open(
        find: &Find,
        name: String,
        format: &Format,
        max_record_bytes: usize,
        grows: bool,
    ) -> Result<Self> {
        let path = find.directory.join(&name);
        let state = if grows && is_gzip(&name) {
            State::Incomplete(None)
        } else {
            match open(&path, &name) {
                Ok(state) => state,
                Err(error) if grows && error.kind() == IoKind::NotFound => {
                    tracing::warn!(file = name, "the file is gone before it was read");
                    State::Ended
                }
                Err(error) => return Err(find.failed("open", &name, error)),
            }
        };
        Ok(Records {
            frames: Frames::new(format, &name, max_record_bytes),
            name,
            path,
            state,
            header: matches!(format, Format::Csv(dialect) if dialect.header),
            next: 0,
            number: 0,
            told: false,
        })
    }

    /// Reads a part of a file that has an end.
    pub(super) fn read(&mut self, index: usize, out: &mut dyn RecordSink) -> Result<()> {
        if matches!(self.state, State::Ended) || self.part(index, out)? {
            return Ok(());
        }
        self.rest(index, out);
        self.state = State::Ended;
        out.caught_up(index, self.next);
        out.ended(index);
        Ok(())
    }

    /// Whether the file was read to where it ended when it was read.
    pub(super) fn is_at_end(&self) -> bool {
        self.told
    }

    /// Reads a part of a file that may grow. `look`: it is time to look whether it is still the same.
    pub(super) fn read_on(&mut self, index: usize, look: bool, out: &mut dyn RecordSink) -> Result<Told> {
        if matches!(self.state, State::Incomplete(_)) && look {
            self.open_if_complete()?;
        }
        let before = self.number;
        if matches!(self.state, State::Open { .. }) && self.part(index, out)? {
            return Ok(Told::More);
        }
        if let State::Open { .. } = self.state
            && is_gzip(&self.name)
        {
            // It was whole when it was opened.
            self.rest(index, out);
            self.state = State::Ended;
        }
        if let State::Open { identity, .. } = self.state
            && look
        {
            self.compare(identity, index, out)?;
        }
        if !self.told || self.number > before {
            self.told = true;
            out.caught_up(index, self.next);
        }
        Ok(if self.number > before { Told::More } else { Told::Nothing })
    }

    /// Gives out records up to the end of the input, or as many as one call takes. Whether there may be more.
    fn part(&mut self, index: usize, out: &mut dyn RecordSink) -> Result<bool> {
        for _ in 0..RECORDS_MAX {
            let State::Open { input, .. } = &mut self.state else { return Ok(false) };
            let whole = self
                .frames
                .advance(input.as_mut())
                .map_err(|error| unreadable(&self.name, self.number + 1, error))?;
            if !whole {
                return Ok(false);
            }
            self.hand_on(index, true, out);
        }
        Ok(true)
    }

    /// Gives out what stands behind the last line break.
    fn rest(&mut self, index: usize, out: &mut dyn RecordSink) {
        if self.frames.has_begun() {
            self.hand_on(index, false, out);
        }
    }

    /// Gives out the record that was read.
    fn hand_on(&mut self, index: usize, whole: bool, out: &mut dyn RecordSink) {
        self.number += 1;
        if let Some((payload, left_out)) = self.frames.record(whole) {
            self.told = false;
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

    /// Opens a gzip file when nobody writes to it any more and it is whole.
    fn open_if_complete(&mut self) -> Result<()> {
        let State::Incomplete(seen) = &mut self.state else { return Ok(()) };
        let length = match std::fs::metadata(&self.path) {
            Ok(found) => found.len(),
            Err(error) if error.kind() == IoKind::NotFound => {
                tracing::warn!(file = self.name, "the file is gone before it was whole");
                self.state = State::Ended;
                return Ok(());
            }
            Err(error) => return Err(unreadable(&self.name, 1, error)),
        };
        if seen.replace(length) != Some(length) {
            return Ok(());
        }
        let whole = File::open(&self.path).and_then(|file| {
            let mut decoder = MultiGzDecoder::new(BufReader::with_capacity(READ_BYTES, file));
            std::io::copy(&mut decoder, &mut std::io::sink())
        });
        match whole {
            Ok(_) => self.state = open(&self.path, &self.name).map_err(|e| unreadable(&self.name, 1, e))?,
            Err(error) if error.kind() == IoKind::UnexpectedEof => {
                tracing::debug!(file = self.name, "the gzip file is not whole yet");
            }
            Err(error) => return Err(unreadable(&self.name, 1, error)),
        }
        Ok(())
    }

    /// A file that was read to its end is still the same and not shorter, or gone. Of one that is gone nothing
    /// will follow, so a line without an end is a record.
    fn compare(&mut self, identity: (u64, u64), index: usize, out: &mut dyn RecordSink) -> Result<()> {
        let read = self.frames.position();
        let what = match std::fs::metadata(&self.path) {
            Ok(found) if self::identity(&found) != identity => "was replaced by another one".to_owned(),
            Ok(found) if found.len() < read => {
                format!("was cut to {} bytes, of which {read} had been read", found.len())
            }
            Ok(_) => return Ok(()),
            Err(error) if error.kind() == IoKind::NotFound => {
                tracing::info!(
                    file = self.name,
                    records = self.next,
                    "the file is gone; it was read to its end"
                );
                self.rest(index, out);
                self.state = State::Ended;
                return Ok(());
            }
            Err(error) => return Err(unreadable(&self.name, self.number + 1, error)),
        };
        let hint = "files of a monitored path only grow; to begin anew, use another name. \
                    A restart reads what is there now";
        Err(Error::config(format!("'{}' {what}, behind record {}", self.name, self.next)).hint(hint))
    }
}

fn open(path: &PathBuf, name: &str) -> std::io::Result<State> {
    let file = File::open(path)?;
    let identity = identity(&file.metadata()?);
    let plain = BufReader::with_capacity(READ_BYTES, file);
    let input: Input = if is_gzip(name) {
        Box::new(BufReader::with_capacity(READ_BYTES, MultiGzDecoder::new(plain)))
    } else {
        Box::new(plain)
    };
    Ok(State::Open { input, identity })
}

fn identity(found: &Metadata) -> (u64, u64) {
    (found.dev(), found.ino())
}

fn is_gzip(name: &str) -> bool {
    name.ends_with(".gz")
}

fn unreadable(name: &str, record: u64, error: std::io::Error) -> Error {
    let message = format!("cannot read '{name}' at record {record}");
    let hint = match error.kind() {
        IoKind::UnexpectedEof if is_gzip(name) => "the gzip file is cut off: copy it again",
        _ if is_gzip(name) => "the gzip file is damaged: `gzip -t` tests it",
        _ => "look at the disk and at the permissions of the file",
    };
    Error::config(message).caused_by(error).hint(hint)
}

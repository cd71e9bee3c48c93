//! Reading one partition, also while it grows.

use std::fs::File;
use std::io::ErrorKind as IoKind;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::PathBuf;

use super::{BODY_MAX, BODY_MIN, FRAME_HEAD, MAGIC, checksum, failed};
use crate::error::{Error, Result};
use crate::record::Record;

/// What is asked of the file at once.
const READ_BYTES: usize = 256 << 10;

/// Reads one partition file from the beginning on and goes on where it grows.
#[derive(Debug)]
pub struct LogReader {
    path: PathBuf,
    /// Opened when it is there.
    file: Option<File>,
    /// Place of the next record in the file; 0 before the magic was seen.
    position: u64,
    /// Offset of the next record.
    next: u64,
    /// Bytes of the file from `position - consumed` on, the first `filled` are valid.
    buffer: Vec<u8>,
    consumed: usize,
    filled: usize,
}

/// What is under the name of a file that is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Named {
    /// The file itself, or what will be opened.
    Itself,
    Nothing,
    Another,
}

/// What stands at the place of the next record.
enum Frame {
    /// A record whose body has this length.
    Whole(usize),
    /// More than is in the buffer: the whole frame has this length.
    Longer(usize),
    /// No record: unfinished, if it is at the end of the file.
    Broken,
}

impl LogReader {
    /// A reader at offset 0. The file need not exist yet.
    pub fn open(path: PathBuf) -> Self {
        LogReader { path, file: None, position: 0, next: 0, buffer: Vec::new(), consumed: 0, filled: 0 }
    }

    /// Whether the file was deleted or replaced. One that is open can still be read.
    pub fn named(&self) -> Result<Named> {
        let failed = |error| failed("look at", &self.path, error);
        let there = match std::fs::metadata(&self.path) {
            Ok(there) => there,
            Err(error) if error.kind() == IoKind::NotFound => return Ok(Named::Nothing),
            Err(error) => return Err(failed(error)),
        };
        let Some(file) = &self.file else { return Ok(Named::Itself) };
        let read = file.metadata().map_err(failed)?;
        let same = (read.dev(), read.ino()) == (there.dev(), there.ino());
        Ok(if same { Named::Itself } else { Named::Another })
    }

    /// Whether there was a file to read.
    pub fn is_open(&self) -> bool {
        self.file.is_some()
    }

    /// The offset that the next record will have.
    pub fn next_offset(&self) -> u64 {
        self.next
    }

    /// Place of the next record in the file; 0 while there is not even the beginning.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// Hands on at most `max` records; 0 means that the reader stands at the end for now.
    pub fn read(&mut self, max: usize, take: &mut dyn FnMut(&Record<'_>)) -> Result<usize> {
        let mut count = 0;
        // What an earlier call has left in the buffer can be half a record that was replaced since.
        let mut old = self.filled > self.consumed;
        while count < max {
            match self.frame() {
                Frame::Whole(size) => {
                    let body = &self.buffer[self.consumed + FRAME_HEAD..][..size];
                    let Some(()) = decode(body, self.next, take) else {
                        return Err(self.corrupt());
                    };
                    self.consumed += FRAME_HEAD + size;
                    self.position += (FRAME_HEAD + size) as u64;
                    self.next += 1;
                    count += 1;
                }
                Frame::Longer(length) if self.fill(length)? => old = false,
                Frame::Longer(_) | Frame::Broken if old => {
                    self.forget();
                    old = false;
                }
                Frame::Longer(_) => {
                    self.forget();
                    break;
                }
                Frame::Broken => {
                    self.expect_unfinished()?;
                    break;
                }
            }
        }
        Ok(count)
    }

    fn frame(&self) -> Frame {
        let bytes = &self.buffer[self.consumed..self.filled];
        let Some((head, rest)) = bytes.split_first_chunk::<FRAME_HEAD>() else {
            return Frame::Longer(FRAME_HEAD);
        };
        let [a, b, c, d, e, f, g, h] = *head;
        let size = u32::from_le_bytes([a, b, c, d]) as usize;
        if !(BODY_MIN..=BODY_MAX).contains(&size) {
            return Frame::Broken;
        }
        match rest.get(..size) {
            None => Frame::Longer(FRAME_HEAD + size),
            Some(body) if checksum(body) == u32::from_le_bytes([e, f, g, h]) => Frame::Whole(size),
            Some(_) => Frame::Broken,
        }
    }

    /// Reads from the place of the next record on. False when fewer than `length` bytes are there.
    ///
    /// Bytes of an unfinished record are read anew each time, because a writer may have replaced them.
    fn fill(&mut self, length: usize) -> Result<bool> {
        self.forget();
        if self.position == 0 && !self.begin()? {
            return Ok(false);
        }
        let Some(file) = &self.file else { return Ok(false) };
        if self.buffer.len() < length.max(READ_BYTES) {
            // Asked first, so that a broken length does not cost memory.
            let there = file.metadata().map_err(|error| failed("read", &self.path, error))?.len();
            if there < self.position + length as u64 {
                return Ok(false);
            }
            self.buffer.resize(length.max(READ_BYTES), 0);
        }
        self.filled = read_at(file, &mut self.buffer, self.position)
            .map_err(|error| failed("read", &self.path, error))?;
        Ok(self.filled >= length)
    }

    fn forget(&mut self) {
        (self.consumed, self.filled) = (0, 0);
    }

    /// Opens the file and checks its first bytes. False when they are not there yet.
    fn begin(&mut self) -> Result<bool> {
        let file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == IoKind::NotFound => return Ok(false),
            Err(error) => return Err(failed("open", &self.path, error)),
        };
        let mut magic = [0; MAGIC.len()];
        let count = read_at(&file, &mut magic, 0).map_err(|error| failed("read", &self.path, error))?;
        if magic[..count] != MAGIC[..count] {
            let message = format!("'{}' is not a topic file of this version", self.path.display());
            return Err(Error::config(message).hint("use another state directory, or remove the file"));
        }
        self.file = Some(file);
        self.position = if count == MAGIC.len() { count as u64 } else { 0 };
        Ok(count == MAGIC.len())
    }

    /// Only at the end of the file may there be something that is no record.
    fn expect_unfinished(&mut self) -> Result<()> {
        let bytes = &self.buffer[self.consumed..self.filled];
        let size = bytes.first_chunk::<4>().map_or(0, |size| u32::from_le_bytes(*size) as usize);
        let zeros = bytes.iter().all(|byte| *byte == 0);
        self.forget();
        let Some(file) = &self.file else { return Ok(()) };
        let length = file.metadata().map_err(|error| failed("read", &self.path, error))?.len();
        let unfinished = self.position + (FRAME_HEAD + size) as u64 >= length;
        // After a power cut the length of a file can be ahead of its content, which then reads as zeros.
        if unfinished || zeros { Ok(()) } else { Err(self.corrupt()) }
    }

    fn corrupt(&self) -> Error {
        let (path, position, next) = (self.path.display(), self.position, self.next);
        Error::internal(format!("topic file '{path}' is damaged at byte {position}, offset {next}"))
            .hint("restore the file from a copy, or remove the topic and fill it again")
    }
}

fn read_at(file: &File, buffer: &mut [u8], position: u64) -> std::io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], position + filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == IoKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Hands on the record in a body; `None` when the body is not one.
fn decode(body: &[u8], offset: u64, take: &mut dyn FnMut(&Record<'_>)) -> Option<()> {
    let (time, mut rest) = body.split_first_chunk::<8>()?;
    let key = decode_bytes(&mut rest)?;
    let payload = decode_bytes(&mut rest)?;
    let (count, mut rest) = rest.split_first_chunk::<4>()?;
    let mut headers = Vec::new();
    for _ in 0..u32::from_le_bytes(*count) {
        let name = std::str::from_utf8(decode_bytes(&mut rest)??).ok()?;
        headers.push((name, decode_bytes(&mut rest)?));
    }
    let timestamp_ms = Some(i64::from_le_bytes(*time));
    take(&Record { offset, key, payload, left_out: 0, headers: &headers, timestamp_ms });
    Some(())
}

fn decode_bytes<'a>(rest: &mut &'a [u8]) -> Option<Option<&'a [u8]>> {
    let (length, tail) = rest.split_first_chunk::<4>()?;
    let length = i32::from_le_bytes(*length);
    *rest = tail;
    if length == -1 {
        return Some(None);
    }
    let (bytes, tail) = tail.split_at_checked(usize::try_from(length).ok()?)?;
    *rest = tail;
    Some(Some(bytes))
}

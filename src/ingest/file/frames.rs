//! The bytes of a file cut into records: lines, or records of CSV, in whose quotes there may be line breaks.

use std::io::{self, BufRead, ErrorKind as IoKind};

use crate::csv::Cutter;
use crate::plan::Format;

const BOM: &[u8] = b"\xEF\xBB\xBF";
/// Bytes beside a record that fits: a BOM and the end of its line.
const BESIDE: usize = BOM.len() + 2;

/// So much of a record that is too large is kept anyway, since a dead letter shows it.
pub(super) const SHOWN_BYTES: usize = 256 << 10;

/// The record that is being read. Of one that is too large only the beginning is kept.
#[derive(Debug)]
pub(super) struct Frames {
    /// `None`: records are lines.
    cutter: Option<Cutter>,
    max_record_bytes: usize,
    bytes: Vec<u8>,
    /// Bytes of the record, kept or not.
    size: u64,
    /// The last two of them.
    last: [u8; 2],
    first: bool,
    /// Bytes taken from the input.
    position: u64,
}

impl Frames {
    /// At the beginning of the file of this name.
    pub(super) fn new(format: &Format, name: &str, max_record_bytes: usize) -> Self {
        let cutter = match format {
            Format::Json => None,
            Format::Csv(dialect) => Some(Cutter::new(&dialect.of_file(name))),
        };
        Frames {
            cutter,
            max_record_bytes,
            bytes: Vec::new(),
            size: 0,
            last: [0; 2],
            first: true,
            position: 0,
        }
    }

    /// Reads on to the end of the record. `false` if the input ends before, for now.
    pub(super) fn advance(&mut self, input: &mut dyn BufRead) -> io::Result<bool> {
        loop {
            let available = match input.fill_buf() {
                Ok(available) => available,
                Err(error) if error.kind() == IoKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            if available.is_empty() {
                return Ok(false);
            }
            let (taken, whole) = match &mut self.cutter {
                None => line(available)?,
                Some(_) if self.size == 0 && matches!(available[0], b'\r' | b'\n') => {
                    input.consume(1);
                    self.position += 1;
                    continue;
                }
                Some(cutter) => cutter.take(available),
            };
            self.keep(taken, input);
            if whole {
                return Ok(true);
            }
        }
    }

    /// Moves `taken` bytes here.
    fn keep(&mut self, taken: usize, input: &mut dyn BufRead) {
        if let Ok(available) = input.fill_buf() {
            let part = &available[..taken.min(available.len())];
            let room = self.kept_max().saturating_add(BESIDE).saturating_sub(self.bytes.len());
            self.bytes.extend_from_slice(&part[..part.len().min(room)]);
            self.size += part.len() as u64;
            self.last = match part {
                [] => self.last,
                [one] => [self.last[1], *one],
                [.., one, two] => [*one, *two],
            };
        }
        input.consume(taken);
        self.position += taken as u64;
    }

    /// Bytes of a record that are kept at most.
    fn kept_max(&self) -> usize {
        self.max_record_bytes.max(SHOWN_BYTES)
    }

    /// Bytes taken from the input so far.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// Whether something of a record was read.
    pub(super) fn has_begun(&self) -> bool {
        self.size > 0
    }

    /// What was read, as payload, and how many bytes behind it are left out. `None` for a blank line. `whole`: the
    /// record has ended; else the input has. The next record begins.
    pub(super) fn record(&mut self, whole: bool) -> Option<(&[u8], u64)> {
        let first = std::mem::replace(&mut self.first, false);
        let start = if first && self.bytes.starts_with(BOM) { BOM.len() } else { 0 };
        let end = match (&self.cutter, self.last) {
            (None, [b'\r', b'\n']) => 2,
            (None, [_, b'\n' | b'\r']) => 1,
            // Line breaks inside of quotes that nobody has closed are content.
            (Some(_), [_, b'\n' | b'\r']) if whole => 1,
            _ => 0,
        };
        let size = std::mem::take(&mut self.size).saturating_sub(end).saturating_sub(start as u64);
        self.last = [0; 2];
        let kept = (self.bytes.len() - start).min(usize::try_from(size).unwrap_or(usize::MAX));
        let payload = &self.bytes[start..start + kept];
        if payload.is_empty()
            || (self.cutter.is_none() && size == kept as u64 && payload.trim_ascii().is_empty())
        {
            return None;
        }
        if size <= self.max_record_bytes as u64 {
            return Some((payload, 0));
        }
        let payload = whole_characters(&payload[..kept.min(self.kept_max())]);
        Some((payload, size - payload.len() as u64))
    }

    /// Lets go of what [`record`](Frames::record) has given.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
    }
}

/// Bytes up to the end of the line, and whether it ends.
fn line(available: &[u8]) -> io::Result<(usize, bool)> {
    let mut rest = available;
    let taken = rest.skip_until(b'\n')?;
    Ok((taken, taken > 0 && available[taken - 1] == b'\n'))
}

/// Without the beginning of a character at the end.
fn whole_characters(bytes: &[u8]) -> &[u8] {
    match str::from_utf8(bytes) {
        Err(error) if error.error_len().is_none() => &bytes[..error.valid_up_to()],
        _ => bytes,
    }
}

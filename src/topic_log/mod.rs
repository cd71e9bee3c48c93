//! The embedded topic: a folder of append-only files, one per partition (`0.log`, `1.log`, ...).
//!
//! A file begins with `TIDELOG1`; then come records, each a frame of body length (u32), checksum of the body
//! (u32) and body; numbers are little-endian. The body is time (i64), key, payload, number of headers (u32),
//! headers (name, value); bytes that may be absent carry their length as i32, -1 for absent. The offset of a
//! record is its number in the file, from 0.
//!
//! A process that dies while it writes leaves at most one record unfinished at the end. Readers wait there,
//! and the next writer cuts it off. Writers of one topic share a lock per file, so there can be several.

mod reader;
mod writer;

use std::io::ErrorKind as IoKind;
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::xxh3_64;

use crate::error::{Error, Result};

pub use reader::{LogReader, Named};
pub use writer::TopicWriter;

/// First bytes of every partition file; the digit is the version of the format.
const MAGIC: &[u8; 8] = b"TIDELOG1";
/// Length and checksum in front of a body.
const FRAME_HEAD: usize = 8;
/// A body with nothing in it: time, no key, no payload, no header.
const BODY_MIN: usize = 20;
/// Longer records are refused, so that a broken length never makes a reader allocate at will.
const BODY_MAX: usize = 256 << 20;

/// Headers of a record, as in [`crate::record::Record::headers`].
pub type Headers<'a> = [(&'a str, Option<&'a [u8]>)];

/// The folder of a topic. Its name must be one that Kafka takes, too.
pub fn topic_directory(state_dir: &Path, topic: &str) -> Result<PathBuf> {
    let legal = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if topic.is_empty() || topic.len() > 249 || topic == "." || topic == ".." || !topic.chars().all(legal) {
        return Err(Error::config(format!("'{topic}' is not a name for a topic"))
            .hint("a name has at most 249 of the characters a-z, A-Z, 0-9, '.', '_' and '-'"));
    }
    Ok(state_dir.join("topics").join(topic))
}

/// Names of the topics that exist, sorted.
pub fn topics(state_dir: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(state_dir.join("topics")) else { return Vec::new() };
    let mut names: Vec<_> =
        entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort_unstable();
    names
}

/// The file of a partition.
pub fn partition_path(directory: &Path, partition: u32) -> PathBuf {
    directory.join(format!("{partition}.log"))
}

/// Numbers of the partitions of a topic, ascending; none where there is no such folder.
pub fn partitions(directory: &Path) -> Result<Vec<u32>> {
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == IoKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed("list the topic folder", directory, error)),
    };
    let mut numbers = Vec::new();
    for entry in entries {
        let path = entry.map_err(|error| failed("list the topic folder", directory, error))?.path();
        if path.extension().is_some_and(|extension| extension == "log") {
            numbers.extend(path.file_stem().and_then(|stem| stem.to_str()?.parse::<u32>().ok()));
        }
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// The partition that a key belongs to: equal keys stay in order.
pub fn partition_of(key: &[u8], partitions: u32) -> u32 {
    (xxh3_64(key) % u64::from(partitions.max(1))) as u32
}

fn checksum(body: &[u8]) -> u32 {
    xxh3_64(body) as u32
}

fn failed(what: &str, path: &Path, error: std::io::Error) -> Error {
    let message = format!("cannot {what} '{}'", path.display());
    match error.kind() {
        // Somebody can make room; until then nothing is lost.
        IoKind::StorageFull | IoKind::QuotaExceeded => Error::away(message).caused_by(error),
        _ => Error::config(message).caused_by(error),
    }
}

#[cfg(test)]
mod tests;

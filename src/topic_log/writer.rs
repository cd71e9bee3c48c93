//! Appending to a topic.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use super::{BODY_MAX, BODY_MIN, FRAME_HEAD, Headers, LogReader, MAGIC, checksum, failed, partition_path};
use crate::error::{Error, Result};

/// A writer that holds so many bytes of one partition hands them to the operating system.
const FLUSH_BYTES: usize = 1 << 20;

/// Appends records to an embedded topic.
#[derive(Debug)]
pub struct TopicWriter {
    partitions: Vec<PartitionWriter>,
}

#[derive(Debug)]
struct PartitionWriter {
    path: PathBuf,
    file: File,
    pending: Vec<u8>,
}

impl TopicWriter {
    /// Opens a topic, or creates it with so many partitions; one that exists keeps the partitions it has.
    pub fn open(directory: &Path, partitions: u32) -> Result<Self> {
        std::fs::create_dir_all(directory).map_err(|e| failed("create the topic folder", directory, e))?;
        let existing = super::partitions(directory)?.last().map_or(0, |last| last + 1);
        let numbers = 0..existing.max(partitions).max(1);
        let partitions = numbers.map(|number| PartitionWriter::open(partition_path(directory, number)));
        Ok(TopicWriter { partitions: partitions.collect::<Result<_>>()? })
    }

    /// Number of partitions, at least that of [`open`](TopicWriter::open).
    pub fn partitions(&self) -> u32 {
        self.partitions.len() as u32
    }

    /// Adds a record behind the others of its partition. It can be read after the next
    /// [`flush`](TopicWriter::flush) at the latest. On an error nothing is lost: the call can be repeated
    /// by way of `flush`, the record is kept.
    pub fn append(
        &mut self,
        partition: u32,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &Headers<'_>,
        time_ms: i64,
    ) -> Result<()> {
        let count = self.partitions.len();
        let Some(writer) = self.partitions.get_mut(partition as usize) else {
            return Err(Error::internal(format!("partition {partition} of a topic that has {count}")));
        };
        encode(&mut writer.pending, key, value, headers, time_ms)?;
        if writer.pending.len() >= FLUSH_BYTES { writer.flush() } else { Ok(()) }
    }

    /// Hands everything to the operating system: readers see it, and the end of this process does no harm.
    /// After an error it can be called again.
    pub fn flush(&mut self) -> Result<()> {
        self.partitions.iter_mut().try_for_each(PartitionWriter::flush)
    }

    /// [`flush`](TopicWriter::flush), then waits until the disk has it.
    pub fn sync(&mut self) -> Result<()> {
        self.flush()?;
        for writer in &self.partitions {
            writer.file.sync_data().map_err(|error| failed("sync", &writer.path, error))?;
        }
        Ok(())
    }
}

impl PartitionWriter {
    fn open(path: PathBuf) -> Result<Self> {
        let opened = OpenOptions::new().create(true).append(true).read(true).open(&path);
        let file = opened.map_err(|error| failed("open", &path, error))?;
        file.lock().map_err(|error| failed("lock", &path, error))?;
        let prepared = prepare(&file, &path);
        file.unlock().map_err(|error| failed("unlock", &path, error))?;
        prepared?;
        Ok(PartitionWriter { path, file, pending: Vec::new() })
    }

    fn flush(&mut self) -> Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let fail = |error| failed("write", &self.path, error);
        self.file.lock().map_err(fail)?;
        let end = self.file.metadata().map_err(fail)?.len();
        let written = self.file.write_all(&self.pending);
        if written.is_err() {
            // Half a batch must not stay; what cannot be cut off now is cut off by the next writer.
            let _ = self.file.set_len(end);
        }
        self.file.unlock().map_err(fail)?;
        written.map_err(fail)?;
        self.pending.clear();
        Ok(())
    }
}

/// Begins an empty file, or cuts off what a dead process has left unfinished.
fn prepare(file: &File, path: &Path) -> Result<()> {
    let length = file.metadata().map_err(|error| failed("open", path, error))?.len();
    let mut reader = LogReader::open(path.to_owned());
    while reader.read(usize::MAX, &mut |_| ())? > 0 {}
    let valid = reader.position();
    if length > valid {
        tracing::warn!(file = %path.display(), bytes = length - valid, "cut off an unfinished record");
        file.set_len(valid).map_err(|error| failed("truncate", path, error))?;
    }
    if valid == 0 {
        let mut file = file;
        file.write_all(MAGIC).map_err(|error| failed("write", path, error))?;
    }
    Ok(())
}

fn encode(
    out: &mut Vec<u8>,
    key: Option<&[u8]>,
    value: Option<&[u8]>,
    headers: &Headers<'_>,
    time_ms: i64,
) -> Result<()> {
    let headers_size: usize = headers.iter().map(|(name, v)| 8 + name.len() + v.map_or(0, <[u8]>::len)).sum();
    let size = BODY_MIN + key.map_or(0, <[u8]>::len) + value.map_or(0, <[u8]>::len) + headers_size;
    if size > BODY_MAX {
        return Err(Error::data(format!("record of {size} bytes, at most {BODY_MAX} fit into a topic file")));
    }
    let frame = out.len();
    out.extend_from_slice(&(size as u32).to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&time_ms.to_le_bytes());
    encode_bytes(out, key);
    encode_bytes(out, value);
    out.extend_from_slice(&(headers.len() as u32).to_le_bytes());
    for (name, value) in headers {
        encode_bytes(out, Some(name.as_bytes()));
        encode_bytes(out, *value);
    }
    let sum = checksum(&out[frame + FRAME_HEAD..]);
    out[frame + 4..frame + FRAME_HEAD].copy_from_slice(&sum.to_le_bytes());
    Ok(())
}

fn encode_bytes(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    out.extend_from_slice(&bytes.map_or(-1, |bytes| bytes.len() as i32).to_le_bytes());
    out.extend_from_slice(bytes.unwrap_or_default());
}

//! Files of JSON Lines or CSV, plain or gzip: a record's offset is its number in the file, from 0.
//!
//! With an interval the folder is searched again and again for new files, and what is appended to the known
//! ones is read. Such files only grow: one that has become shorter, or another one, is an error.

mod find;
mod frames;
mod records;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::thread::park_timeout;
use std::time::{Duration, Instant};

use self::find::Find;
use self::records::{Records, Told};
use super::{Connector, Reader, RecordSink};
use crate::error::Result;
use crate::plan::{FileSource, Format};
use crate::record::{FoundPartition, Partition};

/// The files of one source. The partition of a file is its path.
#[derive(Debug)]
pub struct FileConnector {
    find: Find,
    format: Format,
    max_record_bytes: usize,
    monitor: Option<Duration>,
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
        FileConnector { find, format: format.clone(), max_record_bytes, monitor: source.monitor }
    }
}

impl Connector for FileConnector {
    fn find(&self, known: Option<&[Partition]>) -> Result<Vec<FoundPartition>> {
        let files = if self.monitor.is_some() { self.find.present()? } else { self.find.files()? };
        let known = known.unwrap_or_default();
        let is_known = |name: &String| known.iter().any(|partition| *partition.name == **name);
        let first = known.iter().map(|partition| partition.id + 1).max().unwrap_or(0);
        let added = files.into_iter().filter(|name| !is_known(name)).zip(first..);
        let partition = |(name, id): (String, u32)| Partition { id, name: name.as_str().into(), number: 0 };
        Ok(added.map(partition).map(FoundPartition::whole).collect())
    }

    fn find_interval(&self) -> Option<Duration> {
        self.monitor
    }

    fn reader(&self) -> Box<dyn Reader> {
        Box::new(FileReader {
            find: self.find.clone(),
            format: self.format.clone(),
            max_record_bytes: self.max_record_bytes,
            monitor: self.monitor,
            look: Instant::now(),
            files: Vec::new(),
        })
    }
}

struct FileReader {
    find: Find,
    format: Format,
    max_record_bytes: usize,
    monitor: Option<Duration>,
    /// When files that were read to their end are looked at again.
    look: Instant,
    files: Vec<Records>,
}

impl Reader for FileReader {
    fn add(&mut self, partitions: &[FoundPartition]) -> Result<()> {
        let grows = self.monitor.is_some();
        let open = |found: &FoundPartition| {
            let name = found.partition.name.to_string();
            Records::open(&self.find, name, &self.format, self.max_record_bytes, grows)
        };
        let files: Vec<_> = partitions.iter().map(open).collect::<Result<_>>()?;
        self.files.extend(files);
        Ok(())
    }

    fn read(&mut self, wanted: &[bool], max_wait: Duration, out: &mut dyn RecordSink) -> Result<()> {
        let Some(interval) = self.monitor else {
            for (index, file) in self.files.iter_mut().enumerate().filter(|(index, _)| wanted[*index]) {
                file.read(index, out)?;
            }
            return Ok(());
        };
        let now = Instant::now();
        let look = now >= self.look;
        let mut more = false;
        for (index, file) in self.files.iter_mut().enumerate().filter(|(index, _)| wanted[*index]) {
            if look || !file.is_at_end() {
                more |= file.read_on(index, look, out)? == Told::More;
            }
        }
        if look {
            self.look = now + interval;
        }
        if !more {
            park_timeout(self.look.saturating_duration_since(Instant::now()).min(max_wait));
        }
        Ok(())
    }
}

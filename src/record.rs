//! Records on their way from a connector's reader through a decoder into an epoch.

use std::collections::BTreeMap;
use std::sync::{Arc, RwLock};

use arrow::array::{RecordBatch, UInt64Array};
use serde::{Deserialize, Serialize};

use crate::dead_letter::{RawRecord, Reason};

/// One partition of a source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Partition {
    /// Its number in origins and bindings, see [`crate::batch::Origin::partition`].
    pub id: u32,
    /// Topic, path of the file, or name of the simulator.
    #[serde(with = "text")]
    pub name: Arc<str>,
    /// Kafka partition number; 0 in a file.
    pub number: u32,
}

/// A partition that was found, and what of it is read. Decided in one place, for all workers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FoundPartition {
    pub partition: Partition,
    /// Least offset that is read.
    pub from: u64,
    /// Offset at which a bounded input ends, where that is known before it is read.
    pub to: Option<u64>,
}

impl FoundPartition {
    /// All of a partition.
    pub fn whole(partition: Partition) -> Self {
        FoundPartition { partition, from: 0, to: None }
    }
}

/// A shared text on its way between processes.
mod text {
    use std::sync::Arc;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(text: &Arc<str>, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(text)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Arc<str>, D::Error> {
        String::deserialize(deserializer).map(Arc::from)
    }
}

/// The partitions of all sources by the numbers that stand in origins. Sources tell it, sinks and dead letters
/// ask it; shared by all threads of a process.
#[derive(Debug, Default)]
pub struct PartitionNames(RwLock<BTreeMap<(u16, u32), Partition>>);

impl PartitionNames {
    /// Makes a partition of source number `source` known.
    pub fn add(&self, source: u16, partition: &Partition) {
        let mut names = self.0.write().expect("no panic under this lock");
        names.insert((source, partition.id), partition.clone());
    }

    /// The partition with number `id` of source number `source`.
    pub fn find(&self, source: u16, id: u32) -> Option<Partition> {
        self.0.read().expect("no panic under this lock").get(&(source, id)).cloned()
    }
}

/// One record as a reader found it.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    pub offset: u64,
    pub key: Option<&'a [u8]>,
    /// `None` is a tombstone.
    pub payload: Option<&'a [u8]>,
    /// Bytes behind the payload that were not kept, because the record is larger than its source takes.
    pub left_out: u64,
    pub headers: &'a [(&'a str, Option<&'a [u8]>)],
    /// Milliseconds since the Unix epoch.
    pub timestamp_ms: Option<i64>,
}

impl<'a> Record<'a> {
    /// A record of which nothing is known but its place and content.
    pub fn of(offset: u64, payload: &'a [u8]) -> Self {
        Record { offset, key: None, payload: Some(payload), left_out: 0, headers: &[], timestamp_ms: None }
    }

    /// Bytes of the whole payload, kept or not.
    pub fn size(&self) -> u64 {
        self.payload.map_or(0, <[u8]>::len) as u64 + self.left_out
    }
}

/// Turns records of one partition into columns. Lives on a consumer thread and does only what depends on
/// the bytes; what depends on the epoch's clock is done at the cut.
pub trait Decode: Send {
    /// Takes the record that names the columns of all that follow; the source knows whether there is one.
    fn header(&mut self, _header: &Record<'_>) {}

    /// Takes one record in; it becomes a row or a reject. Offsets must ascend.
    fn push(&mut self, record: &Record<'_>);

    /// Number of records since the last [`finish`](Decode::finish).
    fn len(&self) -> usize;

    /// Whether no record was pushed since the last [`finish`](Decode::finish).
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Everything pushed so far as a chunk; the decoder starts anew.
    fn finish(&mut self) -> Chunk;
}

/// Decoded records of one partition, in the order of their offsets.
#[derive(Clone, Debug)]
pub struct Chunk {
    /// The rows, in the schema of the source. Columns of ingestion time are NULL until the cut.
    pub rows: RecordBatch,
    /// Offset of each row.
    pub offsets: UInt64Array,
    /// The records that gave no row, by ascending offset.
    pub rejects: Vec<Reject>,
    /// All records as they were received.
    pub raw: RawRecords,
}

/// A record that could not become a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reject {
    pub offset: u64,
    pub reason: Reason,
    /// What was wrong, naming field and value (shortened).
    pub error: String,
    /// The broken rule as the user wrote it, or empty.
    pub rule: String,
}

/// Records as they were received, shared and sliced without copying.
#[derive(Clone, Debug, Default)]
pub struct RawRecords {
    records: Arc<Vec<RawEntry>>,
    bytes: Arc<Vec<u8>>,
    start: usize,
    end: usize,
}

/// Where a record lies in the bytes of a [`RawRecords`].
#[derive(Clone, Copy, Debug)]
struct RawEntry {
    offset: u64,
    start: usize,
    key: Option<u32>,
    payload: Option<u32>,
    left_out: u64,
    timestamp_ms: Option<i64>,
}

impl RawEntry {
    /// Bytes of key and payload.
    fn size(&self) -> usize {
        (self.key.unwrap_or(0) + self.payload.unwrap_or(0)) as usize
    }
}

/// Collects records for a [`RawRecords`].
#[derive(Debug, Default)]
pub struct RawBuilder {
    records: Vec<RawEntry>,
    bytes: Vec<u8>,
}

impl RawBuilder {
    /// Keeps a copy of key and payload.
    pub fn push(&mut self, record: &Record<'_>) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(record.key.unwrap_or_default());
        self.bytes.extend_from_slice(record.payload.unwrap_or_default());
        self.records.push(RawEntry {
            offset: record.offset,
            start,
            key: record.key.map(|key| key.len() as u32),
            payload: record.payload.map(|payload| payload.len() as u32),
            left_out: record.left_out,
            timestamp_ms: record.timestamp_ms,
        });
    }

    /// Number of records kept.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether none is kept.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Hands over what was kept and starts anew.
    pub fn finish(&mut self) -> RawRecords {
        // Chunks are alike: with room for a little more than as much again, records are copied once. With room for
        // just as much, half of all chunks would be moved to twice the memory for their last records.
        let room = |used: usize| used + used / 16;
        let fresh = Vec::with_capacity(room(self.records.len()));
        let records = std::mem::replace(&mut self.records, fresh);
        let bytes = Vec::with_capacity(room(self.bytes.len()));
        let bytes = std::mem::replace(&mut self.bytes, bytes);
        RawRecords { end: records.len(), records: Arc::new(records), bytes: Arc::new(bytes), start: 0 }
    }
}

impl RawRecords {
    /// Number of records.
    pub fn len(&self) -> usize {
        self.end - self.start
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Offset of record `index`.
    pub fn offset(&self, index: usize) -> u64 {
        self.entries()[index].offset
    }

    /// Number of records whose offset is less than this one.
    pub fn before(&self, offset: u64) -> usize {
        self.entries().partition_point(|entry| entry.offset < offset)
    }

    /// The time that the log holds for record `index`, in milliseconds since the Unix epoch.
    pub fn timestamp_ms(&self, index: usize) -> Option<i64> {
        self.entries()[index].timestamp_ms
    }

    /// Bytes of key and payload of record `index`.
    pub fn size(&self, index: usize) -> usize {
        self.entries()[index].size()
    }

    /// Bytes of key and payload of the first `records` records. They lie one behind the other, so none is looked at.
    pub fn bytes_of(&self, records: usize) -> usize {
        let start = |record: usize| self.records.get(record).map_or(self.bytes.len(), |entry| entry.start);
        start(self.start + records) - start(self.start)
    }

    /// Bytes of key and payload of all records.
    pub fn bytes(&self) -> usize {
        self.bytes_of(self.len())
    }

    /// How many records begin within the first `bytes` bytes.
    pub fn begin_within(&self, bytes: usize) -> usize {
        let first = self.entries().first().map_or(0, |entry| entry.start);
        self.entries().partition_point(|entry| entry.start - first < bytes)
    }

    /// Offset and size of each record.
    pub fn places(&self) -> impl Iterator<Item = (u64, usize)> {
        self.entries().iter().map(|entry| (entry.offset, entry.size()))
    }

    /// The record with this offset.
    pub fn find(&self, offset: u64) -> Option<RawRecord> {
        let index = self.entries().binary_search_by_key(&offset, |entry| entry.offset).ok()?;
        let entry = self.entries()[index];
        let payload_at = entry.start + entry.key.unwrap_or(0) as usize;
        let bytes =
            |start: usize, length: Option<u32>| Some(self.bytes[start..start + length? as usize].to_vec());
        Some(RawRecord {
            key: bytes(entry.start, entry.key),
            payload: bytes(payload_at, entry.payload),
            left_out: entry.left_out,
        })
    }

    /// The records with these offsets, copied, so that the others can go.
    pub fn only(&self, offsets: impl Iterator<Item = u64>) -> Self {
        let mut kept = RawBuilder::default();
        for (offset, found) in offsets.filter_map(|offset| Some((offset, self.find(offset)?))) {
            kept.push(&Record {
                offset,
                key: found.key.as_deref(),
                payload: found.payload.as_deref(),
                left_out: found.left_out,
                headers: &[],
                timestamp_ms: None,
            });
        }
        kept.finish()
    }

    /// `length` records from `offset` on (counted in records), without copying.
    #[must_use]
    pub fn slice(&self, offset: usize, length: usize) -> Self {
        assert!(offset + length <= self.len());
        RawRecords { start: self.start + offset, end: self.start + offset + length, ..self.clone() }
    }

    fn entries(&self) -> &[RawEntry] {
        &self.records[self.start..self.end]
    }
}

impl Chunk {
    /// Number of records, rejects included.
    pub fn len(&self) -> usize {
        self.raw.len()
    }

    /// Whether there is no record.
    pub fn is_empty(&self) -> bool {
        self.raw.is_empty()
    }

    /// Cuts off the first `records` records.
    pub fn split_front(&mut self, records: usize) -> Chunk {
        if records >= self.len() {
            let rest = self.slice(self.len(), 0);
            return std::mem::replace(self, rest);
        }
        let mut front = self.slice(0, records);
        let mut back = self.slice(records, self.len() - records);
        // Moved, not copied: a chunk may be cut into thousands of parts.
        let bound = back.raw.offset(0);
        back.rejects = std::mem::take(&mut self.rejects);
        let place = back.rejects.partition_point(|reject| reject.offset < bound);
        front.rejects = back.rejects.drain(..place).collect();
        *self = back;
        front
    }

    /// Some of the records, without the rejects.
    fn slice(&self, start: usize, length: usize) -> Chunk {
        let bound = |record: usize| if record < self.len() { self.raw.offset(record) } else { u64::MAX };
        let (from, to) = (bound(start), bound(start + length));
        let row = |bound: u64| self.offsets.values().partition_point(|offset| *offset < bound);
        Chunk {
            rows: self.rows.slice(row(from), row(to) - row(from)),
            offsets: self.offsets.slice(row(from), row(to) - row(from)),
            rejects: Vec::new(),
            raw: self.raw.slice(start, length),
        }
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, Int64Array};

    use super::*;

    fn record(offset: u64, payload: &[u8]) -> Record<'_> {
        Record { key: Some(b"k"), ..Record::of(offset, payload) }
    }

    #[test]
    fn a_chunk_is_cut_between_records_with_rows_and_rejects_on_their_side() {
        let mut raw = RawBuilder::default();
        for offset in [5, 6, 9, 12] {
            raw.push(&record(offset, &[offset as u8]));
        }
        let rows: ArrayRef = Arc::new(Int64Array::from(vec![50, 90, 120]));
        let mut chunk = Chunk {
            rows: RecordBatch::try_from_iter([("a", rows)]).expect("one column"),
            offsets: UInt64Array::from(vec![5, 9, 12]),
            rejects: vec![Reject {
                offset: 6,
                reason: Reason::Malformed,
                error: String::new(),
                rule: String::new(),
            }],
            raw: raw.finish(),
        };
        let front = chunk.split_front(3);
        assert_eq!((front.len(), front.rows.num_rows(), front.rejects.len()), (3, 2, 1));
        assert_eq!((chunk.len(), chunk.rows.num_rows(), chunk.rejects.len()), (1, 1, 0));
        let found = front.raw.find(9).expect("kept");
        assert_eq!((found.key.as_deref(), found.payload.as_deref()), (Some(&b"k"[..]), Some(&[9u8][..])));
        assert_eq!(front.raw.find(12), None);
        let sizes: Vec<usize> = front.raw.places().map(|(_, size)| size).collect();
        assert_eq!((sizes, front.raw.bytes_of(2), front.raw.bytes()), (vec![2; 3], 4, 6));
        assert_eq!([0, 1, 2, 3, 4, 5, 9].map(|bytes| front.raw.begin_within(bytes)), [0, 1, 1, 2, 2, 3, 3]);
        assert_eq!((chunk.raw.bytes_of(0), chunk.raw.bytes(), RawRecords::default().bytes()), (0, 2, 0));
        assert_eq!(chunk.split_front(10).len(), 1);
        assert!(chunk.is_empty());
    }
}

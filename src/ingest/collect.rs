//! What tests read with.

use std::collections::BTreeMap;

use super::RecordSink;
use crate::record::Record;

/// Keeps everything a reader says, per partition.
#[derive(Debug, Default)]
pub(crate) struct Collected {
    pub records: Vec<Vec<(u64, Option<Vec<u8>>)>>,
    pub caught_up: Vec<Option<u64>>,
    pub ended: Vec<bool>,
    pub gone: Vec<bool>,
    pub headers: Vec<Option<Vec<u8>>>,
    /// By partition and offset, where there is any.
    pub left_out: BTreeMap<(usize, u64), u64>,
}

impl Collected {
    pub fn new(partitions: usize) -> Self {
        Collected {
            records: vec![Vec::new(); partitions],
            caught_up: vec![None; partitions],
            ended: vec![false; partitions],
            gone: vec![false; partitions],
            headers: vec![None; partitions],
            left_out: BTreeMap::new(),
        }
    }

    /// For more partitions.
    pub fn grow(&mut self, partitions: usize) {
        for _ in 0..partitions {
            self.records.push(Vec::new());
            self.caught_up.push(None);
            self.ended.push(false);
            self.gone.push(false);
            self.headers.push(None);
        }
    }

    pub fn counts(&self) -> Vec<usize> {
        self.records.iter().map(Vec::len).collect()
    }

    pub fn offsets(&self, partition: usize) -> Vec<u64> {
        self.records[partition].iter().map(|(offset, _)| *offset).collect()
    }

    pub fn payloads(&self, partition: usize) -> Vec<String> {
        let text = |payload: &Option<Vec<u8>>| {
            payload.as_deref().map_or("<none>".into(), |p| String::from_utf8_lossy(p).into_owned())
        };
        self.records[partition].iter().map(|(_, payload)| text(payload)).collect()
    }
}

impl RecordSink for Collected {
    fn header(&mut self, partition: usize, header: &Record<'_>) {
        assert!(
            self.records[partition].is_empty() && self.headers[partition].is_none(),
            "a header comes first"
        );
        self.headers[partition] = header.payload.map(<[u8]>::to_vec);
    }

    fn record(&mut self, partition: usize, record: &Record<'_>) {
        let last = self.records[partition].last().map(|(offset, _)| *offset);
        assert!(last < Some(record.offset), "offsets ascend: {last:?}, {}", record.offset);
        assert!(!self.ended[partition], "a record after the end");
        self.records[partition].push((record.offset, record.payload.map(<[u8]>::to_vec)));
        self.caught_up[partition] = None;
        if record.left_out > 0 {
            self.left_out.insert((partition, record.offset), record.left_out);
        }
    }

    fn caught_up(&mut self, partition: usize, next: u64) {
        self.caught_up[partition] = Some(next);
    }

    fn gone(&mut self, partition: usize) {
        self.gone[partition] = true;
    }

    fn ended(&mut self, partition: usize) {
        assert!(!self.ended[partition], "an end is told once");
        self.ended[partition] = true;
    }
}

//! What decides between rows with the same order key.
//!
//! Rows with an origin are ordered by it: (source, partition, offset, index). Of rows without one, behind
//! another aggregate, the canonical bytes decide.

use std::cmp::Ordering;
use std::collections::HashMap;

use xxhash_rust::xxh3::xxh3_64;

use crate::batch::{Batch, RowOrigin};
use crate::canonical::CanonicalRows;

/// Number of a lane: all of an origin but the offset.
pub type Lane = u32;

/// The lanes that have been seen, so that a state keeps 12 bytes per origin.
#[derive(Debug, Default)]
pub struct Lanes {
    known: Vec<RowOrigin>,
    numbers: HashMap<RowOrigin, Lane>,
}

/// The ties of the rows of one batch.
#[derive(Debug, Default)]
pub struct Ties {
    /// Append-only input: lane and offset of each row.
    pub lanes: Vec<Lane>,
    pub offsets: Vec<u64>,
    /// What the lanes stand for.
    pub known: Lanes,
    /// Updating input: the rows' canonical bytes.
    pub rows: CanonicalRows,
}

impl Lanes {
    /// The number of the lane of `origin`.
    pub fn number(&mut self, origin: RowOrigin) -> Lane {
        let lane = RowOrigin { offset: 0, ..origin };
        *self.numbers.entry(lane).or_insert_with(|| {
            self.known.push(lane);
            (self.known.len() - 1) as Lane
        })
    }

    /// The origin with this lane and offset.
    pub fn origin(&self, lane: Lane, offset: u64) -> RowOrigin {
        RowOrigin { offset, ..self.known[lane as usize] }
    }
}

impl Ties {
    /// Reads the origins of a batch. Where rows are only added but have none, the hash of their canonical
    /// bytes stands for the offset: as good in any order, and the same for all aggregates of a row.
    pub fn read_origins(&mut self, batch: &Batch) {
        self.lanes.clear();
        self.offsets.clear();
        let Some(origin) = &batch.origin else {
            self.read_rows(batch);
            let lane = self.known.number(RowOrigin { source: u16::MAX, partition: 0, offset: 0, index: 0 });
            self.lanes.resize(batch.len(), lane);
            self.offsets.extend(self.rows.iter().map(xxh3_64));
            return;
        };
        self.offsets.extend_from_slice(origin.offset.values());
        let mut last = None;
        for (row, partition) in origin.partition.values().iter().enumerate() {
            let lane = match last {
                Some((same, lane)) if same == *partition => lane,
                _ => self.known.number(origin.row(row)),
            };
            last = Some((*partition, lane));
            self.lanes.push(lane);
        }
    }

    /// Reads the canonical bytes of the rows of a batch.
    pub fn read_rows(&mut self, batch: &Batch) {
        self.rows.encode(batch.rows.columns(), batch.len());
    }

    /// Appends the origin of a row of the batch as bytes that compare as origins do.
    pub fn write_origin(&self, bytes: &mut Vec<u8>, row: usize) {
        self.known.origin(self.lanes[row], self.offsets[row]).write(bytes);
    }

    /// Compares the origin of a row of the batch with another.
    pub fn compare(&self, row: usize, lane: Lane, offset: u64) -> Ordering {
        if self.lanes[row] == lane {
            return self.offsets[row].cmp(&offset);
        }
        self.known.origin(self.lanes[row], self.offsets[row]).cmp(&self.known.origin(lane, offset))
    }
}

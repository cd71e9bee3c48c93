//! Rows in the order of their event time.

use std::collections::{BTreeMap, HashMap};

use arrow::array::RecordBatch;

use super::keys::Key;
use crate::batch::RowOrigin;
use crate::time::{EventTime, Watermark};
use crate::transform::aggregate::state::tree;

/// Room for so many batches is not given back.
const BATCHES_MIN: usize = 64;

/// Where a row stands in the order. Rows behind aggregates have no origin.
pub type At = (EventTime, Option<RowOrigin>);

/// A row that waits.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    pub at: At,
    number: u64,
    batch: u32,
    row: u32,
    pub key: Key,
}

/// A batch with the number of its rows that wait, and its bytes.
struct Kept {
    rows: RecordBatch,
    waiting: usize,
    bytes: usize,
}

/// Rows that wait, in the batches with which they came. A batch is let go with its last row.
#[derive(Default)]
pub struct Waiting {
    /// By place and a number of their own, since several rows can have one place.
    rows: BTreeMap<(At, u64), (u32, u32, Key)>,
    batches: HashMap<u32, Kept>,
    /// Bytes of the batches.
    batch_bytes: usize,
    next_batch: u32,
    next_row: u64,
}

impl Waiting {
    /// Takes over a batch; gives its number for its rows to be inserted by.
    pub fn keep(&mut self, rows: RecordBatch) -> u32 {
        let number = self.next_batch;
        self.next_batch = self.next_batch.wrapping_add(1);
        let bytes = rows.get_array_memory_size();
        self.batch_bytes += bytes;
        self.batches.insert(number, Kept { rows, waiting: 0, bytes });
        number
    }

    /// A row of a batch.
    pub fn insert(&mut self, at: At, (batch, row): (u32, u32), key: Key) {
        self.rows.insert((at, self.next_row), (batch, row, key));
        self.next_row += 1;
        if let Some(kept) = self.batches.get_mut(&batch) {
            kept.waiting += 1;
        }
    }

    /// The first rows before `watermark`: about `limit`, and all of the last place.
    pub fn before(&self, watermark: Watermark, limit: usize) -> Vec<Place> {
        let mut places: Vec<Place> = Vec::new();
        for ((at, number), (batch, row, key)) in &self.rows {
            let full = places.len() >= limit && places.last().is_some_and(|last| last.at != *at);
            if full || !is_before(at.0, watermark) {
                break;
            }
            places.push(Place { at: *at, number: *number, batch: *batch, row: *row, key: *key });
        }
        places
    }

    /// Whether any row is before `watermark`.
    pub fn any_before(&self, watermark: Watermark) -> bool {
        self.rows.first_key_value().is_some_and(|((at, _), _)| is_before(at.0, watermark))
    }

    /// All rows, in order.
    pub fn iter(&self) -> impl Iterator<Item = Place> {
        let place = |((at, number), (batch, row, key)): (&(At, u64), &(u32, u32, Key))| Place {
            at: *at,
            number: *number,
            batch: *batch,
            row: *row,
            key: *key,
        };
        self.rows.iter().map(place)
    }

    /// The batches that hold these rows, and where in them each is.
    pub fn locate(&self, places: &[Place]) -> (Vec<&RecordBatch>, Vec<(usize, usize)>) {
        let (mut batches, mut found) = (Vec::new(), HashMap::new());
        let indices = places.iter().map(|place| {
            let index = *found.entry(place.batch).or_insert_with(|| {
                batches.push(&self.batches[&place.batch].rows);
                batches.len() - 1
            });
            (index, place.row as usize)
        });
        let indices = indices.collect();
        (batches, indices)
    }

    /// Lets rows go.
    pub fn release(&mut self, places: &[Place]) {
        for place in places {
            self.rows.remove(&(place.at, place.number));
            if let Some(kept) = self.batches.get_mut(&place.batch) {
                kept.waiting -= 1;
                if kept.waiting == 0 {
                    self.batch_bytes -= kept.bytes;
                    self.batches.remove(&place.batch);
                }
            }
        }
        if self.batches.capacity() / 4 > self.batches.len().max(BATCHES_MIN) {
            self.batches.shrink_to(BATCHES_MIN);
        }
    }

    /// About how many bytes of memory it takes.
    pub fn bytes(&self) -> usize {
        let rows = tree(self.rows.len(), size_of::<(At, u64)>() + size_of::<(u32, u32, Key)>());
        rows + self.batches.capacity() * size_of::<(u32, Kept)>() + self.batch_bytes
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.rows.len()
    }
}

/// At the end of the input everything has been seen.
fn is_before(time: EventTime, watermark: Watermark) -> bool {
    watermark == Watermark::END || time < watermark.0
}

//! Rows in the order of their event time.

use std::collections::{BTreeMap, HashMap};

use arrow::array::RecordBatch;

use super::keys::Key;
use crate::batch::RowOrigin;
use crate::time::{EventTime, Watermark};

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

/// Rows that wait, in the batches with which they came. A batch is let go with its last row.
#[derive(Default)]
pub struct Waiting {
    /// By place and a number of their own, since several rows can have one place.
    rows: BTreeMap<(At, u64), (u32, u32, Key)>,
    batches: HashMap<u32, (RecordBatch, usize)>,
    next_batch: u32,
    next_row: u64,
}

impl Waiting {
    /// Takes over a batch; gives its number for its rows to be inserted by.
    pub fn keep(&mut self, rows: RecordBatch) -> u32 {
        let number = self.next_batch;
        self.next_batch = self.next_batch.wrapping_add(1);
        self.batches.insert(number, (rows, 0));
        number
    }

    /// A row of a batch.
    pub fn insert(&mut self, at: At, (batch, row): (u32, u32), key: Key) {
        self.rows.insert((at, self.next_row), (batch, row, key));
        self.next_row += 1;
        if let Some((_, rows)) = self.batches.get_mut(&batch) {
            *rows += 1;
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
                batches.push(&self.batches[&place.batch].0);
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
            if let Some((_, rows)) = self.batches.get_mut(&place.batch) {
                *rows -= 1;
                if *rows == 0 {
                    self.batches.remove(&place.batch);
                }
            }
        }
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

//! Rows in the order of their event time, as they wait until it has passed them.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, UInt16Array, UInt32Array, UInt64Array};
use arrow::datatypes::{DataType, UInt16Type, UInt32Type, UInt64Type};

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
    /// Ascends with the rows as they came.
    pub number: u64,
    batch: u32,
    row: u32,
    /// The number of its key, as it was given.
    pub key: u32,
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
    rows: BTreeMap<(At, u64), (u32, u32, u32)>,
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
    pub fn insert(&mut self, at: At, (batch, row): (u32, u32), key: u32) {
        self.rows.insert((at, self.next_row), (batch, row, key));
        self.next_row += 1;
        if let Some(kept) = self.batches.get_mut(&batch) {
            kept.waiting += 1;
        }
    }

    /// The first rows that event time has passed: about `limit`, and all that are `together` with the last.
    pub fn passed(
        &self,
        is_passed: impl Fn(EventTime) -> bool,
        limit: usize,
        together: impl Fn(&At, &At) -> bool,
    ) -> Vec<Place> {
        let mut places: Vec<Place> = Vec::new();
        for place in self.iter() {
            let full =
                places.len() >= limit && places.last().is_some_and(|last| !together(&last.at, &place.at));
            if full || !is_passed(place.at.0) {
                break;
            }
            places.push(place);
        }
        places
    }

    /// The time of the first row.
    pub fn first(&self) -> Option<EventTime> {
        self.rows.first_key_value().map(|((at, _), _)| at.0)
    }

    /// The number of the next row.
    pub fn next_number(&self) -> u64 {
        self.next_row
    }

    /// All rows, in order.
    pub fn iter(&self) -> impl Iterator<Item = Place> {
        let place = |((at, number), (batch, row, key)): (&(At, u64), &(u32, u32, u32))| Place {
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
        let rows = tree(self.rows.len(), size_of::<(At, u64)>() + size_of::<(u32, u32, u32)>());
        rows + self.batches.capacity() * size_of::<(u32, Kept)>() + self.batch_bytes
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.rows.len()
    }
}

/// Columns that hold origins in snapshots.
pub const ORIGIN: [(&str, DataType); 4] = [
    ("source", DataType::UInt16),
    ("partition", DataType::UInt32),
    ("offset", DataType::UInt64),
    ("index", DataType::UInt32),
];

/// Origins as the columns of [`ORIGIN`].
pub fn origin_columns(origins: &[Option<RowOrigin>]) -> [ArrayRef; 4] {
    let of = || origins.iter().copied();
    [
        Arc::new(UInt16Array::from_iter(of().map(|origin| origin.map(|it| it.source)))),
        Arc::new(UInt32Array::from_iter(of().map(|origin| origin.map(|it| it.partition)))),
        Arc::new(UInt64Array::from_iter(of().map(|origin| origin.map(|it| it.offset)))),
        Arc::new(UInt32Array::from_iter(of().map(|origin| origin.map(|it| it.index)))),
    ]
}

/// What [`origin_columns`] has written.
pub fn origins(columns: &[ArrayRef]) -> Vec<Option<RowOrigin>> {
    let (source, partition) =
        (columns[0].as_primitive::<UInt16Type>(), columns[1].as_primitive::<UInt32Type>());
    let (offset, index) = (columns[2].as_primitive::<UInt64Type>(), columns[3].as_primitive::<UInt32Type>());
    let origin = |row: usize| {
        source.is_valid(row).then(|| RowOrigin {
            source: source.value(row),
            partition: partition.value(row),
            offset: offset.value(row),
            index: index.value(row),
        })
    };
    (0..source.len()).map(origin).collect()
}

/// Whether no row of this time can come any more, when event time has come so far: of the ends of windows
/// (`at_end`) those at the watermark are out as well. At the end of the input everything has been seen.
pub fn is_passed(time: EventTime, watermark: Watermark, at_end: bool) -> bool {
    match watermark {
        Watermark::NONE => false,
        Watermark::END => true,
        Watermark(reached) => time < reached || at_end && time == reached,
    }
}

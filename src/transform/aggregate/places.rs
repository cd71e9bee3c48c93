//! Rows with their places in an order, and rows as bytes that compare as they are ordered.

use crate::batch::{Batch, RowOrigin};
use crate::plan::{First, Number};

/// Stands between the order of a row and what decides ties.
const END: u8 = 1;
/// Rows without an origin, and with one.
const NO_ORIGIN: u8 = 1;
const HAS_ORIGIN: u8 = 2;

/// Counts the rows of one key, in their order.
#[derive(Default)]
pub struct Counter {
    row_number: i64,
    rank: i64,
    dense_rank: i64,
}

impl Counter {
    /// The next row; whether it is `equal` in the order to that before it.
    pub fn count(&mut self, equal: bool) {
        self.row_number += 1;
        if self.row_number == 1 || !equal {
            (self.rank, self.dense_rank) = (self.row_number, self.dense_rank + 1);
        }
    }

    /// What a function gives for the row that was counted last.
    pub fn number(&self, number: Number) -> i64 {
        match number {
            Number::RowNumber => self.row_number,
            Number::Rank => self.rank,
            Number::DenseRank => self.dense_rank,
        }
    }
}

/// A row: its order, and its canonical bytes. Its bytes are these with what decides ties between them, and at the
/// end the length of the order.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    pub order: &'a [u8],
    pub content: &'a [u8],
}

impl<'a> Entry<'a> {
    /// Writes a row. Of two that are equal in the order the one with the lower origin is the first, or where it is
    /// `newest_first` that with the higher one; then the one with the lower bytes.
    pub fn write(&self, origin: Option<RowOrigin>, newest_first: bool, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(self.order);
        bytes.push(END);
        bytes.push(if origin.is_some() { HAS_ORIGIN } else { NO_ORIGIN });
        if let Some(origin) = origin {
            let start = bytes.len();
            origin.write(bytes);
            if newest_first {
                bytes[start..].iter_mut().for_each(|byte| *byte = !*byte);
            }
        }
        bytes.extend_from_slice(self.content);
        bytes.extend_from_slice(&(self.order.len() as u32).to_be_bytes());
    }

    /// The row that [`write`](Self::write) has written; `None` if the bytes are broken.
    pub fn read(bytes: &'a [u8]) -> Option<Self> {
        let (bytes, length) = bytes.split_last_chunk::<4>()?;
        let (order, rest) = bytes.split_at_checked(u32::from_be_bytes(*length) as usize)?;
        let (marks, rest) = rest.split_first_chunk::<2>()?;
        let origin = if marks[1] == HAS_ORIGIN { RowOrigin::BYTES } else { 0 };
        Some(Entry { order, content: rest.get(origin..)? })
    }
}

/// The origin of a row by which ties are decided: where rows are taken back, these have none.
pub fn origin(batch: &Batch, row: usize, append_only: bool) -> Option<RowOrigin> {
    batch.origin.as_ref().filter(|_| append_only).map(|origin| origin.row(row))
}

/// The first of the rows of a key, which are in order.
pub fn first<'a>(
    rows: impl Iterator<Item = &'a [u8]>,
    first: Option<First>,
) -> impl Iterator<Item = &'a [u8]> {
    let mut counter = Counter::default();
    let mut before: Option<&[u8]> = None;
    rows.take_while(move |row| {
        let Some(First { by, rows }) = first else { return true };
        // Row numbers need no look at the order.
        if by != Number::RowNumber {
            let order = Entry::read(row).map_or(&[][..], |entry| entry.order);
            counter.count(before.replace(order) == Some(order));
        } else {
            counter.count(false);
        }
        counter.number(by) <= i64::from(rows)
    })
}

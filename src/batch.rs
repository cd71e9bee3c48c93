//! Data in flight: Arrow columns with, per row, a diff and an origin.

use arrow::array::{Array, ArrayRef, Int64Array, RecordBatch, UInt32Array, UInt64Array};
use arrow::compute::{filter, filter_record_batch, take, take_record_batch};
use arrow::error::ArrowError;

/// A unit of data between two operators: rows of one relation, cut in one epoch.
///
/// `diffs` and `origin`, where present, have one element per row of `rows`.
#[derive(Clone, Debug)]
pub struct Batch {
    /// The columns of the relation.
    pub rows: RecordBatch,
    /// How often each row is added (+) or removed (-); `None` means +1 for every row.
    pub diffs: Option<Int64Array>,
    /// Where each row came from; `None` behind an aggregate or join, where a row has no single origin.
    pub origin: Option<Origin>,
    /// Wall clock of the epoch, milliseconds since the Unix epoch: the value of `now()`.
    pub wall_ms: i64,
}

/// (source, partition, offset, index) of the rows of a batch. Ordered in this sequence, it is the order of
/// rows inside an epoch and decides every tie.
#[derive(Clone, Debug)]
pub struct Origin {
    /// Index of the source in the plan.
    pub source: u16,
    /// Which copy of the record this is, where one record gives several rows (branches of a UNION ALL).
    pub index: u32,
    /// Number of the partition within its source: for Kafka the topic's position in the source's list
    /// shifted left by 16 bits plus the partition, for files the file's place in the sorted listing.
    pub partition: UInt32Array,
    /// Offset of the record in its partition.
    pub offset: UInt64Array,
}

/// Origin of one row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RowOrigin {
    pub source: u16,
    pub partition: u32,
    pub offset: u64,
    pub index: u32,
}

impl RowOrigin {
    /// Length of its bytes.
    pub const BYTES: usize = size_of::<u16>() + size_of::<u32>() + size_of::<u64>() + size_of::<u32>();

    /// Appends bytes that compare as origins do.
    pub fn write(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&self.source.to_be_bytes());
        bytes.extend_from_slice(&self.partition.to_be_bytes());
        bytes.extend_from_slice(&self.offset.to_be_bytes());
        bytes.extend_from_slice(&self.index.to_be_bytes());
    }
}

impl Origin {
    /// The origin of row `row`.
    pub fn row(&self, row: usize) -> RowOrigin {
        RowOrigin {
            source: self.source,
            partition: self.partition.value(row),
            offset: self.offset.value(row),
            index: self.index,
        }
    }
}

impl Batch {
    /// Rows that are all added once.
    pub fn inserts(rows: RecordBatch, origin: Option<Origin>, wall_ms: i64) -> Self {
        Batch { rows, diffs: None, origin, wall_ms }
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.rows.num_rows()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The diff of row `row`.
    pub fn diff(&self, row: usize) -> i64 {
        self.diffs.as_ref().map_or(1, |diffs| diffs.value(row))
    }

    /// Sum of the diffs: what the ledger counts.
    pub fn diff_sum(&self) -> i64 {
        match &self.diffs {
            None => self.len() as i64,
            Some(diffs) => diffs.values().iter().sum(),
        }
    }

    /// Replaces the columns; the rows stay the same rows.
    #[must_use]
    pub fn with_rows(&self, rows: RecordBatch) -> Self {
        debug_assert_eq!(rows.num_rows(), self.len());
        Batch { rows, diffs: self.diffs.clone(), origin: self.origin.clone(), wall_ms: self.wall_ms }
    }

    /// Keeps the rows for which `keep` is true (NULL counts as false).
    pub fn filter(&self, keep: &arrow::array::BooleanArray) -> Result<Self, ArrowError> {
        self.map(filter_record_batch(&self.rows, keep)?, |column| filter(column, keep))
    }

    /// The rows at `indices`, in that order.
    pub fn take(&self, indices: &UInt32Array) -> Result<Self, ArrowError> {
        self.map(take_record_batch(&self.rows, indices)?, |column| take(column, indices, None))
    }

    /// `length` rows from `offset` on, without copying.
    #[must_use]
    pub fn slice(&self, offset: usize, length: usize) -> Self {
        let origin = self.origin.as_ref().map(|origin| Origin {
            partition: origin.partition.slice(offset, length),
            offset: origin.offset.slice(offset, length),
            ..*origin
        });
        Batch {
            rows: self.rows.slice(offset, length),
            diffs: self.diffs.as_ref().map(|diffs| diffs.slice(offset, length)),
            origin,
            wall_ms: self.wall_ms,
        }
    }

    /// Applies a selection to the columns that stand beside the rows.
    fn map(
        &self,
        rows: RecordBatch,
        select: impl Fn(&dyn Array) -> Result<ArrayRef, ArrowError>,
    ) -> Result<Self, ArrowError> {
        let diffs = match &self.diffs {
            Some(diffs) => Some(Int64Array::from(select(diffs)?.to_data())),
            None => None,
        };
        let origin = match &self.origin {
            Some(origin) => Some(Origin {
                partition: UInt32Array::from(select(&origin.partition)?.to_data()),
                offset: UInt64Array::from(select(&origin.offset)?.to_data()),
                ..*origin
            }),
            None => None,
        };
        Ok(Batch { rows, diffs, origin, wall_ms: self.wall_ms })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::BooleanArray;

    use super::*;

    fn batch() -> Batch {
        let column: ArrayRef = Arc::new(Int64Array::from(vec![10, 20, 30]));
        Batch {
            rows: RecordBatch::try_from_iter([("a", column)]).expect("one column"),
            diffs: Some(Int64Array::from(vec![1, -1, 2])),
            origin: Some(Origin {
                source: 3,
                index: 0,
                partition: UInt32Array::from(vec![0, 0, 1]),
                offset: UInt64Array::from(vec![7, 8, 9]),
            }),
            wall_ms: 5,
        }
    }

    #[test]
    fn diffs_and_origins_follow_their_rows() {
        let kept = batch().filter(&BooleanArray::from(vec![Some(true), None, Some(true)])).expect("filter");
        assert_eq!((kept.len(), kept.diff_sum()), (2, 3));
        let last = kept.origin.as_ref().expect("origin").row(1);
        assert_eq!(last, RowOrigin { source: 3, partition: 1, offset: 9, index: 0 });
        let taken = batch().take(&UInt32Array::from(vec![2, 0])).expect("take").slice(1, 1);
        assert_eq!((taken.diff(0), taken.origin.expect("origin").row(0).offset), (1, 7));
    }
}

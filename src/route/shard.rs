//! Which shard of a sink a row belongs to, and which worker runs that shard.
//!
//! The number of shards is a setting of the sink, never the number of workers: what a shard writes stays the
//! same when the workers change.

use arrow::array::{ArrayRef, UInt32Array};
use xxhash_rust::xxh3::xxh3_64;

use crate::batch::Batch;
use crate::canonical;
use crate::error::{Error, Result};

/// The worker that runs a shard.
pub fn worker_of_shard(shard: u16, shards: u16, workers: usize) -> usize {
    usize::from(shard) * workers / usize::from(shards)
}

/// Splits a batch by shard: rows of one key, or of one partition where there is no key, stay together.
pub fn split_by_shard(batch: Batch, key: Option<&[usize]>, shards: u16) -> Result<Vec<(u16, Batch)>> {
    if shards <= 1 {
        return Ok(vec![(0, batch)]);
    }
    let mut rows = vec![Vec::new(); usize::from(shards)];
    let all: Vec<usize> = (0..batch.rows.num_columns()).collect();
    let columns: Vec<ArrayRef> = match (key, &batch.origin) {
        (None, Some(origin)) => vec![std::sync::Arc::new(
            arrow::compute::cast(&origin.partition, &arrow::datatypes::DataType::Int64).map_err(internal)?,
        )],
        (key, _) => key.unwrap_or(&all).iter().map(|column| batch.rows.column(*column).clone()).collect(),
    };
    let keys = canonical::encode(&columns, batch.len());
    for row in 0..batch.len() {
        let shard = xxh3_64(keys.row(row)) % u64::from(shards);
        rows[shard as usize].push(row as u32);
    }
    let parts = rows.into_iter().enumerate().filter(|(_, rows)| !rows.is_empty());
    parts
        .map(|(shard, rows)| Ok((shard as u16, batch.take(&UInt32Array::from(rows)).map_err(internal)?)))
        .collect()
}

fn internal(error: arrow::error::ArrowError) -> Error {
    Error::internal("cannot split a batch by shard").caused_by(error)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Int64Array, RecordBatch};

    use super::*;

    #[test]
    fn every_row_is_in_one_shard_and_equal_keys_in_the_same() {
        let values: ArrayRef = Arc::new(Int64Array::from_iter_values((0..1000).map(|n| n % 10)));
        let rows = RecordBatch::try_from_iter([("k", values)]).expect("one column");
        let parts = split_by_shard(Batch::inserts(rows, None, 0), Some(&[0]), 3).expect("splits");
        assert_eq!(parts.iter().map(|(_, part)| part.len()).sum::<usize>(), 1000);
        for (_, part) in &parts {
            assert_eq!(part.len() % 100, 0, "all 100 rows of a key are together");
        }
    }

    #[test]
    fn shards_are_spread_over_workers() {
        let workers: Vec<usize> = (0..4).map(|shard| worker_of_shard(shard, 4, 2)).collect();
        assert_eq!(workers, [0, 0, 1, 1]);
        assert_eq!(worker_of_shard(0, 1, 8), 0);
    }
}

//! What a sink sees of an epoch: its rows in a fixed order, consolidated per key.
//!
//! Pure. The order does not depend on workers or on arrival: rows of sources come by origin, others by the
//! canonical bytes of key and row.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow::compute::{concat_batches, take_record_batch};
use arrow::datatypes::{Float64Type, SchemaRef};

use crate::batch::{Batch, RowOrigin};
use crate::canonical;
use crate::error::{Error, Result};
use crate::plan::ChangeMode;
use crate::write::{Changes, Op};

/// Brings the batches of one epoch into the form that a sink gets. `key` is that of the relation, if it has
/// one; without it each row stands for itself.
pub fn consolidate(
    schema: &SchemaRef,
    key: Option<&[usize]>,
    mode: ChangeMode,
    batches: &[Batch],
) -> Result<Changes> {
    let wall_ms = batches.first().map_or(0, |batch| batch.wall_ms);
    let mut rows = concat_batches(schema, batches.iter().map(|batch| &batch.rows)).map_err(internal)?;
    if mode == ChangeMode::Updating {
        rows = one_of_equals(rows)?;
    }
    if batches.iter().all(|batch| batch.origin.is_some() && batch.diffs.is_none()) {
        return by_origin(rows, batches, wall_ms);
    }
    let diffs: Vec<i64> = batches.iter().flat_map(|b| (0..b.len()).map(|row| b.diff(row))).collect();
    let every: Vec<usize> = (0..schema.fields().len()).collect();
    let key_columns = key.unwrap_or(&every);
    let keys = encode(&rows, key_columns);
    let values = encode(&rows, &every);
    let mut order: Vec<u32> = (0..rows.num_rows() as u32).collect();
    let compare = |a: u32, b: u32| -> Ordering {
        let (a, b) = (a as usize, b as usize);
        keys.row(a).cmp(keys.row(b)).then_with(|| values.row(a).cmp(values.row(b)))
    };
    // What comes from an operator is in order already, worker by worker: a stable sort merges such runs.
    order.sort_by(|a, b| compare(*a, *b));

    let (mut kept, mut ops) = (Vec::new(), Vec::new());
    let same_row = |a: &u32, b: &u32| compare(*a, *b) == Ordering::Equal;
    let same_key = |a: &u32, b: &u32| keys.row(*a as usize) == keys.row(*b as usize);
    for group in order.chunk_by(same_key) {
        let sums = group.chunk_by(same_row).map(|same| {
            let sum: i64 = same.iter().map(|row| diffs[*row as usize]).sum();
            (same[0], sum)
        });
        let (mut removed, mut added) = (Vec::new(), Vec::new());
        for (row, sum) in sums {
            let to = if sum > 0 { &mut added } else { &mut removed };
            to.extend(std::iter::repeat_n(row, sum.unsigned_abs() as usize));
        }
        if key.is_some() && added.len() == 1 && removed.len() == 1 {
            kept.push(added[0]);
            ops.push(Op::Update);
            continue;
        }
        ops.extend(removed.iter().map(|_| Op::Delete).chain(added.iter().map(|_| Op::Insert)));
        kept.append(&mut removed);
        kept.append(&mut added);
    }
    let rows = take_record_batch(&rows, &UInt32Array::from(kept)).map_err(internal)?;
    Ok(Changes { rows, ops, origins: None, wall_ms })
}

/// The last row of each key, and how many others were there.
pub fn last_of_key(changes: Changes, key: &[usize]) -> Result<(Changes, usize)> {
    let keys = encode(&changes.rows, key);
    let last: HashMap<&[u8], usize> = keys.iter().enumerate().map(|(row, key)| (key, row)).collect();
    if last.len() == keys.len() {
        return Ok((changes, 0));
    }
    let mut kept: Vec<usize> = last.into_values().collect();
    kept.sort_unstable();
    let places = UInt32Array::from_iter_values(kept.iter().map(|row| *row as u32));
    let rows = take_record_batch(&changes.rows, &places).map_err(internal)?;
    let ops = kept.iter().map(|row| changes.ops[*row]).collect();
    let origins = changes.origins.map(|origins| kept.iter().map(|row| origins[*row]).collect());
    let others = keys.len() - kept.len();
    Ok((Changes { rows, ops, origins, wall_ms: changes.wall_ms }, others))
}

/// Rows whose floats are written as they are compared: of -0.0 and 0.0, and of all NaNs, only one is left. Else
/// a row that is taken back would not be the one that was added, and which of them is seen would be chance.
fn one_of_equals(rows: RecordBatch) -> Result<RecordBatch> {
    let (schema, columns, count) = rows.into_parts();
    let column = |column: ArrayRef| match column.as_primitive_opt::<Float64Type>() {
        Some(floats) => Arc::new(floats.unary::<_, Float64Type>(canonical_float)) as ArrayRef,
        None => column,
    };
    let options = RecordBatchOptions::new().with_row_count(Some(count));
    let columns = columns.into_iter().map(column).collect();
    RecordBatch::try_new_with_options(schema, columns, &options).map_err(internal)
}

fn canonical_float(value: f64) -> f64 {
    if value == 0.0 {
        0.0
    } else if value.is_nan() {
        f64::NAN
    } else {
        value
    }
}

fn by_origin(rows: RecordBatch, batches: &[Batch], wall_ms: i64) -> Result<Changes> {
    let origins = batches.iter().filter_map(|batch| batch.origin.as_ref().map(|o| (o, batch.len())));
    let origins: Vec<RowOrigin> =
        origins.flat_map(|(origin, length)| (0..length).map(|row| origin.row(row))).collect();
    let ops = vec![Op::Insert; origins.len()];
    if origins.is_sorted() {
        return Ok(Changes { rows, ops, origins: Some(origins), wall_ms });
    }
    let mut order: Vec<u32> = (0..origins.len() as u32).collect();
    order.sort_by_key(|row| origins[*row as usize]);
    let sorted = order.iter().map(|row| origins[*row as usize]).collect();
    let rows = take_record_batch(&rows, &UInt32Array::from(order)).map_err(internal)?;
    Ok(Changes { rows, ops, origins: Some(sorted), wall_ms })
}

fn encode(rows: &RecordBatch, columns: &[usize]) -> canonical::CanonicalRows {
    let columns: Vec<ArrayRef> = columns.iter().map(|column| rows.column(*column).clone()).collect();
    canonical::encode(&columns, rows.num_rows())
}

fn internal(error: arrow::error::ArrowError) -> Error {
    Error::internal("cannot consolidate an epoch").caused_by(error)
}

/// The ledger's count of changes: an insert adds a row, a delete takes one away.
pub fn diff_of(op: Op) -> i64 {
    match op {
        Op::Insert => 1,
        Op::Update => 0,
        Op::Delete => -1,
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Float64Array, Int64Array, UInt64Array};
    use arrow::datatypes::{DataType, Field, Int64Type, Schema};

    use super::*;
    use crate::batch::Origin;

    fn schema() -> SchemaRef {
        let field = |name| Field::new(name, DataType::Int64, true);
        Arc::new(Schema::new(vec![field("k"), field("v")]))
    }

    fn batch(rows: &[(i64, i64, i64)]) -> Batch {
        let column = |pick: fn(&(i64, i64, i64)) -> i64| -> ArrayRef {
            Arc::new(Int64Array::from_iter_values(rows.iter().map(pick)))
        };
        let columns = vec![column(|row| row.0), column(|row| row.1)];
        let rows = RecordBatch::try_new(schema(), columns).expect("two columns");
        let diffs = Int64Array::from_iter_values(rows_diffs(rows.num_rows(), column(|row| row.2)));
        Batch { rows, diffs: Some(diffs), origin: None, wall_ms: 7 }
    }

    fn rows_diffs(length: usize, diffs: ArrayRef) -> Vec<i64> {
        assert_eq!(diffs.len(), length);
        diffs.as_primitive::<Int64Type>().values().to_vec()
    }

    fn changes(key: Option<&[usize]>, rows: &[(i64, i64, i64)]) -> Vec<(Op, i64, i64)> {
        let (front, back) = rows.split_at(rows.len() / 2);
        let changes = consolidate(&schema(), key, ChangeMode::Updating, &[batch(front), batch(back)])
            .expect("consolidates");
        let value = |column: usize, row| changes.rows.column(column).as_primitive::<Int64Type>().value(row);
        let rows = changes.ops.iter().enumerate();
        rows.map(|(row, op)| (*op, value(0, row), value(1, row))).collect()
    }

    #[test]
    fn changes_of_a_key_become_one_operation() {
        let rows = [(1, 10, -1), (2, 20, 1), (1, 11, 1), (3, 30, -1), (4, 40, 1), (4, 40, -1)];
        let expected = [(Op::Update, 1, 11), (Op::Insert, 2, 20), (Op::Delete, 3, 30)];
        assert_eq!(changes(Some(&[0]), &rows), expected);
    }

    #[test]
    fn intermediate_values_of_an_epoch_cancel() {
        let rows = [(1, 10, -1), (1, 11, 1), (1, 11, -1), (1, 12, 1)];
        assert_eq!(changes(Some(&[0]), &rows), [(Op::Update, 1, 12)]);
    }

    #[test]
    fn without_a_key_equal_rows_are_counted() {
        let rows = [(1, 10, 2), (1, 10, -1), (2, 5, -1)];
        assert_eq!(changes(None, &rows), [(Op::Insert, 1, 10), (Op::Delete, 2, 5)]);
    }

    #[test]
    fn floats_that_are_equal_are_one_row() {
        let field = Field::new("d", DataType::Float64, true);
        let schema: SchemaRef = Arc::new(Schema::new(vec![field]));
        let column: ArrayRef = Arc::new(Float64Array::from(vec![-0.0, 0.0, -f64::NAN, f64::NAN, 1.0]));
        let rows = RecordBatch::try_new(schema.clone(), vec![column]).expect("one column");
        let diffs = Some(Int64Array::from(vec![1, -1, 1, 1, 1]));
        let batch = Batch { rows, diffs, origin: None, wall_ms: 7 };
        let changes = consolidate(&schema, None, ChangeMode::Updating, &[batch]).expect("consolidates");
        let bits: Vec<u64> = changes
            .rows
            .column(0)
            .as_primitive::<Float64Type>()
            .values()
            .iter()
            .map(|d| d.to_bits())
            .collect();
        assert_eq!(changes.ops, [Op::Insert; 3]);
        assert_eq!(bits.iter().filter(|bits| **bits == f64::NAN.to_bits()).count(), 2);
        assert!(bits.contains(&1.0_f64.to_bits()));
    }

    #[test]
    fn of_rows_that_replace_each_other_the_last_is_left() {
        let rows = [(1, 10, 1), (2, 20, 1), (1, 11, 1), (3, 30, 1), (1, 12, 1)];
        let changes = Changes {
            rows: batch(&rows).rows,
            ops: vec![Op::Insert; 5],
            origins: Some(
                (0..5).map(|offset| RowOrigin { source: 0, partition: 0, offset, index: 0 }).collect(),
            ),
            wall_ms: 7,
        };
        let (last, others) = last_of_key(changes, &[0]).expect("takes rows");
        let values = last.rows.column(1).as_primitive::<Int64Type>().values().to_vec();
        let offsets: Vec<u64> = last.origins.iter().flatten().map(|origin| origin.offset).collect();
        assert_eq!((values, offsets, last.ops.len(), others), (vec![20, 30, 12], vec![1, 3, 4], 3, 2));
        assert_eq!(last_of_key(last, &[1]).expect("takes rows").1, 0);
    }

    #[test]
    fn rows_of_sources_come_in_the_order_of_their_origins() {
        let with_origin = |rows: &[(i64, i64, i64)], offsets: &[u64]| Batch {
            diffs: None,
            origin: Some(Origin {
                source: 0,
                index: 0,
                partition: arrow::array::UInt32Array::from(vec![0; offsets.len()]),
                offset: UInt64Array::from(offsets.to_vec()),
            }),
            ..batch(rows)
        };
        let batches = [with_origin(&[(5, 0, 1), (9, 0, 1)], &[5, 9]), with_origin(&[(2, 0, 1)], &[2])];
        let changes = consolidate(&schema(), None, ChangeMode::AppendOnly, &batches).expect("consolidates");
        assert_eq!(changes.rows.column(0).as_primitive::<Int64Type>().values(), &[2, 5, 9]);
        assert_eq!(changes.origins.expect("origins")[0].offset, 2);
    }
}

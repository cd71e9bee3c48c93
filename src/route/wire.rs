//! Batches as bytes, for workers of other processes: an Arrow IPC message without a schema, since both sides
//! know it from the plan.
//!
//! ```text
//! version u8 | flags u8 | source u16 | index u32 | wall_ms i64 | message length u64 | message | body
//! ```
//!
//! All numbers are little endian; message and body start at multiples of 8. Diffs, partitions and offsets
//! travel as further columns behind those of the rows. Whether the bytes arrived as they were sent is checked
//! by the frame around them; here only lengths and counts are.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch, RecordBatchOptions};
use arrow::buffer::Buffer;
use arrow::datatypes::{DataType, Field, FieldRef, Int64Type, Schema, SchemaRef, UInt32Type, UInt64Type};
use arrow::ipc::reader::read_record_batch;
use arrow::ipc::root_as_message;
use arrow::ipc::writer::{CompressionContext, DictionaryTracker, IpcDataGenerator, IpcWriteOptions};

use crate::batch::{Batch, Origin};
use crate::error::{Error, Result};

const VERSION: u8 = 1;
const HEADER_BYTES: usize = 24;
const HAS_DIFFS: u8 = 1;
const HAS_ORIGIN: u8 = 2;

/// The bytes of a batch.
pub fn encode(batch: &Batch) -> Result<Vec<u8>> {
    let flags = flags(batch);
    let mut columns = batch.rows.columns().to_vec();
    if let Some(diffs) = &batch.diffs {
        columns.push(Arc::new(diffs.clone()));
    }
    if let Some(origin) = &batch.origin {
        columns.push(Arc::new(origin.partition.clone()));
        columns.push(Arc::new(origin.offset.clone()));
    }
    let options = RecordBatchOptions::new().with_row_count(Some(batch.len()));
    let rows = RecordBatch::try_new_with_options(extended(&batch.rows.schema(), flags), columns, &options)
        .map_err(|error| Error::internal("cannot encode a batch").caused_by(error))?;
    let (_, encoded) = IpcDataGenerator::default()
        .encode(
            &rows,
            &mut DictionaryTracker::new(false),
            &IpcWriteOptions::default(),
            &mut CompressionContext::default(),
        )
        .map_err(|error| Error::internal("cannot encode a batch").caused_by(error))?;
    let message = &encoded.ipc_message;
    let mut bytes = Vec::with_capacity(HEADER_BYTES + message.len() + 8 + encoded.arrow_data.len());
    let (source, index) = batch.origin.as_ref().map_or((0, 0), |origin| (origin.source, origin.index));
    bytes.extend_from_slice(&[VERSION, flags]);
    bytes.extend_from_slice(&source.to_le_bytes());
    bytes.extend_from_slice(&index.to_le_bytes());
    bytes.extend_from_slice(&batch.wall_ms.to_le_bytes());
    bytes.extend_from_slice(&(message.len() as u64).to_le_bytes());
    bytes.extend_from_slice(message);
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    bytes.extend_from_slice(&encoded.arrow_data);
    Ok(bytes)
}

/// The batch that [`encode`] was given; `schema` is that of its rows. Its columns share the memory.
pub fn decode(bytes: Vec<u8>, schema: &SchemaRef) -> Result<Batch> {
    let bytes = Buffer::from(bytes);
    let (header, _) = bytes.split_first_chunk::<HEADER_BYTES>().ok_or_else(|| broken("no header"))?;
    let &[version, flags, s0, s1, i0, i1, i2, i3, ref rest @ ..] = header;
    if version != VERSION || flags & !(HAS_DIFFS | HAS_ORIGIN) != 0 {
        return Err(broken("unknown version"));
    }
    let (wall_ms, length) = rest.split_at(8);
    let wall_ms = i64::from_le_bytes(eight(wall_ms)?);
    let length = usize::try_from(u64::from_le_bytes(eight(length)?)).map_err(|_| broken("length"))?;
    let end = HEADER_BYTES.checked_add(length).filter(|end| *end <= bytes.len());
    let end = end.ok_or_else(|| broken("message is cut"))?;
    let at = end.next_multiple_of(8);
    if at > bytes.len() {
        return Err(broken("body is cut"));
    }
    let body = bytes.slice(at);
    let rows = read_rows(&bytes[HEADER_BYTES..end], &body, &extended(schema, flags))?;
    let (rows, mut extra) = divide(&rows, schema)?;
    let diffs = if flags & HAS_DIFFS == 0 { None } else { extra.next() };
    let origin = if flags & HAS_ORIGIN == 0 { None } else { extra.next().zip(extra.next()) };
    Ok(Batch {
        rows,
        diffs: diffs.map(|diffs| diffs.as_primitive::<Int64Type>().clone()),
        origin: origin.map(|(partition, offset)| Origin {
            source: u16::from_le_bytes([s0, s1]),
            index: u32::from_le_bytes([i0, i1, i2, i3]),
            partition: partition.as_primitive::<UInt32Type>().clone(),
            offset: offset.as_primitive::<UInt64Type>().clone(),
        }),
        wall_ms,
    })
}

/// Reads an IPC message, after making sure that it asks for no byte that is not there.
fn read_rows(message: &[u8], body: &Buffer, schema: &SchemaRef) -> Result<RecordBatch> {
    let message = root_as_message(message).map_err(|error| broken(&format!("message: {error}")))?;
    let batch = message.header_as_record_batch().ok_or_else(|| broken("not a record batch"))?;
    if usize::try_from(message.bodyLength()) != Ok(body.len()) {
        return Err(broken("body is cut"));
    }
    for buffer in batch.buffers().into_iter().flatten() {
        let end = buffer.offset().checked_add(buffer.length());
        if buffer.offset() < 0 || buffer.length() < 0 || end.is_none_or(|end| end > body.len() as i64) {
            return Err(broken("a column reaches beyond the end"));
        }
    }
    let nodes = batch.nodes().map_or(0, |nodes| nodes.len());
    let negative = batch.nodes().into_iter().flatten().any(|node| node.length() < 0 || node.null_count() < 0);
    if nodes != schema.fields().len() || negative || batch.length() < 0 {
        return Err(broken("other columns than those of the plan"));
    }
    read_record_batch(body, batch, Arc::clone(schema), &HashMap::new(), None, &message.version())
        .map_err(|error| broken("columns").caused_by(error))
}

/// Takes the columns of the relation from those that stand beside them.
fn divide(rows: &RecordBatch, schema: &SchemaRef) -> Result<(RecordBatch, impl Iterator<Item = ArrayRef>)> {
    let own = schema.fields().len();
    let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
    let columns = rows.columns()[..own].to_vec();
    let extra = rows.columns()[own..].to_vec();
    let rows = RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)
        .map_err(|error| broken("columns").caused_by(error))?;
    Ok((rows, extra.into_iter()))
}

fn flags(batch: &Batch) -> u8 {
    let diffs = if batch.diffs.is_some() { HAS_DIFFS } else { 0 };
    diffs | if batch.origin.is_some() { HAS_ORIGIN } else { 0 }
}

/// The schema on the wire.
fn extended(schema: &SchemaRef, flags: u8) -> SchemaRef {
    let mut fields: Vec<FieldRef> = schema.fields().iter().cloned().collect();
    let mut push = |name: &str, data_type| fields.push(Arc::new(Field::new(name, data_type, false)));
    if flags & HAS_DIFFS != 0 {
        push("diff", DataType::Int64);
    }
    if flags & HAS_ORIGIN != 0 {
        push("partition", DataType::UInt32);
        push("offset", DataType::UInt64);
    }
    Arc::new(Schema::new(fields))
}

fn eight(bytes: &[u8]) -> Result<[u8; 8]> {
    bytes.try_into().map_err(|_| broken("header"))
}

fn broken(what: &str) -> Error {
    Error::internal(format!("broken batch from another process: {what}"))
}

#[cfg(test)]
mod tests {
    use arrow::array::{
        BooleanArray, Float64Array, Int32Array, Int64Array, StringArray, TimestampNanosecondArray,
        UInt32Array, UInt64Array,
    };
    use rand::{Rng, SeedableRng};
    use rand_pcg::Pcg64Mcg;

    use super::*;

    fn random_batch(random: &mut Pcg64Mcg, rows: usize) -> Batch {
        let mut flip = || random.random_bool(0.7);
        let texts: StringArray = (0..rows).map(|row| flip().then(|| format!("t{row}"))).collect();
        let doubles: Float64Array = (0..rows).map(|row| flip().then_some(row as f64 / 7.0)).collect();
        let bools: BooleanArray = (0..rows).map(|row| flip().then_some(row % 3 == 0)).collect();
        let ints: Int32Array = (0..rows).map(|row| flip().then_some(row as i32)).collect();
        let times: TimestampNanosecondArray = (0..rows).map(|row| flip().then_some(row as i64)).collect();
        let rows_of = RecordBatch::try_from_iter_with_nullable([
            ("text", Arc::new(texts) as ArrayRef, true),
            ("double", Arc::new(doubles) as ArrayRef, true),
            ("bool", Arc::new(bools) as ArrayRef, true),
            ("int", Arc::new(ints) as ArrayRef, true),
            ("time", Arc::new(times) as ArrayRef, true),
        ]);
        let diffs = flip().then(|| Int64Array::from_iter_values((0..rows).map(|row| row as i64 - 3)));
        let origin = flip().then(|| Origin {
            source: 513,
            index: 70_000,
            partition: UInt32Array::from_iter_values((0..rows).map(|row| row as u32 % 4)),
            offset: UInt64Array::from_iter_values((0..rows).map(|row| u64::MAX - row as u64)),
        });
        Batch { rows: rows_of.expect("columns"), diffs, origin, wall_ms: -5 }
    }

    fn assert_same(left: &Batch, right: &Batch, what: &str) {
        assert_eq!(left.rows, right.rows, "{what}");
        assert_eq!((&left.diffs, left.wall_ms), (&right.diffs, right.wall_ms), "{what}");
        assert_eq!(left.origin.is_some(), right.origin.is_some(), "{what}");
        if let (Some(l), Some(r)) = (&left.origin, &right.origin) {
            assert!((0..left.len()).all(|row| l.row(row) == r.row(row)), "{what}");
        }
    }

    #[test]
    fn batches_and_their_slices_come_back() {
        for seed in 0..60 {
            let mut random = Pcg64Mcg::seed_from_u64(seed);
            let rows = random.random_range(0..50);
            let whole = random_batch(&mut random, rows);
            let from = random.random_range(0..=rows);
            let part = whole.slice(from, random.random_range(0..=rows - from));
            for batch in [whole, part] {
                let bytes = encode(&batch).expect("encodes");
                let back = decode(bytes, &batch.rows.schema()).expect("decodes");
                assert_same(&batch, &back, &format!("seed {seed}"));
            }
        }
    }

    #[test]
    fn rows_without_columns_are_still_counted() {
        let options = RecordBatchOptions::new().with_row_count(Some(3));
        let rows = RecordBatch::try_new_with_options(Arc::new(Schema::empty()), vec![], &options);
        let mut batch = Batch::inserts(rows.expect("no columns"), None, 0);
        for diffs in [None, Some(Int64Array::from(vec![1, -1, 1]))] {
            batch.diffs = diffs;
            let bytes = encode(&batch).expect("encodes");
            assert_eq!(decode(bytes, &batch.rows.schema()).expect("decodes").len(), 3);
        }
    }

    #[test]
    fn cut_bytes_and_other_schemas_are_refused() {
        let batch = random_batch(&mut Pcg64Mcg::seed_from_u64(1), 20);
        let bytes = encode(&batch).expect("encodes");
        for length in 0..bytes.len() {
            assert!(decode(bytes[..length].to_vec(), &batch.rows.schema()).is_err(), "{length} bytes");
        }
        let fewer = Arc::new(Schema::new(batch.rows.schema().fields()[..3].to_vec()));
        assert!(decode(bytes, &fewer).is_err());
    }
}

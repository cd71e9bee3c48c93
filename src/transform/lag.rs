//! `lag(x) OVER (PARTITION BY k ORDER BY t)`: rows wait until event time has passed them, and leave in its order,
//! each with values of rows before it that have the same key.
//!
//! - The order is event time, then origin, then the canonical bytes of the row: nothing depends on when or in which
//!   batches rows came.
//! - A row leaves at the close at which the watermark is beyond its time; at the watermark others of the same time
//!   may still come. One that comes when the watermark has passed it is late: its place in the order is gone.
//! - So in what leaves the column is a time attribute still, with the same watermark.
//! - What is kept: the rows that wait, and per key the values that later rows will show.

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, UInt32Array};
use arrow::compute::{interleave_record_batch, take_record_batch};
use arrow::datatypes::{DataType, FieldRef, SchemaRef, TimestampNanosecondType};

use crate::batch::{Batch, RowOrigin};
use crate::canonical::{self, CanonicalRows};
use crate::error::{Error, Result};
use crate::plan::{Before, Expr, Lag};
use crate::time::{Epoch, EpochClose, EventTime, Watermark};
use crate::transform::eval::Evaluation;
use crate::transform::lag::keys::{Key, Keys};
use crate::transform::waiting::{Place, Waiting, is_passed};
use crate::transform::{KeyGroup, Operator, Output, Progress, SnapshotKind};

mod keys;
mod snapshot;

/// How many rows leave at a time before others may work; rows of one time and origin are not parted.
const ROWS_AT_ONCE: usize = 16_384;

/// The rows that wait on one worker, and what is known of those before them.
pub struct LagState {
    name: String,
    input: SchemaRef,
    schema: SchemaRef,
    state_schema: SchemaRef,
    /// How many columns of the input leave.
    width: usize,
    keys: Vec<(Expr, DataType)>,
    time: (Expr, FieldRef),
    /// Whether that is the end of a window.
    at_end: bool,
    values: Vec<Value>,
    waiting: Waiting,
    known: Keys,
    /// W(e-1): what is older is late.
    passed: Watermark,
    /// Memory of the last batch.
    key_bytes: CanonicalRows,
}

/// What is shown of rows before.
struct Value {
    expr: Expr,
    data_type: DataType,
    /// How many rows before.
    rows: usize,
    /// Whether rows in which it is NULL do not count.
    ignore_nulls: bool,
    /// What is shown where there is no such row.
    default: Option<Expr>,
}

impl LagState {
    /// The empty state. Fails on types that cannot be kept.
    pub fn new(plan: &Lag) -> Result<Self> {
        let type_of = |expr: &Expr| {
            let found = expr.physical.data_type(&plan.input);
            found.map_err(|error| Error::internal(format!("{}: {error}", expr.text)))
        };
        let keys = plan.keys.iter().map(|key| Ok((key.clone(), type_of(key)?)));
        let values = plan.values.iter().map(|before| {
            let data_type = type_of(&before.value)?;
            let Before { value, rows, ignore_nulls, default } = before.clone();
            Ok(Value { expr: value, data_type, rows, ignore_nulls, default })
        });
        let (keys, values) = (keys.collect::<Result<Vec<_>>>()?, values.collect::<Result<Vec<_>>>()?);
        let columns = plan.input.fields().iter().map(|field| field.data_type());
        if let Some(other) = columns.into_iter().find(|data_type| !canonical::supports(data_type)) {
            return Err(Error::internal(format!("{} cannot order values of type {other}", plan.name)));
        }
        Ok(LagState {
            name: plan.name.clone(),
            state_schema: snapshot::state_schema(&plan.input),
            input: plan.input.clone(),
            schema: plan.schema.clone(),
            width: plan.width(),
            keys,
            time: (plan.time.clone(), plan.time_field.clone()),
            at_end: plan.at_end,
            known: Keys::new(values.len()),
            values,
            waiting: Waiting::default(),
            passed: Watermark::NONE,
            key_bytes: CanonicalRows::default(),
        })
    }

    /// Puts aside what came too late; gives the rest with its times.
    fn in_time(&self, batch: Batch, times: &ArrayRef, out: &mut Output) -> (Batch, Vec<EventTime>) {
        let times = times.as_primitive::<TimestampNanosecondType>().values();
        let is_late = |time: &EventTime| is_passed(*time, self.passed, self.at_end);
        if !times.iter().any(is_late) {
            return (batch, times.to_vec());
        }
        let late: BooleanArray = times.iter().map(|time| Some(is_late(time))).collect();
        let in_time = arrow::compute::not(&late).expect("a mask");
        out.late.push(batch.filter(&late).expect("masks of one length"));
        let kept = times.iter().copied().filter(|time| !is_late(time)).collect();
        (batch.filter(&in_time).expect("masks of one length"), kept)
    }

    /// The rows at these places, in this order, with what stands before them.
    fn leave(&mut self, places: &[Place], wall_ms: i64, out: &mut Output) {
        let (batches, indices) = self.waiting.locate(places);
        let rows = interleave_record_batch(&batches, &indices).expect("rows of one schema");
        let order = in_order(&rows, places);
        let rows = take_record_batch(&rows, &order).expect("an order of the rows");
        let keys: Vec<Key> = order.values().iter().map(|at| places[*at as usize].key).collect();
        self.waiting.release(places);
        let batch = Batch::inserts(rows, None, wall_ms);
        let mut columns = batch.rows.columns()[..self.width].to_vec();
        for number in 0..self.values.len() {
            columns.push(self.before(number, &batch, &keys));
        }
        keys.iter().for_each(|key| self.known.change(*key));
        let rows = RecordBatch::try_new(self.schema.clone(), columns).expect("columns of the schema");
        out.emitted += rows.num_rows() as i64;
        out.batches.push(Batch::inserts(rows, None, wall_ms));
    }

    /// The values that stand before `rows`, which follow each other; keeps theirs for the next.
    fn before(&mut self, number: usize, batch: &Batch, keys: &[Key]) -> ArrayRef {
        let Value { expr, data_type, rows, ignore_nulls, default } = &self.values[number];
        let mut evaluation = Evaluation::new(batch);
        let values = evaluation.column(expr, data_type);
        let encoded = canonical::encode(std::slice::from_ref(&values), keys.len());
        let default = match default {
            Some(default) => evaluation.column(default, data_type),
            None => arrow::array::new_null_array(data_type, keys.len()),
        };
        let default = canonical::encode(&[default], keys.len());
        let mut shown: Vec<Box<[u8]>> = Vec::with_capacity(keys.len());
        for (row, key) in keys.iter().enumerate() {
            let stays = *ignore_nulls && values.is_null(row);
            let front = match stays {
                true => self.known.first(*key, number, *rows).map(Into::into),
                false => self.known.push(*key, number, encoded.row(row), *rows),
            };
            shown.push(front.unwrap_or_else(|| default.row(row).into()));
        }
        let mut columns = canonical::decode(shown.iter().map(AsRef::as_ref), std::slice::from_ref(data_type))
            .expect("the state holds canonical values");
        columns.swap_remove(0)
    }
}

/// The order of rows that are in the order of their places: of those at equal places their bytes decide.
fn in_order(rows: &RecordBatch, places: &[Place]) -> UInt32Array {
    let mut order: Vec<u32> = (0..places.len() as u32).collect();
    let mut start = 0;
    for end in 1..=places.len() {
        if end < places.len() && places[end].at == places[start].at {
            continue;
        }
        if end - start > 1 {
            let group = rows.slice(start, end - start);
            let bytes = canonical::encode(group.columns(), group.num_rows());
            order[start..end]
                .sort_by(|a, b| bytes.row(*a as usize - start).cmp(bytes.row(*b as usize - start)));
        }
        start = end;
    }
    UInt32Array::from(order)
}

impl Operator for LagState {
    fn on_batch(&mut self, _port: usize, _epoch: Epoch, batch: &Batch, out: &mut Output) {
        let mut evaluation = Evaluation::new(batch);
        let mut times = evaluation.field(&self.time.0, &self.time.1);
        let failed = evaluation.finish();
        let mut batch = batch.clone();
        if !failed.is_empty() {
            let good = failed.report(&batch, &self.name, out, |_| false);
            times = arrow::compute::filter(&times, &good).expect("masks of one length");
            batch = batch.filter(&good).expect("masks of one length");
        }
        let (batch, times) = self.in_time(batch, &times, out);
        if batch.is_empty() {
            return;
        }
        let mut evaluation = Evaluation::new(&batch);
        let keys: Vec<_> = self.keys.iter().map(|(key, kind)| evaluation.column(key, kind)).collect();
        self.key_bytes.encode(&keys, batch.len());
        let at = |row: usize| -> (EventTime, Option<RowOrigin>) {
            (times[row], batch.origin.as_ref().map(|origin| origin.row(row)))
        };
        let id = self.waiting.keep(batch.rows.clone());
        for row in 0..batch.len() {
            let key = self.known.intern(self.key_bytes.row(row));
            self.known.change(key);
            for _ in 0..batch.diff(row) {
                self.waiting.insert(at(row), (id, row as u32), key);
            }
        }
    }

    fn on_epoch(&mut self, close: &EpochClose, out: &mut Output) -> Progress {
        let watermark = close.watermarks[0].max(self.passed);
        let at_end = self.at_end;
        let is_passed = |time: EventTime| is_passed(time, watermark, at_end);
        let places = self.waiting.passed(is_passed, ROWS_AT_ONCE, |one, other| one == other);
        if !places.is_empty() {
            self.leave(&places, close.wall_ms, out);
        }
        if self.waiting.first().is_some_and(is_passed) {
            return Progress::More;
        }
        self.passed = watermark;
        Progress::Done
    }

    fn rows_in_state(&self) -> i64 {
        self.waiting.len() as i64
    }

    fn state_bytes(&self) -> usize {
        self.waiting.bytes() + self.known.memory_bytes()
    }

    fn snapshot(&mut self, kind: SnapshotKind) -> Vec<(KeyGroup, RecordBatch)> {
        self.take_snapshot(kind)
    }

    fn snapshot_failed(&mut self) {
        self.known.snapshot_failed();
    }

    fn restore(&mut self, state: &RecordBatch) -> Result<()> {
        self.load(state)
    }

    fn state_schema(&self) -> SchemaRef {
        self.state_schema.clone()
    }
}

#[cfg(test)]
mod tests;

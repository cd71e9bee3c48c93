//! How many bytes DISTINCT ON needs for each key that it remembers, by the growth of the resident size.
//!
//! The operator alone, in this process: no reader and no sink has a part in what is measured. First it is filled;
//! then event time goes on, and as many keys are forgotten as come; at the end all are.

use std::sync::Arc;
use std::time::Instant;

use arrow::array::{
    ArrayRef, Float64Array, RecordBatch, StringArray, TimestampNanosecondArray, UInt32Array, UInt64Array,
};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use serde_json::json;

use super::{give_back, write_id};
use crate::batch::{Batch, Origin};
use crate::control::bench::args::MemoryArgs;
use crate::control::progress;
use crate::control::samples::resident_in_use;
use crate::error::Result;
use crate::plan::{Bound, Deduplication, Horizon};
use crate::time::{EpochClose, Watermark};
use crate::transform::dedup::Deduplicator;
use crate::transform::{Operator, Output, Progress};

/// Rows of an epoch.
const EPOCH: u64 = 20_000;
/// Every so manieth row is a duplicate of one in the epoch before.
const DUPLICATES: u64 = 50;
const HORIZON_NS: i64 = 600_000_000_000;
const DELAY_NS: i64 = 10_000_000_000;

/// What was measured.
#[derive(Clone, Copy, Debug, Default)]
struct Found {
    remembered: usize,
    resident: u64,
    /// As the operator counts it.
    allocated: usize,
}

/// Fills a DISTINCT ON and prints what it needs.
pub(super) fn run(args: &MemoryArgs) -> Result<()> {
    let ids = args.ids.unwrap_or(20_000_000);
    // What the first epochs allocate once and for all is no key.
    let mut warm = Load::new(args.id_bytes, 100 * EPOCH)?;
    warm.epochs(5 * EPOCH)?;
    drop(warm);

    let before = resident_in_use()?;
    let mut load = Load::new(args.id_bytes, ids)?;
    let began = Instant::now();
    let (filled, peak) = load.epochs(ids)?;
    let seconds = began.elapsed().as_secs_f64();
    let (steady, steady_peak) = load.epochs(ids)?;
    load.close(Watermark::END, Batch::inserts(RecordBatch::new_empty(load.plan.input.clone()), None, 0));
    give_back();
    let forgotten = load.found()?;
    drop(load);

    let each = |found: Found| found.resident.saturating_sub(before) as f64 / found.remembered.max(1) as f64;
    let (at_fill, at_peak) = (each(filled), each(peak));
    let (at_steady, at_steady_peak) = (each(steady), each(steady_peak));
    let rows_s = ids as f64 / seconds;
    let report = json!({
        "id_bytes": args.id_bytes,
        "filled": { "remembered": filled.remembered, "bytes_each": at_fill, "peak_bytes_each": at_peak,
            "allocated_bytes_each": filled.allocated as f64 / filled.remembered.max(1) as f64 },
        "steady": { "remembered": steady.remembered, "bytes_each": at_steady, "peak_bytes_each": at_steady_peak },
        "forgotten": { "remembered": forgotten.remembered, "resident_bytes": forgotten.resident.saturating_sub(before) },
        "rows_s": rows_s,
    });
    progress::say(&if args.json {
        format!("{report}\n")
    } else {
        format!(
            "keys of {} bytes, resident bytes for each that is remembered\n\
             filled     {:>12} remembered   {at_fill:>6.1}   {at_peak:>6.1} at most   {rows_s:.0} rows/s\n\
             going on   {:>12} remembered   {at_steady:>6.1}   {at_steady_peak:>6.1} at most\n\
             at the end {:>12} remembered   {} of {} MiB are left\n",
            args.id_bytes,
            filled.remembered,
            steady.remembered,
            forgotten.remembered,
            forgotten.resident.saturating_sub(before) >> 20,
            steady_peak.resident.saturating_sub(before) >> 20,
        )
    });
    Ok(())
}

/// An operator and what comes to it.
struct Load {
    plan: Deduplication,
    operator: Deduplicator,
    id_bytes: usize,
    /// Event time between two rows: so many rows are remembered at a time as was asked for.
    step_ns: i64,
    rows: u64,
    epoch: u64,
}

impl Load {
    fn new(id_bytes: usize, ids: u64) -> Result<Self> {
        let plan = plan();
        let operator = Deduplicator::new(&plan)?;
        let held = 2 * HORIZON_NS + DELAY_NS;
        let step_ns = (held / i64::try_from(ids).unwrap_or(i64::MAX)).max(1);
        Ok(Load { plan, operator, id_bytes, step_ns, rows: 0, epoch: 0 })
    }

    /// Runs epochs of `rows` rows together. Gives what there is behind them, and when the resident size was greatest.
    fn epochs(&mut self, rows: u64) -> Result<(Found, Found)> {
        let (end, mut peak) = (self.rows + rows, Found::default());
        while self.rows < end {
            let batch = self.batch((end - self.rows).min(EPOCH));
            let newest = i64::try_from(self.rows).unwrap_or(i64::MAX).saturating_mul(self.step_ns);
            self.close(Watermark(newest.saturating_sub(DELAY_NS)), batch);
            let found = self.found()?;
            peak = if found.resident > peak.resident { found } else { peak };
        }
        Ok((self.found()?, peak))
    }

    fn found(&self) -> Result<Found> {
        Ok(Found {
            remembered: self.operator.remembered(),
            resident: resident_in_use()?,
            allocated: self.operator.state_bytes(),
        })
    }

    fn close(&mut self, watermark: Watermark, batch: Batch) {
        self.epoch += 1;
        let mut out = Output::default();
        self.operator.on_batch(0, self.epoch, &batch, &mut out);
        let close =
            EpochClose { epoch: self.epoch, wall_ms: 0, checkpoint: false, watermarks: vec![watermark] };
        while self.operator.on_epoch(&close, &mut out) == Progress::More {}
    }

    fn batch(&mut self, rows: u64) -> Batch {
        let numbers: Vec<u64> = (self.rows..self.rows + rows).collect();
        let meant = |number: &u64| match number % DUPLICATES {
            0 if *number >= EPOCH => number - EPOCH,
            _ => *number,
        };
        let mut id = String::new();
        let ids: StringArray = numbers
            .iter()
            .map(|number| {
                write_id(&mut id, meant(number), self.id_bytes);
                Some(id.clone())
            })
            .collect();
        let times = numbers.iter().map(|number| meant(number) as i64 * self.step_ns);
        let columns: Vec<ArrayRef> = vec![
            Arc::new(ids),
            Arc::new(Float64Array::from_iter_values(numbers.iter().map(|number| meant(number) as f64))),
            Arc::new(TimestampNanosecondArray::from_iter_values(times)),
        ];
        let origin = Origin {
            source: 0,
            index: 0,
            partition: UInt32Array::from_value(0, numbers.len()),
            offset: UInt64Array::from(numbers),
        };
        self.rows += rows;
        let rows = RecordBatch::try_new(self.plan.input.clone(), columns).expect("columns of the plan");
        Batch::inserts(rows, Some(origin), 0)
    }
}

fn plan() -> Deduplication {
    let fields = vec![
        Field::new("event_id", DataType::Utf8, false),
        Field::new("value", DataType::Float64, true),
        Field::new("ts", DataType::Timestamp(TimeUnit::Nanosecond, None), false),
    ];
    let schema = Arc::new(Schema::new(fields));
    Deduplication {
        name: "bench/deduplicate".into(),
        input: schema.clone(),
        schema,
        keys: vec![0],
        content: vec![1, 2],
        horizon: Some(Horizon { time: 2, ns: HORIZON_NS, bound: Bound::Source(0), ahead_ns: DELAY_NS }),
    }
}

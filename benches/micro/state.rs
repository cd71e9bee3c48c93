//! Keyed state by class of aggregate: 8,192 rows of 10,000 keys in an epoch, whose changes are given out.

use std::hint::black_box;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray, TimestampNanosecondArray};
use criterion::{BatchSize, Criterion, Throughput};
use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64Mcg;
use tidemill::batch::{Batch, Origin};
use tidemill::plan::Plan;
use tidemill::transform::aggregate::KeyedState;

use crate::common::{RECORDS, epoch, plan, through};

const KEYS: u32 = 10_000;
/// Batches that are made once; their values come again, their times go on.
const BATCHES: usize = 8;

/// Name and what is asked for.
const CLASSES: [(&str, &str); 6] = [
    ("count, sum", "count(*) AS a, sum(value) AS b"),
    ("min, max", "min(value) AS a, max(value) AS b"),
    ("last_value", "last_value(value ORDER BY ts) AS a"),
    ("percentile", "percentile_cont(0.95) WITHIN GROUP (ORDER BY value) AS a"),
    ("approximate percentile", "approx_percentile_cont(0.95) WITHIN GROUP (ORDER BY value) AS a"),
    ("count distinct", "count(DISTINCT n) AS a"),
];

fn dataflow(aggregates: &str) -> String {
    format!(
        "CREATE SOURCE readings (device TEXT NOT NULL, value DOUBLE NOT NULL, n BIGINT NOT NULL,
             ts TIMESTAMP NOT NULL, WATERMARK FOR ts AS ts)
         WITH (connector = 'kafka', topic = 'readings', format = 'json');
         CREATE MATERIALIZED VIEW v WITH (state_retention = 'unbounded') AS
             SELECT device, {aggregates} FROM readings GROUP BY device;
         CREATE SINK nowhere FROM v WITH (connector = 'blackhole');"
    )
}

/// Rows of the source; their times begin at `start`.
fn rows(plan: &Plan, seed: usize, start: usize) -> Batch {
    let random = &mut Pcg64Mcg::seed_from_u64(seed as u64);
    let devices = (0..RECORDS).map(|_| Some(format!("device-{:06}", random.random_range(0..KEYS))));
    let devices: StringArray = devices.collect();
    let values =
        Float64Array::from_iter_values((0..RECORDS).map(|_| f64::from(random.random_range(0..1_000))));
    let numbers = Int64Array::from_iter_values((0..RECORDS).map(|_| random.random_range(0..100)));
    let times = TimestampNanosecondArray::from_iter_values((start..start + RECORDS).map(|time| time as i64));
    let columns: Vec<ArrayRef> =
        vec![Arc::new(devices), Arc::new(values), Arc::new(numbers), Arc::new(times)];
    let rows = RecordBatch::try_new(plan.sources[0].schema.clone(), columns).expect("columns of the source");
    let origin = Origin {
        source: 0,
        index: 0,
        partition: vec![0; RECORDS].into(),
        offset: (start as u64..(start + RECORDS) as u64).collect::<Vec<_>>().into(),
    };
    Batch::inserts(rows, Some(origin), 0)
}

pub fn all(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("keyed state");
    group.throughput(Throughput::Elements(RECORDS as u64));
    for (class, aggregates) in CLASSES {
        group.bench_function(class, |bencher| {
            let plan = plan(&dataflow(aggregates));
            let aggregation = plan.operators[0].aggregation().expect("a GROUP BY");
            let mut state = KeyedState::new(aggregation, 0, 1).expect("a good plan");
            let mut count = 0;
            let mut next = || {
                count += 1;
                (count as u64, through(&plan.legs[0], rows(&plan, count % BATCHES, count * RECORDS)))
            };
            for _ in 0..BATCHES {
                let (number, batch) = next();
                assert!(!epoch(&mut state, number, &batch).is_empty());
            }
            let run = |(number, batch): (u64, Batch)| black_box(epoch(&mut state, number, &batch));
            bencher.iter_batched(next, run, BatchSize::LargeInput);
        });
    }
    group.finish();
}

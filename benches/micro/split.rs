//! Rows to the workers of their keys.

use std::hint::black_box;

use criterion::{Criterion, Throughput};
use tidemill::route::split::split;

use crate::common::{RECORDS, VEHICLES, batch, decode, events, plan};

pub fn all(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("batch split");
    group.throughput(Throughput::Elements(RECORDS as u64));
    for workers in [2, 8, 64] {
        group.bench_function(format!("{workers} workers"), |bencher| {
            let batch = batch(decode(&plan(VEHICLES), &events(RECORDS, 10_000)));
            let keys = [batch.rows.column(0).clone()];
            bencher.iter(|| black_box(split(&batch, &keys, workers)));
        });
    }
    group.finish();
}

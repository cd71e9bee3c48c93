//! Keys to hashes: by our canonical bytes, by the row format of Arrow, and a column at a time without any bytes between.

use std::hint::black_box;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array};
use arrow::datatypes::Int64Type;
use arrow::row::{RowConverter, SortField};
use criterion::{Criterion, Throughput};
use tidemill::canonical::CanonicalRows;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::common::{RECORDS, VEHICLES, batch, decode, events, plan};

pub fn all(criterion: &mut Criterion) {
    let vehicles = batch(decode(&plan(VEHICLES), &events(RECORDS, 10_000))).rows.column(0).clone();
    let numbers: ArrayRef =
        Arc::new(Int64Array::from_iter_values((0..RECORDS as i64).map(|row| row % 10_000)));
    for (name, columns) in
        [("a text", vec![vehicles.clone()]), ("a text and a number", vec![vehicles, numbers])]
    {
        let mut group = criterion.benchmark_group(format!("hash of {name}"));
        group.throughput(Throughput::Elements(RECORDS as u64));
        group.bench_function("canonical", |bencher| {
            let mut rows = CanonicalRows::default();
            bencher.iter(|| {
                rows.encode(&columns, RECORDS);
                black_box(rows.iter().map(xxh3_64).collect::<Vec<u64>>())
            });
        });
        group.bench_function("Arrow rows", |bencher| {
            let fields = columns.iter().map(|column| SortField::new(column.data_type().clone())).collect();
            let converter = RowConverter::new(fields).expect("types with an order");
            bencher.iter(|| {
                let rows = converter.convert_columns(&columns).expect("columns of these types");
                black_box(rows.iter().map(|row| xxh3_64(row.as_ref())).collect::<Vec<u64>>())
            });
        });
        group.bench_function("by column", |bencher| bencher.iter(|| black_box(by_column(&columns))));
        group.finish();
    }
}

fn by_column(columns: &[ArrayRef]) -> Vec<u64> {
    let mut hashes = vec![0; RECORDS];
    for column in columns {
        match column.as_string_opt::<i32>() {
            Some(texts) => {
                let values = texts.iter().map(Option::unwrap_or_default);
                hashes
                    .iter_mut()
                    .zip(values)
                    .for_each(|(hash, text)| *hash = xxh3_64_with_seed(text.as_bytes(), *hash));
            }
            None => {
                let values = column.as_primitive::<Int64Type>().values();
                let mix = |hash: u64, value: i64| {
                    (hash ^ value as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29)
                };
                hashes.iter_mut().zip(values).for_each(|(hash, value)| *hash = mix(*hash, *value));
            }
        }
    }
    hashes
}

//! A batch on its way to another process and back: Arrow IPC, as it is, beside three codecs of rows.
//!
//! The rows are there before the others are measured: what it costs to make them of columns, and columns of them, is
//! left out. `columnar` and abomonation are read where they lie, without copying; Arrow IPC too.

use std::hint::black_box;

use arrow::array::AsArray;
use arrow::datatypes::{Float64Type, Int64Type, TimestampNanosecondType};
use columnar::bytes::indexed;
use columnar::{Borrow, BorrowedOf, Clear, Columnar, FromBytes, Len, Push};
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput};
use tidemill::batch::Batch;
use tidemill::route::wire;

use crate::common::{RECORDS, VEHICLES, batch, decode, events, plan, through};

/// did, name, value, integer, event time, then partition and offset.
type Row = (String, String, Option<f64>, Option<i64>, i64, u32, u64);

/// What goes to the worker of a vehicle.
fn sent() -> Batch {
    let plan = plan(VEHICLES);
    let whole = batch(decode(&plan, &events(RECORDS, 10_000)));
    let leg = plan.legs.iter().find(|leg| leg.name.ends_with("->latest")).expect("a leg to the view");
    through(leg, whole)
}

fn rows(batch: &Batch) -> Vec<Row> {
    let column = |name: &str| batch.rows.column_by_name(name).expect("a column of the source");
    let (dids, names) = (column("did").as_string::<i32>(), column("name").as_string::<i32>());
    let values = column("float_value").as_primitive::<Float64Type>();
    let numbers = column("int_value").as_primitive::<Int64Type>();
    let times = column("eventTime").as_primitive::<TimestampNanosecondType>();
    let texts =
        dids.iter().zip(names.iter()).map(|(did, name)| [did, name].map(|text| text.unwrap_or_default()));
    let scalars = values.iter().zip(numbers.iter()).zip(times.values());
    let rows = texts.zip(scalars).enumerate().map(|(offset, ([did, name], ((value, number), time)))| {
        (did.to_owned(), name.to_owned(), value, number, *time, 0, offset as u64)
    });
    rows.collect()
}

fn arrow_ipc(group: &mut BenchmarkGroup<'_, WallTime>) {
    group.bench_function("Arrow IPC, encode", |bencher| {
        let batch = sent();
        bencher.iter(|| black_box(wire::encode(&batch).expect("encodes")));
    });
    group.bench_function("Arrow IPC, decode", |bencher| {
        let batch = sent();
        let (bytes, schema) = (wire::encode(&batch).expect("encodes"), batch.rows.schema());
        // Decoding takes the bytes, which arrive in memory of their own.
        let decode = |bytes| black_box(wire::decode(bytes, &schema).expect("decodes"));
        bencher.iter_batched(|| bytes.clone(), decode, criterion::BatchSize::LargeInput);
    });
}

fn columnar(group: &mut BenchmarkGroup<'_, WallTime>) {
    type Container = <Row as Columnar>::Container;
    group.bench_function("columnar, encode", |bencher| {
        let rows = rows(&sent());
        let mut container = Container::default();
        bencher.iter(|| {
            container.clear();
            rows.iter().for_each(|row| container.push(row));
            let mut words = Vec::new();
            indexed::encode(&mut words, &container.borrow());
            black_box(words)
        });
    });
    group.bench_function("columnar, decode", |bencher| {
        let mut container = Container::default();
        rows(&sent()).iter().for_each(|row| container.push(row));
        let mut words = Vec::new();
        indexed::encode(&mut words, &container.borrow());
        bencher.iter(|| black_box(BorrowedOf::<'_, Row>::from_bytes(&mut indexed::decode(&words))).0.len());
    });
}

fn bincode(group: &mut BenchmarkGroup<'_, WallTime>) {
    group.bench_function("bincode, encode", |bencher| {
        let rows = rows(&sent());
        bencher.iter(|| black_box(bincode::serialize(&rows).expect("encodes")));
    });
    group.bench_function("bincode, decode", |bencher| {
        let bytes = bincode::serialize(&rows(&sent())).expect("encodes");
        bencher.iter(|| black_box(bincode::deserialize::<Vec<Row>>(&bytes).expect("decodes")));
    });
}

fn unsound(group: &mut BenchmarkGroup<'_, WallTime>) {
    group.bench_function("abomonation, encode", |bencher| {
        let rows = rows(&sent());
        bencher.iter(|| {
            let mut bytes = Vec::new();
            // SAFETY: none is promised, RUSTSEC-2021-0120. The bytes are of this process and are read by it alone.
            unsafe { abomonation::encode(&rows, &mut bytes).expect("encodes") };
            black_box(bytes)
        });
    });
    group.bench_function("abomonation, decode", |bencher| {
        let mut bytes = Vec::new();
        // SAFETY: as above.
        unsafe { abomonation::encode(&rows(&sent()), &mut bytes).expect("encodes") };
        let decode = |mut bytes: Vec<u8>| {
            // SAFETY: as above; these are the bytes that it has written.
            let read = unsafe { abomonation::decode::<Vec<Row>>(&mut bytes) };
            assert_eq!(read.map(|(rows, rest)| (rows.len(), rest.len())), Some((RECORDS, 0)));
            bytes
        };
        bencher.iter_batched(|| bytes.clone(), decode, criterion::BatchSize::LargeInput);
    });
}

pub fn all(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("exchange codec");
    group.throughput(Throughput::Elements(RECORDS as u64));
    arrow_ipc(&mut group);
    columnar(&mut group);
    bincode(&mut group);
    unsound(&mut group);
    group.finish();
}

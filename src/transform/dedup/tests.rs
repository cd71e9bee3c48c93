//! DISTINCT ON against a model that keeps everything and compares every row with all of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, StringArray, TimestampNanosecondArray, UInt32Array, UInt64Array};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, TimeUnit};
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64Mcg;

use super::*;
use crate::batch::Origin;
use crate::canonical::worker_of;
use crate::plan::Bound;

/// One row, with partition and offset.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Row {
    origin: (u32, u64),
    id: Option<String>,
    value: i64,
    time: i64,
}

fn plan(horizon: Option<(i64, i64)>) -> Deduplication {
    let time = DataType::Timestamp(TimeUnit::Nanosecond, None);
    let field = |name, data_type, nullable| Field::new(name, data_type, nullable);
    let fields = vec![
        field("id", DataType::Utf8, true),
        field("value", DataType::Int64, true),
        field("offset", DataType::Int64, true),
        field("time", time, false),
    ];
    let horizon = horizon.map(|(ns, ahead_ns)| Horizon { time: 3, ns, bound: Bound::Source(0), ahead_ns });
    Deduplication {
        name: "v/deduplicate".into(),
        schema: Arc::new(Schema::new(fields[..3].to_vec())),
        input: Arc::new(Schema::new(fields)),
        keys: vec![0],
        content: vec![1],
        horizon,
    }
}

fn new_state(plan: &Deduplication) -> Deduplicator {
    Deduplicator::new(plan).expect("types that can be compared")
}

fn batch(plan: &Deduplication, rows: &[Row], with_origin: bool) -> Batch {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(rows.iter().map(|row| row.id.as_deref()).collect::<StringArray>()),
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.value))),
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.origin.1 as i64))),
        Arc::new(TimestampNanosecondArray::from_iter_values(rows.iter().map(|row| row.time))),
    ];
    let origin = with_origin.then(|| Origin {
        source: 0,
        index: 0,
        partition: UInt32Array::from_iter_values(rows.iter().map(|row| row.origin.0)),
        offset: UInt64Array::from_iter_values(rows.iter().map(|row| row.origin.1)),
    });
    Batch::inserts(RecordBatch::try_new(plan.input.clone(), columns).expect("four columns"), origin, 7)
}

fn close(epoch: Epoch, watermark: Watermark) -> EpochClose {
    EpochClose { epoch, wall_ms: 7, checkpoint: false, watermarks: vec![watermark] }
}

/// What became of the rows of an epoch: offsets of those that stay and of those that are late, and counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Outcome {
    stay: Vec<i64>,
    late: Vec<i64>,
    duplicates: i64,
    conflicts: i64,
}

impl Outcome {
    fn of(out: &Output) -> Self {
        let offsets = |batches: &[Batch]| {
            let offsets = batches.iter().flat_map(|batch| {
                assert!(batch.diffs.is_none() && batch.rows.num_columns() == 3);
                batch.rows.column(2).as_primitive::<Int64Type>().values().to_vec()
            });
            let mut offsets: Vec<i64> = offsets.collect();
            offsets.sort_unstable();
            offsets
        };
        assert_eq!(out.emitted, out.batches.iter().map(Batch::diff_sum).sum::<i64>());
        Outcome {
            stay: offsets(&out.batches),
            late: offsets(&out.late),
            duplicates: out.deduplicated,
            conflicts: out.conflicts,
        }
    }
}

/// Takes the rows in as batches of `size` and closes the epoch.
fn run(
    operators: &mut [Deduplicator],
    rows: &[Row],
    (epoch, watermark): (Epoch, Watermark),
    size: usize,
    with_origin: bool,
) -> Outcome {
    let (mut out, workers) = (Output::default(), operators.len());
    for part in rows.chunks(size) {
        let mut by_worker: BTreeMap<usize, Vec<Row>> = BTreeMap::new();
        for row in part {
            let key: ArrayRef = Arc::new(StringArray::from(vec![row.id.as_deref()]));
            let group = key_group(canonical::encode(&[key], 1).row(0));
            by_worker.entry(worker_of(group, workers)).or_default().push(row.clone());
        }
        for (worker, rows) in by_worker {
            let operator = &mut operators[worker];
            operator.on_batch(0, epoch, &batch(&operator.plan, &rows, with_origin), &mut out);
        }
    }
    assert_eq!(operators.iter().map(Operator::rows_in_state).sum::<i64>(), rows.len() as i64);
    for operator in operators.iter_mut() {
        while operator.on_epoch(&close(epoch, watermark), &mut out) == Progress::More {}
    }
    assert_eq!(operators.iter().map(Operator::rows_in_state).sum::<i64>(), 0);
    Outcome::of(&out)
}

/// The rule as it is written: keeps every row that stayed.
struct Model {
    horizon: Option<i64>,
    watermark: Watermark,
    stayed: Vec<Row>,
}

impl Model {
    fn new(horizon: Option<i64>) -> Self {
        Model { horizon, watermark: Watermark::NONE, stayed: Vec::new() }
    }

    fn run(&mut self, rows: &[Row], watermark: Watermark) -> Outcome {
        let (mut rows, mut outcome) = (rows.to_vec(), Outcome::default());
        rows.sort();
        for row in rows {
            let far = |left: i64, right: i64| {
                self.horizon.is_some_and(|horizon| {
                    (i128::from(left) - i128::from(right)).abs() >= i128::from(horizon)
                })
            };
            let near: Vec<&Row> =
                self.stayed.iter().filter(|kept| kept.id == row.id && !far(kept.time, row.time)).collect();
            let late = self.horizon.is_some_and(|horizon| {
                self.watermark != Watermark::NONE
                    && i128::from(row.time) < i128::from(self.watermark.0) - i128::from(horizon)
            });
            if late {
                outcome.late.push(row.origin.1 as i64);
            } else if near.is_empty() {
                outcome.stay.push(row.origin.1 as i64);
                self.stayed.push(row);
            } else {
                outcome.duplicates += 1;
                outcome.conflicts += i64::from(near.iter().all(|kept| kept.value != row.value));
            }
        }
        outcome.stay.sort_unstable();
        outcome.late.sort_unstable();
        self.watermark = self.watermark.max(watermark);
        outcome
    }
}

/// Epochs of a random input: rows, and the watermark behind them.
fn random_epochs(random: &mut Pcg64Mcg, horizon: i64) -> Vec<(Vec<Row>, Watermark)> {
    let (ids, spread) = (random.random_range(1..20), random.random_range(1..4 * horizon + 2));
    let (mut now, mut offset) = (random.random_range(-500..500), 0);
    let mut watermark = Watermark::NONE;
    let epochs = (0..random.random_range(5..25)).map(|_| {
        now += random.random_range(0..horizon + 5);
        if random.random_bool(0.8) {
            watermark = watermark.max(Watermark(now - random.random_range(0..spread)));
        }
        let rows = (0..random.random_range(0..30)).map(|_| {
            offset += 1;
            Row {
                origin: (random.random_range(0..3), offset),
                id: random.random_bool(0.9).then(|| format!("id-{}", random.random_range(0..ids))),
                value: random.random_range(0..3),
                time: now + random.random_range(-2 * spread..spread),
            }
        });
        (rows.collect(), watermark)
    });
    epochs.collect()
}

fn first_seed() -> u64 {
    std::env::var("DEDUP_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1)
}

/// A horizon of the seed: its length, and how far event time is ahead of the watermark.
fn random_plan(random: &mut Pcg64Mcg, seed: u64) -> (Deduplication, i64) {
    let horizon = random.random_range(1..40);
    (plan((!seed.is_multiple_of(5)).then_some((horizon, random.random_range(0..400)))), horizon)
}

#[test]
fn every_row_has_the_fate_that_the_rule_says_in_any_batches_and_on_any_number_of_workers() {
    for seed in first_seed()..first_seed() + 300 {
        let random = &mut Pcg64Mcg::seed_from_u64(seed);
        let (plan, horizon) = random_plan(random, seed);
        let mut model = Model::new(plan.horizon.as_ref().map(|horizon| horizon.ns));
        let mut operators: Vec<_> = (0..random.random_range(1..4)).map(|_| new_state(&plan)).collect();
        for (epoch, (rows, watermark)) in random_epochs(random, horizon).into_iter().enumerate() {
            let mut shuffled = rows.clone();
            shuffled.shuffle(random);
            let size = random.random_range(1..12);
            let found = run(&mut operators, &shuffled, (epoch as Epoch, watermark), size, true);
            assert_eq!(found, model.run(&rows, watermark), "DEDUP_SEED={seed}, epoch {epoch}");
            let total = found.stay.len() + found.late.len() + found.duplicates as usize;
            assert_eq!(total, rows.len(), "DEDUP_SEED={seed}, epoch {epoch}");
            let Some(horizon) = &plan.horizon else { continue };
            // What no row can meet any more is forgotten, up to a span.
            let oldest = watermark.0.saturating_sub(2 * horizon.ns + horizon.span_ns());
            let needed = model.stayed.iter().filter(|row| row.time > oldest).count();
            let remembered: usize = operators.iter().map(Deduplicator::remembered).sum();
            assert!(remembered <= needed, "DEDUP_SEED={seed}, epoch {epoch}: {remembered} for {needed}");
        }
    }
}

#[test]
fn without_origins_order_and_batches_change_nothing() {
    for seed in first_seed()..first_seed() + 60 {
        let random = &mut Pcg64Mcg::seed_from_u64(1_000 + seed);
        let (plan, horizon) = random_plan(random, seed);
        let (mut one, mut other) = ([new_state(&plan)], [new_state(&plan)]);
        for (epoch, (rows, watermark)) in random_epochs(random, horizon).into_iter().enumerate() {
            let mut shuffled = rows.clone();
            shuffled.shuffle(random);
            let at = (epoch as Epoch, watermark);
            let left = run(&mut one, &rows, at, 1_000, false);
            let right = run(&mut other, &shuffled, at, random.random_range(1..12), false);
            assert_eq!(left, right, "DEDUP_SEED={seed}, epoch {epoch}");
        }
    }
}

#[test]
fn snapshot_and_restore_at_any_point_change_nothing_that_follows() {
    for seed in first_seed()..first_seed() + 100 {
        let random = &mut Pcg64Mcg::seed_from_u64(2_000 + seed);
        let (plan, horizon) = random_plan(random, seed);
        let (mut original, mut restored) = ([new_state(&plan)], vec![new_state(&plan)]);
        let mut durable: Vec<(KeyGroup, RecordBatch)> = Vec::new();
        for (epoch, (rows, watermark)) in random_epochs(random, horizon).into_iter().enumerate() {
            let at = (epoch as Epoch, watermark);
            let left = run(&mut original, &rows, at, random.random_range(1..30), true);
            let right = run(&mut restored, &rows, at, random.random_range(1..30), true);
            assert_eq!(left, right, "DEDUP_SEED={seed}, epoch {epoch}");
            if !take_snapshots(&mut restored, &mut durable, random) {
                continue;
            }
            let workers = random.random_range(1..4);
            restored = (0..workers).map(|_| new_state(&plan)).collect();
            for (group, part) in &durable {
                let operator = &mut restored[worker_of(*group, workers)];
                assert_eq!(part.schema(), operator.state_schema());
                operator.restore(part).expect("our own snapshot");
            }
            for operator in &mut restored {
                let mut out = Output::default();
                assert_eq!(operator.on_epoch(&close(epoch as Epoch, watermark), &mut out), Progress::Done);
                assert_eq!(Outcome::of(&out), Outcome::default());
            }
        }
    }
}

/// Takes snapshots of which some fail; whether the last one became durable.
fn take_snapshots(
    operators: &mut [Deduplicator],
    durable: &mut Vec<(KeyGroup, RecordBatch)>,
    random: &mut Pcg64Mcg,
) -> bool {
    for _ in 0..random.random_range(0..4) {
        let full = durable.is_empty() || random.random_bool(0.3);
        let kind = if full { SnapshotKind::Full } else { SnapshotKind::Delta };
        let taken: Vec<_> = operators.iter_mut().flat_map(|operator| operator.snapshot(kind)).collect();
        if random.random_bool(0.5) {
            operators.iter_mut().for_each(Operator::snapshot_failed);
            continue;
        }
        if full {
            durable.clear();
        }
        durable.extend(taken);
        return true;
    }
    false
}

fn row(offset: u64, id: &str, value: i64, time: i64) -> Row {
    Row { origin: (0, offset), id: Some(id.to_owned()), value, time }
}

#[test]
fn an_epoch_of_many_rows_is_closed_in_slices() {
    let mut operators = [new_state(&plan(Some((10, 0))))];
    let rows: Vec<Row> = (0..40_000).map(|offset| row(offset, &format!("{}", offset / 2), 0, 0)).collect();
    let (mut out, mut calls) = (Output::default(), 1);
    for part in rows.chunks(1_000) {
        operators[0].on_batch(0, 1, &batch(&operators[0].plan, part, true), &mut out);
    }
    while operators[0].on_epoch(&close(1, Watermark::NONE), &mut out) == Progress::More {
        calls += 1;
    }
    assert!(calls > 3, "{calls} calls");
    assert_eq!(Outcome::of(&out).stay, (0..40_000).step_by(2).collect::<Vec<_>>());
}

#[test]
fn a_row_that_comes_several_times_at_once_stays_once() {
    let mut operator = new_state(&plan(Some((10, 0))));
    let mut rows = batch(&operator.plan, &[row(1, "a", 0, 0), row(2, "b", 0, 0)], false);
    rows.diffs = Some(Int64Array::from(vec![3, 1]));
    let mut out = Output::default();
    operator.on_batch(0, 1, &rows, &mut out);
    assert_eq!(operator.on_epoch(&close(1, Watermark::NONE), &mut out), Progress::Done);
    assert_eq!((out.emitted, out.deduplicated, out.conflicts), (2, 2, 0));
}

#[test]
fn at_the_end_of_the_input_all_is_forgotten() {
    let mut operators = [new_state(&plan(Some((i64::MAX, i64::MAX))))];
    let rows = [row(1, "a", 0, i64::MIN), row(2, "a", 0, i64::MAX), row(3, "a", 1, 1)];
    let outcome = run(&mut operators, &rows, (1, Watermark(0)), 3, true);
    assert_eq!((outcome.stay, outcome.duplicates, outcome.conflicts), (vec![1, 2], 1, 1));
    assert_eq!(operators[0].remembered(), 2);
    run(&mut operators, &[], (2, Watermark::END), 1, true);
    assert_eq!((operators[0].remembered(), operators[0].state_bytes()), (0, 0));
}

#[test]
fn keys_that_are_forgotten_give_their_memory_back() {
    let mut operators = [new_state(&plan(Some((100, 0))))];
    let rows: Vec<Row> = (0..5_000).map(|n| row(n, &n.to_string(), 0, n as i64)).collect();
    run(&mut operators, &rows, (1, Watermark(0)), 1_000, true);
    let full = operators[0].state_bytes();
    run(&mut operators, &[], (2, Watermark(5_000)), 1, true);
    let few = operators[0].state_bytes();
    assert!(full > 150_000 && few > 0 && few < full / 10, "{full} bytes, then {few}");
}

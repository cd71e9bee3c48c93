//! Rows `(k, t, v)` in any order and batches, compared with what a sorted list gives.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, Int64Array, StringArray, TimestampNanosecondArray, UInt32Array, UInt64Array};
use arrow::datatypes::{Field, Int64Type, Schema, TimeUnit};
use datafusion_physical_expr::expressions::Column;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64Mcg;

use super::*;
use crate::batch::Origin;
use crate::plan::{Before, Bound};
use crate::transform::testing::Snapshots;

/// Key, time, value, offset.
type Row = (&'static str, Option<i64>, Option<i64>, u64);
/// Key, time, value, the value before, the one two before.
type Shown = (String, i64, Option<i64>, Option<i64>, Option<i64>);

fn plan() -> Lag {
    let time = DataType::Timestamp(TimeUnit::Nanosecond, None);
    let field = |name: &str, kind: &DataType| Field::new(name, kind.clone(), true);
    let input = vec![field("k", &DataType::Utf8), field("t", &time), field("v", &DataType::Int64)];
    let before = ["lag(v)", "lag(v, 2)"].map(|name| field(name, &DataType::Int64));
    let column = |name: &str, index| Expr {
        physical: Arc::new(Column::new(name, index)),
        text: name.to_owned(),
        uses_now: false,
    };
    Lag {
        name: "v/lag".to_owned(),
        keys: vec![column("k", 0)],
        time: column("t", 1),
        time_field: Arc::new(Field::new("t", time, false)),
        bound: Bound::Source(0),
        at_end: false,
        values: [1, 2]
            .map(|rows| Before { value: column("v", 2), rows, ignore_nulls: false, default: None })
            .to_vec(),
        schema: Arc::new(Schema::new([input.clone(), before.to_vec()].concat())),
        input: Arc::new(Schema::new(input)),
    }
}

fn state() -> LagState {
    LagState::new(&plan()).expect("types that can be kept")
}

fn batch(rows: &[Row], with_origins: bool) -> Batch {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter_values(rows.iter().map(|row| row.0))),
        Arc::new(TimestampNanosecondArray::from_iter(rows.iter().map(|row| row.1))),
        Arc::new(Int64Array::from_iter(rows.iter().map(|row| row.2))),
    ];
    let origin = with_origins.then(|| Origin {
        source: 0,
        index: 0,
        partition: UInt32Array::from(vec![0; rows.len()]),
        offset: UInt64Array::from_iter_values(rows.iter().map(|row| row.3)),
    });
    Batch::inserts(RecordBatch::try_new(plan().input, columns).expect("columns"), origin, 0)
}

fn close(epoch: Epoch, watermark: Watermark) -> EpochClose {
    EpochClose { epoch, wall_ms: 0, checkpoint: false, watermarks: vec![watermark] }
}

fn shown(out: &Output) -> Vec<Shown> {
    let mut rows = Vec::new();
    for batch in &out.batches {
        let number = |column: usize, row: usize| {
            let column = batch.rows.column(column).as_primitive::<Int64Type>();
            column.is_valid(row).then(|| column.value(row))
        };
        let times = batch.rows.column(1).as_primitive::<TimestampNanosecondType>();
        for row in 0..batch.len() {
            let key = batch.rows.column(0).as_string::<i32>().value(row).to_owned();
            rows.push((key, times.value(row), number(2, row), number(3, row), number(4, row)));
        }
    }
    rows
}

/// What a sorted list gives. Without origins the rows themselves decide.
fn expected(rows: &[Row], with_origins: bool) -> Vec<Shown> {
    let mut sorted = rows.to_vec();
    sorted.sort_by_key(|(key, time, value, offset)| match with_origins {
        true => (*time, *offset, *key, *value),
        false => (*time, 0, *key, *value),
    });
    let mut before: BTreeMap<&str, Vec<Option<i64>>> = BTreeMap::new();
    let show = |(key, time, value, _): &Row| {
        let values = before.entry(key).or_default();
        let back = |rows: usize| values.len().checked_sub(rows).and_then(|at| values[at]);
        let row = ((*key).to_owned(), time.expect("a time"), *value, back(1), back(2));
        values.push(*value);
        row
    };
    sorted.iter().map(show).collect()
}

#[test]
fn a_row_leaves_when_the_watermark_has_passed_it_and_a_later_one_is_late() {
    let (mut state, mut out) = (state(), Output::default());
    let rows = [("a", Some(20), Some(2), 0), ("a", Some(10), Some(1), 1), ("b", None, Some(9), 2)];
    state.on_batch(0, 1, &batch(&rows, true), &mut out);
    assert_eq!((out.dead, out.letters.len(), out.letters[0].error.as_str()), (1, 1, "t is NULL"));
    assert_eq!(state.on_epoch(&close(1, Watermark(10)), &mut out), Progress::Done);
    assert_eq!((shown(&out), state.rows_in_state(), out.emitted), (vec![], 2, 0), "others may come at 10");
    // What comes behind the watermark of the epoch before is late; at the watermark it is not.
    let rows = [("a", Some(9), Some(0), 3), ("a", Some(10), None, 4)];
    state.on_batch(0, 2, &batch(&rows, true), &mut out);
    assert_eq!((out.late.len(), out.late[0].len()), (1, 1));
    state.on_epoch(&close(2, Watermark(15)), &mut out);
    let a = |time, value, before, two| ("a".to_owned(), time, value, before, two);
    assert_eq!(shown(&out), [a(10, Some(1), None, None), a(10, None, Some(1), None)]);
    // A watermark never falls back, and the end of the input lets all go.
    state.on_epoch(&close(3, Watermark(5)), &mut out);
    state.on_batch(0, 4, &batch(&[("a", Some(12), Some(5), 5)], true), &mut out);
    assert_eq!(out.late.len(), 2);
    state.on_epoch(&close(4, Watermark::END), &mut out);
    assert_eq!(shown(&out)[2..], [a(20, Some(2), None, Some(1))]);
    assert_eq!((state.rows_in_state(), out.emitted, state.waiting.len()), (0, 3, 0));
}

#[test]
fn nulls_can_be_passed_over_and_the_first_rows_have_a_default() {
    let mut plan = plan();
    plan.values[0].ignore_nulls = true;
    plan.values[0].default = Some(plan.values[0].value.clone());
    plan.values[1].ignore_nulls = true;
    let (mut state, mut out) = (LagState::new(&plan).expect("types"), Output::default());
    let values = [Some(1), None, Some(2), None, None, Some(3), Some(4)];
    let rows: Vec<Row> = values
        .iter()
        .zip(1_u32..)
        .map(|(value, at)| ("a", Some(i64::from(at)), *value, u64::from(at)))
        .collect();
    state.on_batch(0, 1, &batch(&rows, true), &mut out);
    state.on_epoch(&close(1, Watermark::END), &mut out);
    let before: Vec<_> = shown(&out).into_iter().map(|(.., one, two)| (one, two)).collect();
    // The default is the value of the row itself.
    let one = [Some(1), Some(1), Some(1), Some(2), Some(2), Some(2), Some(3)];
    let two = [None, None, None, Some(1), Some(1), Some(1), Some(2)];
    assert_eq!(before, one.into_iter().zip(two).collect::<Vec<_>>());
}

#[test]
fn ends_of_windows_leave_with_the_watermark_that_reaches_them() {
    let plan = Lag { at_end: true, ..plan() };
    let (mut state, mut out) = (LagState::new(&plan).expect("types"), Output::default());
    state.on_batch(0, 1, &batch(&[("a", Some(10), Some(1), 0), ("a", Some(20), Some(2), 1)], true), &mut out);
    state.on_epoch(&close(1, Watermark(10)), &mut out);
    assert_eq!(shown(&out).len(), 1);
    state.on_batch(0, 2, &batch(&[("b", Some(10), Some(1), 2)], true), &mut out);
    assert_eq!(out.late.len(), 1);
    state.on_epoch(&close(2, Watermark(20)), &mut out);
    assert_eq!((shown(&out).len(), state.rows_in_state()), (2, 0));
}

#[test]
fn a_close_is_left_in_parts_where_much_leaves() {
    let (mut state, mut out) = (state(), Output::default());
    let rows: Vec<Row> = (0..40_000).map(|n| ("a", Some(n as i64 / 2), Some(n as i64), n)).collect();
    state.on_batch(0, 1, &batch(&rows, true), &mut out);
    let mut calls = 1;
    while state.on_epoch(&close(1, Watermark::END), &mut out) == Progress::More {
        calls += 1;
    }
    assert_eq!(calls, 3);
    assert_eq!(shown(&out), expected(&rows, true));
}

/// One run over rows that come in epochs, in batches; the state is taken down and put back in between.
fn run(rows: &[Row], rng: &mut Pcg64Mcg, with_origins: bool, interrupted: bool) -> Vec<Shown> {
    let (mut state, mut out, mut epoch, mut rest) = (state(), Output::default(), 1, rows);
    let (mut watermark, mut snapshots) = (Watermark::NONE, Snapshots::default());
    while !rest.is_empty() {
        for _ in 0..rng.random_range(1..3) {
            let (now, later) = rest.split_at(rng.random_range(0..=rest.len().min(9)));
            state.on_batch(0, epoch, &batch(now, with_origins), &mut out);
            rest = later;
        }
        // Nothing that is still to come is older.
        let next = rest.iter().filter_map(|row| row.1).min().unwrap_or(i64::MAX - 1);
        watermark = watermark.max(Watermark(next - rng.random_range(0..3)));
        while state.on_epoch(&close(epoch, watermark), &mut out) == Progress::More {}
        epoch += 1;
        if interrupted && rng.random_bool(0.5) && snapshots.take(&mut state, rng) && rng.random_bool(0.5) {
            state = self::state();
            snapshots.restore(&mut state);
            state.on_epoch(&close(epoch, watermark), &mut Output::default());
        }
    }
    state.on_epoch(&close(epoch, Watermark::END), &mut out);
    assert_eq!((state.rows_in_state(), out.emitted), (0, rows.len() as i64));
    assert!(out.late.is_empty());
    shown(&out)
}

#[test]
fn order_batches_epochs_and_interruptions_change_nothing() {
    for seed in 0..300 {
        let mut rng = Pcg64Mcg::seed_from_u64(seed);
        let with_origins = rng.random_bool(0.5);
        let count = rng.random_range(1..60);
        let mut rows: Vec<Row> = (0..count)
            .map(|offset| {
                let key = ["a", "b", "c"][rng.random_range(0..3)];
                let value = rng.random_bool(0.8).then(|| rng.random_range(0..5));
                (key, Some(rng.random_range(0..20)), value, offset)
            })
            .collect();
        let expected = expected(&rows, with_origins);
        rows.shuffle(&mut rng);
        let interrupted = rng.random_bool(0.5);
        assert_eq!(run(&rows, &mut rng, with_origins, interrupted), expected, "seed {seed}");
    }
}

#[test]
fn rows_that_have_left_give_their_memory_back_and_keys_stay() {
    let (mut state, mut out) = (state(), Output::default());
    let row = |n: u64| (["a", "b", "c"][n as usize % 3], Some(n as i64), Some(1), n);
    for first in (0..5_000).step_by(10) {
        let rows: Vec<Row> = (first..first + 10).map(row).collect();
        state.on_batch(0, 1, &batch(&rows, true), &mut out);
    }
    assert_eq!(state.on_epoch(&close(1, Watermark(0)), &mut out), Progress::Done);
    let full = state.state_bytes();
    while state.on_epoch(&close(2, Watermark(5_000)), &mut out) == Progress::More {}
    let keys = state.state_bytes();
    assert!(full > 500_000 && keys > 100 && keys < full / 20, "{full} bytes, then {keys}");
    let mut restored = self::state();
    for (_, part) in state.snapshot(SnapshotKind::Full) {
        restored.restore(&part).expect("its own state");
    }
    assert_eq!(restored.known.held(), state.known.held(), "bytes and values are counted as they are");
}

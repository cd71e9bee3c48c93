//! Rows `(k, t, v)` in any order and batches, numbered within `(t, k)` by `v DESC`, compared with what a sorted list
//! gives.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, StringArray, TimestampNanosecondArray, UInt64Array};
use arrow::datatypes::{Field, Int64Type, Schema, TimeUnit};
use datafusion_physical_expr::expressions::Column;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64Mcg;

use super::*;
use crate::batch::Origin;
use crate::plan::{Bound, OrderBy};
use crate::transform::testing::Snapshots;

/// Key, end of the window, value, offset.
type Row = (&'static str, i64, Option<i64>, u64);
/// Key, end of the window, value, row_number, rank, dense_rank.
type Shown = (String, i64, Option<i64>, [i64; 3]);

fn plan(at_end: bool) -> Rank {
    let time = DataType::Timestamp(TimeUnit::Nanosecond, None);
    let field = |name: &str, kind: &DataType| Field::new(name, kind.clone(), true);
    let input = vec![field("k", &DataType::Utf8), field("t", &time), field("v", &DataType::Int64)];
    let numbers = Number::ALL.map(|number| Field::new(number.name(), DataType::Int64, false));
    let column = |name: &str, index| Expr {
        physical: Arc::new(Column::new(name, index)),
        text: name.to_owned(),
        uses_now: false,
    };
    Rank {
        name: "v/rank".to_owned(),
        append_only_input: true,
        keys: vec![column("t", 1), column("k", 0)],
        newest_first: false,
        places: Places::Final(Close {
            time: column("t", 1),
            field: Arc::new(Field::new("t", time, false)),
            bound: Bound::Source(0),
            at_end,
        }),
        order: vec![OrderBy { expr: column("v", 2), descending: true, nulls_first: false }],
        numbers: Number::ALL.to_vec(),
        schema: Arc::new(Schema::new([input.clone(), numbers.to_vec()].concat())),
        input: Arc::new(Schema::new(input)),
    }
}

fn state(at_end: bool) -> RankState {
    let plan = plan(at_end);
    let Places::Final(close) = &plan.places else { panic!("its places are final") };
    RankState::new(&plan, close).expect("types that can be kept")
}

fn batch(rows: &[Row], with_origins: bool) -> Batch {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter_values(rows.iter().map(|row| row.0))),
        Arc::new(TimestampNanosecondArray::from_iter_values(rows.iter().map(|row| row.1))),
        Arc::new(Int64Array::from_iter(rows.iter().map(|row| row.2))),
    ];
    let origin = with_origins.then(|| Origin {
        source: 0,
        index: 0,
        partition: UInt32Array::from(vec![0; rows.len()]),
        offset: UInt64Array::from_iter_values(rows.iter().map(|row| row.3)),
    });
    Batch::inserts(RecordBatch::try_new(plan(true).input, columns).expect("columns"), origin, 0)
}

fn close(epoch: Epoch, watermark: Watermark) -> EpochClose {
    EpochClose { epoch, wall_ms: 0, checkpoint: false, watermarks: vec![watermark] }
}

fn shown(out: &Output) -> Vec<Shown> {
    let mut rows = Vec::new();
    for batch in &out.batches {
        let columns = batch.rows.columns();
        let number = |column: usize, row: usize| columns[column].as_primitive::<Int64Type>().value(row);
        let times = columns[1].as_primitive::<TimestampNanosecondType>();
        for row in 0..batch.len() {
            let key = columns[0].as_string::<i32>().value(row).to_owned();
            let value = columns[2].is_valid(row).then(|| number(2, row));
            rows.push((key, times.value(row), value, [3, 4, 5].map(|column| number(column, row))));
        }
    }
    rows
}

/// What a sorted list gives: greater values first, NULL last, then the earlier record.
fn expected(rows: &[Row]) -> Vec<Shown> {
    let mut sorted = rows.to_vec();
    sorted.sort_by_key(|(key, time, value, offset)| (*time, *key, std::cmp::Reverse(*value), *offset));
    let mut windows: BTreeMap<(i64, &str), Vec<Option<i64>>> = BTreeMap::new();
    let show = |(key, time, value, _): &Row| {
        let before = windows.entry((*time, key)).or_default();
        let row_number = before.len() as i64 + 1;
        let rank = before.iter().filter(|other| *other > value).count() as i64 + 1;
        let mut different: Vec<_> = before.iter().filter(|other| *other > value).collect();
        different.dedup();
        let dense = different.len() as i64 + 1;
        before.push(*value);
        ((*key).to_owned(), *time, *value, [row_number, rank, dense])
    };
    sorted.iter().map(show).collect()
}

#[test]
fn a_window_leaves_when_it_has_closed_and_what_comes_then_is_late() {
    for at_end in [true, false] {
        let (mut state, mut out) = (state(at_end), Output::default());
        let rows = [("a", 10, Some(1), 0), ("a", 10, Some(5), 1), ("b", 10, None, 2), ("a", 20, Some(7), 3)];
        state.on_batch(0, 1, &batch(&rows, true), &mut out);
        assert_eq!(state.on_epoch(&close(1, Watermark(9)), &mut out), Progress::Done);
        assert_eq!((shown(&out).len(), state.rows_in_state()), (0, 4));
        // At the bound nothing comes any more, if it is one of ends.
        state.on_epoch(&close(2, Watermark(10)), &mut out);
        assert_eq!(shown(&out).len(), if at_end { 3 } else { 0 });
        state.on_batch(0, 3, &batch(&[("b", 10, Some(1), 4)], true), &mut out);
        assert_eq!(out.late.len(), usize::from(at_end));
        state.on_epoch(&close(3, Watermark(11)), &mut out);
        state.on_batch(0, 4, &batch(&[("b", 10, Some(1), 5)], true), &mut out);
        assert_eq!(out.late.len(), 1 + usize::from(at_end));
        let a = |value, number| ("a".to_owned(), 10, Some(value), [number; 3]);
        assert_eq!(shown(&out)[..2], [a(5, 1), a(1, 2)]);
        state.on_epoch(&close(4, Watermark::END), &mut out);
        assert_eq!((state.rows_in_state(), out.emitted), (0, if at_end { 4 } else { 5 }));
    }
}

#[test]
fn a_close_is_left_in_parts_but_not_within_a_window() {
    let (mut state, mut out) = (state(true), Output::default());
    let rows: Vec<Row> = (0..60_000).map(|n| ("a", n as i64 / 20_000, Some(-(n as i64)), n)).collect();
    state.on_batch(0, 1, &batch(&rows, true), &mut out);
    let mut calls = 1;
    while state.on_epoch(&close(1, Watermark::END), &mut out) == Progress::More {
        calls += 1;
    }
    assert_eq!((calls, out.batches.len()), (3, 3));
    let numbers = shown(&out).into_iter().map(|(.., numbers)| numbers);
    assert!(numbers.eq((0..60_000).map(|n| [n % 20_000 + 1; 3])));
}

/// One run over rows that come in epochs, in batches; the state is taken down and put back in between.
fn run(rows: &[Row], rng: &mut Pcg64Mcg, with_origins: bool, interrupted: bool) -> Vec<Shown> {
    let (mut state, mut out, mut epoch, mut rest) = (state(true), Output::default(), 1, rows);
    let (mut watermark, mut snapshots) = (Watermark::NONE, Snapshots::default());
    while !rest.is_empty() {
        for _ in 0..rng.random_range(1..3) {
            let (now, later) = rest.split_at(rng.random_range(0..=rest.len().min(9)));
            state.on_batch(0, epoch, &batch(now, with_origins), &mut out);
            rest = later;
        }
        // Nothing that is still to come is older.
        let next = rest.iter().map(|row| row.1).min().unwrap_or(i64::MAX - 1);
        watermark = watermark.max(Watermark(next - rng.random_range(1..3)));
        while state.on_epoch(&close(epoch, watermark), &mut out) == Progress::More {}
        epoch += 1;
        if interrupted && rng.random_bool(0.5) && snapshots.take(&mut state, rng) && rng.random_bool(0.5) {
            state = self::state(true);
            snapshots.restore(&mut state);
            state.on_epoch(&close(epoch, watermark), &mut Output::default());
        }
    }
    while state.on_epoch(&close(epoch, Watermark::END), &mut out) == Progress::More {}
    assert_eq!((state.rows_in_state(), out.emitted), (0, rows.len() as i64));
    assert!(out.late.is_empty());
    let mut shown = shown(&out);
    // Keys of one window leave in the order of their bytes.
    shown.sort_by_key(|(key, time, _, numbers)| (*time, key.clone(), *numbers));
    shown
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
                (key, rng.random_range(0..20), value, offset)
            })
            .collect();
        let expected = expected(&rows);
        rows.shuffle(&mut rng);
        let interrupted = rng.random_bool(0.5);
        assert_eq!(run(&rows, &mut rng, with_origins, interrupted), expected, "seed {seed}");
    }
}

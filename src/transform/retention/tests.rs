//! Random rows that come and go, with disorder and restores, against what the words say.

use std::sync::Arc;

use arrow::array::{Int64Array, TimestampNanosecondArray};
use arrow::datatypes::{Field, Int64Type, Schema, TimeUnit};
use datafusion_physical_expr::expressions::Column;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64Mcg;

use super::*;
use crate::plan::Bound;
use crate::transform::testing::Snapshots;

/// Key and time.
type Row = (i64, i64);

const PERIOD: i64 = 10;

fn plan() -> plan::Retention {
    let time = Field::new("t", DataType::Timestamp(TimeUnit::Nanosecond, None), true);
    let column = |name: &str, index| Expr {
        physical: Arc::new(Column::new(name, index)),
        text: name.to_owned(),
        uses_now: false,
    };
    plan::Retention {
        name: "v/retention".into(),
        schema: Arc::new(Schema::new(vec![Field::new("k", DataType::Int64, true), time.clone()])),
        keys: vec![column("k", 0)],
        time: column("t", 1),
        time_field: Arc::new(time.with_nullable(false)),
        bound: Bound::Source(0),
        period_ns: PERIOD,
        by_default: false,
    }
}

fn state() -> RetainedRows {
    RetainedRows::new(&plan()).expect("types that can be kept")
}

fn batch(rows: &[(Row, i64)]) -> Batch {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|((key, _), _)| *key))),
        Arc::new(TimestampNanosecondArray::from_iter_values(rows.iter().map(|((_, time), _)| *time))),
    ];
    let rows_of = RecordBatch::try_new(plan().schema, columns).expect("two columns");
    let diffs = Int64Array::from_iter_values(rows.iter().map(|(_, diff)| *diff));
    Batch { rows: rows_of, diffs: Some(diffs), origin: None, wall_ms: 0 }
}

/// Runs an epoch; gives the sums of what leaves, and how many rows were dropped and have ended.
fn run(
    state: &mut RetainedRows,
    epoch: Epoch,
    parts: &[Vec<(Row, i64)>],
    watermark: Watermark,
) -> (BTreeMap<Row, i64>, i64, i64) {
    let mut out = Output::default();
    for part in parts {
        state.on_batch(0, epoch, &batch(part), &mut out);
    }
    let close = EpochClose { epoch, wall_ms: 0, checkpoint: false, watermarks: vec![watermark] };
    while state.on_epoch(&close, &mut out) == Progress::More {}
    assert!(out.letters.is_empty() && out.dead == 0);
    let mut left = BTreeMap::new();
    for batch in &out.batches {
        let keys = batch.rows.column(0).as_primitive::<Int64Type>();
        let times = batch.rows.column(1).as_primitive::<TimestampNanosecondType>();
        for row in 0..batch.len() {
            *left.entry((keys.value(row), times.value(row))).or_insert(0) += batch.diff(row);
        }
    }
    left.retain(|_, count| *count != 0);
    (left, out.filtered, out.emitted)
}

fn add(view: &mut BTreeMap<Row, i64>, changes: &BTreeMap<Row, i64>) {
    for (row, diff) in changes {
        *view.entry(*row).or_insert(0) += diff;
    }
    view.retain(|_, count| *count != 0);
}

#[test]
fn rows_are_there_until_event_time_has_passed_them_by_the_retention() {
    for seed in 0..300 {
        let random = &mut Pcg64Mcg::seed_from_u64(seed);
        let mut state = state();
        let mut saved = Snapshots::default();
        // All that has come, what is shown, and what the words say is shown.
        let (mut all, mut view) = (BTreeMap::<Row, i64>::new(), BTreeMap::new());
        let (mut watermark, mut came, mut ended) = (0, 0, 0);
        for epoch in 1..=12 {
            let mut rows: Vec<(Row, i64)> = Vec::new();
            for _ in 0..random.random_range(0..12) {
                let row = (random.random_range(0..4), watermark + random.random_range(-2 * PERIOD..PERIOD));
                rows.push((row, 1));
            }
            let known: Vec<Row> = all.keys().copied().collect();
            for row in known {
                if random.random_bool(0.2) {
                    rows.push((row, -all[&row]));
                }
            }
            if epoch > 1 && random.random_bool(0.3) {
                // What is gone is taken back once more.
                rows.push(((9, watermark - PERIOD - random.random_range(0..3)), -1));
            }
            let judged_by = watermark;
            watermark += random.random_range(0..8);
            came += rows.iter().map(|(_, diff)| diff).sum::<i64>();
            for (row, diff) in rows.iter().filter(|((_, time), _)| time + PERIOD > judged_by || epoch == 1) {
                *all.entry(*row).or_insert(0) += diff;
            }
            all.retain(|(_, time), count| *count != 0 && time + PERIOD > watermark);
            rows.shuffle(random);
            let parts: Vec<_> = rows.chunks(random.random_range(1..5)).map(<[_]>::to_vec).collect();
            let (changes, dropped, emitted) = run(&mut state, epoch, &parts, Watermark(watermark));
            add(&mut view, &changes);
            ended += dropped + emitted;
            assert_eq!(view, all, "seed {seed}, epoch {epoch}");
            assert_eq!(state.rows_in_state(), all.values().sum::<i64>(), "seed {seed}, epoch {epoch}");
            assert_eq!(ended + state.rows_in_state(), came, "seed {seed}: every row has one fate");
            if saved.take(&mut state, random) && random.random_bool(0.5) {
                state = self::state();
                saved.restore(&mut state);
                let (nothing, ..) = run(&mut state, epoch, &[], Watermark(watermark));
                assert!(nothing.is_empty(), "seed {seed}: what is outside is not given out again");
                assert_eq!(state.rows_in_state(), all.values().sum::<i64>(), "seed {seed}, epoch {epoch}");
            }
        }
        let before = state.rows_in_state();
        assert!(run(&mut state, 13, &[], Watermark::END).0.is_empty(), "the end of the input is the result");
        assert_eq!(state.rows_in_state(), before);
    }
}

#[test]
fn rows_that_are_forgotten_give_their_memory_back() {
    let mut state = state();
    let rows: Vec<(Row, i64)> = (0..5_000).map(|n| ((n, n), 1)).collect();
    run(&mut state, 1, &[rows], Watermark(0));
    let full = state.state_bytes();
    run(&mut state, 2, &[], Watermark(5_000));
    let few = state.state_bytes();
    assert!(full > 200_000 && few > 0 && few < full / 100, "{full} bytes, then {few}");
}

#[test]
fn a_row_without_a_time_is_a_letter() {
    let mut state = state();
    let columns: Vec<ArrayRef> =
        vec![Arc::new(Int64Array::from(vec![1])), Arc::new(TimestampNanosecondArray::from(vec![None]))];
    let rows = RecordBatch::try_new(plan().schema, columns).expect("two columns");
    let mut out = Output::default();
    state.on_batch(0, 1, &Batch::inserts(rows, None, 0), &mut out);
    assert_eq!((out.dead, out.letters[0].error.as_str()), (1, "t is NULL"));
    assert!(out.batches.is_empty() && state.rows_in_state() == 0);
}

//! Rows `(k, v, id)` that come and go, ordered by `v DESC`: after each epoch exactly what has changed since the last
//! one leaves, as a recomputation of all rows gives it.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use arrow::array::{Array, StringArray, UInt32Array, UInt64Array};
use arrow::datatypes::Int64Type;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64Mcg;

use super::*;
use crate::batch::Origin;
use crate::plan::{First, Number, OrderBy, Places};
use crate::time::Watermark;
use crate::transform::testing::Snapshots;

/// Key, value, what else is in the row, offset.
type Row = (&'static str, Option<i64>, i64, u64);
/// Key, value, what else is in the row, numbers.
type Shown = (String, Option<i64>, i64, Vec<i64>);
/// Rows that are shown, and how often.
type Relation = BTreeMap<Shown, i64>;

#[derive(Clone, Debug)]
struct Kind {
    keyed: bool,
    append_only: bool,
    with_origins: bool,
    newest_first: bool,
    first: Option<First>,
    numbers: Vec<Number>,
}

fn plan(kind: &Kind) -> Rank {
    let field = |name: &str, kind: &DataType| Field::new(name, kind.clone(), true);
    let input =
        vec![field("k", &DataType::Utf8), field("v", &DataType::Int64), field("id", &DataType::Int64)];
    let number = |number: &Number| Field::new(number.name(), DataType::Int64, false);
    let numbers = kind.numbers.iter().map(number).collect();
    let column = |name: &str, index| Expr {
        physical: Arc::new(Column::new(name, index)),
        text: name.to_owned(),
        uses_now: false,
    };
    Rank {
        name: "v/rank".to_owned(),
        append_only_input: kind.append_only,
        keys: kind.keyed.then(|| column("k", 0)).into_iter().collect(),
        order: vec![OrderBy { expr: column("v", 1), descending: true, nulls_first: false }],
        newest_first: kind.newest_first,
        places: Places::Updating(kind.first),
        numbers: kind.numbers.clone(),
        schema: Arc::new(Schema::new([input.clone(), numbers].concat())),
        input: Arc::new(Schema::new(input)),
    }
}

fn state(kind: &Kind) -> Updating {
    Updating::new(&plan(kind), 0, 1).expect("types that can be kept")
}

fn batch(kind: &Kind, rows: &[(Row, i64)]) -> Batch {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter_values(rows.iter().map(|(row, _)| row.0))),
        Arc::new(Int64Array::from_iter(rows.iter().map(|(row, _)| row.1))),
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|(row, _)| row.2))),
    ];
    let origin = kind.with_origins.then(|| Origin {
        source: 0,
        index: 0,
        partition: UInt32Array::from(vec![0; rows.len()]),
        offset: UInt64Array::from_iter_values(rows.iter().map(|(row, _)| row.3)),
    });
    let diffs = (!kind.append_only).then(|| Int64Array::from_iter_values(rows.iter().map(|(_, diff)| *diff)));
    let rows = RecordBatch::try_new(plan(kind).input, columns).expect("columns");
    Batch { rows, diffs, origin, wall_ms: 0 }
}

fn close(state: &mut Updating, epoch: Epoch) -> Output {
    let close = EpochClose { epoch, wall_ms: 0, checkpoint: false, watermarks: vec![Watermark::NONE] };
    let mut out = Output::default();
    while state.on_epoch(&close, &mut out) == Progress::More {}
    out
}

/// What leaves, added up by row; each row leaves once at most.
fn emitted(kind: &Kind, out: &Output) -> Relation {
    let mut rows = Relation::new();
    for batch in &out.batches {
        let columns = batch.rows.columns();
        let number = |column: usize, row: usize| columns[column].as_primitive::<Int64Type>().value(row);
        for row in 0..batch.len() {
            let key = columns[0].as_string::<i32>().value(row).to_owned();
            let value = columns[1].is_valid(row).then(|| number(1, row));
            let numbers = (3..3 + kind.numbers.len()).map(|column| number(column, row)).collect();
            *rows.entry((key, value, number(2, row), numbers)).or_default() += batch.diff(row);
        }
    }
    rows.retain(|_, count| *count != 0);
    rows
}

/// The relation, from all rows that there are.
fn recomputed(kind: &Kind, rows: &[Row]) -> Relation {
    let mut keys: BTreeMap<&str, Vec<Row>> = BTreeMap::new();
    rows.iter().for_each(|row| keys.entry(if kind.keyed { row.0 } else { "" }).or_default().push(*row));
    let mut relation = Relation::new();
    for rows in keys.values_mut() {
        let origin = |row: &Row| match (kind.with_origins, kind.newest_first) {
            (false, _) => 0,
            (true, false) => row.3 as i64,
            (true, true) => -(row.3 as i64),
        };
        rows.sort_by_key(|row| (Reverse(row.1), origin(row), row.0, row.2));
        let ahead =
            |row: &Row| rows.iter().map(|other| other.1).filter(|value| *value > row.1).collect::<Vec<_>>();
        for (place, row) in rows.iter().enumerate() {
            let number = |number: &Number| match number {
                Number::RowNumber => place as i64 + 1,
                Number::Rank => ahead(row).len() as i64 + 1,
                Number::DenseRank => BTreeSet::from_iter(ahead(row)).len() as i64 + 1,
            };
            if kind.first.is_none_or(|first| number(&first.by) <= i64::from(first.rows)) {
                let numbers = kind.numbers.iter().map(number).collect();
                *relation.entry((row.0.to_owned(), row.1, row.2, numbers)).or_default() += 1;
            }
        }
    }
    relation
}

fn difference(new: &Relation, old: &Relation) -> Relation {
    let mut difference = new.clone();
    old.iter().for_each(|(row, count)| *difference.entry(row.clone()).or_default() -= count);
    difference.retain(|_, count| *count != 0);
    difference
}

fn random_kind(rng: &mut Pcg64Mcg) -> Kind {
    let append_only = rng.random_bool(0.5);
    let by = Number::ALL[rng.random_range(0..3)];
    let numbers = [&[][..], &Number::ALL, &[Number::RowNumber], &[Number::Rank, Number::DenseRank]];
    Kind {
        keyed: rng.random_bool(0.7),
        append_only,
        with_origins: append_only && rng.random_bool(0.7),
        newest_first: rng.random_bool(0.3),
        first: rng.random_bool(0.8).then(|| First { by, rows: rng.random_range(1..4) }),
        numbers: numbers[rng.random_range(0..4)].to_vec(),
    }
}

#[test]
fn every_epoch_gives_what_a_recomputation_says_has_changed() {
    for seed in 0..120 {
        let mut rng = Pcg64Mcg::seed_from_u64(seed);
        let kind = random_kind(&mut rng);
        let interrupted = rng.random_bool(0.5);
        let (mut state, mut snapshots) = (state(&kind), Snapshots::default());
        let (mut there, mut shown, mut offset): (Vec<Row>, _, _) = (Vec::new(), Relation::new(), 0);
        for epoch in 1..rng.random_range(2..30) {
            let mut changes = Vec::new();
            let shrinks = !kind.append_only && rng.random_bool(0.5);
            for _ in 0..rng.random_range(0..12) {
                if shrinks && rng.random_bool(0.7) && !there.is_empty() {
                    changes.push((there.swap_remove(rng.random_range(0..there.len())), -1));
                    continue;
                }
                let value = rng.random_bool(0.9).then(|| rng.random_range(0..6));
                // The later record may come first.
                offset += rng.random_range(1..3);
                let row =
                    (["a", "b", "c"][rng.random_range(0..3)], value, rng.random_range(0..4), offset ^ 5);
                there.push(row);
                changes.push((row, 1));
            }
            changes.shuffle(&mut rng);
            let size = rng.random_range(1..6);
            let mut out = Output::default();
            for part in changes.chunks(size) {
                state.on_batch(0, epoch, &batch(&kind, part), &mut out);
            }
            assert!(out.batches.is_empty());
            let out = close(&mut state, epoch);
            let now = recomputed(&kind, &there);
            let rows: usize = out.batches.iter().map(Batch::len).sum();
            let changed = difference(&now, &shown);
            let what = format!("seed {seed}, epoch {epoch}: {kind:?}");
            assert_eq!(emitted(&kind, &out), changed, "{what}");
            assert_eq!(state.rows_in_state(), there.len() as i64, "{what}");
            if !plan(&kind).has_places() {
                let net: i64 = changed.values().map(|count| count.abs()).sum();
                assert!(rows as i64 <= net, "{what}: {rows} rows say what {net} would");
            }
            shown = now;
            if interrupted && snapshots.take(&mut state, &mut rng) && rng.random_bool(0.5) {
                state = self::state(&kind);
                snapshots.restore(&mut state);
                assert!(close(&mut state, epoch).batches.is_empty(), "{what}: it was out before");
            }
        }
    }
}

fn kind(append_only: bool, rows: u32) -> Kind {
    Kind {
        keyed: true,
        append_only,
        with_origins: append_only,
        newest_first: false,
        first: Some(First { by: Number::RowNumber, rows }),
        numbers: vec![Number::RowNumber],
    }
}

#[test]
fn over_events_only_the_first_rows_are_kept() {
    let kind = kind(true, 3);
    let mut state = state(&kind);
    let few: Vec<(Row, i64)> = (0..3).map(|n| (("a", Some(n), n, n as u64), 1)).collect();
    state.on_batch(0, 1, &batch(&kind, &few), &mut Output::default());
    close(&mut state, 1);
    let bytes = state.state_bytes();
    let many: Vec<(Row, i64)> =
        (3..20_000).map(|n| (("a", Some(n * 7919 % 20_011), n, n as u64), 1)).collect();
    state.on_batch(0, 2, &batch(&kind, &many), &mut Output::default());
    let out = close(&mut state, 2);
    assert_eq!(emitted(&kind, &out).len(), 6);
    assert_eq!((state.rows_in_state(), state.state_bytes()), (20_000, bytes));
    // What comes behind them changes nothing, and nothing leaves.
    state.on_batch(0, 3, &batch(&kind, &few), &mut Output::default());
    assert!(close(&mut state, 3).batches.is_empty());
}

#[test]
fn memory_of_rows_that_are_gone_is_given_back() {
    let kind = kind(false, 3);
    let mut state = state(&kind);
    let all: Vec<(Row, i64)> = (0..20_000).map(|n| (("a", Some(n), n, 0), 1)).collect();
    state.on_batch(0, 1, &batch(&kind, &all), &mut Output::default());
    close(&mut state, 1);
    let full = state.state_bytes();
    let gone: Vec<(Row, i64)> = all.iter().map(|(row, _)| (*row, -1)).collect();
    state.on_batch(0, 2, &batch(&kind, &gone), &mut Output::default());
    assert_eq!(emitted(&kind, &close(&mut state, 2)).len(), 3);
    assert_eq!(state.rows_in_state(), 0);
    assert!(state.state_bytes() * 100 < full, "{} of {full} bytes", state.state_bytes());
}

#[test]
fn what_is_at_a_place_replaces_what_was_there() {
    let kind = kind(true, 2);
    let mut state = state(&kind);
    let rows = |rows: &[Row]| rows.iter().map(|row| (*row, 1)).collect::<Vec<_>>();
    state.on_batch(
        0,
        1,
        &batch(&kind, &rows(&[("a", Some(1), 0, 1), ("b", None, 0, 2)])),
        &mut Output::default(),
    );
    close(&mut state, 1);
    state.on_batch(0, 2, &batch(&kind, &rows(&[("a", Some(2), 0, 3)])), &mut Output::default());
    let out = close(&mut state, 2);
    let numbers = out.batches[0].rows.column(3).as_primitive::<Int64Type>().values().to_vec();
    let diffs = out.batches[0].diffs.as_ref().expect("diffs").values().to_vec();
    assert_eq!((numbers, diffs), (vec![1, 1, 2], vec![-1, 1, 1]));
    assert_eq!(plan(&kind).key(), Some(vec![0, 3]));
}

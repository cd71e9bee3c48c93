//! Random rows of a stream and changes of a table, compared with a look into all of the table at the end of each
//! epoch.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Int64Array, UInt64Array};
use arrow::datatypes::{Field, Int64Type, Schema, SchemaRef};
use datafusion_common::ScalarValue;
use datafusion_expr::Operator as Op;
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_expr::expressions::{BinaryExpr, Column, Literal};
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64Mcg;

use super::*;
use crate::batch::Origin;
use crate::plan::Expr;

/// A row of the stream: offset, key (NULL at times) and value.
type Event = (u64, Option<i64>, i64);
/// A change of the table: key, value, diff.
type Change = (i64, i64, i64);
/// What leaves: the row of the stream, and that of the table.
type Pair = (Event, Option<(i64, i64)>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Condition {
    None,
    /// The value of the stream is less than that of the table.
    Less,
    /// Fails where both are equal, else whether that of the stream is greater.
    Fails,
}

const KINDS: [JoinKind; 4] = [JoinKind::Inner, JoinKind::Left, JoinKind::Semi, JoinKind::Anti];

fn schema(names: [&str; 2]) -> SchemaRef {
    Arc::new(Schema::new(names.map(|name| Field::new(name, DataType::Int64, true)).to_vec()))
}

fn column(name: &str, index: usize) -> Arc<dyn PhysicalExpr> {
    Arc::new(Column::new(name, index))
}

fn plan(kind: JoinKind, condition: Condition) -> Lookup {
    let expr = |physical| Expr { physical, text: "x".into(), uses_now: false };
    let binary = |left, op, right| -> Arc<dyn PhysicalExpr> { Arc::new(BinaryExpr::new(left, op, right)) };
    let (left, right) = (schema(["k", "v"]), schema(["id", "w"]));
    let pairs = Arc::new(Schema::new([left.fields().to_vec(), right.fields().to_vec()].concat()));
    let less = || binary(column("v", 1), Op::Lt, column("w", 3));
    let condition = match condition {
        Condition::None => None,
        Condition::Less => Some(expr(less())),
        Condition::Fails => {
            let literal = |value: i64| Arc::new(Literal::new(ScalarValue::Int64(Some(value))));
            let difference = binary(column("v", 1), Op::Minus, column("w", 3));
            let quotient = binary(literal(100), Op::Divide, difference);
            Some(expr(binary(quotient, Op::Gt, literal(0))))
        }
    };
    Lookup {
        name: "v/lookup".into(),
        kind,
        keys: [vec![expr(column("k", 0))], vec![expr(column("id", 0))]],
        key_types: vec![DataType::Int64],
        condition,
        right,
        schema: if kind.gives_pairs() { Arc::clone(&pairs) } else { left },
        pairs,
    }
}

fn batch(names: [&str; 2], columns: [Int64Array; 2]) -> Batch {
    let columns = columns.map(|column| Arc::new(column) as ArrayRef).to_vec();
    Batch::inserts(RecordBatch::try_new(schema(names), columns).expect("two columns"), None, 0)
}

fn events(events: &[Event]) -> Batch {
    let keys = events.iter().map(|event| event.1).collect();
    let batch = batch(["k", "v"], [keys, Int64Array::from_iter_values(events.iter().map(|event| event.2))]);
    let partition = UInt32Array::from_value(3, events.len());
    let offset = UInt64Array::from_iter_values(events.iter().map(|event| event.0));
    Batch { origin: Some(Origin { source: 1, index: 2, partition, offset }), ..batch }
}

fn changes(changes: &[Change]) -> Batch {
    let column = |value: fn(&Change) -> i64| Int64Array::from_iter_values(changes.iter().map(value));
    let batch = batch(["id", "w"], [column(|change| change.0), column(|change| change.1)]);
    Batch { diffs: Some(column(|change| change.2)), ..batch }
}

/// What an epoch brings: the stream and the table, cut into batches that come in any order.
#[derive(Clone, Debug)]
enum Part {
    Events(Vec<Event>),
    Changes(Vec<Change>),
}

fn run(join: &mut TemporalJoin, epoch: Epoch, parts: &[Part]) -> (Vec<Pair>, Output) {
    let mut out = Output::default();
    for part in parts {
        match part {
            Part::Events(rows) => join.on_batch(0, epoch, &events(rows), &mut out),
            Part::Changes(rows) => join.on_batch(1, epoch, &changes(rows), &mut out),
        }
    }
    let close = EpochClose { epoch, wall_ms: 0, checkpoint: false, watermarks: vec![] };
    while join.on_epoch(&close, &mut out) == Progress::More {}
    let mut pairs = Vec::new();
    for batch in &out.batches {
        assert!(batch.diffs.is_none(), "append-only");
        let origin = batch.origin.as_ref().expect("rows keep their origin");
        let value = |column: usize, row: usize| {
            let column = batch.rows.columns().get(column)?.as_primitive::<Int64Type>();
            column.is_valid(row).then(|| column.value(row))
        };
        for row in 0..batch.len() {
            let of = origin.row(row);
            assert_eq!((of.source, of.partition, of.index), (1, 3, 2));
            let event = (of.offset, value(0, row), value(1, row).expect("never NULL"));
            pairs.push((event, value(2, row).zip(value(3, row))));
        }
    }
    pairs.sort_unstable();
    (pairs, out)
}

/// Changes table and stream at random; the stream reads the table as it is behind all changes of the epoch.
fn epoch(random: &mut Pcg64Mcg, table: &mut BTreeMap<i64, i64>, next: &mut u64) -> (Vec<Event>, Vec<Part>) {
    let mut all = Vec::new();
    for _ in 0..random.random_range(0..6) {
        let (id, value) = (random.random_range(0..5), random.random_range(0..4));
        let mut changed: Vec<Change> = Vec::new();
        changed.extend(table.remove(&id).map(|old| (id, old, -1)));
        if random.random_bool(0.7) {
            table.insert(id, value);
            changed.push((id, value, 1));
        }
        all.push(changed);
    }
    let mut parts: Vec<Part> = Vec::new();
    // Of a join below, the row that comes and the one that goes may be in different batches, in any order.
    match random.random_bool(0.5) {
        true => parts.push(Part::Changes(all.concat())),
        false => parts.extend(all.concat().into_iter().map(|change| Part::Changes(vec![change]))),
    }
    let count = random.random_range(0..10);
    let event = |_| {
        *next += 1;
        let key = random.random_range(0..7);
        (*next, Some(key).filter(|key| *key < 6), random.random_range(0..4))
    };
    let events: Vec<Event> = (0..count).map(event).collect();
    parts.extend(events.chunks(random.random_range(1..5)).map(|rows| Part::Events(rows.to_vec())));
    parts.shuffle(random);
    (events, parts)
}

fn expected(kind: JoinKind, condition: Condition, event: Event, table: &BTreeMap<i64, i64>) -> Option<Pair> {
    let found = event.1.and_then(|key| Some((key, *table.get(&key)?)));
    let found = found.filter(|(_, value)| match condition {
        Condition::None => true,
        Condition::Less => event.2 < *value,
        Condition::Fails => event.2 > *value,
    });
    match (kind, found) {
        (JoinKind::Inner, None) | (JoinKind::Semi, None) | (JoinKind::Anti, Some(_)) => None,
        (JoinKind::Semi | JoinKind::Anti, _) => Some((event, None)),
        (_, found) => Some((event, found)),
    }
}

fn fails(condition: Condition, event: Event, table: &BTreeMap<i64, i64>) -> bool {
    condition == Condition::Fails && event.1.and_then(|key| table.get(&key)) == Some(&event.2)
}

#[test]
fn a_row_sees_the_table_as_it_is_at_the_end_of_its_epoch() {
    for seed in 0..60 {
        for kind in KINDS {
            for condition in [Condition::None, Condition::Less, Condition::Fails] {
                let random = &mut Pcg64Mcg::seed_from_u64(seed);
                let mut join = TemporalJoin::new(&plan(kind, condition)).expect("a join");
                let (mut table, mut next) = (BTreeMap::new(), 0);
                for number in 1..8 {
                    let (rows, parts) = epoch(random, &mut table, &mut next);
                    let (pairs, out) = run(&mut join, number, &parts);
                    let what = format!("seed {seed}, {kind:?}, {condition:?}, epoch {number}");
                    let (failed, rest): (Vec<Event>, Vec<Event>) =
                        rows.iter().partition(|event| fails(condition, **event, &table));
                    let mut wanted: Vec<Pair> =
                        rest.iter().filter_map(|event| expected(kind, condition, *event, &table)).collect();
                    wanted.sort_unstable();
                    assert_eq!(pairs, wanted, "{what}");
                    assert_eq!((out.dead, out.letters.len()), (failed.len() as i64, failed.len()), "{what}");
                    assert_eq!(out.emitted, wanted.len() as i64, "{what}");
                    assert_eq!(out.filtered, (rest.len() - wanted.len()) as i64, "{what}");
                    assert_eq!(join.rows_in_state(), table.len() as i64, "{what}");
                }
            }
        }
    }
}

#[test]
fn a_restored_join_goes_on_as_the_first() {
    for seed in 0..100 {
        let random = &mut Pcg64Mcg::seed_from_u64(5_000 + seed);
        let plan = plan(JoinKind::Left, Condition::Less);
        let mut join = TemporalJoin::new(&plan).expect("a join");
        let (mut table, mut next) = (BTreeMap::new(), 0);
        let mut kept: Vec<Vec<(KeyGroup, RecordBatch)>> = Vec::new();
        for number in 1..9 {
            let (_, parts) = epoch(random, &mut table, &mut next);
            let (pairs, _) = run(&mut join, number, &parts);
            if number > 1 {
                let mut restored = TemporalJoin::new(&plan).expect("a join");
                kept.iter().flatten().for_each(|(_, state)| restored.restore(state).expect("its own state"));
                assert_eq!(run(&mut restored, number, &parts).0, pairs, "seed {seed}, epoch {number}");
                assert_eq!(restored.rows_in_state(), join.rows_in_state(), "seed {seed}, epoch {number}");
            }
            if random.random_bool(0.3) {
                join.snapshot(SnapshotKind::Delta);
                join.snapshot_failed();
            }
            if kept.is_empty() || random.random_bool(0.2) {
                kept = vec![join.snapshot(SnapshotKind::Full)];
            } else {
                kept.push(join.snapshot(SnapshotKind::Delta));
            }
        }
    }
}

#[test]
fn more_rows_than_one_call_looks_up_are_looked_up() {
    let mut join = TemporalJoin::new(&plan(JoinKind::Inner, Condition::None)).expect("a join");
    let rows: Vec<Event> = (0..40_000).map(|row| (row, Some((row % 10) as i64), 1)).collect();
    let mut parts: Vec<Part> = rows.chunks(3_000).map(|rows| Part::Events(rows.to_vec())).collect();
    parts.push(Part::Changes((0..5).map(|id| (id, 7, 1)).collect()));
    let (pairs, out) = run(&mut join, 1, &parts);
    assert_eq!((pairs.len(), out.filtered), (20_000, 20_000));
}

#[test]
fn keys_that_are_gone_give_their_memory_back() {
    let mut join = TemporalJoin::new(&plan(JoinKind::Inner, Condition::None)).expect("a join");
    let all = |diff| [Part::Changes((0..5_000).map(|id| (id, 1, diff)).collect())];
    run(&mut join, 1, &all(1));
    let full = join.state_bytes();
    run(&mut join, 2, &all(-1));
    let empty = join.state_bytes();
    assert!(full > 200_000 && empty < full / 20, "{full} bytes, then {empty}");
}

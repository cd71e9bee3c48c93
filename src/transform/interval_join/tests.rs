//! Random rows on both sides, compared after every epoch with a join of all rows that were not late.

mod model;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{Int64Array, TimestampNanosecondArray};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, TimeUnit};
use datafusion_common::ScalarValue;
use datafusion_expr::Operator as Op;
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_expr::expressions::{BinaryExpr, Column, Literal};
use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64Mcg;

use self::model::Run;
use super::*;
use crate::plan::{Bound, Expr, JoinKind, JoinSide};
use crate::transform::testing::Snapshots;

/// Key, time and value.
type Row = (Option<i64>, Option<i64>, i64);
/// What leaves: the parts of both sides.
type Joined = (Option<Row>, Option<Row>);
type Bag<R> = BTreeMap<R, i64>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Condition {
    None,
    /// The left value is less than the right one.
    Less,
    /// Fails where both are equal, else whether the left one is greater.
    Fails,
}

const KINDS: [JoinKind; 6] =
    [JoinKind::Inner, JoinKind::Left, JoinKind::Right, JoinKind::Full, JoinKind::Semi, JoinKind::Anti];

/// One run.
#[derive(Clone, Debug)]
struct Case {
    kind: JoinKind,
    condition: Condition,
    lower: i64,
    upper: i64,
    epochs: Vec<EpochCase>,
}

#[derive(Clone, Debug)]
struct EpochCase {
    rows: [Vec<Row>; 2],
    /// W at the end of the epoch.
    watermarks: [Watermark; 2],
}

#[test]
fn rows_that_leave_are_those_of_a_join_of_all_that_were_not_late() {
    for seed in 0..120 {
        for kind in KINDS {
            for condition in [Condition::None, Condition::Less, Condition::Fails] {
                let mut random = Pcg64Mcg::seed_from_u64(seed);
                let case = case(&mut random, kind, condition);
                let mut run = Run::new(&case);
                for epoch in 0..case.epochs.len() {
                    run.epoch(epoch, &mut random, &format!("seed {seed}, {kind:?}, {condition:?}"));
                }
            }
        }
    }
}

#[test]
fn snapshots_and_restores_at_any_point_change_nothing_that_follows() {
    for seed in 0..120 {
        for kind in KINDS {
            for condition in [Condition::None, Condition::Fails] {
                let name = format!("seed {seed}, {kind:?}, {condition:?}");
                let mut random = Pcg64Mcg::seed_from_u64(seed);
                let case = case(&mut random, kind, condition);
                let mut run = Run::new(&case);
                let mut saved = Snapshots::default();
                for epoch in 0..case.epochs.len() {
                    run.epoch(epoch, &mut random, &name);
                    let snapshot = !random.random_bool(0.4) && saved.take(&mut run.operator, &mut random);
                    if snapshot && random.random_bool(0.5) {
                        run.restart(epoch, &saved, &name);
                    }
                }
            }
        }
    }
}

#[test]
fn times_at_both_ends_of_what_a_timestamp_holds_do_no_harm() {
    let ends = [i64::MIN, i64::MIN + 1, -1, 0, i64::MAX - 1, i64::MAX];
    let rows: Vec<Row> = (0..).zip(ends).map(|(value, time)| (Some(1), Some(time), value)).collect();
    for (lower, upper) in [(-1, 1), (i64::MIN, i64::MAX), (i64::MAX, i64::MAX), (i64::MIN, i64::MIN), (0, 0)]
    {
        let middle = [Watermark(0), Watermark(i64::MAX - 1)];
        let epochs = vec![
            EpochCase { rows: [rows.clone(), Vec::new()], watermarks: [Watermark::NONE; 2] },
            EpochCase { rows: [Vec::new(), rows.clone()], watermarks: middle },
            EpochCase { rows: Default::default(), watermarks: [Watermark::END; 2] },
        ];
        let case = Case { kind: JoinKind::Full, condition: Condition::None, lower, upper, epochs };
        let mut random = Pcg64Mcg::seed_from_u64(1);
        let mut run = Run::new(&case);
        (0..3).for_each(|epoch| run.epoch(epoch, &mut random, &format!("{lower}..{upper}")));
        assert_eq!(run.operator.rows_in_state(), 0);
    }
}

#[test]
fn a_stream_that_goes_on_leaves_the_state_as_large_as_its_interval() {
    let case =
        Case { kind: JoinKind::Inner, condition: Condition::None, lower: -10, upper: 10, epochs: Vec::new() };
    let mut operator = IntervalJoin::new(&plan(&case)).expect("an operator");
    for epoch in 0..2_000 {
        let time = epoch as i64;
        let mut out = Output::default();
        for port in [0, 1] {
            operator.on_batch(port, epoch, &batch(&[(Some(time), Some(time), 0)]), &mut out);
        }
        let watermarks = vec![Watermark(time), Watermark(time)];
        let close = EpochClose { epoch, wall_ms: 0, checkpoint: false, watermarks };
        while operator.on_epoch(&close, &mut out) == Progress::More {}
        assert_eq!(out.batches.iter().map(Batch::diff_sum).sum::<i64>(), 1);
        assert!(operator.rows_in_state() <= 22, "{} rows are kept", operator.rows_in_state());
        assert!(operator.groups.slots() <= 14, "keys of rows that are gone are given again");
    }
}

#[test]
fn rows_that_are_forgotten_give_their_memory_back() {
    let case =
        Case { kind: JoinKind::Inner, condition: Condition::None, lower: -1, upper: 1, epochs: Vec::new() };
    let mut operator = IntervalJoin::new(&plan(&case)).expect("an operator");
    let mut run = |epoch, rows: &[Row], watermark| {
        let mut out = Output::default();
        operator.on_batch(0, epoch, &batch(rows), &mut out);
        let watermarks = vec![Watermark(watermark); 2];
        let close = EpochClose { epoch, wall_ms: 0, checkpoint: false, watermarks };
        while operator.on_epoch(&close, &mut out) == Progress::More {}
        operator.state_bytes()
    };
    let rows: Vec<Row> = (0..2_000).map(|n| (Some(n), Some(n), 0)).collect();
    let full = run(1, &rows, 0);
    let empty = run(2, &[], 2_002);
    assert!(full > 200_000 && empty < full / 20, "{full} bytes, then {empty}");
}

// ---------------------------------------------------------------------------------------------- the cases

fn case(random: &mut Pcg64Mcg, kind: JoinKind, condition: Condition) -> Case {
    let lower = random.random_range(-6..4);
    let upper = lower + random.random_range(0..7);
    let mut epochs = Vec::new();
    let mut known: [BTreeSet<Row>; 2] = Default::default();
    let mut watermarks = [None::<i64>; 2];
    for _ in 0..9 {
        let rows = [0, 1].map(|side: usize| {
            let number = random.random_range(0..5);
            let row = |_| {
                let base = watermarks.iter().flatten().max().copied().unwrap_or(0);
                let time = random.random_bool(0.95).then(|| base + random.random_range(-6..9));
                let key = random.random_bool(0.9).then(|| random.random_range(0..2));
                (key, time, random.random_range(0..2))
            };
            let mut rows: Vec<Row> = (0..number).map(row).collect();
            // A pair of rows that are there several times has one letter where the condition fails.
            rows.retain(|row| known[side].insert(*row) || condition != Condition::Fails);
            rows
        });
        for watermark in &mut watermarks {
            if random.random_bool(0.7) {
                *watermark = Some(watermark.unwrap_or(-5) + random.random_range(0..6));
            }
        }
        let watermarks = watermarks.map(|watermark| watermark.map_or(Watermark::NONE, Watermark));
        epochs.push(EpochCase { rows, watermarks });
    }
    if random.random_bool(0.8) {
        epochs.push(EpochCase { rows: Default::default(), watermarks: [Watermark::END; 2] });
    }
    Case { kind, condition, lower, upper, epochs }
}

fn schema(columns: usize) -> SchemaRef {
    let field = |column| {
        let time = DataType::Timestamp(TimeUnit::Nanosecond, None);
        Field::new(format!("c{column}"), if column % 3 == 1 { time } else { DataType::Int64 }, true)
    };
    Arc::new(Schema::new((0..columns).map(field).collect::<Vec<_>>()))
}

fn column(index: usize) -> Arc<dyn PhysicalExpr> {
    Arc::new(Column::new(&format!("c{index}"), index))
}

fn condition(condition: Condition) -> Option<Expr> {
    let binary = |left, op, right| -> Arc<dyn PhysicalExpr> { Arc::new(BinaryExpr::new(left, op, right)) };
    let literal = |value: i64| -> Arc<dyn PhysicalExpr> { Arc::new(Literal::new(ScalarValue::from(value))) };
    let physical = match condition {
        Condition::None => return None,
        Condition::Less => binary(column(2), Op::Lt, column(5)),
        Condition::Fails => {
            let difference = binary(column(2), Op::Minus, column(5));
            binary(binary(literal(1_000), Op::Divide, difference), Op::Gt, literal(0))
        }
    };
    Some(Expr { physical, text: "condition".into(), uses_now: false })
}

fn plan(case: &Case) -> plan::IntervalJoin {
    let key = Expr { physical: column(0), text: "k".into(), uses_now: false };
    let side = |source| JoinSide {
        schema: schema(3),
        keys: vec![key.clone()],
        time: 1,
        time_text: "c1".into(),
        bound: Bound::Source(source),
    };
    plan::IntervalJoin {
        name: "v/join".into(),
        kind: case.kind,
        sides: [side(0), side(1)],
        key_types: vec![DataType::Int64],
        lower_ns: case.lower,
        upper_ns: case.upper,
        condition: condition(case.condition),
        pairs: schema(6),
        schema: schema(if case.kind.gives_pairs() { 6 } else { 3 }),
    }
}

fn batch(rows: &[Row]) -> Batch {
    let keys: ArrayRef = Arc::new(rows.iter().map(|row| row.0).collect::<Int64Array>());
    let times: ArrayRef = Arc::new(rows.iter().map(|row| row.1).collect::<TimestampNanosecondArray>());
    let values: ArrayRef = Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.2)));
    Batch::inserts(
        RecordBatch::try_new(schema(3), vec![keys, times, values]).expect("three columns"),
        None,
        0,
    )
}

fn joined(batch: &Batch, row: usize) -> Joined {
    let number = |column: usize| {
        let column = batch.rows.column(column).as_primitive::<Int64Type>();
        column.is_valid(row).then(|| column.value(row))
    };
    let time = |column: usize| {
        let column = batch.rows.column(column).as_primitive::<TimestampNanosecondType>();
        column.is_valid(row).then(|| column.value(row))
    };
    let there = |at: usize| at < batch.rows.num_columns();
    let part = |at: usize| {
        there(at).then(|| number(at + 2)).flatten().map(|value| (number(at), time(at + 1), value))
    };
    (part(0), part(3))
}

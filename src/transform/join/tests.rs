//! Random changes on both sides, compared after every epoch with a join of all rows that are there.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use datafusion_common::ScalarValue;
use datafusion_expr::Operator as Op;
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_expr::expressions::{BinaryExpr, Column, Literal};
use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64Mcg;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::InputHandle;
use timely::dataflow::operators::vec::Map;
use timely::dataflow::operators::{Input, Inspect, Probe};

use super::*;
use crate::ledger::{Fate, Layout, Ledger, LedgerReport};
use crate::plan::{Arrangement, Downstream, Expr, Leg, Operator, Plan, Upstream};
use crate::time::{Epoch, EpochClose};
use crate::transform::arrange::arrange;

/// A key, which may be NULL, and a value.
type Row = (Option<i64>, i64);
/// How often each row is there.
type Relation<R> = BTreeMap<R, i64>;
/// What leaves: the parts of both sides.
type Joined = (Option<Row>, Option<Row>);

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

#[test]
fn rows_that_leave_are_those_of_a_join_of_everything() {
    for seed in 0..40 {
        for kind in KINDS {
            for condition in [Condition::None, Condition::Less, Condition::Fails] {
                check(seed, kind, condition);
            }
        }
    }
}

fn check(seed: u64, kind: JoinKind, condition: Condition) {
    let mut random = Pcg64Mcg::seed_from_u64(seed);
    let mut relations: [Relation<Row>; 2] = Default::default();
    let epochs: Vec<[Vec<(Row, i64)>; 2]> =
        (0..8).map(|_| [0, 1].map(|side| changes(&mut random, &mut relations[side]))).collect();
    let ran = run(plan(kind, condition), epochs.clone());
    let case = format!("seed {seed}, {kind:?}, {condition:?}");

    let mut relations: [Relation<Row>; 2] = Default::default();
    let mut out: Relation<Joined> = Relation::new();
    for (epoch, changes) in (1..).zip(&epochs) {
        let before = failing(&relations, condition);
        for (relation, changes) in relations.iter_mut().zip(changes) {
            changes.iter().for_each(|(row, diff)| change(relation, *row, *diff));
        }
        let mut seen = BTreeSet::new();
        for (row, diff) in ran.rows.iter().filter(|(at, ..)| *at == epoch).map(|(_, row, diff)| (row, diff)) {
            assert!(*diff != 0 && seen.insert(*row), "{case}, epoch {epoch}: {row:?} leaves twice");
            change(&mut out, *row, *diff);
        }
        assert_eq!(out, expected(&relations, kind, condition), "{case}, epoch {epoch}");
        let failing = failing(&relations, condition);
        let news = failing.iter().filter(|(pair, count)| **count > before.get(*pair).copied().unwrap_or(0));
        let letters = ran.letters.iter().filter(|at| **at == epoch).count();
        assert_eq!(letters, news.count(), "{case}, letters of epoch {epoch}");
    }
    assert_eq!(ran.in_state, relations.map(|relation| relation.values().sum::<i64>()), "{case}");
}

fn change<R: Ord>(relation: &mut Relation<R>, row: R, diff: i64) {
    let count = relation.get(&row).copied().unwrap_or(0) + diff;
    if count == 0 {
        relation.remove(&row);
    } else {
        relation.insert(row, count);
    }
}

/// Rows that come and go, also within the epoch; never more go than there are.
fn changes(random: &mut Pcg64Mcg, relation: &mut Relation<Row>) -> Vec<(Row, i64)> {
    let mut changes = Vec::new();
    for _ in 0..random.random_range(0..7) {
        let there: Vec<Row> = relation.keys().copied().collect();
        let (row, diff) = if there.is_empty() || random.random_bool(0.55) {
            let key = random.random_bool(0.9).then(|| random.random_range(0..3));
            ((key, random.random_range(0..3)), random.random_range(1..3))
        } else {
            (there[random.random_range(0..there.len())], -1)
        };
        change(relation, row, diff);
        changes.push((row, diff));
    }
    changes
}

/// Whether a pair matches; `None` if the condition fails on it.
fn matches(left: Row, right: Row, condition: Condition) -> Option<bool> {
    if left.0.is_none() || left.0 != right.0 {
        return Some(false);
    }
    match condition {
        Condition::None => Some(true),
        Condition::Less => Some(left.1 < right.1),
        Condition::Fails => (left.1 != right.1).then_some(left.1 > right.1),
    }
}

fn failing([left, right]: &[Relation<Row>; 2], condition: Condition) -> Relation<(Row, Row)> {
    let pairs = left.iter().flat_map(|left| right.iter().map(move |right| (left, right)));
    let failing = pairs.filter(|(left, right)| matches(*left.0, *right.0, condition).is_none());
    failing.map(|(left, right)| ((*left.0, *right.0), left.1 * right.1)).collect()
}

fn expected([left, right]: &[Relation<Row>; 2], kind: JoinKind, condition: Condition) -> Relation<Joined> {
    let mut joined = Relation::new();
    for (row, count) in left {
        let all: Vec<_> = right.keys().map(|other| matches(*row, *other, condition)).collect();
        let decided = |result| all.iter().all(|found| *found == Some(result));
        match kind {
            JoinKind::Left | JoinKind::Full | JoinKind::Anti if decided(false) => {
                change(&mut joined, (Some(*row), None), *count);
            }
            JoinKind::Semi if all.contains(&Some(true)) => change(&mut joined, (Some(*row), None), *count),
            _ => {}
        }
        for (other, times) in right.iter().filter(|_| kind.gives_pairs()) {
            if matches(*row, *other, condition) == Some(true) {
                change(&mut joined, (Some(*row), Some(*other)), count * times);
            }
        }
    }
    for (row, count) in right.iter().filter(|_| kind.keeps_right()) {
        if left.keys().all(|other| matches(*other, *row, condition) == Some(false)) {
            change(&mut joined, (None, Some(*row)), *count);
        }
    }
    joined
}

// ------------------------------------------------------------------------------------------- the dataflow

fn schema(columns: usize) -> SchemaRef {
    let field = |column| Field::new(format!("c{column}"), DataType::Int64, true);
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
        Condition::Less => binary(column(1), Op::Lt, column(3)),
        Condition::Fails => {
            let difference = binary(column(1), Op::Minus, column(3));
            binary(binary(literal(10), Op::Divide, difference), Op::Gt, literal(0))
        }
    };
    Some(Expr { physical, text: "condition".into(), uses_now: false })
}

fn plan(kind: JoinKind, on: Condition) -> Plan {
    let key = Expr { physical: column(0), text: "k".into(), uses_now: false };
    let arrangement = |name: &str| Arrangement {
        name: format!("v/{name}"),
        schema: schema(2),
        key: vec![key.clone()],
        key_types: vec![DataType::Int64],
        served: false,
    };
    let join = plan::Join {
        name: "v/join".into(),
        kind,
        left: 0,
        right: 1,
        condition: condition(on),
        pairs: schema(4),
        schema: schema(if kind.gives_pairs() { 4 } else { 2 }),
    };
    let leg = |side| Leg {
        name: format!("side{side}->v"),
        from: Upstream::Operator(0),
        steps: Vec::new(),
        to: Downstream::Arrangement(side),
        port: 0,
        branch: 0,
        branches: 1,
        schema: schema(2),
        sources: Vec::new(),
    };
    Plan {
        name: "test".into(),
        directory: ".".into(),
        sources: Vec::new(),
        operators: vec![Operator::Join(join)],
        arrangements: vec![arrangement("left"), arrangement("right")],
        views: Vec::new(),
        sinks: Vec::new(),
        legs: vec![leg(0), leg(1)],
    }
}

#[derive(Default)]
struct Ran {
    rows: Vec<(Epoch, Joined, i64)>,
    letters: Vec<Epoch>,
    in_state: [i64; 2],
}

fn fail(error: &crate::error::Error) -> ! {
    panic!("{error}")
}

fn batch(rows: &[(Row, i64)]) -> Batch {
    let keys: ArrayRef = Arc::new(rows.iter().map(|(row, _)| row.0).collect::<Int64Array>());
    let values: ArrayRef = Arc::new(Int64Array::from_iter_values(rows.iter().map(|(row, _)| row.1)));
    let columns = RecordBatch::try_new(schema(2), vec![keys, values]).expect("two columns");
    let diffs = Int64Array::from_iter_values(rows.iter().map(|(_, diff)| *diff));
    Batch { rows: columns, diffs: Some(diffs), origin: None, wall_ms: 0 }
}

fn joined(batch: &Batch, row: usize) -> Joined {
    let value = |column: usize| {
        let column = batch.rows.column(column).as_primitive::<Int64Type>();
        column.is_valid(row).then(|| column.value(row))
    };
    let part =
        |at: usize| if at < batch.rows.num_columns() { value(at + 1).map(|v| (value(at), v)) } else { None };
    (part(0), part(2))
}

/// Runs a join over the changes of epochs from 1 on.
fn run(plan: Plan, epochs: Vec<[Vec<(Row, i64)>; 2]>) -> Ran {
    timely::execute_directly(move |worker| {
        let ran = Rc::new(RefCell::new(Ran::default()));
        let ledger = Ledger::new(Arc::new(Layout::new(&plan)));
        type Rows = InputHandle<Epoch, CapacityContainerBuilder<Vec<(u16, Batch)>>>;
        let mut sides: [Rows; 2] = [Rows::new(), Rows::new()];
        let mut closes = InputHandle::<Epoch, CapacityContainerBuilder<Vec<EpochClose>>>::new();
        let probe = worker.dataflow(|scope| {
            let Operator::Join(join) = &plan.operators[0] else { panic!("a join") };
            let arranged = [0, 1].map(|side| {
                let rows = scope.input_from(&mut sides[side]);
                let account = ledger.layout().account(Downstream::Arrangement(side));
                let built = arrange(rows, &plan.arrangements[side], true, (account, ledger.clone()), fail);
                built.expect("arranges").0.arranged
            });
            let matcher = Matcher::new(join, &schema(2), &schema(2)).expect("types that can be kept");
            let parts = JoinParts { index: 0, matcher, ledger: ledger.clone(), fail };
            let out = super::join(arranged, scope.input_from(&mut closes), parts);
            let (rows, letters) = (ran.clone(), ran.clone());
            let out_letters =
                out.letters.inspect_time(move |epoch, _| letters.borrow_mut().letters.push(*epoch));
            let out_rows = out.rows.inspect_time(move |epoch, batch| {
                let of = |row| (*epoch, joined(batch, row), batch.diff(row));
                rows.borrow_mut().rows.extend((0..batch.len()).map(of));
            });
            let (probe, _) = out_rows.probe();
            let _ = out_letters.flat_map(|_| None::<()>).probe_with(&probe);
            probe
        });
        for (epoch, changes) in (1..).zip(epochs) {
            for (side, changes) in sides.iter_mut().zip(&changes) {
                side.advance_to(epoch);
                changes.chunks(3).for_each(|part| side.send((0, batch(part))));
            }
            closes.advance_to(epoch);
            closes.send(EpochClose { epoch, wall_ms: 0, checkpoint: false, watermarks: Vec::new() });
            // Now and then several epochs arrive at once.
            if epoch % 3 != 0 {
                sides.iter_mut().for_each(|side| side.advance_to(epoch + 1));
                closes.advance_to(epoch + 1);
                worker.step_while(|| probe.less_than(&(epoch + 1)));
            }
        }
        sides.into_iter().for_each(InputHandle::close);
        closes.close();
        worker.step_while(|| !probe.done());
        let counts = ledger.settle(None);
        let report = LedgerReport::new(ledger.layout(), [&counts]);
        let mut ran = ran.take();
        ran.in_state = [0, 1].map(|side| report.count(Downstream::Arrangement(side), Fate::InState));
        ran
    })
}

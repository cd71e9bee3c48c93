//! Joins of two streams: the distance in event time that their conditions allow.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion_common::{DFSchemaRef, ScalarValue};
use datafusion_expr::expr::Between;
use datafusion_expr::{BinaryExpr, Expr, Operator};

use super::{Equality, Sides, key};
use crate::compile::aggregate::Retention;
use crate::compile::expression::{Compiled, columns_span, unalias};
use crate::compile::flow::{Branch, ColumnInfo, Flow};
use crate::compile::lower::{Lowering, one};
use crate::compile::problem::Problem;
use crate::plan::{self, Bound, ChangeMode, IntervalJoin, JoinKind, JoinSide, Upstream};

/// Nanoseconds in a day.
const DAY_NS: i128 = 86_400_000_000_000;

/// Time attributes of both sides, and how much later than the left one the right one may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Distance {
    /// Indices among the columns of each side.
    times: (usize, usize),
    lower: Option<i64>,
    upper: Option<i64>,
}

/// What the conditions say of the times of two streams.
#[derive(Debug, Default)]
pub(super) struct Distances(Vec<Distance>);

impl Distances {
    /// What is said of a pair of time attributes; nothing yet, if it is new.
    fn of(&mut self, times: (usize, usize)) -> &mut Distance {
        let place = self.0.iter().position(|distance| distance.times == times).unwrap_or_else(|| {
            self.0.push(Distance { times, lower: None, upper: None });
            self.0.len() - 1
        });
        &mut self.0[place]
    }

    fn add(&mut self, more: Distance) {
        let known = self.of(more.times);
        known.lower = known.lower.max(more.lower);
        known.upper = [known.upper, more.upper].into_iter().flatten().min();
    }

    /// The first that is bounded on both sides.
    fn bounded(&self) -> Option<Distance> {
        self.0.iter().copied().find(|distance| distance.lower.is_some() && distance.upper.is_some())
    }
}

impl Lowering<'_> {
    /// How far the times of rows that belong together are from each other, if both sides are streams and the
    /// conditions say so. Conditions that say nothing else are taken out of `conditions`. Else what is known.
    pub(super) fn distance(
        &mut self,
        sides: &Sides,
        equalities: &[Equality],
        conditions: &mut [&mut Vec<Expr>],
    ) -> Result<Result<Distance, Distances>, Vec<Problem>> {
        let streams = [&sides.left, &sides.right].iter().all(|side| side.changes == ChangeMode::AppendOnly);
        let mut known = Distances::default();
        if !streams || self.retention == Retention::Unbounded {
            return Ok(Err(known));
        }
        let is_time = |columns: &(usize, usize)| {
            sides.left.columns[columns.0].time.is_some() && sides.right.columns[columns.1].time.is_some()
        };
        for times in equalities.iter().filter_map(|equality| equality.columns).filter(is_time) {
            known.add(Distance { times, lower: Some(0), upper: Some(0) });
        }
        for condition in conditions.iter().flat_map(|conditions| conditions.iter()) {
            sides.bounds(condition).into_iter().flatten().for_each(|bound| known.add(bound));
        }
        if let Retention::Period(period_ns) = self.retention {
            if let (true, Some(times)) = (known.0.is_empty(), sides.only_times()) {
                known.of(times);
            }
            let kept = |times| Distance { times, lower: Some(-period_ns), upper: Some(period_ns) };
            let kept: Vec<_> = known.0.iter().map(|distance| kept(distance.times)).collect();
            kept.into_iter().for_each(|kept| known.add(kept));
            self.retention_used |= known.bounded().is_some();
        }
        let Some(distance) = known.bounded() else { return Ok(Err(known)) };
        let mut span = None;
        for conditions in conditions {
            conditions.retain(|condition| {
                let bounds = sides.bounds(condition);
                let taken = !bounds.is_empty()
                    && bounds.iter().all(|bound| bound.is_some_and(|bound| bound.times == distance.times));
                span = span.or_else(|| columns_span(condition).filter(|_| taken));
                !taken
            });
        }
        if distance.lower > distance.upper {
            let problem = Problem::new("no two rows can match: the latest time is before the earliest one");
            let hint = "write b.ts BETWEEN a.ts - INTERVAL '5 minutes' AND a.ts";
            return Err(vec![problem.hint(hint).or_at(span)]);
        }
        Ok(Ok(distance))
    }

    /// Adds a join of two streams to the plan.
    pub(super) fn interval_joined(
        &mut self,
        kind: JoinKind,
        sides: &Sides,
        (equalities, distance): (Vec<Equality>, Distance),
        condition: Option<plan::Expr>,
    ) -> Result<Flow, Vec<Problem>> {
        let equal: Vec<_> = equalities.iter().filter_map(|equality| equality.columns).collect();
        let type_of = |compiled: &Compiled| compiled.data_type.clone();
        let key_types = equalities.iter().map(|equality| type_of(&equality.left)).collect();
        let (left, right): (Vec<_>, Vec<_>) =
            equalities.into_iter().map(|equality| (equality.left.expr, equality.right.expr)).unzip();
        let side = |flow: &Flow, schema: &SchemaRef, keys: Vec<plan::Expr>, time: usize| JoinSide {
            schema: Arc::clone(schema),
            keys,
            time,
            time_text: flow.columns[time].text.clone(),
            bound: flow.columns[time].time.clone().expect("a time attribute"),
        };
        let schema: DFSchemaRef = sides.output(kind).map_err(one)?;
        let join = IntervalJoin {
            name: String::new(),
            kind,
            sides: [
                side(&sides.left, &sides.left_names, left, distance.times.0),
                side(&sides.right, sides.right.schema.inner(), right, distance.times.1),
            ],
            key_types,
            lower_ns: distance.lower.expect("it is bounded"),
            upper_ns: distance.upper.expect("it is bounded"),
            condition,
            pairs: Arc::new(sides.pairs()),
            schema: Arc::clone(if kind.gives_pairs() { schema.inner() } else { &sides.left_names }),
        };
        let columns = sides.timed(&join, &equal);
        let branches = [&sides.left, &sides.right].map(|side| side.branches.clone());
        let sources = branches.iter().flatten().flat_map(|branch| branch.sources.clone()).collect();
        let index = self.graph.add_interval_join(self.owner, join, branches);
        let mut keys = key::of(kind, sides, &equal).into_iter();
        let width = schema.fields().len();
        Ok(Flow {
            schema,
            columns: columns[..width].to_vec(),
            changes: ChangeMode::AppendOnly,
            key: keys.next(),
            other_keys: keys.collect(),
            upsert_key: None,
            branches: vec![Branch { from: Upstream::Operator(index), steps: Vec::new(), sources }],
        })
    }
}

impl Sides {
    /// Whether an equality of two streams says how far apart their times are, by more than that they are equal.
    pub(super) fn is_distance(&self, condition: &Expr, equality: &Equality) -> bool {
        let streams = [&self.left, &self.right].iter().all(|side| side.changes == ChangeMode::AppendOnly);
        streams && equality.columns.is_none() && self.bounds(condition).iter().all(Option::is_some)
    }

    /// The only time attribute of each side.
    fn only_times(&self) -> Option<(usize, usize)> {
        let only = |flow: &Flow| {
            let mut times = flow.columns.iter().enumerate().filter(|(_, column)| column.time.is_some());
            let (index, _) = times.next()?;
            times.next().is_none().then_some(index)
        };
        only(&self.left).zip(only(&self.right))
    }

    /// The parts of a condition: bounds on the distance between two time attributes, or something else.
    fn bounds(&self, condition: &Expr) -> Vec<Option<Distance>> {
        match unalias(condition) {
            Expr::BinaryExpr(BinaryExpr { left, op, right }) => vec![self.bound(left, *op, right)],
            Expr::Between(Between { expr, negated: false, low, high }) => {
                vec![self.bound(expr, Operator::GtEq, low), self.bound(expr, Operator::LtEq, high)]
            }
            _ => vec![None],
        }
    }

    /// A comparison as a bound on the right time minus the left one.
    fn bound(&self, left: &Expr, op: Operator, right: &Expr) -> Option<Distance> {
        let difference = self.linear(left)?.plus(self.linear(right)?, -1);
        let width = self.left.columns.len();
        let mut times = difference.times.iter().filter(|(_, factor)| **factor != 0);
        let ((of_left, factor), (of_right, other)) = (times.next()?, times.next()?);
        let pair = *of_left < width && *of_right >= width && factor.abs() == 1 && factor + other == 0;
        if !pair || times.next().is_some() {
            return None;
        }
        // `other` times (right - left) plus the constant, compared with nothing.
        let limit = i64::try_from(-difference.ns * i128::from(*other)).ok()?;
        limit.checked_abs()?.checked_add(1)?;
        let op = if *other == 1 { op } else { op.swap()? };
        let (lower, upper) = match op {
            Operator::Eq => (Some(limit), Some(limit)),
            Operator::Lt => (None, Some(limit.checked_sub(1)?)),
            Operator::LtEq => (None, Some(limit)),
            Operator::Gt => (Some(limit.checked_add(1)?), None),
            Operator::GtEq => (Some(limit), None),
            _ => return None,
        };
        Some(Distance { times: (*of_left, *of_right - width), lower, upper })
    }

    /// A sum of time attributes and intervals of fixed length.
    fn linear(&self, expr: &Expr) -> Option<Linear> {
        match unalias(expr) {
            Expr::Column(column) => {
                let index = self.schema.maybe_index_of_column(column)?;
                self.columns[index].time.as_ref()?;
                Some(Linear { times: BTreeMap::from([(index, 1)]), ns: 0 })
            }
            Expr::Literal(ScalarValue::IntervalMonthDayNano(Some(interval)), _) if interval.months == 0 => {
                let ns = i128::from(interval.days) * DAY_NS + i128::from(interval.nanoseconds);
                Some(Linear { times: BTreeMap::new(), ns })
            }
            Expr::BinaryExpr(BinaryExpr { left, op: Operator::Plus, right }) => {
                Some(self.linear(left)?.plus(self.linear(right)?, 1))
            }
            Expr::BinaryExpr(BinaryExpr { left, op: Operator::Minus, right }) => {
                Some(self.linear(left)?.plus(self.linear(right)?, -1))
            }
            Expr::Negative(expr) => Some(Linear::default().plus(self.linear(expr)?, -1)),
            _ => None,
        }
    }

    /// The columns of both sides with what is known of their time behind the join.
    ///
    /// A row that leaves later than at a close holds at least one row that comes later, or it is kept until the
    /// watermark of the other side has put it out of reach.
    fn timed(&self, join: &IntervalJoin, equal: &[(usize, usize)]) -> Vec<ColumnInfo> {
        let width = self.left.columns.len();
        let [left, right] = &join.sides;
        let only_pairs = matches!(join.kind, JoinKind::Inner | JoinKind::Semi);
        let time = |index: usize, column: &ColumnInfo| -> Option<Bound> {
            let own = column.time.clone()?;
            let (is_left, place) = (index < width, if index < width { index } else { index - width });
            let filled = if is_left { join.kind.keeps_right() } else { join.kind.keeps_left() };
            let partner = equal.iter().find(|(left, right)| if is_left { *left } else { *right } == place);
            let partner = partner.filter(|_| only_pairs);
            let partner = partner.and_then(|(left, right)| match is_left {
                true => self.right.columns[*right].time.clone(),
                false => self.left.columns[*left].time.clone(),
            });
            let other = match (is_left, filled) {
                // It may be missing.
                (_, true) => None,
                (true, _) if place == left.time => Some(right.bound.clone().back(join.upper_ns)),
                (false, _) if place == right.time => Some(left.bound.clone().back(-join.lower_ns)),
                _ => partner,
            };
            // A window that ends at the watermark of its view may not have left the join yet.
            let behind_ns = i64::from(column.window_end);
            other.map(|other| Bound::least([own, other]).back(behind_ns))
        };
        let columns = self.columns.iter().enumerate();
        columns.map(|(index, column)| ColumnInfo { time: time(index, column), ..column.clone() }).collect()
    }

    /// What would let two streams be joined: a hint, where conditions say `known` of their times.
    pub(super) fn hint(&self, known: &Distances) -> String {
        let of =
            |flow: &Flow| flow.columns.iter().find(|column| column.time.is_some()).map(|it| it.text.clone());
        let named = |flow: &Flow, column: &str| format!("{}.{column}", flow.name());
        if let Some(half) = known.0.first() {
            let (left, right) = half.times;
            let left = named(&self.left, &self.left.columns[left].text);
            let right = named(&self.right, &self.right.columns[right].text);
            return match half.upper {
                None => format!(
                    "say how much later `{right}` may be: AND {right} <= {left} + INTERVAL '5 minutes'"
                ),
                Some(_) => {
                    format!(
                        "say how much earlier `{right}` may be: AND {right} >= {left} - INTERVAL '5 minutes'"
                    )
                }
            };
        }
        match (of(&self.left), of(&self.right)) {
            (Some(left), Some(right)) => {
                let (left, right) = (named(&self.left, &left), named(&self.right, &right));
                format!(
                    "say how far apart they may be: AND {right} BETWEEN {left} - INTERVAL '5 minutes' AND {left}"
                )
            }
            (None, _) => no_time(&self.left),
            (_, None) => no_time(&self.right),
        }
    }
}

fn no_time(flow: &Flow) -> String {
    let name = flow.name();
    format!(
        "`{name}` has no time attribute by which they could be bounded: WATERMARK FOR a column of its source"
    )
}

/// A sum of times, by the indices of their columns, and of nanoseconds.
#[derive(Debug, Default)]
struct Linear {
    times: BTreeMap<usize, i32>,
    ns: i128,
}

impl Linear {
    fn plus(mut self, other: Linear, factor: i32) -> Linear {
        for (time, times) in other.times {
            *self.times.entry(time).or_insert(0) += factor * times;
        }
        self.ns += i128::from(factor) * other.ns;
        self
    }
}

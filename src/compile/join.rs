//! JOIN, IN and EXISTS: rows of two relations that belong together.
//!
//! A join needs equalities between the two sides: by these both are arranged. What a condition says beside
//! them is a filter behind an inner join and part of the match of any other.

mod interval;
mod key;
mod subquery;
mod temporal;

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion_common::{DFSchema, DFSchemaRef, JoinType};
use datafusion_expr::logical_plan::Join;
use datafusion_expr::utils::split_conjunction;
use datafusion_expr::{BinaryExpr, Expr, LogicalPlan, Operator};

use self::interval::{Distance, Distances};
use super::aggregate::Retention;
use super::expression::{self, Compiled, Scope, cast_to, columns_span, compile, unalias};
use super::flow::{Branch, ColumnInfo, Flow};
use super::graph::Growth;
use super::guard::infallible;
use super::lower::{Lowering, one};
use super::problem::Problem;
use super::{locate, refuse, text, types};
use crate::plan::{self, ChangeMode, JoinKind, Step, Upstream};

/// The two sides of a join, and what an expression over both can name.
#[derive(Clone)]
struct Sides {
    left: Flow,
    right: Flow,
    schema: DFSchemaRef,
    columns: Vec<ColumnInfo>,
    /// The columns of the left side under their own names.
    left_names: SchemaRef,
}

/// Values of both sides that are equal in rows that belong together.
struct Equality {
    left: Compiled,
    right: Compiled,
    /// Where both are columns, and equal ones have one value: their indices.
    columns: Option<(usize, usize)>,
}

impl Lowering<'_> {
    /// A join. Of `above`, the conditions of a WHERE around it, it takes those that say which columns of the two
    /// sides are equal.
    pub(super) fn join(&mut self, join: &Join, above: &mut Vec<Expr>) -> Result<Flow, Vec<Problem>> {
        let kind = kind(join.join_type).map_err(|problem| vec![problem])?;
        // A condition on rows that are filled up with NULLs stays where it is.
        let left = self.side(&join.left, above, !kind.keeps_right())?;
        let right = self.side(&join.right, above, !kind.keeps_left())?;
        let mut sides = Sides::new(left, right).map_err(one)?;
        let (equalities, mut rest) = sides.conditions(join, above, kind).map_err(|problem| vec![problem])?;
        if self.is_lookup(&sides) {
            return self.lookup(kind, &sides, equalities, rest, "ON");
        }
        if self.retention != Retention::Unbounded
            && let Some(problem) = self.reversed(kind, &sides)
        {
            return Err(vec![problem]);
        }
        let mut none = Vec::new();
        let above = if kind == JoinKind::Inner { above } else { &mut none };
        let distance = self.distance(&sides, &equalities, &mut [&mut rest, above])?;
        if let Err(known) = &distance {
            sides = self.bounded(sides);
            self.both_are_kept(&sides, known)?;
            if equalities.is_empty() && !sides.left.has_one_row() && !sides.right.has_one_row() {
                return Err(vec![self.without_equality(&sides, rest.is_empty())]);
            }
        }
        let rest = rest.into_iter().reduce(Expr::and);
        let condition = rest.map(|rest| expression::condition(&rest, &sides.scope(), "ON"));
        let condition = condition.transpose().map_err(|problem| vec![problem])?;
        let (filter, condition) = if kind == JoinKind::Inner { (condition, None) } else { (None, condition) };
        let mut flow = self.joined(kind, &sides, (equalities, distance.ok()), condition)?;
        if let Some(filter) = filter {
            flow.push(&Step::Filter(filter));
        }
        Ok(flow)
    }

    fn side(
        &mut self,
        plan: &LogicalPlan,
        above: &mut Vec<Expr>,
        may_take: bool,
    ) -> Result<Flow, Vec<Problem>> {
        match plan {
            LogicalPlan::Join(join) if may_take => self.join(join, above),
            other => self.flow(other),
        }
    }

    /// Has rows of both sides forgotten as long as is said, where they would be kept for ever. Of two streams the
    /// distance of their times says it.
    fn bounded(&mut self, sides: Sides) -> Sides {
        if [&sides.left, &sides.right].iter().all(|side| side.changes == ChangeMode::AppendOnly) {
            return sides;
        }
        let Sides { left, right, .. } = sides;
        Sides { left: self.kept(left), right: self.kept(right), ..sides }
    }

    /// Refuses a side that would have to be kept for ever; `known` is what is said of the times of both.
    fn both_are_kept(&self, sides: &Sides, known: &Distances) -> Result<(), Vec<Problem>> {
        let streams = [&sides.left, &sides.right].iter().all(|side| side.changes == ChangeMode::AppendOnly);
        let (owner, of_sink) = (text::name(self.owner), self.retention == Retention::OfSink);
        let accept = match self.retention {
            Retention::OfSink => String::new(),
            Retention::Period(_) if streams => String::new(),
            _ => {
                format!("; if that is meant: CREATE VIEW {owner} WITH (state_retention = 'unbounded') AS ...")
            }
        };
        let mut problems = Vec::new();
        for (side, other) in [(&sides.left, &sides.right), (&sides.right, &sides.left)] {
            let (growth, (said, time)) = (self.growth(side), self.said_of(side));
            if growth == Growth::Keys || said == Retention::Unbounded {
                continue;
            }
            let (name, other) = (side.name(), other.name());
            let message = match growth {
                Growth::Windows => format!(
                    "`{name}` has rows for each window, and a join with `{other}` would have to keep all of them"
                ),
                _ => format!(
                    "`{name}` grows with every event, and a join with `{other}` would have to keep all of it"
                ),
            };
            let aggregate = "aggregate it in a view first, such as last_value(x ORDER BY t) ... GROUP BY key";
            let period = match of_sink {
                true => "write the query as a view that says how long rows are kept: \
                         CREATE VIEW v WITH (state_retention = '7 days') AS ..."
                    .to_owned(),
                false => format!(
                    "say how long its rows are kept: CREATE VIEW {owner} WITH (state_retention = '7 days') AS ..."
                ),
            };
            let first = match (streams, growth, time) {
                (true, ..) => sides.hint(known),
                (false, Growth::Windows, Some(_)) => period,
                (false, _, Some(_)) => format!("{aggregate}; or {period}"),
                (false, _, None) => aggregate.to_owned(),
            };
            let problem = Problem::new(message).hint(format!("{first}{accept}"));
            problems.push(problem.or_at(locate::relation(self.query, &name)));
        }
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }

    fn without_equality(&self, sides: &Sides, unconditional: bool) -> Problem {
        let (left, right) = (sides.left.name(), sides.right.name());
        let message = match unconditional {
            true => format!("every row of `{left}` would be joined with every row of `{right}`"),
            false => format!("the condition between `{left}` and `{right}` has no equality of two columns"),
        };
        let hint = "write ON a.key = b.key; without an equality, one side has to have one row, as aggregates \
                    without GROUP BY have";
        Problem::new(message).hint(hint).or_at(locate::relation(self.query, &right))
    }

    /// Adds the join to the plan.
    fn joined(
        &mut self,
        kind: JoinKind,
        sides: &Sides,
        (mut equalities, distance): (Vec<Equality>, Option<Distance>),
        condition: Option<plan::Expr>,
    ) -> Result<Flow, Vec<Problem>> {
        if let Some(distance) = distance {
            return self.interval_joined(kind, sides, (equalities, distance), condition);
        }
        key::arrange(&mut equalities, sides);
        let columns: Vec<_> = equalities.iter().filter_map(|equality| equality.columns).collect();
        let types = |compiled: &Compiled| compiled.data_type.clone();
        let key_types: Vec<DataType> = equalities.iter().map(|equality| types(&equality.left)).collect();
        let (left, right): (Vec<_>, Vec<_>) =
            equalities.into_iter().map(|equality| (equality.left.expr, equality.right.expr)).unzip();
        let left = self.graph.add_arrangement((self.owner, "left"), &sides.left, left, key_types.clone());
        let right = self.graph.add_arrangement((self.owner, "right"), &sides.right, right, key_types);
        let schema = sides.output(kind).map_err(one)?;
        let index = self.graph.add_join(
            self.owner,
            plan::Join {
                name: String::new(),
                kind,
                left,
                right,
                condition,
                pairs: Arc::new(sides.pairs()),
                schema: Arc::clone(schema.inner()),
            },
        );
        let both = sides.left.branches.iter().chain(&sides.right.branches);
        let sources = both.flat_map(|branch| branch.sources.clone()).collect();
        let mut keys = key::of(kind, sides, &columns).into_iter();
        let width = schema.fields().len();
        Ok(Flow {
            schema,
            // A row may come out long after its time, when one that belongs to it appears.
            columns: sides.columns[..width].iter().map(ColumnInfo::without_time).collect(),
            changes: ChangeMode::Updating,
            key: keys.next(),
            other_keys: keys.collect(),
            upsert_key: None,
            branches: vec![Branch { from: Upstream::Operator(index), steps: Vec::new(), sources }],
        })
    }
}

impl Sides {
    fn new(left: Flow, right: Flow) -> Result<Self, datafusion_common::DataFusionError> {
        let schema = Arc::new(left.schema.join(&right.schema)?);
        let columns = left.columns.iter().chain(&right.columns).cloned().collect();
        let left_names = Arc::clone(left.schema.inner());
        Ok(Sides { left, right, schema, columns, left_names })
    }

    fn scope(&self) -> Scope<'_> {
        Scope {
            schema: &self.schema,
            columns: &self.columns,
            no_now: Some("`now()` cannot be used in a join"),
        }
    }

    /// The conditions of a join: equalities between the sides, and the others in their order.
    fn conditions(
        &self,
        join: &Join,
        above: &mut Vec<Expr>,
        kind: JoinKind,
    ) -> Result<(Vec<Equality>, Vec<Expr>), Problem> {
        let (mut equalities, mut rest) = (Vec::new(), Vec::new());
        for (left, right) in &join.on {
            let pair = BinaryExpr::new(Box::new(left.clone()), Operator::Eq, Box::new(right.clone()));
            let pair = Expr::BinaryExpr(pair);
            match self.equality(&pair)?.filter(|equality| !self.is_distance(&pair, equality)) {
                Some(equality) => equalities.push(equality),
                None => rest.push(pair),
            }
        }
        for conjunct in join.filter.iter().flat_map(split_conjunction) {
            // An equality that can fail is evaluated for all rows only where nothing before guards it.
            let unguarded = equalities.is_empty() && rest.is_empty();
            let fits = |equality: &Equality| {
                (unguarded || equality.is_safe()) && !self.is_distance(conjunct, equality)
            };
            match self.equality(conjunct)?.filter(fits) {
                Some(equality) => equalities.push(equality),
                None => rest.push(conjunct.clone()),
            }
        }
        if kind == JoinKind::Inner {
            let mut left_over = Vec::new();
            for conjunct in above.drain(..) {
                let fits = |equality: &Equality| equality.is_safe() && !self.is_distance(&conjunct, equality);
                match self.equality(&conjunct)?.filter(fits) {
                    Some(equality) => equalities.push(equality),
                    None => left_over.push(conjunct),
                }
            }
            *above = left_over;
        }
        Ok((equalities, rest))
    }

    /// A condition as an equality between the sides, if it is one.
    fn equality(&self, condition: &Expr) -> Result<Option<Equality>, Problem> {
        let Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) = unalias(condition) else {
            return Ok(None);
        };
        match (self.side_of(left), self.side_of(right)) {
            (Some(0), Some(1)) => self.equal(left, right, condition).map(Some),
            (Some(1), Some(0)) => self.equal(right, left, condition).map(Some),
            _ => Ok(None),
        }
    }

    /// The one side whose columns an expression names.
    fn side_of(&self, expr: &Expr) -> Option<usize> {
        let width = self.left.columns.len();
        let mut sides = expr
            .column_refs()
            .into_iter()
            .map(|column| self.schema.maybe_index_of_column(column).map(|index| usize::from(index >= width)));
        let first = sides.next()??;
        sides.all(|side| side == Some(first)).then_some(first)
    }

    fn equal(&self, left: &Expr, right: &Expr, condition: &Expr) -> Result<Equality, Problem> {
        refuse::planned::check(condition, &self.scope())?;
        let left = compile(left, &Scope::over(&self.left))?;
        let right = compile(right, &Scope::over(&self.right))?;
        let integer = |compiled: &Compiled| compiled.data_type.is_integer();
        let same = left.data_type == right.data_type || integer(&left) && integer(&right);
        let columns = left.column.zip(right.column).filter(|_| same);
        let Some(common) = types::common(&left.data_type, &right.data_type) else {
            let kinds = [&left, &right].map(|side| types::name(&side.data_type));
            let message = format!(
                "`{}` is {} and `{}` is {}: they cannot be compared",
                left.expr.text, kinds[0], right.expr.text, kinds[1]
            );
            return Err(Problem::new(message).hint("CAST one of them").near(columns_span(condition)));
        };
        let (left, right) = (cast_to(left, &common), cast_to(right, &common));
        Ok(Equality { left, right, columns })
    }

    /// The columns of both sides; in a pair any of them may be missing.
    fn pairs(&self) -> Schema {
        let nullable = |field: &Arc<Field>| field.as_ref().clone().with_nullable(true);
        let both = self.left_names.fields().iter().chain(self.right.schema.fields());
        Schema::new(both.map(nullable).collect::<Vec<_>>())
    }

    /// The columns that leave a join.
    fn output(&self, kind: JoinKind) -> Result<DFSchemaRef, datafusion_common::DataFusionError> {
        if !kind.gives_pairs() {
            return Ok(Arc::clone(&self.left.schema));
        }
        let width = self.left.columns.len();
        let described = self.schema.iter().enumerate().map(|(index, (qualifier, field))| {
            let missing = if index < width { kind.keeps_right() } else { kind.keeps_left() };
            let nullable = field.is_nullable() || missing;
            (qualifier.cloned(), Arc::new(field.as_ref().clone().with_nullable(nullable)))
        });
        Ok(Arc::new(DFSchema::new_with_metadata(described.collect(), Default::default())?))
    }
}

impl Equality {
    /// Whether no row can make it fail.
    fn is_safe(&self) -> bool {
        let plain = |compiled: &Compiled| infallible(&compiled.expr.physical);
        self.columns.is_some() || plain(&self.left) && plain(&self.right)
    }
}

fn kind(join_type: JoinType) -> Result<JoinKind, Problem> {
    Ok(match join_type {
        JoinType::Inner => JoinKind::Inner,
        JoinType::Left => JoinKind::Left,
        JoinType::Right => JoinKind::Right,
        JoinType::Full => JoinKind::Full,
        other => return Err(Problem::new(format!("{other} JOIN is not supported yet")).hint("use EXISTS")),
    })
}

impl Flow {
    /// Whether there is at most one row.
    fn has_one_row(&self) -> bool {
        self.key.as_ref().is_some_and(Vec::is_empty)
    }

    /// How the query at hand calls the relation.
    fn name(&self) -> String {
        let qualifier = self.schema.iter().find_map(|(qualifier, _)| qualifier);
        qualifier.map_or_else(|| "the subquery".to_owned(), |name| text::name(name.table()))
    }
}

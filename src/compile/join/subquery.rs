//! IN and EXISTS in WHERE and HAVING, as joins that let rows of the left side through.

use std::sync::Arc;

use datafusion_common::tree_node::{Transformed, TreeNode};
use datafusion_common::{Column, DFSchema, TableReference};
use datafusion_expr::expr::{Exists, InSubquery};
use datafusion_expr::logical_plan::{Filter, Projection};
use datafusion_expr::utils::split_conjunction_owned;
use datafusion_expr::{BinaryExpr, Expr, LogicalPlan, Operator};

use super::Sides;
use super::temporal::is_unique;
use crate::compile::expression::{self, Scope, columns_span, unalias};
use crate::compile::flow::Flow;
use crate::compile::lower::{Lowering, one};
use crate::compile::problem::Problem;
use crate::plan::{ChangeMode, JoinKind, Step};

/// How expressions over both sides call the outer one.
const OUTER: &str = "outer row";

/// `x IN (SELECT ...)` or `EXISTS (SELECT ...)`.
struct Membership {
    subquery: Arc<LogicalPlan>,
    /// What has to be in the one column of the subquery; nothing for EXISTS.
    value: Option<Expr>,
    negated: bool,
}

/// What a subquery selects, and how it depends on the outer row.
struct Selected {
    flow: Flow,
    /// Conditions that name columns of the outer row.
    correlated: Vec<Expr>,
    /// Its first column, over `flow`.
    column: Expr,
}

impl Lowering<'_> {
    pub(in crate::compile) fn filter(&mut self, filter: &Filter) -> Result<Flow, Vec<Problem>> {
        let place = match *filter.input {
            LogicalPlan::Aggregate(_) => "HAVING",
            LogicalPlan::Window(_) => "QUALIFY",
            _ => "WHERE",
        };
        self.filtered(&filter.input, split_conjunction_owned(filter.predicate.clone()), place)
    }

    /// The rows of `input` for which all conditions hold.
    fn filtered(
        &mut self,
        input: &LogicalPlan,
        mut conditions: Vec<Expr>,
        place: &str,
    ) -> Result<Flow, Vec<Problem>> {
        let mut flow = match input {
            LogicalPlan::Join(join) => self.join(join, &mut conditions)?,
            other => {
                let before = self.firsts.ask(other, &conditions);
                let flow = self.flow(other)?;
                conditions.retain(|condition| !self.firsts.is_met(other, condition));
                self.firsts.forget(before);
                flow
            }
        };
        // In their order: what stands in front guards what comes behind it.
        let mut plain = Vec::new();
        for condition in conditions {
            match Membership::of(&condition) {
                None => plain.push(condition),
                Some(membership) => {
                    keep(&mut flow, std::mem::take(&mut plain), place)?;
                    flow = self.members(flow, membership)?;
                }
            }
        }
        keep(&mut flow, plain, place)?;
        Ok(flow)
    }

    fn members(&mut self, flow: Flow, membership: Membership) -> Result<Flow, Vec<Problem>> {
        let selected = self.selected(&membership.subquery)?;
        let mut sides = Sides::new(as_outer(&flow)?, selected.flow).map_err(one)?;
        sides.left_names = Arc::clone(flow.schema.inner());
        let (mut equalities, mut rest) = (Vec::new(), Vec::new());
        // What IN selects has no room for a time.
        let in_time = membership.value.is_some() && flow.changes == ChangeMode::AppendOnly;
        if let Some(value) = membership.value {
            let span = columns_span(&value);
            let value = over_both(value, &flow, true)?;
            let pair =
                BinaryExpr::new(Box::new(value.clone()), Operator::Eq, Box::new(selected.column.clone()));
            let pair = Expr::BinaryExpr(pair);
            let equality = sides.equal(&value, &selected.column, &pair);
            let equality = equality.map_err(|problem| vec![problem.near(span)])?;
            if membership.negated && (equality.left.nullable || equality.right.nullable) {
                let side = if equality.left.nullable { &equality.left } else { &equality.right };
                let message = format!(
                    "`{}` can be NULL, and NOT IN is never true when one of the values is",
                    side.expr.text
                );
                let hint = "write NOT EXISTS (SELECT ... WHERE a.x = b.x), which a NULL never matches";
                return Err(vec![Problem::new(message).hint(hint).or_at(span)]);
            }
            equalities.push(equality);
        }
        for condition in selected.correlated {
            let condition = over_both(condition, &flow, false)?;
            match sides.equality(&condition).map_err(|problem| vec![problem])? {
                Some(equality) if equality.is_safe() && !sides.is_distance(&condition, &equality) => {
                    equalities.push(equality);
                }
                _ => rest.push(condition),
            }
        }
        let kind = if membership.negated { JoinKind::Anti } else { JoinKind::Semi };
        if self.is_lookup(&sides) && is_unique(&sides, &equalities) {
            let members = self.lookup(kind, &sides, equalities, rest, "WHERE")?;
            return Ok(Flow { schema: flow.schema, columns: flow.columns, ..members });
        }
        let distance = self.distance(&sides, &equalities, &mut [&mut rest])?;
        if let Err(known) = &distance {
            sides = self.bounded(sides);
            let schema = flow.schema.clone();
            let named = Sides { left: Flow { schema, ..sides.left.clone() }, ..sides.clone() };
            self.both_are_kept(&named, known).map_err(|problems| match in_time {
                _ if self.is_lookup(&sides) => vec![self.without_key(kind, &named)],
                true => problems.into_iter().map(by_exists).collect(),
                false => problems,
            })?;
        }
        let rest = rest.into_iter().reduce(Expr::and);
        let condition = rest.map(|rest| expression::condition(&rest, &sides.scope(), "WHERE"));
        let condition = condition.transpose().map_err(|problem| vec![problem])?;
        let members = self.joined(kind, &sides, (equalities, distance.ok()), condition)?;
        Ok(Flow { schema: flow.schema, ..members })
    }

    /// Takes a subquery apart: conditions that name the outer row have to stand in its own WHERE.
    fn selected(&mut self, plan: &LogicalPlan) -> Result<Selected, Vec<Problem>> {
        if plan.all_out_ref_exprs().is_empty() {
            let flow = self.flow(plan)?;
            let column = Expr::Column(Column::from(flow.schema.qualified_field(0)));
            return Ok(Selected { flow, correlated: Vec::new(), column });
        }
        let LogicalPlan::Projection(Projection { expr, input, .. }) = plan else {
            return Err(elsewhere(plan));
        };
        let LogicalPlan::Filter(Filter { predicate, input, .. }) = &**input else {
            return Err(elsewhere(plan));
        };
        if !input.all_out_ref_exprs().is_empty() || expr.iter().any(Expr::contains_outer) {
            return Err(elsewhere(plan));
        }
        let conditions = split_conjunction_owned(predicate.clone());
        let (correlated, plain): (Vec<_>, Vec<_>) = conditions.into_iter().partition(Expr::contains_outer);
        if correlated.iter().any(|condition| Membership::of(condition).is_some()) {
            return Err(elsewhere(plan));
        }
        let flow = self.filtered(input, plain, "WHERE")?;
        let column = expr.first().map(unalias).cloned();
        let column = column.ok_or_else(|| vec![Problem::new("the subquery selects nothing")])?;
        Ok(Selected { flow, correlated, column })
    }
}

impl Membership {
    fn of(condition: &Expr) -> Option<Membership> {
        match unalias(condition) {
            Expr::InSubquery(InSubquery { expr, subquery, negated }) => Some(Membership {
                subquery: Arc::clone(&subquery.subquery),
                value: Some(expr.as_ref().clone()),
                negated: *negated,
            }),
            Expr::Exists(Exists { subquery, negated }) => {
                Some(Membership { subquery: Arc::clone(&subquery.subquery), value: None, negated: *negated })
            }
            Expr::Not(inner) => {
                let inner = Membership::of(inner)?;
                Some(Membership { negated: !inner.negated, ..inner })
            }
            _ => None,
        }
    }
}

fn by_exists(problem: Problem) -> Problem {
    problem.hint("write EXISTS (SELECT 1 FROM b WHERE b.key = a.key AND b.ts BETWEEN a.ts - INTERVAL '5 minutes' AND a.ts)")
}

fn keep(flow: &mut Flow, conditions: Vec<Expr>, place: &str) -> Result<(), Vec<Problem>> {
    let Some(condition) = conditions.into_iter().reduce(Expr::and) else { return Ok(()) };
    let condition = expression::condition(&condition, &Scope::over(flow), place);
    flow.push(&Step::Filter(condition.map_err(|problem| vec![problem])?));
    Ok(())
}

/// The outer relation under names that no subquery uses.
fn as_outer(flow: &Flow) -> Result<Flow, Vec<Problem>> {
    let fields = flow.schema.fields().iter().enumerate().map(|(index, field)| {
        let field = field.as_ref().clone().with_name(format!("#{index}"));
        (Some(TableReference::bare(OUTER)), Arc::new(field))
    });
    let schema = DFSchema::new_with_metadata(fields.collect(), Default::default()).map_err(one)?;
    Ok(Flow { schema: Arc::new(schema), ..flow.clone() })
}

/// An expression in which columns of the outer relation have the names of [`as_outer`]: those that a subquery
/// refers to, or where it stands `outside` of the subquery all.
fn over_both(expr: Expr, outer: &Flow, outside: bool) -> Result<Expr, Vec<Problem>> {
    let renamed = |column: &Column| {
        let index = outer.schema.index_of_column(column)?;
        let name = Column::new(Some(TableReference::bare(OUTER)), format!("#{index}"));
        Ok(Transformed::yes(Expr::Column(name.with_spans(column.spans.clone()))))
    };
    let transformed = expr.transform_up(|expr| match &expr {
        Expr::OuterReferenceColumn(_, column) => renamed(column),
        Expr::Column(column) if outside => renamed(column),
        _ => Ok(Transformed::no(expr)),
    });
    transformed.map(|transformed| transformed.data).map_err(one)
}

fn elsewhere(plan: &LogicalPlan) -> Vec<Problem> {
    let mut span = None;
    for expr in plan.all_out_ref_exprs() {
        if let Expr::OuterReferenceColumn(_, column) = expr {
            span = span.or_else(|| columns_span(&Expr::Column(column)));
        }
    }
    let problem = Problem::new("the subquery names a column of the query around it outside of its own WHERE");
    vec![problem.hint("write SELECT ... FROM one relation WHERE inner.key = outer.key").or_at(span)]
}

//! DISTINCT and UNION: a GROUP BY of all columns that computes nothing.
//!
//! Over append-only input its rows are only added as well: the first row of a group makes it, and nothing can
//! take it away. So its relation is append-only, and append sinks take it; but its rows have no origin any
//! more, since each stands for several records.

use std::sync::Arc;

use arrow::datatypes::Schema;
use datafusion_expr::LogicalPlan;
use datafusion_expr::logical_plan::{Distinct, Union};

use super::expression;
use super::flow::{Branch, ColumnInfo, Flow};
use super::lower::Lowering;
use super::problem::Problem;
use crate::plan::{Aggregation, ChangeMode};

impl Lowering<'_> {
    pub(super) fn distinct(&mut self, distinct: &Distinct) -> Result<Flow, Vec<Problem>> {
        let input = match distinct {
            Distinct::All(input) => input,
            Distinct::On(on) => return self.distinct_on(on),
        };
        let flow = match input.as_ref() {
            LogicalPlan::Union(union) => self.union(&without_inner(union))?,
            other => self.flow(other)?,
        };
        // Rows that have a key differ already.
        if flow.key.is_some() {
            return Ok(flow);
        }
        if let Some(index) = flow.columns.iter().position(|column| column.json) {
            let name = flow.schema.field(index).name();
            return Err(vec![incomparable(&super::text::name(name)).of_column(name)]);
        }
        let schema = Arc::new(Schema::new(flow.schema.fields().clone()));
        let column = |(index, info): (usize, &ColumnInfo)| expression::column(index, &schema, &info.text);
        let keys: Vec<_> = flow.columns.iter().enumerate().map(column).collect();
        let sources = flow.branches.iter().flat_map(|branch| branch.sources.clone()).collect();
        let aggregation = Aggregation {
            name: String::new(),
            input: Arc::clone(flow.schema.inner()),
            keys,
            aggregates: Vec::new(),
            schema,
            append_only_input: flow.changes == ChangeMode::AppendOnly,
            window: None,
        };
        let from = self.add(aggregation, flow.clone());
        Ok(Flow {
            key: Some((0..flow.columns.len()).collect()),
            upsert_key: None,
            branches: vec![Branch { from, steps: Vec::new(), sources }],
            ..flow
        })
    }
}

/// `a UNION b UNION c` is `(a UNION b) UNION c`: what the outer one makes distinct need not be so before.
fn without_inner(union: &Union) -> Union {
    let inputs = union.inputs.iter().flat_map(|input| match input.as_ref() {
        LogicalPlan::Distinct(Distinct::All(inner)) => match inner.as_ref() {
            LogicalPlan::Union(union) => without_inner(union).inputs,
            _ => vec![Arc::clone(inner)],
        },
        _ => vec![Arc::clone(input)],
    });
    Union { inputs: inputs.collect(), schema: Arc::clone(&union.schema) }
}

/// JSON is kept as it was received, so that equal values can be written in many ways.
pub(super) fn incomparable(expression: &str) -> Problem {
    let problem = Problem::new(format!("`{expression}` is JSON, which has no equality and no order"));
    problem.hint(match expression.rsplit_once(" -> ") {
        Some((before, last)) => format!("take it as TEXT: {before} ->> {last}"),
        None => {
            format!("take a field of it, {expression} ->> 'field', or its text: CAST({expression} AS TEXT)")
        }
    })
}

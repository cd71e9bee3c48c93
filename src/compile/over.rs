//! Functions with OVER: what they have in common.
//!
//! What is computed for them, keys and values, is computed by a step in front of the operator: a row on which that
//! fails is a dead letter like any other.

use std::sync::Arc;

use arrow::datatypes::{Field, FieldRef, Schema, SchemaRef};
use datafusion_common::DFSchema;
use datafusion_expr::expr::WindowFunction;
use datafusion_expr::logical_plan::Window;
use datafusion_expr::{Expr, WindowFunctionDefinition};
use datafusion_sql::sqlparser::tokenizer::Span;

use super::expression::{self, Compiled, columns_span, unalias};
use super::flow::{Branch, ColumnInfo, Flow};
use super::function::lag;
use super::lower::{Lowering, one};
use super::problem::Problem;
use crate::plan::{self, Downstream, Number, Step, Upstream};

impl Lowering<'_> {
    /// All functions of one OVER.
    pub(super) fn over(&mut self, window: &Window) -> Result<Flow, Vec<Problem>> {
        let functions = functions(window);
        let names = functions.iter().map(|function| name(function));
        let numbers: Option<Vec<_>> = names.clone().map(Number::named).collect();
        match numbers {
            _ if functions.len() < window.window_expr.len() || functions.is_empty() => {
                Err(vec![Problem::new("window functions (OVER) are not supported yet")])
            }
            Some(numbers) => self.rank(window, &functions, numbers),
            None if names.clone().all(|name| name == lag::NAME) => self.lag(window, &functions),
            None => {
                let problem = Problem::new("`lag` and functions of places cannot share an OVER");
                Err(vec![problem.hint("select one of them in a view, and the other one over that")])
            }
        }
    }

    /// The relation behind an operator that reads `flow` as `input`, and gives its columns and behind them `fields`.
    pub(super) fn behind(
        &mut self,
        mut flow: Flow,
        (index, input, computes): (usize, &SchemaRef, bool),
        (fields, columns): (Vec<FieldRef>, Vec<ColumnInfo>),
    ) -> Result<Flow, Vec<Problem>> {
        let sources = flow.branches.iter().flat_map(|branch| branch.sources.clone()).collect();
        let judges = self.graph.operators[index].bounds().iter().any(Option::is_some);
        if judges && self.catalog.statements.late.contains(self.owner) {
            self.late.push(late(&flow, index, input, computes));
        }
        self.graph.add_legs(flow.branches.drain(..), (Downstream::Operator(index), 0), input);
        let qualified = flow.schema.iter().map(|(qualifier, field)| (qualifier.cloned(), Arc::clone(field)));
        let qualified = qualified.chain(fields.into_iter().map(|field| (None, field)));
        let seen = DFSchema::new_with_metadata(qualified.collect(), Default::default()).map_err(one)?;
        Ok(Flow {
            schema: Arc::new(seen),
            columns,
            branches: vec![Branch { from: Upstream::Operator(index), steps: Vec::new(), sources }],
            ..flow
        })
    }
}

fn functions(window: &Window) -> Vec<&WindowFunction> {
    window.window_expr.iter().filter_map(function).collect()
}

/// The function with OVER that an expression is.
pub(super) fn function(expr: &Expr) -> Option<&WindowFunction> {
    match unalias(expr) {
        Expr::WindowFunction(function) => Some(function.as_ref()),
        _ => None,
    }
}

/// The name of a function with OVER.
pub(super) fn name(function: &WindowFunction) -> &str {
    match &function.fun {
        WindowFunctionDefinition::WindowUDF(udf) => udf.name(),
        WindowFunctionDefinition::AggregateUDF(udf) => udf.name(),
    }
}

/// The names of the columns that functions are, behind those of the relation that they read.
pub(super) fn names(window: &Window, width: usize) -> impl Iterator<Item = &str> {
    window.schema.fields().iter().skip(width).map(|field| field.name().as_str())
}

/// Where a function stands, as far as columns say.
pub(super) fn place(function: &WindowFunction) -> Option<Span> {
    let params = &function.params;
    let orders = params.order_by.iter().map(|by| &by.expr);
    params.args.iter().chain(&params.partition_by).chain(orders).find_map(columns_span)
}

/// The rows that come too late, without what was computed for the operator.
pub(super) fn late(flow: &Flow, index: usize, input: &Schema, computes: bool) -> Flow {
    let mut late = flow.late(index);
    if computes {
        let column = |(index, info): (usize, &ColumnInfo)| expression::column(index, input, &info.text);
        let exprs = flow.columns.iter().enumerate().map(column).collect();
        late.push(&Step::Project { exprs, schema: Arc::clone(flow.schema.inner()) });
    }
    late
}

/// What the operator reads: the columns of a relation, and behind them what is computed.
pub(super) struct Input {
    exprs: Vec<plan::Expr>,
    fields: Vec<Field>,
    /// How many columns the relation has.
    width: usize,
}

impl Input {
    pub fn of(flow: &Flow) -> Self {
        let schema = flow.schema.as_arrow();
        let expr = |(index, info): (usize, &ColumnInfo)| expression::column(index, schema, &info.text);
        Input {
            exprs: flow.columns.iter().enumerate().map(expr).collect(),
            fields: schema.fields().iter().map(|field| field.as_ref().clone()).collect(),
            width: flow.columns.len(),
        }
    }

    /// Where a value stands, and its text.
    pub fn place(&mut self, compiled: Compiled) -> (usize, String) {
        let text = compiled.expr.text.clone();
        if let Some(index) = compiled.column {
            return (index, text);
        }
        let number = self.exprs.len();
        self.fields.push(plan::field(format!("over.{number}"), compiled.data_type, true, compiled.json));
        self.exprs.push(compiled.expr);
        (number, text)
    }

    /// Has `flow` compute what is read; gives the columns that arrive, and whether any is computed.
    pub fn read(self, flow: &mut Flow) -> (SchemaRef, bool) {
        let (schema, computes) = (Arc::new(Schema::new(self.fields)), self.exprs.len() > self.width);
        if computes {
            flow.push(&Step::Project { exprs: self.exprs, schema: Arc::clone(&schema) });
        }
        (schema, computes)
    }
}

//! GROUP BY: aggregations with the rows that they read.

pub(super) mod functions;

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::datatypes::{DataType, FieldRef, Schema};
use datafusion_common::{DFSchema, get_target_functional_dependencies};
use datafusion_expr::Expr;
use datafusion_expr::expr::{AggregateFunction as Call, AggregateFunctionParams};
use datafusion_expr::logical_plan::Aggregate as GroupBy;

use super::distinct::incomparable;
use super::expression::{Compiled, Scope, cast_to, columns_span, compile, condition, unalias};
use super::flow::{Branch, ColumnInfo, Flow};
use super::lower::{Lowering, Output, one, outputs};
use super::problem::Problem;
use super::{prune, text, types};
use crate::plan::{
    self, Aggregate, AggregateFunction, Aggregation, ChangeMode, Downstream, Expr as PlanExpr, is_json,
};

impl Lowering<'_> {
    pub(super) fn aggregate(&mut self, group_by: &GroupBy) -> Result<Flow, Vec<Problem>> {
        let flow = self.flow(&group_by.input)?;
        let scope = Scope { no_now: Some("`now()` cannot be used in GROUP BY"), ..Scope::over(&flow) };
        // The planner's schema has a column only once that is named twice.
        let mut groups: Vec<Expr> = Vec::new();
        for group in &group_by.group_expr {
            if !groups.contains(group) {
                groups.push(group.clone());
            }
        }
        if groups.len() + group_by.aggr_expr.len() != group_by.schema.fields().len() {
            return Err(vec![
                Problem::new("this GROUP BY is not supported yet").hint("name each column once"),
            ]);
        }
        let written = groups.len() - implied(&groups, group_by.input.schema());
        let keys = outputs(&groups[..written], &group_by.schema, &scope)?;
        if let Some(key) = keys.iter().find(|key| key.compiled.json) {
            return Err(vec![incomparable(&key.compiled.expr.text).of_column(&key.name)]);
        }
        let calls = aggregates(&group_by.aggr_expr, &scope)?;
        let (fields, columns) = described(&keys, &calls, &flow);
        let names =
            group_by.schema.iter().map(|(qualifier, field)| (qualifier.cloned(), field.name().clone()));
        let names = names.enumerate().filter(|(index, _)| !(written..groups.len()).contains(index));
        let seen = names
            .map(|(_, name)| name)
            .zip(&fields)
            .map(|((qualifier, name), field)| (qualifier, Arc::new(field.as_ref().clone().with_name(name))));
        let schema = DFSchema::new_with_metadata(seen.collect(), Default::default()).map_err(one)?;
        let sources = flow.branches.iter().flat_map(|branch| branch.sources.clone()).collect();
        let key = (0..keys.len()).collect();
        let append_only = flow.changes == ChangeMode::AppendOnly;
        // As DISTINCT: nothing is ever replaced or taken away.
        let only_keys = append_only && calls.is_empty() && !keys.is_empty();
        let aggregation = Aggregation {
            name: String::new(),
            input: Arc::clone(flow.schema.inner()),
            keys: keys.into_iter().map(|key| key.compiled.expr).collect(),
            aggregates: calls,
            schema: Arc::new(Schema::new(fields)),
            append_only_input: append_only,
        };
        let from = self.add(aggregation, flow.branches);
        Ok(Flow {
            schema: Arc::new(schema),
            columns,
            changes: if only_keys { ChangeMode::AppendOnly } else { ChangeMode::Updating },
            key: Some(key),
            branches: vec![Branch { from, steps: Vec::new(), sources }],
        })
    }

    /// Adds an aggregation whose input has only the columns that it reads, and the legs that lead to it.
    pub(super) fn add(&mut self, aggregation: Aggregation, branches: Vec<Branch>) -> crate::plan::Upstream {
        let read: BTreeSet<usize> = expressions(&aggregation).flat_map(prune::columns).collect();
        // Rows without any column would have no number.
        let keep: Vec<usize> = if read.is_empty() { vec![0] } else { read.into_iter().collect() };
        let width = aggregation.input.fields().len();
        let map = prune::Map::keeping(&keep, width);
        let narrow = |expr: PlanExpr| map.expr(&expr);
        let input =
            Arc::new(aggregation.input.project(&keep).expect("expressions read columns of the input"));
        let aggregates = aggregation.aggregates.into_iter().map(|aggregate| Aggregate {
            argument: aggregate.argument.map(narrow),
            order_by: aggregate.order_by.map(narrow),
            filter: aggregate.filter.map(narrow),
            ..aggregate
        });
        let aggregation = Aggregation {
            keys: aggregation.keys.into_iter().map(narrow).collect(),
            aggregates: aggregates.collect(),
            input: Arc::clone(&input),
            ..aggregation
        };
        let index = self.graph.add_aggregation(self.owner, aggregation);
        let narrowed = branches.into_iter().map(|branch| {
            let steps = prune::steps(&branch.steps, &keep, width, &input);
            Branch { steps, ..branch }
        });
        self.graph.add_legs(narrowed, (Downstream::Operator(index), 0), &input);
        crate::plan::Upstream::Operator(index)
    }
}

/// How many of the last groups the planner has added: where a key of the input is among the columns of GROUP BY, it
/// adds all columns that follow from the key. They change no group, and would make the key of the result a longer
/// one than was written.
fn implied(groups: &[Expr], input: &DFSchema) -> usize {
    let by_planner = |count: &usize| {
        let (before, group) = (&groups[..*count - 1], &groups[*count - 1]);
        let Expr::Column(column) = group else { return false };
        let names: Vec<String> = before.iter().map(|group| group.schema_name().to_string()).collect();
        let follow = get_target_functional_dependencies(input, &names).unwrap_or_default();
        column.spans.0.is_empty()
            && input.maybe_index_of_column(column).is_some_and(|at| follow.contains(&at))
    };
    (1..=groups.len()).rev().take_while(by_planner).count()
}

/// Every expression over the input of an aggregation.
fn expressions(aggregation: &Aggregation) -> impl Iterator<Item = &PlanExpr> {
    let calls = aggregation.aggregates.iter();
    let calls = calls.flat_map(|call| call.argument.iter().chain(&call.order_by).chain(&call.filter));
    aggregation.keys.iter().chain(calls)
}

fn aggregates(exprs: &[Expr], scope: &Scope) -> Result<Vec<Aggregate>, Vec<Problem>> {
    let mut calls = Vec::new();
    let mut problems = Vec::new();
    for expr in exprs {
        let call = match unalias(expr) {
            Expr::AggregateFunction(call) => aggregate(call, expr, scope),
            other => Err(Problem::new(format!("`{}` is no aggregate", text::expression(other, scope)))),
        };
        match call {
            Ok(call) => calls.push(call),
            Err(problem) => problems.push(problem),
        }
    }
    if problems.is_empty() { Ok(calls) } else { Err(problems) }
}

fn aggregate(call: &Call, expr: &Expr, scope: &Scope) -> Result<Aggregate, Problem> {
    let name = call.func.name();
    let text = text::expression(unalias(expr), scope);
    let Some(function) = functions::function(name) else {
        return Err(Problem::new(format!("the aggregate function `{name}` is not supported yet")));
    };
    let AggregateFunctionParams { args, distinct, filter, order_by, null_treatment: _ } = &call.params;
    if *distinct {
        return Err(Problem::new(format!("{name}(DISTINCT ...) is not supported yet")));
    }
    let scope =
        &Scope { no_now: Some("`now()` cannot be used inside an aggregate function"), ..scope.clone() };
    let [argument] = args.as_slice() else {
        return Err(Problem::new(format!("`{name}` takes one argument")));
    };
    let counts_rows = function == AggregateFunction::Count
        && matches!(argument, Expr::Literal(value, _) if !value.is_null());
    let argument = if counts_rows { None } else { Some(compile(argument, scope)?) };
    let compares = matches!(function, AggregateFunction::Min | AggregateFunction::Max);
    if let Some(json) = argument.as_ref().filter(|argument| compares && argument.json) {
        return Err(incomparable(&json.expr.text).near(columns_span(expr)));
    }
    let (argument, result) =
        typed(function, argument, &text).map_err(|problem| problem.near(columns_span(expr)))?;
    let filter = filter.as_deref().map(|filter| condition(filter, scope, "FILTER")).transpose()?;
    let ordered = matches!(function, AggregateFunction::FirstValue | AggregateFunction::LastValue);
    let order_by = match (ordered, order_by.as_slice()) {
        (true, [sort]) if sort.asc && !sort.nulls_first => {
            let order = compile(&sort.expr, scope)?;
            if order.json {
                return Err(incomparable(&order.expr.text).near(columns_span(expr)));
            }
            Some(order.expr)
        }
        (true, _) => {
            let hint = format!("write {name}(x ORDER BY t), ascending, with one expression");
            return Err(Problem::new(format!("`{name}` needs an order")).hint(hint));
        }
        (false, _) => None,
    };
    let nullable = function != AggregateFunction::Count;
    // The value of one row is what it was; what is counted or computed is not JSON.
    let json = ordered && argument.as_ref().is_some_and(|argument| argument.json);
    let field = Arc::new(plan::field(&text, result, nullable, json));
    Ok(Aggregate { function, argument: argument.map(|it| it.expr), order_by, filter, field, text })
}

/// The argument in the type that the function works on, and the type of its result.
fn typed(
    function: AggregateFunction,
    argument: Option<Compiled>,
    text: &str,
) -> Result<(Option<Compiled>, DataType), Problem> {
    let Some(argument) = argument else { return Ok((None, DataType::Int64)) };
    let works_on = match (function, &argument.data_type) {
        (AggregateFunction::Sum, DataType::Int32 | DataType::Int64) => DataType::Int64,
        (AggregateFunction::Sum, DataType::Float64) => DataType::Float64,
        (AggregateFunction::Avg, DataType::Int32 | DataType::Int64 | DataType::Float64) => DataType::Float64,
        (AggregateFunction::Sum | AggregateFunction::Avg, other) => {
            let message =
                format!("`{text}` needs a number, but `{}` is {}", argument.expr.text, types::name(other));
            return Err(Problem::new(message).hint("CAST it to BIGINT or DOUBLE"));
        }
        (_, other) => other.clone(),
    };
    let result = functions::result(function, &argument.data_type);
    Ok((Some(cast_to(argument, &works_on)), result))
}

/// The columns of the result: keys, then aggregates, under names that differ.
fn described(keys: &[Output], calls: &[Aggregate], flow: &Flow) -> (Vec<FieldRef>, Vec<ColumnInfo>) {
    let mut fields: Vec<FieldRef> = Vec::new();
    let mut columns = Vec::new();
    for key in keys {
        let plain = key.compiled.column.map(|column| flow.schema.field(column).name().clone());
        let name = unused(plain.unwrap_or_else(|| key.compiled.expr.text.clone()), &fields);
        let (data_type, nullable) = (key.compiled.data_type.clone(), key.compiled.nullable);
        fields.push(Arc::new(plan::field(name, data_type, nullable, key.compiled.json)));
        columns.push(ColumnInfo {
            text: key.compiled.expr.text.clone(),
            json: key.compiled.json,
            ingestion: key.compiled.ingestion,
        });
    }
    for call in calls {
        let name = unused(call.text.clone(), &fields);
        fields.push(Arc::new(call.field.as_ref().clone().with_name(name)));
        columns.push(ColumnInfo {
            text: call.text.clone(),
            json: is_json(&call.field),
            ingestion: reads_ingestion(call, flow),
        });
    }
    (fields, columns)
}

fn reads_ingestion(call: &Aggregate, flow: &Flow) -> bool {
    let expressions = call.argument.iter().chain(&call.order_by).chain(&call.filter);
    expressions.flat_map(prune::columns).any(|column| flow.columns[column].ingestion)
}

fn unused(name: String, fields: &[FieldRef]) -> String {
    let taken = |name: &str| fields.iter().any(|field| field.name() == name);
    if !taken(&name) {
        return name;
    }
    (2..).map(|number| format!("{name} #{number}")).find(|name| !taken(name)).unwrap_or(name)
}

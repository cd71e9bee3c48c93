//! GROUP BY: aggregations with the rows that they read.

mod call;
pub(super) mod functions;
mod windowed;

pub(super) use self::windowed::Timing;

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::datatypes::{FieldRef, Schema};
use datafusion_common::{DFSchema, DFSchemaRef, get_target_functional_dependencies};
use datafusion_expr::Expr;
use datafusion_expr::logical_plan::Aggregate as GroupBy;

use self::windowed::WindowGroups;
use super::distinct::incomparable;
use super::expression::{Scope, columns_span, unalias};
use super::flow::{Branch, ColumnInfo, Flow};
use super::lower::{Lowering, Output, one, outputs};
use super::options::{StateRetention, ViewOptions};
use super::problem::Problem;
use super::{prune, text};
use crate::plan::{
    self, Aggregate, Aggregation, ChangeMode, Downstream, Expr as PlanExpr, Growth, OrderBy, Upstream,
    Windowing, is_json,
};

/// What the author of a statement has said about state that grows with every event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Retention {
    /// Nothing, and it is a view.
    #[default]
    Undecided,
    /// `state_retention = 'unbounded'`
    Unbounded,
    /// `state_retention = '7 days'`, in nanoseconds.
    Period(i64),
    /// The query of a sink, which has no such option.
    OfSink,
}

impl Retention {
    /// What the options of a view say.
    pub fn of(options: &ViewOptions) -> Self {
        match options.retention {
            None => Retention::Undecided,
            // What is wrong with the option is said once.
            Some((StateRetention::Unbounded | StateRetention::Wrong, _)) => Retention::Unbounded,
            Some((StateRetention::Period(period), _)) => {
                Retention::Period(i64::try_from(period.as_nanos()).unwrap_or(i64::MAX))
            }
        }
    }
}

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
        let window = self.window(&groups[..written], &flow, &scope)?;
        let keys = keys(&groups[..written], window.as_ref(), &group_by.schema, &scope)?;
        if let Some(key) = keys.iter().find(|key| key.compiled.json) {
            return Err(vec![incomparable(&key.compiled.expr.text).of_column(&key.name)]);
        }
        let calls = aggregates(&group_by.aggr_expr, &scope)?;
        let append_only = flow.changes == ChangeMode::AppendOnly;
        if append_only && window.is_none() {
            self.refuse_unbounded(&calls, &group_by.aggr_expr)?;
        }
        let (fields, columns) = described(&keys, window.as_ref(), &calls, &flow);
        let of_window = window.iter().flat_map(|window| window.columns.iter().map(|column| column.group));
        let of_keys = (0..written).filter(|group| window.as_ref().is_none_or(|window| !window.has(*group)));
        let of_calls = groups.len()..group_by.schema.fields().len();
        let names = of_keys.chain(of_window).chain(of_calls).map(|index| {
            let (qualifier, field) = group_by.schema.qualified_field(index);
            (qualifier.cloned(), field.name().clone())
        });
        let seen = names
            .zip(&fields)
            .map(|((qualifier, name), field)| (qualifier, Arc::new(field.as_ref().clone().with_name(name))));
        let schema = DFSchema::new_with_metadata(seen.collect(), Default::default()).map_err(one)?;
        let sources = flow.branches.iter().flat_map(|branch| branch.sources.clone()).collect();
        let key_columns = keys.len() + window.as_ref().map_or(0, |window| window.columns.len());
        let is_final = window.as_ref().is_some_and(|window| window.windowing.is_final());
        // As DISTINCT: nothing is ever replaced or taken away.
        let only_keys = append_only && calls.is_empty() && !keys.is_empty() && window.is_none();
        let aggregation = Aggregation {
            name: String::new(),
            input: Arc::clone(flow.schema.inner()),
            keys: keys.into_iter().map(|key| key.compiled.expr).collect(),
            aggregates: calls,
            schema: Arc::new(Schema::new(fields)),
            append_only_input: append_only,
            window: window.map(|window| window.windowing),
        };
        let from = self.add(aggregation, flow);
        Ok(Flow {
            schema: Arc::new(schema),
            columns,
            changes: if only_keys || is_final { ChangeMode::AppendOnly } else { ChangeMode::Updating },
            key: Some((0..key_columns).collect()),
            other_keys: Vec::new(),
            upsert_key: None,
            branches: vec![Branch { from, steps: Vec::new(), sources }],
        })
    }

    /// Refuses state that would grow with every event, unless the author of the view has accepted it.
    fn refuse_unbounded(&self, calls: &[Aggregate], exprs: &[Expr]) -> Result<(), Vec<Problem>> {
        let growing = |call: &Aggregate| call.growth(true) == Growth::Rows;
        let hint = match self.retention {
            Retention::Unbounded => return Ok(()),
            Retention::Undecided | Retention::Period(_) => {
                format!(
                    "if that is meant: CREATE VIEW {} WITH (state_retention = 'unbounded') AS ...",
                    self.owner
                )
            }
            Retention::OfSink => "move the query into a view, and if the state may grow: \
                CREATE VIEW v WITH (state_retention = 'unbounded') AS ..."
                .to_owned(),
        };
        let problems = calls.iter().zip(exprs).filter(|(call, _)| growing(call)).map(|(call, expr)| {
            let message = format!(
                "`{}` over events has to keep all of them: its state grows with every event",
                call.text
            );
            Problem::new(message).hint(hint.clone()).near(columns_span(expr))
        });
        let problems: Vec<_> = problems.collect();
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }

    /// Adds an aggregation whose input has only the columns that it reads, and the legs that lead to it.
    pub(super) fn add(&mut self, aggregation: Aggregation, flow: Flow) -> Upstream {
        let mut read: BTreeSet<usize> = expressions(&aggregation).flat_map(prune::columns).collect();
        let late = aggregation.window.is_some() && self.catalog.statements.late.contains(self.owner);
        if late {
            read.extend(0..aggregation.input.fields().len());
        }
        // Rows without any column would have no number.
        let keep: Vec<usize> = if read.is_empty() { vec![0] } else { read.into_iter().collect() };
        let width = aggregation.input.fields().len();
        let map = prune::Map::keeping(&keep, width);
        let narrow = |expr: PlanExpr| map.expr(&expr);
        let ordered = |order: OrderBy| OrderBy { expr: map.expr(&order.expr), ..order };
        let input =
            Arc::new(aggregation.input.project(&keep).expect("expressions read columns of the input"));
        let aggregates = aggregation.aggregates.into_iter().map(|aggregate| Aggregate {
            argument: aggregate.argument.map(narrow),
            second: aggregate.second.map(narrow),
            order_by: aggregate.order_by.into_iter().map(ordered).collect(),
            filter: aggregate.filter.map(narrow),
            ..aggregate
        });
        let aggregation = Aggregation {
            keys: aggregation.keys.into_iter().map(narrow).collect(),
            window: aggregation.window.map(|window| Windowing { time: narrow(window.time), ..window }),
            aggregates: aggregates.collect(),
            input: Arc::clone(&input),
            ..aggregation
        };
        let index = self.graph.add_aggregation(self.owner, aggregation);
        if late {
            self.late.push(flow.late(index));
        }
        let narrowed = flow.branches.into_iter().map(|branch| {
            let steps = prune::steps(&branch.steps, &keep, width, &input);
            Branch { steps, ..branch }
        });
        self.graph.add_legs(narrowed, (Downstream::Operator(index), 0), &input);
        Upstream::Operator(index)
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
    let time = aggregation.window.iter().map(|window| &window.time);
    aggregation.keys.iter().chain(time).chain(aggregation.aggregates.iter().flat_map(read_by))
}

fn read_by(call: &Aggregate) -> impl Iterator<Item = &PlanExpr> {
    let orders = call.order_by.iter().map(|order| &order.expr);
    call.argument.iter().chain(&call.second).chain(orders).chain(&call.filter)
}

/// The keys among the groups, without the columns of the window.
fn keys(
    groups: &[Expr],
    window: Option<&WindowGroups>,
    schema: &DFSchemaRef,
    scope: &Scope,
) -> Result<Vec<Output>, Vec<Problem>> {
    let kept = |index: &usize| window.is_none_or(|window| !window.has(*index));
    let exprs: Vec<Expr> = (0..groups.len()).filter(kept).map(|index| groups[index].clone()).collect();
    let fields = (0..groups.len()).filter(kept).map(|index| {
        let (qualifier, field) = schema.qualified_field(index);
        (qualifier.cloned(), Arc::clone(field))
    });
    let schema = DFSchema::new_with_metadata(fields.collect(), Default::default()).map_err(one)?;
    outputs(&exprs, &Arc::new(schema), scope)
}

fn aggregates(exprs: &[Expr], scope: &Scope) -> Result<Vec<Aggregate>, Vec<Problem>> {
    let mut calls = Vec::new();
    let mut problems = Vec::new();
    for expr in exprs {
        let call = match unalias(expr) {
            Expr::AggregateFunction(call) => call::aggregate(call, expr, scope),
            other => Err(Problem::new(format!("`{}` is no aggregate", text::expression(other, scope)))),
        };
        match call {
            Ok(call) => calls.push(call),
            Err(problem) => problems.push(problem),
        }
    }
    if problems.is_empty() { Ok(calls) } else { Err(problems) }
}

/// The columns of the result: keys, then aggregates, under names that differ.
fn described(
    keys: &[Output],
    window: Option<&WindowGroups>,
    calls: &[Aggregate],
    flow: &Flow,
) -> (Vec<FieldRef>, Vec<ColumnInfo>) {
    let mut fields: Vec<FieldRef> = Vec::new();
    let mut columns = Vec::new();
    for key in keys {
        let plain = key.compiled.column.map(|column| flow.schema.field(column).name().clone());
        let name = unused(plain.unwrap_or_else(|| key.compiled.expr.text.clone()), &fields);
        let (data_type, nullable) = (key.compiled.data_type.clone(), key.compiled.nullable);
        fields.push(Arc::new(plan::field(name, data_type, nullable, key.compiled.json)));
        let info = ColumnInfo {
            text: key.compiled.expr.text.clone(),
            json: key.compiled.json,
            ingestion: key.compiled.ingestion,
            transport: key.compiled.transport,
            time: key.compiled.time.clone(),
            window_end: false,
            retention: Default::default(),
        };
        columns.push(window.map_or_else(|| info.without_time(), |window| window.key_info(info.clone())));
    }
    if let Some(window) = window {
        fields.extend(window.fields(|name| unused(name, &fields)));
        columns.extend(window.columns.iter().map(|column| column.info.clone()));
    }
    for call in calls {
        let name = unused(call.text.clone(), &fields);
        fields.push(Arc::new(call.field.as_ref().clone().with_name(name)));
        columns.push(ColumnInfo {
            text: call.text.clone(),
            json: is_json(&call.field),
            ingestion: reads(call, flow, |column| column.ingestion),
            transport: reads(call, flow, |column| column.transport),
            time: None,
            window_end: false,
            retention: Default::default(),
        });
    }
    (fields, columns)
}

fn reads(call: &Aggregate, flow: &Flow, such: impl Fn(&ColumnInfo) -> bool) -> bool {
    read_by(call).flat_map(prune::columns).any(|column| such(&flow.columns[column]))
}

fn unused(name: String, fields: &[FieldRef]) -> String {
    let taken = |name: &str| fields.iter().any(|field| field.name() == name);
    if !taken(&name) {
        return name;
    }
    (2..).map(|number| format!("{name} #{number}")).find(|name| !taken(name)).unwrap_or(name)
}

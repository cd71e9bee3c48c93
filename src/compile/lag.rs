//! `lag(x) OVER (PARTITION BY k ORDER BY t)`: rows in the order of event time, with values of those before.
//!
//! What is computed for it, keys and values, is computed by a step in front of the operator: a row on which that
//! fails is a dead letter like any other.

use std::sync::Arc;

use arrow::datatypes::{Field, Schema};
use datafusion_common::{DFSchema, ScalarValue};
use datafusion_expr::expr::WindowFunction;
use datafusion_expr::logical_plan::Window;
use datafusion_expr::{Expr, WindowFunctionDefinition};

use super::distinct::incomparable;
use super::expression::{self, Compiled, Scope, columns_span, compile, unalias};
use super::flow::{Branch, ColumnInfo, Flow};
use super::function::lag;
use super::lower::{Lowering, one};
use super::problem::Problem;
use super::text;
use crate::plan::{self, Before, Bound, ChangeMode, Downstream, Lag, Step, Upstream};

/// A call of `lag`, compiled.
struct Call {
    value: Compiled,
    rows: usize,
    text: String,
}

impl Lowering<'_> {
    pub(super) fn lag(&mut self, window: &Window) -> Result<Flow, Vec<Problem>> {
        let mut flow = self.flow(&window.input)?;
        let scope = Scope { no_now: Some("`now()` cannot be used inside `lag`"), ..Scope::over(&flow) };
        let functions = functions(window).map_err(|problem| vec![problem])?;
        if flow.changes == ChangeMode::Updating {
            let problem =
                Problem::new("`lag` over an updating relation: the row before could change at any time");
            let hint = "use it over events, or over windows of event time, whose rows are final";
            let place = functions.first().and_then(|function| arguments_span(function));
            return Err(vec![problem.hint(hint).near(place)]);
        }
        let calls = functions.iter().map(|function| call(function, &scope)).collect::<Result<Vec<_>, _>>();
        let calls = calls.map_err(|problem| vec![problem])?;
        let (keys, (time, bound)) = order(functions[0], &scope).map_err(|problem| vec![problem])?;
        let width = flow.columns.len();
        let mut input = Input::of(&flow);
        let keys: Vec<_> = keys.into_iter().map(|key| input.place(key)).collect();
        let values: Vec<_> = calls.iter().map(|call| input.place(call.value.clone())).collect();
        let (schema, computes) = (Arc::new(Schema::new(input.fields)), input.exprs.len() > width);
        if computes {
            flow.push(&Step::Project { exprs: input.exprs, schema: Arc::clone(&schema) });
        }
        let at = |(index, text): &(usize, String)| expression::column(*index, &schema, text);
        let names = window.schema.fields().iter().skip(width).map(|field| field.name().as_str());
        let fields = calls.iter().zip(names).map(|(call, name)| {
            Arc::new(plan::field(name, call.value.data_type.clone(), true, call.value.json))
        });
        let fields: Vec<_> = fields.collect();
        let leaving = schema.fields().iter().take(width).cloned().chain(fields.iter().cloned());
        let time_field = schema.field(time.0).clone().with_nullable(false);
        let lag = Lag {
            name: String::new(),
            keys: keys.iter().map(at).collect(),
            time: at(&time),
            time_field: Arc::new(time_field),
            bound,
            values: values.iter().zip(&calls).map(|(v, c)| Before { value: at(v), rows: c.rows }).collect(),
            schema: Arc::new(Schema::new(leaving.collect::<Vec<_>>())),
            input: schema,
        };
        let sources = flow.branches.iter().flat_map(|branch| branch.sources.clone()).collect();
        let input = Arc::clone(&lag.input);
        let index = self.graph.add_lag(self.owner, lag);
        if self.catalog.statements.late.contains(self.owner) {
            self.late.push(late(&flow, index, &input, computes));
        }
        self.graph.add_legs(flow.branches.drain(..), (Downstream::Operator(index), 0), &input);
        let qualified = flow.schema.iter().map(|(qualifier, field)| (qualifier.cloned(), Arc::clone(field)));
        let qualified = qualified.chain(fields.into_iter().map(|field| (None, field)));
        let seen = DFSchema::new_with_metadata(qualified.collect(), Default::default()).map_err(one)?;
        Ok(Flow {
            schema: Arc::new(seen),
            columns: described(&flow.columns, time.0, &calls),
            branches: vec![Branch { from: Upstream::Operator(index), steps: Vec::new(), sources }],
            ..flow
        })
    }
}

/// The columns that leave. Rows leave later than they came, in the order of `time`: nothing is known about how far
/// other times have come.
fn described(columns: &[ColumnInfo], time: usize, calls: &[Call]) -> Vec<ColumnInfo> {
    let kept = columns.iter().enumerate().map(|(index, info)| match index == time {
        // Rows of one time come by and by.
        true => ColumnInfo { window_end: false, ..info.clone() },
        false => info.without_time(),
    });
    let values = calls.iter().map(|call| ColumnInfo {
        text: call.text.clone(),
        json: call.value.json,
        ingestion: call.value.ingestion,
        ..ColumnInfo::default()
    });
    kept.chain(values).collect()
}

/// The rows that come too late, without what was computed for the operator.
fn late(flow: &Flow, index: usize, input: &Schema, computes: bool) -> Flow {
    let mut late = flow.late(index);
    if computes {
        let column = |(index, info): (usize, &ColumnInfo)| expression::column(index, input, &info.text);
        let exprs = flow.columns.iter().enumerate().map(column).collect();
        late.push(&Step::Project { exprs, schema: Arc::clone(flow.schema.inner()) });
    }
    late
}

/// What the operator reads: the columns of a relation, and behind them what is computed.
struct Input {
    exprs: Vec<plan::Expr>,
    fields: Vec<Field>,
}

impl Input {
    fn of(flow: &Flow) -> Self {
        let schema = flow.schema.as_arrow();
        let expr = |(index, info): (usize, &ColumnInfo)| expression::column(index, schema, &info.text);
        Input {
            exprs: flow.columns.iter().enumerate().map(expr).collect(),
            fields: schema.fields().iter().map(|field| field.as_ref().clone()).collect(),
        }
    }

    /// Where a value stands, and its text.
    fn place(&mut self, compiled: Compiled) -> (usize, String) {
        let text = compiled.expr.text.clone();
        if let Some(index) = compiled.column {
            return (index, text);
        }
        let number = self.exprs.len();
        self.fields.push(plan::field(format!("lag.{number}"), compiled.data_type, true, compiled.json));
        self.exprs.push(compiled.expr);
        (number, text)
    }
}

fn functions(window: &Window) -> Result<Vec<&WindowFunction>, Problem> {
    let functions = window.window_expr.iter().map(|expr| match unalias(expr) {
        Expr::WindowFunction(function) if is_lag(function) => Ok(function.as_ref()),
        _ => Err(Problem::new("window functions (OVER) are not supported yet")
            .hint("use GROUP BY with first_value or last_value(x ORDER BY t)")),
    });
    let functions = functions.collect::<Result<Vec<_>, _>>()?;
    if functions.is_empty() { Err(Problem::new("OVER without a function")) } else { Ok(functions) }
}

fn is_lag(function: &WindowFunction) -> bool {
    matches!(&function.fun, WindowFunctionDefinition::WindowUDF(udf) if udf.name() == lag::NAME)
}

fn arguments_span(function: &WindowFunction) -> Option<datafusion_sql::sqlparser::tokenizer::Span> {
    function.params.args.first().and_then(columns_span)
}

fn call(function: &WindowFunction, scope: &Scope) -> Result<Call, Problem> {
    let params = &function.params;
    let value = params.args.first().ok_or_else(|| Problem::new("`lag` needs an argument"))?;
    let rows = match params.args.get(1).map(unalias) {
        None => Some(1),
        Some(Expr::Literal(ScalarValue::Int64(Some(rows)), _)) => usize::try_from(*rows).ok(),
        Some(_) => None,
    };
    let rows = rows.filter(|rows| *rows > 0);
    let rows = rows.ok_or_else(|| Problem::new("`lag` looks back by a whole number of rows"))?;
    let value = compile(value, scope)?;
    let text = match rows {
        1 => format!("lag({})", value.expr.text),
        rows => format!("lag({}, {rows})", value.expr.text),
    };
    Ok(Call { value, rows, text })
}

type Time = ((usize, String), Bound);

/// PARTITION BY and ORDER BY, which all calls of a window share.
fn order(function: &WindowFunction, scope: &Scope) -> Result<(Vec<Compiled>, Time), Problem> {
    let keys = function.params.partition_by.iter().map(|key| {
        let compiled = compile(key, scope)?;
        if compiled.json { Err(incomparable(&compiled.expr.text)) } else { Ok(compiled) }
    });
    let keys = keys.collect::<Result<Vec<_>, _>>()?;
    let [by] = function.params.order_by.as_slice() else {
        return Err(Problem::new("`lag` needs one column to order by, the event time"));
    };
    let compiled = compile(&by.expr, scope)?;
    match (compiled.column, compiled.time) {
        (Some(index), Some(bound)) => Ok((keys, ((index, compiled.expr.text), bound))),
        _ => {
            let text = text::expression(&by.expr, scope);
            let problem = Problem::new(format!(
                "`{text}` is no event time: nothing says how far it has come, so no row could ever leave"
            ));
            let hint = "order by the column of the source's WATERMARK, or by window_end; it is event time behind \
                        filters, as a plain column and in UNION ALL, not in an expression";
            Err(problem.hint(hint).near(columns_span(&by.expr)))
        }
    }
}

//! `lag(x) OVER (PARTITION BY k ORDER BY t)`: rows in the order of event time, with values of those before.

use std::sync::Arc;

use arrow::datatypes::{DataType, Schema};
use datafusion_common::ScalarValue;
use datafusion_expr::Expr;
use datafusion_expr::expr::{NullTreatment, WindowFunction};
use datafusion_expr::logical_plan::Window;

use super::distinct::incomparable;
use super::expression::{self, Compiled, Scope, cast_to, columns_span, compile, unalias};
use super::flow::{ColumnInfo, Flow};
use super::lower::Lowering;
use super::over::{Input, names, place};
use super::problem::Problem;
use super::{text, types};
use crate::plan::{self, Before, Bound, ChangeMode, Lag};

/// The place of a value in what is read, and that of its default, each with its text.
type Places = ((usize, String), Option<(usize, String)>);

/// A call of `lag`, compiled.
struct Call {
    value: Compiled,
    rows: usize,
    ignore_nulls: bool,
    default: Option<Compiled>,
    text: String,
}

impl Lowering<'_> {
    pub(super) fn lag(
        &mut self,
        window: &Window,
        functions: &[&WindowFunction],
    ) -> Result<Flow, Vec<Problem>> {
        let mut flow = self.flow(&window.input)?;
        let scope = Scope { no_now: Some("`now()` cannot be used inside `lag`"), ..Scope::over(&flow) };
        if flow.changes == ChangeMode::Updating {
            let problem =
                Problem::new("`lag` over an updating relation: the row before could change at any time");
            let hint = "use it over events, or over windows of event time, whose rows are final";
            return Err(vec![problem.hint(hint).near(functions.first().and_then(|call| place(call)))]);
        }
        let calls = functions.iter().map(|function| call(function, &scope)).collect::<Result<Vec<_>, _>>();
        let calls = calls.map_err(|problem| vec![problem])?;
        let (keys, (time, bound)) = order(functions[0], &scope).map_err(|problem| vec![problem])?;
        let (width, at_end) = (flow.columns.len(), flow.columns[time.0].window_end);
        let mut input = Input::of(&flow);
        let keys: Vec<_> = keys.into_iter().map(|key| input.place(key)).collect();
        let mut places = |call: &Call| {
            let default = call.default.clone().map(|default| input.place(default));
            (input.place(call.value.clone()), default)
        };
        let values: Vec<_> = calls.iter().map(&mut places).collect();
        let (schema, computes) = input.read(&mut flow);
        let at = |(index, text): &(usize, String)| expression::column(*index, &schema, text);
        let before = |(place, call): (&Places, &Call)| Before {
            value: at(&place.0),
            rows: call.rows,
            ignore_nulls: call.ignore_nulls,
            default: place.1.as_ref().map(at),
        };
        let fields = calls.iter().zip(names(window, width)).map(|(call, name)| {
            Arc::new(plan::field(name, call.value.data_type.clone(), true, call.value.json))
        });
        let fields: Vec<_> = fields.collect();
        let leaving = schema.fields().iter().take(width).cloned().chain(fields.iter().cloned());
        let lag = Lag {
            name: String::new(),
            keys: keys.iter().map(at).collect(),
            time: at(&time),
            time_field: Arc::new(schema.field(time.0).clone().with_nullable(false)),
            bound,
            at_end,
            values: values.iter().zip(&calls).map(before).collect(),
            schema: Arc::new(Schema::new(leaving.collect::<Vec<_>>())),
            input: Arc::clone(&schema),
        };
        let columns = described(&flow.columns, time.0, &calls);
        let index = self.graph.add_lag(self.owner, lag);
        self.behind(flow, (index, &schema, computes), (fields, columns))
    }
}

/// The columns that leave. Rows leave later than they came, in the order of `time`: nothing is known about how far
/// other times have come.
fn described(columns: &[ColumnInfo], time: usize, calls: &[Call]) -> Vec<ColumnInfo> {
    let kept = columns.iter().enumerate().map(|(index, info)| match index == time {
        true => info.clone(),
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
    let default = params.args.get(2).filter(|default| !is_null(default));
    let near = |problem: Problem| problem.near(place(function));
    let default = default.map(|it| self::default(it, &value, scope).map_err(near)).transpose()?;
    let ignore_nulls = params.null_treatment == Some(NullTreatment::IgnoreNulls);
    let more = match (rows, &default) {
        (1, None) => String::new(),
        (rows, None) => format!(", {rows}"),
        (rows, Some(default)) => format!(", {rows}, {}", default.expr.text),
    };
    let text = format!("lag({}{more})", value.expr.text);
    Ok(Call { value, rows, ignore_nulls, default, text })
}

fn is_null(expr: &Expr) -> bool {
    matches!(unalias(expr), Expr::Literal(value, _) if value.is_null())
}

/// What stands where there is no row before, in the type of the value.
fn default(default: &Expr, value: &Compiled, scope: &Scope) -> Result<Compiled, Problem> {
    use DataType::{Float64, Int32, Int64};
    let compiled = compile(default, scope)?;
    let fits = match (&compiled.data_type, &value.data_type) {
        (Int32 | Int64, Float64) | (Int32, Int64) => true,
        // A constant is in range, or it fails in every row.
        (Int64, Int32) => matches!(unalias(default), Expr::Literal(..)),
        (of, to) => of == to && compiled.json == value.json,
    };
    if fits {
        return Ok(cast_to(compiled, &value.data_type));
    }
    let kind = |it: &Compiled| if it.json { "JSON".to_owned() } else { types::name(&it.data_type) };
    let (text, of) = (&compiled.expr.text, &value.expr.text);
    let message = format!(
        "the default of `lag` has the type of its value: `{text}` is {}, `{of}` is {}",
        kind(&compiled),
        kind(value)
    );
    let hint = format!("CAST({text} AS {})", kind(value));
    Err(Problem::new(message).hint(hint))
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

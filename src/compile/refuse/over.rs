//! Calls with OVER: `lag(x) OVER (PARTITION BY k ORDER BY t)`, `row_number() OVER (PARTITION BY window_end ORDER BY x)`.

use datafusion_sql::sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentClause, FunctionArguments, Spanned, Value,
    WindowSpec, WindowType,
};

use super::expression::Clause;
use crate::compile::diagnostic::Diagnostic;
use crate::compile::function::lag;
use crate::plan::Number;

/// How far back one may look: the values of so many rows are kept for each key.
const ROWS_MAX: usize = 1_000;
const WRITE_NUMBER: &str = "write row_number() OVER (PARTITION BY k ORDER BY x DESC)";
const WRITE: &str = "write lag(x) OVER (PARTITION BY k ORDER BY t), where t is the event time";

/// Says what is wrong with a call that has an OVER, or should have one.
pub(super) fn check(call: &Function, name: &str, clause: Clause, nested: bool) -> Option<Diagnostic> {
    let error = |message: &str, hint: &str| Some(Diagnostic::new(call.name.span(), message).hint(hint));
    let number = Number::named(name);
    if name != lag::NAME && number.is_none() {
        return error("window functions (OVER) are not supported yet", instead(name));
    }
    if !matches!(clause, Clause::Select | Clause::Qualify) || nested {
        let hint = "select it in a view or subquery, and use its column behind it";
        return error(&format!("`{name}` can only be used in the SELECT list and in QUALIFY"), hint);
    }
    let write = if number.is_some() { WRITE_NUMBER } else { WRITE };
    let Some(WindowType::WindowSpec(over)) = &call.over else {
        return error(&format!("`{name}` needs an OVER with the order of the rows"), write);
    };
    if call.filter.is_some() || !call.within_group.is_empty() {
        let hint = "select the rows that count in a view, and use it over that";
        return error(&format!("FILTER and WITHIN GROUP are not possible in `{name}`"), hint);
    }
    if over.window_name.is_some() {
        return error("named windows are not supported yet", write);
    }
    if over.window_frame.is_some() {
        return error(&format!("`{name}` has no frame"), "remove ROWS, RANGE or GROUPS");
    }
    match number {
        Some(_) => numbered(call, name, over),
        None => arguments(call).or_else(|| order(call, over)),
    }
}

/// What to do in the place of a function with OVER.
fn instead(name: &str) -> &'static str {
    match name {
        "lead" => {
            "turn it around: behind lag(x) OVER (PARTITION BY k ORDER BY t) the later row has both values, and nothing \
             has to wait for the future"
        }
        "first_value" | "last_value" | "nth_value" => {
            "use GROUP BY with first_value or last_value(x ORDER BY t)"
        }
        "ntile" | "percent_rank" | "cume_dist" => {
            "row_number, rank and dense_rank number rows; percentiles are aggregate functions"
        }
        _ => {
            "use GROUP BY with a window: hop(t, slide, size) for what moves, cumulate(t, step, size) for what runs; \
             JOIN it back by key and window where the rows are needed as well"
        }
    }
}

/// Functions of places count rows, in an order.
fn numbered(call: &Function, name: &str, over: &WindowSpec) -> Option<Diagnostic> {
    let error = |message: String, hint: &str| Some(Diagnostic::new(call.name.span(), message).hint(hint));
    let arguments = match &call.args {
        FunctionArguments::List(list) => list.args.len() + list.clauses.len(),
        _ => 0,
    };
    if arguments > 0 || call.null_treatment.is_some() {
        return error(format!("`{name}` has no arguments"), WRITE_NUMBER);
    }
    if over.order_by.is_empty() {
        return error(format!("`{name}` needs an ORDER BY"), WRITE_NUMBER);
    }
    let fill = over.order_by.iter().find(|by| by.with_fill.is_some())?;
    Some(Diagnostic::new(fill.span(), "WITH FILL is not supported").hint("remove it"))
}

/// `lag` looks at `x`, and may say how many rows back.
fn arguments(call: &Function) -> Option<Diagnostic> {
    let error = |message: &str, hint: &str| Some(Diagnostic::new(call.name.span(), message).hint(hint));
    let FunctionArguments::List(list) = &call.args else {
        return error("`lag` needs an argument", WRITE);
    };
    let is_nulls =
        |clause: &FunctionArgumentClause| matches!(clause, FunctionArgumentClause::IgnoreOrRespectNulls(_));
    if list.duplicate_treatment.is_some() || !list.clauses.iter().all(is_nulls) {
        return error("DISTINCT, ORDER BY and the like are not possible inside `lag`", WRITE);
    }
    let back = match list.args.as_slice() {
        [FunctionArg::Unnamed(FunctionArgExpr::Expr(_))] => return None,
        [
            FunctionArg::Unnamed(FunctionArgExpr::Expr(_)),
            FunctionArg::Unnamed(FunctionArgExpr::Expr(back)),
        ] => back,
        [
            FunctionArg::Unnamed(FunctionArgExpr::Expr(_)),
            FunctionArg::Unnamed(FunctionArgExpr::Expr(back)),
            FunctionArg::Unnamed(FunctionArgExpr::Expr(_)),
        ] => back,
        _ => {
            return error(
                "`lag` takes an expression, how many rows back, and what stands where there is none",
                WRITE,
            );
        }
    };
    let number = match back {
        Expr::Value(value) => match &value.value {
            Value::Number(number, _) => number.parse().ok(),
            _ => None,
        },
        _ => None,
    };
    if number.is_some_and(|number: usize| (1..=ROWS_MAX).contains(&number)) {
        return None;
    }
    let message = format!("`lag` looks back by a whole number of rows from 1 to {ROWS_MAX}");
    Some(Diagnostic::new(back.span(), message).hint("write it as a number: lag(x, 2) OVER (...)"))
}

/// One time, ascending, and no frame.
fn order(call: &Function, over: &WindowSpec) -> Option<Diagnostic> {
    let error = |message: &str, hint: &str| Some(Diagnostic::new(call.name.span(), message).hint(hint));
    let [by] = over.order_by.as_slice() else {
        return error("`lag` needs one column to order by, the event time", WRITE);
    };
    if by.options.asc == Some(false) || by.options.nulls_first.is_some() || by.with_fill.is_some() {
        let message = "rows of `lag` are ordered as time goes on: ORDER BY t, without DESC and NULLS";
        return Some(Diagnostic::new(by.span(), message).hint(WRITE));
    }
    None
}

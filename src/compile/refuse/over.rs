//! Calls with OVER: `lag(x) OVER (PARTITION BY k ORDER BY t)`, and nothing else.

use datafusion_sql::sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Spanned, Value, WindowSpec, WindowType,
};

use super::expression::Clause;
use crate::compile::diagnostic::Diagnostic;
use crate::compile::function::lag;

/// How far back one may look: the values of so many rows are kept for each key.
const ROWS_MAX: usize = 1_000;
const WRITE: &str = "write lag(x) OVER (PARTITION BY k ORDER BY t), where t is the event time";

/// Says what is wrong with a call that has an OVER, or should have one.
pub(super) fn check(call: &Function, name: &str, clause: Clause, nested: bool) -> Option<Diagnostic> {
    let error = |message: &str, hint: &str| Some(Diagnostic::new(call.name.span(), message).hint(hint));
    if name != lag::NAME {
        let hint = "use GROUP BY with first_value or last_value(x ORDER BY t)";
        return error("window functions (OVER) are not supported yet", hint);
    }
    if clause != Clause::Select || nested {
        let hint = "select it in a view, and use its column behind it";
        return error("`lag` can only be used in the SELECT list", hint);
    }
    let Some(WindowType::WindowSpec(over)) = &call.over else {
        return error("`lag` needs an OVER with the order of the rows", WRITE);
    };
    if call.filter.is_some() || call.null_treatment.is_some() || !call.within_group.is_empty() {
        let hint = "select the rows that count in a view, and use lag over that";
        return error("FILTER, IGNORE NULLS and WITHIN GROUP are not supported in `lag` yet", hint);
    }
    arguments(call).or_else(|| order(call, over))
}

/// `lag` looks at `x`, and may say how many rows back.
fn arguments(call: &Function) -> Option<Diagnostic> {
    let error = |message: &str, hint: &str| Some(Diagnostic::new(call.name.span(), message).hint(hint));
    let FunctionArguments::List(list) = &call.args else {
        return error("`lag` needs an argument", WRITE);
    };
    if list.duplicate_treatment.is_some() || !list.clauses.is_empty() {
        return error("DISTINCT, ORDER BY and the like are not possible inside `lag`", WRITE);
    }
    let back = match list.args.as_slice() {
        [FunctionArg::Unnamed(FunctionArgExpr::Expr(_))] => return None,
        [
            FunctionArg::Unnamed(FunctionArgExpr::Expr(_)),
            FunctionArg::Unnamed(FunctionArgExpr::Expr(back)),
        ] => back,
        [_, _, _] => {
            let hint = "write coalesce(lag(x) OVER (...), default)";
            return error("`lag` has no default for rows without one before them", hint);
        }
        _ => return error("`lag` takes an expression, and how many rows back", WRITE),
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
    if over.window_name.is_some() {
        return error("named windows are not supported yet", WRITE);
    }
    if over.window_frame.is_some() {
        return error("`lag` has no frame", "remove ROWS, RANGE or GROUPS");
    }
    let [by] = over.order_by.as_slice() else {
        return error("`lag` needs one column to order by, the event time", WRITE);
    };
    if by.options.asc == Some(false) || by.options.nulls_first.is_some() || by.with_fill.is_some() {
        let message = "rows of `lag` are ordered as time goes on: ORDER BY t, without DESC and NULLS";
        return Some(Diagnostic::new(by.span(), message).hint(WRITE));
    }
    None
}

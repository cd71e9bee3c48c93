//! Which functions may be called, where and how.

use std::sync::Arc;

use datafusion_expr::{AggregateUDF, Volatility};
use datafusion_sql::sqlparser::ast::{
    DuplicateTreatment, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentClause,
    FunctionArguments, OrderByExpr, Spanned, Value,
};
use datafusion_sql::sqlparser::tokenizer::Span;

use super::expression::Clause;
use super::query::normalized;
use super::{elsewhere, over};
use crate::compile::aggregate::functions::SUPPORTED;
use crate::compile::catalog::Catalog;
use crate::compile::diagnostic::Diagnostic;
use crate::compile::function::lag;
use crate::compile::problem::or_else;
use crate::compile::{aggregate, text, window};
use crate::plan::{AggregateFunction, Number};

/// The aggregate function that a call is one of.
pub(in crate::compile) fn aggregate<'a>(
    catalog: &'a Catalog,
    call: &Function,
) -> Option<&'a Arc<AggregateUDF>> {
    catalog.aggregate(&name(call)?)
}

fn name(call: &Function) -> Option<String> {
    match call.name.0.as_slice() {
        [part] => part.as_ident().map(normalized),
        _ => None,
    }
}

/// Where a call begins: its name.
fn place(call: &Function) -> Span {
    call.name.span()
}

/// Says what is wrong with a call, if anything is.
pub(super) fn check(catalog: &Catalog, call: &Function, clause: Clause, nested: bool) -> Option<Diagnostic> {
    let error = |message: String, hint: &str| Some(Diagnostic::new(place(call), message).hint(hint));
    let Some(name) = name(call) else {
        return error(format!("there is no function `{}`", call.name), "function names have no dots");
    };
    if call.over.is_some() || name == lag::NAME || name == "lead" || Number::named(&name).is_some() {
        return over::check(call, &name, clause, nested);
    }
    if matches!(clause, Clause::Select | Clause::Having) && window::edge_of_call(&name).is_some() {
        return None; // replaced, or refused, where the window is known
    }
    if window::is_function(&name) {
        let message = match name.as_str() {
            "window_start" | "window_end" => format!("`{name}` is a column of a GROUP BY with a window"),
            _ => format!("the window `{name}` can only stand alone in GROUP BY"),
        };
        let hint = "write GROUP BY key, tumble(time, INTERVAL '1 minute'); the SELECT list then names \
                    window_start and window_end";
        return error(message, hint);
    }
    if let Some(function) = catalog.aggregate(&name) {
        return check_aggregate(call, function.name(), clause, nested);
    }
    let Some(function) = catalog.function(&name) else {
        if is_window(&name) {
            let hint = "use GROUP BY with first_value or last_value(x ORDER BY t)";
            return error(format!("window functions (`{name}`) are not supported yet"), hint);
        }
        let mut diagnostic = Diagnostic::new(place(call), format!("there is no function `{name}`"));
        diagnostic.hint = elsewhere::function(&name).map(str::to_owned);
        diagnostic.hint = diagnostic.hint.or_else(|| text::did_you_mean(&name, catalog.function_names()));
        return Some(match diagnostic.hint {
            Some(_) => diagnostic,
            None => diagnostic.hint("docs/functions.md lists all functions"),
        });
    };
    if let FunctionArguments::List(list) = &call.args
        && list.args.iter().any(|argument| !matches!(argument, FunctionArg::Unnamed(_)))
    {
        return error(
            format!("the arguments of `{name}` have no names"),
            "write the values alone, in their order",
        );
    }
    if call.filter.is_some() || !call.within_group.is_empty() {
        return error(format!("`{name}` is no aggregate function"), "FILTER belongs behind an aggregate");
    }
    if function.name() == "now" {
        if clause == Clause::Select && !nested {
            return None;
        }
        if clause == Clause::Rule {
            let hint = "for the time at which a record is read declare a column: name TIMESTAMP METADATA FROM 'ingestion_time'";
            return error(format!("`{name}()` cannot be used in a source"), hint);
        }
        let hint = "select now() AS t in a view and use t behind it, or use METADATA FROM 'ingestion_time'";
        return error(format!("`{name}()` can only be used in the SELECT list"), hint);
    }
    if function.signature().volatility != Volatility::Immutable {
        let message = format!("`{name}()` would give another result when rows are read again");
        let hint = match clause {
            Clause::Rule => {
                "a source gives the same rows each time that it is read: send the value in the record"
            }
            _ => "only now() is supported, in the SELECT list",
        };
        return error(message, hint);
    }
    None
}

fn is_window(name: &str) -> bool {
    matches!(name, "ntile" | "nth_value" | "percent_rank" | "cume_dist")
}

fn check_aggregate(call: &Function, name: &str, clause: Clause, nested: bool) -> Option<Diagnostic> {
    let error = |message: String, hint: &str| Some(Diagnostic::new(place(call), message).hint(hint));
    let place = match clause {
        Clause::Select | Clause::Having | Clause::Qualify => None,
        Clause::Where => Some(("WHERE", "use HAVING, which comes behind GROUP BY")),
        Clause::On => Some(("ON", "aggregate in a view, and join that")),
        Clause::GroupBy => Some(("GROUP BY", "group by columns, or aggregate in a view and group that")),
        Clause::DistinctOn => Some(("DISTINCT ON", "name columns of the input")),
        Clause::Rule => Some(("a rule of a source", "a rule looks at one row")),
    };
    if let Some((place, hint)) = place {
        return error(format!("`{name}` is an aggregate function, which {place} cannot use"), hint);
    }
    if nested {
        return error(format!("`{name}` stands inside another aggregate function"), "use a view in between");
    }
    let Some(function) = aggregate::functions::function(name) else {
        let hint = elsewhere::function(name).unwrap_or(SUPPORTED);
        return error(format!("the aggregate function `{name}` is not supported yet"), hint);
    };
    let FunctionArguments::List(arguments) = &call.args else {
        return error(format!("`{name}` needs an argument"), "name what it is computed from");
    };
    if arguments.args.is_empty() {
        return error(format!("`{name}` needs an argument"), "write count(*) to count rows");
    }
    if let Some(null) = arguments.args.iter().find_map(null) {
        let hint = format!("name what `{name}` is computed from");
        return Some(Diagnostic::new(or_else(null, self::place(call)), "NULL alone has no type").hint(hint));
    }
    let distinct = arguments.duplicate_treatment == Some(DuplicateTreatment::Distinct);
    if distinct && arguments.args == [FunctionArg::Unnamed(FunctionArgExpr::Wildcard)] {
        let hint = "name a column; count(*) over SELECT DISTINCT counts distinct rows";
        return error(format!("{name}(DISTINCT *) is not possible"), hint);
    }
    if distinct && matches!(function, AggregateFunction::OfPairs(_)) {
        let hint = "aggregate the rows of a SELECT DISTINCT";
        return error(format!("{name}(DISTINCT ...) is not possible: it takes pairs"), hint);
    }
    if distinct && function.picks() {
        return error(format!("{name}(DISTINCT ...) is not possible"), "it takes the value of one row");
    }
    let mut orders: Vec<&OrderByExpr> = Vec::new();
    let mut nulls = call.null_treatment.is_some();
    for clause in &arguments.clauses {
        match clause {
            FunctionArgumentClause::OrderBy(order) => orders.extend(order),
            FunctionArgumentClause::IgnoreOrRespectNulls(_) => nulls = true,
            other => return error(format!("{other} inside `{name}` is not supported yet"), "remove it"),
        }
    }
    if nulls && !function.keeps_nulls() {
        return error(format!("`{name}` ignores NULL in any case"), "remove IGNORE NULLS or RESPECT NULLS");
    }
    if distinct && !orders.is_empty() {
        let hint = "remove ORDER BY: distinct values come in their own order";
        return error(format!("{name}(DISTINCT ... ORDER BY ...) is not supported yet"), hint);
    }
    check_within_group(name, function, call, arguments.args.len())
        .or_else(|| check_order(name, function, &orders, self::place(call)))
}

/// Where an argument is NULL, written as such.
fn null(argument: &FunctionArg) -> Option<Span> {
    let FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Value(value))) = argument else { return None };
    (value.value == Value::Null).then_some(value.span)
}

/// `percentile_cont(0.95) WITHIN GROUP (ORDER BY x)`
fn check_within_group(
    name: &str,
    function: AggregateFunction,
    call: &Function,
    arguments: usize,
) -> Option<Diagnostic> {
    let error = |message: String, hint: String| Some(Diagnostic::new(place(call), message).hint(hint));
    let constants = function.constants_within_group();
    let (taken, example) = match constants {
        Some(2) => ("a fraction, a number of standard deviations", "0.95, 3"),
        _ => ("a fraction", "0.95"),
    };
    match call.within_group.as_slice() {
        [] => None,
        _ if constants.is_none() => error(
            format!("`{name}` has no WITHIN GROUP"),
            "only percentile_cont, approx_percentile_cont and sigma_clipped_percentile have one".to_owned(),
        ),
        [order] if constants == Some(arguments) && order.options.nulls_first.is_none() => None,
        _ => error(
            format!("`{name}` takes {taken} and one expression to order by"),
            format!("{name}({example}) WITHIN GROUP (ORDER BY x)"),
        ),
    }
}

fn check_order(
    name: &str,
    function: AggregateFunction,
    orders: &[&OrderByExpr],
    place: Span,
) -> Option<Diagnostic> {
    let error = |span: Span, message: String, hint: String| {
        Some(Diagnostic::new(or_else(span, place), message).hint(hint))
    };
    let placed = orders.iter().find(|order| order.options.nulls_first.is_some());
    match (orders, placed) {
        ([], _) if function.picks() => {
            let hint = format!("write {name}(x ORDER BY t), where t is the event time");
            error(place, format!("`{name}` without ORDER BY would depend on the order of arrival"), hint)
        }
        ([order, ..], _) if !function.picks() && !function.lists() => {
            let message = format!("ORDER BY inside `{name}` is not supported yet");
            error(order.span(), message, "its result does not depend on the order".to_owned())
        }
        (_, Some(order)) if function.picks() => {
            let message = format!("NULLS FIRST and NULLS LAST inside `{name}` are not supported yet");
            error(order.span(), message, "rows without an order are ignored".to_owned())
        }
        _ => None,
    }
}

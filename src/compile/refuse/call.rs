//! Which functions may be called, where and how.

use std::sync::Arc;

use datafusion_expr::{AggregateUDF, Volatility};
use datafusion_sql::sqlparser::ast::{
    DuplicateTreatment, Function, FunctionArgumentClause, FunctionArguments, NullTreatment, OrderByExpr,
    Spanned,
};
use datafusion_sql::sqlparser::tokenizer::Span;

use super::expression::Clause;
use super::query::normalized;
use crate::compile::catalog::Catalog;
use crate::compile::diagnostic::Diagnostic;
use crate::compile::problem::or_else;
use crate::compile::{aggregate, text};

const SUPPORTED: &str = "supported are count, sum, avg, min, max, first_value and last_value";

/// The aggregate function that a call is one of.
pub(super) fn aggregate<'a>(catalog: &'a Catalog, call: &Function) -> Option<&'a Arc<AggregateUDF>> {
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
    if call.over.is_some() {
        let hint = "use GROUP BY with first_value or last_value(x ORDER BY t)";
        return error("window functions (OVER) are not supported yet".to_owned(), hint);
    }
    if matches!(name.as_str(), "tumble" | "hop" | "session" | "cumulate") {
        let message = format!("windows in event time (`{name}`) are not supported yet");
        return error(message, "group by date_trunc('minute', ...) as long as its state may grow");
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
        diagnostic.hint = text::did_you_mean(&name, catalog.function_names());
        return Some(diagnostic);
    };
    if call.filter.is_some() || !call.within_group.is_empty() {
        return error(format!("`{name}` is no aggregate function"), "FILTER belongs behind an aggregate");
    }
    if function.name() == "now" {
        if clause == Clause::Select && !nested {
            return None;
        }
        if clause == Clause::Rule {
            let hint = "a rule must give the same answer every time";
            return error(format!("`{name}()` cannot be used in a rule of a source"), hint);
        }
        let hint = "select now() AS t in a view and use t behind it, or use METADATA FROM 'ingestion_time'";
        return error(format!("`{name}()` can only be used in the SELECT list"), hint);
    }
    if function.signature().volatility != Volatility::Immutable {
        let message = format!("`{name}()` would give another result when rows are read again");
        return error(message, "only now() is supported, in the SELECT list");
    }
    None
}

fn is_window(name: &str) -> bool {
    matches!(name, "row_number" | "rank" | "dense_rank" | "lag" | "lead" | "ntile" | "nth_value")
}

fn check_aggregate(call: &Function, name: &str, clause: Clause, nested: bool) -> Option<Diagnostic> {
    let error = |message: String, hint: &str| Some(Diagnostic::new(place(call), message).hint(hint));
    let place = match clause {
        Clause::Select | Clause::Having => None,
        Clause::Where => Some(("WHERE", "use HAVING, which comes behind GROUP BY")),
        Clause::GroupBy => Some(("GROUP BY", "group by columns, or aggregate in a view and group that")),
        Clause::Rule => Some(("a rule of a source", "a rule looks at one row")),
    };
    if let Some((place, hint)) = place {
        return error(format!("`{name}` is an aggregate function, which {place} cannot use"), hint);
    }
    if nested {
        return error(format!("`{name}` stands inside another aggregate function"), "use a view in between");
    }
    let Some(_) = aggregate::functions::function(name) else {
        return error(format!("the aggregate function `{name}` is not supported yet"), SUPPORTED);
    };
    let FunctionArguments::List(arguments) = &call.args else {
        return error(format!("`{name}` needs an argument"), SUPPORTED);
    };
    if arguments.args.is_empty() {
        return error(format!("`{name}` needs an argument"), "write count(*) to count rows");
    }
    if arguments.duplicate_treatment == Some(DuplicateTreatment::Distinct) {
        let hint = "group by the column in a view, and count its rows in a second one";
        return error(format!("{name}(DISTINCT ...) is not supported yet"), hint);
    }
    let mut orders: Vec<&OrderByExpr> = call.within_group.iter().collect();
    let mut ignore_nulls = call.null_treatment == Some(NullTreatment::IgnoreNulls);
    for clause in &arguments.clauses {
        match clause {
            FunctionArgumentClause::OrderBy(order) => orders.extend(order),
            FunctionArgumentClause::IgnoreOrRespectNulls(treatment) => {
                ignore_nulls |= *treatment == NullTreatment::IgnoreNulls;
            }
            other => return error(format!("{other} inside `{name}` is not supported yet"), "remove it"),
        }
    }
    if ignore_nulls {
        return error("IGNORE NULLS is not supported yet".to_owned(), "write FILTER (WHERE x IS NOT NULL)");
    }
    if !call.within_group.is_empty() {
        return error("WITHIN GROUP is not supported yet".to_owned(), SUPPORTED);
    }
    check_order(name, &orders, self::place(call))
}

fn check_order(name: &str, orders: &[&OrderByExpr], place: Span) -> Option<Diagnostic> {
    let ordered = matches!(name, "first_value" | "last_value");
    let error = |span: Span, message: String, hint: String| {
        Some(Diagnostic::new(or_else(span, place), message).hint(hint))
    };
    match orders {
        [] if ordered => {
            let hint = format!("write {name}(x ORDER BY t), where t is the event time");
            error(place, format!("`{name}` without ORDER BY would depend on the order of arrival"), hint)
        }
        [] => None,
        [order, ..] if !ordered => {
            let message = format!("ORDER BY inside `{name}` is not supported yet");
            error(order.span(), message, "its result does not depend on the order".to_owned())
        }
        [order] if order.options.asc == Some(false) => {
            let other = if name == "last_value" { "first_value" } else { "last_value" };
            let message = format!("ORDER BY ... DESC inside `{name}` is not supported yet");
            error(order.span(), message, format!("write {other}(x ORDER BY t)"))
        }
        [order] if order.options.nulls_first.is_some() => {
            let message = format!("NULLS FIRST and NULLS LAST inside `{name}` are not supported yet");
            error(order.span(), message, "rows without an order are ignored".to_owned())
        }
        [_] => None,
        [_, second, ..] => {
            let message = format!("`{name}` with several ORDER BY expressions is not supported yet");
            error(second.span(), message, "ties go to the row that was written last".to_owned())
        }
    }
}

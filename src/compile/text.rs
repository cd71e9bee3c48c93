//! Expressions as text, the way a user would have written them, and names that are near to a wrong one.

use datafusion_common::ScalarValue;
use datafusion_expr::expr::{AggregateFunction, Case, InList, NullTreatment, ScalarFunction, Sort};
use datafusion_expr::{Expr, Operator};
use datafusion_sql::sqlparser::ast;

use super::aggregate::functions;
use super::expression::Scope;
use super::function::json;
use super::types;
use crate::nearest::nearest;

/// A name as SQL writes it: in quotes where it must be.
pub(super) fn name(name: &str) -> String {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    match name.chars().next() {
        Some(first) if !first.is_ascii_digit() && name.chars().all(plain) => name.to_owned(),
        Some('(') if SUBQUERIES.iter().any(|start| name.starts_with(start)) => shortened(name),
        _ => format!("\"{}\"", name.replace('"', "\"\"")),
    }
}

/// How the name begins of what stands for a subquery.
const SUBQUERIES: [&str; 2] = ["(SELECT ", "(WITH "];

/// The name of what stands for a subquery: its text, so that messages show what was written.
pub(super) fn subquery(query: &ast::Query) -> String {
    format!("({query})")
}

/// At most so many characters of a subquery are shown.
const SHOWN_MAX: usize = 60;

fn shortened(text: &str) -> String {
    match text.char_indices().nth(SHOWN_MAX) {
        Some((end, _)) => format!("{} ...)", &text[..end]),
        None => text.to_owned(),
    }
}

/// An expression, with the columns of `scope`.
pub(super) fn expression(expr: &Expr, scope: &Scope) -> String {
    let text = |expr: &Expr| expression(expr, scope);
    match expr {
        Expr::Alias(alias) => text(&alias.expr),
        Expr::Column(column) => match scope.schema.maybe_index_of_column(column) {
            Some(index) => scope.columns[index].text.clone(),
            None => name(&column.name),
        },
        Expr::Literal(value, _) => literal(value),
        Expr::BinaryExpr(binary) => {
            let side = |side: &Expr| match side {
                Expr::BinaryExpr(inner) if looser(inner.op, binary.op) => format!("({})", text(side)),
                _ => text(side),
            };
            format!("{} {} {}", side(&binary.left), binary.op, side(&binary.right))
        }
        Expr::Like(like) | Expr::SimilarTo(like) => {
            let not = if like.negated { "NOT " } else { "" };
            let operator = match (expr, like.case_insensitive) {
                (Expr::SimilarTo(_), _) => "SIMILAR TO",
                (_, true) => "ILIKE",
                (_, false) => "LIKE",
            };
            format!("{} {not}{operator} {}", text(&like.expr), text(&like.pattern))
        }
        Expr::Not(inner) => format!("NOT {}", operand(inner, scope)),
        Expr::Negative(inner) => format!("-{}", operand(inner, scope)),
        Expr::IsNull(inner) => format!("{} IS NULL", operand(inner, scope)),
        Expr::IsNotNull(inner) => format!("{} IS NOT NULL", operand(inner, scope)),
        Expr::IsTrue(inner) => format!("{} IS TRUE", operand(inner, scope)),
        Expr::IsFalse(inner) => format!("{} IS FALSE", operand(inner, scope)),
        Expr::IsNotTrue(inner) => format!("{} IS NOT TRUE", operand(inner, scope)),
        Expr::IsNotFalse(inner) => format!("{} IS NOT FALSE", operand(inner, scope)),
        Expr::IsUnknown(inner) => format!("{} IS UNKNOWN", operand(inner, scope)),
        Expr::IsNotUnknown(inner) => format!("{} IS NOT UNKNOWN", operand(inner, scope)),
        Expr::Between(between) => {
            let not = if between.negated { "NOT " } else { "" };
            format!("{} {not}BETWEEN {} AND {}", text(&between.expr), text(&between.low), text(&between.high))
        }
        Expr::Case(case) => case_text(case, scope),
        Expr::Cast(cast) => format!("CAST({} AS {})", text(&cast.expr), types::of_field(&cast.field)),
        Expr::TryCast(cast) => {
            format!("TRY_CAST({} AS {})", text(&cast.expr), types::of_field(&cast.field))
        }
        Expr::ScalarFunction(call) if json::of(call).is_some() => access(call, scope),
        Expr::ScalarFunction(call) => format!("{}({})", call.func.name(), list(&call.args, scope)),
        Expr::AggregateFunction(call) => aggregate(call, scope),
        Expr::InList(InList { expr, list: values, negated }) => {
            let not = if *negated { "NOT " } else { "" };
            format!("{} {not}IN ({})", text(expr), list(values, scope))
        }
        other => other.human_display().to_string(),
    }
}

/// `payload -> 'a' ->> 0`
fn access(call: &ScalarFunction, scope: &Scope) -> String {
    let mut parts: Vec<_> = call.args.iter().map(|part| operand(part, scope)).collect();
    let last = parts.pop().unwrap_or_default();
    let arrow = if json::of(call) == Some(json::Json::GetText) { "->>" } else { "->" };
    format!("{} {arrow} {last}", parts.join(" -> "))
}

fn list(exprs: &[Expr], scope: &Scope) -> String {
    exprs.iter().map(|expr| expression(expr, scope)).collect::<Vec<_>>().join(", ")
}

/// An operand of something that binds tighter than any binary operator.
fn operand(expr: &Expr, scope: &Scope) -> String {
    let text = expression(expr, scope);
    if matches!(expr, Expr::BinaryExpr(_)) { format!("({text})") } else { text }
}

/// Whether `inner` needs brackets beside `outer`. More brackets than needed are harmless.
fn looser(inner: Operator, outer: Operator) -> bool {
    inner.precedence() < outer.precedence()
        || (inner.precedence() == outer.precedence() && inner != outer)
        || matches!(outer, Operator::Minus | Operator::Divide | Operator::Modulo) && inner == outer
}

fn literal(value: &ScalarValue) -> String {
    match value {
        value if value.is_null() => "NULL".to_owned(),
        ScalarValue::Utf8(Some(text))
        | ScalarValue::Utf8View(Some(text))
        | ScalarValue::LargeUtf8(Some(text)) => format!("'{}'", text.replace('\'', "''")),
        ScalarValue::IntervalMonthDayNano(Some(interval)) => {
            let mut parts = Vec::new();
            let seconds = interval.nanoseconds as f64 / 1e9;
            let units = [(f64::from(interval.months), "months"), (f64::from(interval.days), "days")];
            for (count, unit) in units.into_iter().chain([(seconds, "seconds")]) {
                if count != 0.0 {
                    parts.push(format!("{count} {unit}"));
                }
            }
            format!("INTERVAL '{}'", if parts.is_empty() { "0 seconds".to_owned() } else { parts.join(" ") })
        }
        value => value.to_string(),
    }
}

fn case_text(case: &Case, scope: &Scope) -> String {
    let mut text = "CASE".to_owned();
    if let Some(operand) = &case.expr {
        text += &format!(" {}", expression(operand, scope));
    }
    for (when, then) in &case.when_then_expr {
        text += &format!(" WHEN {} THEN {}", expression(when, scope), expression(then, scope));
    }
    if let Some(otherwise) = &case.else_expr {
        text += &format!(" ELSE {}", expression(otherwise, scope));
    }
    text + " END"
}

fn aggregate(call: &AggregateFunction, scope: &Scope) -> String {
    let params = &call.params;
    let counts_rows = call.func.name() == "count"
        && matches!(params.args.as_slice(), [Expr::Literal(value, _)] if !value.is_null());
    // Of the expression in WITHIN GROUP the planner makes the first argument.
    let percentile =
        functions::function(call.func.name()).and_then(|it| it.constants_within_group()).is_some();
    let within_group = percentile && !params.order_by.is_empty();
    let given = if within_group { &params.args[1..] } else { &params.args[..] };
    let arguments = if counts_rows { "*".to_owned() } else { list(given, scope) };
    let distinct = if params.distinct { "DISTINCT " } else { "" };
    let mut text = format!("{}({distinct}{arguments}", call.func.name());
    let order: Vec<_> = params.order_by.iter().map(|sort| order(sort, scope)).collect();
    let order = order.join(", ");
    match order.as_str() {
        "" => text.push(')'),
        _ if within_group => text += &format!(") WITHIN GROUP (ORDER BY {order})"),
        _ => text += &format!(" ORDER BY {order})"),
    }
    if params.null_treatment == Some(NullTreatment::IgnoreNulls) {
        text += " IGNORE NULLS";
    }
    if let Some(filter) = &params.filter {
        text += &format!(" FILTER (WHERE {})", expression(filter, scope));
    }
    text
}

fn order(sort: &Sort, scope: &Scope) -> String {
    let direction = if sort.asc { "" } else { " DESC" };
    let nulls = match (sort.asc, sort.nulls_first) {
        (true, true) => " NULLS FIRST",
        (false, false) => " NULLS LAST",
        _ => "",
    };
    format!("{}{direction}{nulls}", expression(&sort.expr, scope))
}

/// The hint for a name that does not exist.
pub(super) fn did_you_mean<'a>(wrong: &str, names: impl Iterator<Item = &'a str>) -> Option<String> {
    let mut names: Vec<&str> = names.collect();
    names.sort_unstable();
    let found = nearest(wrong, &names)?;
    let hint = format!("did you mean `{}`?", name(found));
    let folded = found.to_lowercase() == wrong.to_lowercase();
    Some(if folded { format!("{hint} Names without quotes are read in lower case") } else { hint })
}

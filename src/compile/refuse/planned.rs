//! What the planner accepts in an expression and we do not: conversions that would fail, or mislead, per row.

use arrow::datatypes::DataType;
use datafusion_common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion_common::{DFSchema, ScalarValue};
use datafusion_expr::expr::Case;
use datafusion_expr::{Expr, Operator};

use crate::compile::distinct::incomparable;
use crate::compile::expression::{Scope, columns_span, is_json, type_of};
use crate::compile::function::{compares, interval};
use crate::compile::problem::Problem;
use crate::compile::{text, types};

/// Checks an expression as it was written.
pub(in crate::compile) fn check(expr: &Expr, scope: &Scope) -> Result<(), Problem> {
    let mut found = None;
    let _ = expr.apply(|expr| {
        if let Err(problem) = node(expr, scope) {
            found = Some(problem.near(columns_span(expr)));
            return Ok(TreeNodeRecursion::Stop);
        }
        Ok(TreeNodeRecursion::Continue)
    });
    found.map_or(Ok(()), Err)
}

fn node(expr: &Expr, scope: &Scope) -> Result<(), Problem> {
    match expr {
        Expr::BinaryExpr(binary) if compares(binary.op) => comparable(&binary.left, &binary.right, scope),
        Expr::BinaryExpr(binary) if matches!(binary.op, Operator::Divide | Operator::Modulo) => {
            divided(&binary.left, &binary.right, scope)
        }
        Expr::BinaryExpr(binary) if matches!(binary.op, Operator::Plus | Operator::Minus) => {
            whole_days(&binary.left, &binary.right, scope)
        }
        Expr::Literal(ScalarValue::Float64(Some(value)), _) if !value.is_finite() => {
            Err(Problem::new("the number is too large for a DOUBLE").hint("the largest is about 1.8e308"))
        }
        Expr::Not(inner) => boolean("NOT", inner, scope),
        Expr::InList(list) => list.list.iter().try_for_each(|value| comparable(&list.expr, value, scope)),
        Expr::Between(between) => {
            comparable(&between.expr, &between.low, scope)?;
            comparable(&between.expr, &between.high, scope)
        }
        Expr::Case(case) => branches(case, scope),
        Expr::Cast(cast) => conversion(&cast.expr, cast.field.data_type(), scope),
        Expr::TryCast(cast) => conversion(&cast.expr, cast.field.data_type(), scope),
        Expr::ScalarFunction(call) => super::function::call(call, scope),
        Expr::AggregateFunction(call) => {
            Err(Problem::new(format!("`{}()` cannot be used here", call.func.name()))
                .hint("aggregates belong into the SELECT list or HAVING of a query with GROUP BY"))
        }
        Expr::WindowFunction(_) => Err(Problem::new("window functions (OVER) are not supported yet")),
        Expr::Exists(_) | Expr::InSubquery(_) | Expr::SetComparison(_) | Expr::ScalarSubquery(_) => {
            Err(Problem::new("subqueries in expressions are not supported yet"))
        }
        Expr::Alias(_) | Expr::Column(_) | Expr::Literal(..) | Expr::BinaryExpr(_) | Expr::Like(_) => Ok(()),
        Expr::SimilarTo(_) => {
            Err(Problem::new("SIMILAR TO is not supported yet")
                .hint("use LIKE, or regexp_like(text, 'pattern')"))
        }
        Expr::Negative(_) => Ok(()),
        Expr::IsNotNull(_) | Expr::IsNull(_) | Expr::IsTrue(_) | Expr::IsFalse(_) => Ok(()),
        Expr::IsUnknown(_) | Expr::IsNotTrue(_) | Expr::IsNotFalse(_) | Expr::IsNotUnknown(_) => Ok(()),
        other => Err(Problem::new(format!("`{}` is not supported yet", other.human_display()))),
    }
}

/// The planner would take numbers and texts for BOOLEAN as well.
fn boolean(place: &str, expr: &Expr, scope: &Scope) -> Result<(), Problem> {
    match type_of(expr, scope.schema) {
        Some(found) if !matches!(found, DataType::Boolean | DataType::Null) => {
            let (text, found) = (text::expression(expr, scope), types::name(&found));
            let problem = Problem::new(format!("{place} needs a BOOLEAN, but `{text}` is {found}"));
            Err(problem.hint("compare it with something").or_at(columns_span(expr)))
        }
        _ => Ok(()),
    }
}

/// JSON would be compared as it was received; beyond that, the planner would convert the text of every row to a
/// number (or time), which fails on the first other text.
pub(super) fn comparable(left: &Expr, right: &Expr, scope: &Scope) -> Result<(), Problem> {
    if let Some(json) = [left, right].into_iter().find(|side| is_json(side, scope)) {
        return Err(incomparable(&text::expression(json, scope)));
    }
    let (Some(left_type), Some(right_type)) = (type_of(left, scope.schema), type_of(right, scope.schema))
    else {
        return Ok(());
    };
    if !interval::comparable((left, &left_type), (right, &right_type)) {
        return Err(Problem::new(
            "intervals of days and hours, or of months, have no order among each other",
        )
        .hint("compare a difference of times with a constant: a - b > INTERVAL '2 days'"));
    }
    let (text_side, other, other_type) = match (types::is_text(&left_type), types::is_text(&right_type)) {
        (true, false) => (left, right, right_type),
        (false, true) => (right, left, left_type),
        _ => return Ok(()),
    };
    // A constant text is converted once, here.
    if matches!(text_side, Expr::Literal(..)) || other_type == DataType::Null {
        return Ok(());
    }
    let (name, value) = (text::expression(text_side, scope), text::expression(other, scope));
    let kind = types::name(&other_type);
    let hint = match other {
        Expr::Literal(..) => format!("write '{}', or CAST({name} AS {kind})", value.trim_matches('\'')),
        _ => format!("write CAST({name} AS {kind}), or CAST({value} AS TEXT)"),
    };
    Err(Problem::new(format!("`{name}` is TEXT and `{value}` is {kind}: they cannot be compared")).hint(hint))
}

/// A DATE and hours would be the DATE again. Of an interval that is computed nobody knows whether it has hours.
fn whole_days(left: &Expr, right: &Expr, scope: &Scope) -> Result<(), Problem> {
    let is_date = |expr: &Expr| type_of(expr, scope.schema) == Some(DataType::Date32);
    let is_length = |expr: &Expr| {
        let found = type_of(expr, scope.schema);
        matches!(found, Some(DataType::Interval(_) | DataType::Duration(_)))
    };
    let (date, length) = if is_date(left) { (left, right) } else { (right, left) };
    if !is_date(date) || !is_length(length) || has_no_hours(length) {
        return Ok(());
    }
    let (date, length) = (text::expression(date, scope), text::expression(length, scope));
    let problem = Problem::new(format!("`{date}` is a DATE, which has no hours to add `{length}` to"));
    Err(problem.hint(format!("write CAST({date} AS TIMESTAMP)")))
}

/// Whether an interval is written as months and days.
fn has_no_hours(expr: &Expr) -> bool {
    match expr {
        Expr::Literal(ScalarValue::IntervalMonthDayNano(interval), _) => {
            interval.is_none_or(|interval| interval.nanoseconds == 0)
        }
        Expr::Negative(inner) => has_no_hours(inner),
        Expr::BinaryExpr(binary) if matches!(binary.op, Operator::Plus | Operator::Minus) => {
            has_no_hours(&binary.left) && has_no_hours(&binary.right)
        }
        Expr::Case(case) => {
            let results = case.when_then_expr.iter().map(|(_, then)| then).chain(&case.else_expr);
            let is_null = |expr: &Expr| matches!(expr, Expr::Literal(value, _) if value.is_null());
            results.into_iter().all(|result| is_null(result) || has_no_hours(result))
        }
        _ => false,
    }
}

fn divided(dividend: &Expr, divisor: &Expr, scope: &Scope) -> Result<(), Problem> {
    let zero = matches!(divisor, Expr::Literal(ScalarValue::Int64(Some(0)), _));
    let fails = zero && type_of(dividend, scope.schema).is_some_and(|dividend| dividend.is_integer());
    if fails { Err(Problem::new("division by zero").hint("divide by nullif(..., 0)")) } else { Ok(()) }
}

fn branches(case: &Case, scope: &Scope) -> Result<(), Problem> {
    for (when, _) in &case.when_then_expr {
        match &case.expr {
            Some(operand) => comparable(operand, when, scope)?,
            None => boolean("WHEN", when, scope)?,
        }
    }
    let results = case.when_then_expr.iter().map(|(_, then)| &**then).chain(case.else_expr.as_deref());
    one_kind(&results.collect::<Vec<_>>(), scope)
}

/// The results of CASE: the planner would make TEXT of a number beside a text.
fn one_kind(results: &[&Expr], scope: &Scope) -> Result<(), Problem> {
    let typed = results.iter().filter_map(|result| Some((*result, type_of(result, scope.schema)?)));
    let typed: Vec<_> = typed.filter(|(_, found)| *found != DataType::Null).collect();
    let text = typed.iter().find(|(_, found)| types::is_text(found));
    let other = typed.iter().find(|(_, found)| !types::is_text(found));
    let (Some((text_side, _)), Some((other, found))) = (text, other) else { return Ok(()) };
    let constants = typed.iter().filter(|(_, found)| types::is_text(found));
    let mut constants = constants.map(|(result, _)| matches!(result, Expr::Literal(..)));
    if found.is_temporal() && constants.all(|constant| constant) {
        return Ok(());
    }
    let (text, value) = (text::expression(text_side, scope), text::expression(other, scope));
    let message =
        format!("CASE gives TEXT, `{text}`, in one branch and {}, `{value}`, in another", types::name(found));
    Err(Problem::new(message).hint(format!("write CAST({value} AS TEXT), or a value of the same type")))
}

/// Conversions between numbers and times leave open which unit is meant.
fn conversion(inner: &Expr, target: &DataType, scope: &Scope) -> Result<(), Problem> {
    let Some(source) = type_of(inner, scope.schema) else { return Ok(()) };
    match (&source, target) {
        (source, DataType::Date32 | DataType::Date64) if source.is_numeric() => Err(Problem::new(
            "a number becomes no DATE without a unit",
        )
        .hint("use DATE '1970-01-01' + n for days, CAST(to_timestamp_millis(n) AS DATE) for milliseconds")),
        (DataType::Date32 | DataType::Date64, target) if target.is_numeric() => {
            Err(Problem::new("a DATE becomes no number without a unit")
                .hint("use d - DATE '1970-01-01', which gives days"))
        }
        (source, DataType::Timestamp(..)) if source.is_numeric() => {
            Err(Problem::new("a number becomes no TIMESTAMP without a unit")
                .hint("use to_timestamp_millis(...) or to_timestamp_seconds(...)"))
        }
        (DataType::Timestamp(..), target) if target.is_numeric() => {
            Err(Problem::new("a TIMESTAMP becomes no number without a unit")
                .hint("use extract(epoch FROM ...), which gives seconds"))
        }
        _ => Ok(()),
    }
}

/// Checks what coercion has made of an expression: it must not have added conversions from text.
pub(in crate::compile) fn check_coerced(
    written: &Expr,
    coerced: &Expr,
    schema: &DFSchema,
) -> Result<(), Problem> {
    let (before, after) = (conversions(written, schema), conversions(coerced, schema));
    if after.to_times > before.to_times {
        return Err(Problem::new("a number is used where a time is needed")
            .hint("use DATE '2024-02-29', TIMESTAMP '...', or to_timestamp_millis(...)"));
    }
    if after.of_texts > before.of_texts {
        return Err(Problem::new("TEXT is used where a number, a time or a BOOLEAN is needed")
            .hint("convert it with CAST(... AS ...)"));
    }
    Ok(())
}

#[derive(Default)]
struct Conversions {
    /// Of texts that are not constant.
    of_texts: usize,
    /// Of numbers to times.
    to_times: usize,
}

fn conversions(expr: &Expr, schema: &DFSchema) -> Conversions {
    let mut count = Conversions::default();
    let _ = expr.apply(|expr| {
        if let Expr::Cast(cast) = expr
            && let Some(source) = type_of(&cast.expr, schema)
        {
            let target = cast.field.data_type();
            let constant = matches!(*cast.expr, Expr::Literal(..));
            let bytes = matches!(target, DataType::Binary | DataType::BinaryView | DataType::LargeBinary);
            let from_text = types::is_text(&source) && !types::is_text(target) && !bytes && !constant;
            let is_time = matches!(target, DataType::Timestamp(..) | DataType::Date32 | DataType::Date64);
            let to_time = source.is_numeric() && is_time;
            count.of_texts += usize::from(from_text);
            count.to_times += usize::from(to_time);
        }
        Ok(TreeNodeRecursion::Continue)
    });
    count
}

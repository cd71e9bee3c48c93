//! What the planner accepts in an expression and we do not: conversions that would fail, or mislead, per row.

use arrow::datatypes::DataType;
use datafusion_common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion_common::{DFSchema, ScalarValue};
use datafusion_expr::{Expr, Operator, Volatility};

use crate::compile::distinct::incomparable;
use crate::compile::expression::{Scope, columns_span, is_json, type_of};
use crate::compile::function::json::{self, Json};
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
        Expr::BinaryExpr(binary) if is_comparison(binary.op) => {
            comparable(&binary.left, &binary.right, scope)
        }
        Expr::BinaryExpr(binary) if matches!(binary.op, Operator::Divide | Operator::Modulo) => {
            let zero = matches!(*binary.right, Expr::Literal(ScalarValue::Int64(Some(0)), _));
            let fails = zero && type_of(&binary.left, scope.schema).is_some_and(|left| left.is_integer());
            if fails {
                Err(Problem::new("division by zero").hint("divide by nullif(..., 0)"))
            } else {
                Ok(())
            }
        }
        Expr::Literal(ScalarValue::Float64(Some(value)), _) if !value.is_finite() => {
            Err(Problem::new("the number is too large for a DOUBLE"))
        }
        Expr::Not(inner) => boolean("NOT", inner, scope),
        Expr::InList(list) => list.list.iter().try_for_each(|value| comparable(&list.expr, value, scope)),
        Expr::Between(between) => {
            comparable(&between.expr, &between.low, scope)?;
            comparable(&between.expr, &between.high, scope)
        }
        Expr::Case(case) if case.expr.is_none() => {
            case.when_then_expr.iter().try_for_each(|(when, _)| boolean("WHEN", when, scope))
        }
        Expr::Cast(cast) => conversion(&cast.expr, cast.field.data_type(), scope),
        Expr::TryCast(cast) => conversion(&cast.expr, cast.field.data_type(), scope),
        Expr::ScalarFunction(call) if matches!(json::of(call), Some(Json::Get | Json::GetText)) => {
            match call.args.first() {
                Some(document) if !is_json(document, scope) => {
                    let text = text::expression(document, scope);
                    let found = type_of(document, scope.schema).map(|found| types::name(&found));
                    let found = found.unwrap_or_else(|| "something else".to_owned());
                    let problem = Problem::new(format!("`->` and `->>` need JSON, but `{text}` is {found}"));
                    Err(problem.hint(format!("write CAST({text} AS JSON)")))
                }
                _ => Ok(()),
            }
        }
        Expr::ScalarFunction(call) => {
            let name = call.func.name();
            if name == "now" || call.func.signature().volatility == Volatility::Immutable {
                return Ok(());
            }
            let message = format!("`{name}()` gives other results when rows are read again");
            Err(Problem::new(message).hint("only now() is supported, in the SELECT list"))
        }
        Expr::AggregateFunction(call) => {
            Err(Problem::new(format!("`{}()` cannot be used here", call.func.name()))
                .hint("aggregates belong into the SELECT list or HAVING of a query with GROUP BY"))
        }
        Expr::WindowFunction(_) => Err(Problem::new("window functions (OVER) are not supported yet")),
        Expr::Exists(_) | Expr::InSubquery(_) | Expr::SetComparison(_) | Expr::ScalarSubquery(_) => {
            Err(Problem::new("subqueries in expressions are not supported yet"))
        }
        Expr::Alias(_) | Expr::Column(_) | Expr::Literal(..) | Expr::BinaryExpr(_) | Expr::Like(_) => Ok(()),
        Expr::SimilarTo(_) | Expr::Negative(_) | Expr::Case(_) => Ok(()),
        Expr::IsNotNull(_) | Expr::IsNull(_) | Expr::IsTrue(_) | Expr::IsFalse(_) => Ok(()),
        Expr::IsUnknown(_) | Expr::IsNotTrue(_) | Expr::IsNotFalse(_) | Expr::IsNotUnknown(_) => Ok(()),
        other => Err(Problem::new(format!("`{}` is not supported yet", other.human_display()))),
    }
}

fn is_comparison(operator: Operator) -> bool {
    use Operator as O;
    matches!(operator, O::Eq | O::NotEq | O::Lt | O::LtEq | O::Gt | O::GtEq)
        || matches!(operator, O::IsDistinctFrom | O::IsNotDistinctFrom)
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

/// Text would be compared as it was received; beyond that, the planner would convert the text of every row to a number (or time), which fails on the first other text.
fn comparable(left: &Expr, right: &Expr, scope: &Scope) -> Result<(), Problem> {
    if let Some(json) = [left, right].into_iter().find(|side| is_json(side, scope)) {
        return Err(incomparable(&text::expression(json, scope)));
    }
    let (Some(left_type), Some(right_type)) = (type_of(left, scope.schema), type_of(right, scope.schema))
    else {
        return Ok(());
    };
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
    if conversions(coerced, schema) <= conversions(written, schema) {
        return Ok(());
    }
    Err(Problem::new("TEXT is used where a number, a time or a BOOLEAN is needed")
        .hint("convert it with CAST(... AS ...)"))
}

/// Number of conversions of texts that are not constant, and of numbers to times.
fn conversions(expr: &Expr, schema: &DFSchema) -> usize {
    let mut count = 0;
    let _ = expr.apply(|expr| {
        if let Expr::Cast(cast) = expr
            && !matches!(*cast.expr, Expr::Literal(..))
            && let Some(source) = type_of(&cast.expr, schema)
        {
            let target = cast.field.data_type();
            let from_text = types::is_text(&source) && !types::is_text(target);
            let to_time = source.is_numeric() && matches!(target, DataType::Timestamp(..));
            count += usize::from(from_text || to_time);
        }
        Ok(TreeNodeRecursion::Continue)
    });
    count
}

//! Lengths of time in comparisons.
//!
//! The library compares intervals by months, then days, then nanoseconds, so that a difference of 100 hours is
//! less than `INTERVAL '1 day'`. A difference of times is a number of nanoseconds; the interval beside it
//! becomes one as well. Other comparisons of intervals are refused.

use arrow::datatypes::{DataType, TimeUnit};
use datafusion_common::tree_node::Transformed;
use datafusion_common::{DFSchema, Result, ScalarValue};
use datafusion_expr::expr::{Between, InList};
use datafusion_expr::{BinaryExpr, Expr, ExprSchemable};

const NANOS_PER_DAY: i64 = 86_400_000_000_000;

/// Whether two expressions can be compared as far as intervals are concerned.
pub(in crate::compile) fn comparable(left: (&Expr, &DataType), right: (&Expr, &DataType)) -> bool {
    use DataType::{Duration, Interval, Null};
    match (left.1, right.1) {
        (Duration(unit), Interval(_)) => duration(right.0, *unit).is_some(),
        (Interval(_), Duration(unit)) => duration(left.0, *unit).is_some(),
        (Interval(_), other) | (other, Interval(_)) => *other == Null,
        _ => true,
    }
}

/// Puts durations in the place of intervals that are compared with durations.
pub(in crate::compile) fn as_durations(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    Ok(match expr {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) if super::compares(op) => {
            let (left, right) = (beside(*left, &right, schema)?, right);
            let right = beside(*right, &left, schema)?;
            Transformed::yes(Expr::BinaryExpr(BinaryExpr::new(Box::new(left), op, Box::new(right))))
        }
        Expr::Between(Between { expr, negated, low, high }) => {
            let low = Box::new(beside(*low, &expr, schema)?);
            let high = Box::new(beside(*high, &expr, schema)?);
            Transformed::yes(Expr::Between(Between { expr, negated, low, high }))
        }
        Expr::InList(InList { expr, list, negated }) => {
            let list = list.into_iter().map(|item| beside(item, &expr, schema)).collect::<Result<_>>()?;
            Transformed::yes(Expr::InList(InList { expr, list, negated }))
        }
        other => Transformed::no(other),
    })
}

/// `expr`, as a duration if `other` is one.
fn beside(expr: Expr, other: &Expr, schema: &DFSchema) -> Result<Expr> {
    Ok(match other.get_type(schema)? {
        DataType::Duration(unit) => duration(&expr, unit).unwrap_or(expr),
        _ => expr,
    })
}

/// A constant interval without months, as a duration.
fn duration(expr: &Expr, unit: TimeUnit) -> Option<Expr> {
    let Expr::Literal(ScalarValue::IntervalMonthDayNano(Some(interval)), metadata) = expr else {
        return None;
    };
    if interval.months != 0 {
        return None;
    }
    let nanos = i64::from(interval.days).checked_mul(NANOS_PER_DAY)?.checked_add(interval.nanoseconds)?;
    let value = match unit {
        TimeUnit::Nanosecond => ScalarValue::DurationNanosecond(Some(nanos)),
        TimeUnit::Microsecond if nanos % 1_000 == 0 => ScalarValue::DurationMicrosecond(Some(nanos / 1_000)),
        TimeUnit::Millisecond if nanos % 1_000_000 == 0 => {
            ScalarValue::DurationMillisecond(Some(nanos / 1_000_000))
        }
        TimeUnit::Second if nanos % 1_000_000_000 == 0 => {
            ScalarValue::DurationSecond(Some(nanos / 1_000_000_000))
        }
        _ => return None,
    };
    Some(Expr::Literal(value, metadata.clone()))
}

//! Constant INTERVALs of a fixed length.

use datafusion_common::ScalarValue;
use datafusion_expr::Expr;
use datafusion_sql::sqlparser::tokenizer::Span;

use super::diagnostic::Diagnostic;

const DAY_NS: i64 = 86_400_000_000_000;

/// Nanoseconds of a constant interval, which may be negative; `None` if it is none.
pub(super) fn constant(planned: &Expr, span: Span) -> Result<Option<i64>, Diagnostic> {
    let Expr::Literal(ScalarValue::IntervalMonthDayNano(Some(interval)), _) = planned else {
        return Ok(None);
    };
    if interval.months != 0 {
        let message = "months and years have no fixed length";
        return Err(Diagnostic::new(span, message).hint("use days, hours, minutes or seconds"));
    }
    let days = i64::from(interval.days).checked_mul(DAY_NS);
    match days.and_then(|days| days.checked_add(interval.nanoseconds)) {
        Some(total) => Ok(Some(total)),
        None => Err(Diagnostic::new(span, "the interval is too long").hint("write a shorter one")),
    }
}

//! Functions of the library that are right for all rows but some, and what stands in their place.

use arrow::datatypes::{DataType, TimeUnit};
use datafusion_common::tree_node::Transformed;
use datafusion_common::{DFSchema, Result, ScalarValue};
use datafusion_expr::expr::{Cast, ScalarFunction};
use datafusion_expr::{Expr, ExprSchemable, lit, when};

/// First and last day that a TIMESTAMP can begin, as days since 1970: 1677-09-22 and 2262-04-11.
pub(super) const DAYS: (i32, i32) = (-106_751, 106_751);

/// A call, corrected; `true` if anything was.
pub(in crate::compile) fn call(mut call: ScalarFunction, schema: &DFSchema) -> Result<(Expr, bool)> {
    match call.func.name() {
        // Counts 0 in a text that is NULL.
        "regexp_count" => {
            let nulls = call.args.iter().map(|argument| argument.clone().is_null());
            let Some(is_null) = nulls.reduce(Expr::or) else {
                return Ok((Expr::ScalarFunction(call), false));
            };
            let counted =
                when(is_null, lit(ScalarValue::Int64(None))).otherwise(Expr::ScalarFunction(call))?;
            Ok((counted, true))
        }
        // Rounds times before 1970 up.
        "to_unixtime" => {
            let is_time = match call.args.first() {
                Some(argument) => matches!(argument.get_type(schema)?, DataType::Timestamp(..)),
                None => false,
            };
            if is_time {
                let args = vec![lit("second"), call.args[0].clone()];
                let function = datafusion_functions::datetime::date_trunc();
                call.args[0] = Expr::ScalarFunction(ScalarFunction::new_udf(function, args));
            }
            Ok((Expr::ScalarFunction(call), is_time))
        }
        _ => Ok((Expr::ScalarFunction(call), false)),
    }
}

/// `TRY_CAST` of a DATE to TIMESTAMP, which fails beyond the range instead of giving NULL.
pub(in crate::compile) fn try_cast(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let Expr::TryCast(cast) = expr else { return Ok(Transformed::no(expr)) };
    let to_time = *cast.field.data_type() == DataType::Timestamp(TimeUnit::Nanosecond, None);
    if !to_time || cast.expr.get_type(schema)? != DataType::Date32 {
        return Ok(Transformed::no(Expr::TryCast(cast)));
    }
    let day = |day: i32| lit(ScalarValue::Date32(Some(day)));
    let in_range = cast.expr.clone().between(day(DAYS.0), day(DAYS.1));
    let time = Expr::Cast(Cast::new(cast.expr, cast.field.data_type().clone()));
    Ok(Transformed::yes(when(in_range, time).end()?))
}

//! What is compared with something of another type, where the library would fail on rows, or refuse.
//!
//! It makes a TIMESTAMP of a DATE that is compared with one, which no DATE beyond the years 1677 to 2262 can
//! become; both become numbers of nanoseconds that have a place for every DATE. And it knows no constant text
//! beside a BOOLEAN.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Decimal128Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Decimal128Type, Int64Type, TimeUnit};
use datafusion_common::tree_node::Transformed;
use datafusion_common::{DFSchema, Result, ScalarValue, exec_err};
use datafusion_expr::expr::{Between, Case, Cast, InList, ScalarFunction};
use datafusion_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr};
use datafusion_expr::{
    BinaryExpr, ColumnarValue, Expr, ExprSchemable, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};
use datafusion_sql::sqlparser::ast::BinaryOperator;

use super::correct::DAYS;
use crate::compile::types;

const INSTANT: DataType = DataType::Decimal128(38, 0);

/// The nanoseconds since 1970 of a DATE or TIMESTAMP.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Instant(Signature);

/// Puts comparable values in the place of those that an expression compares.
pub(in crate::compile) fn alike(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let sides = sides(&expr);
    let found = sides.iter().map(|side| side.get_type(schema)).collect::<Result<Vec<_>>>()?;
    let change = if are_instants(&sides, &found) {
        instant
    } else if found.contains(&DataType::Boolean) && sides.iter().any(|side| is_text(side)) {
        truth
    } else {
        return Ok(Transformed::no(expr));
    };
    changed(expr, |side| change(side, schema)).map(Transformed::yes)
}

/// Makes the BOOLEAN of a constant text that the planner would refuse beside one.
#[derive(Debug)]
pub(in crate::compile) struct Truths;

impl ExprPlanner for Truths {
    fn plan_binary_op(&self, expr: RawBinaryExpr, schema: &DFSchema) -> Result<PlannerResult<RawBinaryExpr>> {
        use BinaryOperator as O;
        let RawBinaryExpr { op, left, right } = expr;
        let compares = matches!(op, O::Eq | O::NotEq | O::Lt | O::LtEq | O::Gt | O::GtEq);
        let is_truth = |expr: &Expr| expr.get_type(schema).is_ok_and(|found| found == DataType::Boolean);
        let (left, right) = match compares {
            true if is_text(&left) && is_truth(&right) => (truth(left, schema)?, right),
            true if is_text(&right) && is_truth(&left) => (left, truth(right, schema)?),
            _ => (left, right),
        };
        Ok(PlannerResult::Original(RawBinaryExpr { op, left, right }))
    }
}

/// A constant text as the BOOLEAN that it is compared with; everything else as it is.
fn truth(expr: Expr, _: &DFSchema) -> Result<Expr> {
    let Expr::Literal(value, metadata) = &expr else { return Ok(expr) };
    if !is_text(&expr) {
        return Ok(expr);
    }
    Ok(match value.cast_to(&DataType::Boolean) {
        Ok(value) if !value.is_null() => Expr::Literal(value, metadata.clone()),
        // Says what is wrong with the text when it is compiled.
        _ => Expr::Cast(Cast::new(Box::new(expr), DataType::Boolean)),
    })
}

/// Whether an expression is a constant text.
fn is_text(expr: &Expr) -> bool {
    matches!(expr, Expr::Literal(value, _) if types::is_text(&value.data_type()))
}

/// What an expression compares with each other.
fn sides(expr: &Expr) -> Vec<&Expr> {
    match expr {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) if super::compares(*op) => vec![left, right],
        Expr::Between(Between { expr, low, high, .. }) => vec![expr, low, high],
        Expr::InList(InList { expr, list, .. }) => [expr.as_ref()].into_iter().chain(list).collect(),
        Expr::Case(Case { expr: Some(operand), when_then_expr, .. }) => {
            let whens = when_then_expr.iter().map(|(when, _)| when.as_ref());
            [operand.as_ref()].into_iter().chain(whens).collect()
        }
        _ => Vec::new(),
    }
}

fn changed(expr: Expr, change: impl Fn(Expr) -> Result<Expr>) -> Result<Expr> {
    let boxed = |expr: Box<Expr>| change(*expr).map(Box::new);
    Ok(match expr {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
            Expr::BinaryExpr(BinaryExpr { left: boxed(left)?, op, right: boxed(right)? })
        }
        Expr::Between(Between { expr, negated, low, high }) => {
            Expr::Between(Between { expr: boxed(expr)?, negated, low: boxed(low)?, high: boxed(high)? })
        }
        Expr::InList(InList { expr, list, negated }) => {
            let list = list.into_iter().map(&change).collect::<Result<_>>()?;
            Expr::InList(InList { expr: boxed(expr)?, list, negated })
        }
        Expr::Case(Case { expr: Some(operand), when_then_expr, else_expr }) => {
            let cases = when_then_expr.into_iter().map(|(when, then)| Ok((boxed(when)?, then)));
            let when_then_expr = cases.collect::<Result<_>>()?;
            Expr::Case(Case { expr: Some(boxed(operand)?), when_then_expr, else_expr })
        }
        other => other,
    })
}

/// Whether days that need not be a TIMESTAMP stand beside times, and nothing else does.
fn are_instants(sides: &[&Expr], found: &[DataType]) -> bool {
    let is_time = |found: &DataType| matches!(found, DataType::Timestamp(_, None));
    let typed = || sides.iter().zip(found);
    let known = |(side, found): (&&Expr, &DataType)| {
        matches!(found, DataType::Date32 | DataType::Null) || is_time(found) || is_text(side)
    };
    let any_day =
        |(side, found): (&&Expr, &DataType)| *found == DataType::Date32 && !is_constant_in_range(side);
    found.iter().any(is_time) && typed().any(any_day) && typed().all(known)
}

/// Whether an expression is a day that is a TIMESTAMP: then comparing is left to the library, which is faster.
fn is_constant_in_range(expr: &Expr) -> bool {
    let value = match expr {
        Expr::Literal(value, _) => value,
        Expr::Cast(Cast { expr, .. }) => match expr.as_ref() {
            Expr::Literal(value, _) => value,
            _ => return false,
        },
        _ => return false,
    };
    let day = value.cast_to(&DataType::Date32);
    matches!(day, Ok(ScalarValue::Date32(Some(day))) if (DAYS.0..=DAYS.1).contains(&day))
}

fn instant(expr: Expr, schema: &DFSchema) -> Result<Expr> {
    let argument = match expr.get_type(schema)? {
        DataType::Null => return Ok(expr),
        _ if is_text(&expr) => Expr::Cast(Cast::new(Box::new(expr), types::TIMESTAMP)),
        _ => expr,
    };
    let function = Instant(Signature::any(1, Volatility::Immutable));
    let function = Arc::new(ScalarUDF::new_from_impl(function));
    Ok(Expr::ScalarFunction(ScalarFunction::new_udf(function, vec![argument])))
}

impl ScalarUDFImpl for Instant {
    fn name(&self) -> &str {
        "instant"
    }

    fn signature(&self) -> &Signature {
        &self.0
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(INSTANT)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let scalar = matches!(args.args[0], ColumnarValue::Scalar(_));
        let values = args.args[0].to_array(if scalar { 1 } else { args.number_rows })?;
        let instants: ArrayRef = Arc::new(instants(&values)?);
        Ok(if scalar {
            ColumnarValue::Scalar(ScalarValue::try_from_array(&instants, 0)?)
        } else {
            ColumnarValue::Array(instants)
        })
    }
}

/// 64 bits of any unit have their place in the 38 digits.
fn instants(values: &ArrayRef) -> Result<Decimal128Array> {
    let nanos: i128 = match values.data_type() {
        DataType::Date32 => 86_400_000_000_000,
        DataType::Timestamp(TimeUnit::Second, _) => 1_000_000_000,
        DataType::Timestamp(TimeUnit::Millisecond, _) => 1_000_000,
        DataType::Timestamp(TimeUnit::Microsecond, _) => 1_000,
        DataType::Timestamp(TimeUnit::Nanosecond, _) => 1,
        other => return exec_err!("{other} is no instant"),
    };
    // There is no cast from days to 64 bits.
    let counts = if *values.data_type() == DataType::Date32 {
        cast(values, &DataType::Int32)?
    } else {
        Arc::clone(values)
    };
    let counts = cast(&counts, &DataType::Int64)?;
    let instants =
        counts.as_primitive::<Int64Type>().unary::<_, Decimal128Type>(|count| i128::from(count) * nanos);
    Ok(instants.with_data_type(INSTANT))
}

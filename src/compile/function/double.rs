//! Doubles as SQL has them: -0.0 is 0.0, there is one NaN, and a number that no double holds is no infinity.
//!
//! The library compares doubles bit by bit in a total order, in which -0.0 is less than 0.0, and in which the
//! NaN that 0.0 / 0.0 gives is less than everything and differs from others.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array};
use arrow::compute::{CastOptions, cast, cast_with_options};
use arrow::datatypes::{DataType, Float32Type, Float64Type};
use datafusion_common::cast::{as_float64_array, as_string_array};
use datafusion_common::tree_node::Transformed;
use datafusion_common::{DFSchema, Result, ScalarValue, exec_err};
use datafusion_expr::expr::{Between, Case, InList, ScalarFunction};
use datafusion_expr::{
    BinaryExpr, ColumnarValue, Expr, ExprSchemable, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};
use datafusion_physical_expr::{PhysicalExpr, ScalarFunctionExpr};

use crate::compile::types;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Double {
    /// One of the values that are equal.
    Normal,
    /// `CAST(text AS DOUBLE)`
    FromText,
    /// `TRY_CAST(text AS DOUBLE)`
    TryFromText,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Function {
    double: Double,
    signature: Signature,
}

fn call(double: Double, argument: Expr) -> Expr {
    let signature = Signature::any(1, Volatility::Immutable);
    let function = Arc::new(ScalarUDF::new_from_impl(Function { double, signature }));
    Expr::ScalarFunction(ScalarFunction::new_udf(function, vec![argument]))
}

/// Makes the doubles that an expression compares comparable.
pub(in crate::compile) fn comparable(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let normal = |expr: Expr| normal(expr, schema);
    let boxed = |expr: Box<Expr>| normal(*expr).map(Box::new);
    Ok(match expr {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) if super::compares(op) => {
            Transformed::yes(Expr::BinaryExpr(BinaryExpr { left: boxed(left)?, op, right: boxed(right)? }))
        }
        Expr::Between(Between { expr, negated, low, high }) => Transformed::yes(Expr::Between(Between {
            expr: boxed(expr)?,
            negated,
            low: boxed(low)?,
            high: boxed(high)?,
        })),
        Expr::InList(InList { expr, list, negated }) => {
            let list = list.into_iter().map(normal).collect::<Result<_>>()?;
            Transformed::yes(Expr::InList(InList { expr: boxed(expr)?, list, negated }))
        }
        Expr::Case(Case { expr: Some(operand), when_then_expr, else_expr }) => {
            let cases = when_then_expr.into_iter().map(|(when, then)| Ok((boxed(when)?, then)));
            let when_then_expr = cases.collect::<Result<_>>()?;
            Transformed::yes(Expr::Case(Case { expr: Some(boxed(operand)?), when_then_expr, else_expr }))
        }
        Expr::ScalarFunction(mut call) if matches!(call.func.name(), "nullif" | "greatest" | "least") => {
            call.args = call.args.into_iter().map(normal).collect::<Result<_>>()?;
            Transformed::yes(Expr::ScalarFunction(call))
        }
        other => Transformed::no(other),
    })
}

fn normal(expr: Expr, schema: &DFSchema) -> Result<Expr> {
    Ok(match expr.get_type(schema)? {
        DataType::Float64 | DataType::Float32 => match expr {
            Expr::Literal(ScalarValue::Float64(Some(value)), metadata) => {
                Expr::Literal(ScalarValue::Float64(Some(one_of_equal(value))), metadata)
            }
            other => call(Double::Normal, other),
        },
        _ => expr,
    })
}

/// A function in the place of a cast of text to DOUBLE.
pub(in crate::compile) fn cast_of_text(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let is_ours = |from: &Expr, to: &DataType| -> Result<bool> {
        Ok(*to == DataType::Float64 && types::is_text(&from.get_type(schema)?))
    };
    Ok(match expr {
        Expr::Cast(cast) if is_ours(&cast.expr, cast.field.data_type())? => {
            Transformed::yes(call(Double::FromText, *cast.expr))
        }
        Expr::TryCast(cast) if is_ours(&cast.expr, cast.field.data_type())? => {
            Transformed::yes(call(Double::TryFromText, *cast.expr))
        }
        other => Transformed::no(other),
    })
}

/// Whether an expression is one that makes doubles comparable, which never fails.
pub(in crate::compile) fn is_normal(expr: &Arc<dyn PhysicalExpr>) -> bool {
    let function = expr.downcast_ref::<ScalarFunctionExpr>();
    let function = function.and_then(|call| call.fun().inner().downcast_ref::<Function>());
    function.is_some_and(|function| function.double == Double::Normal)
}

fn one_of_equal(value: f64) -> f64 {
    // Adding 0.0 turns -0.0 into 0.0 and changes nothing else.
    if value.is_nan() { f64::NAN } else { value + 0.0 }
}

impl ScalarUDFImpl for Function {
    fn name(&self) -> &str {
        match self.double {
            Double::Normal => "comparable_double",
            Double::FromText => "double_from_text",
            Double::TryFromText => "try_double_from_text",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        Ok(if self.double == Double::Normal { arguments[0].clone() } else { DataType::Float64 })
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let scalar = matches!(args.args[0], ColumnarValue::Scalar(_));
        let values = args.args[0].to_array(if scalar { 1 } else { args.number_rows })?;
        let result: ArrayRef = match self.double {
            Double::Normal if *values.data_type() == DataType::Float32 => {
                let normal = |value: f32| if value.is_nan() { f32::NAN } else { value + 0.0 };
                Arc::new(values.as_primitive::<Float32Type>().unary::<_, Float32Type>(normal))
            }
            Double::Normal => {
                Arc::new(values.as_primitive::<Float64Type>().unary::<_, Float64Type>(one_of_equal))
            }
            Double::FromText => Arc::new(from_text(&values, false)?),
            Double::TryFromText => Arc::new(from_text(&values, true)?),
        };
        Ok(if scalar {
            ColumnarValue::Scalar(ScalarValue::try_from_array(&result, 0)?)
        } else {
            ColumnarValue::Array(result)
        })
    }
}

/// Reads texts as doubles. What no double can hold is no number, unless it says that it is infinite.
fn from_text(texts: &ArrayRef, safe: bool) -> Result<Float64Array> {
    let texts = cast(texts, &DataType::Utf8)?;
    let options = CastOptions { safe, ..CastOptions::default() };
    let numbers = cast_with_options(&texts, &DataType::Float64, &options)?;
    let (texts, numbers) = (as_string_array(&texts)?, as_float64_array(&numbers)?);
    let too_large = |row: usize| {
        numbers.is_valid(row)
            && numbers.value(row).is_infinite()
            && texts.value(row).bytes().any(|byte| byte.is_ascii_digit())
    };
    match (0..numbers.len()).find(|row| too_large(*row)) {
        None => Ok(numbers.clone()),
        Some(row) if !safe => exec_err!("'{}' is too large for a DOUBLE", texts.value(row)),
        Some(_) => {
            let number = |row: usize| (numbers.is_valid(row) && !too_large(row)).then(|| numbers.value(row));
            Ok((0..numbers.len()).map(number).collect())
        }
    }
}

//! Keeps the library's simplifier away from what it would get wrong.
//!
//! The simplifier folds integer arithmetic over constants with wrapping, and reorders AND and OR. Both are
//! replaced by functions of our own before it runs, and by checked and guarded operators behind it.

use std::sync::Arc;

use arrow::array::{ArrayRef, Datum};
use arrow::compute::kernels::numeric;
use arrow::compute::{and_kleene, or_kleene};
use arrow::datatypes::DataType;
use datafusion_common::cast::as_boolean_array;
use datafusion_common::tree_node::{Transformed, TreeNode};
use datafusion_common::{DFSchema, Result, ScalarValue};
use datafusion_expr::expr::{InList, ScalarFunction};
use datafusion_expr::{
    BinaryExpr, ColumnarValue, Expr, ExprSchemable, Operator, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
    Signature, Volatility,
};
use datafusion_physical_expr::expressions::{BinaryExpr as PhysicalBinary, Column, Literal};
use datafusion_physical_expr::{PhysicalExpr, ScalarFunctionExpr};

use super::function::{correct, double, limit};
use super::guard::{Guarded, constant};

/// An operator in the disguise of a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Protected {
    Add,
    Subtract,
    Multiply,
    Negate,
    And,
    Or,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Function {
    operator: Protected,
    signature: Signature,
}

/// Disguises the operators of a coerced expression.
pub(super) fn disguise(expr: Expr, schema: &DFSchema) -> Result<Expr> {
    let transformed = expr.transform_up(|expr| {
        let expr = match double::comparable(expr, schema)?.data {
            Expr::InList(list) if !list.list.iter().all(|item| matches!(item, Expr::Literal(..))) => {
                return Ok(Transformed::yes(alternatives(list)));
            }
            // Some functions are declared for single precision only, in which not every INT has a place.
            Expr::Cast(mut cast)
                if *cast.field.data_type() == DataType::Float32
                    && cast.expr.get_type(schema)?.is_integer() =>
            {
                cast.field = Arc::new(cast.field.as_ref().clone().with_data_type(DataType::Float64));
                return Ok(Transformed::yes(Expr::Cast(cast)));
            }
            Expr::ScalarFunction(call) => {
                let (call, changed) = limit::limited(call);
                let (expr, corrected) = correct::call(call, schema)?;
                return Ok(if changed || corrected { Transformed::yes(expr) } else { Transformed::no(expr) });
            }
            other => other,
        };
        let operator = match &expr {
            Expr::BinaryExpr(BinaryExpr { left, op, right }) => match op {
                Operator::And => Some(Protected::And),
                Operator::Or => Some(Protected::Or),
                _ if !left.get_type(schema)?.is_integer() || !right.get_type(schema)?.is_integer() => None,
                Operator::Plus => Some(Protected::Add),
                Operator::Minus => Some(Protected::Subtract),
                Operator::Multiply => Some(Protected::Multiply),
                _ => None,
            },
            Expr::Negative(inner) if inner.get_type(schema)?.is_integer() => Some(Protected::Negate),
            _ => None,
        };
        let Some(operator) = operator else { return Ok(Transformed::no(expr)) };
        let args = match expr {
            Expr::BinaryExpr(BinaryExpr { left, right, .. }) => vec![*left, *right],
            Expr::Negative(inner) => vec![*inner],
            other => return Ok(Transformed::no(other)),
        };
        Ok(Transformed::yes(call(operator, args)))
    })?;
    Ok(transformed.data)
}

fn call(operator: Protected, args: Vec<Expr>) -> Expr {
    let signature = Signature::any(args.len(), Volatility::Immutable);
    let function = Arc::new(ScalarUDF::new_from_impl(Function { operator, signature }));
    Expr::ScalarFunction(ScalarFunction::new_udf(function, args))
}

/// `x IN (a, b)` as `x = a OR x = b`. The library takes an item for a constant that gives one on an empty batch,
/// as CASE does, and then compares every row with that.
fn alternatives(InList { expr, list, negated }: InList) -> Expr {
    let (compare, join) = match negated {
        true => (Operator::NotEq, Protected::And),
        false => (Operator::Eq, Protected::Or),
    };
    let compared = list
        .into_iter()
        .map(|item| Expr::BinaryExpr(BinaryExpr { left: expr.clone(), op: compare, right: Box::new(item) }));
    let joined = compared.reduce(|left, right| call(join, vec![left, right]));
    joined.unwrap_or_else(|| Expr::Literal(ScalarValue::Boolean(Some(negated)), None))
}

/// Puts checked and guarded operators in place, and evaluates what is constant: what fails then would fail on
/// every row.
pub(super) fn reveal(expr: Arc<dyn PhysicalExpr>) -> Result<Arc<dyn PhysicalExpr>> {
    let transformed = expr.transform_up(|expr| {
        let operator = operator(&expr);
        let expr: Arc<dyn PhysicalExpr> = match operator {
            Some((and @ (Protected::And | Protected::Or), left, right)) => {
                Arc::new(Guarded::new(left, and == Protected::And, right))
            }
            Some((arithmetic, left, right)) => {
                let operator = match arithmetic {
                    Protected::Add => Operator::Plus,
                    Protected::Subtract => Operator::Minus,
                    _ => Operator::Multiply,
                };
                Arc::new(PhysicalBinary::new(left, operator, right).with_fail_on_overflow(true))
            }
            None => expr,
        };
        let is_leaf = expr.downcast_ref::<Literal>().is_some() || expr.downcast_ref::<Column>().is_some();
        let constants = expr.children().iter().all(|child| child.downcast_ref::<Literal>().is_some());
        if is_leaf || !constants {
            return Ok(Transformed::yes(expr));
        }
        let value: Arc<dyn PhysicalExpr> = Arc::new(Literal::new(constant(&expr)?));
        Ok(Transformed::yes(value))
    })?;
    Ok(transformed.data)
}

type Operands = (Protected, Arc<dyn PhysicalExpr>, Arc<dyn PhysicalExpr>);

/// The operator that a physical expression is, with its two sides, if it has to be replaced.
fn operator(expr: &Arc<dyn PhysicalExpr>) -> Option<Operands> {
    if let Some(binary) = expr.downcast_ref::<PhysicalBinary>() {
        let operator = match binary.op() {
            Operator::And => Protected::And,
            Operator::Or => Protected::Or,
            Operator::Plus => Protected::Add,
            Operator::Minus => Protected::Subtract,
            Operator::Multiply => Protected::Multiply,
            _ => return None,
        };
        return Some((operator, Arc::clone(binary.left()), Arc::clone(binary.right())));
    }
    let call = expr.downcast_ref::<ScalarFunctionExpr>()?;
    let function = call.fun().inner().downcast_ref::<Function>()?;
    match call.args() {
        [left, right] => Some((function.operator, Arc::clone(left), Arc::clone(right))),
        _ => None,
    }
}

impl Protected {
    fn name(self) -> &'static str {
        match self {
            Protected::Add => "checked_add",
            Protected::Subtract => "checked_subtract",
            Protected::Multiply => "checked_multiply",
            Protected::Negate => "checked_negate",
            Protected::And => "guarded_and",
            Protected::Or => "guarded_or",
        }
    }
}

impl ScalarUDFImpl for Function {
    fn name(&self) -> &str {
        self.operator.name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        Ok(match self.operator {
            Protected::And | Protected::Or => DataType::Boolean,
            _ => arguments[0].clone(),
        })
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let scalars = args.args.iter().all(|value| matches!(value, ColumnarValue::Scalar(_)));
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let result = evaluate(self.operator, &arrays)?;
        Ok(if scalars {
            ColumnarValue::Scalar(ScalarValue::try_from_array(&result, 0)?)
        } else {
            ColumnarValue::Array(result)
        })
    }
}

fn evaluate(operator: Protected, arrays: &[ArrayRef]) -> Result<ArrayRef> {
    let left: &dyn Datum = &arrays[0].as_ref();
    let Some(right) = arrays.get(1) else { return Ok(numeric::neg(&arrays[0])?) };
    let right_side: &dyn Datum = &right.as_ref();
    Ok(match operator {
        Protected::Add => numeric::add(left, right_side)?,
        Protected::Subtract => numeric::sub(left, right_side)?,
        Protected::Multiply => numeric::mul(left, right_side)?,
        Protected::Negate => numeric::neg(&arrays[0])?,
        Protected::And => Arc::new(and_kleene(as_boolean_array(&arrays[0])?, as_boolean_array(right)?)?),
        Protected::Or => Arc::new(or_kleene(as_boolean_array(&arrays[0])?, as_boolean_array(right)?)?),
    })
}

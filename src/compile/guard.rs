//! AND and OR that evaluate their right side only on rows that the left side leaves undecided.
//!
//! The library's own operator decides per batch whether it evaluates the right side on all rows, so whether
//! `i <> 0 AND 10 / i > 1` fails would depend on where batches are cut.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::{and_kleene, or_kleene};
use arrow::datatypes::{DataType, Schema};
use datafusion_common::cast::as_boolean_array;
use datafusion_common::{Result, ScalarValue};
use datafusion_expr::{ColumnarValue, Operator};
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_expr::expressions::{
    BinaryExpr, Column, InListExpr, IsNotNullExpr, IsNullExpr, LikeExpr, Literal, NotExpr,
};

use super::function::double;

/// `left AND right` or `left OR right`.
#[derive(Debug, Eq)]
pub(super) struct Guarded {
    left: Arc<dyn PhysicalExpr>,
    and: bool,
    right: Arc<dyn PhysicalExpr>,
    /// Whether the right side can fail on a row. If not, it is cheaper to evaluate it on all of them.
    fallible: bool,
}

// Derived, both of these would want to copy the trait objects or miss that they are compared by content.
impl PartialEq for Guarded {
    fn eq(&self, other: &Self) -> bool {
        self.and == other.and && *self.left == *other.left && *self.right == *other.right
    }
}

impl Hash for Guarded {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.and.hash(state);
        self.left.hash(state);
        self.right.hash(state);
    }
}

impl Guarded {
    pub fn new(left: Arc<dyn PhysicalExpr>, and: bool, right: Arc<dyn PhysicalExpr>) -> Self {
        let fallible = !infallible(&right);
        Guarded { left, and, right, fallible }
    }

    fn combine(&self, left: &BooleanArray, right: &BooleanArray) -> Result<BooleanArray> {
        Ok(if self.and { and_kleene(left, right)? } else { or_kleene(left, right)? })
    }

    /// Rows whose result the left side leaves open: neither FALSE for AND nor TRUE for OR.
    fn undecided(&self, left: &BooleanArray) -> BooleanArray {
        left.iter().map(|value| Some(value != Some(!self.and))).collect()
    }
}

impl PhysicalExpr for Guarded {
    fn data_type(&self, _schema: &Schema) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    fn nullable(&self, schema: &Schema) -> Result<bool> {
        Ok(self.left.nullable(schema)? || self.right.nullable(schema)?)
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        let rows = batch.num_rows();
        let left = self.left.evaluate(batch)?.into_array(rows)?;
        let left = as_boolean_array(&left)?;
        let right = if self.fallible {
            let undecided = self.undecided(left);
            if undecided.true_count() == 0 {
                return Ok(ColumnarValue::Array(Arc::new(left.clone())));
            }
            self.right.evaluate_selection(batch, &undecided)?
        } else {
            self.right.evaluate(batch)?
        };
        // Rows that were not selected are NULL on the right, which leaves the decided left as it is.
        let right = right.into_array(rows)?;
        let combined = self.combine(left, as_boolean_array(&right)?)?;
        Ok(ColumnarValue::Array(Arc::new(combined)))
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![&self.left, &self.right]
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn PhysicalExpr>>,
    ) -> Result<Arc<dyn PhysicalExpr>> {
        Ok(Arc::new(Guarded::new(Arc::clone(&children[0]), self.and, Arc::clone(&children[1]))))
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Guarded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({} {} {})", self.left, if self.and { "AND" } else { "OR" }, self.right)
    }
}

/// Whether no value of any row can make this fail. Only what is cheap and common is known.
pub(super) fn infallible(expr: &Arc<dyn PhysicalExpr>) -> bool {
    use Operator as O;
    let safe = if let Some(binary) = expr.downcast_ref::<BinaryExpr>() {
        matches!(binary.op(), O::Eq | O::NotEq | O::Lt | O::LtEq | O::Gt | O::GtEq | O::And | O::Or)
    } else {
        expr.downcast_ref::<Column>().is_some()
            || expr.downcast_ref::<Literal>().is_some()
            || expr.downcast_ref::<IsNullExpr>().is_some()
            || expr.downcast_ref::<IsNotNullExpr>().is_some()
            || expr.downcast_ref::<NotExpr>().is_some()
            || expr.downcast_ref::<LikeExpr>().is_some()
            || expr.downcast_ref::<InListExpr>().is_some()
            || expr.downcast_ref::<Guarded>().is_some()
            || double::is_normal(expr)
    };
    safe && expr.children().into_iter().all(infallible)
}

/// The constant that an expression without columns has; an error if evaluating it fails.
pub(super) fn constant(expr: &Arc<dyn PhysicalExpr>) -> Result<ScalarValue> {
    let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(1));
    let batch = RecordBatch::try_new_with_options(Arc::new(Schema::empty()), Vec::new(), &options)?;
    match expr.evaluate(&batch)? {
        ColumnarValue::Scalar(value) => Ok(value),
        ColumnarValue::Array(array) => ScalarValue::try_from_array(&array, 0),
    }
}

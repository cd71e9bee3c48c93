//! Functions of our own, behind operators and casts of SQL.

use datafusion_expr::Operator;

pub(super) mod compared;
pub(super) mod correct;
pub(super) mod double;
pub(super) mod interval;
pub(super) mod json;
pub(super) mod lag;
pub(super) mod limit;
pub(super) mod rank;

/// Whether an operator compares its sides.
pub(super) fn compares(operator: Operator) -> bool {
    use Operator as O;
    matches!(operator, O::Eq | O::NotEq | O::Lt | O::LtEq | O::Gt | O::GtEq)
        || matches!(operator, O::IsDistinctFrom | O::IsNotDistinctFrom)
}

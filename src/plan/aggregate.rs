//! Aggregate functions.

use arrow::datatypes::FieldRef;

use super::Expr;

/// One aggregate function of a GROUP BY.
#[derive(Clone, Debug)]
pub struct Aggregate {
    pub function: AggregateFunction,
    /// `None` only for `count(*)`. Of the type that the function works on (sum of INT: cast to BIGINT).
    pub argument: Option<Expr>,
    /// `ORDER BY` of first_value and last_value; ascending.
    pub order_by: Option<Expr>,
    /// `FILTER (WHERE ...)`
    pub filter: Option<Expr>,
    /// Name and type of the result.
    pub field: FieldRef,
    /// As the user wrote it.
    pub text: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AggregateFunction {
    /// Rows, or with an argument the rows in which it is not NULL. BIGINT.
    Count,
    /// BIGINT (128 bits inside, checked at output) or DOUBLE (exact inside, rounded once).
    Sum,
    /// DOUBLE.
    Avg,
    Min,
    Max,
    /// Value of the row with the least order key; NULL is a value, rows with a NULL order key are ignored.
    FirstValue,
    /// Value of the row with the greatest order key; ties go to the higher origin.
    LastValue,
}

impl AggregateFunction {
    /// The aggregate class, as `explain` names it.
    pub fn class(self) -> &'static str {
        match self {
            AggregateFunction::Count | AggregateFunction::Sum | AggregateFunction::Avg => "accumulable",
            _ => "ordered",
        }
    }
}

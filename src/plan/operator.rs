//! The stateful places of a dataflow.

use arrow::datatypes::{FieldRef, SchemaRef};

use super::Expr;

/// A stateful place, by kind. Its name is the identity of its state across changes of the plan:
/// `<view>/<role>`, with a number from the second on where a view has several of one role.
#[derive(Clone, Debug)]
pub enum Operator {
    /// GROUP BY.
    Aggregation(Aggregation),
}

impl Operator {
    /// Identity of the state.
    pub fn name(&self) -> &str {
        match self {
            Operator::Aggregation(aggregation) => &aggregation.name,
        }
    }

    /// What leaves.
    pub fn schema(&self) -> &SchemaRef {
        match self {
            Operator::Aggregation(aggregation) => &aggregation.schema,
        }
    }

    /// Number of inputs.
    pub fn ports(&self) -> u16 {
        match self {
            Operator::Aggregation(_) => 1,
        }
    }
}

/// One GROUP BY without window: keyed state that emits the change of each group once per epoch.
#[derive(Clone, Debug)]
pub struct Aggregation {
    /// `<view>/aggregate`, see [`Operator`].
    pub name: String,
    /// What arrives: rows of this schema.
    pub input: SchemaRef,
    /// Group key, over `input`.
    pub keys: Vec<Expr>,
    pub aggregates: Vec<Aggregate>,
    /// What leaves: the keys, then the aggregates.
    pub schema: SchemaRef,
    /// Whether rows are only ever added to the input.
    pub append_only_input: bool,
}

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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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

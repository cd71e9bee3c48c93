//! The stateful places of a dataflow.

use arrow::datatypes::SchemaRef;

use super::{Aggregate, Expr};

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

    /// Columns by which its rows are known, where it gives the row that replaces another one directly behind it.
    pub fn key(&self) -> Option<Vec<usize>> {
        match self {
            Operator::Aggregation(aggregation) => Some((0..aggregation.keys.len()).collect()),
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
    /// Group key, over `input`. Without any there is one group, which is always there.
    pub keys: Vec<Expr>,
    pub aggregates: Vec<Aggregate>,
    /// What leaves: the keys, then the aggregates.
    pub schema: SchemaRef,
    /// Whether rows are only ever added to the input.
    pub append_only_input: bool,
}

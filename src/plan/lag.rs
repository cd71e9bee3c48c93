//! `lag(x) OVER (PARTITION BY k ORDER BY t)`.

use arrow::datatypes::{FieldRef, SchemaRef};

use super::{Bound, Expr};

/// Rows of an append-only relation in the order of their event time, each with values of rows before it that have
/// the same key.
#[derive(Clone, Debug)]
pub struct Lag {
    /// `<view>/lag`, see [`Operator`](super::Operator).
    pub name: String,
    /// What arrives: the columns that leave, and behind them what else is read.
    pub input: SchemaRef,
    /// PARTITION BY, over `input`. Without any, all rows are in one order.
    pub keys: Vec<Expr>,
    /// ORDER BY: a time attribute.
    pub time: Expr,
    /// The column of `time`, without NULLs.
    pub time_field: FieldRef,
    /// How far event time has come in that column.
    pub bound: Bound,
    /// Whether that column is the end of a window: of those at the bound none comes any more.
    pub at_end: bool,
    pub values: Vec<Before>,
    /// What leaves: the first columns of `input`, then the values.
    pub schema: SchemaRef,
}

/// A value of a row before.
#[derive(Clone, Debug)]
pub struct Before {
    /// What is taken of that row.
    pub value: Expr,
    /// How many rows before.
    pub rows: usize,
    /// IGNORE NULLS: rows in which the value is NULL do not count.
    pub ignore_nulls: bool,
    /// What stands where there is no such row, of the row itself; else NULL.
    pub default: Option<Expr>,
}

impl Lag {
    /// How many columns of the input leave.
    pub fn width(&self) -> usize {
        self.schema.fields().len() - self.values.len()
    }
}

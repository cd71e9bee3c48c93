//! `row_number() OVER (PARTITION BY window_end, k ORDER BY x)`.

use arrow::datatypes::{FieldRef, SchemaRef};

use super::{Bound, Expr, OrderBy};

/// Rows of an append-only relation with their places among those that have the same key, of which one column is
/// event time: when event time has passed it, no row of the key can come any more.
#[derive(Clone, Debug)]
pub struct Rank {
    /// `<view>/rank`, see [`Operator`](super::Operator).
    pub name: String,
    /// What arrives: the columns that leave, and behind them what else is read.
    pub input: SchemaRef,
    /// PARTITION BY, over `input`.
    pub keys: Vec<Expr>,
    /// That of the keys which is a time attribute.
    pub time: Expr,
    /// The column of `time`, without NULLs.
    pub time_field: FieldRef,
    /// How far event time has come in that column.
    pub bound: Bound,
    /// Whether the column is the end of a window: of those at the bound none comes any more.
    pub at_end: bool,
    /// ORDER BY. Of rows that are equal in it the earlier record is the first.
    pub order: Vec<OrderBy>,
    pub numbers: Vec<Number>,
    /// What leaves: the first columns of `input`, then the numbers.
    pub schema: SchemaRef,
}

/// How rows are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Number {
    /// 1, 2, 3, 4: each row has its own.
    RowNumber,
    /// 1, 2, 2, 4: as many as there are in front of it, and one.
    Rank,
    /// 1, 2, 2, 3: as many different ones as there are in front of it, and one.
    DenseRank,
}

impl Number {
    /// All of them.
    pub const ALL: [Number; 3] = [Number::RowNumber, Number::Rank, Number::DenseRank];

    /// The function.
    pub fn name(self) -> &'static str {
        match self {
            Number::RowNumber => "row_number",
            Number::Rank => "rank",
            Number::DenseRank => "dense_rank",
        }
    }

    /// The one of this name.
    pub fn named(name: &str) -> Option<Self> {
        Number::ALL.into_iter().find(|number| number.name() == name)
    }
}

impl Rank {
    /// How many columns of the input leave.
    pub fn width(&self) -> usize {
        self.schema.fields().len() - self.numbers.len()
    }
}

//! Joins of two streams by key and a distance in event time.

use arrow::datatypes::{DataType, SchemaRef};

use super::{Bound, Expr, JoinKind};

/// Rows of two append-only relations that belong together: those whose keys are equal and not NULL, whose
/// times are in a given distance, and for which the condition is true.
#[derive(Clone, Debug)]
pub struct IntervalJoin {
    /// `<view>/join`, see [`Operator`](super::Operator).
    pub name: String,
    pub kind: JoinKind,
    /// Left and right: its ports.
    pub sides: [JoinSide; 2],
    /// Types to which the values of both keys are cast.
    pub key_types: Vec<DataType>,
    /// The least time of a right row minus that of its left row, in nanoseconds.
    pub lower_ns: i64,
    /// The greatest one.
    pub upper_ns: i64,
    /// Over the columns of the left side and, behind them, those of the right side.
    pub condition: Option<Expr>,
    /// Those columns.
    pub pairs: SchemaRef,
    /// What leaves: `pairs`, or for semi and anti joins the columns of the left side.
    pub schema: SchemaRef,
}

/// One input of an [`IntervalJoin`].
#[derive(Clone, Debug)]
pub struct JoinSide {
    pub schema: SchemaRef,
    /// Over `schema`.
    pub keys: Vec<Expr>,
    /// Index of the time attribute in `schema`.
    pub time: usize,
    /// How messages call it.
    pub time_text: String,
    /// How far that has come.
    pub bound: Bound,
}

impl IntervalJoin {
    /// How far the times of a row's partners are from its own, at least and at most, for a row of `side`.
    pub fn reach(&self, side: usize) -> (i128, i128) {
        let (lower, upper) = (i128::from(self.lower_ns), i128::from(self.upper_ns));
        if side == 0 { (lower, upper) } else { (-upper, -lower) }
    }

    /// Whether rows of `side` leave that have no pair.
    pub fn keeps(&self, side: usize) -> bool {
        if side == 0 { self.kind.keeps_left() } else { self.kind.keeps_right() }
    }
}

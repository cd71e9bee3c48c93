//! Aggregate functions.

use arrow::datatypes::FieldRef;

use super::{Expr, First};

/// One aggregate function of a GROUP BY.
#[derive(Clone, Debug)]
pub struct Aggregate {
    pub function: AggregateFunction,
    /// DISTINCT: equal values count once. Only where that makes a difference.
    pub distinct: bool,
    /// `None` only for `count(*)`. Of the type that the function works on (sum of INT: cast to BIGINT).
    pub argument: Option<Expr>,
    /// The second argument of functions of pairs, a DOUBLE: x of `corr(y, x)`.
    pub second: Option<Expr>,
    pub parameter: Option<Parameter>,
    /// `ORDER BY` of first_value, last_value, string_agg and array_agg, the most significant first.
    pub order_by: Vec<OrderBy>,
    /// IGNORE NULLS, of functions for which NULL is a value.
    pub ignore_nulls: bool,
    /// `FILTER (WHERE ...)`
    pub filter: Option<Expr>,
    /// Name and type of the result.
    pub field: FieldRef,
    /// As the user wrote it.
    pub text: String,
}

/// An expression of ORDER BY.
#[derive(Clone, Debug)]
pub struct OrderBy {
    pub expr: Expr,
    pub descending: bool,
    /// Where NULL stands in the order. first_value and last_value ignore rows in which the first expression is
    /// NULL; in the others it loses against every value.
    pub nulls_first: bool,
}

/// What a function has to know besides its argument.
#[derive(Clone, Debug, PartialEq)]
pub enum Parameter {
    /// The values that array_agg puts into its array are JSON themselves.
    Json,
    /// What string_agg puts between two texts.
    Separator(String),
    /// 0 to 1: which value percentile_cont takes.
    Fraction(f64),
    /// Which value it takes of those that are no more standard deviations from the mean.
    Clipped { fraction: f64, sigmas: f64 },
    /// How many rows of a group count; `None`: all.
    First(Option<First>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AggregateFunction {
    /// Rows, or with an argument the rows in which it is not NULL. BIGINT.
    Count,
    /// BIGINT (128 bits inside, checked at output) or DOUBLE (exact inside, rounded once).
    Sum,
    /// DOUBLE, as the following four.
    Avg,
    VarPop,
    VarSamp,
    StddevPop,
    StddevSamp,
    BoolAnd,
    BoolOr,
    /// BIGINT, as the following two.
    BitAnd,
    BitOr,
    BitXor,
    Min,
    Max,
    /// Value of the row with the least order key; NULL is a value, rows with a NULL order key are ignored.
    FirstValue,
    /// Value of the row with the greatest order key; ties go to the higher origin.
    LastValue,
    /// BIGINT: about as many as there are distinct values. Exact over updating input.
    ApproxDistinct,
    /// TEXT: the texts in order, with the separator in between.
    StringAgg,
    /// JSON: an array of the values in order.
    ArrayAgg,
    /// DOUBLE: the value in the middle, or the mean of the two.
    Median,
    /// DOUBLE: the value at a fraction, between two values in proportion.
    PercentileCont,
    /// DOUBLE: about that value. Exact over updating input.
    ApproxPercentileCont,
    /// DOUBLE: that value, of the values near the mean.
    SigmaClippedPercentile,
    /// DOUBLE, or BIGINT of `regr_count`: what two values of each row have to do with each other. Rows in which one of
    /// them is NULL do not count.
    OfPairs(OfPairs),
    /// Bytes: the first of the rows, which are bytes themselves. Of no SELECT: what [`Rank`](super::Rank) keeps.
    FirstRows,
}

/// Functions of pairs (y, x), as PostgreSQL has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OfPairs {
    Corr,
    CovarPop,
    CovarSamp,
    RegrAvgx,
    RegrAvgy,
    RegrCount,
    RegrIntercept,
    RegrR2,
    RegrSlope,
    RegrSxx,
    RegrSxy,
    RegrSyy,
}

/// What the state of an aggregate grows with, besides the number of groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Growth {
    /// Nothing.
    Groups,
    /// Distinct values of a group.
    Values,
    /// Rows of a group.
    Rows,
}

impl AggregateFunction {
    /// The aggregate class, as `explain` names it.
    pub fn class(self) -> &'static str {
        use AggregateFunction as F;
        match self {
            F::Count | F::Sum | F::Avg | F::VarPop | F::VarSamp | F::StddevPop | F::StddevSamp => {
                "accumulable"
            }
            F::BoolAnd | F::BoolOr | F::BitAnd | F::BitOr | F::BitXor | F::OfPairs(_) => "accumulable",
            F::Min | F::Max | F::FirstValue | F::LastValue | F::FirstRows => "ordered",
            F::ApproxDistinct | F::StringAgg | F::ArrayAgg => "holistic",
            F::Median | F::PercentileCont | F::ApproxPercentileCont | F::SigmaClippedPercentile => "holistic",
        }
    }

    /// Whether the result is one of the argument's values or has them in it, so that NULL can be one.
    pub fn keeps_nulls(self) -> bool {
        use AggregateFunction as F;
        matches!(self, F::FirstValue | F::LastValue | F::ArrayAgg)
    }

    /// Whether it gives the value of one row, that with the least or greatest order.
    pub fn picks(self) -> bool {
        matches!(self, AggregateFunction::FirstValue | AggregateFunction::LastValue)
    }

    /// How many constants it takes besides its argument, if it can be written with WITHIN GROUP (ORDER BY argument).
    pub fn constants_within_group(self) -> Option<usize> {
        use AggregateFunction as F;
        match self {
            F::PercentileCont | F::ApproxPercentileCont => Some(1),
            F::SigmaClippedPercentile => Some(2),
            _ => None,
        }
    }

    /// Whether it puts the values of all rows together in order.
    pub fn lists(self) -> bool {
        matches!(self, AggregateFunction::StringAgg | AggregateFunction::ArrayAgg)
    }
}

impl Aggregate {
    /// The aggregate class, as `explain` names it.
    pub fn class(&self) -> &'static str {
        if self.distinct { "holistic" } else { self.function.class() }
    }

    /// Whether it counts the rows of each distinct value.
    pub fn counts_values(&self, append_only: bool) -> bool {
        self.distinct || self.function == AggregateFunction::ApproxDistinct && !append_only
    }

    /// Whether it asks which of two rows that are equal in the order comes first.
    pub fn has_ties(&self) -> bool {
        !self.distinct && (self.function.picks() || self.function.lists())
    }

    /// What its state grows with.
    pub fn growth(&self, append_only: bool) -> Growth {
        use AggregateFunction as F;
        match self.function {
            _ if self.counts_values(append_only) => Growth::Values,
            F::StringAgg | F::ArrayAgg | F::Median | F::PercentileCont | F::SigmaClippedPercentile => {
                Growth::Rows
            }
            F::ApproxPercentileCont if !append_only => Growth::Rows,
            F::Min | F::Max | F::FirstValue | F::LastValue | F::FirstRows if !append_only => Growth::Rows,
            _ => Growth::Groups,
        }
    }
}

//! `row_number() OVER (PARTITION BY k ORDER BY x)`.

use arrow::datatypes::{FieldRef, SchemaRef};
use datafusion_physical_expr::expressions::Column;

use super::{Bound, Expr, OrderBy};

/// Rows with their places among those that have the same key.
#[derive(Clone, Debug)]
pub struct Rank {
    /// `<view>/rank`, see [`Operator`](super::Operator).
    pub name: String,
    /// What arrives: the columns that leave, and behind them what else is read.
    pub input: SchemaRef,
    /// Whether rows are only ever added to the input.
    pub append_only_input: bool,
    /// PARTITION BY, over `input`.
    pub keys: Vec<Expr>,
    /// ORDER BY. Of rows that are equal in it the earlier record is the first, or where it is `newest_first` the
    /// later one.
    pub order: Vec<OrderBy>,
    /// Whether it ends with a time, the newest first.
    pub newest_first: bool,
    pub places: Places,
    pub numbers: Vec<Number>,
    /// What leaves: the first columns of `input`, then the numbers.
    pub schema: SchemaRef,
}

/// When rows leave with their places.
#[derive(Clone, Debug)]
pub enum Places {
    /// When no row of their key can come any more: the relation is append-only, as its input is.
    Final(Close),
    /// At once, and they are taken back when others move them: an updating relation. Only the first rows of each key
    /// leave, where anything is said of that.
    Updating(Option<First>),
}

/// That of the keys of a [`Rank`] which is event time: when event time has passed it, no row of the key can come any
/// more.
#[derive(Clone, Debug)]
pub struct Close {
    pub time: Expr,
    /// The column of `time`, without NULLs.
    pub field: FieldRef,
    /// How far event time has come in that column.
    pub bound: Bound,
    /// Whether the column is the end of a window: of those at the bound none comes any more.
    pub at_end: bool,
}

/// The rows whose number is no greater than this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct First {
    pub by: Number,
    pub rows: u32,
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
    /// By which places only the first rows leave.
    pub fn first(&self) -> Option<First> {
        if let Places::Updating(first) = self.places { first } else { None }
    }

    /// Whether rows that are not among the first can be forgotten: none of those in front of them is ever taken back,
    /// and it is known how many these are.
    pub fn forgets(&self) -> bool {
        self.append_only_input && self.first().is_some_and(|first| first.by == Number::RowNumber)
    }

    /// Whether each place of a key has one row, so that the next one there takes its place.
    pub fn has_places(&self) -> bool {
        let is_single = self.first() == Some(First { by: Number::RowNumber, rows: 1 });
        is_single || self.numbers.contains(&Number::RowNumber)
    }

    /// The columns of `schema` by which its places are known, if all of them leave.
    pub fn key(&self) -> Option<Vec<usize>> {
        let column = |key: &Expr| key.physical.downcast_ref::<Column>().map(Column::index);
        let keys = self.keys.iter().map(|key| column(key).filter(|index| *index < self.width()));
        let number = self.numbers.iter().position(|number| *number == Number::RowNumber);
        let number = number.map(|number| self.width() + number);
        let updates = matches!(self.places, Places::Updating(_)) && self.has_places();
        keys.collect::<Option<Vec<_>>>()
            .filter(|_| updates)
            .map(|keys| keys.into_iter().chain(number).collect())
    }

    /// How many columns of the input leave.
    pub fn width(&self) -> usize {
        self.schema.fields().len() - self.numbers.len()
    }
}

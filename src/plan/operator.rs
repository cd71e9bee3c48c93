//! The stateful places of a dataflow.

use arrow::datatypes::{DataType, SchemaRef};

use super::{
    Aggregate, Bound, Deduplication, Expr, Growth, IntervalJoin, Lag, Lookup, Places, Rank, Retention, Table,
    Window, Windowing,
};

/// A stateful place, by kind. Its name is the identity of its state across changes of the plan:
/// `<view>/<role>`, with a number from the second on where a view has several of one role.
#[derive(Clone, Debug)]
pub enum Operator {
    /// GROUP BY.
    Aggregation(Aggregation),
    /// JOIN, IN and EXISTS.
    Join(Join),
    /// DISTINCT ON.
    Deduplication(Deduplication),
    /// The same, of streams within a distance in event time.
    IntervalJoin(Box<IntervalJoin>),
    /// CREATE TABLE.
    Table(Table),
    /// A JOIN of a stream with a table.
    Lookup(Lookup),
    /// Values of rows before, in event time.
    Lag(Lag),
    /// Rows that are kept for a time.
    Retention(Retention),
    /// Places of rows among those of their key.
    Rank(Box<Rank>),
}

impl Operator {
    /// Identity of the state.
    pub fn name(&self) -> &str {
        match self {
            Operator::Aggregation(aggregation) => &aggregation.name,
            Operator::Join(join) => &join.name,
            Operator::Deduplication(deduplication) => &deduplication.name,
            Operator::IntervalJoin(join) => &join.name,
            Operator::Table(table) => &table.name,
            Operator::Lookup(lookup) => &lookup.name,
            Operator::Lag(lag) => &lag.name,
            Operator::Retention(retention) => &retention.name,
            Operator::Rank(rank) => &rank.name,
        }
    }

    /// The GROUP BY that this is, if it is one.
    pub fn aggregation(&self) -> Option<&Aggregation> {
        match self {
            Operator::Aggregation(aggregation) => Some(aggregation),
            _ => None,
        }
    }

    /// What leaves.
    pub fn schema(&self) -> &SchemaRef {
        match self {
            Operator::Aggregation(aggregation) => &aggregation.schema,
            Operator::Join(join) => &join.schema,
            Operator::Deduplication(deduplication) => &deduplication.schema,
            Operator::IntervalJoin(join) => &join.schema,
            Operator::Table(table) => &table.schema,
            Operator::Lookup(lookup) => &lookup.schema,
            Operator::Lag(lag) => &lag.schema,
            Operator::Retention(retention) => &retention.schema,
            Operator::Rank(rank) => &rank.schema,
        }
    }

    /// Columns by which its rows are known, where it gives the row that replaces another one directly behind it.
    pub fn key(&self) -> Option<Vec<usize>> {
        match self {
            Operator::Aggregation(aggregation) => Some((0..aggregation.key_columns()).collect()),
            Operator::Table(table) => Some(table.key.clone()),
            Operator::Rank(rank) => rank.key(),
            _ => None,
        }
    }

    /// How far event time has come at each of its inputs, where it asks.
    pub fn bounds(&self) -> Vec<Option<Bound>> {
        match self {
            Operator::Aggregation(aggregation) => {
                vec![aggregation.window.as_ref().map(|window| window.bound.clone())]
            }
            Operator::Deduplication(deduplication) => {
                vec![deduplication.horizon.as_ref().map(|horizon| horizon.bound.clone())]
            }
            Operator::IntervalJoin(join) => join.sides.iter().map(|side| Some(side.bound.clone())).collect(),
            Operator::Lag(lag) => vec![Some(lag.bound.clone())],
            Operator::Retention(retention) => vec![Some(retention.bound.clone())],
            Operator::Rank(rank) => match &rank.places {
                Places::Final(close) => vec![Some(close.bound.clone())],
                Places::Updating(_) => vec![None],
            },
            _ => vec![None; usize::from(self.ports())],
        }
    }

    /// Number of inputs that legs lead into.
    pub fn ports(&self) -> u16 {
        match self {
            Operator::Aggregation(_) | Operator::Deduplication(_) | Operator::Table(_) => 1,
            Operator::Lag(_) | Operator::Rank(_) | Operator::Retention(_) => 1,
            Operator::Lookup(_) | Operator::IntervalJoin(_) => 2,
            Operator::Join(_) => 0,
        }
    }
}

/// One GROUP BY: keyed state that emits the change of each group once per epoch, or with windows their results.
#[derive(Clone, Debug)]
pub struct Aggregation {
    /// `<view>/aggregate`, see [`Operator`].
    pub name: String,
    /// What arrives: rows of this schema.
    pub input: SchemaRef,
    /// Group key, over `input`. Without any there is one group, which is always there.
    pub keys: Vec<Expr>,
    pub aggregates: Vec<Aggregate>,
    /// What leaves: the keys, start and end of the window where there are windows (the end alone of those that
    /// are given), then the aggregates.
    pub schema: SchemaRef,
    /// Whether rows are only ever added to the input.
    pub append_only_input: bool,
    /// By which windows of event time it groups, besides the keys.
    pub window: Option<Windowing>,
}

impl Aggregation {
    /// Whether rows may be added up by group before they are sent to the worker of their group. It takes states that
    /// do not hold the rows themselves, and no sessions: which rows are of one session is known from all of them.
    pub fn has_two_phases(&self) -> bool {
        let is_session = |windowing: &Windowing| matches!(windowing.window, Window::Session { .. });
        let holds_rows = |aggregate: &Aggregate| aggregate.growth(self.append_only_input) != Growth::Groups;
        !self.window.as_ref().is_some_and(is_session) && !self.aggregates.iter().any(holds_rows)
    }

    /// Columns of `schema` that name a row: the keys, and start and end of the window.
    pub fn key_columns(&self) -> usize {
        let of_window = self.window.as_ref().map_or(0, |window| window.window.columns());
        self.keys.len() + of_window
    }
}

/// Rows of two relations that belong together: those whose keys are equal and not NULL, and for which the
/// condition is true. It reads two arrangements by their keys, which have the same types.
#[derive(Clone, Debug)]
pub struct Join {
    /// `<view>/join`, see [`Operator`].
    pub name: String,
    pub kind: JoinKind,
    /// Index into [`Plan::arrangements`](super::Plan::arrangements).
    pub left: usize,
    /// Index into [`Plan::arrangements`](super::Plan::arrangements).
    pub right: usize,
    /// Over the columns of the left side and, behind them, those of the right side.
    pub condition: Option<Expr>,
    /// Those columns.
    pub pairs: SchemaRef,
    /// What leaves: `pairs`, or for semi and anti joins the columns of the left side.
    pub schema: SchemaRef,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JoinKind {
    /// Pairs.
    Inner,
    /// Pairs, and rows of the left side that have none, with NULLs.
    Left,
    /// Pairs, and rows of the right side that have none, with NULLs.
    Right,
    /// Pairs, and rows of both sides that have none, with NULLs.
    Full,
    /// Rows of the left side that have a pair, once: IN, EXISTS.
    Semi,
    /// Rows of the left side that have none: NOT IN, NOT EXISTS.
    Anti,
}

impl JoinKind {
    /// Whether pairs leave, not only rows of the left side.
    pub fn gives_pairs(self) -> bool {
        !matches!(self, JoinKind::Semi | JoinKind::Anti)
    }

    /// Whether rows of the left side leave that have no pair.
    pub fn keeps_left(self) -> bool {
        matches!(self, JoinKind::Left | JoinKind::Full | JoinKind::Anti)
    }

    /// Whether rows of the right side leave that have no pair.
    pub fn keeps_right(self) -> bool {
        matches!(self, JoinKind::Right | JoinKind::Full)
    }
}

/// Rows of a relation by a key, for whoever looks rows up: joins and live reads. Several may share one.
#[derive(Clone, Debug)]
pub struct Arrangement {
    /// `<view>/<role>`, of the view that first needed it.
    pub name: String,
    pub schema: SchemaRef,
    /// Over `schema`.
    pub key: Vec<Expr>,
    /// Types to which the values of the key are cast.
    pub key_types: Vec<DataType>,
    /// Whether it is read live: then a row in it counts as emitted, else as in state.
    pub served: bool,
}

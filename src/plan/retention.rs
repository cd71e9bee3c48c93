//! `state_retention = '7 days'`: rows that are forgotten when event time has passed them.

use arrow::datatypes::{FieldRef, SchemaRef};

use super::{Bound, Expr};

/// The rows of a relation, each until event time has passed it by a length of time: for what would keep them all,
/// as live views and joins do.
#[derive(Clone, Debug)]
pub struct Retention {
    /// `<view>/retention`, see [`Operator`](super::Operator).
    pub name: String,
    /// What arrives, and what leaves.
    pub schema: SchemaRef,
    /// By what rows find their worker, over `schema`: equal rows have the same.
    pub keys: Vec<Expr>,
    /// A time attribute, over `schema`.
    pub time: Expr,
    /// The column of `time`, without NULLs.
    pub time_field: FieldRef,
    /// How far event time has come in that column.
    pub bound: Bound,
    /// How long a row stays when event time has passed it, in nanoseconds.
    pub period_ns: i64,
    /// Whether nobody has said so.
    pub by_default: bool,
}

impl Retention {
    /// How long a live view of windows shows one where nothing else is said: a day, as in ksqlDB.
    pub const USUAL_NS: i64 = 86_400_000_000_000;
}

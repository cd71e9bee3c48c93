//! What aggregates keep, and what a change costs.

use super::one_line;
use crate::plan::{Aggregate, AggregateFunction, Aggregation, Growth, OfPairs};

/// An aggregate with its class and what one more row costs.
pub(super) fn computed(aggregate: &Aggregate, append_only: bool) -> String {
    let cost = cost(aggregate, append_only);
    format!("{} [{}: {cost}]", one_line(&aggregate.text), aggregate.class())
}

fn cost(aggregate: &Aggregate, append_only: bool) -> &'static str {
    use AggregateFunction as F;
    match aggregate.function {
        F::ApproxDistinct if append_only => "up to 256 hashes, then 4 KiB per group, a hash per change",
        _ if aggregate.counts_values(append_only) => {
            "the distinct values of a group, each with its number of rows, a search per change"
        }
        F::Count | F::BoolAnd | F::BoolOr => "an addition per change",
        F::Sum | F::Avg => "an exact addition per change",
        F::VarPop | F::VarSamp | F::StddevPop | F::StddevSamp => "exact additions of x and x² per change",
        F::OfPairs(OfPairs::RegrCount) => "an addition per change",
        F::OfPairs(_) => "exact additions of x, y, x², y² and xy per change",
        F::BitXor => "one value per group, an operation per change",
        F::BitAnd | F::BitOr if append_only => "one value per group, an operation per change",
        F::BitAnd | F::BitOr => "a count per bit, up to 64 additions per change",
        F::StringAgg | F::ArrayAgg => {
            "all values of a group in order, a search per change; a result reads all of them"
        }
        F::ApproxPercentileCont if append_only => {
            "up to 256 values, then up to 64 KiB per group, a search per change"
        }
        F::Median | F::PercentileCont | F::ApproxPercentileCont => {
            "all values of a group in order, a search per change"
        }
        F::SigmaClippedPercentile => {
            "all values of a group in order, a search and exact additions of x and x² per change"
        }
        F::Min | F::Max | F::FirstValue | F::LastValue | F::FirstRows | F::ApproxDistinct => {
            match append_only {
                true => "one value per group, a comparison per change",
                false => "all values of a group in order, a search per change",
            }
        }
    }
}

/// What the state of a GROUP BY grows with.
pub(super) fn of(aggregation: &Aggregation, keys: &str) -> String {
    let append_only = aggregation.append_only_input;
    if aggregation.window.is_some() {
        return match aggregation.keys.is_empty() {
            true => "open windows: gone when they close".to_owned(),
            false => format!("open windows, each with its distinct ({keys}): gone when they close"),
        };
    }
    let growth = aggregation.aggregates.iter().map(|aggregate| aggregate.growth(append_only)).max();
    let rows = if append_only { "of events: state_retention is 'unbounded'" } else { "of input rows" };
    match (aggregation.keys.is_empty(), growth.unwrap_or(Growth::Groups)) {
        (true, Growth::Groups) => "one group: does not grow".to_owned(),
        (true, Growth::Values) => "grows with the number of distinct values".to_owned(),
        (true, Growth::Rows) => format!("grows with the number {rows}"),
        (false, Growth::Groups) => format!("grows with the number of distinct ({keys})"),
        (false, Growth::Values) => {
            format!("grows with the number of distinct ({keys}) and of distinct values in each")
        }
        (false, Growth::Rows) if append_only => format!("grows with the number {rows}"),
        (false, Growth::Rows) => {
            format!("grows with the number of distinct ({keys}) and of input rows in each")
        }
    }
}

//! After how much event time a dataflow holds as much as it ever will.

use crate::plan::{Operator, Plan, Window};
use crate::time::NANOS_PER_MILLI;

/// Milliseconds of event time after which each key has come, and what was remembered at first has gone again: not
/// less, since one operator behind another begins later.
pub fn after_ms(plan: &Plan, keys: u64, rate: u64) -> i64 {
    let delays = plan.sources.iter().filter_map(|source| Some(source.watermark?.delay_ns));
    let held = plan.operators.iter().map(held_ns);
    let ns = held.fold(delays.max().unwrap_or_default(), i64::saturating_add);
    let keys_ms = i64::try_from(keys.saturating_mul(1_000) / rate.max(1)).unwrap_or(i64::MAX);
    (ns / NANOS_PER_MILLI).saturating_add(keys_ms)
}

/// How long a row stays in the state of an operator that forgets rows.
fn held_ns(operator: &Operator) -> i64 {
    match operator {
        Operator::Aggregation(aggregation) => aggregation.window.as_ref().map_or(0, |windowing| {
            let length_ns = match windowing.window {
                Window::Tumble { size_ns }
                | Window::Hop { size_ns, .. }
                | Window::Cumulate { size_ns, .. } => size_ns,
                Window::Session { gap_ns } => gap_ns,
                Window::Given => 0,
            };
            length_ns.saturating_add(windowing.allowed_lateness_ns)
        }),
        Operator::Deduplication(deduplication) => deduplication.horizon.as_ref().map_or(0, |horizon| {
            horizon.ns.saturating_mul(2).saturating_add(horizon.ahead_ns).saturating_add(horizon.span_ns())
        }),
        Operator::Retention(retention) => retention.period_ns,
        Operator::IntervalJoin(join) => join.upper_ns.saturating_sub(join.lower_ns),
        Operator::Join(_)
        | Operator::Table(_)
        | Operator::Lookup(_)
        | Operator::Lag(_)
        | Operator::Rank(_) => 0,
    }
}

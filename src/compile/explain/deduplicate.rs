//! DISTINCT ON: what is a duplicate, and what is remembered.

use std::time::Duration;

use super::Printer;
use super::tree::Node;
use crate::plan::{Deduplication, Downstream, Horizon};

impl Printer<'_> {
    pub(super) fn deduplication(&mut self, node: &mut Node, index: usize, plan: &Deduplication) {
        let names = |columns: &[usize]| {
            let names: Vec<&str> =
                columns.iter().map(|column| plan.input.field(*column).name().as_str()).collect();
            names.join(", ")
        };
        let keys = names(&plan.keys);
        node.line("key", format!("({keys})"));
        let held = match &plan.horizon {
            None => {
                node.line("horizon", "unbounded: a row whose key was there before is a duplicate".to_owned());
                format!(
                    "grows with the number of distinct ({keys}): 32 bytes for each, and a quarter for finding it"
                )
            }
            Some(horizon) => {
                node.line("horizon", distance(horizon, &names(&[horizon.time])));
                format!(
                    "grows with the rows that stay in {} of event time, up to {} more: 32 bytes for each, and a \
                     quarter for finding it",
                    length(horizon.ns.saturating_mul(2).saturating_add(horizon.ahead_ns)),
                    length(horizon.span_ns()),
                )
            }
        };
        let content = match plan.content.as_slice() {
            [] => "none: no duplicate is a conflict".to_owned(),
            content => format!("a duplicate that has another {} is counted as a conflict", names(content)),
        };
        node.line("content", content);
        node.line("state", held);
        node.line("emits", "append-only: the first row of each key, by origin".to_owned());
        let exchange = format!("exchange by key ({keys})");
        node.children.push(self.exchanged(exchange, Downstream::Operator(index)));
    }
}

fn distance(horizon: &Horizon, time: &str) -> String {
    let apart = length(horizon.ns);
    format!(
        "a row whose {time} is less than {apart} away from that of a row that stayed is a duplicate, one more than \
         {apart} behind the watermark is late"
    )
}

fn length(ns: i64) -> String {
    humantime::format_duration(Duration::from_nanos(ns.unsigned_abs())).to_string()
}

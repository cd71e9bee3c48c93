//! Joins of streams within a distance in event time.

use std::time::Duration;

use super::join::gives;
use super::tree::Node;
use super::{Printer, expression};
use crate::plan::{Downstream, IntervalJoin, JoinKind, JoinSide};

impl Printer<'_> {
    pub(super) fn interval_join(&mut self, node: &mut Node, index: usize, join: &IntervalJoin) {
        node.line("gives", gives(join.kind).to_owned());
        let [left, right] = &join.sides;
        let pairs = left.keys.iter().zip(&right.keys);
        let pairs: Vec<_> =
            pairs.map(|(left, right)| format!("{} = {}", expression(left), expression(right))).collect();
        let on = if pairs.is_empty() { "every row with every row".to_owned() } else { pairs.join(" AND ") };
        node.line("on", on);
        let (of_left, of_right) = (time(left), time(right));
        let range = match (join.lower_ns, join.upper_ns) {
            (0, 0) => format!("right {of_right} = left {of_left}"),
            (lower, upper) => {
                let [lower, upper] = [lower, upper].map(|by| shifted(&format!("left {of_left}"), by.into()));
                format!("right {of_right} from {lower} to {upper}")
            }
        };
        node.line("within", range);
        if let Some(condition) = &join.condition {
            node.line("condition", expression(condition));
        }
        node.line("cost", "the new rows of a key with those they meet in this time".to_owned());
        let until = |side: usize, time: &str| shifted(time, join.reach(side).1);
        let state = format!(
            "left rows until the right watermark is past {}, right rows until the left one is past {}",
            until(0, of_left),
            until(1, of_right)
        );
        node.line("state", state);
        node.line(
            "late",
            "a row whose time is before the watermark of its own side: it is counted".to_owned(),
        );
        let emits = match join.kind {
            JoinKind::Inner => "append-only: each pair when its second row comes",
            JoinKind::Semi => "append-only: each row when it first has a pair",
            JoinKind::Anti => "append-only: each row when it can have no pair any more",
            _ => {
                "append-only: each pair when its second row comes, a row without one when it can have none any more"
            }
        };
        node.line("emits", emits.to_owned());
        for (port, (name, side)) in (0..).zip([("left", left), ("right", right)]) {
            let by = side.keys.iter().map(expression).collect::<Vec<_>>().join(", ");
            let title = match side.keys.is_empty() {
                true => format!("{name}: exchange to one worker"),
                false => format!("{name}: exchange by key ({by})"),
            };
            let mut child = Node::new(title);
            let plan = self.plan;
            let legs =
                plan.legs.iter().filter(|leg| leg.to == Downstream::Operator(index) && leg.port == port);
            child.children = legs.map(|leg| self.leg(leg)).collect();
            node.children.push(child);
        }
    }
}

fn time(side: &JoinSide) -> &str {
    &side.time_text
}

/// A time, so many nanoseconds later.
fn shifted(time: &str, by: i128) -> String {
    let length = Duration::from_nanos(u64::try_from(by.unsigned_abs()).unwrap_or(u64::MAX));
    let length = humantime::format_duration(length);
    match by {
        0 => time.to_owned(),
        1.. => format!("{time} + {length}"),
        _ => format!("{time} - {length}"),
    }
}

//! Rows that are forgotten when event time has passed them.

use super::tree::Node;
use super::window::length;
use super::{Printer, expression};
use crate::plan::{Downstream, Operator, Retention, ServedView, Upstream};

impl Printer<'_> {
    pub(super) fn retention(&mut self, node: &mut Node, index: usize, retention: &Retention) {
        let period = length(retention.period_ns);
        let said = if retention.by_default { ", as nothing else is said by state_retention" } else { "" };
        let time = expression(&retention.time);
        node.line("keeps", format!("rows until event time has passed {time} by {period}{said}"));
        node.line("state", "those rows".to_owned());
        node.line("emits", "updating: rows as they come, and taken back when they are forgotten".to_owned());
        let by = retention.keys.iter().map(expression).collect::<Vec<_>>().join(", ");
        node.children.push(self.exchanged(format!("exchange by key ({by})"), Downstream::Operator(index)));
    }

    /// What a live view holds whose rows are forgotten.
    pub(super) fn kept(&self, view: &ServedView) -> Option<String> {
        let to = Downstream::Arrangement(view.arrangement);
        let leg = self.plan.legs.iter().find(|leg| leg.to == to)?;
        let Upstream::Operator(index) = leg.from else { return None };
        let Operator::Retention(retention) = self.plan.operators.get(index)? else { return None };
        let (time, period) = (expression(&retention.time), length(retention.period_ns));
        Some(format!("rows until event time has passed {time} by {period}"))
    }
}

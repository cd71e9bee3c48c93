//! Rows with their places in their window.

use super::tree::Node;
use super::{Printer, expression};
use crate::plan::{Downstream, OrderBy, Rank};

impl Printer<'_> {
    pub(super) fn rank(&mut self, node: &mut Node, index: usize, rank: &Rank) {
        let keys = rank.keys.iter().map(expression).collect::<Vec<_>>().join(", ");
        let order = |by: &OrderBy| {
            let descending = if by.descending { " DESC" } else { "" };
            format!("{}{descending}", expression(&by.expr))
        };
        let order = rank.order.iter().map(order).collect::<Vec<_>>().join(", ");
        let numbers = rank.numbers.iter().map(|number| number.name()).collect::<Vec<_>>().join(", ");
        let time = expression(&rank.time);
        node.line("computes", format!("{numbers} of the rows of each ({keys}), by {order}"));
        node.line("state", format!("the rows whose {time} the watermark has not passed"));
        node.line("emits", format!("append-only: each row when the watermark has passed its {time}"));
        node.line("late", format!("rows that come when the watermark has passed their {time} are left out"));
        let exchange = format!("exchange by key ({keys})");
        node.children.push(self.exchanged(exchange, Downstream::Operator(index)));
    }
}

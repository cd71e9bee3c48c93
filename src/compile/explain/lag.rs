//! Rows with values of those before them.

use super::tree::Node;
use super::{Printer, expression};
use crate::plan::{Downstream, Lag};

impl Printer<'_> {
    pub(super) fn lag(&mut self, node: &mut Node, index: usize, lag: &Lag) {
        let keys = lag.keys.iter().map(expression).collect::<Vec<_>>().join(", ");
        node.line("order", format!("by {}, which is event time", expression(&lag.time)));
        for before in &lag.values {
            let rows = if before.rows == 1 { "the row".to_owned() } else { format!("{} rows", before.rows) };
            let nulls = if before.ignore_nulls { " in which it is not NULL" } else { "" };
            let none = before.default.as_ref().map_or("NULL".to_owned(), expression);
            let value = expression(&before.value);
            node.line("computes", format!("{value} of {rows} before{nulls}, {none} where there is none"));
        }
        let (of, exchange) = match lag.keys.is_empty() {
            true => ("one order of all rows, on one worker".to_owned(), "exchange to one worker".to_owned()),
            false => {
                (format!("grows with the number of distinct ({keys})"), format!("exchange by key ({keys})"))
            }
        };
        node.line("state", format!("the last values, {of}; and the rows that the watermark has not passed"));
        node.line("emits", "append-only: each row when the watermark has passed its time".to_owned());
        node.line("late", "rows that come when the watermark has passed their time are left out".to_owned());
        node.children.push(self.exchanged(exchange, Downstream::Operator(index)));
    }
}

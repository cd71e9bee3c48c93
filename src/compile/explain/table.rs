//! Tables, and streams whose rows are looked up in them.

use super::tree::Node;
use super::{Printer, expression};
use crate::plan::{Downstream, Expr, JoinKind, Lookup, Table};

impl Printer<'_> {
    pub(super) fn table(&mut self, node: &mut Node, index: usize, table: &Table) {
        let key = names(&table.keys);
        node.line("key", key.clone());
        node.line("state", format!("the row of each key: grows with the number of distinct {key}"));
        node.line("emits", "updating: old and new row of each changed key, once per epoch".to_owned());
        let to = Downstream::Operator(index);
        node.children.push(self.exchanged(format!("exchange by key {key}"), to));
    }

    pub(super) fn lookup(&mut self, node: &mut Node, index: usize, lookup: &Lookup) {
        let what = match lookup.kind {
            JoinKind::Semi => "rows of the stream that the table has",
            JoinKind::Anti => "rows of the stream that the table has not",
            JoinKind::Left => "rows of the stream, each with that of the table, or with NULLs",
            _ => "rows of the stream that the table has, each with that of the table",
        };
        node.line("gives", what.to_owned());
        let [stream, table] = &lookup.keys;
        let pairs = stream.iter().zip(table);
        let pairs: Vec<_> =
            pairs.map(|(stream, table)| format!("{} = {}", expression(stream), expression(table))).collect();
        node.line("on", pairs.join(" AND "));
        if let Some(condition) = &lookup.condition {
            node.line("condition", expression(condition));
        }
        let when = "temporal: a row sees the table as it is at the end of the row's epoch; what has left is \
                    never written again";
        node.line("time", when.to_owned());
        node.line("state", format!("the table by key: grows with the number of distinct {}", names(table)));
        node.line("emits", "append-only: rows keep their origin and their event time".to_owned());
        for (port, side, keys) in [(0, "stream", stream), (1, "table", table)] {
            let mut exchange = Node::new(format!("{side}: exchange by key {}", names(keys)));
            let plan = self.plan;
            let legs =
                plan.legs.iter().filter(|leg| leg.to == Downstream::Operator(index) && leg.port == port);
            exchange.children = legs.map(|leg| self.leg(leg)).collect();
            node.children.push(exchange);
        }
    }
}

fn names(keys: &[Expr]) -> String {
    format!("({})", keys.iter().map(expression).collect::<Vec<_>>().join(", "))
}

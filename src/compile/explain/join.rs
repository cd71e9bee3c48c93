//! Joins and what they read.

use super::tree::Node;
use super::{Printer, expression};
use crate::plan::{Arrangement, Downstream, Join, JoinKind, Operator};

impl Printer<'_> {
    pub(super) fn join(&mut self, node: &mut Node, join: &Join) {
        let [left, right] = [join.left, join.right].map(|side| self.plan.arrangements.get(side));
        node.line("gives", gives(join.kind).to_owned());
        if let (Some(left), Some(right)) = (left, right) {
            let pairs = left.key.iter().zip(&right.key);
            let pairs: Vec<_> =
                pairs.map(|(left, right)| format!("{} = {}", expression(left), expression(right))).collect();
            let on =
                if pairs.is_empty() { "every row with every row".to_owned() } else { pairs.join(" AND ") };
            node.line("on", on);
        }
        if let Some(condition) = &join.condition {
            node.line("condition", expression(condition));
            let cost = "the changed rows of a key with those they meet; all pairs of the key where the right \
                        side has changed";
            node.line("cost", cost.to_owned());
        } else {
            node.line("cost", "the changed rows of a key with those they meet".to_owned());
        }
        node.line("state", "none beside the two arrangements".to_owned());
        node.line("emits", "updating: what differs for each changed key, once per epoch".to_owned());
        for (side, index) in [("left", join.left), ("right", join.right)] {
            let child = self.arrangement(side, index);
            node.children.push(child);
        }
    }

    fn arrangement(&mut self, side: &str, index: usize) -> Node {
        let Some(arrangement) = self.plan.arrangements.get(index) else {
            return Node::new(format!("arrangement {index} is missing"));
        };
        let title = format!("{side}: arrangement {}", arrangement.name);
        if !self.arrangements.insert(index) {
            return Node::new(format!("{title} (see above)"));
        }
        let mut node = Node::new(title);
        let by = by(arrangement);
        node.line("state", format!("all rows in memory{}: grows with their number", self.readers(index)));
        let exchange = match arrangement.key.is_empty() {
            true => "exchange to one worker".to_owned(),
            false => format!("exchange by key {by}"),
        };
        node.children.push(self.exchanged(exchange, Downstream::Arrangement(index)));
        node
    }

    /// Says who shares an arrangement, if several do.
    pub(super) fn readers(&self, index: usize) -> String {
        let views = self.plan.views.iter().filter(|view| view.arrangement == index);
        let mut readers: Vec<String> = views.map(|view| format!("view {}", view.name)).collect();
        for operator in &self.plan.operators {
            if let Operator::Join(join) = operator
                && (join.left == index || join.right == index)
            {
                readers.push(join.name.clone());
            }
        }
        if readers.len() < 2 { String::new() } else { format!(", shared by {}", readers.join(", ")) }
    }
}

/// Which rows leave a join.
pub(super) fn gives(kind: JoinKind) -> &'static str {
    match kind {
        JoinKind::Inner => "pairs of rows",
        JoinKind::Left => "pairs of rows; rows of the left side without one, with NULLs",
        JoinKind::Right => "pairs of rows; rows of the right side without one, with NULLs",
        JoinKind::Full => "pairs of rows; rows of either side without one, with NULLs",
        JoinKind::Semi => "rows of the left side that have a pair",
        JoinKind::Anti => "rows of the left side that have no pair",
    }
}

fn by(arrangement: &Arrangement) -> String {
    format!("({})", arrangement.key.iter().map(expression).collect::<Vec<_>>().join(", "))
}

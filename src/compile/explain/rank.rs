//! Rows with their places.

use super::tree::Node;
use super::{Printer, expression};
use crate::plan::{Close, Downstream, First, Number, OrderBy, Places, Rank};

impl Printer<'_> {
    pub(super) fn rank(&mut self, node: &mut Node, index: usize, rank: &Rank) {
        let keys = rank.keys.iter().map(expression).collect::<Vec<_>>().join(", ");
        let order = |by: &OrderBy| {
            let descending = if by.descending { " DESC" } else { "" };
            format!("{}{descending}", expression(&by.expr))
        };
        let order = rank.order.iter().map(order).collect::<Vec<_>>().join(", ");
        let numbers = rank.numbers.iter().map(|number| number.name()).collect::<Vec<_>>().join(", ");
        let of = if keys.is_empty() { "all rows".to_owned() } else { format!("the rows of each ({keys})") };
        let first = rank.first().map(first);
        node.line(
            "computes",
            match (&first, numbers.is_empty()) {
                (None, _) => format!("{numbers} of {of}, by {order}"),
                (Some(first), true) => format!("{first} of {of}, by {order}"),
                (Some(first), false) => format!("{first} of {of}, by {order}, with {numbers}"),
            },
        );
        match &rank.places {
            Places::Final(close) => closing(node, close),
            Places::Updating(_) => updating(node, rank, &keys),
        }
        let exchange = match keys.is_empty() {
            true => "exchange to one worker".to_owned(),
            false => format!("exchange by key ({keys})"),
        };
        node.children.push(self.exchanged(exchange, Downstream::Operator(index)));
    }
}

fn first(first: First) -> String {
    match (first.by, first.rows) {
        (Number::RowNumber, 1) => "the first".to_owned(),
        (Number::RowNumber, rows) => format!("the first {rows}"),
        (by, rows) => format!("those with a {} up to {rows}", by.name()),
    }
}

fn closing(node: &mut Node, close: &Close) {
    let time = expression(&close.time);
    node.line("state", format!("the rows whose {time} the watermark has not passed"));
    node.line("emits", format!("append-only: each row when the watermark has passed its {time}"));
    node.line("late", format!("rows that come when the watermark has passed their {time} are left out"));
}

fn updating(node: &mut Node, rank: &Rank, keys: &str) {
    node.line(
        "state",
        match (rank.forgets(), keys.is_empty()) {
            (true, true) => "these rows: does not grow".to_owned(),
            (true, false) => format!("these rows: grows with the number of distinct ({keys})"),
            (false, _) => "all rows of the input: any of them can move up".to_owned(),
        },
    );
    let what = match rank.numbers.is_empty() {
        true => "rows that come among these or leave them",
        false => "rows that are new at a place or move to another",
    };
    node.line("emits", format!("updating: {what}, once per epoch"));
}

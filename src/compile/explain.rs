//! The compiled plan as a tree, from each sink and served view down to the sources, with what a user must
//! know before trusting it: keys, change modes, state, what a change costs, and what is guaranteed.

mod deduplicate;
mod delivery;
mod interval;
mod join;
mod lag;
mod rank;
mod reads;
mod retention;
mod source;
mod state;
mod table;
mod tree;
mod window;

use std::collections::BTreeSet;

use arrow::datatypes::Schema;

use crate::plan::{
    Aggregation, ChangeMode, Downstream, Expr, Leg, Operator, Plan, ServedView, Sink, Source, Step, Upstream,
};
use tree::Node;

/// Describes a plan for a person.
pub fn explain(plan: &Plan) -> String {
    let mut printer =
        Printer { plan, sources: BTreeSet::new(), operators: BTreeSet::new(), arrangements: BTreeSet::new() };
    let mut text = format!(
        "dataflow {}: {}, {}, {}, {}\n",
        plan.name,
        counted(plan.sources.len(), "source"),
        operators(plan),
        counted(plan.views.len(), "served view"),
        counted(plan.sinks.len(), "sink"),
    );
    let sinks: Vec<Node> =
        plan.sinks.iter().enumerate().map(|(index, sink)| printer.sink(index, sink)).collect();
    let views: Vec<Node> = plan.views.iter().map(|view| printer.view(view)).collect();
    for node in sinks.into_iter().chain(views) {
        text.push('\n');
        text.push_str(&node.to_string());
    }
    let idle = plan.sources.iter().enumerate().filter(|(index, _)| !printer.sources.contains(index));
    for (_, source) in idle {
        text.push_str(&format!("\nsource {}: not run, no sink or served view reads it\n", source.name));
    }
    text
}

struct Printer<'p> {
    plan: &'p Plan,
    /// What stands further up already, and is only named from then on.
    sources: BTreeSet<usize>,
    operators: BTreeSet<usize>,
    arrangements: BTreeSet<usize>,
}

impl Printer<'_> {
    fn sink(&mut self, index: usize, sink: &Sink) -> Node {
        let to = Downstream::Sink(index);
        let mut node = Node::new(format!("sink {}", sink.name));
        node.line("writes", delivery::target(sink));
        let replaces = if sink.replaces { ": a later row replaces an earlier one" } else { "" };
        node.line("relation", relation(sink.changes, sink.key.as_deref(), &sink.schema) + replaces);
        node.line("columns", names(&sink.schema));
        let sources = self.sources_of(to);
        node.line("delivery", delivery::guarantee(sink));
        node.line("restart", delivery::restart(sink, &sources));
        let by = match &sink.key {
            Some(key) if !key.is_empty() => format!("by key {}", key_names(key, &sink.schema)),
            _ if self.has_origins(to) => "by partition".to_owned(),
            _ => "by row".to_owned(),
        };
        let exchange = match sink.shards {
            0 | 1 => "exchange to the worker of the one shard".to_owned(),
            shards => format!("exchange {by} to the workers of {shards} shards"),
        };
        node.children.push(self.exchanged(exchange, to));
        node
    }

    fn view(&mut self, view: &ServedView) -> Node {
        let key = key_names(&view.key, &view.schema);
        let (rows, path, mut grows, exchange) = match view.key.as_slice() {
            [] => ("the one row".to_owned(), "", "one row".to_owned(), "exchange to one worker".to_owned()),
            _ => (
                format!("one row per key {key}"),
                "/...",
                format!("grows with the number of keys {key}"),
                format!("exchange by key {key}"),
            ),
        };
        if let Some(kept) = self.kept(view) {
            grows = kept;
        }
        let mut node = Node::new(format!("view {}", view.name));
        node.line("served", format!("live, {rows}: GET /v1/views/{}{path}", view.name));
        node.line("columns", names(&view.schema));
        let shared = self.readers(view.arrangement);
        node.line("state", format!("an arrangement in memory{shared}: {grows}"));
        let to = Downstream::Arrangement(view.arrangement);
        if self.arrangements.insert(view.arrangement) {
            node.children.push(self.exchanged(exchange, to));
        }
        node
    }

    /// The legs to a place, below their exchange.
    fn exchanged(&mut self, title: String, to: Downstream) -> Node {
        let plan = self.plan;
        let mut exchange = Node::new(title);
        let legs = plan.legs.iter().filter(|leg| leg.to == to);
        exchange.children = legs.map(|leg| self.leg(leg)).collect();
        exchange
    }

    fn leg(&mut self, leg: &Leg) -> Node {
        let mut node = Node::new(format!("leg {}", leg.name));
        for step in &leg.steps {
            match step {
                Step::Filter(condition) => node.line("filter", expression(condition)),
                Step::Project { exprs, schema } => node.line("project", projection(exprs, schema)),
            }
        }
        node.line("watermark", self.watermark_of(leg));
        let below = match leg.from {
            Upstream::Source(index) => self.source(index),
            Upstream::Operator(index) => self.operator(index),
            Upstream::Late(index) => {
                let mut late = Node::new("rows that were too late".to_owned());
                late.children.push(self.operator(index));
                late
            }
        };
        node.children.push(below);
        node
    }

    fn watermark_of(&self, leg: &Leg) -> String {
        let sources = leg.sources.iter().filter_map(|at| self.plan.sources.get(*at));
        // A table holds nobody.
        let sources: Vec<&Source> = sources.filter(|source| source.table.is_none()).collect();
        let list = sources.iter().map(|source| source.name.as_str()).collect::<Vec<_>>().join(", ");
        match sources.iter().find(|source| source.watermark.is_none()) {
            Some(without) => format!("none: source {} declares none", without.name),
            None if sources.is_empty() => "none".to_owned(),
            None if sources.len() == 1 => format!("that of {list}"),
            None => format!("the minimum of {list}"),
        }
    }

    fn operator(&mut self, index: usize) -> Node {
        let Some(operator) = self.plan.operators.get(index) else {
            return Node::new(format!("operator {index} is missing"));
        };
        let title = match operator {
            Operator::Aggregation(_) => format!("aggregate {}", operator.name()),
            Operator::Join(_) => format!("join {}", operator.name()),
            Operator::Deduplication(_) => format!("deduplicate {}", operator.name()),
            Operator::IntervalJoin(_) => format!("interval join {}", operator.name()),
            Operator::Table(_) => format!("table {}", operator.name()),
            Operator::Lookup(_) => format!("lookup {}", operator.name()),
            Operator::Lag(_) => format!("lag {}", operator.name()),
            Operator::Retention(_) => format!("retention {}", operator.name()),
            Operator::Rank(_) => format!("rank {}", operator.name()),
        };
        if !self.operators.insert(index) {
            return Node::new(format!("{title} (see above)"));
        }
        let mut node = Node::new(title);
        match operator {
            Operator::Aggregation(aggregation) => self.aggregation(&mut node, index, aggregation),
            Operator::Join(join) => self.join(&mut node, join),
            Operator::Deduplication(plan) => self.deduplication(&mut node, index, plan),
            Operator::IntervalJoin(join) => self.interval_join(&mut node, index, join),
            Operator::Table(table) => self.table(&mut node, index, table),
            Operator::Lookup(lookup) => self.lookup(&mut node, index, lookup),
            Operator::Lag(lag) => self.lag(&mut node, index, lag),
            Operator::Retention(retention) => self.retention(&mut node, index, retention),
            Operator::Rank(rank) => self.rank(&mut node, index, rank),
        }
        node
    }

    fn aggregation(&mut self, node: &mut Node, index: usize, aggregation: &Aggregation) {
        let keys = aggregation.keys.iter().map(expression).collect::<Vec<_>>().join(", ");
        let input = if aggregation.append_only_input { "append-only" } else { "updating" };
        node.line("input", input.to_owned());
        match aggregation.keys.len() {
            0 => node.line("key", "none: one group of all rows, on one worker".to_owned()),
            _ => node.line("key", format!("({keys})")),
        }
        if let Some(windowing) = &aggregation.window {
            node.line("window", window::window(windowing));
            node.line("late", window::late(windowing, &self.plan.sources));
        }
        for aggregate in &aggregation.aggregates {
            node.line("computes", state::computed(aggregate, aggregation.append_only_input));
        }
        node.line("state", state::of(aggregation, &keys));
        let only_adds = aggregation.append_only_input && aggregation.aggregates.is_empty();
        let emits = match &aggregation.window {
            Some(windowing) => window::emits(windowing),
            None if only_adds && !aggregation.keys.is_empty() => {
                "append-only: each row when it first comes".to_owned()
            }
            None => "updating: old and new row of each changed group, once per epoch".to_owned(),
        };
        node.line("emits", emits);
        if aggregation.has_two_phases() {
            let what =
                "each worker adds up the rows of a batch by group, if that leaves few, and sends the sums";
            node.line("two phases", what.to_owned());
        }
        let exchange = match aggregation.keys.len() {
            0 => "exchange to one worker".to_owned(),
            _ => format!("exchange by key ({keys})"),
        };
        node.children.push(self.exchanged(exchange, Downstream::Operator(index)));
    }

    /// All sources that a place depends on.
    fn sources_of(&self, to: Downstream) -> Vec<&Source> {
        let indices: BTreeSet<usize> =
            self.plan.legs.iter().filter(|leg| leg.to == to).flat_map(|leg| leg.sources.clone()).collect();
        indices.iter().filter_map(|index| self.plan.sources.get(*index)).collect()
    }

    /// Whether the rows that arrive there still know the record that they are.
    fn has_origins(&self, to: Downstream) -> bool {
        let mut legs = self.plan.legs.iter().filter(|leg| leg.to == to);
        legs.all(|leg| match leg.from {
            Upstream::Source(_) => true,
            Upstream::Late(index) => self.has_origins(Downstream::Operator(index)),
            Upstream::Operator(index) => {
                matches!(self.plan.operators[index], Operator::Deduplication(_))
                    && self.has_origins(Downstream::Operator(index))
            }
        })
    }
}

/// How many there are of each kind; of others than aggregations only where there are some.
fn operators(plan: &Plan) -> String {
    let count = |is: fn(&Operator) -> bool| plan.operators.iter().filter(|operator| is(operator)).count();
    let mut all = vec![counted(count(|operator| operator.aggregation().is_some()), "aggregation")];
    let others = [
        (count(|operator| matches!(operator, Operator::Join(_) | Operator::IntervalJoin(_))), "join"),
        (count(|operator| matches!(operator, Operator::Deduplication(_))), "deduplication"),
        (count(|operator| matches!(operator, Operator::Table(_))), "table"),
        (count(|operator| matches!(operator, Operator::Lookup(_))), "lookup"),
        (count(|operator| matches!(operator, Operator::Lag(_))), "lag"),
        (count(|operator| matches!(operator, Operator::Rank(_))), "rank"),
    ];
    all.extend(others.into_iter().filter(|(count, _)| *count > 0).map(|(count, what)| counted(count, what)));
    all.join(", ")
}

fn counted(number: usize, what: &str) -> String {
    let s = if number == 1 { "" } else { "s" };
    format!("{number} {what}{s}")
}

/// An expression in one line, as the user wrote it otherwise.
fn expression(expr: &Expr) -> String {
    one_line(&expr.text)
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn names(schema: &Schema) -> String {
    schema.fields().iter().map(|field| field.name().as_str()).collect::<Vec<_>>().join(", ")
}

fn key_names(key: &[usize], schema: &Schema) -> String {
    let names = key.iter().filter_map(|index| schema.fields().get(*index)).map(|field| field.name().as_str());
    format!("({})", names.collect::<Vec<_>>().join(", "))
}

fn relation(changes: ChangeMode, key: Option<&[usize]>, schema: &Schema) -> String {
    let changes = match changes {
        ChangeMode::AppendOnly => "append-only",
        ChangeMode::Updating => "updating",
    };
    match key {
        Some([]) => format!("{changes}, at most one row"),
        Some(key) => format!("{changes}, key {}", key_names(key, schema)),
        None => format!("{changes}, no key"),
    }
}

fn projection(exprs: &[Expr], schema: &Schema) -> String {
    let show = |(expr, name): (&Expr, &String)| {
        let text = expression(expr);
        if text.trim_matches('"') == name { text } else { format!("{text} AS {name}") }
    };
    exprs
        .iter()
        .zip(schema.fields().iter().map(|field| field.name()))
        .map(show)
        .collect::<Vec<_>>()
        .join(", ")
}

#[cfg(test)]
mod tests;

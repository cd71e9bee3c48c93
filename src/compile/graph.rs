//! The plan while it grows: stateful places and the legs between them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::datatypes::SchemaRef;

use super::flow::{Branch, Flow};
use crate::plan::{Aggregation, Downstream, Leg, Operator, ServedView, Sink, Source, Upstream};

/// Sources, operators, views, sinks and legs, in the order in which the statements name them.
#[derive(Debug, Default)]
pub(super) struct Graph {
    pub sources: Vec<Source>,
    pub operators: Vec<Operator>,
    pub views: Vec<ServedView>,
    pub sinks: Vec<Sink>,
    pub legs: Vec<Leg>,
    /// How legs name each operator.
    titles: Vec<String>,
    /// Number of operators by `<view>/<role>`.
    owned: BTreeMap<String, usize>,
    /// Number of legs by the name that they would have.
    named: BTreeMap<String, usize>,
}

impl Graph {
    /// Adds an aggregation of the view or sink `owner` and names it.
    pub fn add_aggregation(&mut self, owner: &str, aggregation: Aggregation) -> usize {
        let name = self.identity(owner, "aggregate");
        self.add_operator(owner, Operator::Aggregation(Aggregation { name, ..aggregation }))
    }

    fn add_operator(&mut self, owner: &str, operator: Operator) -> usize {
        // The first of a view goes by the view's name.
        let title = if self.titles.iter().any(|title| title == owner) { operator.name() } else { owner };
        self.titles.push(title.to_owned());
        self.operators.push(operator);
        self.operators.len() - 1
    }

    /// The identity of the state of the next operator of this role.
    fn identity(&mut self, owner: &str, role: &str) -> String {
        let name = format!("{owner}/{role}");
        let number = self.owned.entry(name.clone()).or_insert(0);
        *number += 1;
        if *number == 1 { name } else { format!("{name}{number}") }
    }

    /// Adds a materialized view and the legs that lead to it.
    pub fn add_view(&mut self, view: ServedView, flow: &Flow) {
        let schema = Arc::clone(&view.schema);
        self.views.push(view);
        self.add_legs(flow.branches.iter().cloned(), (Downstream::View(self.views.len() - 1), 0), &schema);
    }

    /// Adds a sink and the legs that lead to it.
    pub fn add_sink(&mut self, sink: Sink, flow: &Flow) {
        let schema = Arc::clone(&sink.schema);
        self.sinks.push(sink);
        self.add_legs(flow.branches.iter().cloned(), (Downstream::Sink(self.sinks.len() - 1), 0), &schema);
    }

    /// Adds the legs of all branches of a relation, into an input of `to`.
    pub fn add_legs(
        &mut self,
        branches: impl Iterator<Item = Branch>,
        (to, port): (Downstream, u16),
        schema: &SchemaRef,
    ) {
        for (branch, number) in branches.zip(0..) {
            let name = self.leg_name(branch.from, to);
            self.legs.push(Leg {
                name,
                from: branch.from,
                steps: branch.steps,
                to,
                port,
                branch: number,
                schema: Arc::clone(schema),
                sources: branch.sources.into_iter().collect(),
            });
        }
    }

    fn leg_name(&mut self, from: Upstream, to: Downstream) -> String {
        let from = match from {
            Upstream::Source(index) => &self.sources[index].name,
            Upstream::Operator(index) => &self.titles[index],
        };
        let name = match to {
            Downstream::Operator(index) => format!("{from}->{}", self.titles[index]),
            Downstream::View(index) => format!("{}->view", self.views[index].name),
            Downstream::Sink(index) => format!("{from}->{}", self.sinks[index].name),
        };
        let count = self.named.entry(name.clone()).or_insert(0);
        *count += 1;
        if *count == 1 { name } else { format!("{name}#{count}") }
    }

    /// Removes operators that no sink and no served view reads, with the legs that lead to them.
    pub fn remove_unread(&mut self) {
        let mut read = BTreeSet::new();
        // Each operator comes after those that it reads, and so do the legs to it.
        for leg in self.legs.iter().rev() {
            let needed = match leg.to {
                Downstream::Operator(index) => read.contains(&index),
                Downstream::View(_) | Downstream::Sink(_) => true,
            };
            if let (true, Upstream::Operator(index)) = (needed, leg.from) {
                read.insert(index);
            }
        }
        let moved: BTreeMap<usize, usize> = read.into_iter().zip(0..).collect();
        let mut index = 0..;
        self.operators.retain(|_| index.next().is_some_and(|index| moved.contains_key(&index)));
        self.legs.retain_mut(|leg| {
            if let Upstream::Operator(index) = &mut leg.from {
                let Some(new) = moved.get(index) else { return false };
                *index = *new;
            }
            if let Downstream::Operator(index) = &mut leg.to {
                let Some(new) = moved.get(index) else { return false };
                *index = *new;
            }
            true
        });
    }
}

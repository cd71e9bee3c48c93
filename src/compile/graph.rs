//! The plan while it grows: stateful places and the legs between them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef};

use super::expression::column;
use super::flow::{Branch, Flow};
use crate::plan::{
    Aggregation, Arrangement, Deduplication, Downstream, Expr, IntervalJoin, Join, Lag, Leg, Lookup,
    Operator, Rank, Retention, ServedView, Sink, Source, Step, Table, Upstream,
};

/// With what a number of rows grows, beside that of keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Growth {
    /// With nothing else.
    Keys,
    /// With event time: each window adds to it.
    Windows,
    /// With every event.
    Events,
}

/// Sources, operators, views, sinks and legs, in the order in which the statements name them.
#[derive(Debug, Default)]
pub(super) struct Graph {
    pub sources: Vec<Source>,
    pub operators: Vec<Operator>,
    pub arrangements: Vec<Arrangement>,
    pub views: Vec<ServedView>,
    pub sinks: Vec<Sink>,
    pub legs: Vec<Leg>,
    /// How legs name each operator.
    titles: Vec<String>,
    /// The ways that lead to each arrangement: who needs the same rows by the same key shares it.
    arranged: Vec<Vec<Branch>>,
    /// The ways that lead to each retention, by its index: who keeps the same rows as long shares it.
    retained: Vec<(Vec<Branch>, usize)>,
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

    /// Adds a join of the view or sink `owner` and names it.
    pub fn add_join(&mut self, owner: &str, join: Join) -> usize {
        let name = self.identity(owner, "join");
        self.add_operator(owner, Operator::Join(Join { name, ..join }))
    }

    /// Adds a DISTINCT ON of the view or sink `owner`, with the legs that lead to it, and names it.
    pub fn add_deduplication(
        &mut self,
        owner: &str,
        deduplication: Deduplication,
        branches: Vec<Branch>,
    ) -> usize {
        let name = self.identity(owner, "deduplicate");
        let input = Arc::clone(&deduplication.input);
        let index =
            self.add_operator(owner, Operator::Deduplication(Deduplication { name, ..deduplication }));
        self.add_legs(branches.into_iter(), (Downstream::Operator(index), 0), &input);
        index
    }

    /// Number of DISTINCT ON.
    pub fn deduplications(&self) -> usize {
        let all = self.operators.iter();
        all.filter(|operator| matches!(operator, Operator::Deduplication(_))).count()
    }

    /// Whether rows that come from there know the record that they are.
    pub fn has_origins(&self, from: Upstream) -> bool {
        let index = match from {
            Upstream::Source(_) => return true,
            Upstream::Operator(index) if matches!(self.operators[index], Operator::Deduplication(_)) => index,
            Upstream::Operator(_) => return false,
            Upstream::Late(index) => index,
        };
        let mut legs = self.legs.iter().filter(|leg| leg.to == Downstream::Operator(index));
        legs.all(|leg| self.has_origins(leg.from))
    }

    /// Adds a join of two streams of the view or sink `owner`, with the ways of both that lead to it.
    pub fn add_interval_join(
        &mut self,
        owner: &str,
        join: IntervalJoin,
        branches: [Vec<Branch>; 2],
    ) -> usize {
        let name = self.identity(owner, "join");
        let schemas = join.sides.each_ref().map(|side| Arc::clone(&side.schema));
        let index = self.add_operator(owner, Operator::IntervalJoin(Box::new(IntervalJoin { name, ..join })));
        for ((port, branches), schema) in (0..).zip(branches).zip(schemas) {
            self.add_legs(branches.into_iter(), (Downstream::Operator(index), port), &schema);
        }
        index
    }

    /// With what the number of rows that come from there grows, beside that of keys.
    pub fn growth(&self, from: Upstream) -> Growth {
        let Upstream::Operator(index) = from else { return Growth::Events };
        let legs = self.legs.iter().filter(|leg| leg.to == Downstream::Operator(index));
        match &self.operators[index] {
            Operator::Aggregation(aggregation) if aggregation.window.is_some() => Growth::Windows,
            Operator::Aggregation(_) | Operator::Table(_) | Operator::Retention(_) => Growth::Keys,
            // As many of each key as are asked for.
            Operator::Rank(rank) if rank.forgets() => Growth::Keys,
            Operator::Join(join) => {
                let branches = [join.left, join.right].into_iter().flat_map(|side| &self.arranged[side]);
                branches.map(|branch| self.growth(branch.from)).max().unwrap_or(Growth::Keys)
            }
            // Of the table as much is there as there are keys.
            Operator::Lookup(_)
            | Operator::IntervalJoin(_)
            | Operator::Deduplication(_)
            | Operator::Lag(_)
            | Operator::Rank(_) => legs.map(|leg| self.growth(leg.from)).max().unwrap_or(Growth::Keys),
        }
    }

    /// Has rows forgotten for the view or sink `owner`, which come by these ways, and names it.
    pub fn add_retention(&mut self, owner: &str, retention: Retention, branches: &[Branch]) -> usize {
        let same = |(ways, index): &&(Vec<Branch>, usize)| match &self.operators[*index] {
            Operator::Retention(other) => {
                other.period_ns == retention.period_ns
                    && same_expression(&other.time, &retention.time)
                    && same_branches(ways, branches)
            }
            _ => false,
        };
        if let Some((_, index)) = self.retained.iter().find(same) {
            return *index;
        }
        let name = self.identity(owner, "retention");
        let schema = Arc::clone(&retention.schema);
        let index = self.add_operator(owner, Operator::Retention(Retention { name, ..retention }));
        self.add_legs(branches.iter().cloned(), (Downstream::Operator(index), 0), &schema);
        self.retained.push((branches.to_vec(), index));
        index
    }

    /// Adds the keyed rows of a table and names them.
    pub fn add_table(&mut self, owner: &str, table: Table) -> usize {
        let name = self.identity(owner, "rows");
        self.add_operator(owner, Operator::Table(Table { name, ..table }))
    }

    /// Adds a join of a stream with a table, of the view or sink `owner`, and names it.
    pub fn add_lookup(&mut self, owner: &str, lookup: Lookup) -> usize {
        let name = self.identity(owner, "lookup");
        self.add_operator(owner, Operator::Lookup(Lookup { name, ..lookup }))
    }

    /// Adds what gives the rows of the view or sink `owner` values of rows before, and names it.
    pub fn add_lag(&mut self, owner: &str, lag: Lag) -> usize {
        let name = self.identity(owner, "lag");
        self.add_operator(owner, Operator::Lag(Lag { name, ..lag }))
    }

    /// Adds what tells the rows of the view or sink `owner` their places, and names it.
    pub fn add_rank(&mut self, owner: &str, rank: Rank) -> usize {
        let name = self.identity(owner, "rank");
        self.add_operator(owner, Operator::Rank(Box::new(Rank { name, ..rank })))
    }

    fn add_operator(&mut self, owner: &str, operator: Operator) -> usize {
        // The first of a view goes by the view's name.
        let is_first = !self.titles.iter().any(|title| title == owner);
        let title = match &operator {
            Operator::Retention(_) => operator.name(),
            _ if is_first => owner,
            _ => operator.name(),
        };
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

    /// Adds a materialized view, read from an arrangement by its key.
    pub fn add_view(&mut self, name: &str, flow: &Flow, key: &[usize]) {
        let schema = Arc::clone(flow.schema.inner());
        let expr = |index: &usize| column(*index, &schema, &flow.columns[*index].text);
        let exprs = key.iter().map(expr).collect();
        let types = key.iter().map(|index| schema.field(*index).data_type().clone()).collect();
        let arrangement = self.add_arrangement((name, "view"), flow, exprs, types);
        self.arrangements[arrangement].served = true;
        self.views.push(ServedView { name: name.to_owned(), schema, key: key.to_vec(), arrangement });
    }

    /// The arrangement of a relation by a key, with the legs that lead to it; one that is there already is
    /// shared.
    pub fn add_arrangement(
        &mut self,
        (owner, role): (&str, &str),
        flow: &Flow,
        key: Vec<Expr>,
        key_types: Vec<DataType>,
    ) -> usize {
        let same_key = |kept: &Arrangement| {
            let same = kept.key.iter().zip(&key).all(|(left, right)| same_expression(left, right));
            same && kept.key.len() == key.len() && kept.key_types == key_types
        };
        let all = self.arrangements.iter().zip(&self.arranged);
        if let Some(index) =
            all.clone().position(|(kept, branches)| same_key(kept) && same_branches(branches, &flow.branches))
        {
            return index;
        }
        let schema = Arc::clone(flow.schema.inner());
        let name = self.identity(owner, role);
        self.arrangements.push(Arrangement { name, schema: schema.clone(), key, key_types, served: false });
        self.arranged.push(flow.branches.clone());
        let index = self.arrangements.len() - 1;
        self.add_legs(flow.branches.iter().cloned(), (Downstream::Arrangement(index), 0), &schema);
        index
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
        let branches: Vec<Branch> = branches.collect();
        let count = branches.len() as u32;
        for (branch, number) in branches.into_iter().zip(0..) {
            let name = self.leg_name(branch.from, to);
            self.legs.push(Leg {
                name,
                from: branch.from,
                steps: branch.steps,
                to,
                port,
                branch: number,
                branches: count,
                schema: Arc::clone(schema),
                sources: branch.sources.into_iter().collect(),
            });
        }
    }

    fn leg_name(&mut self, from: Upstream, to: Downstream) -> String {
        let from = match from {
            Upstream::Source(index) => &self.sources[index].name,
            Upstream::Operator(index) => &self.titles[index],
            Upstream::Late(index) => &format!("late({})", self.titles[index]),
        };
        let name = match to {
            Downstream::Operator(index) => match &self.operators[index] {
                Operator::Table(table) => format!("{from}->{}", table.name),
                _ => format!("{from}->{}", self.titles[index]),
            },
            Downstream::Arrangement(index) => match self.arrangements[index].name.strip_suffix("/view") {
                Some(view) => format!("{view}->view"),
                None => format!("{from}->{}", self.arrangements[index].name),
            },
            Downstream::Sink(index) => format!("{from}->{}", self.sinks[index].name),
        };
        let count = self.named.entry(name.clone()).or_insert(0);
        *count += 1;
        if *count == 1 { name } else { format!("{name}#{count}") }
    }

    /// Removes operators and arrangements that no sink and no served view reads, with the legs that lead to
    /// them.
    pub fn remove_unread(&mut self) {
        let served = self.arrangements.iter().enumerate().filter(|(_, kept)| kept.served);
        let mut kept: BTreeSet<usize> = served.map(|(index, _)| index).collect();
        let mut operators = BTreeSet::new();
        // Each operator comes after those that it reads, so the last one is read by sinks and views only.
        for index in (0..self.operators.len()).rev() {
            let read = self.legs.iter().any(|leg| {
                let by_reader = match leg.to {
                    Downstream::Operator(reader) => operators.contains(&reader),
                    Downstream::Arrangement(reader) => kept.contains(&reader),
                    Downstream::Sink(_) => true,
                };
                [Upstream::Operator(index), Upstream::Late(index)].contains(&leg.from) && by_reader
            });
            if read {
                operators.insert(index);
                if let Operator::Join(join) = &self.operators[index] {
                    kept.extend([join.left, join.right]);
                }
            }
        }
        let (operators, kept) = (Moved::of(operators), Moved::of(kept));
        operators.retain(&mut self.operators);
        kept.retain(&mut self.arrangements);
        for operator in &mut self.operators {
            if let Operator::Join(join) = operator {
                (join.left, join.right) = (kept.0[&join.left], kept.0[&join.right]);
            }
        }
        for view in &mut self.views {
            view.arrangement = kept.0[&view.arrangement];
        }
        self.legs.retain_mut(|leg| {
            let from = match &mut leg.from {
                Upstream::Operator(index) | Upstream::Late(index) => operators.follow(index),
                Upstream::Source(_) => true,
            };
            let to = match &mut leg.to {
                Downstream::Operator(index) => operators.follow(index),
                Downstream::Arrangement(index) => kept.follow(index),
                Downstream::Sink(_) => true,
            };
            from && to
        });
    }
}

/// New places of what stays, by the old ones.
struct Moved(BTreeMap<usize, usize>);

impl Moved {
    fn of(stay: BTreeSet<usize>) -> Self {
        Moved(stay.into_iter().zip(0..).collect())
    }

    fn retain<T>(&self, list: &mut Vec<T>) {
        let mut index = 0..;
        list.retain(|_| index.next().is_some_and(|index| self.0.contains_key(&index)));
    }

    /// Whether what stood at `index` stays; then `index` is where.
    fn follow(&self, index: &mut usize) -> bool {
        let new = self.0.get(index);
        new.inspect(|new| *index = **new).is_some()
    }
}

fn same_branches(left: &[Branch], right: &[Branch]) -> bool {
    left.len() == right.len() && left.iter().zip(right).all(|(left, right)| same_branch(left, right))
}

fn same_branch(left: &Branch, right: &Branch) -> bool {
    let same_step = |(left, right): (&Step, &Step)| match (left, right) {
        (Step::Filter(left), Step::Filter(right)) => same_expression(left, right),
        (Step::Project { exprs: left, schema }, Step::Project { exprs: right, schema: other }) => {
            let same = left.iter().zip(right).all(|(left, right)| same_expression(left, right));
            same && schema.fields() == other.fields()
        }
        _ => false,
    };
    left.from == right.from
        && left.steps.len() == right.steps.len()
        && left.steps.iter().zip(&right.steps).all(same_step)
}

fn same_expression(left: &Expr, right: &Expr) -> bool {
    left.uses_now == right.uses_now && *left.physical == *right.physical
}

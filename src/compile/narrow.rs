//! Joins of streams and places that change keep the columns that somebody reads, and no others.
//!
//! What is read is only known when all statements are compiled: so this is done to the plan as a whole.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;

use super::graph::Graph;
use super::prune::{self, Map};
use crate::plan::{Downstream, IntervalJoin, JoinSide, Operator, OrderBy, Places, Rank, Step, Upstream};

/// Narrows every operator that can be. From the last one on: what it does not read, those before it need not keep.
pub(super) fn operators(graph: &mut Graph) {
    for index in (0..graph.operators.len()).rev() {
        let narrow = match &graph.operators[index] {
            Operator::IntervalJoin(join) => narrow_join(graph, index, join),
            Operator::Rank(rank) if matches!(rank.places, Places::Updating(_)) => {
                narrow_rank(graph, index, rank)
            }
            _ => None,
        };
        if let Some(narrow) = narrow {
            narrow.apply(graph, index);
        }
    }
}

/// What becomes of an operator that keeps fewer columns.
struct Narrow {
    operator: Operator,
    /// For each input the columns that are left of it, and their schema.
    inputs: Vec<(Vec<usize>, SchemaRef)>,
    /// The columns that leave, of how many.
    leaving: (Vec<usize>, usize),
}

impl Narrow {
    fn apply(self, graph: &mut Graph, index: usize) {
        let (leaving, width) = &self.leaving;
        for leg in &mut graph.legs {
            if leg.from == Upstream::Operator(index) {
                // What the first step computes for nobody would read columns that are gone.
                let all: Vec<usize> = (0..leg.schema.fields().len()).collect();
                let steps = prune::steps(&leg.steps, &all, all.len(), &leg.schema);
                leg.steps = moved(&steps, leaving, *width);
            }
            if leg.to == Downstream::Operator(index) {
                let (keep, schema) = &self.inputs[usize::from(leg.port)];
                leg.steps = prune::steps(&leg.steps, keep, leg.schema.fields().len(), schema);
                leg.schema = Arc::clone(schema);
            }
        }
        graph.operators[index] = self.operator;
    }
}

fn narrow_join(graph: &Graph, index: usize, join: &IntervalJoin) -> Option<Narrow> {
    let width = join.sides[0].schema.fields().len();
    let keep = kept(graph, index, join)?;
    let split = keep.partition_point(|column| *column < width);
    let right: Vec<usize> = keep[split..].iter().map(|column| column - width).collect();
    let sides = [keep[..split].to_vec(), right];
    let narrow = narrowed(join, &keep, [&sides[0], &sides[1]]);
    let schemas = narrow.sides.iter().map(|side| Arc::clone(&side.schema)).collect::<Vec<_>>();
    Some(Narrow {
        inputs: sides.into_iter().zip(schemas).collect(),
        leaving: (leaving(join, &keep), join.schema.fields().len()),
        operator: Operator::IntervalJoin(Box::new(narrow)),
    })
}

/// Numbers that nobody reads are not there, so that rows which only move to another place give nothing.
fn narrow_rank(graph: &Graph, index: usize, rank: &Rank) -> Option<Narrow> {
    let (width, all) = (rank.width(), rank.schema.fields().len());
    let mut leaving = read(graph, index);
    let exprs = rank.keys.iter().chain(rank.order.iter().map(|by| &by.expr));
    let compared: BTreeSet<usize> = exprs.flat_map(prune::columns).collect();
    if leaving.is_empty() {
        // A row has at least one column.
        leaving.insert(0);
    }
    let rows = leaving.iter().copied().filter(|column| *column < width);
    let hidden = compared.iter().copied().filter(|column| *column >= width || !leaving.contains(column));
    let keep: Vec<usize> = rows.chain(hidden).collect();
    if leaving.len() == all && keep.len() == rank.input.fields().len() {
        return None;
    }
    let leaving: Vec<usize> = leaving.into_iter().collect();
    let map = Map::keeping(&keep, rank.input.fields().len());
    let input = project(&rank.input, &keep);
    let numbers = leaving.iter().filter_map(|column| column.checked_sub(width));
    let order = |by: &OrderBy| OrderBy { expr: map.expr(&by.expr), ..by.clone() };
    let narrow = Rank {
        keys: rank.keys.iter().map(|key| map.expr(key)).collect(),
        order: rank.order.iter().map(order).collect(),
        numbers: numbers.map(|number| rank.numbers[number]).collect(),
        schema: project(&rank.schema, &leaving),
        input: Arc::clone(&input),
        ..rank.clone()
    };
    Some(Narrow {
        operator: Operator::Rank(Box::new(narrow)),
        inputs: vec![(keep, input)],
        leaving: (leaving, all),
    })
}

/// The columns of an operator that somebody reads.
fn read(graph: &Graph, index: usize) -> BTreeSet<usize> {
    let legs = graph.legs.iter().filter(|leg| leg.from == Upstream::Operator(index));
    legs.flat_map(|leg| prune::read(&leg.steps, leg.schema.fields().len())).collect()
}

fn project(schema: &SchemaRef, keep: &[usize]) -> SchemaRef {
    Arc::new(schema.project(keep).expect("columns of the schema"))
}

/// The columns of both sides that a join needs; `None` if it needs all.
fn kept(graph: &Graph, index: usize, join: &IntervalJoin) -> Option<Vec<usize>> {
    let width = join.sides[0].schema.fields().len();
    let mut keep = read(graph, index);
    keep.extend(join.condition.iter().flat_map(prune::columns));
    for (side, offset) in join.sides.iter().zip([0, width]) {
        keep.extend(
            side.keys.iter().flat_map(prune::columns).chain([side.time]).map(|column| column + offset),
        );
    }
    (keep.len() < join.pairs.fields().len()).then(|| keep.into_iter().collect())
}

fn narrowed(join: &IntervalJoin, keep: &[usize], sides: [&[usize]; 2]) -> IntervalJoin {
    let side = |side: &JoinSide, keep: &[usize]| {
        let map = Map::keeping(keep, side.schema.fields().len());
        JoinSide {
            schema: project(&side.schema, keep),
            keys: side.keys.iter().map(|key| map.expr(key)).collect(),
            time: keep.partition_point(|column| *column < side.time),
            ..side.clone()
        }
    };
    let map = Map::keeping(keep, join.pairs.fields().len());
    IntervalJoin {
        sides: [side(&join.sides[0], sides[0]), side(&join.sides[1], sides[1])],
        condition: join.condition.as_ref().map(|condition| map.expr(condition)),
        pairs: project(&join.pairs, keep),
        schema: project(&join.schema, &leaving(join, keep)),
        ..join.clone()
    }
}

/// Those of `keep` that leave: semi and anti joins give the left ones only.
fn leaving(join: &IntervalJoin, keep: &[usize]) -> Vec<usize> {
    keep.iter().copied().filter(|column| *column < join.schema.fields().len()).collect()
}

/// Steps over columns of which only `keep` of `width` are left.
fn moved(steps: &[Step], keep: &[usize], width: usize) -> Vec<Step> {
    let map = Map::keeping(keep, width);
    let mut steps = steps.to_vec();
    for step in &mut steps {
        match step {
            Step::Filter(condition) => *condition = map.expr(condition),
            Step::Project { exprs, .. } => {
                exprs.iter_mut().for_each(|expr| *expr = map.expr(expr));
                break;
            }
        }
    }
    steps
}

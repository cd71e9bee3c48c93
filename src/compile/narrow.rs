//! Joins of streams keep the columns that somebody reads, and no others.
//!
//! What is read is only known when all statements are compiled: so this is done to the plan as a whole.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;

use super::graph::Graph;
use super::prune::{self, Map};
use crate::plan::{Downstream, IntervalJoin, JoinSide, Operator, Step, Upstream};

/// Narrows every join of streams. From the last one on: what it does not read, those before it need not keep.
pub(super) fn joins(graph: &mut Graph) {
    for index in (0..graph.operators.len()).rev() {
        let Operator::IntervalJoin(join) = &graph.operators[index] else { continue };
        let width = join.sides[0].schema.fields().len();
        let Some(keep) = kept(graph, index, join) else { continue };
        let split = keep.partition_point(|column| *column < width);
        let right: Vec<usize> = keep[split..].iter().map(|column| column - width).collect();
        let narrow = narrowed(join, &keep, [&keep[..split], &right]);
        for leg in &mut graph.legs {
            if leg.from == Upstream::Operator(index) {
                // What the first step computes for nobody would read columns that are gone.
                let all: Vec<usize> = (0..leg.schema.fields().len()).collect();
                let steps = prune::steps(&leg.steps, &all, all.len(), &leg.schema);
                leg.steps = moved(&steps, &leaving(join, &keep), join.schema.fields().len());
            }
            if leg.to == Downstream::Operator(index) {
                let port = usize::from(leg.port);
                let keep = if port == 0 { &keep[..split] } else { &right };
                let schema = &narrow.sides[port].schema;
                leg.steps = prune::steps(&leg.steps, keep, leg.schema.fields().len(), schema);
                leg.schema = Arc::clone(schema);
            }
        }
        graph.operators[index] = Operator::IntervalJoin(Box::new(narrow));
    }
}

/// The columns of both sides that a join needs; `None` if it needs all.
fn kept(graph: &Graph, index: usize, join: &IntervalJoin) -> Option<Vec<usize>> {
    let width = join.sides[0].schema.fields().len();
    let mut keep = BTreeSet::new();
    for leg in &graph.legs {
        if leg.from == Upstream::Operator(index) {
            keep.extend(prune::read(&leg.steps, leg.schema.fields().len()));
        }
    }
    keep.extend(join.condition.iter().flat_map(prune::columns));
    for (side, offset) in join.sides.iter().zip([0, width]) {
        keep.extend(
            side.keys.iter().flat_map(prune::columns).chain([side.time]).map(|column| column + offset),
        );
    }
    (keep.len() < join.pairs.fields().len()).then(|| keep.into_iter().collect())
}

fn narrowed(join: &IntervalJoin, keep: &[usize], sides: [&[usize]; 2]) -> IntervalJoin {
    let project = |schema: &SchemaRef, keep: &[usize]| -> SchemaRef {
        Arc::new(schema.project(keep).expect("columns of the schema"))
    };
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

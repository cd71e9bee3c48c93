//! Drops columns that nobody reads before rows are sent to another worker.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use datafusion_common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion_physical_expr::expressions::Column;

use super::expression::NOW;
use crate::plan::{Expr, Step};

/// Where columns have gone.
pub(super) struct Map {
    /// New index by old index; `None`: nothing has moved.
    moved: Option<HashMap<usize, usize>>,
}

impl Map {
    /// Only the columns `keep` of `width` remain, in this order. The column of `now()`, behind the others,
    /// stays behind the others.
    pub fn keeping(keep: &[usize], width: usize) -> Self {
        let mut moved: HashMap<_, _> = keep.iter().enumerate().map(|(new, old)| (*old, new)).collect();
        moved.insert(width, keep.len());
        Map { moved: Some(moved) }
    }

    /// The expression over the columns where they are now.
    pub fn expr(&self, expr: &Expr) -> Expr {
        let Some(moved) = &self.moved else { return expr.clone() };
        let physical = Arc::clone(&expr.physical).transform_up(|node| {
            let Some(column) = node.downcast_ref::<Column>() else { return Ok(Transformed::no(node)) };
            let index = moved[&column.index()];
            Ok(Transformed::yes(Arc::new(Column::new(column.name(), index))))
        });
        // Left as it was, it would read other columns than it means.
        let physical = physical.expect("a column takes the place of a column").data;
        Expr { physical, ..expr.clone() }
    }
}

/// Indices of the columns that an expression reads, without `now()`.
pub(super) fn columns(expr: &Expr) -> BTreeSet<usize> {
    let mut found = BTreeSet::new();
    let _ = expr.physical.apply(|node| {
        if let Some(column) = node.downcast_ref::<Column>()
            && !(expr.uses_now && column.name() == NOW)
        {
            found.insert(column.index());
        }
        Ok(TreeNodeRecursion::Continue)
    });
    found
}

/// Steps that lead to the columns `keep` of the `width` that `steps` lead to, and compute nothing else;
/// `schema` is that of these columns.
pub(super) fn steps(steps: &[Step], keep: &[usize], width: usize, schema: &SchemaRef) -> Vec<Step> {
    let needed = needed(steps, keep);
    let mut map = Map { moved: None };
    let mut kept: Option<Vec<usize>> = None;
    let mut pruned = Vec::new();
    for (step, needed) in steps.iter().zip(needed) {
        match step {
            Step::Filter(condition) => pruned.push(Step::Filter(map.expr(condition))),
            Step::Project { exprs, schema } => {
                let chosen = needed.iter().map(|column| map.expr(&exprs[*column])).collect();
                let fields: Vec<_> =
                    needed.iter().map(|column| Arc::clone(&schema.fields()[*column])).collect();
                pruned.push(Step::Project { exprs: chosen, schema: Arc::new(Schema::new(fields)) });
                map = Map::keeping(&needed, exprs.len());
                kept = Some(needed);
            }
        }
    }
    let current = kept.unwrap_or_else(|| (0..width).collect());
    if current != keep {
        let exprs = keep.iter().enumerate().map(|(new, old)| {
            let name = schema.field(new).name();
            let at = current.iter().position(|column| column == old);
            let at = at.expect("what is read behind the steps is kept by them");
            let physical = Arc::new(Column::new(name, at));
            Expr { physical, text: super::text::name(name), uses_now: false }
        });
        pruned.push(Step::Project { exprs: exprs.collect(), schema: Arc::clone(schema) });
    }
    pruned
}

/// The columns in front of `steps` that they need for the `width` columns they lead to.
pub(super) fn read(steps: &[Step], width: usize) -> BTreeSet<usize> {
    let all: Vec<usize> = (0..width).collect();
    let first = match steps.first() {
        None => return all.into_iter().collect(),
        Some(first) => first,
    };
    let behind = needed(steps, &all).swap_remove(0);
    match first {
        Step::Filter(condition) => behind.into_iter().chain(columns(condition)).collect(),
        Step::Project { exprs, .. } => behind.iter().flat_map(|column| columns(&exprs[*column])).collect(),
    }
}

/// For each step the columns that are read behind it, ascending.
fn needed(steps: &[Step], keep: &[usize]) -> Vec<Vec<usize>> {
    let mut columns_behind: BTreeSet<usize> = keep.iter().copied().collect();
    let mut needed = Vec::new();
    for step in steps.iter().rev() {
        needed.push(columns_behind.iter().copied().collect());
        match step {
            Step::Filter(condition) => columns_behind.extend(columns(condition)),
            Step::Project { exprs, .. } => {
                let read = columns_behind.iter().flat_map(|column| columns(&exprs[*column]));
                columns_behind = read.collect();
            }
        }
    }
    needed.reverse();
    needed
}

//! A stream joined with a table: each of its rows is looked up when it comes, and never written again.

use std::sync::Arc;

use datafusion_expr::Expr;

use super::{Equality, Sides};
use crate::compile::expression;
use crate::compile::flow::{Branch, ColumnInfo, Flow};
use crate::compile::locate;
use crate::compile::lower::{Lowering, one};
use crate::compile::problem::Problem;
use crate::plan::{self, ChangeMode, Downstream, JoinKind, Lookup, Step, Upstream};

impl Lowering<'_> {
    /// Whether a relation is made from tables alone: it is complete before any stream is read.
    pub(super) fn is_of_tables(&self, flow: &Flow) -> bool {
        let mut sources = flow.branches.iter().flat_map(|branch| &branch.sources).peekable();
        sources.peek().is_some() && sources.all(|source| self.graph.sources[*source].table.is_some())
    }

    /// Whether these are a stream and something that its rows are looked up in.
    pub(super) fn is_lookup(&self, sides: &Sides) -> bool {
        sides.left.changes == ChangeMode::AppendOnly
            && sides.right.changes == ChangeMode::Updating
            && self.is_of_tables(&sides.right)
    }

    /// The join of a stream with a table. `rest` are the conditions beside the equalities.
    pub(super) fn lookup(
        &mut self,
        kind: JoinKind,
        sides: &Sides,
        equalities: Vec<Equality>,
        rest: Vec<Expr>,
        clause: &str,
    ) -> Result<Flow, Vec<Problem>> {
        if kind.keeps_right() {
            return Err(vec![self.keeps_right(kind, sides)]);
        }
        if kind.gives_pairs() && !is_unique(sides, &equalities) {
            return Err(vec![self.without_key(kind, sides)]);
        }
        let rest = rest.into_iter().reduce(Expr::and);
        let condition = rest.map(|rest| expression::condition(&rest, &sides.scope(), clause));
        let condition = condition.transpose().map_err(|problem| vec![problem])?;
        let (filter, condition) = if kind == JoinKind::Inner { (condition, None) } else { (None, condition) };
        let mut flow = self.looked_up(kind, sides, equalities, condition)?;
        if let Some(filter) = filter {
            flow.push(&Step::Filter(filter));
        }
        Ok(flow)
    }

    /// Adds the join to the plan.
    fn looked_up(
        &mut self,
        kind: JoinKind,
        sides: &Sides,
        equalities: Vec<Equality>,
        condition: Option<plan::Expr>,
    ) -> Result<Flow, Vec<Problem>> {
        let key_types = equalities.iter().map(|equality| equality.left.data_type.clone()).collect();
        let (left, right): (Vec<_>, Vec<_>) =
            equalities.into_iter().map(|equality| (equality.left.expr, equality.right.expr)).unzip();
        let schema = sides.output(kind).map_err(one)?;
        let index = self.graph.add_lookup(
            self.owner,
            Lookup {
                name: String::new(),
                kind,
                keys: [left, right],
                key_types,
                condition,
                right: Arc::clone(sides.right.schema.inner()),
                pairs: Arc::new(sides.pairs()),
                schema: Arc::clone(schema.inner()),
            },
        );
        for (side, port) in [(&sides.left, 0), (&sides.right, 1)] {
            let to = (Downstream::Operator(index), port);
            self.graph.add_legs(side.branches.iter().cloned(), to, side.schema.inner());
        }
        self.looked_up_in.push(sides.right.name());
        let both = sides.left.branches.iter().chain(&sides.right.branches);
        let sources = both.flat_map(|branch| branch.sources.clone()).collect();
        let own = sides.left.columns.iter().cloned();
        let looked_up = sides.right.columns.iter().map(ColumnInfo::without_time);
        let width = schema.fields().len();
        Ok(Flow {
            schema,
            columns: own.chain(looked_up).take(width).collect(),
            changes: ChangeMode::AppendOnly,
            // A row of the stream has one match at most.
            key: sides.left.key.clone(),
            other_keys: sides.left.other_keys.clone(),
            upsert_key: sides.left.upsert_key.clone(),
            branches: vec![Branch { from: Upstream::Operator(index), steps: Vec::new(), sources }],
        })
    }

    fn keeps_right(&self, kind: JoinKind, sides: &Sides) -> Problem {
        let (stream, table) = (sides.left.name(), sides.right.name());
        let word = if kind == JoinKind::Full { "FULL" } else { "RIGHT" };
        let message = format!(
            "a {word} JOIN would give rows of the table `{table}` that no row of `{stream}` has asked for yet"
        );
        let hint = "rows of a stream are looked up when they come: write JOIN, or LEFT JOIN";
        Problem::new(message).hint(hint).or_at(locate::relation(self.query, &table))
    }

    /// A stream is to be looked up in a table by something else than the whole key.
    pub(super) fn without_key(&self, kind: JoinKind, sides: &Sides) -> Problem {
        let (stream, table) = (sides.left.name(), sides.right.name());
        let Some(key) = &sides.right.key else {
            let message = format!("`{table}` has no key by which rows of `{stream}` could be looked up");
            let hint = "join the table itself, or a view that keeps its key";
            return Problem::new(message).hint(hint).or_at(locate::relation(self.query, &table));
        };
        let shown = sides.right.names(key);
        let message = format!(
            "rows of `{stream}` are looked up in `{table}` by its whole key ({shown}), which the condition does \
             not bind"
        );
        let equalities: Vec<String> = key
            .iter()
            .map(|column| {
                let name = &sides.right.columns[*column].text;
                format!("{stream}.{name} = {table}.{name}")
            })
            .collect();
        let equalities = equalities.join(" AND ");
        let (write, join) = match kind.gives_pairs() {
            true => (format!("ON {equalities}"), "join"),
            // An expression that can fail on a row decides nothing by itself there.
            false => (
                format!("EXISTS (SELECT 1 FROM {table} WHERE {equalities}), with plain columns"),
                "look into",
            ),
        };
        let hint = format!(
            "write {write}; to find rows by other columns, aggregate by these in a view and {join} that"
        );
        Problem::new(message).hint(hint).or_at(locate::relation(self.query, &table))
    }

    /// A table joined with a stream on its right side.
    pub(super) fn reversed(&self, kind: JoinKind, sides: &Sides) -> Option<Problem> {
        let reversed = sides.right.changes == ChangeMode::AppendOnly
            && sides.left.changes == ChangeMode::Updating
            && self.is_of_tables(&sides.left);
        if !reversed || !kind.gives_pairs() {
            return None;
        }
        let (table, stream) = (sides.left.name(), sides.right.name());
        let message = format!("`{table}` is a table, in which the rows of `{stream}` would be looked up");
        let hint = match kind {
            JoinKind::Inner => format!("write FROM {stream} JOIN {table} ON ..."),
            _ => format!("write FROM {stream} LEFT JOIN {table} ON ..., which gives all rows of {stream}"),
        };
        Some(Problem::new(message).hint(hint).or_at(locate::relation(self.query, &table)))
    }
}

/// Whether a row meets at most one of the right side: the equalities bind a key of it.
pub(super) fn is_unique(sides: &Sides, equalities: &[Equality]) -> bool {
    let column = |equality: &Equality| equality.columns.map(|(_, right)| right).or(equality.right.column);
    let bound: Vec<usize> = equalities.iter().filter_map(column).collect();
    let mut keys = sides.right.key.iter().chain(&sides.right.other_keys);
    keys.any(|key| key.iter().all(|column| bound.contains(column)))
}

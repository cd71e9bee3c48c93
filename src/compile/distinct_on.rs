//! DISTINCT ON: the first row of each key, remembered for a horizon of event time.
//!
//! The columns of the SELECT list are computed before: a row that fails is a dead letter and holds no place, so
//! that a corrected one can take it.

use std::sync::Arc;

use arrow::datatypes::{Field, FieldRef, Schema};
use datafusion_expr::Expr;
use datafusion_expr::logical_plan::DistinctOn;

use super::distinct::incomparable;
use super::expression::{Compiled, Scope, columns_span, compile};
use super::flow::{Branch, Flow};
use super::graph::Graph;
use super::locate;
use super::lower::{Lowering, Output, described, one, outputs};
use super::options::DeduplicateHorizon;
use super::problem::Problem;
use super::prune;
use crate::plan::{self, Bound, ChangeMode, Deduplication, Horizon, Step, Upstream};

impl Lowering<'_> {
    pub(super) fn distinct_on(&mut self, on: &DistinctOn) -> Result<Flow, Vec<Problem>> {
        let flow = self.flow(&on.input)?;
        let places = locate::distinct_on(self.query);
        let place = |index: usize| places.get(index).copied();
        let wrong = |problem: Problem| vec![problem.or_at(place(0)).near(columns_span(&on.on_expr[0]))];
        if flow.changes == ChangeMode::Updating {
            return Err(wrong(updating()));
        }
        let scope = Scope { no_now: None, ..Scope::over(&flow) };
        let mut columns =
            Columns { visible: outputs(&on.select_expr, &on.schema, &scope)?, hidden: Vec::new() };
        let keys = on.on_expr.iter().zip(0..);
        let keys =
            keys.map(|(expr, index)| key(expr, &flow).map_err(|problem| vec![problem.or_at(place(index))]));
        let keys = keys.collect::<Result<Vec<_>, _>>()?;
        let keys: Vec<usize> = keys.into_iter().map(|key| columns.place(key)).collect();
        let horizon = self.remembered(&flow).map_err(wrong)?;
        let horizon = horizon.map(|(time, ns)| columns.horizon(&flow, time, ns, self.graph));

        let (schema, infos) = described(&columns.visible).map_err(one)?;
        let input = Arc::new(columns.schema(schema.as_arrow()));
        let content = (0..infos.len()).filter(|column| {
            let own = !infos[*column].transport && !schema.field(*column).name().starts_with('_');
            own && !keys.contains(column)
        });
        let content = content.collect();
        let is_known = keys.iter().all(|key| *key < infos.len());
        let mut names = keys.clone();
        names.sort_unstable();
        names.dedup();
        let names = is_known.then_some(names);
        // Behind a horizon a key may come again.
        let (key, upsert_key) = if horizon.is_none() { (names, None) } else { (None, names) };

        let step = Step::Project { exprs: columns.exprs(), schema: Arc::clone(&input) };
        let (mut before, width) = (flow, input.fields().len());
        before.push(&step);
        let all: Vec<usize> = (0..width).collect();
        let sources = before.branches.iter().flat_map(|branch| branch.sources.clone()).collect();
        let legs = before.branches.into_iter().map(|branch| {
            let steps = prune::steps(&branch.steps, &all, width, &input);
            Branch { steps, ..branch }
        });
        let schema_out = Arc::clone(schema.inner());
        let deduplication = Deduplication {
            name: String::new(),
            input: Arc::clone(&input),
            schema: schema_out,
            keys,
            content,
            horizon,
        };
        let index = self.graph.add_deduplication(self.owner, deduplication, legs.collect());
        let flow = Flow {
            schema,
            columns: infos,
            changes: ChangeMode::AppendOnly,
            key,
            other_keys: Vec::new(),
            upsert_key,
            branches: vec![Branch { from: Upstream::Operator(index), steps: Vec::new(), sources }],
        };
        // The rows that are too late have the columns of those that stay.
        if self.catalog.statements.late.contains(self.owner) {
            let late = flow.late(index);
            self.late.push(Flow { key: None, other_keys: Vec::new(), upsert_key: None, ..late });
        }
        Ok(flow)
    }

    /// By which column, and how long in nanoseconds, a key is remembered; `None`: for ever.
    fn remembered(&self, flow: &Flow) -> Result<Option<(usize, i64)>, Problem> {
        let time = flow.columns.iter().position(|column| column.time.is_some());
        let (column, ns) = match (self.timing.horizon, time) {
            (Some(DeduplicateHorizon::Unbounded), _) => return Ok(None),
            (Some(DeduplicateHorizon::Ns(ns)), Some(column)) => (column, ns),
            (None, Some(column)) => (column, ahead(flow, column, self.graph)),
            (_, None) => {
                let message = "DISTINCT ON remembers keys by event time, and no column of its input is a time attribute";
                let hint = "declare WATERMARK FOR the event time in the source, and select that column as it is in the \
                            views between; or write CREATE VIEW ... WITH (deduplicate_horizon = 'unbounded') to \
                            remember every key";
                return Err(Problem::new(message).hint(hint));
            }
        };
        if ns > 0 {
            return Ok(Some((column, ns)));
        }
        let name = &flow.columns[column].text;
        let message = format!(
            "DISTINCT ON would find nothing: the watermark of `{name}` has no delay, which is the horizon"
        );
        let hint = "say how far apart duplicates may be: CREATE VIEW ... WITH (deduplicate_horizon = '10 minutes') AS \
                    SELECT DISTINCT ON ...";
        Err(Problem::new(message).hint(hint))
    }
}

/// What arrives at the operator: the columns of the SELECT list, and behind them what only it reads.
struct Columns {
    visible: Vec<Output>,
    hidden: Vec<Compiled>,
}

impl Columns {
    fn all(&self) -> impl Iterator<Item = &Compiled> {
        self.visible.iter().map(|output| &output.compiled).chain(&self.hidden)
    }

    /// Where a value stands; it is added if it does not yet.
    fn place(&mut self, wanted: Compiled) -> usize {
        let same = |found: &Compiled| {
            *found.expr.physical == *wanted.expr.physical && found.expr.uses_now == wanted.expr.uses_now
        };
        if let Some(place) = self.all().position(same) {
            return place;
        }
        self.hidden.push(wanted);
        self.visible.len() + self.hidden.len() - 1
    }

    /// The horizon by event time of column `column` of `flow`. A row without event time is none for DISTINCT ON:
    /// it becomes a dead letter.
    fn horizon(&mut self, flow: &Flow, column: usize, ns: i64, graph: &Graph) -> Horizon {
        let scope = Scope::over(flow);
        let field = scope.schema.field(column);
        let info = &flow.columns[column];
        let time = self.place(Compiled {
            expr: super::expression::column(column, scope.schema.as_arrow(), &info.text),
            data_type: field.data_type().clone(),
            nullable: false,
            column: Some(column),
            json: false,
            ingestion: info.ingestion,
            transport: info.transport,
            time: info.time.clone(),
            window_end: info.window_end,
            retention: info.retention,
        });
        if let Some(output) = self.visible.get_mut(time) {
            output.compiled.nullable = false;
        }
        let bound = info.time.clone().unwrap_or(Bound::Least(Vec::new()));
        Horizon { time, ns, ahead_ns: ahead(flow, column, graph), bound }
    }

    fn schema(&self, visible: &Schema) -> Schema {
        let field = |hidden: &Compiled| -> FieldRef {
            Arc::new(Field::new(&hidden.expr.text, hidden.data_type.clone(), hidden.nullable))
        };
        Schema::new(visible.fields().iter().cloned().chain(self.hidden.iter().map(field)).collect::<Vec<_>>())
    }

    fn exprs(&self) -> Vec<plan::Expr> {
        self.all().map(|compiled| compiled.expr.clone()).collect()
    }
}

/// An expression of DISTINCT ON.
fn key(expr: &Expr, flow: &Flow) -> Result<Compiled, Problem> {
    let scope = Scope { no_now: Some("`now()` cannot be used in DISTINCT ON"), ..Scope::over(flow) };
    let compiled = compile(expr, &scope)?;
    let text = &compiled.expr.text;
    let problem = if compiled.json {
        incomparable(text)
    } else if prune::columns(&compiled.expr).is_empty() {
        Problem::new(format!("`{text}` in DISTINCT ON is the same for all rows"))
            .hint("name columns of the input")
    } else if compiled.ingestion {
        let message =
            format!("`{text}` depends on when a record is read, so that no other record has the same");
        Problem::new(message).hint("name what a record that is sent twice has in common, such as an id")
    } else {
        return Ok(compiled);
    };
    Err(problem.near(columns_span(expr)))
}

/// How far the newest event time of a column usually is ahead of its watermark, in nanoseconds.
fn ahead(flow: &Flow, column: usize, graph: &Graph) -> i64 {
    fn of(bound: &Bound, graph: &Graph) -> i64 {
        match bound {
            Bound::Source(index) => graph.sources[*index].watermark.map_or(0, |watermark| watermark.delay_ns),
            Bound::Least(all) => all.iter().map(|bound| of(bound, graph)).max().unwrap_or(0),
            Bound::Back { of: inner, by_ns } => of(inner, graph).saturating_add(*by_ns),
            Bound::Starts { of: inner, size_ns, .. } => of(inner, graph).saturating_add(*size_ns),
        }
    }
    flow.columns[column].time.as_ref().map_or(0, |bound| of(bound, graph))
}

fn updating() -> Problem {
    let message =
        "DISTINCT ON keeps the first of rows that are only added, and those of this relation are replaced";
    let hint = "use GROUP BY with first_value or last_value(x ORDER BY t) for each column: its row follows the changes";
    Problem::new(message).hint(hint)
}

//! `state_retention`: how long rows are kept by what would keep all that ever comes, live views and joins.

use std::sync::Arc;

use super::Compiler;
use super::aggregate::Retention;
use super::ast::CreateView;
use super::diagnostic::Diagnostic;
use super::expression::column;
use super::flow::{Branch, ColumnInfo, Flow};
use super::graph::{Graph, Growth};
use super::lower::Lowering;
use super::options::ViewOptions;
use crate::plan::{self, ChangeMode, Upstream};

impl Compiler {
    /// Adds the live view of a relation with a key. One whose key holds event time has more rows with every window:
    /// these are shown as long as the view says, or as is usual.
    pub(super) fn serve(&mut self, create: &CreateView, flow: &Flow, key: &[usize]) {
        let name = &create.name.value;
        let period = match (self.retention, time_of(flow, key)) {
            (Retention::Unbounded, _) | (_, None) => None,
            (Retention::Period(ns), Some(time)) => Some((time, ns, false)),
            (_, Some(time)) => match flow.columns[time].retention {
                Retention::Unbounded => None,
                Retention::Period(ns) => Some((time, ns, false)),
                _ => Some((time, plan::Retention::USUAL_NS, true)),
            },
        };
        match period {
            None => self.graph.add_view(name, flow, key),
            Some(period) => {
                let kept = self.graph.retained(name, flow, period);
                self.graph.add_view(name, &kept, key);
            }
        }
    }

    /// The relation of a view, which remembers what the view says of its rows. A view that says it and has no rows
    /// that could be forgotten is told so.
    pub(super) fn with_retention(&mut self, mut flow: Flow, used: bool, options: &ViewOptions) -> Flow {
        if let Retention::Unbounded | Retention::Period(_) = self.retention {
            let mut used = used;
            for column in flow.columns.iter_mut().filter(|column| column.time.is_some()) {
                column.retention = self.retention;
                used = true;
            }
            if let (Retention::Period(_), false, Some((_, span))) = (self.retention, used, options.retention)
            {
                let message = "`state_retention` as a length of time says how long rows are kept when event time has \
                               passed them, and no column of this view is event time";
                let hint = "leave it out, or bound the state of a GROUP BY with a window: a group by session(t, \
                            INTERVAL '7 days') ends when nothing has come for so long";
                self.diagnostics.push(Diagnostic::new(span, message).hint(hint));
            }
        }
        flow
    }
}

/// The time attribute among some columns by which rows are forgotten: the end of a window, if there is one.
pub(super) fn time_of(flow: &Flow, columns: &[usize]) -> Option<usize> {
    let of = |is: fn(&ColumnInfo) -> bool| {
        columns
            .iter()
            .copied()
            .find(|column| flow.columns[*column].time.is_some() && is(&flow.columns[*column]))
    };
    of(|column| column.window_end).or_else(|| of(|_| true))
}

impl Graph {
    /// The rows of a relation, each until event time has passed its `time` by `ns` nanoseconds.
    pub(super) fn retained(
        &mut self,
        owner: &str,
        flow: &Flow,
        (time, ns, by_default): (usize, i64, bool),
    ) -> Flow {
        let schema = Arc::clone(flow.schema.inner());
        let expr = |index: usize| column(index, &schema, &flow.columns[index].text);
        let mut by = flow.key.clone().unwrap_or_default();
        if by.is_empty() {
            by.push(time);
        }
        let bound = flow.columns[time].time.clone().expect("a time attribute");
        let retention = plan::Retention {
            name: String::new(),
            keys: by.into_iter().map(expr).collect(),
            time: expr(time),
            time_field: Arc::new(schema.field(time).clone().with_nullable(false)),
            // A window is as old as its end is.
            period_ns: ns.saturating_add(bound.windows_ns()),
            bound,
            by_default,
            schema,
        };
        let sources = flow.branches.iter().flat_map(|branch| branch.sources.clone()).collect();
        let index = self.add_retention(owner, retention, &flow.branches);
        Flow {
            changes: ChangeMode::Updating,
            upsert_key: None,
            branches: vec![Branch { from: Upstream::Operator(index), steps: Vec::new(), sources }],
            ..flow.clone()
        }
    }
}

impl Lowering<'_> {
    /// With what a side of a join grows, beside the number of keys.
    pub(super) fn growth(&self, side: &Flow) -> Growth {
        let branches = side.branches.iter().map(|branch| self.graph.growth(branch.from));
        branches.max().unwrap_or(Growth::Keys)
    }

    /// What is said of how long the rows of a side are kept, and the time attribute that tells: by the view that
    /// joins it, else by its own.
    pub(super) fn said_of(&self, side: &Flow) -> (Retention, Option<usize>) {
        let time = time_of(side, &(0..side.columns.len()).collect::<Vec<_>>());
        let said = match self.retention {
            Retention::Undecided | Retention::OfSink => {
                time.map_or(self.retention, |time| side.columns[time].retention)
            }
            own => own,
        };
        (said, time)
    }

    /// The rows of a side that a join keeps, where it would keep all of them otherwise and something is said of how
    /// long.
    pub(super) fn kept(&mut self, side: Flow) -> Flow {
        match self.said_of(&side) {
            (Retention::Period(ns), Some(time)) if self.growth(&side) != Growth::Keys => {
                self.retention_used = true;
                self.graph.retained(self.owner, &side, (time, ns, false))
            }
            _ => side,
        }
    }
}

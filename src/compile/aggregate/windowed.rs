//! The window of a GROUP BY: which of its groups stand for it, and what its columns are.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion_expr::Expr;

use crate::compile::expression::{Scope, columns_span, compile, unalias};
use crate::compile::flow::{ColumnInfo, Flow};
use crate::compile::lower::Lowering;
use crate::compile::options::DeduplicateHorizon;
use crate::compile::problem::Problem;
use crate::compile::types::{self, TIMESTAMP};
use crate::compile::window::{self, Edge};
use crate::plan::{ChangeMode, Emit, Window, Windowing};

/// What the author of a statement has said about when windows give their results.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::compile) struct Timing {
    pub emit: Emit,
    /// Nanoseconds.
    pub allowed_lateness_ns: i64,
    /// How long DISTINCT ON remembers.
    pub horizon: Option<DeduplicateHorizon>,
}

/// A window among the groups of a GROUP BY.
pub(super) struct WindowGroups {
    pub windowing: Windowing,
    /// The columns that it adds to the result, behind the keys.
    pub columns: Vec<WindowColumn>,
}

/// The start or the end of a window in the result.
pub(super) struct WindowColumn {
    /// The place among the groups of the planner.
    pub group: usize,
    pub name: String,
    pub info: ColumnInfo,
}

impl Lowering<'_> {
    /// The window that `groups` name, if they name one.
    pub(super) fn window(
        &mut self,
        groups: &[Expr],
        flow: &Flow,
        scope: &Scope,
    ) -> Result<Option<WindowGroups>, Vec<Problem>> {
        let found =
            groups.iter().enumerate().filter_map(|(at, group)| Some((at, window::of(unalias(group))?)));
        let found: Vec<_> = found.collect();
        let Some((_, (_, kind, time))) = found.first() else { return Ok(self.given(groups, flow, scope)) };
        let compiled = compile(time, scope).map_err(|problem| vec![problem])?;
        let Some(bound) = compiled.time.clone() else {
            let of = (compiled.column, &compiled.data_type);
            return Err(vec![no_time(&compiled.expr.text, flow, of).near(columns_span(time))]);
        };
        if let (Window::Session { .. }, ChangeMode::Updating) = (*kind, flow.changes) {
            let problem = Problem::new("`session` needs rows that are only added, and these are replaced");
            let hint = "take the rows in front of what replaces them; a view with EMIT CHANGES or allowed_lateness is \
                        updating";
            return Err(vec![problem.hint(hint).near(columns_span(time))]);
        }
        let windowing = self.windowing(*kind, compiled.expr, bound);
        let column = |(group, (edge, _, _)): &(usize, (Edge, Window, &Expr))| WindowColumn {
            group: *group,
            name: edge.name().to_owned(),
            info: edge_info(*edge, &windowing),
        };
        let mut columns: Vec<_> = found.iter().map(column).collect();
        columns.sort_by_key(|column| column.name == Edge::End.name());
        Ok(Some(WindowGroups { columns, windowing }))
    }

    /// The windows of a windowed view, grouped by their ends.
    fn given(&mut self, groups: &[Expr], flow: &Flow, scope: &Scope) -> Option<WindowGroups> {
        let mut ends = groups.iter().enumerate().filter_map(|(at, group)| {
            let compiled = compile(group, scope).ok()?;
            let column = compiled.column.filter(|column| flow.columns[*column].window_end)?;
            Some((at, column, compiled))
        });
        let (group, column, compiled) = ends.next_back()?;
        let windowing = self.windowing(Window::Given, compiled.expr, compiled.time?);
        let name = flow.schema.field(column).name().clone();
        let info = ColumnInfo { text: flow.columns[column].text.clone(), ..edge_info(Edge::End, &windowing) };
        Some(WindowGroups { columns: vec![WindowColumn { group, name, info }], windowing })
    }

    fn windowing(&mut self, window: Window, time: crate::plan::Expr, bound: crate::plan::Bound) -> Windowing {
        self.windows += 1;
        let Timing { emit, allowed_lateness_ns, .. } = self.timing;
        Windowing { window, time, bound, allowed_lateness_ns, emit }
    }
}

impl WindowGroups {
    /// The fields of its columns; `unused` makes names that no other column has.
    pub(super) fn fields(&self, mut unused: impl FnMut(String) -> String) -> Vec<FieldRef> {
        let field =
            |column: &WindowColumn| Arc::new(Field::new(unused(column.name.clone()), TIMESTAMP, false));
        self.columns.iter().map(field).collect()
    }

    /// Whether one of the groups is a column of the window.
    pub(super) fn has(&self, group: usize) -> bool {
        self.columns.iter().any(|column| column.group == group)
    }

    /// What is known of a key column of the result. Where the windows are those of the input, event time has come
    /// as far in it as there.
    pub(super) fn key_info(&self, info: ColumnInfo) -> ColumnInfo {
        let late_ns = self.windowing.allowed_lateness_ns;
        match self.windowing.window {
            Window::Given => ColumnInfo { time: info.time.map(|bound| bound.back(late_ns)), ..info },
            _ => info.without_time(),
        }
    }
}

fn edge_info(edge: Edge, windowing: &Windowing) -> ColumnInfo {
    let time = match edge {
        Edge::Start => windowing.starts(),
        Edge::End => Some(windowing.ends()),
    };
    ColumnInfo { text: edge.name().to_owned(), time, window_end: edge == Edge::End, ..ColumnInfo::default() }
}

/// Says that windows cannot be over a column.
fn no_time(text: &str, flow: &Flow, (column, kind): (Option<usize>, &DataType)) -> Problem {
    let known: Vec<&str> =
        flow.columns.iter().filter(|info| info.time.is_some()).map(|info| info.text.as_str()).collect();
    if *kind != TIMESTAMP {
        let problem =
            Problem::new(format!("`{text}` is {}, and windows are over event time", types::name(kind)));
        let made = match kind {
            DataType::Int32 | DataType::Int64 | DataType::Float64 => format!("to_timestamp_millis({text})"),
            DataType::Utf8 => format!("to_timestamp({text})"),
            _ => "expression".to_owned(),
        };
        return problem.hint(match (known.as_slice(), column) {
            ([], Some(_)) => format!(
                "if it is a time, make one of it in the source, at TIMESTAMP AS {made}, and WATERMARK FOR at AS at - \
                 INTERVAL '10 seconds'"
            ),
            ([], None) => "declare a WATERMARK FOR a TIMESTAMP of the source, and use that".to_owned(),
            (known, _) => format!("use {}", known.join(" or ")),
        });
    }
    let problem = Problem::new(format!(
        "`{text}` is no time attribute: nobody knows how far event time has come in it"
    ));
    problem.hint(match (known.as_slice(), column) {
        ([], _) if flow.changes == ChangeMode::Updating => {
            "windows are over sources, or over views that have kept \
            the time attribute of one: a GROUP BY without window has none"
                .to_owned()
        }
        ([], Some(_)) if text == Edge::Start.name() => {
            "of sessions only window_end is a time attribute: select it in the view as well, and use it"
                .to_owned()
        }
        ([], Some(_)) => {
            format!("declare it in the source: WATERMARK FOR {text} AS {text} - INTERVAL '10 seconds'")
        }
        ([], None) => {
            "declare a WATERMARK FOR a column of the source, and use this column as it is".to_owned()
        }
        (known, _) if text == Edge::Start.name() && known.contains(&Edge::End.name()) => {
            "use window_end: how early sessions began that are still open nobody knows. Or group by \
             date_trunc('hour', window_start), which needs no window: its results change while sessions come"
                .to_owned()
        }
        (known, _) => format!("use a time attribute as it is, not computed: {}", known.join(", ")),
    })
}

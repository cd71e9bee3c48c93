//! Windows in GROUP BY: `tumble`, `hop`, `cumulate`, `session`, and `window_start` and `window_end`. Those in FROM
//! become such ones, or rows with their windows.
//!
//! The planner knows nothing of them. In the syntax a window in GROUP BY is replaced by two calls that it takes for
//! functions, of its start and its end, and the names `window_start` and `window_end` by the same calls.

mod call;
mod from;
pub(super) mod row;

use std::ops::ControlFlow;
use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion_common::{Result, ScalarValue, exec_err};
use datafusion_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion_sql::sqlparser::ast::{self, Function, GroupByExpr, Ident, SelectItem, Spanned, TableFactor};
use datafusion_sql::sqlparser::tokenizer::Span;

pub(super) use self::call::call;
pub(super) use self::from::in_from;
use super::catalog::Catalog;
use super::diagnostic::Diagnostic;
use super::problem::or_else;
use super::refuse;
use super::refuse::query::normalized;
use super::types::TIMESTAMP;
use crate::plan::Window;

/// The names of window functions.
const WINDOWS: [&str; 4] = ["tumble", "hop", "cumulate", "session"];

/// One of the two times that name a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Edge {
    Start,
    End,
}

impl Edge {
    pub const fn name(self) -> &'static str {
        match self {
            Edge::Start => "window_start",
            Edge::End => "window_end",
        }
    }

    const fn word(self) -> &'static str {
        match self {
            Edge::Start => "start",
            Edge::End => "end",
        }
    }

    fn named(name: &str) -> Option<Edge> {
        [Edge::Start, Edge::End].into_iter().find(|edge| edge.name() == name)
    }
}

/// What the planner takes for a function; it is never called.
#[derive(Debug, PartialEq, Eq, Hash)]
struct EdgeFunction {
    edge: Edge,
    signature: Signature,
}

impl ScalarUDFImpl for EdgeFunction {
    fn name(&self) -> &str {
        self.edge.name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _types: &[DataType]) -> Result<DataType> {
        Ok(TIMESTAMP)
    }

    fn invoke_with_args(&self, _args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        exec_err!("{} stands for a column of the GROUP BY", self.edge.name())
    }
}

/// The functions that stand for the start and the end of a window.
pub(super) fn functions() -> impl Iterator<Item = Arc<ScalarUDF>> {
    let edges = [Edge::Start, Edge::End].into_iter().map(|edge| {
        let signature = Signature::variadic_any(Volatility::Immutable);
        Arc::new(ScalarUDF::new_from_impl(EdgeFunction { edge, signature }))
    });
    edges.chain([Arc::new(row::function())])
}

/// Whether a name is that of a window, or of its start or end.
pub(super) fn is_function(name: &str) -> bool {
    WINDOWS.contains(&name) || Edge::named(name).is_some() || name == row::NAME
}

/// The edge that a function of Flink's older syntax stands for, `TUMBLE_START(time, size)`, with the window.
pub(super) fn edge_of_call(name: &str) -> Option<(&str, Edge)> {
    let (kind, edge) = name.rsplit_once('_')?;
    let edge = match edge {
        "start" => Edge::Start,
        "end" => Edge::End,
        _ => return None,
    };
    WINDOWS.contains(&kind).then_some((kind, edge))
}

/// The window that an expression of the planner stands for, with the expression of its time.
pub(super) fn of(expr: &Expr) -> Option<(Edge, Window, &Expr)> {
    let Expr::ScalarFunction(call) = expr else { return None };
    let edge = Edge::named(call.func.name())?;
    let [Expr::Literal(ScalarValue::Utf8(Some(kind)), _), time, lengths @ ..] = call.args.as_slice() else {
        return None;
    };
    let length = |expr: &Expr| match expr {
        Expr::Literal(ScalarValue::Int64(length), _) => *length,
        _ => None,
    };
    let lengths: Vec<i64> = lengths.iter().map(length).collect::<Option<_>>()?;
    Some((edge, window(kind, &lengths)?, time))
}

fn window(kind: &str, lengths: &[i64]) -> Option<Window> {
    match (kind, lengths) {
        ("tumble", &[size_ns]) => Some(Window::Tumble { size_ns }),
        ("hop", &[slide_ns, size_ns]) => Some(Window::Hop { slide_ns, size_ns }),
        ("cumulate", &[step_ns, size_ns]) => Some(Window::Cumulate { step_ns, size_ns }),
        ("session", &[gap_ns]) => Some(Window::Session { gap_ns }),
        _ => None,
    }
}

/// Replaces the windows of a query, and of the queries inside of it.
pub(super) fn rewrite(catalog: &Catalog, query: &mut ast::Query, span: Span) -> Vec<Diagnostic> {
    let mut rewriting = Rewriting { catalog, span, diagnostics: Vec::new() };
    let _ = ast::VisitMut::visit(query, &mut rewriting);
    rewriting.diagnostics
}

struct Rewriting<'a> {
    catalog: &'a Catalog,
    /// Where the query stands.
    span: Span,
    diagnostics: Vec<Diagnostic>,
}

impl ast::VisitorMut for Rewriting<'_> {
    type Break = ();

    fn pre_visit_select(&mut self, select: &mut ast::Select) -> ControlFlow<()> {
        self.grouped_from(select);
        self.select(select);
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        self.rows_from(factor);
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut ast::Expr) -> ControlFlow<()> {
        if let ast::Expr::Function(call) = expr
            && let Some((kind, edge)) = edge_of_call(&call.name.to_string().to_lowercase())
        {
            let message = format!("`{kind}_{}` is of no window in this GROUP BY", edge.word());
            let hint = format!("give it the arguments of `{kind}` in GROUP BY, or write {}", edge.name());
            self.diagnostics.push(Diagnostic::new(or_else(call.name.span(), self.span), message).hint(hint));
        }
        ControlFlow::Continue(())
    }
}

impl Rewriting<'_> {
    fn select(&mut self, select: &mut ast::Select) {
        let GroupByExpr::Expressions(groups, _) = &mut select.group_by else { return };
        let mut windows = groups.iter().enumerate().filter(|(_, group)| call(group).is_some());
        let Some((at, _)) = windows.next() else { return };
        if let Some((_, second)) = windows.next() {
            let error = Diagnostic::new(or_else(second.span(), self.span), "a GROUP BY has one window");
            let hint = "write a view for each window; UNION ALL puts their rows together";
            return self.diagnostics.push(error.hint(hint));
        }
        let edges = match self.called(&groups[at]) {
            Ok(called) => called.edges(),
            Err(diagnostic) => return self.diagnostics.push(diagnostic),
        };
        let items = select.projection.iter_mut().filter_map(|item| match item {
            SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => Some(expr),
            _ => None,
        });
        items.chain(&mut select.having).for_each(|expr| name_edges(expr, &groups[at]));
        let mut others = groups.iter().enumerate().filter(|(index, _)| *index != at).map(|(_, group)| group);
        if let Some(group) = others.find(|group| names_edge(group, &select.projection)) {
            let message = format!("`{group}` follows from the window: a group has one start and one end");
            let hint = "leave it out of GROUP BY, the SELECT list can use it; a column of what is read is named with \
                        its relation: v.window_start";
            let error = Diagnostic::new(or_else(group.span(), self.span), message);
            return self.diagnostics.push(error.hint(hint));
        }
        groups.splice(at..=at, edges.iter().cloned());
        for item in &mut select.projection {
            if let SelectItem::UnnamedExpr(ast::Expr::Identifier(name)) = item
                && let Some(edge) = Edge::named(&normalized(name))
            {
                let alias = Ident { value: edge.name().to_owned(), quote_style: Some('"'), span: name.span };
                *item = SelectItem::ExprWithAlias { expr: edges[edge as usize].clone(), alias };
            } else if let SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } = item {
                replace(self.catalog, expr, &edges);
            }
        }
        select.having.iter_mut().for_each(|having| replace(self.catalog, having, &edges));
    }
}

/// Whether an item of GROUP BY names the start or the end of a window: itself, or as the number or the name of an
/// item of the SELECT list.
fn names_edge(group: &ast::Expr, projection: &[SelectItem]) -> bool {
    let meant = item_of(group, projection).unwrap_or(group);
    let found = ast::visit_expressions(meant, |expr| match expr {
        ast::Expr::Identifier(name) if Edge::named(&normalized(name)).is_some() => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    });
    found.is_break()
}

/// Puts the names of its edges in the place of `TUMBLE_START(time, size)` and the like.
fn name_edges(expr: &mut ast::Expr, window: &ast::Expr) {
    let Some((window, kind)) = call(window) else { return };
    let same = |call: &Function| {
        edge_of_call(&call.name.to_string().to_lowercase())
            .filter(|(of, _)| *of == kind)
            .map(|(_, edge)| edge)
    };
    let written = |call: &Function| call.args.to_string().to_lowercase();
    let _ = ast::visit_expressions_mut(expr, |expr| {
        if let ast::Expr::Function(call) = &*expr
            && let Some(edge) = same(call).filter(|_| written(call) == written(window))
        {
            let (value, span) = (edge.name().to_owned(), call.name.span());
            *expr = ast::Expr::Identifier(Ident { value, quote_style: None, span });
        }
        ControlFlow::<()>::Continue(())
    });
}

/// The item of the SELECT list that an item of GROUP BY means by its number or its name.
fn item_of<'a>(group: &ast::Expr, projection: &'a [SelectItem]) -> Option<&'a ast::Expr> {
    let item = match group {
        ast::Expr::Value(value) => {
            let number = value.value.to_string().parse::<usize>().ok().and_then(|number| number.checked_sub(1));
            number.and_then(|number| projection.get(number))
        }
        ast::Expr::Identifier(name) => projection.iter().find(|item| {
            matches!(item, SelectItem::ExprWithAlias { alias, .. } if normalized(alias) == normalized(name))
        }),
        _ => None,
    };
    match item? {
        SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => Some(expr),
        _ => None,
    }
}

/// Puts the calls in the place of `window_start` and `window_end`. Inside of an aggregate function and of a
/// subquery these are columns of what is read, such as another windowed view.
fn replace(catalog: &Catalog, expr: &mut ast::Expr, edges: &[ast::Expr; 2]) {
    struct Names<'a> {
        catalog: &'a Catalog,
        edges: &'a [ast::Expr; 2],
        /// Number of aggregates, subqueries and window calls around the place.
        inside: usize,
    }

    impl Names<'_> {
        fn hides(&self, expr: &ast::Expr) -> bool {
            let is_edge = |call: &Function| Edge::named(&call.name.to_string()).is_some();
            match expr {
                ast::Expr::Function(call) => {
                    is_edge(call) || refuse::call::aggregate(self.catalog, call).is_some()
                }
                _ => false,
            }
        }
    }

    impl ast::VisitorMut for Names<'_> {
        type Break = ();

        fn pre_visit_query(&mut self, _query: &mut ast::Query) -> ControlFlow<()> {
            self.inside += 1;
            ControlFlow::Continue(())
        }

        fn post_visit_query(&mut self, _query: &mut ast::Query) -> ControlFlow<()> {
            self.inside -= 1;
            ControlFlow::Continue(())
        }

        fn pre_visit_expr(&mut self, expr: &mut ast::Expr) -> ControlFlow<()> {
            self.inside += usize::from(self.hides(expr));
            ControlFlow::Continue(())
        }

        fn post_visit_expr(&mut self, expr: &mut ast::Expr) -> ControlFlow<()> {
            if self.hides(expr) {
                self.inside -= 1;
            } else if let ast::Expr::Identifier(name) = expr
                && self.inside == 0
                && let Some(edge) = Edge::named(&normalized(name))
            {
                *expr = self.edges[edge as usize].clone();
            }
            ControlFlow::Continue(())
        }
    }

    let _ = ast::VisitMut::visit(expr, &mut Names { catalog, edges, inside: 0 });
}

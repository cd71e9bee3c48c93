//! Windows in GROUP BY: `tumble`, `hop`, `cumulate`, `session`, and `window_start` and `window_end`.
//!
//! The planner knows nothing of them. In the syntax a window in GROUP BY is replaced by two calls that it takes for
//! functions, of its start and its end, and the names `window_start` and `window_end` by the same calls.

use std::ops::ControlFlow;
use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion_common::{DFSchema, Result, ScalarValue, exec_err};
use datafusion_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion_sql::sqlparser::ast::{
    self, Function, FunctionArg, FunctionArgExpr, FunctionArguments, GroupByExpr, Ident, SelectItem, Spanned,
};
use datafusion_sql::sqlparser::tokenizer::Span;

use super::catalog::Catalog;
use super::diagnostic::Diagnostic;
use super::problem::or_else;
use super::refuse::query::normalized;
use super::types::TIMESTAMP;
use super::{interval, query, refuse};
use crate::plan::Window;

/// The names of window functions.
const WINDOWS: [&str; 4] = ["tumble", "hop", "cumulate", "session"];
/// Slices of one window: each of them is looked at when it closes.
const SLICES_MAX: i64 = 100_000;

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
    [Edge::Start, Edge::End].into_iter().map(|edge| {
        let signature = Signature::variadic_any(Volatility::Immutable);
        Arc::new(ScalarUDF::new_from_impl(EdgeFunction { edge, signature }))
    })
}

/// Whether a name is that of a window, or of its start or end.
pub(super) fn is_function(name: &str) -> bool {
    WINDOWS.contains(&name) || Edge::named(name).is_some()
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

/// The window that stands in GROUP BY as it is, if the expression is one.
pub(super) fn call(expr: &ast::Expr) -> Option<(&Function, String)> {
    let ast::Expr::Function(call) = expr else { return None };
    let [part] = call.name.0.as_slice() else { return None };
    let name = normalized(part.as_ident()?);
    WINDOWS.contains(&name.as_str()).then_some((call, name))
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
        self.select(select);
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
        let edges = match self.edges(&groups[at]) {
            Ok(edges) => edges,
            Err(diagnostic) => return self.diagnostics.push(diagnostic),
        };
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

    /// The calls that stand for start and end of a window.
    fn edges(&self, group: &ast::Expr) -> Result<[ast::Expr; 2], Diagnostic> {
        let (call, kind) = call(group).expect("it was looked for");
        let place = or_else(call.name.span(), self.span);
        let (usage, lengths) = match kind.as_str() {
            "tumble" => ("tumble(time, INTERVAL '1 minute')", 1),
            "hop" => ("hop(time, INTERVAL '1 minute', INTERVAL '5 minutes'): slide, then size", 2),
            "cumulate" => ("cumulate(time, INTERVAL '1 hour', INTERVAL '1 day'): step, then size", 2),
            _ => ("session(time, INTERVAL '10 minutes')", 1),
        };
        let wrong = |message: String| Diagnostic::new(place, message).hint(format!("write {usage}"));
        let plain = call.filter.is_none() && call.over.is_none() && call.within_group.is_empty();
        let arguments = match &call.args {
            FunctionArguments::List(list) if plain && list.clauses.is_empty() => list.args.as_slice(),
            _ => return Err(wrong(format!("`{kind}` has arguments only"))),
        };
        let arguments = arguments.iter().map(|argument| match argument {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr),
            _ => None,
        });
        let arguments: Option<Vec<_>> = arguments.collect();
        let Some((time, given)) = arguments.as_deref().and_then(<[_]>::split_first) else {
            return Err(wrong(format!("`{kind}` needs the event time and {lengths} INTERVAL")));
        };
        if given.len() != lengths {
            let message = format!("`{kind}` has {} arguments, not {}", lengths + 1, given.len() + 1);
            return Err(wrong(message));
        }
        let lengths = given.iter().map(|argument| self.length(argument, &kind, usage));
        let lengths: Vec<i64> = lengths.collect::<Result<_, _>>()?;
        check(&kind, &lengths).map_err(|(message, hint)| Diagnostic::new(place, message).hint(hint))?;
        Ok([Edge::Start, Edge::End].map(|edge| edge_call(edge, &kind, time, &lengths, place)))
    }

    /// A length of a window, in nanoseconds.
    fn length(&self, argument: &ast::Expr, kind: &str, usage: &str) -> Result<i64, Diagnostic> {
        let span = or_else(argument.span(), self.span);
        let planned = query::expression(self.catalog, argument, &DFSchema::empty());
        let length = planned.ok().map(|planned| interval::constant(&planned, span)).transpose()?.flatten();
        let Some(length) = length else {
            let message = format!("the lengths of `{kind}` are constant INTERVALs");
            return Err(Diagnostic::new(span, message).hint(format!("write {usage}")));
        };
        match length {
            1..=Window::LENGTH_NS_MAX => Ok(length),
            ..=0 => {
                Err(Diagnostic::new(span, "a window needs a length above 0").hint(format!("write {usage}")))
            }
            _ => Err(Diagnostic::new(span, "a window has at most 29 years").hint("write a shorter one")),
        }
    }
}

/// Whether an item of GROUP BY names the start or the end of a window: itself, or as the number or the name of an
/// item of the SELECT list.
fn names_edge(group: &ast::Expr, projection: &[SelectItem]) -> bool {
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
    let meant = match item {
        Some(SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. }) => expr,
        _ => group,
    };
    let found = ast::visit_expressions(meant, |expr| match expr {
        ast::Expr::Identifier(name) if Edge::named(&normalized(name)).is_some() => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    });
    found.is_break()
}

/// What is wrong with the lengths of a window, and what to do.
fn check(kind: &str, lengths: &[i64]) -> Result<(), (String, &'static str)> {
    match (kind, lengths) {
        ("cumulate", [step, size]) if size % step != 0 => {
            Err(("the size of `cumulate` is no multiple of its step".to_owned(), "write one that is"))
        }
        ("cumulate", [step, size]) if size / step > SLICES_MAX => Err(too_many(size / step, kind)),
        ("hop", [slide, size]) => {
            let slice = crate::time::greatest_common_divisor(*slide, *size);
            if size / slice > SLICES_MAX { Err(too_many(size / slice, kind)) } else { Ok(()) }
        }
        _ => Ok(()),
    }
}

fn too_many(slices: i64, kind: &str) -> (String, &'static str) {
    let message = format!("a window of `{kind}` would be put together from {slices} slices");
    (message, "choose a longer first INTERVAL, or one that divides the second: 100000 slices are the most")
}

/// `window_start('hop', time, slide, size)`
fn edge_call(edge: Edge, kind: &str, time: &ast::Expr, lengths: &[i64], span: Span) -> ast::Expr {
    let value = |value: ast::Value| ast::Expr::Value(value.with_span(span));
    let kind = value(ast::Value::SingleQuotedString(kind.to_owned()));
    let lengths = lengths.iter().map(|length| value(ast::Value::Number(length.to_string(), false)));
    let args = [kind, time.clone()].into_iter().chain(lengths);
    let args = args.map(|arg| FunctionArg::Unnamed(FunctionArgExpr::Expr(arg))).collect();
    let name = Ident { value: edge.name().to_owned(), quote_style: None, span };
    ast::Expr::Function(Function {
        name: ast::ObjectName::from(vec![name]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(ast::FunctionArgumentList {
            duplicate_treatment: None,
            args,
            clauses: Vec::new(),
        }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
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

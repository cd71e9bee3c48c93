//! Windows in FROM: `tumble(relation, time, size)`, `hop`, `cumulate`, `session`.
//!
//! Where the SELECT is grouped by the windows, it is the GROUP BY with a window that is meant. Elsewhere each row is
//! shown once for each window that holds it: a UNION ALL of as many SELECTs as windows may hold a row.

use std::ops::ControlFlow;

use datafusion_sql::sqlparser::ast::helpers::attached_token::AttachedToken;
use datafusion_sql::sqlparser::ast::{
    self, FunctionArg, FunctionArgExpr, GroupByExpr, Ident, ObjectName, SelectItem, TableAlias, TableFactor,
};
use datafusion_sql::sqlparser::parser::Parser;
use datafusion_sql::sqlparser::tokenizer::Span;

use super::call::{Called, function};
use super::{Edge, Rewriting, WINDOWS, item_of, row};
use crate::compile::diagnostic::Diagnostic;
use crate::compile::dialect::TidemillDialect;
use crate::compile::problem::or_else;
use crate::compile::refuse;
use crate::compile::refuse::query::normalized;
use crate::compile::text;
use crate::plan::Window;

/// Windows that hold one row, where each gives a row.
const WINDOWS_OF_ROW_MAX: i64 = 100;

/// A call of a window in FROM.
pub(in crate::compile) struct InFrom<'a> {
    kind: String,
    name: &'a Ident,
    args: &'a [FunctionArg],
    alias: &'a Option<TableAlias>,
}

/// The window that stands in FROM, if the factor is one.
pub(in crate::compile) fn in_from(factor: &TableFactor) -> Option<InFrom<'_>> {
    let TableFactor::Table { name, args: Some(args), alias, .. } = factor else { return None };
    let [part] = name.0.as_slice() else { return None };
    let name = part.as_ident()?;
    let kind = normalized(name);
    let is_window = WINDOWS.contains(&kind.as_str()) && args.settings.is_none();
    is_window.then_some(InFrom { kind, name, args: &args.args, alias })
}

/// What a call in FROM says.
struct Source {
    relation: Ident,
    alias: Option<TableAlias>,
    /// The window as it would stand in GROUP BY.
    window: ast::Expr,
    called: Called,
    /// `PARTITION BY` of a session.
    keys: Vec<ast::Expr>,
}

impl InFrom<'_> {
    /// The relation whose rows have the windows.
    pub fn relation(&self) -> Option<&Ident> {
        match *self.arguments()?.first()? {
            ast::Expr::Identifier(name) => Some(name),
            _ => None,
        }
    }

    fn usage(&self) -> String {
        let lengths = match self.kind.as_str() {
            "tumble" => "INTERVAL '1 minute'",
            "hop" => "INTERVAL '1 minute', INTERVAL '5 minutes'",
            "cumulate" => "INTERVAL '1 hour', INTERVAL '1 day'",
            _ => "INTERVAL '10 minutes'",
        };
        format!("write {}(relation, time, {lengths})", self.kind)
    }

    /// The arguments in their order, with or without the names that Flink has for them.
    fn arguments(&self) -> Option<Vec<&ast::Expr>> {
        let names: &[&str] = match self.kind.as_str() {
            "tumble" => &["data", "timecol", "size", "offset"],
            "hop" => &["data", "timecol", "slide", "size", "offset"],
            "cumulate" => &["data", "timecol", "step", "size", "offset"],
            _ => &["data", "timecol", "gap"],
        };
        let mut places: Vec<Option<&ast::Expr>> = vec![None; self.args.len()];
        for (index, arg) in self.args.iter().enumerate() {
            let (place, expr) = match arg {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => (index, expr),
                FunctionArg::Named { name, arg: FunctionArgExpr::Expr(expr), .. } => {
                    (names.iter().position(|known| *known == name.value.to_lowercase())?, expr)
                }
                _ => return None,
            };
            *places.get_mut(place)? = Some(expr);
        }
        places.into_iter().collect()
    }

    fn source(&self, rewriting: &Rewriting) -> Result<Source, Diagnostic> {
        let place = or_else(self.name.span, rewriting.span);
        let wrong = |message: String| Diagnostic::new(place, message).hint(self.usage());
        let arguments = self.arguments();
        let arguments =
            arguments.ok_or_else(|| wrong(format!("`{}` in FROM has other arguments", self.kind)))?;
        let (lengths, keys) = match self.kind.as_str() {
            "tumble" => (1, 0),
            "session" => (1, usize::MAX),
            _ => (2, 0),
        };
        let given = arguments.len();
        if given == lengths + 3 && keys == 0 {
            let error = wrong(format!("an offset of `{}` is not supported yet", self.kind));
            return Err(error.hint("windows are aligned to 1970-01-01T00:00:00Z; leave it out"));
        }
        if given < lengths + 2 || given - lengths - 2 > keys {
            return Err(wrong(format!("`{}` in FROM has {} arguments, not {given}", self.kind, lengths + 2)));
        }
        let ast::Expr::Identifier(relation) = arguments[0] else {
            return Err(wrong(format!("`{}` in FROM needs the name of a relation first", self.kind)));
        };
        let window = arguments[1..lengths + 2].iter().map(|expr| (*expr).clone()).collect();
        let window = function(self.name.clone(), window);
        let called = rewriting.called(&window)?;
        let keys = arguments[lengths + 2..].iter().map(|expr| (*expr).clone()).collect();
        Ok(Source { relation: relation.clone(), alias: self.alias.clone(), window, called, keys })
    }
}

impl Source {
    /// The name by which its columns are called.
    fn name(&self) -> String {
        normalized(self.alias.as_ref().map_or(&self.relation, |alias| &alias.name))
    }

    /// The edge of its windows that an expression is, and nothing else.
    fn edge(&self, expr: &ast::Expr) -> Option<Edge> {
        match expr {
            ast::Expr::Identifier(name) => Edge::named(&normalized(name)),
            ast::Expr::CompoundIdentifier(names) => match names.as_slice() {
                [relation, name] if normalized(relation) == self.name() => Edge::named(&normalized(name)),
                _ => None,
            },
            _ => None,
        }
    }

    /// Whether an edge is named anywhere in an expression.
    fn names_edge(&self, expr: &ast::Expr) -> bool {
        let found = ast::visit_expressions(expr, |expr| match self.edge(expr) {
            Some(_) => ControlFlow::Break(()),
            None => ControlFlow::Continue(()),
        });
        found.is_break()
    }

    /// Whether an edge is named where it has to be a column of what is read: in aggregates.
    fn aggregates_edge(&self, rewriting: &Rewriting, expr: &ast::Expr) -> bool {
        let found = ast::visit_expressions(expr, |expr| match expr {
            ast::Expr::Function(call)
                if refuse::call::aggregate(rewriting.catalog, call).is_some() && self.names_edge(expr) =>
            {
                ControlFlow::Break(())
            }
            _ => ControlFlow::Continue(()),
        });
        found.is_break()
    }
}

fn expressions(select: &ast::Select) -> impl Iterator<Item = &ast::Expr> {
    let items = select.projection.iter().filter_map(|item| match item {
        SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => Some(expr),
        _ => None,
    });
    items.chain(&select.having)
}

impl Rewriting<'_> {
    /// Puts the window of FROM into GROUP BY, where that names it.
    pub(super) fn grouped_from(&mut self, select: &mut ast::Select) {
        let [table] = select.from.as_slice() else { return };
        let Some(found) = in_from(&table.relation).filter(|_| table.joins.is_empty()) else { return };
        // What is wrong with it is said where rows are made of it.
        let Ok(source) = found.source(self) else { return };
        let GroupByExpr::Expressions(groups, _) = &select.group_by else { return };
        let named: Vec<bool> =
            groups.iter().map(|group| source.edge(meant(group, select)).is_some()).collect();
        let computed =
            |(group, named): (&ast::Expr, &bool)| !named && source.names_edge(meant(group, select));
        let as_columns = groups.iter().zip(&named).any(computed)
            || select.selection.iter().any(|condition| source.names_edge(condition))
            || expressions(select).any(|expr| source.aggregates_edge(self, expr));
        let renamed = source.alias.as_ref().is_some_and(|alias| !alias.columns.is_empty());
        if as_columns || renamed || !named.contains(&true) {
            return;
        }
        let others =
            groups.iter().zip(&named).filter(|(_, named)| !**named).map(|(group, _)| meant(group, select));
        if let Some(diagnostic) = wrong_keys(&source, others) {
            // Said once: behind this nothing else is wrong with it.
            self.diagnostics.push(diagnostic);
        }
        let GroupByExpr::Expressions(groups, _) = &mut select.group_by else { return };
        let mut named = named.into_iter();
        groups.retain(|_| !named.next().unwrap_or(false));
        groups.push(source.window.clone());
        let items = select.projection.iter_mut().filter_map(|item| match item {
            SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => Some(expr),
            _ => None,
        });
        for expr in items.chain(&mut select.having) {
            unqualify(expr, &source);
        }
        if let TableFactor::Table { name, args, .. } = &mut select.from[0].relation {
            *name = ObjectName::from(vec![source.relation]);
            *args = None;
        }
    }

    /// Puts the rows of a relation, once for each window that holds them, in the place of a window in FROM.
    pub(super) fn rows_from(&mut self, factor: &mut TableFactor) {
        let Some(found) = in_from(factor) else { return };
        let rows = found.source(self).and_then(|source| {
            self.edges_are_new(&source)?;
            rows(&source)
        });
        match rows {
            Ok(rows) => *factor = rows,
            Err(diagnostic) => self.diagnostics.push(diagnostic),
        }
    }
}

impl Rewriting<'_> {
    /// Refuses windows over a relation that has columns of their names: nobody could tell them apart.
    fn edges_are_new(&self, source: &Source) -> Result<(), Diagnostic> {
        let relation = normalized(&source.relation);
        let Some(Some(flow)) = self.catalog.relation(&relation) else { return Ok(()) };
        let has = |edge: &Edge| flow.column(edge.name()).is_some();
        let Some(edge) = [Edge::Start, Edge::End].into_iter().find(has) else { return Ok(()) };
        let (relation, edge, kind) = (text::name(&relation), edge.name(), &source.called.kind);
        let message =
            format!("`{relation}` has a column `{edge}`, and `{kind}` in FROM would add another one");
        let hint = format!(
            "group in the same SELECT: GROUP BY window_start, window_end; or give the column another name in a view \
             in between: SELECT {edge} AS inner_{edge}"
        );
        Err(Diagnostic::new(source.called.place, message).hint(hint))
    }
}

/// An item of GROUP BY, or the item of the SELECT list that it means.
fn meant<'a>(group: &'a ast::Expr, select: &'a ast::Select) -> &'a ast::Expr {
    item_of(group, &select.projection).unwrap_or(group)
}

/// `v.window_start` as `window_start`.
fn unqualify(expr: &mut ast::Expr, source: &Source) {
    let _ = ast::visit_expressions_mut(expr, |expr| {
        if let (ast::Expr::CompoundIdentifier(names), Some(_)) = (&*expr, source.edge(expr))
            && let [_, name] = names.as_slice()
        {
            *expr = ast::Expr::Identifier(name.clone());
        }
        ControlFlow::<()>::Continue(())
    });
}

/// Sessions are of the rows of a key: PARTITION BY and GROUP BY have to name the same.
fn wrong_keys<'a>(source: &Source, groups: impl Iterator<Item = &'a ast::Expr>) -> Option<Diagnostic> {
    if source.called.kind != "session" {
        return None;
    }
    let name = |expr: &ast::Expr| match expr {
        ast::Expr::Identifier(name) => normalized(name),
        ast::Expr::CompoundIdentifier(names) => names.last().map(normalized).unwrap_or_default(),
        other => other.to_string(),
    };
    let sorted = |mut names: Vec<String>| {
        names.sort_unstable();
        names.dedup();
        names
    };
    let (keys, groups) = (sorted(source.keys.iter().map(name).collect()), sorted(groups.map(name).collect()));
    (keys != groups).then(|| {
        let message = "a session is of the rows of one key: PARTITION BY names other columns than GROUP BY";
        let hint =
            "name the same columns in both, or write GROUP BY key, session(time, INTERVAL '10 minutes')";
        Diagnostic::new(source.called.place, message).hint(hint)
    })
}

/// A subquery of the rows with their windows.
fn rows(source: &Source) -> Result<TableFactor, Diagnostic> {
    let Called { kind, lengths, place, .. } = &source.called;
    let refused = |message: String, hint: &str| Err(Diagnostic::new(*place, message).hint(hint));
    let window = super::window(kind, lengths);
    let (number, condition) = match window {
        Some(Window::Tumble { .. }) => (1, None),
        Some(Window::Hop { slide_ns, size_ns }) => {
            let outside = size_ns % slide_ns != 0;
            ((size_ns - 1) / slide_ns + 1, outside.then(|| "_time < {end}".to_owned()))
        }
        Some(Window::Cumulate { step_ns, size_ns }) => {
            let last = call("window_end", "tumble", 0, &[size_ns]);
            (size_ns / step_ns, Some(format!("{{end}} <= {last}")))
        }
        _ => {
            let hint = "group in the same SELECT: GROUP BY key, window_start, window_end";
            return refused("a session is not known before it ends, so rows do not show it".to_owned(), hint);
        }
    };
    if number > WINDOWS_OF_ROW_MAX {
        let hint =
            "group in the same SELECT by window_start and window_end, or choose a longer first INTERVAL";
        return refused(format!("each row would be shown {number} times, once for each window"), hint);
    }
    let branch = |number: i64| {
        let [start, end] = ["window_start", "window_end"].map(|edge| call(edge, kind, number, lengths));
        let condition = condition.as_ref().map(|text| format!(" WHERE {}", text.replace("{end}", &end)));
        let condition = condition.unwrap_or_default();
        format!("SELECT *, {start} AS window_start, {end} AS window_end FROM _relation{condition}")
    };
    let branches: Vec<String> = (0..number).map(branch).collect();
    let parser = Parser::new(&TidemillDialect).try_with_sql(&branches.join(" UNION ALL "));
    let query = parser.and_then(|mut parser| parser.parse_query());
    let Ok(mut subquery) = query else {
        return refused(format!("`{kind}` in FROM was not understood"), "use GROUP BY with a window");
    };
    let mut placed = Placed { source, place: *place };
    let _ = ast::VisitMut::visit(subquery.as_mut(), &mut placed);
    let alias = source.alias.clone().unwrap_or_else(|| TableAlias {
        explicit: true,
        name: source.relation.clone(),
        columns: Vec::new(),
        at: None,
    });
    Ok(TableFactor::Derived { lateral: false, subquery, alias: Some(alias), sample: None })
}

/// The text of an edge of a window of a row.
fn call(edge: &str, kind: &str, number: i64, lengths: &[i64]) -> String {
    let lengths: Vec<String> = lengths.iter().map(i64::to_string).collect();
    format!("{}('{edge}', '{kind}', {number}, _time, {})", row::NAME, lengths.join(", "))
}

/// Puts relation and time of the author into the SELECTs, and their place everywhere.
struct Placed<'a> {
    source: &'a Source,
    place: Span,
}

impl ast::VisitorMut for Placed<'_> {
    type Break = ();

    fn pre_visit_select(&mut self, select: &mut ast::Select) -> ControlFlow<()> {
        select.select_token = AttachedToken::empty();
        for item in &mut select.projection {
            if let SelectItem::ExprWithAlias { alias, .. } = item {
                alias.span = self.place;
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_relation(&mut self, relation: &mut ObjectName) -> ControlFlow<()> {
        *relation = ObjectName::from(vec![self.source.relation.clone()]);
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut ast::Expr) -> ControlFlow<()> {
        match expr {
            ast::Expr::Identifier(name) if name.value == "_time" => *expr = self.source.called.time.clone(),
            ast::Expr::Value(value) => value.span = self.place,
            ast::Expr::Function(call) => {
                let name = Ident { value: row::NAME.to_owned(), quote_style: None, span: self.place };
                call.name = ObjectName::from(vec![name]);
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

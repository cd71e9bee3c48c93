//! What queries may not contain, found in the syntax, where every construct has its place.

mod distinct;
mod group;
mod join;

use std::ops::ControlFlow;

use datafusion_sql::sqlparser::ast::{
    self, GroupByExpr, SelectItem, SetExpr, SetOperator, SetQuantifier, Spanned, TableFactor,
};
use datafusion_sql::sqlparser::tokenizer::Span;

use super::expression::{Clause, Walk};
use crate::compile::catalog::Catalog;
use crate::compile::diagnostic::Diagnostic;
use crate::compile::problem::or_else;
use crate::compile::{late, text, window};

/// What a look at the syntax of a query has found.
#[derive(Debug, Default)]
pub(in crate::compile) struct Findings {
    pub diagnostics: Vec<Diagnostic>,
    /// What is wrong if nothing else is: then its columns could be told, but for this.
    pub unnamed: Vec<Diagnostic>,
    /// Whether the query reads a relation that is wrong and reported itself.
    pub reads_broken: bool,
}

/// Looks at a query. `later` tells the line of a relation that is defined further down.
pub(in crate::compile) fn query(
    catalog: &Catalog,
    query: &ast::Query,
    span: Span,
    later: &dyn Fn(&str) -> Option<u64>,
) -> Findings {
    let mut look = Look { catalog, later, span, ctes: Vec::new(), findings: Findings::default() };
    look.query(query);
    look.findings
}

struct Look<'a> {
    catalog: &'a Catalog,
    later: &'a dyn Fn(&str) -> Option<u64>,
    /// Place of the whole query.
    span: Span,
    /// Names of WITH that are in scope.
    ctes: Vec<String>,
    findings: Findings,
}

impl Look<'_> {
    fn refuse(&mut self, span: Span, what: &str, hint: &str) {
        let diagnostic = Diagnostic::new(or_else(span, self.span), format!("{what} is not supported yet"));
        self.findings.diagnostics.push(diagnostic.hint(hint));
    }

    fn query(&mut self, query: &ast::Query) {
        let outside = self.ctes.len();
        if let Some(with) = &query.with {
            if with.recursive {
                self.refuse(with.with_token.0.span, "WITH RECURSIVE", "use WITH without RECURSIVE");
            }
            for cte in &with.cte_tables {
                self.query(&cte.query);
                let name = normalized(&cte.alias.name);
                if self.ctes[outside..].contains(&name) {
                    let message = format!("`{}` stands twice in WITH", text::name(&name));
                    let error = Diagnostic::new(or_else(cte.alias.name.span, self.span), message);
                    self.findings.diagnostics.push(error.hint("choose another name"));
                }
                self.ctes.push(name);
            }
        }
        self.body(&query.body);
        let unordered = "a relation has no order; sort where it is read";
        if let Some(order_by) = &query.order_by {
            self.refuse(order_by.span(), "ORDER BY", distinct::order_hint(query).unwrap_or(unordered));
        }
        if let Some(limit) = &query.limit_clause {
            self.refuse(limit.span(), "LIMIT", unordered);
        }
        if let Some(fetch) = &query.fetch {
            self.refuse(fetch.span(), "FETCH", unordered);
        }
        if !query.locks.is_empty() || query.for_clause.is_some() {
            self.refuse(self.span, "FOR ...", "remove it");
        }
        if !query.pipe_operators.is_empty() || query.settings.is_some() || query.format_clause.is_some() {
            self.refuse(self.span, "this clause", "write a plain SELECT");
        }
        self.ctes.truncate(outside);
    }

    fn body(&mut self, body: &SetExpr) {
        match body {
            SetExpr::Select(select) => self.select(select),
            SetExpr::Query(query) => self.query(query),
            SetExpr::SetOperation { left, op, set_quantifier, right } => {
                self.set_operation(*op, *set_quantifier, (left.span(), or_else(right.span(), body.span())));
                self.body(left);
                self.body(right);
            }
            SetExpr::Values(values) => self.refuse(values.span(), "VALUES", "select from a source or view"),
            other => self.refuse(other.span(), "this kind of query", "write SELECT ... FROM ..."),
        }
    }

    /// Refuses what has not become a GROUP BY.
    fn set_operation(&mut self, op: SetOperator, quantifier: SetQuantifier, (first, span): (Span, Span)) {
        use SetQuantifier as Q;
        let hint = match (op, quantifier) {
            (SetOperator::Union, Q::All | Q::Distinct | Q::None) => return,
            (SetOperator::Union, _) => "columns match by their position: name them in the same order",
            (_, Q::Distinct | Q::None) => {
                let message =
                    format!("the columns of {op} are those of its first SELECT, which does not tell them");
                let error = Diagnostic::new(or_else(first, self.span), message);
                let hint = "name them there, one by one, with AS where they are computed";
                return self.findings.unnamed.push(error.hint(hint));
            }
            (SetOperator::Intersect, _) => "write INTERSECT, which gives each row once",
            _ => "write EXCEPT, which gives each row once",
        };
        self.refuse(span, &format!("{op} {quantifier}"), hint);
    }

    fn select(&mut self, select: &ast::Select) {
        let start = select.select_token.0.span;
        if let Some(ast::Distinct::On(exprs)) = &select.distinct {
            self.distinct_on(exprs, select, start);
        }
        if select.from.is_empty() {
            self.refuse(start, "SELECT without FROM", "select from a source or view");
        }
        select.from.iter().for_each(|table| self.table(table));
        self.clauses(select, start);
        for item in &select.projection {
            match item {
                SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => {
                    self.walk(expr, Clause::Select);
                }
                SelectItem::Wildcard(options) | SelectItem::QualifiedWildcard(_, options) => {
                    self.wildcard(options);
                }
                other @ SelectItem::ExprWithAliases { .. } => {
                    self.refuse(other.span(), "AS with several names", "give one name");
                }
            }
        }
        if let Some(selection) = &select.selection {
            self.condition(selection, Clause::Where);
        }
        match &select.group_by {
            GroupByExpr::All(_) => self.refuse(start, "GROUP BY ALL", "name the columns"),
            GroupByExpr::Expressions(exprs, modifiers) => {
                if !modifiers.is_empty() {
                    self.refuse(select.group_by.span(), "GROUP BY with a modifier", "name the columns only");
                }
                exprs.iter().for_each(|expr| self.group(expr, select));
            }
        }
        if let Some(having) = &select.having {
            self.condition(having, Clause::Having);
        }
        if let Some(qualify) = &select.qualify {
            self.condition(qualify, Clause::Qualify);
            if !has_over(qualify) && !select.projection.iter().any(has_over) {
                self.refuse(qualify.span(), "QUALIFY without a function with OVER", "use WHERE, or HAVING");
            }
        }
        self.ungrouped(select);
    }

    /// Refuses HAVING where there is neither GROUP BY nor an aggregate.
    fn ungrouped(&mut self, select: &ast::Select) {
        let grouped = match &select.group_by {
            GroupByExpr::All(_) => true,
            GroupByExpr::Expressions(exprs, modifiers) => !exprs.is_empty() || !modifiers.is_empty(),
        };
        if grouped || !self.findings.diagnostics.is_empty() {
            return;
        }
        let items = select.projection.iter().filter_map(|item| match item {
            SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => Some(expr),
            _ => None,
        });
        let mut ignored = Vec::new();
        let mut walk = Walk::new(self.catalog, Clause::Select, self.span, &mut ignored);
        let aggregates = items.chain(&select.having).any(|expr| walk.over(expr).is_some());
        if let (false, Some(having)) = (aggregates, &select.having) {
            self.refuse(having.span(), "HAVING without GROUP BY", "use WHERE");
        }
    }

    /// Clauses of SELECT that are refused as a whole.
    fn clauses(&mut self, select: &ast::Select, start: Span) {
        let refused = [
            (select.top.is_some(), "TOP"),
            (select.into.is_some(), "SELECT INTO"),
            (!select.lateral_views.is_empty(), "LATERAL VIEW"),
            (select.prewhere.is_some(), "PREWHERE"),
            (!select.connect_by.is_empty(), "CONNECT BY"),
            (!select.cluster_by.is_empty(), "CLUSTER BY"),
            (!select.distribute_by.is_empty(), "DISTRIBUTE BY"),
            (!select.sort_by.is_empty(), "SORT BY"),
            (!select.named_window.is_empty(), "WINDOW"),
            (select.value_table_mode.is_some(), "SELECT AS STRUCT"),
            (select.exclude.is_some(), "EXCLUDE"),
            (select.select_modifiers.is_some(), "a modifier of SELECT"),
        ];
        for (present, name) in refused {
            if present {
                self.refuse(start, name, "write a plain SELECT");
            }
        }
    }

    fn wildcard(&mut self, options: &ast::WildcardAdditionalOptions) {
        let ast::WildcardAdditionalOptions { wildcard_token, .. } = options;
        let plain = ast::WildcardAdditionalOptions {
            wildcard_token: wildcard_token.clone(),
            ..ast::WildcardAdditionalOptions::default()
        };
        if *options != plain {
            self.refuse(options.span(), "`*` with EXCLUDE, REPLACE or RENAME", "name the columns");
        }
    }

    fn walk(&mut self, expr: &ast::Expr, clause: Clause) {
        Walk::new(self.catalog, clause, self.span, &mut self.findings.diagnostics).over(expr);
    }

    fn factor(&mut self, factor: &TableFactor) {
        let from_one = "select from a source or view by its name";
        match factor {
            TableFactor::Table { args: Some(_), .. } if window::in_from(factor).is_none() => {
                let hint = "select from a source or view by its name, or from a window of it: \
                            tumble(relation, time, INTERVAL '1 minute')";
                self.refuse(factor.span(), "a function in FROM", hint);
            }
            TableFactor::Table { version: Some(_), .. } => {
                let hint = "joins with the versions of a table come with event time; a join of two views is \
                            rewritten when either changes";
                self.refuse(factor.span(), "FOR SYSTEM_TIME", hint);
            }
            TableFactor::Table { sample: Some(_), .. } => self.refuse(factor.span(), "TABLESAMPLE", from_one),
            TableFactor::Table {
                name,
                with_hints,
                with_ordinality,
                partitions,
                json_path,
                index_hints,
                ..
            } => {
                let plain = with_hints.is_empty() && partitions.is_empty() && index_hints.is_empty();
                if !plain || *with_ordinality || json_path.is_some() {
                    self.refuse(factor.span(), "an option of a relation in FROM", from_one);
                }
                match window::in_from(factor) {
                    // What is wrong with it is said where it is replaced.
                    Some(window) => {
                        let read = window.relation().cloned();
                        read.into_iter().for_each(|read| self.relation(&ast::ObjectName::from(vec![read])));
                    }
                    None => self.relation(name),
                }
            }
            TableFactor::Derived { lateral: false, sample: None, subquery, .. } => self.query(subquery),
            TableFactor::Derived { .. } => {
                self.refuse(factor.span(), "LATERAL", "write a JOIN with an equality");
            }
            TableFactor::NestedJoin { table_with_joins, .. } => self.nested(factor, table_with_joins),
            TableFactor::UNNEST { .. } => {
                let hint = "a record is one row: send one record per element";
                self.refuse(factor.span(), "UNNEST in FROM", hint);
            }
            other => self.refuse(other.span(), "this in FROM", from_one),
        }
    }

    fn relation(&mut self, name: &ast::ObjectName) {
        let [ast::ObjectNamePart::Identifier(ident)] = name.0.as_slice() else {
            return self.refuse(name.span(), "a name with dots", "relations have plain names");
        };
        let wanted = normalized(ident);
        if self.ctes.contains(&wanted) {
            return;
        }
        match self.catalog.relation(&wanted) {
            Some(Some(_)) => {}
            Some(None) => self.findings.reads_broken = true,
            None => {
                let span = or_else(ident.span, self.span);
                self.findings.diagnostics.push(unknown(self.catalog, &wanted, span, self.later));
            }
        }
    }
}

/// Says that a relation does not exist, or not yet.
pub(in crate::compile) fn unknown(
    catalog: &Catalog,
    wanted: &str,
    span: Span,
    later: &dyn Fn(&str) -> Option<u64>,
) -> Diagnostic {
    let name = text::name(wanted);
    let error = |message: String, hint: &str| Diagnostic::new(span, message).hint(hint);
    let statements = &catalog.statements;
    if let Some(view) = late::view(wanted) {
        return late_unknown(catalog, view, span, later);
    }
    if wanted == statements.owner {
        return error(format!("`{name}` reads itself"), "read a source, or a view above it");
    }
    if later(wanted).is_some() && statements.leads(wanted, &statements.owner) {
        let message = format!("`{}` and `{name}` read each other", text::name(&statements.owner));
        return error(message, "no view can read what is made from it: let one of them read something else");
    }
    if statements.sinks.contains(wanted) {
        let message = format!("`{name}` is a sink, which cannot be read");
        return error(message, "read what it reads, or put its SELECT into a view that both read");
    }
    if let Some(line) = later(wanted) {
        let message = format!("`{name}` is defined further down, in line {line}");
        return Diagnostic::new(span, message)
            .hint("move its statement up: a relation can be read behind it");
    }
    let mut diagnostic = Diagnostic::new(span, format!("there is no source or view `{name}`"));
    let all: Vec<_> = catalog.relation_names().map(text::name).collect();
    diagnostic.hint = text::did_you_mean(wanted, catalog.relation_names())
        .or_else(|| (!all.is_empty()).then(|| format!("known are {}", all.join(", "))));
    diagnostic
}

/// Says why there are no late rows of `view`.
fn late_unknown(
    catalog: &Catalog,
    view: &str,
    span: Span,
    later: &dyn Fn(&str) -> Option<u64>,
) -> Diagnostic {
    if catalog.relation(view).is_none() {
        return unknown(catalog, view, span, later);
    }
    let message = format!("`{}` has no late rows of its own", text::name(view));
    let hint = "name the view that has the one window or DISTINCT ON: rows come too late there; those of a join are counted";
    Diagnostic::new(span, message).hint(hint)
}

/// A name as the planner reads it.
pub(in crate::compile) fn normalized(ident: &ast::Ident) -> String {
    if ident.quote_style.is_some() { ident.value.clone() } else { ident.value.to_lowercase() }
}

/// Whether a function with OVER is called.
fn has_over<V: ast::Visit>(part: &V) -> bool {
    let call = |expr: &ast::Expr| match expr {
        ast::Expr::Function(call) if call.over.is_some() => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    };
    ast::visit_expressions(part, call).is_break()
}

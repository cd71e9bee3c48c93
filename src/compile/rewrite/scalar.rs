//! Subqueries as values: `WHERE x > (SELECT avg(x) FROM t)`.

use std::ops::ControlFlow;

use datafusion_sql::sqlparser::ast::helpers::attached_token::AttachedToken;
use datafusion_sql::sqlparser::ast::{
    self, GroupByExpr, Ident, ObjectName, SelectItem, SelectItemQualifiedWildcardKind, SetExpr, Spanned,
    TableFactor,
};

use super::{Rewriting, parsed, quoted};
use crate::compile::catalog::Catalog;
use crate::compile::diagnostic::Diagnostic;
use crate::compile::problem::or_else;
use crate::compile::refuse::query::normalized;
use crate::compile::{names, query, refuse, text, window};

impl Rewriting<'_> {
    /// Joins the values that a SELECT takes from subqueries as relations of one row: aggregates without GROUP BY that
    /// see nothing of the outer query. Behind a GROUP BY the value would have to be a column of it.
    pub(super) fn values(&mut self, select: &mut ast::Select) {
        let [table] = select.from.as_slice() else { return };
        let Some(outer) = name_of(&table.relation).filter(|_| table.joins.is_empty()) else { return };
        let grouped = match &select.group_by {
            GroupByExpr::Expressions(groups, _) => !groups.is_empty(),
            GroupByExpr::All(_) => true,
        };
        let mut added = Vec::new();
        if !grouped && !select.projection.iter().filter_map(item).any(|expr| self.aggregates(expr)) {
            for item in &mut select.projection {
                self.in_item(item, &mut added);
            }
        }
        if let Some(expr) = &mut select.selection {
            self.in_expression(expr, &mut added);
        }
        if added.is_empty() {
            return;
        }
        for item in &mut select.projection {
            if let SelectItem::Wildcard(options) = item {
                let kind = SelectItemQualifiedWildcardKind::ObjectName(ObjectName::from(vec![outer.clone()]));
                *item = SelectItem::QualifiedWildcard(kind, options.clone());
            }
        }
        select.from.extend(added.into_iter().map(|(_, table)| table));
    }

    fn in_item(&mut self, item: &mut SelectItem, added: &mut Vec<(String, ast::TableWithJoins)>) {
        let (SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. }) = &mut *item else {
            return;
        };
        let place = or_else(expr.span(), self.span);
        let own = subquery(expr).map(|subquery| column(subquery).and_then(natural_or_alias));
        self.in_expression(expr, added);
        // The column has the name that the subquery gives it.
        if let (SelectItem::UnnamedExpr(expr), Some(own)) = (&*item, own)
            && subquery(expr).is_none()
        {
            let Some(name) = own else {
                let error = Diagnostic::new(place, "a column that is computed needs a name");
                return self.diagnostics.push(error.hint("add AS and a name"));
            };
            let alias = Ident { value: name, quote_style: Some('"'), span: place };
            *item = SelectItem::ExprWithAlias { expr: expr.clone(), alias };
        }
    }

    fn in_expression(&mut self, expr: &mut ast::Expr, added: &mut Vec<(String, ast::TableWithJoins)>) {
        struct Values<'a, 'b> {
            rewriting: &'a mut Rewriting<'b>,
            added: &'a mut Vec<(String, ast::TableWithJoins)>,
            inside: usize,
        }

        impl ast::VisitorMut for Values<'_, '_> {
            type Break = ();

            fn pre_visit_expr(&mut self, expr: &mut ast::Expr) -> ControlFlow<()> {
                if let (0, ast::Expr::Subquery(subquery)) = (self.inside, &mut *expr)
                    && let Some((name, table, value)) = self.rewriting.as_relation(subquery)
                {
                    // The same subquery is one relation, however often it is written.
                    if !self.added.iter().any(|(other, _)| *other == name) {
                        self.added.push((name, table));
                    }
                    *expr = value;
                }
                ControlFlow::Continue(())
            }

            fn pre_visit_query(&mut self, _query: &mut ast::Query) -> ControlFlow<()> {
                self.inside += 1;
                ControlFlow::Continue(())
            }

            fn post_visit_query(&mut self, _query: &mut ast::Query) -> ControlFlow<()> {
                self.inside -= 1;
                ControlFlow::Continue(())
            }
        }

        let mut values = Values { rewriting: self, added, inside: 0 };
        let _ = ast::VisitMut::visit(expr, &mut values);
    }

    /// A subquery of one row as a relation, with its name, and the expression of its value. Relation and column have
    /// the text of the subquery for a name, which messages show.
    fn as_relation(&self, subquery: &ast::Query) -> Option<(String, ast::TableWithJoins, ast::Expr)> {
        let SetExpr::Select(select) = subquery.body.as_ref() else { return None };
        let plain = matches!(&select.group_by, GroupByExpr::Expressions(groups, _) if groups.is_empty());
        let one_row = plain && select.having.is_none() && select.distinct.is_none();
        if !one_row || !item(column(subquery)?).is_some_and(|expr| self.aggregates(expr)) {
            return None;
        }
        let name = text::subquery(subquery);
        let mut alone = subquery.clone();
        alone.body = Box::new(named(select, &name));
        if !self.checking && !self.stands_alone(&alone) {
            return None;
        }
        let place = or_else(subquery.span(), self.span);
        let written = format!("SELECT {0}.{0} FROM (SELECT 1 AS a) AS {0}", quoted(&name));
        let ast::Query { body, .. } = *parsed(&written, place)?;
        let SetExpr::Select(ours) = *body else { return None };
        let ast::Select { mut from, mut projection, .. } = *ours;
        let mut table = from.pop()?;
        if let TableFactor::Derived { subquery, .. } = &mut table.relation {
            **subquery = alone;
        }
        let SelectItem::UnnamedExpr(mut value) = projection.pop()? else { return None };
        if let ast::Expr::CompoundIdentifier(names) = &mut value {
            names.iter_mut().for_each(|name| name.span = place);
        }
        Some((name, table, value))
    }

    /// Whether a subquery can be planned without the query around it: then it names none of its columns.
    fn stands_alone(&self, subquery: &ast::Query) -> bool {
        let mut alone = subquery.clone();
        let around = self.with.iter().flatten().map(|common| common.cte.clone());
        let mut with = alone.with.take().unwrap_or(ast::With {
            with_token: AttachedToken::empty(),
            recursive: false,
            cte_tables: Vec::new(),
        });
        // Of relations with one name the innermost is meant.
        let mut tables: Vec<ast::Cte> = Vec::new();
        for cte in around.chain(with.cte_tables) {
            tables.retain(|other| normalized(&other.alias.name) != normalized(&cte.alias.name));
            tables.push(cte);
        }
        with.cte_tables = tables;
        alone.with = Some(with).filter(|with| !with.cte_tables.is_empty());
        let (catalog, span) = (self.catalog, self.span);
        let mut rewriting =
            Rewriting { catalog, span, checking: true, with: Vec::new(), diagnostics: Vec::new() };
        let _ = ast::VisitMut::visit(&mut alone, &mut rewriting);
        rewriting.diagnostics.is_empty()
            && names::columns(&mut alone, span, false).is_empty()
            && window::rewrite(catalog, &mut alone, span).is_empty()
            && query::query(catalog, &alone).is_ok()
    }

    /// Whether an expression has an aggregate function of its own; those of subqueries are not.
    fn aggregates(&self, expr: &ast::Expr) -> bool {
        struct Aggregates<'a> {
            catalog: &'a Catalog,
            inside: usize,
        }

        impl ast::Visitor for Aggregates<'_> {
            type Break = ();

            fn pre_visit_query(&mut self, _query: &ast::Query) -> ControlFlow<()> {
                self.inside += 1;
                ControlFlow::Continue(())
            }

            fn post_visit_query(&mut self, _query: &ast::Query) -> ControlFlow<()> {
                self.inside -= 1;
                ControlFlow::Continue(())
            }

            fn pre_visit_expr(&mut self, expr: &ast::Expr) -> ControlFlow<()> {
                match expr {
                    ast::Expr::Function(call)
                        if self.inside == 0 && refuse::call::aggregate(self.catalog, call).is_some() =>
                    {
                        ControlFlow::Break(())
                    }
                    _ => ControlFlow::Continue(()),
                }
            }
        }

        let mut aggregates = Aggregates { catalog: self.catalog, inside: 0 };
        ast::Visit::visit(expr, &mut aggregates).is_break()
    }
}

/// The expression of an item of a SELECT list.
fn item(item: &SelectItem) -> Option<&ast::Expr> {
    match item {
        SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => Some(expr),
        _ => None,
    }
}

/// The one column of a subquery.
fn column(subquery: &ast::Query) -> Option<&SelectItem> {
    match subquery.body.as_ref() {
        SetExpr::Select(select) if select.projection.len() == 1 => select.projection.first(),
        _ => None,
    }
}

fn natural_or_alias(item: &SelectItem) -> Option<String> {
    match item {
        SelectItem::UnnamedExpr(expr) => names::natural(expr),
        SelectItem::ExprWithAlias { alias, .. } => Some(normalized(alias)),
        _ => None,
    }
}

/// The subquery that is all of an expression, but for what leaves its name as it is.
fn subquery(expr: &ast::Expr) -> Option<&ast::Query> {
    match expr {
        ast::Expr::Subquery(query) => Some(query),
        ast::Expr::Nested(inner) | ast::Expr::Cast { expr: inner, .. } => subquery(inner),
        _ => None,
    }
}

/// The SELECT with a name for its column that nobody else gives.
fn named(select: &ast::Select, name: &str) -> SetExpr {
    let mut select = select.clone();
    for item in &mut select.projection {
        if let SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } = item {
            let alias = Ident { quote_style: Some('"'), ..Ident::new(name) };
            *item = SelectItem::ExprWithAlias { expr: expr.clone(), alias };
        }
    }
    SetExpr::Select(Box::new(select))
}

/// The name by which the columns of a relation in FROM are called.
fn name_of(factor: &TableFactor) -> Option<Ident> {
    match factor {
        TableFactor::Table { alias: Some(alias), .. } | TableFactor::Derived { alias: Some(alias), .. } => {
            Some(alias.name.clone())
        }
        TableFactor::Table { name, alias: None, args: None, .. } => match name.0.as_slice() {
            [part] => part.as_ident().cloned(),
            _ => None,
        },
        _ => None,
    }
}

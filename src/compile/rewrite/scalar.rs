//! Subqueries as values: `WHERE x > (SELECT avg(x) FROM t)`.

use std::ops::ControlFlow;

use datafusion_sql::sqlparser::ast::{
    self, GroupByExpr, Ident, ObjectName, SelectItem, SelectItemQualifiedWildcardKind, SetExpr, Spanned,
    TableFactor,
};

use super::{Rewriting, parsed, quoted};
use crate::compile::problem::or_else;
use crate::compile::refuse;
use crate::compile::{names, query};

/// The column of a relation that stands for a subquery.
const COLUMN: &str = "_value";

impl Rewriting<'_> {
    /// Joins the values that a SELECT takes from subqueries as relations of one row: aggregates without GROUP BY that
    /// see nothing of the outer query.
    pub(super) fn values(&mut self, select: &mut ast::Select) {
        let [table] = select.from.as_slice() else { return };
        let Some(outer) = name_of(&table.relation).filter(|_| table.joins.is_empty()) else { return };
        let grouped = match &select.group_by {
            GroupByExpr::Expressions(groups, _) => !groups.is_empty(),
            GroupByExpr::All(_) => true,
        };
        let items = select.projection.iter_mut().filter_map(|item| match item {
            SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => Some(expr),
            _ => None,
        });
        let mut items: Vec<&mut ast::Expr> = items.collect();
        let aggregated = grouped || items.iter().any(|item| self.aggregates(item));
        // Behind a GROUP BY the value would have to be a column of it.
        if aggregated {
            items.clear();
        }
        let mut added = Vec::new();
        for expr in items.into_iter().chain(&mut select.selection) {
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
        select.from.extend(added);
    }

    fn in_expression(&mut self, expr: &mut ast::Expr, added: &mut Vec<ast::TableWithJoins>) {
        struct Values<'a, 'b> {
            rewriting: &'a mut Rewriting<'b>,
            added: &'a mut Vec<ast::TableWithJoins>,
            inside: usize,
        }

        impl ast::VisitorMut for Values<'_, '_> {
            type Break = ();

            fn pre_visit_expr(&mut self, expr: &mut ast::Expr) -> ControlFlow<()> {
                if let (0, ast::Expr::Subquery(subquery)) = (self.inside, &mut *expr)
                    && let Some((table, value)) = self.rewriting.as_relation(subquery)
                {
                    self.added.push(table);
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

    /// A subquery of one row as a relation, and the expression of its value.
    fn as_relation(&mut self, subquery: &ast::Query) -> Option<(ast::TableWithJoins, ast::Expr)> {
        let SetExpr::Select(select) = subquery.body.as_ref() else { return None };
        let plain = matches!(&select.group_by, GroupByExpr::Expressions(groups, _) if groups.is_empty());
        let (SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. }) =
            select.projection.first()?
        else {
            return None;
        };
        let one_row = plain && select.having.is_none() && select.distinct.is_none() && self.aggregates(expr);
        if !one_row || select.projection.len() != 1 {
            return None;
        }
        // Alone it is planned only if it sees nothing of what is around it.
        let mut alone = subquery.clone();
        alone.body = Box::new(named(select));
        if !names::columns(&mut alone, self.span, false).is_empty()
            || query::query(self.catalog, &alone).is_err()
        {
            return None;
        }
        let place = or_else(subquery.span(), self.span);
        let name = format!("_value{}", self.values);
        let text = format!("SELECT {0}.{1} FROM (SELECT 1 AS a) AS {0}", quoted(&name), quoted(COLUMN));
        let ast::Query { body, .. } = *parsed(&text, place)?;
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
        self.values += 1;
        Some((table, value))
    }

    fn aggregates(&self, expr: &ast::Expr) -> bool {
        let found = ast::visit_expressions(expr, |expr| match expr {
            ast::Expr::Function(call) if refuse::call::aggregate(self.catalog, call).is_some() => {
                ControlFlow::Break(())
            }
            _ => ControlFlow::Continue(()),
        });
        found.is_break()
    }
}

/// The SELECT with a name for its column that nobody else gives.
fn named(select: &ast::Select) -> SetExpr {
    let mut select = select.clone();
    for item in &mut select.projection {
        if let SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } = item {
            let alias = Ident { quote_style: Some('"'), ..Ident::new(COLUMN) };
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
        TableFactor::Table { name, alias: None, .. } => match name.0.as_slice() {
            [part] => part.as_ident().cloned(),
            _ => None,
        },
        _ => None,
    }
}

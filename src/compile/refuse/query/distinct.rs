//! DISTINCT ON: what it cannot stand with.

use datafusion_sql::sqlparser::ast::{self, GroupByExpr, SelectItem, SetExpr};
use datafusion_sql::sqlparser::tokenizer::Span;

use super::{Clause, Look, Walk};
use crate::compile::diagnostic::Diagnostic;
use crate::compile::problem::or_else;

/// What to do instead of ORDER BY behind DISTINCT ON.
pub(super) fn order_hint(query: &ast::Query) -> Option<&'static str> {
    let SetExpr::Select(select) = &*query.body else { return None };
    matches!(&select.distinct, Some(ast::Distinct::On(_))).then_some(
        "DISTINCT ON keeps the row that arrives first; for the earliest by event time use GROUP BY with \
         first_value(x ORDER BY t) for each column",
    )
}

impl Look<'_> {
    /// DISTINCT ON, which takes the first of its input's rows.
    pub(super) fn distinct_on(&mut self, exprs: &[ast::Expr], select: &ast::Select, start: Span) {
        if exprs.is_empty() {
            let error = Diagnostic::new(or_else(start, self.span), "DISTINCT ON () names no column");
            self.findings.diagnostics.push(error.hint("name what duplicates have in common, such as an id"));
        }
        exprs.iter().for_each(|expr| self.walk(expr, Clause::DistinctOn));
        let grouped = match &select.group_by {
            GroupByExpr::All(_) => true,
            GroupByExpr::Expressions(exprs, modifiers) => !exprs.is_empty() || !modifiers.is_empty(),
        };
        let items = select.projection.iter().filter_map(|item| match item {
            SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => Some(expr),
            _ => None,
        });
        let mut ignored = Vec::new();
        let mut walk = Walk::new(self.catalog, Clause::Select, self.span, &mut ignored);
        if grouped || items.chain(&select.having).any(|expr| walk.over(expr).is_some()) {
            let hint = "drop duplicates in a view, and aggregate that";
            self.refuse(start, "DISTINCT ON together with GROUP BY or an aggregate function", hint);
        }
    }
}

//! Queries in other words, before anything looks at them: INTERSECT and EXCEPT as a GROUP BY over both sides, and
//! subqueries that are values as relations of one row. What cannot be said so stays, and is refused.

mod scalar;
mod set;

use std::ops::ControlFlow;

use datafusion_sql::sqlparser::ast::helpers::attached_token::AttachedToken;
use datafusion_sql::sqlparser::ast::{self, ObjectNamePart, SelectItem};
use datafusion_sql::sqlparser::parser::Parser;
use datafusion_sql::sqlparser::tokenizer::Span;

use super::catalog::Catalog;
use super::diagnostic::Diagnostic;
use super::dialect::TidemillDialect;

/// Rewrites a query and those inside of it, and says what is wrong with what it rewrites; `span` is its place.
pub(super) fn query(catalog: &Catalog, query: &mut ast::Query, span: Span) -> Vec<Diagnostic> {
    let mut rewriting =
        Rewriting { catalog, span, checking: false, with: Vec::new(), diagnostics: Vec::new() };
    let _ = ast::VisitMut::visit(query, &mut rewriting);
    rewriting.diagnostics
}

struct Rewriting<'a> {
    catalog: &'a Catalog,
    span: Span,
    /// Whether this is only to see if a subquery can be planned: those inside of it are not tried one by one.
    checking: bool,
    /// Per query around the one at hand the relations of its WITH.
    with: Vec<Vec<Common>>,
    diagnostics: Vec<Diagnostic>,
}

/// A relation of a WITH.
struct Common {
    name: String,
    /// Its columns, where they can be told.
    columns: Option<set::Columns>,
    cte: ast::Cte,
}

impl ast::VisitorMut for Rewriting<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut ast::Query) -> ControlFlow<()> {
        self.enter(query);
        self.set_operation(query.body.as_mut());
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _query: &mut ast::Query) -> ControlFlow<()> {
        self.with.pop();
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &mut ast::Select) -> ControlFlow<()> {
        self.values(select);
        ControlFlow::Continue(())
    }
}

/// A query of ours, which stands where the author has written something else.
fn parsed(text: &str, place: Span) -> Option<Box<ast::Query>> {
    let mut query = Parser::new(&TidemillDialect).try_with_sql(text).ok()?.parse_query().ok()?;
    let _ = ast::VisitMut::visit(query.as_mut(), &mut At(place));
    Some(query)
}

/// A name in quotes.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Puts everything to one place.
struct At(Span);

impl ast::VisitorMut for At {
    type Break = ();

    fn pre_visit_select(&mut self, select: &mut ast::Select) -> ControlFlow<()> {
        select.select_token = AttachedToken::empty();
        for item in &mut select.projection {
            if let SelectItem::ExprWithAlias { alias, .. } = item {
                alias.span = self.0;
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut ast::Expr) -> ControlFlow<()> {
        match expr {
            ast::Expr::Identifier(name) => name.span = self.0,
            ast::Expr::Value(value) => value.span = self.0,
            ast::Expr::Function(call) => {
                for part in &mut call.name.0 {
                    if let ObjectNamePart::Identifier(name) = part {
                        name.span = self.0;
                    }
                }
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

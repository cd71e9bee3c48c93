//! Names in expressions that are none of columns.

use std::ops::ControlFlow;

use datafusion_common::{DFSchema, DFSchemaRef};
use datafusion_sql::sqlparser::ast::{self, Spanned};

use crate::compile::catalog::Catalog;
use crate::compile::diagnostic::Diagnostic;
use crate::compile::problem::{Problem, known};
use crate::compile::refuse::query::normalized;
use crate::compile::{query, refuse, text};

/// Collects names that are no columns of `schema`.
pub(super) struct Names<'a> {
    pub catalog: &'a Catalog,
    pub schema: &'a DFSchemaRef,
    /// The columns of the queries around this one, outermost first.
    pub around: &'a [DFSchemaRef],
    /// Relations of FROM that have another name there, with it.
    pub relations: Vec<(String, String)>,
    /// Names of the SELECT list.
    pub aliases: Vec<String>,
    /// Number of subqueries around the place: they have columns of their own.
    pub depth: usize,
    /// Whether the aliases can be used: behind GROUP BY and HAVING.
    pub sees: bool,
    pub found: &'a mut Vec<Diagnostic>,
}

impl Names<'_> {
    pub fn visit(&mut self, expr: &ast::Expr) {
        let _ = ast::Visit::visit(expr, self);
    }

    /// Why a name is none of a column, here or in a query around this one.
    fn problem(&self, expr: &ast::Expr) -> Option<Problem> {
        let failure = |schema| query::expression(self.catalog, expr, schema).err();
        let own = failure(self.schema)?;
        let mut told = own;
        for schema in self.around.iter().rev() {
            let error = failure(schema)?;
            if qualifier(expr).is_some_and(|name| has_relation(schema, &name)) {
                told = error;
            }
        }
        query::problems(&told).into_iter().next()
    }

    /// The relation in front of a column, and the other name that it has in FROM.
    fn renamed(&self, expr: &ast::Expr) -> Option<&(String, String)> {
        let name = qualifier(expr)?;
        self.relations.iter().find(|(relation, _)| *relation == name)
    }
}

impl ast::Visitor for Names<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, _: &ast::Query) -> ControlFlow<()> {
        self.depth += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &ast::Query) -> ControlFlow<()> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &ast::Expr) -> ControlFlow<()> {
        let ident = match expr {
            ast::Expr::Identifier(ident) => Some(ident),
            ast::Expr::CompoundIdentifier(_) => None,
            _ => return ControlFlow::Continue(()),
        };
        let alias = ident.is_some_and(|ident| self.aliases.contains(&normalized(ident)));
        if self.depth > 0 || !known(&expr.span()) || alias && self.sees {
            return ControlFlow::Continue(());
        }
        let Some(mut problem) = self.problem(expr) else { return ControlFlow::Continue(()) };
        if let Some(name) = self.renamed(expr) {
            let (relation, name) = (text::name(&name.0), text::name(&name.1));
            problem.hint =
                Some(format!("`{relation}` is called `{name}` here: write `{name}` in front of its columns"));
        }
        let near = problem.hint.as_ref().is_some_and(|hint| hint.starts_with("did you mean"));
        if let Some(ident) = ident.filter(|_| !near) {
            if alias {
                let hint = "it is a name of the SELECT list, which only GROUP BY and HAVING see: repeat its expression, \
                            or put the SELECT into a view";
                problem.hint = Some(hint.to_owned());
            } else if let Some(hint) = refuse::elsewhere::column(&ident.value.to_lowercase()) {
                problem.hint = Some(hint.to_owned());
            } else if ident.value.len() > 1 && is_constant(ident) {
                let columns = problem.hint.map(|hint| format!("; {hint}")).unwrap_or_default();
                problem.hint = Some(format!("a text stands in single quotes: '{}'{columns}", ident.value));
            } else if ident.quote_style == Some('"') {
                let text = ident.value.replace('\'', "''");
                problem.hint =
                    Some(format!("double quotes are for names; a text stands in single quotes: '{text}'"));
            }
        }
        self.found.push(problem.into_diagnostic(&[], None, expr.span()));
        ControlFlow::Continue(())
    }
}

/// Whether a name is written as constants are: `PAID`.
fn is_constant(name: &ast::Ident) -> bool {
    name.quote_style.is_none() && name.value.chars().all(|c| c.is_ascii_uppercase() || c == '_')
}

/// What stands in front of the name of a column.
fn qualifier(expr: &ast::Expr) -> Option<String> {
    match expr {
        ast::Expr::CompoundIdentifier(parts) if parts.len() == 2 => parts.first().map(normalized),
        _ => None,
    }
}

fn has_relation(schema: &DFSchema, name: &str) -> bool {
    schema.iter().any(|(relation, _)| relation.is_some_and(|relation| relation.table() == name))
}

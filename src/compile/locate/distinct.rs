//! What DISTINCT ON names.

use std::ops::ControlFlow;

use datafusion_sql::sqlparser::ast::{self, SetExpr, Spanned, Visit};
use datafusion_sql::sqlparser::tokenizer::Span;

/// The places of the expressions of DISTINCT ON, where the query has only one.
pub(in crate::compile) fn distinct_on(query: &ast::Query) -> Vec<Span> {
    let mut search = Search::default();
    let _ = query.visit(&mut search);
    if search.found.len() == 1 { search.found.swap_remove(0) } else { Vec::new() }
}

#[derive(Default)]
struct Search {
    found: Vec<Vec<Span>>,
}

impl Search {
    fn body(&mut self, body: &SetExpr) {
        match body {
            SetExpr::Select(select) => {
                if let Some(ast::Distinct::On(exprs)) = &select.distinct {
                    self.found.push(exprs.iter().map(Spanned::span).collect());
                }
            }
            SetExpr::SetOperation { left, right, .. } => {
                self.body(left);
                self.body(right);
            }
            // A query in brackets is visited by itself.
            _ => {}
        }
    }
}

impl ast::Visitor for Search {
    type Break = ();

    fn pre_visit_query(&mut self, query: &ast::Query) -> ControlFlow<()> {
        self.body(&query.body);
        ControlFlow::Continue(())
    }
}

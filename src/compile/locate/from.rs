//! What stands in FROM: relations, subqueries, conditions of joins.

use std::ops::ControlFlow;

use datafusion_sql::sqlparser::ast::{self, Spanned, TableFactor, Visit};
use datafusion_sql::sqlparser::tokenizer::Span;

use crate::compile::ast::SystemTime;
use crate::compile::diagnostic::Diagnostic;
use crate::compile::problem::known;
use crate::compile::refuse::query::normalized;
use crate::compile::statement::system_time;
use crate::compile::text;

/// Where FROM names a relation, by its name or alias.
pub(in crate::compile) fn relation(query: &ast::Query, name: &str) -> Option<Span> {
    let mut search = Relation { name, found: None };
    let _ = query.visit(&mut search);
    search.found
}

struct Relation<'a> {
    name: &'a str,
    found: Option<Span>,
}

impl ast::Visitor for Relation<'_> {
    type Break = ();

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
        let (own, alias, span) = match factor {
            TableFactor::Table { name, alias, .. } => (name.0.last(), alias, name.span()),
            TableFactor::Derived { alias, .. } => {
                (None, alias, alias.as_ref().map_or(Span::empty(), |a| a.name.span))
            }
            _ => return ControlFlow::Continue(()),
        };
        let own = own.and_then(|part| part.as_ident());
        let named = alias.as_ref().map(|alias| &alias.name).or(own).map(normalized);
        if self.found.is_none() && named.is_some_and(|found| text::name(&found) == self.name) {
            self.found = Some(span).filter(known);
        }
        ControlFlow::Continue(())
    }
}

/// The clauses that stand behind a relation in which no rows of a stream are looked up. Of relations with one name
/// all have to be such.
pub(in crate::compile) fn unused_system_times(
    query: &ast::Query,
    clauses: &[SystemTime],
    looked_up_in: &[String],
) -> Vec<Diagnostic> {
    let mut named: Vec<(Span, String)> = Vec::new();
    let _ = query.visit(&mut Relations(&mut named));
    let unused = |clause: &SystemTime| {
        let Some((_, name)) = named.iter().find(|(span, _)| span.end == clause.relation.end) else {
            return Some(system_time::unused(clause, "this"));
        };
        let relations = named.iter().filter(|(_, other)| other == name).count();
        let lookups = looked_up_in.iter().filter(|other| *other == name).count();
        (lookups < relations).then(|| system_time::unused(clause, &format!("that of `{name}`")))
    };
    clauses.iter().filter_map(unused).collect()
}

/// Collects relations: where their names stand, and how the query calls them.
struct Relations<'a>(&'a mut Vec<(Span, String)>);

impl ast::Visitor for Relations<'_> {
    type Break = ();

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
        if let TableFactor::Table { name, alias, .. } = factor {
            let own = name.0.last().and_then(|part| part.as_ident());
            let called = alias.as_ref().map(|alias| &alias.name).or(own).map(normalized);
            self.0.extend(called.map(|called| (name.span(), text::name(&called))));
        }
        ControlFlow::Continue(())
    }
}

/// The subqueries of one item of FROM.
pub(super) fn subqueries(table: &ast::TableWithJoins) -> Vec<&ast::Query> {
    let mut found = Vec::new();
    for factor in std::iter::once(&table.relation).chain(table.joins.iter().map(|join| &join.relation)) {
        match factor {
            TableFactor::Derived { subquery, .. } => found.push(subquery.as_ref()),
            TableFactor::NestedJoin { table_with_joins, .. } => found.extend(subqueries(table_with_joins)),
            _ => {}
        }
    }
    found
}

/// The relations of one item of FROM that have another name there, with it.
pub(super) fn aliases(table: &ast::TableWithJoins) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for factor in std::iter::once(&table.relation).chain(table.joins.iter().map(|join| &join.relation)) {
        match factor {
            TableFactor::Table { name, alias: Some(alias), .. } => {
                let own = name.0.last().and_then(|part| part.as_ident()).map(normalized);
                found.extend(own.map(|own| (own, normalized(&alias.name))));
            }
            TableFactor::NestedJoin { table_with_joins, .. } => found.extend(aliases(table_with_joins)),
            _ => {}
        }
    }
    found
}

/// Where FROM gives a relation `count` names of columns.
pub(in crate::compile) fn renamed_columns(query: &ast::Query, count: usize) -> Option<Span> {
    let mut search = Renamed { count, found: None };
    let _ = query.visit(&mut search);
    search.found
}

struct Renamed {
    count: usize,
    found: Option<Span>,
}

impl ast::Visitor for Renamed {
    type Break = ();

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
        let (TableFactor::Table { alias, .. } | TableFactor::Derived { alias, .. }) = factor else {
            return ControlFlow::Continue(());
        };
        let named = alias.as_ref().filter(|alias| alias.columns.len() == self.count);
        let spans = named.map(|alias| alias.columns.iter().map(|column| column.name.span));
        let span = spans.map(|spans| spans.fold(Span::empty(), |all, span| all.union(&span)));
        self.found = self.found.or(span.filter(known));
        ControlFlow::Continue(())
    }
}

/// The condition of a join.
pub(super) fn on(join: &ast::Join) -> Option<&ast::Expr> {
    use ast::JoinOperator as J;
    match &join.join_operator {
        J::Join(constraint)
        | J::Inner(constraint)
        | J::Left(constraint)
        | J::LeftOuter(constraint)
        | J::Right(constraint)
        | J::RightOuter(constraint)
        | J::FullOuter(constraint) => match constraint {
            ast::JoinConstraint::On(condition) => Some(condition),
            _ => None,
        },
        _ => None,
    }
}

//! Queries through the library's planner, and the places of its errors.
//!
//! The plan is taken as the planner makes it. The library's optimizer is not used: it moves HAVING below the
//! GROUP BY, puts the condition of an outer query before that of the inner one that guards it, and leaves no
//! expression as it was written. What it would save, the lowering does itself.

use datafusion_common::{DFSchema, DataFusionError, SchemaError};
use datafusion_expr::{Expr, LogicalPlan};
use datafusion_sql::planner::{ParserOptions, PlannerContext, SqlToRel};
use datafusion_sql::sqlparser::ast;
use datafusion_sql::sqlparser::tokenizer::{Location, Span};

use super::catalog::Catalog;
use super::problem::Problem;
use super::reword::{failed, twice};
use super::text;

/// Something for the planner. Its one function is compiled per use, and is big: so there is one.
enum Request<'a> {
    Query(Box<ast::Query>),
    Expression(Box<ast::Expr>, &'a DFSchema),
}

enum Planned {
    Query(Box<LogicalPlan>),
    Expression(Expr),
}

fn plan(catalog: &Catalog, request: Request) -> Result<Planned, DataFusionError> {
    let options = ParserOptions::new().with_collect_spans(true).with_map_string_types_to_utf8view(false);
    let planner = SqlToRel::new_with_options(catalog, options);
    Ok(match request {
        Request::Query(query) => {
            Planned::Query(Box::new(planner.sql_statement_to_plan(ast::Statement::Query(query))?))
        }
        Request::Expression(expression, schema) => {
            Planned::Expression(planner.sql_to_expr(*expression, schema, &mut PlannerContext::new())?)
        }
    })
}

/// Plans a query over the relations of `catalog`.
pub(super) fn query(catalog: &Catalog, query: &ast::Query) -> Result<LogicalPlan, DataFusionError> {
    match plan(catalog, Request::Query(Box::new(query.clone())))? {
        Planned::Query(plan) => Ok(*plan),
        Planned::Expression(_) => Err(DataFusionError::Plan("a query became an expression".to_owned())),
    }
}

/// Plans one expression over the columns of `schema`.
pub(super) fn expression(
    catalog: &Catalog,
    expression: &ast::Expr,
    schema: &DFSchema,
) -> Result<Expr, DataFusionError> {
    match plan(catalog, Request::Expression(Box::new(expression.clone()), schema))? {
        Planned::Expression(expression) => Ok(expression),
        Planned::Query(_) => Err(DataFusionError::Plan("an expression became a query".to_owned())),
    }
}

/// The planner's place in the parser's terms.
pub(super) fn span(span: datafusion_common::Span) -> Span {
    let location = |at: datafusion_common::Location| Location { line: at.line, column: at.column };
    Span { start: location(span.start), end: location(span.end) }
}

/// What the planner has found wrong.
pub(super) fn problems(error: &DataFusionError) -> Vec<Problem> {
    error.iter().map(problem).collect()
}

fn problem(error: &DataFusionError) -> Problem {
    let place = error.diagnostic().and_then(|diagnostic| diagnostic.span).map(span);
    let problem = match error.find_root() {
        DataFusionError::SchemaError(schema_error, _) => schema_problem(schema_error),
        _ => None,
    };
    match problem {
        Some(problem) => problem.or_at(place),
        // The planner names one operand only.
        None if is_about_types(error) => failed(error).near(place),
        None => failed(error).or_at(place),
    }
}

fn is_about_types(error: &DataFusionError) -> bool {
    let message = error.find_root().message();
    ["coerce", "infer common argument", "result type for"].iter().any(|part| message.contains(part))
}

fn schema_problem(error: &SchemaError) -> Option<Problem> {
    match error {
        SchemaError::FieldNotFound { field, valid_fields } => {
            let mut problem = Problem::new(format!("there is no column `{}`", text::name(&field.name)));
            if let Some(relation) = &field.relation
                && !valid_fields.iter().any(|valid| valid.relation.as_ref() == Some(relation))
            {
                problem = Problem::new(format!("there is no relation `{relation}` in FROM"));
                let names = valid_fields.iter().filter_map(|valid| valid.relation.as_ref());
                let mut names: Vec<&str> = names.map(|name| name.table()).collect();
                names.sort_unstable();
                names.dedup();
                problem.hint = text::did_you_mean(relation.table(), names.iter().copied());
                problem.hint = problem.hint.or_else(|| Some(format!("FROM has {}", names.join(", "))));
                return Some(problem);
            }
            let names: Vec<_> = valid_fields.iter().map(|valid| valid.name.as_str()).collect();
            problem.hint = text::did_you_mean(&field.name, names.iter().copied()).or_else(|| {
                let names: Vec<_> = names.iter().map(|name| text::name(name)).collect();
                (!names.is_empty()).then(|| format!("the columns are {}", names.join(", ")))
            });
            Some(problem)
        }
        SchemaError::AmbiguousReference { field } => {
            let name = text::name(&field.name);
            let problem = Problem::new(format!("`{name}` can mean several columns"));
            Some(problem.hint(format!("write its relation in front: relation.{name}")))
        }
        SchemaError::DuplicateQualifiedField { name, .. }
        | SchemaError::DuplicateUnqualifiedField { name } => Some(twice(name)),
    }
}

//! Computed columns of a source: `at TIMESTAMP AS to_timestamp(day || ' ' || time, '%Y-%m-%d %H:%M')`.

use arrow::datatypes::DataType;

use super::{placed, planned};
use crate::compile::ast::{ColumnDefinition, CreateSource, Expression};
use crate::compile::catalog::Catalog;
use crate::compile::diagnostic::Diagnostic;
use crate::compile::expression::{Scope, cast_to, compile, indices};
use crate::compile::flow::Flow;
use crate::compile::{text, types};
use crate::plan::{ColumnType, Computed, Expr};

/// Compiles the computed columns; reports what is wrong with them.
pub(super) fn columns(
    create: &CreateSource,
    catalog: &Catalog,
    flow: &Flow,
    diagnostics: &mut Vec<Diagnostic>,
) -> Vec<Computed> {
    let mut all = Vec::new();
    for (column, definition) in create.columns.iter().enumerate() {
        let Some(expression) = &definition.computed else { continue };
        match compiled(definition, expression, create, (catalog, flow)) {
            Ok(expr) => all.push(Computed { column, expr: Expr { text: expression.text.clone(), ..expr } }),
            Err(diagnostic) => diagnostics.push(diagnostic),
        }
    }
    all
}

fn compiled(
    definition: &ColumnDefinition,
    expression: &Expression,
    create: &CreateSource,
    (catalog, flow): (&Catalog, &Flow),
) -> Result<Expr, Diagnostic> {
    let error = |message: String| Diagnostic::new(expression.span, message);
    let planned = planned(expression, catalog, flow)?;
    let scope = Scope { no_now: Some("`now()` cannot be used in a computed column"), ..Scope::over(flow) };
    for column in indices(&planned, &scope) {
        let name = text::name(&create.columns[column].name.value);
        if flow.columns[column].ingestion {
            let message = format!("`{name}` is not known yet when the column is computed");
            return Err(error(message).hint("compute it in a view: SELECT *, expression AS name"));
        }
        if create.columns[column].computed.is_some() {
            let message = format!("`{name}` is computed as well, and computed columns do not see each other");
            return Err(error(message).hint("write its expression, or compute it in a view"));
        }
    }
    let compiled = compile(&planned, &scope).map_err(|problem| placed(problem, expression, catalog, flow))?;
    let (found, wanted) = (compiled.data_type.clone(), definition.kind.arrow_type());
    let widened = matches!(
        (&found, &wanted),
        (DataType::Int32, DataType::Int64 | DataType::Float64) | (DataType::Int64, DataType::Float64)
    );
    let json = (definition.kind == ColumnType::Json) == compiled.json;
    if (found == wanted && json) || widened {
        return Ok(cast_to(compiled, &wanted).expr);
    }
    let kind = definition.kind.sql_name();
    let found = if compiled.json { "JSON".to_owned() } else { types::name(&found) };
    let message = format!("the column is {kind}, but `{}` is {found}", expression.text);
    Err(error(message).hint(format!("declare it as {found}, or write CAST({} AS {kind})", expression.text)))
}

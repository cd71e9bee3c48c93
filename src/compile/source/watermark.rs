//! `WATERMARK FOR column AS column - INTERVAL '...'`.

use datafusion_common::DFSchema;
use datafusion_expr::Expr;
use datafusion_sql::sqlparser::ast::{BinaryOperator, Expr as Ast, Spanned};
use datafusion_sql::sqlparser::tokenizer::Span;

use crate::compile::ast::{CreateSource, WatermarkDefinition};
use crate::compile::catalog::Catalog;
use crate::compile::diagnostic::Diagnostic;
use crate::compile::problem::or_else;
use crate::compile::{interval, query, text};
use crate::plan::{ColumnType, Metadata, WatermarkColumn};

/// The column whose values are event time, and how far its watermark is behind.
pub(super) fn column(
    definition: &WatermarkDefinition,
    create: &CreateSource,
    catalog: &Catalog,
) -> Result<WatermarkColumn, Diagnostic> {
    let WatermarkDefinition { column, expression } = definition;
    let names = || create.columns.iter().map(|column| column.name.value.as_str());
    let Some(index) = names().position(|name| name == column.value) else {
        let message = format!("there is no column `{}`", text::name(&column.value));
        let mut diagnostic = Diagnostic::new(column.span, message);
        diagnostic.hint = text::did_you_mean(&column.value, names()).or_else(|| {
            Some(format!("the columns are {}", names().map(text::name).collect::<Vec<_>>().join(", ")))
        });
        return Err(diagnostic);
    };
    let declared = &create.columns[index];
    if declared.kind != ColumnType::Timestamp {
        let message =
            format!("the column is {}, but a watermark needs a TIMESTAMP", declared.kind.sql_name());
        let hint = format!("declare it as {} TIMESTAMP", text::name(&column.value));
        return Err(Diagnostic::new(column.span, message).hint(hint));
    }
    if declared.metadata == Some(Metadata::IngestionTime) {
        let message = "the ingestion time is no event time";
        return Err(Diagnostic::new(column.span, message).hint("use a TIMESTAMP of the record"));
    }
    let is_column = |ast: &Ast| match ast {
        Ast::Identifier(ident) if ident.quote_style.is_some() => ident.value == column.value,
        Ast::Identifier(ident) => ident.value.to_lowercase() == column.value,
        _ => false,
    };
    let shape = || {
        let name = text::name(&column.value);
        Diagnostic::new(expression.span, "a watermark is the column, or the column minus a constant INTERVAL")
            .hint(format!("write WATERMARK FOR {name} AS {name} - INTERVAL '10 seconds'"))
    };
    let delay_ns = match &expression.ast {
        ast if is_column(ast) => 0,
        Ast::BinaryOp { left, op: BinaryOperator::Minus, right } if is_column(left) => {
            let planned = query::expression(catalog, right, &DFSchema::empty()).map_err(|_| shape())?;
            let span = or_else(right.span(), expression.span);
            delay(&planned, span)?.ok_or_else(shape)?
        }
        _ => return Err(shape()),
    };
    Ok(WatermarkColumn { column: index, delay_ns })
}

/// Nanoseconds of a constant interval of 0 or more; `None` if it is none.
fn delay(planned: &Expr, span: Span) -> Result<Option<i64>, Diagnostic> {
    let delay = interval::constant(planned, span)?;
    if delay.is_some_and(|delay| delay < 0) {
        let error = Diagnostic::new(span, "a watermark cannot be ahead of the event time");
        return Err(error.hint("write an interval of 0 or more"));
    }
    Ok(delay)
}

//! `CREATE TABLE name ( ... , PRIMARY KEY (column, ...)) WITH ( ... )`

use datafusion_sql::sqlparser::tokenizer::{Span, Token};

use super::source_body::{self, Body, Owner};
use super::tokens::Tokens;
use super::{Context, with};
use crate::compile::ast::{CreateSource, Name, Statement};
use crate::compile::diagnostic::Diagnostic;
use crate::compile::text;
use crate::plan::ColumnType;

const EXAMPLE: &str = "list its columns and its key: (id TEXT, name TEXT, PRIMARY KEY (id))";

/// `( ... ) WITH ( ... )`
pub(super) fn create(
    context: &mut Context<'_>,
    tokens: Tokens<'_>,
    index: usize,
    name: Name,
) -> Option<Statement> {
    let shown = text::name(&name.value);
    if tokens.is(index, "AS") {
        let message = format!("table `{shown}` is made by a query, which is a view");
        let error = Diagnostic::new(tokens.at(index), message);
        return context
            .take(Err(error.hint(format!("write CREATE MATERIALIZED VIEW {shown} AS SELECT ..."))));
    }
    if tokens.is(index, "WITH") || tokens.get(index).is_none() {
        let message = format!("table `{shown}` has no columns");
        return context.take(Err(Diagnostic::new(tokens.at(index), message).hint(EXAMPLE)));
    }
    let (brackets, next) = context.take(tokens.group(index))?;
    let before = context.diagnostics.len();
    let mut body = source_body::parse(context, brackets, Owner::Table);
    let whole = context.diagnostics.len() == before;
    let options = with::clause(context, tokens, next, name.span)?;
    if body.key.is_none() && whole {
        let error = Diagnostic::new(name.span, format!("table `{shown}` has no PRIMARY KEY"));
        let hint = "add PRIMARY KEY (id): the last row of each key counts; records without a key are a \
                    CREATE SOURCE";
        return context.take(Err(error.hint(hint)));
    }
    let key = body.key.take().unwrap_or_default();
    for column in &key {
        let checked = check_key(&mut body, column);
        context.take(checked);
    }
    Some(Statement::Source(Box::new(CreateSource {
        name,
        key: Some(key),
        columns: body.columns,
        checks: body.checks,
        watermark: None,
        options,
    })))
}

/// `PRIMARY KEY (column, ...)`
pub(super) fn key(item: Tokens<'_>) -> Result<Vec<Name>, Diagnostic> {
    let (list, next) = item.group(2).map_err(|error| error.hint("write PRIMARY KEY (id)"))?;
    let end = item.end(next, "PRIMARY KEY ( ... )");
    end.map_err(|error| if item.is(next, "NOT") { error.hint("remove it: the key is kept") } else { error })?;
    let mut names: Vec<Name> = Vec::new();
    for part in list.split_commas() {
        let name = part.name(0, "the name of a column")?;
        part.end(1, "the name of a column")?;
        if names.iter().any(|other| other.value == name.value) {
            let message = format!("`{}` stands twice in the key", text::name(&name.value));
            return Err(Diagnostic::new(name.span, message).hint("name each column once"));
        }
        names.push(name);
    }
    Ok(names)
}

/// `column TYPE PRIMARY KEY`
pub(super) fn of_column(clause: Tokens<'_>, column: &Name) -> Result<Vec<Name>, Diagnostic> {
    if !clause.is(1, "KEY") {
        let message = format!("expected KEY, found {}", clause.show(1));
        return Err(Diagnostic::new(clause.at(1), message).hint("write PRIMARY KEY"));
    }
    let end = clause.end(2, "PRIMARY KEY");
    end.map_err(|error| {
        let list = clause.get(2) == Some(&Token::LParen);
        if list { error.hint("a list of columns stands behind a comma: , PRIMARY KEY (a, b)") } else { error }
    })?;
    Ok(vec![column.clone()])
}

/// Keeps the key; there is one.
pub(super) fn set_key(body: &mut Body, key: Vec<Name>, span: Span) -> Result<(), Diagnostic> {
    if body.key.is_some() {
        let error = Diagnostic::new(span, "a table has one PRIMARY KEY; this is the second");
        return Err(error.hint("a key of several columns is written behind them: PRIMARY KEY (a, b)"));
    }
    body.key = Some(key);
    Ok(())
}

pub(super) fn watermark(span: Span) -> Diagnostic {
    let error = Diagnostic::new(span, "a table has no watermark: it is as it is when a row looks into it");
    error.hint("remove it; a stream of events is a CREATE SOURCE")
}

/// A column of the key, which becomes NOT NULL.
fn check_key(body: &mut Body, name: &Name) -> Result<(), Diagnostic> {
    let shown = text::name(&name.value);
    let Some(place) = body.columns.iter().position(|column| column.name.value == name.value) else {
        let names = body.columns.iter().map(|column| column.name.value.as_str());
        let mut error = Diagnostic::new(name.span, format!("there is no column `{shown}`"));
        error.hint = text::did_you_mean(&name.value, names).or_else(|| Some(EXAMPLE.to_owned()));
        return Err(error);
    };
    let column = &mut body.columns[place];
    let error = |message: String, hint: &str| Err(Diagnostic::new(name.span, message).hint(hint));
    if column.metadata.is_some() {
        let hint = "in a topic the key columns are read from the key of the message; key.format = 'raw' takes \
                    all of it as one TEXT";
        return error(format!("`{shown}` is METADATA, which is no key"), hint);
    }
    if column.default.is_some() {
        return error(format!("`{shown}` is a key, which has no DEFAULT"), "remove it");
    }
    if column.kind == ColumnType::Json {
        return error(format!("`{shown}` is JSON, which has no equality"), "declare it as TEXT");
    }
    column.not_null = true;
    Ok(())
}

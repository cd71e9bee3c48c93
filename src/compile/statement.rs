//! SQL text to statements: tokenised once, cut at `;`, each statement parsed by itself.
//!
//! So one mistake costs one statement, and inside brackets one column or option: a file's mistakes are
//! reported together, not one per run.

mod clauses;
#[cfg(test)]
mod corpus;
mod explain;
mod refusal;
mod source_body;
pub(super) mod system_time;
mod table;
mod tokens;
mod types;
mod window_table;
mod with;

use std::collections::BTreeMap;

use datafusion_sql::sqlparser::tokenizer::{Location, Span, Token, TokenWithSpan};

use super::ast::{CreateSink, CreateSource, CreateView, Name, Options, Query, SinkInput, Statement};
use super::diagnostic::Diagnostic;
use super::late;
use crate::plan::Emit;

use tokens::{SourceText, Tokens};

/// What all parts of the parser share.
pub(super) struct Context<'a> {
    /// Replacements for `${NAME}`.
    pub parameters: &'a BTreeMap<String, String>,
    pub diagnostics: Vec<Diagnostic>,
}

impl Context<'_> {
    /// Keeps the value, or reports what is wrong with it.
    pub(super) fn take<T>(&mut self, result: Result<T, Diagnostic>) -> Option<T> {
        result.map_err(|diagnostic| self.diagnostics.push(diagnostic)).ok()
    }
}

/// Parses the text of a dataflow file; every mistake is reported. Of a wrong statement that would have made a
/// relation only its name is left, as [`Statement::Broken`].
pub fn parse(text: &str, parameters: &BTreeMap<String, String>) -> (Vec<Statement>, Vec<Diagnostic>) {
    let source = SourceText::new(text);
    let (mut tokens, lexical) = source.tokenize();
    let mut context = Context { parameters, diagnostics: explain::foreign_comments(&mut tokens, &source) };
    let system_times = system_time::take(&mut tokens);
    window_table::take(&mut tokens);
    let mut statements = Vec::new();
    let mut from = 0;
    while from < tokens.len() {
        let end = tokens[from..].iter().position(|token| token.token == Token::SemiColon);
        let mut to = end.map_or(tokens.len(), |end| from + end);
        let mut end = end;
        if let Some(begin) = forgotten_end(&tokens[from..to]) {
            let error =
                Diagnostic::new(tokens[from + begin].span, "a `;` is missing in front of this statement");
            context.diagnostics.push(error.hint("end the one before it with `;`"));
            (to, end) = (from + begin, Some(begin));
        }
        let slice = Tokens::new(&tokens[from..to], end.map(|end| tokens[from + end].span), &source);
        // What is cut off by a character that is no token would only give errors that follow from it.
        let cut_off = end.is_none() && lexical.is_some();
        if !slice.is_empty() && !cut_off {
            let mut parsed = statement(&mut context, slice);
            context.diagnostics.extend(system_time::give(&system_times, slice.span(), &mut parsed));
            statements.extend(parsed);
        }
        from = to + usize::from(tokens.get(to).is_some_and(|token| token.token == Token::SemiColon));
    }
    let mut diagnostics = context.diagnostics;
    diagnostics.extend(lexical);
    if statements.is_empty() && diagnostics.is_empty() {
        let start = tokens::one_character(Location::new(1, 1));
        let nothing = Diagnostic::new(start, "there is no statement in this file");
        diagnostics.push(nothing.hint("start with CREATE SOURCE name ( ... ) WITH ( ... )"));
    }
    diagnostics.sort_by_key(|diagnostic| diagnostic.span.start);
    (statements, diagnostics)
}

/// Where a statement begins without one that has ended before it.
fn forgotten_end(tokens: &[TokenWithSpan]) -> Option<usize> {
    let is = |index: usize, words: &[&str]| match tokens.get(index).map(|token| &token.token) {
        Some(Token::Word(word)) if word.quote_style.is_none() => {
            words.iter().any(|wanted| word.value.eq_ignore_ascii_case(wanted))
        }
        _ => false,
    };
    const MADE: &[&str] = &["SOURCE", "VIEW", "MATERIALIZED", "SINK", "TABLE", "STREAM"];
    (1..tokens.len()).find(|index| is(*index, &["CREATE"]) && is(index + 1, MADE))
}

/// What the words behind CREATE make, and how many words that are.
#[derive(Clone, Copy)]
enum Kind {
    Source,
    Table,
    View { materialized: bool },
    Sink,
}

fn statement(context: &mut Context<'_>, tokens: Tokens<'_>) -> Option<Statement> {
    let (kind, words) = if tokens.are(0, &["CREATE", "SOURCE"]) {
        (Kind::Source, 2)
    } else if tokens.are(0, &["CREATE", "TABLE"]) {
        (Kind::Table, 2)
    } else if tokens.are(0, &["CREATE", "VIEW"]) {
        (Kind::View { materialized: false }, 2)
    } else if tokens.are(0, &["CREATE", "MATERIALIZED", "VIEW"]) {
        (Kind::View { materialized: true }, 3)
    } else if tokens.are(0, &["CREATE", "SINK"]) {
        (Kind::Sink, 2)
    } else {
        let (diagnostic, name) = refusal::statement(&tokens);
        context.diagnostics.push(diagnostic);
        return name.map(Statement::Broken);
    };
    if let Some(strange) = explain::strange(&tokens) {
        context.diagnostics.push(strange);
        return tokens
            .name(words, "a name")
            .ok()
            .filter(|_| !matches!(kind, Kind::Sink))
            .map(Statement::Broken);
    }
    let name = context.take(statement_name(&tokens, words, kind))?;
    let before = context.diagnostics.len();
    let parsed = match tokens.unbalanced() {
        Some(unbalanced) => context.take(Err(unbalanced)),
        None => match kind {
            Kind::Source => create_source(context, tokens, words + 1, name.clone()),
            Kind::Table => table::create(context, tokens, words + 1, name.clone()),
            Kind::View { materialized } => {
                create_view(context, tokens, words + 1, name.clone(), materialized)
            }
            Kind::Sink => create_sink(context, tokens, words + 1, name.clone()),
        },
    };
    let whole = context.diagnostics.len() == before;
    match parsed {
        Some(statement) if whole => Some(statement),
        _ if matches!(kind, Kind::Sink) => None,
        _ => Some(Statement::Broken(name)),
    }
}

fn statement_name(tokens: &Tokens<'_>, index: usize, kind: Kind) -> Result<Name, Diagnostic> {
    if tokens.are(index, &["IF", "NOT", "EXISTS"]) {
        let span = tokens.range(index, index + 3).span();
        let message = "IF NOT EXISTS is not supported: a file says what there is";
        return Err(Diagnostic::new(span, message).hint("remove it"));
    }
    let what = match kind {
        Kind::Source => "the name of the source",
        Kind::Table => "the name of the table",
        Kind::View { .. } => "the name of the view",
        Kind::Sink => "the name of the sink",
    };
    let name = tokens.name(index, what)?;
    if tokens.get(index + 1) == Some(&Token::Minus) {
        let error = Diagnostic::new(tokens.at(index + 1), "a name has no `-` in it");
        return Err(error.hint("write `_`, or put the name into double quotes"));
    }
    if tokens.get(index + 1) == Some(&Token::Period) {
        let span = tokens.range(index, index + 3).span();
        let message = "names have no schema or database in front";
        return Err(Diagnostic::new(span, message).hint("write the last part only"));
    }
    Ok(name)
}

/// `( ... ) WITH ( ... )`
fn create_source(
    context: &mut Context<'_>,
    tokens: Tokens<'_>,
    index: usize,
    name: Name,
) -> Option<Statement> {
    if tokens.is(index, "AS") || tokens.is(index, "WITH") || tokens.get(index).is_none() {
        let message = format!("source `{}` has no columns", name.value);
        let example = "list them behind the name: (device TEXT NOT NULL, value DOUBLE, ...)";
        return context.take(Err(Diagnostic::new(tokens.at(index), message).hint(example)));
    }
    let (body, next) = context.take(tokens.group(index))?;
    let body = source_body::parse(context, body, source_body::Owner::Source);
    let options = with::clause(context, tokens, next, name.span)?;
    Some(Statement::Source(Box::new(CreateSource {
        name,
        key: None,
        columns: body.columns,
        checks: body.checks,
        watermark: body.watermark,
        options,
    })))
}

/// `[(column, ...)] [WITH ( ... )] AS SELECT ...`
fn create_view(
    context: &mut Context<'_>,
    tokens: Tokens<'_>,
    index: usize,
    name: Name,
    materialized: bool,
) -> Option<Statement> {
    let (columns, index) = match tokens.group(index) {
        Ok((list, next)) => (view_columns(context, &list, tokens.range(index, next).span())?, next),
        Err(_) => (Vec::new(), index),
    };
    let mut options = Options { entries: Vec::new(), span: name.span };
    let mut at = index;
    if tokens.is(index, "WITH") {
        let (group, next) = context.take(tokens.group(index + 1))?;
        options = with::options(context, group, tokens.range(index, next).span());
        at = next;
    }
    if !tokens.is(at, "AS") {
        let message = format!("expected AS and a SELECT, found {}", tokens.show(at));
        let example = format!("CREATE VIEW {} AS SELECT ... FROM ...", name.value);
        return context.take(Err(Diagnostic::new(tokens.at(at), message).hint(example)));
    }
    let query = tokens.from(at + 1);
    if let Some(with) = trailing_with(query) {
        let error = Diagnostic::new(query.at(with), "WITH ( ... ) of a view stands before AS");
        let example = "a view writes nowhere: for a topic, file or collection write CREATE SINK name FROM";
        let example = format!("{example} {} WITH ( ... )", name.value);
        return context.take(Err(error.hint(example)));
    }
    let query = parse_query(context, query)?;
    Some(Statement::View(CreateView { name, columns, materialized, query, options }))
}

/// The names in the brackets behind the name of a view.
fn view_columns(context: &mut Context<'_>, list: &Tokens<'_>, span: Span) -> Option<Vec<Name>> {
    let mut names: Vec<Name> = Vec::new();
    for part in list.split_commas() {
        if part.is_empty() {
            let error = Diagnostic::new(span, "a name is missing in the list of columns");
            return context.take(Err(error.hint("write the names of the columns: (device, value)")));
        }
        let name = context.take(part.name(0, "the name of a column"))?;
        if part.len() > 1 {
            let message = format!("expected ',' or ')', found {}", part.show(1));
            let hint = "a view's columns have names only: their types come from the SELECT";
            return context.take(Err(Diagnostic::new(part.at(1), message).hint(hint)));
        }
        if names.iter().any(|other| other.value == name.value) {
            let message = format!("two columns have the name `{}`", name.value);
            return context.take(Err(Diagnostic::new(name.span, message).hint("name each column once")));
        }
        names.push(name);
    }
    Some(names)
}

/// `FROM relation | AS SELECT ...  WITH ( ... )`
fn create_sink(context: &mut Context<'_>, tokens: Tokens<'_>, index: usize, name: Name) -> Option<Statement> {
    if tokens.is(index, "FROM") {
        let (input, next) = context.take(relation(&tokens, index + 1))?;
        let options = with::clause(context, tokens, next, name.span)?;
        return Some(Statement::Sink(CreateSink { name, input: SinkInput::From(input), options }));
    }
    if !tokens.is(index, "AS") {
        let message = format!("expected FROM or AS, found {}", tokens.show(index));
        let error = Diagnostic::new(tokens.at(index), message);
        return context.take(Err(error.hint(
            "CREATE SINK name FROM relation WITH ( ... ), or CREATE SINK name AS SELECT ... WITH ( ... )",
        )));
    }
    let rest = tokens.from(index + 1);
    let at = trailing_with(rest).unwrap_or(rest.len());
    let query = rest.range(0, at);
    let parsed = parse_query(context, query);
    let options = with::clause(context, rest, at, name.span)?;
    let input = SinkInput::Query(parsed?);
    Some(Statement::Sink(CreateSink { name, input, options }))
}

/// The last `WITH (` outside of brackets that is not the first word: there it would begin a CTE, and those
/// have a name behind the WITH.
fn trailing_with(query: Tokens<'_>) -> Option<usize> {
    let found = query.depths().filter(|(index, depth, _)| {
        *depth == 0 && *index > 0 && query.is(*index, "WITH") && query.get(index + 1) == Some(&Token::LParen)
    });
    found.map(|(index, _, _)| index).last()
}

/// The relation that a sink writes: its name, or `late(view)`; and where what follows begins.
fn relation(tokens: &Tokens<'_>, index: usize) -> Result<(Name, usize), Diagnostic> {
    let name = tokens.name(index, "the relation to write")?;
    if name.value != "late" || tokens.get(index + 1) != Some(&Token::LParen) {
        return Ok((name, index + 1));
    }
    let (inside, next) = tokens.group(index + 1)?;
    let view = inside.name(0, "the view whose late rows are meant")?;
    let span = tokens.range(index, next).span();
    if inside.len() > 1 {
        let error = Diagnostic::new(span, "`late` takes the name of a view alone");
        return Err(error.hint(format!("write late({})", view.value)));
    }
    Ok((Name { value: late::name(&view.value), span }, next))
}

fn parse_query(context: &mut Context<'_>, query: Tokens<'_>) -> Option<Query> {
    let (query, emit) = emit_clause(query);
    let refused = refusal::clauses(&query);
    if !refused.is_empty() {
        context.diagnostics.extend(refused);
        return None;
    }
    let mut ast = context.take(query.query())?;
    late::rename(&mut ast);
    Some(Query { ast, span: query.span(), emit, system_times: Vec::new() })
}

/// Takes `EMIT CHANGES`, `EMIT FINAL` or RisingWave's `EMIT ON WINDOW CLOSE` off the end of a query.
fn emit_clause(query: Tokens<'_>) -> (Tokens<'_>, Option<(Emit, Span)>) {
    let clauses: [(&[&str], Emit); 3] = [
        (&["EMIT", "CHANGES"], Emit::Changes),
        (&["EMIT", "FINAL"], Emit::Final),
        (&["EMIT", "ON", "WINDOW", "CLOSE"], Emit::Final),
    ];
    for (words, emit) in clauses {
        if let Some(at) = query.len().checked_sub(words.len()).filter(|at| *at > 0)
            && query.are(at, words)
        {
            return (query.range(0, at), Some((emit, query.from(at).span())));
        }
    }
    (query, None)
}

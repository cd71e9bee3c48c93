//! `FOR SYSTEM_TIME AS OF PROCTIME()`. The planner would drop it in silence; so it is taken out here, and whoever
//! compiles the query has to find that it means what it says.

use datafusion_sql::sqlparser::tokenizer::{Span, Token, TokenWithSpan};

use crate::compile::ast::{SinkInput, Statement, SystemTime};
use crate::compile::diagnostic::Diagnostic;

/// Takes the clauses out of the tokens of a file. What else begins with these words stays and is refused.
pub(super) fn take(tokens: &mut Vec<TokenWithSpan>) -> Vec<SystemTime> {
    let mut found = Vec::new();
    let mut index = 1;
    while index < tokens.len() {
        if is_clause(&tokens[index..]) {
            let clause = Span::new(tokens[index].span.start, tokens[index + LENGTH - 1].span.end);
            found.push(SystemTime { clause, relation: tokens[index - 1].span });
            tokens.drain(index..index + LENGTH);
        } else {
            index += 1;
        }
    }
    found
}

/// FOR SYSTEM_TIME AS OF PROCTIME ( )
const LENGTH: usize = 7;

fn is_clause(tokens: &[TokenWithSpan]) -> bool {
    const WORDS: [&str; 5] = ["FOR", "SYSTEM_TIME", "AS", "OF", "PROCTIME"];
    let is_word = |(token, word): (&TokenWithSpan, &&str)| match &token.token {
        Token::Word(found) => found.quote_style.is_none() && found.value.eq_ignore_ascii_case(word),
        _ => false,
    };
    let brackets = |tokens: &[TokenWithSpan]| matches!(tokens, [open, close, ..] if open.token == Token::LParen && close.token == Token::RParen);
    tokens.len() >= LENGTH && tokens.iter().zip(&WORDS).all(is_word) && brackets(&tokens[WORDS.len()..])
}

/// Gives the clauses within `span` to the query that they belong to. A statement without one refuses them.
pub(super) fn give(
    clauses: &[SystemTime],
    span: Span,
    statement: &mut Option<Statement>,
) -> Option<Diagnostic> {
    let within = |clause: &&SystemTime| span.start <= clause.clause.start && clause.clause.end <= span.end;
    let mine: Vec<SystemTime> = clauses.iter().filter(within).cloned().collect();
    match statement {
        Some(Statement::View(view)) => view.query.system_times = mine,
        Some(Statement::Sink(sink)) => match &mut sink.input {
            SinkInput::Query(query) => query.system_times = mine,
            SinkInput::From(_) => return mine.first().map(|clause| unused(clause, "this")),
        },
        Some(Statement::Source(_)) => return mine.first().map(|clause| unused(clause, "this")),
        Some(Statement::Broken(_)) | None => {}
    }
    None
}

/// The clause stands where it would do nothing.
pub(in crate::compile) fn unused(clause: &SystemTime, what: &str) -> Diagnostic {
    let message =
        format!("FOR SYSTEM_TIME says how the rows of a stream see a table, but {what} is no such join");
    let hint = "write FROM stream JOIN table FOR SYSTEM_TIME AS OF PROCTIME() ON stream.key = table.key, or remove it";
    Diagnostic::new(clause.clause, message).hint(hint)
}

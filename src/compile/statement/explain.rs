//! What is wrong where the parser stops: it only says what it would have taken.

use datafusion_sql::sqlparser::parser::ParserError;
use datafusion_sql::sqlparser::tokenizer::{Location, Token, TokenWithSpan};

use super::tokens::{DEPTH_MAX, SourceText, Tokens, lower_first, one_character};
use crate::compile::diagnostic::Diagnostic;
use crate::nearest::nearest;

/// Words that are easily misspelt where the parser then takes them for names.
const KEYWORDS: &[&str] = &[
    "SELECT", "FROM", "WHERE", "GROUP", "HAVING", "UNION", "WITH", "BETWEEN", "DISTINCT", "INTERVAL",
    "FILTER", "CASE", "WHEN", "THEN", "ELSE", "LIKE", "JOIN", "LEFT", "INNER", "EXISTS", "CAST",
];
/// Words that begin a clause.
const CLAUSES: &[&str] = &["FROM", "WHERE", "GROUP", "HAVING", "UNION"];

/// The parser's error with its place, which it gives as text only. `index` is the token that it has come to.
pub(super) fn error(tokens: &Tokens<'_>, error: &ParserError, index: usize) -> Diagnostic {
    let text = match error {
        ParserError::RecursionLimitExceeded => {
            let message = format!("nested more than {DEPTH_MAX} levels deep");
            return Diagnostic::new(tokens.at(0), message).hint("split it over several views");
        }
        ParserError::ParserError(text) | ParserError::TokenizerError(text) => text,
    };
    let (message, location) = split_location(text);
    let found = match location {
        Some(location) => tokens.find(location),
        None if message.ends_with("EOF") => Some(tokens.len()),
        None => Some(index),
    };
    if let Some(cause) = found.and_then(|found| cause(tokens, found)) {
        return cause;
    }
    let span = match (found, location) {
        (Some(found), _) => tokens.at(found),
        (None, Some(location)) => one_character(location),
        (None, None) => tokens.at(tokens.len()),
    };
    let message = match (message.split_once(", found: "), found) {
        (Some((expected, _)), Some(found)) => {
            let mut expected = expected;
            while let Some(rest) = expected.strip_prefix("Expected: ").or(expected.strip_prefix("Expected "))
            {
                expected = rest;
            }
            let expected = expected.replace("SELECT, VALUES, or a subquery in the query body", "SELECT");
            format!("expected {expected}, found {}", tokens.show(found))
        }
        _ => lower_first(message),
    };
    let hint = match message.contains("date/time field") {
        true => "fields are year, quarter, month, week, day, hour, minute, second, dow, doy and epoch",
        false => general(tokens, found.unwrap_or(index)),
    };
    Diagnostic::new(span, message).hint(hint)
}

/// The parser has taken everything before `index`, and nothing that could follow.
pub(super) fn unexpected(tokens: &Tokens<'_>, index: usize) -> Diagnostic {
    cause(tokens, index).unwrap_or_else(|| {
        let message = format!("unexpected {} here", tokens.show(index));
        Diagnostic::new(tokens.at(index), message).hint(general(tokens, index))
    })
}

fn general(tokens: &Tokens<'_>, index: usize) -> &'static str {
    if index >= tokens.len() {
        return "something is missing at the end";
    }
    "a comma, a bracket or a word is missing in front of it, or it does not belong here"
}

/// What was probably meant where the parser stops at `index`.
fn cause(tokens: &Tokens<'_>, index: usize) -> Option<Diagnostic> {
    let error =
        |at: usize, message: String, hint: &str| Some(Diagnostic::new(tokens.at(at), message).hint(hint));
    let is_clause = |at: usize| CLAUSES.iter().any(|word| tokens.is(at, word));
    let comma = (0..index.min(tokens.len())).find(|at| {
        tokens.get(*at) == Some(&Token::Comma)
            && (is_clause(at + 1) || tokens.get(at + 1) == Some(&Token::RParen))
    });
    if let Some(comma) = comma {
        let message = format!("unexpected `,` in front of {}", tokens.show(comma + 1));
        return error(comma, message, "remove it, or write what belongs behind it");
    }
    for at in [index, index.saturating_sub(1)] {
        for word in ["GROUP", "ORDER", "PARTITION"] {
            if tokens.is(at, word) && !tokens.is(at + 1, "BY") {
                return error(at, format!("expected BY behind {word}"), &format!("write {word} BY"));
            }
        }
    }
    if tokens.is(index.saturating_sub(2), "EXCEPT")
        && tokens.get(index.saturating_sub(1)) == Some(&Token::LParen)
    {
        let message = "`*` with EXCEPT is not supported yet".to_owned();
        return error(index - 2, message, "name the columns that are wanted");
    }
    let is_interval = |at: usize| index >= at && tokens.is(index - at, "INTERVAL");
    if is_interval(2) && tokens.word(index).is_some() {
        let message = format!("{} is no unit of an interval", tokens.show(index));
        return error(
            index,
            message,
            "units are SECOND, MINUTE, HOUR, DAY, WEEK, MONTH and YEAR: INTERVAL '5 minutes'",
        );
    }
    for at in [index, index.saturating_sub(1)] {
        if let Some(near) = tokens.word(at).and_then(misspelt) {
            let message = format!("unexpected {}", tokens.show(at));
            return error(at, message, &format!("did you mean {near}?"));
        }
    }
    if is_clause(index) {
        let message = format!("unexpected {} here", tokens.show(index));
        return error(index, message, "the order is SELECT ... FROM ... WHERE ... GROUP BY ... HAVING ...");
    }
    None
}

/// The keyword that a word is probably meant to be, if it is none.
pub(super) fn misspelt(word: &str) -> Option<&'static str> {
    let word = word.to_uppercase();
    let known = KEYWORDS.contains(&word.as_str());
    let near = KEYWORDS.iter().find(|keyword| nearest(&word, &[**keyword]).is_some());
    // Longer names that only contain a keyword are names.
    near.filter(|keyword| !known && word.len().abs_diff(keyword.len()) <= 2).copied()
}

/// `message at Line: 5, Column: 3`
fn split_location(text: &str) -> (&str, Option<Location>) {
    let parsed = text.rsplit_once(" at Line: ").and_then(|(message, place)| {
        let (line, column) = place.split_once(", Column: ")?;
        Some((message, Location::new(line.parse().ok()?, column.parse().ok()?)))
    });
    match parsed {
        Some((message, location)) => (message, Some(location)),
        None => (text, None),
    }
}

/// Characters that are no SQL and come from elsewhere: other dialects, word processors, broken editors.
pub(super) fn strange(tokens: &Tokens<'_>) -> Option<Diagnostic> {
    (0..tokens.len()).find_map(|index| {
        let at = |message: String, hint: &str| Some(Diagnostic::new(tokens.at(index), message).hint(hint));
        match tokens.get(index) {
            Some(Token::Char('`')) => at(
                "names do not stand in backticks".to_owned(),
                "write them without quotes, or in double quotes, where their case counts",
            ),
            Some(Token::Char(quote @ ('‘' | '’' | '“' | '”' | '„' | '´' | '«' | '»'))) => at(
                format!("`{quote}` is no quote of SQL"),
                "texts stand in single quotes ('text'), names in double ones (\"name\")",
            ),
            Some(Token::Char(c)) if is_invisible(*c) => at(
                format!("there is an invisible character here, U+{:04X}", u32::from(*c)),
                "remove it; it often comes with copied text",
            ),
            _ => None,
        }
    })
}

/// Takes out lines that are comments in other languages, and reports them.
pub(super) fn foreign_comments(tokens: &mut Vec<TokenWithSpan>, source: &SourceText<'_>) -> Vec<Diagnostic> {
    let line = |token: &TokenWithSpan| token.span.start.line;
    let mut found: Vec<Diagnostic> = Vec::new();
    let mut last = 0;
    let mut inside = false;
    tokens.retain(|token| {
        if line(token) > last {
            last = line(token);
            let text = source.slice(token.span);
            inside = text == "#" || text == "/" || text.starts_with("//");
            if inside {
                let error = Diagnostic::new(token.span, format!("`{text}` begins no comment"));
                found.push(error.hint("comments begin with --, or stand between /* and */"));
            }
        }
        !inside
    });
    found
}

fn is_invisible(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}' | '\u{feff}' | '\u{ad}')
}

#[cfg(test)]
mod tests {
    use super::misspelt;

    #[test]
    fn keywords_are_recognised_and_names_left_alone() {
        assert_eq!(misspelt("form"), Some("FROM"));
        assert_eq!(misspelt("GRUOP"), Some("GROUP"));
        assert_eq!(misspelt("HAVNG"), Some("HAVING"));
        for name in ["from", "device", "eventTime", "fromage_of_france", "x"] {
            assert_eq!(misspelt(name), None, "{name}");
        }
    }
}

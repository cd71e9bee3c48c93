//! What is known and not supported yet, by name: refused when the file is read, never at run time.

use datafusion_sql::sqlparser::tokenizer::Token;

use super::tokens::Tokens;
use crate::compile::ast::Name;
use crate::compile::diagnostic::Diagnostic;
use crate::nearest::nearest;

/// Statements that start with CREATE.
const CREATED: &[(&str, &str)] = &[
    ("FUNCTION", "use the built-in functions; a longer expression can be named by a view"),
    ("AGGREGATE", "use the built-in aggregate functions"),
    ("CONNECTION", "connection settings come from the configuration, see config/default.toml"),
    ("SECRET", "secrets come from the configuration or the environment"),
    ("STREAM", "a stream of records is a CREATE SOURCE; what is computed from it is a CREATE VIEW"),
    ("INDEX", "a materialized view is read by its key"),
    ("TYPE", "the columns of a source have the built-in types; nested fields are read with PATH"),
    ("SCHEMA", "a file is one dataflow; its names need no schema"),
    ("DATABASE", "a file is one dataflow; its names need no database"),
];

/// Other statements, by their first word.
const OTHER: &[(&str, &str)] = &[
    (
        "SELECT",
        "a SELECT stands in a view or sink: CREATE SINK out AS SELECT ... WITH (connector = 'stdout')",
    ),
    ("WITH", "a SELECT stands in a view or sink: CREATE SINK out AS WITH ... WITH (connector = 'stdout')"),
    ("VALUES", "rows come from a CREATE SOURCE; for a few fixed ones use the file connector"),
    ("INSERT", "write CREATE SINK name AS SELECT ... WITH ( ... )"),
    ("UPDATE", "a view is what its SELECT says; change the SELECT"),
    ("DELETE", "a view is what its SELECT says; filter with WHERE"),
    ("MERGE", "an upsert sink merges by key: CREATE SINK ... WITH (mode = 'upsert')"),
    ("DROP", "a file says what there is; remove the statement that creates it"),
    ("ALTER", "a file says what there is; change the statement that creates it"),
    ("SET", "settings come from the configuration, --config or TIDEMILL_*"),
    ("EXPLAIN", "use the command 'tidemill explain'"),
    ("SHOW", "use the command 'tidemill explain'"),
    ("DESCRIBE", "use the command 'tidemill explain'"),
    ("EMIT", "views without a window emit every change as it is"),
    ("USE", "a file is one dataflow; its names need no database"),
    ("COPY", "read a file with a CREATE SOURCE, write one with a CREATE SINK"),
    ("BEGIN", "a file is read as a whole"),
    ("COMMIT", "a file is read as a whole"),
    ("EXECUTE", "a file is one set of statements; all of them run"),
];

/// Clauses of queries that the parser would take and the planner would drop, or that are for later.
const CLAUSES: &[(&[&str], &str)] = &[
    // What stands behind a relation and says PROCTIME() is taken out before, see `system_time`.
    (&["FOR", "SYSTEM_TIME"], "FOR SYSTEM_TIME AS OF PROCTIME() sees a table as it is when the row comes"),
    (&["EMIT", "CHANGES"], "write it once, at the end of the whole query"),
    (&["EMIT", "FINAL"], "write it once, at the end of the whole query"),
    (
        &["EMIT", "ON"],
        "results of windows come out when they close, or with EMIT CHANGES at the end of the query whenever they change",
    ),
    (&["FOR", "UPDATE"], "remove it: there are no locks"),
    (&["FOR", "SHARE"], "remove it: there are no locks"),
    (&["FOR", "NO"], "remove it: there are no locks"),
    (&["FOR", "KEY"], "remove it: there are no locks"),
    (&["FOR", "JSON"], "remove it: sinks write JSON"),
    (&["FOR", "XML"], "remove it: sinks write JSON"),
    (&["FOR", "BROWSE"], "remove it: there are no locks"),
    (&["TABLESAMPLE"], "filter with WHERE"),
    (&["MATCH_RECOGNIZE"], "patterns over rows come later"),
    (&["LATERAL"], "write a JOIN with an equality"),
    (&["DISTRIBUTE", "BY"], "remove it: rows are distributed by the key of the view"),
    (&["CONNECT", "BY"], "recursive queries are not planned"),
    (&["WITH", "RECURSIVE"], "recursive queries are not planned"),
    (&["INTO"], "write CREATE SINK name AS SELECT ... WITH ( ... )"),
    (&["FROM", "TABLE"], "a window stands in GROUP BY: GROUP BY key, tumble(time, INTERVAL '1 minute')"),
    (&["WINDOW", "TUMBLING"], "a window stands in GROUP BY: GROUP BY key, tumble(time, INTERVAL '1 minute')"),
    (
        &["WINDOW", "HOPPING"],
        "a window stands in GROUP BY: GROUP BY key, hop(time, INTERVAL '1 minute', INTERVAL '5 minutes')",
    ),
    (
        &["WINDOW", "SESSION"],
        "a window stands in GROUP BY: GROUP BY key, session(time, INTERVAL '10 minutes')",
    ),
    (&["CLUSTER", "BY"], "remove it: rows are distributed by the key of the view"),
    (&["SORT", "BY"], "remove it: a relation has no order; sort where it is read"),
    (&["RETURNING"], "remove it"),
    (&["GROUP", "BY", "ALL"], "name the columns"),
    (&["PREWHERE"], "use WHERE"),
];

/// Why a statement that is none of ours is refused, and the name that it would have made.
pub(super) fn statement(tokens: &Tokens<'_>) -> (Diagnostic, Option<Name>) {
    const MODIFIERS: &[&str] = &["OR", "REPLACE", "TEMPORARY", "TEMP", "EXTERNAL", "UNIQUE", "RECURSIVE"];
    let Some(word) = tokens.word(0) else {
        let message = format!("expected a statement, found {}", tokens.show(0));
        return (Diagnostic::new(tokens.at(0), message).hint(STATEMENTS), None);
    };
    let word = word.to_uppercase();
    if word != "CREATE" {
        return (other(tokens, &word), None);
    }
    let is_modifier = |index: &usize| MODIFIERS.iter().any(|modifier| tokens.is(*index, modifier));
    let at = (1..tokens.len()).find(|index| !is_modifier(index)).unwrap_or(tokens.len());
    let what = tokens.word(at).map(str::to_uppercase).unwrap_or_default();
    let name = tokens.name(at + 1 + usize::from(what == "MATERIALIZED"), "a name").ok();
    let ours = ["SOURCE", "TABLE", "VIEW", "MATERIALIZED", "SINK"].contains(&what.as_str());
    if ours && at > 1 {
        let span = tokens.range(1, at).span();
        let message = format!("{} is not supported: a file says what there is", tokens.range(1, at).text());
        return (Diagnostic::new(span, message).hint("remove it"), name);
    }
    if let Some((_, hint)) = CREATED.iter().find(|(known, _)| *known == what) {
        let span = tokens.range(0, at + 1).span();
        return (Diagnostic::new(span, format!("CREATE {what} is not supported yet")).hint(*hint), name);
    }
    let message =
        format!("expected SOURCE, TABLE, VIEW, MATERIALIZED VIEW or SINK, found {}", tokens.show(at));
    let error = Diagnostic::new(tokens.at(at), message);
    let near = nearest(&what, &["SOURCE", "TABLE", "VIEW", "MATERIALIZED", "SINK"]);
    (error.hint(near.map_or(STATEMENTS.to_owned(), |near| format!("did you mean {near}?"))), name)
}

const STATEMENTS: &str =
    "statements are CREATE SOURCE, CREATE TABLE, CREATE VIEW, CREATE MATERIALIZED VIEW, CREATE SINK";

fn other(tokens: &Tokens<'_>, word: &str) -> Diagnostic {
    if let Some((_, hint)) = OTHER.iter().find(|(known, _)| *known == word) {
        let message = match word {
            "SELECT" | "WITH" | "VALUES" => "a query alone is not supported yet: its rows go nowhere".into(),
            _ => format!("{word} is not supported yet"),
        };
        return Diagnostic::new(tokens.at(0), message).hint(*hint);
    }
    let error = Diagnostic::new(tokens.at(0), format!("unknown statement {}", tokens.show(0)));
    match nearest(word, &["CREATE"]) {
        Some(near) => error.hint(format!("did you mean {near}?")),
        None => error.hint(STATEMENTS),
    }
}

/// The clauses of a query that are refused before the planner could drop them in silence.
pub(super) fn clauses(query: &Tokens<'_>) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    let partition =
        query.depths().find(|(index, depth, _)| *depth == 0 && query.are(*index, &["PARTITION", "BY"]));
    if let Some((index, _, _)) = partition {
        let error = Diagnostic::new(query.range(index, index + 2).span(), "PARTITION BY is not supported");
        found.push(
            error.hint(
                "remove it: a Kafka sink has the option key = 'column', a view is keyed by its GROUP BY",
            ),
        );
    }
    for index in 0..query.len() {
        let clause = CLAUSES.iter().find(|(words, _)| query.are(index, words));
        if let Some((words, hint)) = clause {
            let span = query.range(index, index + words.len()).span();
            let message = format!("{} is not supported yet", words.join(" "));
            found.push(Diagnostic::new(span, message).hint(*hint));
        }
        let next = |at: usize, token: Token| query.get(index + at) == Some(&token);
        let group_by = query.are(index, &["GROUP", "BY"]);
        if group_by && next(2, Token::LParen) && next(3, Token::RParen) {
            let span = query.range(index, index + 4).span();
            let error = Diagnostic::new(span, "GROUP BY () is not supported yet");
            found.push(error.hint("remove it: aggregates without GROUP BY give one row"));
        }
        if next(0, Token::Comma) && next(1, Token::LParen) && next(2, Token::RParen) {
            let span = query.range(index + 1, index + 3).span();
            let error = Diagnostic::new(span, "`()` in GROUP BY is not supported yet");
            found.push(error.hint("remove it: it groups by nothing"));
        }
    }
    found
}

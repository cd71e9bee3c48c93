//! The types of columns.

use datafusion_sql::sqlparser::tokenizer::Token;

use super::tokens::Tokens;
use crate::compile::diagnostic::Diagnostic;
use crate::nearest::nearest;
use crate::plan::ColumnType;

/// For hints.
pub(super) const ALL: &str = "types are TEXT, BIGINT, INT, DOUBLE, BOOLEAN, TIMESTAMP, DATE, JSON";

const KNOWN: &[(&str, ColumnType)] = &[
    ("TEXT", ColumnType::Text),
    ("STRING", ColumnType::Text),
    ("VARCHAR", ColumnType::Text),
    ("BIGINT", ColumnType::BigInt),
    ("INT", ColumnType::Int),
    ("INTEGER", ColumnType::Int),
    ("DOUBLE", ColumnType::Double),
    ("DOUBLE PRECISION", ColumnType::Double),
    ("BOOLEAN", ColumnType::Boolean),
    ("BOOL", ColumnType::Boolean),
    ("TIMESTAMP", ColumnType::Timestamp),
    ("DATE", ColumnType::Date),
    ("JSON", ColumnType::Json),
];

/// Types of other systems, with what to write here.
const ELSEWHERE: &[(&str, &str)] = &[
    ("CHAR", "TEXT"),
    ("CHARACTER", "TEXT"),
    ("CHARACTER VARYING", "TEXT"),
    ("UUID", "TEXT"),
    ("INT8", "BIGINT"),
    ("INT64", "BIGINT"),
    ("LONG", "BIGINT"),
    ("INT4", "INT"),
    ("SMALLINT", "INT"),
    ("TINYINT", "INT"),
    ("FLOAT", "DOUBLE"),
    ("FLOAT8", "DOUBLE"),
    ("REAL", "DOUBLE"),
    ("DECIMAL", "DOUBLE"),
    ("NUMERIC", "DOUBLE"),
    ("NUMBER", "DOUBLE"),
    ("TIMESTAMPTZ", "TIMESTAMP"),
    ("DATETIME", "TIMESTAMP"),
    ("TIMESTAMP_LTZ", "TIMESTAMP"),
    ("TIMESTAMP WITH TIME ZONE", "TIMESTAMP"),
    ("TIMESTAMP WITHOUT TIME ZONE", "TIMESTAMP"),
    ("JSONB", "JSON"),
    ("STRUCT", "JSON, or a column with PATH for each field"),
    ("ROW", "JSON, or a column with PATH for each field"),
    ("MAP", "JSON"),
    ("ARRAY", "JSON"),
    ("BYTEA", "TEXT"),
    ("BYTES", "TEXT"),
    ("BLOB", "TEXT"),
    ("BINARY", "TEXT"),
    ("VARBINARY", "TEXT"),
    ("NVARCHAR", "TEXT"),
    ("BIGSERIAL", "BIGINT"),
    ("SERIAL", "INT"),
    ("INT32", "INT"),
    ("INT16", "INT"),
    ("SHORT", "INT"),
    ("UINT64", "BIGINT"),
    ("UINT32", "BIGINT"),
    ("FLOAT64", "DOUBLE"),
    ("FLOAT32", "DOUBLE"),
    ("FLOAT4", "DOUBLE"),
    ("MONEY", "DOUBLE"),
    ("DATETIME2", "TIMESTAMP"),
    ("TIME", "TEXT"),
    ("INTERVAL", "BIGINT, of seconds for example"),
    ("MULTISET", "JSON"),
    ("VARIANT", "JSON"),
    ("OBJECT", "JSON"),
    ("SUPER", "JSON"),
];

/// The name of a type.
pub(super) fn name(kind: ColumnType) -> &'static str {
    KNOWN.iter().find(|(_, known)| *known == kind).map_or("TEXT", |(name, _)| *name)
}

/// Whether a type begins with this word.
pub(super) fn is_type(word: &str) -> bool {
    let known = KNOWN.iter().map(|(name, _)| *name).chain(ELSEWHERE.iter().map(|(name, _)| *name));
    known.filter_map(|name| name.split(' ').next()).any(|name| name.eq_ignore_ascii_case(word))
}

/// Whether `<` may stand behind this word: a type of several parts in other systems.
pub(super) fn is_compound(word: &str) -> bool {
    ["ARRAY", "ROW", "MAP", "STRUCT", "MULTISET"].iter().any(|name| name.eq_ignore_ascii_case(word))
}

/// The type that the tokens name, all of them.
pub(super) fn parse(tokens: Tokens<'_>) -> Result<ColumnType, Diagnostic> {
    let words: Vec<String> = (0..tokens.len()).map_while(|i| tokens.word(i)).map(str::to_uppercase).collect();
    let written = words.join(" ");
    let whole = words.len() == tokens.len();
    if let Some((_, kind)) = KNOWN.iter().find(|(name, _)| *name == written) {
        return if whole { Ok(*kind) } else { Err(with_arguments(tokens, words.len(), &written)) };
    }
    if let Some((_, instead)) = ELSEWHERE.iter().find(|(name, _)| *name == written) {
        let error = Diagnostic::new(tokens.span(), format!("type {written} is not supported yet"));
        return Err(error.hint(format!("use {instead}")));
    }
    let first = words.first().map(String::as_str).unwrap_or_default();
    if let Some((name, _)) = KNOWN.iter().find(|(name, _)| *name == first) {
        let message = format!("unexpected {} behind the type {name}", tokens.show(1));
        let clauses = "behind a type stand NOT NULL, DEFAULT, PATH '...', METADATA FROM '...', CHECK ( ... )";
        return Err(Diagnostic::new(tokens.at(1), message).hint(clauses));
    }
    let message = format!("unknown type `{}`", tokens.text());
    let error = Diagnostic::new(tokens.span(), message);
    let known: Vec<&str> = KNOWN.iter().map(|(name, _)| *name).collect();
    Err(match nearest(&written, &known) {
        Some(near) => error.hint(format!("did you mean {near}?")),
        None => error.hint(ALL),
    })
}

/// `VARCHAR(20)`, `TIMESTAMP(3)`, `TEXT[]`: what the brackets ask for would not be done.
fn with_arguments(tokens: Tokens<'_>, at: usize, name: &str) -> Diagnostic {
    let rest = tokens.from(at);
    let hint = match name {
        _ if rest.get(0) == Some(&Token::LBracket) => "for arrays use JSON",
        "TIMESTAMP" => "write TIMESTAMP: nanoseconds are always kept",
        "TEXT" | "STRING" | "VARCHAR" => "write TEXT; a limit is a rule: CHECK (length(name) <= 20)",
        _ => "write the type alone",
    };
    let message = format!("`{}` behind the type {name} is not supported yet", rest.text());
    Diagnostic::new(rest.span(), message).hint(hint)
}

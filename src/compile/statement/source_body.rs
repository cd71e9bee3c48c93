//! The brackets of `CREATE SOURCE` and `CREATE TABLE`: columns, CHECK, WATERMARK and PRIMARY KEY, one mistake each.

use datafusion_sql::sqlparser::tokenizer::Token;

use super::Context;
use super::tokens::Tokens;
use super::{clauses, table, types};
use crate::compile::ast::{ColumnDefinition, Expression, Name, WatermarkDefinition};
use crate::compile::diagnostic::Diagnostic;
use crate::plan::{ColumnType, Metadata};

/// What the brackets belong to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Owner {
    Source,
    Table,
}

/// What stands in the brackets.
pub(super) struct Body {
    pub owner: Owner,
    pub columns: Vec<ColumnDefinition>,
    pub checks: Vec<Expression>,
    pub watermark: Option<WatermarkDefinition>,
    /// The columns of PRIMARY KEY, in a table.
    pub key: Option<Vec<Name>>,
}

/// Parses all items; those that are wrong are reported and left out.
pub(super) fn parse(context: &mut Context<'_>, tokens: Tokens<'_>, owner: Owner) -> Body {
    let mut body = Body { owner, columns: Vec::new(), checks: Vec::new(), watermark: None, key: None };
    for item in items(tokens) {
        if let Err(diagnostic) = parse_item(context, &mut body, item) {
            context.diagnostics.push(diagnostic);
        }
    }
    body
}

/// The pieces between commas, but for commas in a type of another system: `ROW<lat DOUBLE, lon DOUBLE>`.
fn items(tokens: Tokens<'_>) -> Vec<Tokens<'_>> {
    let mut items = Vec::new();
    let (mut from, mut open) = (0, 0_usize);
    for (index, depth, token) in tokens.depths() {
        match token {
            Token::Lt if index > 0 && tokens.word(index - 1).is_some_and(types::is_compound) => open += 1,
            Token::Gt => open = open.saturating_sub(1),
            Token::ShiftRight => open = open.saturating_sub(2),
            Token::Comma if depth == 0 && open == 0 => {
                items.push(tokens.range(from, index));
                from = index + 1;
            }
            _ => {}
        }
    }
    items.push(tokens.from(from));
    items
}

fn parse_item(context: &mut Context<'_>, body: &mut Body, item: Tokens<'_>) -> Result<(), Diagnostic> {
    if item.is_empty() {
        let message = format!("expected a column, found {}", item.show(0));
        return Err(Diagnostic::new(item.at(0), message).hint("remove the comma before it"));
    }
    if let Some(next) = forgotten_comma(item) {
        let message = format!("a comma is missing in front of {}", item.show(next));
        context
            .diagnostics
            .push(Diagnostic::new(item.at(next), message).hint("columns have commas between them"));
        let first = parse_item(context, body, item.range(0, next));
        context.take(first);
        return parse_item(context, body, item.from(next));
    }
    if item.is(0, "CHECK") && item.get(1) == Some(&Token::LParen) {
        body.checks.push(check(item)?);
        return Ok(());
    }
    if body.owner == Owner::Table && item.are(0, &["PRIMARY", "KEY"]) {
        return table::set_key(body, table::key(item)?, item.span());
    }
    if item.are(0, &["WATERMARK", "FOR"]) {
        if body.owner == Owner::Table {
            return Err(table::watermark(item.span()));
        }
        let watermark = watermark(item)?;
        if body.watermark.is_some() {
            let message = "a source has one WATERMARK; this is the second";
            return Err(Diagnostic::new(item.span(), message).hint("remove one of them"));
        }
        body.watermark = Some(watermark);
        return Ok(());
    }
    refuse_constraint(item)?;
    let column = column(context, body, item)?;
    if body.columns.iter().any(|other| other.name.value == column.name.value) {
        let message = format!("column `{}` is declared twice", column.name.value);
        return Err(Diagnostic::new(column.name.span, message).hint("rename one, and read its field by PATH"));
    }
    body.columns.push(column);
    Ok(())
}

/// Where a line goes on with another column, or rule, though no comma has ended the one before it.
fn forgotten_comma(item: Tokens<'_>) -> Option<usize> {
    let begins = |index: usize| {
        let next_line = item.at(index - 1).start.line < item.at(index).start.line;
        let column = matches!(item.get(index), Some(Token::Word(_)))
            && item.word(index + 1).is_some_and(types::is_type)
            && !item.is(index, "DEFAULT");
        next_line && (column || item.are(index, &["WATERMARK", "FOR"]))
    };
    let outside = item.depths().filter(|(index, depth, _)| *depth == 0 && *index > 1);
    outside.map(|(index, _, _)| index).find(|index| begins(*index))
}

fn refuse_constraint(item: Tokens<'_>) -> Result<(), Diagnostic> {
    let (words, hint) = if item.are(0, &["PRIMARY", "KEY"]) {
        (2, "a source has no key; of records whose last one per key counts write CREATE TABLE")
    } else if item.is(0, "UNIQUE") && item.get(1) == Some(&Token::LParen) {
        (1, "a source has no key; the key of a view is its GROUP BY")
    } else if item.are(0, &["FOREIGN", "KEY"]) {
        (2, "validation rules are NOT NULL and CHECK")
    } else if item.is(0, "CONSTRAINT") && item.is(2, "CHECK") {
        (2, "write CHECK ( ... ) without a name; a dead letter names the rule by its text")
    } else {
        return Ok(());
    };
    let clause = item.range(0, words);
    let message = format!("{} is not supported yet", clause.text());
    Err(Diagnostic::new(clause.span(), message).hint(hint))
}

/// `CHECK ( expression )`, and nothing behind it.
fn check(tokens: Tokens<'_>) -> Result<Expression, Diagnostic> {
    let (condition, next) = tokens.group(1)?;
    tokens.end(next, "CHECK ( ... )")?;
    condition.expression("a condition")
}

/// `WATERMARK FOR column AS expression`
fn watermark(item: Tokens<'_>) -> Result<WatermarkDefinition, Diagnostic> {
    let column = item.name(2, "the event time column")?;
    if !item.is(3, "AS") {
        let message = format!("expected AS, found {}", item.show(3));
        let example = format!("WATERMARK FOR {0} AS {0} - INTERVAL '10 seconds'", item.range(2, 3).text());
        return Err(Diagnostic::new(item.at(3), message).hint(example));
    }
    let expression = item.from(4).expression("an expression")?;
    Ok(WatermarkDefinition { column, expression })
}

/// `name TYPE clause ...`
fn column(
    context: &mut Context<'_>,
    body: &mut Body,
    item: Tokens<'_>,
) -> Result<ColumnDefinition, Diagnostic> {
    let name = item.name(0, "the name of a column")?;
    let starts = clauses::starts(item);
    let kind_tokens = item.range(1, starts.first().copied().unwrap_or(item.len()));
    if kind_tokens.is_empty() && (item.is(1, "AS") || item.is(1, "GENERATED")) {
        let message = format!("column `{}` has no type", name.value);
        let hint = if item.is(2, "PROCTIME") {
            format!("write {} TIMESTAMP METADATA FROM 'ingestion_time'", name.value)
        } else {
            let of_time = item.word(2).is_some_and(|word| word.to_uppercase().starts_with("TO_TIMESTAMP"));
            let kind = if of_time { "TIMESTAMP" } else { "BIGINT" };
            format!("write the type of what is computed, as in {} {kind} AS expression", name.value)
        };
        return Err(Diagnostic::new(name.span, message).hint(hint));
    }
    if kind_tokens.is_empty() {
        let message = format!("column `{}` has no type", name.value);
        return Err(Diagnostic::new(name.span, message).hint(types::ALL));
    }
    // The clauses are looked at even if the type is wrong: they have mistakes of their own.
    let kind = context.take(types::parse(kind_tokens));
    let mut column = ColumnDefinition {
        name,
        kind: kind.unwrap_or(ColumnType::Text),
        kind_span: kind_tokens.span(),
        not_null: false,
        default: None,
        path: None,
        metadata: None,
        computed: None,
    };
    let mut seen: Vec<String> = Vec::new();
    for (index, start) in starts.iter().enumerate() {
        let clause = item.range(*start, starts.get(index + 1).copied().unwrap_or(item.len()));
        let word = clause.word(0).unwrap_or_default().to_uppercase();
        if word != "CHECK" && seen.contains(&word) {
            let message = format!("{word} stands twice");
            context.diagnostics.push(Diagnostic::new(clause.span(), message).hint("remove one of them"));
            continue;
        }
        seen.push(word);
        let result = match body.owner {
            Owner::Table if clause.is(0, "PRIMARY") => {
                let key = table::of_column(clause, &column.name);
                key.and_then(|key| table::set_key(body, key, clause.span()))
            }
            _ => parse_clause(&mut column, &mut body.checks, clause),
        };
        context.take(result);
    }
    if let (Owner::Table, Some(computed)) = (body.owner, &column.computed) {
        let error = Diagnostic::new(computed.span, "a computed column of a table is not supported yet");
        context.diagnostics.push(error.hint("compute it in a view: SELECT *, expression AS name"));
    }
    if kind.is_some() {
        context.take(consistent(&column));
    }
    Ok(column)
}

fn parse_clause(
    column: &mut ColumnDefinition,
    checks: &mut Vec<Expression>,
    clause: Tokens<'_>,
) -> Result<(), Diagnostic> {
    let word = clause.word(0).unwrap_or_default().to_uppercase();
    match word.as_str() {
        "NOT" => {
            clause.end(2, "NOT NULL")?;
            column.not_null = true;
        }
        "NULL" => clause.end(1, "NULL")?,
        "DEFAULT" => column.default = Some(clause.from(1).expression("a value")?),
        "CHECK" => checks.push(check(clause)?),
        "AS" => column.computed = Some(clause.from(1).expression("an expression")?),
        "GENERATED" => column.computed = Some(generated(clause)?),
        "PATH" => {
            column.path = Some(path(&clause.string(1, "the path of a field")?)?);
            clause.end(2, "PATH '...'")?;
        }
        "METADATA" => {
            column.metadata = Some(metadata(clause)?);
            let virtual_ = "remove it: columns of a source are only read";
            let end = clause.end(3, "METADATA FROM '...'");
            end.map_err(|error| if clause.is(3, "VIRTUAL") { error.hint(virtual_) } else { error })?;
        }
        _ => return Err(refused_clause(clause, &word)),
    }
    Ok(())
}

fn refused_clause(clause: Tokens<'_>, word: &str) -> Diagnostic {
    let (what, hint) = match word {
        "PRIMARY" => ("a key of a source", "of records whose last one per key counts write CREATE TABLE"),
        "UNIQUE" => ("a key of a source", "the key of a view is its GROUP BY"),
        "COMMENT" => ("COMMENT", "write it as a comment behind --"),
        "CONSTRAINT" => ("the name of a constraint", "write CHECK ( ... ) without a name"),
        "COLLATE" => ("COLLATE", "texts are compared by their bytes"),
        _ => ("a reference to another relation", "validation rules are NOT NULL and CHECK"),
    };
    Diagnostic::new(clause.span(), format!("{what} is not supported yet")).hint(hint)
}

/// `'pos.lat'`, cut at its dots.
fn path(literal: &Name) -> Result<Vec<String>, Diagnostic> {
    let mut from = 0;
    for part in literal.value.split('.') {
        let length = part.chars().count();
        if part.trim().is_empty() {
            let message = "a path consists of the names of fields with dots between them; one is empty";
            let error = Diagnostic::new(literal.part(from, from + length.max(1)), message);
            return Err(error.hint("write PATH 'position.lat'"));
        }
        if part.contains(['[', ']', '$', '*']) {
            let message = format!("`{part}` is not the name of a field; JSONPath is not supported yet");
            let error = Diagnostic::new(literal.part(from, from + length), message);
            return Err(error.hint("name the fields from the top: PATH 'position.lat'"));
        }
        from += length + 1;
    }
    Ok(literal.value.split('.').map(str::to_owned).collect())
}

const METADATA: &[(&str, Metadata, ColumnType)] = &[
    ("topic", Metadata::Topic, ColumnType::Text),
    ("partition", Metadata::Partition, ColumnType::BigInt),
    ("offset", Metadata::Offset, ColumnType::BigInt),
    ("key", Metadata::Key, ColumnType::Text),
    ("headers", Metadata::Headers, ColumnType::Json),
    ("timestamp", Metadata::Timestamp, ColumnType::Timestamp),
    ("ingestion_time", Metadata::IngestionTime, ColumnType::Timestamp),
    ("payload", Metadata::Payload, ColumnType::Json),
];

/// `METADATA FROM 'offset'`
fn metadata(clause: Tokens<'_>) -> Result<Metadata, Diagnostic> {
    if !clause.is(1, "FROM") {
        let message = format!("expected FROM, found {}", clause.show(1));
        let name = if clause.is(1, "VIRTUAL") {
            "write METADATA FROM 'partition', with the name of what is wanted"
        } else {
            "write METADATA FROM 'offset'"
        };
        return Err(Diagnostic::new(clause.at(1), message).hint(name));
    }
    let literal = clause.string(2, "what is known about a record")?;
    let found = METADATA.iter().find(|(name, _, _)| *name == literal.value);
    found.map(|(_, metadata, _)| *metadata).ok_or_else(|| {
        let known: Vec<&str> = METADATA.iter().map(|(name, _, _)| *name).collect();
        Diagnostic::new(literal.span, format!("unknown metadata '{}'", literal.value)).hint_known(
            &literal.value,
            "known are",
            &known,
        )
    })
}

/// `GENERATED ALWAYS AS ( expression ) [STORED | VIRTUAL]`
fn generated(clause: Tokens<'_>) -> Result<Expression, Diagnostic> {
    let usage = "write name TYPE AS expression";
    if !clause.are(1, &["ALWAYS", "AS"]) {
        return Err(Diagnostic::new(clause.span(), "this kind of column is not known").hint(usage));
    }
    let (expression, next) = clause.group(3).map_err(|error| error.hint(usage))?;
    let stored = clause.is(next, "STORED") || clause.is(next, "VIRTUAL");
    clause.end(next + usize::from(stored), "GENERATED ALWAYS AS ( ... )")?;
    expression.expression("an expression")
}

/// The clauses of a column must go together.
fn consistent(column: &ColumnDefinition) -> Result<(), Diagnostic> {
    if let Some(computed) = &column.computed {
        if column.path.is_none() && column.default.is_none() && column.metadata.is_none() {
            return Ok(());
        }
        let name = &column.name.value;
        let message = format!("column `{name}` is computed: it has no PATH, no DEFAULT and no METADATA");
        return Err(Diagnostic::new(computed.span, message).hint("read the field into a column of its own"));
    }
    let Some(metadata) = column.metadata else { return Ok(()) };
    let span = column.name.span;
    if column.path.is_some() || column.default.is_some() {
        let message = format!("column `{}` is METADATA: it has no PATH and no DEFAULT", column.name.value);
        return Err(Diagnostic::new(span, message).hint("remove one of the two"));
    }
    let Some((name, _, kind)) = METADATA.iter().find(|(_, known, _)| *known == metadata) else {
        return Ok(());
    };
    let also = matches!(
        (metadata, column.kind),
        (Metadata::Partition, ColumnType::Int) | (Metadata::Payload, ColumnType::Text)
    );
    if column.kind == *kind || also {
        return Ok(());
    }
    let message = format!("metadata '{name}' is {}, not {}", types::name(*kind), types::name(column.kind));
    Err(Diagnostic::new(column.kind_span, message).hint(format!("declare it as {}", types::name(*kind))))
}

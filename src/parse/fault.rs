//! What can be wrong with one record, in words.

use crate::dead_letter::Reason;
use crate::json::{Kind, Malformed, Token};
use crate::plan::{Column, ColumnOrigin};
use crate::record::Reject;

/// What is wrong with a record.
#[derive(Debug, PartialEq)]
pub(super) struct Fault {
    reason: Reason,
    error: String,
    rule: String,
}

impl Fault {
    #[cold]
    fn new(reason: Reason, error: String) -> Self {
        Fault { reason, error, rule: String::new() }
    }

    /// The fault as that of the record at `offset`.
    pub(super) fn reject(self, offset: u64) -> Reject {
        Reject { offset, reason: self.reason, error: self.error, rule: self.rule }
    }
}

impl From<Malformed> for Fault {
    fn from(malformed: Malformed) -> Self {
        Fault::new(Reason::Malformed, malformed.to_string())
    }
}

/// The text of a record, without a byte order mark and the end of its line.
pub(super) fn content(payload: Option<&[u8]>, bytes_max: usize) -> Result<&str, Fault> {
    let Some(payload) = payload else {
        return Err(Fault::new(Reason::Malformed, "no payload".to_owned()));
    };
    // Tokens have 32-bit positions.
    if payload.len() > bytes_max.min(i32::MAX as usize) {
        let error = format!("{} bytes are more than max_record_bytes = {bytes_max}", payload.len());
        return Err(Fault::new(Reason::TooLarge, error));
    }
    let text = str::from_utf8(payload).map_err(|error| {
        Fault::new(Reason::Malformed, format!("not UTF-8 at byte {}", error.valid_up_to()))
    })?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    Ok(text.trim_end_matches(['\r', '\n']))
}

/// A column cannot hold what stands at its path.
#[cold]
pub(super) fn wrong_type(column: &Column, token: Token, text: &str) -> Fault {
    let value = match token.kind {
        Kind::Missing => "its value".to_owned(),
        _ => shortened(token.raw(text)),
    };
    let name = column.kind.sql_name();
    let article = if name.starts_with('I') { "an" } else { "a" };
    Fault::new(Reason::WrongType, format!("field \"{}\": {value} is not {article} {name}", label(column)))
}

/// A NOT NULL column has no value.
#[cold]
pub(super) fn not_null(column: &Column, token: Token, text: &str) -> Fault {
    let state = match token.kind {
        Kind::Missing => "is missing",
        Kind::Null => "is null",
        _ if token.body(text).is_empty() => "is empty",
        _ => "has no value",
    };
    let rule = format!("NOT NULL {}", column.name);
    Fault { rule, ..Fault::new(Reason::NotNull, format!("field \"{}\" {state}", label(column))) }
}

/// The field of a column as the user knows it.
fn label(column: &Column) -> String {
    match &column.from {
        ColumnOrigin::Path(path) => path.join("."),
        ColumnOrigin::Metadata(_) => column.name.clone(),
    }
}

/// A text of bounded length for error messages.
pub(super) fn shortened(text: &str) -> String {
    const CHARACTERS_MAX: usize = 60;
    match text.char_indices().nth(CHARACTERS_MAX) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}...", &text[..end]),
    }
}

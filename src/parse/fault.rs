//! What can be wrong with one record, in words.

use super::rows::Found;
use crate::dead_letter::Reason;
use crate::json::Malformed;
use crate::plan::{Column, ColumnOrigin};
use crate::record::{Record, Reject};

/// What is wrong with a record.
#[derive(Debug, PartialEq)]
pub(super) struct Fault {
    reason: Reason,
    error: String,
    rule: String,
}

impl Fault {
    #[cold]
    pub(super) fn new(reason: Reason, error: String) -> Self {
        Fault { reason, error, rule: String::new() }
    }

    /// A record that cannot be read.
    #[cold]
    pub(super) fn malformed(error: impl Into<String>) -> Self {
        Fault::new(Reason::Malformed, error.into())
    }

    /// The same in the key of a message.
    #[cold]
    pub(super) fn in_key(self) -> Self {
        Fault { error: format!("in the key: {}", self.error), ..self }
    }

    /// What is wrong, in words.
    pub(super) fn text(self) -> String {
        self.error
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
pub(super) fn content<'r>(record: &Record<'r>, bytes_max: usize) -> Result<&'r str, Fault> {
    let Some(payload) = record.payload else {
        return Err(Fault::malformed("no payload"));
    };
    // Tokens have 32-bit positions.
    if record.size() > bytes_max.min(i32::MAX as usize) as u64 {
        let error = format!("{} bytes are more than max_record_bytes = {bytes_max}", record.size());
        return Err(Fault::new(Reason::TooLarge, error));
    }
    let text = simdutf8::basic::from_utf8(payload).map_err(|_| not_utf8(payload))?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    Ok(text.trim_end_matches(['\r', '\n']))
}

/// The check that records pass does not know where they are broken.
#[cold]
fn not_utf8(payload: &[u8]) -> Fault {
    let valid = str::from_utf8(payload).map_or_else(|error| error.valid_up_to(), str::len);
    Fault::new(Reason::Malformed, format!("not UTF-8 at byte {valid}"))
}

/// A column cannot hold what stands at its path.
#[cold]
pub(super) fn wrong_type(column: &Column, found: Found<'_>) -> Fault {
    let value = match found {
        Found::Missing => "its value".to_owned(),
        Found::Null => "null".to_owned(),
        Found::Text(text) => shortened(text),
    };
    let name = column.kind.sql_name();
    let article = if name.starts_with('I') { "an" } else { "a" };
    Fault::new(Reason::WrongType, format!("field \"{}\": {value} is not {article} {name}", label(column)))
}

/// A NOT NULL column has no value.
#[cold]
pub(super) fn not_null(column: &Column, found: Found<'_>) -> Fault {
    let state = match found {
        Found::Missing => "is missing",
        Found::Null => "is null",
        Found::Text("" | "\"\"") => "is empty",
        Found::Text(_) => "has no value",
    };
    let rule = format!("NOT NULL {}", column.name);
    Fault { rule, ..Fault::new(Reason::NotNull, format!("field \"{}\" {state}", label(column))) }
}

/// The field of a column as the user knows it.
fn label(column: &Column) -> String {
    match &column.from {
        ColumnOrigin::Path(path) => path.join("."),
        ColumnOrigin::Metadata(_) | ColumnOrigin::Computed => column.name.clone(),
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

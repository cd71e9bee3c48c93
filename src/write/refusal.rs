//! Rows that a sink cannot write, as dead letters.

use super::Changes;
use crate::dead_letter::{DeadLetter, Reason};
use crate::render::RowWriter;

/// The letter of a row that sink `sink` did not get rid of.
pub(super) fn refusal(
    sink: &str,
    changes: &Changes,
    row: usize,
    reason: Reason,
    error: String,
) -> DeadLetter {
    let origin = changes.origins.as_ref().map(|origins| origins[row]);
    let text = || {
        let mut text = Vec::new();
        RowWriter::new(changes.rows.schema_ref(), None).write_row(&mut text, &changes.rows, row);
        String::from_utf8(text).ok()
    };
    DeadLetter {
        row: if origin.is_none() { text() } else { None },
        origin,
        reason,
        error,
        rule: String::new(),
        stage: sink.to_owned(),
    }
}

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
    let text = || RowWriter::new(changes.rows.schema_ref(), None).row_text(&changes.rows, row);
    DeadLetter {
        row: origin.is_none().then(text),
        origin,
        reason,
        error,
        rule: String::new(),
        stage: sink.to_owned(),
    }
}

//! Rows that a sink cannot write, as dead letters.

use super::Changes;
use super::document::Documents;
use crate::dead_letter::{DeadLetter, Reason};

/// The letter of a row that sink `sink` did not get rid of.
pub(super) fn refusal(
    sink: &str,
    changes: &Changes,
    row: usize,
    reason: Reason,
    error: String,
) -> DeadLetter {
    let origin = changes.origins.as_ref().map(|origins| origins[row]);
    let text = || Documents::new(&changes.rows, None).and_then(|rows| Ok(rows.text(row))).ok()?.ok();
    DeadLetter {
        row: if origin.is_none() { text() } else { None },
        origin,
        reason,
        error,
        rule: String::new(),
        stage: sink.to_owned(),
    }
}

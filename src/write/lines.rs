//! Changes as JSON Lines.

use super::document::Documents;
use super::refusal::refusal;
use super::{Changes, Op, Receipt};
use crate::dead_letter::Reason;
use crate::error::Result;
use crate::plan::{self, ChangeMode};

/// How the rows of a sink become lines.
#[derive(Clone, Debug)]
pub(super) struct Lines {
    pub(super) sink: String,
    document: Option<usize>,
    /// Whether each line begins with what happened to its row.
    ops: bool,
}

impl Lines {
    /// Lines of the changes of a sink; those of an updating relation begin with the column `op`.
    pub(super) fn new(sink: &plan::Sink) -> Self {
        Lines { sink: sink.name.clone(), document: sink.document, ops: sink.changes == ChangeMode::Updating }
    }

    /// Appends a line per row to `out`.
    pub(super) fn append(&self, changes: &Changes, out: &mut String) -> Result<Receipt> {
        let documents = Documents::new(&changes.rows, self.document)?;
        let mut receipt = Receipt::default();
        for (row, op) in changes.ops.iter().enumerate() {
            let line = out.len();
            let first = match (self.ops, op) {
                (false, _) => "",
                (true, Op::Insert) => r#""op":"insert","#,
                (true, Op::Update) => r#""op":"update","#,
                (true, Op::Delete) => r#""op":"delete","#,
            };
            match documents.append_text(row, first, out) {
                Ok(()) => out.push('\n'),
                Err(error) => {
                    out.truncate(line);
                    let letter = refusal(&self.sink, changes, row, Reason::SinkRefused, error);
                    receipt.refused.push((row, letter));
                }
            }
        }
        Ok(receipt)
    }
}

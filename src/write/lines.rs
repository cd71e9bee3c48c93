//! Changes as JSON Lines.

use super::{Changes, Op};
use crate::plan::{self, ChangeMode};
use crate::render::RowWriter;

/// How the rows of a sink become lines.
#[derive(Clone, Debug)]
pub(super) struct Lines {
    writer: RowWriter,
    /// Whether each line begins with what happened to its row.
    ops: bool,
}

impl Lines {
    /// Lines of the changes of a sink; those of an updating relation begin with the field `op`.
    pub(super) fn new(sink: &plan::Sink) -> Self {
        Lines {
            writer: RowWriter::new(&sink.schema, sink.document),
            ops: sink.changes == ChangeMode::Updating,
        }
    }

    /// Appends a line per row to `out`.
    pub(super) fn append(&self, changes: &Changes, out: &mut Vec<u8>) {
        for (row, op) in changes.ops.iter().enumerate() {
            if self.ops {
                let name = match op {
                    Op::Insert => "insert",
                    Op::Update => "update",
                    Op::Delete => "delete",
                };
                out.extend_from_slice(br#"{"op":""#);
                out.extend_from_slice(name.as_bytes());
                out.push(b'"');
            }
            let start = out.len();
            self.writer.write_row(out, &changes.rows, row);
            if self.ops {
                // The object that was just written goes on where that of `op` ended.
                let empty = &out[start..] == b"{}";
                if empty {
                    out.remove(start);
                } else {
                    out[start] = b',';
                }
            }
            out.push(b'\n');
        }
    }
}

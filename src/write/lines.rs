//! Changes as text: JSON Lines or CSV.

use arrow::array::RecordBatch;
use arrow::datatypes::Schema;

use super::{Changes, Op};
use crate::csv::Cutter;
use crate::plan::{self, ChangeMode, Format, OP};
use crate::render::{CsvWriter, RowWriter};

/// How the rows of a sink become lines.
#[derive(Clone, Debug)]
pub(super) struct Lines {
    writer: Writer,
    /// Whether each line begins with what happened to its row.
    ops: bool,
}

#[derive(Clone, Debug)]
enum Writer {
    Json(RowWriter),
    Csv(CsvWriter),
}

impl Lines {
    /// Lines of the changes of a sink; those of an updating relation begin with `op`.
    pub(super) fn of_changes(sink: &plan::Sink) -> Self {
        Lines { ops: sink.changes == ChangeMode::Updating, ..Lines::of_rows(sink) }
    }

    /// Lines of rows as they stand.
    pub(super) fn of_rows(sink: &plan::Sink) -> Self {
        let schema: &Schema = &sink.schema;
        let writer = match &sink.format {
            Format::Json => Writer::Json(RowWriter::new(schema, sink.document)),
            Format::Csv(dialect) => Writer::Csv(CsvWriter::new(schema, dialect)),
        };
        Lines { writer, ops: false }
    }

    /// What a file begins with; nothing in JSON.
    pub(super) fn header(&self) -> Vec<u8> {
        match &self.writer {
            Writer::Json(_) => Vec::new(),
            Writer::Csv(writer) => writer.header(self.ops.then_some(OP)),
        }
    }

    /// What finds the ends of lines that may have line breaks inside.
    pub(super) fn cutter(&self) -> Option<Cutter> {
        match &self.writer {
            Writer::Json(_) => None,
            Writer::Csv(writer) => Some(Cutter::new(writer.dialect())),
        }
    }

    /// Appends a line per row to `out`.
    pub(super) fn append(&self, changes: &Changes, out: &mut Vec<u8>) {
        for (row, op) in changes.ops.iter().enumerate() {
            let name = match op {
                Op::Insert => "insert",
                Op::Update => "update",
                Op::Delete => "delete",
            };
            self.line(self.ops.then_some(name), &changes.rows, row, out);
        }
    }

    /// Appends the line of a row.
    pub(super) fn line(&self, op: Option<&str>, rows: &RecordBatch, row: usize, out: &mut Vec<u8>) {
        let writer = match &self.writer {
            Writer::Json(writer) => writer,
            Writer::Csv(writer) => return writer.write_row(out, op, rows, row),
        };
        if let Some(op) = op {
            out.extend_from_slice(format!("{{\"{OP}\":\"{op}\"").as_bytes());
        }
        let start = out.len();
        writer.write_row(out, rows, row);
        if op.is_some() {
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

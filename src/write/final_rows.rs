//! The rows of an updating relation as they stand at the end of a bounded run.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::row::{RowConverter, Rows, SortField};

use super::lines::Lines;
use super::{Changes, Op};
use crate::error::{Error, Result};
use crate::plan;

/// Lines by key, in the order of the key's values.
#[derive(Debug)]
pub(super) struct FinalRows {
    writer: Lines,
    /// Columns that tell rows apart; `None`: all, and equal rows are counted.
    key: Option<Vec<usize>>,
    lines: BTreeMap<Vec<u8>, Line>,
}

#[derive(Debug)]
struct Line {
    text: Vec<u8>,
    count: i64,
}

impl FinalRows {
    /// No rows yet.
    pub(super) fn new(sink: &plan::Sink) -> Self {
        FinalRows { writer: Lines::of_rows(sink), key: sink.key.clone(), lines: BTreeMap::new() }
    }

    /// Applies the changes of an epoch.
    pub(super) fn apply(&mut self, changes: &Changes) -> Result<()> {
        let all: Vec<usize> = (0..changes.rows.num_columns()).collect();
        let keys = keys(&changes.rows, self.key.as_ref().unwrap_or(&all))?;
        for (row, op) in changes.ops.iter().enumerate() {
            let key = keys.as_ref().map_or(Vec::new(), |keys| keys.row(row).as_ref().to_vec());
            let mut text = Vec::new();
            self.writer.line(None, &changes.rows, row, &mut text);
            self.change(key, *op, text)?;
        }
        Ok(())
    }

    /// All rows that are left, one per line, behind what a file begins with.
    pub(super) fn text(&self) -> Vec<u8> {
        let mut out = self.writer.header();
        for line in self.lines.values() {
            for _ in 0..line.count {
                out.extend_from_slice(&line.text);
            }
        }
        out
    }

    fn change(&mut self, key: Vec<u8>, op: Op, text: Vec<u8>) -> Result<()> {
        match (self.lines.entry(key), op) {
            (Entry::Vacant(_), Op::Delete) => {
                let row = String::from_utf8_lossy(&text);
                return Err(Error::internal(format!(
                    "a row was taken back that is not there: {}",
                    row.trim_end()
                )));
            }
            (Entry::Occupied(mut entry), Op::Delete) if entry.get().count > 1 => entry.get_mut().count -= 1,
            (Entry::Occupied(entry), Op::Delete) => _ = entry.remove(),
            (Entry::Occupied(mut entry), _) if self.key.is_none() => entry.get_mut().count += 1,
            (Entry::Occupied(mut entry), _) => entry.get_mut().text = text,
            (Entry::Vacant(entry), _) => _ = entry.insert(Line { text, count: 1 }),
        }
        Ok(())
    }
}

/// Keys as bytes that sort like the values; `None` where the key has no column, so that there is one row.
fn keys(rows: &RecordBatch, columns: &[usize]) -> Result<Option<Rows>> {
    if columns.is_empty() {
        return Ok(None);
    }
    let columns: Vec<ArrayRef> = columns.iter().map(|&column| rows.column(column).clone()).collect();
    let fields = columns.iter().map(|column| SortField::new(column.data_type().clone())).collect();
    let rows = RowConverter::new(fields).and_then(|converter| converter.convert_columns(&columns));
    rows.map(Some).map_err(|error| Error::internal("cannot sort the rows of a sink").caused_by(error))
}

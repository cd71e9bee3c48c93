//! Tables: records to the last row of each key.
//!
//! Of the records of an epoch the one with the greatest origin counts, whatever came first. When the epoch is
//! complete, the row that a key had leaves with diff -1 and the one it has now with +1, where the two differ. A
//! key that is deleted, and one that was never there, has no row. A record that does not change its row is folded
//! into it as all others are.

use std::collections::HashMap;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, SchemaRef};

use crate::batch::{Batch, RowOrigin};
use crate::canonical::CanonicalRows;
use crate::error::Result;
use crate::plan::{Expr, Table};
use crate::time::{Epoch, EpochClose};
use crate::transform::aggregate::groups::Group;
use crate::transform::aggregate::touched::{Closing, EMIT_GROUPS_MAX};
use crate::transform::eval::Evaluation;
use crate::transform::keyed_rows::KeyedRows;
use crate::transform::{KeyGroup, Operator, Output, Progress, SnapshotKind};

/// The rows of one table on one worker.
pub struct TableRows {
    name: String,
    keys: Vec<(Expr, DataType)>,
    schema: SchemaRef,
    rows: KeyedRows,
    /// What this epoch has said of a key last.
    said: HashMap<Group, Said>,
    closing: Option<Closing>,
    /// Memory of the last batch.
    encoded: CanonicalRows,
}

/// What a record says of its key.
struct Said {
    by: Option<RowOrigin>,
    row: Option<Box<[u8]>>,
}

impl TableRows {
    /// The empty rows of `plan`. Fails on types that cannot be kept.
    pub fn new(plan: &Table) -> Result<Self> {
        let types = plan.key_types();
        Ok(TableRows {
            name: plan.name.clone(),
            keys: plan.keys.iter().cloned().zip(types.iter().cloned()).collect(),
            schema: plan.schema.clone(),
            rows: KeyedRows::new(&plan.name, types, &plan.schema)?,
            said: HashMap::new(),
            closing: None,
            encoded: CanonicalRows::default(),
        })
    }

    /// The rows of the keys `groups` before and behind the epoch, as far as they differ.
    fn changes(&mut self, groups: Vec<Group>, out: &mut Output) -> Vec<(Box<[u8]>, i64)> {
        let mut changes = Vec::new();
        for group in groups {
            let Some(Said { row, .. }) = self.said.remove(&group) else { continue };
            // A record that deletes ends here, and so does the one whose row is replaced.
            out.emitted += i64::from(row.is_none());
            let old = self.rows.replace(group, row);
            out.emitted += i64::from(old.is_some());
            let new = self.rows.get(group);
            if old.as_deref() != new {
                let new = new.map(|row| (row.into(), 1));
                changes.extend(old.map(|row| (row, -1)).into_iter().chain(new));
            }
            self.rows.forget_if_empty(group);
        }
        changes
    }
}

impl Operator for TableRows {
    fn on_batch(&mut self, _port: usize, _epoch: Epoch, batch: &Batch, out: &mut Output) {
        let mut evaluation = Evaluation::new(batch);
        let keys: Vec<ArrayRef> =
            self.keys.iter().map(|(key, data_type)| evaluation.column(key, data_type)).collect();
        let failed = evaluation.finish();
        let good = failed.report(batch, &self.name, out, |_| false);
        self.encoded.encode(&keys, batch.len());
        let columns = batch.rows.columns();
        let (deletes, columns) = columns.split_last().expect("a record says whether it deletes");
        let (deletes, rows) = (deletes.as_boolean(), self.rows.encode(columns));
        for index in (0..batch.len()).filter(|index| good.value(*index)) {
            let by = batch.origin.as_ref().map(|origin| origin.row(index));
            let row = || (!deletes.value(index)).then(|| rows.row(index).as_ref().into());
            let group = self.rows.intern(self.encoded.row(index));
            match self.said.get_mut(&group) {
                None => _ = self.said.insert(group, Said { by, row: row() }),
                Some(said) => {
                    if said.by < by {
                        *said = Said { by, row: row() };
                    }
                    out.emitted += 1;
                }
            }
        }
    }

    fn on_epoch(&mut self, close: &EpochClose, out: &mut Output) -> Progress {
        if self.said.is_empty() {
            return Progress::Done;
        }
        let said = &self.said;
        let closing =
            self.closing.get_or_insert_with(|| Closing::new(|| said.keys().copied(), self.rows.groups()));
        let groups = closing.next(self.rows.groups(), EMIT_GROUPS_MAX);
        let changes = self.changes(groups, out);
        if !changes.is_empty() {
            let columns = self.rows.decode(changes.iter().map(|(row, _)| &**row));
            let diffs = Int64Array::from_iter_values(changes.iter().map(|(_, diff)| *diff));
            let rows = RecordBatch::try_new(self.schema.clone(), columns).expect("columns of the schema");
            out.batches.push(Batch { rows, diffs: Some(diffs), origin: None, wall_ms: close.wall_ms });
        }
        if self.said.is_empty() {
            self.closing = None;
            self.said.shrink_to(EMIT_GROUPS_MAX);
            self.rows.trim();
            return Progress::Done;
        }
        Progress::More
    }

    fn rows_in_state(&self) -> i64 {
        self.rows.len()
    }

    fn state_bytes(&self) -> usize {
        self.rows.bytes()
    }

    fn snapshot(&mut self, kind: SnapshotKind) -> Vec<(KeyGroup, RecordBatch)> {
        self.rows.snapshot(kind)
    }

    fn snapshot_failed(&mut self) {
        self.rows.snapshot_failed();
    }

    fn restore(&mut self, state: &RecordBatch) -> Result<()> {
        self.rows.restore(state)
    }

    fn state_schema(&self) -> SchemaRef {
        self.rows.state_schema()
    }
}

#[cfg(test)]
mod tests;

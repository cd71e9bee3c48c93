//! Snapshots: by key group, all rows with their counts or those that have changed. A row that was taken back has the
//! count 0 in a delta; what is forgotten need not be listed, that follows from the watermark.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef, TimestampNanosecondType};

use super::{Kept, Place, RetainedRows};
use crate::batch::Batch;
use crate::canonical::{self, KEY_GROUPS, key_group};
use crate::error::{Error, Result};
use crate::transform::eval::Evaluation;
use crate::transform::{KeyGroup, SnapshotKind};

/// Changed since the last snapshot.
const CHANGED: u8 = 1;
/// Changed before the last snapshot, which may still turn out to have failed.
const CHANGED_BEFORE: u8 = 2;

/// What snapshots there are. Nothing is kept of changes until there has been one.
#[derive(Debug, Default)]
pub(super) struct Saved {
    based: bool,
    based_before: bool,
}

impl Saved {
    /// The flag of a row that changes.
    pub fn changed(&self) -> u8 {
        if self.based { CHANGED } else { 0 }
    }
}

/// Columns of snapshots: how often a row is there, and its columns.
pub(super) fn state_schema(schema: &SchemaRef) -> SchemaRef {
    let rows = schema.fields().iter().enumerate();
    let rows = rows.map(|(i, field)| Field::new(format!("row.{i}"), field.data_type().clone(), true));
    let count = Field::new("count", DataType::Int64, false);
    Arc::new(Schema::new(std::iter::once(count).chain(rows).collect::<Vec<_>>()))
}

impl RetainedRows {
    pub(super) fn take_snapshot(&mut self, kind: SnapshotKind) -> Vec<(KeyGroup, RecordBatch)> {
        let all = kind == SnapshotKind::Full || !self.saved.based;
        let wanted = |kept: &Kept| if all { kept.count != 0 } else { kept.flags & CHANGED != 0 };
        let rows = self.rows.iter().filter(|(_, kept)| wanted(kept));
        let (places, counts): (Vec<&Place>, Vec<i64>) = rows.map(|(place, kept)| (place, kept.count)).unzip();
        let groups = self.split(&places, &counts);
        self.rows.retain(|(_, row), kept| {
            let stays = kept.count != 0 || kept.flags & CHANGED != 0;
            kept.flags = if kept.flags & CHANGED == 0 { 0 } else { CHANGED_BEFORE };
            self.row_bytes -= if stays { 0 } else { row.len() };
            stays
        });
        (self.saved.based_before, self.saved.based) = (self.saved.based, true);
        groups
    }

    /// Rows by the key group of their keys.
    fn split(&self, places: &[&Place], counts: &[i64]) -> Vec<(KeyGroup, RecordBatch)> {
        if places.is_empty() {
            return Vec::new();
        }
        let columns = self.codec.decode(places.iter().map(|(_, row)| &**row)).expect("rows of the schema");
        let rows = RecordBatch::try_new(self.plan.schema.clone(), columns).expect("columns of the schema");
        let batch = Batch::inserts(rows, None, 0);
        let mut evaluation = Evaluation::new(&batch);
        let keys: Vec<ArrayRef> =
            self.keys.iter().map(|(key, data_type)| evaluation.column(key, data_type)).collect();
        let keys = canonical::encode(&keys, places.len());
        let mut groups: Vec<Vec<u32>> = vec![Vec::new(); KEY_GROUPS];
        for row in 0..places.len() {
            groups[usize::from(key_group(keys.row(row)))].push(row as u32);
        }
        let groups = (0..=KeyGroup::MAX).zip(groups).filter(|(_, rows)| !rows.is_empty());
        let save = |(group, rows): (KeyGroup, Vec<u32>)| {
            let own = Int64Array::from_iter_values(rows.iter().map(|row| counts[*row as usize]));
            let part = batch.take(&rows.into()).expect("rows of the batch");
            let columns = [&[Arc::new(own) as ArrayRef], part.rows.columns()].concat();
            (group, RecordBatch::try_new(self.state_schema.clone(), columns).expect("columns of the state"))
        };
        groups.map(save).collect()
    }

    pub(super) fn save_failed(&mut self) {
        self.saved.based = self.saved.based_before;
        let changed = self.saved.changed();
        self.rows.values_mut().for_each(|kept| kept.flags = if kept.flags == 0 { 0 } else { changed });
    }

    pub(super) fn load(&mut self, state: &RecordBatch) -> Result<()> {
        let types =
            |schema: &Schema| schema.fields().iter().map(|f| f.data_type().clone()).collect::<Vec<_>>();
        if types(&state.schema()) != types(&self.state_schema) {
            return Err(Error::internal(format!("the stored state of {} has other columns", self.plan.name)));
        }
        let broken = |error: arrow::error::ArrowError| Error::internal("broken state").caused_by(error);
        let (counts, columns) = (state.column(0).as_primitive::<Int64Type>(), &state.columns()[1..]);
        let rows = RecordBatch::try_new(self.plan.schema.clone(), columns.to_vec()).map_err(broken)?;
        let bytes = self.codec.encode(rows.columns())?;
        let batch = Batch::inserts(rows, None, 0);
        let times = Evaluation::new(&batch).column(&self.plan.time, self.plan.time_field.data_type());
        let times = times.as_primitive::<TimestampNanosecondType>();
        self.saved.based = true;
        for (row, count) in counts.values().iter().enumerate() {
            let place = (times.value(row), bytes.row(row).as_ref().into());
            // What a delta says of a row takes the place of what was known.
            let known = self.rows.get(&place).map_or(0, |kept| kept.count);
            self.add(place.clone(), count - known);
            if let Some(kept) = self.rows.get_mut(&place) {
                kept.flags = 0;
            }
            if *count == 0 {
                self.tidy(vec![place]);
            }
        }
        Ok(())
    }
}

//! Snapshots: the rows that wait. A delta holds those that have come since; those that have left need no mention,
//! since event time has passed them.

use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{Field, Schema, SchemaRef, TimestampNanosecondType};

use super::RankState;
use crate::batch::Batch;
use crate::canonical::{KEY_GROUPS, key_group};
use crate::error::{Error, Result};
use crate::transform::eval::Evaluation;
use crate::transform::waiting::{ORIGIN, Place, origin_columns, origins};
use crate::transform::{KeyGroup, SnapshotKind};

/// Up to which number rows are in snapshots: in the last one, and in that before it.
#[derive(Default)]
pub(super) struct Saved {
    to: u64,
    to_before: u64,
}

impl Saved {
    /// The last snapshot has failed.
    pub fn fail(&mut self) {
        self.to = self.to_before;
    }
}

/// Columns of snapshots: the origin of a row, and the row.
pub(super) fn state_schema(input: &SchemaRef) -> SchemaRef {
    let own = ORIGIN.iter().map(|(name, kind)| Field::new(*name, kind.clone(), true));
    let rows = input.fields().iter().map(|field| {
        Field::new(format!("row.{}", field.name()), field.data_type().clone(), true)
            .with_metadata(field.metadata().clone())
    });
    Arc::new(Schema::new(own.chain(rows).collect::<Vec<_>>()))
}

impl RankState {
    pub(super) fn take_snapshot(&mut self, kind: SnapshotKind) -> Vec<(KeyGroup, RecordBatch)> {
        let from = if kind == SnapshotKind::Full { 0 } else { self.saved.to };
        self.saved = Saved { to: self.waiting.next_number(), to_before: self.saved.to };
        let places: Vec<Place> = self.waiting.iter().filter(|place| place.number >= from).collect();
        if places.is_empty() {
            return Vec::new();
        }
        let keys = self.columns.keys(&self.rows(&places, 0));
        let mut groups: Vec<Vec<Place>> = vec![Vec::new(); KEY_GROUPS];
        places.iter().zip(keys.iter()).for_each(|(place, key)| {
            groups[usize::from(key_group(key))].push(*place);
        });
        let groups = (0..=KeyGroup::MAX).zip(&groups).filter(|(_, places)| !places.is_empty());
        groups.map(|(group, places)| (group, self.save(places))).collect()
    }

    fn save(&self, places: &[Place]) -> RecordBatch {
        let of: Vec<_> = places.iter().map(|place| place.at.1).collect();
        let rows = self.rows(places, 0).rows;
        let columns = origin_columns(&of).into_iter().chain(rows.columns().iter().cloned()).collect();
        RecordBatch::try_new(self.state_schema.clone(), columns).expect("columns of the state schema")
    }

    pub(super) fn load(&mut self, state: &RecordBatch) -> Result<()> {
        let failed = || Error::internal(format!("the state of {} has other columns", self.plan.name));
        if state.schema_ref().fields() != self.state_schema.fields() {
            return Err(failed());
        }
        let (own, columns) = state.columns().split_at(ORIGIN.len());
        let rows = RecordBatch::try_new(self.plan.input.clone(), columns.to_vec()).map_err(|_| failed())?;
        let batch = Batch::inserts(rows, None, 0);
        let times = Evaluation::new(&batch).column(&self.close.time, self.close.field.data_type());
        let times = times.as_primitive::<TimestampNanosecondType>();
        let id = self.waiting.keep(batch.rows);
        for (row, (time, origin)) in times.values().iter().zip(origins(own)).enumerate() {
            self.waiting.insert((*time, origin), (id, row as u32), 0);
        }
        // What was put back is in the snapshots.
        self.saved.to = self.waiting.next_number();
        Ok(())
    }
}

//! Snapshots: of each key one record with its last values, and one for each of its rows that waits.
//!
//! A delta holds all that there is of the keys that have changed, and takes the place of what was known of them.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, RecordBatch, UInt32Array, new_null_array};
use arrow::compute::{concat, interleave_record_batch, take_record_batch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimestampNanosecondType};

use super::LagState;
use super::keys::Key;
use crate::batch::{Batch, RowOrigin};
use crate::canonical::{KEY_GROUPS, key_group};
use crate::error::{Error, Result};
use crate::transform::eval::Evaluation;
use crate::transform::waiting::{ORIGIN, Place, origin_columns, origins};
use crate::transform::{KeyGroup, SnapshotKind};

/// Columns in front of the origins.
const OWN: [(&str, DataType); 2] = [("key", DataType::Binary), ("last", DataType::Binary)];
/// Columns in front of those of the rows.
const BEFORE: usize = OWN.len() + ORIGIN.len();

/// Columns of snapshots: the key; its last values, which make the record one of a key; else a row with its origin.
pub(super) fn state_schema(input: &SchemaRef) -> SchemaRef {
    let own = OWN.iter().chain(&ORIGIN).map(|(name, kind)| Field::new(*name, kind.clone(), true));
    let rows = input.fields().iter().map(|field| {
        Field::new(format!("row.{}", field.name()), field.data_type().clone(), true)
            .with_metadata(field.metadata().clone())
    });
    Arc::new(Schema::new(own.chain(rows).collect::<Vec<_>>()))
}

impl LagState {
    pub(super) fn take_snapshot(&mut self, kind: SnapshotKind) -> Vec<(KeyGroup, RecordBatch)> {
        let keys = self.known.start_snapshot(kind == SnapshotKind::Full);
        let wanted: HashSet<Key> = keys.iter().copied().collect();
        let group_of = |key: Key| usize::from(key_group(self.known.bytes(key)));
        let mut groups: Vec<(Vec<Key>, Vec<Place>)> = vec![Default::default(); KEY_GROUPS];
        keys.iter().for_each(|key| groups[group_of(*key)].0.push(*key));
        for place in self.waiting.iter().filter(|place| wanted.contains(&place.key)) {
            groups[group_of(place.key)].1.push(place);
        }
        let groups = (0..=KeyGroup::MAX).zip(&groups).filter(|(_, (keys, _))| !keys.is_empty());
        groups.map(|(group, (keys, places))| (group, self.save(keys, places))).collect()
    }

    fn save(&self, keys: &[Key], places: &[Place]) -> RecordBatch {
        let last: Vec<Vec<u8>> = keys.iter().map(|key| self.known.encode(*key)).collect();
        let all = keys.iter().copied().chain(places.iter().map(|place| place.key));
        let origins: Vec<Option<RowOrigin>> =
            keys.iter().map(|_| None).chain(places.iter().map(|place| place.at.1)).collect();
        let mut columns: Vec<ArrayRef> = vec![
            Arc::new(BinaryArray::from_iter_values(all.map(|key| self.known.bytes(key)))),
            Arc::new(BinaryArray::from_iter(
                last.iter().map(Some).chain(places.iter().map(|_| None::<&Vec<u8>>)),
            )),
        ];
        columns.extend(origin_columns(&origins));
        let rows = match places.is_empty() {
            true => RecordBatch::new_empty(self.input.clone()),
            false => {
                let (batches, indices) = self.waiting.locate(places);
                interleave_record_batch(&batches, &indices).expect("rows of one schema")
            }
        };
        for column in rows.columns() {
            let none = new_null_array(column.data_type(), keys.len());
            columns.push(concat(&[&none, column]).expect("columns of one type"));
        }
        RecordBatch::try_new(self.state_schema.clone(), columns).expect("columns of the state schema")
    }

    pub(super) fn load(&mut self, state: &RecordBatch) -> Result<()> {
        if state.schema_ref().fields() != self.state_schema.fields() {
            return Err(Error::internal(format!("the state of {} has other columns", self.name)));
        }
        let broken = || Error::internal(format!("the state of {} is broken", self.name));
        let (keys, last) = (state.column(0).as_binary::<i32>(), state.column(1).as_binary::<i32>());
        let (mut replaced, mut rows) = (HashSet::new(), Vec::new());
        for row in 0..state.num_rows() {
            let key = self.known.intern(keys.value(row));
            if last.is_null(row) {
                rows.push((row, key));
                continue;
            }
            replaced.insert(key);
            self.known.decode(key, last.value(row)).ok_or_else(broken)?;
        }
        let gone: Vec<Place> = self.waiting.iter().filter(|place| replaced.contains(&place.key)).collect();
        self.waiting.release(&gone);
        self.put_back(state, &rows)
    }

    fn put_back(&mut self, state: &RecordBatch, rows: &[(usize, Key)]) -> Result<()> {
        if rows.is_empty() {
            return Ok(());
        }
        let failed = |error: arrow::error::ArrowError| Error::internal(format!("{}: {error}", self.name));
        let indices = UInt32Array::from_iter_values(rows.iter().map(|(row, _)| *row as u32));
        let taken = take_record_batch(state, &indices).map_err(failed)?;
        let columns = taken.columns()[BEFORE..].to_vec();
        let kept = RecordBatch::try_new(self.input.clone(), columns).map_err(failed)?;
        let batch = Batch::inserts(kept, None, 0);
        let times = Evaluation::new(&batch).column(&self.time.0, self.time.1.data_type());
        let times = times.as_primitive::<TimestampNanosecondType>();
        let origins = origins(&taken.columns()[OWN.len()..BEFORE]);
        let id = self.waiting.keep(batch.rows.clone());
        for (row, (_, key)) in rows.iter().enumerate() {
            self.waiting.insert((times.value(row), origins[row]), (id, row as u32), *key);
        }
        Ok(())
    }
}

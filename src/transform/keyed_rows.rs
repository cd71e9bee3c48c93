//! At most one row for each key, with snapshots: the state of tables and of joins with them.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, new_null_array};
use arrow::compute::concat;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::row::Rows;

use crate::canonical::{self, CanonicalRows, KEY_GROUPS, key_group};
use crate::error::{Error, Result};
use crate::transform::aggregate::groups::{Group, Groups};
use crate::transform::aggregate::snapshot::Tracker;
use crate::transform::aggregate::state::{fit, vector};
use crate::transform::arrange::RowCodec;
use crate::transform::{KeyGroup, SnapshotKind};

/// Rows by the canonical bytes of their keys.
pub struct KeyedRows {
    name: String,
    key_types: Vec<DataType>,
    schema: SchemaRef,
    codec: RowCodec,
    groups: Groups,
    /// By group. A key without a row is forgotten with [`forget_if_empty`](Self::forget_if_empty).
    rows: Vec<Option<Box<[u8]>>>,
    /// Bytes of the rows.
    row_bytes: usize,
    tracker: Tracker,
}

impl KeyedRows {
    /// For rows of `schema`; `name` is that of the operator.
    pub fn new(name: &str, key_types: Vec<DataType>, schema: &SchemaRef) -> Result<Self> {
        if let Some(other) = key_types.iter().find(|data_type| !canonical::supports(data_type)) {
            return Err(Error::internal(format!("{name} cannot keep keys of type {other}")));
        }
        Ok(KeyedRows {
            name: name.to_owned(),
            key_types,
            schema: schema.clone(),
            codec: RowCodec::new(schema)?,
            groups: Groups::default(),
            rows: Vec::new(),
            row_bytes: 0,
            tracker: Tracker::default(),
        })
    }

    /// Bytes of rows, as they are kept.
    pub fn encode(&self, columns: &[ArrayRef]) -> Rows {
        self.codec.encode(columns).expect("the columns of the schema")
    }

    /// The columns of rows that were kept.
    pub fn decode<'a>(&self, rows: impl Iterator<Item = &'a [u8]>) -> Vec<ArrayRef> {
        self.codec.decode(rows).expect("rows that were encoded here")
    }

    /// The place of a key, made if there is none.
    pub fn intern(&mut self, key: &[u8]) -> Group {
        let group = self.groups.intern(key);
        self.rows.resize(self.groups.slots(), None);
        self.tracker.resize(self.groups.slots());
        group
    }

    /// The row of a key.
    pub fn find(&self, key: &[u8]) -> Option<&[u8]> {
        self.get(self.groups.find(key)?)
    }

    /// The row at a place.
    pub fn get(&self, group: Group) -> Option<&[u8]> {
        self.rows[group as usize].as_deref()
    }

    /// All keys with their places.
    pub fn groups(&self) -> &Groups {
        &self.groups
    }

    /// Gives a key another row, or none. Gives the one it had.
    pub fn replace(&mut self, group: Group, row: Option<Box<[u8]>>) -> Option<Box<[u8]>> {
        self.tracker.change(group);
        let old = std::mem::replace(&mut self.rows[group as usize], row);
        let count = |row: &Option<Box<[u8]>>| i64::from(row.is_some());
        let bytes = |row: &Option<Box<[u8]>>| row.as_ref().map_or(0, |row| row.len());
        self.row_bytes += bytes(&self.rows[group as usize]);
        self.row_bytes -= bytes(&old);
        self.groups.add_rows(group, count(&self.rows[group as usize]) - count(&old));
        old
    }

    /// Forgets a key that has no row.
    pub fn forget_if_empty(&mut self, group: Group) {
        if self.get(group).is_none() {
            self.tracker.remove(group, self.groups.key(group));
            self.groups.remove(group);
        }
    }

    /// Number of rows.
    pub fn len(&self) -> i64 {
        self.groups.total_rows()
    }

    /// Gives back memory of which most is not needed any more. Places of keys with a row stay what they are.
    pub fn trim(&mut self) {
        if self.groups.trim() {
            fit(&mut self.rows, self.groups.slots(), || None);
            self.tracker.resize(self.groups.slots());
        }
    }

    /// Bytes of memory.
    pub fn bytes(&self) -> usize {
        self.groups.bytes() + self.tracker.bytes() + vector(&self.rows) + self.row_bytes
    }

    /// Columns of snapshots: `key.<i>`, whether the key is gone, and the columns of the row.
    pub fn state_schema(&self) -> SchemaRef {
        let keys = self.key_types.iter().enumerate();
        let mut fields: Vec<Field> =
            keys.map(|(i, key)| Field::new(format!("key.{i}"), key.clone(), true)).collect();
        fields.push(Field::new("removed", DataType::Boolean, false));
        fields.extend(
            self.schema
                .fields()
                .iter()
                .enumerate()
                .map(|(i, field)| Field::new(format!("row.{i}"), field.data_type().clone(), true)),
        );
        Arc::new(Schema::new(fields))
    }

    /// The rows by key group, see [`Operator::snapshot`](crate::transform::Operator::snapshot).
    pub fn snapshot(&mut self, kind: SnapshotKind) -> Vec<(KeyGroup, RecordBatch)> {
        let all = kind == SnapshotKind::Full || !self.tracker.is_based();
        self.tracker.sort_removed();
        let mut live: Vec<Vec<Group>> = vec![Vec::new(); KEY_GROUPS];
        for group in self.groups.iter().filter(|group| all || self.tracker.has_changed(*group)) {
            if self.get(group).is_some() {
                live[usize::from(key_group(self.groups.key(group)))].push(group);
            }
        }
        let mut removed: Vec<Vec<&[u8]>> = vec![Vec::new(); KEY_GROUPS];
        let gone = if all { &[] } else { self.tracker.removed() };
        for key in gone.iter().filter(|key| self.groups.find(key).is_none()) {
            removed[usize::from(key_group(key))].push(key);
        }
        let groups = (0..=KeyGroup::MAX).zip(live.iter().zip(&removed));
        let snapshot = groups
            .filter(|(_, (live, removed))| !live.is_empty() || !removed.is_empty())
            .map(|(group, (live, removed))| (group, self.save(live, removed)))
            .collect();
        self.tracker.start();
        snapshot
    }

    /// The last snapshot did not become durable.
    pub fn snapshot_failed(&mut self) {
        self.tracker.fail();
    }

    fn save(&self, live: &[Group], removed: &[&[u8]]) -> RecordBatch {
        let keys = live.iter().map(|group| self.groups.key(*group)).chain(removed.iter().copied());
        let mut columns = canonical::decode(keys, &self.key_types).expect("the state holds canonical keys");
        let gone = [vec![false; live.len()], vec![true; removed.len()]].concat();
        columns.push(Arc::new(BooleanArray::from(gone)));
        for column in self.decode(live.iter().filter_map(|group| self.get(*group))) {
            let empty = new_null_array(column.data_type(), removed.len());
            columns.push(concat(&[&column, &empty]).expect("columns of one type"));
        }
        RecordBatch::try_new(self.state_schema(), columns).expect("columns of the state schema")
    }

    /// Puts back a part of a snapshot.
    pub fn restore(&mut self, state: &RecordBatch) -> Result<()> {
        let types =
            |schema: &Schema| schema.fields().iter().map(|f| f.data_type().clone()).collect::<Vec<_>>();
        if types(&state.schema()) != types(&self.state_schema()) {
            return Err(Error::internal(format!("the stored state of {} has other columns", self.name)));
        }
        let (keys, rest) = state.columns().split_at(self.key_types.len());
        let (removed, rows) = (rest[0].as_boolean(), self.encode(&rest[1..]));
        let mut encoded = CanonicalRows::default();
        encoded.encode(keys, state.num_rows());
        self.tracker.rebase();
        for (index, key) in encoded.iter().enumerate() {
            let group = self.intern(key);
            let row = (!removed.value(index)).then(|| rows.row(index).as_ref().into());
            self.replace(group, row);
            self.forget_if_empty(group);
        }
        Ok(())
    }
}

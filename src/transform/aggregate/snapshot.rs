//! Snapshots of a keyed state: by key group, all of it or what has changed.
//!
//! Columns: `key.<i>`, whether the key is gone, its row count, and `aggregate.<i>.<column>` for each column
//! of each aggregate's state. Of a key that is gone only the key columns are filled.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch, UInt32Array, new_null_array,
};
use arrow::compute::{concat, take};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};

use crate::canonical::{self, CanonicalRows, KEY_GROUPS};
use crate::error::{Error, Result};
use crate::transform::aggregate::groups::{Group, Groups};
use crate::transform::aggregate::keyed::Keyed;
use crate::transform::aggregate::state::{State, fit, vector};
use crate::transform::{KeyGroup, SnapshotKind};

/// Where the row counts stand behind the columns of the key.
pub const ROW_COUNTS: usize = 1;
/// Where the states of the aggregates begin behind the columns of the key.
pub const STATES: usize = 2;

/// Changed since the last snapshot.
const CHANGED: u8 = 1;
/// Changed before the last snapshot, which may still turn out to have failed.
const CHANGED_BEFORE: u8 = 2;

/// What has changed since the last snapshot. Nothing is kept until there has been one.
#[derive(Default)]
pub struct Tracker {
    /// Whether there is a snapshot that a delta can stand on.
    based: bool,
    based_before: bool,
    changed: Vec<u8>,
    removed: Vec<Box<[u8]>>,
    removed_before: Vec<Box<[u8]>>,
}

impl Tracker {
    /// Makes room for groups up to `slots`.
    pub fn resize(&mut self, slots: usize) {
        fit(&mut self.changed, slots, || 0);
    }

    /// Bytes of memory.
    pub fn bytes(&self) -> usize {
        let removed = self.removed.iter().chain(&self.removed_before);
        vector(&self.changed) + removed.map(|key| size_of::<Box<[u8]>>() + key.len()).sum::<usize>()
    }

    /// A group has changed.
    pub fn change(&mut self, group: Group) {
        if self.based {
            self.changed[group as usize] |= CHANGED;
        }
    }

    /// A group is gone.
    pub fn remove(&mut self, group: Group, key: &[u8]) {
        self.changed[group as usize] = 0;
        if self.based {
            self.removed.push(key.into());
        }
    }

    /// Whether there is a snapshot that a delta can stand on.
    pub fn is_based(&self) -> bool {
        self.based
    }

    /// What is changed from now on is a change of what was put back.
    pub fn rebase(&mut self) {
        self.based = true;
    }

    /// Whether a group has changed since the last snapshot.
    pub fn has_changed(&self, group: Group) -> bool {
        self.changed[group as usize] & CHANGED != 0
    }

    /// The groups that are gone since the last snapshot; they may be there again.
    pub fn removed(&self) -> &[Box<[u8]>] {
        &self.removed
    }

    /// Brings these into their order, each once.
    pub fn sort_removed(&mut self) {
        self.removed.sort_unstable();
        self.removed.dedup();
    }

    /// A snapshot is taken.
    pub fn start(&mut self) {
        self.changed
            .iter_mut()
            .for_each(|flags| *flags = if *flags & CHANGED == 0 { 0 } else { CHANGED_BEFORE });
        self.removed_before = std::mem::take(&mut self.removed);
        (self.based_before, self.based) = (self.based, true);
    }

    /// The last snapshot has failed: what it held counts as changed again.
    pub fn fail(&mut self) {
        self.based = self.based_before;
        let changed = if self.based { CHANGED } else { 0 };
        self.changed.iter_mut().for_each(|flags| *flags = if *flags == 0 { 0 } else { changed });
        self.removed.append(&mut self.removed_before);
        if !self.based {
            self.removed.clear();
        }
    }
}

/// Columns of the snapshots of `states` with keys of `key_types`.
pub fn state_schema(key_types: &[DataType], states: &[Box<dyn State>]) -> SchemaRef {
    let keys = key_types.iter().enumerate();
    let mut fields: Vec<Field> =
        keys.map(|(i, key)| Field::new(format!("key.{i}"), key.clone(), true)).collect();
    fields.push(Field::new("removed", DataType::Boolean, false));
    fields.push(Field::new("rows", DataType::Int64, true));
    for (i, state) in states.iter().enumerate() {
        fields.extend(state.fields().into_iter().map(|field| {
            let name = format!("aggregate.{i}.{}", field.name());
            field.with_name(name)
        }));
    }
    Arc::new(Schema::new(fields))
}

impl Keyed {
    /// The groups that `lives` says have rows, by the key group of their key.
    pub fn snapshot(
        &mut self,
        kind: SnapshotKind,
        lives: impl Fn(&Groups, Group) -> bool,
        key_group: impl Fn(&[u8]) -> KeyGroup,
    ) -> Vec<(KeyGroup, RecordBatch)> {
        let all = kind == SnapshotKind::Full || !self.tracker.is_based();
        let mut live: Vec<Vec<Group>> = vec![Vec::new(); KEY_GROUPS];
        for group in self.groups.iter() {
            let wanted = all || self.tracker.has_changed(group);
            if wanted && lives(&self.groups, group) {
                live[usize::from(key_group(self.groups.key(group)))].push(group);
            }
        }
        let mut removed: Vec<Vec<&[u8]>> = vec![Vec::new(); KEY_GROUPS];
        if !all {
            self.tracker.sort_removed();
            for key in self.tracker.removed().iter().filter(|key| self.groups.find(key).is_none()) {
                removed[usize::from(key_group(key))].push(key);
            }
        }
        let groups = (0..=KeyGroup::MAX).zip(live.iter().zip(&removed));
        let snapshot = groups
            .filter(|(_, (live, removed))| !live.is_empty() || !removed.is_empty())
            .map(|(group, (live, removed))| (group, self.save(live, removed)))
            .collect();
        self.tracker.start();
        snapshot
    }

    /// These groups with their states, and the keys of groups that are gone.
    pub(super) fn save(&self, live: &[Group], removed: &[&[u8]]) -> RecordBatch {
        let keys = live.iter().map(|group| self.groups.key(*group)).chain(removed.iter().copied());
        let mut columns = canonical::decode(keys, &self.key_types).expect("the state holds canonical keys");
        let gone = [vec![false; live.len()], vec![true; removed.len()]].concat();
        columns.push(Arc::new(BooleanArray::from(gone)));
        let rows = Int64Array::from_iter_values(live.iter().map(|group| self.groups.rows(*group)));
        let mut states: Vec<ArrayRef> = vec![Arc::new(rows)];
        states.extend(self.states.iter().flat_map(|state| state.save(live, &self.ties)));
        for state in states {
            let empty = new_null_array(state.data_type(), removed.len());
            columns.push(concat(&[&state, &empty]).expect("columns of one type"));
        }
        RecordBatch::try_new(Arc::clone(&self.state_schema), columns).expect("columns of the state schema")
    }

    /// All groups, where a time stands in front of the key that sends rows to their worker.
    pub fn snapshot_behind_time(&mut self, kind: SnapshotKind) -> Vec<(KeyGroup, RecordBatch)> {
        let of_key = |bytes: &[u8]| canonical::key_group(&bytes[canonical::TIMESTAMP_BYTES..]);
        self.snapshot(kind, |_, _| true, of_key)
    }

    /// Puts back a part of a snapshot.
    pub fn load(&mut self, state: &RecordBatch) -> Result<()> {
        let types =
            |schema: &Schema| schema.fields().iter().map(|f| f.data_type().clone()).collect::<Vec<_>>();
        if types(&state.schema()) != types(&self.state_schema) {
            return Err(Error::internal(format!("the stored state of {} has other columns", self.name)));
        }
        let (keys, rest) = state.columns().split_at(self.key_types.len());
        let (removed, rows) = (rest[0].as_boolean(), rest[ROW_COUNTS].as_primitive::<Int64Type>());
        let mut encoded = CanonicalRows::default();
        encoded.encode(keys, state.num_rows());
        self.tracker.rebase();
        let (mut live, mut places) = (Vec::new(), Vec::new());
        for (row, key) in encoded.iter().enumerate() {
            if removed.value(row) {
                if let Some(group) = self.groups.find(key) {
                    self.forget(group);
                }
                continue;
            }
            let group = self.groups.intern(key);
            self.make_room();
            self.states.iter_mut().for_each(|state| state.clear(group));
            self.groups.add_rows(group, rows.value(row) - self.groups.rows(group));
            live.push(group);
            places.push(row as u32);
        }
        let places = UInt32Array::from(places);
        let taken = rest[STATES..].iter().map(|column| take(column, &places, None));
        let columns: Vec<ArrayRef> = taken
            .collect::<Result<_, _>>()
            .map_err(|error| Error::internal("broken state").caused_by(error))?;
        let mut columns = columns.as_slice();
        for state in &mut self.states {
            let (own, others) = columns.split_at(state.fields().len());
            state.load(&live, own, &mut self.ties)?;
            columns = others;
        }
        Ok(())
    }
}

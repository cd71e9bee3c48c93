//! Snapshots of what is remembered: by key group, all of it or what has come since the last one. What is
//! forgotten need not be listed: that follows from the watermark.

use std::sync::Arc;

use arrow::array::{AsArray, FixedSizeBinaryBuilder, Int64Array, RecordBatch, UInt64Array};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef, UInt64Type};

use crate::canonical::KEY_GROUPS;
use crate::error::{Error, Result};
use crate::transform::dedup::group_of;
use crate::transform::dedup::memory::Memory;
use crate::transform::dedup::table::Entry;
use crate::transform::{KeyGroup, SnapshotKind};

const ID_BYTES: i32 = 16;

/// What snapshots there are.
#[derive(Debug, Default)]
pub struct Saved {
    /// Whether there is one that a delta can stand on.
    based: bool,
    based_before: bool,
}

impl Saved {
    /// Takes a snapshot.
    pub fn take(&mut self, kind: SnapshotKind, memory: &mut Memory) -> Vec<(KeyGroup, RecordBatch)> {
        let only_new = kind == SnapshotKind::Delta && self.based;
        let mut groups: Vec<Vec<&Entry>> = vec![Vec::new(); KEY_GROUPS];
        for entry in memory.entries(only_new) {
            groups[usize::from(group_of(entry.id))].push(entry);
        }
        let parts = (0..=KeyGroup::MAX).zip(groups).filter(|(_, entries)| !entries.is_empty());
        let parts = parts.map(|(group, entries)| (group, write(&entries))).collect();
        memory.saved();
        (self.based_before, self.based) = (self.based, true);
        parts
    }

    /// The last snapshot did not become durable.
    pub fn fail(&mut self, memory: &mut Memory) {
        memory.save_failed();
        self.based = self.based_before;
    }

    /// All that is in the memory comes from a snapshot.
    pub fn restored(&mut self, memory: &mut Memory) {
        memory.saved();
        self.based = true;
    }
}

/// Columns of snapshots: an entry per row.
pub fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("id", DataType::FixedSizeBinary(ID_BYTES), false),
        Field::new("time", DataType::Int64, false),
        Field::new("content", DataType::UInt64, false),
    ]))
}

fn write(entries: &[&Entry]) -> RecordBatch {
    let mut ids = FixedSizeBinaryBuilder::with_capacity(entries.len(), ID_BYTES);
    for entry in entries {
        ids.append_value(entry.id.to_be_bytes()).expect("16 bytes");
    }
    let times = Int64Array::from_iter_values(entries.iter().map(|entry| entry.time));
    let contents = UInt64Array::from_iter_values(entries.iter().map(|entry| entry.content));
    let columns = vec![Arc::new(ids.finish()) as _, Arc::new(times) as _, Arc::new(contents) as _];
    RecordBatch::try_new(schema(), columns).expect("columns of the schema")
}

/// Reads a part of a snapshot of the operator `name`.
pub fn read(state: &RecordBatch, name: &str) -> Result<Vec<Entry>> {
    if state.schema().fields() != schema().fields() {
        return Err(Error::internal(format!("the stored state of {name} has other columns")));
    }
    let ids = state.column(0).as_fixed_size_binary();
    let times = state.column(1).as_primitive::<Int64Type>().values();
    let contents = state.column(2).as_primitive::<UInt64Type>().values();
    let entry = |row: usize| {
        let id = ids.value(row).try_into().map(u128::from_be_bytes);
        let id = id.map_err(|error| Error::internal("broken state").caused_by(error))?;
        Ok(Entry { id, time: times[row], content: contents[row] })
    };
    (0..state.num_rows()).map(entry).collect()
}

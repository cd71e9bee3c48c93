//! min, max, first_value and last_value over updating input: all rows of a group in order, so that the next
//! one is there when the best is taken back.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, LargeBinaryArray};
use arrow::datatypes::{DataType, Field};

use crate::canonical::{self, CanonicalRows};
use crate::error::{Error, Result};
use crate::transform::aggregate::groups::Group;
use crate::transform::aggregate::state::{Arguments, Rows, State};
use crate::transform::aggregate::ties::Ties;

/// Canonical bytes of NULL.
const NULL: &[u8] = &[0];

/// An ordered multiset of canonical bytes per group.
///
/// For min and max the bytes are those of the value. For first and last they are those of the order key and,
/// for ties, of the whole row; the value stands beside them.
pub struct Multiset {
    /// Whether the greatest entry is the result, else the least.
    greatest: bool,
    /// Whether entries are ordered by something else than their value.
    ordered: bool,
    value_type: DataType,
    groups: Vec<BTreeMap<Box<[u8]>, Entry>>,
    /// Memory of the last batch.
    values: CanonicalRows,
    orders: CanonicalRows,
}

#[derive(Default)]
struct Entry {
    /// Sum of the diffs; below zero only inside an epoch, when the removal of a row came first.
    count: i64,
    /// Canonical bytes of the value; empty where they are the key.
    value: Box<[u8]>,
}

impl Multiset {
    /// An empty `max` if `greatest`, else `min`.
    pub fn extremum(greatest: bool, value_type: DataType) -> Self {
        let (values, orders) = Default::default();
        Multiset { greatest, ordered: false, value_type, groups: Vec::new(), values, orders }
    }

    /// An empty `last_value` if `last`, else `first_value`.
    pub fn pick(last: bool, value_type: DataType) -> Self {
        Multiset { ordered: true, ..Multiset::extremum(last, value_type) }
    }

    fn best(&self, group: Group) -> &[u8] {
        let entries = &self.groups[group as usize];
        let best = if self.greatest { entries.last_key_value() } else { entries.first_key_value() };
        match best {
            None => NULL,
            Some((_, entry)) if self.ordered => &entry.value,
            Some((key, _)) => key,
        }
    }
}

/// Adds to the count of an entry; entries with count 0 are gone.
fn add(entries: &mut BTreeMap<Box<[u8]>, Entry>, key: &[u8], value: &[u8], diff: i64) {
    match entries.get_mut(key) {
        None => {
            entries.insert(key.into(), Entry { count: diff, value: value.into() });
        }
        Some(entry) if entry.count + diff == 0 => {
            entries.remove(key);
        }
        Some(entry) => entry.count += diff,
    }
}

impl State for Multiset {
    fn resize(&mut self, slots: usize) {
        self.groups.resize_with(slots, BTreeMap::new);
    }

    fn update(&mut self, rows: &Rows<'_>, arguments: &Arguments) {
        let Multiset { groups, values, orders, .. } = self;
        let count = rows.groups.len();
        values.encode(std::slice::from_ref(arguments.value()), count);
        if !self.ordered {
            arguments.each(rows.groups, |row, group| {
                add(&mut groups[group], values.row(row), &[], rows.diff(row));
            });
            return;
        }
        orders.encode(std::slice::from_ref(arguments.order()), count);
        let mut key = Vec::new();
        arguments.each(rows.groups, |row, group| {
            key.clear();
            key.extend_from_slice(orders.row(row));
            key.extend_from_slice(rows.ties.rows.row(row));
            add(&mut groups[group], &key, values.row(row), rows.diff(row));
        });
    }

    fn clear(&mut self, group: Group) {
        self.groups[group as usize].clear();
    }

    fn evaluate(&self, groups: &[Group], _: &mut Vec<(usize, String)>) -> ArrayRef {
        let best = groups.iter().map(|group| self.best(*group));
        let columns = canonical::decode(best, std::slice::from_ref(&self.value_type));
        columns.expect("the state holds canonical bytes of the type").remove(0)
    }

    fn fields(&self) -> Vec<Field> {
        vec![Field::new("entries", DataType::LargeBinary, true)]
    }

    fn save(&self, groups: &[Group], _: &Ties) -> Vec<ArrayRef> {
        let entries = groups.iter().map(|group| {
            let mut bytes = Vec::new();
            for (key, entry) in &self.groups[*group as usize] {
                for part in [key, &entry.value] {
                    bytes.extend_from_slice(&(part.len() as u64).to_le_bytes());
                    bytes.extend_from_slice(part);
                }
                bytes.extend_from_slice(&entry.count.to_le_bytes());
            }
            bytes
        });
        vec![Arc::new(LargeBinaryArray::from_iter_values(entries))]
    }

    fn load(&mut self, groups: &[Group], columns: &[ArrayRef], _: &mut Ties) -> Result<()> {
        let saved = columns[0].as_binary::<i64>();
        for (row, group) in groups.iter().enumerate() {
            let mut bytes = saved.value(row);
            let entries = &mut self.groups[*group as usize];
            while !bytes.is_empty() {
                read_entry(&mut bytes, entries)
                    .ok_or_else(|| Error::internal("broken state of a multiset"))?;
            }
        }
        Ok(())
    }
}

fn read_entry(bytes: &mut &[u8], entries: &mut BTreeMap<Box<[u8]>, Entry>) -> Option<()> {
    let key = read_part(bytes)?;
    let value = read_part(bytes)?;
    let (count, rest) = bytes.split_first_chunk::<8>()?;
    *bytes = rest;
    entries.insert(key.into(), Entry { count: i64::from_le_bytes(*count), value: value.into() });
    Some(())
}

fn read_part<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, rest) = bytes.split_first_chunk::<8>()?;
    let (part, rest) = rest.split_at_checked(usize::try_from(u64::from_le_bytes(*length)).ok()?)?;
    *bytes = rest;
    Some(part)
}

//! All rows of a group in order: min, max, first_value and last_value over updating input, so that the next
//! one is there when the best is taken back, string_agg and array_agg, which show them all, and the first rows of
//! row_number. Where none is taken back only these are kept.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, LargeBinaryArray};
use arrow::datatypes::{DataType, Field};

use crate::canonical::{self, CanonicalRows};
use crate::error::{Error, Result};
use crate::plan::{First, Number};
use crate::transform::aggregate::bytes::{read_count, read_part, write_part};
use crate::transform::aggregate::groups::Group;
use crate::transform::aggregate::list::{self, List};
use crate::transform::aggregate::order::Orders;
use crate::transform::aggregate::places;
use crate::transform::aggregate::state::{Arguments, Rows, State, fit, tree, two, vector};
use crate::transform::aggregate::ties::Ties;

/// Canonical bytes of NULL.
const NULL: &[u8] = &[0];

/// An ordered multiset of bytes per group.
pub struct Multiset {
    order: Order,
    read: Read,
    value_type: DataType,
    groups: Vec<Entries>,
    /// Memory of the last batch.
    values: CanonicalRows,
    orders: Orders,
}

/// What entries are ordered by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// The canonical bytes of the value.
    Value,
    /// The order key if there is one, then, for ties, the canonical bytes of the row.
    Row,
    /// The order key if there is one, then the origin of the row.
    Origin,
    /// The value, which is bytes.
    Bytes,
}

/// What the result is.
#[derive(Clone, Debug)]
pub enum Read {
    Least,
    Greatest,
    All(List),
    /// Of rows as [`places`] writes them the first ones, one behind the other.
    First {
        first: Option<First>,
        append_only: bool,
    },
}

/// The entries of a group by what they are ordered by.
type Entries = BTreeMap<Box<[u8]>, Entry>;

#[derive(Clone, Default)]
struct Entry {
    /// Sum of the diffs; below zero only inside an epoch, when the removal of a row came first.
    count: i64,
    /// Canonical bytes of the value; empty where they are the key.
    value: Box<[u8]>,
}

impl Multiset {
    /// Without entries.
    pub fn new(order: Order, read: Read, value_type: DataType) -> Self {
        let (groups, values, orders) = Default::default();
        Multiset { order, read, value_type, groups, values, orders }
    }

    /// The values of a group in order, as often as they are there.
    fn all(&self, group: Group) -> impl Iterator<Item = &[u8]> {
        let entries = self.groups[group as usize].iter();
        entries.flat_map(|(key, entry)| {
            let times = usize::try_from(entry.count).unwrap_or_default();
            std::iter::repeat_n(self.value(key, entry), times)
        })
    }

    fn value<'a>(&self, key: &'a [u8], entry: &'a Entry) -> &'a [u8] {
        if matches!(self.order, Order::Value | Order::Bytes) { key } else { &entry.value }
    }

    /// How many entries of a group there may be at most: none behind these can ever be one of the first.
    fn most(&self) -> usize {
        match self.read {
            Read::First { first: Some(First { by: Number::RowNumber, rows }), append_only: true } => {
                rows as usize
            }
            _ => usize::MAX,
        }
    }

    /// Takes in rows that are bytes.
    fn update_bytes(&mut self, rows: &Rows<'_>, arguments: &Arguments) {
        let (values, most) = (arguments.value().as_binary::<i64>(), self.most());
        arguments.each(rows.groups, |row, group| {
            let (entries, value) = (&mut self.groups[group], values.value(row));
            let is_full = entries.len() >= most;
            if !is_full || entries.last_key_value().is_some_and(|(last, _)| value <= &**last) {
                add(entries, value, &[], rows.diff(row));
                cut(entries, most);
            }
        });
    }

    /// The first rows of groups.
    fn first(&self, groups: &[Group], first: Option<First>) -> ArrayRef {
        let lists = groups.iter().map(|group| {
            let mut bytes = Vec::new();
            places::first(self.all(*group), first).for_each(|row| write_part(&mut bytes, row));
            bytes
        });
        Arc::new(LargeBinaryArray::from_iter_values(lists))
    }

    fn best(&self, group: Group) -> &[u8] {
        let entries = &self.groups[group as usize];
        let best = match self.read {
            Read::Least => entries.first_key_value(),
            _ => entries.last_key_value(),
        };
        best.map_or(NULL, |(key, entry)| self.value(key, entry))
    }
}

/// Adds to the count of an entry; entries with count 0 are gone.
fn add(entries: &mut Entries, key: &[u8], value: &[u8], diff: i64) {
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

/// Leaves so many entries, the first ones.
fn cut(entries: &mut Entries, most: usize) {
    while entries.len() > most {
        entries.pop_last();
    }
}

impl State for Multiset {
    fn resize(&mut self, slots: usize) {
        fit(&mut self.groups, slots, BTreeMap::new);
    }

    fn bytes(&self) -> usize {
        vector(&self.groups)
    }

    fn bytes_of(&self, group: Group) -> usize {
        // One entry tells how long they are.
        let entries = &self.groups[group as usize];
        let long = entries.first_key_value().map_or(0, |(key, entry)| key.len() + entry.value.len());
        tree(entries.len(), size_of::<(Box<[u8]>, Entry)>()) + entries.len() * long
    }

    fn update(&mut self, rows: &Rows<'_>, arguments: &Arguments) {
        if self.order == Order::Bytes {
            return self.update_bytes(rows, arguments);
        }
        let Multiset { groups, values, orders, order, .. } = self;
        let count = rows.groups.len();
        values.encode(std::slice::from_ref(arguments.value()), count);
        if *order == Order::Value {
            arguments.each(rows.groups, |row, group| {
                add(&mut groups[group], values.row(row), &[], rows.diff(row));
            });
            return;
        }
        orders.read(arguments.order.as_ref(), count);
        let mut key = Vec::new();
        arguments.each(rows.groups, |row, group| {
            key.clear();
            orders.write(&mut key, row);
            match order {
                Order::Origin => rows.ties.write_origin(&mut key, row),
                _ => key.extend_from_slice(rows.ties.rows.row(row)),
            }
            add(&mut groups[group], &key, values.row(row), rows.diff(row));
        });
    }

    fn clear(&mut self, group: Group) {
        self.groups[group as usize].clear();
    }

    fn merge(&mut self, from: Group, into: Group, _: &Ties) {
        let most = self.most();
        let (entries, whole) = two(&mut self.groups, from, into);
        // The fewer of the two are taken one by one.
        let mut own = None;
        if entries.len() > whole.len() {
            own = Some(std::mem::replace(whole, entries.clone()));
        }
        for (key, entry) in own.as_ref().unwrap_or(entries) {
            add(whole, key, &entry.value, entry.count);
        }
        cut(whole, most);
    }

    fn evaluate(&self, groups: &[Group], errors: &mut Vec<(usize, String)>) -> ArrayRef {
        if let Read::All(list) = &self.read {
            let mut values = Vec::new();
            let mut ends = Vec::with_capacity(groups.len());
            for group in groups {
                values.extend(self.all(*group));
                ends.push(values.len());
            }
            return list::render(list, &decode(values.into_iter(), &self.value_type), &ends, errors);
        }
        if let Read::First { first, .. } = self.read {
            return self.first(groups, first);
        }
        decode(groups.iter().map(|group| self.best(*group)), &self.value_type)
    }

    fn fields(&self) -> Vec<Field> {
        vec![Field::new("entries", DataType::LargeBinary, true)]
    }

    fn save(&self, groups: &[Group], _: &Ties) -> Vec<ArrayRef> {
        let entries = groups.iter().map(|group| {
            let mut bytes = Vec::new();
            for (key, entry) in &self.groups[*group as usize] {
                write_part(&mut bytes, key);
                write_part(&mut bytes, &entry.value);
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

fn decode<'a>(values: impl Iterator<Item = &'a [u8]>, value_type: &DataType) -> ArrayRef {
    let columns = canonical::decode(values, std::slice::from_ref(value_type));
    columns.expect("the state holds canonical bytes of the type").remove(0)
}

fn read_entry(bytes: &mut &[u8], entries: &mut Entries) -> Option<()> {
    let (key, value) = (read_part(bytes)?, read_part(bytes)?);
    let count = read_count(bytes)?;
    entries.insert(key.into(), Entry { count, value: value.into() });
    Some(())
}

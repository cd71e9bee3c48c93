//! DISTINCT in an aggregate function: each value is given to the function once, when its first row comes, and
//! taken back with its last one.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, LargeBinaryArray};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::{DataType, Field};

use crate::canonical::{self, CanonicalRows};
use crate::error::{Error, Result};
use crate::transform::aggregate::bytes::{read_count, read_part, write_part};
use crate::transform::aggregate::groups::Group;
use crate::transform::aggregate::state::{Arguments, Rows, State, fit, tree, two, vector};
use crate::transform::aggregate::ties::Ties;

/// Rows by the canonical bytes of their value. Below zero only inside an epoch, when a removal came first.
type Counts = BTreeMap<Box<[u8]>, i64>;

/// A function over the distinct values of each group.
pub struct Distinct {
    groups: Vec<Counts>,
    inner: Box<dyn State>,
    /// What `inner` is given; `None` if it only counts.
    value_type: Option<DataType>,
    /// Memory of the last batch.
    values: CanonicalRows,
}

impl Distinct {
    /// `inner`, which must be without values yet, over distinct values of `value_type`; `None` if it only counts
    /// them.
    pub fn new(inner: Box<dyn State>, value_type: Option<DataType>) -> Self {
        Distinct { groups: Vec::new(), inner, value_type, values: CanonicalRows::default() }
    }
}

/// Counts `diff` rows of a value: 1 if it is there now and was not before, -1 the other way round.
fn count(counts: &mut Counts, value: &[u8], diff: i64) -> i64 {
    let before = counts.get_mut(value).map_or(0, |count| {
        *count += diff;
        *count - diff
    });
    match (before, before + diff) {
        (0, 0) => {}
        (0, after) => {
            counts.insert(value.into(), after);
        }
        (_, 0) => {
            counts.remove(value);
        }
        _ => {}
    }
    i64::from(before + diff > 0) - i64::from(before > 0)
}

impl State for Distinct {
    fn resize(&mut self, slots: usize) {
        fit(&mut self.groups, slots, Counts::new);
        self.inner.resize(slots);
    }

    fn bytes(&self) -> usize {
        vector(&self.groups) + self.inner.bytes()
    }

    fn bytes_of(&self, group: Group) -> usize {
        // One value tells how long they are.
        let counts = &self.groups[group as usize];
        let long = counts.first_key_value().map_or(0, |(value, _)| value.len());
        tree(counts.len(), size_of::<(Box<[u8]>, i64)>()) + counts.len() * long + self.inner.bytes_of(group)
    }

    fn update(&mut self, rows: &Rows<'_>, arguments: &Arguments) {
        let Distinct { groups, inner, values, .. } = self;
        let length = rows.groups.len();
        values.encode(std::slice::from_ref(arguments.value()), length);
        let mut changes = vec![0; length];
        arguments.each(rows.groups, |row, group| {
            changes[row] = count(&mut groups[group], values.row(row), rows.diff(row));
        });
        let changed = BooleanBuffer::collect_bool(length, |row| changes[row] != 0);
        let value = arguments.value.clone();
        let arguments = Arguments { value, second: None, order: None, selection: Some(changed) };
        inner.update(&Rows { diffs: Some(&changes), ..*rows }, &arguments);
    }

    fn clear(&mut self, group: Group) {
        self.groups[group as usize].clear();
        self.inner.clear(group);
    }

    fn merge(&mut self, from: Group, into: Group, ties: &Ties) {
        let (counts, whole) = two(&mut self.groups, from, into);
        if whole.is_empty() {
            whole.clone_from(counts);
            self.inner.merge(from, into, ties);
            return;
        }
        let mut changed: Vec<(&[u8], i64)> = Vec::new();
        for (value, diff) in counts {
            match count(whole, value, *diff) {
                0 => {}
                change => changed.push((value, change)),
            }
        }
        if changed.is_empty() {
            return;
        }
        // No argument of a function that only counts its rows.
        let values = self.value_type.as_ref().map(|value_type| {
            let values = changed.iter().map(|(value, _)| *value);
            let decoded = canonical::decode(values, std::slice::from_ref(value_type));
            decoded.expect("the state holds canonical bytes of the type").remove(0)
        });
        let diffs: Vec<i64> = changed.iter().map(|(_, change)| *change).collect();
        let arguments = Arguments { value: values, second: None, order: None, selection: None };
        let rows = Rows { groups: &vec![into; diffs.len()], diffs: Some(&diffs), ties };
        self.inner.update(&rows, &arguments);
    }

    fn evaluate(&self, groups: &[Group], errors: &mut Vec<(usize, String)>) -> ArrayRef {
        self.inner.evaluate(groups, errors)
    }

    fn fields(&self) -> Vec<Field> {
        let mut fields = vec![Field::new("values", DataType::LargeBinary, true)];
        fields.extend(self.inner.fields().into_iter().map(|field| {
            let name = format!("distinct.{}", field.name());
            field.with_name(name)
        }));
        fields
    }

    fn save(&self, groups: &[Group], ties: &Ties) -> Vec<ArrayRef> {
        let saved = groups.iter().map(|group| {
            let mut bytes = Vec::new();
            for (value, count) in &self.groups[*group as usize] {
                write_part(&mut bytes, value);
                bytes.extend_from_slice(&count.to_le_bytes());
            }
            bytes
        });
        let mut columns: Vec<ArrayRef> = vec![Arc::new(LargeBinaryArray::from_iter_values(saved))];
        columns.extend(self.inner.save(groups, ties));
        columns
    }

    fn load(&mut self, groups: &[Group], columns: &[ArrayRef], ties: &mut Ties) -> Result<()> {
        let saved = columns[0].as_binary::<i64>();
        for (row, group) in groups.iter().enumerate() {
            let mut bytes = saved.value(row);
            let counts = &mut self.groups[*group as usize];
            while !bytes.is_empty() {
                let entry = read_part(&mut bytes).zip(read_count(&mut bytes));
                let (value, count) = entry.ok_or_else(|| Error::internal("broken state of DISTINCT"))?;
                counts.insert(value.into(), count);
            }
        }
        self.inner.load(groups, &columns[1..], ties)
    }
}

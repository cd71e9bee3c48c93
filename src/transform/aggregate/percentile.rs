//! median and percentile_cont: exact, from all values of a group.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Float64Array, LargeBinaryArray};
use arrow::datatypes::{DataType, Field};

use crate::error::{Error, Result};
use crate::transform::aggregate::groups::Group;
use crate::transform::aggregate::ranked::{Ranked, saved};
use crate::transform::aggregate::state::{Arguments, Rows, State, fit, two, vector};
use crate::transform::aggregate::ties::Ties;
use crate::transform::aggregate::values::{Fixed, Values};

/// The value at a fraction of the values of each group; NULLs are not selected.
pub struct Percentile {
    fraction: f64,
    groups: Vec<Ranked>,
}

impl Percentile {
    /// Without values; `fraction` is from 0 to 1.
    pub fn new(fraction: f64) -> Self {
        Percentile { fraction, groups: Vec::new() }
    }
}

impl State for Percentile {
    fn resize(&mut self, slots: usize) {
        fit(&mut self.groups, slots, Ranked::default);
    }

    fn bytes(&self) -> usize {
        vector(&self.groups)
    }

    fn bytes_of(&self, group: Group) -> usize {
        self.groups[group as usize].bytes()
    }

    fn update(&mut self, rows: &Rows<'_>, arguments: &Arguments) {
        let values = Fixed::of(arguments.value());
        arguments.each(rows.groups, |row, group| self.groups[group].add(values.get(row), rows.diff(row)));
    }

    fn clear(&mut self, group: Group) {
        self.groups[group as usize] = Ranked::default();
    }

    fn merge(&mut self, from: Group, into: Group, _: &Ties) {
        let (more, whole) = two(&mut self.groups, from, into);
        // The fewer of the two are taken one by one.
        let mut own = None;
        if more.distinct() > whole.distinct() {
            own = Some(std::mem::replace(whole, more.clone()));
        }
        own.as_ref().unwrap_or(more).iter().for_each(|(value, count)| whole.add(value, count));
    }

    fn evaluate(&self, groups: &[Group], _: &mut Vec<(usize, String)>) -> ArrayRef {
        let groups = groups.iter().map(|group| &self.groups[*group as usize]);
        Arc::new(groups.map(|group| group.at(self.fraction, 0, group.total())).collect::<Float64Array>())
    }

    fn fields(&self) -> Vec<Field> {
        vec![Field::new("values", DataType::LargeBinary, true)]
    }

    fn save(&self, groups: &[Group], _: &Ties) -> Vec<ArrayRef> {
        let saved = groups.iter().map(|group| self.groups[*group as usize].save());
        vec![Arc::new(LargeBinaryArray::from_iter_values(saved))]
    }

    fn load(&mut self, groups: &[Group], columns: &[ArrayRef], _: &mut Ties) -> Result<()> {
        let column = columns[0].as_binary::<i64>();
        for (row, group) in groups.iter().enumerate() {
            let values =
                saved(column.value(row)).ok_or_else(|| Error::internal("broken state of a percentile"))?;
            values.into_iter().for_each(|(value, count)| self.groups[*group as usize].add(value, count));
        }
        Ok(())
    }
}

//! bool_and and bool_or: counts of true and of false, so that rows can be taken back.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray};
use arrow::datatypes::{DataType, Field};

use crate::error::Result;
use crate::transform::aggregate::accumulate::{load_counts, saved_counts};
use crate::transform::aggregate::groups::Group;
use crate::transform::aggregate::state::{Arguments, Rows, State, fit, vector};
use crate::transform::aggregate::ties::Ties;

/// Whether all, or any, of the values are true; NULLs are not selected.
pub struct Booleans {
    all: bool,
    trues: Vec<i64>,
    falses: Vec<i64>,
}

impl Booleans {
    /// An empty `bool_and` if `all`, else `bool_or`.
    pub fn new(all: bool) -> Self {
        Booleans { all, trues: Vec::new(), falses: Vec::new() }
    }
}

impl State for Booleans {
    fn resize(&mut self, slots: usize) {
        fit(&mut self.trues, slots, || 0);
        fit(&mut self.falses, slots, || 0);
    }

    fn bytes(&self) -> usize {
        vector(&self.trues) + vector(&self.falses)
    }

    fn update(&mut self, rows: &Rows<'_>, arguments: &Arguments) {
        let values = arguments.value().as_boolean().values();
        arguments.each(rows.groups, |row, group| {
            let counts = if values.value(row) { &mut self.trues } else { &mut self.falses };
            counts[group] += rows.diff(row);
        });
    }

    fn clear(&mut self, group: Group) {
        self.trues[group as usize] = 0;
        self.falses[group as usize] = 0;
    }

    fn merge(&mut self, from: Group, into: Group, _: &Ties) {
        self.trues[into as usize] += self.trues[from as usize];
        self.falses[into as usize] += self.falses[from as usize];
    }

    fn evaluate(&self, groups: &[Group], _: &mut Vec<(usize, String)>) -> ArrayRef {
        let results =
            groups.iter().map(|group| match (self.trues[*group as usize], self.falses[*group as usize]) {
                (0, 0) => None,
                (_, falses) if self.all => Some(falses == 0),
                (trues, _) => Some(trues != 0),
            });
        Arc::new(results.collect::<BooleanArray>())
    }

    fn fields(&self) -> Vec<Field> {
        ["trues", "falses"].map(|name| Field::new(name, DataType::Int64, true)).to_vec()
    }

    fn save(&self, groups: &[Group], _: &Ties) -> Vec<ArrayRef> {
        vec![Arc::new(saved_counts(&self.trues, groups)), Arc::new(saved_counts(&self.falses, groups))]
    }

    fn load(&mut self, groups: &[Group], columns: &[ArrayRef], _: &mut Ties) -> Result<()> {
        load_counts(&mut self.trues, groups, &columns[0]);
        load_counts(&mut self.falses, groups, &columns[1]);
        Ok(())
    }
}

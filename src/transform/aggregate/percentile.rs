//! median and percentile_cont: exact, from all values of a group.

use std::cell::{RefCell, RefMut};
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Float64Array, LargeBinaryArray};
use arrow::datatypes::{DataType, Field};

use crate::error::{Error, Result};
use crate::transform::aggregate::groups::Group;
use crate::transform::aggregate::ranked::{Ranked, saved};
use crate::transform::aggregate::state::{Arguments, Rows, State, fit, two, vector};
use crate::transform::aggregate::ties::Ties;
use crate::transform::aggregate::values::{Fixed, Values};

/// How many values of a group wait at least, and at most, before they are put into order; tests have few.
const WAITING: (usize, usize) = if cfg!(test) { (2, 8) } else { (64, 4096) };

/// The value at a fraction of the values of each group; NULLs are not selected.
pub struct Percentile {
    fraction: f64,
    groups: Vec<Gathered>,
}

/// The values of a group. Many are put into order together: sorted, they meet their like and their neighbours, while
/// one after the other each would search the whole order, which no cache holds.
#[derive(Clone, Debug, Default)]
struct Gathered {
    ranked: RefCell<Ranked>,
    /// Rows that are not in order yet; of those that are taken back none waits.
    waiting: RefCell<Vec<i64>>,
}

impl Gathered {
    fn add(&mut self, value: i64, diff: i64) {
        if diff != 1 {
            // Perhaps before the row itself: until both are in order nobody looks.
            self.ranked.get_mut().add(value, diff);
            return;
        }
        let waiting = self.waiting.get_mut();
        waiting.push(value);
        let (least, most) = WAITING;
        if waiting.len() >= least && waiting.len() >= (self.ranked.get_mut().distinct() / 4).min(most) {
            drop(self.ordered());
        }
    }

    /// All values.
    fn ordered(&self) -> RefMut<'_, Ranked> {
        let (mut ranked, mut waiting) = (self.ranked.borrow_mut(), self.waiting.borrow_mut());
        waiting.sort_unstable();
        ranked.add_sorted(&waiting);
        waiting.clear();
        if waiting.capacity() > ranked.distinct() {
            // Among millions of groups of a few values each, the room would be most of their memory.
            *waiting = Vec::new();
        }
        ranked
    }

    fn bytes(&self) -> usize {
        self.ranked.borrow().bytes() + vector(&self.waiting.borrow())
    }
}

impl Percentile {
    /// Without values; `fraction` is from 0 to 1.
    pub fn new(fraction: f64) -> Self {
        Percentile { fraction, groups: Vec::new() }
    }
}

impl State for Percentile {
    fn resize(&mut self, slots: usize) {
        fit(&mut self.groups, slots, Gathered::default);
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
        self.groups[group as usize] = Gathered::default();
    }

    fn merge(&mut self, from: Group, into: Group, _: &Ties) {
        let (more, whole) = two(&mut self.groups, from, into);
        let (more, mut whole) = (more.ordered(), whole.ordered());
        // The fewer of the two are taken one by one.
        let mut own = None;
        if more.distinct() > whole.distinct() {
            own = Some(std::mem::replace(&mut *whole, more.clone()));
        }
        own.as_ref().unwrap_or(&more).iter().for_each(|(value, count)| whole.add(value, count));
    }

    fn evaluate(&self, groups: &[Group], _: &mut Vec<(usize, String)>) -> ArrayRef {
        let groups = groups.iter().map(|group| self.groups[*group as usize].ordered());
        Arc::new(groups.map(|group| group.at(self.fraction, 0, group.total())).collect::<Float64Array>())
    }

    fn fields(&self) -> Vec<Field> {
        vec![Field::new("values", DataType::LargeBinary, true)]
    }

    fn save(&self, groups: &[Group], _: &Ties) -> Vec<ArrayRef> {
        let saved = groups.iter().map(|group| self.groups[*group as usize].ordered().save());
        vec![Arc::new(LargeBinaryArray::from_iter_values(saved))]
    }

    fn load(&mut self, groups: &[Group], columns: &[ArrayRef], _: &mut Ties) -> Result<()> {
        let column = columns[0].as_binary::<i64>();
        for (row, group) in groups.iter().enumerate() {
            let values =
                saved(column.value(row)).ok_or_else(|| Error::internal("broken state of a percentile"))?;
            let ranked = self.groups[*group as usize].ranked.get_mut();
            values.into_iter().for_each(|(value, count)| ranked.add(value, count));
        }
        Ok(())
    }
}

//! min and max over append-only input: one value per group.

use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, Field};

use crate::error::Result;
use crate::transform::aggregate::groups::Group;
use crate::transform::aggregate::state::{Arguments, Rows, State, fit, two, vector};
use crate::transform::aggregate::ties::Ties;
use crate::transform::aggregate::values::Values;

/// The least or the greatest value of each group; NULLs are not selected.
pub struct Extremum<V: Values> {
    greatest: bool,
    data_type: DataType,
    best: Vec<Option<V::Owned>>,
}

impl<V: Values> Extremum<V> {
    /// An empty `max` if `greatest`, else `min`.
    pub fn new(greatest: bool, data_type: DataType) -> Self {
        Extremum { greatest, data_type, best: Vec::new() }
    }
}

fn wins<'a, V: Values>(greatest: bool, value: V::Ref<'a>, best: &'a V::Owned) -> bool {
    let best = V::view(best);
    if greatest { value > best } else { value < best }
}

impl<V: Values> State for Extremum<V> {
    fn resize(&mut self, slots: usize) {
        fit(&mut self.best, slots, || None);
    }

    fn bytes(&self) -> usize {
        vector(&self.best)
    }

    fn bytes_of(&self, group: Group) -> usize {
        self.best[group as usize].as_ref().map_or(0, V::bytes)
    }

    fn update(&mut self, rows: &Rows<'_>, arguments: &Arguments) {
        let values = V::of(arguments.value());
        let greatest = self.greatest;
        arguments.each(rows.groups, |row, group| {
            let value = values.get(row);
            let best = &mut self.best[group];
            if best.as_ref().is_none_or(|best| wins::<V>(greatest, value, best)) {
                *best = Some(V::own(value));
            }
        });
    }

    fn clear(&mut self, group: Group) {
        self.best[group as usize] = None;
    }

    fn merge(&mut self, from: Group, into: Group, _: &Ties) {
        let greatest = self.greatest;
        let (Some(value), best) = two(&mut self.best, from, into) else { return };
        if best.as_ref().is_none_or(|best| wins::<V>(greatest, V::view(value), best)) {
            *best = Some(value.clone());
        }
    }

    fn evaluate(&self, groups: &[Group], _: &mut Vec<(usize, String)>) -> ArrayRef {
        V::array(groups.iter().map(|group| self.best[*group as usize].as_ref()), &self.data_type)
    }

    fn fields(&self) -> Vec<Field> {
        vec![Field::new("value", self.data_type.clone(), true)]
    }

    fn save(&self, groups: &[Group], _: &Ties) -> Vec<ArrayRef> {
        vec![self.evaluate(groups, &mut Vec::new())]
    }

    fn load(&mut self, groups: &[Group], columns: &[ArrayRef], _: &mut Ties) -> Result<()> {
        let values = V::of(&columns[0]);
        for (row, group) in groups.iter().enumerate() {
            self.best[*group as usize] = values.is_valid(row).then(|| V::own(values.get(row)));
        }
        Ok(())
    }
}

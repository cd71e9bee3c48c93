//! What an aggregate function keeps for all groups, column-wise.

use arrow::array::ArrayRef;
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::{DataType, Field};

use crate::canonical;
use crate::error::{Error, Result};
use crate::plan::{Aggregate, AggregateFunction};
use crate::transform::aggregate::accumulate::{Count, DoubleSum, IntegerSum};
use crate::transform::aggregate::extremum::Extremum;
use crate::transform::aggregate::groups::Group;
use crate::transform::aggregate::input::Types;
use crate::transform::aggregate::multiset::Multiset;
use crate::transform::aggregate::pick::Pick;
use crate::transform::aggregate::ties::Ties;
use crate::transform::aggregate::values::{Fixed, Text, Values, is_fixed};

/// The state of one aggregate function.
pub trait State {
    /// Makes room for groups up to `slots`; new ones are empty.
    fn resize(&mut self, slots: usize);

    /// Takes in rows.
    fn update(&mut self, rows: &Rows<'_>, arguments: &Arguments);

    /// Empties a group.
    fn clear(&mut self, group: Group);

    /// The results of `groups`; where there is none, NULL and an error with the place in `groups`.
    fn evaluate(&self, groups: &[Group], errors: &mut Vec<(usize, String)>) -> ArrayRef;

    /// Columns of a snapshot.
    fn fields(&self) -> Vec<Field>;

    /// The state of `groups` in the columns of [`fields`](Self::fields).
    fn save(&self, groups: &[Group], ties: &Ties) -> Vec<ArrayRef>;

    /// Puts saved states into empty groups.
    fn load(&mut self, groups: &[Group], columns: &[ArrayRef], ties: &mut Ties) -> Result<()>;
}

/// Rows of a batch, as all aggregates of a GROUP BY see them.
pub struct Rows<'a> {
    /// The group of each row.
    pub groups: &'a [Group],
    /// The diff of each row; `None` means 1.
    pub diffs: Option<&'a [i64]>,
    pub ties: &'a Ties,
}

/// What one aggregate function is given of each row.
pub struct Arguments {
    pub value: Option<ArrayRef>,
    pub order: Option<ArrayRef>,
    /// The rows that it takes in: by its filter, and without a NULL where NULLs are ignored.
    pub selection: Option<BooleanBuffer>,
}

impl Rows<'_> {
    /// The diff of a row.
    pub fn diff(&self, row: usize) -> i64 {
        self.diffs.map_or(1, |diffs| diffs[row])
    }
}

impl Arguments {
    /// Calls `take` with each selected row and its group.
    pub fn each(&self, groups: &[Group], mut take: impl FnMut(usize, usize)) {
        match &self.selection {
            None => groups.iter().enumerate().for_each(|(row, group)| take(row, *group as usize)),
            Some(selection) => {
                selection.set_indices().for_each(|row| take(row, groups[row] as usize));
            }
        }
    }

    /// The argument column.
    pub fn value(&self) -> &ArrayRef {
        self.value.as_ref().expect("only count(*) has no argument")
    }

    /// The order column.
    pub fn order(&self) -> &ArrayRef {
        self.order.as_ref().expect("first_value and last_value have an order")
    }
}

/// An empty state for `aggregate`.
pub fn build(aggregate: &Aggregate, types: &Types, append_only: bool) -> Result<Box<dyn State>> {
    use AggregateFunction::{Avg, Count as CountOf, FirstValue, LastValue, Max, Min, Sum};
    let value = types.value.clone().unwrap_or(DataType::Null);
    let order = types.order.clone();
    let state: Box<dyn State> = match (aggregate.function, &value) {
        (CountOf, _) => Box::new(Count::default()),
        (Sum, DataType::Int64) => Box::new(IntegerSum::sum()),
        (Avg, DataType::Int64) => Box::new(IntegerSum::average()),
        (Sum, DataType::Float64) => Box::new(DoubleSum::sum()),
        (Avg, DataType::Float64) => Box::new(DoubleSum::average()),
        (Sum | Avg, other) => return Err(unsupported(aggregate, other)),
        (Min | Max | FirstValue | LastValue, other) if !append_only && !canonical::supports(other) => {
            return Err(unsupported(aggregate, other));
        }
        (Min | Max, _) if !append_only => Box::new(Multiset::extremum(aggregate.function == Max, value)),
        (FirstValue | LastValue, _) if !append_only => {
            Box::new(Multiset::pick(aggregate.function == LastValue, value))
        }
        (Min | Max, DataType::Utf8) => Box::new(Extremum::<Text>::new(aggregate.function == Max, value)),
        (Min | Max, fixed) if is_fixed(fixed) => {
            Box::new(Extremum::<Fixed>::new(aggregate.function == Max, value))
        }
        (FirstValue | LastValue, _) => {
            let order = order.ok_or_else(|| Error::internal(format!("{} has no order", aggregate.text)))?;
            pick(aggregate, order, value)?
        }
        (_, other) => return Err(unsupported(aggregate, other)),
    };
    Ok(state)
}

fn pick(aggregate: &Aggregate, order: DataType, value: DataType) -> Result<Box<dyn State>> {
    match &order {
        DataType::Utf8 => pick_by::<Text>(aggregate, order, value),
        fixed if is_fixed(fixed) => pick_by::<Fixed>(aggregate, order, value),
        other => Err(unsupported(aggregate, other)),
    }
}

fn pick_by<K: Values>(aggregate: &Aggregate, order: DataType, value: DataType) -> Result<Box<dyn State>> {
    let last = aggregate.function == AggregateFunction::LastValue;
    match &value {
        DataType::Utf8 => Ok(Box::new(Pick::<K, Text>::new(last, order, value))),
        fixed if is_fixed(fixed) => Ok(Box::new(Pick::<K, Fixed>::new(last, order, value))),
        other => Err(unsupported(aggregate, other)),
    }
}

fn unsupported(aggregate: &Aggregate, data_type: &DataType) -> Error {
    Error::internal(format!("{} over values of type {data_type} has no state", aggregate.text))
}

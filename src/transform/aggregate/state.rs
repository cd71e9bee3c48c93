//! What an aggregate function keeps for all groups, column-wise.

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::{DataType, Field};

use crate::canonical;
use crate::error::{Error, Result};
use crate::plan::{Aggregate, AggregateFunction, Parameter, field};
use crate::transform::aggregate::accumulate::{Count, DoubleSum, IntegerSum};
use crate::transform::aggregate::bits::{Bits, Join};
use crate::transform::aggregate::booleans::Booleans;
use crate::transform::aggregate::clipped::Clipped;
use crate::transform::aggregate::distinct::Distinct;
use crate::transform::aggregate::extremum::Extremum;
use crate::transform::aggregate::groups::{Group, SLOTS_MIN};
use crate::transform::aggregate::input::Types;
use crate::transform::aggregate::list::List;
use crate::transform::aggregate::multiset::{Multiset, Order, Read};
use crate::transform::aggregate::pairs::Pairs;
use crate::transform::aggregate::percentile::Percentile;
use crate::transform::aggregate::pick::Pick;
use crate::transform::aggregate::quantile::ApproxPercentile;
use crate::transform::aggregate::sketch::ApproxDistinct;
use crate::transform::aggregate::ties::Ties;
use crate::transform::aggregate::values::{Fixed, Packed, Text, Values, is_fixed};
use crate::transform::aggregate::variance::Variance;

/// The state of one aggregate function.
pub trait State {
    /// Makes room for groups up to `slots`; new ones are empty, and those above are gone.
    fn resize(&mut self, slots: usize);

    /// Bytes of memory for all slots.
    fn bytes(&self) -> usize;

    /// About how many bytes a group has beside that.
    fn bytes_of(&self, _group: Group) -> usize {
        0
    }

    /// Takes in rows.
    fn update(&mut self, rows: &Rows<'_>, arguments: &Arguments);

    /// Empties a group.
    fn clear(&mut self, group: Group);

    /// Makes of `into` what it were had it also seen all rows of `from`, which stays as it is. The result does
    /// not depend on the order in which groups are merged, nor on which ones are merged first.
    fn merge(&mut self, from: Group, into: Group, ties: &Ties);

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
    /// The second argument of functions of pairs.
    pub second: Option<ArrayRef>,
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

    /// The column of the second argument.
    pub fn second(&self) -> &ArrayRef {
        self.second.as_ref().expect("functions of pairs have a second argument")
    }

    /// The order column.
    pub fn order(&self) -> &ArrayRef {
        self.order.as_ref().expect("first_value and last_value have an order")
    }
}

/// Makes room for `slots` values, and gives back memory that is far too much for them.
pub fn fit<T>(values: &mut Vec<T>, slots: usize, empty: impl FnMut() -> T) {
    values.resize_with(slots, empty);
    if values.capacity() / 4 > slots.max(SLOTS_MIN) {
        values.shrink_to(slots.max(SLOTS_MIN));
    }
}

/// Gives back the memory of an empty vector that has held many values.
pub fn give_back<T>(values: &mut Vec<T>) {
    debug_assert!(values.is_empty());
    if values.capacity() / 4 > SLOTS_MIN {
        values.shrink_to(SLOTS_MIN);
    }
}

/// Bytes of memory of a vector.
pub fn vector<T>(values: &Vec<T>) -> usize {
    values.capacity() * size_of::<T>()
}

/// About how many bytes a tree of entries takes: its nodes are three quarters full.
pub fn tree(entries: usize, entry_bytes: usize) -> usize {
    entries * entry_bytes * 4 / 3
}

/// What two different groups have, the second to be changed.
pub fn two<T>(groups: &mut [T], from: Group, into: Group) -> (&T, &mut T) {
    let places = [from as usize, into as usize];
    let [from, into] = groups.get_disjoint_mut(places).expect("a group is merged into another one");
    (from, into)
}

/// An empty state for `aggregate`.
pub fn build(aggregate: &Aggregate, types: &Types, append_only: bool) -> Result<Box<dyn State>> {
    let value = types.value.clone().unwrap_or(DataType::Null);
    if !aggregate.counts_values(append_only) {
        return of_rows(aggregate, types, value, append_only);
    }
    if !canonical::supports(&value) {
        return Err(unsupported(aggregate, &value));
    }
    // What counts values is given each of them once, so that their number is the number of rows.
    let (inner, read): (Box<dyn State>, _) = match aggregate.function {
        AggregateFunction::Count | AggregateFunction::ApproxDistinct => (Box::new(Count::default()), None),
        _ => (of_rows(aggregate, types, value.clone(), false)?, Some(value)),
    };
    Ok(Box::new(Distinct::new(inner, read)))
}

fn of_rows(
    aggregate: &Aggregate,
    types: &Types,
    value: DataType,
    append_only: bool,
) -> Result<Box<dyn State>> {
    use AggregateFunction as F;
    let function = aggregate.function;
    let state: Box<dyn State> = match (function, &value) {
        (F::Count, _) => Box::new(Count::default()),
        (F::Sum, DataType::Int64) => Box::new(IntegerSum::sum()),
        (F::Avg, DataType::Int64) => Box::new(IntegerSum::average()),
        (F::Sum, DataType::Float64) => Box::new(DoubleSum::sum()),
        (F::Avg, DataType::Float64) => Box::new(DoubleSum::average()),
        (F::VarPop | F::VarSamp | F::StddevPop | F::StddevSamp, DataType::Float64) => {
            let population = matches!(function, F::VarPop | F::StddevPop);
            Box::new(Variance::new(population, matches!(function, F::StddevPop | F::StddevSamp)))
        }
        (F::OfPairs(function), DataType::Float64) => Box::new(Pairs::new(function)),
        (F::BoolAnd | F::BoolOr, DataType::Boolean) => Box::new(Booleans::new(function == F::BoolAnd)),
        (F::BitAnd, DataType::Int64) => Box::new(Bits::new(Join::And, append_only)),
        (F::BitOr, DataType::Int64) => Box::new(Bits::new(Join::Or, append_only)),
        (F::BitXor, DataType::Int64) => Box::new(Bits::new(Join::Xor, append_only)),
        (
            F::Median | F::PercentileCont | F::ApproxPercentileCont | F::SigmaClippedPercentile,
            DataType::Float64,
        ) => percentile(aggregate, append_only)?,
        (F::FirstRows, DataType::LargeBinary) => Box::new(first(aggregate, append_only)?),
        (_, other) if !canonical::supports(other) => return Err(unsupported(aggregate, other)),
        (F::ApproxDistinct, _) => Box::new(ApproxDistinct::default()),
        (F::StringAgg | F::ArrayAgg, _) => Box::new(listed(aggregate, value, append_only)?),
        (F::Min | F::Max, DataType::Utf8) if append_only => {
            Box::new(Extremum::<Text>::new(function == F::Max, value))
        }
        (F::Min | F::Max, fixed) if append_only && is_fixed(fixed) => {
            Box::new(Extremum::<Fixed>::new(function == F::Max, value))
        }
        (F::Min, _) if !append_only => Box::new(Multiset::new(Order::Value, Read::Least, value)),
        (F::Max, _) if !append_only => Box::new(Multiset::new(Order::Value, Read::Greatest, value)),
        (F::FirstValue, _) if !append_only => Box::new(Multiset::new(Order::Row, Read::Least, value)),
        (F::LastValue, _) if !append_only => Box::new(Multiset::new(Order::Row, Read::Greatest, value)),
        (F::FirstValue | F::LastValue, _) => {
            let order = types.order.clone();
            let order = order.ok_or_else(|| Error::internal(format!("{} has no order", aggregate.text)))?;
            pick(aggregate, order, value)?
        }
        (_, other) => return Err(unsupported(aggregate, other)),
    };
    Ok(state)
}

fn percentile(aggregate: &Aggregate, append_only: bool) -> Result<Box<dyn State>> {
    use AggregateFunction as F;
    Ok(match (aggregate.function, &aggregate.parameter) {
        (F::Median, _) => Box::new(Percentile::new(0.5)),
        (F::ApproxPercentileCont, Some(Parameter::Fraction(fraction))) if append_only => {
            Box::new(ApproxPercentile::new(*fraction))
        }
        (_, Some(Parameter::Fraction(fraction))) => Box::new(Percentile::new(*fraction)),
        (_, Some(Parameter::Clipped { fraction, sigmas })) => Box::new(Clipped::new(*fraction, *sigmas)),
        _ => return Err(Error::internal(format!("{} has no fraction", aggregate.text))),
    })
}

fn first(aggregate: &Aggregate, append_only: bool) -> Result<Multiset> {
    let Some(Parameter::First(first)) = aggregate.parameter else {
        return Err(Error::internal(format!("{} does not say how many rows count", aggregate.text)));
    };
    Ok(Multiset::new(Order::Bytes, Read::First { first, append_only }, DataType::LargeBinary))
}

fn listed(aggregate: &Aggregate, value: DataType, append_only: bool) -> Result<Multiset> {
    let list = match (aggregate.function, &aggregate.parameter) {
        (AggregateFunction::ArrayAgg, _) => {
            let json = aggregate.parameter == Some(Parameter::Json);
            List::Array { field: Arc::new(field("value", value.clone(), true, json)) }
        }
        (_, Some(Parameter::Separator(separator))) => List::Text { separator: separator.clone() },
        _ => return Err(Error::internal(format!("{} has no separator", aggregate.text))),
    };
    let order = match (aggregate.distinct, append_only) {
        (true, _) => Order::Value,
        (false, true) => Order::Origin,
        (false, false) => Order::Row,
    };
    Ok(Multiset::new(order, Read::All(list), value))
}

fn pick(aggregate: &Aggregate, order: DataType, value: DataType) -> Result<Box<dyn State>> {
    match &order {
        DataType::Utf8 => pick_by::<Text>(aggregate, order, value),
        DataType::Binary => pick_by::<Packed>(aggregate, order, value),
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

//! Accumulable aggregates: count, sum and avg. Rows that are taken back are subtracted, so the same code
//! serves append-only and updating input.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, Decimal128Array, Float64Array, Float64Builder, Int64Array,
    Int64Builder,
};
use arrow::datatypes::{DataType, Decimal128Type, Field, Float64Type, Int64Type};

use crate::error::{Error, Result};
use crate::transform::aggregate::exact::Exact;
use crate::transform::aggregate::groups::Group;
use crate::transform::aggregate::state::{Arguments, Rows, State, fit, two, vector};
use crate::transform::aggregate::ties::Ties;

/// count(*) and count(x): the selection holds the rows in which x is not NULL.
#[derive(Default)]
pub struct Count {
    counts: Vec<i64>,
}

impl State for Count {
    fn resize(&mut self, slots: usize) {
        fit(&mut self.counts, slots, || 0);
    }

    fn bytes(&self) -> usize {
        vector(&self.counts)
    }

    fn update(&mut self, rows: &Rows<'_>, arguments: &Arguments) {
        arguments.each(rows.groups, |row, group| self.counts[group] += rows.diff(row));
    }

    fn clear(&mut self, group: Group) {
        self.counts[group as usize] = 0;
    }

    fn merge(&mut self, from: Group, into: Group, _: &Ties) {
        self.counts[into as usize] += self.counts[from as usize];
    }

    fn evaluate(&self, groups: &[Group], _: &mut Vec<(usize, String)>) -> ArrayRef {
        Arc::new(saved_counts(&self.counts, groups))
    }

    fn fields(&self) -> Vec<Field> {
        vec![Field::new("count", DataType::Int64, true)]
    }

    fn save(&self, groups: &[Group], _: &Ties) -> Vec<ArrayRef> {
        vec![Arc::new(saved_counts(&self.counts, groups))]
    }

    fn load(&mut self, groups: &[Group], columns: &[ArrayRef], _: &mut Ties) -> Result<()> {
        load_counts(&mut self.counts, groups, &columns[0]);
        Ok(())
    }
}

/// The counts of `groups` as a column of a snapshot.
pub fn saved_counts(counts: &[i64], groups: &[Group]) -> Int64Array {
    Int64Array::from_iter_values(groups.iter().map(|group| counts[*group as usize]))
}

/// Puts saved counts back.
pub fn load_counts(counts: &mut [i64], groups: &[Group], column: &ArrayRef) {
    for (group, count) in groups.iter().zip(column.as_primitive::<Int64Type>().values()) {
        counts[*group as usize] = *count;
    }
}

/// sum and avg of BIGINT: in 128 bits inside, checked when read.
pub struct IntegerSum {
    average: bool,
    sums: Vec<i128>,
    /// Rows in which the value is not NULL.
    counts: Vec<i64>,
}

impl IntegerSum {
    /// An empty `sum`.
    pub fn sum() -> Self {
        IntegerSum { average: false, sums: Vec::new(), counts: Vec::new() }
    }

    /// An empty `avg`.
    pub fn average() -> Self {
        IntegerSum { average: true, ..IntegerSum::sum() }
    }

    fn averages(&self, groups: &[Group]) -> ArrayRef {
        let averages = groups.iter().map(|group| {
            let (sum, count) = (self.sums[*group as usize], self.counts[*group as usize]);
            (count != 0).then(|| sum as f64 / count as f64)
        });
        Arc::new(averages.collect::<Float64Array>())
    }
}

impl State for IntegerSum {
    fn resize(&mut self, slots: usize) {
        fit(&mut self.sums, slots, || 0);
        fit(&mut self.counts, slots, || 0);
    }

    fn bytes(&self) -> usize {
        vector(&self.sums) + vector(&self.counts)
    }

    fn update(&mut self, rows: &Rows<'_>, arguments: &Arguments) {
        let values = arguments.value().as_primitive::<Int64Type>().values();
        arguments.each(rows.groups, |row, group| {
            let diff = rows.diff(row);
            self.sums[group] += i128::from(values[row]) * i128::from(diff);
            self.counts[group] += diff;
        });
    }

    fn clear(&mut self, group: Group) {
        self.sums[group as usize] = 0;
        self.counts[group as usize] = 0;
    }

    fn merge(&mut self, from: Group, into: Group, _: &Ties) {
        self.sums[into as usize] += self.sums[from as usize];
        self.counts[into as usize] += self.counts[from as usize];
    }

    fn evaluate(&self, groups: &[Group], errors: &mut Vec<(usize, String)>) -> ArrayRef {
        if self.average {
            return self.averages(groups);
        }
        let mut sums = Int64Builder::with_capacity(groups.len());
        for (place, group) in groups.iter().enumerate() {
            let sum = self.sums[*group as usize];
            match i64::try_from(sum) {
                Ok(sum) if self.counts[*group as usize] != 0 => sums.append_value(sum),
                Ok(_) => sums.append_null(),
                Err(_) => {
                    errors.push((place, format!("the sum {sum} does not fit into BIGINT")));
                    sums.append_null();
                }
            }
        }
        Arc::new(sums.finish())
    }

    fn fields(&self) -> Vec<Field> {
        let sum = Field::new("sum", DataType::Decimal128(38, 0), true);
        vec![sum, Field::new("count", DataType::Int64, true)]
    }

    fn save(&self, groups: &[Group], _: &Ties) -> Vec<ArrayRef> {
        let sums = groups.iter().map(|group| self.sums[*group as usize]);
        let sums = Decimal128Array::from_iter_values(sums).with_data_type(DataType::Decimal128(38, 0));
        vec![Arc::new(sums), Arc::new(saved_counts(&self.counts, groups))]
    }

    fn load(&mut self, groups: &[Group], columns: &[ArrayRef], _: &mut Ties) -> Result<()> {
        for (group, sum) in groups.iter().zip(columns[0].as_primitive::<Decimal128Type>().values()) {
            self.sums[*group as usize] = *sum;
        }
        load_counts(&mut self.counts, groups, &columns[1]);
        Ok(())
    }
}

/// sum and avg of DOUBLE: exact inside, rounded once when read.
pub struct DoubleSum {
    average: bool,
    sums: Vec<Exact>,
    /// Rows in which the value is not NULL.
    counts: Vec<i64>,
}

impl DoubleSum {
    /// An empty `sum`.
    pub fn sum() -> Self {
        DoubleSum { average: false, sums: Vec::new(), counts: Vec::new() }
    }

    /// An empty `avg`.
    pub fn average() -> Self {
        DoubleSum { average: true, ..DoubleSum::sum() }
    }
}

impl State for DoubleSum {
    fn resize(&mut self, slots: usize) {
        fit(&mut self.sums, slots, Exact::default);
        fit(&mut self.counts, slots, || 0);
    }

    fn bytes(&self) -> usize {
        vector(&self.sums) + vector(&self.counts)
    }

    fn bytes_of(&self, group: Group) -> usize {
        self.sums[group as usize].bytes()
    }

    fn update(&mut self, rows: &Rows<'_>, arguments: &Arguments) {
        let values = arguments.value().as_primitive::<Float64Type>().values();
        arguments.each(rows.groups, |row, group| {
            let diff = rows.diff(row);
            self.sums[group].add(values[row], diff);
            self.counts[group] += diff;
        });
    }

    fn clear(&mut self, group: Group) {
        self.sums[group as usize] = Exact::default();
        self.counts[group as usize] = 0;
    }

    fn merge(&mut self, from: Group, into: Group, _: &Ties) {
        let (sum, whole) = two(&mut self.sums, from, into);
        whole.merge(sum);
        self.counts[into as usize] += self.counts[from as usize];
    }

    fn evaluate(&self, groups: &[Group], _: &mut Vec<(usize, String)>) -> ArrayRef {
        let mut values = Float64Builder::with_capacity(groups.len());
        for group in groups {
            let (sum, count) = (&self.sums[*group as usize], self.counts[*group as usize]);
            match count {
                0 => values.append_null(),
                _ if self.average => values.append_value(sum.value() / count as f64),
                _ => values.append_value(sum.value()),
            }
        }
        Arc::new(values.finish())
    }

    fn fields(&self) -> Vec<Field> {
        vec![Field::new("sum", DataType::Binary, true), Field::new("count", DataType::Int64, true)]
    }

    fn save(&self, groups: &[Group], _: &Ties) -> Vec<ArrayRef> {
        let sums = groups.iter().map(|group| self.sums[*group as usize].save());
        vec![Arc::new(BinaryArray::from_iter_values(sums)), Arc::new(saved_counts(&self.counts, groups))]
    }

    fn load(&mut self, groups: &[Group], columns: &[ArrayRef], _: &mut Ties) -> Result<()> {
        let sums = columns[0].as_binary::<i32>();
        for (row, group) in groups.iter().enumerate() {
            let sum = Exact::load(sums.value(row)).filter(|_| sums.is_valid(row));
            self.sums[*group as usize] = sum.ok_or_else(|| Error::internal("broken state of a sum"))?;
        }
        load_counts(&mut self.counts, groups, &columns[1]);
        Ok(())
    }
}

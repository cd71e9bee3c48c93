//! median and percentile_cont: all values of a group in order, with a cursor at the wanted place.
//!
//! A row moves the wanted place by one value at most, so following it costs a step or two; a result is read
//! where the cursor stands.

use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Included, Unbounded};
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Float64Array, LargeBinaryArray};
use arrow::datatypes::{DataType, Field};

use crate::error::{Error, Result};
use crate::transform::aggregate::bytes::read_count;
use crate::transform::aggregate::groups::Group;
use crate::transform::aggregate::state::{Arguments, Rows, State, two};
use crate::transform::aggregate::ties::Ties;
use crate::transform::aggregate::values::{Fixed, Values, fixed_to_float};

/// The value at a fraction of the values of each group; NULLs are not selected.
pub struct Percentile {
    fraction: f64,
    groups: Vec<Ranked>,
}

/// The values of a group as [`Fixed`] has them, with how often each is there.
#[derive(Clone, Debug, Default)]
struct Ranked {
    values: BTreeMap<i64, i64>,
    total: i64,
    cursor: Cursor,
}

/// A place in the order: the value there, and how many rows have a lesser one.
#[derive(Clone, Copy, Debug, Default)]
struct Cursor {
    value: i64,
    before: i64,
}

impl Percentile {
    /// Without values; `fraction` is from 0 to 1.
    pub fn new(fraction: f64) -> Self {
        Percentile { fraction, groups: Vec::new() }
    }
}

impl Ranked {
    fn add(&mut self, value: i64, diff: i64) {
        let count = self.values.entry(value).or_default();
        *count += diff;
        if *count == 0 {
            self.values.remove(&value);
        }
        self.total += diff;
        if value < self.cursor.value {
            self.cursor.before += diff;
        }
    }

    /// Takes in all values of another group, the fewer of the two one by one.
    fn merge(&mut self, other: &Ranked, fraction: f64) {
        let mut own = None;
        if other.values.len() > self.values.len() {
            own = Some(std::mem::replace(self, other.clone()));
        }
        let fewer = own.as_ref().unwrap_or(other);
        fewer.values.iter().for_each(|(value, count)| self.add(*value, *count));
        self.settle(fraction);
    }

    /// The cursor at the row with this rank, from 0. Inside an epoch counts may be below zero and the place is
    /// only somewhere near; the next call corrects it.
    fn seek(&self, rank: i64) -> Cursor {
        let mut cursor = self.cursor;
        let mut lesser = self.values.range((Unbounded, Excluded(cursor.value))).rev();
        while rank < cursor.before {
            let Some((value, count)) = lesser.next() else { break };
            cursor = Cursor { value: *value, before: cursor.before - count };
        }
        let mut rest = self.values.range((Included(cursor.value), Unbounded)).peekable();
        while let Some((value, count)) = rest.next() {
            cursor.value = *value;
            if rank < cursor.before + count || rest.peek().is_none() {
                break;
            }
            cursor.before += count;
        }
        cursor
    }

    /// The rank below the wanted place, and how far it is to the next one.
    fn place(&self, fraction: f64) -> (i64, f64) {
        let place = fraction * (self.total - 1) as f64;
        (place.floor() as i64, place - place.floor())
    }

    fn settle(&mut self, fraction: f64) {
        if self.total > 0 {
            self.cursor = self.seek(self.place(fraction).0);
        }
    }

    fn result(&self, fraction: f64) -> Option<f64> {
        if self.total <= 0 {
            return None;
        }
        let (rank, share) = self.place(fraction);
        let Cursor { value, before } = self.seek(rank);
        let low = fixed_to_float(value);
        let last = self.values.get(&value).is_some_and(|count| rank + 1 >= before + count);
        let next = self.values.range((Excluded(value), Unbounded)).next().filter(|_| last);
        match next.map(|(next, _)| fixed_to_float(*next)) {
            Some(high) if share > 0.0 => Some(low * (1.0 - share) + high * share),
            _ => Some(low),
        }
    }
}

impl State for Percentile {
    fn resize(&mut self, slots: usize) {
        self.groups.resize(slots, Ranked::default());
    }

    fn update(&mut self, rows: &Rows<'_>, arguments: &Arguments) {
        let values = Fixed::of(arguments.value());
        arguments.each(rows.groups, |row, group| self.groups[group].add(values.get(row), rows.diff(row)));
        arguments.each(rows.groups, |_, group| self.groups[group].settle(self.fraction));
    }

    fn clear(&mut self, group: Group) {
        self.groups[group as usize] = Ranked::default();
    }

    fn merge(&mut self, from: Group, into: Group, _: &Ties) {
        let (ranked, whole) = two(&mut self.groups, from, into);
        whole.merge(ranked, self.fraction);
    }

    fn evaluate(&self, groups: &[Group], _: &mut Vec<(usize, String)>) -> ArrayRef {
        let results = groups.iter().map(|group| self.groups[*group as usize].result(self.fraction));
        Arc::new(results.collect::<Float64Array>())
    }

    fn fields(&self) -> Vec<Field> {
        vec![Field::new("values", DataType::LargeBinary, true)]
    }

    fn save(&self, groups: &[Group], _: &Ties) -> Vec<ArrayRef> {
        let saved = groups.iter().map(|group| {
            let values = self.groups[*group as usize].values.iter();
            values
                .flat_map(|(value, count)| [value.to_le_bytes(), count.to_le_bytes()].concat())
                .collect::<Vec<u8>>()
        });
        vec![Arc::new(LargeBinaryArray::from_iter_values(saved))]
    }

    fn load(&mut self, groups: &[Group], columns: &[ArrayRef], _: &mut Ties) -> Result<()> {
        let saved = columns[0].as_binary::<i64>();
        for (row, group) in groups.iter().enumerate() {
            let mut bytes = saved.value(row);
            let ranked = &mut self.groups[*group as usize];
            while !bytes.is_empty() {
                let entry = read_count(&mut bytes).zip(read_count(&mut bytes));
                let (value, count) = entry.ok_or_else(|| Error::internal("broken state of a percentile"))?;
                ranked.add(value, count);
            }
            ranked.settle(self.fraction);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng};
    use rand_pcg::Pcg64Mcg;

    use super::*;

    #[test]
    fn the_cursor_finds_what_sorting_finds() {
        for seed in 0..20 {
            let random = &mut Pcg64Mcg::seed_from_u64(seed);
            let fraction = [0.0, 0.25, 0.5, 0.99, 1.0][random.random_range(0..5)];
            let (mut ranked, mut all) = (Ranked::default(), Vec::new());
            let span = [3, 50, 100_000][random.random_range(0..3)];
            for step in 0..1_500 {
                for _ in 0..random.random_range(1..4) {
                    // Grows first, then shrinks to nothing.
                    let back = random.random_bool(if step < 700 { 0.3 } else { 0.8 });
                    if back && !all.is_empty() {
                        ranked.add(all.swap_remove(random.random_range(0..all.len())), -1);
                    } else if !back {
                        all.push(random.random_range(-span..span));
                        ranked.add(all[all.len() - 1], 1);
                    }
                }
                ranked.settle(fraction);
                all.sort_unstable();
                let rank = ((all.len().max(1) - 1) as f64 * fraction).floor() as usize;
                let found = (ranked.total > 0).then(|| ranked.seek(ranked.place(fraction).0).value);
                assert_eq!(found, all.get(rank).copied(), "seed {seed}, step {step}, fraction {fraction}");
            }
        }
    }
}

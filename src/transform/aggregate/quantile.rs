//! approx_percentile_cont over append-only input: the value at a fraction, in a bounded memory per group.
//!
//! Up to 256 distinct values are counted one by one, so that the result is exact. From then on values that have the
//! sign, the exponent and the first 7 bits of the mantissa in common are counted together: a bucket stands for its
//! middle, which is at most 2^-8 = 0.4 % away from any of its values. Where the values of a group fill more than
//! 4096 buckets, which takes values over more than nine orders of magnitude, a bit less is looked at, and the
//! distance doubles.
//!
//! How many bits are looked at depends on the number of buckets that all values fill, and that only grows. So the
//! state depends on the values alone, not on their order, and two of them can be merged: no part of it is chosen
//! by what came first, as the centroids of a t-digest are.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Float64Array, LargeBinaryArray};
use arrow::datatypes::{DataType, Field};

use crate::error::{Error, Result};
use crate::transform::aggregate::bytes::read_count;
use crate::transform::aggregate::groups::Group;
use crate::transform::aggregate::state::{Arguments, Rows, State, fit, two, vector};
use crate::transform::aggregate::ties::Ties;
use crate::transform::aggregate::values::{Fixed, Values, fixed_to_float};

/// By level how many bits of a value are not looked at, and how many buckets there may be. The last level has no
/// more than 8192 buckets for all doubles, and is never left.
const LEVELS: [(u32, usize); 8] =
    [(0, 256), (45, 4096), (46, 4096), (47, 4096), (48, 4096), (49, 4096), (50, 4096), (51, usize::MAX)];

/// About the value at a fraction of the values of each group; NULLs are not selected.
pub struct ApproxPercentile {
    fraction: f64,
    groups: Vec<Buckets>,
}

/// The values of a group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Buckets {
    level: u8,
    /// Bits of the values, as [`Fixed`] has them, and how many rows have them; in order.
    counts: Vec<(i64, i64)>,
}

impl ApproxPercentile {
    /// Without values; `fraction` is from 0 to 1.
    pub fn new(fraction: f64) -> Self {
        ApproxPercentile { fraction, groups: Vec::new() }
    }
}

impl Buckets {
    fn shift(&self) -> u32 {
        LEVELS[usize::from(self.level)].0
    }

    fn add(&mut self, value: i64, count: i64) {
        let bucket = value >> self.shift();
        match self.counts.binary_search_by_key(&bucket, |(bucket, _)| *bucket) {
            Ok(place) => self.counts[place].1 += count,
            Err(place) => {
                self.counts.insert(place, (bucket, count));
                self.narrow();
            }
        }
    }

    /// Looks at fewer bits until there are not too many buckets.
    fn narrow(&mut self) {
        while self.counts.len() > LEVELS[usize::from(self.level)].1 {
            self.descend(self.level + 1);
        }
    }

    fn descend(&mut self, level: u8) {
        let before = self.shift();
        self.level = level;
        let bits = self.shift() - before;
        self.counts.iter_mut().for_each(|(bucket, _)| *bucket >>= bits);
        // Shifting leaves them in order.
        self.counts.dedup_by(|(bucket, count), (kept, total)| {
            let same = bucket == kept;
            *total += if same { *count } else { 0 };
            same
        });
    }

    /// The values of both.
    fn merge(&mut self, other: &Buckets) {
        if self.level < other.level {
            self.descend(other.level);
        }
        let bits = self.shift() - other.shift();
        let mut counts: Vec<(i64, i64)> = Vec::with_capacity(self.counts.len().max(other.counts.len()));
        let mut own = std::mem::take(&mut self.counts).into_iter().peekable();
        let mut others = other.counts.iter().map(|(bucket, count)| (bucket >> bits, *count)).peekable();
        loop {
            let first = match (own.peek(), others.peek()) {
                (Some((left, _)), Some((right, _))) => left.cmp(right),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (None, None) => break,
            };
            let next = if first == Ordering::Greater { others.next() } else { own.next() };
            let Some((bucket, count)) = next else { break };
            match counts.last_mut().filter(|(last, _)| *last == bucket) {
                Some((_, total)) => *total += count,
                None => counts.push((bucket, count)),
            }
        }
        self.counts = counts;
        self.narrow();
    }

    /// The value at a fraction, between two buckets in proportion.
    fn at(&self, fraction: f64) -> Option<f64> {
        let rows: i64 = self.counts.iter().map(|(_, count)| count).sum();
        if rows == 0 {
            return None;
        }
        let place = fraction * (rows - 1) as f64;
        let (rank, share) = (place.floor() as i64, place - place.floor());
        let mut before = 0;
        let mut buckets = self.counts.iter().map(|(bucket, count)| {
            before += count;
            (*bucket, before)
        });
        let (bucket, end) = buckets.find(|(_, end)| rank < *end)?;
        let low = middle(bucket, self.shift());
        let next = buckets.next().filter(|_| rank + 1 == end && share > 0.0);
        Some(next.map_or(low, |(next, _)| low * (1.0 - share) + middle(next, self.shift()) * share))
    }

    fn save(&self) -> Vec<u8> {
        let counts = self.counts.iter().flat_map(|(bucket, count)| [*bucket, *count]);
        [i64::from(self.level)].into_iter().chain(counts).flat_map(i64::to_le_bytes).collect()
    }

    /// What [`save`](Self::save) gave; `None` if it gave no such bytes.
    fn load(mut bytes: &[u8]) -> Option<Buckets> {
        let level =
            u8::try_from(read_count(&mut bytes)?).ok().filter(|it| usize::from(*it) < LEVELS.len())?;
        let mut counts = Vec::with_capacity(bytes.len() / 16);
        while !bytes.is_empty() {
            counts.push(read_count(&mut bytes).zip(read_count(&mut bytes))?);
        }
        counts.is_sorted_by(|left, right| left.0 < right.0).then_some(Buckets { level, counts })
    }
}

/// What stands for the values of a bucket, of which `shift` bits were not looked at. Infinities and NaN have buckets
/// of their own, which stand for themselves; zero has one with what is below 2^-1022.
fn middle(bucket: i64, shift: u32) -> f64 {
    if shift == 0 {
        return fixed_to_float(bucket);
    }
    if bucket < 0 {
        return -middle(-bucket - 1, shift);
    }
    let least = f64::from_bits((bucket as u64) << shift);
    if bucket == 0 || !least.is_finite() {
        return least;
    }
    f64::from_bits(least.to_bits() + (1 << (shift - 1)))
}

impl State for ApproxPercentile {
    fn resize(&mut self, slots: usize) {
        fit(&mut self.groups, slots, Buckets::default);
    }

    fn bytes(&self) -> usize {
        vector(&self.groups)
    }

    fn bytes_of(&self, group: Group) -> usize {
        vector(&self.groups[group as usize].counts)
    }

    fn update(&mut self, rows: &Rows<'_>, arguments: &Arguments) {
        let values = Fixed::of(arguments.value());
        arguments.each(rows.groups, |row, group| self.groups[group].add(values.get(row), rows.diff(row)));
    }

    fn clear(&mut self, group: Group) {
        self.groups[group as usize] = Buckets::default();
    }

    fn merge(&mut self, from: Group, into: Group, _: &Ties) {
        let (more, whole) = two(&mut self.groups, from, into);
        whole.merge(more);
    }

    fn evaluate(&self, groups: &[Group], _: &mut Vec<(usize, String)>) -> ArrayRef {
        let results = groups.iter().map(|group| self.groups[*group as usize].at(self.fraction));
        Arc::new(results.collect::<Float64Array>())
    }

    fn fields(&self) -> Vec<Field> {
        vec![Field::new("buckets", DataType::LargeBinary, true)]
    }

    fn save(&self, groups: &[Group], _: &Ties) -> Vec<ArrayRef> {
        let saved = groups.iter().map(|group| self.groups[*group as usize].save());
        vec![Arc::new(LargeBinaryArray::from_iter_values(saved))]
    }

    fn load(&mut self, groups: &[Group], columns: &[ArrayRef], _: &mut Ties) -> Result<()> {
        let column = columns[0].as_binary::<i64>();
        for (row, group) in groups.iter().enumerate() {
            let buckets = Buckets::load(column.value(row));
            self.groups[*group as usize] =
                buckets.ok_or_else(|| Error::internal("broken state of approx_percentile_cont"))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;

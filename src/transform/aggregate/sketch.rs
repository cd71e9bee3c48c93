//! approx_distinct over append-only input: about how many values there are, in a bounded memory per group.
//!
//! A value stands for the xxh3 of its canonical bytes. Up to 256 hashes are kept as they are, so that small
//! counts are exact and small groups take little memory; from then on a HyperLogLog of 4096 registers takes
//! their place, whose standard error is 1.04 / sqrt(4096) = 1.6 %. Both depend on the set of values alone,
//! not on their order, and two of them can be merged.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, Int64Array};
use arrow::datatypes::{DataType, Field};
use xxhash_rust::xxh3::xxh3_64;

use crate::canonical::CanonicalRows;
use crate::error::{Error, Result};
use crate::transform::aggregate::groups::Group;
use crate::transform::aggregate::state::{Arguments, Rows, State, fit, two, vector};
use crate::transform::aggregate::ties::Ties;

/// Bits of a hash that choose the register.
const INDEX_BITS: u32 = 12;
const REGISTERS: usize = 1 << INDEX_BITS;
/// Bits of a hash of which the leading zeros are counted.
const REST_BITS: u32 = u64::BITS - INDEX_BITS;
const HASHES_MAX: usize = 256;

/// About how many distinct values each group has; NULLs are not selected.
#[derive(Default)]
pub struct ApproxDistinct {
    groups: Vec<Sketch>,
    /// Memory of the last batch.
    values: CanonicalRows,
}

/// The values of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Sketch {
    /// Sorted, without repetition.
    Hashes(Vec<u64>),
    /// The most zeros before the first one, plus one, of the hashes of each register.
    Registers(Box<[u8; REGISTERS]>),
}

impl Default for Sketch {
    fn default() -> Self {
        Sketch::Hashes(Vec::new())
    }
}

impl Sketch {
    fn add(&mut self, hash: u64) {
        match self {
            Sketch::Registers(registers) => note(registers, hash),
            Sketch::Hashes(hashes) => {
                let Err(place) = hashes.binary_search(&hash) else { return };
                if hashes.len() < HASHES_MAX {
                    hashes.insert(place, hash);
                    return;
                }
                let mut registers = Box::new([0; REGISTERS]);
                hashes.iter().chain([&hash]).for_each(|hash| note(&mut registers, *hash));
                *self = Sketch::Registers(registers);
            }
        }
    }

    /// The values of both.
    fn merge(&mut self, other: &Sketch) {
        match (&mut *self, other) {
            (Sketch::Registers(own), Sketch::Hashes(hashes)) => {
                hashes.iter().for_each(|hash| note(own, *hash));
            }
            (Sketch::Hashes(own), Sketch::Hashes(more)) => *self = joined(own, more),
            (Sketch::Registers(own), Sketch::Registers(more)) => {
                own.iter_mut().zip(more.iter()).for_each(|(own, more)| *own = (*own).max(*more));
            }
            (Sketch::Hashes(hashes), Sketch::Registers(more)) => {
                let mut registers = more.clone();
                hashes.iter().for_each(|hash| note(&mut registers, *hash));
                *self = Sketch::Registers(registers);
            }
        }
    }

    fn count(&self) -> i64 {
        match self {
            Sketch::Hashes(hashes) => hashes.len() as i64,
            Sketch::Registers(registers) => estimate(registers),
        }
    }

    fn save(&self) -> Vec<u8> {
        match self {
            Sketch::Hashes(hashes) => hashes.iter().flat_map(|hash| hash.to_le_bytes()).collect(),
            Sketch::Registers(registers) => registers.to_vec(),
        }
    }

    /// What [`save`](Self::save) gave; `None` if it gave no such bytes.
    fn load(bytes: &[u8]) -> Option<Sketch> {
        if let Ok(registers) = <[u8; REGISTERS]>::try_from(bytes) {
            return Some(Sketch::Registers(Box::new(registers)));
        }
        if bytes.len() > HASHES_MAX * 8 || !bytes.len().is_multiple_of(8) {
            return None;
        }
        let words = bytes.chunks_exact(8).map(|word| word.try_into().unwrap_or_default());
        Some(Sketch::Hashes(words.map(u64::from_le_bytes).collect()))
    }
}

/// The values of two sorted lists.
fn joined(left: &[u64], right: &[u64]) -> Sketch {
    let mut hashes = Vec::with_capacity(left.len() + right.len());
    let (mut left, mut right) = (left.iter().peekable(), right.iter().peekable());
    loop {
        let next = match (left.peek(), right.peek()) {
            (Some(a), Some(b)) if a == b => {
                left.next();
                right.next()
            }
            (Some(a), Some(b)) if a > b => right.next(),
            (Some(_), _) => left.next(),
            (None, _) => right.next(),
        };
        let Some(hash) = next else { break };
        hashes.push(*hash);
    }
    if hashes.len() <= HASHES_MAX {
        return Sketch::Hashes(hashes);
    }
    let mut registers = Box::new([0; REGISTERS]);
    hashes.iter().for_each(|hash| note(&mut registers, *hash));
    Sketch::Registers(registers)
}

fn note(registers: &mut [u8; REGISTERS], hash: u64) {
    let zeros = (hash << INDEX_BITS).leading_zeros().min(REST_BITS);
    let register = &mut registers[(hash >> REST_BITS) as usize];
    *register = (*register).max(zeros as u8 + 1);
}

/// The improved estimator of O. Ertl, "New cardinality estimation algorithms for HyperLogLog sketches": it
/// needs neither tables nor thresholds and has no bias at small counts.
fn estimate(registers: &[u8; REGISTERS]) -> i64 {
    let mut counts = [0u32; REST_BITS as usize + 2];
    registers.iter().for_each(|register| counts[usize::from(*register).min(REST_BITS as usize + 1)] += 1);
    let size = REGISTERS as f64;
    let mut sum = size * tau(1.0 - f64::from(counts[REST_BITS as usize + 1]) / size);
    for count in counts[1..=REST_BITS as usize].iter().rev() {
        sum = 0.5 * (sum + f64::from(*count));
    }
    sum += size * sigma(f64::from(counts[0]) / size);
    (size * size / (2.0 * std::f64::consts::LN_2 * sum)).round() as i64
}

fn sigma(x: f64) -> f64 {
    if x == 1.0 {
        return f64::INFINITY;
    }
    let (mut x, mut y, mut sum) = (x, 1.0, x);
    loop {
        x *= x;
        let next = sum + x * y;
        if next == sum {
            return sum;
        }
        (sum, y) = (next, y + y);
    }
}

fn tau(x: f64) -> f64 {
    if x == 0.0 || x == 1.0 {
        return 0.0;
    }
    let (mut x, mut y, mut sum) = (x, 1.0, 1.0 - x);
    loop {
        x = x.sqrt();
        y *= 0.5;
        let next = sum - (1.0 - x) * (1.0 - x) * y;
        if next == sum {
            return sum / 3.0;
        }
        sum = next;
    }
}

impl State for ApproxDistinct {
    fn resize(&mut self, slots: usize) {
        fit(&mut self.groups, slots, Sketch::default);
    }

    fn bytes(&self) -> usize {
        vector(&self.groups)
    }

    fn bytes_of(&self, group: Group) -> usize {
        match &self.groups[group as usize] {
            Sketch::Hashes(hashes) => vector(hashes),
            Sketch::Registers(registers) => registers.len(),
        }
    }

    fn update(&mut self, rows: &Rows<'_>, arguments: &Arguments) {
        let ApproxDistinct { groups, values } = self;
        values.encode(std::slice::from_ref(arguments.value()), rows.groups.len());
        arguments.each(rows.groups, |row, group| groups[group].add(xxh3_64(values.row(row))));
    }

    fn clear(&mut self, group: Group) {
        self.groups[group as usize] = Sketch::default();
    }

    fn merge(&mut self, from: Group, into: Group, _: &Ties) {
        let (sketch, whole) = two(&mut self.groups, from, into);
        whole.merge(sketch);
    }

    fn evaluate(&self, groups: &[Group], _: &mut Vec<(usize, String)>) -> ArrayRef {
        let counts = groups.iter().map(|group| self.groups[*group as usize].count());
        Arc::new(Int64Array::from_iter_values(counts))
    }

    fn fields(&self) -> Vec<Field> {
        vec![Field::new("sketch", DataType::Binary, true)]
    }

    fn save(&self, groups: &[Group], _: &Ties) -> Vec<ArrayRef> {
        let sketches = groups.iter().map(|group| self.groups[*group as usize].save());
        vec![Arc::new(BinaryArray::from_iter_values(sketches))]
    }

    fn load(&mut self, groups: &[Group], columns: &[ArrayRef], _: &mut Ties) -> Result<()> {
        let saved = columns[0].as_binary::<i32>();
        for (row, group) in groups.iter().enumerate() {
            let sketch = Sketch::load(saved.value(row)).filter(|_| saved.is_valid(row));
            let sketch = sketch.ok_or_else(|| Error::internal("broken state of approx_distinct"))?;
            self.groups[*group as usize].merge(&sketch);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sketch(values: impl Iterator<Item = u64>) -> Sketch {
        let mut sketch = Sketch::default();
        values.for_each(|value| sketch.add(xxh3_64(&value.to_be_bytes())));
        sketch
    }

    #[test]
    fn counts_are_exact_up_to_256_and_then_within_five_standard_errors() {
        for count in [0, 1, 2, 100, 256] {
            assert_eq!(sketch(0..count).count(), count as i64);
        }
        for count in [257, 300, 1_000, 5_000, 10_000, 20_000, 100_000, 1_000_000] {
            for start in [0, 1 << 40, 1 << 50] {
                let found = sketch(start..start + count).count() as f64;
                let error = (found - count as f64).abs() / count as f64;
                assert!(error < 5.0 * 1.04 / 64.0, "{found} instead of {count}");
            }
        }
    }

    #[test]
    fn the_mean_error_is_the_stated_one() {
        for count in [1_000u64, 4_096, 12_000, 50_000] {
            let errors = (0..60).map(|seed| {
                let found = sketch((0..count).map(|value| value + seed * 1_000_003)).count() as f64;
                (found - count as f64) / count as f64
            });
            let errors: Vec<f64> = errors.collect();
            let square = errors.iter().map(|error| error * error).sum::<f64>() / errors.len() as f64;
            assert!(square.sqrt() < 0.0163 * 1.3, "{count}: standard error {}", square.sqrt());
            let mean = errors.iter().sum::<f64>() / errors.len() as f64;
            assert!(mean.abs() < 0.008, "{count}: bias {mean}");
        }
    }

    #[test]
    fn order_repetition_and_merging_change_nothing() {
        for count in [10, 200, 256, 257, 3_000] {
            let whole = sketch(0..count);
            assert_eq!(sketch((0..count).rev().chain(0..count)), whole);
            for cut in [0, 1, count / 2, count - 1] {
                let mut merged = sketch(0..cut);
                merged.merge(&sketch(cut / 2..count));
                assert_eq!(merged, whole, "{count} cut at {cut}");
            }
            assert_eq!(Sketch::load(&whole.save()), Some(whole));
        }
        assert_eq!(Sketch::load(&[1; 7]), None);
    }
}

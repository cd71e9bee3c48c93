//! var_pop, var_samp, stddev_pop and stddev_samp of DOUBLE.
//!
//! The sums of x and of x² are kept exactly, so the result depends on the values alone, not on their order,
//! and rows can be taken back. A square is two doubles without error as long as x is neither huge nor tiny;
//! beyond that, it is an integer of as many bits as it needs.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, Float64Array};
use arrow::datatypes::{DataType, Field, Float64Type};
use num_bigint::{BigInt, Sign};

use crate::error::{Error, Result};
use crate::transform::aggregate::accumulate::{load_counts, saved_counts};
use crate::transform::aggregate::exact::{Exact, LEAST_EXPONENT, integer};
use crate::transform::aggregate::groups::Group;
use crate::transform::aggregate::rational::quotient;
use crate::transform::aggregate::state::{Arguments, Rows, State, fit, two, vector};
use crate::transform::aggregate::ties::Ties;

/// Between these, 5e-76 and 2e135, products of values, of means and of sums of any number of values have no
/// error beyond what two doubles hold.
const LEAST: f64 = f64::from_bits((1023 - 250) << 52);
const GREATEST: f64 = f64::from_bits((1023 + 450) << 52);

/// How far the values of each group are apart; NULLs are not selected.
pub struct Variance {
    /// Whether the values are all there are, or a sample.
    population: bool,
    /// Whether the result is the standard deviation.
    root: bool,
    counts: Vec<i64>,
    moments: Vec<Moments>,
}

/// The sums of some values and of their squares.
#[derive(Clone, Debug, Default)]
pub struct Moments {
    sum: Exact,
    /// Of the values between [`LEAST`] and [`GREATEST`], and of zeros.
    squares: Exact,
    /// Of the others, in units of the square of the least double; `None` if there are none.
    extremes: Option<Box<BigInt>>,
}

impl Variance {
    /// Without values.
    pub fn new(population: bool, root: bool) -> Self {
        Variance { population, root, counts: Vec::new(), moments: Vec::new() }
    }

    fn result(&self, group: Group) -> Option<f64> {
        let (count, moments) = (self.counts[group as usize], &self.moments[group as usize]);
        let divisor = if self.population { count } else { count - 1 };
        if divisor <= 0 {
            return None;
        }
        if moments.sum.has_specials() {
            return Some(f64::NAN);
        }
        if moments.extremes.is_some() {
            return Some(moments.in_integers(count, divisor, self.root));
        }
        let variance = moments.deviations(count) / divisor as f64;
        Some(if self.root { variance.sqrt() } else { variance })
    }
}

impl Moments {
    /// Adds `value` `diff` times.
    pub fn add(&mut self, value: f64, diff: i64) {
        self.sum.add(value, diff);
        if value == 0.0 || !value.is_finite() {
            return;
        }
        if is_plain(value) {
            let (square, rest) = two_product(value, value);
            self.squares.add(square, diff);
            self.squares.add(rest, diff);
            return;
        }
        let value = integer(value);
        self.add_extremes(&value * &value * diff);
    }

    fn add_extremes(&mut self, squares: BigInt) {
        let extremes = self.extremes.get_or_insert_default();
        **extremes += squares;
        // Squares are not negative: their sum is zero only without values.
        if **extremes == BigInt::ZERO {
            self.extremes = None;
        }
    }

    /// Adds the values of others.
    pub fn merge(&mut self, other: &Moments) {
        self.sum.merge(&other.sum);
        self.squares.merge(&other.squares);
        if let Some(extremes) = &other.extremes {
            self.add_extremes(extremes.as_ref().clone());
        }
    }

    /// About how many bytes it has outside of itself.
    pub fn bytes(&self) -> usize {
        let extremes = self.extremes.as_ref().map_or(0, |extremes| extremes.bits() as usize / 8);
        self.sum.bytes() + self.squares.bytes() + extremes
    }

    /// The sum in units of the least double, and the sum of the squares in units of its square. There are no
    /// infinities or NaN among the values.
    pub fn integers(&self) -> (BigInt, BigInt) {
        let squares = self.squares.integer() << LEAST_EXPONENT.unsigned_abs();
        let extremes = self.extremes.as_deref();
        (self.sum.integer(), if let Some(extremes) = extremes { squares + extremes } else { squares })
    }

    /// The sum of the squared distances from the mean.
    ///
    /// With m near the mean it is the sum of (x - m)² less n (mean - m)². The first is exact, rounded once. The
    /// second is at most as large as the result, because m differs from the mean by less than values that are
    /// not equal do; so little is lost in the difference.
    fn deviations(&self, count: i64) -> f64 {
        let mut mean = self.sum.value() / count as f64;
        let mut rest = self.distance(mean, count);
        // Equal values have themselves as their mean, which a rounded sum may miss.
        mean += rest / count as f64;
        rest = self.distance(mean, count);
        let mut squares = self.squares.clone();
        for part in self.sum.parts() {
            let (product, error) = two_product(mean, part);
            squares.add(product, -2);
            squares.add(error, -2);
        }
        let (product, error) = two_product(mean, mean);
        squares.add(product, count);
        squares.add(error, count);
        (squares.value() - rest * (rest / count as f64)).max(0.0)
    }

    /// The sum less `count` times `mean`, rounded once.
    fn distance(&self, mean: f64, count: i64) -> f64 {
        let mut rest = self.sum.clone();
        rest.add(-mean, count);
        rest.value()
    }

    /// The same in integers: (n times the sum of x² less the square of the sum of x) / (n * divisor).
    fn in_integers(&self, count: i64, divisor: i64, root: bool) -> f64 {
        let (sum, squares) = self.integers();
        let spread = squares * count - &sum * &sum;
        if spread.sign() != Sign::Plus {
            return 0.0;
        }
        quotient(&spread, &(BigInt::from(count) * divisor), 2 * LEAST_EXPONENT, root)
    }

    /// The sum of the values.
    pub fn sum(&self) -> &Exact {
        &self.sum
    }

    /// Sum, squares and extremes as bytes, for a snapshot.
    pub fn save(&self) -> [Option<Vec<u8>>; 3] {
        let extremes = self.extremes.as_ref().map(|extremes| extremes.to_signed_bytes_le());
        [Some(self.sum.save()), Some(self.squares.save()), extremes]
    }

    /// What [`save`](Self::save) gave; `None` if it gave no such bytes.
    pub fn load([sum, squares, extremes]: [Option<&[u8]>; 3]) -> Option<Moments> {
        let extremes = extremes.map(|bytes| Box::new(BigInt::from_signed_bytes_le(bytes)));
        Some(Moments { sum: Exact::load(sum?)?, squares: Exact::load(squares?)?, extremes })
    }
}

/// Whether products of such values are two doubles.
pub fn is_plain(value: f64) -> bool {
    (LEAST..=GREATEST).contains(&value.abs())
}

/// The rounded product and its error; together they are the exact product.
pub fn two_product(a: f64, b: f64) -> (f64, f64) {
    let product = a * b;
    (product, a.mul_add(b, -product))
}

impl State for Variance {
    fn resize(&mut self, slots: usize) {
        fit(&mut self.counts, slots, || 0);
        fit(&mut self.moments, slots, Moments::default);
    }

    fn bytes(&self) -> usize {
        vector(&self.counts) + vector(&self.moments)
    }

    fn bytes_of(&self, group: Group) -> usize {
        self.moments[group as usize].bytes()
    }

    fn update(&mut self, rows: &Rows<'_>, arguments: &Arguments) {
        let values = arguments.value().as_primitive::<Float64Type>().values();
        arguments.each(rows.groups, |row, group| {
            let diff = rows.diff(row);
            self.moments[group].add(values[row], diff);
            self.counts[group] += diff;
        });
    }

    fn clear(&mut self, group: Group) {
        self.counts[group as usize] = 0;
        self.moments[group as usize] = Moments::default();
    }

    fn merge(&mut self, from: Group, into: Group, _: &Ties) {
        let (moments, whole) = two(&mut self.moments, from, into);
        whole.merge(moments);
        self.counts[into as usize] += self.counts[from as usize];
    }

    fn evaluate(&self, groups: &[Group], _: &mut Vec<(usize, String)>) -> ArrayRef {
        Arc::new(groups.iter().map(|group| self.result(*group)).collect::<Float64Array>())
    }

    fn fields(&self) -> Vec<Field> {
        let binary = ["sum", "squares", "extremes"].map(|name| Field::new(name, DataType::Binary, true));
        binary.into_iter().chain([Field::new("count", DataType::Int64, true)]).collect()
    }

    fn save(&self, groups: &[Group], _: &Ties) -> Vec<ArrayRef> {
        let saved: Vec<_> = groups.iter().map(|group| self.moments[*group as usize].save()).collect();
        let column = |at: usize| -> ArrayRef {
            Arc::new(saved.iter().map(|parts| parts[at].as_deref()).collect::<BinaryArray>())
        };
        vec![column(0), column(1), column(2), Arc::new(saved_counts(&self.counts, groups))]
    }

    fn load(&mut self, groups: &[Group], columns: &[ArrayRef], _: &mut Ties) -> Result<()> {
        let parts = [0, 1, 2].map(|column| columns[column].as_binary::<i32>());
        for (row, group) in groups.iter().enumerate() {
            let moments = Moments::load(parts.map(|part| part.is_valid(row).then(|| part.value(row))));
            self.moments[*group as usize] =
                moments.ok_or_else(|| Error::internal("broken state of a variance"))?;
        }
        load_counts(&mut self.counts, groups, &columns[3]);
        Ok(())
    }
}

#[cfg(test)]
mod tests;

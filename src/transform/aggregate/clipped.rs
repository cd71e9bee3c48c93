//! sigma_clipped_percentile: the percentile of the values that are not too far from the mean, in multiples of the
//! standard deviation.
//!
//! Nothing is rounded on the way to the decision which values count. With n values, their sum S and the sum Q of
//! their squares, a value x is within k sample standard deviations of the mean if
//!
//! ```text
//! (n x - S)² (n - 1) <= k² n (n Q - S²)
//! ```
//!
//! and all of that is in whole numbers of the least double. So the values that count are those between two doubles,
//! which a root and a division of whole numbers give; cursors in the order of the values follow them.
//! Infinities and NaN are farther than anything: they take no part in the mean either.

use std::cell::Cell;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Float64Array, LargeBinaryArray};
use arrow::datatypes::{DataType, Field};
use num_bigint::{BigInt, Sign};

use crate::error::{Error, Result};
use crate::transform::aggregate::exact::{LEAST_EXPONENT, integer};
use crate::transform::aggregate::groups::Group;
use crate::transform::aggregate::ranked::{Cursor, Ranked, saved};
use crate::transform::aggregate::state::{Arguments, Rows, State, fit, two, vector};
use crate::transform::aggregate::ties::Ties;
use crate::transform::aggregate::values::{Fixed, Values, fixed_to_float};
use crate::transform::aggregate::variance::Moments;

/// Bits of a double behind its exponent, with the leading one.
const DIGITS: u64 = 53;
const INFINITY: i64 = f64::INFINITY.to_bits() as i64;

/// The value at a fraction of those values of each group that are near its mean; NULLs are not selected.
pub struct Clipped {
    fraction: f64,
    /// The square of the number of standard deviations is this times two to the power of `exponent`.
    sigmas_squared: BigInt,
    exponent: i64,
    groups: Vec<Spread>,
}

/// The values of a group, and what their mean and standard deviation come from.
#[derive(Clone, Debug, Default)]
struct Spread {
    ranked: Ranked,
    moments: Moments,
    /// At the least value that counts, and at the least one that is too large.
    low: Cell<Cursor>,
    high: Cell<Cursor>,
}

impl Clipped {
    /// Without values; `fraction` is from 0 to 1, `sigmas` positive and finite.
    pub fn new(fraction: f64, sigmas: f64) -> Self {
        let sigmas = integer(sigmas);
        let zeros = sigmas.trailing_zeros().unwrap_or_default();
        let digits: BigInt = sigmas >> zeros;
        let exponent = 2 * (zeros as i64 + i64::from(LEAST_EXPONENT));
        Clipped { fraction, sigmas_squared: &digits * &digits, exponent, groups: Vec::new() }
    }

    fn result(&self, group: &Spread) -> Option<f64> {
        let rows = group.ranked.total();
        // One value is its own mean.
        if rows < 2 {
            return group.ranked.at(self.fraction, 0, rows);
        }
        let (least, greatest) = self.limits(rows, &group.moments);
        let skipped = group.ranked.below(&group.low, least);
        let kept = group.ranked.below(&group.high, greatest + 1) - skipped;
        group.ranked.at(self.fraction, skipped, kept)
    }

    /// The least and the greatest value that count, as [`Fixed`] has them.
    fn limits(&self, rows: i64, moments: &Moments) -> (i64, i64) {
        let (sum, squares) = moments.integers();
        let spread = (squares * rows - &sum * &sum) * rows * &self.sigmas_squared;
        let shift = self.exponent.unsigned_abs();
        let spread = if self.exponent < 0 { spread >> shift } else { spread << shift };
        let reach = (spread / (rows - 1)).max(BigInt::ZERO).sqrt();
        let greatest = floor_fixed(&floor_quotient(&sum + &reach, rows));
        // The least is the negative of the greatest of the negated values.
        let least = floor_fixed(&floor_quotient(reach - sum, rows));
        (-least - 1, greatest)
    }
}

impl Spread {
    fn add(&mut self, value: i64, diff: i64) {
        self.ranked.add(value, diff);
        self.low.get_mut().note(value, diff);
        self.high.get_mut().note(value, diff);
    }

    fn merge(&mut self, other: &Spread) {
        // The fewer of the two are taken one by one.
        let mut own = None;
        if other.ranked.distinct() > self.ranked.distinct() {
            own = Some(std::mem::replace(self, other.clone()));
        }
        let fewer = own.as_ref().unwrap_or(other);
        fewer.ranked.iter().for_each(|(value, count)| self.add(value, count));
        self.moments.merge(&fewer.moments);
    }
}

fn floor_quotient(dividend: BigInt, divisor: i64) -> BigInt {
    let quotient = &dividend / divisor;
    let inexact = &quotient * divisor != dividend;
    if inexact && dividend.sign() == Sign::Minus { quotient - 1 } else { quotient }
}

/// The greatest double that is not above a multiple of the least one, as [`Fixed`] has it.
fn floor_fixed(value: &BigInt) -> i64 {
    match value.sign() {
        Sign::Minus => -bits(&-value, true) - 1,
        _ => bits(value, false),
    }
}

/// The bits of the double that is as large as a multiple of the least one, or the next below or above it.
fn bits(size: &BigInt, up: bool) -> i64 {
    let excess = size.bits().saturating_sub(DIGITS);
    if excess > 2045 {
        return INFINITY;
    }
    let digits = i64::try_from(size >> excess).unwrap_or(INFINITY);
    let inexact = up && size.trailing_zeros().is_some_and(|zeros| zeros < excess);
    // The exponent is that of the lowest digit plus one, and the leading digit adds that one. A carry out of the
    // digits is one into the exponent.
    (((excess as i64) << (DIGITS - 1)) + digits + i64::from(inexact)).min(INFINITY)
}

impl State for Clipped {
    fn resize(&mut self, slots: usize) {
        fit(&mut self.groups, slots, Spread::default);
    }

    fn bytes(&self) -> usize {
        vector(&self.groups)
    }

    fn bytes_of(&self, group: Group) -> usize {
        let group = &self.groups[group as usize];
        group.ranked.bytes() + group.moments.bytes()
    }

    fn update(&mut self, rows: &Rows<'_>, arguments: &Arguments) {
        let values = Fixed::of(arguments.value());
        arguments.each(rows.groups, |row, group| {
            let value = values.get(row);
            let double = fixed_to_float(value);
            if double.is_finite() {
                self.groups[group].add(value, rows.diff(row));
                self.groups[group].moments.add(double, rows.diff(row));
            }
        });
    }

    fn clear(&mut self, group: Group) {
        self.groups[group as usize] = Spread::default();
    }

    fn merge(&mut self, from: Group, into: Group, _: &Ties) {
        let (more, whole) = two(&mut self.groups, from, into);
        whole.merge(more);
    }

    fn evaluate(&self, groups: &[Group], _: &mut Vec<(usize, String)>) -> ArrayRef {
        let results = groups.iter().map(|group| self.result(&self.groups[*group as usize]));
        Arc::new(results.collect::<Float64Array>())
    }

    fn fields(&self) -> Vec<Field> {
        vec![Field::new("values", DataType::LargeBinary, true)]
    }

    fn save(&self, groups: &[Group], _: &Ties) -> Vec<ArrayRef> {
        let saved = groups.iter().map(|group| self.groups[*group as usize].ranked.save());
        vec![Arc::new(LargeBinaryArray::from_iter_values(saved))]
    }

    fn load(&mut self, groups: &[Group], columns: &[ArrayRef], _: &mut Ties) -> Result<()> {
        let column = columns[0].as_binary::<i64>();
        for (row, group) in groups.iter().enumerate() {
            let values =
                saved(column.value(row)).ok_or_else(|| Error::internal("broken state of a percentile"))?;
            let group = &mut self.groups[*group as usize];
            for (value, count) in values {
                group.add(value, count);
                group.moments.add(fixed_to_float(value), count);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;

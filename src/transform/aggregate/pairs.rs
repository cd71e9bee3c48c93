//! corr, covar_pop, covar_samp and regr_* of two DOUBLEs.
//!
//! Of all pairs the sums of both values, of their squares and of their products are kept exactly; a result is one
//! quotient of whole numbers, rounded at the end. So it depends on the pairs alone, not on their order, and pairs can
//! be taken back.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, Float64Array};
use arrow::datatypes::{DataType, Field, Float64Type};
use num_bigint::BigInt;

use crate::error::{Error, Result};
use crate::plan::OfPairs;
use crate::transform::aggregate::accumulate::{load_counts, saved_counts};
use crate::transform::aggregate::exact::{Exact, LEAST_EXPONENT, integer};
use crate::transform::aggregate::groups::Group;
use crate::transform::aggregate::rational::quotient;
use crate::transform::aggregate::state::{Arguments, Rows, State, fit, two, vector};
use crate::transform::aggregate::ties::Ties;
use crate::transform::aggregate::variance::{Moments, is_plain, two_product};

/// What the pairs of each group have to do with each other; those with a NULL are not selected.
pub struct Pairs {
    function: OfPairs,
    counts: Vec<i64>,
    sums: Vec<Sums>,
}

/// The sums of some pairs.
#[derive(Clone, Debug, Default)]
struct Sums {
    x: Moments,
    y: Moments,
    products: Exact,
    /// Of the pairs of which a value is so huge or tiny that two doubles do not hold the product, in units of the
    /// square of the least double; `None` is zero.
    extremes: Option<Box<BigInt>>,
}

impl Pairs {
    /// Without pairs.
    pub fn new(function: OfPairs) -> Self {
        Pairs { function, counts: Vec::new(), sums: Vec::new() }
    }

    fn result(&self, group: Group) -> Option<f64> {
        use OfPairs as F;
        let (count, sums) = (self.counts[group as usize], &self.sums[group as usize]);
        match self.function {
            _ if count <= 0 => return None,
            F::CovarSamp if count == 1 => return None,
            F::RegrAvgx => return Some(sums.x.sum().value() / count as f64),
            F::RegrAvgy => return Some(sums.y.sum().value() / count as f64),
            _ if sums.x.sum().has_specials() || sums.y.sum().has_specials() => return Some(f64::NAN),
            _ => {}
        }
        let ((x, xx), (y, yy)) = (sums.x.integers(), sums.y.integers());
        let n = BigInt::from(count);
        // n times the sums of (x - mean of x)² and so on.
        let (sxx, syy) = (&n * xx - &x * &x, &n * yy - &y * &y);
        let sxy = &n * sums.products() - &x * &y;
        let spread = |of: &BigInt| *of != BigInt::ZERO;
        let square = 2 * LEAST_EXPONENT;
        match self.function {
            F::CovarPop => Some(quotient(&sxy, &(&n * count), square, false)),
            F::CovarSamp => Some(quotient(&sxy, &(&n * (count - 1)), square, false)),
            F::RegrSxx => Some(quotient(&sxx, &n, square, false)),
            F::RegrSyy => Some(quotient(&syy, &n, square, false)),
            F::RegrSxy => Some(quotient(&sxy, &n, square, false)),
            F::RegrSlope => spread(&sxx).then(|| quotient(&sxy, &sxx, 0, false)),
            F::RegrIntercept => {
                let dividend = || &y * &sxx - &x * &sxy;
                spread(&sxx).then(|| quotient(&dividend(), &(&n * &sxx), LEAST_EXPONENT, false))
            }
            F::RegrR2 if spread(&sxx) && !spread(&syy) => Some(1.0),
            F::RegrR2 => spread(&sxx).then(|| quotient(&(&sxy * &sxy), &(&sxx * &syy), 0, false)),
            F::Corr => (spread(&sxx) && spread(&syy)).then(|| {
                let size = quotient(&(&sxy * &sxy), &(&sxx * &syy), 0, true);
                if sxy < BigInt::ZERO { -size } else { size }
            }),
            F::RegrCount | F::RegrAvgx | F::RegrAvgy => None,
        }
    }
}

impl Sums {
    /// Adds a pair `diff` times.
    fn add(&mut self, x: f64, y: f64, diff: i64) {
        self.x.add(x, diff);
        self.y.add(y, diff);
        // With an infinity or NaN, which the sums count, there is no other result than NaN.
        if x == 0.0 || y == 0.0 || !x.is_finite() || !y.is_finite() {
            return;
        }
        if is_plain(x) && is_plain(y) {
            let (product, rest) = two_product(x, y);
            self.products.add(product, diff);
            self.products.add(rest, diff);
        } else {
            self.add_extremes(integer(x) * integer(y) * diff);
        }
    }

    fn add_extremes(&mut self, products: BigInt) {
        let extremes = self.extremes.get_or_insert_default();
        **extremes += products;
        if **extremes == BigInt::ZERO {
            self.extremes = None;
        }
    }

    fn merge(&mut self, other: &Sums) {
        self.x.merge(&other.x);
        self.y.merge(&other.y);
        self.products.merge(&other.products);
        if let Some(extremes) = &other.extremes {
            self.add_extremes(extremes.as_ref().clone());
        }
    }

    /// The sum of the products, in units of the square of the least double.
    fn products(&self) -> BigInt {
        let plain = self.products.integer() << LEAST_EXPONENT.unsigned_abs();
        self.extremes.iter().fold(plain, |sum, extremes| sum + extremes.as_ref())
    }

    fn bytes(&self) -> usize {
        let extremes = self.extremes.as_ref().map_or(0, |extremes| extremes.bits() as usize / 8);
        self.x.bytes() + self.y.bytes() + self.products.bytes() + extremes
    }

    fn save(&self) -> [Option<Vec<u8>>; COLUMNS.len()] {
        let ([x, xx, x_extremes], [y, yy, y_extremes]) = (self.x.save(), self.y.save());
        let extremes = self.extremes.as_ref().map(|extremes| extremes.to_signed_bytes_le());
        [x, xx, x_extremes, y, yy, y_extremes, Some(self.products.save()), extremes]
    }

    fn load(parts: [Option<&[u8]>; COLUMNS.len()]) -> Option<Sums> {
        let [x, xx, x_extremes, y, yy, y_extremes, products, extremes] = parts;
        Some(Sums {
            x: Moments::load([x, xx, x_extremes])?,
            y: Moments::load([y, yy, y_extremes])?,
            products: Exact::load(products?)?,
            extremes: extremes.map(|bytes| Box::new(BigInt::from_signed_bytes_le(bytes))),
        })
    }
}

/// The columns of a snapshot, in front of the count.
const COLUMNS: [&str; 8] =
    ["x", "x squares", "x extremes", "y", "y squares", "y extremes", "products", "product extremes"];

impl State for Pairs {
    fn resize(&mut self, slots: usize) {
        fit(&mut self.counts, slots, || 0);
        fit(&mut self.sums, slots, Sums::default);
    }

    fn bytes(&self) -> usize {
        vector(&self.counts) + vector(&self.sums)
    }

    fn bytes_of(&self, group: Group) -> usize {
        self.sums[group as usize].bytes()
    }

    fn update(&mut self, rows: &Rows<'_>, arguments: &Arguments) {
        let (y, x) = (arguments.value(), arguments.second());
        let [y, x] = [y, x].map(|column| column.as_primitive::<Float64Type>().values());
        arguments.each(rows.groups, |row, group| {
            let diff = rows.diff(row);
            self.sums[group].add(x[row], y[row], diff);
            self.counts[group] += diff;
        });
    }

    fn clear(&mut self, group: Group) {
        self.counts[group as usize] = 0;
        self.sums[group as usize] = Sums::default();
    }

    fn merge(&mut self, from: Group, into: Group, _: &Ties) {
        let (sums, whole) = two(&mut self.sums, from, into);
        whole.merge(sums);
        self.counts[into as usize] += self.counts[from as usize];
    }

    fn evaluate(&self, groups: &[Group], _: &mut Vec<(usize, String)>) -> ArrayRef {
        match self.function {
            OfPairs::RegrCount => Arc::new(saved_counts(&self.counts, groups)),
            _ => Arc::new(groups.iter().map(|group| self.result(*group)).collect::<Float64Array>()),
        }
    }

    fn fields(&self) -> Vec<Field> {
        let binary = COLUMNS.iter().map(|name| Field::new(*name, DataType::Binary, true));
        binary.chain([Field::new("count", DataType::Int64, true)]).collect()
    }

    fn save(&self, groups: &[Group], _: &Ties) -> Vec<ArrayRef> {
        let saved: Vec<_> = groups.iter().map(|group| self.sums[*group as usize].save()).collect();
        let column = |at: usize| -> ArrayRef {
            Arc::new(saved.iter().map(|parts| parts[at].as_deref()).collect::<BinaryArray>())
        };
        let counts: ArrayRef = Arc::new(saved_counts(&self.counts, groups));
        (0..COLUMNS.len()).map(column).chain([counts]).collect()
    }

    fn load(&mut self, groups: &[Group], columns: &[ArrayRef], _: &mut Ties) -> Result<()> {
        for (row, group) in groups.iter().enumerate() {
            let part = |at: usize| {
                let column = columns[at].as_binary::<i32>();
                column.is_valid(row).then(|| column.value(row))
            };
            let sums = Sums::load(std::array::from_fn(part));
            self.sums[*group as usize] = sums.ok_or_else(|| Error::internal("broken state of pairs"))?;
        }
        load_counts(&mut self.counts, groups, &columns[COLUMNS.len()]);
        Ok(())
    }
}

#[cfg(test)]
mod tests;

//! Functions of pairs (d, i), recomputed from the distances from the means, in whole numbers.

use num_bigint::BigInt;

use super::reference::{in_least_units, to_double};
use super::*;

/// The result over the values of `rows`, y and x of each.
pub fn result(function: OfPairs, pairs: &[(f64, f64)]) -> Option<String> {
    use OfPairs as F;
    let pairs_of = pairs.len();
    if function == F::RegrCount {
        return Some(pairs_of.to_string());
    }
    if pairs.is_empty() || (function == F::CovarSamp && pairs_of == 1) {
        return None;
    }
    let (ys, xs): (Vec<f64>, Vec<f64>) = pairs.iter().copied().unzip();
    let mean = |values: &[f64]| {
        let mut sum = exact::Exact::default();
        values.iter().for_each(|value| sum.add(*value, 1));
        Some(double_text(sum.value() / pairs_of as f64))
    };
    match function {
        F::RegrAvgx => return mean(&xs),
        F::RegrAvgy => return mean(&ys),
        _ if xs.iter().chain(&ys).any(|value| !value.is_finite()) => return Some(double_text(f64::NAN)),
        _ => {}
    }
    let count = BigInt::from(pairs_of);
    let whole = |values: &[f64]| values.iter().map(|value| in_least_units(*value)).collect::<Vec<_>>();
    let sum = |values: &[BigInt]| values.iter().sum::<BigInt>();
    let (x, y) = (whole(&xs), whole(&ys));
    let (sum_x, sum_y) = (sum(&x), sum(&y));
    let distances = |values: &[BigInt], sum: &BigInt| -> Vec<BigInt> {
        values.iter().map(|value| value * &count - sum).collect()
    };
    let (dx, dy) = (distances(&x, &sum_x), distances(&y, &sum_y));
    let products = |a: &[BigInt], b: &[BigInt]| a.iter().zip(b).map(|(a, b)| a * b).sum::<BigInt>();
    // Each n² times what it is.
    let (sxx, syy, sxy) = (products(&dx, &dx), products(&dy, &dy), products(&dx, &dy));
    let squared = &count * &count;
    let square = -2 * 1074;
    let value = match function {
        F::CovarPop => ratio(&sxy, &(&squared * &count), square),
        F::CovarSamp => ratio(&sxy, &(&squared * (&count - 1)), square),
        F::RegrSxx => ratio(&sxx, &squared, square),
        F::RegrSyy => ratio(&syy, &squared, square),
        F::RegrSxy => ratio(&sxy, &squared, square),
        _ if sxx == BigInt::ZERO => return None,
        F::RegrSlope => ratio(&sxy, &sxx, 0),
        F::RegrIntercept => ratio(&(&sum_y * &sxx - &sum_x * &sxy), &(&count * &sxx), -1074),
        F::Corr if syy == BigInt::ZERO => return None,
        F::RegrR2 if syy == BigInt::ZERO => 1.0,
        F::RegrR2 => ratio(&(&sxy * &sxy), &(&sxx * &syy), 0),
        // The root of a quotient of 2,000 more bits.
        F::Corr => {
            let size = (((&sxy * &sxy) << 4_000u32) / (&sxx * &syy)).sqrt();
            to_double(&size, -2_000) * if sxy < BigInt::ZERO { -1.0 } else { 1.0 }
        }
        F::RegrCount | F::RegrAvgx | F::RegrAvgy => unreachable!("they have been returned"),
    };
    Some(double_text(value))
}

fn ratio(dividend: &BigInt, divisor: &BigInt, exponent: i32) -> f64 {
    let shift = (divisor.bits() + 200).saturating_sub(dividend.bits());
    to_double(&((dividend << shift) / divisor), exponent - i32::try_from(shift).expect("few bits"))
}

//! Quotients of whole numbers as doubles.

use num_bigint::{BigInt, Sign};

use crate::transform::aggregate::exact::power_of_two;

/// `dividend / divisor` in units of 2^`unit`, or the root of it, rounded once from 64 bits and more.
pub fn quotient(dividend: &BigInt, divisor: &BigInt, unit: i32, root: bool) -> f64 {
    let sign = match dividend.sign() {
        Sign::NoSign => return 0.0,
        sign if sign == divisor.sign() => 1.0,
        _ => -1.0,
    };
    let (size, divisor) = (dividend.magnitude(), divisor.magnitude());
    let shift = (divisor.bits() + 66).saturating_sub(size.bits());
    let quotient = (size << shift) / divisor;
    let excess = quotient.bits() - 64;
    let mut mantissa = u64::try_from(quotient >> excess).unwrap_or_default() as f64;
    let mut exponent = unit + excess as i32 - shift as i32;
    if !root {
        return sign * scaled(mantissa, exponent);
    }
    if exponent % 2 != 0 {
        (mantissa, exponent) = (mantissa * 2.0, exponent - 1);
    }
    sign * scaled(mantissa.sqrt(), exponent / 2)
}

/// `value` times 2^`exponent`, also where that power is no double.
fn scaled(value: f64, exponent: i32) -> f64 {
    let (mut value, mut exponent) = (value, exponent);
    while exponent != 0 {
        let step = exponent.clamp(-900, 900);
        value *= power_of_two(step);
        exponent -= step;
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotients_and_their_roots_have_the_right_sign_and_scale() {
        let of = |dividend: i64, divisor: i64, unit, root| {
            quotient(&BigInt::from(dividend), &BigInt::from(divisor), unit, root)
        };
        assert_eq!(of(0, 7, 0, false), 0.0);
        assert_eq!(of(1, 3, 0, false), 1.0 / 3.0);
        assert_eq!(of(-1, 3, 0, false), -1.0 / 3.0);
        assert_eq!(of(i64::MAX, -1, 0, false), -(i64::MAX as f64));
        assert_eq!((of(3, 4, -1, false), of(3, 4, 1, false)), (0.375, 1.5));
        assert_eq!((of(9, 4, 0, true), of(2, 1, 0, true), of(2, 1, 1, true)), (1.5, 2f64.sqrt(), 2.0));
        assert_eq!((of(1, 1, 2_000, false), of(1, 1, -2_000, false)), (f64::INFINITY, 0.0));
        let huge = BigInt::from(3) << 5_000;
        assert_eq!(quotient(&huge, &(&huge * 2), 0, false), 0.5);
        assert_eq!(quotient(&huge, &huge, 0, true), 1.0);
    }
}

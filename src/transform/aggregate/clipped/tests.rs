use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64Mcg;

use super::*;

fn spread(values: &[f64]) -> Spread {
    let mut spread = Spread::default();
    for value in values {
        let fixed = Fixed::of(&(Arc::new(Float64Array::from(vec![*value])) as ArrayRef)).get(0);
        spread.add(fixed, 1);
        spread.moments.add(*value, 1);
    }
    spread
}

fn result(values: &[f64], fraction: f64, sigmas: f64) -> Option<f64> {
    Clipped::new(fraction, sigmas).result(&spread(values))
}

#[test]
fn values_far_from_the_mean_do_not_count() {
    let mut values: Vec<f64> = (1..=100).map(f64::from).collect();
    assert_eq!(result(&values, 0.5, 3.0), Some(50.5));
    values.push(1e6);
    assert_eq!(result(&values, 1.0, 3.0), Some(100.0), "the outlier is more than ten deviations away");
    assert_eq!(result(&values, 1.0, 11.0), Some(1e6));
    assert_eq!(result(&values, 0.0, 3.0), Some(1.0));
}

#[test]
fn few_and_equal_values_count() {
    assert_eq!(result(&[], 0.5, 3.0), None);
    assert_eq!(result(&[7.5], 0.5, 0.001), Some(7.5));
    assert_eq!(result(&[0.1; 7], 0.95, 1e-300), Some(0.1), "a rounded mean would not be 0.1");
    // Both are sqrt(1/2) deviations of the sample from their mean.
    assert_eq!(result(&[1.0, 2.0], 0.5, 0.708), Some(1.5));
    assert_eq!(result(&[1.0, 2.0], 0.5, 0.707), None);
}

#[test]
fn a_value_at_just_the_limit_counts() {
    let mut values = vec![0.0; 15];
    values.extend([2.0, -2.0]);
    // 17 values, variance 8 / 16 = 1/2: 2 and -2 are sqrt(8) deviations away, which no double is.
    let limit = 8f64.sqrt();
    let above = f64::from_bits(limit.to_bits() + 1);
    let (inner, outer) =
        if limit * limit < 8.0 { (limit, above) } else { (f64::from_bits(limit.to_bits() - 1), limit) };
    assert_eq!(result(&values, 1.0, inner), Some(0.0));
    assert_eq!(result(&values, 1.0, outer), Some(2.0));
    // 9 values, variance 8 / 8 = 1: ±2 are exactly 2 deviations away.
    let values = [2.0, -2.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0];
    assert_eq!(result(&values, 1.0, 2.0), Some(2.0));
    assert_eq!(result(&values, 0.0, 2.0), Some(-2.0));
    assert_eq!(result(&values, 1.0, f64::from_bits(2f64.to_bits() - 1)), Some(0.0));
    let shifted = values.map(|value| value * 1e-3 + 1e9);
    assert_eq!(result(&shifted, 1.0, 2.5), Some(1e9 + 2e-3));
}

#[test]
fn huge_and_tiny_values_are_decided_as_well() {
    let largest = f64::MAX;
    assert_eq!(result(&[largest, -largest], 1.0, 3.0), Some(largest));
    assert_eq!(result(&[largest; 3], 0.5, 3.0), Some(largest));
    let mut values = vec![5e-324; 20];
    values.push(largest);
    assert_eq!(result(&values, 1.0, 4.0), Some(5e-324));
    assert_eq!(result(&values, 1.0, 5.0), Some(largest));
}

/// Against the definition, in whole numbers, value by value.
#[test]
fn the_limits_are_those_of_the_definition() {
    for seed in 0..200 {
        let random = &mut Pcg64Mcg::seed_from_u64(seed);
        let magnitude =
            10f64.powi(random.random_range(-3..4)) * [1.0, 1e-160, 1e150][random.random_range(0..3)];
        let offset = [0.0, 1.0, 1e9, -1e9][random.random_range(0..4)] * magnitude;
        let values: Vec<f64> = (0..random.random_range(2..40))
            .map(|_| {
                let far = if random.random_bool(0.1) { 20.0 } else { 1.0 };
                let steps = random.random_range(-4..5);
                offset
                    + magnitude
                        * far
                        * if seed % 2 == 0 { f64::from(steps) } else { random.random_range(-1.0..1.0) }
            })
            .collect();
        let sigmas = [0.5, 1.0, 1.5, 2.0, 3.0][random.random_range(0..5)];
        let count = values.len() as i64;
        let whole: Vec<BigInt> = values.iter().map(|value| integer(*value)).collect();
        let sum: BigInt = whole.iter().sum();
        let spread: BigInt = whole.iter().map(|value| (value * count - &sum).pow(2)).sum();
        // (n x - S)² / n² <= k² * spread / n² / (n - 1), and 4 k² is a whole number.
        let times = BigInt::from((sigmas * sigmas * 4.0) as i64);
        let near =
            |value: &&f64| (integer(**value) * count - &sum).pow(2) * 4 * (count - 1) <= &spread * &times;
        let mut kept: Vec<f64> = values.iter().filter(near).copied().collect();
        kept.sort_by(f64::total_cmp);
        let ends = [0.0, 1.0].map(|fraction| result(&values, fraction, sigmas).map(|it| it + 0.0));
        let expected = [kept.first(), kept.last()].map(|end| end.map(|end| end + 0.0));
        assert_eq!(ends, expected, "seed {seed}: {values:?} within {sigmas}");
    }
}

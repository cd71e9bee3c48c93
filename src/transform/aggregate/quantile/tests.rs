use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64Mcg;

use super::*;

fn fixed(value: f64) -> i64 {
    Fixed::of(&(Arc::new(Float64Array::from(vec![value])) as ArrayRef)).get(0)
}

fn buckets(values: &[f64]) -> Buckets {
    let mut buckets = Buckets::default();
    values.iter().for_each(|value| buckets.add(fixed(*value), 1));
    buckets
}

/// Values over `decades` orders of magnitude, of both signs.
fn random_values(random: &mut Pcg64Mcg, count: usize, decades: f64) -> Vec<f64> {
    let one = |random: &mut Pcg64Mcg| {
        let size = 10f64.powf(random.random_range(0.0..decades) - decades / 2.0);
        if random.random_bool(0.3) { -size } else { size }
    };
    (0..count).map(|_| one(random)).collect()
}

/// The value at a fraction by sorting, and the larger of the two that it is between.
fn exact(values: &[f64], fraction: f64) -> (f64, f64) {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    let place = fraction * (values.len() - 1) as f64;
    let (low, high) = (values[place.floor() as usize], values[place.ceil() as usize]);
    let share = place - place.floor();
    (if share > 0.0 { low * (1.0 - share) + high * share } else { low }, low.abs().max(high.abs()))
}

#[test]
fn results_are_exact_up_to_256_values_and_then_within_the_stated_distance() {
    let random = &mut Pcg64Mcg::seed_from_u64(1);
    for (count, decades, distance) in [
        (1, 9.0, 0.0),
        (256, 300.0, 0.0),
        (257, 5.0, 1.0 / 256.0),
        (20_000, 4.5, 1.0 / 256.0),
        (60_000, 40.0, 1.0 / 16.0),
    ] {
        let values = random_values(random, count, decades);
        let found = buckets(&values);
        for fraction in [0.0, 0.01, 0.25, 0.5, 0.9, 0.99, 0.999, 1.0] {
            let (expected, size) = exact(&values, fraction);
            let found = found.at(fraction).expect("there are values");
            assert!(
                (found - expected).abs() <= distance * size,
                "{fraction} of {count}: {found}, {expected}"
            );
        }
    }
    assert_eq!(Buckets::default().at(0.5), None);
}

#[test]
fn nine_orders_of_magnitude_are_counted_finely() {
    // As many values as there are buckets: 128 for each factor of two.
    let values: Vec<f64> =
        (0..32 * 128).map(|step| 2f64.powf(f64::from(step) / 128.0 + 0.001) * 1e-4).collect();
    let found = buckets(&values);
    assert_eq!(LEVELS[usize::from(found.level)].0, 45);
    assert!(found.counts.len() <= 4096);
}

#[test]
fn order_and_merging_change_nothing() {
    for seed in 0..30 {
        let random = &mut Pcg64Mcg::seed_from_u64(seed);
        let decades = [0.5, 5.0, 60.0, 600.0][random.random_range(0..4)];
        let count = [10, 250, 300, 9_000][random.random_range(0..4)];
        let mut values = random_values(random, count, decades);
        values.extend([0.0, -0.0, f64::INFINITY, f64::NEG_INFINITY, f64::NAN, -f64::NAN, 5e-324]);
        let whole = buckets(&values);
        values.shuffle(random);
        assert_eq!(buckets(&values), whole, "seed {seed}");
        let size = random.random_range(1..=values.len());
        let mut parts: Vec<Buckets> = values.chunks(size).map(buckets).collect();
        while parts.len() > 1 {
            let part = parts.swap_remove(random.random_range(0..parts.len()));
            let into = random.random_range(0..parts.len());
            parts[into].merge(&part);
        }
        assert_eq!(parts[0], whole, "seed {seed}");
        assert_eq!(Buckets::load(&whole.save()), Some(whole), "seed {seed}");
    }
    assert_eq!(Buckets::load(&[1; 7]), None);
}

#[test]
fn memory_is_bounded_whatever_the_values() {
    let random = &mut Pcg64Mcg::seed_from_u64(2);
    let mut found = Buckets::default();
    for _ in 0..200_000 {
        found.add(fixed(f64::from_bits(random.random())), 1);
        assert!(found.counts.len() <= 8_200);
    }
    assert_eq!(usize::from(found.level), LEVELS.len() - 1);
    assert!(found.counts.len() > 7_000);
}

#[test]
fn what_is_no_number_stands_for_itself() {
    let mut values: Vec<f64> = (0..300).map(f64::from).collect();
    values.extend([f64::NEG_INFINITY; 100]);
    values.extend([f64::INFINITY; 100]);
    let found = buckets(&values);
    assert_eq!((found.at(0.0), found.at(1.0)), (Some(f64::NEG_INFINITY), Some(f64::INFINITY)));
    assert_eq!(found.at(100.0 / 499.0), Some(0.0));
    values.push(f64::NAN);
    assert!(buckets(&values).at(1.0).is_some_and(f64::is_nan));
    assert_eq!(middle(-1, 45), 0.0);
}

use rand::{Rng, SeedableRng, seq::SliceRandom};
use rand_pcg::Pcg64Mcg;

use super::*;

fn sum(terms: &[f64]) -> Exact {
    let mut sum = Exact::default();
    terms.iter().for_each(|term| sum.add(*term, 1));
    sum
}

/// The sum by growing expansions, as Python's `fsum` does it: another algorithm for the same result. Only
/// without overflow.
fn reference(terms: &[f64]) -> f64 {
    let mut parts: Vec<f64> = Vec::new();
    for term in terms {
        let mut carried = *term;
        let mut kept = Vec::new();
        for part in parts {
            let (high, low) = two_sum(carried, part);
            if low != 0.0 {
                kept.push(low);
            }
            carried = high;
        }
        kept.push(carried);
        parts = kept;
    }
    let mut parts = parts.into_iter().rev();
    let mut high = parts.next().unwrap_or(0.0);
    let mut low = 0.0;
    for part in parts.by_ref() {
        (high, low) = two_sum(high, part);
        if low != 0.0 {
            break;
        }
    }
    // Half-way cases are decided by the sign of what comes below.
    if parts.next().is_some_and(|below| (low < 0.0) == (below < 0.0)) {
        let (up, rest) = (high + 2.0 * low, 2.0 * low);
        if up - high == rest {
            high = up;
        }
    }
    high + 0.0
}

fn random_term(random: &mut Pcg64Mcg, magnitudes: i32) -> f64 {
    let magnitude = 10f64.powi(random.random_range(-magnitudes..=magnitudes));
    match random.random_range(0..4) {
        0 => random.random_range(-1.0..1.0) * magnitude,
        1 => f64::from(random.random_range(-100..100)) / 7.0 * magnitude,
        2 => magnitude,
        _ => -magnitude,
    }
}

#[test]
fn any_order_any_parts_and_terms_taken_back_give_the_rounded_exact_sum() {
    for seed in 0..300 {
        let mut random = Pcg64Mcg::seed_from_u64(seed);
        let magnitudes = [1, 6, 12, 150][seed as usize % 4];
        let count = random.random_range(0..200);
        let mut terms: Vec<f64> = (0..count).map(|_| random_term(&mut random, magnitudes)).collect();
        let expected = reference(&terms).to_bits();
        terms.shuffle(&mut random);
        assert_eq!(sum(&terms).value().to_bits(), expected, "seed {seed}");

        let (left, right) = terms.split_at(random.random_range(0..=terms.len()));
        let mut merged = sum(left);
        merged.merge(&sum(right));
        assert_eq!(merged.value().to_bits(), expected, "seed {seed}");

        let extra: Vec<f64> = (0..20).map(|_| random_term(&mut random, 300)).collect();
        extra.iter().for_each(|term| merged.add(*term, 3));
        extra.iter().for_each(|term| merged.add(*term, -2));
        let mut merged = Exact::load(&merged.save()).expect("saved");
        extra.iter().for_each(|term| merged.add(*term, -1));
        assert_eq!(merged.value().to_bits(), expected, "seed {seed}");
    }
}

#[test]
fn rounding_is_to_the_nearest_and_ties_go_to_even() {
    let ulp = f64::EPSILON;
    let tiny = 2f64.powi(-300);
    let cases: [(&[f64], f64); 8] = [
        (&[1.0, ulp / 2.0], 1.0),
        (&[1.0, ulp / 2.0, tiny], 1.0 + ulp),
        (&[1.0, ulp / 2.0, -tiny], 1.0),
        (&[1.0 + ulp, ulp / 2.0], 1.0 + 2.0 * ulp),
        (&[1.0 + ulp, ulp / 2.0, -tiny], 1.0 + ulp),
        (&[1e16, 1.0, -1e16, tiny], 1.0),
        (&[5e-324, 1e300, -1e300, 5e-324], 1e-323),
        (&[2.2250738585072014e-308, 1e200, -5e-324, -1e200], 2.225073858507201e-308),
    ];
    for (terms, expected) in cases {
        assert_eq!(sum(terms).value().to_bits(), expected.to_bits(), "{terms:?}");
        let negated: Vec<f64> = terms.iter().map(|term| -term).collect();
        assert_eq!(sum(&negated).value().to_bits(), (-expected).to_bits(), "{negated:?}");
    }
}

#[test]
fn overflow_on_the_way_is_none_at_the_end() {
    assert_eq!(sum(&[f64::MAX, f64::MAX, -f64::MAX]).value(), f64::MAX);
    assert_eq!(sum(&[f64::MAX, f64::MAX]).value(), f64::INFINITY);
    assert_eq!(sum(&[-f64::MAX, -f64::MAX]).value(), f64::NEG_INFINITY);
    let mut many = Exact::default();
    many.add(f64::MAX, i64::MAX);
    many.add(1.5, i64::MIN);
    many.add(f64::MAX, -i64::MAX);
    assert_eq!(many.value(), -1.5 * 2f64.powi(63));
}

#[test]
fn infinities_and_nans_can_be_taken_back() {
    let mut sum = sum(&[1.5, f64::INFINITY]);
    assert_eq!(sum.value(), f64::INFINITY);
    sum.add(f64::NEG_INFINITY, 2);
    assert!(sum.value().is_nan());
    sum.add(f64::INFINITY, -1);
    assert_eq!(sum.value(), f64::NEG_INFINITY);
    sum.add(f64::NAN, 1);
    assert!(sum.value().is_nan());
    let mut sum = Exact::load(&sum.save()).expect("saved");
    sum.add(f64::NAN, -1);
    sum.add(f64::NEG_INFINITY, -2);
    assert_eq!(sum.value(), 1.5);
    assert!(Exact::load(&[1, 2, 3]).is_none());
}

#[test]
fn a_wide_sum_is_saved_without_the_limbs_that_are_zero() {
    for sign in [1.0, -1.0] {
        let terms = [0.1, 1e30, -7.3e-9].map(|term| term * sign);
        let mut wide = sum(&terms);
        let saved = wide.save();
        assert!((40..=64).contains(&saved.len()), "{} bytes", saved.len());
        let mut again = Exact::load(&saved).expect("saved");
        assert_eq!((again.save(), again.value()), (saved.clone(), wide.value()));
        for term in terms {
            wide.add(term, -1);
            again.add(term, -1);
        }
        assert_eq!((wide.value(), wide.save().len()), (0.0, SAVED_HEAD_BYTES));
        assert_eq!(again.save(), wide.save());
        assert_eq!(Exact::load(&again.save()).expect("saved").value(), 0.0);
        assert!(Exact::load(&saved[..saved.len() - 1]).is_none());
        assert!(Exact::load(&[0; SAVED_HEAD_BYTES]).is_none(), "the first limb is number 1");
        assert!(Exact::load(&[saved, vec![0; LIMBS * SAVED_LIMB_BYTES]].concat()).is_none());
    }
    let mut largest = Exact::default();
    largest.add(-f64::MAX, i64::MAX);
    largest.add(5e-324, 1);
    let again = Exact::load(&largest.save()).expect("saved");
    assert_eq!(again.integer(), largest.integer());
}

use super::*;

fn moments(values: &[f64]) -> Moments {
    let mut moments = Moments::default();
    values.iter().for_each(|value| moments.add(*value, 1));
    moments
}

/// var_pop, var_samp, stddev_pop.
fn results(values: &[f64]) -> [Option<f64>; 3] {
    [(true, false), (false, false), (true, true)].map(|(population, root)| {
        let mut variance = Variance::new(population, root);
        variance.counts.push(values.len() as i64);
        variance.moments.push(moments(values));
        variance.result(0)
    })
}

#[test]
fn few_values_have_the_variance_of_the_definition() {
    assert_eq!(results(&[]), [None; 3]);
    assert_eq!(results(&[7.5]), [Some(0.0), None, Some(0.0)]);
    assert_eq!(results(&[1.0, 3.0]), [Some(1.0), Some(2.0), Some(1.0)]);
    assert_eq!(results(&[2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0])[0], Some(4.0));
    assert!(results(&[1.0, f64::INFINITY])[0].is_some_and(f64::is_nan));
    assert!(results(&[1.0, f64::NAN])[2].is_some_and(f64::is_nan));
}

#[test]
fn equal_values_have_no_variance_however_many_and_whatever_they_are() {
    for value in [0.1, 1.0 / 3.0, 1e15 + 0.3, -2.5e-3, 1e200, -f64::MAX, 5e-324, 1e-200, 0.0] {
        for count in 1..200 {
            assert_eq!(results(&vec![value; count])[0], Some(0.0), "{count} times {value}");
        }
    }
}

#[test]
fn small_distances_at_a_large_mean_are_not_lost() {
    // 1e15 + {0, 1, 2}: doubles hold these exactly.
    assert_eq!(results(&[1e15, 1e15 + 1.0, 1e15 + 2.0])[1], Some(1.0));
    let next = f64::from_bits(1.0f64.to_bits() + 1);
    let unit = next - 1.0;
    assert_eq!(results(&[1.0, next])[0], Some(unit * unit / 4.0));
    assert_eq!(results(&[-1e100, -1e100, 1e100, 1e100])[2], Some(1e100));
}

#[test]
fn huge_and_tiny_values_are_computed_without_overflow() {
    assert_eq!(results(&[1e200, 3e200])[2], Some(1e200));
    assert_eq!(results(&[1e200, 3e200])[0], Some(f64::INFINITY), "no double is as large");
    assert_eq!(results(&[f64::MAX, -f64::MAX])[2], Some(f64::MAX));
    assert_eq!(results(&[2e-300, 4e-300])[2].map(|it| (it / 1e-300 - 1.0).abs() < 1e-15), Some(true));
    assert_eq!(results(&[5e-324, 1.5e-323])[2], Some(5e-324));
    let mixed = results(&[1e140, 1.0, 1e140, 2.0]);
    assert!(mixed[2].is_some_and(|it| (it / 5e139 - 1.0).abs() < 1e-15), "{mixed:?}");
}

#[test]
fn both_ways_of_computing_agree() {
    let values = [0.1, -7.25, 1e10, 3.5e-5, 12345.678, 1e10, -1e-3, 1e10 + 1e-5];
    let moments = moments(&values);
    let direct = moments.deviations(8) / 8.0;
    let integers = moments.in_integers(8, 8, false);
    assert!((direct / integers - 1.0).abs() < 1e-15, "{direct} {integers}");
}

#[test]
fn extremes_that_are_taken_back_leave_no_trace() {
    let mut moments = moments(&[1.0, 2.0]);
    for value in [1e300, 5e-324, f64::INFINITY, f64::NAN] {
        moments.add(value, 3);
        moments.add(value, -1);
        moments.add(value, -2);
    }
    assert!(moments.extremes.is_none() && !moments.sum.has_specials());
    assert_eq!(moments.deviations(2), 0.5);
}

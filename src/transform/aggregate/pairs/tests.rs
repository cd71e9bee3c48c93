use super::*;

const ALL: [OfPairs; 11] = [
    OfPairs::Corr,
    OfPairs::CovarPop,
    OfPairs::CovarSamp,
    OfPairs::RegrSlope,
    OfPairs::RegrIntercept,
    OfPairs::RegrR2,
    OfPairs::RegrAvgx,
    OfPairs::RegrAvgy,
    OfPairs::RegrSxx,
    OfPairs::RegrSyy,
    OfPairs::RegrSxy,
];

fn result(function: OfPairs, pairs: &[(f64, f64)]) -> Option<f64> {
    let mut state = Pairs::new(function);
    state.resize(1);
    for (y, x) in pairs {
        state.sums[0].add(*x, *y, 1);
        state.counts[0] += 1;
    }
    state.result(0)
}

/// In the order of [`ALL`].
fn results(pairs: &[(f64, f64)]) -> Vec<Option<f64>> {
    ALL.iter().map(|function| result(*function, pairs)).collect()
}

#[test]
fn few_pairs_have_the_results_of_postgres() {
    assert_eq!(results(&[]), [None; 11]);
    let one =
        [None, Some(0.0), None, None, None, None, Some(2.0), Some(1.0), Some(0.0), Some(0.0), Some(0.0)];
    assert_eq!(results(&[(1.0, 2.0)]), one);
    let three = [(1.0, 2.0), (2.0, 5.0), (4.0, 5.5)];
    let expected = [
        0.8357661056711407,
        1.611111111111111,
        2.4166666666666665,
        0.6744186046511628,
        -0.4767441860465116,
        0.6985049833887044,
        4.166666666666667,
        2.3333333333333335,
        7.166666666666667,
        4.666666666666667,
        4.833333333333333,
    ];
    for ((found, expected), function) in results(&three).into_iter().zip(expected).zip(ALL) {
        let found = found.expect("a result");
        assert!((found / expected - 1.0).abs() < 1e-15, "{function:?}: {found} instead of {expected}");
    }
}

#[test]
fn values_without_spread_have_no_slope() {
    let same_y = results(&[(0.1, 2.0), (0.1, 3.0), (0.1, 7.5)]);
    assert_eq!((same_y[0], same_y[3], same_y[4], same_y[5]), (None, Some(0.0), Some(0.1), Some(1.0)));
    let same_x = results(&[(1.0, 0.1), (2.0, 0.1), (4.0, 0.1)]);
    assert_eq!((same_x[0], same_x[3], same_x[4], same_x[5]), (None, None, None, None));
    assert_eq!((same_x[1], same_x[8]), (Some(0.0), Some(0.0)));
}

#[test]
fn what_lies_on_a_line_is_found_exactly() {
    let line: Vec<_> = (0..50).map(|n| f64::from(n) * 0.37 + 1e9).map(|x| (-2.0 * x, x)).collect();
    let found = results(&line);
    assert_eq!((found[0], found[3], found[4], found[5]), (Some(-1.0), Some(-2.0), Some(0.0), Some(1.0)));
    // Small distances at large means.
    let line = [(1e15 + 1.0, 2e15 + 2.0), (1e15 + 2.0, 2e15 + 4.0), (1e15 + 3.0, 2e15 + 6.0)];
    let found = results(&line);
    assert_eq!((found[0], found[1], found[3]), (Some(1.0), Some(4.0 / 3.0), Some(0.5)));
}

#[test]
fn huge_and_tiny_values_are_computed_without_overflow() {
    let found = results(&[(1e200, 1e-200), (3e200, 3e-200), (2e200, 5e-200)]);
    assert!(found[0].is_some_and(|corr| (corr - 0.5).abs() < 1e-15), "{found:?}");
    assert!(found[1].is_some_and(|covar| (covar * 1.5 - 1.0).abs() < 1e-15), "{found:?}");
    assert_eq!(result(OfPairs::CovarPop, &[(f64::MAX, f64::MAX), (0.0, 0.0)]), Some(f64::INFINITY));
    assert_eq!(result(OfPairs::Corr, &[(f64::MAX, 5e-324), (-f64::MAX, 0.0)]), Some(1.0));
}

#[test]
fn pairs_that_are_taken_back_leave_no_trace() {
    let mut sums = Sums::default();
    let pairs =
        [(1e300, 3.0), (5e-324, -1e-300), (f64::INFINITY, 1.0), (2.0, f64::NAN), (0.1, 0.3), (0.0, 1e300)];
    for (x, y) in pairs {
        sums.add(x, y, 3);
        sums.add(x, y, -1);
        sums.add(x, y, -2);
    }
    assert!(sums.extremes.is_none() && !sums.x.sum().has_specials() && !sums.y.sum().has_specials());
    assert_eq!(sums.products(), BigInt::ZERO);
    assert!(result(OfPairs::Corr, &[(1.0, 2.0), (f64::INFINITY, 3.0)]).is_some_and(f64::is_nan));
}

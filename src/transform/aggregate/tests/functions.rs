//! The aggregates that the properties are tested with.

use super::*;

/// Every function over every kind of value, with and without a filter.
pub fn everything(keys: &[&str], append_only: bool) -> Aggregation {
    use AggregateFunction::{Avg, Count, FirstValue, LastValue, Max, Min, Sum};
    let mut aggregates = vec![aggregate(Count, None, None, None)];
    for filter in [false, true] {
        let filter = || filter.then(|| equals("name", "soc"));
        for argument in ["i", "d", "s", "t"] {
            aggregates.push(aggregate(Count, Some(argument), None, filter()));
            aggregates.push(aggregate(Min, Some(argument), None, filter()));
            aggregates.push(aggregate(Max, Some(argument), None, filter()));
            for order in ["t", "d", "s"] {
                aggregates.push(aggregate(FirstValue, Some(argument), Some(order), filter()));
                aggregates.push(aggregate(LastValue, Some(argument), Some(order), filter()));
            }
        }
        for argument in ["i", "d"] {
            aggregates.push(aggregate(Sum, Some(argument), None, filter()));
            aggregates.push(aggregate(Avg, Some(argument), None, filter()));
        }
        aggregates.extend(unordered(filter()));
        aggregates.extend(ordered(filter()));
        aggregates.extend(distinct(filter()));
    }
    plan(keys, aggregates, append_only)
}

const OF_PAIRS: [OfPairs; 12] = [
    OfPairs::Corr,
    OfPairs::CovarPop,
    OfPairs::CovarSamp,
    OfPairs::RegrAvgx,
    OfPairs::RegrAvgy,
    OfPairs::RegrCount,
    OfPairs::RegrIntercept,
    OfPairs::RegrR2,
    OfPairs::RegrSlope,
    OfPairs::RegrSxx,
    OfPairs::RegrSxy,
    OfPairs::RegrSyy,
];

fn unordered(filter: Option<Expr>) -> Vec<Aggregate> {
    use AggregateFunction as F;
    let over = |functions: &[AggregateFunction], argument| -> Vec<Aggregate> {
        functions.iter().map(|function| aggregate(*function, Some(argument), None, filter.clone())).collect()
    };
    let mut aggregates = over(&[F::VarPop, F::VarSamp, F::StddevPop, F::StddevSamp], "d");
    aggregates.extend(over(&OF_PAIRS.map(F::OfPairs), "d"));
    aggregates.extend(over(&[F::BoolAnd, F::BoolOr, F::Min, F::Max], "b"));
    aggregates.extend(over(&[F::BitAnd, F::BitOr, F::BitXor], "i"));
    aggregates.extend(over(&[F::Median, F::PercentileCont], "d"));
    aggregates.extend(over(&[F::ApproxPercentileCont, F::SigmaClippedPercentile], "d"));
    for fraction in [0.0, 1.0, 1.0 / 3.0] {
        let percentile = aggregate(F::PercentileCont, Some("d"), None, filter.clone());
        aggregates.push(named(Aggregate { parameter: Some(Parameter::Fraction(fraction)), ..percentile }));
    }
    for argument in ["i", "d", "s", "t", "b"] {
        aggregates.extend(over(&[F::ApproxDistinct], argument));
    }
    aggregates.extend(over(&[F::StringAgg], "s"));
    aggregates.extend(["i", "d", "s", "b"].into_iter().flat_map(|argument| over(&[F::ArrayAgg], argument)));
    aggregates
}

/// Descending, by several expressions, and with IGNORE NULLS.
fn ordered(filter: Option<Expr>) -> Vec<Aggregate> {
    use AggregateFunction as F;
    let by = |function: AggregateFunction, argument, orders: &[(&str, bool, bool)], ignore_nulls| {
        let order_by = orders.iter().map(|(name, descending, nulls_first)| OrderBy {
            expr: column(name),
            descending: *descending,
            nulls_first: if function.picks() { function == F::LastValue } else { *nulls_first },
        });
        let plain = aggregate(function, Some(argument), None, filter.clone());
        named(Aggregate { order_by: order_by.collect(), ignore_nulls, ..plain })
    };
    let mut aggregates = Vec::new();
    for function in [F::FirstValue, F::LastValue] {
        aggregates.push(by(function, "i", &[("t", true, true)], false));
        aggregates.push(by(function, "s", &[("t", false, false), ("i", true, false)], false));
        aggregates.push(by(function, "d", &[("s", true, false), ("t", false, true)], true));
        aggregates.push(by(function, "b", &[("t", false, false)], true));
    }
    for nulls_first in [false, true] {
        aggregates.push(by(F::StringAgg, "s", &[("t", false, nulls_first)], false));
        aggregates.push(by(F::ArrayAgg, "i", &[("s", true, nulls_first), ("d", false, !nulls_first)], false));
    }
    aggregates.push(by(F::ArrayAgg, "d", &[], true));
    aggregates
}

fn distinct(filter: Option<Expr>) -> Vec<Aggregate> {
    use AggregateFunction as F;
    let over = |function, argument| {
        let plain = aggregate(function, Some(argument), None, filter.clone());
        named(Aggregate { distinct: true, ..plain })
    };
    let mut aggregates: Vec<Aggregate> =
        ["i", "d", "s", "t", "b", "k"].iter().map(|argument| over(F::Count, argument)).collect();
    for function in [F::Sum, F::Avg] {
        aggregates.extend(["i", "d"].map(|argument| over(function, argument)));
    }
    aggregates.extend(
        [F::VarPop, F::Median, F::ApproxPercentileCont, F::SigmaClippedPercentile]
            .map(|function| over(function, "d")),
    );
    aggregates.extend([over(F::BitXor, "i"), over(F::StringAgg, "s"), over(F::ArrayAgg, "i")]);
    aggregates
}

//! The view recomputed from all rows, with none of the code under test but the exact sum and canonical bytes.

use std::cmp::Ordering;
use std::ops::Deref;

use num_bigint::BigInt;
use serde_json::Value;

use super::*;
use crate::canonical;

/// A cell of the expected view, or that the group has no row.
type Outcome = Result<Option<String>, ()>;

/// A row with what it is compared by.
struct Known {
    row: Row,
    /// Canonical bytes of each column: their order is tested where they are made.
    keys: Vec<Vec<u8>>,
    whole: Vec<u8>,
}

impl Deref for Known {
    type Target = Row;

    fn deref(&self) -> &Row {
        &self.row
    }
}

impl Known {
    fn new(row: Row) -> Self {
        let rows = batch(std::slice::from_ref(&row), true).rows;
        let encode = |columns: &[ArrayRef]| canonical::encode(columns, 1).row(0).to_vec();
        let keys = rows.columns().iter().map(|column| encode(std::slice::from_ref(column))).collect();
        Known { whole: encode(rows.columns()), keys, row }
    }
}

/// The rows that are in the relation after `rows`, with origins dropped where `updating`.
fn present(rows: &[Row], updating: bool) -> Vec<Row> {
    let mut present: Vec<Row> = Vec::new();
    for row in rows.iter().filter(|row| row.diff > 0) {
        present.push(row.clone());
    }
    for row in rows.iter().filter(|row| row.diff < 0) {
        let same = |other: &Row| format!("{:?}", Row { diff: 1, ..row.clone() }) == format!("{other:?}");
        let place = present.iter().position(same).expect("only rows that are there are taken back");
        present.swap_remove(place);
    }
    if !updating {
        present.sort_by_key(|row| row.origin);
    }
    present
}

/// The view after `rows`, as sorted cells.
pub fn view(plan: &Aggregation, rows: &[Row]) -> Vec<Cells> {
    let updating = !plan.append_only_input;
    let mut groups: BTreeMap<Option<&str>, Vec<Known>> = BTreeMap::new();
    if plan.keys.is_empty() {
        groups.insert(None, Vec::new());
    }
    for row in present(rows, updating) {
        groups.entry(if plan.keys.is_empty() { None } else { row.k }).or_default().push(Known::new(row));
    }
    let mut view: Vec<Cells> = Vec::new();
    for (key, rows) in groups {
        let results: Result<Vec<_>, ()> =
            plan.aggregates.iter().map(|aggregate| result(aggregate, &rows, updating)).collect();
        if let Ok(mut results) = results {
            if !plan.keys.is_empty() {
                results.insert(0, key.map(|key| format!("{key:?}")));
            }
            view.push(results);
        }
    }
    view.sort();
    view
}

/// Whether two views are the same: to the last bit, but for what is computed from an exact sum in a few
/// rounded steps, where 1e-15 is allowed.
pub fn same(plan: &Aggregation, found: &[Cells], expected: &[Cells]) -> Result<(), String> {
    use AggregateFunction as F;
    if found.len() != expected.len() {
        return Err(format!("found {found:?}\nexpected {expected:?}"));
    }
    for (found, expected) in found.iter().zip(expected) {
        for (column, (left, right)) in found.iter().zip(expected).enumerate() {
            let aggregate = column.checked_sub(plan.keys.len()).map(|column| &plan.aggregates[column]);
            let steps = aggregate.is_some_and(|it| {
                matches!(it.function, F::VarPop | F::VarSamp | F::StddevPop | F::StddevSamp | F::OfPairs(_))
            });
            let near = |left: &Option<String>, right: &Option<String>| {
                let numbers = left.as_ref().and_then(|left| left.parse::<f64>().ok());
                let numbers = numbers.zip(right.as_ref().and_then(|right| right.parse::<f64>().ok()));
                numbers.is_some_and(|(left, right)| (left - right).abs() <= 1e-15 * right.abs())
            };
            if left != right && !(steps && near(left, right)) {
                let name = aggregate.map_or("key", |aggregate| aggregate.text.as_str());
                return Err(format!("{name} of {:?}: found {left:?}, expected {right:?}", found[0]));
            }
        }
    }
    Ok(())
}

fn result(aggregate: &Aggregate, rows: &[Known], updating: bool) -> Outcome {
    use AggregateFunction as F;
    // The only filter of the test is on the name; its literal is not looked at again.
    let filtered = rows.iter().filter(|row| aggregate.filter.is_none() || row.name == "soc");
    let Some(argument) = aggregate.argument.as_ref().map(|argument| argument.text.as_str()) else {
        return Ok(Some(filtered.count().to_string()));
    };
    let function = aggregate.function;
    let keeps_nulls = function.keeps_nulls() && !aggregate.ignore_nulls;
    let mut rows: Vec<&Known> = filtered.filter(|row| keeps_nulls || cell(row, argument).is_some()).collect();
    if aggregate.distinct || function == F::ApproxDistinct {
        rows.sort_by(|left, right| sort_key(left, argument).cmp(sort_key(right, argument)));
        rows.dedup_by(|left, right| sort_key(left, argument) == sort_key(right, argument));
    } else {
        rows.sort_by(|left, right| compare(aggregate, left, right, updating));
    }
    if function.picks() {
        rows.retain(|row| cell(row, &aggregate.order_by[0].expr.text).is_some());
    }
    let picked = |row: Option<&&Known>| Ok(row.and_then(|row| cell(row, argument)));
    match function {
        F::Count | F::ApproxDistinct => Ok(Some(rows.len().to_string())),
        F::Sum | F::Avg => sum(function, argument, &rows),
        F::Min => picked(rows.iter().min_by_key(|row| sort_key(row, argument))),
        F::Max => picked(rows.iter().max_by_key(|row| sort_key(row, argument))),
        F::FirstValue => picked(rows.first()),
        F::LastValue => picked(rows.last()),
        F::BoolAnd => Ok((!rows.is_empty()).then(|| rows.iter().all(|row| row.b == Some(true)).to_string())),
        F::BoolOr => Ok((!rows.is_empty()).then(|| rows.iter().any(|row| row.b == Some(true)).to_string())),
        F::BitAnd | F::BitOr | F::BitXor => {
            let join = |left: i64, right: i64| match function {
                F::BitAnd => left & right,
                F::BitOr => left | right,
                _ => left ^ right,
            };
            Ok(rows.iter().filter_map(|row| row.i).reduce(join).map(|bits| bits.to_string()))
        }
        F::StringAgg => {
            let texts: Vec<&str> = rows.iter().filter_map(|row| row.s).collect();
            Ok((!texts.is_empty()).then(|| format!("{:?}", texts.join("; "))))
        }
        F::ArrayAgg => {
            let values: Vec<Value> = rows.iter().map(|row| json(row, argument)).collect();
            Ok((!rows.is_empty()).then(|| format!("{:?}", Value::from(values).to_string())))
        }
        F::Median | F::PercentileCont | F::ApproxPercentileCont => Ok(percentile(aggregate, &rows)),
        F::SigmaClippedPercentile => Ok(percentile(aggregate, &near(&rows))),
        F::VarPop | F::VarSamp | F::StddevPop | F::StddevSamp => Ok(deviation(function, &rows)),
        F::OfPairs(function) => {
            let pairs: Vec<_> = rows.iter().filter_map(|row| Some((row.d?, row.i? as f64))).collect();
            Ok(of_pairs::result(function, &pairs))
        }
        F::FirstRows => unreachable!("of rows that are bytes: tested with places"),
    }
}

/// By the expressions of ORDER BY, then by origin or whole row.
fn compare(aggregate: &Aggregate, left: &Known, right: &Known, updating: bool) -> Ordering {
    for order in &aggregate.order_by {
        let name = order.expr.text.as_str();
        let compared = match (cell(left, name), cell(right, name), order.nulls_first) {
            (None, None, _) => Ordering::Equal,
            (None, Some(_), first) => {
                if first {
                    Ordering::Less
                } else {
                    Ordering::Greater
                }
            }
            (Some(_), None, first) => {
                if first {
                    Ordering::Greater
                } else {
                    Ordering::Less
                }
            }
            _ if order.descending => sort_key(right, name).cmp(sort_key(left, name)),
            _ => sort_key(left, name).cmp(sort_key(right, name)),
        };
        if compared != Ordering::Equal {
            return compared;
        }
    }
    if updating { left.whole.cmp(&right.whole) } else { left.origin.cmp(&right.origin) }
}

fn sum(function: AggregateFunction, argument: &str, rows: &[&Known]) -> Outcome {
    let average = function == AggregateFunction::Avg;
    if argument == "i" {
        let values: Vec<i128> = rows.iter().filter_map(|row| row.i.map(i128::from)).collect();
        let sum: i128 = values.iter().sum();
        return match (values.len(), average) {
            (0, _) => Ok(None),
            (count, true) => Ok(Some(double_text(sum as f64 / count as f64))),
            _ => i64::try_from(sum).map(|sum| Some(sum.to_string())).map_err(|_| ()),
        };
    }
    let values: Vec<f64> = rows.iter().filter_map(|row| row.d).collect();
    let mut sum = exact::Exact::default();
    values.iter().for_each(|value| sum.add(*value, 1));
    let count = if average { values.len() as f64 } else { 1.0 };
    Ok((!values.is_empty()).then(|| double_text(sum.value() / count)))
}

fn percentile(aggregate: &Aggregate, rows: &[&Known]) -> Option<String> {
    let fraction = match aggregate.parameter {
        Some(Parameter::Fraction(fraction) | Parameter::Clipped { fraction, .. }) => fraction,
        _ => 0.5,
    };
    let mut values: Vec<f64> = rows.iter().filter_map(|row| row.d).collect();
    // Every NaN is above all numbers.
    values
        .sort_by(|left, right| left.partial_cmp(right).unwrap_or_else(|| left.is_nan().cmp(&right.is_nan())));
    let place = fraction * values.len().checked_sub(1)? as f64;
    let (low, high) = (values[place.floor() as usize], values[place.ceil() as usize]);
    let share = place - place.floor();
    Some(double_text(if share == 0.0 { low } else { low * (1.0 - share) + high * share }))
}

/// The rows whose value is finite and within 1.5 sample standard deviations of the mean of all these: in whole
/// numbers, (n x - sum)² (n - 1) 4 <= 9 * the sum of (n x - sum)².
fn near<'a>(rows: &[&'a Known]) -> Vec<&'a Known> {
    let finite: Vec<&Known> = rows.iter().filter(|row| row.d.is_some_and(f64::is_finite)).copied().collect();
    let whole: Vec<BigInt> = finite.iter().filter_map(|row| row.d.map(in_least_units)).collect();
    let (count, sum) = (BigInt::from(whole.len()), whole.iter().sum::<BigInt>());
    let distances: Vec<BigInt> = whole.iter().map(|value| (value * &count - &sum).pow(2)).collect();
    let limit = distances.iter().sum::<BigInt>() * 9;
    let near = finite.into_iter().zip(distances);
    near.filter(|(_, distance)| distance * (&count - 1) * 4 <= limit).map(|(row, _)| row).collect()
}

/// In whole numbers, from the distances themselves: the sum of (n x - sum)², over n² and the divisor.
fn deviation(function: AggregateFunction, rows: &[&Known]) -> Option<String> {
    use AggregateFunction as F;
    let values: Vec<f64> = rows.iter().filter_map(|row| row.d).collect();
    let population = matches!(function, F::VarPop | F::StddevPop);
    let divisor = if population { values.len() } else { values.len().saturating_sub(1) };
    if divisor == 0 {
        return None;
    }
    if values.iter().any(|value| !value.is_finite()) {
        return Some(double_text(f64::NAN));
    }
    let whole: Vec<BigInt> = values.iter().map(|value| in_least_units(*value)).collect();
    let (count, sum) = (BigInt::from(values.len()), whole.iter().sum::<BigInt>());
    let squares: BigInt = whole.iter().map(|value| (value * &count - &sum).pow(2)).sum();
    // Of 200 more bits than the divisor, so that the quotient has all that a double can show.
    let quotient = (squares << 400u32) / (&count * &count * divisor);
    let exponent = -2 * 1074 - 400;
    let root = matches!(function, F::StddevPop | F::StddevSamp);
    let (digits, exponent) = if root { (quotient.sqrt(), exponent / 2) } else { (quotient, exponent) };
    Some(double_text(to_double(&digits, exponent)))
}

/// A double as a multiple of 2^-1074: doubled until it is whole, that is 2^53 at most, and then once more for
/// each of the rest of the 1074 times.
pub fn in_least_units(value: f64) -> BigInt {
    let (mut whole, mut doubled) = (value, 0);
    while whole.fract() != 0.0 {
        (whole, doubled) = (whole * 2.0, doubled + 1);
    }
    let mut halved = 0;
    while whole.abs() >= 2f64.powi(53) {
        (whole, halved) = (whole / 2.0, halved + 1);
    }
    BigInt::from(whole as i64) << (1074 + halved - doubled)
}

/// `digits` times 2^`exponent`, near enough.
pub fn to_double(digits: &BigInt, exponent: i32) -> f64 {
    let excess = digits.bits().saturating_sub(60);
    let leading = i64::try_from(digits >> excess).expect("60 bits") as f64;
    let mut power = excess as i32 + exponent;
    let mut value = leading;
    while power != 0 {
        let step = power.clamp(-500, 500);
        value *= 2f64.powi(step);
        power -= step;
    }
    value
}

fn json(row: &Row, name: &str) -> Value {
    match name {
        "i" => row.i.into(),
        "d" => row.d.map(|d| d + 0.0).into(),
        "s" => row.s.into(),
        "b" => row.b.into(),
        other => panic!("no arrays of {other}"),
    }
}

fn cell(row: &Row, name: &str) -> Option<String> {
    match name {
        "k" => row.k.map(|k| format!("{k:?}")),
        "name" => Some(format!("{:?}", row.name)),
        "i" => row.i.map(|i| i.to_string()),
        "d" => row.d.map(double_text),
        "s" => row.s.map(|s| format!("{s:?}")),
        "b" => row.b.map(|b| b.to_string()),
        _ => row.t.map(|t| format!("t{t}")),
    }
}

fn sort_key<'a>(row: &'a Known, name: &str) -> &'a [u8] {
    let column = COLUMNS.iter().position(|(column, _)| *column == name).expect("a column of the test");
    &row.keys[column]
}

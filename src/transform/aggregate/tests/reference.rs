//! The view recomputed from all rows, with none of the code under test but the exact sum.

use super::*;
use crate::canonical;

/// A cell of the expected view, or that the group has no row.
type Outcome = Result<Option<String>, ()>;

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
    let mut groups: BTreeMap<Option<&str>, Vec<Row>> = BTreeMap::new();
    if plan.keys.is_empty() {
        groups.insert(None, Vec::new());
    }
    for row in present(rows, updating) {
        groups.entry(if plan.keys.is_empty() { None } else { row.k }).or_default().push(row);
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

fn result(aggregate: &Aggregate, rows: &[Row], updating: bool) -> Outcome {
    // The only filter of the test is on the name; its literal is not looked at again.
    let rows: Vec<&Row> = rows.iter().filter(|row| aggregate.filter.is_none() || row.name == "soc").collect();
    let argument = aggregate.argument.as_ref().map(|argument| argument.text.as_str());
    match aggregate.function {
        AggregateFunction::Count => {
            let counted = rows.iter().filter(|row| argument.is_none_or(|name| cell(row, name).is_some()));
            Ok(Some(counted.count().to_string()))
        }
        AggregateFunction::Sum | AggregateFunction::Avg => sum(aggregate.function, argument, &rows),
        AggregateFunction::Min | AggregateFunction::Max => {
            let values = rows.iter().filter(|row| cell(row, argument.expect("argument")).is_some());
            let key = |row: &&&Row| sort_key(row, argument.expect("argument"));
            let best = if aggregate.function == AggregateFunction::Max {
                values.max_by_key(key)
            } else {
                values.min_by_key(key)
            };
            Ok(best.and_then(|row| cell(row, argument.expect("argument"))))
        }
        AggregateFunction::FirstValue | AggregateFunction::LastValue => {
            let order = aggregate.order_by.as_ref().expect("order").text.as_str();
            let ordered = rows.iter().filter(|row| cell(row, order).is_some());
            let key = |row: &&&Row| {
                let tie = if updating { whole_row(row) } else { vec![] };
                (sort_key(row, order), tie, if updating { (0, 0) } else { row.origin })
            };
            let best = if aggregate.function == AggregateFunction::LastValue {
                ordered.max_by_key(key)
            } else {
                ordered.min_by_key(key)
            };
            Ok(best.and_then(|row| cell(row, argument.expect("argument"))))
        }
    }
}

fn sum(function: AggregateFunction, argument: Option<&str>, rows: &[&Row]) -> Outcome {
    let average = function == AggregateFunction::Avg;
    if argument == Some("i") {
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

fn cell(row: &Row, name: &str) -> Option<String> {
    match name {
        "k" => row.k.map(|k| format!("{k:?}")),
        "name" => Some(format!("{:?}", row.name)),
        "i" => row.i.map(|i| i.to_string()),
        "d" => row.d.map(double_text),
        "s" => row.s.map(|s| format!("{s:?}")),
        _ => row.t.map(|t| format!("t{t}")),
    }
}

/// Canonical bytes: their order is tested where they are made.
fn sort_key(row: &Row, name: &str) -> Vec<u8> {
    let column = COLUMNS.iter().position(|(column, _)| *column == name).expect("a column of the test");
    canonical::encode(&[batch(std::slice::from_ref(row), true).rows.column(column).clone()], 1)
        .row(0)
        .to_vec()
}

fn whole_row(row: &Row) -> Vec<u8> {
    canonical::encode(batch(std::slice::from_ref(row), true).rows.columns(), 1).row(0).to_vec()
}

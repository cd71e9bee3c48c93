//! Known answers of expressions, over four rows: the second with what is special, the third all NULL, the last
//! all zero.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BooleanArray, Date32Array, Float64Array, Int32Array, Int64Array, RecordBatch,
    StringArray, TimestampNanosecondArray,
};
use arrow::util::display::{ArrayFormatter, FormatOptions};

use super::compiled;
use crate::plan::{Plan, Step};

const VALUES: &str =
    "CREATE SOURCE v (s TEXT, i BIGINT, n INT, f DOUBLE, b BOOLEAN, t TIMESTAMP, d DATE, j JSON)
    WITH (connector = 'file', path = 'v.jsonl');\n";

/// 2024-02-29T12:34:56.789012345Z and half a second before 1970.
const TIMES: [Option<i64>; 4] = [Some(1_709_210_096_789_012_345), Some(-500_000_000), None, Some(0)];

fn rows(plan: &Plan) -> RecordBatch {
    let text = |values: [Option<&str>; 4]| -> ArrayRef { Arc::new(StringArray::from(values.to_vec())) };
    let columns: Vec<ArrayRef> = vec![
        text([Some("abc"), Some("Äé 12"), None, Some("")]),
        Arc::new(Int64Array::from(vec![Some(10), Some(i64::MIN), None, Some(0)])),
        Arc::new(Int32Array::from(vec![Some(3), Some(i32::MAX), None, Some(0)])),
        Arc::new(Float64Array::from(vec![Some(1.5), Some(-2.5), None, Some(0.0)])),
        Arc::new(BooleanArray::from(vec![Some(true), Some(false), None, Some(false)])),
        Arc::new(TimestampNanosecondArray::from(TIMES.to_vec())),
        Arc::new(Date32Array::from(vec![Some(19_782), Some(-1), None, Some(0)])),
        text([Some(r#"{"a": [1, "x"]}"#), Some("[]"), None, Some("0")]),
    ];
    RecordBatch::try_new(Arc::clone(&plan.sources[0].schema), columns).expect("rows of the source")
}

/// The values of an expression for the four rows, `!` and the reason where it fails on a row; or what the
/// compiler says. Whatever a row gives, it gives alone as well as beside others.
pub(super) fn answers(expression: &str) -> Result<Vec<String>, String> {
    let text =
        format!("{VALUES}CREATE SINK o AS SELECT {expression} AS x FROM v WITH (connector = 'stdout');");
    let plan = compiled(&text).map_err(|wrong| wrong.to_string())?;
    let rows = rows(&plan);
    let Some(Step::Project { exprs, schema }) = plan.legs[0].steps.last() else {
        panic!("{expression} is no expression");
    };
    let evaluate = |rows: &RecordBatch| -> Result<ArrayRef, String> {
        let values = exprs[0].physical.evaluate(rows).and_then(|value| value.into_array(rows.num_rows()));
        let values = values.map_err(|error| error.find_root().strip_backtrace())?;
        assert_eq!(values.data_type(), schema.field(0).data_type(), "{expression}");
        Ok(values)
    };
    let alone: Vec<_> = (0..rows.num_rows()).map(|row| evaluate(&rows.slice(row, 1))).collect();
    match evaluate(&rows) {
        Ok(whole) => {
            for (row, alone) in alone.iter().enumerate() {
                let same = alone.as_ref().is_ok_and(|alone| alone.to_data() == whole.slice(row, 1).to_data());
                assert!(same, "{expression}: row {row} alone gives {alone:?}");
            }
        }
        Err(error) => assert!(alone.iter().any(Result::is_err), "{expression} fails on no row: {error}"),
    }
    let show = |values: &ArrayRef| {
        let options = FormatOptions::default().with_null("NULL");
        let format = ArrayFormatter::try_new(values, &options).expect("a format");
        let text = format.value(0).to_string();
        if text.is_empty() { "''".to_owned() } else { text }
    };
    Ok(alone.iter().map(|values| values.as_ref().map_or_else(|error| format!("!{error}"), show)).collect())
}

/// Compares the answers of an expression with those of a line: four of them between ` | `, where one that begins
/// with `!` is a part of the reason; or `refused: ` and a part of what the compiler says. Gives what differs.
pub(super) fn differs(expression: &str, expected: &str) -> Option<String> {
    let found = answers(expression);
    let same = match (&found, expected.strip_prefix("refused: ")) {
        (Err(wrong), Some(reason)) => wrong.contains(reason),
        (Ok(values), None) => {
            let cells: Vec<&str> = expected.split(" | ").collect();
            let as_expected = |(found, cell): (&String, &&str)| match cell.strip_prefix('!') {
                Some(reason) => found.starts_with('!') && found.contains(reason),
                None => found == cell,
            };
            cells.len() == values.len() && values.iter().zip(&cells).all(as_expected)
        }
        _ => false,
    };
    let found = found.map_or_else(|wrong| format!("refused: {wrong}"), |values| values.join(" | "));
    (!same).then(|| format!("{expression} => {found}\n    expected: {expected}\n"))
}

/// Fails with all that differs.
pub(super) fn assert_answers(lines: &[(&str, &str)]) {
    let wrong: String =
        lines.iter().filter_map(|(expression, expected)| differs(expression, expected)).collect();
    assert!(wrong.is_empty(), "{wrong}");
}

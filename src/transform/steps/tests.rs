use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, StringArray, UInt32Array, UInt64Array};
use arrow::datatypes::{Field, Int64Type, Schema, TimestampNanosecondType};
use datafusion_common::ScalarValue;
use datafusion_expr::Operator;
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_expr::expressions::{BinaryExpr, CastExpr, Column, Literal};

use super::*;
use crate::batch::Origin;
use crate::dead_letter::Reason;

fn expr(physical: Arc<dyn PhysicalExpr>, text: &str) -> Expr {
    Expr { physical, text: text.into(), uses_now: false }
}

fn column(name: &str, index: usize) -> Arc<dyn PhysicalExpr> {
    Arc::new(Column::new(name, index))
}

fn number(value: i64) -> Arc<dyn PhysicalExpr> {
    Arc::new(Literal::new(ScalarValue::Int64(Some(value))))
}

fn binary(left: Arc<dyn PhysicalExpr>, op: Operator, right: Arc<dyn PhysicalExpr>) -> Arc<dyn PhysicalExpr> {
    Arc::new(BinaryExpr::new(left, op, right))
}

/// 100 / n
fn quotient() -> Expr {
    expr(binary(number(100), Operator::Divide, column("n", 0)), "100 / n")
}

/// CAST(t AS BIGINT)
fn parsed() -> Expr {
    expr(Arc::new(CastExpr::new(column("t", 1), DataType::Int64, None)), "CAST(t AS BIGINT)")
}

fn schema(fields: &[(&str, DataType, bool)]) -> SchemaRef {
    let fields =
        fields.iter().map(|(name, data_type, nullable)| Field::new(*name, data_type.clone(), *nullable));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// n is 0 in every seventh row and NULL in every fifth; t is no number in every eleventh.
fn batch(rows: usize, origin: bool) -> Batch {
    let n = (0..rows).map(|row| (row % 5 != 4).then_some((row % 7) as i64)).collect::<Int64Array>();
    let t = (0..rows).map(|row| if row % 11 == 10 { format!("x{row}") } else { row.to_string() });
    let columns = RecordBatch::try_from_iter_with_nullable([
        ("n", Arc::new(n) as ArrayRef, true),
        ("t", Arc::new(StringArray::from_iter_values(t)) as ArrayRef, false),
    ]);
    let origin = origin.then(|| Origin {
        source: 1,
        index: 0,
        partition: UInt32Array::from(vec![2; rows]),
        offset: UInt64Array::from_iter_values(0..rows as u64),
    });
    Batch::inserts(columns.expect("columns"), origin, 1_000)
}

fn steps() -> Steps {
    let both = schema(&[("q", DataType::Int64, true), ("p", DataType::Int64, false)]);
    let small = expr(binary(column("q", 0), Operator::Lt, number(60)), "q < 60");
    let steps = vec![Step::Project { exprs: vec![quotient(), parsed()], schema: both }, Step::Filter(small)];
    Steps::new("a->b", steps)
}

#[test]
fn exactly_the_bad_rows_become_letters_however_they_are_batched() {
    let whole = batch(300, true);
    let bad = |row: &u64| (row.is_multiple_of(7) && row % 5 != 4) || row % 11 == 10;
    let expected: Vec<u64> = (0..300).filter(bad).collect();
    for size in [1, 3, 64, 300] {
        let mut out = Output::default();
        for start in (0..300).step_by(size) {
            steps().apply(whole.slice(start, size.min(300 - start)), &mut out);
        }
        let offsets: Vec<u64> =
            out.letters.iter().map(|letter| letter.origin.expect("origin").offset).collect();
        assert_eq!(offsets, expected, "batches of {size}");
        assert_eq!(out.dead, expected.len() as i64);
        let kept: i64 = out.batches.iter().map(Batch::diff_sum).sum();
        assert_eq!(kept + out.filtered + out.dead, 300, "batches of {size}");
        let values: Vec<i64> = out
            .batches
            .iter()
            .flat_map(|batch| batch.rows.column(1).as_primitive::<Int64Type>().values().to_vec())
            .collect();
        let good = |row: &i64| !bad(&(*row as u64)) && row % 5 != 4 && 100 / (row % 7) < 60;
        assert_eq!(values, (0..300).filter(good).collect::<Vec<i64>>(), "batches of {size}");
        let first = &out.letters[0];
        assert_eq!((first.rule.as_str(), first.error.as_str()), ("100 / n", "division by zero"));
        let cast = out.letters.iter().find(|letter| letter.rule != "100 / n").expect("a cast fails");
        assert_eq!(cast.rule, "CAST(t AS BIGINT)");
        assert_eq!(cast.error, "cannot cast 'x10' to BIGINT");
        assert_eq!((cast.reason, cast.stage.as_str()), (Reason::Expression, "a->b"));
    }
}

#[test]
fn rows_of_updating_relations_are_shown_and_counted_by_their_diffs() {
    let mut rows = batch(8, false);
    rows.diffs = Some(Int64Array::from(vec![1, 1, -1, 1, 1, 1, 1, -1]));
    let mut out = Output::default();
    let positive = expr(binary(quotient().physical, Operator::Gt, number(20)), "100 / n > 20");
    Steps::new("v->s", vec![Step::Filter(positive)]).apply(rows, &mut out);
    // Rows 0 and 7 divide by zero; 4 is NULL, 5 and 6 are too small.
    assert_eq!((out.dead, out.filtered, out.letters.len()), (0, 3, 1));
    assert_eq!(out.letters[0].row.as_deref(), Some(r#"{"n":0,"t":"0"}"#));
    assert_eq!(out.batches[0].diffs.as_ref().expect("diffs").values(), &[1, -1, 1]);
}

#[test]
fn a_row_that_replaces_one_that_failed_has_no_letter_of_its_own() {
    let n = [0, 0, 5, 0, 0, 5, 0, 7];
    let t = ["a", "a", "b", "b", "c", "c", "d", "e"];
    let columns = RecordBatch::try_from_iter_with_nullable([
        ("n", Arc::new(Int64Array::from(n.to_vec())) as ArrayRef, true),
        ("t", Arc::new(StringArray::from(t.to_vec())) as ArrayRef, false),
    ]);
    let mut rows = Batch::inserts(columns.expect("columns"), None, 0);
    rows.diffs = Some(Int64Array::from(vec![-1, 1, -1, 1, -1, 1, 1, 1]));
    let small = expr(binary(column("n", 0), Operator::Lt, number(7)), "n < 7");
    let project = Step::Project { exprs: vec![quotient()], schema: schema(&[("q", DataType::Int64, true)]) };
    let mut out = Output::default();
    let steps = Steps::new("v->s", vec![Step::Filter(small), project]);
    steps.with_key(Some(vec![1])).apply(rows, &mut out);
    // a failed before and does again; b begins to fail; c does no longer; d is new and fails; e is filtered.
    let letters: Vec<_> =
        out.letters.iter().map(|letter| letter.row.as_deref().unwrap_or_default()).collect();
    assert_eq!(letters, [r#"{"n":0,"t":"b"}"#, r#"{"n":0,"t":"d"}"#]);
    assert_eq!((out.dead, out.filtered), (1, 1));
    assert_eq!(out.batches[0].diffs.as_ref().expect("diffs").values(), &[-1, 1]);
}

#[test]
fn a_null_where_none_may_be_and_a_value_that_does_not_fit_are_failures_of_the_row() {
    let mut out = Output::default();
    let exprs = vec![expr(column("n", 0), "n")];
    let narrow = schema(&[("m", DataType::Int32, false)]);
    let n = Int64Array::from(vec![Some(5), None, Some(i64::MAX)]);
    let rows = RecordBatch::try_from_iter_with_nullable([("n", Arc::new(n) as ArrayRef, true)]);
    let rows = Batch::inserts(rows.expect("column"), None, 0);
    Steps::new("a->b", vec![Step::Project { exprs, schema: narrow }]).apply(rows, &mut out);
    assert_eq!(out.batches[0].len(), 1);
    let reasons: Vec<_> = out.letters.iter().map(|letter| (letter.reason, letter.rule.as_str())).collect();
    assert_eq!(reasons, [(Reason::NotNull, "NOT NULL m"), (Reason::Expression, "n")]);
}

#[test]
fn now_is_the_wall_clock_of_the_epoch() {
    let time = DataType::Timestamp(arrow::datatypes::TimeUnit::Nanosecond, None);
    let exprs = vec![Expr { physical: column("now()", 2), text: "now()".into(), uses_now: true }];
    let step = Step::Project { exprs, schema: schema(&[("at", time, false)]) };
    let mut out = Output::default();
    Steps::new("a->b", vec![step]).apply(batch(2, true), &mut out);
    let at = out.batches[0].rows.column(0).as_primitive::<TimestampNanosecondType>().clone();
    assert_eq!(at.values(), &[1_000_000_000, 1_000_000_000]);
}

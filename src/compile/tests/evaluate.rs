//! Compiled expressions over small batches.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray,
    TimestampNanosecondArray, UInt32Array,
};
use arrow::compute::take_record_batch;
use arrow::datatypes::DataType;
use arrow::util::display::{ArrayFormatter, FormatOptions};

use super::plan;
use crate::plan::{Expr, Plan, Step};

/// Four rows of `telemetry`.
fn rows(plan: &Plan) -> RecordBatch {
    let text = |values: [&str; 4]| -> ArrayRef { Arc::new(StringArray::from(values.to_vec())) };
    let times = [1_700_000_000_001_000_000, 0, -1, 1_700_000_059_999_000_000];
    let columns: Vec<ArrayRef> = vec![
        text(["a", "b", "a", "c"]),
        text(["soc", "speed", "100", "é"]),
        Arc::new(Float64Array::from(vec![Some(1.5), Some(-2.5), None, Some(0.0)])),
        Arc::new(Int64Array::from(vec![Some(49), Some(0), None, Some(i64::MAX)])),
        Arc::new(Int32Array::from(vec![Some(1), Some(i32::MAX), None, Some(0)])),
        Arc::new(BooleanArray::from(vec![Some(true), Some(false), None, Some(true)])),
        Arc::new(TimestampNanosecondArray::from(times.to_vec())),
        text(["{}", "{}", "{}", "{}"]),
        Arc::new(TimestampNanosecondArray::from(vec![0; 4])),
    ];
    RecordBatch::try_new(Arc::clone(&plan.sources[0].schema), columns).expect("rows of the source")
}

fn expressions(plan: &Plan) -> Vec<Expr> {
    match plan.legs[0].steps.last() {
        Some(Step::Project { exprs, .. }) => exprs.clone(),
        other => panic!("no projection: {other:?}"),
    }
}

/// The values of one expression over all rows, or the error.
fn evaluate(expression: &str) -> Result<Vec<String>, String> {
    let plan = plan(&format!(
        "CREATE SINK s AS SELECT {expression} AS x FROM telemetry WITH (connector = 'stdout');"
    ));
    let array = array(&expressions(&plan)[0], &rows(&plan))?;
    assert_eq!(array.data_type(), plan.sinks[0].schema.field(0).data_type(), "{expression}");
    let options = FormatOptions::default().with_null("NULL");
    let format = ArrayFormatter::try_new(&array, &options).expect("format");
    Ok((0..array.len()).map(|row| format.value(row).to_string()).collect())
}

fn array(expr: &Expr, rows: &RecordBatch) -> Result<ArrayRef, String> {
    let result = expr.physical.evaluate(rows).and_then(|value| value.into_array(rows.num_rows()));
    result.map_err(|error| error.strip_backtrace())
}

fn values(expression: &str) -> String {
    evaluate(expression).unwrap_or_else(|error| panic!("{expression}: {error}")).join(" ")
}

fn error(expression: &str) -> String {
    evaluate(expression).expect_err(expression)
}

#[test]
fn arithmetic_coerces_and_truncates() {
    assert_eq!(values("f * 2 + 1"), "4.0 -4.0 NULL 1.0");
    assert_eq!(values("n + 1"), "2 2147483648 NULL 1");
    assert_eq!(values("5 / 2 + n - n"), "2 2 NULL 2");
    assert_eq!(values("CAST(f AS BIGINT)"), "1 -2 NULL 0");
    assert_eq!(values("i % 10"), "9 0 NULL 7");
    assert_eq!(values("-n"), "-1 -2147483647 NULL 0");
    assert_eq!(values("f / 0"), "inf -inf NULL NaN");
}

#[test]
fn and_ends_the_right_side_of_is_distinct_from() {
    // Boolean values, with which the wrong reading would compile, too: b = true, false, NULL, true.
    assert_eq!(values("b IS DISTINCT FROM TRUE AND b IS NOT NULL"), "false true false false");
    assert_eq!(values("b IS NOT DISTINCT FROM FALSE OR n = 1"), "true true NULL false");
    assert_eq!(values("n IS DISTINCT FROM n + 1 AND n IS NOT DISTINCT FROM n * 1"), "true true false true");
    assert_eq!(values("NOT n IS DISTINCT FROM 1"), "true false false false");
}

#[test]
fn the_two_zeros_are_equal_and_nan_is_above_all() {
    // f * 0 is 0.0, -0.0, NULL, 0.0; f / 0 * 0 is NaN, with whatever sign.
    assert_eq!(values("f * 0"), "0.0 -0.0 NULL 0.0");
    for equal in
        ["f * 0 = 0.0", "f * 0 >= 0.0", "f * 0 <= 0.0", "f * 0 BETWEEN 0.0 AND 0.0", "f * 0 IN (0.0, 5.0)"]
    {
        assert_eq!(values(equal), "true true NULL true", "{equal}");
    }
    for other in ["f * 0 < 0.0", "f * 0 <> 0.0", "f * 0 NOT IN (0.0)"] {
        assert_eq!(values(other), "false false NULL false", "{other}");
    }
    assert_eq!(values("f * 0 IS NOT DISTINCT FROM 0.0"), "true true false true");
    assert_eq!(values("nullif(f * 0, 0.0)"), "NULL NULL NULL NULL");
    assert_eq!(values("nullif(f, -2.5)"), "1.5 NULL NULL 0.0");
    assert_eq!(values("CASE f * 0 WHEN 0.0 THEN 'zero' ELSE 'none' END"), "zero zero none zero");
    assert_eq!(values("(f - f) / 0 > 1e300"), "true true NULL true");
    assert_eq!(values("(f - f) / 0 = -((f - f) / 0)"), "true true NULL true");
}

#[test]
fn items_of_in_are_compared_row_by_row() {
    assert_eq!(values("n + 0 IN (CASE WHEN f < 0 THEN 0 ELSE n END, 3)"), "true false NULL true");
    assert_eq!(values("n NOT IN (CASE WHEN f < 0 THEN 7 ELSE n END, 8, 3, 9)"), "false true NULL false");
    assert_eq!(values("n IN (CASE WHEN f < 0 THEN 7 END, 0, 3, 9)"), "NULL false NULL true");
}

#[test]
fn whole_numbers_keep_their_digits() {
    assert_eq!(values("trunc(i - i + 123456789012, 0)"), "123456789012.0 123456789012.0 NULL 123456789012.0");
}

#[test]
fn overflow_and_division_by_zero_are_errors() {
    assert!(error("i + 1").contains("Overflow"), "{}", error("i + 1"));
    assert!(error("i * 2").contains("Overflow"));
    assert!(error("-i - 2").contains("Overflow"));
    assert!(error("-(0 - i - 1)").contains("verflow"));
    assert!(error("sum_of(i)".replace("sum_of(i)", "i + i").as_str()).contains("Overflow"));
    assert!(error("10 / i").contains("ivide by zero"));
    assert!(error("10 % i").contains("ivide by zero"));
    assert!(error("CAST(name AS BIGINT)").contains("'soc'"));
    assert!(error("CAST(i AS INT)").contains("9223372036854775807"));
    assert_eq!(values("TRY_CAST(name AS BIGINT)"), "NULL NULL 100 NULL");
}

#[test]
fn the_right_side_of_and_or_is_evaluated_only_where_it_decides() {
    assert_eq!(values("i <> 0 AND 10 / i > 1"), "false false NULL false");
    assert_eq!(values("i = 0 OR 10 / i >= 0"), "true true NULL true");
    assert_eq!(values("name = '100' AND CAST(name AS BIGINT) = 100"), "false false true false");
    assert_eq!(values("CASE WHEN i = 0 THEN 0 ELSE 10 / i END"), "0 0 NULL 0");
    assert_eq!(values("coalesce(nullif(i, 0), 7)"), "49 7 7 9223372036854775807");
    assert_eq!(values("10 / nullif(i, 0)"), "0 NULL NULL 0");
    assert_eq!(values("b AND NULL"), "NULL false NULL NULL");
    assert_eq!(values("b OR NULL"), "true NULL NULL true");
    // The simplifier would put the common condition first, before the one that guards it.
    let factored = "(i <> 0 AND 10 / i > 1) OR (i <> 0 AND 10 / i < 1)";
    assert_eq!(values(factored), "true false NULL true");
    let factored = "(i <> 0 AND f > 1 AND 10 / i < 1) OR (i > 0 AND 10 / i < 1)";
    assert_eq!(values(factored), "true false NULL true");
}

#[test]
fn guards_do_not_depend_on_where_batches_are_cut() {
    let expressions = [
        "i <> 0 AND 10 / i >= 0",
        "NOT (i = 0 OR 10 / i > 100)",
        "CASE WHEN i <> 0 AND 10 / i >= 0 THEN 'y' ELSE 'n' END",
        "i IS NOT NULL AND i <> 0 AND (f > 100 OR 10 / i >= 0)",
    ];
    for expression in expressions {
        let plan = plan(&format!(
            "CREATE SINK s AS SELECT {expression} AS x FROM telemetry WITH (connector = 'stdout');"
        ));
        let (expr, rows) = (&super::evaluate::expressions(&plan)[0], rows(&plan));
        let whole = array(expr, &rows).expect(expression);
        for row in 0..rows.num_rows() {
            let one = array(expr, &rows.slice(row, 1)).expect(expression);
            assert_eq!(one.to_data(), whole.slice(row, 1).to_data(), "{expression}, row {row}");
        }
        let many = UInt32Array::from_iter_values((0..1000).map(|row| row * 7 % 4));
        let big = take_record_batch(&rows, &many).expect("take");
        assert_eq!(array(expr, &big).expect(expression).len(), 1000);
    }
}

#[test]
fn functions_give_the_types_of_columns() {
    assert_eq!(values("substr(name, 1, 1)"), "s s 1 é");
    assert_eq!(values("left(did, 1) || '-' || name"), "a-soc b-speed a-100 c-é");
    assert_eq!(values("length(name)"), "3 5 3 1");
    assert_eq!(values("upper(name)"), "SOC SPEED 100 É");
    assert_eq!(values("extract(year FROM \"eventTime\")"), "2023 1970 1969 2023");
    assert_eq!(
        values("date_trunc('minute', \"eventTime\")"),
        "2023-11-14T22:13:00 1970-01-01T00:00:00 1969-12-31T23:59:00 2023-11-14T22:14:00"
    );
    assert_eq!(values("\"eventTime\" > '2023-11-14T23:13:20+01:00'"), "true false false true");
    assert_eq!(
        values("\"eventTime\" - INTERVAL '1 minute' < TIMESTAMP '1970-01-01'"),
        "false true true false"
    );
    assert_eq!(values("name IN ('soc', 'speed')"), "true true false false");
    assert_eq!(values("name LIKE 's%' AND name NOT ILIKE 'SO%'"), "false true false false");
    assert_eq!(values("i > '5'"), "true false NULL true");
    assert_eq!(values("f > '1'"), "true false NULL false");
    assert_eq!(values("i BETWEEN 0 AND 49"), "true true NULL false");
    assert_eq!(values("to_timestamp_millis(n)").split(' ').next(), Some("1970-01-01T00:00:00.001"));
    assert_eq!(values("round(f)"), "2.0 -3.0 NULL 0.0");
    assert_eq!(values("n"), "1 2147483647 NULL 0");
    assert_eq!(values("regexp_like(name, '^s')"), "true true false false");
}

#[test]
fn json_is_read_where_it_lies() {
    const J: &str = r#"CAST('{"a":{"b":[1,"x\u00e9",null,{"c":1.50}],"":true},"n":null,"a ":1e400,"d":1,"d":2}' AS JSON)"#;
    let value = |access: &str| values(&format!("{J} {access}")).split(' ').next().map(str::to_owned);
    let cases = [
        ("-> 'a' -> 'b' -> 1", "\"x\\u00e9\""),
        ("-> 'a' -> 'b' ->> 1", "xé"),
        ("-> 'a' -> 'b' ->> 2", "NULL"),
        ("-> 'a' -> 'b' -> 2", "null"),
        ("-> 'a' -> 'b' -> 3 ->> 'c'", "1.50"),
        ("-> 'a' -> 'b' -> 3 -> 'c'", "1.50"),
        ("-> 'a' -> 'b' ->> 3", "{\"c\":1.50}"),
        ("-> 'a' -> 'b' ->> 4", "NULL"),
        ("-> 'a' ->> ''", "true"),
        ("->> 'n'", "NULL"),
        ("-> 'n'", "null"),
        ("->> 'a '", "1e400"),
        ("->> 'd'", "2"),
        ("-> 'd' -> 'e'", "NULL"),
        ("->> 'missing'", "NULL"),
        ("->> NULL", "NULL"),
        ("->> (CASE WHEN n = 1 THEN 'd' ELSE 'n' END)", "2"),
        ("-> 'a' -> 'b' ->> (n - n)", "1"),
        ("->> 'd' || '!'", "2!"),
        ("->> 'd' = '2'", "true"),
        ("->> 'd' IN ('2', '3')", "true"),
        ("->> 'd' LIKE '2%' AND true", "true"),
        ("->> 'd' IS NULL", "false"),
    ];
    for (access, expected) in cases {
        assert_eq!(value(access).as_deref(), Some(expected), "{access}");
    }
    assert_eq!(values("TRY_CAST(name AS JSON)"), "NULL NULL 100 NULL");
    assert!(
        error("CAST(name AS JSON)").contains("no JSON: expected a value at byte 0"),
        "{}",
        error("CAST(name AS JSON)")
    );
    assert_eq!(values("CAST(NULL AS JSON) ->> 'a'"), "NULL NULL NULL NULL");
    assert_eq!(values("CAST(payload AS TEXT) || '?'"), "{}? {}? {}? {}?");
    let plan = plan(
        "CREATE SINK s AS SELECT payload -> 'a' AS a, payload ->> 'a' AS b, CAST(payload AS TEXT) AS c,
                coalesce(payload -> 'a', payload) AS d, TRY_CAST(did AS JSON) AS e
         FROM telemetry WITH (connector = 'stdout');",
    );
    let fields = plan.sinks[0].schema.fields().iter().map(|field| crate::plan::is_json(field));
    assert_eq!(fields.collect::<Vec<_>>(), [true, false, false, true, true]);
    let texts: Vec<_> = expressions(&plan).into_iter().map(|expr| expr.text).collect();
    assert_eq!(texts[0], "payload -> 'a'");
    assert_eq!(texts[4], "TRY_CAST(did AS JSON)");
}

#[test]
fn now_is_a_column_behind_the_others() {
    let plan = plan(
        "CREATE SINK s AS SELECT did, now() AS t, now() - INTERVAL '1 day' > at AS late \
                     FROM telemetry WITH (connector = 'stdout');",
    );
    let expressions = expressions(&plan);
    let uses: Vec<bool> = expressions.iter().map(|expr| expr.uses_now).collect();
    assert_eq!(uses, [false, true, true]);
    let rows = rows(&plan);
    let mut columns = rows.columns().to_vec();
    columns.push(Arc::new(TimestampNanosecondArray::from(vec![86_400_000_000_001; 4])));
    let mut fields = rows.schema().fields().to_vec();
    fields.push(Arc::new(arrow::datatypes::Field::new("now()", columns[9].data_type().clone(), false)));
    let rows = RecordBatch::try_new(Arc::new(arrow::datatypes::Schema::new(fields)), columns).expect("rows");
    let late = array(&expressions[2], &rows).expect("late");
    assert_eq!(late.data_type(), &DataType::Boolean);
    assert_eq!(late.as_boolean().true_count(), 4);
    assert_eq!(array(&expressions[1], &rows).expect("t").data_type(), rows.column(9).data_type());
}

#[test]
fn what_is_read_by_a_group_by_is_all_that_is_sent_to_it() {
    let plan = plan(
        "CREATE VIEW v AS SELECT i + 1 AS a, upper(did) AS d, f, now() AS t FROM telemetry WHERE n > 0;
         CREATE SINK s AS SELECT d, max(t) AS t, count(*) FROM v WHERE f > 0 GROUP BY d
         WITH (connector = 'stdout');",
    );
    let leg = &plan.legs[0];
    let names: Vec<_> = leg.schema.fields().iter().map(|field| field.name().as_str()).collect();
    assert_eq!(names, ["d", "t"]);
    let [
        Step::Filter(_),
        Step::Project { exprs, .. },
        Step::Filter(filter),
        Step::Project { exprs: last, .. },
    ] = leg.steps.as_slice()
    else {
        panic!("{:?}", leg.steps);
    };
    let texts: Vec<_> = exprs.iter().map(|expr| expr.text.as_str()).collect();
    assert_eq!(texts, ["upper(did)", "f", "now()"]);
    assert_eq!(filter.physical.to_string(), "comparable_double(f@1) > 0");
    assert_eq!(last.iter().map(|expr| expr.physical.to_string()).collect::<Vec<_>>(), ["d@0", "t@2"]);
    let aggregation = plan.operators[0].aggregation().expect("a GROUP BY");
    assert_eq!(aggregation.input, leg.schema);
    assert_eq!(aggregation.keys[0].physical.to_string(), "d@0");
    let max = aggregation.aggregates[0].argument.as_ref().expect("argument");
    assert_eq!(max.physical.to_string(), "t@1");
}

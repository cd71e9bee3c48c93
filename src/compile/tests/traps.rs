//! What goes wrong in silence in the library, or what its users would not expect: right here, or refused. Each
//! test is named after what would happen.

use super::table::assert_answers;
use super::{TELEMETRY, compiled};

/// What is said of a query over `telemetry`.
fn refused(query: &str) -> String {
    let text = format!("{TELEMETRY}CREATE SINK s AS {query} WITH (connector = 'stdout');");
    compiled(&text).expect_err(query).to_string()
}

#[test]
fn for_system_time_is_not_dropped() {
    let query = "SELECT did FROM telemetry FOR SYSTEM_TIME AS OF TIMESTAMP '2024-01-01 00:00:00'";
    assert!(refused(query).contains("FOR SYSTEM_TIME is not supported yet"));
}

#[test]
fn emit_is_no_alias() {
    let text = format!(
        "{TELEMETRY}CREATE SINK s AS SELECT emit.did FROM telemetry EMIT CHANGES WITH (connector = 'stdout');"
    );
    let said = compiled(&text).expect_err("there is no alias").to_string();
    assert!(said.contains("there is no relation `emit` in FROM"), "{said}");
    assert!(refused("SELECT did FROM telemetry EMIT FINAL").contains("EMIT FINAL needs a window"));
}

#[test]
fn having_stays_above_its_group_by() {
    let plan = super::plan(
        "CREATE SINK s AS SELECT did, count(*) AS c FROM telemetry GROUP BY did HAVING did > 'a' AND count(*) > 1
         WITH (connector = 'stdout');",
    );
    let steps: Vec<usize> = plan.legs.iter().map(|leg| leg.steps.len()).collect();
    let filters = |leg: usize| {
        plan.legs[leg].steps.iter().filter(|step| matches!(step, crate::plan::Step::Filter(_))).count()
    };
    assert_eq!((filters(0), filters(1)), (0, 1), "{steps:?}");
}

#[test]
fn an_alias_of_an_integer_is_no_number_of_a_column() {
    let said = refused("SELECT 2 AS a, name, count(*) FROM telemetry GROUP BY a");
    assert!(said.contains("`a` is a constant"), "{said}");
}

#[test]
fn integers_do_not_wrap_constants_included() {
    assert_answers(&[
        ("i + 9223372036854775807", "!Overflow | -1 | NULL | 9223372036854775807"),
        ("i - 1", "9 | !Overflow | NULL | -1"),
        ("i * n", "30 | !Overflow | NULL | 0"),
        ("-i", "-10 | !Overflow | NULL | 0"),
        ("0 - (-9223372036854775807 - 1)", "refused: overflow in"),
        ("9223372036854775807 + 1", "refused: overflow in"),
        ("9223372036854775807 * length('ab')", "refused: overflow in"),
        ("-(-9223372036854775808)", "refused: overflow in"),
        ("abs(i)", "10 | !overflow on abs | NULL | 0"),
        ("i / -1", "-10 | !Overflow | NULL | 0"),
        ("i % -1", "0 | 0 | NULL | 0"),
        ("n + 2147483647", "2147483650 | 4294967294 | NULL | 2147483647"),
    ]);
}

#[test]
fn integers_beyond_64_bits_do_not_become_doubles() {
    assert_answers(&[
        ("9223372036854775808", "refused: the integer is too large for a BIGINT"),
        ("i = 18446744073709551616", "refused: the integer is too large for a BIGINT"),
        ("-9223372036854775809", "refused: the integer is too large for a BIGINT"),
        ("i = -9223372036854775808", "false | true | NULL | false"),
        (
            "9223372036854775808.0",
            "9.223372036854776e18 | 9.223372036854776e18 | 9.223372036854776e18 | 9.223372036854776e18",
        ),
        ("f < 1e400", "refused: too large for a DOUBLE"),
    ]);
}

#[test]
fn division_by_zero_is_an_error_of_its_row_and_integers_stay_integers() {
    assert_answers(&[
        ("1 / 0", "refused: division by zero"),
        ("i / 0", "refused: division by zero"),
        ("10 / i", "1 | 0 | NULL | !Divide by zero"),
        ("10 % i", "0 | 10 | NULL | !Divide by zero"),
        ("5 / 2", "2 | 2 | 2 | 2"),
        ("-5 / 2", "-2 | -2 | -2 | -2"),
        ("5 / 2.0", "2.5 | 2.5 | 2.5 | 2.5"),
        ("f / 0", "inf | -inf | NULL | NaN"),
    ]);
}

#[test]
fn and_or_case_coalesce_guard() {
    assert_answers(&[
        ("i <> 0 AND 10 / i >= 0", "true | true | NULL | false"),
        ("i = 0 OR 10 / i >= 0", "true | true | NULL | true"),
        ("NOT (i = 0 OR 10 / i > 0)", "false | true | NULL | false"),
        ("CASE WHEN i = 0 THEN 0 ELSE 10 / i END", "1 | 0 | NULL | 0"),
        ("CASE WHEN i <> 0 AND 10 / i = 1 THEN 'one' END", "one | NULL | NULL | NULL"),
        ("coalesce(nullif(i, 0), 10 / (n + 1))", "10 | -9223372036854775808 | NULL | 10"),
        ("10 / nullif(i, 0)", "1 | 0 | NULL | NULL"),
        ("i IN (0, 10 / nullif(n, 0))", "false | false | NULL | true"),
        ("coalesce(i, 10 / (n - 3))", "10 | -9223372036854775808 | NULL | 0"),
        ("nvl(i, 10 / (n - 3))", "10 | -9223372036854775808 | NULL | 0"),
        ("nvl2(nullif(i, 0), 10 / i, 0)", "1 | 0 | 0 | 0"),
        ("nullif(b, false) AND 10 / n > 0", "true | false | NULL | !Divide by zero"),
        ("nvl(nullif(i, 0), 7)", "10 | -9223372036854775808 | 7 | 7"),
    ]);
}

#[test]
fn constants_that_fail_for_every_row_are_refused() {
    assert_answers(&[
        ("to_timestamp_millis(9223372036854775807)", "refused: overflow"),
        ("to_timestamp_seconds(9223372036854775807)", "refused: overflow"),
        ("date_trunc('year', TIMESTAMP '1677-10-01')", "refused: cannot be computed of the constants"),
        (
            "to_timestamp_millis(86400000)",
            "1970-01-02T00:00:00 | 1970-01-02T00:00:00 | 1970-01-02T00:00:00 | 1970-01-02T00:00:00",
        ),
        // No row may come to it.
        ("CASE WHEN i > 99 THEN to_timestamp_millis(9223372036854775807) END", "NULL | NULL | NULL | NULL"),
    ]);
}

#[test]
fn results_of_case_have_one_type() {
    assert_answers(&[
        (
            "CASE WHEN b THEN s ELSE i END",
            "refused: CASE gives TEXT, `s`, in one branch and BIGINT, `i`, in another",
        ),
        ("CASE WHEN b THEN 'x' ELSE 1 END", "refused: CASE gives TEXT"),
        ("CASE WHEN b THEN d ELSE 1 END", "refused: a number is used where a time is needed"),
        ("CASE WHEN b THEN 1 ELSE true END", "refused: CASE WHEN"),
        ("CASE WHEN i THEN 1 END", "refused: WHEN needs a BOOLEAN"),
        ("CASE WHEN b THEN i ELSE 2.5 END", "10.0 | 2.5 | 2.5 | 2.5"),
        (
            "CASE WHEN b THEN d ELSE t END",
            "2024-02-29T00:00:00 | 1969-12-31T23:59:59.500 | NULL | 1970-01-01T00:00:00",
        ),
        ("CASE WHEN b THEN s END", "abc | NULL | NULL | NULL"),
        (
            "CASE WHEN b THEN t ELSE '2024-01-01' END",
            "2024-02-29T12:34:56.789012345 | 2024-01-01T00:00:00 | 2024-01-01T00:00:00 | 2024-01-01T00:00:00",
        ),
        ("coalesce(s, i)", "refused: TEXT is used where"),
        ("NOT i", "refused: NOT needs a BOOLEAN"),
        ("i AND b", "refused: AND stands between conditions, but here are BIGINT and BOOLEAN"),
        ("b = 1", "refused: BOOLEAN and BIGINT cannot be compared"),
    ]);
}

#[test]
fn casts_truncate_and_fail_where_a_value_does_not_fit() {
    assert_answers(&[
        ("CAST(1.5 AS INT)", "1 | 1 | 1 | 1"),
        ("CAST(-1.5 AS INT)", "-1 | -1 | -1 | -1"),
        ("CAST(f AS BIGINT)", "1 | -2 | NULL | 0"),
        ("CAST(f * 1e300 AS BIGINT)", "!Can't cast value 1.5e300 | !Can't cast | NULL | 0"),
        ("CAST(0 / f AS BIGINT)", "0 | 0 | NULL | !Can't cast value NaN"),
        ("CAST(i AS INT)", "10 | !Can't cast | NULL | 0"),
        ("CAST('12.5' AS BIGINT)", "refused: '12.5'"),
        ("CAST(' 12 ' AS BIGINT)", "refused: ' 12 '"),
        ("CAST('1e400' AS DOUBLE)", "refused: '1e400' is too large for a DOUBLE"),
        (
            "CAST('1e40' || n AS DOUBLE)",
            "!'1e403' is too large | !'1e402147483647' is too large | NULL | !'1e400' is too large",
        ),
        ("TRY_CAST('1e40' || n AS DOUBLE)", "NULL | NULL | NULL | NULL"),
        ("CAST('-inf' AS DOUBLE)", "-inf | -inf | -inf | -inf"),
        ("CAST(s AS BOOLEAN)", "!'abc' | !'Äé 12' | NULL | !''"),
        ("CAST('yes' AS BOOLEAN)", "true | true | true | true"),
        ("CAST(i AS BOOLEAN)", "true | true | NULL | false"),
        ("CAST(s AS VARCHAR(2))", "refused: VARCHAR(2) would keep texts of any length"),
        ("CAST(t AS TIMESTAMP(3))", "refused: TIMESTAMP(3) would keep nanoseconds"),
        (
            "CAST(t AS TEXT)",
            "2024-02-29T12:34:56.789012345 | 1969-12-31T23:59:59.500 | NULL | 1970-01-01T00:00:00",
        ),
        ("CAST(CAST(f AS DECIMAL(10, 1)) * 3 AS DOUBLE)", "4.5 | -7.5 | NULL | 0.0"),
        ("CAST(i AS DECIMAL(10, 2))", "refused: columns of type DECIMAL are not supported yet"),
    ]);
}

/// Every pair of types: what has no cast is refused, what fails is NULL.
#[test]
fn try_cast_gives_null_where_a_cast_fails_for_every_pair_of_types() {
    const TYPES: [&str; 7] = ["TEXT", "BIGINT", "INT", "DOUBLE", "BOOLEAN", "TIMESTAMP", "DATE"];
    for column in ["s", "i", "n", "f", "b", "t", "d", "j"] {
        for kind in TYPES {
            let cast = super::table::answers(&format!("CAST({column} AS {kind})"));
            let tried = super::table::answers(&format!("TRY_CAST({column} AS {kind})"));
            match (cast, tried) {
                (Ok(cast), Ok(tried)) => {
                    let failed =
                        |value: String| if value.starts_with('!') { "NULL".to_owned() } else { value };
                    let cast: Vec<_> = cast.into_iter().map(failed).collect();
                    assert_eq!(cast, tried, "{column} as {kind}");
                }
                (Err(cast), Err(tried)) => {
                    assert!(
                        cast.contains("a number becomes no")
                            || cast.contains("becomes no number")
                            || cast.contains("unsupported CAST"),
                        "{cast}{tried}"
                    )
                }
                (cast, tried) => panic!("{column} as {kind}: {cast:?}, {tried:?}"),
            }
        }
    }
    assert_answers(&[
        ("TRY_CAST(make_date(n % 3 + 9996, 1, 1) AS TIMESTAMP)", "NULL | NULL | NULL | NULL"),
        ("TRY_CAST(f * 1e300 AS BIGINT)", "NULL | NULL | NULL | 0"),
    ]);
}

#[test]
fn times_out_of_range_do_not_wrap_or_stand_still() {
    assert_answers(&[
        ("CAST('9999-12-31' AS TIMESTAMP)", "refused: overflow"),
        ("t > '9999-12-31'", "refused: overflow"),
        ("t > '2020-13-01'", "refused: 2020-13-01"),
        ("CAST(make_date(2300, 1, 1) AS TIMESTAMP)", "refused: DATE value"),
        ("CAST(d + INTERVAL '300 years' AS TIMESTAMP)", "!Cannot cast | !Cannot cast | NULL | !Cannot cast"),
        ("t + INTERVAL '300 years'", "!out of range | !out of range | NULL | !out of range"),
        ("t + INTERVAL '1000000 days'", "!out of range | !out of range | NULL | !out of range"),
        ("t - TIMESTAMP '1677-10-01' > INTERVAL '1 day'", "!Overflow | true | NULL | true"),
        ("to_timestamp(f * 1e300)", "!are no TIMESTAMP | !are no TIMESTAMP | NULL | 1970-01-01T00:00:00"),
        ("to_timestamp(0 / f)", "1970-01-01T00:00:00 | 1970-01-01T00:00:00 | NULL | !NaN seconds"),
        ("to_timestamp_millis(i)", "1970-01-01T00:00:00.010 | !Overflow | NULL | 1970-01-01T00:00:00"),
        ("d + i", "2024-03-10 | !verflow | NULL | 1970-01-01"),
        ("CAST(i AS TIMESTAMP)", "refused: without a unit"),
        ("CAST(t AS BIGINT)", "refused: without a unit"),
        ("CAST(n AS DATE)", "refused: without a unit"),
        ("d > 5", "refused: a number is used where a time is needed"),
    ]);
}

#[test]
fn times_before_1970_are_rounded_down() {
    assert_answers(&[
        ("date_trunc('second', t)", "2024-02-29T12:34:56 | 1969-12-31T23:59:59 | NULL | 1970-01-01T00:00:00"),
        ("date_trunc('day', t)", "2024-02-29T00:00:00 | 1969-12-31T00:00:00 | NULL | 1970-01-01T00:00:00"),
        (
            "date_bin(INTERVAL '15 minutes', t)",
            "2024-02-29T12:30:00 | 1969-12-31T23:45:00 | NULL | 1970-01-01T00:00:00",
        ),
        ("CAST(t AS DATE)", "2024-02-29 | 1969-12-31 | NULL | 1970-01-01"),
        ("to_unixtime(t)", "1709210096 | -1 | NULL | 0"),
        ("to_timestamp_seconds(t)", "refused: `to_timestamp_seconds` takes a number or a text"),
        ("extract(epoch FROM t)", "1709210096.7890122 | -0.5 | NULL | 0.0"),
        ("extract(second FROM t)", "56 | 59 | NULL | 0"),
        ("extract(hour FROM t)", "12 | 23 | NULL | 0"),
        ("extract(dow FROM t)", "4 | 3 | NULL | 4"),
    ]);
}

#[test]
fn months_are_months_and_lengths_of_time_have_an_order() {
    assert_answers(&[
        ("TIMESTAMP '2024-01-31' + INTERVAL '1 month' = TIMESTAMP '2024-02-29'", "true | true | true | true"),
        (
            "t - INTERVAL '1 month'",
            "2024-01-29T12:34:56.789012345 | 1969-11-30T23:59:59.500 | NULL | 1969-12-01T00:00:00",
        ),
        // As intervals, 4 days and 12 hours would be less than one day.
        ("t - TIMESTAMP '2024-02-25' > INTERVAL '1 day'", "true | false | NULL | false"),
        (
            "t - TIMESTAMP '2024-02-25' BETWEEN INTERVAL '4 days' AND INTERVAL '5 days'",
            "true | false | NULL | false",
        ),
        ("INTERVAL '3 days' < t - TIMESTAMP '2024-02-25'", "true | false | NULL | false"),
        ("t - t IN (INTERVAL '0 seconds', INTERVAL '1 day')", "true | true | NULL | true"),
        ("INTERVAL '2 days' > INTERVAL '72 hours'", "refused: have no order"),
        ("t - t < INTERVAL '1 month'", "refused: have no order"),
        ("t - t", "refused: columns of type INTERVAL are not supported yet"),
        ("d + INTERVAL '36 hours'", "refused: `d` is a DATE, which has no hours"),
        ("d + (INTERVAL '1 hour' + INTERVAL '1 hour')", "refused: `d` is a DATE, which has no hours"),
        ("CAST('1 hour' AS INTERVAL) + d", "refused: `d` is a DATE, which has no hours"),
        ("d - CASE WHEN b THEN INTERVAL '36 hours' END", "refused: `d` is a DATE, which has no hours"),
        ("d + (t - t)", "refused: does not go with DATE and INTERVAL"),
        ("d - -INTERVAL '1 day'", "2024-03-01 | 1970-01-01 | NULL | 1970-01-02"),
        ("d + CASE WHEN b THEN INTERVAL '1 day' END", "2024-03-01 | NULL | NULL | NULL"),
        ("d + INTERVAL '1 day'", "2024-03-01 | 1970-01-01 | NULL | 1970-01-02"),
        ("d - DATE '1970-01-01'", "19782 | -1 | NULL | 0"),
    ]);
}

#[test]
fn parts_of_texts_are_those_of_standard_sql() {
    assert_answers(&[
        // Positions before the first are there, and empty.
        ("substr(s, -1)", "abc | Äé 12 | NULL | ''"),
        ("substr(s, 0, 2)", "a | Ä | NULL | ''"),
        ("substr(s, 2, -1)", "!negative count | !negative count | NULL | !negative count"),
        ("s || NULL", "NULL | NULL | NULL | NULL"),
        ("concat(s, NULL)", "abc | Äé 12 | '' | ''"),
        ("s LIKE 'a\\_c'", "false | false | NULL | false"),
        ("s LIKE 'a!_c' ESCAPE '!'", "refused: LIKE escapes with the backslash only"),
        // The library takes the pattern for a regular expression.
        ("s SIMILAR TO 'a%'", "refused: SIMILAR TO is not supported yet"),
        ("i ^ 2", "refused: the operator ^ is not supported yet"),
        ("regexp_like(s, 'B', 'i')", "true | false | NULL | false"),
        ("regexp_like(s, 'b', 'g')", "refused: global"),
        ("regexp_like(s, '(')", "refused: unclosed group"),
        ("regexp_replace(s, '[ab]', 'x')", "xbc | Äé 12 | NULL | ''"),
        ("regexp_replace(s, '[ab]', 'x', 'g')", "xxc | Äé 12 | NULL | ''"),
        ("regexp_count(s, '[a-z]')", "3 | 0 | NULL | 0"),
    ]);
}

#[test]
fn functions_do_not_stall_or_fill_the_memory() {
    assert_answers(&[
        ("repeat(s, n)", "abcabcabc | !is longer than 1048576 bytes | NULL | ''"),
        ("repeat('ab', 2000000000)", "refused: is longer than 1048576 bytes"),
        ("lpad(s, n)", "abc | !is longer than 1048576 bytes | NULL | ''"),
        ("rpad(s, n, 'x')", "abc | !is longer than 1048576 bytes | NULL | ''"),
        ("length(repeat('x', 1048576))", "1048576 | 1048576 | 1048576 | 1048576"),
        (
            "length(replace(repeat('x', 1024), 'x', repeat('y', 1024)))",
            "1048576 | 1048576 | 1048576 | 1048576",
        ),
        ("replace(repeat('x', 2048), 'x', repeat('y', 2048))", "refused: is longer than 1048576 bytes"),
    ]);
}

/// The library's functions give several kinds of text; a column has one.
#[test]
fn texts_are_of_one_type() {
    for expression in
        ["substr(s, 1)", "left(s, 1)", "md5(s)", "concat(s, 'x')", "s || 'x'", "CAST(i AS TEXT)"]
    {
        // The type is compared with that of the column inside.
        super::table::answers(expression).unwrap_or_else(|wrong| panic!("{wrong}"));
    }
}

#[test]
fn a_number_or_text_is_no_condition() {
    for condition in ["i", "name", "f + 1", "NULL || 'x'"] {
        let said = refused(&format!("SELECT did FROM telemetry WHERE {condition}"));
        assert!(said.contains("BOOLEAN"), "{said}");
    }
}

#[test]
fn what_changes_when_rows_are_read_again_is_refused() {
    for call in ["random()", "uuid()", "current_date", "current_time", "version()"] {
        assert!(refused(&format!("SELECT {call} AS x FROM telemetry")).contains("hint"), "{call}");
    }
    assert!(refused("SELECT did FROM telemetry WHERE at < now()").contains("`now()`"));
}

//! What is compared with what, and how: right here, or refused.

use super::table::assert_answers;

#[test]
fn minus_zero_is_zero_and_there_is_one_nan() {
    assert_answers(&[
        ("f = -0.0", "false | false | NULL | true"),
        ("-f < 0.0", "true | false | NULL | false"),
        ("f IN (-0.0, 7.0)", "false | false | NULL | true"),
        ("f BETWEEN 0.0 AND -0.0", "false | false | NULL | true"),
        ("CASE -f WHEN 0.0 THEN 'zero' ELSE 'else' END", "else | else | else | zero"),
        ("nullif(-f, 0.0)", "-1.5 | 2.5 | NULL | NULL"),
        ("-f IS DISTINCT FROM f", "true | true | false | false"),
        ("0 / (f - f) = CAST('NaN' AS DOUBLE)", "true | true | NULL | true"),
        ("0 / (f - f) > 1e308", "true | true | NULL | true"),
    ]);
}

#[test]
fn a_column_of_text_is_not_cast_to_be_compared() {
    assert_answers(&[
        ("s = 100", "refused: `s` is TEXT and `100` is BIGINT"),
        ("s > 5.0", "refused: they cannot be compared"),
        ("s = i", "refused: they cannot be compared"),
        ("s IN (1, 2)", "refused: they cannot be compared"),
        ("s BETWEEN 1 AND 2", "refused: they cannot be compared"),
        ("t > s", "refused: they cannot be compared"),
        ("s = '100'", "false | false | NULL | false"),
        ("i > '5'", "true | false | NULL | false"),
        ("i > '5x'", "refused: '5x'"),
        ("i || 'x'", "10x | -9223372036854775808x | NULL | 0x"),
    ]);
}

#[test]
fn a_constant_text_is_the_boolean_that_it_is_compared_with() {
    assert_answers(&[
        ("b = 'true'", "true | false | NULL | false"),
        ("'f' <> b", "true | false | NULL | false"),
        ("b IN ('true', 'yes')", "true | false | NULL | false"),
        ("CASE b WHEN 'true' THEN 1 WHEN 'false' THEN 0 END", "1 | 0 | NULL | 0"),
        ("b = 'ja'", "refused: 'ja'"),
        ("b IN ('true', 'ja')", "refused: 'ja'"),
    ]);
}

#[test]
fn json_is_not_compared_by_functions_either() {
    assert_answers(&[
        ("nullif(j, CAST('{}' AS JSON))", "refused: `j` is JSON, which has no equality"),
        ("nullif(j -> 'a', 'x')", "refused: `j -> 'a'` is JSON, which has no equality"),
        ("CASE j -> 'a' WHEN '1' THEN 'one' END", "refused: `j -> 'a'` is JSON, which has no equality"),
        ("CASE s WHEN j THEN 'one' END", "refused: `j` is JSON, which has no equality"),
        ("greatest(j, j)", "refused: `j` is JSON, which has no equality"),
        ("least(s, j)", "refused: `j` is JSON, which has no equality"),
        ("nullif(j ->> 0, '0') IS NULL", "true | true | true | true"),
        ("nvl(j, CAST('1' AS JSON)) = '1'", "refused: is JSON, which has no equality"),
    ]);
}

#[test]
fn days_that_are_no_timestamp_are_compared_with_timestamps() {
    // The year 9999, the day of the 29th of February, and one before 1677.
    const END: &str = "make_date(9999, n % 3 + 1, 1)";
    const BEGIN: &str = "make_date(1600 + n % 2, 1, 1)";
    assert_answers(&[
        (&format!("{END} > t"), "true | true | NULL | true"),
        (&format!("t >= {END}"), "false | false | NULL | false"),
        (&format!("{END} = t"), "false | false | NULL | false"),
        (&format!("{END} IS DISTINCT FROM t"), "true | true | false | true"),
        (&format!("t BETWEEN {BEGIN} AND {END}"), "true | true | NULL | true"),
        (&format!("t NOT BETWEEN {BEGIN} AND '2000-01-01T00:00:00Z'"), "true | false | NULL | false"),
        (&format!("{END} IN (t, DATE '9999-01-01')"), "true | false | NULL | true"),
        (&format!("CASE t WHEN {BEGIN} THEN 1 ELSE 2 END"), "2 | 2 | 2 | 2"),
        ("t < DATE '9999-12-31'", "true | true | NULL | true"),
        ("t < DATE '2000-01-01'", "false | true | NULL | true"),
        ("d < t", "true | true | NULL | false"),
        ("d = t", "false | false | NULL | true"),
        ("d = date_trunc('day', t)", "true | true | NULL | true"),
        ("d <= to_timestamp_millis(n)", "false | true | NULL | true"),
        ("d IN (t, 5)", "refused: can not find compatible types"),
        (&format!("coalesce({END}, t)"), "!Cannot cast | !Cannot cast | NULL | !Cannot cast"),
    ]);
}

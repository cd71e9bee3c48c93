//! Queries with known answers, run by the binary over small inputs: cut into many epochs and into one, on
//! one worker and on several. What a view holds at the end is compared as a set of rows.

#[path = "support/bounded.rs"]
#[expect(dead_code, reason = "these dataflows do not ship")]
mod bounded;
#[path = "support/process.rs"]
mod process;

use std::fmt::Write;
use std::fs;

use bounded::{Mode, lines, run};

/// Many epochs on one worker, few on four, one on two processes.
const MODES: [Mode; 3] = [
    Mode { epoch_records: Some(1), ..Mode::of(1, 1) },
    Mode { epoch_records: Some(3), ..Mode::of(4, 1) },
    Mode::of(1, 2),
];

const READINGS: &str = r#"CREATE SOURCE readings (
    id BIGINT, k TEXT, g TEXT, i BIGINT, n INT, f DOUBLE, b BOOLEAN, t TIMESTAMP, d DATE, body JSON,
    WATERMARK FOR t AS t - INTERVAL '30000 days'
) WITH (connector = 'file', path = 'input/readings.jsonl');
"#;

const RECORDS: [&str; 10] = [
    r#"{"id":1,"k":"a","g":"x","i":10,"n":1,"f":1.5,"b":true,"t":"2024-05-01T00:00:00Z","d":"2024-05-01","body":{"v":[1,{"w":"q"}]}}"#,
    r#"{"id":2,"k":"b","g":"x","i":20,"n":2,"f":-0.0,"b":false,"t":"2024-05-01T12:00:00Z","d":"1969-12-31","body":[1,2]}"#,
    r#"{"id":3,"k":"a","g":"y","i":10,"n":1,"f":0.0,"b":null,"t":"2024-05-02T00:00:00Z","d":"2024-05-01","body":"text"}"#,
    r#"{"id":4,"k":null,"g":"x","i":null,"n":null,"f":null,"b":null,"t":null,"body":null}"#,
    r#"{"id":5,"k":"b","g":"y","i":-5,"n":3,"f":2.5,"b":true,"t":"1969-12-31T23:59:59.5Z"}"#,
    r#"{"id":6,"k":null,"g":null,"i":null,"n":7,"f":2.5,"b":null,"t":null}"#,
    r#"{"id":7,"k":"c","g":"x","i":9223372036854775807,"n":-1,"f":3.0,"b":false,"t":"2024-05-01T00:00:00Z"}"#,
    r#"{"id":8,"k":"a","g":"x","i":10,"n":1,"f":1.5,"b":true,"t":"2024-05-01T00:00:00Z"}"#,
    r#"{"id":9,"k":"d","g":"y","i":1,"n":0,"f":0.5,"b":true,"t":"2024-05-03T00:00:00Z"}"#,
    r#"{"id":10,"k":"a","g":"z","i":-10,"n":1,"f":1.0,"b":false,"t":"2024-05-04T00:00:00Z"}"#,
];

/// Runs `views` and a sink over each query, in every mode, and compares the rows.
fn check(views: &str, cases: &[(&str, &[&str])]) {
    let folder = tempfile::tempdir().expect("a folder");
    let input = folder.path().join("input");
    fs::create_dir(&input).expect("a folder");
    fs::write(input.join("readings.jsonl"), RECORDS.join("\n")).expect("the input");
    let mut text = format!("{READINGS}{views}\n");
    for (number, (query, _)) in cases.iter().enumerate() {
        writeln!(
            text,
            "CREATE SINK case_{number} AS {query} WITH (connector = 'file', path = 'o/{number}.jsonl');"
        )
        .expect("text");
    }
    fs::write(folder.path().join("dataflow.sql"), text).expect("the dataflow");
    for mode in MODES {
        let output = run(folder.path(), &input, mode);
        for (number, (query, expected)) in cases.iter().enumerate() {
            let mut found = lines(output.path(), &format!("case_{number}.jsonl"));
            found.sort();
            let mut expected: Vec<_> = expected.iter().map(|row| (*row).to_owned()).collect();
            expected.sort();
            assert_eq!(found, expected, "{query}, {mode:?}");
        }
    }
}

#[test]
fn distinct_rows_are_there_once_and_null_equals_null() {
    check(
        "CREATE VIEW latest AS SELECT k, max(id) AS id, last_value(g ORDER BY id) AS g FROM readings GROUP BY k;
         CREATE MATERIALIZED VIEW groups AS SELECT DISTINCT g FROM latest;",
        &[
            (
                "SELECT DISTINCT k FROM readings",
                &[r#"{"k":null}"#, r#"{"k":"a"}"#, r#"{"k":"b"}"#, r#"{"k":"c"}"#, r#"{"k":"d"}"#],
            ),
            // -0.0 and 0.0 are one value.
            (
                "SELECT DISTINCT f FROM readings WHERE f < 2",
                &[r#"{"f":0.0}"#, r#"{"f":0.5}"#, r#"{"f":1.0}"#, r#"{"f":1.5}"#],
            ),
            (
                "SELECT DISTINCT k, g FROM readings WHERE i > 0",
                &[
                    r#"{"k":"a","g":"x"}"#,
                    r#"{"k":"a","g":"y"}"#,
                    r#"{"k":"b","g":"x"}"#,
                    r#"{"k":"c","g":"x"}"#,
                    r#"{"k":"d","g":"y"}"#,
                ],
            ),
            ("SELECT DISTINCT i % 7 AS r FROM readings WHERE k = 'a'", &[r#"{"r":3}"#, r#"{"r":-3}"#]),
            // Over an updating view a row stays as long as any row gives it: x leaves `a` and `c` keeps it.
            ("SELECT * FROM groups", &[r#"{"g":null}"#, r#"{"g":"x"}"#, r#"{"g":"y"}"#, r#"{"g":"z"}"#]),
            (
                "SELECT DISTINCT c FROM (SELECT k, count(*) AS c FROM readings GROUP BY k) AS counts",
                &[r#"{"c":1}"#, r#"{"c":2}"#, r#"{"c":4}"#],
            ),
            // What is distinct already stays as it is.
            ("SELECT DISTINCT k, count(*) FROM readings WHERE g = 'z' GROUP BY k", &[r#"{"k":"a","count":1}"#]),
            (
                "SELECT g, count(*) AS n FROM (SELECT DISTINCT k, g FROM readings) AS d GROUP BY g",
                &[r#"{"g":null,"n":1}"#, r#"{"g":"x","n":4}"#, r#"{"g":"y","n":3}"#, r#"{"g":"z","n":1}"#],
            ),
            // Ties over rows without an origin.
            (
                "SELECT g, last_value(k ORDER BY 1) AS k FROM (SELECT DISTINCT k, g FROM readings WHERE g = 'z') AS d \
                 GROUP BY g",
                &[r#"{"g":"z","k":"a"}"#],
            ),
        ],
    );
}

#[test]
fn union_removes_duplicates_and_finds_common_types() {
    check(
        "CREATE VIEW counts AS SELECT k, count(*) AS c FROM readings GROUP BY k;",
        &[
            (
                "SELECT k FROM readings UNION SELECT g FROM readings",
                &[
                    r#"{"k":null}"#,
                    r#"{"k":"a"}"#,
                    r#"{"k":"b"}"#,
                    r#"{"k":"c"}"#,
                    r#"{"k":"d"}"#,
                    r#"{"k":"x"}"#,
                    r#"{"k":"y"}"#,
                    r#"{"k":"z"}"#,
                ],
            ),
            (
                "SELECT n AS v FROM readings WHERE n > 1 UNION SELECT i FROM readings WHERE i = 20 \
                 UNION SELECT f FROM readings WHERE f >= 2.5",
                &[r#"{"v":2.0}"#, r#"{"v":2.5}"#, r#"{"v":20.0}"#, r#"{"v":3.0}"#, r#"{"v":7.0}"#],
            ),
            (
                "(SELECT k FROM readings WHERE id < 3 UNION ALL SELECT k FROM readings WHERE id < 3) \
                 UNION SELECT 'e' FROM readings",
                &[r#"{"k":"a"}"#, r#"{"k":"b"}"#, r#"{"k":"e"}"#],
            ),
            // A NULL takes the type of the other branches, whichever comes first.
            (
                "SELECT id, NULL AS v, NULL AS w FROM readings WHERE id = 1 \
                 UNION ALL SELECT id, i, NULL FROM readings WHERE id = 2 \
                 UNION ALL SELECT id, NULL, g FROM readings WHERE id = 3",
                &[
                    r#"{"id":1,"v":null,"w":null}"#,
                    r#"{"id":2,"v":20,"w":null}"#,
                    r#"{"id":3,"v":null,"w":"y"}"#,
                ],
            ),
            // An updating branch takes back what it gave; what both give stays.
            (
                "SELECT c FROM counts WHERE k = 'a' UNION SELECT n FROM readings WHERE n = 2",
                &[r#"{"c":2}"#, r#"{"c":4}"#],
            ),
            (
                "SELECT c, 1 AS s FROM counts WHERE k IN ('a', 'b') UNION ALL SELECT id, 2 FROM readings WHERE id < 2",
                &[r#"{"c":1,"s":2}"#, r#"{"c":2,"s":1}"#, r#"{"c":4,"s":1}"#],
            ),
        ],
    );
}

#[test]
fn rows_leave_a_view_when_having_no_longer_holds() {
    check(
        "CREATE MATERIALIZED VIEW small AS SELECT k, count(*) AS c FROM readings GROUP BY k HAVING count(*) < 3;",
        &[
            (
                "SELECT * FROM small",
                &[r#"{"k":null,"c":2}"#, r#"{"k":"b","c":2}"#, r#"{"k":"c","c":1}"#, r#"{"k":"d","c":1}"#],
            ),
            ("SELECT k FROM readings GROUP BY k HAVING max(i) = 10 AND min(i) < 0", &[r#"{"k":"a"}"#]),
            (
                "SELECT k, sum(n) AS s FROM readings GROUP BY k HAVING k IS NOT NULL AND k <> 'c'",
                &[r#"{"k":"a","s":4}"#, r#"{"k":"b","s":5}"#, r#"{"k":"d","s":0}"#],
            ),
            (
                "SELECT g FROM readings GROUP BY g \
                 HAVING CASE WHEN count(*) > 4 THEN max(i) > 20 ELSE min(id) = 10 END",
                &[r#"{"g":"x"}"#, r#"{"g":"z"}"#],
            ),
            (
                "SELECT upper(g) || '!' AS u, count(*) AS c FROM readings WHERE g IS NOT NULL \
                 GROUP BY upper(g) HAVING upper(g) > 'X'",
                &[r#"{"u":"Y!","c":3}"#, r#"{"u":"Z!","c":1}"#],
            ),
            (
                "SELECT sum(c) AS s, g FROM (SELECT c, 1 AS g FROM small) AS x GROUP BY g",
                &[r#"{"s":6,"g":1}"#],
            ),
            // HAVING over an aggregate that counts only some rows.
            (
                "SELECT k FROM readings GROUP BY k HAVING count(*) FILTER (WHERE b) = 1 AND count(*) = 2",
                &[r#"{"k":"b"}"#],
            ),
        ],
    );
}

#[test]
fn queries_nest_and_groups_are_expressions() {
    check(
        "CREATE VIEW named (key, total) AS SELECT k, sum(n) + 1 FROM readings GROUP BY k;
         CREATE MATERIALIZED VIEW twice (a, b) AS SELECT id, id FROM readings WHERE id < 3;
         CREATE VIEW doubled (a, both) AS SELECT a, b + 1 FROM twice UNION ALL SELECT b, a FROM twice;",
        &[
            ("SELECT total FROM named WHERE key = 'a'", &[r#"{"total":5}"#]),
            ("SELECT * FROM twice", &[r#"{"a":1,"b":1}"#, r#"{"a":2,"b":2}"#]),
            (
                "SELECT * FROM doubled",
                &[r#"{"a":1,"both":2}"#, r#"{"a":2,"both":3}"#, r#"{"a":1,"both":1}"#, r#"{"a":2,"both":2}"#],
            ),
            (
                "WITH a AS (SELECT k, n FROM readings WHERE n > 0), \
                      b (key, s) AS (SELECT k, sum(n) FROM a GROUP BY k) \
                 SELECT s, count(*) AS c FROM (SELECT s FROM (SELECT * FROM b) AS x WHERE s > 3) AS y GROUP BY s",
                &[r#"{"s":4,"c":1}"#, r#"{"s":5,"c":1}"#, r#"{"s":7,"c":1}"#],
            ),
            (
                "SELECT CASE WHEN i > 5 THEN 'high' WHEN i IS NULL THEN 'none' ELSE 'low' END AS level, \
                        count(*) AS c FROM readings GROUP BY 1",
                &[r#"{"level":"high","c":5}"#, r#"{"level":"low","c":3}"#, r#"{"level":"none","c":2}"#],
            ),
            (
                "SELECT date_trunc('day', t) AS day, count(*) AS c FROM readings WHERE id < 6 \
                 GROUP BY date_trunc('day', t)",
                &[
                    r#"{"day":"2024-05-01T00:00:00.000000Z","c":2}"#,
                    r#"{"day":"2024-05-02T00:00:00.000000Z","c":1}"#,
                    r#"{"day":null,"c":1}"#,
                    r#"{"day":"1969-12-31T00:00:00.000000Z","c":1}"#,
                ],
            ),
            ("SELECT x.id FROM (SELECT r.id FROM readings AS r WHERE r.id = 4) AS x", &[r#"{"id":4}"#]),
        ],
    );
}

#[test]
fn json_is_read_in_place() {
    check(
        "",
        &[
            (
                "SELECT id, body -> 'v' AS v, body -> 'v' -> 1 ->> 'w' AS w, body ->> 1 AS second, \
                        body ->> 'v' AS text FROM readings WHERE id < 4",
                &[
                    r#"{"id":1,"v":[1,{"w":"q"}],"w":"q","second":null,"text":"[1,{\"w\":\"q\"}]"}"#,
                    r#"{"id":2,"v":null,"w":null,"second":"2","text":null}"#,
                    r#"{"id":3,"v":null,"w":null,"second":null,"text":null}"#,
                ],
            ),
            ("SELECT id FROM readings WHERE body -> 'v' ->> 0 = '1'", &[r#"{"id":1}"#]),
            ("SELECT CAST(body ->> 0 AS BIGINT) + 1 AS x FROM readings WHERE id = 2", &[r#"{"x":2}"#]),
            (
                "SELECT body ->> -1 AS last, count(*) AS c FROM readings WHERE id < 3 GROUP BY body ->> -1",
                &[r#"{"last":"2","c":1}"#, r#"{"last":null,"c":1}"#],
            ),
            (
                "SELECT CAST('[' || id || ', {\"k\":' || id || '}]' AS JSON) -> 1 AS o FROM readings WHERE id < 3",
                &[r#"{"o":{"k":1}}"#, r#"{"o":{"k":2}}"#],
            ),
            (
                "SELECT id, CASE WHEN id = 1 THEN body -> 'v' ELSE NULL END AS v FROM readings WHERE id < 3 \
                 UNION ALL SELECT id, CAST(NULL AS JSON) FROM readings WHERE id = 9",
                &[r#"{"id":1,"v":[1,{"w":"q"}]}"#, r#"{"id":2,"v":null}"#, r#"{"id":9,"v":null}"#],
            ),
            (
                "SELECT id, NULL AS v FROM readings WHERE id = 9 \
                 UNION ALL SELECT id, body -> 'v' FROM readings WHERE id = 1",
                &[r#"{"id":1,"v":[1,{"w":"q"}]}"#, r#"{"id":9,"v":null}"#],
            ),
        ],
    );
}

#[test]
fn dates_are_keys_are_compared_and_leave_as_text() {
    check(
        "CREATE VIEW latest AS SELECT g, last_value(d ORDER BY id) AS d FROM readings WHERE id < 5 GROUP BY g;",
        &[
            (
                "SELECT d, count(*) AS c, min(t) AS t FROM readings WHERE id < 5 GROUP BY d",
                &[
                    r#"{"d":"2024-05-01","c":2,"t":"2024-05-01T00:00:00.000000Z"}"#,
                    r#"{"d":"1969-12-31","c":1,"t":"2024-05-01T12:00:00.000000Z"}"#,
                    r#"{"d":null,"c":1,"t":null}"#,
                ],
            ),
            (
                "SELECT k, min(d) AS a, max(d) AS z, count(d) AS c FROM readings WHERE id < 5 GROUP BY k",
                &[
                    r#"{"k":"a","a":"2024-05-01","z":"2024-05-01","c":2}"#,
                    r#"{"k":"b","a":"1969-12-31","z":"1969-12-31","c":1}"#,
                    r#"{"k":null,"a":null,"z":null,"c":0}"#,
                ],
            ),
            (
                "SELECT max(d) AS d, 'all' AS g FROM latest GROUP BY 'all'",
                &[r#"{"d":"2024-05-01","g":"all"}"#],
            ),
            (
                "SELECT CAST(t AS DATE) AS d, count(*) AS c FROM readings GROUP BY CAST(t AS DATE)",
                &[
                    r#"{"d":"1969-12-31","c":1}"#,
                    r#"{"d":"2024-05-01","c":4}"#,
                    r#"{"d":"2024-05-02","c":1}"#,
                    r#"{"d":"2024-05-03","c":1}"#,
                    r#"{"d":"2024-05-04","c":1}"#,
                    r#"{"d":null,"c":2}"#,
                ],
            ),
            (
                "SELECT id, d + INTERVAL '1 month' AS m, d - DATE '1970-01-01' AS days FROM readings \
                 WHERE d BETWEEN '1900-01-01' AND '2024-04-30'",
                &[r#"{"id":2,"m":"1970-01-31","days":-1}"#],
            ),
            (
                "SELECT DISTINCT d FROM readings UNION ALL SELECT DISTINCT t FROM readings WHERE id = 3",
                &[
                    r#"{"d":"2024-05-01T00:00:00.000000Z"}"#,
                    r#"{"d":"1969-12-31T00:00:00.000000Z"}"#,
                    r#"{"d":null}"#,
                    r#"{"d":"2024-05-02T00:00:00.000000Z"}"#,
                ],
            ),
            ("SELECT id FROM readings WHERE d = CAST(t AS DATE) AND d >= t", &[r#"{"id":1}"#]),
        ],
    );
}

#[test]
fn a_null_order_never_wins_and_integers_sum_beyond_64_bits_in_no_silence() {
    check(
        "",
        &[
            (
                "SELECT g, last_value(id ORDER BY t) AS last, first_value(id ORDER BY t) AS first FROM readings \
                 WHERE k IS NULL OR id IN (2, 3) GROUP BY g",
                &[
                    r#"{"g":"x","last":2,"first":2}"#,
                    r#"{"g":"y","last":3,"first":3}"#,
                    r#"{"g":null,"last":null,"first":null}"#,
                ],
            ),
            // The sum of `x` is out of range while 7 and any positive one are in it: no row, and a dead letter.
            ("SELECT g, sum(i) AS s FROM readings WHERE i > 0 GROUP BY g", &[r#"{"g":"y","s":11}"#]),
        ],
    );
}

#[test]
fn rows_know_those_before_them_in_event_time() {
    check(
        "CREATE VIEW events AS SELECT k, g, i, t FROM readings WHERE t > '2000-01-01T00:00:00Z';
         CREATE VIEW steps AS SELECT k, g, lag(g) OVER (PARTITION BY k ORDER BY t) AS before, t FROM events;",
        &[
            // Ties of time go by origin.
            (
                "SELECT k, g, before FROM steps",
                &[
                    r#"{"k":"a","g":"x","before":null}"#,
                    r#"{"k":"a","g":"x","before":"x"}"#,
                    r#"{"k":"a","g":"y","before":"x"}"#,
                    r#"{"k":"a","g":"z","before":"y"}"#,
                    r#"{"k":"b","g":"x","before":null}"#,
                    r#"{"k":"c","g":"x","before":null}"#,
                    r#"{"k":"d","g":"y","before":null}"#,
                ],
            ),
            // Keys and values are any expressions, several calls stand side by side, and one over another.
            (
                "SELECT i, lag(i + 1, 2) OVER (PARTITION BY i > 5 ORDER BY t) AS two, \
                 coalesce(lag(upper(k)) OVER (PARTITION BY i > 5 ORDER BY t), '-') AS one FROM events WHERE i < 100",
                &[
                    r#"{"i":10,"two":null,"one":"-"}"#,
                    r#"{"i":10,"two":null,"one":"A"}"#,
                    r#"{"i":20,"two":11,"one":"A"}"#,
                    r#"{"i":10,"two":11,"one":"B"}"#,
                    r#"{"i":1,"two":null,"one":"-"}"#,
                    r#"{"i":-10,"two":null,"one":"D"}"#,
                ],
            ),
            (
                "SELECT k, lag(k) OVER (ORDER BY t) AS other, lag(before) OVER (PARTITION BY k ORDER BY t) AS two \
                 FROM steps WHERE k = 'a' AND t < '2024-05-03T00:00:00Z'",
                &[
                    r#"{"k":"a","other":null,"two":null}"#,
                    r#"{"k":"a","other":"a","two":null}"#,
                    r#"{"k":"a","other":"a","two":"x"}"#,
                ],
            ),
        ],
    );
}

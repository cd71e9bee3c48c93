//! Rows that fail: exactly those become dead letters, with the same words, however the input is cut into epochs
//! and spread over workers, on every kind of leg.
//!
//! `ROW_ERRORS_SEED` is a number, or `random`.

#[path = "support/bounded.rs"]
#[expect(dead_code, reason = "this dataflow does not ship")]
mod bounded;
#[path = "support/process.rs"]
mod process;
#[path = "support/seed.rs"]
mod seed;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use bounded::{Mode, lines, run};
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64Mcg;
use serde_json::Value;

const RECORDS: usize = 300;
const NUMBERS: [Option<i64>; 9] =
    [Some(0), Some(1), Some(-1), Some(3), Some(50), Some(i64::MIN), Some(i64::MAX), Some(7), None];
const TEXTS: [Option<&str>; 7] =
    [Some("12"), Some("x"), Some(""), Some("1.5"), Some("9223372036854775808"), Some("-3"), None];

const DATAFLOW: &str = r#"
CREATE SOURCE r (id BIGINT NOT NULL, k TEXT, i BIGINT, j BIGINT, s TEXT)
WITH (connector = 'file', path = 'input/r.jsonl');

CREATE VIEW halves AS SELECT id, k, 100 / i AS half FROM r;

CREATE SINK filtered AS SELECT id FROM r WHERE 100 / i > 3 WITH (connector = 'file', path = 'a.jsonl');
CREATE SINK projected AS SELECT id, i * 2 AS d, CAST(s AS BIGINT) AS n, i / j AS q FROM r
WITH (connector = 'file', path = 'b.jsonl');
CREATE SINK guarded AS
SELECT id, CASE WHEN i = 0 THEN 0 ELSE 100 / i END AS a, coalesce(nullif(i, 0), 7) AS b, 100 / nullif(i, 0) AS c,
       i IN (0, 100 / nullif(j, 0)) AS d, TRY_CAST(s AS BIGINT) AS e
FROM r WHERE (i <> 0 AND 100 / i < 1000) OR i = 0 OR s = 'x' WITH (connector = 'file', path = 'c.jsonl');
CREATE SINK summed AS SELECT k, sum(i / j) AS s, max(CAST(s AS BIGINT)) AS m, count(*) AS c FROM r GROUP BY k
WITH (connector = 'file', path = 'd.jsonl');
CREATE SINK keyed AS SELECT 100 / i AS q, count(*) AS c FROM r GROUP BY 100 / i
WITH (connector = 'file', path = 'e.jsonl');
CREATE SINK counted AS SELECT k, count(*) FILTER (WHERE 100 / i > 3) AS c FROM r GROUP BY k
WITH (connector = 'file', path = 'f.jsonl');
CREATE SINK having AS SELECT k, min(j) AS j FROM r WHERE j >= 0 GROUP BY k HAVING 100 / min(j) >= 0
WITH (connector = 'file', path = 'g.jsonl');
CREATE SINK united AS SELECT id, 100 / i AS q FROM r UNION ALL SELECT id, CAST(s AS BIGINT) FROM r
WITH (connector = 'file', path = 'h.jsonl');
CREATE SINK different AS SELECT DISTINCT half % 10 AS h FROM halves WHERE k <> 'b'
WITH (connector = 'file', path = 'i.jsonl');
"#;

const SINKS: [&str; 9] =
    ["filtered", "projected", "guarded", "summed", "keyed", "counted", "having", "united", "different"];

#[derive(Clone, Debug)]
struct Row {
    id: usize,
    i: Option<i64>,
    j: Option<i64>,
    s: Option<&'static str>,
    text: String,
}

fn rows(rng: &mut Pcg64Mcg) -> Vec<Row> {
    let row = |id: usize| {
        let (i, j) = (*NUMBERS.choose(rng).expect("some"), *NUMBERS.choose(rng).expect("some"));
        // Otherwise hardly any row would be good.
        let s = if rng.random_bool(0.6) { Some("12") } else { *TEXTS.choose(rng).expect("some") };
        let k = ["a", "b", "c"].choose(rng).expect("some");
        let text = serde_json::json!({"id": id, "k": k, "i": i, "j": j, "s": s}).to_string();
        Row { id, i, j, s, text }
    };
    (0..RECORDS).map(row).collect()
}

/// The first expression of `projected` that fails on a row.
fn projected(row: &Row) -> Option<&'static str> {
    let parsed = row.s.is_none_or(|text| text.parse::<i64>().is_ok());
    if row.i.is_some_and(|i| i.checked_mul(2).is_none()) {
        Some("i * 2")
    } else if !parsed {
        Some("CAST(s AS BIGINT)")
    } else if row.i.zip(row.j).is_some_and(|(i, j)| i.checked_div(j).is_none()) {
        Some("i / j")
    } else {
        None
    }
}

/// What a run has written: rows by sink, and letters as (stage, offset, rule, error, row).
#[derive(Debug, PartialEq, Eq)]
struct Written {
    rows: BTreeMap<String, Vec<String>>,
    letters: Vec<(String, Option<u64>, String, String, String)>,
}

fn written(folder: &Path) -> Written {
    let sorted = |sink: &str| {
        let mut rows = lines(folder, &format!("{sink}.jsonl"));
        rows.sort();
        (sink.to_owned(), rows)
    };
    let letter = |line: String| {
        let letter: Value = serde_json::from_str(&line).expect("JSON");
        let text = |name: &str| letter[name].as_str().unwrap_or_default().to_owned();
        (
            text("stage"),
            letter["original_offset"].as_u64(),
            text("rule"),
            text("error"),
            letter["row"].to_string(),
        )
    };
    let mut letters: Vec<_> = lines(folder, "r.dlq.jsonl").into_iter().map(letter).collect();
    letters.sort();
    Written { rows: SINKS.iter().map(|sink| sorted(sink)).collect(), letters }
}

fn check(seed: u64) {
    let rows = rows(&mut Pcg64Mcg::seed_from_u64(seed));
    let folder = tempfile::tempdir().expect("a folder");
    let input = folder.path().join("input");
    fs::create_dir(&input).expect("a folder");
    let texts: Vec<_> = rows.iter().map(|row| row.text.as_str()).collect();
    fs::write(input.join("r.jsonl"), texts.join("\n")).expect("the input");
    fs::write(folder.path().join("dataflow.sql"), DATAFLOW).expect("the dataflow");

    let whole = written(run(folder.path(), &input, Mode::of(1, 1)).path());
    as_expected(&whole, &rows);
    // What HAVING fails on are rows that other epochs may never make.
    let of_records = |written: &Written| -> Vec<_> {
        written.letters.iter().filter(|letter| letter.1.is_some()).cloned().collect()
    };
    for (epoch_records, workers) in [(1, 1), (7, 3), (64, 2)] {
        let mode = Mode { epoch_records: Some(epoch_records), ..Mode::of(workers, 1) };
        let found = written(run(folder.path(), &input, mode).path());
        assert_eq!(found.rows, whole.rows, "seed {seed}, {mode:?}");
        assert_eq!(of_records(&found), of_records(&whole), "seed {seed}, {mode:?}");
        let alone = written(run(folder.path(), &input, Mode { workers: 1, ..mode }).path());
        assert_eq!(found, alone, "seed {seed}, {mode:?}");
    }
}

/// The same by other means.
fn as_expected(written: &Written, rows: &[Row]) {
    let failed = |stage: &str| -> BTreeMap<u64, String> {
        let of_stage = written.letters.iter().filter(|letter| letter.0 == stage);
        of_stage.map(|letter| (letter.1.expect("a record"), letter.2.clone())).collect()
    };
    let divided = |rule: &str| -> BTreeMap<u64, String> {
        rows.iter().filter(|row| row.i == Some(0)).map(|row| (row.id as u64, rule.to_owned())).collect()
    };
    assert_eq!(failed("r->filtered"), divided("100 / i > 3"));
    assert_eq!(failed("keyed/aggregate"), divided("100 / i"));
    assert_eq!(failed("counted/aggregate"), divided("100 / i > 3"));
    assert_eq!(failed("r->united"), divided("100 / i"));
    let expected: BTreeMap<u64, String> =
        rows.iter().filter_map(|row| projected(row).map(|rule| (row.id as u64, rule.to_owned()))).collect();
    assert_eq!(failed("r->projected"), expected);
    assert!(failed("r->guarded").is_empty());

    let ids = |sink: &str| -> BTreeSet<u64> {
        let id =
            |row: &String| serde_json::from_str::<Value>(row).expect("JSON")["id"].as_u64().expect("an id");
        written.rows[sink].iter().map(id).collect()
    };
    let of_rows = |keep: &dyn Fn(&Row) -> bool| -> BTreeSet<u64> {
        rows.iter().filter(|row| keep(row)).map(|row| row.id as u64).collect()
    };
    assert_eq!(ids("filtered"), of_rows(&|row| row.i.is_some_and(|i| i != 0 && 100 / i > 3)));
    assert_eq!(ids("projected"), of_rows(&|row| projected(row).is_none()));
    let guarded = |row: &Row| row.i.is_some() || row.s == Some("x");
    assert_eq!(ids("guarded"), of_rows(&guarded));
    let good = rows.iter().filter(|row| row.i != Some(0)).count() as u64;
    let count =
        |row: &String| serde_json::from_str::<Value>(row).expect("JSON")["c"].as_u64().expect("a count");
    assert_eq!(written.rows["keyed"].iter().map(count).sum::<u64>(), good);
}

#[test]
fn exactly_the_rows_that_fail_become_letters_however_they_are_batched() {
    check(seed::seed("ROW_ERRORS_SEED"));
}

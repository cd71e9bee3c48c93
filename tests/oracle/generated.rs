//! Generated dataflows: random queries over random data, on every number of workers and processes, in tiny epochs
//! and with shuffled input, have the rows that DuckDB gives.
//!
//! `ORACLE_SEED=n` repeats a run; every failure names its seed. A seed that has failed is shrunk by hand and
//! becomes a folder in `tests/oracle/regressions/`.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;

use crate::bounded::{Mode, lines, run, run_with_ledger};
use crate::seed::seed;
use crate::{compared, python};

/// Dataflows of one test, each with ten queries.
pub const DATAFLOWS: usize = 4;
/// Tests of so many dataflows: one to ten of [`generated!`].
const TESTS: usize = 10;

const SCRIPT: &str = "oracle_generator.py";

/// How dataflow `index` of all is run: every mode gets its share.
fn mode(index: usize) -> (Mode, &'static str) {
    let modes = [
        Mode::of(1, 1),
        Mode::of(2, 1),
        Mode { partials: true, ..Mode::of(4, 1) },
        Mode::of(1, 2),
        Mode { epoch_records: Some(1 + index % 5), ..Mode::of(2, 1) },
        Mode { epoch_records: Some(2), ..Mode::of(2, 2) },
    ];
    (modes[index % modes.len()], if (index / modes.len()).is_multiple_of(2) { "input" } else { "shuffled" })
}

/// Has a script write `count` dataflows, numbered from 0.
pub fn generate(script: &str, seed: &str, count: usize) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let (good, report) = python(script, |command| {
        command.args(["write", seed, &count.to_string()]).arg(folder.path());
    });
    assert!(good, "{report}");
    folder
}

/// Runs a dataflow in which nothing is late, neither in order nor shuffled: DuckDB would not know of it.
pub fn run_in_time(dataflow: &Path, input: &str, mode: Mode) -> TempDir {
    let (output, ledger) = run_with_ledger(dataflow, &dataflow.join(input), mode);
    assert_eq!(late(&ledger), 0, "{mode:?}, {input}: {ledger:#}");
    output
}

/// How many rows were late.
pub fn late(ledger: &Value) -> u64 {
    let legs = ledger["legs"].as_array().expect("legs");
    legs.iter().map(|leg| leg["late"].as_u64().expect("a count")).sum()
}

/// Runs the dataflows of test `test` of a script, each in its mode, and compares them.
pub fn agree_with_duckdb(script: &str, test: usize, mode: impl Fn(usize) -> (Mode, &'static str)) {
    let seed = format!("{}.{test}", seed("ORACLE_SEED"));
    println!("{script}: seed {seed}");
    let folder = generate(script, &seed, DATAFLOWS);
    let mut runs = Vec::new();
    for index in 0..DATAFLOWS {
        let dataflow = folder.path().join(index.to_string());
        let (mode, input) = mode(test * DATAFLOWS + index);
        println!("dataflow {index}: {mode:?}, {input}");
        let output = run_in_time(&dataflow, input, mode);
        runs.push((dataflow.clone(), dataflow.join(input), output));
    }
    let triples = runs.iter().map(|(dataflow, input, output)| (&**dataflow, &**input, output.path()));
    let (agree, report) = compared(&triples.collect::<Vec<_>>());
    assert!(
        agree,
        "{script} of seed {seed} (ORACLE_SEED is what stands before the dot)\n{report}\n{}",
        texts(&folder)
    );
}

/// The dataflows of a failure, whose folder will be gone.
pub fn texts(folder: &TempDir) -> String {
    let text = |index: usize| fs::read_to_string(folder.path().join(index.to_string()).join("dataflow.sql"));
    (0..DATAFLOWS).map(|index| text(index).expect("the dataflow")).collect()
}

macro_rules! generated {
    ($($name:ident $test:literal)*) => {
        const GENERATED: &[usize] = &[$($test),*];

        $(#[test]
        fn $name() {
            agree_with_duckdb(SCRIPT, $test, mode);
        })*
    };
}

generated!(first 0 second 1 third 2 fourth 3 fifth 4 sixth 5 seventh 6 eighth 7 ninth 8 tenth 9);

#[test]
fn at_least_300_queries_cover_every_feature() {
    assert!(GENERATED.len() == TESTS && TESTS * DATAFLOWS * 10 >= 300);
    covers_every_feature(SCRIPT, TESTS);
}

/// Whether the dataflows of so many tests have what the script demands of them.
pub fn covers_every_feature(script: &str, tests: usize) {
    let seed = seed("ORACLE_SEED").to_string();
    let (covered, report) = python(script, |command| {
        command.args(["coverage", &seed, &tests.to_string(), &DATAFLOWS.to_string()]);
    });
    println!("{report}");
    assert!(covered, "{script} of seed {seed}: {report}");
}

/// Sorted lines of a sink.
fn sorted(output: &TempDir, sink: &str) -> Vec<String> {
    let mut lines = lines(output.path(), &format!("{sink}.jsonl"));
    lines.sort();
    lines
}

/// Names of the sinks, and whether their rows depend on the order of the input.
fn sinks(dataflow: &Path) -> Vec<(String, bool)> {
    let text = fs::read_to_string(dataflow.join("features.json")).expect("what the generator says");
    let sinks: Vec<Value> = serde_json::from_str(&text).expect("JSON");
    let sink = |sink: &Value| (sink["name"].as_str().expect("a name").to_owned(), sink["ordered"] == true);
    sinks.iter().map(sink).collect()
}

#[test]
fn every_mode_gives_the_same_bytes() {
    gives_the_same_bytes(SCRIPT, 2, &Vec::from_iter((1..12).map(mode)));
}

/// Expects of dataflows that every mode writes what the first one does.
pub fn gives_the_same_bytes(script: &str, count: usize, modes: &[(Mode, &'static str)]) {
    let seed = format!("{}.modes", seed("ORACLE_SEED"));
    println!("{script}: seed {seed}");
    let folder = generate(script, &seed, count);
    for index in 0..count {
        let dataflow = folder.path().join(index.to_string());
        let first = run_in_time(&dataflow, "input", Mode::of(1, 1));
        let mut ordered = 0;
        for &(mode, input) in modes {
            let output = run_in_time(&dataflow, input, mode);
            for (sink, by_order) in sinks(&dataflow) {
                if by_order && input == "shuffled" {
                    ordered += 1;
                    continue;
                }
                let what = format!("{sink} of dataflow {index} of seed {seed}, {mode:?}, {input}");
                assert_eq!(sorted(&first, &sink), sorted(&output, &sink), "{what}");
            }
        }
        assert!(ordered < modes.len() * 10, "some sinks do not depend on the order");
    }
}

/// A dataflow that once went wrong.
fn regression(name: &str) {
    let dataflow = regressions().join(name);
    let input = dataflow.join("input");
    for number in [0, 1, 3, 4] {
        let output = run(&dataflow, &input, mode(number).0);
        let (agrees, report) = compared(&[(&dataflow, &input, output.path())]);
        assert!(agrees, "{name}, {:?}\n{report}", mode(number).0);
    }
}

fn regressions() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oracle/regressions")
}

macro_rules! regressions {
    ($($name:ident)*) => {
        const REGRESSIONS: &[&str] = &[$(stringify!($name)),*];

        $(#[test]
        fn $name() {
            regression(stringify!($name));
        })*
    };
}

regressions!(distinct_from_ends_at_and group_by_of_a_key nulls_of_joins numbers_have_64_bits two_zeros unread_columns_of_joins windows_of_joined_windows);

#[test]
fn every_regression_is_run() {
    for entry in fs::read_dir(regressions()).expect("the folder of regressions") {
        let name = entry.expect("an entry").file_name().into_string().expect("UTF-8");
        assert!(REGRESSIONS.contains(&name.as_str()), "{name} is not in regressions!(...) of {}", file!());
    }
}

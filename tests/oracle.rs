//! Every sink of the shipped dataflows has the rows that DuckDB gives for the same SQL over the same input.
//! `oracle.py` does the comparison; here is what runs it.

#[path = "support/bounded.rs"]
mod bounded;
#[path = "oracle/event_time.rs"]
mod event_time;
#[path = "oracle/generated.rs"]
mod generated;
#[path = "oracle/late.rs"]
mod late;
#[path = "support/process.rs"]
mod process;
#[path = "oracle/recorded.rs"]
mod recorded;
#[path = "support/seed.rs"]
mod seed;

use std::env;
use std::fs;
use std::path::Path;
use std::process::Command;

use bounded::{Mode, lines, run, shipped};

macro_rules! oracle {
    ($($dataflow:ident)*) => {
        const TESTED: &[&str] = &[$(stringify!($dataflow)),*];

        $(#[test]
        fn $dataflow() {
            agrees(stringify!($dataflow));
        })*
    };
}

oracle!(aggregates alarm_responses auction_bids csv_stations deduplicated duration_p95 enriched_devices fan_out fleet_totals fleet_trips fleet_with_owners groupings iot_windows leaderboards nested_fields on_duty pass_through rejects sensor_quality service_metrics vehicle_latest vehicle_state);

#[test]
fn every_dataflow_is_compared() {
    for entry in fs::read_dir(shipped("")).expect("the folder of dataflows") {
        let name = entry.expect("an entry").file_name().into_string().expect("UTF-8");
        assert!(TESTED.contains(&name.as_str()), "{name} is not in oracle!(...) of {}", file!());
    }
}

/// What the oracle says of the expected rows of `fan_out` after `change` was made to one file of them.
fn changed(file: &str, change: impl Fn(Vec<String>) -> Vec<String>) -> (bool, String) {
    let directory = shipped("fan_out");
    let output = tempfile::tempdir().expect("a folder");
    for entry in fs::read_dir(directory.join("expected")).expect("the folder") {
        let name = entry.expect("an entry").file_name().into_string().expect("UTF-8");
        let mut rows = lines(&directory.join("expected"), &name);
        if name == file {
            rows = change(rows);
        }
        fs::write(output.path().join(name), rows.join("\n")).expect("a writable folder");
    }
    compared(&[(&directory, &directory.join("input"), output.path())])
}

/// Expects that the oracle finds the change in the one sink and agrees with another.
fn is_found(file: &str, change: impl Fn(Vec<String>) -> Vec<String>) {
    let (agrees, report) = changed(file, change);
    let sink = file.trim_end_matches(".jsonl");
    assert!(!agrees && report.contains(&format!("{sink}: differs")), "{report}");
    assert!(report.contains("sites_out: 2 rows agree"), "{report}");
}

fn replaced(rows: &[String], from: &str, to: &str) -> Vec<String> {
    let text = rows.join("\n");
    assert_eq!(text.matches(from).count(), 1, "{from} stands once in\n{text}");
    text.replace(from, to).lines().map(str::to_owned).collect()
}

#[test]
fn a_wrong_row_is_found() {
    is_found("devices_out.jsonl", |rows| replaced(&rows, "40.8", "40.80000001"));
    is_found("alarms_out.jsonl", |rows| rows.iter().map(|row| row.replace("hot", "Hot")).collect());
}

#[test]
fn a_missing_row_is_found() {
    is_found("devices_out.jsonl", |rows| rows[1..].to_vec());
    is_found("levels.jsonl", |rows| rows[1..].to_vec());
}

#[test]
fn a_doubled_row_is_found() {
    is_found("levels.jsonl", |rows| [&rows[..1], &rows[..]].concat());
    // As many rows as there should be.
    is_found("alarms_out.jsonl", |rows| [&rows[..1], &rows[..rows.len() - 1]].concat());
}

#[test]
fn a_missing_column_is_found() {
    is_found("levels.jsonl", |rows| rows.iter().map(|row| row.replace(r#","temperatures":0"#, "")).collect());
}

/// Sums and averages of doubles may differ by a rounding, all else not by the last bit.
#[test]
fn an_error_beyond_the_bound_is_found() {
    let celsius_sum = r#""celsius_sum":40.8"#;
    let (agrees, report) = changed("devices_out.jsonl", |rows| {
        replaced(&rows, celsius_sum, r#""celsius_sum":40.800000000000004"#)
    });
    assert!(agrees, "{report}");
    is_found("devices_out.jsonl", |rows| replaced(&rows, celsius_sum, r#""celsius_sum":40.8000000003"#));
    is_found("devices_out.jsonl", |rows| {
        replaced(&rows, r#""hottest":21.5"#, r#""hottest":21.500000000000004"#)
    });
}

fn agrees(dataflow: &str) {
    let directory = shipped(dataflow);
    let input = directory.join("input");
    let output = run(&directory, &input, Mode::of(2, 1));
    let (agrees, report) = compared(&[(&directory, &input, output.path())]);
    assert!(agrees, "{dataflow}\n{report}");
    println!("{report}");
}

/// Whether DuckDB agrees with the files that dataflows have written, and what it says about each sink: of triples of
/// the dataflow's folder, its input and its output.
fn compared(runs: &[(&Path, &Path, &Path)]) -> (bool, String) {
    python("oracle.py", |command| {
        runs.iter().for_each(|(dataflow, input, output)| _ = command.args([dataflow, input, output]));
    })
}

/// Whether a script of this folder succeeds, and what it prints.
fn python(script: &str, arguments: impl FnOnce(&mut Command)) -> (bool, String) {
    let setting = |name: &str| {
        env::var_os(name)
            .unwrap_or_else(|| panic!("{name} is not set: run the tests by ./test, which gets DuckDB"))
    };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(script);
    let mut command = Command::new(setting("ORACLE_PYTHON"));
    command.env("PYTHONPATH", setting("ORACLE_PYTHONPATH")).env("PYTHONDONTWRITEBYTECODE", "1").arg(script);
    arguments(&mut command);
    let result = command.output().expect("Python");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (result.status.success(), text(&result.stdout) + &text(&result.stderr))
}

//! Every sink of the shipped dataflows has the rows that DuckDB gives for the same SQL over the same input.
//! `oracle.py` does the comparison; here is what runs it.

#[path = "support/bounded.rs"]
mod bounded;
#[path = "support/process.rs"]
mod process;

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

oracle!(csv_stations fan_out fleet_totals nested_fields pass_through rejects vehicle_latest vehicle_state);

#[test]
fn every_dataflow_is_compared() {
    for entry in fs::read_dir(shipped("")).expect("the folder of dataflows") {
        let name = entry.expect("an entry").file_name().into_string().expect("UTF-8");
        assert!(TESTED.contains(&name.as_str()), "{name} is not in oracle!(...) of {}", file!());
    }
}

#[test]
fn a_wrong_row_is_found() {
    let directory = shipped("fan_out");
    let output = tempfile::tempdir().expect("a folder");
    for entry in fs::read_dir(directory.join("expected")).expect("the folder") {
        let name = entry.expect("an entry").file_name().into_string().expect("UTF-8");
        let text = lines(&directory.join("expected"), &name).join("\n");
        let text = if name == "devices_out.jsonl" { text.replace("40.8", "40.80000001") } else { text };
        fs::write(output.path().join(name), text).expect("a writable folder");
    }
    let (agrees, report) = oracle(&directory, &directory.join("input"), output.path());
    assert!(!agrees && report.contains("devices_out: differs"), "{report}");
    assert!(report.contains("sites_out: 2 rows agree"), "{report}");
}

fn agrees(dataflow: &str) {
    let directory = shipped(dataflow);
    let input = directory.join("input");
    let output = run(&directory, &input, Mode::of(2, 1));
    let (agrees, report) = oracle(&directory, &input, output.path());
    assert!(agrees, "{dataflow}\n{report}");
    println!("{report}");
}

/// Whether DuckDB agrees with the files in `output`, and what it says about each.
fn oracle(directory: &Path, input: &Path, output: &Path) -> (bool, String) {
    let setting = |name: &str| {
        env::var_os(name)
            .unwrap_or_else(|| panic!("{name} is not set: run the tests by ./test, which gets DuckDB"))
    };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oracle.py");
    let mut command = Command::new(setting("ORACLE_PYTHON"));
    command.env("PYTHONPATH", setting("ORACLE_PYTHONPATH")).env("PYTHONDONTWRITEBYTECODE", "1");
    let result = command.arg(script).arg(directory).arg(input).arg(output).output().expect("Python");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (result.status.success(), text(&result.stdout) + &text(&result.stderr))
}

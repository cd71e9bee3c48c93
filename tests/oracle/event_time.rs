//! Generated dataflows in event time: random windows over data with as much disorder as their sources declare, so
//! that nothing is late, whatever the epochs, workers and processes; and that the oracle would see if something were.

use std::fs;

use crate::bounded::{Mode, run_with_ledger};
use crate::compared;
use crate::generated::{DATAFLOWS, agree_with_duckdb, covers_every_feature, gives_the_same_bytes, late};

const SCRIPT: &str = "oracle_event_time.py";
/// One to eight of [`generated!`], of [`DATAFLOWS`] dataflows with ten queries each.
const TESTS: usize = 8;

/// How dataflow `index` of all is run. Most modes have epochs that are shorter than the disorder.
fn mode(index: usize) -> (Mode, &'static str) {
    let modes = [
        Mode { epoch_records: Some(7), partials: true, ..Mode::of(2, 1) },
        Mode::of(1, 1),
        Mode { epoch_records: Some(3), ..Mode::of(4, 1) },
        Mode { epoch_records: Some(1 + index % 5), ..Mode::of(1, 1) },
        Mode { epoch_records: Some(11), partials: true, ..Mode::of(1, 2) },
        Mode::of(2, 2),
    ];
    (modes[index % modes.len()], if (index / modes.len()).is_multiple_of(2) { "input" } else { "shuffled" })
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

generated!(first 0 second 1 third 2 fourth 3 fifth 4 sixth 5 seventh 6 eighth 7);

#[test]
fn at_least_300_queries_cover_every_window() {
    assert!(GENERATED.len() == TESTS && TESTS * DATAFLOWS * 10 >= 300);
    covers_every_feature(SCRIPT, TESTS);
}

#[test]
fn every_mode_gives_the_same_windows() {
    gives_the_same_bytes(SCRIPT, 1, &Vec::from_iter((0..12).map(mode)));
}

const DATAFLOW: &str = "CREATE SOURCE readings (at TIMESTAMP, WATERMARK FOR at AS at - INTERVAL '10 seconds')
WITH (connector = 'kafka', topic = 'readings');
CREATE VIEW per_minute AS
SELECT window_end, count(*) AS n FROM readings GROUP BY tumble(at, INTERVAL '1 minute');
CREATE SINK result FROM per_minute WITH (connector = 'file', path = 'result.jsonl');
CREATE SINK too_late FROM late(per_minute) WITH (connector = 'file', path = 'late.jsonl');";

/// Whether the engine has late rows, and whether DuckDB agrees, when the clock goes back this far.
fn with_a_record_behind(seconds: u32) -> (u64, bool, String) {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("dataflow.sql"), DATAFLOW).expect("a file");
    let input = folder.path().join("input");
    fs::create_dir(&input).expect("a folder");
    // The third is behind the second.
    let times = ["10:00:30".to_owned(), format!("10:01:{seconds:02}"), "10:00:59".to_owned()];
    let records = times.map(|time| format!("{{\"at\": \"2025-10-27T{time}Z\"}}\n"));
    fs::write(input.join("readings.jsonl"), records.concat()).expect("a file");
    let mode = Mode { epoch_records: Some(1), partials: true, ..Mode::of(2, 1) };
    let (output, ledger) = run_with_ledger(folder.path(), &input, mode);
    let (agrees, report) = compared(&[(folder.path(), &input, output.path())]);
    (late(&ledger), agrees, report)
}

#[test]
fn a_late_row_is_noticed() {
    let (late, agrees, report) = with_a_record_behind(9);
    assert!(late == 0 && agrees, "{report}");
    let (late, agrees, report) = with_a_record_behind(10);
    assert!(late == 1 && !agrees, "{late} late\n{report}");
    assert!(report.contains("result: differs") && report.contains("too_late: differs"), "{report}");
}

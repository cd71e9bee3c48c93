//! The shipped dataflows over their own input give their expected output, however they are run.
//!
//! `UPDATE_EXPECTED=1 cargo golden on_one_worker` writes what comes out where something else is expected; look
//! at the difference before it is committed.

#[path = "support/bounded.rs"]
mod bounded;
#[path = "support/process.rs"]
mod process;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use bounded::{Mode, lines, run, shipped};
use process::{Process, tidemill};

/// Defines the tests of each dataflow and the list of their names.
macro_rules! golden {
    ($($dataflow:ident)*) => {
        const TESTED: &[&str] = &[$(stringify!($dataflow)),*];

        $(mod $dataflow {
            use super::*;

            const NAME: &str = stringify!($dataflow);

            #[test]
            fn is_accepted_and_explained() {
                accepted_and_explained(NAME);
            }

            #[test]
            fn on_one_worker() {
                gives_expected(NAME, Mode::of(1, 1));
            }

            #[test]
            fn on_two_workers() {
                gives_expected(NAME, Mode::of(2, 1));
            }

            #[test]
            fn on_four_workers() {
                gives_expected(NAME, Mode::of(4, 1));
            }

            #[test]
            fn in_two_processes() {
                gives_expected(NAME, Mode::of(1, 2));
            }

            #[test]
            fn added_up_on_two_workers() {
                gives_expected(NAME, Mode { partials: true, ..Mode::of(2, 1) });
            }

            #[test]
            fn added_up_in_two_processes() {
                gives_expected(NAME, Mode { partials: true, ..Mode::of(1, 2) });
            }

            #[test]
            fn in_small_epochs_on_one_worker() {
                gives_expected(NAME, Mode { epoch_records: Some(1), ..Mode::of(1, 1) });
            }

            #[test]
            fn in_small_epochs_on_two_workers() {
                gives_expected(NAME, Mode { epoch_records: Some(3), ..Mode::of(2, 1) });
            }

            #[test]
            fn in_small_epochs_in_two_processes() {
                gives_expected(NAME, Mode { epoch_records: Some(2), ..Mode::of(1, 2) });
            }
        })*
    };
}

golden!(aggregates alarm_responses auction_bids csv_stations deduplicated duration_p95 enriched_devices fan_out fleet_totals fleet_trips fleet_with_owners groupings iot_windows leaderboards nested_fields on_duty pass_through rejects sensor_quality service_metrics vehicle_latest vehicle_state);

#[test]
fn every_dataflow_is_tested() {
    let folder = shipped("");
    let entries = fs::read_dir(&folder).expect("the folder of dataflows");
    let names = entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8"));
    let found: BTreeSet<String> = names.collect();
    let tested: BTreeSet<String> = TESTED.iter().map(|name| (*name).to_owned()).collect();
    assert_eq!(found, tested, "golden!(aggregates ...) in {} lists the directories in dataflows/", file!());
}

/// Dataflows with late records, by the number of records per partition and epoch: which records are late depends on
/// what the epochs before have shown, so these have the same epochs in all their modes.
const WITH_LATE_RECORDS: &[(&str, usize)] = &[
    ("duration_p95", 100),
    ("fleet_trips", 5),
    ("iot_windows", 5),
    ("sensor_quality", 5),
    ("service_metrics", 6),
];

/// `check` finds nothing, and the plan is the one in `snapshots/`.
fn accepted_and_explained(dataflow: &str) {
    let path = format!("dataflows/{dataflow}");
    let root = env!("CARGO_MANIFEST_DIR");
    let mut check = Process::spawn(tidemill(&["check", &path]).current_dir(root));
    assert!(check.wait().success(), "{}", check.log());
    let explain = tidemill(&["explain", &path]).current_dir(root).output().expect("the binary");
    assert!(explain.status.success(), "{}", String::from_utf8_lossy(&explain.stderr));
    insta::with_settings!({ omit_expression => true }, {
        insta::assert_snapshot!(format!("explain_{dataflow}"), String::from_utf8_lossy(&explain.stdout));
    });
}

fn gives_expected(dataflow: &str, mode: Mode) {
    let fixed = WITH_LATE_RECORDS.iter().find(|(name, _)| *name == dataflow).map(|(_, records)| *records);
    let mode = Mode { epoch_records: fixed.or(mode.epoch_records), ..mode };
    let same_epochs = mode.epoch_records == fixed;
    let directory = shipped(dataflow);
    let expected = directory.join("expected");
    let output = run(&directory, &directory.join("input"), mode);
    let (wanted, found) = (names(&expected), names(output.path()));
    let mut complaints = String::new();
    for file in wanted.union(&found) {
        let comparable = |folder: &Path, there: bool| match there {
            true => comparable(file, lines(folder, file), same_epochs),
            false => Vec::new(),
        };
        let (want, got) =
            (comparable(&expected, wanted.contains(file)), comparable(output.path(), found.contains(file)));
        let missing = wanted.contains(file) != found.contains(file) && !is_dead_letters(file);
        if want != got || missing {
            complaints += &format!("\n{dataflow}/expected/{file}, {mode:?}\n{}", difference(&want, &got));
            if same_epochs {
                update(&expected, file, &got, mode);
            }
        }
    }
    assert!(complaints.is_empty(), "(- expected, + found){complaints}");
}

/// Names of the files in a folder.
fn names(folder: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8")).collect()
}

/// A source without dead letters need not have a file of them.
fn is_dead_letters(file: &str) -> bool {
    file.ends_with(".dlq.jsonl")
}

/// The lines as far as they are the same in each run.
fn comparable(file: &str, lines: Vec<String>, same_epochs: bool) -> Vec<String> {
    let mut lines = lines;
    if is_dead_letters(file) {
        lines = lines.iter().map(|line| letter(line, same_epochs)).collect();
    }
    // With other epochs rows come in another order, at other times.
    if !same_epochs {
        lines = lines.iter().map(|line| without_ingestion_times(line)).collect();
        lines.sort();
    }
    lines
}

/// A dead letter without the name of the process that wrote it.
fn letter(line: &str, same_epochs: bool) -> String {
    let mut letter: serde_json::Value = serde_json::from_str(line).expect("a dead letter is JSON");
    let fields = letter.as_object_mut().expect("a dead letter is an object");
    fields.shift_remove("consumer_id");
    if !same_epochs {
        fields.shift_remove("epoch");
    }
    letter.to_string()
}

/// Takes out the clock of the run: the first seconds of the day at which it starts.
fn without_ingestion_times(line: &str) -> String {
    let mut rest = line;
    let mut out = String::new();
    while let Some(at) = rest.find("2025-11-01T00:00:0") {
        let end = at + "2025-11-01T00:00:00.020000Z".len();
        out += &rest[..at];
        out += "<ingestion time>";
        rest = &rest[end..];
    }
    out + rest
}

fn difference(want: &[String], got: &[String]) -> String {
    let mut text = String::new();
    for line in 0..want.len().max(got.len()) {
        let (want, got) = (want.get(line), got.get(line));
        if want != got {
            text += &want.map_or(String::new(), |want| format!("- {:>4} {want}\n", line + 1));
            text += &got.map_or(String::new(), |got| format!("+ {:>4} {got}\n", line + 1));
        }
    }
    text
}

/// Writes what was found, if the caller of the tests has asked for that.
fn update(expected: &Path, file: &str, got: &[String], mode: Mode) {
    let plain = mode.workers == 1 && mode.processes == 1;
    if plain && std::env::var_os("UPDATE_EXPECTED").is_some() {
        let text: String = got.iter().map(|line| format!("{line}\n")).collect();
        fs::write(expected.join(file), text).expect("a writable folder");
    }
}

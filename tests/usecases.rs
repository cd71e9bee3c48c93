//! The two use cases of a telematics unit, as they were given: events in, documents out.

#[path = "support/bounded.rs"]
mod bounded;
#[path = "support/process.rs"]
mod process;

use std::path::Path;

use bounded::{Mode, lines, run, shipped};
use serde_json::{Value, json};

const MODES: [Mode; 4] =
    [Mode::of(1, 1), Mode::of(2, 1), Mode::of(1, 2), Mode { epoch_records: Some(1), ..Mode::of(2, 1) }];

/// The documents of a sink after the events in `tests/data/<case>`, without times of ingestion.
fn documents(case: &str, mode: Mode, sink: &str, ingestion: &str) -> Vec<Value> {
    let input = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(case);
    let output = run(&shipped("vehicle_state"), &input, mode);
    let lines = lines(output.path(), &format!("{sink}.jsonl"));
    let documents = lines.iter().map(|line| {
        let mut document: Value = serde_json::from_str(line).expect("a document");
        let removed = document.as_object_mut().and_then(|fields| fields.shift_remove(ingestion));
        assert!(removed.is_some_and(|time| time.is_string()), "no {ingestion} in {line}");
        document
    });
    documents.collect()
}

/// The events of a use case as they were given.
fn events(case: &str) -> Vec<Value> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(case);
    let lines = lines(&folder, "telemetry_raw.jsonl");
    lines.iter().map(|line| serde_json::from_str(line).expect("an event")).collect()
}

#[test]
fn four_signals_become_one_document() {
    let expected = json!({
        "did": "981",
        "eventTime": "2025-10-27T10:07:16.985000Z",
        "odo": 101.5,
        "soc": 100,
        "speed": 25,
        "ignition": 1,
    });
    for mode in MODES {
        let found = documents("use_case_1", mode, "latest_state", "ingestion_time");
        assert_eq!(found, std::slice::from_ref(&expected), "{mode:?}");
    }
}

#[test]
fn the_history_has_all_events_as_they_were_received() {
    for (case, count) in [("use_case_1", 4), ("use_case_2", 8)] {
        let events = events(case);
        assert_eq!(events.len(), count);
        assert_eq!(events[0]["int_value"], "0", "given as text, to be kept as text");
        for mode in MODES {
            assert_eq!(documents(case, mode, "history", "dbIngestion_time"), events, "{case}, {mode:?}");
        }
    }
}

#[test]
fn a_late_speed_does_not_win() {
    let expected = json!({
        "did": "981",
        "eventTime": "2025-10-27T10:08:36.663000Z",
        "odo": 102.5,
        "soc": 100,
        "speed": 25,
        "ignition": 1,
    });
    for mode in MODES {
        let found = documents("use_case_2", mode, "latest_state", "ingestion_time");
        assert_eq!(found, std::slice::from_ref(&expected), "{mode:?}");
    }
}

#[test]
fn events_with_one_name_and_timestamp_are_both_in_the_history() {
    let events = events("use_case_2");
    let (fourth, eighth) = (&events[3], &events[7]);
    for field in ["did", "name", "timestamp"] {
        assert_eq!(fourth[field], eighth[field]);
    }
    assert_ne!(fourth["eventTime"], eighth["eventTime"]);
    let history = documents("use_case_2", Mode::of(2, 1), "history", "dbIngestion_time");
    assert!(history.contains(fourth) && history.contains(eighth));
}

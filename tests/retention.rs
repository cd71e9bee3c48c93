//! `state_retention`: what live views and joins keep of windows, judged from the outside, with any number of workers.

#[expect(dead_code, reason = "no shipped dataflow is run here")]
#[path = "support/bounded.rs"]
mod bounded;
#[path = "support/process.rs"]
mod process;

use std::fmt::Write;
use std::fs;

use bounded::{Mode, lines, run_with_ledger};
use serde_json::Value;
use tempfile::TempDir;

const MODES: [Mode; 3] = [Mode::of(1, 1), Mode::of(4, 1), Mode::of(2, 2)];
/// 2025-10-27T00:00:00Z
const START: i64 = 1_761_523_200_000;

fn dataflow(views: &str) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let sql = format!(
        "CREATE SOURCE readings (device TEXT NOT NULL, ts TIMESTAMP NOT NULL,
             WATERMARK FOR ts AS ts - INTERVAL '1 second')
         WITH (connector = 'kafka', topic = 'readings');
         {views}"
    );
    fs::write(folder.path().join("dataflow.sql"), sql).expect("a file");
    folder
}

/// Readings of two devices, from a second on and so many seconds apart.
fn input(from_s: i64, step_s: i64, count: i64) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let mut text = String::new();
    for number in 0..count {
        let ms = START + (from_s + number * step_s) * 1_000;
        for device in ["a", "b"] {
            writeln!(text, r#"{{"device": "{device}", "ts": {ms}}}"#).expect("a text");
        }
    }
    fs::write(folder.path().join("readings.jsonl"), text).expect("a file");
    folder
}

/// What became of the rows of a leg.
fn leg<'a>(ledger: &'a Value, name: &str) -> &'a Value {
    let mut legs = ledger["legs"].as_array().expect("legs").iter();
    legs.find(|leg| leg["leg"] == name).unwrap_or_else(|| panic!("no leg {name} in {ledger:#}"))
}

#[test]
fn a_join_keeps_windows_as_long_as_is_said() {
    let dataflow = dataflow(
        "CREATE VIEW minutes WITH (state_retention = '2 minutes') AS
         SELECT device, window_end, count(*) AS n FROM readings
         GROUP BY device, tumble(ts, INTERVAL '1 minute') EMIT CHANGES;
         CREATE MATERIALIZED VIEW totals AS SELECT device, count(*) AS total FROM readings GROUP BY device;
         CREATE SINK shares AS SELECT m.device, m.window_end, m.n, t.total
         FROM minutes m JOIN totals t ON t.device = m.device WITH (connector = 'file', path = 'shares.jsonl');
         CREATE SINK all_minutes FROM minutes WITH (connector = 'file', path = 'all_minutes.jsonl');",
    );
    // Ten minutes; at the end the watermark was at 09:49 or later, and behind it only the end of the input came.
    let input = input(0, 10, 61);
    for mode in MODES {
        let mode = Mode { epoch_records: Some(2), ..mode };
        let (output, ledger) = run_with_ledger(dataflow.path(), input.path(), mode);
        let mut rows = lines(output.path(), "shares.jsonl");
        rows.sort();
        let expected: Vec<String> = ["a", "b"]
            .into_iter()
            .flat_map(|device| {
                [("08", 6), ("09", 6), ("10", 6), ("11", 1)].map(|(minute, n)| {
                    format!(
                        r#"{{"device":"{device}","window_end":"2025-10-27T00:{minute}:00.000000Z","n":{n},"total":61}}"#
                    )
                })
            })
            .collect();
        assert_eq!(rows, expected, "{mode:?}");
        assert_eq!(lines(output.path(), "all_minutes.jsonl").len(), 22, "the view itself has them all");
        let kept = leg(&ledger, "minutes->shares/retention");
        assert_eq!(kept["in_state"], 8, "{ledger:#}");
        assert_eq!(kept["emitted"].as_i64(), Some(22 - 8), "{ledger:#}");
    }
}

#[test]
fn a_live_view_of_windows_shows_the_last_day_where_nothing_is_said() {
    let view = |options: &str| {
        format!(
            "CREATE MATERIALIZED VIEW hours {options} AS SELECT device, window_start, window_end, count(*) AS n
             FROM readings GROUP BY device, tumble(ts, INTERVAL '1 hour');
             CREATE SINK all_hours FROM hours WITH (connector = 'file', path = 'all_hours.jsonl');"
        )
    };
    // Three days, a reading each half hour: 72 windows, the last of which closes with the end of the input.
    let input = input(600, 1_800, 144);
    for (options, rows) in [
        ("", 2 * 25),
        ("WITH (state_retention = '2 hours')", 2 * 3),
        ("WITH (state_retention = 'unbounded')", 2 * 72),
    ] {
        let dataflow = dataflow(&view(options));
        for mode in MODES {
            let mode = Mode { epoch_records: Some(2), ..mode };
            let (output, ledger) = run_with_ledger(dataflow.path(), input.path(), mode);
            assert_eq!(leg(&ledger, "hours->view")["emitted"], rows, "{options} {mode:?}: {ledger:#}");
            assert_eq!(lines(output.path(), "all_hours.jsonl").len(), 144, "a sink has all of them");
        }
    }
}

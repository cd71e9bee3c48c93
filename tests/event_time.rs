//! Event time in front of the operators: what is cut when, judged from the outside. Every row tells its event
//! time and its partition, and with the ingestion time its epoch.

#[path = "support/bounded.rs"]
mod bounded;
#[path = "support/process.rs"]
mod process;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use bounded::{Mode, lines, run, shipped};
use chrono::DateTime;
use process::{Process, tidemill};
use serde_json::Value;
use tempfile::TempDir;

const MODES: [Mode; 3] = [Mode::of(1, 1), Mode::of(4, 1), Mode::of(2, 2)];
const HOUR: i64 = 3_600_000;
/// 2025-10-27T00:00:00Z
const START: i64 = 1_761_523_200_000;

/// A dataflow that copies readings, whose source has these options.
fn copy(options: &str) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let sql = format!(
        "CREATE SOURCE readings (
             ts TIMESTAMP NOT NULL,
             file TEXT METADATA FROM 'topic',
             place BIGINT METADATA FROM 'offset',
             epoch TIMESTAMP METADATA FROM 'ingestion_time',
             WATERMARK FOR ts AS ts - INTERVAL '10 seconds'
         ) WITH (connector = 'kafka', topic = 'readings', {options});
         CREATE SINK copy FROM readings WITH (connector = 'file', path = 'copy.jsonl');"
    );
    fs::write(folder.path().join("dataflow.sql"), sql).expect("a file");
    folder
}

/// Writes one file per partition, of the event times of its records.
fn write(input: &Path, partitions: &[Vec<i64>]) {
    let folder = input.join("readings");
    fs::create_dir_all(&folder).expect("a folder");
    for (number, times) in partitions.iter().enumerate() {
        let mut text = String::new();
        times.iter().for_each(|time| writeln!(text, r#"{{"ts": {time}}}"#).expect("a text"));
        fs::write(folder.join(format!("{number:02}.jsonl")), text).expect("a file");
    }
}

/// A row of the copy: epoch (as its clock), partition, place, event time.
type Row = (i64, String, i64, i64);

fn rows(output: &Path) -> Vec<Row> {
    let row = |line: &String| {
        let row: Value = serde_json::from_str(line).expect("a row");
        let text = |name: &str| row[name].as_str().expect("a text").to_owned();
        let time = |name: &str| DateTime::parse_from_rfc3339(&text(name)).expect("a time").timestamp_millis();
        (time("epoch"), text("file"), row["place"].as_i64().expect("a number"), time("ts"))
    };
    let mut rows: Vec<Row> = lines(output, "copy.jsonl").iter().map(row).collect();
    rows.sort();
    rows
}

/// Runs in all modes, which must cut the same. Gives the rows.
fn run_everywhere(options: &str, partitions: &[Vec<i64>], epoch_records: usize) -> Vec<Row> {
    let (dataflow, input) = (copy(options), tempfile::tempdir().expect("a folder"));
    write(input.path(), partitions);
    let run = |mode: Mode| {
        let mode = Mode { epoch_records: Some(epoch_records), ..mode };
        rows(run(dataflow.path(), input.path(), mode).path())
    };
    let all = MODES.map(run);
    for (rows, mode) in all.iter().zip(MODES) {
        assert!(*rows == all[0], "{mode:?} cuts otherwise than {:?}", MODES[0]);
    }
    let [rows, ..] = all;
    assert_eq!(rows.len(), partitions.iter().map(Vec::len).sum::<usize>());
    rows
}

/// How far ahead of the slowest partition with records left another one was at most, in milliseconds; and how
/// many rows are late by the watermark of the epoch before.
fn judge(rows: &[Row], delay: i64) -> (i64, usize) {
    let mut left: BTreeMap<&str, usize> = BTreeMap::new();
    rows.iter().for_each(|(_, file, ..)| *left.entry(file).or_default() += 1);
    let mut newest: BTreeMap<&str, i64> = left.keys().map(|file| (*file, i64::MIN)).collect();
    let (mut watermark, mut ahead, mut late) = (i64::MIN, 0, 0);
    for epoch in rows.chunk_by(|a, b| a.0 == b.0) {
        for (_, file, _, time) in epoch {
            late += usize::from(*time < watermark);
            newest.entry(file).and_modify(|newest| *newest = (*newest).max(*time));
            *left.get_mut(&**file).expect("a partition") -= 1;
        }
        let open = newest.iter().filter(|(file, _)| left[**file] > 0).map(|(_, newest)| *newest);
        if let Some(slowest) = open.min().filter(|slowest| *slowest > i64::MIN) {
            watermark = watermark.max(slowest - delay);
            ahead = ahead.max(newest.values().max().expect("partitions") - slowest);
        }
    }
    (ahead, late)
}

/// Twelve partitions whose data begin an hour apart, one record a second for so many seconds.
fn hours_apart(seconds: i64) -> Vec<Vec<i64>> {
    let partition = |number: i64| (0..seconds).map(|s| START + number * HOUR + s * 1_000).collect();
    (0..12).map(partition).collect()
}

#[test]
fn partitions_hours_apart_are_read_one_behind_the_other_and_nothing_is_late() {
    let drift = "scan.watermark.alignment.max-drift = '10 minutes'";
    let rows = run_everywhere(drift, &hours_apart(4_000), 100);
    let (ahead, late) = judge(&rows, 10_000);
    assert_eq!(late, 0);
    // The first two epochs are cut before anything is known.
    let begun = rows.iter().filter(|row| row.2 >= 200).cloned().collect::<Vec<_>>();
    let (ahead_then, _) = judge(&begun, 10_000);
    assert!(ahead_then <= 600_000 + 300_000, "{ahead_then} ms ahead of the slowest");
    assert!(ahead >= 11 * HOUR, "the test sees who is ahead: {ahead}");
}

#[test]
fn without_alignment_they_are_read_side_by_side_and_nothing_is_late_either() {
    let rows = run_everywhere("scan.watermark.alignment.max-drift = 'unbounded'", &hours_apart(1_000), 100);
    let (ahead, late) = judge(&rows, 10_000);
    assert_eq!(late, 0);
    assert!(ahead >= 11 * HOUR, "{ahead}");
}

#[test]
fn a_partition_that_is_dense_is_not_outrun_by_sparse_ones() {
    let dense = (0..40_000).map(|n| START + n * 100).collect();
    let sparse = |offset: i64| (0..2_000).map(|n| START + offset + n * 2_000).collect();
    let partitions = [sparse(3), dense, sparse(7), sparse(9)];
    let rows = run_everywhere("scan.watermark.alignment.max-drift = '1 minute'", &partitions, 500);
    // Of each partition the first two epochs are cut before anything is known.
    let begun = rows.iter().filter(|row| row.2 >= 1_000).cloned().collect::<Vec<_>>();
    let (ahead, late) = judge(&begun, 10_000);
    assert_eq!(late, 0);
    assert!(ahead <= 60_000 + 100_000, "two epochs of the dense one are 100 s: {ahead}");
    assert_eq!(judge(&rows, 10_000).1, 0);
}

#[test]
fn a_gap_of_a_year_and_a_clock_that_is_ahead_stop_nobody() {
    let year = 365 * 24 * HOUR;
    let first: Vec<i64> =
        (0..1_000).map(|n| START - year + n * 1_000).chain((0..1_000).map(|n| START + n * 1_000)).collect();
    let mut second: Vec<i64> = (0..2_000).map(|n| START - year + n * 1_000).collect();
    // Of a device whose clock is half a year ahead; not beyond the clock of the run, so it counts as event time.
    second.iter_mut().skip(500).step_by(50).for_each(|time| *time += year / 2);
    let rows = run_everywhere("scan.watermark.alignment.max-drift = '1 minute'", &[first, second], 50);
    // 40 epochs in a row, and a few more where one waits for the other.
    let epochs = rows.chunk_by(|a, b| a.0 == b.0).count();
    assert!((40..120).contains(&epochs), "{epochs} epochs");
}

#[test]
fn a_shipped_dataflow_has_its_rows_also_where_its_partitions_are_aligned() {
    let (name, folder) = ("vehicle_latest", tempfile::tempdir().expect("a folder"));
    let sql = fs::read_to_string(shipped(name).join("dataflow.sql")).expect("a dataflow");
    let aligned = sql.replacen(
        "connector = 'kafka'",
        "connector = 'kafka', scan.watermark.alignment.max-drift = '1s'",
        1,
    );
    assert_ne!(sql, aligned);
    fs::write(folder.path().join("dataflow.sql"), aligned).expect("a file");
    let mode = Mode { epoch_records: Some(1), ..Mode::of(2, 1) };
    let output = run(folder.path(), &shipped(name).join("input"), mode);
    let sorted = |folder: &Path| {
        let mut lines = lines(folder, "latest_state.jsonl");
        lines.sort();
        lines
    };
    assert_eq!(sorted(output.path()), sorted(&shipped(name).join("expected")));
}

/// A run whose output is kept: gives what it has printed.
fn printed(arguments: &[&str], folders: &[&Path]) -> String {
    let mut command = tidemill(arguments);
    command.args(folders);
    let mut process = Process::spawn(&mut command);
    assert!(process.wait().success(), "{}", process.log());
    process.log()
}

#[test]
fn devices_whose_clocks_are_ahead_are_counted_and_make_nobody_late() {
    let dataflow = copy("device = 'device'");
    let sql = fs::read_to_string(dataflow.path().join("dataflow.sql")).expect("a file");
    let sql = sql.replacen("ts TIMESTAMP NOT NULL,", "ts TIMESTAMP NOT NULL, device TEXT,", 1);
    fs::write(dataflow.path().join("dataflow.sql"), sql).expect("a file");
    let input = tempfile::tempdir().expect("a folder");
    let folder = input.path().join("readings");
    fs::create_dir_all(&folder).expect("a folder");
    let year = 365 * 24 * HOUR;
    for partition in 0..3 {
        let mut text = String::new();
        for n in 0..500 {
            let (ahead, device) =
                if n % 100 == 7 { (year, format!("ahead-{partition}")) } else { (0, n.to_string()) };
            let time = START + n * 1_000 + ahead;
            writeln!(text, r#"{{"ts": {time}, "device": "{device}"}}"#).expect("a text");
        }
        fs::write(folder.join(format!("{partition}.jsonl")), text).expect("a file");
    }
    let output = tempfile::tempdir().expect("a folder");
    let fixed = ["run", "--bounded", "--no-http", "--clock", "2025-11-01T00:00:00Z", "--epoch-records", "50"];
    let (out, dir) = (output.path().display().to_string(), input.path().display().to_string());
    let log = printed(&[&fixed[..], &["--output", &out, "--input", &dir]].concat(), &[dataflow.path()]);
    assert!(log.contains("records=15 devices=\"ahead-0: 5, ahead-1: 5, ahead-2: 5\""), "{log}");
    let rows = rows(output.path());
    assert_eq!((rows.len(), judge(&rows, 10_000).1), (1_485, 0));
}

#[test]
fn lateness_is_judged_as_the_engine_does() {
    let (dataflow, input) = (copy("idle_timeout = '10s'"), tempfile::tempdir().expect("a folder"));
    let mut times: Vec<i64> = (0..1_000).map(|n| START + n * 1_000).collect();
    // Behind the record before them they are a second less.
    for (place, late) in [(100, 12), (300, 14), (500, 16), (700, 20), (900, 25)] {
        times[place] -= late * 1_000;
    }
    write(input.path(), &[times.clone()]);
    let dir = input.path().display().to_string();
    let command = |json: &str| {
        printed(&["lateness", "--clock", "2025-11-01T00:00:00Z", "--input", &dir, json], &[dataflow.path()])
    };
    let log = command("--json");
    let line = log.lines().find(|line| line.starts_with('{')).unwrap_or_else(|| panic!("no JSON: {log}"));
    let json: Value = serde_json::from_str(line).expect("JSON");
    let text = |name: &str| {
        json["delays"]
            .as_array()
            .expect("delays")
            .iter()
            .map(|delay| delay[name].to_string())
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!((&json["records"], &json["partitions"], &json["dead"]), (&1_000.into(), &1.into(), &0.into()));
    // All but ten, all but one, all; the declared delay is 10 s, and late is who is behind by more.
    assert_eq!(
        (text("covers"), text("late")),
        ("0.99 0.999 0.9999 1.0 null".to_owned(), "5 1 0 0 5".to_owned())
    );
    let delays: Vec<u64> = json["delays"]
        .as_array()
        .expect("delays")
        .iter()
        .map(|d| d["delay_ms"].as_u64().expect("ms"))
        .collect();
    for (delay, exact) in delays.iter().zip([0, 19_000, 24_000, 24_000, 10_000]) {
        assert!(delay.abs_diff(exact) <= exact / 500, "{delays:?}");
    }
    assert_eq!(text("records_held_max"), "0 20 25 25 11", "where one came late, there is one more");

    // Side by side with a partition that is behind, nothing is late; by itself each is as before.
    write(input.path(), &[times, (0..1_200).map(|n| START - HOUR + n * 1_000).collect()]);
    let log = command("--json");
    let line = log.lines().find(|line| line.starts_with('{')).unwrap_or_else(|| panic!("no JSON: {log}"));
    let json: Value = serde_json::from_str(line).expect("JSON");
    let last = &json["delays"][3];
    assert_eq!((last["delay_ms"].as_u64(), last["late"].as_u64()), (Some(0), Some(0)), "{json}");
    assert!(last["within_partitions_ms"].as_u64().expect("ms") >= 24_000, "{json}");
    println!("{}", command("--epoch-records=1"));
}

#[expect(clippy::disallowed_methods, reason = "a replay follows the machine's clock")]
fn now_ms() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    i64::try_from(now.as_millis()).expect("a time")
}

#[test]
fn a_replay_gives_records_of_all_files_as_their_event_times_say() {
    let folder = tempfile::tempdir().expect("a folder");
    let sql = "CREATE SOURCE readings (
             ts TIMESTAMP NOT NULL,
             epoch TIMESTAMP METADATA FROM 'ingestion_time',
             file TEXT METADATA FROM 'topic',
             place BIGINT METADATA FROM 'offset',
             WATERMARK FOR ts AS ts - INTERVAL '10 seconds'
         ) WITH (connector = 'file', path = 'readings', pace = 'event_time', pace.speed = '40');
         CREATE SINK copy FROM readings WITH (connector = 'file', path = 'copy.jsonl');";
    fs::write(folder.path().join("dataflow.sql"), sql).expect("a file");
    let early = (0..200).map(|n| START + n * 500).collect();
    let late = (0..100).map(|n| START + 50_000 + n * 500).collect();
    write(folder.path(), &[early, late]);
    let state = folder.path().join("state").display().to_string();
    let run = ["run", "--no-http", "--print-interval", "0s", "--workers", "2", "--state-dir", &state];
    let began = now_ms();
    printed(&run, &[folder.path()]);
    let rows = rows(folder.path());
    assert_eq!(rows.len(), 300);
    // Where a partition stands is the middle of its next 64 event times: there a replay begins.
    let first = START + 31 * 500;
    for (epoch, _, _, time) in &rows {
        let (moved, gone) = (time - first, epoch - began);
        assert!(gone * 40 >= moved, "{moved} ms of event time after {gone} ms: too early");
    }
    let epochs: Vec<&[Row]> = rows.chunk_by(|a, b| a.0 == b.0).collect();
    let times = |epoch: &[Row]| epoch.iter().map(|row| row.3).collect::<Vec<_>>();
    for (one, next) in epochs.iter().zip(&epochs[1..]) {
        let (last, first) = (times(one).into_iter().max(), times(next).into_iter().min());
        assert!(last < first, "{last:?} came before {first:?}");
    }
}

#[test]
fn windows_over_partitions_hours_apart_hold_every_record() {
    let mut partitions = hours_apart(700);
    for times in &mut partitions {
        // Up to 9 s late: within the delay.
        times.iter_mut().enumerate().for_each(|(n, time)| *time -= (n as i64 * 7_919) % 10 * 1_000);
    }
    assert_eq!(in_windows(&partitions), 12 * 700, "a record that is in no window was late");
}

#[test]
fn a_clock_that_is_a_year_ahead_in_old_records_makes_nobody_late() {
    let day = 24 * HOUR;
    // The clock of the run is later than that as well, so it cannot tell.
    let begin = START - 400 * day;
    for broken in [0, 3, 9] {
        let times = (0..3_000).map(|n| begin + n * 1_000 + if n % 10 == broken { 365 * day } else { 0 });
        assert_eq!(in_windows(&[times.collect()]), 3_000, "with device {broken}");
    }
}

/// How many records windows of a minute have counted, in all modes.
fn in_windows(partitions: &[Vec<i64>]) -> u64 {
    let folder = tempfile::tempdir().expect("a folder");
    let sql = "CREATE SOURCE readings (ts TIMESTAMP NOT NULL, WATERMARK FOR ts AS ts - INTERVAL '10 seconds')
         WITH (connector = 'kafka', topic = 'readings');
         CREATE VIEW minutes AS
             SELECT count(*) AS n, window_start FROM readings GROUP BY tumble(ts, INTERVAL '1 minute');
         CREATE SINK counts FROM minutes WITH (connector = 'file', path = 'counts.jsonl');";
    fs::write(folder.path().join("dataflow.sql"), sql).expect("a file");
    let input = tempfile::tempdir().expect("a folder");
    write(input.path(), partitions);
    let run = |mode: Mode| {
        let output = run(folder.path(), input.path(), Mode { epoch_records: Some(50), ..mode });
        let mut lines = lines(output.path(), "counts.jsonl");
        lines.sort();
        lines
    };
    let all = MODES.map(run);
    let count =
        |line: &String| serde_json::from_str::<Value>(line).expect("a row")["n"].as_u64().expect("a number");
    assert!(all.iter().all(|lines| *lines == all[0]));
    all[0].iter().map(count).sum()
}

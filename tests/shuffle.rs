//! Latest state is by event time, per field: however the events of a fleet are shuffled, repeated, spread over
//! partitions and cut into epochs, the view is the same, on any number of workers and processes.
//!
//! `SHUFFLE_SEED` is a number, or `random`.

#[path = "support/bounded.rs"]
mod bounded;
#[path = "support/process.rs"]
mod process;
#[path = "support/seed.rs"]
mod seed;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::Path;

use bounded::{Mode, lines, run, shipped};
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64Mcg;

const VEHICLES: usize = 12;
const EVENTS: usize = 400;
/// Milliseconds since the Unix epoch: 2025-10-27T10:00:00Z.
const START_MS: i64 = 1_761_559_200_000;
const SIGNALS: [&str; 5] = ["odometer", "soc", "speed", "ignition_status", "tyre"];

/// A signal of a vehicle. No two events have the same time, so no order depends on where a record stands.
#[derive(Clone, Debug)]
struct Event {
    did: usize,
    name: &'static str,
    time_ms: i64,
    float: f64,
    int: Option<i64>,
}

impl Event {
    fn json(&self) -> String {
        let Event { did, name, time_ms, float, int } = self;
        let int = int.map_or("null".to_owned(), |int| int.to_string());
        format!(
            r#"{{"did":"v{did}","name":"{name}","float_value":{float:?},"int_value":{int},"eventTime":{time_ms}}}"#
        )
    }
}

fn fleet(rng: &mut Pcg64Mcg) -> Vec<Event> {
    let mut times: Vec<i64> = (0..EVENTS as i64).map(|step| START_MS + step * 37).collect();
    times.shuffle(rng);
    let event = |time_ms| Event {
        did: rng.random_range(0..VEHICLES),
        name: SIGNALS[rng.random_range(0..SIGNALS.len())],
        time_ms,
        float: f64::from(rng.random_range(0..1_000_000)) / 8.0,
        // NULL is a value: the newest one may be none.
        int: rng.random_bool(0.9).then(|| rng.random_range(-5..200)),
    };
    times.into_iter().map(event).collect()
}

/// What the view must hold, by other means: for each vehicle its events by time, the last of each field wins.
fn expected(events: &[Event]) -> Vec<String> {
    let mut by_vehicle: BTreeMap<String, Vec<&Event>> = BTreeMap::new();
    for event in events {
        by_vehicle.entry(format!("v{}", event.did)).or_default().push(event);
    }
    let row = |(did, mut events): (String, Vec<&Event>)| {
        events.sort_by_key(|event| event.time_ms);
        let last = |name: &str| events.iter().rev().find(|event| event.name == name);
        let float = |name: &str| last(name).map_or("null".to_owned(), |event| format!("{:?}", event.float));
        let int = |name: &str| {
            last(name).and_then(|event| event.int).map_or("null".to_owned(), |int| int.to_string())
        };
        let newest = events.last().expect("a vehicle has events").time_ms;
        let (seconds, millis) = (newest / 1000 - START_MS / 1000, newest % 1000);
        format!(
            r#"{{"did":"{did}","eventTime":"2025-10-27T10:{:02}:{:02}.{millis:03}000Z","odo":{},"soc":{},"speed":{},"ignition":{}}}"#,
            seconds / 60,
            seconds % 60,
            float("odometer"),
            int("soc"),
            int("speed"),
            int("ignition_status"),
        )
    };
    by_vehicle.into_iter().map(row).collect()
}

/// Writes the events in another order, some of them several times, to some number of partitions.
fn write_shuffled(events: &[Event], rng: &mut Pcg64Mcg, input: &Path) {
    let mut events = events.to_vec();
    for _ in 0..rng.random_range(0..EVENTS / 2) {
        events.push(events[rng.random_range(0..EVENTS)].clone());
    }
    events.shuffle(rng);
    let partitions = rng.random_range(1..=5);
    let mut files = vec![String::new(); partitions];
    for event in events {
        writeln!(files[rng.random_range(0..partitions)], "{}", event.json()).expect("a text takes all");
    }
    let folder = input.join("telemetry_raw");
    fs::create_dir_all(&folder).expect("a folder");
    for (index, file) in files.iter().enumerate() {
        fs::write(folder.join(format!("{index}.jsonl")), file).expect("a file");
    }
}

/// Rows without their last column, the time of ingestion.
fn without_ingestion_time(row: &str) -> String {
    let (kept, time) = row.split_once(r#","ingestion_time":"#).unwrap_or_else(|| panic!("no time in {row}"));
    assert!(time.starts_with("\"2025-11-01T00:00:"), "{row}");
    format!("{kept}}}")
}

fn always_gives_the_same_view(workers: usize, processes: usize) {
    let seed = seed::seed("SHUFFLE_SEED");
    let mut rng = Pcg64Mcg::seed_from_u64(seed);
    let events = fleet(&mut rng);
    let expected = expected(&events);
    for round in 0..4 {
        let input = tempfile::tempdir().expect("a folder");
        write_shuffled(&events, &mut rng, input.path());
        let records = [1, 7, 50, 10_000][rng.random_range(0..4)];
        let mode = Mode { epoch_records: Some(records), ..Mode::of(workers, processes) };
        let output = run(&shipped("vehicle_state"), input.path(), mode);
        let found = lines(output.path(), "latest_state.jsonl");
        let found: Vec<String> = found.iter().map(|row| without_ingestion_time(row)).collect();
        assert_eq!(found, expected, "round {round} of SHUFFLE_SEED={seed}, {mode:?}");
    }
}

#[test]
fn on_one_worker() {
    always_gives_the_same_view(1, 1);
}

#[test]
fn on_two_workers() {
    always_gives_the_same_view(2, 1);
}

#[test]
fn on_four_workers() {
    always_gives_the_same_view(4, 1);
}

#[test]
fn in_two_processes() {
    always_gives_the_same_view(1, 2);
}

//! `tidemill bench` works, and finds that nothing was lost. How fast anything is, is nobody's business here.

#[expect(dead_code, reason = "no cluster is started here")]
#[path = "support/process.rs"]
mod process;
#[expect(dead_code, reason = "servers are neither stopped nor looked into here")]
#[path = "support/services.rs"]
mod services;

use std::hash::{BuildHasher, RandomState};
use std::process::Command;

use process::{Process, tidemill};
use serde_json::Value;
use services::Services;

/// How long an event may be under way on a machine that is much slower: nothing is lost, however long it takes.
const GRACE: &str = "2m";
const EVENTS: u64 = 5_000;
const KEYS: u64 = 100;

/// The servers, with a database that nobody else uses.
fn services(name: &str) -> Services {
    Services::new(&format!("{name}_{:016x}", RandomState::new().hash_one(name)))
}

/// A short benchmark of a shipped dataflow, and what it says as JSON.
fn measure(dataflow: &str, arguments: &[&str], services: Option<&Services>) -> Value {
    let (events, keys) = (EVENTS.to_string(), KEYS.to_string());
    let backlog = ["--events", &events, "--keys", &keys, "--repetitions", "2"];
    bench("throughput", dataflow, &[&backlog, arguments].concat(), services)
}

fn bench(kind: &str, dataflow: &str, arguments: &[&str], services: Option<&Services>) -> Value {
    let mut command = tidemill(&["bench", kind]);
    command.arg(format!("{}/dataflows/{dataflow}", env!("CARGO_MANIFEST_DIR")));
    command.args(arguments);
    report(command, services)
}

/// What a command says as JSON.
fn report(mut command: Command, services: Option<&Services>) -> Value {
    command.arg("--json");
    if let Some(services) = services {
        command.env("TIDEMILL_KAFKA__BOOTSTRAP_SERVERS", &services.bootstrap);
        command.env("TIDEMILL_MONGODB__URI", &services.mongodb_uri);
        command.env("TIDEMILL_MONGODB__DATABASE", &services.database);
    }
    let mut process = Process::spawn(&mut command);
    let status = process.wait();
    assert!(status.success(), "{status}\n{}", process.log());
    let line = process.last_line();
    serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
}

/// Every figure is there and is a number that can be.
fn check(report: &Value, rows_out: u64) {
    for figure in ["events_per_s", "floor_events_per_s", "ratio_to_floor", "cpu_s_per_million", "mb_per_s"] {
        let value = report[figure].as_f64().unwrap_or_else(|| panic!("{figure} in {report:#}"));
        assert!(value.is_finite() && value > 0.0, "{figure} is {value}");
    }
    assert!(report["peak_rss_mib"].as_f64().is_some_and(|mib| mib > 1.0), "{report:#}");
    assert_eq!(report["events"], EVENTS, "{report:#}");
    assert_eq!(report["rows_out"], rows_out, "{report:#}");
    assert_eq!(report["unaccounted"], 0, "{report:#}");
    let stages = report["stages"].as_object().expect("shares of stages");
    let whole: f64 = stages.values().filter_map(Value::as_f64).sum();
    assert!((whole - 1.0).abs() < 1e-6, "{stages:?}");
    for stage in ["consume", "decode", "exchange", "operators", "sinks", "idle"] {
        assert!(stages.contains_key(stage), "{stage} in {stages:?}");
    }
}

#[test]
fn files_without_sinks() {
    check(&measure("vehicle_latest", &["--broker", "file", "--sinks", "blackhole"], None), KEYS);
}

#[test]
fn embedded_topics_and_collections_on_two_workers() {
    let report = measure("vehicle_state", &["--sinks", "real", "--workers", "2"], None);
    check(&report, 2 * EVENTS + KEYS);
}

#[test]
fn events_for_any_columns() {
    check(&measure("pass_through", &["--sinks", "real"], None), EVENTS);
}

#[test]
fn files_in_two_processes() {
    check(&measure("vehicle_latest", &["--broker", "file", "-n", "2"], None), KEYS);
}

#[test]
fn memory_of_each_kind_of_state() {
    for of in ["distinct", "latest", "view"] {
        let report = report(tidemill(&["bench", "memory", "--of", of, "--ids", "3000"]), None);
        for phase in ["filled", "steady"] {
            let bytes = report[phase]["bytes_each"].as_f64();
            assert!(bytes.is_some_and(|bytes| bytes.is_finite() && bytes >= 0.0), "{of}: {report:#}");
        }
        assert!(report["rows_s"].as_f64().is_some_and(|rows| rows > 0.0), "{of}: {report:#}");
    }
}

/// The command itself compares the documents.
#[test]
fn real_mongodb_beside_a_loop_of_bulk_writes() {
    let services = services("bench_mongodb");
    let load =
        ["--events", "3000", "--keys", "200", "--epoch", "1000", "--repetitions", "2", "--in-flight", "2"];
    let report = report(tidemill(&[&["bench", "mongodb"][..], &load].concat()), Some(&services));
    for (sink, documents) in [("history", 3_000), ("upsert", 600)] {
        let figures = &report["sinks"][sink];
        assert_eq!(figures["documents"], documents, "{report:#}");
        for figure in ["documents_per_s", "bare_documents_per_s", "ratio"] {
            let value = figures[figure].as_f64();
            assert!(value.is_some_and(|value| value.is_finite() && value > 0.0), "{figure} in {report:#}");
        }
    }
}

#[test]
fn real_kafka_and_mongodb() {
    let services = services("bench");
    let report = measure("vehicle_state", &["--sinks", "real"], Some(&services));
    check(&report, 2 * EVENTS + KEYS);
}

#[test]
fn real_lag_of_views_topics_and_collections() {
    let services = services("bench_lag");
    let folder = tempfile::tempdir().expect("a folder");
    let (page, hgrm) = (folder.path().join("lag.html"), folder.path().join("hgrm"));
    let (page_path, hgrm_path) = (page.display().to_string(), hgrm.display().to_string());
    let noise = ["--disorder", "0.05", "--duplicates", "0.05", "--broken", "0.05"];
    let load = ["--rate", "100,300", "--duration", "1s", "--keys", "20", "--grace", GRACE];
    let goals = ["--slo", "loss=0,lag_p99<1h,backfill>0.001MB/s", "--backlog", "2000"];
    let files = ["--report", &page_path, "--hgrm", &hgrm_path];
    let arguments = [&noise[..], &load, &goals, &files].concat();
    let report = bench("lag", "vehicle_state", &arguments, Some(&services));

    assert_eq!((&report["lost"], &report["unaccounted"]), (&Value::from(0), &Value::from(0)), "{report:#}");
    let steps = report["steps"].as_array().expect("steps");
    assert_eq!(steps.len(), 2, "{report:#}");
    for target in steps.iter().flat_map(|step| step["targets"].as_array().expect("targets")) {
        assert!(target["events"].as_u64().is_some_and(|events| events > 10), "{target:#}");
        for percentile in ["p50", "p99", "max"] {
            let ms = target["latency_ms"][percentile].as_f64();
            assert!(ms.is_some_and(|ms| ms.is_finite() && ms > 0.0), "{percentile} of {target:#}");
        }
    }
    let places: Vec<_> = steps[0]["targets"].as_array().into_iter().flatten().map(|t| &t["place"]).collect();
    assert_eq!(places, ["view", "MongoDB", "Kafka", "MongoDB"], "{report:#}");
    assert!(
        report["slo"]
            .as_array()
            .is_some_and(|slo| slo.len() == 3 && slo.iter().all(|g| g["reached"] == true))
    );
    assert!(std::fs::read_to_string(&page).expect("a page").contains("<svg"));
    assert_eq!(std::fs::read_dir(&hgrm).expect("a folder").count(), 8);
}

#[test]
fn real_goals_that_are_missed_are_a_failure() {
    let services = services("bench_missed");
    let mut command = tidemill(&["bench", "lag"]);
    command.arg(format!("{}/dataflows/vehicle_latest", env!("CARGO_MANIFEST_DIR")));
    command.args(["--rate", "50", "--duration", "1s", "--keys", "20", "--grace", GRACE]);
    command.args(["--slo", "lag_p50<1us"]);
    command.env("TIDEMILL_KAFKA__BOOTSTRAP_SERVERS", &services.bootstrap);
    let mut process = Process::spawn(&mut command);
    assert_eq!(process.wait().code(), Some(1), "{}", process.log());
    assert!(process.log().contains("MISSED  lag_p50<1us"), "{}", process.log());
}

/// `tidemill bench soak` over a short stream: whether it ended well, what it said, and its log.
fn soak(arguments: &[&str]) -> (bool, Value, String) {
    let mut command =
        tidemill(&["bench", "soak", "--events", "12000", "--rate", "10", "--keys", "50", "--json"]);
    command.args(arguments);
    let mut process = Process::spawn(&mut command);
    let status = process.wait();
    let line = process.last_line();
    let report =
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}\n{}", process.log()));
    (status.success(), report, process.log())
}

#[test]
fn what_is_held_over_a_stream_stays_as_it_is() {
    let (success, report, log) = soak(&["--workers", "2"]);
    assert!(success && report["flat"] == true, "{log}");
    assert_eq!(report["unaccounted"], 0, "{report:#}");
    let samples = report["samples"].as_array().expect("samples");
    assert!(samples.len() >= 15, "{report:#}");
    let last = &samples[samples.len() - 1];
    assert!(last["resident"].as_u64().is_some_and(|bytes| bytes > 1 << 20), "{last:#}");
    let states = last["states"].as_object().expect("states");
    let names: Vec<&str> = states.keys().map(String::as_str).collect();
    let expected = [
        "events/deduplicate",
        "latest/aggregate",
        "latest/view",
        "per_device/aggregate",
        "per_type/aggregate",
    ];
    assert_eq!(names, expected);
    for (name, bytes) in states {
        assert!(bytes.as_u64().is_some_and(|bytes| bytes > 1_000), "{name} is {bytes}");
    }
}

#[test]
fn a_state_that_grows_with_every_event_is_a_failure() {
    let folder = tempfile::tempdir().expect("a folder");
    let dataflow = folder.path().join("grows.sql");
    let sql = r#"
        CREATE SOURCE readings (event_id TEXT NOT NULL, device_id TEXT NOT NULL, device_type TEXT NOT NULL,
            "timestamp" TIMESTAMP NOT NULL, event_duration DOUBLE,
            WATERMARK FOR "timestamp" AS "timestamp" - INTERVAL '30 seconds')
        WITH (connector = 'kafka', topic = 'readings');
        CREATE SINK ids AS SELECT event_id, count(*) AS times FROM readings GROUP BY event_id
        WITH (connector = 'blackhole');"#;
    std::fs::write(&dataflow, sql).expect("a file");
    let (success, report, log) = soak(&[&dataflow.display().to_string()]);
    assert!(!success && report["flat"] == false && report["unaccounted"] == 0, "{log}");
    assert!(log.contains("GROWS  ids/aggregate"), "{log}");
}

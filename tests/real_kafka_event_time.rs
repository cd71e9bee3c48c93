//! Event time in front of a real broker: partitions whose data are hours apart, one that falls silent and comes
//! back, and a broker that does not answer for a while. Nothing is late because of the order of reading.

#[expect(dead_code, reason = "what is written is read from files here, and no topic grows")]
#[path = "support/broker.rs"]
mod broker;
#[path = "support/process.rs"]
mod process;
#[expect(dead_code, reason = "another dataflow is run here")]
#[path = "support/reading.rs"]
mod reading;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use broker::{Broker, topics};
use chrono::{DateTime, SecondsFormat};
use process::{Cluster, tidemill, until};
use rdkafka::producer::{BaseProducer, BaseRecord};
use reading::finish;
use serde_json::Value;
use tempfile::TempDir;

const HOUR: i64 = 3_600;
/// 2025-10-27T00:00:00Z
const START: i64 = 1_761_523_200;

/// A dataflow that counts the records of a topic per minute, and copies them.
fn dataflow(topic: &str, idle_timeout: &str) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let sql = format!(
        "CREATE SOURCE readings (
             value TIMESTAMP NOT NULL,
             WATERMARK FOR value AS value - INTERVAL '10 seconds'
         ) WITH (connector = 'kafka', topic = '{topic}', idle_timeout = '{idle_timeout}');
         CREATE VIEW minutes AS
             SELECT count(*) AS n, window_start FROM readings GROUP BY tumble(value, INTERVAL '1 minute');
         CREATE SINK copy FROM readings WITH (connector = 'file', path = 'copy.jsonl');
         CREATE SINK counts FROM minutes WITH (connector = 'file', path = 'counts.jsonl');"
    );
    fs::write(folder.path().join("dataflow.sql"), sql).expect("a file");
    folder
}

fn start(folder: &Path, bootstrap: &str, workers: usize, processes: usize) -> Cluster {
    Cluster::spawn(processes, |process| {
        let mut command = tidemill(&["run", "--no-http", "--print-interval", "0s"]);
        command.arg(folder).args(["--workers", &workers.to_string()]);
        command.arg("--state-dir").arg(folder.join(format!("state-{process}")));
        command.env("TIDEMILL_KAFKA__BOOTSTRAP_SERVERS", bootstrap);
        command
    })
}

fn lines(folder: &Path, file: &str) -> Vec<Value> {
    let text = fs::read_to_string(folder.join(file)).unwrap_or_default();
    // The last line may be half written.
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole.lines().map(|line| serde_json::from_str(line).expect("a row")).collect()
}

/// Records in closed windows.
fn counted(folder: &Path) -> i64 {
    lines(folder, "counts.jsonl").iter().map(|row| row["n"].as_i64().expect("a number")).sum()
}

fn times(from: i64, count: i64) -> impl Iterator<Item = String> {
    let time = move |second| DateTime::from_timestamp(from + second, 0).expect("a time");
    (0..count).map(move |second| time(second).to_rfc3339_opts(SecondsFormat::Secs, true))
}

fn late(ledger: &Value) -> i64 {
    ledger["legs"].as_array().expect("legs").iter().map(|leg| leg["late"].as_i64().expect("a number")).sum()
}

fn hours_apart(workers: usize, processes: usize) {
    let mut broker = Broker::new("hours");
    let topic = broker.create("readings", 12);
    for partition in 0..12 {
        broker.produce(&topic, partition, times(START + i64::from(partition) * HOUR, 600), None);
    }
    let folder = dataflow(&topic, "1s");
    let folder = folder.path();
    let mut cluster = start(folder, &broker.bootstrap, workers, processes);
    let read = || lines(folder, "copy.jsonl").len();
    until("all is read", || format!("{} records\n{}", read(), cluster.log()), || read() == 7_200);
    // One goes on, the others are idle by and by: all windows before it close.
    broker.produce(&topic, 11, times(START + 20 * HOUR, 30), None);
    let log = || format!("{} counted\n{}", counted(folder), cluster.log());
    until("all windows have closed", log, || counted(folder) == 7_200);
    // One that was silent comes back, with a record that is older and one that is not.
    broker.produce(&topic, 3, times(START + 4 * HOUR, 1).chain(times(START + 20 * HOUR + 25, 1)), None);
    until("it is read", || cluster.log(), || read() == 7_232);
    let ledger = finish(&mut cluster);
    assert_eq!((late(&ledger), &ledger["read"]["readings"]), (1, &7_232.into()), "{ledger:#}");
    assert_eq!(counted(folder), 7_200, "the watermark did not go back, and what was late opened no window");
}

#[test]
fn real_partitions_hours_apart_make_nothing_late_on_one_worker() {
    hours_apart(1, 1);
}

#[test]
fn real_partitions_hours_apart_make_nothing_late_on_four_workers() {
    hours_apart(4, 1);
}

#[test]
fn real_partitions_hours_apart_make_nothing_late_in_two_processes() {
    hours_apart(2, 2);
}

/// A broker that is stopped as long as this lives.
struct Paused(String);

impl Paused {
    fn now() -> Paused {
        // It is asked for, since other tests stop the broker and start another process in its place.
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/services.py");
        let output = Command::new(script).args(["env", "kafka"]).output().expect("Python 3");
        let environment = String::from_utf8(output.stdout).expect("text");
        let process = environment.lines().find_map(|line| line.strip_prefix("export KAFKA_PID="));
        let process = process.expect("a broker of services.py: only such a one may be stopped");
        let paused = Paused(process.trim().to_owned());
        assert!(paused.signal("-STOP"), "the broker is gone");
        paused
    }

    fn signal(&self, signal: &str) -> bool {
        Command::new("kill").args([signal, &self.0]).status().expect("kill").success()
    }
}

impl Drop for Paused {
    fn drop(&mut self) {
        let goes_on = self.signal("-CONT");
        assert!(goes_on || std::thread::panicking(), "the broker is gone");
    }
}

/// Queues five minutes of records for each of three partitions.
fn send(producer: &BaseProducer<topics::Deliveries>, topic: &str, from: i64) {
    for time in times(START + from, 300) {
        for partition in 0..3 {
            let payload = format!(r#"{{"value": "{time}"}}"#);
            let record = BaseRecord::<str, str>::to(topic).partition(partition).payload(&payload);
            producer.send(record).map_err(|(error, _)| error).expect("queued");
        }
    }
}

#[test]
fn real_a_broker_that_does_not_answer_makes_nothing_late() {
    let mut broker = Broker::new("pause");
    let topic = broker.create("readings", 3);
    let producer = topics::producer(&topics::client(&broker.bootstrap));
    send(&producer, &topic, 0);
    topics::flush(&producer);
    let folder = dataflow(&topic, "6s");
    let folder = folder.path();
    let mut cluster = start(folder, &broker.bootstrap, 2, 1);
    let read = || lines(folder, "copy.jsonl").len();
    until("all is read", || cluster.log(), || read() == 900);
    let paused = Paused::now();
    // On a connection that there is already, so that all partitions have their records when the broker goes on.
    send(&producer, &topic, 300);
    // Longer than the timeout of idle partitions, which is longer than a broker that answers is ever silent.
    let over = Instant::now() + Duration::from_secs(9);
    until("the pause is over", String::new, || {
        producer.poll(Duration::ZERO);
        Instant::now() >= over
    });
    drop(paused);
    topics::flush(&producer);
    until("the rest is read", || cluster.log(), || read() == 1_800);
    let ledger = finish(&mut cluster);
    assert_eq!(late(&ledger), 0, "{ledger:#}");
}

#[test]
fn real_a_clock_that_was_ahead_is_a_dead_letter_in_a_replay_as_well() {
    let mut broker = Broker::new("replay");
    let topic = broker.create("readings", 1);
    let producer = topics::producer(&topics::client(&broker.bootstrap));
    let produce = |seconds: std::ops::Range<i64>| {
        for second in seconds {
            // Each fiftieth was half an hour ahead when it was written; today that is long ago. Behind the last of them
            // comes a record that is waited for.
            let ahead = if second % 50 == 48 { 1_800 } else { 0 };
            let time = times(START + second + ahead, 1).next().expect("a time");
            let payload = format!(r#"{{"value": "{time}"}}"#);
            let record = BaseRecord::<str, str>::to(&topic).partition(0).payload(&payload);
            let record = record.timestamp((START + second) * 1_000);
            producer.send(record).map_err(|(error, _)| error).expect("queued");
        }
        topics::flush(&producer);
    };
    let folder = dataflow(&topic, "10s");
    let folder = folder.path();
    produce(0..600);
    let mut cluster = start(folder, &broker.bootstrap, 2, 1);
    let read = || lines(folder, "copy.jsonl").len();
    until("the first are read", || cluster.log(), || read() == 588);
    produce(600..1_200);
    until("all are read", || cluster.log(), || read() == 1_176);
    let ledger = finish(&mut cluster);
    assert_eq!((late(&ledger), &ledger["read"]["readings"]), (0, &1_200.into()), "{ledger:#}");
    assert_eq!(ledger["legs"][0]["dead"], 24, "{ledger:#}");
}

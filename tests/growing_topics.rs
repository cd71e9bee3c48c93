//! Topics and partitions that appear while a dataflow runs, as folders of the state directory.

#[path = "support/process.rs"]
mod process;
#[path = "support/reading.rs"]
mod reading;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use process::{Cluster, LIMITS, Process, until};
use reading::{Reading, Row, finish};
use tidemill::topic_log::{TopicWriter, partition_path, topic_directory};

const EVERY: &str = "scan.topic-partition-discovery.interval = '100ms'";

/// Appends a record `{"value": "..."}` to partition 0 of a topic, which is created with that one if need be.
fn append(state: &Path, topic: &str, values: impl IntoIterator<Item = String>) {
    let directory = topic_directory(state, topic).expect("a name");
    let mut writer = TopicWriter::open(&directory, 1).expect("opened");
    for value in values {
        let payload = format!(r#"{{"value": "{value}"}}"#);
        writer.append(0, None, Some(payload.as_bytes()), &[], 0).expect("appended");
    }
    writer.flush().expect("flushed");
}

/// Gives a topic a second partition, with the records of the first.
fn double(state: &Path, topic: &str) {
    let directory = topic_directory(state, topic).expect("a name");
    let bytes = std::fs::read(partition_path(&directory, 0)).expect("a partition");
    // A file that is there is whole.
    let partial = directory.join("partial");
    std::fs::write(&partial, bytes).expect("written");
    std::fs::rename(partial, partition_path(&directory, 1)).expect("renamed");
}

fn values(topic: &str, numbers: std::ops::Range<usize>) -> impl Iterator<Item = String> {
    numbers.map(move |n| format!("{topic} {n}"))
}

/// The rows of a partition that holds `values(topic, 0..count)`.
fn rows(topic: &str, partition: i64, count: usize) -> impl Iterator<Item = Row> {
    let values = values(topic, 0..count).zip(0..);
    values.map(move |(value, place)| (topic.to_owned(), partition, place, value))
}

fn expect(reading: &Reading, cluster: &Cluster, mut expected: Vec<Row>) {
    expected.sort();
    let log = || format!("{} of {} rows\n{}", reading.rows().len(), expected.len(), cluster.log());
    until("all rows are there", log, || reading.rows().len() >= expected.len());
    assert_eq!(reading.rows(), expected);
}

fn a_pattern_follows(workers: usize) {
    let reading = Reading::new(&format!(r"topic_pattern = 'org\.metrics\..*', {EVERY}"));
    let state = reading.state(0);
    append(&state, "other", values("other", 0..5));
    append(&state, "org.metrics.x.dlq", values("letters", 0..5));
    // There is nothing to read yet, and that is no end.
    let mut cluster = reading.start(workers, 1, &[]);
    append(&state, "org.metrics.cpu", values("org.metrics.cpu", 0..10));
    let mut expected: Vec<Row> = rows("org.metrics.cpu", 0, 10).collect();
    expect(&reading, &cluster, expected.clone());

    append(&state, "org.metrics.disk", values("org.metrics.disk", 0..3_000));
    double(&state, "org.metrics.cpu");
    append(&state, "org.metrics", values("no", 0..5));
    expected.extend(rows("org.metrics.disk", 0, 3_000).chain(rows("org.metrics.cpu", 1, 10)));
    expect(&reading, &cluster, expected.clone());

    // What is known already is read on.
    append(&state, "org.metrics.cpu", values("org.metrics.cpu", 10..20));
    expected.extend(rows("org.metrics.cpu", 0, 20).skip(10));
    expect(&reading, &cluster, expected.clone());
    let ledger = finish(&mut cluster);
    assert_eq!(ledger["read"]["records"], expected.len(), "{ledger:#}");
}

#[test]
fn a_pattern_follows_new_topics_and_partitions_on_one_worker() {
    a_pattern_follows(1);
}

#[test]
fn a_pattern_follows_new_topics_and_partitions_on_three_workers() {
    a_pattern_follows(3);
}

#[test]
fn a_new_partition_of_a_named_topic_is_read_from_its_beginning_also_with_latest() {
    let reading = Reading::new(&format!("topic = 'a', scan.startup.mode = 'latest', {EVERY}"));
    let state = reading.state(0);
    append(&state, "a", values("a", 0..100));
    let mut cluster = reading.start(2, 1, &[]);
    // Once a record arrives, the start is over; how many are written before is a matter of timing.
    let mut sent = 100;
    until(
        "a new record arrives",
        || cluster.log(),
        || {
            append(&state, "a", values("a", sent..sent + 1));
            sent += 1;
            !reading.rows().is_empty()
        },
    );
    double(&state, "a");
    let of_second = |rows: &[Row]| rows.iter().filter(|row| row.1 == 1).count();
    until("all of the new partition is there", || cluster.log(), || of_second(&reading.rows()) >= sent);
    let found = reading.rows();
    assert_eq!(of_second(&found), sent);
    assert!(
        found.iter().filter(|row| row.1 == 0).all(|row| row.2 >= 100),
        "old records of the first: {found:?}"
    );
    let ledger = finish(&mut cluster);
    assert_eq!(ledger["read"]["records"], reading.rows().len(), "{ledger:#}");
}

#[test]
fn a_process_that_leaves_its_output_to_another_does_not_hold_up_its_test() {
    let mut command = Command::new("sh");
    // The child of the process inherits the pipe, and lives on.
    let mut process = Process::spawn(command.args(["-c", "sleep 300 & echo $!"]));
    process.output_timeout = Duration::from_secs(1);
    until("the child is named", || process.log(), || !process.last_line().is_empty());
    let waited = catch_unwind(AssertUnwindSafe(|| process.wait()));
    let child = process.last_line();
    assert!(Command::new("kill").arg(&child).status().expect("kill").success(), "no {child}");
    let told = waited.expect_err("its output goes on");
    assert!(told.downcast_ref::<String>().is_some_and(|told| told.contains("its output has ended")));
}

#[test]
fn a_test_says_what_it_waits_for_before_the_runner_ends_it() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(".config/nextest.toml");
    let config: toml::Table = std::fs::read_to_string(file).expect("the file").parse().expect("TOML");
    let default = &config["profile"]["default"];
    let overrides = default["overrides"].as_array().expect("overrides");
    for (part, minutes) in LIMITS {
        let ends = format!("{part}/)");
        let of_part = |given: &&toml::Value| given["filter"].as_str().is_some_and(|f| f.ends_with(&ends));
        let given = if part.is_empty() { default } else { overrides.iter().find(of_part).expect(part) };
        let slow = &given["slow-timeout"];
        let period = humantime::parse_duration(slow["period"].as_str().expect("a period")).expect("a length");
        let ended = period * slow["terminate-after"].as_integer().expect("a number") as u32;
        assert_eq!(ended, Duration::from_secs(60 * (minutes + 1)), "tests with '{part}' in their names");
    }
}

#[test]
fn a_topic_that_is_deleted_is_told_of_and_one_that_is_created_anew_ends_the_run() {
    let reading = Reading::new("topic = 'a, b'");
    let state = reading.state(0);
    append(&state, "a", values("a", 0..10));
    append(&state, "b", values("b", 0..10));
    let mut cluster = reading.start(2, 1, &[]);
    expect(&reading, &cluster, rows("a", 0, 10).chain(rows("b", 0, 10)).collect());
    std::fs::remove_dir_all(topic_directory(&state, "a").expect("a name")).expect("removed");
    let log = || cluster.log();
    until("the deletion is told", log, || cluster.log().contains("does not exist any more"));
    append(&state, "b", values("b", 10..20));
    expect(&reading, &cluster, rows("a", 0, 10).chain(rows("b", 0, 20)).collect());
    append(&state, "a", values("other", 0..3));
    assert_eq!(cluster.wait(), [Some(1)], "{}", cluster.log());
    assert!(cluster.log().contains("'a' was deleted and created anew"), "{}", cluster.log());
}

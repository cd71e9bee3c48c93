//! Topics and partitions of a real broker that appear and go while a dataflow runs, and records in batches of
//! every compression.

#[path = "support/broker.rs"]
mod broker;
#[path = "support/process.rs"]
mod process;
#[path = "support/reading.rs"]
mod reading;

use broker::Broker;
use process::{Cluster, until};
use reading::{Reading, Row, finish};

const EVERY: &str = "scan.topic-partition-discovery.interval = '250ms'";
/// The client waits so long before it believes that a topic is gone.
const SOON: &str = "properties.topic.metadata.propagation.max.ms = '1000'";

fn values(topic: &str, numbers: std::ops::Range<usize>) -> impl Iterator<Item = String> {
    numbers.map(move |n| format!("{topic} {n}"))
}

/// The rows of a partition that holds `values(topic, 0..count)`.
fn rows(topic: &str, partition: i64, count: usize) -> impl Iterator<Item = Row> {
    let values = values(topic, 0..count).zip(0..);
    values.map(move |(value, place)| (topic.to_owned(), partition, place, value))
}

fn expect(reading: &Reading, cluster: &Cluster, expected: &[Row]) {
    let mut expected = expected.to_vec();
    expected.sort();
    let log = || format!("{} of {} rows\n{}", reading.rows().len(), expected.len(), cluster.log());
    until("all rows are there", log, || reading.rows().len() >= expected.len());
    assert_eq!(reading.rows(), expected);
}

fn a_pattern_follows(workers: usize, processes: usize) {
    let mut broker = Broker::new("pattern");
    let reading = Reading::new(&format!(r"topic_pattern = '{}\..*', {EVERY}, {SOON}", broker.prefix));
    let settings = [("TIDEMILL_KAFKA__BOOTSTRAP_SERVERS", &*broker.bootstrap.clone())];
    // There is nothing to read yet, and that is no end.
    let mut cluster = reading.start(workers, processes, &settings);
    let first = broker.create("a", 2);
    broker.produce(&first, 0, values(&first, 0..500), None);
    broker.produce(&first, 1, values(&first, 0..7), None);
    let mut expected: Vec<Row> = rows(&first, 0, 500).chain(rows(&first, 1, 7)).collect();
    expect(&reading, &cluster, &expected);

    let second = broker.create("b", 3);
    (0..3).for_each(|partition| broker.produce(&second, partition, values(&second, 0..1_000), None));
    broker.grow(&first, 4);
    (2..4).for_each(|partition| broker.produce(&first, partition, values(&first, 0..1_000), None));
    expected.extend((0..3).flat_map(|partition| rows(&second, partition, 1_000)));
    expected.extend((2..4).flat_map(|partition| rows(&first, partition, 1_000)));
    expect(&reading, &cluster, &expected);

    // A letter has a topic of its own, which the pattern does not read, although it is created while it runs.
    broker.delete_later(&format!("{second}.dlq"));
    broker.produce(&second, 0, ["\" no JSON".to_owned()], None);
    broker.delete(&first);
    let log = || cluster.log();
    until("the deletion is told", log, || cluster.log().contains("does not exist any more"));
    broker.produce(&second, 1, values(&second, 1_000..1_010), None);
    expected.extend(rows(&second, 1, 1_010).skip(1_000));
    expect(&reading, &cluster, &expected);
    // Partitions are read side by side: the letter is written when the record of another one was read.
    let letters = || broker.consume(&format!("{second}.dlq")).len();
    until("the letter is there", || cluster.log(), || letters() == 1);
    let ledger = finish(&mut cluster);
    assert_eq!(ledger["read"]["records"], expected.len() + 1, "{ledger:#}");
}

#[test]
fn real_a_pattern_follows_new_topics_on_one_worker() {
    a_pattern_follows(1, 1);
}

#[test]
fn real_a_pattern_follows_new_topics_on_two_workers() {
    a_pattern_follows(2, 1);
}

#[test]
fn real_a_pattern_follows_new_topics_on_two_processes() {
    a_pattern_follows(1, 2);
}

/// Reads a topic, then another of its name, and gives what is said when the run has ended.
fn a_topic_is_created_anew(told: bool) -> String {
    let mut broker = Broker::new("anew");
    let topic = broker.create("t", 1);
    broker.produce(&topic, 0, values(&topic, 0..500), None);
    let soon = if told { SOON } else { EVERY };
    let reading = Reading::new(&format!("topic = '{topic}', {soon}"));
    let mut cluster =
        reading.start(1, 1, &[("TIDEMILL_KAFKA__BOOTSTRAP_SERVERS", &*broker.bootstrap.clone())]);
    let expected: Vec<Row> = rows(&topic, 0, 500).collect();
    expect(&reading, &cluster, &expected);
    broker.delete(&topic);
    let gone = |cluster: &Cluster| cluster.log().contains("does not exist any more");
    if told {
        until("the deletion is told", || cluster.log(), || gone(&cluster));
    }
    let anew = broker.create("t", 1);
    broker.produce(&anew, 0, values("other", 0..100), None);
    assert_eq!(cluster.wait(), [Some(1)], "{}", cluster.log());
    assert_eq!(reading.rows(), expected, "nothing of the new one");
    cluster.log()
}

#[test]
fn real_a_topic_that_was_gone_and_is_created_anew_ends_the_run_with_the_reason() {
    let log = a_topic_is_created_anew(true);
    assert!(log.contains("was deleted and created anew") && log.contains("new state directory"), "{log}");
}

#[test]
fn real_a_topic_that_is_created_anew_at_once_ends_the_run_with_the_reason() {
    let log = a_topic_is_created_anew(false);
    assert!(log.contains("deleted and created anew") && log.contains("new state directory"), "{log}");
}

#[test]
fn real_batches_of_every_compression_are_read() {
    let mut broker = Broker::new("compression");
    let topic = broker.create("all", 1);
    let mut count = 0;
    for codec in ["gzip", "snappy", "lz4", "zstd", "none"] {
        broker.produce(&topic, 0, values(&topic, count..count + 500), Some(("compression.type", codec)));
        count += 500;
    }
    let reading = Reading::new(&format!("topic = '{topic}'"));
    let mut cluster = Cluster::spawn(1, |process| {
        let mut command =
            reading.command(2, process, &[("TIDEMILL_KAFKA__BOOTSTRAP_SERVERS", &broker.bootstrap)]);
        command.arg("--bounded");
        command
    });
    assert_eq!(cluster.wait(), [Some(0)], "{}", cluster.log());
    assert_eq!(reading.rows(), rows(&topic, 0, count).collect::<Vec<_>>());
}

//! The Kafka source against a real broker, named by `KAFKA_BOOTSTRAP`.

#[expect(dead_code, reason = "records are read by the product here")]
#[path = "support/topics.rs"]
mod topics;

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminOptions, NewPartitions};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::BaseRecord;
use tidemill::error::ErrorKind;
use tidemill::ingest::kafka::{KafkaConnector, KafkaOptions};
use tidemill::ingest::{Connector, Reader, RecordSink};
use tidemill::plan::{KafkaSource, StartupMode, Topics};
use tidemill::record::{FoundPartition, Record};
use tidemill::settings;

const WAIT: Duration = Duration::from_millis(100);
const DEADLINE: Duration = Duration::from_secs(300);

fn servers() -> String {
    std::env::var("KAFKA_BOOTSTRAP")
        .expect("KAFKA_BOOTSTRAP names no broker: eval \"$(tests/services.py up kafka)\" starts one")
}

/// A topic of this test alone.
fn create_topic(name: &str, partitions: i32) -> String {
    let name = format!("{name}_{:016x}", RandomState::new().hash_one(name));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    topics::create(&runtime, &servers(), &name, partitions, &[]);
    name
}

/// Sends `records` to the partitions in turn: key k<n>, value n, a header, time n + 1 (0 would mean now).
fn produce(topic: &str, partitions: i32, records: std::ops::Range<u32>) {
    let producer = topics::producer(topics::client(&servers()).set("linger.ms", "5"));
    for n in records {
        let (key, value) = (format!("k{n}"), n.to_string());
        let record = BaseRecord::to(topic)
            .partition(n as i32 % partitions)
            .key(&key)
            .payload(&value)
            .timestamp(i64::from(n) + 1)
            .headers(OwnedHeaders::new().insert(Header { key: "h", value: Some("x") }));
        producer.send(record).map_err(|(error, _)| error).expect("queued");
    }
    topics::flush(&producer);
}

fn connector(topics: &[&str], startup: StartupMode, bounded: bool) -> KafkaConnector {
    let topics = Topics::Named(topics.iter().map(|topic| topic.to_string()).collect());
    let source = KafkaSource { topics, startup, find_interval: None, properties: BTreeMap::new() };
    let settings = settings::Kafka { bootstrap_servers: Some(servers()), properties: BTreeMap::new() };
    KafkaConnector::new(&source, &settings, KafkaOptions { bounded, headers: true, sinks: vec![] })
        .expect("a connector")
}

#[derive(Default)]
struct Found {
    values: Vec<Vec<u32>>,
    next: Vec<u64>,
    caught_up: Vec<Option<u64>>,
    ended: Vec<bool>,
}

impl Found {
    fn new(partitions: usize) -> Self {
        Found {
            values: vec![vec![]; partitions],
            next: vec![0; partitions],
            caught_up: vec![None; partitions],
            ended: vec![false; partitions],
        }
    }

    fn count(&self) -> usize {
        self.values.iter().map(Vec::len).sum()
    }

    fn read_until(&mut self, reader: &mut dyn Reader, wanted: &[bool], done: impl Fn(&Self) -> bool) {
        let began = Instant::now();
        while !done(self) {
            assert!(began.elapsed() < DEADLINE, "{} records, at the end: {:?}", self.count(), self.caught_up);
            match reader.read(wanted, WAIT, self) {
                Err(error) if error.kind() != ErrorKind::Away => panic!("{error}"),
                _ => {}
            }
        }
    }
}

impl RecordSink for Found {
    fn record(&mut self, partition: usize, record: &Record<'_>) {
        let value = std::str::from_utf8(record.payload.expect("a value")).expect("text");
        assert_eq!(record.key, Some(format!("k{value}").as_bytes()));
        assert_eq!(record.headers, [("h", Some(&b"x"[..]))]);
        assert_eq!(record.timestamp_ms.map(|ms| (ms - 1).to_string()).as_deref(), Some(value));
        assert!(record.offset >= self.next[partition], "offsets ascend");
        self.next[partition] = record.offset + 1;
        self.values[partition].push(value.parse().expect("a number"));
        self.caught_up[partition] = None;
    }

    fn caught_up(&mut self, partition: usize, next: u64) {
        assert!(next >= self.next[partition]);
        self.caught_up[partition] = Some(next);
    }

    fn ended(&mut self, partition: usize) {
        assert!(!std::mem::replace(&mut self.ended[partition], true), "an end is told once");
    }
}

fn names(found: &[FoundPartition]) -> Vec<(u32, u32)> {
    found.iter().map(|found| (found.partition.id, found.partition.number)).collect()
}

#[test]
fn real_two_readers_read_everything_once_and_tell_the_end() {
    let topic = create_topic("source_two_readers", 3);
    produce(&topic, 3, 0..10_000);
    let connector = connector(&[&topic], StartupMode::Earliest, false);
    let partitions = connector.find(None).expect("found");
    assert_eq!(names(&partitions), [(0, 0), (1, 1), (2, 2)]);
    let mut all = BTreeSet::new();
    let mut readers: Vec<_> = [&partitions[..2], &partitions[2..]]
        .map(|partitions| (connector.open(partitions).expect("opened"), Found::new(partitions.len())))
        .into_iter()
        .collect();
    for (reader, found) in &mut readers {
        let wanted = vec![true; found.values.len()];
        found.read_until(reader.as_mut(), &wanted, |found| !found.caught_up.contains(&None));
        let counts: Vec<_> = found.values.iter().map(|values| Some(values.len() as u64)).collect();
        assert_eq!(found.caught_up, counts);
        found.values.iter().flatten().for_each(|value| assert!(all.insert(*value), "{value} twice"));
    }
    assert_eq!(all.len(), 10_000);

    // A record that comes when all was read is there, and the end is told anew.
    produce(&topic, 3, 10_000..10_003);
    for (reader, found) in &mut readers {
        let (wanted, before) = (vec![true; found.values.len()], found.count());
        found.read_until(reader.as_mut(), &wanted, |found| {
            found.count() == before + found.values.len() && !found.caught_up.contains(&None)
        });
    }
}

#[test]
fn real_a_partition_that_is_not_wanted_loses_nothing() {
    let topic = create_topic("source_wanted", 3);
    // More than is kept, so that the partition is paused.
    produce(&topic, 3, 0..90_000);
    let connector = connector(&[&topic], StartupMode::Earliest, false);
    let partitions = connector.find(None).expect("found");
    let mut reader = connector.open(&partitions).expect("opened");
    let mut found = Found::new(3);
    found.read_until(reader.as_mut(), &[true, false, true], |found| {
        found.caught_up[0].is_some() && found.caught_up[2].is_some()
    });
    assert_eq!(found.values.iter().map(Vec::len).collect::<Vec<_>>(), [30_000, 0, 30_000]);
    for turn in 0..6 {
        let target = (found.values[1].len() + 3_000).min(30_000);
        let wanted = [true, turn % 2 == 0, true];
        if wanted[1] {
            found.read_until(reader.as_mut(), &wanted, |found| found.values[1].len() >= target);
        } else {
            (0..3).for_each(|_| reader.read(&wanted, WAIT, &mut found).expect("read"));
        }
    }
    found.read_until(reader.as_mut(), &[true; 3], |found| found.caught_up[1].is_some());
    let expected: Vec<u32> = (0..30_000).map(|n| n * 3 + 1).collect();
    assert!(found.values[1] == expected, "all once, in order");
    assert_eq!(found.caught_up[1], Some(30_000));
}

#[test]
fn real_several_topics_are_told_apart_and_a_bounded_run_ends() {
    let (first, second) = (create_topic("source_a", 2), create_topic("source_b", 2));
    produce(&first, 2, 0..1_000);
    produce(&second, 2, 0..7);
    let connector = connector(&[&second, &first], StartupMode::Earliest, true);
    let partitions = connector.find(None).expect("found");
    assert_eq!(names(&partitions), [(0, 0), (1, 1), (65_536, 0), (65_537, 1)]);
    let mut reader = connector.open(&partitions).expect("opened");
    produce(&first, 2, 1_000..1_010);
    let mut found = Found::new(4);
    found.read_until(reader.as_mut(), &[true; 4], |found| !found.ended.contains(&false));
    assert_eq!(found.values.iter().map(Vec::len).collect::<Vec<_>>(), [4, 3, 500, 500]);
    assert_eq!(found.caught_up, [Some(4), Some(3), Some(500), Some(500)]);
}

#[test]
fn real_latest_begins_at_the_end_that_was_found_at_start() {
    let topic = create_topic("source_latest", 2);
    produce(&topic, 2, 0..100);
    let connector = connector(&[&topic], StartupMode::Latest, false);
    let partitions = connector.find(None).expect("found");
    let mut reader = connector.open(&partitions).expect("opened");
    // Before the first read: these are not to be missed.
    produce(&topic, 2, 100..110);
    let mut found = Found::new(2);
    found.read_until(reader.as_mut(), &[true; 2], |found| found.count() == 10);
    assert_eq!(found.values, [[100, 102, 104, 106, 108], [101, 103, 105, 107, 109]]);
    assert_eq!(found.next, [55, 55]);
}

#[test]
fn real_mistakes_and_outages_are_told_apart() {
    let topic = create_topic("source_mistakes", 1);
    let missing = format!("{topic}x");
    let error = connector(&[&missing], StartupMode::Earliest, false).find(None).expect_err("missing");
    assert_eq!(error.kind(), ErrorKind::Config);
    let text = error.to_string();
    assert!(text.contains(&format!("'{missing}'")) && text.contains(&format!("'{topic}'")), "{text}");

    // Nobody listens on port 1.
    let (topics, startup) = (Topics::Named(vec![topic]), StartupMode::Earliest);
    let source = KafkaSource { topics, startup, find_interval: None, properties: BTreeMap::new() };
    let settings =
        settings::Kafka { bootstrap_servers: Some("127.0.0.1:1".into()), properties: BTreeMap::new() };
    let nobody = KafkaConnector::new(&source, &settings, KafkaOptions::default()).expect("a connector");
    assert_eq!(nobody.find(None).expect_err("away").kind(), ErrorKind::Away);
}

#[test]
fn real_reading_begins_at_a_time_or_at_offsets() {
    let topic = create_topic("source_startup", 2);
    // Record n has the time n + 1; even ones are in partition 0.
    produce(&topic, 2, 0..100);
    let starts = |startup: StartupMode| {
        let found = connector(&[&topic], startup, false).find(None);
        found.map(|found| found.iter().map(|found| found.from).collect::<Vec<_>>())
    };
    let at = |ms| starts(StartupMode::Timestamp(ms)).expect("found");
    assert_eq!(at(0), [0, 0]);
    assert_eq!(at(42), [21, 20], "record 42 has the time 43, record 41 has the time 42");
    assert_eq!(at(1_000_000), [50, 50], "behind the end: as `latest`");
    let offsets = |offsets: &[(u32, u64)]| {
        let offsets = offsets.iter().map(|(partition, offset)| ((topic.clone(), *partition), *offset));
        starts(StartupMode::Offsets(offsets.collect()))
    };
    assert_eq!(offsets(&[(1, 30)]).expect("found"), [0, 30]);
    assert_eq!(offsets(&[(0, 50), (1, 0)]).expect("found"), [50, 0]);
    let error = offsets(&[(1, 51)]).expect_err("not there").to_string();
    assert!(error.contains("offset 51 of partition 1") && error.contains("0 to 50"), "{error}");
    let error = offsets(&[(2, 0)]).expect_err("not there").to_string();
    assert!(error.contains("no partition 2") && error.contains("which has 2"), "{error}");

    let connector = connector(&[&topic], StartupMode::Timestamp(92), false);
    let mut reader = connector.open(&connector.find(None).expect("found")).expect("opened");
    let mut found = Found::new(2);
    found.read_until(reader.as_mut(), &[true; 2], |found| !found.caught_up.contains(&None));
    assert_eq!(found.values, [vec![92, 94, 96, 98], vec![91, 93, 95, 97, 99]]);
}

#[test]
fn real_a_partition_that_is_added_is_read_beside_the_others() {
    let topic = create_topic("source_added", 1);
    produce(&topic, 1, 0..10);
    let connector = connector(&[&topic], StartupMode::Latest, false);
    let partitions = connector.find(None).expect("found");
    let known: Vec<_> = partitions.iter().map(|found| found.partition.clone()).collect();
    assert!(connector.find(Some(&known)).expect("asked again").is_empty());
    let mut reader = connector.open(&partitions).expect("opened");
    let mut found = Found::new(2);
    found.read_until(reader.as_mut(), &[true, false], |found| found.caught_up[0] == Some(10));

    let admin = topics::admin(&servers());
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let more = NewPartitions::new(&topic, 2);
    let grown = runtime.block_on(admin.create_partitions([&more], &AdminOptions::new()));
    grown.expect("an answer")[0].as_ref().expect("two partitions");
    topics::until_told(&servers(), &topic, |topic| topics::has_partitions(topic, 2));
    produce(&topic, 2, 10..20);
    let began = Instant::now();
    let added = loop {
        let added = connector.find(Some(&known)).expect("asked again");
        if !added.is_empty() {
            break added;
        }
        assert!(began.elapsed() < DEADLINE, "the new partition is not found");
    };
    assert_eq!(names(&added), [(1, 1)]);
    assert_eq!(added[0].from, 0, "from the earliest record, also with `latest`");
    reader.add(&added).expect("taken on");
    found.read_until(reader.as_mut(), &[true; 2], |found| {
        found.count() == 10 && !found.caught_up.contains(&None)
    });
    assert_eq!(found.values, [[10, 12, 14, 16, 18], [11, 13, 15, 17, 19]]);
    assert_eq!(found.next, [15, 5]);
}

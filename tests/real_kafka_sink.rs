//! Kafka sinks and dead letters against a real broker, named by `KAFKA_BOOTSTRAP`.

mod sinks;
#[expect(dead_code, reason = "the product creates its topics")]
#[path = "support/topics.rs"]
mod topics;

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::time::Instant;

use rdkafka::admin::{AdminOptions, AlterConfig, ResourceSpecifier};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Header, Headers, Message, OwnedHeaders};
use rdkafka::producer::BaseRecord;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use sinks::{alone, changes, identity, key, open, server, settings, sink, unique, write, write_while_killed};
use tidemill::batch::RowOrigin;
use tidemill::compile::{Request, compile};
use tidemill::dead_letter::{AddressedLetter, DeadLetter, RawRecord, Reason};
use tidemill::plan::{self, ChangeMode, KafkaSink, KeyFormat, SinkConnector, WriteMode};
use tidemill::settings::Settings;
use tidemill::write::dead_letters::DeadLetterWriter;
use tidemill::write::{Health, Op, Sink};
use topics::TIMEOUT;

/// What stands in the header of a record that only asks whether it would be taken.
const PROBE: &str = "probe";

/// A record as a consumer finds it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Found {
    key: Option<String>,
    value: Option<String>,
    epoch: String,
}

fn servers() -> String {
    server("KAFKA_BOOTSTRAP", "kafka")
}

fn here() -> Settings {
    settings(Some(servers()), None)
}

fn topic(name: &str, mode: WriteMode, key_format: KeyFormat) -> plan::Sink {
    let target = KafkaSink {
        topic: unique(name),
        mode,
        key: vec![0],
        key_format,
        partitions: 3,
        replication: 1,
        // Brokers judge the size of a record after compression, and ours compress well.
        properties: BTreeMap::from([("compression.type".into(), "none".into())]),
    };
    let changes = if mode == WriteMode::Append { ChangeMode::AppendOnly } else { ChangeMode::Updating };
    sink(SinkConnector::Kafka(target), changes)
}

fn topic_name(plan: &plan::Sink) -> String {
    let SinkConnector::Kafka(target) = &plan.connector else { panic!("a Kafka sink") };
    target.topic.clone()
}

/// All records of a topic, partition by partition.
fn read(topic: &str) -> Vec<Vec<Found>> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", servers())
        .set("group.id", "unused")
        .set("enable.auto.commit", "false")
        .create()
        .expect("a consumer");
    let metadata = consumer.fetch_metadata(Some(topic), TIMEOUT).expect("metadata");
    let partitions = metadata.topics()[0].partitions().len() as i32;
    let mut assignment = TopicPartitionList::new();
    let mut missing = 0;
    for partition in 0..partitions {
        let (low, high) = consumer.fetch_watermarks(topic, partition, TIMEOUT).expect("watermarks");
        assignment.add_partition_offset(topic, partition, Offset::Offset(low)).expect("a partition");
        missing += high - low;
    }
    consumer.assign(&assignment).expect("assigned");
    let mut found = vec![Vec::new(); partitions as usize];
    while missing > 0 {
        let message = consumer.poll(TIMEOUT).expect("a record in time").expect("a record");
        let text = |bytes: Option<&[u8]>| bytes.map(|bytes| String::from_utf8(bytes.to_vec()).expect("text"));
        let header = message.headers().and_then(|headers| headers.try_get(0)).expect("a header");
        assert_eq!(header.key, "epoch");
        missing -= 1;
        if header.value == Some(PROBE.as_bytes()) {
            continue;
        }
        found[message.partition() as usize].push(Found {
            key: text(message.key()),
            value: text(message.payload()),
            epoch: text(header.value).expect("a value"),
        });
    }
    found
}

/// Sets `max.message.bytes` of a topic to less than 20,000.
fn set_limit(topic: &str, bytes: &str) {
    let admin = topics::admin(&servers());
    let config = AlterConfig::new(ResourceSpecifier::Topic(topic)).set("max.message.bytes", bytes);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let altered = runtime.block_on(admin.alter_configs([&config], &AdminOptions::new())).expect("an answer");
    assert!(altered.iter().all(Result::is_ok), "{altered:?}");
    // The broker does so a little later than it says.
    let (began, payload) = (Instant::now(), "y".repeat(20_000));
    loop {
        let producer = topics::producer(&topics::client(&servers()));
        let headers = OwnedHeaders::new().insert(Header { key: "epoch", value: Some(PROBE) });
        let record = BaseRecord::<str, str>::to(topic).partition(0).payload(&payload).headers(headers);
        producer.send(record).map_err(|(error, _)| error).expect("queued");
        match topics::first_failed(&producer) {
            Some(error) if error.contains("MessageSizeTooLarge") => return,
            Some(error) => panic!("{error}"),
            None => assert!(began.elapsed() < TIMEOUT, "{topic} takes what is larger than {bytes} bytes"),
        }
    }
}

#[test]
fn real_upserts_are_keyed_and_deletes_are_tombstones() {
    let _alone = alone();
    let plan = topic("sink_upsert", WriteMode::Upsert, KeyFormat::Json);
    let (mut sink, progress, _) = open(&plan, &here());
    assert_eq!(progress, 0);
    sink.write(3, changes(0, &[("a", 1, Op::Insert), ("b", 1, Op::Insert)])).expect("written");
    sink.write(4, changes(2, &[("a", 2, Op::Update), ("b", 1, Op::Delete)])).expect("written");
    let confirmed: Vec<u64> = sink.confirm().expect("confirmed").iter().map(|(epoch, _)| *epoch).collect();
    assert_eq!(confirmed, [3, 4]);
    let partitions = read(&topic_name(&plan));
    assert_eq!(partitions.len(), 3);
    let of = |key: &str| -> Vec<Found> {
        partitions.concat().into_iter().filter(|found| found.key.as_deref() == Some(key)).collect()
    };
    let found = |key: &str, value: Option<&str>, epoch: &str| Found {
        key: Some(key.into()),
        value: value.map(str::to_owned),
        epoch: epoch.into(),
    };
    let a = r#"{"k":"a"}"#;
    let values = [r#"{"k":"a","n":1}"#, r#"{"k":"a","n":2}"#];
    assert_eq!(of(a), [found(a, Some(values[0]), "3"), found(a, Some(values[1]), "4")]);
    let b = r#"{"k":"b"}"#;
    assert_eq!(of(b), [found(b, Some(r#"{"k":"b","n":1}"#), "3"), found(b, None, "4")]);
}

#[test]
fn real_records_that_are_too_large_are_refused_and_all_others_are_written() {
    let _alone = alone();
    let plan = topic("sink_large", WriteMode::Append, KeyFormat::Raw);
    let (mut sink, ..) = open(&plan, &here());
    let (long, medium) = ("x".repeat(2 << 20), "y".repeat(20_000));
    let rows = [("a", 1, Op::Insert), (long.as_str(), 2, Op::Insert), (medium.as_str(), 3, Op::Insert)];
    let receipt = write(&mut *sink, 1, changes(0, &rows));
    let [(1, letter)] = &receipt.refused[..] else { panic!("{} refused", receipt.refused.len()) };
    assert_eq!(letter.reason, Reason::SinkRefused);
    assert!(letter.error.contains("max.message.bytes"), "{}", letter.error);
    // Somebody lowers the limit while the sink runs.
    set_limit(&topic_name(&plan), "10000");
    let receipt = write(&mut *sink, 2, changes(3, &[rows[0], rows[2], ("b", 4, Op::Insert)]));
    let refused: Vec<usize> = receipt.refused.iter().map(|(row, _)| *row).collect();
    assert_eq!(refused, [1]);
    let mut keys: Vec<String> =
        read(&topic_name(&plan)).concat().into_iter().filter_map(|found| found.key).collect();
    keys.sort();
    keys.dedup();
    assert_eq!(keys, ["a", "b", medium.as_str()]);
}

#[test]
fn real_topics_lose_nothing_when_the_broker_is_killed() {
    let _alone = alone();
    lose_nothing(&topic("sink_killed", WriteMode::Upsert, KeyFormat::Raw));
}

/// A broker that is away for longer than librdkafka repeats: a new producer sends again what is unconfirmed.
#[test]
fn real_deliveries_that_fail_are_repeated_in_order() {
    let _alone = alone();
    let mut plan = topic("sink_failed", WriteMode::Upsert, KeyFormat::Raw);
    let SinkConnector::Kafka(target) = &mut plan.connector else { panic!("a Kafka sink") };
    target.properties.insert("message.timeout.ms".into(), "1500".into());
    lose_nothing(&plan);
}

fn lose_nothing(plan: &plan::Sink) {
    let receipts = write_while_killed("kafka", plan, &here(), 500, Op::Update);
    assert!(receipts.iter().all(|receipt| receipt.refused.is_empty()));
    let mut expected: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for epoch in 1..=receipts.len() as u64 {
        for row in 0..500 {
            expected.entry(key(epoch, row, 500)).or_default().push(epoch);
        }
    }
    let mut found: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for record in read(&topic_name(plan)).concat() {
        let epoch = record.epoch.parse().expect("a number");
        found.entry(record.key.expect("a key")).or_default().push(epoch);
    }
    assert_eq!(found.len(), expected.len());
    for (key, expected) in expected {
        // At least once: records can come again, but a key's last record is its last epoch.
        let mut epochs = found.remove(&key).unwrap_or_default();
        assert_eq!(epochs.last(), expected.last(), "{key}");
        epochs.sort_unstable();
        epochs.dedup();
        assert_eq!(epochs, expected, "{key}");
    }
}

/// Dead letters of a Kafka source of this name.
struct Letters {
    name: String,
    writer: DeadLetterWriter,
}

impl Letters {
    fn new(name: &str, settings: &Settings) -> Letters {
        let name = unique(name);
        let text = format!(
            "CREATE SOURCE s (a BIGINT NOT NULL) WITH (connector = 'kafka', topic = '{name}', format = 'json');
             CREATE SINK t FROM s WITH (connector = 'blackhole');"
        );
        let request = Request {
            file: "dataflow.sql",
            text: &text,
            name: "d",
            directory: ".".as_ref(),
            parameters: &BTreeMap::new(),
        };
        let plan = compile(&request).unwrap_or_else(|mistakes| panic!("{mistakes}"));
        let mut writer =
            DeadLetterWriter::new(&plan, settings, None, false, Health::new()).expect("a writer");
        writer.open(&identity()).expect("open");
        Letters { name, writer }
    }

    fn letter(&self, offset: u64, key: &[u8], payload: Vec<u8>) -> AddressedLetter {
        AddressedLetter {
            letter: DeadLetter {
                origin: Some(RowOrigin { source: 0, partition: 0, offset, index: 0 }),
                row: None,
                reason: Reason::NotNull,
                error: "field a is missing".into(),
                rule: "NOT NULL a".into(),
                stage: "s".into(),
            },
            source: 0,
            topic: self.name.clone(),
            partition: 0,
            record: RawRecord { key: Some(key.to_vec()), payload: Some(payload), left_out: 0 },
            wall_ms: 1_761_559_635_000,
        }
    }

    /// Writes letters as those of an epoch, which has to be confirmed.
    fn write(&mut self, epoch: u64, letters: Vec<AddressedLetter>) {
        self.writer.write(epoch, letters).expect("written");
        assert_eq!(self.writer.confirm().expect("confirmed").len(), 1);
    }

    /// The letters in the topic, and their epochs.
    fn read(&self) -> Vec<(String, serde_json::Value)> {
        let found = read(&format!("{}.dlq", self.name)).concat();
        let letter = |value: Option<String>| serde_json::from_str(&value.expect("a value")).expect("JSON");
        found.into_iter().map(|found| (found.epoch, letter(found.value))).collect()
    }
}

#[test]
fn real_dead_letters_are_in_the_topic_beside_that_of_their_source() {
    let _alone = alone();
    let mut letters = Letters::new("sink_letters", &here());
    // Control characters take six times their size in JSON: such a value has to be cut harder.
    let written = vec![letters.letter(1, b"k", b"{}".to_vec()), letters.letter(2, b"k", vec![1; 1 << 20])];
    letters.write(3, written);
    let found = letters.read();
    assert_eq!(found.iter().map(|(epoch, _)| epoch.as_str()).collect::<Vec<_>>(), ["3", "3"]);
    let (first, second) = (&found[0].1, &found[1].1);
    assert_eq!((&first["original_value"], &first["error_type"]), (&"{}".into(), &"not_null".into()));
    assert_eq!((&second["original_offset"], &second["original_size"]), (&2.into(), &(1 << 20).into()));
}

#[test]
fn real_dead_letters_that_their_topic_refuses_are_kept_in_a_file_and_the_others_go_on() {
    let _alone = alone();
    let folder = tempfile::tempdir().expect("a folder");
    let settings = Settings { state_dir: folder.path().to_owned(), ..here() };
    let mut letters = Letters::new("sink_refused_letters", &settings);
    letters.write(3, vec![letters.letter(1, b"k", b"{}".to_vec())]);
    // The limit is lowered while it runs: a key cannot be cut, as a value can.
    set_limit(&format!("{}.dlq", letters.name), "2000");
    // Brokers judge a record by its size after compression.
    let noise: String = (0..500).map(|n| format!("{:016x}", RandomState::new().hash_one(n))).collect();
    let noise = noise.into_bytes();
    let written = [(2, noise.clone()), (3, b"k".to_vec()), (4, noise.clone()), (5, b"k".to_vec())];
    letters
        .write(4, written.iter().map(|(offset, key)| letters.letter(*offset, key, b"{}".to_vec())).collect());
    letters.write(5, vec![letters.letter(6, b"k", b"{}".to_vec()), letters.letter(7, &noise, Vec::new())]);
    let offsets = |letters: &[serde_json::Value]| {
        let mut offsets: Vec<_> = letters.iter().map(|letter| letter["original_offset"].as_i64()).collect();
        offsets.sort_unstable();
        offsets.dedup();
        offsets
    };
    let in_topic: Vec<_> = letters.read().into_iter().map(|(_, letter)| letter).collect();
    assert_eq!(offsets(&in_topic), [1, 3, 5, 6].map(Some));
    let file = std::fs::read_to_string(folder.path().join("dead_letters/s.dlq.jsonl")).expect("a file");
    let in_file: Vec<_> = file.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!((offsets(&in_file), in_file.len()), (vec![Some(2), Some(4), Some(7)], 3));
}

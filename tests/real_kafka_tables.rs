//! Compacted topics of a real broker as tables: keys in JSON and raw, tombstones, changes while the dataflow runs,
//! and a broker that is away at the start.

#[expect(dead_code, reason = "records with keys are produced here")]
#[path = "support/broker.rs"]
mod broker;
#[path = "support/enriching.rs"]
mod enriching;
#[path = "support/process.rs"]
mod process;

use std::net::TcpStream;

use broker::{Broker, topics};
use enriching::{Enriching, check, fill};
use process::{free_port, until};
use rdkafka::producer::{BaseProducer, BaseRecord};

fn send(
    producer: &BaseProducer<topics::Deliveries>,
    topic: &str,
    partition: u32,
    key: Option<&str>,
    payload: Option<&str>,
) {
    let mut record = BaseRecord::<str, str>::to(topic).partition(partition as i32);
    record.key = key;
    record.payload = payload;
    producer.send(record).map_err(|(error, _)| error).expect("queued");
}

/// Creates the topics, whose tables are to be compacted.
fn create(broker: &mut Broker, enriching: &Enriching) {
    for topic in ["devices", "sites", "events"] {
        let name = broker.create(topic, 2);
        assert_eq!(name, enriching.topic(topic));
    }
    broker.delete_later(&format!("{}.dlq", enriching.topic("events")));
}

fn a_table_changes(workers: usize, processes: usize) {
    let mut broker = Broker::new("tables");
    let enriching = Enriching::new(&format!("{}.", broker.prefix));
    create(&mut broker, &enriching);
    let producer = topics::producer(&topics::client(&broker.bootstrap));
    let produce = |topic: &str, partition: u32, key: Option<&str>, payload: Option<&str>| {
        send(&producer, topic, partition, key, payload);
    };
    fill(&enriching, &produce);
    topics::flush(&producer);
    let at_once = |topic: &str, partition: u32, key: Option<&str>, payload: Option<&str>| {
        produce(topic, partition, key, payload);
        topics::flush(&producer);
    };
    let settings = [("TIDEMILL_KAFKA__BOOTSTRAP_SERVERS", &*broker.bootstrap.clone())];
    let mut cluster = enriching.start(workers, processes, &settings);
    check(&enriching, &mut cluster, &at_once);
}

#[test]
fn real_a_table_changes_on_one_worker() {
    a_table_changes(1, 1);
}

#[test]
fn real_a_table_changes_on_two_workers() {
    a_table_changes(2, 1);
}

#[test]
fn real_a_table_changes_on_two_processes() {
    a_table_changes(1, 2);
}

/// Nobody listens where the settings say that the broker is: the start is held and says so, and is stopped well.
#[test]
fn real_a_broker_that_is_away_holds_the_start() {
    let (port, _taken) = free_port();
    let closed = format!("127.0.0.1:{port}");
    assert!(TcpStream::connect(&closed).is_err(), "nobody listens there");
    let enriching = Enriching::new("away.");
    let settings = [("TIDEMILL_KAFKA__BOOTSTRAP_SERVERS", &*closed)];
    let mut cluster = enriching.start(1, 1, &settings);
    let log = || cluster.log();
    let says = || cluster.log().contains("source is away, waiting") && cluster.log().contains("devices");
    until("the start says why it waits", log, says);
    let pid = cluster.processes[0].child.id().to_string();
    assert!(std::process::Command::new("kill").args(["-TERM", &pid]).status().expect("kill").success());
    assert_eq!(cluster.wait(), [Some(0)], "{}", cluster.log());
}

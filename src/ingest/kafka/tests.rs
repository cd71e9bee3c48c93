use std::time::Instant;

use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::types::RDKafkaRespErr;

use super::*;
use crate::error::ErrorKind;
use crate::plan::TopicPattern;

const LONG: Duration = Duration::from_secs(120);

type Brokers = MockCluster<'static, DefaultProducerContext>;

fn connector(brokers: &Brokers, topics: Topics) -> KafkaConnector {
    let (properties, find_interval) = (BTreeMap::new(), Some(Duration::from_millis(100)));
    let source = KafkaSource { topics, startup: StartupMode::Earliest, find_interval, properties };
    let bootstrap_servers = Some(brokers.bootstrap_servers());
    let settings = settings::Kafka { bootstrap_servers, properties: BTreeMap::new() };
    let made = KafkaConnector::new(&source, &settings, KafkaOptions::default()).expect("a connector");
    KafkaConnector { patience: Duration::from_secs(2), ..made }
}

/// Asks until these partitions are found. What has no answer in time is asked for again, as it is where the product
/// asks: on a busy machine an answer may take its time.
fn until_found(connector: &KafkaConnector, expected: &[(&str, u32)]) {
    let expected = partitions(expected);
    let began = Instant::now();
    let mut found = Vec::new();
    while found != expected {
        assert!(began.elapsed() < LONG, "{found:?} instead of {expected:?}");
        let answer = connector.find(Some(&[])).unwrap_or_default();
        found =
            answer.iter().map(|found| (found.partition.name.to_string(), found.partition.number)).collect();
    }
}

fn partitions(names: &[(&str, u32)]) -> Vec<(String, u32)> {
    names.iter().map(|(name, number)| (name.to_string(), *number)).collect()
}

#[test]
fn a_partition_without_leader_holds_up_the_start_and_later_none_but_itself() {
    let brokers = Brokers::new(1).expect("brokers");
    brokers.create_topic("a", 3, 1).expect("a topic");
    brokers.partition_leader("a", 1, None).expect("no leader");
    let pattern = Topics::Pattern(TopicPattern::new("[ab]").expect("an expression"));
    let connector = connector(&brokers, pattern);
    let began = Instant::now();
    loop {
        let error = connector.find(None).expect_err("not all can be read");
        assert_eq!(error.kind(), ErrorKind::Away, "{error}");
        if error.to_string().contains("partition 1 of topic 'a'") {
            break;
        }
        assert!(began.elapsed() < LONG, "{error}");
    }

    until_found(&connector, &[("a", 0), ("a", 2)]);
    brokers.create_topic("b", 1, 1).expect("a topic");
    until_found(&connector, &[("a", 0), ("a", 2), ("b", 0)]);
    let left_out = |connector: &KafkaConnector| -> Vec<String> {
        connector.asking.lock().expect("no panic").left_out.keys().cloned().collect()
    };
    assert_eq!(left_out(&connector), ["partition 1 of topic 'a'"]);
    brokers.partition_leader("a", 1, Some(1)).expect("a leader");
    until_found(&connector, &[("a", 0), ("a", 1), ("a", 2), ("b", 0)]);
    assert!(left_out(&connector).is_empty());
}

#[test]
fn a_named_topic_that_cannot_be_looked_at_does_not_hide_the_others() {
    let brokers = Brokers::new(1).expect("brokers");
    for topic in ["a", "b", "c"] {
        brokers.create_topic(topic, 1, 1).expect("a topic");
    }
    let connector = connector(&brokers, Topics::Named(["a", "b", "c"].map(str::to_owned).into()));
    brokers
        .topic_error("b", RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED)
        .expect("an error from now on");
    until_found(&connector, &[("a", 0), ("c", 0)]);
    assert!(connector.find(None).is_err(), "at the start all of them are needed");
}

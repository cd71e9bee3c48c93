//! The vehicle dataflow by the binary itself, from real Kafka into real MongoDB, also while these and the
//! processes come and go. What is in the collections is compared by id with what the events must become.

#[path = "support/process.rs"]
mod process;
#[path = "support/services.rs"]
mod services;
#[path = "support/usage.rs"]
mod usage;
#[path = "support/vehicle_state.rs"]
mod vehicle_state;
#[path = "support/vehicles.rs"]
mod vehicles;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use mongodb::bson::{Binary, Bson, Document, spec::BinarySubtype};
use process::{Cluster, until};
use serde_json::Value;
use services::{Services, start, stop};
use usage::{Usage, usage};
use vehicle_state::{LATEST, VehicleState, finish, signal};
use vehicles::{Expected, Sent, expected, fleet};

const HISTORY: &str = "vehicle_history";

/// The dataflow, and what was sent to it.
struct Scene {
    dataflow: VehicleState,
    sent: Vec<Sent>,
}

impl Scene {
    fn new() -> Scene {
        let mut scene = Scene::without_topic();
        scene.dataflow.create_topic();
        scene
    }

    fn without_topic() -> Scene {
        Scene { dataflow: VehicleState::without_topic(), sent: Vec::new() }
    }

    fn services(&self) -> &Services {
        &self.dataflow.services
    }

    fn start(&self, workers: usize, processes: usize) -> Cluster {
        self.dataflow.start(workers, processes)
    }

    fn send(&mut self, events: Vec<Sent>) {
        let records = events.iter().map(|sent| (sent.partition, sent.key.as_str(), sent.payload.as_str()));
        self.services().produce(&self.dataflow.source, records);
        self.sent.extend(events);
    }

    /// Waits until everything that was sent is in the collections, then compares all of it.
    fn compare(&self, cluster: &Cluster) -> Expected {
        let expected = expected(&self.dataflow.source, &self.sent);
        let events = expected.history.len() as u64;
        let log = || format!("{} of {events} events\n{}", self.services().count(HISTORY), cluster.log());
        until("all events are in the history", log, || self.services().count(HISTORY) >= events);
        compare_history(&self.services().documents(HISTORY), &expected);
        // The collections are written side by side.
        let mut complaints = String::new();
        until(
            "the latest state is that of all events",
            || cluster.log(),
            || {
                complaints = latest_differences(&self.services().documents(LATEST), &expected);
                complaints.is_empty() || !cluster_lives(cluster)
            },
        );
        assert!(complaints.is_empty(), "{complaints}\n{}", cluster.log());
        // The last record of a partition may be one of those that become letters.
        let letters = || self.services().consume(&format!("{}.dlq", self.dataflow.source)).len();
        let lives = || cluster_lives(cluster);
        until("all dead letters are there", || cluster.log(), || letters() >= expected.dead || !lives());
        expected
    }

    /// Lets all processes finish their work, and checks that it was all that was sent.
    fn finish(&self, cluster: &mut Cluster) {
        let ledger = finish(cluster);
        assert_eq!(ledger["read"]["telemetry_raw"], self.sent.len(), "{ledger:#}");
    }

    /// What went to other topics. Only where nothing was written twice: they are at least once.
    fn compare_topics(&self, expected: &Expected) {
        let mut normalised: Vec<(String, Value)> = self
            .services()
            .consume(&self.dataflow.normalised)
            .into_iter()
            .map(|(key, value)| (key, serde_json::from_str(&value).expect("JSON")))
            .collect();
        normalised.sort_by_key(|(key, value)| format!("{key} {value}"));
        assert_eq!(normalised, expected.normalised);
        let letters = self.services().consume(&format!("{}.dlq", self.dataflow.source));
        assert_eq!(letters.len(), expected.dead);
        for (_, letter) in letters {
            let letter: Value = serde_json::from_str(&letter).expect("JSON");
            assert_eq!(
                (&letter["error_type"], &letter["original_topic"]),
                (&"malformed".into(), &self.dataflow.source.as_str().into())
            );
        }
    }
}

fn cluster_lives(cluster: &Cluster) -> bool {
    cluster.processes.iter().all(|process| Path::new(&format!("/proc/{}", process.child.id())).exists())
}

fn compare_history(found: &[Document], expected: &Expected) {
    let mut by_id: BTreeMap<Vec<u8>, Value> = BTreeMap::new();
    for document in found {
        let mut document = document.clone();
        let Some(Bson::Binary(Binary { subtype: BinarySubtype::Generic, bytes })) = document.remove("_id")
        else {
            panic!("an id that is no binary: {document}");
        };
        let ingested = document.remove("dbIngestion_time");
        assert!(matches!(ingested, Some(Bson::DateTime(_))), "{document}");
        by_id.insert(bytes, Bson::Document(document).into_relaxed_extjson());
    }
    assert_eq!(by_id.len(), expected.history.len());
    for (id, event) in &expected.history {
        assert_eq!(by_id.get(id), Some(event), "id {id:?}");
    }
}

fn latest_differences(found: &[Document], expected: &Expected) -> String {
    let mut complaints = String::new();
    let mut by_id: BTreeMap<&str, &Document> = BTreeMap::new();
    for document in found {
        by_id.insert(document.get_str("_id").unwrap_or_default(), document);
    }
    if by_id.len() != expected.latest.len() {
        complaints += &format!("{} of {} vehicles\n", by_id.len(), expected.latest.len());
    }
    for (did, latest) in &expected.latest {
        let Some(document) = by_id.get(did.as_str()) else { continue };
        let time = document.get_datetime("eventTime").map(|time| time.timestamp_millis());
        let value =
            |field: &str| document.get(field).cloned().unwrap_or(Bson::Undefined).into_relaxed_extjson();
        let fields =
            [("odo", "odometer"), ("soc", "soc"), ("speed", "speed"), ("ignition", "ignition_status")];
        let same = fields.iter().all(|(field, signal)| value(field) == latest.value(signal));
        let ingested = document.get_datetime("ingestion_time").is_ok();
        if !same || !ingested || time.ok() != Some(latest.event_time_ms) {
            complaints += &format!("{document}\n");
        }
    }
    complaints
}

fn from_topic_to_collections(workers: usize, processes: usize) {
    let mut scene = Scene::new();
    scene.send(fleet(1, 3_000, 40));
    let mut cluster = scene.start(workers, processes);
    scene.compare(&cluster);
    // And what comes while it runs.
    scene.send(fleet(2, 2_000, 60));
    let expected = scene.compare(&cluster);
    scene.finish(&mut cluster);
    scene.compare_topics(&expected);
}

#[test]
fn real_on_one_worker() {
    from_topic_to_collections(1, 1);
}

#[test]
fn real_on_two_workers() {
    from_topic_to_collections(2, 1);
}

#[test]
fn real_in_two_processes() {
    from_topic_to_collections(1, 2);
}

/// Stops a service in the middle of a run and starts it again.
fn survives_a_stop_of(service: &str) {
    let mut scene = Scene::new();
    scene.send(fleet(3, 2_000, 40));
    let mut cluster = scene.start(2, 1);
    scene.compare(&cluster);
    if service == "kafka" {
        stop(service);
        start(service);
        scene.send(fleet(4, 2_000, 40));
    } else {
        stop(service);
        scene.send(fleet(4, 2_000, 40));
        let waits = || cluster.log().contains("sink is away, waiting");
        until("it says that the sink is away", || cluster.log(), waits);
        start(service);
    }
    scene.compare(&cluster);
    scene.finish(&mut cluster);
}

#[test]
fn real_broker_stopped_and_started() {
    survives_a_stop_of("kafka");
}

#[test]
fn real_mongod_stopped_and_started() {
    survives_a_stop_of("mongodb");
}

#[test]
fn real_started_before_its_broker() {
    let mut scene = Scene::new();
    scene.send(fleet(5, 1_000, 20));
    stop("kafka");
    let mut cluster = scene.start(1, 1);
    let waits = || cluster.log().contains("source is away, waiting");
    until("it says that the source is away", || cluster.log(), waits);
    start("kafka");
    scene.compare(&cluster);
    scene.finish(&mut cluster);
}

#[test]
fn real_stop_while_it_waits_for_a_broker() {
    let mut scene = Scene::without_topic();
    // A port on which nobody listens.
    scene.dataflow.services.bootstrap = "127.0.0.1:9".to_owned();
    let mut cluster = scene.start(1, 1);
    let waits = || cluster.log().contains("source is away, waiting");
    until("it says that the source is away", || cluster.log(), waits);
    signal("TERM", cluster.processes[0].child.id());
    let codes = cluster.wait();
    assert_eq!(codes[0], Some(0), "{}", cluster.log());
}

#[test]
fn real_death_of_one_process_ends_the_other() {
    for (dead, other) in [(0, 1), (1, 0)] {
        let mut scene = Scene::new();
        scene.send(fleet(6, 1_000, 20));
        let mut cluster = scene.start(1, 2);
        scene.compare(&cluster);
        signal("KILL", cluster.processes[dead].child.id());
        let codes = cluster.wait();
        assert_eq!((codes[dead], codes[other]), (None, Some(1)), "{}", cluster.log());
        let message = format!("process {dead}");
        assert!(cluster.processes[other].log().contains(&message), "no message:\n{}", cluster.log());
    }
}

#[test]
#[ignore = "a million events take minutes: ./test --run-ignored only -E 'test(real_million)'"]
fn real_million_events() {
    for (workers, processes) in [(2, 1), (1, 2)] {
        let mut scene = Scene::new();
        scene.send(fleet(7, 1_000_000, 10_000));
        let events = expected(&scene.dataflow.source, &scene.sent).history.len() as u64;
        let began = Instant::now();
        let mut cluster = scene.start(workers, processes);
        let all_there = || scene.services().count_written(HISTORY) >= events || !cluster_lives(&cluster);
        until("all events are in the history", || cluster.log(), all_there);
        let used: Vec<_> = cluster.processes.iter().map(|process| usage(process.child.id())).collect();
        // The end of the processes is the time at which all sinks have everything.
        scene.finish(&mut cluster);
        let seconds = began.elapsed().as_secs_f64();
        let rate = scene.sent.len() as f64 / seconds;
        println!("{workers} workers, {processes} processes: {seconds:.1} s, {rate:.0} events/s");
        for Usage { processor, peak_mib } in used {
            println!("  processor {:.1} s, at most {peak_mib} MiB", processor.as_secs_f64());
        }
        scene.compare(&cluster);
    }
}

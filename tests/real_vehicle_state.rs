//! The vehicle dataflow by the binary itself, from real Kafka into real MongoDB, also while these and the
//! processes come and go. What is in the collections is compared by id with what the events must become.

#[path = "support/process.rs"]
mod process;
#[path = "support/services.rs"]
mod services;
#[path = "support/vehicles.rs"]
mod vehicles;

use std::collections::BTreeMap;
use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use mongodb::bson::{Binary, Bson, Document, spec::BinarySubtype};
use process::{Cluster, check_ledger, tidemill, until};
use serde_json::Value;
use services::{Services, start, stop};
use tempfile::TempDir;
use vehicles::{Expected, PARTITIONS, Sent, expected, fleet};

const HISTORY: &str = "vehicle_history";
const LATEST: &str = "mongo_vehicle_latest_state";
/// For everything to arrive, on a machine that is busy with other things.
const ARRIVAL_TIMEOUT: Duration = Duration::from_secs(60);

/// A copy of the dataflow with topics and a database of its own.
struct Scene {
    services: Services,
    folder: TempDir,
    source: String,
    normalised: String,
    sent: Vec<Sent>,
    /// How long everything may take to arrive.
    patience: Duration,
}

impl Scene {
    fn new() -> Scene {
        let mut scene = Scene::without_topic();
        scene.create_topic();
        scene
    }

    fn without_topic() -> Scene {
        let unique = format!("{:016x}", RandomState::new().hash_one(std::process::id()));
        let (source, normalised) =
            (format!("telemetry_raw_{unique}"), format!("telemetry_normalised_{unique}"));
        let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("dataflows/vehicle_state/dataflow.sql");
        let sql = fs::read_to_string(shipped).expect("the dataflow");
        let own = sql
            .replace("topic = 'telemetry_raw'", &format!("topic = '{source}'"))
            .replace("topic = 'telemetry_normalised'", &format!("topic = '{normalised}'"));
        assert_eq!(own.matches(&unique).count(), 2, "the topics have other names");
        let folder = tempfile::tempdir().expect("a folder");
        fs::create_dir(folder.path().join("vehicle_state")).expect("a folder");
        fs::write(folder.path().join("vehicle_state/dataflow.sql"), own).expect("a file");
        let services = Services::new(&format!("test_{unique}"));
        Scene { services, folder, source, normalised, sent: Vec::new(), patience: ARRIVAL_TIMEOUT }
    }

    fn create_topic(&mut self) {
        self.services.create_topic(&self.source, PARTITIONS);
        self.services.delete_later(&self.normalised);
        self.services.delete_later(&format!("{}.dlq", self.source));
    }

    fn start(&self, workers: usize, processes: usize) -> Cluster {
        Cluster::spawn(processes, |process| {
            let mut command = tidemill(&["run", "--no-http", "--print-interval", "0s"]);
            command.arg(self.folder.path().join("vehicle_state"));
            command.args(["--workers", &workers.to_string()]);
            command.arg("--state-dir").arg(self.folder.path().join(format!("state-{process}")));
            command
                .env("TIDEMILL_KAFKA__BOOTSTRAP_SERVERS", &self.services.bootstrap)
                .env("TIDEMILL_MONGODB__URI", &self.services.mongodb_uri)
                .env("TIDEMILL_MONGODB__DATABASE", &self.services.database);
            command
        })
    }

    fn send(&mut self, events: Vec<Sent>) {
        let records = events.iter().map(|sent| (sent.partition, sent.key.as_str(), sent.payload.as_str()));
        self.services.produce(&self.source, records);
        self.sent.extend(events);
    }

    /// Waits until everything that was sent is in the collections, then compares all of it.
    fn compare(&self, cluster: &Cluster) -> Expected {
        let expected = expected(&self.source, &self.sent);
        let events = expected.history.len() as u64;
        let log = || format!("{} of {events} events\n{}", self.services.count(HISTORY), cluster.log());
        until("all events are in the history", self.patience, log, || self.services.count(HISTORY) >= events);
        compare_history(&self.services.documents(HISTORY), &expected);
        // The collections are written side by side.
        let mut complaints = String::new();
        until(
            "the latest state is that of all events",
            self.patience,
            || cluster.log(),
            || {
                complaints = latest_differences(&self.services.documents(LATEST), &expected);
                complaints.is_empty() || !cluster_lives(cluster)
            },
        );
        assert!(complaints.is_empty(), "{complaints}\n{}", cluster.log());
        expected
    }

    /// Asks all processes to stop, and checks that they have finished their work.
    fn finish(&self, mut cluster: Cluster) {
        cluster.processes.iter().for_each(|process| signal("TERM", process.child.id()));
        let codes = cluster.wait();
        assert!(codes.iter().all(|code| *code == Some(0)), "ended with {codes:?}\n{}", cluster.log());
        let ledger = cluster.ledger();
        check_ledger(&ledger);
        assert_eq!(ledger["read"]["telemetry_raw"], self.sent.len(), "{ledger:#}");
    }

    /// What went to other topics. Only where nothing was written twice: they are at least once.
    fn compare_topics(&self, expected: &Expected) {
        let mut normalised: Vec<(String, Value)> = self
            .services
            .consume(&self.normalised)
            .into_iter()
            .map(|(key, value)| (key, serde_json::from_str(&value).expect("JSON")))
            .collect();
        normalised.sort_by_key(|(key, value)| format!("{key} {value}"));
        assert_eq!(normalised, expected.normalised);
        let letters = self.services.consume(&format!("{}.dlq", self.source));
        assert_eq!(letters.len(), expected.dead);
        for (_, letter) in letters {
            let letter: Value = serde_json::from_str(&letter).expect("JSON");
            assert_eq!(
                (&letter["error_type"], &letter["original_topic"]),
                (&"malformed".into(), &self.source.as_str().into())
            );
        }
    }
}

fn cluster_lives(cluster: &Cluster) -> bool {
    cluster.processes.iter().all(|process| Path::new(&format!("/proc/{}", process.child.id())).exists())
}

/// Sends a signal to one process, by its number.
fn signal(name: &str, pid: u32) {
    let status = Command::new("sh").args(["-c", &format!("kill -{name} {pid}")]).status();
    assert!(status.expect("a shell").success(), "kill -{name} {pid}");
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
    let cluster = scene.start(workers, processes);
    scene.compare(&cluster);
    // And what comes while it runs.
    scene.send(fleet(2, 2_000, 60));
    let expected = scene.compare(&cluster);
    scene.finish(cluster);
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
    let cluster = scene.start(2, 1);
    scene.compare(&cluster);
    if service == "kafka" {
        stop(service);
        start(service);
        scene.send(fleet(4, 2_000, 40));
    } else {
        stop(service);
        scene.send(fleet(4, 2_000, 40));
        let waits = || cluster.log().contains("sink is away, waiting");
        until("it says that the sink is away", ARRIVAL_TIMEOUT, || cluster.log(), waits);
        start(service);
    }
    scene.compare(&cluster);
    scene.finish(cluster);
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
    let cluster = scene.start(1, 1);
    let waits = || cluster.log().contains("source is away, waiting");
    until("it says that the source is away", ARRIVAL_TIMEOUT, || cluster.log(), waits);
    start("kafka");
    scene.compare(&cluster);
    scene.finish(cluster);
}

#[test]
fn real_stop_while_it_waits_for_a_broker() {
    let mut scene = Scene::without_topic();
    // A port on which nobody listens.
    scene.services.bootstrap = "127.0.0.1:9".to_owned();
    let mut cluster = scene.start(1, 1);
    let waits = || cluster.log().contains("source is away, waiting");
    until("it says that the source is away", ARRIVAL_TIMEOUT, || cluster.log(), waits);
    signal("TERM", cluster.processes[0].child.id());
    let codes = cluster.wait();
    assert!(codes[0].is_some_and(|code| code < 2), "ended with {codes:?}\n{}", cluster.log());
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
        let mut scene = Scene { patience: 10 * ARRIVAL_TIMEOUT, ..Scene::new() };
        scene.send(fleet(7, 1_000_000, 10_000));
        let began = std::time::Instant::now();
        let cluster = scene.start(workers, processes);
        scene.compare(&cluster);
        println!("{workers} workers, {processes} processes: a million events in {:?}", began.elapsed());
        scene.finish(cluster);
    }
}

//! Joins of updating views from real Kafka into real MongoDB, in two processes, while partitions are added.

#[path = "support/process.rs"]
mod process;
#[expect(dead_code, reason = "nothing is stopped here")]
#[path = "support/services.rs"]
mod services;

use std::collections::BTreeMap;
use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::process::Command;

use mongodb::bson::{Bson, Document};
use process::{Cluster, check_ledger, tidemill, until};
use rdkafka::admin::{AdminOptions, NewPartitions};
use services::{Services, topics};
use tempfile::TempDir;

const VEHICLES: usize = 200;

struct Scene {
    services: Services,
    folder: TempDir,
    telemetry: String,
    registrations: String,
    /// Newest speed of each vehicle, and the owner of those that are registered.
    speeds: BTreeMap<String, i64>,
    owners: BTreeMap<String, String>,
    /// Records of each topic.
    sent: (usize, usize),
}

fn vehicle(number: usize) -> String {
    format!("v{number:03}")
}

impl Scene {
    fn new() -> Scene {
        let prefix = format!("joins_{:016x}", RandomState::new().hash_one(std::process::id()));
        let mut services = Services::new(&prefix);
        let (telemetry, registrations) = (format!("{prefix}.telemetry"), format!("{prefix}.registrations"));
        services.create_topic(&telemetry, 2, &[]);
        services.create_topic(&registrations, 1, &[]);
        let folder = tempfile::tempdir().expect("a folder");
        let sql = format!(
            "CREATE SOURCE telemetry (did TEXT NOT NULL, speed BIGINT, ts TIMESTAMP NOT NULL)
             WITH (connector = 'kafka', topic = '{telemetry}', scan.topic-partition-discovery.interval = '250ms');
             CREATE SOURCE registrations (did TEXT NOT NULL, owner TEXT, ts TIMESTAMP NOT NULL)
             WITH (connector = 'kafka', topic = '{registrations}');
             CREATE VIEW vehicles AS SELECT did, last_value(speed ORDER BY ts) AS speed FROM telemetry GROUP BY did;
             CREATE VIEW registered AS
             SELECT did, last_value(owner ORDER BY ts) AS owner FROM registrations GROUP BY did;
             CREATE SINK fleet AS
             SELECT v.did AS did, v.speed AS speed, r.owner AS owner
             FROM vehicles v LEFT JOIN registered r ON r.did = v.did
             WITH (connector = 'mongodb', collection = 'fleet', mode = 'upsert');
             CREATE SINK unknown AS
             SELECT did FROM vehicles v WHERE NOT EXISTS (SELECT 1 FROM registered r WHERE r.did = v.did)
             WITH (connector = 'mongodb', collection = 'unknown', mode = 'upsert');"
        );
        fs::create_dir(folder.path().join("joined")).expect("a folder");
        fs::write(folder.path().join("joined/dataflow.sql"), sql).expect("a file");
        let (speeds, owners, sent) = (BTreeMap::new(), BTreeMap::new(), (0, 0));
        Scene { services, folder, telemetry, registrations, speeds, owners, sent }
    }

    fn command(&self, workers: usize, process: usize) -> Command {
        let mut command = tidemill(&["run", "--no-http", "--print-interval", "0s"]);
        command.arg(self.folder.path().join("joined")).args(["--workers", &workers.to_string()]);
        command.arg("--state-dir").arg(self.folder.path().join(format!("state-{process}")));
        command.envs([
            ("TIDEMILL_KAFKA__BOOTSTRAP_SERVERS", &self.services.bootstrap),
            ("TIDEMILL_MONGODB__URI", &self.services.mongodb_uri),
            ("TIDEMILL_MONGODB__DATABASE", &self.services.database),
        ]);
        command
    }

    /// Gives the topic of telemetry more partitions.
    fn grow(&self, partitions: usize) {
        let admin = topics::admin(&self.services.bootstrap);
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let new = NewPartitions::new(&self.telemetry, partitions);
        let grown = admin.create_partitions([&new], &AdminOptions::new());
        let grown = runtime.expect("a runtime").block_on(grown).expect("an answer");
        assert!(grown.iter().all(Result::is_ok), "{grown:?}");
        let is_told = |topic: &_| topics::has_partitions(topic, partitions as i32);
        topics::until_told(&self.services.bootstrap, &self.telemetry, is_told);
    }

    /// Speeds of all vehicles at `second`, in these partitions by turns.
    fn drive(&mut self, second: usize, partitions: std::ops::Range<i32>) {
        let mut records = Vec::new();
        for (number, partition) in (0..VEHICLES).zip(partitions.cycle()) {
            let speed = ((number * 7 + second * 13) % 130) as i64;
            let (did, ts) = (vehicle(number), 1_761_559_200_000 + 1_000 * second);
            records.push((partition, did.clone(), format!(r#"{{"did":"{did}","speed":{speed},"ts":{ts}}}"#)));
            self.speeds.insert(did, speed);
        }
        self.sent.0 += records.len();
        let records =
            records.iter().map(|(partition, key, value)| (*partition, key.as_str(), value.as_str()));
        self.services.produce(&self.telemetry, records);
    }

    /// Every `step`th vehicle gets an owner.
    fn register(&mut self, second: usize, step: usize) {
        let mut records = Vec::new();
        for number in (0..VEHICLES).step_by(step) {
            let (did, ts) = (vehicle(number), 1_761_559_200_000 + 1_000 * second);
            let owner = format!("owner {number} of {second}");
            records.push((did.clone(), format!(r#"{{"did":"{did}","owner":"{owner}","ts":{ts}}}"#)));
            self.owners.insert(did, owner);
        }
        self.sent.1 += records.len();
        let records = records.iter().map(|(key, value)| (0, key.as_str(), value.as_str()));
        self.services.produce(&self.registrations, records);
    }

    /// Waits until the collections are what was sent joined by hand.
    fn compare(&self, cluster: &Cluster) {
        let owner = |did: &String| self.owners.get(did).cloned().map_or(Bson::Null, Bson::String);
        let row = |(did, speed): (&String, &i64)| (did.clone(), (Bson::Int64(*speed), owner(did)));
        let fleet: BTreeMap<_, _> = self.speeds.iter().map(row).collect();
        let unknown: Vec<String> =
            self.speeds.keys().filter(|did| !self.owners.contains_key(*did)).cloned().collect();
        let field = |document: &Document, name: &str| document.get(name).cloned().unwrap_or(Bson::Undefined);
        let did = |document: &Document| document.get_str("did").unwrap_or_default().to_owned();
        let mut found = (BTreeMap::new(), Vec::new());
        let log = || cluster.log();
        until("the collections are the join", log, || {
            let documents = self.services.documents("fleet");
            let row = |d: &Document| (did(d), (field(d, "speed"), field(d, "owner")));
            found.0 = documents.iter().map(row).collect();
            found.1 = self.services.documents("unknown").iter().map(did).collect();
            found.1.sort();
            found.0 == fleet && found.1 == unknown && documents.len() == fleet.len()
        });
    }
}

fn joins_follow(workers: usize, processes: usize) {
    let mut scene = Scene::new();
    let mut cluster = Cluster::spawn(processes, |process| scene.command(workers, process));
    (0..10).for_each(|second| scene.drive(second, 0..2));
    scene.register(0, 3);
    scene.compare(&cluster);
    scene.grow(5);
    (10..15).for_each(|second| scene.drive(second, 2..5));
    scene.register(20, 2);
    scene.drive(30, 0..5);
    scene.compare(&cluster);
    for process in &cluster.processes {
        let status = Command::new("kill").args(["-TERM", &process.child.id().to_string()]).status();
        assert!(status.expect("kill").success());
    }
    let codes = cluster.wait();
    assert!(codes.iter().all(|code| *code == Some(0)), "ended with {codes:?}\n{}", cluster.log());
    let ledger = cluster.ledger();
    check_ledger(&ledger);
    assert_eq!(ledger["read"]["telemetry"], scene.sent.0, "{ledger:#}");
    assert_eq!(ledger["read"]["registrations"], scene.sent.1, "{ledger:#}");
}

#[test]
fn real_joins_follow_on_two_workers() {
    joins_follow(2, 1);
}

#[test]
fn real_joins_follow_in_two_processes() {
    joins_follow(1, 2);
}

#[test]
fn real_joins_follow_in_two_processes_of_two_workers() {
    joins_follow(2, 2);
}

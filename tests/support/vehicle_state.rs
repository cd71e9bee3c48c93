//! The shipped dataflow `vehicle_state`, started by the binary on real Kafka and MongoDB.

use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use crate::process::{Cluster, check_ledger, tidemill};
use crate::services::Services;
use crate::vehicles::PARTITIONS;

/// The collection of the latest states.
pub const LATEST: &str = "mongo_vehicle_latest_state";

/// A copy of the dataflow with topics and a database of its own.
pub struct VehicleState {
    pub services: Services,
    folder: TempDir,
    pub source: String,
    pub normalised: String,
}

impl VehicleState {
    /// A copy whose source has no topic yet.
    pub fn without_topic() -> VehicleState {
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
        VehicleState { services, folder, source, normalised }
    }

    pub fn create_topic(&mut self) {
        self.services.create_topic(&self.source, PARTITIONS, &[]);
        self.services.delete_later(&self.normalised);
        self.services.delete_later(&format!("{}.dlq", self.source));
    }

    pub fn start(&self, workers: usize, processes: usize) -> Cluster {
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
}

/// Sends a signal to one process, by its number.
pub fn signal(name: &str, pid: u32) {
    let status = Command::new("sh").args(["-c", &format!("kill -{name} {pid}")]).status();
    assert!(status.expect("a shell").success(), "kill -{name} {pid}");
}

/// Asks all processes to stop, and checks that they have finished their work. Gives the ledger.
pub fn finish(cluster: &mut Cluster) -> Value {
    cluster.processes.iter().for_each(|process| signal("TERM", process.child.id()));
    let codes = cluster.wait();
    assert!(codes.iter().all(|code| *code == Some(0)), "ended with {codes:?}\n{}", cluster.log());
    let ledger = cluster.ledger();
    check_ledger(&ledger);
    ledger
}

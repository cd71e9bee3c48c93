//! A dataflow that writes down what it reads: topic, partition, offset and value of each record.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use crate::process::{Cluster, check_ledger, tidemill};

/// Topic, partition, offset, value.
pub type Row = (String, i64, i64, String);

/// The dataflow in a folder of its own.
pub struct Reading {
    folder: TempDir,
}

impl Reading {
    /// Reads from a Kafka source with these options.
    pub fn new(options: &str) -> Reading {
        let folder = tempfile::tempdir().expect("a folder");
        let sql = format!(
            "CREATE SOURCE records (
                 value TEXT NOT NULL,
                 topic TEXT METADATA FROM 'topic',
                 part INT METADATA FROM 'partition',
                 place BIGINT METADATA FROM 'offset'
             ) WITH (connector = 'kafka', {options});
             CREATE SINK rows FROM records WITH (connector = 'file', path = 'rows.jsonl');"
        );
        fs::create_dir(folder.path().join("reading")).expect("a folder");
        fs::write(folder.path().join("reading/dataflow.sql"), sql).expect("a file");
        Reading { folder }
    }

    /// The state directory of a process.
    pub fn state(&self, process: usize) -> PathBuf {
        self.folder.path().join(format!("state-{process}"))
    }

    /// Starts it with these settings, as they stand in the environment.
    pub fn start(&self, workers: usize, processes: usize, settings: &[(&str, &str)]) -> Cluster {
        Cluster::spawn(processes, |process| self.command(workers, process, settings))
    }

    /// What starts one process.
    pub fn command(&self, workers: usize, process: usize, settings: &[(&str, &str)]) -> Command {
        let mut command = tidemill(&["run", "--no-http", "--print-interval", "0s"]);
        command.arg(self.folder.path().join("reading"));
        command.args(["--workers", &workers.to_string()]);
        command.arg("--state-dir").arg(self.state(process));
        command.envs(settings.iter().copied());
        command
    }

    /// What was written so far, sorted.
    pub fn rows(&self) -> Vec<Row> {
        let text = fs::read_to_string(self.folder.path().join("reading/rows.jsonl")).unwrap_or_default();
        // The last line may be half written.
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        let mut rows: Vec<Row> = whole.lines().map(row).collect();
        rows.sort();
        rows
    }
}

fn row(line: &str) -> Row {
    let row: Value = serde_json::from_str(line).expect("a row");
    let text = |name: &str| row[name].as_str().unwrap_or_else(|| panic!("no {name} in {line}")).to_owned();
    let number = |name: &str| row[name].as_i64().unwrap_or_else(|| panic!("no {name} in {line}"));
    (text("topic"), number("part"), number("place"), text("value"))
}

/// Asks all processes to stop, and checks that they end well with a ledger that adds up. Gives the ledger.
pub fn finish(cluster: &mut Cluster) -> Value {
    for process in &cluster.processes {
        let status = Command::new("kill").args(["-TERM", &process.child.id().to_string()]).status();
        assert!(status.expect("kill").success());
    }
    let codes = cluster.wait();
    assert!(codes.iter().all(|code| *code == Some(0)), "ended with {codes:?}\n{}", cluster.log());
    let ledger = cluster.ledger();
    check_ledger(&ledger);
    ledger
}

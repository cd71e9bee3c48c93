//! Input that was not meant well, end to end: what becomes a row, what a dead letter with which words, and that
//! nothing else happens.

#[path = "hostile/bytes.rs"]
mod bytes;
#[path = "hostile/files.rs"]
mod files;
#[path = "hostile/mutate.rs"]
mod mutate;
#[path = "hostile/mutations.rs"]
mod mutations;
#[path = "support/process.rs"]
mod process;

use std::fs;
use std::path::Path;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use process::{Cluster, check_ledger, tidemill};
use serde_json::Value;
use tempfile::TempDir;

/// A source `s` over the folder `in`, and a sink of all its rows.
pub struct Dataflow {
    folder: TempDir,
}

/// How a run has ended.
pub struct Ended {
    pub code: Option<i32>,
    pub log: String,
    /// Lines of the sink.
    pub rows: Vec<String>,
    pub letters: Vec<Letter>,
    pub read: u64,
}

/// The parts of a dead letter that are looked at.
#[derive(Clone, Debug, PartialEq)]
pub struct Letter {
    pub file: String,
    pub offset: u64,
    pub kind: String,
    pub error: String,
    pub value: Option<Vec<u8>>,
    pub size: Option<u64>,
}

impl Dataflow {
    pub fn new(columns: &str, options: &str) -> Dataflow {
        let folder = tempfile::tempdir().expect("a folder");
        let options = if options.contains("connector") {
            options.to_owned()
        } else {
            format!("connector = 'file', path = 'in'{}{options}", if options.is_empty() { "" } else { ", " })
        };
        let text = format!(
            "CREATE SOURCE s ({columns})\nWITH ({options});\nCREATE SINK rows FROM s WITH (connector = 'file', path = 'rows.jsonl');\n"
        );
        fs::create_dir(folder.path().join("in")).expect("a folder");
        fs::write(folder.path().join("dataflow.sql"), text).expect("a file");
        Dataflow { folder }
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Puts a file into the folder that is read.
    pub fn file(&self, name: &str, content: impl AsRef<[u8]>) -> &Self {
        fs::write(self.path().join("in").join(name), content).expect("a file");
        self
    }

    /// Runs over what there is.
    pub fn run(&self) -> Ended {
        let output = self.path().join("out");
        let mut cluster = Cluster::spawn(1, |_| {
            let mut command = tidemill(&["run", "--bounded", "--no-http", "--clock", "2025-11-01T00:00:00Z"]);
            command.args(["--workers", "2"]).arg(self.path()).arg("--output").arg(&output);
            command.env("TIDEMILL_STATE_DIR", self.path().join("state"));
            command
        });
        let code = cluster.wait()[0];
        let mut read = 0;
        if code == Some(0) {
            let ledger = cluster.ledger();
            check_ledger(&ledger);
            read = ledger["read"]["s"].as_u64().unwrap_or_default();
        }
        let text = |name: &str| fs::read_to_string(output.join(name)).unwrap_or_default();
        let rows = text("rows.jsonl").lines().map(str::to_owned).collect();
        let letters = text("s.dlq.jsonl").lines().map(letter).collect();
        Ended { code, log: cluster.log(), rows, letters, read }
    }
}

impl Ended {
    /// The run was good, and each record has become a row or a letter.
    #[track_caller]
    pub fn adds_up(&self) -> &Self {
        assert_eq!(self.code, Some(0), "{}", self.log);
        assert_eq!(self.read, (self.rows.len() + self.letters.len()) as u64, "{}", self.log);
        self
    }

    /// Rows and letters are these and no others; letters by offset, kind and text.
    #[track_caller]
    pub fn gives(&self, rows: &[&str], letters: &[(u64, &str, &str)]) {
        self.adds_up();
        assert_eq!(self.rows, rows);
        let found: Vec<_> =
            self.letters.iter().map(|l| (l.offset, l.kind.as_str(), l.error.as_str())).collect();
        assert_eq!(found, letters);
    }
}

fn letter(line: &str) -> Letter {
    let letter: Value = serde_json::from_str(line).expect("a dead letter is JSON");
    let text = |field: &str| letter[field].as_str().unwrap_or_default().to_owned();
    let value = letter["original_value"].as_str().map(|value| match letter["original_encoding"].as_str() {
        Some("base64") => BASE64_STANDARD.decode(value).expect("base64"),
        _ => value.as_bytes().to_vec(),
    });
    Letter {
        file: text("original_topic"),
        offset: letter["original_offset"].as_u64().expect("an offset"),
        kind: text("error_type"),
        error: text("error"),
        value,
        size: letter["original_size"].as_u64(),
    }
}

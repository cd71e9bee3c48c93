//! A bounded run of a dataflow over files, with everything checked that holds for each of them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use tidemill::compile::{Request, compile};
use tidemill::plan::{Format, Source};

use super::process::{Cluster, check_ledger, tidemill};

/// Start of the clock of bounded runs: epoch e is at this plus e times 20 ms.
const CLOCK: &str = "2025-11-01T00:00:00Z";

/// How a dataflow is run.
#[derive(Clone, Copy, Debug)]
pub struct Mode {
    pub workers: usize,
    pub processes: usize,
    /// Records per partition and epoch, where not the default.
    pub epoch_records: Option<usize>,
    /// Whether every GROUP BY that can adds up rows before they are sent, even where that leaves as many.
    pub partials: bool,
}

impl Mode {
    /// So many processes with so many workers each.
    pub const fn of(workers: usize, processes: usize) -> Mode {
        Mode { workers, processes, epoch_records: None, partials: false }
    }
}

/// A dataflow that ships with the product.
pub fn shipped(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("dataflows").join(name)
}

/// Runs a dataflow over the files in `input` and gives the folder with what it has written.
pub fn run(dataflow: &Path, input: &Path, mode: Mode) -> TempDir {
    run_with_ledger(dataflow, input, mode).0
}

/// The same, with what the run says became of the records.
pub fn run_with_ledger(dataflow: &Path, input: &Path, mode: Mode) -> (TempDir, serde_json::Value) {
    let output = tempfile::tempdir().expect("a folder");
    let mut cluster = Cluster::spawn(mode.processes, |_| {
        let mut command = tidemill(&["run", "--bounded", "--no-http", "--clock", CLOCK]);
        command.arg(dataflow).arg("--input").arg(input).arg("--output").arg(output.path());
        command.args(["--workers", &mode.workers.to_string()]);
        if let Some(records) = mode.epoch_records {
            command.args(["--epoch-records", &records.to_string()]);
        }
        if mode.partials {
            command.args(["--set", "flow.rows_per_partial=1"]);
        }
        command
    });
    let codes = cluster.wait();
    assert!(codes.iter().all(|code| *code == Some(0)), "ended with {codes:?}\n{}", cluster.log());
    let ledger = cluster.ledger();
    check_ledger(&ledger);
    let read = ledger["read"].as_object().expect("counts by source");
    for source in sources(dataflow) {
        // One that nobody reads is not in the ledger.
        let Some(count) = read.get(&source.name) else { continue };
        assert_eq!(count.as_u64(), Some(records(input, &source)), "read from {}: {ledger:#}", source.name);
    }
    (output, ledger)
}

/// The sources of a dataflow.
fn sources(dataflow: &Path) -> Vec<Source> {
    let file = dataflow.join("dataflow.sql");
    let text = fs::read_to_string(&file).expect("a dataflow");
    let (file, parameters) = (file.display().to_string(), BTreeMap::new());
    let request =
        Request { file: &file, text: &text, name: "test", directory: dataflow, parameters: &parameters };
    compile(&request).unwrap_or_else(|wrong| panic!("{wrong}")).sources
}

/// Number of records in the input of a source.
fn records(input: &Path, source: &Source) -> u64 {
    let folder = input.join(&source.name);
    let files: Vec<PathBuf> = match fs::read_dir(&folder) {
        Ok(entries) => entries.map(|entry| entry.expect("an entry").path()).collect(),
        Err(_) => vec![folder.with_extension(source.format.extension())],
    };
    let count = |file: &PathBuf| {
        let bytes = fs::read(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        match &source.format {
            Format::Json => {
                bytes.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty()).count() as u64
            }
            Format::Csv(dialect) => {
                let mut reader = csv::ReaderBuilder::new();
                reader.has_headers(dialect.header).flexible(true).delimiter(dialect.delimiter);
                reader.quote(dialect.quote).from_reader(&bytes[..]).byte_records().count() as u64
            }
        }
    };
    files.iter().map(count).sum()
}

/// The lines of a file of a run.
pub fn lines(folder: &Path, file: &str) -> Vec<String> {
    let path = folder.join(file);
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.lines().map(str::to_owned).collect()
}

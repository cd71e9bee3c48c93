//! Queries over recorded data that is too large to ship and stays where it is: latest states, totals, distinct
//! values, nested fields, CSV with dates that cannot be. Skipped, loudly, where the data is absent.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::bounded::{Mode, run};
use crate::compared;

/// The folder with the data.
fn data() -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data");
    let folder = env::var_os("RECORDED_DATA").map_or_else(beside, PathBuf::from);
    if !folder.is_dir() {
        eprintln!("SKIPPED: {} is absent; RECORDED_DATA names another folder", folder.display());
        return None;
    }
    Some(folder)
}

/// All files below `folder` whose names end with `end`, sorted.
fn files(folder: &Path, end: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let mut found: Vec<PathBuf> = paths
        .flat_map(|path| match path.is_dir() {
            true => files(&path, end),
            false => Vec::from_iter(path.to_string_lossy().ends_with(end).then_some(path)),
        })
        .collect();
    found.sort();
    found
}

/// Lays out the files as partitions of `source`, and compares every sink over them.
fn agrees(set: &str, source: &str, lay_out: impl FnOnce(&Path, &Path)) {
    let Some(data) = data() else { return };
    let input: TempDir = tempfile::tempdir().expect("a folder");
    let partitions = input.path().join(source);
    fs::create_dir(&partitions).expect("a folder");
    lay_out(&data.join(set), &partitions);
    let dataflow = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oracle/recorded").join(set);
    let output = run(&dataflow, input.path(), Mode::of(2, 1));
    let (agree, report) = compared(&[(&dataflow, input.path(), output.path())]);
    assert!(agree, "{set}\n{report}");
    assert!(report.matches(" rows agree").count() >= 5, "{report}");
    assert!(!report.contains(": 0 rows agree"), "{set}\n{report}");
    println!("{report}");
}

/// Copies all files that end so.
fn copy(end: &'static str) -> impl FnOnce(&Path, &Path) {
    move |from, to| {
        let found = files(from, end);
        assert!(!found.is_empty(), "no {end} in {}", from.display());
        for file in found {
            fs::copy(&file, to.join(file.file_name().expect("a name"))).expect("a copy");
        }
    }
}

#[test]
fn usecases() {
    agrees("usecases", "events", copy(".input.jsonl"));
}

#[test]
fn tajo_fleet() {
    agrees("tajo_fleet", "fleet", copy(".jsonl"));
}

#[test]
fn twizy_ev() {
    agrees("twizy_ev", "drives", copy(".csv"));
}

#[test]
fn traffic() {
    agrees("traffic", "aircraft", |from, to| {
        let packed = from.join("quickstart.jsonl.gz");
        let unpacked = Command::new("gzip").arg("-dc").arg(packed).output().expect("gzip");
        assert!(unpacked.status.success(), "gzip -dc");
        // Two halves, so that both workers read.
        let middle = unpacked.stdout.len() / 2;
        let line = unpacked.stdout[middle..].iter().position(|byte| *byte == b'\n').expect("a line");
        let (first, second) = unpacked.stdout.split_at(middle + line + 1);
        fs::write(to.join("0.jsonl"), first).expect("a file");
        fs::write(to.join("1.jsonl"), second).expect("a file");
    });
}

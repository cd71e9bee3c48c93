//! Files and folders as they are found and read.

use std::io::Write;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::*;
use crate::error::ErrorKind;
use crate::ingest::collect::Collected;

const MAX: usize = 16;

fn connector(directory: &Path, path: &str) -> FileConnector {
    FileConnector::new(directory, &FileSource { path: path.into() }, &Format::Json, MAX)
}

fn names(directory: &Path, path: &str) -> Vec<String> {
    let found = connector(directory, path).find(None).expect("found");
    let partitions: Vec<_> = found.into_iter().map(|found| found.partition).collect();
    assert!(partitions.iter().enumerate().all(|(place, p)| p.id == place as u32 && p.number == 0));
    partitions.iter().map(|partition| partition.name.to_string()).collect()
}

fn read(directory: &Path, path: &str) -> (Collected, Result<()>) {
    let connector = connector(directory, path);
    let partitions = connector.find(None).expect("found");
    let mut reader = connector.open(&partitions).expect("opened");
    let mut out = Collected::new(partitions.len());
    while out.ended.contains(&false) {
        let wanted = vec![true; partitions.len()];
        if let Err(error) = reader.read(&wanted, Duration::ZERO, &mut out) {
            return (out, Err(error));
        }
    }
    (out, Ok(()))
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text.as_bytes()).expect("compressed");
    encoder.finish().expect("compressed")
}

#[test]
fn lines_become_records_and_blank_lines_none() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = "\u{feff}{\"a\":1}\r\n\r\n  \n\n{\"a\":2}\n\u{feff}x\n{\"a\":3}";
    std::fs::write(folder.path().join("a.jsonl"), text).expect("written");
    let (out, result) = read(folder.path(), "a.jsonl");
    result.expect("read");
    assert_eq!(out.payloads(0), ["{\"a\":1}", "{\"a\":2}", "\u{feff}x", "{\"a\":3}"]);
    assert_eq!((out.offsets(0), out.caught_up[0]), (vec![0, 1, 2, 3], Some(4)));
    for empty in ["", "\u{feff}", "\n\r\n"] {
        std::fs::write(folder.path().join("a.jsonl"), empty).expect("written");
        assert_eq!(read(folder.path(), "a.jsonl").0.counts(), [0]);
    }
}

#[test]
fn of_a_long_line_only_what_shows_that_it_is_too_long() {
    let folder = tempfile::tempdir().expect("a folder");
    let (fits, long) = ("f".repeat(MAX), " ".repeat(3 * READ_BYTES));
    let text = format!("{fits}\r\n{fits}+\r\n{long}x\n\u{feff}{fits}\n{fits}");
    std::fs::write(folder.path().join("a.jsonl"), text).expect("written");
    let (out, _) = read(folder.path(), "a.jsonl");
    let sizes: Vec<_> = out.payloads(0).iter().map(String::len).collect();
    assert_eq!(sizes, [MAX; 5]);
    let left_out = |offset| out.left_out.get(&(0, offset)).copied();
    assert_eq!(
        [0, 1, 2, 3, 4].map(left_out),
        [None, Some(1), Some(3 * READ_BYTES as u64 + 1 - 16), Some(3), None]
    );
}

#[test]
fn a_large_file_is_read_in_pieces() {
    let folder = tempfile::tempdir().expect("a folder");
    let text: String = (0..50_000).map(|n| format!("{n}\n")).collect();
    std::fs::write(folder.path().join("a.jsonl"), &text).expect("written");
    std::fs::write(folder.path().join("b.jsonl.gz"), gzip(&text)).expect("written");
    let (out, _) = read(folder.path(), "*");
    assert_eq!(out.counts(), [50_000, 50_000]);
    assert_eq!(out.records[0], out.records[1]);
    assert_eq!(out.payloads(1)[49_999], "49999");
}

#[test]
fn a_cut_gzip_file_gives_what_is_readable_and_then_an_error() {
    let folder = tempfile::tempdir().expect("a folder");
    let text: String = (0..50_000).map(|n| format!("{}\n", n * 7919 % 10_007)).collect();
    let bytes = [gzip("first\n"), gzip(&text)].concat();
    std::fs::write(folder.path().join("a.json.gz"), &bytes[..bytes.len() / 2]).expect("written");
    let (out, result) = read(folder.path(), "a.json.gz");
    let error = result.expect_err("cut");
    assert!(out.counts()[0] > 1_000, "{:?}", out.counts());
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("'a.json.gz'") && error.to_string().contains("cut off"), "{error}");
}

#[test]
fn a_path_is_a_file_a_folder_or_a_glob() {
    let folder = tempfile::tempdir().expect("a folder");
    let input = folder.path().join("input [1]");
    std::fs::create_dir_all(input.join("sub.jsonl")).expect("created");
    for name in ["b.jsonl.gz", "a.ndjson", "c.json", "notes.txt", "10.jsonl", "9.jsonl"] {
        std::fs::write(input.join(name), "").expect("written");
    }
    let all = ["10.jsonl", "9.jsonl", "a.ndjson", "b.jsonl.gz", "c.json"];
    assert_eq!(names(folder.path(), "input [1]/"), all.map(|name| format!("input [1]/{name}")));
    assert_eq!(names(&input, "*.jsonl"), ["10.jsonl", "9.jsonl"]);
    assert_eq!(names(&input, "notes.txt"), ["notes.txt"]);
    assert_eq!(names(folder.path(), "in*/[ab].*").len(), 2);
    for nothing in ["gone.jsonl", "*.csv", "a[", "input [1]/sub.jsonl"] {
        let error = connector(folder.path(), nothing).find(None).expect_err(nothing);
        assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    }
}

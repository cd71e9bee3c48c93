//! Files and folders as they are found and read.

use std::io::Write;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::frames::SHOWN_BYTES;
use super::records::READ_BYTES;
use super::*;
use crate::csv::Dialect;
use crate::error::ErrorKind;
use crate::ingest::collect::Collected;

const MAX: usize = 16;

fn connector(directory: &Path, path: &str) -> FileConnector {
    FileConnector::new(
        directory,
        &FileSource { path: path.into(), monitor: None, replay_milli: None },
        &Format::Json,
        MAX,
    )
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
fn of_a_long_line_only_what_a_dead_letter_shows() {
    let folder = tempfile::tempdir().expect("a folder");
    let (fits, long) = ("f".repeat(MAX), " ".repeat(3 * READ_BYTES));
    let text = format!("{fits}\r\n{fits}+\r\n{long}x\n\u{feff}{fits}\n{fits}");
    std::fs::write(folder.path().join("a.jsonl"), text).expect("written");
    let (out, _) = read(folder.path(), "a.jsonl");
    let sizes: Vec<_> = out.payloads(0).iter().map(String::len).collect();
    assert_eq!(sizes, [MAX, MAX + 1, SHOWN_BYTES, MAX + 3, MAX]);
    let left_out = |offset| out.left_out.get(&(0, offset)).copied();
    assert_eq!(
        [0, 1, 2, 3, 4].map(left_out),
        [None, None, Some((3 * READ_BYTES + 1 - SHOWN_BYTES) as u64), None, None]
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
    std::fs::write(input.join("d.jsonl.zst"), "").expect("written");
    for path in ["input [1]", "input*/*"] {
        let error = connector(folder.path(), path).find(None).expect_err("another way to compress");
        assert!(error.to_string().starts_with("'d.jsonl.zst' in 'input"), "{error}");
    }
    for nothing in ["gone.jsonl", "*.csv", "a[", "input [1]/sub.jsonl"] {
        let error = connector(folder.path(), nothing).find(None).expect_err(nothing);
        assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    }
}

/// A reader that looks again each time it is asked.
struct Growing {
    connector: FileConnector,
    reader: Box<dyn Reader>,
    known: Vec<Partition>,
    out: Collected,
}

impl Growing {
    fn new(directory: &Path, path: &str, format: Format) -> Growing {
        let source =
            FileSource { path: path.into(), monitor: Some(Duration::from_nanos(1)), replay_milli: None };
        let connector = FileConnector::new(directory, &source, &format, MAX);
        let reader = connector.reader();
        Growing { connector, reader, known: Vec::new(), out: Collected::new(0) }
    }

    /// Looks for files, then reads until nothing more comes; gives the payloads of all files.
    fn look(&mut self) -> Result<Vec<Vec<String>>> {
        let found = self.connector.find((!self.known.is_empty()).then_some(&self.known))?;
        self.known.extend(found.iter().map(|found| found.partition.clone()));
        self.reader.add(&found)?;
        self.out.grow(found.len());
        for _ in 0..4 {
            self.reader.read(&vec![true; self.known.len()], Duration::ZERO, &mut self.out)?;
        }
        assert!(!self.out.ended.contains(&true), "it may always go on");
        Ok((0..self.known.len()).map(|index| self.out.payloads(index)).collect())
    }
}

fn append(path: &Path, bytes: impl AsRef<[u8]>) {
    let mut file = std::fs::OpenOptions::new().create(true).append(true).open(path).expect("opened");
    file.write_all(bytes.as_ref()).expect("written");
}

#[test]
fn a_folder_is_read_on_while_it_grows() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    let mut growing = Growing::new(folder.path(), ".", Format::Json);
    assert_eq!(growing.look().expect("nothing yet"), Vec::<Vec<String>>::new());
    append(&path("b.jsonl"), "1\n2\n3");
    append(&path(".hidden.jsonl"), "x\n");
    assert_eq!(growing.look().expect("read"), [["1", "2"]]);
    assert_eq!(growing.out.caught_up, [Some(2)]);
    append(&path("b.jsonl"), "3\r\n4\n5");
    append(&path("c.jsonl"), "");
    append(&path("a.jsonl"), "9\n");
    // A gzip file is read when it is whole, however it arrives.
    let bytes = [gzip("7\n"), gzip("8")].concat();
    append(&path("d.jsonl.gz"), &bytes[..bytes.len() - 9]);
    assert_eq!(growing.look().expect("read"), [&["1", "2", "33", "4"] as &[&str], &["9"], &[], &[]]);
    let names: Vec<_> = growing.known.iter().map(|partition| (partition.id, &*partition.name)).collect();
    assert_eq!(names, [(0, "./b.jsonl"), (1, "./a.jsonl"), (2, "./c.jsonl"), (3, "./d.jsonl.gz")]);
    append(&path("d.jsonl.gz"), &bytes[bytes.len() - 9..]);
    append(&path("c.jsonl"), "c");
    assert_eq!(growing.look().expect("read")[3], ["7", "8"]);
    // Nothing follows what is gone: a line without an end is one.
    std::fs::remove_file(path("c.jsonl")).expect("removed");
    std::fs::remove_file(path("a.jsonl")).expect("removed");
    assert_eq!(growing.look().expect("read")[1..3], [["9"], ["c"]]);
}

#[test]
fn what_has_become_shorter_or_another_file_is_told_and_not_read() {
    for replaced in [false, true] {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.jsonl");
        append(&path, "1\n2\n");
        let mut growing = Growing::new(folder.path(), "a.jsonl", Format::Json);
        assert_eq!(growing.look().expect("read"), [["1", "2"]]);
        if replaced {
            append(&path, "3\n");
            std::fs::rename(&path, folder.path().join("a.old")).expect("renamed");
            append(&path, "4\n5\n6\n");
        } else {
            std::fs::write(&path, "3\n").expect("written");
        }
        let error = growing.look().expect_err("not the same any more");
        let expected = match replaced {
            true => "'a.jsonl' was replaced by another one, behind record 3",
            false => "'a.jsonl' was cut to 2 bytes, of which 4 had been read, behind record 2",
        };
        assert!(error.to_string().starts_with(expected) && error.kind() == ErrorKind::Config, "{error}");
        let all: &[&str] = if replaced { &["1", "2", "3"] } else { &["1", "2"] };
        assert_eq!(growing.out.payloads(0), all);
    }
}

#[test]
fn a_record_of_csv_waits_for_its_closing_quote() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a.csv");
    append(&path, "\u{feff}a,b\n1,\"x\n");
    let mut growing = Growing::new(folder.path(), "*.csv", Format::Csv(Dialect::default()));
    assert_eq!(growing.look().expect("read"), [[""; 0]]);
    append(&path, "y\"\n2,");
    assert_eq!(growing.look().expect("read"), [["1,\"x\ny\""]]);
    append(&path, "z\r\n");
    assert_eq!(growing.look().expect("read"), [["1,\"x\ny\"", "2,z"]]);
    assert_eq!(growing.out.headers[0].as_deref(), Some(&b"a,b"[..]));
}

#[test]
fn a_quote_begins_a_field_behind_the_delimiter_of_its_file() {
    let folder = tempfile::tempdir().expect("a folder");
    append(&folder.path().join("a.csv"), "a,b\n1,\"x\ny\"\n");
    append(&folder.path().join("b.tsv"), "a\tb\n1\t\"x\ny\"\n");
    let mut growing = Growing::new(folder.path(), ".", Format::Csv(Dialect::default()));
    assert_eq!(growing.look().expect("read"), [["1,\"x\ny\""], ["1\t\"x\ny\""]]);
}

#[test]
fn a_file_that_is_gone_before_it_is_opened_is_an_error_of_what_is_read_once() {
    let folder = tempfile::tempdir().expect("a folder");
    append(&folder.path().join("a.jsonl"), "1\n");
    let connector = connector(folder.path(), ".");
    let found = connector.find(None).expect("found");
    std::fs::remove_file(folder.path().join("a.jsonl")).expect("removed");
    let error = connector.open(&found).map(drop).expect_err("gone");
    assert!(
        error.kind() == ErrorKind::Config && error.to_string().starts_with("cannot open './a.jsonl'"),
        "{error}"
    );
    // Of a folder that is watched, files may go.
    let mut growing = Growing::new(folder.path(), ".", Format::Json);
    append(&folder.path().join("b.jsonl"), "2\n");
    let found = growing.connector.find(None).expect("found");
    std::fs::remove_file(folder.path().join("b.jsonl")).expect("removed");
    growing.known.extend(found.iter().map(|found| found.partition.clone()));
    growing.out.grow(1);
    growing.reader.add(&found).expect("a file less");
    assert_eq!(growing.look().expect("read"), [[""; 0]]);
}

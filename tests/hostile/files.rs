//! Files and folders that are not what one expects.

use std::fs;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::process::{Cluster, check_ledger, tidemill, until};
use super::{Dataflow, Ended};

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text.as_bytes()).expect("compressed");
    encoder.finish().expect("compressed")
}

#[track_caller]
fn fails(ended: &Ended, what: &str) {
    assert_eq!(ended.code, Some(1), "{}", ended.log);
    assert!(ended.log.contains(what), "{}", ended.log);
    assert!(ended.rows.is_empty(), "a whole file or none");
}

#[test]
fn gzip_of_several_members_is_one_file() {
    let dataflow = Dataflow::new("a BIGINT", "");
    let members = [gzip("{\"a\":1}\n{\"a\""), gzip(""), gzip(":2}\r\n"), gzip("{\"a\":3}")].concat();
    dataflow.file("a.jsonl.gz", members).run().gives(&["{\"a\":1}", "{\"a\":2}", "{\"a\":3}"], &[]);
}

#[test]
fn a_gzip_file_that_is_cut_off_or_damaged_ends_the_run_with_its_name() {
    let text: String = (0..20_000).map(|n| format!("{{\"a\":{}}}\n", n * 7919 % 10_007)).collect();
    let whole = gzip(&text);
    let dataflow = Dataflow::new("a BIGINT", "");
    fails(
        &dataflow.file("a.jsonl.gz", &whole[..whole.len() / 2]).run(),
        "the gzip file is cut off: copy it again",
    );
    let mut damaged = whole.clone();
    damaged[whole.len() / 2] ^= 0xff;
    fails(&dataflow.file("a.jsonl.gz", damaged).run(), "'in/a.jsonl.gz'");
    fails(&dataflow.file("a.jsonl.gz", "plain text").run(), "the gzip file is damaged");
    // What stands behind the last member is no gzip.
    fails(
        &dataflow
            .file(
                "a.jsonl.gz",
                [&gzip("{\"a\":1}\n"), &b"rubbish, and so much of it that it is no header"[..]].concat(),
            )
            .run(),
        "damaged",
    );
}

#[test]
fn what_is_no_file_or_hidden_is_left_alone() {
    let dataflow = Dataflow::new("a BIGINT, f TEXT METADATA FROM 'topic'", "");
    let folder = dataflow.path().join("in");
    for name in [
        ".hidden.jsonl",
        "#auto.jsonl",
        "~$lock.jsonl",
        "a.jsonl~",
        "b.jsonl.tmp",
        "c.jsonl.part",
        "notes.txt",
    ] {
        dataflow.file(name, "{\"a\":0}\n");
    }
    fs::create_dir(folder.join("folder.jsonl")).expect("a folder");
    let _socket = UnixListener::bind(folder.join("socket.jsonl")).expect("a socket");
    dataflow.file("empty.jsonl", "").file("blank.jsonl", "\u{feff}\r\n \n").file("z.jsonl", "{\"a\":1}");
    symlink(folder.join("z.jsonl"), folder.join("link.jsonl")).expect("a link");
    dataflow.run().gives(&["{\"a\":1,\"f\":\"in/link.jsonl\"}", "{\"a\":1,\"f\":\"in/z.jsonl\"}"], &[]);
}

#[test]
fn what_cannot_be_read_ends_the_run_with_its_name() {
    let dataflow = Dataflow::new("a BIGINT", "");
    fails(&dataflow.run(), "no input file in 'in'");
    dataflow.file("a.jsonl", "{\"a\":1}\n");
    let link = dataflow.path().join("in/broken.jsonl");
    symlink("nowhere", &link).expect("a link");
    fails(&dataflow.run(), "cannot find 'in/broken.jsonl'");
    fs::remove_file(&link).expect("removed");
    // A file that opens and then fails, also for a user who may read everything.
    symlink("/proc/self/mem", &link).expect("a link");
    fails(&dataflow.run(), "cannot read 'in/broken.jsonl' at record 1");
    fs::remove_file(&link).expect("removed");
    let name = std::ffi::OsStr::from_bytes(b"in/\xff.jsonl");
    fs::write(dataflow.path().join(name), "").expect("a file");
    fails(&dataflow.run(), "is not UTF-8");
}

/// A run that goes on until it is stopped.
struct Live<'d> {
    dataflow: &'d Dataflow,
    cluster: Cluster,
}

impl<'d> Live<'d> {
    fn start(dataflow: &'d Dataflow, processes: usize) -> Live<'d> {
        let cluster = Cluster::spawn(processes, |_| {
            let mut command = tidemill(&["run", "--no-http", "--workers", "2"]);
            command.arg(dataflow.path()).env("TIDEMILL_STATE_DIR", dataflow.path().join("state"));
            command
        });
        Live { dataflow, cluster }
    }

    /// Waits until the file of the sink has these lines.
    #[track_caller]
    fn writes(&self, lines: &[&str]) {
        let path = self.dataflow.path().join("rows.jsonl");
        let text = || fs::read_to_string(&path).unwrap_or_default();
        let wanted: String = lines.iter().map(|line| format!("{line}\n")).collect();
        until(&wanted, || text() + &self.cluster.log(), || text() == wanted);
    }

    fn stop(mut self) {
        for process in &self.cluster.processes {
            let id = process.child.id().to_string();
            assert!(Command::new("kill").args(["-TERM", &id]).status().expect("kill").success());
        }
        let codes = self.cluster.wait();
        assert!(codes.iter().all(|code| *code == Some(0)), "{codes:?} {}", self.cluster.log());
        check_ledger(&self.cluster.ledger());
    }
}

fn append(folder: &Path, name: &str, content: impl AsRef<[u8]>) {
    let mut file = fs::OpenOptions::new().create(true).append(true).open(folder.join(name)).expect("opened");
    file.write_all(content.as_ref()).expect("written");
}

#[test]
fn a_folder_that_grows_is_read_on_and_on() {
    grows(1);
}

#[test]
fn a_folder_that_grows_is_read_by_two_processes() {
    grows(2);
}

fn grows(processes: usize) {
    let dataflow =
        Dataflow::new("a BIGINT, f TEXT METADATA FROM 'topic'", "source.monitor-interval = '20ms'");
    let folder = dataflow.path().join("in");
    let live = Live::start(&dataflow, processes);
    append(&folder, "b.jsonl", "{\"a\":1}\n{\"a\":");
    let mut rows = vec!["{\"a\":1,\"f\":\"in/b.jsonl\"}"];
    live.writes(&rows);
    append(&folder, "b.jsonl", "2}\n");
    rows.push("{\"a\":2,\"f\":\"in/b.jsonl\"}");
    live.writes(&rows);
    append(&folder, ".a.jsonl", "{\"a\":0}\n");
    append(&folder, "a.jsonl", "{\"a\":3}\n");
    rows.push("{\"a\":3,\"f\":\"in/a.jsonl\"}");
    live.writes(&rows);
    // Written slowly, read when it is whole.
    let bytes = gzip("{\"a\":4}\n{\"a\":5}");
    append(&folder, "c.jsonl.gz", &bytes[..bytes.len() - 5]);
    append(&folder, "d.jsonl", "{\"a\":6}\n");
    rows.push("{\"a\":6,\"f\":\"in/d.jsonl\"}");
    live.writes(&rows);
    append(&folder, "c.jsonl.gz", &bytes[bytes.len() - 5..]);
    rows.extend(["{\"a\":4,\"f\":\"in/c.jsonl.gz\"}", "{\"a\":5,\"f\":\"in/c.jsonl.gz\"}"]);
    live.writes(&rows);
    fs::remove_file(folder.join("d.jsonl")).expect("removed");
    append(&folder, "a.jsonl", "{\"a\":7}\n");
    rows.push("{\"a\":7,\"f\":\"in/a.jsonl\"}");
    live.writes(&rows);
    live.stop();
}

#[test]
fn a_file_that_is_cut_while_it_is_read_ends_the_process_with_its_name() {
    let dataflow = Dataflow::new("a BIGINT", "source.monitor-interval = '20ms'");
    let folder = dataflow.path().join("in");
    append(&folder, "a.jsonl", "{\"a\":1}\n{\"a\":2}\n");
    let mut live = Live::start(&dataflow, 1);
    live.writes(&["{\"a\":1}", "{\"a\":2}"]);
    // In one step: whoever looks sees the file as it was, or as it is.
    let file = fs::OpenOptions::new().write(true).open(folder.join("a.jsonl")).expect("opened");
    file.set_len(8).expect("cut");
    assert_eq!(live.cluster.wait(), [Some(1)], "{}", live.cluster.log());
    let log = live.cluster.log();
    assert!(log.contains("'in/a.jsonl' was cut to 8 bytes, of which 16 had been read"), "{log}");
    let rows = fs::read_to_string(dataflow.path().join("rows.jsonl")).expect("the file");
    assert_eq!(rows, "{\"a\":1}\n{\"a\":2}\n");
}

#[test]
fn without_an_interval_a_run_over_a_folder_ends_with_it() {
    let dataflow = Dataflow::new("a BIGINT", "");
    dataflow.file("a.jsonl", "{\"a\":1}\n");
    let mut live = Live::start(&dataflow, 1);
    assert_eq!(live.cluster.wait(), [Some(0)], "{}", live.cluster.log());
    live.writes(&["{\"a\":1}"]);
}

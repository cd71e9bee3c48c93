//! Processes of the binary under test. Their output is kept, to be shown when something goes wrong, and none
//! of them survives its test.

use std::env;
use std::fs::{self, File};
use std::hash::{BuildHasher, RandomState};
use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, LazyLock, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// Minutes that a test may wait in all, by a part of its name, the first that fits: one less than the test runner gives
/// it in `.config/nextest.toml`, so that it is this that fails, and says what it has waited for.
pub const LIMITS: [(&str, u64); 3] = [("real_million_", 29), ("real_", 9), ("", 4)];
/// How long the output of a process that has ended may go on.
const OUTPUT_TIMEOUT: Duration = Duration::from_secs(60);
/// How often something outside of this process is looked at.
const POLL: Duration = Duration::from_millis(20);

/// A running `tidemill`.
pub struct Process {
    pub child: Child,
    /// How long its output may go on when it has ended.
    pub output_timeout: Duration,
    output: Arc<Mutex<Output>>,
    readers: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Output {
    stdout: Vec<String>,
    /// Both streams, each line as it came.
    all: String,
}

/// The binary with these arguments, and no settings but the test's. `MEASURED_BINARY` names another than the one built
/// with the tests.
pub fn tidemill(arguments: &[&str]) -> Command {
    let binary = env::var_os("MEASURED_BINARY").unwrap_or_else(|| env!("CARGO_BIN_EXE_tidemill").into());
    let mut command = Command::new(binary);
    command.args(arguments).stdin(Stdio::null());
    let names = env::vars_os().map(|(name, _)| name);
    names.filter(|name| name.to_string_lossy().starts_with("TIDEMILL_")).for_each(|name| {
        command.env_remove(name);
    });
    command
}

impl Process {
    /// Starts a process and begins to collect its output.
    pub fn spawn(command: &mut Command) -> Process {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary");
        let output = Arc::new(Mutex::new(Output::default()));
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let readers = vec![
            collect(stdout.expect("a pipe"), output.clone(), true),
            collect(stderr.expect("a pipe"), output.clone(), false),
        ];
        // The time of the test runs from here at the latest.
        time_left();
        Process { child, output_timeout: OUTPUT_TIMEOUT, output, readers }
    }

    /// Waits for the end. Fails, with all output, if there is none in time.
    pub fn wait(&mut self) -> ExitStatus {
        let Process { child, output_timeout, output, readers } = self;
        let log = || output.lock().expect("no panic under this lock").all.clone();
        let mut status = None;
        until("the process has ended", log, || {
            status = child.try_wait().expect("a status");
            status.is_some()
        });
        // Only with its end the output is complete. Who else has inherited the pipe does not hold up the test.
        until_within(*output_timeout, "its output has ended with it", log, || {
            readers.iter().all(JoinHandle::is_finished)
        });
        readers.drain(..).for_each(|reader| reader.join().expect("a reader"));
        status.expect("it has ended")
    }

    /// Everything that was printed so far.
    pub fn log(&self) -> String {
        self.output.lock().expect("no panic under this lock").all.clone()
    }

    /// The last line on standard output.
    pub fn last_line(&self) -> String {
        let output = self.output.lock().expect("no panic under this lock");
        output.stdout.last().cloned().unwrap_or_default()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // An error means that it is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn collect(stream: impl Read + Send + 'static, output: Arc<Mutex<Output>>, stdout: bool) -> JoinHandle<()> {
    thread::spawn(move || {
        for line in BufReader::new(stream).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line).into_owned();
            let mut output = output.lock().expect("no panic under this lock");
            output.all += &line;
            output.all.push('\n');
            if stdout {
                output.stdout.push(line);
            }
        }
    })
}

/// What is left of the time of this test.
fn time_left() -> Duration {
    static BEGAN: LazyLock<Instant> = LazyLock::new(Instant::now);
    // The runner has a process for each test; without it the tests of a file share one.
    let name = env::var("NEXTEST_TEST_NAME").ok();
    let fits = |(part, _): &&(&str, u64)| name.as_deref().unwrap_or_default().contains(part);
    let (_, minutes) = LIMITS.iter().find(fits).expect("the last one fits all");
    let gone = if name.is_some() { BEGAN.elapsed() } else { Duration::ZERO };
    Duration::from_secs(60 * minutes).saturating_sub(gone)
}

/// Waits for something outside of this process; fails with what `log` says when the time of the test is over.
pub fn until(what: &str, log: impl Fn() -> String, is_so: impl FnMut() -> bool) {
    until_within(time_left(), what, log, is_so);
}

fn until_within(timeout: Duration, what: &str, log: impl Fn() -> String, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + timeout;
    while !is_so() {
        assert!(Instant::now() < deadline, "not so after {timeout:?}: {what}\n{}", log());
        thread::park_timeout(POLL);
    }
}

/// Processes that form one cluster, in their order.
pub struct Cluster {
    pub processes: Vec<Process>,
    _files: TempDir,
    _ports: Vec<File>,
}

impl Cluster {
    /// Starts `count` processes of what `command` gives for each.
    pub fn spawn(count: usize, mut command: impl FnMut(usize) -> Command) -> Cluster {
        let files = tempfile::tempdir().expect("a folder");
        let (ports, locks): (Vec<_>, Vec<_>) = (0..count).map(|_| free_port()).unzip();
        let hosts = files.path().join("hosts");
        let lines: String = ports.iter().map(|port| format!("127.0.0.1:{port}\n")).collect();
        fs::write(&hosts, lines).expect("a file of hosts");
        let processes = (0..count).map(|process| {
            let mut command = command(process);
            if count > 1 {
                command.args(["-n", &count.to_string(), "-p", &process.to_string()]);
                command.arg("--hosts").arg(&hosts);
            }
            Process::spawn(&mut command)
        });
        Cluster { processes: processes.collect(), _files: files, _ports: locks }
    }

    /// Waits until all have ended; gives their codes (none: ended by a signal).
    pub fn wait(&mut self) -> Vec<Option<i32>> {
        self.processes.iter_mut().map(|process| process.wait().code()).collect()
    }

    /// What all processes have printed.
    pub fn log(&self) -> String {
        let logs = self.processes.iter().enumerate();
        logs.map(|(index, process)| format!("-- process {index} --\n{}", process.log())).collect()
    }

    /// The ledger, which is the last line of the first process.
    pub fn ledger(&self) -> serde_json::Value {
        let line = self.processes[0].last_line();
        let json = line.strip_prefix("ledger ").and_then(|json| serde_json::from_str(json).ok());
        json.unwrap_or_else(|| panic!("the last line is no ledger: {line:?}\n{}", self.log()))
    }
}

/// A port that nobody uses, and the lock by which other tests know that it is taken. Below the ephemeral
/// ports, from which the system could give it to somebody's outgoing connection, and below those of `services.py`, whose
/// servers come back to theirs when a test has stopped them.
pub fn free_port() -> (u16, File) {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("ports");
    fs::create_dir_all(&folder).expect("a folder");
    let random = RandomState::new();
    for attempt in 0.. {
        let port = 20_000 + (random.hash_one(attempt) % 6_000) as u16;
        let lock = File::create(folder.join(port.to_string())).expect("a file");
        if lock.try_lock().is_ok() && TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return (port, lock);
        }
    }
    unreachable!("some port is free")
}

/// Every row that was read has exactly one fate on each leg, and none is unaccounted for.
pub fn check_ledger(ledger: &serde_json::Value) {
    assert_eq!(ledger["unaccounted"], 0, "{ledger:#}");
    for leg in ledger["legs"].as_array().expect("legs") {
        let count = |name: &str| leg[name].as_i64().unwrap_or_else(|| panic!("no {name} in {leg}"));
        let fates = ["filtered", "deduplicated", "late", "dead", "in_state", "emitted"];
        assert_eq!(count("in"), fates.into_iter().map(count).sum::<i64>(), "{leg}");
    }
}

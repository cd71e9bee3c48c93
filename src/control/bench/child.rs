//! Runs this binary as processes of its own and takes their measure: so memory and processor time are those of
//! the run alone.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use crate::error::{Error, Result};

/// How often threads and memory are looked at. What a thread does after the last look is not seen.
const LOOK: Duration = Duration::from_millis(20);
/// Ticks per second of processor times in `/proc`: `USER_HZ`, which is 100 wherever Linux runs.
const TICKS_PER_SECOND: f64 = 100.0;

/// What a process has taken.
#[derive(Clone, Debug, Default)]
pub struct Measured {
    /// What it has printed.
    pub output: String,
    pub cpu_s: f64,
    pub peak_rss_mib: f64,
    /// Processor seconds by name of the thread.
    pub threads: BTreeMap<String, f64>,
}

/// This binary, with its log cut down to warnings; pinned where `cores` says so.
pub fn command(cores: Option<&str>) -> Result<Command> {
    let binary = std::env::current_exe()
        .map_err(|error| Error::internal("cannot find the running binary").caused_by(error))?;
    let mut command = match cores {
        Some(cores) => {
            let mut taskset = Command::new("taskset");
            taskset.args(["--cpu-list", cores]).arg(binary);
            taskset
        }
        None => Command::new(binary),
    };
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    if std::env::var_os("TIDEMILL_LOG").is_none() {
        command.env("TIDEMILL_LOG", "warn");
    }
    Ok(command)
}

/// How many cores a list for `taskset` names, `0,2-3`; without one all that this process may use.
pub fn cores(list: Option<&str>) -> usize {
    let range = |range: &str| match range.split_once('-') {
        Some((first, last)) => Some(last.parse::<usize>().ok()?.checked_sub(first.parse().ok()?)? + 1),
        None => Some(1),
    };
    let named = list.and_then(|list| list.split(',').map(range).sum::<Option<usize>>());
    named.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, std::num::NonZero::get))
}

/// A process that runs until it is stopped; dropped, it is killed.
pub struct Running {
    child: Child,
    output: Option<std::process::ChildStdout>,
}

impl Running {
    /// Starts a process.
    pub fn start(command: &mut Command) -> Result<Self> {
        let mut child = command.spawn().map_err(|error| cannot_start(command, error))?;
        Ok(Running { output: child.stdout.take(), child })
    }

    /// Whether it has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// Asks for a stop that finishes what was read, waits for the end, and gives what was printed.
    pub fn stop(mut self) -> Result<String> {
        let asked = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status();
        asked.map_err(|error| Error::config("cannot send a signal by `kill`").caused_by(error))?;
        let mut text = String::new();
        if let Some(mut output) = self.output.take() {
            let read = output.read_to_string(&mut text);
            read.map_err(|error| Error::internal("cannot read what a child has printed").caused_by(error))?;
        }
        let status = self.child.wait().map_err(|error| Error::internal("lost a child").caused_by(error))?;
        if status.success() { Ok(text) } else { Err(failed(status)) }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself, or have been stopped.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn cannot_start(command: &Command, error: std::io::Error) -> Error {
    Error::config(format!("cannot start {}", command.get_program().to_string_lossy())).caused_by(error)
}

fn failed(status: std::process::ExitStatus) -> Error {
    Error::config(format!("the measured process ended with {status}")).hint("its message stands above")
}

/// Runs the commands side by side until all have ended; fails if one of them does.
pub fn measure(commands: Vec<Command>) -> Result<Vec<Measured>> {
    let mut children: Vec<Watched> = Vec::new();
    for mut command in commands {
        match command.spawn() {
            Ok(child) => children.push(Watched::new(child)),
            Err(error) => {
                children.iter_mut().for_each(Watched::kill);
                return Err(cannot_start(&command, error));
            }
        }
    }
    while children.iter().any(|child| !child.ended) {
        for child in children.iter_mut().filter(|child| !child.ended) {
            child.look();
        }
    }
    children.into_iter().map(Watched::finish).collect()
}

/// A child that is looked at until it closes its output.
struct Watched {
    child: Child,
    output: mpsc::Receiver<String>,
    measured: Measured,
    /// Thread id to name and nanoseconds.
    threads: BTreeMap<String, (String, u64)>,
    ended: bool,
}

impl Watched {
    fn new(mut child: Child) -> Self {
        let (sender, output) = mpsc::channel();
        let mut stdout = child.stdout.take();
        std::thread::spawn(move || {
            let mut text = String::new();
            if let Some(stdout) = &mut stdout {
                // What cannot be read is missing, and that is noticed by whoever reads the result.
                let _ = stdout.read_to_string(&mut text);
            }
            // Nobody waits any more when another child could not be started.
            let _ = sender.send(text);
        });
        Watched { child, output, measured: Measured::default(), threads: BTreeMap::new(), ended: false }
    }

    fn look(&mut self) {
        let process = format!("/proc/{}", self.child.id());
        for task in fs::read_dir(format!("{process}/task")).into_iter().flatten().flatten() {
            let id = task.file_name().to_string_lossy().into_owned();
            if let Some((name, nanoseconds)) = thread(&task.path()) {
                self.threads.insert(id, (name, nanoseconds));
            }
        }
        if let Some(kib) = peak_kib(&process) {
            self.measured.peak_rss_mib = kib / 1_024.0;
        }
        match self.output.recv_timeout(LOOK) {
            Ok(text) => {
                self.measured.output = text;
                self.ended = true;
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => self.ended = true,
        }
    }

    fn finish(mut self) -> Result<Measured> {
        // The times of a process that has ended can be read until it is waited for.
        let stat = format!("/proc/{}/stat", self.child.id());
        while let Some((state, seconds)) = fs::read_to_string(&stat).ok().as_deref().and_then(process_times) {
            self.measured.cpu_s = seconds;
            if state == "Z" {
                break;
            }
            std::thread::park_timeout(Duration::from_millis(1));
        }
        let status = self.child.wait().map_err(|error| Error::internal("lost a child").caused_by(error))?;
        if !status.success() {
            return Err(failed(status));
        }
        for (name, nanoseconds) in self.threads.into_values() {
            *self.measured.threads.entry(name).or_default() += nanoseconds as f64 / 1e9;
        }
        Ok(self.measured)
    }

    fn kill(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Name and processor time of a thread.
fn thread(task: &Path) -> Option<(String, u64)> {
    let name = fs::read_to_string(task.join("comm")).ok()?.trim().to_owned();
    let times = fs::read_to_string(task.join("schedstat")).ok()?;
    Some((name, times.split_whitespace().next()?.parse().ok()?))
}

fn peak_kib(process: &str) -> Option<f64> {
    let status = fs::read_to_string(format!("{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// State and processor seconds in `/proc/<id>/stat`; the name in brackets may hold anything.
fn process_times(stat: &str) -> Option<(&str, f64)> {
    let (_, rest) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let ticks = |index: usize| fields.get(index)?.parse::<f64>().ok();
    Some((fields.first()?, (ticks(11)? + ticks(12)?) / TICKS_PER_SECOND))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_found_behind_any_name() {
        let stat = "12 (a) b (c)) S 1 2 3 4 5 6 7 8 9 10 250 50 0 0 20 0 1 0 1 1 1";
        assert_eq!(process_times(stat), Some(("S", 3.0)));
        assert_eq!(process_times("12 (a"), None);
    }

    #[test]
    fn cores_are_counted() {
        assert_eq!((cores(Some("0")), cores(Some("0,2-4")), cores(Some("1,2"))), (1, 4, 2));
        assert!(cores(None) >= 1);
    }

    #[test]
    fn a_child_is_measured_and_its_failure_is_ours() {
        let shell = |script: &str| {
            let mut command = Command::new("sh");
            command.args(["-c", script]).stdout(Stdio::piped());
            command
        };
        let busy = "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; echo done";
        let measured = measure(vec![shell(busy), shell("echo two")]).expect("both end well");
        assert_eq!((measured[0].output.as_str(), measured[1].output.as_str()), ("done\n", "two\n"));
        // More than a tick of the clock anywhere.
        assert!(measured[0].cpu_s > 0.0 && measured[0].cpu_s < 100.0, "{}", measured[0].cpu_s);
        let error = measure(vec![shell("exit 3")]).expect_err("a failure");
        assert!(error.to_string().contains("exit status: 3"), "{error}");
        assert!(measure(vec![Command::new("/no/such/program")]).is_err());
    }
}

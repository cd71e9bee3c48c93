//! What every benchmark begins with: a dataflow, a folder, names of its own, and commands that run it.

use std::hash::{BuildHasher, RandomState};
use std::net::TcpListener;
use std::ops::Range;
use std::path::PathBuf;
use std::process::Command;

use super::child;
use super::scratch::Scratch;
use crate::control::cli::SettingArgs;
use crate::control::dataflow_path::DataflowPath;
use crate::error::{Error, Result};
use crate::plan::{Plan, Source, Upstream};
use crate::process;
use crate::settings::Settings;

/// Where ports are looked for, and how often.
const PORTS: Range<u16> = 10_000..20_000;
const PORTS_LEN: u64 = (PORTS.end - PORTS.start) as u64;
const PORT_TRIES: u32 = 10_000;

/// One benchmark of one dataflow.
pub struct Setup {
    pub dataflow: DataflowPath,
    pub plan: Plan,
    /// Its state directory is below `scratch`.
    pub settings: Settings,
    pub scratch: Scratch,
    arguments: SettingArgs,
}

impl Setup {
    /// Compiles the dataflow and creates the folder.
    pub fn new(dataflow: &std::path::Path, arguments: &SettingArgs, mut settings: Settings) -> Result<Self> {
        let dataflow = DataflowPath::find(dataflow)?;
        let plan = process::load(&dataflow, &settings)?;
        let scratch = Scratch::create()?;
        settings.state_dir = scratch.path("state");
        Ok(Setup { dataflow, plan, settings, scratch, arguments: arguments.clone() })
    }

    /// The sources that are read.
    pub fn sources(&self) -> impl Iterator<Item = &Source> {
        let is_read = |index| self.plan.legs.iter().any(|leg| leg.from == Upstream::Source(index));
        self.plan
            .sources
            .iter()
            .enumerate()
            .filter(move |(index, _)| is_read(*index))
            .map(|(_, source)| source)
    }

    /// What stands before the name of a source in that of its topic.
    pub fn topics(&self) -> String {
        format!("{}-", self.scratch.name)
    }

    /// What stands before the names of topics and collections that run number `run` writes.
    pub fn sinks(&self, run: u16) -> String {
        format!("{}-{run}-", self.scratch.name)
    }

    /// This binary with the settings of this benchmark, on the dataflow.
    pub fn command(&self, cores: Option<&str>, words: &[&str]) -> Result<Command> {
        let mut command = child::command(cores)?;
        command.args(words).arg(&self.dataflow.file);
        for file in &self.arguments.files {
            command.arg("--config").arg(file);
        }
        for (name, value) in &self.arguments.parameters {
            command.args(["--param", &format!("{name}={value}")]);
        }
        for (key, value) in &self.arguments.settings {
            command.args(["--set", &format!("{key}={value}")]);
        }
        command.arg("--state-dir").arg(&self.settings.state_dir);
        Ok(command)
    }

    /// A file with addresses of several processes, on ports that are free now; one process needs none.
    pub fn hosts(&self, processes: u16) -> Result<Option<PathBuf>> {
        if processes == 1 {
            return Ok(None);
        }
        let path = self.scratch.path("hosts");
        let lines: String = free_ports(processes)?.iter().map(|port| format!("127.0.0.1:{port}\n")).collect();
        std::fs::write(&path, lines)
            .map_err(|error| Error::config(format!("cannot write '{}'", path.display())).caused_by(error))?;
        Ok(Some(path))
    }
}

/// Ports of the loopback address that are free now. Below the ephemeral ports: one of those could be given to
/// somebody's outgoing connection before it is used.
pub fn free_ports(count: u16) -> Result<Vec<u16>> {
    let random = RandomState::new();
    let candidates =
        (0..PORT_TRIES).map(|attempt| PORTS.start + (random.hash_one(attempt) % PORTS_LEN) as u16);
    let bound = candidates.filter_map(|port| Some((port, TcpListener::bind(("127.0.0.1", port)).ok()?)));
    // All are held until the last one is found, so that none is given twice.
    let (ports, _listeners): (Vec<u16>, Vec<TcpListener>) = bound.take(usize::from(count)).unzip();
    if ports.len() < usize::from(count) {
        return Err(Error::config(format!("cannot find {count} free ports from {} on", PORTS.start)));
    }
    Ok(ports)
}

//! `tidemill bench soak`: a stream without end, read for long. What a dataflow holds has to stay as it is once all that
//! it remembers has come and begun to go again.
//!
//! The stream is simulated inside of the process that reads it, so that it needs no room on a disk. Event time moves
//! with the number of events, and the clock with it: nothing depends on how fast the machine is.

mod fills;
mod judge;

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use serde_json::{Value, json};

use self::judge::{Judged, Limits};
use super::args::SoakArgs;
use super::child::{self, Measured};
use super::scratch::Scratch;
use super::setup::{Setup, free_ports};
use super::throughput;
use crate::control::progress;
use crate::control::samples::Sample;
use crate::error::{Error, Result};
use crate::plan::Shape;
use crate::settings::Settings;

const DATAFLOW: &str = include_str!("dataflow.sql");
/// How many samples are taken, and how many of them are printed.
const SAMPLES: u64 = 120;
const LINES: usize = 12;
/// Event time of an epoch, where the rate is not so high that this would be more records than an epoch may have.
const EPOCH_SECONDS: u64 = 2;
const EPOCH_RECORDS_MAX: u64 = 10_000;
const PARTITIONS: u64 = 4;
/// So that a sample shows what is kept, not what waits.
const EPOCHS_IN_FLIGHT: u32 = 8;
const START: &str = "2026-01-01T00:00:00Z";
const START_MS: i64 = 1_767_225_600_000;

/// Runs the dataflow, prints what it held, and says whether that stayed as it was.
pub fn run(args: &SoakArgs, settings: Settings) -> Result<ExitCode> {
    let own = Scratch::create()?;
    let dataflow = match &args.dataflow {
        Some(dataflow) => dataflow.clone(),
        None => written(&own.path("soak.sql"))?,
    };
    let soak = Soak { args, setup: Setup::new(&dataflow, &args.settings, settings)? };
    let (samples, measured) = soak.measure()?;
    let ledger = throughput::ledger(&measured.output)?;
    let filled_ms = fills::after_ms(&soak.setup.plan, args.keys, args.rate);
    let judged =
        judge::judge(&samples, Limits { filled_ms: START_MS + filled_ms, tolerance: args.tolerance })?;
    progress::say(&soak.text(&samples, &measured, &judged));
    if args.json {
        progress::say(&format!("{}\n", soak.json(&samples, &measured, &judged, &ledger)));
    }
    Ok(if judged.is_flat() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn written(path: &Path) -> Result<PathBuf> {
    let failed = |error| Error::config(format!("cannot write '{}'", path.display())).caused_by(error);
    std::fs::write(path, DATAFLOW).map_err(failed)?;
    Ok(path.to_owned())
}

struct Soak<'a> {
    args: &'a SoakArgs,
    setup: Setup,
}

impl Soak<'_> {
    /// Records of a partition in an epoch.
    fn epoch_records(&self) -> u64 {
        (self.args.rate * EPOCH_SECONDS / PARTITIONS).clamp(1, EPOCH_RECORDS_MAX)
    }

    fn epochs(&self) -> u64 {
        self.args.events / (self.epoch_records() * PARTITIONS)
    }

    /// The epochs' clock goes as fast as event time does, so that no record is ahead of it.
    fn epoch_interval(&self) -> Duration {
        Duration::from_secs_f64((self.epoch_records() * PARTITIONS) as f64 / self.args.rate as f64)
    }

    fn command(&self, samples: &Path) -> Result<Command> {
        let args = self.args;
        let mut command = self.setup.command(None, &["run"])?;
        command.args(["--bounded", "--print-interval", "0s", "--sinks", "blackhole"]);
        // Rows of views are kept only where somebody can ask for them.
        command.args(["--set", &format!("http.listen=127.0.0.1:{}", free_ports(1)?[0])]);
        command.args(["--simulate", self.shape()?, "--clock", START]);
        let interval = humantime::format_duration(self.epoch_interval()).to_string();
        let settings = [
            ("epoch_interval", interval.replace(' ', "")),
            ("flow.max_epochs_in_flight", EPOCHS_IN_FLIGHT.to_string()),
        ];
        for (key, value) in settings {
            command.args(["--set", &format!("{key}={value}")]);
        }
        let late_by = humantime::format_duration(args.late_by).to_string();
        let options = [
            ("--rate", args.rate.to_string()),
            ("--count", args.events.to_string()),
            ("--keys", args.keys.to_string()),
            ("--seed", args.seed.to_string()),
            ("--workers", args.workers.to_string()),
            ("--disorder", args.disorder.to_string()),
            ("--late-by", late_by.replace(' ', "")),
            ("--duplicates", args.duplicates.to_string()),
            ("--epoch-records", self.epoch_records().to_string()),
            ("--sample-epochs", (self.epochs() / SAMPLES).max(1).to_string()),
        ];
        for (option, value) in options {
            command.args([option, &value]);
        }
        command.arg("--samples").arg(samples);
        Ok(command)
    }

    /// What the simulator has to send so that the dataflow reads it.
    fn shape(&self) -> Result<&'static str> {
        let source = self.setup.sources().next();
        let source = source.ok_or_else(|| Error::config("the dataflow reads no source"))?;
        Ok(match Shape::read_by(source) {
            Some(Shape::Vehicles) => "vehicles",
            Some(Shape::Sensors) => "sensors",
            Some(Shape::Metrics) => "metrics",
            Some(Shape::Logs) => "logs",
            None => {
                let message = format!("nothing simulates what source {} reads", source.name);
                let hint = "signals of vehicles, readings of sensors and metrics of databases can be read; \
                            without a dataflow one of the benchmark's own is run";
                return Err(Error::config(message).hint(hint));
            }
        })
    }

    fn measure(&self) -> Result<(Vec<Sample>, Measured)> {
        let path = self.setup.scratch.path("samples.jsonl");
        let measured = child::measure(vec![self.command(&path)?])?.swap_remove(0);
        let failed = |error| Error::internal("a run has left no samples").caused_by(error);
        let text = std::fs::read_to_string(&path).map_err(failed)?;
        let sample = |line: &str| {
            serde_json::from_str(line)
                .map_err(|error| Error::internal(format!("this is no sample: {line}")).caused_by(error))
        };
        Ok((text.lines().map(sample).collect::<Result<_>>()?, measured))
    }

    fn text(&self, samples: &[Sample], measured: &Measured, judged: &Judged) -> String {
        let mut text = format!(
            "{}: {} events of {} keys, {} a second of event time, {:.1} % late by up to {}, {:.1} % twice; {} of memory at most\n",
            self.setup.dataflow.name,
            self.args.events,
            self.args.keys,
            self.args.rate,
            self.args.disorder * 100.0,
            humantime::format_duration(self.args.late_by),
            self.args.duplicates * 100.0,
            mib((measured.peak_rss_mib * 1_048_576.0) as u64),
        );
        let names: Vec<&String> =
            samples.first().map_or_else(Vec::new, |sample| sample.states.keys().collect());
        let _ = write!(text, "{:>10} {:>11} {:>12}", "event time", "events", "resident");
        names.iter().for_each(|name| _ = write!(text, " {:>1$}", name, name.len().max(9)));
        text.push('\n');
        for sample in samples.iter().step_by(samples.len().div_ceil(LINES).max(1)) {
            let _ = write!(
                text,
                "{:>10} {:>11} {:>12}",
                moment(sample.watermark_ms.unwrap_or(START_MS) - START_MS),
                sample.read,
                mib(sample.resident)
            );
            let state = |name: &String| sample.states.get(name).copied().unwrap_or_default();
            names.iter().for_each(|name| _ = write!(text, " {:>1$}", mib(state(name)), name.len().max(9)));
            text.push('\n');
        }
        text + &judged.text(START_MS)
    }

    fn json(&self, samples: &[Sample], measured: &Measured, judged: &Judged, ledger: &Value) -> Value {
        json!({
            "events": self.args.events,
            "keys": self.args.keys,
            "samples": samples,
            "cpu_s": measured.cpu_s,
            "peak_rss_mib": measured.peak_rss_mib,
            "resident": judged.resident.json(),
            "states": judged.states.json(),
            "tolerance": self.args.tolerance,
            "flat": judged.is_flat(),
            "unaccounted": ledger["unaccounted"],
        })
    }
}

fn mib(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / 1_048_576.0)
}

/// Whole seconds of event time.
fn moment(ms: i64) -> String {
    let seconds = u64::try_from(ms / 1_000).unwrap_or_default();
    humantime::format_duration(Duration::from_secs(seconds)).to_string()
}

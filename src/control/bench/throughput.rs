//! `tidemill bench throughput`: a backlog is filled, and read as fast as possible with and without the dataflow.

use std::path::PathBuf;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::args::{Broker, Reading, ThroughputArgs};
use super::child::{self, Measured};
use super::count::{self, Rows};
use super::events::{Amount, Noise};
use super::floor::Floor;
use super::redirect::Redirect;
use super::report::{Report, Run};
use super::setup::Setup;
use super::{cleanup, fill};
use crate::control::cli::SinksArg;
use crate::control::profile::Profile;
use crate::control::{progress, publish};
use crate::error::{Error, Result};
use crate::plan::Plan;
use crate::settings::Settings;

/// Measures and prints a report.
pub fn run(args: &ThroughputArgs, settings: Settings) -> Result<()> {
    let bench = Bench::prepare(args, settings)?;
    let report = bench.measure();
    let cleaned = bench.clean();
    let report = report?;
    cleaned?;
    progress::say(&report.text());
    if args.json {
        progress::say(&format!("{}\n", report.json()));
    }
    Ok(())
}

/// How fast a backlog is read, in megabytes of values per second.
pub fn megabytes_per_second(args: &ThroughputArgs, settings: Settings) -> Result<f64> {
    let bench = Bench::prepare(args, settings)?;
    let report = bench.measure();
    bench.clean()?;
    Ok(report?.megabytes_per_second())
}

struct Bench<'a> {
    args: &'a ThroughputArgs,
    broker: Broker,
    setup: Setup,
    amount: Amount,
}

impl<'a> Bench<'a> {
    fn prepare(args: &'a ThroughputArgs, settings: Settings) -> Result<Self> {
        let has_broker = settings.kafka.bootstrap_servers.is_some();
        let broker = args.broker.unwrap_or(if has_broker { Broker::Real } else { Broker::Embedded });
        if broker == Broker::Real && !has_broker {
            return Err(Error::config("there is no broker to read from")
                .hint("set kafka.bootstrap_servers, or choose --broker embedded or file"));
        }
        if broker == Broker::Embedded && has_broker {
            return Err(Error::config("embedded topics are used where no broker is set")
                .hint("unset kafka.bootstrap_servers, or choose --broker real or file"));
        }
        let setup = Setup::new(&args.dataflow, &args.settings, settings)?;
        let seconds = args.events / args.load.keys + 1;
        let span_ms = seconds.saturating_mul(1_000).max(args.events);
        let amount = Amount {
            events: args.events,
            keys: args.load.keys,
            partitions: args.load.partitions,
            seed: args.load.seed,
            rate: 0,
            noise: Noise::default(),
            start_ms: publish::wall_ms().saturating_sub_unsigned(span_ms),
        };
        Ok(Bench { args, broker, setup, amount })
    }

    fn measure(&self) -> Result<Report> {
        let mut bytes = 0;
        for source in self.setup.sources() {
            bytes += fill::files(&self.setup.scratch.path("input"), source, self.amount)?;
        }
        let expected = self.reference()?;
        if self.broker != Broker::File {
            for source in self.setup.sources() {
                fill::topic(&self.setup.topics(), source, self.amount, &self.setup.settings)?;
            }
        }
        let mut report =
            Report::new(self.args, self.broker, bytes, expected, self.setup.sources().count() as u64);
        for repetition in 1..=self.args.repetitions {
            if self.broker == Broker::Real {
                report.polls.push(self.floor(Reading::Poll)?.0);
            }
            report.consumes.push(self.floor(Reading::Consume)?.0);
            report.floors.push(self.floor(Reading::Decode)?);
            let run = self.run(repetition, false)?;
            self.check(&run, &report.expected)?;
            report.runs.push(run);
        }
        let watched = self.run(self.args.repetitions + 1, true)?;
        self.check(&watched, &report.expected)?;
        report.watched = watched;
        Ok(report)
    }

    /// What the sinks must hold: the rows of one worker that reads the same events from files and writes files.
    fn reference(&self) -> Result<Rows> {
        let mut command = self.setup.command(self.args.cores.as_deref(), &["run"])?;
        let output = self.setup.scratch.path("reference");
        command.args(["--bounded", "--no-http", "--print-interval", "0s"]);
        command.arg("--input").arg(self.setup.scratch.path("input")).arg("--output").arg(&output);
        let measured = first(child::measure(vec![command])?)?;
        ledger(&measured.output)?;
        let rows = count::in_files(&self.setup.plan, &output)?;
        self.setup.scratch.remove("reference")?;
        Ok(rows)
    }

    fn floor(&self, reading: Reading) -> Result<(Floor, Measured)> {
        let mut command = self.setup.command(self.args.cores.as_deref(), &["bench", "floor"])?;
        command.args(["--workers", &(self.args.load.workers * self.args.load.processes).to_string()]);
        match self.broker {
            Broker::File => command.arg("--input").arg(self.setup.scratch.path("input")),
            Broker::Real | Broker::Embedded => command.args(["--topics", &self.setup.topics()]),
        };
        command.args(["--reading", reading.name()]);
        let measured = first(child::measure(vec![command])?)?;
        let floor: Floor = parse(&measured.output, "floor")?;
        let sources = self.setup.sources().count() as u64;
        if floor.records != self.args.events * sources {
            let message =
                format!("the floor has read {} of {} events", floor.records, self.args.events * sources);
            return Err(Error::internal(message));
        }
        Ok((floor, measured))
    }

    /// One repetition.
    fn run(&self, repetition: u16, watched: bool) -> Result<Run> {
        let sinks = self.setup.sinks(repetition);
        let (hosts, processes) = (self.setup.hosts(self.args.load.processes)?, self.args.load.processes);
        let mut commands = Vec::new();
        for process in 0..processes {
            let mut command = self.setup.command(self.args.cores.as_deref(), &["run"])?;
            command.args(["--bounded", "--no-http", "--print-interval", "0s", "--redirect-sinks", &sinks]);
            command.args(["--workers", &self.args.load.workers.to_string()]);
            if let Some(hosts) = &hosts {
                command
                    .args(["-n", &processes.to_string(), "-p", &process.to_string(), "--hosts"])
                    .arg(hosts);
            }
            if self.args.sinks == SinksArg::Blackhole {
                command.args(["--sinks", "blackhole"]);
            }
            match self.broker {
                Broker::File => command.arg("--input").arg(self.setup.scratch.path("input")),
                Broker::Real | Broker::Embedded => command.args(["--redirect-sources", &self.setup.topics()]),
            };
            command.arg("--profile").arg(self.profile(process));
            if watched {
                command.arg("--profile-operators");
            }
            commands.push(command);
        }
        let measured = child::measure(commands)?;
        let profiles = (0..processes).map(|process| {
            let path = self.profile(process);
            let text = std::fs::read_to_string(&path);
            let text = text.map_err(|error| Error::internal("a run has left no profile").caused_by(error))?;
            parse::<Profile>(&text, "profile")
        });
        let ledger = ledger(&first(measured.clone())?.output)?;
        Ok(Run { profiles: profiles.collect::<Result<_>>()?, measured, ledger, sinks })
    }

    /// Fails where a run has lost something or written too much.
    fn check(&self, run: &Run, expected: &Rows) -> Result<()> {
        let mut plan = self.plan_of(run);
        let rows = match self.args.sinks {
            SinksArg::Blackhole => count::in_ledger(&plan, &run.ledger),
            SinksArg::Real => count::outside(&plan, &self.setup.settings, &run.ledger)?,
        };
        if self.args.sinks == SinksArg::Real {
            cleanup::sinks(&mut plan, &self.setup.settings)?;
        }
        if rows == *expected {
            return Ok(());
        }
        Err(Error::internal(format!("the sinks have {rows:?} rows, a reference run has {expected:?}"))
            .hint("this is no result; please report it with the dataflow and the options"))
    }

    fn plan_of(&self, run: &Run) -> Plan {
        let mut plan = self.setup.plan.clone();
        Redirect { sources: None, sinks: Some(run.sinks.clone()) }
            .apply(&mut plan, &self.setup.settings.state_dir);
        plan
    }

    fn profile(&self, process: u16) -> PathBuf {
        self.setup.scratch.path(&format!("profile-{process}.json"))
    }

    /// Removes the topics that were filled.
    fn clean(&self) -> Result<()> {
        if self.broker != Broker::Real {
            return Ok(());
        }
        let topics: Vec<_> =
            self.setup.sources().map(|source| format!("{}{}", self.setup.topics(), source.name)).collect();
        cleanup::topics(&topics, &self.setup.settings)
    }
}

fn first(measured: Vec<Measured>) -> Result<Measured> {
    measured.into_iter().next().ok_or_else(|| Error::internal("nothing was run"))
}

fn parse<T: DeserializeOwned>(text: &str, what: &str) -> Result<T> {
    let line = text.trim_end().lines().last().unwrap_or_default();
    serde_json::from_str(line)
        .map_err(|error| Error::internal(format!("this is no {what}: {line}")).caused_by(error))
}

/// The ledger that a run prints last; an error unless every row is accounted for.
pub fn ledger(output: &str) -> Result<Value> {
    #[derive(Deserialize)]
    struct Balance {
        unaccounted: i64,
    }
    let line = output.trim_end().lines().last().and_then(|line| line.strip_prefix("ledger "));
    let line = line.ok_or_else(|| Error::internal("a run has printed no ledger"))?;
    let balance: Balance = parse(line, "ledger")?;
    match balance.unaccounted {
        0 => parse(line, "ledger"),
        rows => Err(Error::internal(format!("{rows} rows of a run are unaccounted for, so it is no result"))),
    }
}

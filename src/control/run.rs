//! From the command line as typed to what it means, and to the functions that do it.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use super::bench;
use super::bench::args::BenchCommand;
use super::bench::redirect::Redirect;
use super::cli::LatenessArgs;
use super::cli::{Cli, Command, PlanArgs, RunArgs, SettingArgs, SinksArg};
use super::cluster::{Agreement, Membership, hosts};
use super::configuration::{self, Flag, Inputs};
use super::dataflow_path::DataflowPath;
use super::simulate;
use super::{lateness, progress, query, telemetry};
use crate::compile::explain::explain;
use crate::error::Result;
use crate::plan::Simulator;
use crate::process;
use crate::settings::Settings;

/// What `tidemill run` asks for.
#[derive(Clone, Debug)]
pub struct RunRequest {
    pub dataflow: DataflowPath,
    pub membership: Membership,
    /// Read the input to its end, then stop.
    pub bounded: bool,
    /// Folder that stands for the connectors of all sources.
    pub input: Option<PathBuf>,
    /// Folder that stands for the connectors of all sinks.
    pub output: Option<PathBuf>,
    /// Wall clock before the first epoch, milliseconds since the Unix epoch; each epoch is one interval later.
    pub clock_ms: Option<i64>,
    /// Stands for the connectors of all sources.
    pub simulator: Option<Simulator>,
    /// Rows are computed and counted, but written nowhere.
    pub blackhole: bool,
    /// `None`: progress is not printed.
    pub print_interval: Option<Duration>,
    /// Topics and collections of a benchmark, instead of those of the dataflow.
    pub redirect: Redirect,
    /// Where the profile of a benchmark is written, and whether it tells about operators.
    pub profile: Option<(PathBuf, bool)>,
    /// Where samples of what the process holds are written, and every how many epochs.
    pub samples: Option<(PathBuf, u64)>,
}

impl RunRequest {
    /// What all processes of a cluster must have in common; `plan` is the plan as text.
    pub fn agreement(&self, plan: &str, settings: &Settings) -> Agreement {
        let given = (self.input.is_some(), self.output.is_some());
        let options = (self.bounded, self.clock_ms, &self.simulator, self.blackhole, given);
        let connections =
            (&settings.kafka.bootstrap_servers, &settings.mongodb.database, &settings.parameters);
        let uri = settings.mongodb.uri.is_some();
        Agreement {
            dataflow: self.dataflow.name.clone(),
            plan: plan.to_string(),
            options: format!(
                "{options:?} {connections:?} {uri} {} {:?}",
                settings.flow.max_epoch_records, settings.epoch_interval
            ),
        }
    }
}

/// Does what the command line says. An error is printed by the caller.
pub fn dispatch(cli: Cli) -> Result<ExitCode> {
    match cli.command {
        Command::Run(args) => {
            let settings = configuration::load(&run_inputs(&args)?)?;
            let request = run_request(&args)?;
            telemetry::init_log()?;
            tracing::info!(dataflow = request.dataflow.name, "{}", configuration::describe(&settings));
            process::run(&request, settings)?;
        }
        Command::Check(args) => {
            let (dataflow, settings) = plan_request(&args)?;
            check(&dataflow, &settings)?;
        }
        Command::Explain(args) => {
            let (dataflow, settings) = plan_request(&args)?;
            progress::say(&explain(&process::load(&dataflow, &settings)?));
        }
        Command::Lateness(args) => lateness(&args)?,
        Command::Query(args) => {
            let settings = configuration::load(&inputs(&args.settings)?)?;
            let address = args.address.unwrap_or_else(|| settings.http.listen.to_string());
            progress::say(&format!("{}\n", query::get(&address, &args.view, args.key.as_deref())?));
        }
        Command::Simulate(args) => {
            let settings = configuration::load(&inputs(&args.settings)?)?;
            telemetry::init_log()?;
            simulate::fill(&args.request(), &settings)?;
        }
        Command::Bench(command) => return measure(command),
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints how late the records of each source are.
fn lateness(args: &LatenessArgs) -> Result<()> {
    let mut inputs = inputs(&args.settings)?;
    let records = args.epoch_records.to_string();
    inputs.flags.push(flag("--epoch-records", "flow.max_epoch_records", &records));
    let settings = configuration::load(&inputs)?;
    telemetry::init_log()?;
    let request = RunRequest {
        dataflow: DataflowPath::find(&args.dataflow)?,
        membership: Membership { hosts: Vec::new(), process: 0, workers: 1 },
        bounded: true,
        input: args.input.clone(),
        output: None,
        clock_ms: args.clock.map(|clock| clock.0),
        simulator: None,
        blackhole: true,
        print_interval: None,
        redirect: Redirect { sources: None, sinks: None },
        profile: None,
        samples: None,
    };
    let (plan, seen) = process::survey(&request, settings)?;
    for (index, seen) in &seen {
        let (source, kept) = (&plan.sources[*index], lateness::kept(&plan, *index));
        match args.json {
            true => progress::say(&format!("{}\n", lateness::to_json(source, &kept, seen))),
            false => progress::say(&lateness::to_text(source, &kept, seen)),
        }
    }
    if !args.json {
        progress::say(lateness::LEGEND);
    }
    Ok(())
}

fn measure(command: BenchCommand) -> Result<ExitCode> {
    telemetry::init_log()?;
    match command {
        BenchCommand::Throughput(args) => {
            bench::throughput(&args, configuration::load(&inputs(&args.settings)?)?)?;
        }
        BenchCommand::Memory(args) => bench::memory(&args)?,
        BenchCommand::Soak(args) => {
            return bench::soak(&args, configuration::load(&inputs(&args.settings)?)?);
        }
        BenchCommand::Mongodb(args) => {
            bench::mongodb(&args, &configuration::load(&inputs(&args.settings)?)?)?;
        }
        BenchCommand::Floor(args) => bench::floor(&args, &configuration::load(&inputs(&args.settings)?)?)?,
        BenchCommand::Lag(args) => return bench::lag(&args, configuration::load(&inputs(&args.settings)?)?),
    }
    Ok(ExitCode::SUCCESS)
}

/// Reports all mistakes of a dataflow; needs no data and no services.
fn check(dataflow: &DataflowPath, settings: &Settings) -> Result<()> {
    let plan = process::load(dataflow, settings)?;
    let (sources, sinks) = (plan.sources.len(), plan.sinks.len());
    progress::say(&format!("{}: no mistakes ({sources} sources, {sinks} sinks)\n", dataflow.file.display()));
    Ok(())
}

fn inputs(args: &SettingArgs) -> Result<Inputs> {
    let state_dir = args.state_dir.iter().map(|value| flag("--state-dir", "state_dir", value));
    let set = args.settings.iter().map(|(key, value)| flag(&format!("--set {key}"), key, value));
    Ok(Inputs {
        files: args.files.clone(),
        environment: configuration::environment()?,
        flags: set.chain(state_dir).collect(),
        parameters: args.parameters.clone(),
    })
}

fn run_inputs(args: &RunArgs) -> Result<Inputs> {
    let mut inputs = inputs(&args.settings)?;
    if let Some(records) = args.epoch_records {
        inputs.flags.push(flag("--epoch-records", "flow.max_epoch_records", &records.to_string()));
    }
    if args.no_http {
        inputs.flags.push(flag("--no-http", "http.enabled", "false"));
    }
    Ok(inputs)
}

fn flag(name: &str, key: &str, value: &str) -> Flag {
    Flag { name: name.to_string(), key: key.to_string(), value: value.to_string() }
}

fn run_request(args: &RunArgs) -> Result<RunRequest> {
    let (processes, process) = (usize::from(args.cluster.processes), usize::from(args.cluster.process));
    let hosts = match &args.cluster.hosts {
        // A single process needs nobody's address.
        Some(path) if processes > 1 => hosts::read(path, processes)?,
        _ => Vec::new(),
    };
    Ok(RunRequest {
        dataflow: DataflowPath::find(&args.dataflow)?,
        membership: Membership { hosts, process, workers: usize::from(args.workers) },
        bounded: args.bounded,
        input: args.input.clone(),
        output: args.output.clone(),
        clock_ms: args.clock.map(|clock| clock.0),
        simulator: args.simulate.map(|shape| args.simulator.of(shape)),
        blackhole: args.sinks == SinksArg::Blackhole,
        print_interval: Some(args.print_interval).filter(|interval| !interval.is_zero()),
        redirect: Redirect {
            sources: args.measured.redirect_sources.clone(),
            sinks: args.measured.redirect_sinks.clone(),
        },
        profile: args.measured.profile.clone().map(|path| (path, args.measured.profile_operators)),
        samples: args.measured.samples.clone().map(|path| (path, args.measured.sample_epochs)),
    })
}

fn plan_request(args: &PlanArgs) -> Result<(DataflowPath, Settings)> {
    let settings = configuration::load(&inputs(&args.settings)?)?;
    Ok((DataflowPath::find(&args.dataflow)?, settings))
}

//! The command line as typed; [`super::run`] holds what it means.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use super::bench::args::BenchCommand;
use super::simulate::args::{ShapeArg, SimulateArgs, SimulatorArgs};

/// Event-time stream processing for telemetry: one SQL file, one binary, correct tables.
#[derive(Debug, Parser)]
#[command(name = "tidemill", version, max_term_width = 110)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a dataflow until it is stopped, or with --bounded until its input ends
    Run(Box<RunArgs>),
    /// Report every mistake in a dataflow; needs no data and no services
    Check(PlanArgs),
    /// Print the compiled plan of a dataflow
    Explain(PlanArgs),
    /// Read one row of a view of a running dataflow
    Query(QueryArgs),
    /// Print which delay of a watermark covers how many records, and what it costs
    Lateness(LatenessArgs),
    /// Fill topics or files with simulated telemetry
    Simulate(SimulateArgs),
    /// Measure a dataflow on this machine
    #[command(subcommand)]
    Bench(BenchCommand),
}

/// Where settings come from besides the defaults and the environment.
#[derive(Args, Clone, Debug, Default)]
pub struct SettingArgs {
    /// TOML file with settings; may be given several times, later files win
    #[arg(long = "config", value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Replacement for ${NAME} in the dataflow; may be given several times
    #[arg(long = "param", value_name = "NAME=VALUE", value_parser = pair)]
    pub parameters: Vec<(String, String)>,
    /// Any setting by its key: --set flow.max_epochs_in_flight=8; may be given several times
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = pair)]
    pub settings: Vec<(String, String)>,
    /// Folder of state, embedded topics and embedded collections
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<String>,
}

#[derive(Args, Debug)]
pub struct RunArgs {
    /// Directory with a dataflow.sql, or a .sql file
    pub dataflow: PathBuf,
    /// Worker threads of this process
    #[arg(short, long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub workers: u16,
    #[command(flatten)]
    pub cluster: ClusterArgs,
    /// Read the input to its end, then stop
    #[arg(long)]
    pub bounded: bool,
    /// Folder with SOURCE.jsonl or .csv, or a folder SOURCE of files, one per partition, instead of the connectors
    #[arg(long, value_name = "DIR", requires = "bounded")]
    pub input: Option<PathBuf>,
    /// Folder that takes SINK.jsonl or .csv instead of the connectors
    #[arg(long, value_name = "DIR")]
    pub output: Option<PathBuf>,
    /// Wall clock before the first epoch of a bounded run, instead of the machine's
    #[arg(long, value_name = "RFC3339", requires = "bounded", value_parser = clock)]
    pub clock: Option<ClockMillis>,
    /// Records per partition and epoch
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub epoch_records: Option<u32>,
    /// Read simulated telemetry instead of the sources' connectors
    #[arg(long, value_name = "SHAPE")]
    pub simulate: Option<ShapeArg>,
    #[command(flatten)]
    pub simulator: SimulatorArgs,
    /// Where rows go: to the sinks of the dataflow, or nowhere (to measure)
    #[arg(long, value_enum, default_value_t = SinksArg::Real)]
    pub sinks: SinksArg,
    /// Serve no HTTP
    #[arg(long)]
    pub no_http: bool,
    /// How often progress is printed; 0s means never
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = humantime::parse_duration)]
    pub print_interval: std::time::Duration,
    #[command(flatten)]
    pub measured: MeasuredArgs,
    #[command(flatten)]
    pub settings: SettingArgs,
}

/// How `tidemill bench` runs a dataflow.
#[derive(Args, Debug)]
pub struct MeasuredArgs {
    /// Read each source from the topic that has this and the name of the source as its name
    #[arg(long, value_name = "PREFIX", hide = true)]
    pub redirect_sources: Option<String>,
    /// Put this before the names of topics and collections that are written
    #[arg(long, value_name = "PREFIX", hide = true)]
    pub redirect_sinks: Option<String>,
    /// Write a profile of the run to this file
    #[arg(long, value_name = "FILE", hide = true)]
    pub profile: Option<PathBuf>,
    /// Watch the operators for the profile
    #[arg(long, requires = "profile", hide = true)]
    pub profile_operators: bool,
    /// Write what the process holds to this file, again and again
    #[arg(long, value_name = "FILE", hide = true)]
    pub samples: Option<PathBuf>,
    /// Every so many epochs
    #[arg(long, value_name = "N", default_value_t = 1, hide = true)]
    pub sample_epochs: u64,
}

#[derive(Args, Debug)]
pub struct ClusterArgs {
    /// Number of processes
    #[arg(short = 'n', long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub processes: u16,
    /// Which of the processes this is, from 0
    #[arg(short = 'p', long, value_name = "I", default_value_t = 0)]
    pub process: u16,
    /// File with one host:port per process
    #[arg(long, value_name = "FILE")]
    pub hosts: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub struct PlanArgs {
    /// Directory with a dataflow.sql, or a .sql file
    pub dataflow: PathBuf,
    #[command(flatten)]
    pub settings: SettingArgs,
}

#[derive(Args, Debug)]
pub struct LatenessArgs {
    /// Directory with a dataflow.sql, or a .sql file
    pub dataflow: PathBuf,
    /// Folder with SOURCE.jsonl or .csv, or a folder SOURCE of files, one per partition, instead of the connectors
    #[arg(long, value_name = "DIR")]
    pub input: Option<PathBuf>,
    /// Wall clock before the first epoch, instead of the machine's: records beyond it by max_future do not count
    #[arg(long, value_name = "RFC3339", value_parser = clock)]
    pub clock: Option<ClockMillis>,
    /// Records per partition and epoch; one is the strictest, since records of an epoch are not late to each other
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub epoch_records: u32,
    /// Print JSON, one line per source
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub settings: SettingArgs,
}

#[derive(Args, Debug)]
pub struct QueryArgs {
    /// Name of the view
    pub view: String,
    /// Key: plain text for a key of one column, else a JSON object of the key columns; none for a view that has
    /// one row without key
    #[arg(allow_hyphen_values = true)]
    pub key: Option<String>,
    /// Address of a process of the dataflow; without it that of the settings
    #[arg(long, value_name = "HOST:PORT")]
    pub address: Option<String>,
    #[command(flatten)]
    pub settings: SettingArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SinksArg {
    Real,
    Blackhole,
}

/// Milliseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockMillis(pub i64);

fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_string(), value.to_string())),
        _ => Err("expected name=value".to_string()),
    }
}

fn clock(text: &str) -> Result<ClockMillis, String> {
    let time = chrono::DateTime::parse_from_rfc3339(text).map_err(|error| error.to_string())?;
    Ok(ClockMillis(time.timestamp_millis()))
}

pub(super) fn share(text: &str) -> Result<f64, String> {
    let share: f64 = text.parse().map_err(|_| "expected a number".to_string())?;
    if (0.0..=1.0).contains(&share) { Ok(share) } else { Err("expected a share from 0 to 1".to_string()) }
}

impl Cli {
    /// What clap cannot say: rules between options. Ends the process with code 2 where one is broken.
    pub fn checked(self) -> Result<Cli, clap::Error> {
        use clap::CommandFactory;
        let complaint = match &self.command {
            Command::Run(run) => run.complaint(),
            Command::Simulate(simulate) => simulate.complaint(),
            _ => None,
        };
        let refused = |text| Cli::command().error(clap::error::ErrorKind::ValueValidation, text);
        complaint.map_or(Ok(self), |text| Err(refused(text)))
    }
}

impl RunArgs {
    fn complaint(&self) -> Option<String> {
        let cluster = &self.cluster;
        Some(if cluster.process >= cluster.processes {
            format!(
                "-p {} names no process: with -n {} they are 0 to {}",
                cluster.process,
                cluster.processes,
                { cluster.processes - 1 }
            )
        } else if cluster.processes > 1 && cluster.hosts.is_none() {
            format!("-n {} needs --hosts FILE with one host:port per process", cluster.processes)
        } else if self.simulate.is_some() && self.input.is_some() {
            "--simulate and --input are both given: the input can come from one of them".to_string()
        } else {
            return self.simulate.and_then(|shape| self.simulator.complaint(shape));
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(line.split_whitespace()).and_then(Cli::checked)
    }

    fn run(line: &str) -> RunArgs {
        match parse(line).expect("a good line").command {
            Command::Run(run) => *run,
            other => panic!("not `run`: {other:?}"),
        }
    }

    #[test]
    fn definition_is_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    #[test]
    fn run_takes_its_options() {
        let args = run("tidemill run d -w 4 -n 2 -p 1 --hosts h --bounded --input i --output o \
             --clock 2025-01-01T00:00:00Z --epoch-records 7 --state-dir s --config a --config b --param x=1=2 \
             --sinks blackhole --no-http --print-interval 0s --set http.enabled=false");
        assert_eq!((args.workers, args.cluster.processes, args.cluster.process), (4, 2, 1));
        assert_eq!(args.clock, Some(ClockMillis(1_735_689_600_000)));
        assert_eq!(args.epoch_records, Some(7));
        assert_eq!(args.settings.files.len(), 2);
        assert_eq!(args.settings.parameters, [("x".to_string(), "1=2".to_string())]);
        assert_eq!(args.sinks, SinksArg::Blackhole);
        assert!(args.no_http && args.bounded && args.print_interval.is_zero());
        let args = run("tidemill run d --simulate vehicles --rate 5 --vehicles 3 --count 9 --disorder 0.5");
        assert_eq!((args.simulate, args.simulator.rate), (Some(ShapeArg::Vehicles), 5));
        assert_eq!((args.simulator.keys, args.simulator.count), (Some(3), Some(9)));
    }

    #[test]
    fn wrong_usage_is_code_2() {
        for (line, expected) in [
            ("tidemill run", "<DATAFLOW>"),
            ("tidemill run d -w 0", "0 is not in 1..=256"),
            ("tidemill run d --clock 2025-01-01T00:00:00Z", "--bounded"),
            ("tidemill run d --clock yesterday --bounded", "invalid value 'yesterday'"),
            ("tidemill run d -n 2 --hosts h -p 2", "-p 2 names no process: with -n 2 they are 0 to 1"),
            ("tidemill run d -n 2", "needs --hosts FILE"),
            ("tidemill run d --param x", "expected name=value"),
            ("tidemill run d --broken 2", "expected a share from 0 to 1"),
            ("tidemill run d --bounded --input i --simulate vehicles", "both given"),
            ("tidemill run d --simulate vehicles --types 3", "--types is of sensors only"),
            ("tidemill simulate --shape metrics --topic t --conflicts 0.1", "--conflicts is of sensors only"),
            ("tidemill simulate --shape vehicles --topic t.*", "vehicles are of one kind"),
            ("tidemill simulate", "--topic <NAME>|--output <DIR>"),
            ("tidemill simulate --topic t --output d", "cannot be used with"),
            ("tidemill simulate --output d --days 3", "--from <DATE>"),
            ("tidemill simulate --output d --from 2026-01-01", "--days <N>"),
            ("tidemill simulate --output d --days 3 --from 2026-02-30", "expected a day like 2026-01-31"),
            ("tidemill simulate --output d --days 3 --from 2026-01-01 --rate 5", "cannot be used with"),
            ("tidemill fly", "unrecognized subcommand 'fly'"),
            ("tidemill query", "<VIEW>"),
        ] {
            let error = parse(line).expect_err("wrong usage");
            assert_eq!(error.exit_code(), 2, "{line}");
            assert!(error.to_string().contains(expected), "{line}: {error}");
        }
    }
}

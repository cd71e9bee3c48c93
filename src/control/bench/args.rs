//! `tidemill bench` on the command line.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::Slo;
use crate::control::cli::{SettingArgs, SinksArg, share};

/// What is measured.
#[derive(Debug, Subcommand)]
pub enum BenchCommand {
    /// Events per second over a backlog, beside the floor: the same consumer and decoder without a dataflow
    Throughput(Box<ThroughputArgs>),
    /// Time from when an event was due to be sent until views, topics and collections show it
    Lag(Box<LagArgs>),
    /// Resident bytes of a state for each of its keys
    Memory(MemoryArgs),
    /// Whether what a dataflow holds stays as it is over a long stream; the exit code is 1 if it grows
    Soak(Box<SoakArgs>),
    /// Documents per second into MongoDB, beside a loop of bulk writes of the same documents
    Mongodb(MongodbArgs),
    /// Read and decode the backlog of a dataflow, and nothing else
    #[command(hide = true)]
    Floor(FloorArgs),
}

#[derive(Args, Clone, Debug)]
pub struct ThroughputArgs {
    /// Directory with a dataflow.sql, or a .sql file
    pub dataflow: PathBuf,
    /// Where the backlog waits: topics of the broker of the settings, embedded topics, or files
    #[arg(long, value_enum)]
    pub broker: Option<Broker>,
    /// Number of events in the backlog of each source
    #[arg(long, value_name = "N", default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub events: u64,
    #[command(flatten)]
    pub load: LoadArgs,
    /// Cores that the processes are pinned to, as `taskset` takes them: 0 or 0,1
    #[arg(long, value_name = "LIST")]
    pub cores: Option<String>,
    /// Where rows go: to the sinks of the dataflow, or nowhere
    #[arg(long, value_enum, default_value_t = SinksArg::Blackhole)]
    pub sinks: SinksArg,
    /// How often it is measured; medians are reported
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..))]
    pub repetitions: u16,
    /// Print one JSON object as the last line
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub settings: SettingArgs,
}

#[derive(Args, Clone, Debug)]
pub struct LagArgs {
    /// Directory with a dataflow.sql, or a .sql file
    pub dataflow: PathBuf,
    /// Events per second; several rates are measured one after the other
    #[arg(long, value_name = "N", value_delimiter = ',', default_value = "1000", value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub rate: Vec<u64>,
    /// How long events are sent at each rate
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = humantime::parse_duration)]
    pub duration: std::time::Duration,
    /// Go on from the last rate to the highest one that can be held
    #[arg(long)]
    pub search: bool,
    #[command(flatten)]
    pub load: LoadArgs,
    /// Share of events that arrive late, by up to 30 s
    #[arg(long, value_name = "0..1", default_value = "0", value_parser = share)]
    pub disorder: f64,
    /// Share of events that arrive twice
    #[arg(long, value_name = "0..1", default_value = "0", value_parser = share)]
    pub duplicates: f64,
    /// Share of messages that cannot be read
    #[arg(long, value_name = "0..1", default_value = "0", value_parser = share)]
    pub broken: f64,
    /// How long what is still under way behind a step is waited for; then it is lost
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = humantime::parse_duration)]
    pub grace: std::time::Duration,
    /// Goals, with a verdict each: lag_p99<5s,loss=0,backfill>50MB/s; the exit code is 1 if one is missed
    #[arg(long, value_name = "GOALS")]
    pub slo: Option<Slo>,
    /// Events in the backlog of the goal `backfill`
    #[arg(long, value_name = "N", default_value_t = 500_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub backlog: u64,
    /// Write a page with charts
    #[arg(long, value_name = "FILE.html")]
    pub report: Option<PathBuf>,
    /// Write the distributions into this folder, a file per rate and target
    #[arg(long, value_name = "DIR")]
    pub hgrm: Option<PathBuf>,
    /// Print one JSON object as the last line
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub settings: SettingArgs,
}

#[derive(Args, Clone, Debug)]
pub struct MemoryArgs {
    /// Which state
    #[arg(long, value_enum, default_value_t = MemoryOf::Distinct)]
    pub of: MemoryOf,
    /// Number of keys that are held at a time [default: 20000000, of latest and view 1000000]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    pub ids: Option<u64>,
    /// Bytes of a key; that of a UUID has 36
    #[arg(long, value_name = "N", default_value_t = 36, value_parser = id_bytes)]
    pub id_bytes: usize,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// What needs memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum MemoryOf {
    /// The ids that DISTINCT ON remembers
    Distinct,
    /// The latest values of four fields
    Latest,
    /// The same with the rows by key from which they are read live
    View,
}

/// Shorter ones would not differ.
fn id_bytes(text: &str) -> Result<usize, String> {
    let bytes = text.parse().ok().filter(|bytes| (16..=65_536).contains(bytes));
    bytes.ok_or_else(|| "a number from 16 to 65536 is expected".to_owned())
}

#[derive(Args, Clone, Debug)]
pub struct SoakArgs {
    /// Directory with a dataflow.sql, or a .sql file, that reads what can be simulated [default: one with DISTINCT ON,
    /// windows and latest states]
    pub dataflow: Option<PathBuf>,
    /// Number of events
    #[arg(long, value_name = "N", default_value_t = 50_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub events: u64,
    /// Number of different keys: vehicles, devices
    #[arg(long, value_name = "N", default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(4..))]
    pub keys: u64,
    /// Events per second of event time
    #[arg(long, value_name = "N", default_value_t = 20_000, value_parser = clap::value_parser!(u64).range(4..=1_000_000))]
    pub rate: u64,
    /// Share of events that arrive late
    #[arg(long, value_name = "0..1", default_value = "0.05", value_parser = share)]
    pub disorder: f64,
    /// How late they arrive at most
    #[arg(long, value_name = "DURATION", default_value = "40s", value_parser = humantime::parse_duration)]
    pub late_by: std::time::Duration,
    /// Share of events that arrive twice
    #[arg(long, value_name = "0..1", default_value = "0.02", value_parser = share)]
    pub duplicates: f64,
    /// Share by which memory may grow after all states are full
    #[arg(long, value_name = "0..1", default_value = "0.1", value_parser = share)]
    pub tolerance: f64,
    /// Seed of the events: the same seed gives the same events
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// Worker threads
    #[arg(short, long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub workers: u16,
    /// Print one JSON object as the last line
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub settings: SettingArgs,
}

#[derive(Args, Clone, Debug)]
pub struct MongodbArgs {
    /// Number of events
    #[arg(long, value_name = "N", default_value_t = 200_000, value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    pub events: u64,
    /// Number of vehicles
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub keys: u64,
    /// Commands of the loop that are under way at a time; the sink has four
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub in_flight: u16,
    /// Events of an epoch
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub epoch: u64,
    /// How often it is measured; medians are reported
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..))]
    pub repetitions: u16,
    /// Print one JSON object as the last line
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub settings: SettingArgs,
}

/// What every benchmark lets choose.
#[derive(Args, Clone, Debug)]
pub struct LoadArgs {
    /// Partitions of each source: of its topic, or files of its folder
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=256))]
    pub partitions: u32,
    /// Number of different keys: vehicles, devices
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub keys: u64,
    /// Seed of the events: the same seed gives the same events
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// Worker threads of each process
    #[arg(short, long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub workers: u16,
    /// Number of processes
    #[arg(short = 'n', long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub processes: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Broker {
    /// Kafka, as the settings name it
    Real,
    /// Topics that are folders of the state directory
    Embedded,
    /// JSON Lines
    File,
}

/// How a backlog is read where nothing comes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Reading {
    /// Decoded
    Decode,
    /// Counted
    Consume,
    /// Counted, each taken from the client of Kafka by a call of its own
    Poll,
}

impl Reading {
    /// As it is given on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Reading::Decode => "decode",
            Reading::Consume => "consume",
            Reading::Poll => "poll",
        }
    }
}

#[derive(Args, Clone, Debug)]
pub struct FloorArgs {
    /// Directory with a dataflow.sql, or a .sql file
    pub dataflow: PathBuf,
    /// Threads that read
    #[arg(short, long, default_value_t = 1)]
    pub workers: u16,
    /// Folder that stands for the connectors of all sources
    #[arg(long, value_name = "DIR")]
    pub input: Option<PathBuf>,
    /// What stands before the name of a source in that of its topic
    #[arg(long, value_name = "PREFIX")]
    pub topics: Option<String>,
    /// What is done with the records
    #[arg(long, value_enum, default_value = "decode")]
    pub reading: Reading,
    #[command(flatten)]
    pub settings: SettingArgs,
}

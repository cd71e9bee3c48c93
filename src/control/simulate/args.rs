//! What can be said about a simulation.

use std::path::PathBuf;
use std::time::Duration;

use chrono::{NaiveDate, NaiveTime};
use clap::{ArgGroup, Args, ValueEnum};

use super::{History, SimulateRequest, Target};
use crate::control::cli::{SettingArgs, share};
use crate::plan::{Shape, Simulator};

/// Options of the simulator.
#[derive(Args, Clone, Debug)]
pub struct SimulatorArgs {
    /// Simulated events per second; 0 means as fast as they are taken
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    pub rate: u64,
    /// Simulated vehicles, sensors or instances [default: 100 vehicles, 50 of the others]
    #[arg(long, visible_aliases = ["vehicles", "devices"], value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub keys: Option<u64>,
    /// Seed of the simulation: the same seed gives the same events
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// Number of simulated events; without it there is no end
    #[arg(long, value_name = "N")]
    pub count: Option<u64>,
    /// Share of events that arrive late [default: 0.01 of vehicles, else 0]
    #[arg(long, value_name = "0..1", value_parser = share)]
    pub disorder: Option<f64>,
    /// How late they arrive at most
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = humantime::parse_duration)]
    pub late_by: Duration,
    /// Share of events that arrive twice [default: 0.01 of vehicles, 0.02 of sensors, else 0]
    #[arg(long, value_name = "0..1", value_parser = share)]
    pub duplicates: Option<f64>,
    /// Share of events of sensors that arrive a second time with other content
    #[arg(long, value_name = "0..1", value_parser = share)]
    pub conflicts: Option<f64>,
    /// Share of messages that cannot be read [default: 0.001 of vehicles, else 0]
    #[arg(long, value_name = "0..1", value_parser = share)]
    pub broken: Option<f64>,
    /// Number of types of sensors [default: 5]
    #[arg(long, value_name = "1..10", value_parser = clap::value_parser!(u64).range(1..=Shape::TYPES_MAX))]
    pub types: Option<u64>,
}

impl SimulatorArgs {
    /// The simulator that is meant.
    pub fn of(&self, shape: ShapeArg) -> Simulator {
        let shape = shape.shape();
        let usual = Simulator::of(shape);
        // A vehicle without any trouble shows nothing of what this is for; the other shapes are asked for theirs.
        let of_vehicles = |share: f64| if shape == Shape::Vehicles { share } else { 0.0 };
        Simulator {
            shape,
            rate: self.rate,
            seed: self.seed,
            count: self.count,
            keys: self.keys.unwrap_or(usual.keys),
            disorder: self.disorder.unwrap_or(of_vehicles(0.01)),
            late_by: self.late_by,
            duplicates: self.duplicates.unwrap_or(usual.duplicates + of_vehicles(0.01)),
            conflicts: self.conflicts.unwrap_or(usual.conflicts),
            broken: self.broken.unwrap_or(of_vehicles(0.001)),
            types: self.types.unwrap_or(usual.types),
        }
    }

    /// What clap cannot say: options that a shape does not have.
    pub fn complaint(&self, shape: ShapeArg) -> Option<String> {
        let given = [("--conflicts", self.conflicts.is_some()), ("--types", self.types.is_some())];
        let given = given.iter().find(|(_, given)| *given && shape != ShapeArg::Sensors);
        given.map(|(name, _)| {
            format!("{name} is of sensors only: events of other shapes have no id and no type")
        })
    }
}

#[derive(Args, Debug)]
#[command(group(ArgGroup::new("target").required(true).args(["topic", "output"])))]
pub struct SimulateArgs {
    /// What is simulated
    #[arg(long, value_enum, default_value_t = ShapeArg::Vehicles)]
    pub shape: ShapeArg,
    /// Topic to fill, created where it does not exist; a * in it makes one topic for each kind of device
    #[arg(long, value_name = "NAME")]
    pub topic: Option<String>,
    /// Folder to fill instead of a topic: a file for each partition, or for each day of --days
    #[arg(long, value_name = "DIR")]
    pub output: Option<PathBuf>,
    /// Events of so many whole days in the past, as fast as they are taken; without --count each device
    /// reports once a minute
    #[arg(long, value_name = "N", requires = "from", conflicts_with = "rate", value_parser = clap::value_parser!(u32).range(1..=366))]
    pub days: Option<u32>,
    /// The first of the days, in UTC
    #[arg(long, value_name = "DATE", requires = "days", value_parser = day)]
    pub from: Option<NaiveDate>,
    #[command(flatten)]
    pub simulator: SimulatorArgs,
    #[command(flatten)]
    pub settings: SettingArgs,
}

impl SimulateArgs {
    pub fn complaint(&self) -> Option<String> {
        let kinds = self.topic.as_ref().is_some_and(|topic| topic.contains('*'));
        if kinds && self.shape == ShapeArg::Vehicles {
            return Some("vehicles are of one kind: --topic takes no * for them".to_owned());
        }
        self.simulator.complaint(self.shape)
    }

    pub fn request(&self) -> SimulateRequest {
        let history = self.days.zip(self.from).map(|(days, from)| History {
            start_ms: from.and_time(NaiveTime::MIN).and_utc().timestamp_millis(),
            days,
        });
        let target = match &self.output {
            Some(folder) => Target::Folder(folder.clone()),
            None => Target::Topic(self.topic.clone().unwrap_or_default()),
        };
        SimulateRequest { target, simulator: self.simulator.of(self.shape), history }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ShapeArg {
    Vehicles,
    Sensors,
    Metrics,
    Logs,
}

impl ShapeArg {
    fn shape(self) -> Shape {
        match self {
            ShapeArg::Vehicles => Shape::Vehicles,
            ShapeArg::Sensors => Shape::Sensors,
            ShapeArg::Metrics => Shape::Metrics,
            ShapeArg::Logs => Shape::Logs,
        }
    }
}

fn day(text: &str) -> Result<NaiveDate, String> {
    let day = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok();
    // Times are nanoseconds of 64 bits.
    let possible = day.filter(|day| (1678..=2261).contains(&chrono::Datelike::year(day)));
    possible.ok_or_else(|| "expected a day like 2026-01-31".to_owned())
}

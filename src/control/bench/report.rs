//! What a throughput benchmark has found, as a table and as JSON.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde_json::{Value, json};

use super::args::{Broker, ThroughputArgs};
use super::child::{self, Measured};
use super::count::Rows;
use super::floor::Floor;
use crate::control::cli::SinksArg;
use crate::control::profile::Profile;

/// One run of the dataflow.
#[derive(Clone, Debug, Default)]
pub struct Run {
    /// One per process.
    pub profiles: Vec<Profile>,
    pub measured: Vec<Measured>,
    pub ledger: Value,
    /// What stood before the names of its topics and collections.
    pub sinks: String,
}

impl Run {
    /// From the start of the workers to their end, of the process that took longest.
    fn seconds(&self) -> f64 {
        self.profiles.iter().map(|profile| profile.seconds).fold(0.0, f64::max)
    }

    fn cpu_s(&self) -> f64 {
        self.measured.iter().map(|measured| measured.cpu_s).sum()
    }

    fn peak_rss_mib(&self) -> f64 {
        self.measured.iter().map(|measured| measured.peak_rss_mib).sum()
    }
}

/// Everything that was measured.
#[derive(Clone, Debug)]
pub struct Report {
    title: String,
    blackhole: bool,
    /// Number of cores that a run may use.
    cores: f64,
    /// Bytes of the values of one backlog.
    bytes: u64,
    pub expected: Rows,
    /// Number of records in one backlog.
    records: u64,
    /// One call of the client for each record. None where it is not Kafka that is read.
    pub polls: Vec<Floor>,
    /// The consumer of a run without a decoder.
    pub consumes: Vec<Floor>,
    pub floors: Vec<(Floor, Measured)>,
    pub runs: Vec<Run>,
    /// A further run whose operators were watched.
    pub watched: Run,
}

/// Shares of the time of all cores that a run could use.
type Stages = BTreeMap<&'static str, f64>;

impl Report {
    /// A report without any run yet.
    pub fn new(args: &ThroughputArgs, broker: Broker, bytes: u64, expected: Rows, sources: u64) -> Self {
        let broker = match broker {
            Broker::Real => "Kafka",
            Broker::Embedded => "embedded topics",
            Broker::File => "files",
        };
        let records = args.events * sources;
        let blackhole = args.sinks == SinksArg::Blackhole;
        let title = format!(
            "{}: {} events from {} partitions of {broker}, {} keys; {} {} of {} {}{}, {}",
            args.dataflow.display(),
            records,
            args.load.partitions,
            args.load.keys,
            args.load.processes,
            if args.load.processes == 1 { "process" } else { "processes" },
            args.load.workers,
            if args.load.workers == 1 { "worker" } else { "workers" },
            args.cores.as_ref().map_or_else(String::new, |cores| format!(" on cores {cores}")),
            if blackhole { "no sinks" } else { "real sinks" },
        );
        Report {
            title,
            blackhole,
            cores: child::cores(args.cores.as_deref()) as f64,
            bytes,
            expected,
            records,
            polls: Vec::new(),
            consumes: Vec::new(),
            floors: Vec::new(),
            runs: Vec::new(),
            watched: Run::default(),
        }
    }

    fn events(&self) -> f64 {
        self.records as f64
    }

    fn rates(&self) -> Vec<f64> {
        self.runs.iter().map(|run| self.events() / run.seconds()).collect()
    }

    fn floor_rates(&self) -> Vec<f64> {
        self.floors.iter().map(|(floor, _)| self.events() / floor.seconds).collect()
    }

    fn per_million(&self, cpu_s: f64) -> f64 {
        cpu_s / self.events() * 1e6
    }

    /// Where the time of the watched run went. Reading and decoding happen on one thread: what reading alone
    /// takes there is known from the floor.
    fn stages(&self) -> Stages {
        let run = &self.watched;
        let mut stages = Stages::new();
        for measured in &run.measured {
            for (thread, seconds) in &measured.threads {
                *stages.entry(stage_of_thread(thread)).or_default() += seconds;
            }
        }
        let read = stages.remove("read").unwrap_or_default();
        let floors: Vec<_> = self.floors.iter().map(|(floor, _)| *floor).collect();
        let decode_share = 1.0 - (self.rate_of(&floors) / self.rate_of(&self.consumes)).min(1.0);
        stages.insert("consume", read * (1.0 - decode_share));
        stages.insert("decode", read * decode_share);
        let operators: f64 = stages.remove("workers").unwrap_or_default();
        let mut watched = 0.0;
        for (name, seconds) in run.profiles.iter().flat_map(|profile| &profile.operators) {
            *stages.entry(stage_of_operator(name)).or_default() += seconds;
            watched += seconds;
        }
        stages.insert(
            "progress",
            stages.get("progress").copied().unwrap_or_default() + (operators - watched).max(0.0),
        );
        let busy: f64 = stages.values().sum();
        stages.insert("idle", (run.seconds() * self.cores - busy).max(0.0));
        let whole: f64 = stages.values().sum();
        stages.values_mut().for_each(|seconds| *seconds /= whole);
        stages
    }

    /// Events per second of the median of some readings.
    fn rate_of(&self, floors: &[Floor]) -> f64 {
        self.events() / median(floors.iter().map(|floor| floor.seconds))
    }

    /// Megabytes of values per second, of the median run.
    pub fn megabytes_per_second(&self) -> f64 {
        self.bytes as f64 / 1e6 * median(self.rates().into_iter()) / self.events()
    }

    /// The report as one object.
    pub fn json(&self) -> Value {
        let rate = median(self.rates().into_iter());
        let floor = median(self.floor_rates().into_iter());
        let cpu_s = median(self.runs.iter().map(Run::cpu_s));
        let floor_cpu_s = median(self.floors.iter().map(|(_, measured)| measured.cpu_s));
        json!({
            "events": self.records,
            "events_per_s": rate.round(),
            "events_per_s_spread": spread(&self.rates()),
            "mb_per_s": self.megabytes_per_second(),
            "floor_events_per_s": floor.round(),
            "floor_events_per_s_spread": spread(&self.floor_rates()),
            "consume_events_per_s": self.rate_of(&self.consumes).round(),
            "poll_events_per_s": Some(self.rate_of(&self.polls).round()).filter(|rate| rate.is_finite()),
            "ratio_to_floor": rate / floor,
            "cpu_s_per_million": self.per_million(cpu_s),
            "floor_cpu_s_per_million": self.per_million(floor_cpu_s),
            "peak_rss_mib": median(self.runs.iter().map(Run::peak_rss_mib)),
            "floor_peak_rss_mib": median(self.floors.iter().map(|(_, measured)| measured.peak_rss_mib)),
            "rows_out": self.expected.values().sum::<u64>(),
            "rows_by_sink": self.expected,
            "sinks": if self.blackhole { "blackhole" } else { "real" },
            "stages": self.stages(),
            "operators_s": self.watched.profiles.first().map(|profile| &profile.operators),
            "threads_s": self.watched.measured.first().map(|measured| &measured.threads),
            "unaccounted": self.runs.iter().filter_map(|run| run.ledger["unaccounted"].as_i64()).sum::<i64>(),
        })
    }

    /// The report for people.
    pub fn text(&self) -> String {
        let json = self.json();
        let number = |name: &str| json[name].as_f64().unwrap_or(f64::NAN);
        let mut text = format!("{}\n\n", self.title);
        let mut line = |what: &str, run: String, floor: String| {
            // Writing to a text does not fail.
            let _ = writeln!(text, "  {what:<24}{run:>14}{floor:>14}");
        };
        line("", "dataflow".into(), "floor".into());
        line(
            "events/s",
            format!("{:.0}", number("events_per_s")),
            format!("{:.0}", number("floor_events_per_s")),
        );
        let spread = |name: &str| format!("± {:.1} %", number(name) * 50.0);
        line("", spread("events_per_s_spread"), spread("floor_events_per_s_spread"));
        line("MB/s", format!("{:.1}", number("mb_per_s")), String::new());
        line("ratio to the floor", format!("{:.3}", number("ratio_to_floor")), "1".into());
        let cpu = |name: &str| format!("{:.2}", number(name));
        line("CPU s/million events", cpu("cpu_s_per_million"), cpu("floor_cpu_s_per_million"));
        let memory = |name: &str| format!("{:.0}", number(name));
        line("peak memory, MiB", memory("peak_rss_mib"), memory("floor_peak_rss_mib"));
        line("consume alone, events/s", String::new(), memory("consume_events_per_s"));
        if !self.polls.is_empty() {
            line("a call each, events/s", String::new(), memory("poll_events_per_s"));
        }
        line("rows at the sinks", memory("rows_out"), String::new());
        let stages = self.stages();
        let shares: Vec<_> =
            stages.iter().map(|(name, share)| format!("{name} {:.1} %", share * 100.0)).collect();
        let _ = writeln!(text, "\n  time of all cores: {}", shares.join(", "));
        text
    }
}

fn stage_of_thread(name: &str) -> &'static str {
    match name {
        name if name.starts_with("read ") => "read",
        name if name.starts_with("rdk:") => "client",
        name if name.starts_with("timely") || name.starts_with("work") => "workers",
        name if name.starts_with("sink ") || name.starts_with("kafka ") => "sinks",
        _ => "other",
    }
}

fn stage_of_operator(name: &str) -> &'static str {
    match name {
        name if name.starts_with("Source ") => "cut",
        name if name.starts_with("Split ") || name.starts_with("Exchange ") => "exchange",
        name if name.starts_with("Sink ") || name.ends_with("etters") || name == "Open sinks" => "sinks",
        "Ticker" | "Binder" | "Settle" | "Ledger" | "Dataflow" | "Probe" | "Concatenate" | "" => "progress",
        _ => "operators",
    }
}

/// The middle value; the mean of the two middle ones of an even number.
pub(super) fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        count if count % 2 == 1 => values[count / 2],
        count => f64::midpoint(values[count / 2 - 1], values[count / 2]),
    }
}

/// Distance of the greatest from the least value, over the median.
pub(super) fn spread(values: &[f64]) -> f64 {
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let greatest = values.iter().copied().fold(0.0, f64::max);
    (greatest - least) / median(values.iter().copied())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_spreads() {
        assert_eq!(median([3.0, 1.0, 2.0].into_iter()), 2.0);
        assert_eq!(median([4.0, 1.0, 2.0, 3.0].into_iter()), 2.5);
        assert_eq!(spread(&[9.0, 10.0, 11.0]), 0.2);
        assert!(median(std::iter::empty()).is_nan());
    }
}

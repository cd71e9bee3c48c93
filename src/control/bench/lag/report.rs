//! What a lag benchmark has found: a table, JSON, a page with charts, and `.hgrm` files.

use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use super::html;
use super::send::Sent;
use super::slo::Verdict;
use super::tracker::{Latencies, Route};
use crate::control::bench::args::LagArgs;
use crate::error::{Error, Result};

/// Percentiles of every table.
pub const PERCENTILES: [(&str, f64); 5] =
    [("p50", 50.0), ("p90", 90.0), ("p99", 99.0), ("p99.9", 99.9), ("max", 100.0)];

/// What was found at one rate.
pub struct Step {
    /// Events per second.
    pub rate: u64,
    pub sent: Sent,
    /// From the last event that was sent until all had arrived.
    pub drained: Duration,
    /// Everything arrived, and nobody fell behind.
    pub held: bool,
    pub routes: Vec<Route>,
}

/// All steps, and what the goals say to them.
pub struct Report {
    pub title: String,
    /// Sinks that do not show which event a row comes from.
    left_out: Vec<String>,
    pub steps: Vec<Step>,
    unaccounted: i64,
    pub verdicts: Vec<Verdict>,
}

impl Report {
    pub fn new(args: &LagArgs, left_out: Vec<String>, steps: Vec<Step>, unaccounted: i64) -> Self {
        let title = format!(
            "{}: {} s per rate, {} keys, {} partitions; {} process(es) of {} worker(s); late {}, twice {}, broken {}",
            args.dataflow.display(),
            args.duration.as_secs_f64(),
            args.load.keys,
            args.load.partitions,
            args.load.processes,
            args.load.workers,
            args.disorder,
            args.duplicates,
            args.broken,
        );
        Report { title, left_out, steps, unaccounted, verdicts: Vec::new() }
    }

    /// Whether any event was looked for.
    pub fn is_measured(&self) -> bool {
        self.steps.iter().flat_map(|step| &step.routes).any(|route| route.expected > 0)
    }

    /// Events that did not arrive somewhere.
    pub fn lost(&self) -> u64 {
        self.steps.iter().flat_map(|step| &step.routes).map(Route::lost).sum()
    }

    /// A percentile of the latency at the target where it is greatest, over the rates that were asked for or held.
    pub fn slowest(&self, percentile: f64) -> Option<Duration> {
        let routes =
            self.steps.iter().flat_map(|step| &step.routes).filter(|route| !route.latencies.is_empty());
        let latencies = routes.map(|route| route.latencies.value_at_percentile(percentile));
        latencies.max().map(Duration::from_micros)
    }

    /// The greatest rate that was held.
    fn highest(&self) -> Option<u64> {
        self.steps.iter().filter(|step| step.held).map(|step| step.rate).max()
    }

    /// The report for people.
    pub fn text(&self) -> String {
        let mut text = format!("{}\n\n", self.title);
        let names: String = PERCENTILES.iter().map(|(name, _)| format!("{name:>9}")).collect();
        // Writing to a text does not fail.
        let _ = writeln!(text, "  {:>9}  {:<34}{names}   lost, ms", "events/s", "seen in");
        for step in &self.steps {
            for route in &step.routes {
                let place = format!("{} {}", route.target.place.title(), route.target.name);
                let values: String = PERCENTILES
                    .iter()
                    .map(|(_, percentile)| format!("{:>9.1}", ms(&route.latencies, *percentile)))
                    .collect();
                let rate = if step.held { step.rate.to_string() } else { format!("({})", step.rate) };
                let _ = writeln!(text, "  {rate:>9}  {place:<34}{values}   {}", route.lost());
            }
        }
        let highest = self.highest().map_or("none".to_owned(), |rate| rate.to_string());
        let _ = writeln!(text, "\n  highest rate that was held: {highest} (others in brackets)");
        if !self.left_out.is_empty() {
            let _ = writeln!(
                text,
                "  not measured, since rows do not tell their event: {}",
                self.left_out.join(", ")
            );
        }
        for verdict in &self.verdicts {
            let _ = writeln!(text, "  {verdict}");
        }
        text
    }

    /// The report as one object.
    pub fn json(&self) -> Value {
        let verdict = |verdict: &Verdict| json!({ "goal": verdict.goal, "reached": verdict.reached, "found": verdict.found });
        json!({
            "title": self.title,
            "steps": self.steps.iter().map(Step::json).collect::<Vec<_>>(),
            "highest_rate": self.highest(),
            "lost": self.lost(),
            "not_measured": self.left_out,
            "slo": self.verdicts.iter().map(verdict).collect::<Vec<_>>(),
            "unaccounted": self.unaccounted,
        })
    }

    /// Writes the page, and a file per rate and target into a folder.
    pub fn write(&self, page: Option<&Path>, folder: Option<&Path>) -> Result<()> {
        if let Some(page) = page {
            put(page, &html::page(&self.json()))?;
        }
        let Some(folder) = folder else { return Ok(()) };
        std::fs::create_dir_all(folder).map_err(|error| cannot_write(folder, error))?;
        for step in &self.steps {
            for route in &step.routes {
                let name = format!("{}-{}-{}.hgrm", step.rate, route.target.place.title(), route.target.name);
                put(&folder.join(name), &hgrm(&route.latencies))?;
            }
        }
        Ok(())
    }
}

fn put(path: &Path, text: &str) -> Result<()> {
    std::fs::write(path, text).map_err(|error| cannot_write(path, error))
}

fn cannot_write(path: &Path, error: std::io::Error) -> Error {
    Error::config(format!("cannot write '{}'", path.display())).caused_by(error)
}

impl Step {
    fn json(&self) -> Value {
        let target = |route: &Route| {
            json!({
                "name": route.target.name,
                "place": route.target.place.title(),
                "events": route.latencies.len(),
                "lost": route.lost(),
                "repeated": route.repeated,
                "latency_ms": percentiles(&route.latencies),
                "seconds": route.seconds.iter().map(percentiles).collect::<Vec<_>>(),
            })
        };
        json!({
            "rate": self.rate,
            "held": self.held,
            "sent": self.sent.records,
            "sender_behind_ms": self.sent.behind.as_secs_f64() * 1e3,
            "drained_ms": self.drained.as_secs_f64() * 1e3,
            "targets": self.routes.iter().map(target).collect::<Vec<_>>(),
        })
    }
}

fn percentiles(latencies: &Latencies) -> Value {
    let of = |(name, percentile): (&str, f64)| (name.to_owned(), json!(ms(latencies, percentile)));
    Value::Object(PERCENTILES.into_iter().map(of).collect())
}

fn ms(latencies: &Latencies, percentile: f64) -> f64 {
    latencies.value_at_percentile(percentile) as f64 / 1e3
}

/// The distribution as the plotters of HdrHistogram read it, in milliseconds.
fn hgrm(latencies: &Latencies) -> String {
    let mut text =
        format!("{:>12} {:>14} {:>10} {:>14}\n\n", "Value", "Percentile", "TotalCount", "1/(1-Percentile)");
    let mut total = 0;
    for step in latencies.iter_quantiles(5) {
        total += step.count_since_last_iteration();
        let (value, quantile) = (step.value_iterated_to() as f64 / 1e3, step.quantile_iterated_to());
        let inverse =
            if quantile < 1.0 { format!("{:.2}", 1.0 / (1.0 - quantile)) } else { "inf".to_owned() };
        let _ = writeln!(text, "{value:>12.3} {quantile:>14.12} {total:>10} {inverse:>14}");
    }
    let (mean, deviation) = (latencies.mean() / 1e3, latencies.stdev() / 1e3);
    let _ = writeln!(text, "#[Mean    = {mean:>12.3}, StdDeviation   = {deviation:>12.3}]");
    let _ = writeln!(
        text,
        "#[Max     = {:>12.3}, Total count    = {:>12}]",
        ms(latencies, 100.0),
        latencies.len()
    );
    let (buckets, steps) = (latencies.buckets(), latencies.distinct_values());
    let _ = writeln!(text, "#[Buckets = {buckets:>12}, SubBuckets     = {steps:>12}]");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_distribution_ends_with_all_of_it() {
        let mut latencies = Latencies::new_with_max(1 << 32, 3).expect("three digits");
        (1..=1_000).for_each(|ms| latencies.record(ms * 1_000).expect("in range"));
        let text = hgrm(&latencies);
        let lines: Vec<_> = text.lines().collect();
        assert!(lines[0].contains("Percentile"), "{text}");
        let last = lines.iter().rfind(|line| !line.starts_with('#')).expect("a line");
        assert!(
            last.contains("1.000000000000") && last.contains(" 1000 ") && last.ends_with("inf"),
            "{last}"
        );
        assert_eq!(percentiles(&latencies)["p50"], json!(500.223));
    }
}

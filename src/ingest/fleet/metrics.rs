//! Database instances that report their metrics in turn, and now and then have trouble.

use std::io::Write;

use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64Mcg;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::device::{Damage, Device, Report, Turn, rfc3339};
use super::random::Wandering;

/// Types of databases, each with the version that its instances have.
const DATABASES: [(&str, &str); 4] =
    [("postgresql", "16.4"), ("mysql", "8.4.2"), ("mongodb", "8.0.1"), ("redis", "7.4.0")];

struct Metric {
    name: &'static str,
    mean: f64,
    spread: f64,
    /// By how much trouble raises it.
    trouble: f64,
    max: f64,
}

/// In the order in which an instance reports them, again and again.
const METRICS: [Metric; 5] = [
    Metric { name: "cpu_percent", mean: 45.0, spread: 6.0, trouble: 48.0, max: 100.0 },
    Metric { name: "memory_percent", mean: 62.0, spread: 3.0, trouble: 15.0, max: 100.0 },
    Metric { name: "connections", mean: 120.0, spread: 20.0, trouble: 160.0, max: 500.0 },
    Metric { name: "queries_per_second", mean: 900.0, spread: 150.0, trouble: -500.0, max: 1e6 },
    Metric { name: "replication_lag_seconds", mean: 0.4, spread: 0.15, trouble: 25.0, max: 1e6 },
];
const REGIONS: [&str; 3] = ["eu-west", "eu-north", "us-east"];

/// State of one instance.
pub(super) struct Instance {
    rng: Pcg64Mcg,
    index: u64,
    metrics: [Wandering; METRICS.len()],
    region: &'static str,
    reports: usize,
    in_trouble: bool,
    /// When trouble begins or ends.
    change_ms: Option<i64>,
}

impl Instance {
    /// Instance number `index` with this seed.
    pub fn new(seed: u64, index: u64) -> Self {
        let mut rng = Pcg64Mcg::seed_from_u64(xxh3_64_with_seed(&index.to_le_bytes(), seed));
        Instance {
            index,
            metrics: METRICS.map(|metric| Wandering::new(metric.mean, metric.spread, &mut rng)),
            region: REGIONS[rng.random_range(0..REGIONS.len())],
            reports: rng.random_range(0..METRICS.len()),
            in_trouble: false,
            change_ms: None,
            rng,
        }
    }

    fn database(&self) -> (&'static str, &'static str) {
        DATABASES[(self.index % DATABASES.len() as u64) as usize]
    }

    fn name(&self) -> String {
        format!("{}-{:02}", self.database().0, self.index / DATABASES.len() as u64 + 1)
    }

    /// Lets trouble begin and end.
    fn live(&mut self, now_ms: i64) {
        match self.change_ms {
            Some(change) if now_ms < change => return,
            Some(_) => self.in_trouble = !self.in_trouble,
            None => {}
        }
        // Trouble is rarer and shorter than the time between.
        let pause_s = if self.in_trouble { 120..600 } else { 300..3_600 };
        self.change_ms = Some(now_ms.saturating_add(self.rng.random_range(pause_s) * 1_000));
    }

    fn to_json(&self, metric: &str, value: f64, turn: Turn) -> Vec<u8> {
        let instance = match turn.damage {
            Some(Damage::MissingName) => String::new(),
            _ => format!(r#""instance_id": "{}", "#, self.name()),
        };
        let value = match turn.damage {
            Some(Damage::WrongType) => r#""high""#.to_owned(),
            _ => format!("{value:.2}"),
        };
        let (time, (database, version)) = (rfc3339(turn.event_ms), self.database());
        let (region, host) = (self.region, self.index + 1);
        let mut json = Vec::with_capacity(320);
        // Writing into memory does not fail.
        let _ = write!(
            json,
            r#"{{"timestamp": "{time}", "database_type": "{database}", {instance}"metric_name": "{metric}", "value": {value}, "tags": {{"environment": "production", "region": "{region}"}}, "metadata": {{"host": "db-{host:02}", "version": "{version}"}}}}"#
        );
        Damage::of_whole(turn.damage, json)
    }
}

impl Device for Instance {
    fn report(&mut self, turn: Turn) -> Report {
        self.live(turn.event_ms);
        let metric = self.reports % METRICS.len();
        self.reports += 1;
        let Metric { name, trouble, max, .. } = METRICS[metric];
        let trouble = if self.in_trouble { trouble } else { 0.0 };
        let value = (self.metrics[metric].step(&mut self.rng) + trouble).clamp(0.0, max);
        let database = self.database().0;
        let key = format!("{database}:{}", self.name()).into_bytes();
        Report { key, value: self.to_json(name, value, turn), kind: database }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn instances_report_every_metric_and_come_out_of_trouble_again() {
        let (mut peaks, mut ends) = (0, 0);
        for index in 0..8 {
            let mut instance = Instance::new(2, index);
            let (mut names, mut was_high) = (Vec::new(), false);
            for number in 0..20_000 {
                let event_ms = 1_761_559_635_000 + number * 1_000;
                let turn = Turn { event_ms, event_us: event_ms * 1_000, received_ms: event_ms, damage: None };
                let report = instance.report(turn);
                let json: Value = serde_json::from_slice(&report.value).expect("JSON");
                let (database, id) = (json["database_type"].as_str(), json["instance_id"].as_str());
                let key = format!("{}:{}", database.expect("a text"), id.expect("a text"));
                assert_eq!(report.key, key.as_bytes());
                assert_eq!(database, Some(report.kind));
                if number < 5 {
                    names.push(json["metric_name"].as_str().expect("a text").to_owned());
                }
                if json["metric_name"] == "cpu_percent" {
                    let value = json["value"].as_f64().expect("a number");
                    assert!((0.0..=100.0).contains(&value));
                    let is_high = if was_high { value > 70.0 } else { value > 80.0 };
                    peaks += u32::from(is_high && !was_high);
                    ends += u32::from(!is_high && was_high);
                    was_high = is_high;
                }
            }
            names.sort();
            names.dedup();
            assert_eq!(names.len(), METRICS.len());
        }
        assert!(peaks > 20 && ends > 20, "{peaks} {ends}");
    }
}

//! Instances of services that write log messages.

use std::io::Write;

use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64Mcg;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::device::{Damage, Device, Report, Turn, rfc3339};

const SERVICES: [&str; 10] = [
    "auth",
    "billing",
    "catalogue",
    "checkout",
    "gateway",
    "inventory",
    "orders",
    "search",
    "shipping",
    "users",
];
/// Levels with a message of each, and how many of 1,000 messages are of them.
const LEVELS: [(&str, &str, u32); 5] = [
    ("INFO", "request handled", 700),
    ("DEBUG", "cache read", 180),
    ("WARN", "answer was slow", 85),
    ("ERROR", "request failed", 33),
    ("FATAL", "out of memory", 2),
];

/// One instance of a service.
pub(super) struct Service {
    rng: Pcg64Mcg,
    index: u64,
}

impl Service {
    /// Instance number `index` with this seed.
    pub fn new(seed: u64, index: u64) -> Self {
        Service { rng: Pcg64Mcg::seed_from_u64(xxh3_64_with_seed(&index.to_le_bytes(), seed)), index }
    }

    fn name(&self) -> &'static str {
        SERVICES[(self.index % SERVICES.len() as u64) as usize]
    }

    fn level(&mut self) -> (&'static str, &'static str) {
        let mut left: u32 = self.rng.random_range(0..1_000);
        for (level, message, share) in LEVELS {
            match left.checked_sub(share) {
                Some(rest) => left = rest,
                None => return (level, message),
            }
        }
        (LEVELS[0].0, LEVELS[0].1)
    }
}

impl Device for Service {
    fn report(&mut self, turn: Turn) -> Report {
        let (level, message) = self.level();
        let (trace, span) = (self.rng.random::<u128>(), self.rng.random::<u64>());
        let took_ms: u32 = self.rng.random_range(1..2_000);
        let name = self.name();
        let service = match turn.damage {
            Some(Damage::MissingName) => String::new(),
            _ => format!(r#""service": "{name}", "#),
        };
        let time = match turn.damage {
            Some(Damage::WrongType) => "soon".to_owned(),
            _ => rfc3339(turn.event_ms),
        };
        let instance = self.index / SERVICES.len() as u64 + 1;
        let mut json = Vec::with_capacity(320);
        // Writing into memory does not fail.
        let _ = write!(
            json,
            r#"{{"timestamp": "{time}", "level": "{level}", "message": "{message}", {service}"trace_id": "{trace:032x}", "span_id": "{span:016x}", "context": {{"instance": "{name}-{instance}", "took_ms": {took_ms}}}}}"#
        );
        let value = Damage::of_whole(turn.damage, json);
        Report { key: name.as_bytes().to_vec(), value, kind: name }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use serde_json::Value;

    use super::*;

    #[test]
    fn every_level_is_written_as_often_as_it_should_be() {
        assert_eq!(LEVELS.iter().map(|(_, _, share)| share).sum::<u32>(), 1_000);
        let (mut service, mut levels) = (Service::new(1, 12), HashMap::new());
        for number in 0..20_000 {
            let turn = Turn { event_ms: number, event_us: number * 1_000, received_ms: number, damage: None };
            let report = service.report(turn);
            let json: Value = serde_json::from_slice(&report.value).expect("JSON");
            *levels.entry(json["level"].as_str().expect("a text").to_owned()).or_insert(0) += 1;
            assert_eq!((json["service"].as_str(), report.kind), (Some("catalogue"), "catalogue"));
            assert_eq!(json["context"]["instance"], "catalogue-2");
        }
        assert_eq!(levels.len(), 5, "{levels:?}");
        assert!((13_500..14_500).contains(&levels["INFO"]) && levels["FATAL"] < 100, "{levels:?}");
    }
}

//! Sensors of several types: readings with an id of their own, whose duration is log-normal.

use std::io::Write;

use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64Mcg;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::device::{Damage, Device, Report, Turn, rfc3339};
use super::random::{Wandering, log_normal, normal};
use crate::plan::Shape;

/// What a type of sensor measures, and how its values are spread.
struct Type {
    name: &'static str,
    unit: &'static str,
    mean: f64,
    spread: f64,
}

const TYPES: [Type; Shape::TYPES_MAX as usize] = [
    Type { name: "temperature", unit: "°C", mean: 21.0, spread: 2.5 },
    Type { name: "pressure", unit: "hPa", mean: 1013.0, spread: 8.0 },
    Type { name: "humidity", unit: "%", mean: 45.0, spread: 8.0 },
    Type { name: "motion", unit: "events/min", mean: 9.0, spread: 3.0 },
    Type { name: "light", unit: "lx", mean: 420.0, spread: 90.0 },
    Type { name: "vibration", unit: "mm/s", mean: 3.0, spread: 0.8 },
    Type { name: "co2", unit: "ppm", mean: 650.0, spread: 110.0 },
    Type { name: "sound", unit: "dB", mean: 48.0, spread: 7.0 },
    Type { name: "air_quality", unit: "AQI", mean: 60.0, spread: 15.0 },
    Type { name: "voltage", unit: "V", mean: 230.0, spread: 2.5 },
];
const LOCATIONS: u64 = 8;
const FIRMWARE: [&str; 3] = ["1.4.2", "2.0.1", "2.1.0"];
/// Half of the readings take longer than this, in seconds.
const DURATION_MEDIAN_S: f64 = 1.2;
const DURATION_SPREAD: f64 = 0.7;
/// Percent of charge that a reading takes, and the charge at which a battery is replaced.
const DRAIN: f64 = 0.02;
const CHARGE_MIN: f64 = 3.0;
/// Beyond so many standard deviations a reading is a warning, or critical.
const WARNING: f64 = 2.0;
const CRITICAL: f64 = 2.75;

/// State of one sensor.
pub(super) struct Sensor {
    rng: Pcg64Mcg,
    index: u64,
    kind: &'static Type,
    location: u64,
    firmware: &'static str,
    reading: Wandering,
    battery_percent: f64,
    signal_dbm: f64,
    last: Option<Message>,
}

/// What is sent of one reading.
#[derive(Clone)]
struct Message {
    id: String,
    event_ms: i64,
    duration_s: f64,
    value: f64,
    battery_percent: f64,
    signal_dbm: f64,
}

impl Sensor {
    /// Sensor number `index` with this seed, of one of the first `types` types.
    pub fn new(seed: u64, index: u64, types: u64) -> Self {
        let mut rng = Pcg64Mcg::seed_from_u64(xxh3_64_with_seed(&index.to_le_bytes(), seed));
        let kind = &TYPES[(index % types.clamp(1, Shape::TYPES_MAX)) as usize];
        // Sensors of one type are not alike.
        let mean = kind.mean + 0.5 * kind.spread * normal(&mut rng);
        Sensor {
            index,
            kind,
            location: 1 + rng.random_range(0..LOCATIONS),
            firmware: FIRMWARE[rng.random_range(0..FIRMWARE.len())],
            reading: Wandering::new(mean, kind.spread, &mut rng),
            battery_percent: rng.random_range(10.0..100.0),
            signal_dbm: rng.random_range(-88.0..-55.0),
            last: None,
            rng,
        }
    }

    fn name(&self) -> String {
        format!("sensor-{:04}", self.index + 1)
    }

    fn measure(&mut self, event_ms: i64) -> Message {
        self.battery_percent -= DRAIN;
        if self.battery_percent < CHARGE_MIN {
            self.battery_percent = 100.0;
        }
        Message {
            id: uuid(self.rng.random()),
            event_ms,
            duration_s: log_normal(&mut self.rng, DURATION_MEDIAN_S, DURATION_SPREAD),
            value: self.reading.step(&mut self.rng).max(0.0),
            battery_percent: self.battery_percent,
            signal_dbm: (self.signal_dbm + 4.0 * normal(&mut self.rng)).clamp(-120.0, -30.0),
        }
    }

    fn status(&self, value: f64) -> &'static str {
        match (value - self.kind.mean).abs() / self.kind.spread {
            far if far > CRITICAL => "critical",
            far if far > WARNING => "warning",
            _ => "normal",
        }
    }

    fn to_json(&self, message: &Message, damage: Option<Damage>) -> Vec<u8> {
        let device = match damage {
            Some(Damage::MissingName) => String::new(),
            _ => format!(r#""device_id": "{}", "#, self.name()),
        };
        let value = match damage {
            Some(Damage::WrongType) => r#""high""#.to_owned(),
            _ => format!("{:.2}", message.value),
        };
        let Type { name, unit, .. } = self.kind;
        let (time, status) = (rfc3339(message.event_ms), self.status(message.value));
        let (location, firmware) = (self.location, self.firmware);
        let mut json = Vec::with_capacity(512);
        // Writing into memory does not fail.
        let _ = write!(
            json,
            r#"{{"event_id": "{}", {device}"device_type": "{name}", "timestamp": "{time}", "event_duration": {:.3}, "location": "hall-{location}", "value": {value}, "unit": "{unit}", "status": "{status}", "battery_level": {:.1}, "signal_strength": {:.0}, "metadata": {{"location": "hall-{location}", "firmware": "{firmware}"}}}}"#,
            message.id, message.duration_s, message.battery_percent, message.signal_dbm,
        );
        Damage::of_whole(damage, json)
    }
}

/// A UUID of version 4 from random bits.
fn uuid(bits: u128) -> String {
    let bits = bits & !(0xf << 76) & !(0x3 << 62) | 0x4 << 76 | 0x2 << 62;
    let hex = format!("{bits:032x}");
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

impl Device for Sensor {
    fn report(&mut self, turn: Turn) -> Report {
        let message = self.measure(turn.event_ms);
        let value = self.to_json(&message, turn.damage);
        self.last = Some(message);
        Report { key: self.name().into_bytes(), value, kind: self.kind.name }
    }

    fn contradict(&mut self) -> Option<Vec<u8>> {
        let last = self.last.as_ref()?;
        let other = Message { value: last.value + self.kind.spread, ..last.clone() };
        Some(self.to_json(&other, None))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};

    use serde_json::Value;

    use super::*;

    #[test]
    fn ids_are_uuids_of_version_4() {
        assert_eq!(uuid(0), "00000000-0000-4000-8000-000000000000");
        assert_eq!(uuid(u128::MAX), "ffffffff-ffff-4fff-bfff-ffffffffffff");
    }

    #[test]
    fn readings_are_those_of_a_fleet_of_sensors() {
        let (mut ids, mut durations, mut per_type) = (HashSet::new(), Vec::new(), HashMap::new());
        let (mut statuses, mut weak, mut low) = (HashMap::new(), 0, 0);
        for index in 0..40 {
            let mut sensor = Sensor::new(5, index, 10);
            for number in 0..500 {
                let event_ms = 1_761_559_635_000 + number * 1_000;
                let turn = Turn { event_ms, event_us: event_ms * 1_000, received_ms: event_ms, damage: None };
                let json: Value = serde_json::from_slice(&sensor.report(turn).value).expect("JSON");
                let text = |name: &str| json[name].as_str().expect("a text").to_owned();
                let number = |name: &str| json[name].as_f64().expect("a number");
                assert!(ids.insert(text("event_id")), "an id of its own");
                durations.push(number("event_duration"));
                *per_type.entry(text("device_type")).or_insert(0) += 1;
                *statuses.entry(text("status")).or_insert(0) += 1;
                assert!(number("value") >= 0.0 && (0.0..=100.0).contains(&number("battery_level")));
                weak += u32::from(number("signal_strength") < -90.0);
                low += u32::from(number("battery_level") < 20.0);
                assert_eq!(json["location"], json["metadata"]["location"]);
            }
        }
        assert_eq!(per_type.len(), 10);
        assert!(per_type.values().all(|count| *count == 2_000), "{per_type:?}");
        assert_eq!(statuses.len(), 3, "{statuses:?}");
        assert!(statuses["normal"] > 15_000 && statuses["critical"] > 20, "{statuses:?}");
        assert!(weak > 100 && low > 100, "{weak} {low}");
        durations.sort_by(f64::total_cmp);
        // Of a log-normal distribution the 95th percentile is the median times e^(1.645 x spread).
        let (median, p95) = (durations[10_000], durations[19_000]);
        assert!((1.15..1.25).contains(&median) && (3.5..4.1).contains(&p95), "{median} {p95}");
    }
}

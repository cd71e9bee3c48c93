//! Events of a fleet, and what the dataflow `vehicle_state` must make of them, worked out record by record.

use std::collections::BTreeMap;

use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64Mcg;
use serde_json::{Value, json};
use xxhash_rust::xxh3::xxh3_64;

pub const PARTITIONS: i32 = 4;
/// Milliseconds since the Unix epoch: 2025-10-27T10:00:00Z.
const START_MS: i64 = 1_761_559_200_000;
const SIGNALS: [&str; 4] = ["odometer", "soc", "speed", "ignition_status"];

/// A record on its way into the topic.
pub struct Sent {
    pub partition: i32,
    pub key: String,
    pub payload: String,
}

/// `count` records of `vehicles` vehicles, the same for the same seed: out of order, some twice, and every
/// hundredth cannot be read.
pub fn fleet(seed: u64, count: usize, vehicles: u32) -> Vec<Sent> {
    let mut rng = Pcg64Mcg::seed_from_u64(seed);
    let mut sent: Vec<Sent> = Vec::with_capacity(count);
    for number in 0..count {
        let vehicle = rng.random_range(0..vehicles);
        let partition = (vehicle % PARTITIONS as u32) as i32;
        let key = format!("v{vehicle}");
        let payload = match number % 100 {
            99 => format!("{{\"did\": \"{key}\", \"broken\": "),
            50 => {
                let Sent { partition, key, payload } = &sent[number - 3];
                sent.push(Sent { partition: *partition, key: key.clone(), payload: payload.clone() });
                continue;
            }
            _ => event(&key, number as i64, &mut rng).to_string(),
        };
        sent.push(Sent { partition, key, payload });
    }
    sent
}

fn event(did: &str, number: i64, rng: &mut Pcg64Mcg) -> Value {
    let time_ms = START_MS + number * 10 - rng.random_range(0..30_000) / 7;
    let name = SIGNALS[rng.random_range(0..SIGNALS.len())];
    let (value_type, float, int) = match name {
        "odometer" => ("0", json!(f64::from(rng.random_range(0..80_000)) / 8.0), json!("0")),
        _ => ("1", json!(0), json!(rng.random_range(0..200))),
    };
    json!({
        "did": did,
        "timestamp": time_ms.to_string(),
        "name": name,
        "value_type": value_type,
        "float_value": float,
        "string_value": "",
        "int_value": int,
        "eventTime": time_ms,
        "receivedTime": null,
    })
}

/// The collections and topics as they must be in the end.
#[derive(Default)]
pub struct Expected {
    /// Events as they were received, by the `_id` that follows from topic, partition and offset.
    pub history: BTreeMap<Vec<u8>, Value>,
    /// By vehicle: event time, odo, soc, speed, ignition.
    pub latest: BTreeMap<String, Latest>,
    /// Key and value, sorted.
    pub normalised: Vec<(String, Value)>,
    pub dead: usize,
}

/// The newest value of each signal with its time and place.
#[derive(Default)]
pub struct Latest {
    pub event_time_ms: i64,
    newest: BTreeMap<String, ((i64, i32, u64), Value)>,
}

impl Latest {
    /// The newest value of a signal; null if there was none.
    pub fn value(&self, signal: &str) -> Value {
        self.newest.get(signal).map_or(Value::Null, |(_, value)| value.clone())
    }
}

/// Works out what `sent` must become.
pub fn expected(topic: &str, sent: &[Sent]) -> Expected {
    let mut expected = Expected::default();
    let mut offsets = [0u64; PARTITIONS as usize];
    for Sent { partition, payload, .. } in sent {
        let offset = offsets[*partition as usize];
        offsets[*partition as usize] += 1;
        let Ok(event) = serde_json::from_str::<Value>(payload) else {
            expected.dead += 1;
            continue;
        };
        let mut id = xxh3_64(topic.as_bytes()).to_be_bytes().to_vec();
        id.extend_from_slice(&partition.to_be_bytes());
        id.extend_from_slice(&offset.to_be_bytes());
        expected.add(&event, (*partition, offset));
        expected.history.insert(id, event);
    }
    expected.normalised.sort_by_key(|(key, value)| format!("{key} {value}"));
    expected
}

impl Expected {
    fn add(&mut self, event: &Value, (partition, offset): (i32, u64)) {
        let did = event["did"].as_str().expect("a text").to_owned();
        let name = event["name"].as_str().expect("a text").to_owned();
        let time_ms = event["eventTime"].as_i64().expect("a number");
        let is_float = name == "odometer";
        let own = if is_float { event["float_value"].clone() } else { event["int_value"].clone() };
        let latest = self.latest.entry(did.clone()).or_default();
        latest.event_time_ms = latest.event_time_ms.max(time_ms);
        let place = (time_ms, partition, offset);
        let newest = latest.newest.entry(name.clone()).or_insert_with(|| (place, own.clone()));
        if newest.0 < place {
            *newest = (place, own.clone());
        }
        let value = own.as_f64().expect("a number");
        self.normalised.push((
            format!(r#"{{"did":"{did}"}}"#),
            json!({ "did": did, "name": name, "value": value, "text": null, "eventTime": time(time_ms), "receivedTime": null }),
        ));
    }
}

/// RFC 3339 with microseconds.
fn time(ms: i64) -> String {
    let time = chrono::DateTime::from_timestamp_millis(ms).expect("in range");
    time.to_rfc3339_opts(chrono::SecondsFormat::Micros, true)
}

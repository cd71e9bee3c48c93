//! Seeded events of the shape that a source reads.

use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64Mcg;
use serde_json::{Map, Value, json};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::ingest::fleet::{Fleet, SimulatedRecord};
use crate::plan::{ColumnOrigin, ColumnType, Shape, Simulator, Source};

/// Telemetry has about this many bytes an event; shorter ones get a field that nobody reads.
const BYTES_MIN: usize = 200;
/// Words of text columns that are no key.
const WORDS: [&str; 8] = ["normal", "warning", "critical", "north", "south", "east", "west", "unknown"];

/// How many events of which keys.
#[derive(Clone, Copy, Debug)]
pub struct Amount {
    pub events: u64,
    pub keys: u64,
    pub partitions: u32,
    pub seed: u64,
    /// Events per second of event time; 0: every key reports once a second, or an event each millisecond.
    pub rate: u64,
    pub noise: Noise,
    /// Event time of the first event, milliseconds since the Unix epoch.
    pub start_ms: i64,
}

/// Shares of events, 0 to 1, that are not as they should be. Only simulated devices have such.
#[derive(Clone, Copy, Debug, Default)]
pub struct Noise {
    /// Late by up to 30 s.
    pub disorder: f64,
    /// Sent twice.
    pub duplicates: f64,
    /// Cannot be read.
    pub broken: f64,
}

/// The events of a source, in the order in which they are sent.
pub enum Events {
    /// What simulated devices send.
    Fleet(Box<Fleet>),
    /// Whatever the columns say.
    Rows(Box<Rows>),
}

impl Events {
    /// The events for `source`: those of the simulated devices whose fields it reads, else values for its columns.
    pub fn of(source: &Source, amount: Amount) -> Events {
        match Shape::read_by(source) {
            Some(shape) => {
                let simulator = simulator(source, shape, amount);
                Events::Fleet(Box::new(Fleet::new(&simulator, amount.start_ms)))
            }
            None => Events::Rows(Box::new(Rows::new(source, amount))),
        }
    }
}

impl Iterator for Events {
    type Item = SimulatedRecord;

    fn next(&mut self) -> Option<SimulatedRecord> {
        match self {
            Events::Fleet(fleet) => fleet.next(),
            Events::Rows(rows) => rows.next(),
        }
    }
}

fn simulator(source: &Source, shape: Shape, amount: Amount) -> Simulator {
    let usual = Simulator::of(shape);
    // Batteries are what the dataflow over all types of sensors looks at.
    let all_types = source.columns.iter().any(|column| column.name == "battery_level");
    Simulator {
        rate: amount.rate,
        seed: amount.seed,
        count: Some(amount.events),
        keys: amount.keys,
        disorder: amount.noise.disorder,
        duplicates: amount.noise.duplicates,
        broken: amount.noise.broken,
        types: if all_types { Shape::TYPES_MAX } else { usual.types },
        ..usual
    }
}

/// Values for the columns of any source. The first text column is the key; times go on by one millisecond from
/// event to event.
pub struct Rows {
    fields: Vec<(Vec<String>, ColumnType)>,
    /// Place of the key in `fields`.
    key: Option<usize>,
    amount: Amount,
    sent: u64,
    rng: Pcg64Mcg,
}

impl Rows {
    fn new(source: &Source, amount: Amount) -> Self {
        let field = |column: &crate::plan::Column| match &column.from {
            ColumnOrigin::Path(path) => Some((path.clone(), column.kind)),
            ColumnOrigin::Metadata(_) | ColumnOrigin::Computed => None,
        };
        let fields: Vec<_> = source.columns.iter().filter_map(field).collect();
        let key = fields.iter().position(|(_, kind)| *kind == ColumnType::Text);
        let seed = xxh3_64_with_seed(source.name.as_bytes(), amount.seed);
        Rows { fields, key, amount, sent: 0, rng: Pcg64Mcg::seed_from_u64(seed) }
    }

    fn time_ms(&self) -> i64 {
        let rate = if self.amount.rate > 0 { self.amount.rate } else { 1_000 };
        self.amount.start_ms.saturating_add_unsigned(self.sent * 1_000 / rate)
    }

    fn value(&mut self, field: usize, device: u64) -> Value {
        match self.fields[field].1 {
            ColumnType::Text if self.key == Some(field) => json!(format!("device-{device:06}")),
            ColumnType::Text => json!(WORDS[self.rng.random_range(0..WORDS.len())]),
            ColumnType::BigInt if field == 0 => json!(self.sent),
            ColumnType::BigInt | ColumnType::Int => json!(self.rng.random_range(0..1_000)),
            ColumnType::Double => json!(f64::from(self.rng.random_range(0..100_000)) / 100.0),
            ColumnType::Boolean => json!(self.rng.random_bool(0.5)),
            ColumnType::Timestamp => {
                let time = self.time_ms();
                let time = chrono::DateTime::from_timestamp_millis(time).unwrap_or_default();
                json!(time.to_rfc3339_opts(chrono::SecondsFormat::Millis, true))
            }
            ColumnType::Date => {
                let ms = self.amount.start_ms.saturating_add_unsigned(self.sent);
                json!(
                    chrono::DateTime::from_timestamp_millis(ms).unwrap_or_default().date_naive().to_string()
                )
            }
            ColumnType::Json => json!({"firmware": "1.4.2", "site": self.rng.random_range(0..50)}),
        }
    }
}

impl Iterator for Rows {
    type Item = SimulatedRecord;

    fn next(&mut self) -> Option<SimulatedRecord> {
        if self.sent == self.amount.events {
            return None;
        }
        // All events of a device go to one partition, as a keyed topic has them.
        let device = self.rng.random_range(0..self.amount.keys);
        let mut record = Map::new();
        for field in 0..self.fields.len() {
            let value = self.value(field, device);
            put(&mut record, &self.fields[field].0, value);
        }
        let mut text = Value::Object(record).to_string();
        if text.len() < BYTES_MIN {
            let padding = "x".repeat(BYTES_MIN.saturating_sub(text.len() + r#","_":"""#.len()));
            text.truncate(text.len() - 1);
            text.push_str(&format!("{}\"_\":\"{padding}\"}}", if text.len() > 1 { "," } else { "" }));
        }
        let time_ms = self.time_ms();
        self.sent += 1;
        Some(SimulatedRecord {
            partition: (device % u64::from(self.amount.partitions)) as u32,
            key: format!("device-{device:06}").into_bytes(),
            value: text.into_bytes(),
            kind: "",
            event_ms: time_ms,
            time_ms,
        })
    }
}

/// Puts a value at a path of nested objects.
fn put(record: &mut Map<String, Value>, path: &[String], value: Value) {
    let Some((first, rest)) = path.split_first() else { return };
    if rest.is_empty() {
        record.insert(first.clone(), value);
        return;
    }
    let inner = record.entry(first.clone()).or_insert_with(|| Value::Object(Map::new()));
    if let Value::Object(inner) = inner {
        put(inner, rest, value);
    }
}

//! The stream of events of a fleet of vehicles, seeded and scheduled.
//!
//! Event times follow a schedule from the start time on: global event g is due at start + g / rate and belongs
//! to partition g mod [`PARTITIONS`]. The stream of a partition depends on the seed and its number only.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64Mcg;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::signals::{Damage, Message};
use super::vehicles::Vehicle;
use crate::error::Result;
use crate::plan::Simulator;
use crate::topic_log::TopicWriter;

/// Partitions of the generated stream, fewer when there are fewer vehicles.
pub const PARTITIONS: u32 = 4;
/// How far behind its event time an event can arrive.
const LATE_US_MAX: i64 = 30_000_000;
/// Some events must be in time, or none would ever be sent.
const DISORDER_MAX: f64 = 0.95;
/// How long after the first copy the second one can arrive.
const DUPLICATE_US_MAX: i64 = 5_000_000;
/// A vehicle sends its events so long after they happened.
const DELAY_US: i64 = 200_000;
/// Pauses are at least so long: at high rates events come in small groups.
pub(super) const PAUSE_MIN: Duration = Duration::from_millis(2);
/// So that a stop is noticed.
pub(super) const PAUSE_MAX: Duration = Duration::from_millis(50);

/// One message of a vehicle.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SimulatedRecord {
    pub partition: u32,
    /// The vehicle's `did`.
    pub key: Vec<u8>,
    pub value: Vec<u8>,
    /// When it was sent, milliseconds since the Unix epoch.
    pub time_ms: i64,
}

/// Number of partitions of a fleet.
pub fn partitions(settings: &Simulator) -> u32 {
    PARTITIONS.min(u32::try_from(settings.keys).unwrap_or(PARTITIONS)).max(1)
}

/// Events per second of the schedule; unpaced, every vehicle reports each signal about every 4 s.
fn rate(settings: &Simulator) -> u64 {
    if settings.rate > 0 { settings.rate } else { settings.keys.max(1) }
}

/// The stream of one partition.
pub(super) struct Stream {
    settings: Simulator,
    partition: u32,
    partitions: u32,
    start_us: i64,
    rng: Pcg64Mcg,
    vehicles: Vec<Vehicle>,
    /// Records sent.
    pub sent: u64,
    /// Events generated.
    generated: u64,
    held: BinaryHeap<Reverse<Held>>,
}

/// A record that is sent later, in the order of its fields.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Held {
    until_us: i64,
    generated: u64,
    key: Vec<u8>,
    value: Vec<u8>,
}

impl Stream {
    pub fn new(settings: &Simulator, partition: u32, start_ms: i64) -> Self {
        let partitions = partitions(settings);
        let seed = xxh3_64_with_seed(format!("partition {partition}").as_bytes(), settings.seed);
        let indices = (u64::from(partition)..settings.keys.max(1)).step_by(partitions as usize);
        Stream {
            settings: settings.clone(),
            partition,
            partitions,
            start_us: start_ms.saturating_mul(1_000),
            rng: Pcg64Mcg::seed_from_u64(seed),
            vehicles: indices.map(|index| Vehicle::new(settings.seed, index)).collect(),
            sent: 0,
            generated: 0,
            held: BinaryHeap::new(),
        }
    }

    /// Microseconds from the start to the next record; `None` at the end.
    pub fn due_us(&self) -> Option<u64> {
        let global = self.sent * u64::from(self.partitions) + u64::from(self.partition);
        if self.settings.count.is_some_and(|count| global >= count) {
            return None;
        }
        let due = u128::from(global) * 1_000_000 / u128::from(rate(&self.settings));
        Some(u64::try_from(due).unwrap_or(u64::MAX))
    }

    pub fn next(&mut self) -> Option<SimulatedRecord> {
        let due = self.due_us()?;
        let now_us = self.start_us.saturating_add(i64::try_from(due).unwrap_or(i64::MAX));
        self.sent += 1;
        let (key, value) = loop {
            if let Some(Held { key, value, .. }) = self.pop_due(now_us) {
                break (key, value);
            }
            let (key, value) = self.generate(now_us);
            if self.rng.random_bool(share(self.settings.duplicates)) {
                self.hold(now_us, DUPLICATE_US_MAX, key.clone(), value.clone());
            }
            if !self.rng.random_bool(share(self.settings.disorder).min(DISORDER_MAX)) {
                break (key, value);
            }
            self.hold(now_us, LATE_US_MAX, key, value);
        };
        Some(SimulatedRecord { partition: self.partition, key, value, time_ms: now_us.div_euclid(1_000) })
    }

    fn hold(&mut self, now_us: i64, longest_us: i64, key: Vec<u8>, value: Vec<u8>) {
        let until_us = now_us.saturating_add(self.rng.random_range(1..=longest_us));
        self.held.push(Reverse(Held { until_us, generated: self.generated, key, value }));
    }

    fn pop_due(&mut self, now_us: i64) -> Option<Held> {
        let due = self.held.peek().is_some_and(|Reverse(held)| held.until_us <= now_us);
        if due { self.held.pop().map(|Reverse(held)| held) } else { None }
    }

    /// The next event, as key and value, of whichever vehicle has its turn.
    fn generate(&mut self, now_us: i64) -> (Vec<u8>, Vec<u8>) {
        let turn = (self.generated % self.vehicles.len() as u64) as usize;
        self.generated += 1;
        let vehicle = &mut self.vehicles[turn];
        let event_us = now_us - DELAY_US;
        let signal = vehicle.report(event_us);
        let received_us = event_us + self.rng.random_range(20_000..=DELAY_US);
        let broken = self.rng.random_bool(share(self.settings.broken));
        let damage = broken.then(|| Damage::ALL[self.rng.random_range(0..Damage::ALL.len())]);
        let event_ms = event_us.div_euclid(1_000);
        let received_ms = received_us.div_euclid(1_000);
        let message = Message { vehicle, signal, event_ms, received_ms };
        (vehicle.did.to_string().into_bytes(), message.to_json(damage))
    }
}

fn share(value: f64) -> f64 {
    if value.is_nan() { 0.0 } else { value.clamp(0.0, 1.0) }
}

/// The whole stream in the order of its schedule, to fill a topic with.
pub struct Fleet {
    streams: Vec<Stream>,
    /// Number of the next record.
    next: u64,
}

impl Fleet {
    /// A fleet whose schedule begins at `start_ms`.
    pub fn new(settings: &Simulator, start_ms: i64) -> Self {
        let numbers = 0..partitions(settings);
        Fleet { streams: numbers.map(|number| Stream::new(settings, number, start_ms)).collect(), next: 0 }
    }

    /// When the next record is due, from the start on; `None` at the end.
    pub fn due(&self) -> Option<Duration> {
        self.streams[self.turn()].due_us().map(Duration::from_micros)
    }

    /// Gives the records to `append` when they are due by the schedule (at once where `rate` is 0), with a
    /// `flush` before each pause, until the end or `stop`. Returns the number of records.
    pub fn send(&mut self, stop: &AtomicBool, sink: &mut dyn SimulatedSink) -> Result<u64> {
        let (start, mut count) = (Instant::now(), 0);
        let paced = self.streams[0].settings.rate > 0;
        while let Some(due) = self.due()
            && !stop.load(Ordering::Relaxed)
        {
            let ahead = due.saturating_sub(start.elapsed());
            if paced && !ahead.is_zero() {
                sink.flush()?;
                std::thread::park_timeout(ahead.clamp(PAUSE_MIN, PAUSE_MAX));
                continue;
            }
            if let Some(record) = self.next() {
                sink.append(&record)?;
                count += 1;
            }
        }
        sink.flush()?;
        Ok(count)
    }

    fn turn(&self) -> usize {
        (self.next % self.streams.len() as u64) as usize
    }
}

/// Where a [`Fleet`] sends its records.
pub trait SimulatedSink {
    /// Takes a record over.
    fn append(&mut self, record: &SimulatedRecord) -> Result<()>;
    /// Makes all records visible.
    fn flush(&mut self) -> Result<()>;
}

impl SimulatedSink for TopicWriter {
    fn append(&mut self, record: &SimulatedRecord) -> Result<()> {
        let partition = record.partition % self.partitions();
        TopicWriter::append(self, partition, Some(&record.key), Some(&record.value), &[], record.time_ms)
    }

    fn flush(&mut self) -> Result<()> {
        TopicWriter::flush(self)
    }
}

impl Iterator for Fleet {
    type Item = SimulatedRecord;

    fn next(&mut self) -> Option<SimulatedRecord> {
        let turn = self.turn();
        let record = self.streams[turn].next()?;
        self.next += 1;
        Some(record)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};

    use super::*;
    use crate::plan::Shape;

    const START_MS: i64 = 1_761_559_635_000;

    fn settings() -> Simulator {
        Simulator {
            shape: Shape::Vehicles,
            rate: 1_000,
            seed: 7,
            count: Some(20_000),
            keys: 50,
            disorder: 0.1,
            duplicates: 0.05,
            broken: 0.02,
        }
    }

    fn event_time(record: &SimulatedRecord) -> Option<String> {
        let json: serde_json::Value = serde_json::from_slice(&record.value).ok()?;
        json["did"].as_str()?;
        Some(json["eventTime"].as_str()?.to_owned())
    }

    #[test]
    fn equal_seeds_give_equal_bytes_and_others_do_not() {
        let fleet: Vec<_> = Fleet::new(&settings(), START_MS).collect();
        assert_eq!(fleet.len(), 20_000);
        for partition in 0..PARTITIONS {
            let mut alone = Stream::new(&settings(), partition, START_MS);
            let whole = fleet.iter().filter(|record| record.partition == partition);
            assert!(whole.eq(&std::iter::from_fn(|| alone.next()).collect::<Vec<_>>()), "{partition}");
        }
        let other = Fleet::new(&Simulator { seed: 8, ..settings() }, START_MS);
        assert!(!other.eq(fleet));
    }

    #[test]
    fn a_vehicle_stays_in_its_partition_and_signals_are_on_schedule() {
        let clean = Simulator { disorder: 0.0, duplicates: 0.0, broken: 0.0, ..settings() };
        let mut partition_of = HashMap::new();
        let mut last = String::new();
        for (number, record) in Fleet::new(&clean, START_MS).enumerate() {
            let partition = *partition_of.entry(record.key.clone()).or_insert(record.partition);
            assert_eq!(partition, record.partition);
            assert_eq!(record.time_ms, START_MS + number as i64);
            let time = event_time(&record).expect("readable");
            assert!(time >= last, "in order");
            last = time;
        }
        assert_eq!(partition_of.len(), 50);
        assert_eq!(last, "2025-10-27T10:07:34.799Z");
    }

    #[test]
    fn shares_of_late_double_and_broken_messages_are_kept() {
        let (mut seen, mut newest) = (HashSet::new(), String::new());
        let (mut late, mut double, mut broken) = (0, 0, 0);
        for record in Fleet::new(&Simulator { count: Some(100_000), ..settings() }, START_MS) {
            double += u32::from(!seen.insert(record.value.clone()) && event_time(&record).is_some());
            match event_time(&record) {
                Some(time) => {
                    late += u32::from(time < newest);
                    newest = newest.max(time);
                }
                None => broken += 1,
            }
        }
        // Of 100,000, some of which are held back behind the end; a second copy is late, too.
        assert!((11_000..16_000).contains(&late), "late {late}");
        assert!((4_000..5_000).contains(&double), "double {double}");
        assert!((1_200..2_200).contains(&broken), "broken {broken}");
        let full = Simulator { disorder: 1.0, duplicates: 1.0, broken: 1.0, keys: 0, rate: 0, ..settings() };
        assert_eq!(Fleet::new(&full, START_MS).take(5_000).count(), 5_000);
    }

    #[test]
    fn a_topic_is_filled_by_the_schedule() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut writer = TopicWriter::open(folder.path(), 4).expect("opened");
        let settings = Simulator { rate: 10_000, count: Some(1_000), ..settings() };
        let start = Instant::now();
        let mut fleet = Fleet::new(&settings, START_MS);
        assert_eq!(fleet.send(&AtomicBool::new(false), &mut writer).expect("sent"), 1_000);
        assert!(start.elapsed() >= Duration::from_micros(99_900), "{:?}", start.elapsed());
        let mut count = 0;
        for partition in 0..4 {
            let path = crate::topic_log::partition_path(folder.path(), partition);
            let mut reader = crate::topic_log::LogReader::open(path);
            count += reader.read(usize::MAX, &mut |record| assert!(record.key.is_some())).expect("read");
        }
        assert_eq!(count, 1_000);
    }
}

//! The stream of events of a fleet of devices, seeded and scheduled.
//!
//! Event times follow a schedule from the start time on: global event g is due at start + g / rate and belongs
//! to partition g mod [`PARTITIONS`]. The stream of a partition depends on the seed and its number only.

mod device;
mod logs;
mod metrics;
mod random;
mod sensors;
mod signals;
mod vehicles;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64Mcg;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use self::device::{Damage, Device, Report, Turn};
use crate::error::Result;
use crate::plan::Simulator;
use crate::topic_log::TopicWriter;

/// Partitions of the generated stream, fewer when there are fewer devices.
pub const PARTITIONS: u32 = 4;
/// Some events must be in time, or none would ever be sent.
const DISORDER_MAX: f64 = 0.95;
/// How long after the first copy the second one can arrive.
const DUPLICATE_US_MAX: i64 = 5_000_000;
/// A device sends its events so long after they happened.
const DELAY_MS: i64 = 200;
const DAY_US: u64 = 86_400_000_000;
/// Pauses are at least so long: at high rates events come in small groups.
pub(super) const PAUSE_MIN: Duration = Duration::from_millis(2);
/// So that a stop is noticed.
pub(super) const PAUSE_MAX: Duration = Duration::from_millis(50);

/// One message of a device.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SimulatedRecord {
    pub partition: u32,
    /// The name of the device.
    pub key: Vec<u8>,
    pub value: Vec<u8>,
    /// Of what kind the device is; empty where there are no kinds.
    pub kind: &'static str,
    /// When it happened, milliseconds since the Unix epoch.
    pub event_ms: i64,
    /// When it was sent, milliseconds since the Unix epoch.
    pub time_ms: i64,
}

/// Number of partitions of a fleet.
pub fn partitions(settings: &Simulator) -> u32 {
    PARTITIONS.min(u32::try_from(settings.keys).unwrap_or(PARTITIONS)).max(1)
}

/// How events are spread over simulated time: so many in so long.
#[derive(Clone, Copy, Debug)]
struct Schedule {
    events: u64,
    span_us: u64,
}

impl Schedule {
    /// As many as the rate says; unpaced, every device reports once a second.
    fn live(settings: &Simulator) -> Self {
        let events = if settings.rate > 0 { settings.rate } else { settings.keys.max(1) };
        Schedule { events, span_us: 1_000_000 }
    }

    /// When event `number` is due, from the start on.
    fn due_us(self, number: u64) -> u64 {
        let due = u128::from(number) * u128::from(self.span_us) / u128::from(self.events.max(1));
        u64::try_from(due).unwrap_or(u64::MAX)
    }
}

/// The stream of one partition.
pub(super) struct Stream {
    settings: Simulator,
    partition: u32,
    partitions: u32,
    start_us: i64,
    schedule: Schedule,
    rng: Pcg64Mcg,
    devices: Vec<Box<dyn Device>>,
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
    event: Event,
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Event {
    key: Vec<u8>,
    value: Vec<u8>,
    kind: &'static str,
    event_ms: i64,
}

impl Stream {
    pub fn new(settings: &Simulator, partition: u32, start_ms: i64) -> Self {
        Self::scheduled(settings, partition, start_ms, Schedule::live(settings))
    }

    fn scheduled(settings: &Simulator, partition: u32, start_ms: i64, schedule: Schedule) -> Self {
        let partitions = partitions(settings);
        let seed = xxh3_64_with_seed(format!("partition {partition}").as_bytes(), settings.seed);
        let indices = (u64::from(partition)..settings.keys.max(1)).step_by(partitions as usize);
        Stream {
            settings: settings.clone(),
            partition,
            partitions,
            start_us: start_ms.saturating_mul(1_000),
            schedule,
            rng: Pcg64Mcg::seed_from_u64(seed),
            devices: indices.map(|index| device::device(settings, index)).collect(),
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
        Some(self.schedule.due_us(global))
    }

    pub fn next(&mut self) -> Option<SimulatedRecord> {
        let due = self.due_us()?;
        let now_us = self.start_us.saturating_add(i64::try_from(due).unwrap_or(i64::MAX));
        self.sent += 1;
        let late_us = i64::try_from(self.settings.late_by.as_micros()).unwrap_or(i64::MAX).max(1);
        let event = loop {
            if let Some(held) = self.pop_due(now_us) {
                break held.event;
            }
            let (event, other) = self.generate(now_us);
            if self.rng.random_bool(share(self.settings.duplicates)) {
                self.hold(now_us, DUPLICATE_US_MAX, event.clone());
            }
            if let Some(value) = other {
                self.hold(now_us, DUPLICATE_US_MAX, Event { value, ..event.clone() });
            }
            if !self.rng.random_bool(share(self.settings.disorder).min(DISORDER_MAX)) {
                break event;
            }
            self.hold(now_us, late_us, event);
        };
        let Event { key, value, kind, event_ms } = event;
        let (partition, time_ms) = (self.partition, now_us.div_euclid(1_000));
        Some(SimulatedRecord { partition, key, value, kind, event_ms, time_ms })
    }

    fn hold(&mut self, now_us: i64, longest_us: i64, event: Event) {
        let until_us = now_us.saturating_add(self.rng.random_range(1..=longest_us));
        self.held.push(Reverse(Held { until_us, generated: self.generated, event }));
    }

    fn pop_due(&mut self, now_us: i64) -> Option<Held> {
        let due = self.held.peek().is_some_and(|Reverse(held)| held.until_us <= now_us);
        if due { self.held.pop().map(|Reverse(held)| held) } else { None }
    }

    /// The next event of whichever device has its turn, and the same with other content where that is due.
    fn generate(&mut self, now_us: i64) -> (Event, Option<Vec<u8>>) {
        let turn = (self.generated % self.devices.len() as u64) as usize;
        self.generated += 1;
        let event_us = now_us - DELAY_MS * 1_000;
        let received_us = event_us + self.rng.random_range(20_000..=DELAY_MS * 1_000);
        let broken = self.rng.random_bool(share(self.settings.broken));
        let damage = broken.then(|| Damage::ALL[self.rng.random_range(0..Damage::ALL.len())]);
        let (event_ms, received_ms) = (event_us.div_euclid(1_000), received_us.div_euclid(1_000));
        let device = &mut self.devices[turn];
        let Report { key, value, kind } = device.report(Turn { event_ms, event_us, received_ms, damage });
        let conflicts = share(self.settings.conflicts);
        let contradicted = conflicts > 0.0 && damage.is_none() && self.rng.random_bool(conflicts);
        let other = if contradicted { device.contradict() } else { None };
        (Event { key, value, kind, event_ms }, other)
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

    /// A fleet whose `count` events happened within so many whole days from `start_ms` on.
    pub fn history(settings: &Simulator, start_ms: i64, days: u32) -> Self {
        let events = settings.count.unwrap_or_else(|| daily(settings) * u64::from(days));
        let schedule = Schedule { events, span_us: DAY_US * u64::from(days) };
        let settings = Simulator { rate: 0, count: Some(events), ..settings.clone() };
        let start_ms = start_ms.saturating_add(DELAY_MS);
        let stream = |number| Stream::scheduled(&settings, number, start_ms, schedule);
        Fleet { streams: (0..partitions(&settings)).map(stream).collect(), next: 0 }
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

/// Events of a historical day where nothing else is said: every device reports once a minute.
fn daily(settings: &Simulator) -> u64 {
    settings.keys.max(1).saturating_mul(24 * 60)
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
mod tests;

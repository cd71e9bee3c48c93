//! The sender: an open loop. What counts is when an event was due, so a sender that falls behind, or one that a
//! slow broker holds up, counts against the latency and is never left out of it.

use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::target::Identity;
use super::tracker::Tracker;
use crate::control::bench::events::{Amount, Events};
use crate::control::publish;
use crate::control::simulate::KafkaTopic;
use crate::error::Result;
use crate::ingest::fleet::SimulatedSink;
use crate::json;
use crate::parse::{decoder, timestamp};
use crate::plan::Source;
use crate::record::{Decode, Partition, Record};

/// Rows of a view are asked for one by one: more than this would be a load of its own.
const SAMPLES_PER_SECOND: u64 = 50;
const NS_PER_MS: i64 = 1_000_000;
/// The sender wakes up at most so often, and then sends all that is due: waking up for each of 20,000 events per second
/// takes the cores away from what is measured. How late they are counts as latency.
const NAP: Duration = Duration::from_millis(1);

/// An event that shall be looked for.
pub struct Sample {
    pub key: String,
    pub time_ms: i64,
}

/// What the sender needs.
pub struct Sending<'a> {
    pub source: &'a Source,
    pub identity: &'a Identity,
    pub tracker: &'a Tracker,
    /// Targets whose rows are sampled, with whoever looks for them.
    pub sampled: &'a [(usize, Sender<Sample>)],
}

/// How it went.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sent {
    pub records: u64,
    pub bytes: u64,
    /// How far the sender was behind its schedule at most.
    pub behind: Duration,
}

impl Sending<'_> {
    /// Sends `rate` events per second for `duration`, whatever becomes of them.
    pub fn send(&self, topic: &mut KafkaTopic, amount: Amount, duration: Duration) -> Result<Sent> {
        let count = (duration.as_secs_f64() * amount.rate as f64) as u64;
        let amount = Amount { events: count.max(1), start_ms: publish::wall_ms(), ..amount };
        let indices: Vec<usize> = self.sampled.iter().map(|(index, _)| *index).collect();
        let every = (amount.rate / SAMPLES_PER_SECOND).max(1);
        let mut readable = Readable::new(self.source, amount.noise.broken > 0.0);
        let (began, mut sent) = (Instant::now(), Sent::default());
        let mut naps = Naps { last: began };
        for (number, record) in (0_u32..).zip(Events::of(self.source, amount)) {
            let due = began + Duration::from_secs(1) * number / amount.rate as u32;
            naps.until(due);
            sent.behind = sent.behind.max(due.elapsed());
            // A broken record becomes a dead letter, and nobody waits for it.
            if readable.is(&record.value)
                && let Some((key, time_ms)) = identity(&record.value, self.identity)
            {
                self.tracker.sent(&key, time_ms, due, &indices);
                if u64::from(number) % every == 0 {
                    for (index, looker) in self.sampled {
                        self.tracker.sampled(*index, &key, time_ms, due);
                        // Without anybody who looks the event counts as lost, as it should.
                        let _ = looker.send(Sample { key: key.clone(), time_ms });
                    }
                }
            }
            sent.records += 1;
            sent.bytes += record.value.len() as u64;
            topic.append(&record)?;
        }
        topic.finish()?;
        Ok(sent)
    }
}

/// When the sender wakes up.
struct Naps {
    /// When it was to wake up last, which is the measure: counted from when it did, it would come later each time.
    last: Instant,
}

impl Naps {
    /// Waits until a moment has come, and a little longer where it is near.
    fn until(&mut self, due: Instant) {
        if due > Instant::now() {
            self.last = due.max(self.last + NAP);
            while let Some(left) =
                self.last.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())
            {
                thread::park_timeout(left);
            }
        }
    }
}

/// Tells records apart that become rows from those that become dead letters.
struct Readable(Option<Box<dyn Decode>>);

impl Readable {
    /// Where nothing is broken, nothing has to be looked at.
    fn new(source: &Source, some_are_broken: bool) -> Self {
        let partition = Partition { id: 0, name: source.name.as_str().into(), number: 0 };
        Readable(some_are_broken.then(|| decoder(Arc::new(source.clone()), partition)))
    }

    fn is(&mut self, value: &[u8]) -> bool {
        let Some(decoder) = &mut self.0 else { return true };
        decoder.push(&Record::of(0, value));
        decoder.finish().rows.num_rows() == 1
    }
}

/// Key and event time of a record, in milliseconds since the Unix epoch.
fn identity(record: &[u8], identity: &Identity) -> Option<(String, i64)> {
    let record = str::from_utf8(record).ok()?;
    let at = |path: &[String]| -> Option<Value> {
        let below = |text, name: &String| json::field(text, name).map(|token| token.raw(text));
        serde_json::from_str(path.iter().try_fold(record, below)?).ok()
    };
    Some((at(&identity.key.1)?.as_str()?.to_owned(), time_ms(&at(&identity.time.1)?)?))
}

/// A time as records and rows have it, in milliseconds since the Unix epoch.
pub fn time_ms(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => number.as_i64(),
        Value::String(text) => timestamp::rfc3339(text).map(|time| time.div_euclid(NS_PER_MS)),
        _ => None,
    }
}

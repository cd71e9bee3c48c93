//! The simulator as a source of its own; [`super::fleet`] generates its events.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::fleet::{PAUSE_MAX, PAUSE_MIN, Stream, partitions};
use super::{Connector, Reader, RecordSink};
use crate::error::Result;
use crate::plan::Simulator;
use crate::record::{FoundPartition, Partition, Record};

/// Records that one call of `read` takes from each partition.
const RECORDS_PER_PARTITION: usize = 2_000;

/// The simulator as a source.
#[derive(Debug)]
pub struct SimulatorConnector {
    name: String,
    settings: Simulator,
    start_ms: i64,
    /// When the schedule began; `None` reads as fast as possible.
    began: Option<Instant>,
    first_offset: u64,
}

impl SimulatorConnector {
    /// The schedule begins now, at `start_ms`; with a rate of 0 records come as fast as they are taken.
    pub fn live(name: &str, settings: &Simulator, start_ms: i64) -> Self {
        let began = (settings.rate > 0).then(Instant::now);
        // Runs that begin at different times give different events: they must not have the same origins, or
        // what a sink has kept of one run would be in conflict with the next. Nobody simulates a billion
        // events a second, so a million numbers per millisecond keep them apart.
        let first_offset = u64::try_from(start_ms).unwrap_or(0).saturating_mul(1_000_000);
        SimulatorConnector { name: name.into(), settings: settings.clone(), start_ms, began, first_offset }
    }

    /// The same events as fast as they are taken.
    pub fn bounded(name: &str, settings: &Simulator, start_ms: i64) -> Self {
        SimulatorConnector {
            name: name.into(),
            settings: settings.clone(),
            start_ms,
            began: None,
            first_offset: 0,
        }
    }
}

impl Connector for SimulatorConnector {
    fn find(&self, _known: Option<&[Partition]>) -> Result<Vec<FoundPartition>> {
        let name: Arc<str> = self.name.as_str().into();
        let found = |number| FoundPartition {
            from: self.first_offset,
            ..FoundPartition::whole(Partition { id: number, name: name.clone(), number })
        };
        Ok((0..partitions(&self.settings)).map(found).collect())
    }

    fn reader(&self) -> Box<dyn Reader> {
        let (settings, start_ms, began) = (self.settings.clone(), self.start_ms, self.began);
        Box::new(SimulatorReader { settings, start_ms, streams: Vec::new(), began })
    }
}

struct SimulatorReader {
    settings: Simulator,
    start_ms: i64,
    streams: Vec<Timed>,
    began: Option<Instant>,
}

struct Timed {
    stream: Stream,
    first_offset: u64,
    state: State,
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    Sending,
    /// It was said that nothing is due.
    CaughtUp,
    Ended,
}

impl Reader for SimulatorReader {
    fn add(&mut self, partitions: &[FoundPartition]) -> Result<()> {
        self.streams.extend(partitions.iter().map(|found| Timed {
            stream: Stream::new(&self.settings, found.partition.number, self.start_ms),
            first_offset: found.from,
            state: State::Sending,
        }));
        Ok(())
    }

    fn read(&mut self, wanted: &[bool], max_wait: Duration, out: &mut dyn RecordSink) -> Result<()> {
        let deadline = Instant::now() + max_wait;
        loop {
            let now = self.began.map_or(Duration::MAX, |began| began.elapsed());
            let (mut progress, mut pause) = (false, PAUSE_MAX);
            for (index, stream) in self.streams.iter_mut().enumerate() {
                if wanted[index] {
                    progress |= stream.read(index, now, out);
                    let due = stream.stream.due_us().map_or(Duration::MAX, Duration::from_micros);
                    pause = pause.min(due.saturating_sub(now));
                }
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if progress || left.is_zero() {
                return Ok(());
            }
            std::thread::park_timeout(pause.max(PAUSE_MIN).min(left));
        }
    }
}

impl Timed {
    /// Whether there was anything to say about this partition.
    fn read(&mut self, index: usize, now: Duration, out: &mut dyn RecordSink) -> bool {
        if self.state == State::Ended {
            return false;
        }
        for sent in 0..RECORDS_PER_PARTITION {
            let offset = self.first_offset + self.stream.sent;
            let due = self.stream.due_us();
            if due.is_some_and(|due| Duration::from_micros(due) > now) {
                let news = sent > 0 || self.state == State::Sending;
                if news {
                    out.caught_up(index, offset);
                }
                self.state = State::CaughtUp;
                return news;
            }
            let Some(record) = self.stream.next() else {
                self.state = State::Ended;
                out.caught_up(index, offset);
                out.ended(index);
                return true;
            };
            out.record(
                index,
                &Record {
                    offset,
                    key: Some(&record.key),
                    payload: Some(&record.value),
                    left_out: 0,
                    headers: &[],
                    timestamp_ms: Some(record.time_ms),
                },
            );
        }
        self.state = State::Sending;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingest::collect::Collected;
    use crate::ingest::fleet::Fleet;
    use crate::plan::Shape;

    fn settings(rate: u64, count: Option<u64>) -> Simulator {
        let vehicles = Simulator::of(Shape::Vehicles);
        Simulator { rate, count, keys: 10, disorder: 0.2, duplicates: 0.1, broken: 0.1, ..vehicles }
    }

    #[test]
    fn a_bounded_run_reads_the_same_with_one_reader_or_several() {
        let settings = settings(100, Some(9_999));
        let connector = SimulatorConnector::bounded("vehicles", &settings, 0);
        let partitions = connector.find(None).expect("found");
        let read = |partitions: &[FoundPartition]| {
            let mut reader = connector.open(partitions).expect("opened");
            let mut out = Collected::new(partitions.len());
            while out.ended.contains(&false) {
                let wanted = vec![true; partitions.len()];
                reader.read(&wanted, Duration::ZERO, &mut out).expect("read");
            }
            out.records
        };
        let together = read(&partitions);
        let apart: Vec<_> = partitions.chunks(1).flat_map(read).collect();
        assert_eq!(together, apart);
        assert_eq!(together.iter().map(Vec::len).collect::<Vec<_>>(), [2_500, 2_500, 2_500, 2_499]);
        let first = Fleet::new(&settings, 0).next().expect("a record");
        assert_eq!(together[0][0], (0, Some(first.value)));
    }

    #[test]
    fn a_live_run_keeps_to_the_rate_and_catches_up_after_a_pause() {
        // Before and behind the moment at which the schedule begins: what is due by the later clock is due, and nothing
        // is that is not due by the earlier one.
        let before = Instant::now();
        let connector = SimulatorConnector::live("vehicles", &settings(2_000, None), 0);
        let began = Instant::now();
        let partitions = connector.find(None).expect("found");
        let mut reader = connector.open(&partitions).expect("opened");
        let mut out = Collected::new(partitions.len());
        while began.elapsed() < Duration::from_millis(300) {
            reader.read(&[true, true, true, false], Duration::from_millis(20), &mut out).expect("read");
        }
        assert_eq!(out.counts()[3], 0);
        reader.read(&[true; 4], Duration::from_millis(20), &mut out).expect("read");
        for count in out.counts() {
            let due = (500.0 * before.elapsed().as_secs_f64()) as usize + 1;
            assert!((140..=due).contains(&count), "{count}, and {due} were due");
        }
        assert!(out.caught_up.iter().all(Option::is_some) && !out.ended.contains(&true));
    }
}

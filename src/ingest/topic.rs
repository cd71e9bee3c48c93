//! A Kafka source in embedded mode: partitions of topics that are folders of the state directory.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::{Connector, Reader, RecordSink, missing_topic, topic_partitions};
use crate::error::{Error, Result};
use crate::plan::{KafkaSource, StartupMode};
use crate::record::Partition;
use crate::topic_log::{LogReader, partition_path, partitions, topic_directory, topics};

/// Records that one call of `read` takes from each partition.
const RECORDS_PER_PARTITION: usize = 2_000;
/// How often an idle reader looks at its files: soon after the last record often, later less often.
const LOOK_MIN: Duration = Duration::from_millis(1);
const LOOK_MAX: Duration = Duration::from_millis(8);

/// The topics of one source.
#[derive(Debug)]
pub struct TopicConnector {
    state_dir: PathBuf,
    topics: Vec<String>,
    startup: StartupMode,
    bounded: bool,
}

impl TopicConnector {
    /// A bounded source ends at the end that its partitions have when they are opened.
    pub fn new(state_dir: impl Into<PathBuf>, source: &KafkaSource, bounded: bool) -> Self {
        let (state_dir, topics) = (state_dir.into(), source.topics.clone());
        TopicConnector { state_dir, topics, startup: source.startup, bounded }
    }
}

impl Connector for TopicConnector {
    fn partitions(&self) -> Result<Vec<Partition>> {
        let mut found = Vec::new();
        for (position, topic) in self.topics.iter().enumerate() {
            let numbers = partitions(&topic_directory(&self.state_dir, topic)?)?;
            if numbers.is_empty() {
                let place = format!("in '{}'", self.state_dir.display());
                return Err(missing_topic(topic, &place, &topics(&self.state_dir)));
            }
            found.extend(topic_partitions(position, topic, numbers)?);
        }
        Ok(found)
    }

    fn open(&self, partitions: &[Partition]) -> Result<Box<dyn Reader>> {
        let mut logs = Vec::new();
        for partition in partitions {
            let directory = topic_directory(&self.state_dir, &partition.name)?;
            let path = partition_path(&directory, partition.number);
            let mut log = Log { reader: LogReader::open(path.clone()), end: None, state: State::Reading };
            if self.bounded || self.startup == StartupMode::Latest {
                let mut scan = LogReader::open(path);
                while scan.read(usize::MAX, &mut |_| ())? > 0 {}
                log.end = self.bounded.then_some(scan.next_offset());
                if self.startup == StartupMode::Latest {
                    log.reader = scan;
                }
            }
            logs.push(log);
        }
        Ok(Box::new(TopicReader { logs }))
    }
}

struct TopicReader {
    logs: Vec<Log>,
}

struct Log {
    reader: LogReader,
    /// Offset at which a bounded input ends.
    end: Option<u64>,
    state: State,
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    Reading,
    /// It was said that the reader stands at the end.
    CaughtUp,
    Ended,
}

impl Reader for TopicReader {
    fn read(&mut self, wanted: &[bool], max_wait: Duration, out: &mut dyn RecordSink) -> Result<()> {
        let deadline = Instant::now() + max_wait;
        let mut look = LOOK_MIN;
        loop {
            let mut progress = false;
            for (index, log) in self.logs.iter_mut().enumerate() {
                if wanted[index] {
                    progress |= log.read(index, out)?;
                }
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if progress || left.is_zero() {
                return Ok(());
            }
            std::thread::park_timeout(look.min(left));
            look = (look * 2).min(LOOK_MAX);
        }
    }
}

impl Log {
    /// Whether there was anything to say about this partition.
    fn read(&mut self, index: usize, out: &mut dyn RecordSink) -> Result<bool> {
        if self.state == State::Ended {
            return Ok(false);
        }
        let left = self.end.map_or(u64::MAX, |end| end - self.reader.next_offset());
        let max = RECORDS_PER_PARTITION.min(usize::try_from(left).unwrap_or(usize::MAX));
        let count = self.reader.read(max, &mut |record| out.record(index, record))?;
        if count == max && left > count as u64 {
            self.state = State::Reading;
            return Ok(true);
        }
        if self.end.is_some_and(|end| self.reader.next_offset() < end) {
            return Err(Error::internal("a topic file became shorter while it was read"));
        }
        let before = self.state;
        self.state = if self.end.is_some() { State::Ended } else { State::CaughtUp };
        if count > 0 || before == State::Reading {
            out.caught_up(index, self.reader.next_offset());
        }
        if self.state == State::Ended {
            out.ended(index);
        }
        Ok(count > 0 || self.state != before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingest::collect::Collected;
    use crate::topic_log::TopicWriter;

    const SOON: Duration = Duration::from_millis(20);

    fn source(topics: &[&str], startup: StartupMode) -> KafkaSource {
        let topics = topics.iter().map(|topic| topic.to_string()).collect();
        KafkaSource { topics, startup, properties: Default::default() }
    }

    fn fill(state_dir: &std::path::Path, topic: &str, records: u64) {
        let mut writer =
            TopicWriter::open(&topic_directory(state_dir, topic).expect("a name"), 2).expect("opened");
        for n in 0..records {
            let partition = (n % 2) as u32;
            writer.append(partition, None, Some(n.to_string().as_bytes()), &[], 0).expect("appended");
        }
        writer.flush().expect("flushed");
    }

    #[test]
    fn a_live_reader_goes_on_where_the_topic_grows() {
        let folder = tempfile::tempdir().expect("a folder");
        fill(folder.path(), "a", 5_000);
        fill(folder.path(), "b", 2);
        let connector =
            TopicConnector::new(folder.path(), &source(&["a", "b"], StartupMode::Earliest), false);
        let partitions = connector.partitions().expect("found");
        let ids: Vec<_> = partitions.iter().map(|p| (p.id, &*p.name, p.number)).collect();
        assert_eq!(ids, [(0, "a", 0), (1, "a", 1), (65_536, "b", 0), (65_537, "b", 1)]);

        let mut reader = connector.open(&partitions).expect("opened");
        let mut out = Collected::new(4);
        reader.read(&[false, true, true, true], SOON, &mut out).expect("read");
        assert_eq!(out.counts(), [0, 2_000, 1, 1]);
        for _ in 0..3 {
            reader.read(&[true; 4], SOON, &mut out).expect("read");
        }
        assert_eq!(out.counts(), [2_500, 2_500, 1, 1]);
        assert_eq!(out.caught_up, [Some(2_500), Some(2_500), Some(1), Some(1)]);
        fill(folder.path(), "b", 2);
        reader.read(&[true; 4], SOON, &mut out).expect("read");
        assert_eq!(out.payloads(2), ["0", "0"]);
        assert_eq!(out.caught_up[2], Some(2));
        assert_eq!(out.ended, [false; 4]);
    }

    #[test]
    fn a_bounded_reader_ends_at_the_end_found_at_start_and_latest_begins_there() {
        let folder = tempfile::tempdir().expect("a folder");
        fill(folder.path(), "a", 10);
        let bounded = TopicConnector::new(folder.path(), &source(&["a"], StartupMode::Earliest), true);
        let latest = TopicConnector::new(folder.path(), &source(&["a"], StartupMode::Latest), false);
        let partitions = bounded.partitions().expect("found");
        let (mut first, mut second) =
            (bounded.open(&partitions).expect("opened"), latest.open(&partitions).expect("opened"));
        fill(folder.path(), "a", 4);
        let mut out = Collected::new(2);
        first.read(&[true; 2], SOON, &mut out).expect("read");
        assert_eq!((out.counts(), &out.ended[..]), (vec![5, 5], &[true, true][..]));
        let mut out = Collected::new(2);
        second.read(&[true; 2], SOON, &mut out).expect("read");
        assert_eq!(out.offsets(0), [5, 6]);
    }

    #[test]
    fn a_missing_topic_is_named_with_the_nearest() {
        let folder = tempfile::tempdir().expect("a folder");
        fill(folder.path(), "telemetry_raw", 1);
        let connector =
            TopicConnector::new(folder.path(), &source(&["telemetry"], StartupMode::Earliest), false);
        let error = connector.partitions().expect_err("missing").to_string();
        assert!(error.contains("'telemetry'") && error.contains("'telemetry_raw'"), "{error}");
    }
}

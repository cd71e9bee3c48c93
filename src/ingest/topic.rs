//! A Kafka source in embedded mode: partitions of topics that are folders of the state directory.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::topics::{check_offsets, first_offset, matching, missing_topic, topic_partitions, unknown};
use super::{Connector, Reader, RecordSink};
use crate::error::{Error, Result};
use crate::plan::{KafkaSource, StartupMode, Topics};
use crate::record::{FoundPartition, Partition, Record};
use crate::topic_log::{LogReader, Named, partition_path, partitions, topic_directory, topics};

/// Records that one call of `read` takes from each partition.
const RECORDS_PER_PARTITION: usize = 2_000;
/// How often an idle reader looks at its files: soon after the last record often, later less often.
const LOOK_MIN: Duration = Duration::from_millis(1);
const LOOK_MAX: Duration = Duration::from_millis(8);
/// How often a reader looks whether its topics still exist.
const LOOK_NAMES: Duration = Duration::from_millis(200);

/// The topics of one source.
#[derive(Debug)]
pub struct TopicConnector {
    state_dir: PathBuf,
    source: KafkaSource,
    /// Topics that the dataflow writes; a pattern never matches them.
    sinks: Vec<String>,
    bounded: bool,
}

impl TopicConnector {
    /// A bounded source ends at the end that its partitions have when they are found.
    pub fn new(
        state_dir: impl Into<PathBuf>,
        source: &KafkaSource,
        sinks: Vec<String>,
        bounded: bool,
    ) -> Self {
        TopicConnector { state_dir: state_dir.into(), source: source.clone(), sinks, bounded }
    }

    /// The topics that there are, with their places in the source.
    fn topics(&self, known: Option<&[Partition]>) -> Result<Vec<(usize, String)>> {
        match &self.source.topics {
            Topics::Named(names) => Ok(names.iter().cloned().enumerate().collect()),
            Topics::Pattern(pattern) => matching(pattern, &self.sinks, topics(&self.state_dir), known),
        }
    }

    /// What is read of a partition.
    fn extent(&self, partition: Partition, startup: &StartupMode) -> Result<FoundPartition> {
        if !self.bounded && *startup == StartupMode::Earliest {
            return Ok(FoundPartition::whole(partition));
        }
        let directory = topic_directory(&self.state_dir, &partition.name)?;
        let mut scan = LogReader::open(partition_path(&directory, partition.number));
        let since = match startup {
            StartupMode::Timestamp(ms) => *ms,
            _ => i64::MAX,
        };
        let mut at_time = None;
        let mut look = |record: &Record<'_>| {
            if at_time.is_none() && record.timestamp_ms.is_some_and(|ms| ms >= since) {
                at_time = Some(record.offset);
            }
        };
        while scan.read(usize::MAX, &mut look)? > 0 {}
        let end = scan.next_offset();
        let from = first_offset(startup, &partition, (0, end), |_| Ok(at_time))?;
        Ok(FoundPartition { partition, from, to: self.bounded.then_some(end) })
    }
}

impl Connector for TopicConnector {
    fn find(&self, known: Option<&[Partition]>) -> Result<Vec<FoundPartition>> {
        let startup = if known.is_some() { &StartupMode::Earliest } else { &self.source.startup };
        let mut found = Vec::new();
        for (place, topic) in self.topics(known)? {
            let numbers = partitions(&topic_directory(&self.state_dir, &topic)?)?;
            if numbers.is_empty() && known.is_none() && !self.source.topics.named().is_empty() {
                let place = format!("in '{}'", self.state_dir.display());
                return Err(missing_topic(&topic, &place, &topics(&self.state_dir)));
            }
            for partition in unknown(topic_partitions(place, &topic, numbers)?, known) {
                found.push(self.extent(partition, startup)?);
            }
        }
        check_offsets(startup, found.iter().map(|found| &found.partition))?;
        Ok(found)
    }

    fn find_interval(&self) -> Option<Duration> {
        self.source.find_interval
    }

    fn reader(&self) -> Box<dyn Reader> {
        let (state_dir, look) = (self.state_dir.clone(), Instant::now());
        Box::new(TopicReader { state_dir, logs: Vec::new(), look, gone: BTreeSet::new() })
    }
}

struct TopicReader {
    state_dir: PathBuf,
    logs: Vec<Log>,
    /// When it is looked again whether the topics still exist.
    look: Instant,
    /// Topics that were deleted, of which the log tells once.
    gone: BTreeSet<Arc<str>>,
}

struct Log {
    partition: Partition,
    reader: LogReader,
    /// The file was deleted.
    gone: bool,
    /// Least offset that is handed on.
    from: u64,
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
    fn add(&mut self, partitions: &[FoundPartition]) -> Result<()> {
        let log = |found: &FoundPartition| {
            let FoundPartition { partition, from, to } = found.clone();
            let directory = topic_directory(&self.state_dir, &partition.name)?;
            let reader = LogReader::open(partition_path(&directory, partition.number));
            Ok(Log { partition, reader, gone: false, from, end: to, state: State::Reading })
        };
        let logs: Vec<_> = partitions.iter().map(log).collect::<Result<_>>()?;
        self.logs.extend(logs);
        Ok(())
    }

    fn read(&mut self, wanted: &[bool], max_wait: Duration, out: &mut dyn RecordSink) -> Result<()> {
        let deadline = Instant::now() + max_wait;
        let mut look = LOOK_MIN;
        if Instant::now() >= self.look {
            self.look = Instant::now() + LOOK_NAMES;
            self.look_at_names(out)?;
        }
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

impl TopicReader {
    /// Tells of topics that were deleted.
    fn look_at_names(&mut self, out: &mut dyn RecordSink) -> Result<()> {
        for (index, log) in self.logs.iter_mut().enumerate() {
            let name = log.partition.name.clone();
            // What a bounded input reads is settled at its start.
            if log.end.is_none() && log.is_gone(index, out)? && self.gone.insert(name.clone()) {
                tracing::warn!(topic = &*name, "a topic does not exist any more, the others are read on");
            }
        }
        Ok(())
    }
}

impl Log {
    /// Whether the file was deleted. Another one in its place has other records at the same offsets.
    fn is_gone(&mut self, index: usize, out: &mut dyn RecordSink) -> Result<bool> {
        let named = self.reader.named()?;
        if named == Named::Another || self.gone && named == Named::Itself && !self.reader.is_open() {
            let (Partition { name, number, .. }, next) = (&self.partition, self.reader.next_offset());
            let message = format!(
                "topic '{name}' was deleted and created anew while it was read, to offset {next} of partition {number}"
            );
            return Err(Error::config(message)
                .hint("its offsets mean other records now: start again with a new state directory"));
        }
        if named == Named::Nothing && !self.gone {
            self.gone = true;
            out.gone(index);
            if !self.reader.is_open() {
                // There is nothing to wait for, and nothing to say later.
                self.state = State::CaughtUp;
                out.caught_up(index, self.from);
            }
        }
        Ok(self.gone)
    }

    /// Whether there was anything to say about this partition.
    fn read(&mut self, index: usize, out: &mut dyn RecordSink) -> Result<bool> {
        if self.state == State::Ended || self.gone && !self.reader.is_open() {
            return Ok(false);
        }
        // A file can only be read from its beginning.
        while self.reader.next_offset() < self.from {
            let left = usize::try_from(self.from - self.reader.next_offset()).unwrap_or(usize::MAX);
            if self.reader.read(left, &mut |_| ())? == 0 {
                return Err(shorter());
            }
        }
        let left = self.end.map_or(u64::MAX, |end| end - self.reader.next_offset());
        let max = RECORDS_PER_PARTITION.min(usize::try_from(left).unwrap_or(usize::MAX));
        let count = self.reader.read(max, &mut |record| out.record(index, record))?;
        if count == max && left > count as u64 {
            self.state = State::Reading;
            return Ok(true);
        }
        if self.end.is_some_and(|end| self.reader.next_offset() < end) {
            return Err(shorter());
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

fn shorter() -> Error {
    Error::internal("a topic file became shorter while it was read")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingest::collect::Collected;
    use crate::topic_log::TopicWriter;

    const SOON: Duration = Duration::from_millis(20);

    fn source(topics: &[&str], startup: StartupMode) -> KafkaSource {
        let topics = Topics::Named(topics.iter().map(|topic| topic.to_string()).collect());
        KafkaSource { topics, startup, find_interval: None, properties: Default::default() }
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
            TopicConnector::new(folder.path(), &source(&["a", "b"], StartupMode::Earliest), vec![], false);
        let partitions = connector.find(None).expect("found");
        let ids = |found: &[FoundPartition]| -> Vec<_> {
            found.iter().map(|f| (f.partition.id, f.partition.name.to_string(), f.partition.number)).collect()
        };
        let both = |id, name: &str| [(id, name.to_owned(), 0), (id + 1, name.to_owned(), 1)];
        assert_eq!(ids(&partitions), [both(0, "a"), both(65_536, "b")].concat());

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
        let bounded =
            TopicConnector::new(folder.path(), &source(&["a"], StartupMode::Earliest), vec![], true);
        let latest = TopicConnector::new(folder.path(), &source(&["a"], StartupMode::Latest), vec![], false);
        let (partitions, ends) = (bounded.find(None).expect("found"), latest.find(None).expect("found"));
        let (mut first, mut second) =
            (bounded.open(&partitions).expect("opened"), latest.open(&ends).expect("opened"));
        fill(folder.path(), "a", 4);
        let mut out = Collected::new(2);
        first.read(&[true; 2], SOON, &mut out).expect("read");
        assert_eq!((out.counts(), &out.ended[..]), (vec![5, 5], &[true, true][..]));
        let mut out = Collected::new(2);
        second.read(&[true; 2], SOON, &mut out).expect("read");
        assert_eq!(out.offsets(0), [5, 6]);
    }

    #[test]
    fn partitions_that_appear_are_read_from_their_beginning() {
        let folder = tempfile::tempdir().expect("a folder");
        fill(folder.path(), "a", 4);
        let connector =
            TopicConnector::new(folder.path(), &source(&["a"], StartupMode::Latest), vec![], false);
        let mut partitions = connector.find(None).expect("found");
        let mut reader = connector.open(&partitions).expect("opened");
        let known =
            |found: &[FoundPartition]| -> Vec<_> { found.iter().map(|f| f.partition.clone()).collect() };
        assert!(connector.find(Some(&known(&partitions))).expect("found").is_empty());

        let directory = topic_directory(folder.path(), "a").expect("a name");
        let mut writer = TopicWriter::open(&directory, 3).expect("opened");
        let third = partition_path(&directory, 2);
        std::fs::write(&third, std::fs::read(partition_path(&directory, 1)).expect("read")).expect("written");
        writer.flush().expect("flushed");
        let later = connector.find(Some(&known(&partitions))).expect("found");
        assert_eq!(later.iter().map(|f| (f.partition.id, f.from, f.to)).collect::<Vec<_>>(), [(2, 0, None)]);
        reader.add(&later).expect("taken on");
        let mut out = Collected::new(3);
        reader.read(&[true; 3], SOON, &mut out).expect("read");
        assert_eq!((out.counts(), &out.caught_up[..]), (vec![0, 0, 2], &[Some(2), Some(2), Some(2)][..]));

        partitions.extend(later);
        std::fs::remove_dir_all(&directory).expect("removed");
        assert!(connector.find(Some(&known(&partitions))).expect("no error").is_empty());
    }

    #[test]
    fn a_topic_that_is_deleted_is_told_of_and_another_in_its_place_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        fill(folder.path(), "a", 4);
        fill(folder.path(), "b", 2);
        let source = source(&["a", "b"], StartupMode::Earliest);
        let connector = TopicConnector::new(folder.path(), &source, vec![], false);
        let partitions = connector.find(None).expect("found");
        // One reader had read some of it, the other nothing.
        for before in [true, false] {
            let mut reader = connector.open(&partitions).expect("opened");
            let mut out = Collected::new(4);
            let mut read = |reader: &mut Box<dyn Reader>, wait| reader.read(&[true; 4], wait, &mut out);
            if before {
                read(&mut reader, SOON).expect("read");
            }
            std::fs::remove_dir_all(folder.path().join("topics/a")).expect("removed");
            std::thread::park_timeout(LOOK_NAMES);
            read(&mut reader, SOON).expect("read on");
            read(&mut reader, SOON).expect("read on");
            fill(folder.path(), "a", 6);
            std::thread::park_timeout(LOOK_NAMES);
            let error = read(&mut reader, SOON).expect_err("another topic");
            assert_eq!(out.gone, [true, true, false, false]);
            assert_eq!(out.counts(), if before { [2, 2, 1, 1] } else { [0, 0, 1, 1] });
            assert!(out.caught_up.iter().all(Option::is_some), "{:?}", out.caught_up);
            assert_eq!(error.kind(), crate::error::ErrorKind::Config);
            assert!(error.to_string().contains("'a' was deleted and created anew"), "{error}");
        }
    }

    #[test]
    fn a_missing_topic_is_named_with_the_nearest() {
        let folder = tempfile::tempdir().expect("a folder");
        fill(folder.path(), "telemetry_raw", 1);
        let connector =
            TopicConnector::new(folder.path(), &source(&["telemetry"], StartupMode::Earliest), vec![], false);
        let error = connector.find(None).expect_err("missing").to_string();
        assert!(error.contains("'telemetry'") && error.contains("'telemetry_raw'"), "{error}");
    }
}

//! A topic for each kind of device.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use crate::error::Result;
use crate::ingest::fleet::{SimulatedRecord, SimulatedSink};

/// Opens a topic when the first record of its kind comes.
pub struct Kinds<S, F> {
    /// Name of the topics, with a `*` where the kind belongs; without one there is one topic.
    pattern: String,
    open: F,
    topics: BTreeMap<&'static str, S>,
}

impl<S: SimulatedSink, F: FnMut(&str) -> Result<S>> Kinds<S, F> {
    pub fn new(pattern: &str, open: F) -> Self {
        Kinds { pattern: pattern.to_owned(), open, topics: BTreeMap::new() }
    }

    /// What was opened.
    pub fn topics(&self) -> impl Iterator<Item = &S> {
        self.topics.values()
    }

    /// Opens the only topic also where nothing is sent to it.
    pub fn open_the_only_one(&mut self) -> Result<()> {
        if !self.pattern.contains('*') {
            self.topic("")?;
        }
        Ok(())
    }

    fn topic(&mut self, kind: &'static str) -> Result<&mut S> {
        let kind = if self.pattern.contains('*') { kind } else { "" };
        match self.topics.entry(kind) {
            Entry::Occupied(found) => Ok(found.into_mut()),
            Entry::Vacant(vacant) => Ok(vacant.insert((self.open)(&self.pattern.replace('*', kind))?)),
        }
    }
}

impl<S: SimulatedSink, F: FnMut(&str) -> Result<S>> SimulatedSink for Kinds<S, F> {
    fn append(&mut self, record: &SimulatedRecord) -> Result<()> {
        self.topic(record.kind)?.append(record)
    }

    fn flush(&mut self) -> Result<()> {
        self.topics.values_mut().try_for_each(SimulatedSink::flush)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::*;
    use crate::ingest::fleet::Fleet;
    use crate::plan::{Shape, Simulator};
    use crate::topic_log::{TopicWriter, topic_directory, topics};

    #[test]
    fn metrics_of_each_type_of_database_have_a_topic() {
        let folder = tempfile::tempdir().expect("a folder");
        let open = |name: &str| TopicWriter::open(&topic_directory(folder.path(), name)?, 4);
        let simulator = Simulator { rate: 0, count: Some(100), ..Simulator::of(Shape::Metrics) };
        for pattern in ["org.metrics.*", "all"] {
            let mut kinds = Kinds::new(pattern, open);
            Fleet::new(&simulator, 0).send(&AtomicBool::new(false), &mut kinds).expect("sent");
        }
        let expected = ["all", "org.metrics.mongodb", "org.metrics.mysql", "org.metrics.postgresql"];
        assert_eq!(topics(folder.path()), [&expected[..], &["org.metrics.redis"]].concat());
    }
}

//! Kafka sinks without brokers: the embedded topic, with the same records.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::backoff::until_it_works;
use super::records::Records;
use super::{Changes, Health, Identity, Receipt, Sink};
use crate::error::{Error, ErrorKind, Result};
use crate::plan;
use crate::time::Epoch;
use crate::topic_log::{TopicWriter, partition_of, topic_directory};

/// A topic as a folder of append-only files.
#[derive(Debug)]
pub(super) struct EmbeddedTopic {
    sink: String,
    records: Records,
    folder: PathBuf,
    partitions: u32,
    writer: Option<TopicWriter>,
    /// Counts records without a key, which go to all partitions in turn.
    turn: u32,
    epochs: Vec<(Epoch, Receipt)>,
    health: Arc<Health>,
}

impl EmbeddedTopic {
    /// The topic of a Kafka sink as a folder in `state_dir`.
    pub(super) fn new(
        sink: &plan::Sink,
        target: &plan::KafkaSink,
        state_dir: &Path,
        health: Arc<Health>,
    ) -> Result<Self> {
        Ok(EmbeddedTopic {
            sink: sink.name.clone(),
            records: Records::new(sink, target),
            folder: topic_directory(state_dir, &target.topic)?,
            partitions: u32::try_from(target.partitions).unwrap_or(1).max(1),
            writer: None,
            turn: 0,
            epochs: Vec::new(),
            health,
        })
    }
}

impl Sink for EmbeddedTopic {
    fn open(&mut self, _identity: &Identity) -> Result<Epoch> {
        let open = || TopicWriter::open(&self.folder, self.partitions);
        self.writer = Some(until_it_works(&self.sink, &self.health, open)?);
        Ok(0)
    }

    fn write(&mut self, epoch: Epoch, changes: Changes) -> Result<()> {
        let writer = self.writer.as_mut().ok_or_else(not_open)?;
        let number = epoch.to_string();
        let headers = [("epoch", Some(number.as_bytes()))];
        for row in 0..changes.ops.len() {
            let (key, value) = self.records.record(&changes, row)?;
            let partition = match &key {
                Some(key) => partition_of(key, writer.partitions()),
                None => {
                    self.turn = (self.turn + 1) % writer.partitions();
                    self.turn
                }
            };
            let (key, value) = (key.as_deref(), value.as_deref());
            let appended = writer.append(partition, key, value, &headers, changes.wall_ms);
            keep(appended, writer, &self.sink, &self.health)?;
        }
        self.epochs.push((epoch, Receipt::default()));
        Ok(())
    }

    fn confirm(&mut self) -> Result<Vec<(Epoch, Receipt)>> {
        let writer = self.writer.as_mut().ok_or_else(not_open)?;
        until_it_works(&self.sink, &self.health, || writer.flush())?;
        Ok(std::mem::take(&mut self.epochs))
    }

    fn close(&mut self) -> Result<()> {
        self.confirm().map(drop)
    }
}

/// Waits where a record was taken in but could not be handed on.
pub(super) fn keep(
    appended: Result<()>,
    writer: &mut TopicWriter,
    sink: &str,
    health: &Health,
) -> Result<()> {
    match appended {
        Err(error) if error.kind() == ErrorKind::Away => until_it_works(sink, health, || writer.flush()),
        other => other,
    }
}

fn not_open() -> Error {
    Error::internal("an embedded topic was used before it was open")
}

#[cfg(test)]
mod tests {
    use super::super::Op;
    use super::super::testing::{changes, identity, read_topic, sink};
    use super::*;
    use crate::plan::{KeyFormat, WriteMode};

    #[test]
    fn records_of_a_sink_are_in_the_embedded_topic_once_they_are_confirmed() {
        let state = tempfile::tempdir().expect("folder");
        let plan = sink("s", "k text, n int");
        let target = plan::KafkaSink {
            topic: "out".into(),
            mode: WriteMode::Upsert,
            key: vec![0],
            key_format: KeyFormat::Raw,
            partitions: 1,
            replication: 1,
            properties: Default::default(),
        };
        let mut topic = EmbeddedTopic::new(&plan, &target, state.path(), Health::new()).expect("a topic");
        assert_eq!(topic.open(&identity()).expect("open"), 0);
        let rows = [r#"{"k":"a","n":1}"#, r#"{"k":"b","n":2}"#];
        topic.write(1, changes(&plan, &rows, &[Op::Insert, Op::Delete])).expect("written");
        assert_eq!(topic.confirm().expect("confirmed"), [(1, Receipt::default())]);
        insta::assert_debug_snapshot!(read_topic(state.path(), "out"), @r#"
        [
            (
                Some(
                    "a",
                ),
                Some(
                    "{\"k\":\"a\",\"n\":1}",
                ),
            ),
            (
                Some(
                    "b",
                ),
                None,
            ),
        ]
        "#);
    }
}

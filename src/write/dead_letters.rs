//! Dead letters: written where the policy of their source says, with the same waiting as any sink.
//!
//! | policy | with brokers | without |
//! |---|---|---|
//! | `topic` | topic `<topic>.dlq` | embedded topic of that name |
//! | `file`, and `topic` of other connectors | `dead_letters/<source>.dlq.jsonl` in the state directory | the same |
//! | `drop` | nowhere | nowhere |
//!
//! A run with an output directory writes `<source>.dlq.jsonl` there. `<topic>` is that of the record; where files or a
//! simulator stand for the source it is the first one that the source names, else the source's name.

mod encode;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use self::encode::{Sender, encode};
use super::backoff::until_it_works;
use super::file::Log;
use super::kafka::{Delivery, Message, TopicSpec};
use super::topic::keep;
use super::{Health, Identity, Receipt, Sink};
use crate::dead_letter::AddressedLetter;
use crate::error::{Error, Result};
use crate::plan::{self, DeadLetterPolicy, Plan, SourceConnector};
use crate::settings::Settings;
use crate::time::Epoch;
use crate::topic_log::{TopicWriter, partition_of, topic_directory};

/// What waits and is reported under.
const NAME: &str = "dead letters";

/// `consumer_id` of every letter.
const CONSUMER: &str = "tidemill";

/// Where the letters of a source go.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Target {
    /// Topics on brokers; the text is the topic of letters that have no record.
    Topic(String),
    Embedded(String),
    File(PathBuf),
    Drop,
}

/// The sink of dead letters.
pub struct DeadLetterWriter {
    sender: Sender,
    /// One per source of the plan.
    targets: Vec<Target>,
    /// Names of the sources of the plan.
    sources: Vec<String>,
    /// Whether something else is read than what the sources name.
    stand_in: bool,
    state_dir: PathBuf,
    /// Whether what an earlier run has left is removed: so it is in an output directory.
    anew: bool,
    delivery: Delivery,
    files: BTreeMap<PathBuf, (Log, Vec<u8>)>,
    topics: BTreeMap<String, TopicWriter>,
    /// Kept until they are confirmed, because a broker may refuse one.
    unconfirmed: Vec<(Epoch, Vec<AddressedLetter>)>,
    health: Arc<Health>,
}

impl DeadLetterWriter {
    /// The writer for the sources of `plan`; with an output directory all letters go to files there. `stand_in`:
    /// something else is read than what the sources name, so that their records are of no topic.
    pub fn new(
        plan: &Plan,
        settings: &Settings,
        output: Option<PathBuf>,
        stand_in: bool,
        health: Arc<Health>,
    ) -> Result<Self> {
        let targets: Vec<Target> =
            plan.sources.iter().map(|source| target(source, settings, output.as_deref())).collect();
        let servers = settings.kafka.bootstrap_servers.as_deref().unwrap_or_default();
        let topics = topics(plan, &targets, stand_in);
        let delivery =
            Delivery::new(NAME, servers, &settings.kafka, &BTreeMap::new(), topics, health.clone());
        Ok(DeadLetterWriter {
            sender: Sender { dataflow: plan.name.clone(), consumer_id: CONSUMER.to_owned() },
            targets,
            sources: plan.sources.iter().map(|source| source.name.clone()).collect(),
            stand_in,
            state_dir: settings.state_dir.clone(),
            anew: output.is_some(),
            delivery,
            files: BTreeMap::new(),
            topics: BTreeMap::new(),
            unconfirmed: Vec::new(),
            health,
        })
    }

    fn put(&mut self, epoch: Epoch, row: usize, letter: &AddressedLetter) -> Result<()> {
        let target = self.targets.get(letter.source).cloned();
        let target = target.ok_or_else(|| Error::internal("a dead letter of a source that is not there"))?;
        self.put_into(target, epoch, row, letter)
    }

    /// A letter that the broker does not take, because of its key or a limit that was lowered, is kept in the
    /// file of its source.
    fn put_aside(&mut self, epoch: Epoch, row: usize) -> Result<()> {
        let of_epoch = self.unconfirmed.iter().find(|(unconfirmed, _)| *unconfirmed == epoch);
        let Some(letter) = of_epoch.and_then(|(_, letters)| letters.get(row)).cloned() else {
            return Err(Error::internal("a broker refused a dead letter that was not sent"));
        };
        let source = self.sources.get(letter.source).map_or("unknown", String::as_str);
        let path = letter_file(&self.state_dir.join("dead_letters"), source);
        tracing::warn!(file = %path.display(), "a dead letter was refused by its topic and is kept in a file");
        self.put_into(Target::File(path), epoch, row, &letter)
    }

    fn put_into(&mut self, target: Target, epoch: Epoch, row: usize, letter: &AddressedLetter) -> Result<()> {
        match target {
            Target::Drop => Ok(()),
            Target::Topic(first) => {
                let topic = self.topic(letter, &first);
                self.delivery.add_topic(topic_spec(topic.clone()))?;
                let key = letter.record.key.clone();
                let room = key.as_ref().map_or(0, Vec::len);
                let limit = self.delivery.limit(&topic).saturating_sub(room);
                let value = Some(encode(&self.sender, epoch, letter, limit)?);
                let (topic, wall_ms) = (topic.into(), letter.wall_ms);
                self.delivery.send(vec![Message { epoch, wall_ms, row, topic, key, value }])
            }
            Target::Embedded(first) => {
                let value = encode(&self.sender, epoch, letter, usize::MAX)?;
                self.put_embedded(self.topic(letter, &first), epoch, letter, &value)
            }
            Target::File(path) => {
                let mut line = encode(&self.sender, epoch, letter, usize::MAX)?;
                line.push(b'\n');
                let (_, buffer) = match self.files.entry(path) {
                    Entry::Occupied(entry) => entry.into_mut(),
                    Entry::Vacant(entry) => {
                        let log = Log::open(entry.key(), false, None)?;
                        entry.insert((log, Vec::new()))
                    }
                };
                buffer.append(&mut line);
                Ok(())
            }
        }
    }

    /// The topic of a letter, where that of letters without a record belongs to `first`.
    fn topic(&self, letter: &AddressedLetter, first: &str) -> String {
        let of_record = !self.stand_in && !letter.topic.is_empty();
        dead_letter_topic(if of_record { &letter.topic } else { first })
    }

    fn put_embedded(
        &mut self,
        topic: String,
        epoch: Epoch,
        letter: &AddressedLetter,
        value: &[u8],
    ) -> Result<()> {
        let writer = match self.topics.entry(topic) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                let folder = topic_directory(&self.state_dir, entry.key())?;
                entry.insert(until_it_works(NAME, &self.health, || TopicWriter::open(&folder, 1))?)
            }
        };
        let key = letter.record.key.as_deref();
        let partition = key.map_or(0, |key| partition_of(key, writer.partitions()));
        let epoch = epoch.to_string();
        let headers = [("epoch", Some(epoch.as_bytes()))];
        let appended = writer.append(partition, key, Some(value), &headers, letter.wall_ms);
        keep(appended, writer, NAME, &self.health)
    }
}

impl Sink<Vec<AddressedLetter>> for DeadLetterWriter {
    fn open(&mut self, _identity: &Identity) -> Result<Epoch> {
        for target in &self.targets {
            if let (true, Target::File(path)) = (self.anew, target) {
                remove(path)?;
            }
        }
        self.delivery.open()?;
        Ok(0)
    }

    fn write(&mut self, epoch: Epoch, letters: Vec<AddressedLetter>) -> Result<()> {
        letters.iter().enumerate().try_for_each(|(row, letter)| self.put(epoch, row, letter))?;
        self.unconfirmed.push((epoch, letters));
        Ok(())
    }

    fn confirm(&mut self) -> Result<Vec<(Epoch, Receipt)>> {
        for refused in self.delivery.confirm()? {
            self.put_aside(refused.epoch, refused.row)?;
        }
        for (path, (log, buffer)) in &mut self.files {
            until_it_works(NAME, &self.health, || log.append(path, buffer))?;
            buffer.clear();
        }
        for writer in self.topics.values_mut() {
            until_it_works(NAME, &self.health, || writer.flush())?;
        }
        Ok(self.unconfirmed.drain(..).map(|(epoch, _)| (epoch, Receipt::default())).collect())
    }

    fn close(&mut self) -> Result<()> {
        self.confirm().map(drop)
    }
}

fn target(source: &plan::Source, settings: &Settings, output: Option<&Path>) -> Target {
    let file = |folder: &Path| Target::File(letter_file(folder, &source.name));
    if source.dead_letters == DeadLetterPolicy::Drop {
        return Target::Drop;
    }
    if let Some(output) = output {
        return file(output);
    }
    match (&source.connector, source.dead_letters, &settings.kafka.bootstrap_servers) {
        (SourceConnector::Kafka(kafka), DeadLetterPolicy::Topic, servers) => {
            let first = kafka.topics.named().first().cloned().unwrap_or_else(|| source.name.clone());
            if servers.is_some() { Target::Topic(first) } else { Target::Embedded(first) }
        }
        _ => file(&settings.state_dir.join("dead_letters")),
    }
}

fn letter_file(folder: &Path, source: &str) -> PathBuf {
    folder.join(format!("{source}.dlq.jsonl"))
}

fn remove(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::config(format!("cannot remove the old file {}", path.display())).caused_by(error))
        }
        _ => Ok(()),
    }
}

/// The topics on brokers that sources in use may need, as far as they are known by name; those of a pattern's
/// topics are created when they are needed.
fn topics(plan: &Plan, targets: &[Target], stand_in: bool) -> Vec<TopicSpec> {
    let mut names = Vec::new();
    for (index, (source, target)) in plan.sources.iter().zip(targets).enumerate() {
        let used = plan.legs.iter().any(|leg| leg.sources.contains(&index));
        match (target, &source.connector) {
            (Target::Topic(first), _) if used && stand_in => names.push(dead_letter_topic(first)),
            (Target::Topic(_), SourceConnector::Kafka(kafka)) if used => {
                names.extend(kafka.topics.named().iter().map(|topic| dead_letter_topic(topic)));
            }
            _ => {}
        }
    }
    names.sort_unstable();
    names.dedup();
    names.into_iter().map(topic_spec).collect()
}

fn topic_spec(name: String) -> TopicSpec {
    TopicSpec { name, partitions: 1, replication: -1 }
}

fn dead_letter_topic(topic: &str) -> String {
    format!("{topic}.dlq")
}

#[cfg(test)]
mod tests;

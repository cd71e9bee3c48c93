//! Where sinks write: no two into one place, and none into what the dataflow itself reads.

use std::path::{Component, Path, PathBuf};

use crate::plan::{KafkaSink, Sink, SinkConnector, Source, SourceConnector};

/// Why `sink` cannot stand beside the `others` and the `sources` of its dataflow, with a hint.
pub(super) fn conflict(sink: &Sink, others: &[Sink], sources: &[Source]) -> Option<(String, &'static str)> {
    if let Some(other) = others.iter().find(|other| same_target(sink, other)) {
        let message = format!("sink `{}` writes to the same place already", other.name);
        return Some((message, "give each sink a target of its own, or join their relations with UNION ALL"));
    }
    if let Some(source) = sources.iter().find(|source| reads_back(source, sink)) {
        let message = format!("source `{}` reads what this sink writes", source.name);
        return Some((message, "write to another topic or file"));
    }
    if let SinkConnector::Kafka(KafkaSink { topic, .. }) = &sink.connector
        && (topic.ends_with(".dlq") || topic.starts_with("_tidemill_"))
    {
        let message = format!("the topic `{topic}` is kept for dead letters and progress");
        return Some((message, "topics of sinks do not end with .dlq and do not begin with _tidemill_"));
    }
    None
}

fn same_target(one: &Sink, other: &Sink) -> bool {
    match (&one.connector, &other.connector) {
        (SinkConnector::MongoDb(one), SinkConnector::MongoDb(other)) => {
            (&one.database, &one.collection) == (&other.database, &other.collection)
        }
        (SinkConnector::File(one), SinkConnector::File(other)) => plain(&one.path) == plain(&other.path),
        _ => false,
    }
}

fn reads_back(source: &Source, sink: &Sink) -> bool {
    match (&source.connector, &sink.connector) {
        (SourceConnector::Kafka(source), SinkConnector::Kafka(sink)) => {
            source.topics.named().contains(&sink.topic)
        }
        (SourceConnector::File(source), SinkConnector::File(sink)) => {
            plain(&source.path) == plain(&sink.path)
        }
        _ => false,
    }
}

/// A path without the parts that lead nowhere, and there and back.
fn plain(path: &str) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in Path::new(path).components() {
        match (part, plain.components().next_back()) {
            (Component::CurDir, _) => {}
            (Component::ParentDir, Some(Component::Normal(_))) => {
                plain.pop();
            }
            _ => plain.push(part),
        }
    }
    plain
}

/// Whether a name can be the name of a file, as those of sources and sinks have to be.
pub(super) fn is_file_name(name: &str) -> bool {
    let unfit = |character: char| matches!(character, '/' | '\\') || character.is_control();
    !name.is_empty() && name != "." && name != ".." && !name.contains(unfit)
}

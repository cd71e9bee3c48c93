//! Options of `CREATE SOURCE` with `connector = 'kafka'`: which topics are read, and from where on.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::DateTime;

use super::reader::{Reader, never};
use super::values;
use crate::compile::ast::Name;
use crate::compile::diagnostic::Diagnostic;
use crate::plan::{KafkaSource, StartupMode, TopicPattern, Topics};

/// The options of this connector alone.
pub(super) const OPTIONS: &[&str] = &[
    "topic",
    "topic_pattern",
    "scan.startup.mode",
    "scan.startup.timestamp-millis",
    "scan.startup.timestamp",
    "scan.startup.specific-offsets",
    "scan.topic-partition-discovery.interval",
];

/// Those of a table, which is always read from its beginning.
pub(super) const TABLE_OPTIONS: &[&str] =
    &["topic", "topic_pattern", "scan.topic-partition-discovery.interval", "key.format"];

/// What the engine itself says to librdkafka.
const OURS: &[(&str, &str)] = &[
    ("bootstrap.servers", "connections come from the configuration, so that one file runs everywhere"),
    ("metadata.broker.list", "connections come from the configuration, so that one file runs everywhere"),
    ("auto.offset.reset", "use scan.startup.mode = 'earliest' or 'latest'"),
    ("enable.auto.commit", "offsets are kept by the engine, remove it"),
    ("enable.auto.offset.store", "offsets are kept by the engine, remove it"),
];

/// How often topics are looked at for new partitions.
const FIND_INTERVAL: Duration = Duration::from_secs(30);
/// Asking more often would only be a load for the brokers.
const FIND_INTERVAL_MIN: Duration = Duration::from_millis(100);

pub(super) fn source(reader: &mut Reader<'_>) -> Option<KafkaSource> {
    let topics = topics(reader);
    let startup = startup(reader, topics.as_ref());
    let find_interval = reader.parsed("scan.topic-partition-discovery.interval", FIND_INTERVAL, |value| {
        let interval = values::duration(value)?;
        if interval.is_zero() || interval >= FIND_INTERVAL_MIN {
            return Ok(interval);
        }
        let error = Diagnostic::new(value.span, format!("'{}' is less than 100 ms", value.value));
        Err(error.hint("write '100ms' or more; '0' looks for new partitions at the start only"))
    });
    let properties = reader.properties(OURS);
    let find_interval = Some(find_interval).filter(|interval| !interval.is_zero());
    Some(KafkaSource { topics: topics?, startup: startup?, find_interval, properties })
}

fn topics(reader: &mut Reader<'_>) -> Option<Topics> {
    let Some(entry) = reader.entry("topic_pattern") else {
        let value = reader.required("topic", "telemetry")?;
        let list = reader.take(values::list(value, "the name of a topic"))?;
        let topics: Vec<_> = list.iter().map(|name| reader.take(values::topic(name))).collect();
        return topics.into_iter().collect::<Option<Vec<String>>>().map(Topics::Named);
    };
    if reader.entry("topic").is_some() {
        let error = Diagnostic::new(entry.key.span, "`topic` and `topic_pattern` exclude each other");
        reader.report(error.hint("remove one of them; a pattern can name topics, too: 'a|b\\..*'"));
        return None;
    }
    let value = reader.required("topic_pattern", r"org\.metrics\..*")?;
    let pattern = TopicPattern::new(&value.value).map_err(|reason| {
        let message = format!("'{}' is not a regular expression: {reason}", value.value);
        Diagnostic::new(value.span, message)
            .hint(r"as 'org\.metrics\..*'; it is for the whole name of a topic")
    });
    reader.take(pattern).map(Topics::Pattern)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Earliest,
    Latest,
    Timestamp,
    Offsets,
}

fn startup(reader: &mut Reader<'_>, topics: Option<&Topics>) -> Option<StartupMode> {
    let modes = [
        ("earliest", Mode::Earliest),
        ("latest", Mode::Latest),
        ("timestamp", Mode::Timestamp),
        ("offsets", Mode::Offsets),
    ];
    let others = [
        never("earliest-offset", "write 'earliest'"),
        never("latest-offset", "write 'latest'"),
        never("specific-offsets", "write 'offsets'"),
        never(
            "group-offsets",
            "offsets are not kept in a group; use 'earliest', 'latest', 'timestamp' or 'offsets'",
        ),
    ];
    let mode = reader.choice("scan.startup.mode", &modes, &others)?;
    let belongs = [
        ("scan.startup.timestamp-millis", Mode::Timestamp),
        ("scan.startup.timestamp", Mode::Timestamp),
        ("scan.startup.specific-offsets", Mode::Offsets),
    ];
    for (key, of) in belongs.into_iter().filter(|(_, of)| *of != mode) {
        if let Some(entry) = reader.entry(key) {
            let name = modes.iter().find(|(_, known)| *known == of).map_or("", |(name, _)| *name);
            let error = Diagnostic::new(entry.key.span, format!("`{key}` is only for another startup mode"));
            reader.report(error.hint(format!("add scan.startup.mode = '{name}', or remove it")));
        }
    }
    match mode {
        Mode::Earliest => Some(StartupMode::Earliest),
        Mode::Latest => Some(StartupMode::Latest),
        Mode::Timestamp => timestamp(reader).map(StartupMode::Timestamp),
        Mode::Offsets => {
            let value = reader.required("scan.startup.specific-offsets", "partition:0,offset:42")?;
            let offsets = offsets(value, topics?);
            reader.take(offsets).map(StartupMode::Offsets)
        }
    }
}

/// Milliseconds since the Unix epoch, from one of the two options.
fn timestamp(reader: &mut Reader<'_>) -> Option<i64> {
    let millis = reader.entry("scan.startup.timestamp-millis");
    match (millis, reader.entry("scan.startup.timestamp")) {
        (Some(_), Some(text)) => {
            let message = "`scan.startup.timestamp` and `scan.startup.timestamp-millis` exclude each other";
            reader.report(Diagnostic::new(text.key.span, message).hint("remove one of them"));
            None
        }
        (_, Some(text)) => {
            let time = DateTime::parse_from_rfc3339(text.value.value.trim()).map_err(|_| {
                let message = format!("expected a time, found '{}'", text.value.value);
                Diagnostic::new(text.value.span, message).hint("as '2026-03-01T12:00:00Z' (RFC 3339)")
            });
            reader.take(time).map(|time| time.timestamp_millis())
        }
        _ => {
            let value = reader.required("scan.startup.timestamp-millis", "1735689600000")?;
            reader.take(values::integer(value, 0..=i64::MAX))
        }
    }
}

/// `partition:0,offset:42;partition:1,offset:300`; each part begins with `topic:name,` where the source has
/// several topics.
fn offsets(value: &Name, topics: &Topics) -> Result<BTreeMap<(String, u32), u64>, Diagnostic> {
    let mut offsets = BTreeMap::new();
    let mut from = 0;
    for part in value.value.split(';') {
        let length = part.chars().count();
        let place = value.part(from, from + length);
        from += length + 1;
        if part.trim().is_empty() {
            continue;
        }
        let part = Name { value: part.to_owned(), span: place };
        let (topic, partition, offset) = start_of_partition(&part, topics)?;
        if offsets.insert((topic, partition), offset).is_some() {
            let error =
                Diagnostic::new(place, format!("'{}' is about a partition that stands twice", part.value));
            return Err(error.hint("remove one of them"));
        }
    }
    if offsets.is_empty() {
        return Err(Diagnostic::new(value.span, "expected offsets, found none").hint(EXAMPLE));
    }
    Ok(offsets)
}

const EXAMPLE: &str = "as 'partition:0,offset:42;partition:1,offset:300', with 'topic:name,' before each part where \
                       there are several topics";

fn start_of_partition(part: &Name, topics: &Topics) -> Result<(String, u32, u64), Diagnostic> {
    let wrong = |message: String| Diagnostic::new(part.span, message).hint(EXAMPLE);
    let (mut topic, mut partition, mut offset) = (None, None, None);
    for field in part.value.split(',') {
        let (key, text) = field.split_once(':').unwrap_or((field, ""));
        let text = text.trim();
        let known = match key.trim() {
            "topic" if topic.is_none() => {
                topic = Some(text.to_owned()).filter(|text| !text.is_empty());
                topic.is_some()
            }
            "partition" if partition.is_none() => {
                partition = text.parse::<u32>().ok();
                partition.is_some()
            }
            "offset" if offset.is_none() => {
                offset = text.parse::<u64>().ok().filter(|offset| i64::try_from(*offset).is_ok());
                offset.is_some()
            }
            _ => false,
        };
        if !known {
            return Err(wrong(format!("'{}' is not where a partition begins", field.trim())));
        }
    }
    let (Some(partition), Some(offset)) = (partition, offset) else {
        return Err(wrong(format!("'{}' lacks a partition or an offset", part.value.trim())));
    };
    match (topic, topics) {
        (None, Topics::Named(names)) if names.len() == 1 => Ok((names[0].clone(), partition, offset)),
        (None, _) => Err(wrong(format!("'{}' does not say which topic", part.value.trim()))),
        (Some(topic), Topics::Named(names)) if !names.contains(&topic) => {
            Err(wrong(format!("the source does not read the topic '{topic}'")))
        }
        (Some(topic), _) => Ok((topic, partition, offset)),
    }
}

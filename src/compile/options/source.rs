//! Options of `CREATE SOURCE` and `CREATE TABLE`.

use std::time::Duration;

use super::csv;
use super::reader::{Known, Reader, never};
use super::{Reads, SourceOptions, kafka, simulator, values};
use crate::compile::ast::{Name, Options};
use crate::compile::diagnostic::Diagnostic;
use crate::plan::{
    DeadLetterPolicy, FileSource, Format, KeyFormat, KeySaid, SourceConnector, TimestampFormat,
};

const MAX_FUTURE: Duration = Duration::from_secs(5 * 60);
const MAX_JUMP: Duration = Duration::from_secs(30 * 86_400);
const IDLE_TIMEOUT: Duration = Duration::from_secs(10);
const MAX_RECORD_BYTES: usize = 1 << 20;

/// How far ahead of the slowest partition another one may be.
pub(in crate::compile) const MAX_DRIFT: &str = "scan.watermark.alignment.max-drift";

/// The column that names the device of a record.
const DEVICE: &str = "device";

/// Options that mean something only where event time is declared.
pub(in crate::compile) const OF_EVENT_TIME: &[&str] = &["max_jump", MAX_DRIFT, DEVICE];

/// For all connectors.
const COMMON: &[&str] = &["connector", "format", "timestamp_format", "max_record_bytes", "dead_letters"];

/// For all connectors of sources: what is about event time, which a table has not.
const TIME: &[&str] = &["max_future", "max_jump", "idle_timeout", MAX_DRIFT, DEVICE];

/// Options of views that are easily written on a source.
const OF_VIEWS: &[(&str, &str)] = &[
    ("allowed_lateness", "an option of windowed views, which come later"),
    ("state_retention", "an option of views with bounded state, which come later"),
    (
        "deduplicate_horizon",
        "an option of views with DISTINCT ON: CREATE VIEW ... WITH (deduplicate_horizon = ...) AS ...",
    ),
];

/// Options of sources that are easily written on a table.
const NOT_OF_TABLES: &[(&str, &str)] = &[
    ("max_future", "remove it: a table has no event time"),
    ("max_jump", "remove it: a table has no event time"),
    ("idle_timeout", "remove it: a table has no event time"),
    (MAX_DRIFT, "remove it: a table has no event time"),
    (DEVICE, "remove it: a table has no event time"),
    ("scan.startup.mode", "remove it: a table is always read from its beginning"),
    ("key", "the key of a table is its PRIMARY KEY"),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Connector {
    Kafka,
    File,
    Simulator,
}

pub(super) fn read(
    options: &Options,
    reads: Reads,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<SourceOptions> {
    let mut reader = Reader::new(options, diagnostics);
    reader.required("connector", "kafka")?;
    let connectors =
        [("kafka", Connector::Kafka), ("file", Connector::File), ("simulator", Connector::Simulator)];
    let sink = never("mongodb", "MongoDB is a sink; read what is written to it from its topic");
    let simulated = never("simulator", "the simulator makes events; a table is read from a topic or a file");
    let kind = match reads {
        Reads::Source => reader.choice("connector", &connectors, &[sink])?,
        Reads::Table => reader.choice("connector", &connectors[..2], &[sink, simulated])?,
    };
    let name = connectors.iter().find(|(_, known)| *known == kind).map_or("", |(name, _)| *name);
    reader.check_names(&known(kind, name, reads));
    let key = match (reads, kind) {
        (Reads::Source, _) => None,
        (Reads::Table, Connector::Kafka) => {
            let formats = [("json", KeyFormat::Json), ("raw", KeyFormat::Raw)];
            Some(KeySaid::Message(reader.choice("key.format", &formats, &[])?))
        }
        (Reads::Table, _) => Some(KeySaid::Record),
    };
    let connector = match kind {
        Connector::Kafka => kafka::source(&mut reader).map(SourceConnector::Kafka),
        Connector::File => file(&mut reader),
        Connector::Simulator => Some(SourceConnector::Simulator(simulator::read(&mut reader))),
    };
    let format = match kind {
        Connector::File => csv::format(&mut reader, Ok(true), &[]),
        Connector::Kafka => csv::format(
            &mut reader,
            Err("a message is one record; its fields are the columns in their order"),
            &[],
        ),
        Connector::Simulator => reader
            .choice("format", &[("json", ())], &[never("csv", "the simulator makes JSON")])
            .map(|()| Format::Json),
    };
    let timestamp_format = timestamp_format(&mut reader);
    let max_future = reader.parsed("max_future", MAX_FUTURE, values::duration);
    let max_jump = reader.parsed("max_jump", Some(MAX_JUMP), max_jump);
    let idle_timeout = reader.parsed("idle_timeout", IDLE_TIMEOUT, values::duration);
    let max_drift = reader.parsed(MAX_DRIFT, None, max_drift);
    let device = reader.entry(DEVICE).is_some().then(|| reader.required(DEVICE, "device_id").cloned());
    let max_record_bytes = reader.parsed("max_record_bytes", MAX_RECORD_BYTES, values::bytes);
    let dead_letters = dead_letters(&mut reader, kind);
    let (connector, format, timestamp_format) = (connector?, format?, timestamp_format?);
    reader.finish(SourceOptions {
        connector,
        key,
        format,
        timestamp_format,
        max_future,
        max_jump,
        idle_timeout,
        max_drift,
        device: device.flatten(),
        max_record_bytes,
        dead_letters: dead_letters?,
    })
}

fn timestamp_format(reader: &mut Reader) -> Option<TimestampFormat> {
    let formats = [
        ("epoch_ms", TimestampFormat::EpochMillis),
        ("epoch_s", TimestampFormat::EpochSeconds),
        ("epoch_us", TimestampFormat::EpochMicros),
        ("epoch_ns", TimestampFormat::EpochNanos),
    ];
    let text = never("rfc3339", "remove it: text is always RFC 3339; the option says what a number is");
    reader.choice("timestamp_format", &formats, &[text])
}

fn known(kind: Connector, name: &str, reads: Reads) -> Known<'static> {
    if reads == Reads::Table {
        let of_files: &[&str] = &["path", "source.monitor-interval"];
        let own = if kind == Connector::Kafka { kafka::TABLE_OPTIONS } else { of_files };
        return Known {
            what: format!("a table with connector '{name}'"),
            options: [COMMON, own, csv::OPTIONS].concat(),
            later: [OF_VIEWS, NOT_OF_TABLES].concat(),
            properties: kind == Connector::Kafka,
        };
    }
    let of_format: &[&str] = if kind == Connector::Simulator { &[] } else { csv::OPTIONS };
    let (own, later): (&[&str], &[(&str, &str)]) = match kind {
        Connector::Kafka => (kafka::OPTIONS, &[]),
        Connector::File => (
            &["path", "pace", "pace.speed", "source.monitor-interval"],
            &[("source.path.regex-pattern", "path takes a glob: path = 'input/*.jsonl'")],
        ),
        Connector::Simulator => (simulator::OPTIONS, &[]),
    };
    Known {
        what: format!("a source with connector '{name}'"),
        options: [COMMON, TIME, own, of_format].concat(),
        later: [OF_VIEWS, later].concat(),
        properties: kind == Connector::Kafka,
    }
}

fn max_jump(value: &Name) -> Result<Option<Duration>, Diagnostic> {
    if value.value.trim() == "unbounded" {
        return Ok(None);
    }
    let jump = values::duration(value)?;
    if jump.is_zero() {
        let error = Diagnostic::new(value.span, "event time could never go on");
        return Err(error.hint("max_jump = '1 day', or 'unbounded'"));
    }
    Ok(Some(jump))
}

fn max_drift(value: &Name) -> Result<Option<Duration>, Diagnostic> {
    if value.value.trim() == "unbounded" {
        return Ok(None);
    }
    let drift = values::duration(value)?;
    if drift.is_zero() {
        let error = Diagnostic::new(value.span, "partitions cannot be read at exactly the same event time");
        return Err(error.hint(format!("{MAX_DRIFT} = '10 minutes', or 'unbounded'")));
    }
    Ok(Some(drift))
}

fn file(reader: &mut Reader<'_>) -> Option<SourceConnector> {
    let replayed = reader.choice("pace", &[("none", false), ("event_time", true)], &[]) == Some(true);
    let speed = reader.parsed("pace.speed", 1_000, speed);
    if let Some(entry) = reader.entry("pace.speed").filter(|_| !replayed) {
        let error = Diagnostic::new(entry.key.span, "option `pace.speed` needs pace = 'event_time'");
        reader.report(error.hint("add it, or remove `pace.speed`: files are read as fast as they are taken"));
    }
    let interval = reader.value("source.monitor-interval").map(|value| {
        let interval = values::duration(value)?;
        if interval.is_zero() {
            let error = Diagnostic::new(value.span, "the interval has no length");
            return Err(error.hint("source.monitor-interval = '10 seconds'; without it files are read once"));
        }
        Ok(interval)
    });
    let monitor = interval.and_then(|interval| reader.take(interval));
    let value = reader.required("path", "input/telemetry.jsonl")?;
    if let Some(ending) = FileSource::NOT_READ.iter().find(|ending| value.value.ends_with(**ending)) {
        let error = Diagnostic::new(value.span, format!("{ending} files are not read"));
        reader.report(error.hint("compress them with gzip: .gz files are read as they are"));
    }
    Some(SourceConnector::File(FileSource {
        path: value.value.clone(),
        monitor,
        replay_milli: replayed.then_some(speed),
    }))
}

/// How many times as fast as it was: thousandths.
fn speed(value: &Name) -> Result<u64, Diagnostic> {
    let speed = value.value.trim().parse::<f64>().ok().map(|speed| (speed * 1e3).round());
    let speed = speed.filter(|milli| (1.0..=1e9).contains(milli));
    speed.map(|milli| milli as u64).ok_or_else(|| {
        let message = format!("expected a number from 0.001 to 1000000, found '{}'", value.value);
        Diagnostic::new(value.span, message).hint("pace.speed = '60' replays an hour in a minute")
    })
}

fn dead_letters(reader: &mut Reader<'_>, kind: Connector) -> Option<DeadLetterPolicy> {
    let (topic, file, drop) = (
        ("topic", DeadLetterPolicy::Topic),
        ("file", DeadLetterPolicy::File),
        ("drop", DeadLetterPolicy::Drop),
    );
    match kind {
        Connector::Kafka => reader.choice("dead_letters", &[topic, file, drop], &[]),
        _ => {
            let no_topic = [never("topic", "only a Kafka source has a topic for them; use 'file' or 'drop'")];
            reader.choice("dead_letters", &[file, drop], &no_topic)
        }
    }
}

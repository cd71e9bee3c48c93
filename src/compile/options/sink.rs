//! Options of `CREATE SINK`.

use datafusion_sql::sqlparser::tokenizer::Span;

use super::reader::{Known, Reader, later, never};
use super::{SinkOptions, SinkTarget, csv, values};
use crate::compile::ast::{Name, Options};
use crate::compile::diagnostic::Diagnostic;
use crate::plan::{Format, KeyFormat, WriteMode};

/// Writers side by side where the option `shards` is not given.
const SHARDS: i64 = 1;
const SHARDS_MAX: i64 = 64;
/// The broker decides.
const BROKER_DEFAULT: i64 = -1;

const OURS: &[(&str, &str)] = &[
    ("bootstrap.servers", "connections come from the configuration, so that one file runs everywhere"),
    ("metadata.broker.list", "connections come from the configuration, so that one file runs everywhere"),
    ("enable.idempotence", "the producer is always idempotent, remove it"),
    ("acks", "the producer is always idempotent and so waits for all replicas, remove it"),
    ("transactional.id", "transactions come with delivery = 'exactly_once', later"),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Connector {
    MongoDb,
    Kafka,
    File,
    Stdout,
    Blackhole,
}

pub(super) fn read(options: &Options, diagnostics: &mut Vec<Diagnostic>) -> Option<SinkOptions> {
    let mut reader = Reader::new(options, diagnostics);
    let connector_span = reader.required("connector", "mongodb")?.span;
    let connectors = [
        ("mongodb", Connector::MongoDb),
        ("kafka", Connector::Kafka),
        ("file", Connector::File),
        ("stdout", Connector::Stdout),
        ("blackhole", Connector::Blackhole),
    ];
    let refused = [
        later("parquet", "use connector = 'file' for now"),
        later("iceberg", "use connector = 'file' for now"),
        never("simulator", "the simulator is a source"),
    ];
    let kind = reader.choice("connector", &connectors, &refused)?;
    let name = connectors.iter().find(|(_, known)| *known == kind).map_or("", |(name, _)| *name);
    reader.check_names(&known(kind, name));
    let format = match kind {
        Connector::File | Connector::Stdout => {
            csv::format(&mut reader, Ok(true), &[later("parquet", "JSON and CSV are written for now")])
        }
        Connector::Kafka => json(&mut reader),
        Connector::MongoDb | Connector::Blackhole => Some(Format::Json),
    };
    let target = match kind {
        Connector::MongoDb => mongodb(&mut reader),
        Connector::Kafka => kafka(&mut reader),
        Connector::File => file(&mut reader),
        Connector::Stdout => Some(SinkTarget::Stdout),
        Connector::Blackhole => Some(SinkTarget::Blackhole),
    };
    let format = match (format, &target) {
        (Some(Format::Csv(dialect)), Some(SinkTarget::File { path })) => {
            Some(Format::Csv(dialect.of_file(path)))
        }
        (format, _) => format,
    };
    let mode_span = reader.value("mode").map_or(connector_span, |value| value.span);
    let key = reader.value("key").and_then(|value| reader.take(values::list(value, "the name of a column")));
    check_raw_key(&mut reader, target.as_ref(), key.as_deref(), mode_span);
    let shards = reader.parsed("shards", SHARDS, |value| values::integer(value, 1..=SHARDS_MAX));
    let options = SinkOptions {
        target: target?,
        mode_span,
        key_span: reader.value("key").map_or(mode_span, |value| value.span),
        key,
        document: document(&mut reader),
        format: format?,
        shards: u16::try_from(shards).unwrap_or(1),
    };
    reader.finish(options)
}

fn known(kind: Connector, name: &str) -> Known<'static> {
    let (own, later): (&[&str], &[(&str, &str)]) = match kind {
        Connector::MongoDb => (
            &["collection", "database", "mode", "key", "document", "shards", "deletes"],
            &[
                ("guard", "one writer per collection, with a version per document, for now; remove it"),
                ("delivery", "remove it: see 'tidemill explain' for what this sink guarantees"),
            ],
        ),
        Connector::Kafka => (
            &[
                "topic",
                "key",
                "mode",
                "delivery",
                "shards",
                "key.format",
                "partitions",
                "replication",
                "format",
            ],
            &[],
        ),
        Connector::File => (
            &["path", "format"],
            &[
                ("partition_by", "all rows go to one file for now"),
                ("delivery", "remove it: see 'tidemill explain' for what this sink guarantees"),
            ],
        ),
        Connector::Stdout => (&["format"], &[]),
        Connector::Blackhole => (&[], &[]),
    };
    let of_format: &[&str] =
        if own.contains(&"format") && kind != Connector::Kafka { csv::OPTIONS } else { &[] };
    Known {
        what: format!("a sink with connector '{name}'"),
        options: [&["connector"], own, of_format].concat(),
        later: later.to_vec(),
        properties: kind == Connector::Kafka,
    }
}

fn mode(reader: &mut Reader<'_>) -> Option<WriteMode> {
    reader.choice("mode", &[("append", WriteMode::Append), ("upsert", WriteMode::Upsert)], &[])
}

fn json(reader: &mut Reader<'_>) -> Option<Format> {
    let only = "records of topics are JSON; files and the standard output can be CSV";
    let formats = reader.choice("format", &[("json", ())], &[never("csv", only), later("parquet", only)]);
    formats.map(|()| Format::Json)
}

fn mongodb(reader: &mut Reader<'_>) -> Option<SinkTarget> {
    let name = reader.required("collection", "vehicle_latest_state");
    let collection = name.and_then(|name| reader.take(values::collection(name)));
    let database = reader.value("database").map(|name| reader.take(values::database(name)));
    let mode = mode(reader);
    let gone = "a deleted row is removed at once for now; remove it";
    reader.choice("deletes", &[("immediate", ())], &[later("tombstone", gone)]);
    let database = match database {
        Some(database) => Some(database?),
        None => None,
    };
    Some(SinkTarget::MongoDb { collection: collection?, database, mode: mode? })
}

fn kafka(reader: &mut Reader<'_>) -> Option<SinkTarget> {
    let name = reader.required("topic", "vehicle_latest_state");
    let topic = name.and_then(|name| reader.take(values::topic(name)));
    let mode = mode(reader);
    let once = "it needs recovery, which comes later; use 'at_least_once'";
    reader.choice("delivery", &[("at_least_once", ())], &[later("exactly_once", once)]);
    let key_format = reader.choice("key.format", &[("json", KeyFormat::Json), ("raw", KeyFormat::Raw)], &[]);
    let partitions = reader.parsed("partitions", 1, |value| values::integer(value, 1..=10_000));
    let replication = reader.parsed("replication", BROKER_DEFAULT, |value| values::integer(value, 1..=100));
    let properties = reader.properties(OURS);
    Some(SinkTarget::Kafka {
        topic: topic?,
        mode: mode?,
        key_format: key_format?,
        partitions: i32::try_from(partitions).unwrap_or(1),
        replication: i32::try_from(replication).unwrap_or(1),
        properties,
    })
}

fn file(reader: &mut Reader<'_>) -> Option<SinkTarget> {
    let path = reader.required("path", "output/rows.jsonl").map(|path| path.value.clone());
    Some(SinkTarget::File { path: path? })
}

/// A raw key is the bytes of one column, so an append sink must name it and no sink can name two.
fn check_raw_key(reader: &mut Reader<'_>, target: Option<&SinkTarget>, key: Option<&[Name]>, place: Span) {
    let Some(SinkTarget::Kafka { key_format: KeyFormat::Raw, mode, .. }) = target else { return };
    let one = match key {
        Some(key) => key.len() == 1,
        None => *mode == WriteMode::Upsert,
    };
    if !one {
        let span = reader.value("key.format").map_or(place, |value| value.span);
        let error = Diagnostic::new(span, "key.format = 'raw' needs a key of one TEXT column");
        reader.report(error.hint("key = 'column', or key.format = 'json'"));
    }
}

/// Only an append sink keeps documents as they were received: an upsert writes the columns of its view.
fn document(reader: &mut Reader<'_>) -> Option<Name> {
    let document = reader.value("document")?;
    if reader.value("mode").is_some_and(|mode| mode.value == "upsert") {
        let error = Diagnostic::new(document.span, "option `document` needs mode = 'append'");
        reader.report(error.hint("remove one of the two"));
    }
    reader.required("document", "payload").cloned()
}

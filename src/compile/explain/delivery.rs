//! What a sink really guarantees today. There is no recovery yet, and this says so.

use arrow::datatypes::Schema;

use super::key_names;
use crate::csv::Dialect;
use crate::plan::{
    ChangeMode, Format, KeyFormat, MongoSink, Sink, SinkConnector, Source, SourceConnector, StartupMode,
    WriteMode,
};

/// Where a sink writes to.
pub(super) fn target(sink: &Sink) -> String {
    let document = sink.document.and_then(|at| sink.schema.fields().get(at));
    let document = document.map(|field| format!(", documents as received in {}", field.name()));
    match &sink.connector {
        SinkConnector::MongoDb(mongo) => {
            let database = mongo.database.as_ref().map(|name| format!("{name}.")).unwrap_or_default();
            let document = document.unwrap_or_default();
            format!("MongoDB collection {database}{}, {}{document}", mongo.collection, mode(mongo.mode))
        }
        SinkConnector::Kafka(kafka) => {
            let key = match (kafka.key.as_slice(), kafka.key_format) {
                ([], _) if kafka.mode == WriteMode::Upsert => "key {}, always the same".to_owned(),
                ([], _) => "no key".to_owned(),
                (key, KeyFormat::Json) => format!("key {} as JSON", key_names(key, &sink.schema)),
                (key, KeyFormat::Raw) => format!("key {} as it is", key_names(key, &sink.schema)),
            };
            format!("Kafka topic {}, {}, {key}", kafka.topic, mode(kafka.mode))
        }
        SinkConnector::File(file) => format!("file {}, {}", file.path, lines(&sink.format)),
        SinkConnector::Stdout => format!("the standard output, {}", lines(&sink.format)),
        SinkConnector::Blackhole => "nothing: rows are counted and dropped".to_owned(),
    }
}

pub(super) fn lines(format: &Format) -> String {
    match format {
        Format::Json => "JSON Lines".to_owned(),
        Format::Csv(dialect) => csv(dialect),
    }
}

/// How a CSV is written, as far as it is not as usual.
pub(super) fn csv(dialect: &Dialect) -> String {
    let usual = Dialect::default();
    let shown = |byte: u8| format!("'{}'", byte.escape_ascii());
    let mut text = format!("CSV {}", if dialect.header { "with a header" } else { "without header" });
    if dialect.delimiter != usual.delimiter {
        text += &format!(", {} between fields", shown(dialect.delimiter));
    }
    if dialect.quote != usual.quote {
        text += &format!(", quoted by {}", shown(dialect.quote));
    }
    if dialect.null != usual.null {
        text += &format!(", NULL is {}", dialect.null);
    }
    text
}

fn mode(mode: WriteMode) -> &'static str {
    match mode {
        WriteMode::Append => "append",
        WriteMode::Upsert => "upsert",
    }
}

/// What holds while the dataflow runs, whatever the other side does.
pub(super) fn guarantee(sink: &Sink) -> String {
    match &sink.connector {
        SinkConnector::MongoDb(mongo) if mongo.mode == WriteMode::Append => format!(
            "every row once: _id is {}; a row that is there already is not written again, other content \
             under its _id is a dead letter",
            id(mongo, &sink.schema)
        ),
        SinkConnector::MongoDb(mongo) if mongo.id.is_empty() => "the one row under _id {}: idempotent, and \
             the document is never replaced by an older one (_v)"
            .to_owned(),
        SinkConnector::MongoDb(mongo) => format!(
            "the newest row per key {}: idempotent, and a document is never replaced by an older one (_v)",
            key_names(&mongo.id, &sink.schema)
        ),
        SinkConnector::Kafka(kafka) => {
            let latest = match kafka.mode {
                WriteMode::Append => "",
                WriteMode::Upsert => "; the last record of a key is its newest row",
            };
            format!("at least once, in order per key: idempotent producer, no transactions{latest}")
        }
        SinkConnector::File(_) => {
            let rows = match sink.changes {
                ChangeMode::AppendOnly => "all rows",
                ChangeMode::Updating => "the final rows",
            };
            format!(
                "bounded run: {rows}, a whole file or none; otherwise at least once and not atomic, \
                 appended epoch by epoch"
            )
        }
        SinkConnector::Stdout => "at least once, not atomic".to_owned(),
        SinkConnector::Blackhole => "none".to_owned(),
    }
}

fn id(mongo: &MongoSink, schema: &Schema) -> String {
    match mongo.id.as_slice() {
        [] => "made of the record's topic, partition and offset".to_owned(),
        id => format!("made of {}", key_names(id, schema)),
    }
}

/// What a restart does: neither state nor offsets are kept yet.
pub(super) fn restart(sink: &Sink, sources: &[&Source]) -> String {
    let effect = match &sink.connector {
        SinkConnector::MongoDb(mongo) if mongo.mode == WriteMode::Append => {
            "what is read again is there already"
        }
        SinkConnector::MongoDb(_) => {
            "documents show older states until the sources are read to where they were"
        }
        SinkConnector::Kafka(_) | SinkConnector::File(_) => "rows are written again",
        SinkConnector::Stdout => "rows are shown again",
        SinkConnector::Blackhole => "nothing to repeat",
    };
    let latest = sources.iter().filter(|source| {
        matches!(&source.connector, SourceConnector::Kafka(kafka) if kafka.startup == StartupMode::Latest)
    });
    let lost: Vec<&str> = latest.map(|source| source.name.as_str()).collect();
    if !lost.is_empty() {
        let state = match sink.changes {
            ChangeMode::Updating => "the state starts empty and ",
            ChangeMode::AppendOnly => "",
        };
        let sources = lost.join(", ");
        return format!(
            "not kept: {state}what arrived in {sources} in between is missing (startup 'latest')"
        );
    }
    format!("state and offsets are not kept: sources are read again from the start; {effect}")
}

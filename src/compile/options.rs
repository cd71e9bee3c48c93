//! `WITH ( ... )` options, turned into typed values of the plan with every check that needs no schema.
//!
//! Names of columns stay names with their places: the compiler resolves them against the relation.

mod csv;
mod kafka;
mod reader;
mod simulator;
mod sink;
mod source;
mod values;

use std::collections::BTreeMap;
use std::time::Duration;

use datafusion_sql::sqlparser::tokenizer::Span;

use super::ast::{Name, Options};
use super::diagnostic::Diagnostic;
use crate::plan::{
    DeadLetterPolicy, Format, KeyFormat, KeySaid, SourceConnector, TimestampFormat, WriteMode,
};

/// The options of a `CREATE SOURCE` or `CREATE TABLE`.
#[derive(Clone, Debug, PartialEq)]
pub struct SourceOptions {
    pub connector: SourceConnector,
    /// Where records of a table say their key; `None` for a source.
    pub key: Option<KeySaid>,
    pub format: Format,
    pub timestamp_format: TimestampFormat,
    pub max_future: Duration,
    /// `None`: `unbounded`.
    pub max_jump: Option<Duration>,
    pub idle_timeout: Duration,
    /// `None`: not given, or `unbounded`.
    pub max_drift: Option<Duration>,
    /// The column of `device`.
    pub device: Option<Name>,
    pub max_record_bytes: usize,
    pub dead_letters: DeadLetterPolicy,
}

/// The options of a `CREATE SINK`.
#[derive(Clone, Debug, PartialEq)]
pub struct SinkOptions {
    pub target: SinkTarget,
    /// Where mistakes about the connector and its mode are reported: the `mode`, else the `connector`.
    pub mode_span: Span,
    /// The columns of `key`, as written; `None` where the option is not given.
    pub key: Option<Vec<Name>>,
    /// Where a mistake about the key as a whole is reported: the value of `key`, else `mode_span`.
    pub key_span: Span,
    /// The column of `document` (MongoDB).
    pub document: Option<Name>,
    pub format: Format,
    pub shards: u16,
}

/// Where a sink writes to, without what needs the schema of its relation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SinkTarget {
    MongoDb {
        collection: String,
        database: Option<String>,
        mode: WriteMode,
    },
    Kafka {
        topic: String,
        mode: WriteMode,
        key_format: KeyFormat,
        partitions: i32,
        replication: i32,
        properties: BTreeMap<String, String>,
    },
    File {
        path: String,
    },
    Stdout,
    Blackhole,
}

/// Options of a source that mean something only where it declares a WATERMARK.
pub(super) use self::source::{MAX_DRIFT, OF_EVENT_TIME};

/// Whose options they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reads {
    Source,
    Table,
}

/// Reads the options of a source or table. `None` if anything is wrong; every mistake is in `diagnostics` then.
pub fn source_options(
    options: &Options,
    reads: Reads,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<SourceOptions> {
    source::read(options, reads, diagnostics)
}

/// Reads the options of a sink. `None` if anything is wrong; every mistake is in `diagnostics` then.
pub fn sink_options(options: &Options, diagnostics: &mut Vec<Diagnostic>) -> Option<SinkOptions> {
    sink::read(options, diagnostics)
}

/// The options of a `CREATE VIEW`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ViewOptions {
    /// How long state is kept that would grow with every event, and where that is said.
    pub retention: Option<(StateRetention, Span)>,
    /// How long windows take rows behind their end, and where that is said.
    pub allowed_lateness: Option<(Duration, Span)>,
    /// How long DISTINCT ON remembers, and where that is said.
    pub horizon: Option<(DeduplicateHorizon, Span)>,
}

/// How long DISTINCT ON remembers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeduplicateHorizon {
    /// So many nanoseconds of event time.
    Ns(i64),
    /// As long as the dataflow runs.
    Unbounded,
}

/// How long state is kept that would grow with every event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StateRetention {
    /// As long as the dataflow runs.
    Unbounded,
    /// So long in event time.
    Period(Duration),
    /// It is said, and wrong.
    Wrong,
}

/// Reads the options of a view.
pub fn view_options(options: &Options, diagnostics: &mut Vec<Diagnostic>) -> ViewOptions {
    let known = reader::Known {
        what: "a view".to_owned(),
        options: vec!["state_retention", "allowed_lateness", "deduplicate_horizon"],
        later: Vec::new(),
        properties: false,
    };
    let mut reader = reader::Reader::new(options, diagnostics);
    reader.check_names(&known);
    let kept = reader.parsed("state_retention", StateRetention::Wrong, retention);
    let retention = reader.value("state_retention").map(|value| (kept, value.span));
    let lateness = reader.parsed("allowed_lateness", None, |value| values::duration(value).map(Some));
    let allowed_lateness = lateness.zip(reader.value("allowed_lateness").map(|value| value.span));
    let horizon = reader.parsed("deduplicate_horizon", None, |value| Ok(Some((horizon(value)?, value.span))));
    ViewOptions { retention, allowed_lateness, horizon }
}

/// `unbounded`, or a length of time.
fn horizon(value: &Name) -> Result<DeduplicateHorizon, Diagnostic> {
    if value.value.trim() == "unbounded" {
        return Ok(DeduplicateHorizon::Unbounded);
    }
    let hint = "'10 minutes': rows with the same key that far apart in event time are no duplicates; 'unbounded' \
                remembers every key as long as the dataflow runs";
    let error = |message: String| Diagnostic::new(value.span, message).hint(hint);
    let given = value.value.trim();
    let length = values::duration(value).map_err(|wrong| error(wrong.message))?;
    match i64::try_from(length.as_nanos()) {
        Ok(ns) if ns > 0 => Ok(DeduplicateHorizon::Ns(ns)),
        _ => Err(error(format!("a horizon of '{given}' would find no duplicates"))),
    }
}

/// `unbounded`, or a length of time.
fn retention(value: &Name) -> Result<StateRetention, Diagnostic> {
    if value.value.trim() == "unbounded" {
        return Ok(StateRetention::Unbounded);
    }
    values::duration(value).map(StateRetention::Period).map_err(|_| {
        let given = value.value.trim();
        let message = format!("expected 'unbounded' or a length of time, found '{given}'");
        Diagnostic::new(value.span, message)
            .hint("'7 days' keeps it so long in event time, 'unbounded' for ever")
    })
}

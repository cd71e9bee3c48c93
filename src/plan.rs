//! The compiled dataflow: what [`crate::compile`] makes of a SQL file and every stage is built from.
//!
//! A plan is a graph of *legs*. A leg leads from a source, or from the output of an [`Operator`], through
//! filters and projections to the next operator, arrangement or sink. `CREATE VIEW` and UNION ALL leave
//! no trace but steps and further legs; so every row has one leg to be accounted in, for each consumer.
//!
//! Nothing in a plan is left to parse: expressions are compiled, names are resolved, options are typed.

mod aggregate;
mod bound;
mod column;
mod deduplication;
mod interval_join;
mod kafka;
mod lag;
mod operator;
mod rank;
mod retention;
mod simulator;
mod table;
mod window;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::SchemaRef;
use datafusion_physical_expr::PhysicalExpr;

use crate::csv::Dialect;

pub use self::aggregate::{Aggregate, AggregateFunction, Growth, OfPairs, OrderBy, Parameter};
pub use self::bound::Bound;
pub use self::column::{ArrayRef1, Column, ColumnOrigin, ColumnType, JSON_TYPE, Metadata, field, is_json};
pub use self::deduplication::{Deduplication, Horizon};
pub use self::interval_join::{IntervalJoin, JoinSide};
pub use self::kafka::{KafkaSource, StartupMode, TopicPattern, Topics};
pub use self::lag::{Before, Lag};
pub use self::operator::{Aggregation, Arrangement, Join, JoinKind, Operator};
pub use self::rank::{Close, First, Number, Places, Rank};
pub use self::retention::Retention;
pub use self::simulator::{Shape, Simulator};
pub use self::table::{KeySaid, Lookup, OPERATION, Table, TableSource, record_schema};
pub use self::window::{Emit, Window, Windowing};

/// A whole dataflow.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Name of the dataflow: that of its directory.
    pub name: String,
    /// The directory that relative paths start from.
    pub directory: PathBuf,
    /// `CREATE SOURCE` and `CREATE TABLE`, in the order of the file. Only sources that some sink or served view reads are run.
    pub sources: Vec<Source>,
    /// Every place that keeps state, in an order in which each comes after those that it reads.
    pub operators: Vec<Operator>,
    /// Rows kept by key, for joins and live reads.
    pub arrangements: Vec<Arrangement>,
    /// Materialized views that have a key and so can be read live.
    pub views: Vec<ServedView>,
    /// `CREATE SINK`, in the order of the file.
    pub sinks: Vec<Sink>,
    /// How rows get from one to the other.
    pub legs: Vec<Leg>,
}

impl Plan {
    /// Whether anything reads a table: then it is read to its end before any stream is.
    pub fn reads_tables(&self) -> bool {
        let is_table =
            |leg: &Leg| matches!(leg.from, Upstream::Source(index) if self.sources[index].table.is_some());
        self.legs.iter().any(is_table)
    }

    /// Whatever keeps rows or groups, by name.
    pub fn states(&self) -> impl Iterator<Item = (&str, Downstream)> {
        let operators = self.operators.iter().enumerate().filter(|(_, operator)| operator.ports() > 0);
        let operators = operators.map(|(index, operator)| (operator.name(), Downstream::Operator(index)));
        let arrangements = self.arrangements.iter().enumerate();
        let arrangements = arrangements.map(|(index, kept)| (&*kept.name, Downstream::Arrangement(index)));
        operators.chain(arrangements)
    }
}

/// Where a leg begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Upstream {
    /// Index into [`Plan::sources`].
    Source(usize),
    /// Index into [`Plan::operators`].
    Operator(usize),
    /// The rows that were too late for an operator, as they arrived there: index into [`Plan::operators`].
    Late(usize),
}

/// Where a leg ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Downstream {
    /// Index into [`Plan::operators`].
    Operator(usize),
    /// Index into [`Plan::arrangements`].
    Arrangement(usize),
    /// Index into [`Plan::sinks`].
    Sink(usize),
}

/// The way of rows from one stateful place to the next.
#[derive(Clone, Debug)]
pub struct Leg {
    /// `telemetry_raw->history`; with `#2`, `#3`, ... for further branches of a UNION ALL.
    pub name: String,
    pub from: Upstream,
    pub steps: Vec<Step>,
    pub to: Downstream,
    /// Which input of an operator it leads into; 0 for what has one.
    pub port: u16,
    /// Which branch of a UNION ALL this is, from 0, and of how many: becomes a part of the `index` of the rows'
    /// origins.
    pub branch: u32,
    pub branches: u32,
    /// What arrives at the end.
    pub schema: SchemaRef,
    /// Sources whose rows come this way, as indices into [`Plan::sources`].
    pub sources: Vec<usize>,
}

/// Something that is done to each row by itself.
#[derive(Clone, Debug)]
pub enum Step {
    /// Keeps the rows for which the expression is true.
    Filter(Expr),
    /// Computes the columns of `schema`, in order. Each result is cast to the type of its field.
    Project { exprs: Vec<Expr>, schema: SchemaRef },
}

/// A compiled expression over the columns of the relation it stands on.
#[derive(Clone, Debug)]
pub struct Expr {
    /// To be evaluated over a batch of the input's schema; where `uses_now`, with one more column `now()`
    /// (`Timestamp(ns)`, the epoch's wall clock) behind the others.
    pub physical: Arc<dyn PhysicalExpr>,
    /// The expression as the user wrote it, for dead letters and `explain`.
    pub text: String,
    pub uses_now: bool,
}

// ---------------------------------------------------------------------------------------------- sources

/// `CREATE SOURCE`, `CREATE TABLE`.
#[derive(Clone, Debug)]
pub struct Source {
    pub name: String,
    /// The declared columns, metadata columns included, in order.
    pub columns: Vec<Column>,
    /// The same as an Arrow schema; of a table see [`record_schema`].
    pub schema: SchemaRef,
    /// A table has a key, and its records change the row of theirs.
    pub table: Option<TableSource>,
    /// Columns that are computed of the others when a record has been read, in this order.
    pub computed: Vec<Computed>,
    /// CHECK constraints, evaluated over `schema` in order: FALSE makes a dead letter, NULL passes.
    pub checks: Vec<Expr>,
    pub watermark: Option<WatermarkColumn>,
    pub connector: SourceConnector,
    pub format: Format,
    pub timestamp_format: TimestampFormat,
    /// Skew guard: a record further ahead of the epoch's wall clock, or of the time that the log holds for it, than
    /// this becomes a dead letter.
    pub max_future: Duration,
    /// An event time further ahead than this of those before it in its partition counts only when most of the last
    /// records are there as well; `None`: it counts at once.
    pub max_jump: Option<Duration>,
    /// How long a partition at the log end has no data before its watermark stops to count.
    pub idle_timeout: Duration,
    /// How far ahead of the slowest partition another one may be in event time; `None`: as far as it comes.
    pub max_drift: Option<Duration>,
    /// The column that names the device of a record, as an index into [`Source::columns`].
    pub device: Option<usize>,
    pub max_record_bytes: usize,
    pub dead_letters: DeadLetterPolicy,
}

/// `name TYPE AS expression`.
#[derive(Clone, Debug)]
pub struct Computed {
    /// Index into [`Source::columns`].
    pub column: usize,
    /// Over the schema of the source; its type is that of the column.
    pub expr: Expr,
}

/// `WATERMARK FOR column AS column - INTERVAL '...'`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WatermarkColumn {
    /// Index into [`Source::columns`]; a TIMESTAMP.
    pub column: usize,
    /// How far the watermark stays behind the greatest event time, in nanoseconds.
    pub delay_ns: i64,
}

#[derive(Clone, Debug, PartialEq)]
pub enum SourceConnector {
    Kafka(KafkaSource),
    File(FileSource),
    Simulator(Simulator),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileSource {
    /// A file, a folder or a glob; relative to [`Plan::directory`].
    pub path: String,
    /// How often new files and lines are looked for; `None`: what is there at the start is all.
    pub monitor: Option<Duration>,
    /// Records come when their event times say, so many times a thousandth of the clock's speed; `None`: as fast
    /// as they are taken.
    pub replay_milli: Option<u64>,
}

impl FileSource {
    /// Endings of files that are compressed in a way that is not read.
    pub const NOT_READ: [&str; 5] = [".zst", ".bz2", ".xz", ".lz4", ".zip"];
}

/// How records are written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// One object per record.
    #[default]
    Json,
    Csv(Dialect),
}

impl Format {
    /// Of files that a run is given or writes in place of what the connectors say.
    pub fn extension(&self) -> &'static str {
        match self {
            Format::Json => "jsonl",
            Format::Csv(_) => "csv",
        }
    }
}

/// How a number is read as a TIMESTAMP; text is always RFC 3339.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TimestampFormat {
    EpochSeconds,
    #[default]
    EpochMillis,
    EpochMicros,
    EpochNanos,
}

/// Where dead letters of a source go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeadLetterPolicy {
    /// `<topic>.dlq` of a Kafka source (embedded: a topic folder of that name); files and simulators: `File`.
    #[default]
    Topic,
    /// A file `<source>.dlq.jsonl` in the state directory.
    File,
    /// Counted and dropped.
    Drop,
}

// ------------------------------------------------------------------------------------------------ views

/// A materialized view with a key, kept in an arrangement for live reads.
#[derive(Clone, Debug)]
pub struct ServedView {
    pub name: String,
    pub schema: SchemaRef,
    /// Indices of the key columns in `schema`.
    pub key: Vec<usize>,
    /// The arrangement by that key, as an index into [`Plan::arrangements`].
    pub arrangement: usize,
}

// ------------------------------------------------------------------------------------------------ sinks

/// `CREATE SINK`.
#[derive(Clone, Debug)]
pub struct Sink {
    pub name: String,
    pub schema: SchemaRef,
    pub changes: ChangeMode,
    /// Key of the relation, as indices of `schema`.
    pub key: Option<Vec<usize>>,
    /// Rows are only added, but one with the key of an earlier one takes its place.
    pub replaces: bool,
    pub connector: SinkConnector,
    /// `document = 'payload'`: the JSON column whose fields become the document's own fields, exactly as they
    /// were received; the other columns are added behind them.
    pub document: Option<usize>,
    /// How rows are written to files and to the standard output.
    pub format: Format,
    /// How many parts write side by side; a setting of the sink, never the number of workers.
    pub shards: u16,
}

/// How the rows of a relation change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeMode {
    /// Rows are only added.
    AppendOnly,
    /// Rows are replaced or removed.
    Updating,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SinkConnector {
    MongoDb(MongoSink),
    Kafka(KafkaSink),
    File(FileSink),
    Stdout,
    Blackhole,
}

/// How a sink treats the rows of its relation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WriteMode {
    /// Each row is one more document or record; only for append-only relations.
    #[default]
    Append,
    /// The newest row per key replaces the older one.
    Upsert,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MongoSink {
    pub collection: String,
    /// `None`: that of the settings.
    pub database: Option<String>,
    pub mode: WriteMode,
    /// Columns that make up `_id`, as indices of the schema. Upsert: the relation's key. Append: the `key`
    /// option; empty means the origin of the row.
    pub id: Vec<usize>,
    /// Append: columns that are not compared when the same `_id` comes again (ingestion times, `_*`).
    pub not_compared: Vec<usize>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KafkaSink {
    pub topic: String,
    pub mode: WriteMode,
    /// Key columns as indices of the schema; empty means no key.
    pub key: Vec<usize>,
    pub key_format: KeyFormat,
    /// For a topic that has to be created.
    pub partitions: i32,
    pub replication: i32,
    pub properties: BTreeMap<String, String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KeyFormat {
    /// JSON object of the key columns.
    #[default]
    Json,
    /// The bytes of the one TEXT key column.
    Raw,
}

/// The column with which changes begin that are written as lines.
pub const OP: &str = "op";

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileSink {
    /// Relative to [`Plan::directory`].
    pub path: String,
}

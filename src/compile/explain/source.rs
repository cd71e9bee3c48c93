//! Sources and tables: what is read, and what a record must be.

use std::time::Duration;

use super::tree::Node;
use super::{Printer, expression, reads};
use crate::plan::{
    Column, ColumnOrigin, DeadLetterPolicy, Metadata, Source, SourceConnector, TimestampFormat,
};

impl Printer<'_> {
    pub(super) fn source(&mut self, index: usize) -> Node {
        let Some(source) = self.plan.sources.get(index) else {
            return Node::new(format!("source {index} is missing"));
        };
        let title = format!("source {}", source.name);
        if !self.sources.insert(index) {
            return Node::new(format!("{title} (see above)"));
        }
        let mut node = Node::new(title);
        node.line("reads", reads::reads(&source.connector, &source.format));
        match &source.table {
            None => node.line("relation", "append-only, no key".to_owned()),
            Some(table) => {
                node.line("records", reads::records(table));
                node.line("start", "read to its end before any stream, then followed".to_owned());
            }
        }
        for (index, column) in source.columns.iter().enumerate() {
            let computed = source.computed.iter().find(|computed| computed.column == index);
            let computed = computed.map(|computed| format!(" computed: {}", computed.expr.text));
            node.line("column", declared(column) + &computed.unwrap_or_default());
        }
        for check in &source.checks {
            node.line("check", expression(check));
        }
        node.line("timestamps", timestamps(source.timestamp_format));
        let (watermark, guard) = time(source);
        if source.table.is_none() {
            node.line("watermark", watermark);
            node.line("skew guard", guard);
        }
        if let Some(drift) = source.max_drift {
            let drift = humantime::format_duration(drift);
            node.line("alignment", format!("no partition is read more than {drift} ahead of the slowest"));
        }
        node.line("limit", format!("a record has at most {} bytes", source.max_record_bytes));
        node.line("dead letters", dead_letters(source));
        node
    }
}

fn declared(column: &Column) -> String {
    let from = match &column.from {
        ColumnOrigin::Path(path) if path.len() == 1 && path[0] == column.name => String::new(),
        ColumnOrigin::Path(path) => format!(" from field {}", path.join(".")),
        ColumnOrigin::Metadata(metadata) => format!(" from metadata {}", metadata_name(*metadata)),
        ColumnOrigin::Computed => String::new(),
    };
    let null = if column.nullable { "" } else { " NOT NULL" };
    let default = if column.default.is_some() { " with DEFAULT" } else { "" };
    format!("{} {}{null}{default}{from}", column.name, column.kind.sql_name())
}

fn metadata_name(metadata: Metadata) -> &'static str {
    match metadata {
        Metadata::Topic => "topic",
        Metadata::Partition => "partition",
        Metadata::Offset => "offset",
        Metadata::Key => "key",
        Metadata::Headers => "headers",
        Metadata::Timestamp => "timestamp",
        Metadata::IngestionTime => "ingestion_time",
        Metadata::Payload => "payload",
    }
}

fn timestamps(format: TimestampFormat) -> String {
    let unit = match format {
        TimestampFormat::EpochSeconds => "seconds",
        TimestampFormat::EpochMillis => "milliseconds",
        TimestampFormat::EpochMicros => "microseconds",
        TimestampFormat::EpochNanos => "nanoseconds",
    };
    format!("RFC 3339 text, or numbers of {unit} since 1970")
}

/// Watermark and skew guard.
fn time(source: &Source) -> (String, String) {
    let column = source.watermark.and_then(|watermark| {
        let column = source.columns.get(watermark.column)?;
        Some((column.name.as_str(), watermark.delay_ns))
    });
    let Some((name, delay_ns)) = column else {
        return ("none".to_owned(), "none: it needs a WATERMARK".to_owned());
    };
    let delay = Duration::from_nanos(delay_ns.unsigned_abs());
    let sign = if delay_ns < 0 { '+' } else { '-' };
    let delay = if delay.is_zero() {
        String::new()
    } else {
        format!(" {sign} {}", humantime::format_duration(delay))
    };
    let idle = humantime::format_duration(source.idle_timeout);
    let ahead = humantime::format_duration(source.max_future);
    (
        format!(
            "{name}{delay}, the minimum over partitions; one without data for {idle} at its end is left out"
        ),
        format!("a record whose {name} is more than {ahead} ahead of the clock is a dead letter"),
    )
}

fn dead_letters(source: &Source) -> String {
    let letters = match (&source.connector, source.dead_letters) {
        (_, DeadLetterPolicy::Drop) => return "counted and dropped".to_owned(),
        (SourceConnector::Kafka(kafka), DeadLetterPolicy::Topic) => {
            let topics: Vec<String> =
                kafka.topics.named().iter().map(|topic| format!("{topic}.dlq")).collect();
            if topics.is_empty() {
                "topic <topic>.dlq".to_owned()
            } else {
                format!("topic {}", topics.join(", "))
            }
        }
        _ => format!("file {}.dlq.jsonl in the state directory", source.name),
    };
    format!("{letters}; an epoch's follow when all sinks have confirmed it")
}

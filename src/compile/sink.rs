//! `CREATE SINK`: what the relation must be for it, and which columns are keys.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion_sql::sqlparser::tokenizer::Span;

use super::ast::Name;
use super::diagnostic::Diagnostic;
use super::flow::Flow;
use super::graph::Graph;
use super::options::{SinkOptions, SinkTarget};
use super::{text, types};
use crate::plan::{
    ChangeMode, FileSink, KafkaSink, KeyFormat, MongoSink, OP, Sink, SinkConnector, WriteMode,
};

/// Fits a sink to its relation. `None` if anything is wrong; it is in `diagnostics` then.
pub(super) fn sink(
    name: &Name,
    options: SinkOptions,
    (flow, graph): (&Flow, &Graph),
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<Sink> {
    let before = diagnostics.len();
    let mode = match &options.target {
        SinkTarget::MongoDb { mode, .. } | SinkTarget::Kafka { mode, .. } => Some(*mode),
        _ => None,
    };
    let key = resolve(options.key.as_deref().unwrap_or_default(), flow, diagnostics);
    let document = options.document.as_ref().and_then(|name| document(name, flow, diagnostics));
    if diagnostics.len() > before {
        return None;
    }
    let key = match mode {
        Some(WriteMode::Append) => append(&options, key, (flow, graph), diagnostics),
        Some(WriteMode::Upsert) => upsert(&options, key, flow, diagnostics),
        None => key,
    };
    let upsert_key = flow.upsert_key.as_ref().filter(|_| mode == Some(WriteMode::Upsert));
    let relation_key = flow.key.as_ref().or(upsert_key).cloned();
    let connector = connector(options.target, options.key_span, key, flow, diagnostics);
    match &connector {
        SinkConnector::MongoDb(target) => refuse_reserved(target, options.mode_span, flow, diagnostics),
        SinkConnector::File(_) | SinkConnector::Stdout => refuse_op(name.span, flow, diagnostics),
        SinkConnector::Kafka(_) | SinkConnector::Blackhole => {}
    }
    if diagnostics.len() > before {
        return None;
    }
    Some(Sink {
        name: name.value.clone(),
        schema: Arc::clone(flow.schema.inner()),
        changes: flow.changes,
        replaces: upsert_key.is_some(),
        key: relation_key,
        connector,
        document,
        format: options.format,
        shards: options.shards,
    })
}

/// `_id` and `_v` are ours: a column of that name would be lost without a word.
fn refuse_reserved(target: &MongoSink, place: Span, flow: &Flow, diagnostics: &mut Vec<Diagnostic>) {
    for (index, field) in flow.schema.fields().iter().enumerate() {
        let reserved = match field.name().as_str() {
            "_id" => target.id != [index],
            "_v" => target.mode == WriteMode::Upsert,
            _ => false,
        };
        if reserved {
            let message = format!("a document cannot have a column `{}`: that name is ours", field.name());
            let hint = "give the column another name in the SELECT";
            diagnostics.push(Diagnostic::new(place, message).hint(hint));
        }
    }
}

/// Changes that are written as lines begin with what they do, as the column `op`.
fn refuse_op(place: Span, flow: &Flow, diagnostics: &mut Vec<Diagnostic>) {
    let taken = flow.schema.fields().iter().any(|field| field.name() == OP);
    if taken && flow.changes == ChangeMode::Updating {
        let message = format!("changes of rows have a column `{OP}` of their own (insert, update, delete)");
        let hint = format!("give the column another name: SELECT {OP} AS operation");
        diagnostics.push(Diagnostic::new(place, message).hint(hint));
    }
}

/// Indices of the named columns.
fn resolve(names: &[Name], flow: &Flow, diagnostics: &mut Vec<Diagnostic>) -> Vec<usize> {
    let mut found = Vec::new();
    for name in names {
        match column(name, flow) {
            Ok(index) if found.contains(&index) => {
                let message = format!("`{}` is named twice", text::name(&name.value));
                diagnostics.push(Diagnostic::new(name.span, message));
            }
            Ok(index) => found.push(index),
            Err(diagnostic) => diagnostics.push(diagnostic),
        }
    }
    found
}

fn column(name: &Name, flow: &Flow) -> Result<usize, Diagnostic> {
    flow.column(&name.value).ok_or_else(|| {
        let mut diagnostic =
            Diagnostic::new(name.span, format!("there is no column `{}`", text::name(&name.value)));
        let names = flow.schema.fields().iter().map(|field| field.name().as_str());
        let all: Vec<_> = names.clone().map(text::name).collect();
        let hint = text::did_you_mean(&name.value, names);
        diagnostic.hint = hint.or_else(|| Some(format!("the columns are {}", all.join(", "))));
        diagnostic
    })
}

fn document(name: &Name, flow: &Flow, diagnostics: &mut Vec<Diagnostic>) -> Option<usize> {
    match column(name, flow) {
        Ok(index) if flow.columns[index].json => Some(index),
        Ok(index) => {
            let found = types::name(flow.schema.field(index).data_type());
            let message = format!("`document` needs a JSON column, `{}` is {found}", text::name(&name.value));
            let hint = "declare it in the source, as JSON METADATA FROM 'payload' or as a JSON field";
            diagnostics.push(Diagnostic::new(name.span, message).hint(hint));
            None
        }
        Err(diagnostic) => {
            diagnostics.push(diagnostic);
            None
        }
    }
}

fn append(
    options: &SinkOptions,
    key: Vec<usize>,
    (flow, graph): (&Flow, &Graph),
    diagnostics: &mut Vec<Diagnostic>,
) -> Vec<usize> {
    if flow.changes == ChangeMode::Updating {
        let message = "the relation is updating: its rows are replaced, but an append sink can only add rows";
        diagnostics.push(Diagnostic::new(options.mode_span, message).hint(match &flow.key {
            Some(key) => format!("write mode = 'upsert'; the key is {}", flow.names(key)),
            None => "an upsert sink needs a relation with a key: keep the columns of GROUP BY".to_owned(),
        }));
    }
    if let Some(column) = key.iter().find(|column| flow.columns[**column].ingestion) {
        let name = &flow.columns[*column].text;
        let message = format!("`{name}` depends on when a record is read, so it cannot be part of a key");
        let hint = "a record that is read again must get the same key";
        diagnostics.push(Diagnostic::new(options.key_span, message).hint(hint));
    }
    let has_origins = flow.branches.iter().all(|branch| graph.has_origins(branch.from));
    if matches!(options.target, SinkTarget::MongoDb { .. }) && key.is_empty() && !has_origins {
        // Behind DISTINCT a row stands for several records: its columns name it.
        return flow.key.clone().unwrap_or_else(|| {
            let message =
                "rows behind DISTINCT, GROUP BY or JOIN come from no single record, so they have no `_id`";
            let error = Diagnostic::new(options.mode_span, message);
            diagnostics.push(error.hint("name the columns that make it up: key = 'did, name'"));
            Vec::new()
        });
    }
    key
}

fn upsert(
    options: &SinkOptions,
    key: Vec<usize>,
    flow: &Flow,
    diagnostics: &mut Vec<Diagnostic>,
) -> Vec<usize> {
    let Some(relation_key) = flow.key.as_ref().or(flow.upsert_key.as_ref()) else {
        let message = "an upsert sink needs a relation with a key, and this one has none";
        let hint = "GROUP BY gives a relation a key, as long as its columns stay in the SELECT list; \
                    or write mode = 'append'";
        diagnostics.push(Diagnostic::new(options.mode_span, message).hint(hint));
        return key;
    };
    if options.key.is_none() {
        return relation_key.clone();
    }
    let sets: [BTreeSet<_>; 2] = [key.iter().collect(), relation_key.iter().collect()];
    if sets[0] != sets[1] {
        let (given, needed) = (flow.names(&key), flow.names(relation_key));
        let message = format!("the key of the sink ({given}) is not that of the relation ({needed})");
        let hint = match relation_key.is_empty() {
            true => "leave it out: the relation has one row at most, and so no key columns".to_owned(),
            false => format!("write key = '{needed}', or leave it out"),
        };
        diagnostics.push(Diagnostic::new(options.key_span, message).hint(hint));
    }
    key
}

fn connector(
    target: SinkTarget,
    key_span: Span,
    key: Vec<usize>,
    flow: &Flow,
    diagnostics: &mut Vec<Diagnostic>,
) -> SinkConnector {
    match target {
        SinkTarget::MongoDb { collection, database, mode } => {
            let varies = |column: &usize| {
                flow.columns[*column].ingestion || flow.schema.field(*column).name().starts_with('_')
            };
            let not_compared = match mode {
                WriteMode::Append => (0..flow.columns.len()).filter(varies).collect(),
                WriteMode::Upsert => Vec::new(),
            };
            SinkConnector::MongoDb(MongoSink { collection, database, mode, id: key, not_compared })
        }
        SinkTarget::Kafka { topic, mode, key_format, partitions, replication, properties } => {
            let is_text = |column: &usize| *flow.schema.field(*column).data_type() == DataType::Utf8;
            if key_format == KeyFormat::Raw && !(key.len() == 1 && key.iter().all(is_text)) {
                let message = "key.format = 'raw' needs exactly one key column, of type TEXT";
                let hint = "leave key.format out: then the key is a JSON object";
                diagnostics.push(Diagnostic::new(key_span, message).hint(hint));
            }
            SinkConnector::Kafka(KafkaSink {
                topic,
                mode,
                key,
                key_format,
                partitions,
                replication,
                properties,
            })
        }
        SinkTarget::File { path } => SinkConnector::File(FileSink { path }),
        SinkTarget::Stdout => SinkConnector::Stdout,
        SinkTarget::Blackhole => SinkConnector::Blackhole,
    }
}

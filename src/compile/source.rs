//! `CREATE SOURCE` and `CREATE TABLE`: columns, rules and the watermark.

mod computed;
mod watermark;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{Array, StringArray};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Schema};
use datafusion_common::DFSchema;
use datafusion_expr::Expr;
use datafusion_sql::sqlparser::ast::{Expr as Ast, Value};

use super::ast::{ColumnDefinition, CreateSource, Expression, Name, OptionEntry};
use super::catalog::Catalog;
use super::diagnostic::Diagnostic;
use super::expression::{Scope, compile, condition};
use super::flow::{Branch, ColumnInfo, Flow};
use super::options::{OF_EVENT_TIME, Reads, SourceOptions, source_options};
use super::problem::Problem;
use super::reword::failed;
use super::{guard, locate, query, refuse, table, text, types};
use crate::json;
use crate::plan::{
    ArrayRef1, Bound, ChangeMode, Column, ColumnOrigin, ColumnType, Computed, Expr as PlanExpr, Format,
    Metadata, Source, TableSource, Upstream, record_schema,
};

/// The least bound that is taken without being asked for.
const DRIFT_MIN: Duration = Duration::from_secs(60);

/// Compiles a source that will be number `index`. `None` if anything is wrong; it is in `diagnostics` then.
pub(super) fn source(
    create: &CreateSource,
    catalog: &Catalog,
    index: usize,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<(Source, Flow)> {
    let before = diagnostics.len();
    let columns: Vec<_> =
        create.columns.iter().map(|column| self::column(column, catalog, diagnostics)).collect();
    if diagnostics.len() > before {
        // Rules over columns that are wrong would only repeat it.
        let _ = source_options(&create.options, reads(create), diagnostics);
        return None;
    }
    let flow = flow(create, index, diagnostics)?;
    let computed: Vec<Computed> = computed::columns(create, catalog, &flow, diagnostics);
    let checks = create.checks.iter().filter_map(|check| self::check(check, catalog, &flow, diagnostics));
    let checks = checks.collect();
    let watermark = create.watermark.as_ref().map(|it| watermark::column(it, create, catalog));
    let watermark = match watermark.transpose() {
        Ok(watermark) => watermark,
        Err(diagnostic) => {
            diagnostics.push(diagnostic);
            None
        }
    };
    let options = source_options(&create.options, reads(create), diagnostics);
    if let Some(SourceOptions { format: Format::Csv(_), .. }) = &options {
        diagnostics.extend(create.columns.iter().filter_map(not_in_csv));
    }
    if create.watermark.is_none() && create.key.is_none() {
        diagnostics.extend(create.options.entries.iter().filter_map(without_event_time));
    }
    let key = table::key(create);
    diagnostics.extend(options.as_ref().and_then(|options| table::wrong_raw_key(create, &key, options.key)));
    let device = options.as_ref().map(|options| device(options.device.as_ref(), create, diagnostics));
    let options = if diagnostics.len() == before { options? } else { return None };
    let source = Source {
        name: create.name.value.clone(),
        columns,
        schema: match options.key {
            Some(_) => record_schema(flow.schema.as_arrow(), &key),
            None => Arc::clone(flow.schema.inner()),
        },
        table: options.key.map(|said| TableSource { key, said }),
        computed,
        checks,
        watermark,
        connector: options.connector,
        format: options.format,
        timestamp_format: options.timestamp_format,
        max_future: options.max_future,
        max_jump: options.max_jump,
        idle_timeout: options.idle_timeout,
        max_drift: options.max_drift,
        device: device?,
        max_record_bytes: options.max_record_bytes,
        dead_letters: options.dead_letters,
    };
    let mut flow = flow;
    if let Some(watermark) = source.watermark {
        // Every expression over the columns is compiled before: a CHECK cannot ask for a time attribute.
        flow.columns[watermark.column].time = Some(Bound::Source(index));
    }
    Some((source, flow))
}

fn reads(create: &CreateSource) -> Reads {
    if create.key.is_some() { Reads::Table } else { Reads::Source }
}

/// How far ahead of the slowest partition others may be where nothing is said and something waits for the watermark:
/// more than clocks can be apart, so that nobody is held because of them.
pub(super) fn default_drift(source: &Source) -> Duration {
    source.max_future.saturating_mul(2).max(DRIFT_MIN)
}

/// The column that names the device.
fn device(name: Option<&Name>, create: &CreateSource, diagnostics: &mut Vec<Diagnostic>) -> Option<usize> {
    let name = name?;
    let names = || create.columns.iter().map(|column| column.name.value.as_str());
    let found = names().position(|column| column == name.value.trim());
    if found.is_none() {
        let error = Diagnostic::new(name.span, format!("there is no column `{}`", text::name(&name.value)));
        let nearest = text::did_you_mean(&name.value, names());
        let all = || format!("the columns are {}", names().map(text::name).collect::<Vec<_>>().join(", "));
        diagnostics.push(error.hint(nearest.unwrap_or_else(all)));
    }
    found
}

/// An option that needs event time, where none is declared.
fn without_event_time(option: &OptionEntry) -> Option<Diagnostic> {
    let replay = option.key.value == "pace" && option.value.value == "event_time";
    let key = OF_EVENT_TIME.iter().find(|key| **key == option.key.value).or(replay.then_some(&"pace"))?;
    let error = Diagnostic::new(option.key.span, format!("option `{key}` needs a WATERMARK"));
    Some(error.hint("declare WATERMARK FOR column AS column - INTERVAL '10 seconds', or remove the option"))
}

/// What a column asks for that a record of CSV does not have.
fn not_in_csv(column: &ColumnDefinition) -> Option<Diagnostic> {
    let name = text::name(&column.name.value);
    if column.path.is_some() {
        let error =
            Diagnostic::new(column.name.span, format!("column `{name}`: PATH is not possible in CSV"));
        return Some(error.hint("a record has no fields inside of fields; name the column as in the header"));
    }
    if column.metadata == Some(Metadata::Payload) && column.kind == ColumnType::Json {
        let error = Diagnostic::new(column.kind_span, "the payload of a CSV record is TEXT, not JSON");
        return Some(error.hint("declare it as TEXT"));
    }
    None
}

/// The relation that a source is.
fn flow(create: &CreateSource, index: usize, diagnostics: &mut Vec<Diagnostic>) -> Option<Flow> {
    let fields: Vec<_> =
        create.columns.iter().map(|column| column.kind.field(&column.name.value, !column.not_null)).collect();
    let schema = DFSchema::try_from_qualified_schema(
        datafusion_common::TableReference::bare(create.name.value.as_str()),
        &Schema::new(fields),
    );
    let schema = match schema {
        Ok(schema) => Arc::new(schema),
        Err(error) => {
            diagnostics.push(failed(&error).into_diagnostic(&[], None, create.name.span));
            return None;
        }
    };
    let info = |column: &ColumnDefinition| ColumnInfo {
        text: text::name(&column.name.value),
        json: column.kind == ColumnType::Json,
        ingestion: column.metadata == Some(Metadata::IngestionTime),
        transport: column.metadata.is_some_and(|of| !matches!(of, Metadata::Key | Metadata::Payload)),
        time: None,
        window_end: false,
        retention: Default::default(),
    };
    Some(Flow {
        schema,
        columns: create.columns.iter().map(info).collect(),
        changes: ChangeMode::AppendOnly,
        key: None,
        other_keys: Vec::new(),
        upsert_key: None,
        branches: vec![Branch {
            from: Upstream::Source(index),
            steps: Vec::new(),
            sources: BTreeSet::from([index]),
        }],
    })
}

fn column(definition: &ColumnDefinition, catalog: &Catalog, diagnostics: &mut Vec<Diagnostic>) -> Column {
    let from = match (definition.metadata, &definition.path) {
        _ if definition.computed.is_some() => ColumnOrigin::Computed,
        (Some(metadata), _) => ColumnOrigin::Metadata(metadata),
        (None, Some(path)) => ColumnOrigin::Path(path.clone()),
        (None, None) => ColumnOrigin::Path(vec![definition.name.value.clone()]),
    };
    let default = definition.default.as_ref().map(|default| constant(default, definition, catalog));
    let default = match default.transpose() {
        Ok(default) => default.flatten(),
        Err(diagnostic) => {
            diagnostics.push(diagnostic);
            None
        }
    };
    Column {
        name: definition.name.value.clone(),
        kind: definition.kind,
        nullable: !definition.not_null,
        default,
        from,
    }
}

/// The value of DEFAULT. `None` for NULL, which is what a missing field is anyway.
fn constant(
    default: &Expression,
    definition: &ColumnDefinition,
    catalog: &Catalog,
) -> Result<Option<ArrayRef1>, Diagnostic> {
    let kind = definition.kind.sql_name();
    if matches!(&default.ast, Ast::Value(value) if matches!(value.value, Value::Null)) {
        if definition.not_null {
            let error = Diagnostic::new(default.span, "DEFAULT NULL on a column that is NOT NULL");
            return Err(error.hint("remove one of the two"));
        }
        return Ok(None);
    }
    let empty = Flow {
        schema: Arc::new(DFSchema::empty()),
        columns: Vec::new(),
        changes: ChangeMode::AppendOnly,
        key: None,
        other_keys: Vec::new(),
        upsert_key: None,
        branches: Vec::new(),
    };
    let located = |problem: Problem| problem.into_diagnostic(&[], None, default.span);
    let planned = planned(default, catalog, &empty).map_err(|diagnostic| {
        let is_column = diagnostic.message.starts_with("there is no column");
        let constant = || {
            let error = Diagnostic::new(default.span, "DEFAULT has to be a constant");
            error.hint(
                "compute it in a view: coalesce(column, expression) AS column; texts stand in single quotes",
            )
        };
        if is_column { constant() } else { diagnostic }
    })?;
    let compiled = compile(&planned, &Scope::over(&empty)).map_err(located)?;
    let value = guard::constant(&compiled.expr.physical).map_err(|error| located(failed(&error)))?;
    let value = value.to_array().map_err(|error| located(failed(&error)))?;
    let fits = matches!(
        (&compiled.data_type, definition.kind),
        (DataType::Int64 | DataType::Int32, ColumnType::BigInt | ColumnType::Int | ColumnType::Double)
            | (DataType::Float64, ColumnType::Double)
            | (
                DataType::Utf8,
                ColumnType::Text | ColumnType::Json | ColumnType::Timestamp | ColumnType::Date
            )
            | (DataType::Boolean, ColumnType::Boolean)
            | (DataType::Timestamp(..), ColumnType::Timestamp)
            | (DataType::Date32, ColumnType::Date)
    );
    if !fits {
        let found = types::name(&compiled.data_type);
        let message = format!("the column is {kind}, but its DEFAULT is {found}");
        return Err(Diagnostic::new(default.span, message).hint(example(definition.kind)));
    }
    if definition.kind == ColumnType::Json {
        valid_json(&value)
            .map_err(|message| Diagnostic::new(default.span, message).hint(example(ColumnType::Json)))?;
    }
    let options = CastOptions { safe: false, ..CastOptions::default() };
    let value = cast_with_options(&value, &definition.kind.arrow_type(), &options).map_err(|_| {
        let error = Diagnostic::new(default.span, format!("`{}` is no {kind}", default.text));
        error.hint(example(definition.kind))
    })?;
    Ok((value.null_count() == 0).then_some(ArrayRef1(value)))
}

/// A value of each type, for hints.
fn example(kind: ColumnType) -> &'static str {
    match kind {
        ColumnType::Text => "write a text, as in DEFAULT 'none'",
        ColumnType::BigInt => "write an integer of 64 bits, as in DEFAULT 0",
        ColumnType::Int => "write an integer of 32 bits, as in DEFAULT 0, or declare the column as BIGINT",
        ColumnType::Double => "write a number, as in DEFAULT 0.5",
        ColumnType::Boolean => "write DEFAULT true or DEFAULT false",
        ColumnType::Timestamp => "write RFC 3339, as in DEFAULT '2025-01-31T12:00:00Z'",
        ColumnType::Date => "write a day, as in DEFAULT '2025-01-31'",
        ColumnType::Json => "write JSON as a text, as in DEFAULT '{}'",
    }
}

fn valid_json(value: &dyn Array) -> Result<(), String> {
    let text = value.as_any().downcast_ref::<StringArray>().filter(|array| array.is_valid(0));
    let Some(text) = text else { return Ok(()) };
    json::is_json(text.value(0))
        .map_err(|error| format!("the DEFAULT of a JSON column has to be JSON: {error}"))
}

fn check(
    check: &Expression,
    catalog: &Catalog,
    flow: &Flow,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<PlanExpr> {
    let compiled = planned(check, catalog, flow).and_then(|planned| {
        let scope = Scope { no_now: Some("`now()` cannot be used in CHECK"), ..Scope::over(flow) };
        let mut columns = super::expression::indices(&planned, &scope);
        if columns.any(|column| flow.columns[column].ingestion) {
            let message = "CHECK cannot use the ingestion time: a rule must give the same answer every time";
            return Err(Diagnostic::new(check.span, message).hint("check a field of the record"));
        }
        condition(&planned, &scope, "CHECK").map_err(|problem| placed(problem, check, catalog, flow))
    });
    match compiled {
        Ok(compiled) => Some(PlanExpr { text: check.text.clone(), ..compiled }),
        Err(diagnostic) => {
            diagnostics.push(diagnostic);
            None
        }
    }
}

/// Plans an expression over the columns of a source.
fn planned(expression: &Expression, catalog: &Catalog, flow: &Flow) -> Result<Expr, Diagnostic> {
    if let Some(diagnostic) = refuse::expression::expression(catalog, &expression.ast, expression.span).pop()
    {
        return Err(diagnostic);
    }
    query::expression(catalog, &expression.ast, &flow.schema).map_err(|error| {
        let problem = query::problems(&error).into_iter().next();
        let problem = problem.unwrap_or_else(|| failed(&error));
        placed(problem, expression, catalog, flow)
    })
}

/// A mistake in an expression over the columns of a source, at its place.
fn placed(problem: Problem, expression: &Expression, catalog: &Catalog, flow: &Flow) -> Diagnostic {
    let culprits = locate::in_expression(catalog, &expression.ast, &flow.schema);
    problem.into_diagnostic(&culprits, None, expression.span)
}

//! Sinks and changes for the tests of this folder, written as text.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{
    ArrayRef, BooleanArray, Date32Array, Float64Array, Int32Array, Int64Array, RecordBatch,
    RecordBatchOptions, StringArray, TimestampNanosecondArray,
};
use arrow::datatypes::{Schema, SchemaRef};
use serde_json::Value;

use super::{Changes, Identity, Op};
use crate::batch::RowOrigin;
use crate::plan::{self, ChangeMode, ColumnType, SinkConnector};
use crate::record::{Partition, PartitionNames};
use crate::settings::{Cluster, Flow, Http, Kafka, MongoDb, Settings};
use crate::topic_log::{LogReader, partition_path, topic_directory};

/// A schema written as `name type, name type`.
fn columns(spec: &str) -> Vec<(String, ColumnType)> {
    let column = |text: &str| {
        let (name, kind) = text.trim().split_once(' ').expect("name and type");
        let kind = match kind {
            "text" => ColumnType::Text,
            "json" => ColumnType::Json,
            "int" => ColumnType::Int,
            "bigint" => ColumnType::BigInt,
            "double" => ColumnType::Double,
            "boolean" => ColumnType::Boolean,
            "timestamp" => ColumnType::Timestamp,
            "date" => ColumnType::Date,
            other => panic!("no type {other}"),
        };
        (name.to_owned(), kind)
    };
    spec.split(',').map(column).collect()
}

fn schema(columns: &[(String, ColumnType)]) -> SchemaRef {
    let fields: Vec<_> = columns.iter().map(|(name, kind)| kind.field(name, true)).collect();
    Arc::new(Schema::new(fields))
}

/// Rows given as JSON objects; timestamps as nanoseconds, JSON as it is or as text, to be taken to the letter.
pub(super) fn batch(spec: &str, rows: &[&str]) -> RecordBatch {
    let columns = columns(spec);
    let rows: Vec<Value> = rows.iter().map(|row| serde_json::from_str(row).expect("JSON")).collect();
    let arrays = columns.iter().map(|(name, kind)| -> ArrayRef {
        let values = || rows.iter().map(|row| row.get(name));
        let long = || values().map(|value| value.and_then(Value::as_i64));
        match kind {
            ColumnType::Text => {
                let texts = values().map(|value| value.and_then(Value::as_str));
                Arc::new(StringArray::from_iter(texts))
            }
            ColumnType::Json => {
                let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                Arc::new(StringArray::from_iter(values().map(|value| value.map(text))))
            }
            ColumnType::Int => {
                Arc::new(Int32Array::from_iter(long().map(|value| value.map(|value| value as i32))))
            }
            ColumnType::BigInt => Arc::new(Int64Array::from_iter(long())),
            ColumnType::Double => {
                Arc::new(Float64Array::from_iter(values().map(|value| value.and_then(Value::as_f64))))
            }
            ColumnType::Boolean => {
                Arc::new(BooleanArray::from_iter(values().map(|value| value.and_then(Value::as_bool))))
            }
            ColumnType::Timestamp => Arc::new(TimestampNanosecondArray::from_iter(long())),
            ColumnType::Date => {
                Arc::new(Date32Array::from_iter(long().map(|value| value.map(|value| value as i32))))
            }
        }
    });
    let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
    RecordBatch::try_new_with_options(schema(&columns), arrays.collect(), &options).expect("columns fit")
}

/// An append-only sink without key into nowhere.
pub(super) fn sink(name: &str, spec: &str) -> plan::Sink {
    plan::Sink {
        name: name.to_owned(),
        schema: schema(&columns(spec)),
        changes: ChangeMode::AppendOnly,
        replaces: false,
        key: None,
        connector: SinkConnector::Blackhole,
        document: None,
        format: plan::Format::Json,
        shards: 1,
    }
}

/// Changes of a sink made with [`sink`]; row n of the epoch has offset n.
pub(super) fn changes(sink: &plan::Sink, rows: &[&str], ops: &[Op]) -> Changes {
    let kind = |field: &arrow::datatypes::Field| {
        let kinds = ["text", "json", "int", "bigint", "double", "boolean", "timestamp", "date"];
        let same = |kind: &&&str| {
            *columns(&format!("x {kind}"))[0].1.field("x", true).data_type() == *field.data_type()
        };
        let json = plan::is_json(field);
        kinds.iter().filter(|kind| json == (**kind == "json")).find(same).expect("a type of ours").to_owned()
    };
    let spec: Vec<String> =
        sink.schema.fields().iter().map(|field| format!("{} {}", field.name(), kind(field))).collect();
    let origin = |offset| RowOrigin { source: 0, partition: 0, offset, index: 0 };
    Changes {
        rows: batch(&spec.join(","), rows),
        ops: ops.to_vec(),
        origins: Some((0..rows.len() as u64).map(origin).collect()),
        wall_ms: 1_761_559_635_000,
    }
}

/// One topic `telemetry_raw` with partition 0.
pub(super) fn partitions() -> Arc<PartitionNames> {
    let names = PartitionNames::default();
    names.add(0, &Partition { id: 0, name: "telemetry_raw".into(), number: 0 });
    Arc::new(names)
}

/// Who writes.
pub(super) fn identity() -> Identity {
    Identity {
        lineage: "l".into(),
        generation: 1,
        dataflow: "d".into(),
        sink: "s".into(),
        shards: 1,
        shard: 0,
    }
}

/// A source without columns.
pub(super) fn source(
    name: &str,
    connector: plan::SourceConnector,
    dead_letters: plan::DeadLetterPolicy,
) -> plan::Source {
    plan::Source {
        name: name.to_owned(),
        columns: Vec::new(),
        schema: schema(&[]),
        checks: Vec::new(),
        table: None,
        watermark: None,
        connector,
        format: plan::Format::Json,
        timestamp_format: plan::TimestampFormat::EpochMillis,
        max_future: Duration::from_secs(300),
        max_jump: None,
        idle_timeout: Duration::from_secs(10),
        computed: Vec::new(),
        max_drift: None,
        device: None,
        max_record_bytes: 1 << 20,
        dead_letters,
    }
}

/// Settings without any server.
pub(super) fn settings(state_dir: &Path) -> Settings {
    Settings {
        state_dir: state_dir.to_owned(),
        epoch_interval: Duration::from_millis(20),
        flow: Flow {
            max_epochs_computing: 4,
            max_epochs_in_flight: 64,
            sink_buffer_bytes: 64 << 20,
            max_epoch_records: 10_000,
            read_ahead_records: 10_000,
            rows_per_partial: 16,
        },
        kafka: Kafka::default(),
        mongodb: MongoDb { uri: None, database: "tidemill".into() },
        http: Http { enabled: false, listen: ([127, 0, 0, 1], 0).into() },
        cluster: Cluster { connect_timeout: Duration::from_secs(1), stall_timeout: Duration::from_secs(1) },
        parameters: BTreeMap::new(),
        shutdown_timeout: Duration::from_secs(1),
    }
}

/// All records of partition 0 of an embedded topic: key and value.
pub(super) fn read_topic(state_dir: &Path, topic: &str) -> Vec<(Option<String>, Option<String>)> {
    let text = |bytes: Option<&[u8]>| bytes.map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    let mut reader = LogReader::open(partition_path(&topic_directory(state_dir, topic).expect("a name"), 0));
    let mut found = Vec::new();
    while reader.read(100, &mut |record| found.push((text(record.key), text(record.payload)))).expect("read")
        > 0
    {}
    found
}

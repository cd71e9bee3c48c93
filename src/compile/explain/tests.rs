//! Plans made by hand, as the compiler would make them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::Float64Array;
use arrow::datatypes::{DataType, Field, SchemaRef};
use datafusion_physical_expr::expressions;

use super::explain;
use crate::plan::*;

fn expr(text: &str) -> Expr {
    Expr { physical: Arc::new(expressions::Column::new(text, 0)), text: text.to_owned(), uses_now: false }
}

fn schema(names: &[&str]) -> SchemaRef {
    Arc::new(arrow::datatypes::Schema::new(
        names.iter().map(|name| Field::new(*name, DataType::Utf8, true)).collect::<Vec<_>>(),
    ))
}

fn column(name: &str, kind: ColumnType, from: ColumnOrigin) -> Column {
    Column { name: name.to_owned(), kind, nullable: true, default: None, from }
}

fn field(name: &str) -> ColumnOrigin {
    ColumnOrigin::Path(vec![name.to_owned()])
}

fn telemetry() -> Source {
    let mut did = column("did", ColumnType::Text, field("did"));
    did.nullable = false;
    let mut lat = column("lat", ColumnType::Double, ColumnOrigin::Path(vec!["pos".into(), "lat".into()]));
    lat.default = Some(ArrayRef1(Arc::new(Float64Array::from(vec![0.0]))));
    Source {
        name: "telemetry".into(),
        columns: vec![
            did,
            lat,
            column("eventTime", ColumnType::Timestamp, field("eventTime")),
            column("raw", ColumnType::Json, ColumnOrigin::Metadata(Metadata::Payload)),
        ],
        schema: schema(&["did", "lat", "eventTime", "raw"]),
        checks: vec![expr("lat IS NULL\n   OR lat < 90")],
        table: None,
        watermark: Some(WatermarkColumn { column: 2, delay_ns: 10_000_000_000 }),
        connector: SourceConnector::Kafka(KafkaSource {
            topics: Topics::Named(vec!["a".into(), "b".into()]),
            startup: StartupMode::Earliest,
            find_interval: None,
            properties: BTreeMap::new(),
        }),
        format: Format::Json,
        timestamp_format: TimestampFormat::EpochMillis,
        max_future: Duration::from_secs(300),
        max_jump: None,
        idle_timeout: Duration::from_secs(10),
        computed: Vec::new(),
        max_drift: None,
        device: None,
        max_record_bytes: 1 << 20,
        dead_letters: DeadLetterPolicy::Topic,
    }
}

fn latest(input: bool) -> Aggregation {
    let aggregate = |function, text: &str, name: &str| Aggregate {
        function,
        distinct: false,
        argument: Some(expr("lat")),
        second: None,
        parameter: None,
        order_by: Vec::new(),
        ignore_nulls: false,
        filter: None,
        field: Arc::new(Field::new(name, DataType::Float64, true)),
        text: text.to_owned(),
    };
    Aggregation {
        name: "latest/aggregate".into(),
        input: schema(&["did", "lat", "eventTime"]),
        keys: vec![expr("did")],
        aggregates: vec![
            aggregate(AggregateFunction::LastValue, "last_value(lat ORDER BY \"eventTime\")", "lat"),
            aggregate(AggregateFunction::Sum, "sum(lat)", "sum"),
        ],
        schema: schema(&["did", "lat", "sum"]),
        append_only_input: input,
        window: None,
    }
}

fn leg(name: &str, from: Upstream, to: Downstream, steps: Vec<Step>) -> Leg {
    Leg {
        name: name.into(),
        from,
        steps,
        to,
        port: 0,
        branch: 0,
        branches: 1,
        schema: schema(&["did"]),
        sources: vec![0],
    }
}

fn sink(name: &str, changes: ChangeMode, key: Option<Vec<usize>>, connector: SinkConnector) -> Sink {
    Sink {
        name: name.into(),
        schema: schema(&["did", "lat"]),
        changes,
        key,
        replaces: false,
        connector,
        document: None,
        format: Format::Json,
        shards: 4,
    }
}

fn mongo(mode: WriteMode, id: Vec<usize>) -> SinkConnector {
    let collection = "fleet".to_owned();
    SinkConnector::MongoDb(MongoSink { collection, database: None, mode, id, not_compared: Vec::new() })
}

fn plan() -> Plan {
    let (source, aggregation) = (Upstream::Source(0), Upstream::Operator(0));
    let project =
        Step::Project { exprs: vec![expr("did"), expr("lat * 2")], schema: schema(&["did", "lat"]) };
    Plan {
        name: "fleet".into(),
        directory: PathBuf::new(),
        sources: vec![telemetry(), Source { name: "spare".into(), ..telemetry() }],
        operators: vec![Operator::Aggregation(latest(true))],
        arrangements: vec![Arrangement {
            name: "latest/view".into(),
            schema: schema(&["did", "lat"]),
            key: vec![expr("did")],
            key_types: vec![DataType::Utf8],
            served: true,
        }],
        views: vec![ServedView {
            name: "latest".into(),
            schema: schema(&["did", "lat"]),
            key: vec![0],
            arrangement: 0,
        }],
        sinks: vec![
            sink("history", ChangeMode::AppendOnly, None, mongo(WriteMode::Append, Vec::new())),
            sink("state", ChangeMode::Updating, Some(vec![0]), mongo(WriteMode::Upsert, vec![0])),
        ],
        legs: vec![
            leg(
                "telemetry->history",
                source,
                Downstream::Sink(0),
                vec![Step::Filter(expr("lat > 0")), project],
            ),
            leg("telemetry->latest", source, Downstream::Operator(0), Vec::new()),
            leg("latest->state", aggregation, Downstream::Sink(1), Vec::new()),
            leg("latest->latest", aggregation, Downstream::Arrangement(0), Vec::new()),
        ],
    }
}

#[test]
fn a_plan_is_shown_from_its_sinks_down_to_its_sources() {
    insta::assert_snapshot!(explain(&plan()));
}

/// Only the lines that tell of guarantees.
fn promises(sink: Sink, source: Source) -> String {
    let from = Upstream::Source(0);
    let plan = Plan {
        sources: vec![source],
        sinks: vec![sink],
        legs: vec![leg("telemetry->out", from, Downstream::Sink(0), Vec::new())],
        operators: Vec::new(),
        arrangements: Vec::new(),
        views: Vec::new(),
        ..plan()
    };
    let text = explain(&plan);
    let told =
        |line: &&str| ["writes", "delivery", "restart", "exchange"].iter().any(|word| line.contains(word));
    text.lines().filter(told).map(str::trim_end).collect::<Vec<_>>().join("\n")
}

#[test]
fn each_sink_says_what_it_really_guarantees() {
    let kafka = |mode, key| {
        SinkConnector::Kafka(KafkaSink {
            topic: "out".into(),
            mode,
            key,
            key_format: KeyFormat::Json,
            partitions: 1,
            replication: -1,
            properties: BTreeMap::new(),
        })
    };
    let file = SinkConnector::File(FileSink { path: "out.jsonl".into() });
    let simulator = Simulator::of(Shape::Vehicles);
    let mut late_start = telemetry();
    if let SourceConnector::Kafka(kafka) = &mut late_start.connector {
        kafka.startup = StartupMode::Latest;
    }
    let simulated = Source { connector: SourceConnector::Simulator(simulator), ..telemetry() };
    let (append, updating) = (ChangeMode::AppendOnly, ChangeMode::Updating);
    let by_origin = || sink("out", append, None, mongo(WriteMode::Append, Vec::new()));
    let all = [
        promises(by_origin(), telemetry()),
        promises(by_origin(), late_start.clone()),
        promises(by_origin(), simulated),
        promises(sink("out", append, None, mongo(WriteMode::Append, vec![0])), telemetry()),
        promises(sink("out", updating, Some(vec![0]), mongo(WriteMode::Upsert, vec![0])), telemetry()),
        promises(sink("out", updating, Some(vec![0]), kafka(WriteMode::Upsert, vec![0])), late_start),
        promises(sink("out", append, None, kafka(WriteMode::Append, Vec::new())), telemetry()),
        promises(sink("out", updating, Some(vec![0]), file), telemetry()),
        promises(sink("out", append, None, SinkConnector::Stdout), telemetry()),
        promises(sink("out", append, None, SinkConnector::Blackhole), telemetry()),
    ];
    insta::assert_snapshot!(all.join("\n\n"));
}

#[test]
fn state_over_an_updating_input_keeps_its_values() {
    let text = explain(&Plan { operators: vec![Operator::Aggregation(latest(false))], ..plan() });
    let told =
        |line: &&str| line.contains("last_value") || line.contains("sum(lat)") || line.contains("state ");
    let lines: Vec<&str> =
        text.lines().filter(told).map(|line| line.trim_start_matches([' ', '│'])).collect();
    insta::assert_snapshot!(lines.join("\n"));
}

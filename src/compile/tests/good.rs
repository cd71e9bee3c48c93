//! Plans of good files, as `explain` shows them.

use arrow::util::display::{ArrayFormatter, FormatOptions};

use super::{TELEMETRY, compiled, plan};
use crate::compile::explain::explain;
use crate::plan::{Aggregation, Column, ColumnOrigin, Downstream, Operator, Plan, SinkConnector, Step};

const VEHICLES: &str = r#"
CREATE SOURCE telemetry_raw (
    did            TEXT      NOT NULL,
    name           TEXT      NOT NULL,
    float_value    DOUBLE,
    int_value      BIGINT,
    "eventTime"    TIMESTAMP NOT NULL,
    "receivedTime" TIMESTAMP,
    CHECK (float_value IS NOT NULL OR int_value IS NOT NULL),
    WATERMARK FOR "eventTime" AS "eventTime" - INTERVAL '10 seconds'
) WITH (connector = 'kafka', topic = 'telemetry_raw', format = 'json');

CREATE MATERIALIZED VIEW vehicle_latest_state AS
SELECT did,
       max("eventTime")                                                              AS "eventTime",
       last_value(float_value ORDER BY "eventTime") FILTER (WHERE name = 'odometer') AS odo,
       last_value(int_value   ORDER BY "eventTime") FILTER (WHERE name = 'soc')      AS soc,
       last_value(int_value   ORDER BY "eventTime") FILTER (WHERE name = 'speed')    AS speed
FROM telemetry_raw
GROUP BY did;

CREATE SINK latest_state FROM vehicle_latest_state
WITH (connector = 'mongodb', collection = 'mongo_vehicle_latest_state', mode = 'upsert');
"#;

#[test]
fn the_vehicle_example_becomes_one_aggregation_for_a_view_and_a_sink() {
    let plan = compiled(VEHICLES).unwrap_or_else(|wrong| panic!("{wrong}"));
    let names: Vec<_> = plan.legs.iter().map(|leg| leg.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "telemetry_raw->vehicle_latest_state",
            "vehicle_latest_state->view",
            "vehicle_latest_state->latest_state"
        ]
    );
    assert_eq!(plan.operators[0].name(), "vehicle_latest_state/aggregate");
    insta::assert_snapshot!(explain(&plan));
}

/// Everything that is supported, in one file.
const EVERYTHING: &str = r#"
CREATE VIEW speeds AS
SELECT did, f AS speed, "eventTime", payload, at FROM telemetry WHERE name = 'speed' AND f IS NOT NULL;

CREATE VIEW signals AS
SELECT did, name, "eventTime", f AS value FROM telemetry WHERE f >= 0 OR i > 5
UNION ALL
SELECT did, 'counted', "eventTime", i FROM telemetry WHERE i IS NOT NULL
UNION ALL
SELECT did, 'speed', "eventTime", speed * 3.6 FROM speeds;

CREATE MATERIALIZED VIEW totals AS
SELECT did, upper(name) AS signal, count(*) AS signals, count(value) AS known, sum(value) AS total,
       avg(value + 1) FILTER (WHERE value > 0) AS mean, min(value) AS least,
       first_value(name ORDER BY "eventTime") AS first, max("eventTime") AS newest
FROM signals
GROUP BY did, upper(name)
HAVING count(*) > 1 AND max(value) < 1e6;

CREATE MATERIALIZED VIEW devices_by_count AS
SELECT signals, count(*) AS devices, sum(n) AS n
FROM (SELECT did, signals, 1 AS n FROM totals WHERE total IS NOT NULL) AS known
GROUP BY signals;

CREATE VIEW unused AS SELECT name, sum(i) AS i FROM telemetry GROUP BY name;

CREATE SINK history AS SELECT payload, at AS "dbIngestion_time", now() AS written FROM telemetry
WITH (connector = 'mongodb', collection = 'history', mode = 'append', document = 'payload');

CREATE SINK normalized AS SELECT did, name, "eventTime", value FROM signals
WITH (connector = 'kafka', topic = 'signals', key = 'did', key.format = 'raw');

CREATE SINK totals_out FROM totals WITH (connector = 'kafka', topic = 'totals', mode = 'upsert', key = 'signal, did');

CREATE SINK counts AS
WITH speeding AS (SELECT did, speed FROM speeds WHERE speed > 130)
SELECT did, count(*), max(speed) AS top FROM speeding GROUP BY 1
WITH (connector = 'file', path = 'counts.jsonl');

CREATE SINK devices FROM devices_by_count WITH (connector = 'stdout');
"#;

#[test]
fn everything_that_is_supported_becomes_legs_and_aggregations() {
    let plan = plan(EVERYTHING);
    insta::assert_snapshot!(explain(&plan));
}

#[test]
fn legs_count_their_branches() {
    let plan = plan(EVERYTHING);
    let legs: Vec<_> = plan.legs.iter().map(|leg| format!("{} {}", leg.name, leg.branch)).collect();
    assert_eq!(
        legs,
        [
            "telemetry->totals 0",
            "telemetry->totals#2 1",
            "telemetry->totals#3 2",
            "totals->view 0",
            "totals->devices_by_count 0",
            "devices_by_count->view 0",
            "telemetry->history 0",
            "telemetry->normalized 0",
            "telemetry->normalized#2 1",
            "telemetry->normalized#3 2",
            "totals->totals_out 0",
            "telemetry->counts 0",
            "counts->counts 0",
            "devices_by_count->devices 0",
        ]
    );
    let aggregations = plan
        .operators
        .iter()
        .map(|operator| (operator.name(), operator.aggregation().expect("a GROUP BY").append_only_input));
    let aggregations: Vec<_> = aggregations.collect();
    let expected =
        [("totals/aggregate", true), ("devices_by_count/aggregate", false), ("counts/aggregate", true)];
    assert_eq!(aggregations, expected);
    for leg in &plan.legs {
        let end = match leg.to {
            Downstream::Operator(index) => &plan.operators[index].aggregation().expect("a GROUP BY").input,
            Downstream::Arrangement(index) => &plan.arrangements[index].schema,
            Downstream::Sink(index) => &plan.sinks[index].schema,
        };
        assert_eq!(&leg.schema, end, "{}", leg.name);
        let last = leg.steps.iter().rev().find_map(|step| match step {
            Step::Project { schema, .. } => Some(schema),
            Step::Filter(_) => None,
        });
        assert_eq!(last.unwrap_or(&leg.schema), end, "{}", leg.name);
    }
}

#[test]
fn what_is_named_twice_is_computed_once() {
    let plan = plan(
        "CREATE SINK s AS SELECT did, count(*) AS c, count(*) AS d FROM telemetry GROUP BY did, did, 1
         WITH (connector = 'stdout');
         CREATE SINK t AS SELECT did, i AS x, i FROM telemetry UNION ALL SELECT did, i, i FROM telemetry
         WITH (connector = 'stdout');",
    );
    let aggregation = plan.operators[0].aggregation().expect("a GROUP BY");
    assert_eq!((aggregation.keys.len(), aggregation.aggregates.len()), (1, 1));
    let types: Vec<_> = plan.sinks[0].schema.fields().iter().map(|it| it.data_type().to_string()).collect();
    assert_eq!(types, ["Utf8", "Int64", "Int64"]);
    assert_eq!(plan.sinks[0].key.as_deref(), Some(&[0][..]));
}

fn aggregations(plan: &Plan) -> Vec<&Aggregation> {
    plan.operators.iter().filter_map(Operator::aggregation).collect()
}

#[test]
fn aggregates_that_differ_in_a_cast_only_are_two() {
    let plan = plan(
        "CREATE SINK s AS SELECT did, sum(n) AS a, sum(CAST(n AS DOUBLE)) AS b, sum(CAST(n AS BIGINT)) AS c,
                sum(n) AS d, max(i::TEXT) AS e, max(i) AS f, avg(abs(f)) AS g, avg(abs(TRY_CAST(f AS BIGINT))) AS h
         FROM telemetry GROUP BY did HAVING sum(CAST(n AS DOUBLE)) > 0.5 AND sum(n) > 1
         WITH (connector = 'stdout');",
    );
    let texts: Vec<_> = aggregations(&plan)[0].aggregates.iter().map(|it| it.text.as_str()).collect();
    assert_eq!(
        texts,
        [
            "sum(n)",
            "sum(CAST(n AS DOUBLE))",
            "sum(CAST(n AS BIGINT))",
            "max(CAST(i AS TEXT))",
            "max(i)",
            "avg(abs(f))",
            "avg(abs(TRY_CAST(f AS BIGINT)))"
        ]
    );
    let types: Vec<_> = plan.sinks[0].schema.fields().iter().map(|it| it.data_type().to_string()).collect();
    assert_eq!(types, ["Utf8", "Int64", "Float64", "Int64", "Int64", "Utf8", "Int64", "Float64", "Float64"]);
}

#[test]
fn group_by_of_a_key_is_by_that_alone() {
    // The planner adds what follows from the key of a query in FROM: `fastest` and `newest`, here.
    let inner = "(SELECT did, max(f) AS fastest, last_value(payload ORDER BY \"eventTime\") AS newest
                  FROM telemetry GROUP BY did) AS q";
    let plan = plan(&format!(
        "CREATE SINK s AS SELECT did, count(*) AS n FROM {inner} GROUP BY did
         WITH (connector = 'mongodb', collection = 's', mode = 'upsert');
         CREATE SINK t AS SELECT did, fastest, count(*) AS n FROM {inner} GROUP BY fastest, did
         WITH (connector = 'mongodb', collection = 't', mode = 'upsert');"
    ));
    let aggregations = plan.operators.iter().filter_map(Operator::aggregation);
    let keys = aggregations.map(|aggregation| aggregation.keys.len());
    assert_eq!(keys.collect::<Vec<_>>(), [1, 1, 1, 2]);
    assert_eq!(plan.sinks[1].key, Some(vec![1, 0]));
}

#[test]
fn without_group_by_a_relation_has_one_row_and_a_key_without_columns() {
    let plan = plan(
        "CREATE MATERIALIZED VIEW totals AS SELECT count(*) AS c, max(f) AS highest FROM telemetry;
         CREATE SINK documents FROM totals WITH (connector = 'mongodb', collection = 'c', mode = 'upsert');
         CREATE SINK records AS SELECT highest FROM totals WHERE c > 1
         WITH (connector = 'kafka', topic = 't', mode = 'upsert');
         CREATE SINK lines AS SELECT sum(c) AS c FROM totals HAVING sum(c) > 2 WITH (connector = 'stdout');",
    );
    assert!(aggregations(&plan).iter().all(|it| it.keys.is_empty()));
    assert_eq!(plan.views[0].key, [] as [usize; 0]);
    assert!(plan.sinks.iter().all(|sink| sink.key.as_deref() == Some(&[])));
    insta::assert_snapshot!(explain(&plan));
}

/// Half a file, and a file without one of its characters, is what an editor sends while somebody types.
#[test]
fn no_part_of_a_file_makes_the_compiler_panic() {
    for at in (0..EVERYTHING.len()).step_by(7).filter(|at| EVERYTHING.is_char_boundary(*at)) {
        let (before, behind) = EVERYTHING.split_at(at);
        let without: String = behind.chars().skip(1).collect();
        let _ = compiled(&format!("{TELEMETRY}{before}{without}"));
    }
}

#[test]
fn sinks_know_their_keys_and_what_is_not_compared() {
    let plan = plan(EVERYTHING);
    let SinkConnector::MongoDb(history) = &plan.sinks[0].connector else { panic!("history") };
    assert_eq!((history.id.as_slice(), history.not_compared.as_slice()), (&[][..], &[1, 2][..]));
    assert_eq!(plan.sinks[0].document, Some(0));
    let SinkConnector::Kafka(totals) = &plan.sinks[2].connector else { panic!("totals") };
    assert_eq!((totals.key.as_slice(), plan.sinks[2].key.as_deref()), (&[1, 0][..], Some(&[0, 1][..])));
}

#[test]
fn defaults_and_metadata_of_sources_are_typed() {
    let plan = compiled(
        r#"CREATE SOURCE s (
            a BIGINT NOT NULL DEFAULT 1 + 1, b DOUBLE DEFAULT 3, c TEXT DEFAULT 'it''s', d BOOLEAN DEFAULT true,
            e TIMESTAMP DEFAULT '2024-01-01T01:00:00+01:00', f JSON DEFAULT '{"a": 1}', g INT DEFAULT -1,
            h TEXT DEFAULT NULL, p INT METADATA FROM 'partition', lat DOUBLE PATH 'pos.lat',
            CHECK (a > 0 AND c <> ''), WATERMARK FOR e AS e - INTERVAL '1 day 2 hours'
        ) WITH (connector = 'file', path = 'x.jsonl');"#,
    );
    let plan = plan.unwrap_or_else(|wrong| panic!("{wrong}"));
    let source = &plan.sources[0];
    let default = |column: &Column| {
        let value = column.default.as_ref().map(|value| {
            let options = FormatOptions::default();
            let format = ArrayFormatter::try_new(&value.0, &options).expect("format");
            format!("{} {}", value.0.data_type(), format.value(0))
        });
        value.unwrap_or_default()
    };
    let defaults: Vec<_> = source.columns.iter().map(default).collect();
    assert_eq!(
        defaults,
        [
            "Int64 2",
            "Float64 3.0",
            "Utf8 it's",
            "Boolean true",
            "Timestamp(ns) 2024-01-01T00:00:00",
            "Utf8 {\"a\": 1}",
            "Int32 -1",
            "",
            "",
            ""
        ]
    );
    assert_eq!(source.checks[0].text, "a > 0 AND c <> ''");
    assert_eq!(source.columns[9].from, ColumnOrigin::Path(vec!["pos".to_owned(), "lat".to_owned()]));
    assert_eq!(source.watermark.map(|it| (it.column, it.delay_ns)), Some((4, 93_600_000_000_000)));
}

#[test]
fn long_expressions_are_compiled_up_to_the_limit() {
    let sum = |terms: usize| {
        let sum = vec!["i"; terms].join(" + ");
        compiled(&format!(
            "{TELEMETRY}CREATE SINK s AS SELECT {sum} AS x FROM telemetry WITH (connector = 'stdout');"
        ))
    };
    assert!(sum(200).is_ok());
    assert!(sum(20_000).is_err());
    let nested = |depth: usize| {
        let call = format!("{}name{}", "upper(".repeat(depth), ")".repeat(depth));
        compiled(&format!(
            "{TELEMETRY}CREATE SINK s AS SELECT {call} AS x FROM telemetry WITH (connector = 'stdout');"
        ))
    };
    assert!(nested(20).is_ok());
    assert!(nested(20_000).is_err());
}

#[test]
fn the_queries_of_the_reference_compile() {
    let reference = include_str!("../../../docs/sql.md");
    let blocks = |from: &str, to: &str| {
        let section = reference.split(from).nth(1).and_then(|rest| rest.split(to).next()).unwrap_or_default();
        let blocks = section.split("```sql\n").skip(1);
        blocks.filter_map(|block| block.split("```").next()).collect::<Vec<_>>().join("\n")
    };
    let source = blocks("### CREATE SOURCE", "\n### ");
    let queries = blocks("## Queries", "\n## ");
    assert!(source.contains("CREATE SOURCE") && queries.contains("UNION ALL"));
    compiled(&format!("{source}\n{queries}")).unwrap_or_else(|wrong| panic!("{wrong}"));
}

#[test]
fn distinct_rows_are_append_only_and_their_columns_name_them() {
    let plan = plan(
        "CREATE MATERIALIZED VIEW names (device, signal) AS SELECT DISTINCT did, name FROM telemetry;
         CREATE SINK appended FROM names WITH (connector = 'mongodb', collection = 'c', mode = 'append');
         CREATE SINK sent FROM names WITH (connector = 'kafka', topic = 't');
         CREATE SINK twice AS SELECT DISTINCT device, signal FROM names UNION SELECT did, name FROM telemetry
         WITH (connector = 'mongodb', collection = 'd', mode = 'upsert');
         CREATE SINK grouped AS SELECT did FROM telemetry GROUP BY did
         WITH (connector = 'mongodb', collection = 'e', mode = 'append');",
    );
    for (sink, id) in [(0, vec![0, 1]), (2, vec![0, 1]), (3, vec![0])] {
        let SinkConnector::MongoDb(mongo) = &plan.sinks[sink].connector else { panic!("no collection") };
        assert_eq!(mongo.id, id, "{}", plan.sinks[sink].name);
    }
    assert!(plan.sinks.iter().all(|sink| sink.changes == crate::plan::ChangeMode::AppendOnly));
    assert_eq!(plan.views[0].key, [0, 1]);
    // One state for the view, one for UNION, one for GROUP BY: what is distinct is not made so again.
    assert_eq!(plan.operators.len(), 3);
    insta::assert_snapshot!(explain(&plan));
}

#[test]
fn a_window_in_from_and_one_in_group_by_are_the_same_plan() {
    let of = |query: &str| {
        let sink = format!("CREATE SINK out AS {query} WITH (connector = 'stdout');");
        explain(&plan(&sink))
    };
    let written = of("SELECT did, window_start, count(*) AS n FROM telemetry \
                      GROUP BY did, hop(\"eventTime\", INTERVAL '1 minute', INTERVAL '5 minutes')");
    for query in [
        "SELECT did, window_start, count(*) AS n \
         FROM hop(telemetry, \"eventTime\", INTERVAL '1 minute', INTERVAL '5 minutes') GROUP BY did, window_start",
        "SELECT h.did, h.window_start, count(*) AS n \
         FROM TABLE(HOP(TABLE telemetry, DESCRIPTOR(\"eventTime\"), INTERVAL '1' MINUTE, INTERVAL '5' MINUTES)) AS h \
         GROUP BY h.did, h.window_start, h.window_end",
        "SELECT did, window_start, count(*) AS n FROM hop(TIMECOL => \"eventTime\", \
         SIZE => INTERVAL '5 minutes', SLIDE => INTERVAL '1 minute', DATA => telemetry) GROUP BY 2, 1",
        "SELECT did, HOP_START(\"eventTime\", INTERVAL '1 minute', INTERVAL '5 minutes') AS window_start, \
         count(*) AS n FROM telemetry GROUP BY did, HOP(\"eventTime\", INTERVAL '1 minute', INTERVAL '5 minutes')",
    ] {
        assert_eq!(of(query), written, "{query}");
    }
}

//! Statements as users write them, right and wrong, with the errors as they are shown.

use std::collections::BTreeMap;

use crate::compile::ast::{SinkInput, Statement};
use crate::compile::diagnostic::{Diagnostic, Diagnostics};
use crate::compile::{options, statement};
use crate::plan::{ColumnType, Metadata};

const GOOD: &str = r#"
-- The columns are in the order of the file /* and comments /* nest */ */
CREATE SOURCE Telemetry_Raw (
    did            TEXT      NOT NULL,
    name           STRING    NOT NULL CHECK (length(name) > 0),
    float_value    DOUBLE PRECISION DEFAULT 0.5 + 1,
    int_value      BIGINT NULL,
    lat            DOUBLE PATH 'pos.lat',
    "eventTime"    TIMESTAMP NOT NULL,
    part           INT METADATA FROM 'partition',
    received       TIMESTAMP METADATA FROM 'ingestion_time' NOT NULL,
    raw            JSON METADATA FROM 'payload',
    CHECK (float_value IS NOT NULL OR int_value IS NOT NULL),
    WATERMARK FOR "eventTime" AS "eventTime" - INTERVAL '10 seconds'
) WITH ('connector' = 'kafka', topic = 'a, ${SECOND}', properties.fetch.wait.max.ms = 5, max_future = '10 minutes');

create view good as with t as (select * from telemetry_raw) select did, "eventTime" from t where name <> ';';
CREATE MATERIALIZED VIEW latest AS
SELECT did, last_value(int_value ORDER BY "eventTime") FILTER (WHERE name = 'soc') AS soc
FROM telemetry_raw GROUP BY did;
CREATE SINK out FROM latest WITH (connector = 'mongodb', collection = 'latest', mode = 'upsert');
CREATE SINK alone AS SELECT did FROM good UNION ALL SELECT did FROM latest WITH (connector = 'stdout')
"#;

fn parameters() -> BTreeMap<String, String> {
    BTreeMap::from([("SECOND".to_owned(), "b".to_owned())])
}

/// Everything that can be said without a schema.
fn mistakes(text: &str) -> (Vec<Statement>, Vec<Diagnostic>) {
    let (statements, mut diagnostics) = statement::parse(text, &parameters());
    diagnostics.extend(statements.iter().flat_map(mistakes_of_options));
    (statements, diagnostics)
}

fn mistakes_of_options(statement: &Statement) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    let read = match statement {
        Statement::Source(source) => {
            let reads = if source.key.is_some() { options::Reads::Table } else { options::Reads::Source };
            options::source_options(&source.options, reads, &mut found).is_some()
        }
        Statement::Sink(sink) => options::sink_options(&sink.options, &mut found).is_some(),
        Statement::View(view) => {
            options::view_options(&view.options, &mut found);
            found.is_empty()
        }
        Statement::Broken(_) => true,
    };
    assert_eq!(read, found.is_empty(), "options are read if and only if nothing is reported: {found:?}");
    found
}

fn rendered(cases: &[&str]) -> String {
    let show = |case: &&str| {
        let (_, list) = mistakes(case);
        assert!(!list.is_empty(), "nothing is wrong with {case}");
        Diagnostics::new("dataflow.sql", *case, list).to_string()
    };
    cases.iter().map(show).collect::<Vec<_>>().join("----\n")
}

#[test]
fn good_statements_are_read_as_they_are_meant() {
    let (statements, diagnostics) = mistakes(GOOD);
    assert!(diagnostics.is_empty(), "{}", Diagnostics::new("good.sql", GOOD, diagnostics));
    let [
        Statement::Source(source),
        Statement::View(view),
        Statement::View(latest),
        Statement::Sink(out),
        Statement::Sink(alone),
    ] = statements.as_slice()
    else {
        panic!("{statements:?}");
    };
    assert_eq!(source.name.value, "telemetry_raw");
    let kinds: Vec<ColumnType> = source.columns.iter().map(|column| column.kind).collect();
    use ColumnType::{BigInt, Double, Int, Json, Text, Timestamp};
    assert_eq!(kinds, [Text, Text, Double, BigInt, Double, Timestamp, Int, Timestamp, Json]);
    assert!(source.columns[0].not_null && !source.columns[3].not_null && source.columns[7].not_null);
    assert_eq!(source.columns[2].default.as_ref().map(|d| d.text.as_str()), Some("0.5 + 1"));
    assert_eq!(source.columns[4].path, Some(vec!["pos".to_owned(), "lat".to_owned()]));
    assert_eq!(source.columns[5].name.value, "eventTime");
    assert_eq!(source.columns[8].metadata, Some(Metadata::Payload));
    let checks: Vec<&str> = source.checks.iter().map(|check| check.text.as_str()).collect();
    assert_eq!(checks, ["length(name) > 0", "float_value IS NOT NULL OR int_value IS NOT NULL"]);
    let watermark = source.watermark.as_ref().map(|watermark| watermark.expression.text.as_str());
    assert_eq!(watermark, Some("\"eventTime\" - INTERVAL '10 seconds'"));
    let text = |key: &str| {
        let entry = source.options.entries.iter().find(|entry| entry.key.value == key);
        entry.map(|entry| entry.value.value.clone())
    };
    assert_eq!(text("topic").as_deref(), Some("a, b"));
    assert_eq!(text("properties.fetch.wait.max.ms").as_deref(), Some("5"));
    assert!(!view.materialized && latest.materialized);
    assert!(matches!(&out.input, SinkInput::From(name) if name.value == "latest"));
    assert!(matches!(&alone.input, SinkInput::Query(query) if query.ast.to_string().contains("UNION ALL")));
}

/// Statements with mistakes of every kind.
const WRONG_STATEMENTS: &[&str] = &[
    "",
    "CREATE SOURCE s (a TEXT) WITH (connector = 'file', path = 'x",
    "CREATE SOURCE s (a TEXT WITH (connector = 'file');\nCREAT VIEW v AS SELECT 1;",
    "CREATE SOURCE s (a TEXT)) WITH (connector = 'file', path = 'x');",
    "CREATE SOURCE s (\n  a STRNG NOT NULL,\n  b,\n  c DECIMAL(10, 2),\n  d VARCHAR(20),\n  e TIMESTAMP(3),\n  \
     f TEXT NOT NUL,\n  g TEXT[],\n  h GEOGRAPHY\n) WITH (connector = 'file', path = 'x');",
    "CREATE SOURCE s (a TEXT, A BIGINT, \"A\" INT) WITH (connector = 'file', path = 'x');",
    "CREATE SOURCE s (a TEXT PRIMARY KEY, b INT AS (a + 1), PRIMARY KEY (a), c INT COMMENT 'x')\n\
     WITH (connector = 'file', path = 'x');",
    "CREATE SOURCE s (o TEXT METADATA FROM 'offset', p BIGINT METADATA FROM 'ofset', q BIGINT METADATA,\n  \
     r BIGINT METADATA FROM 'offset' DEFAULT 1) WITH (connector = 'file', path = 'x');",
    "CREATE SOURCE s (a DOUBLE PATH 'pos..lat', b DOUBLE PATH '$.pos.lat', c DOUBLE PATH \"pos.lat\", d INT PATH)\n\
     WITH (connector = 'file', path = 'x');",
    "CREATE SOURCE s (a INT DEFAULT, b INT DEFAULT 1 DEFAULT 2, c INT CHECK, d INT CHECK (d >),\n  \
     CHECK (a > 0) NOT NULL, 'e' INT,) WITH (connector = 'file', path = 'x');",
    "CREATE SOURCE s (t TIMESTAMP, WATERMARK FOR t, WATERMARK FOR t AS t - , WATERMARK FOR t AS t,\n  \
     WATERMARK FOR t AS t) WITH (connector = 'file', path = 'x');",
    "CREATE SOURCE s WITH (connector = 'file', path = 'x');",
    "CREATE SOURCE IF NOT EXISTS s (a TEXT) WITH (connector = 'file', path = 'x');",
    "CREATE OR REPLACE VIEW v AS SELECT 1;\nCREATE TEMPORARY VIEW w AS SELECT 1;",
    "CREATE VIEW public.v AS SELECT 1;\nCREATE VIEW AS SELECT 1;\nCREATE VIEW v (a, a) AS SELECT 1, 2;\nCREATE VIEW w (a BIGINT) AS SELECT 1;\nCREATE VIEW x (a,) AS SELECT 1;",
    "CREATE VIEW v AS SELECT a FROM;\nCREATE VIEW v AS SELECT a b c FROM t;\nCREATE VIEW w AS;\nCREATE VIEW x SELECT 1;",
    "CREATE MATERIALIZED VIEW v AS SELECT a FROM t WITH (state_retention = '7 days');",
    "CREATE VIEW v WITH (deduplicate_horizon = '10 minutes', colour = 'red') AS SELECT 1;",
    "CREATE VIEW v AS SELECT a, count(*) FROM (SELECT a FROM t EMIT CHANGES) AS s GROUP BY a EMIT CHANGES;\n\
     CREATE VIEW w AS SELECT a FROM t EMIT ON WINDOW CLOSE;\nCREATE SINK s FROM late(v, w) WITH (connector = 'stdout');",
    "CREATE VIEW v AS SELECT * FROM t JOIN d FOR SYSTEM_TIME AS OF PROCTIME() ON t.a = d.a FOR UPDATE;",
    "CREATE TABLE d (id TEXT, PRIMARY KEY (id));\nCREATE FUNCTION f() RETURNS INT AS 'x';\nINSERT INTO t VALUES (1);",
    "SELECT * FROM t;\nDROP VIEW v;\nEMIT CHANGES;\nEXPLAIN SELECT 1;\nFROBNICATE x;\n42;\nCREATE SOURCES s (a INT);",
    "CREATE SINK s;\nCREATE SINK s INTO x;\nCREATE SINK s FROM x, y;\nCREATE SINK s FROM x WITH connector = 'stdout';",
    "CREATE SINK s FROM x WITH (connector = 'stdout') SELECT 1;",
    "CREATE SINK s FROM x WITH (connector 'stdout', mode =, key = did, = 'x', shards = '1' '2', format = 'json', \
     format = 'json',);",
    "CREATE SINK s FROM x WITH (connector = 'file', path = 'out/${NAME}/${SECND}/${SECOND}', format = '${');",
    "CREATE VIEW v AS SELECT ° FROM t;\nCREATE VIEW w AS SELECT 'größe' + FROM t;",
];

#[test]
fn wrong_statements_are_shown_with_place_reason_and_hint() {
    insta::assert_snapshot!(rendered(WRONG_STATEMENTS));
}

/// Bodies of WITH clauses of sources.
const WRONG_SOURCE_OPTIONS: &[&str] = &[
    "format = 'json'",
    "conector = 'kafka', topic = 'x'",
    "connector = 'kafak', topic = 'x'",
    "connector = 'mongodb', collection = 'x'",
    "connector = 'kafka'",
    "connector = 'kafka', topics = 'x'",
    "connector = 'kafka', topic = ''",
    "connector = 'kafka', topic = 'a, , b'",
    "connector = 'kafka', topic = 'a, b, a'",
    "connector = 'kafka', topic = 'a, größe b'",
    "connector = 'kafka', topic = 'x', startup_mode = 'latest'",
    "connector = 'kafka', topic = 'x', properties.bootstrap.servers = 'localhost:9092', bootstrap.servers = 'y'",
    "connector = 'kafka', topic = 'x', format = 'csv', csv.header = 'true'",
    "connector = 'file', path = 'x', csv.header = 'false'",
    "connector = 'file', path = 'x', format = 'csv', csv.field-delimiter = ', '",
    "connector = 'file', path = 'x', format = 'csv', csv.field-delimiter = ';', csv.quote-character = ';'",
    "connector = 'file', path = 'x', format = 'csv', csv.null-literal = 'a,b', csv.header = 'maybe'",
    "connector = 'file', path = 'x', format = 'csv', csv.delimiter = ';'",
    "connector = 'simulator', format = 'csv'",
    "connector = 'file', path = 'input/*.jsonl.zst'",
    "connector = 'file', path = 'x', source.monitor-interval = '0s', source.path.regex-pattern = '.*'",
    "connector = 'kafka', topic = 'x', format = 'jsn'",
    "connector = 'kafka', topic = 'x', timestamp_format = 'rfc3339'",
    "connector = 'kafka', topic = 'x', timestamp_format = 'millis'",
    "connector = 'kafka', topic = 'x', max_future = '5', idle_timeout = '1 month'",
    "connector = 'kafka', topic = 'x', max_future = 'soon', max_record_bytes = '1 TB'",
    "connector = 'kafka', topic = 'x', dead_letters = 'log', allowed_lateness = '1s'",
    "connector = 'file'",
    "connector = 'file', path = 'x', topic = 'y', pace = 'event_time', dead_letters = 'topic'",
    "connector = 'simulator', shape = 'sensor', rate = '-1', disorder = '1.5', keys = 0, count = 'many'",
    "connector = 'simulator', shape = 'sensors', types = 11, late_by = 'long'",
    "connector = 'simulator', shape = 'metrics', types = 2, conflicts = 0.1",
];

/// What stands behind `connector = 'kafka', ` in WITH clauses of sources.
const WRONG_TOPICS_AND_STARTS: &[&str] = &[
    "topic = 'x', topic_pattern = 'x.*'",
    "topic_pattern = ''",
    "topic_pattern = 'metrics.(cpu|'",
    "topic_patern = 'x.*'",
    "topic = 'x', scan.startup.mode = 'earliest-offset'",
    "topic = 'x', scan.startup.mode = 'group-offsets'",
    "topic = 'x', scan.startup.mode = 'timestamp'",
    "topic = 'x', scan.startup.mode = 'timestamp', scan.startup.timestamp-millis = 'today'",
    "topic = 'x', scan.startup.mode = 'timestamp', scan.startup.timestamp = '2026-03-01'",
    "topic = 'x', scan.startup.mode = 'timestamp', scan.startup.timestamp-millis = '5', scan.startup.timestamp = '2026-03-01T00:00:00Z'",
    "topic = 'x', scan.startup.timestamp = '2026-03-01T00:00:00Z'",
    "topic = 'x', scan.startup.mode = 'latest', scan.startup.specific-offsets = 'partition:0,offset:1'",
    "topic = 'x', scan.startup.mode = 'offsets'",
    "topic = 'x', scan.startup.mode = 'offsets', scan.startup.specific-offsets = ';'",
    "topic = 'x', scan.startup.mode = 'offsets', scan.startup.specific-offsets = '0:1'",
    "topic = 'x', scan.startup.mode = 'offsets', scan.startup.specific-offsets = 'partition:0,offset:1;partition:1'",
    "topic = 'x', scan.startup.mode = 'offsets', scan.startup.specific-offsets = 'partition:0,offset:-2'",
    "topic = 'x', scan.startup.mode = 'offsets', scan.startup.specific-offsets = 'partition:0,offset:1;partition:0,offset:2'",
    "topic = 'x', scan.startup.mode = 'offsets', scan.startup.specific-offsets = 'topic:y,partition:0,offset:1'",
    "topic = 'x, y', scan.startup.mode = 'offsets', scan.startup.specific-offsets = 'topic:y,partition:0,offset:1;partition:0,offset:1'",
    "topic = 'x', scan.topic-partition-discovery.interval = '10ms'",
    "topic = 'x', scan.topic-partition-discovery.interval = '30'",
];

#[test]
fn wrong_topics_and_starts_are_shown_with_place_reason_and_hint() {
    let whole: Vec<String> = WRONG_TOPICS_AND_STARTS
        .iter()
        .map(|options| format!("CREATE SOURCE s (a TEXT)\nWITH (connector = 'kafka', {options});"))
        .collect();
    insta::assert_snapshot!(rendered(&whole.iter().map(String::as_str).collect::<Vec<_>>()));
}

#[test]
fn wrong_source_options_are_shown_with_place_reason_and_hint() {
    let whole: Vec<String> = WRONG_SOURCE_OPTIONS
        .iter()
        .map(|options| format!("CREATE SOURCE s (a TEXT)\nWITH ({options});"))
        .collect();
    insta::assert_snapshot!(rendered(&whole.iter().map(String::as_str).collect::<Vec<_>>()));
}

/// Bodies of WITH clauses of sinks.
const WRONG_SINK_OPTIONS: &[&str] = &[
    "mode = 'upsert'",
    "connector = 'mongo', collection = 'x'",
    "connector = 'parquet', path = 'x'",
    "connector = 'mongodb', colection = 'x'",
    "connector = 'mongodb', collection = 'a$b', database = 'c d'",
    "connector = 'mongodb', collection = 'x', mode = 'update'",
    "connector = 'mongodb', collection = 'x', guard = 'fields', deletes = 'tombstone', delivery = 'exactly_once'",
    "connector = 'mongodb', collection = 'x', shards = '0', key = 'a,,b'",
    "connector = 'mongodb', collection = 'x', mode = 'upsert', document = 'payload'",
    "connector = 'mongodb', collection = 'x', mongodb.url = 'mongodb://localhost'",
    "connector = 'kafka', topic = 'a b'",
    "connector = 'kafka', topic = 'x', delivery = 'exactly_once'",
    "connector = 'kafka', topic = 'x', key.format = 'raw'",
    "connector = 'kafka', topic = 'x', key.format = 'avro', partitions = '0', replication = 'two'",
    "connector = 'kafka', topic = 'x', properties.acks = '1'",
    "connector = 'file', path = 'x', format = 'csv', partition_by = 'day'",
    "connector = 'kafka', topic = 'x', format = 'csv'",
    "connector = 'file', path = 'x', format = 'parquet', mode = 'upsert'",
    "connector = 'stdout', path = 'x'",
    "connector = 'blackhole', format = 'json'",
];

#[test]
fn wrong_sink_options_are_shown_with_place_reason_and_hint() {
    let whole: Vec<String> =
        WRONG_SINK_OPTIONS.iter().map(|options| format!("CREATE SINK s FROM v WITH ({options});")).collect();
    insta::assert_snapshot!(rendered(&whole.iter().map(String::as_str).collect::<Vec<_>>()));
}

#[test]
fn a_wrong_relation_leaves_its_name() {
    let (statements, _) = mistakes(
        "CREATE SOURCE s (a STRNG) WITH (connector = 'file');\nCREATE TABLE d (a INT);\nCREATE SINK x FROM",
    );
    let names: Vec<&str> = statements
        .iter()
        .map(|statement| match statement {
            Statement::Broken(name) => name.value.as_str(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(names, ["s", "d"]);
}

#[test]
fn deep_and_long_expressions_are_refused_instead_of_overflowing_the_stack() {
    let deep = format!("CREATE VIEW v AS SELECT {}1{} FROM t;", "(".repeat(20_000), ")".repeat(20_000));
    let long = format!("CREATE VIEW v AS SELECT 1{} FROM t;", " + 1".repeat(20_000));
    let wide =
        format!("CREATE VIEW v AS SELECT a, b FROM t{};", " UNION ALL SELECT a, b FROM t".repeat(5000));
    for text in [deep, long, wide] {
        let (_, diagnostics) = mistakes(&text);
        assert_eq!(diagnostics.len(), 1, "{diagnostics:?}");
    }
}

/// Half a file, and a file with any one character missing, is what an editor sends while somebody types.
#[test]
fn no_part_of_a_file_makes_the_parser_panic() {
    let places: Vec<usize> = GOOD.char_indices().map(|(at, _)| at).collect();
    for at in places {
        let without = format!("{}{}", &GOOD[..at], GOOD[at..].chars().skip(1).collect::<String>());
        for text in [&GOOD[..at], &without] {
            let (_, list) = mistakes(text);
            assert!(list.iter().all(|diagnostic| diagnostic.span.start <= diagnostic.span.end));
            let _ = Diagnostics::new("dataflow.sql", text, list).to_string();
        }
    }
}

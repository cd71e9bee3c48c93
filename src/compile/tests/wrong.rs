//! Wrong queries: place, reason and hint of each.

use super::{TELEMETRY, compiled};

/// What is reported for each text, behind the source `telemetry`, which has the first five lines.
fn rendered(texts: &[String]) -> String {
    let report = |text: &String| match compiled(&format!("{TELEMETRY}{text}")) {
        Ok(_) => panic!("nothing is wrong with {text}"),
        Err(wrong) => wrong.to_string(),
    };
    texts.iter().map(report).collect::<Vec<_>>().join("----\n")
}

/// Sinks over queries.
fn queries(queries: &[&str]) -> String {
    let sink = |query: &&str| format!("CREATE SINK s AS {query} WITH (connector = 'stdout');");
    rendered(&queries.iter().map(sink).collect::<Vec<_>>())
}

fn statements(statements: &[&str]) -> String {
    rendered(&statements.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>())
}

#[test]
fn what_is_not_supported_yet_is_refused_by_its_name() {
    let shown = queries(&[
        "SELECT did FROM telemetry ORDER BY did",
        "SELECT did FROM telemetry LIMIT 10",
        "SELECT a.did FROM telemetry a JOIN telemetry b ON a.did = b.did",
        "SELECT a.did FROM telemetry a, telemetry b",
        "SELECT did FROM telemetry UNION ALL BY NAME SELECT did FROM telemetry",
        "SELECT did FROM telemetry EXCEPT ALL SELECT name FROM telemetry",
        "SELECT did FROM telemetry INTERSECT ALL SELECT name FROM telemetry",
        "SELECT DISTINCT did, payload FROM telemetry",
        "SELECT did, payload FROM telemetry UNION SELECT did, payload FROM telemetry",
        "SELECT payload, count(*) FROM telemetry GROUP BY payload",
        "SELECT did FROM telemetry WHERE did IN (SELECT name FROM telemetry)",
        "SELECT did FROM telemetry t WHERE EXISTS (SELECT 1 FROM telemetry)",
        "SELECT (SELECT max(did) FROM telemetry) AS x FROM telemetry",
        "SELECT did, last_value(i) OVER (PARTITION BY did ORDER BY i) AS x FROM telemetry",
        "SELECT row_number() OVER (ORDER BY i) AS x FROM telemetry",
        "SELECT did, tumble(\"eventTime\", INTERVAL '1 minute') AS w, count(*) FROM telemetry GROUP BY did",
        "SELECT did, name, count(*) FROM telemetry GROUP BY GROUPING SETS ((did), (name))",
        "SELECT did, count(*) FROM telemetry GROUP BY ROLLUP (did)",
        "SELECT did, count(*) FROM telemetry",
        "SELECT did, last_value(f) FROM telemetry GROUP BY did",
        "SELECT did, last_value(f ORDER BY i NULLS FIRST) FROM telemetry GROUP BY did",
        "SELECT did, sum(f ORDER BY i) FROM telemetry GROUP BY did",
        "SELECT did FROM telemetry FOR SYSTEM_TIME AS OF TIMESTAMP '2024-01-01 00:00:00'",
        "VALUES (1)",
        "SELECT 1 AS x",
        "WITH RECURSIVE r AS (SELECT did FROM telemetry) SELECT did FROM r",
        "SELECT did FROM generate_series(1, 2)",
        "SELECT payload #> 'a' AS x FROM telemetry",
        "SELECT payload['a'] AS x FROM telemetry",
        "SELECT CAST(did AS DECIMAL(10, 2)) AS x FROM telemetry",
        "SELECT \"eventTime\" - \"eventTime\" AS x FROM telemetry",
        "SELECT \"eventTime\" AT TIME ZONE 'Europe/Zurich' AS x FROM telemetry",
        "SELECT [i, n] AS x FROM telemetry",
    ]);
    insta::assert_snapshot!(shown);
}

#[test]
fn aggregates_that_cannot_be_computed_are_refused() {
    let calls = [
        "corr(f)",
        "corr(f, name)",
        "regr_slope(DISTINCT f, i)",
        "nth_value(f, 2)",
        "count(DISTINCT *)",
        "count(DISTINCT name, did)",
        "count(DISTINCT payload)",
        "approx_distinct(payload)",
        "last_value(DISTINCT f ORDER BY i)",
        "array_agg(DISTINCT name ORDER BY i)",
        "sum(f) IGNORE NULLS",
        "sum(f IGNORE NULLS)",
        "last_value(f ORDER BY payload)",
        "sum(b)",
        "stddev(name)",
        "bool_and(i)",
        "bit_or(f)",
        "median(\"eventTime\")",
        "string_agg(name)",
        "string_agg(name, did)",
        "string_agg(name, 1)",
        "string_agg(i, ', ')",
        "string_agg(payload, ', ')",
        "string_agg(name, ', ' LIMIT 5)",
        "percentile_cont(f)",
        "percentile_cont(f, 95)",
        "percentile_cont(f, n)",
        "percentile_cont(f, '0.5')",
        "percentile_cont(f, 0.5) WITHIN GROUP (ORDER BY i)",
        "percentile_cont(0.5) WITHIN GROUP (ORDER BY i, n)",
        "percentile_cont(0.5 ORDER BY i)",
        "median(f) WITHIN GROUP (ORDER BY i)",
        "approx_percentile_cont(f, 0.5, 100)",
        "approx_percentile_cont(name, 0.5)",
        "sigma_clipped_percentile(f, 0.95)",
        "sigma_clipped_percentile(f, 0.95, 0)",
        "sigma_clipped_percentile(f, 0.95, i)",
        "sigma_clipped_percentile(0.95) WITHIN GROUP (ORDER BY f)",
        "string_agg(name, ', ')",
        "array_agg(f ORDER BY i)",
        "median(f) FILTER (WHERE i > 0)",
        "percentile_cont(0.5) WITHIN GROUP (ORDER BY f)",
        "sigma_clipped_percentile(f, 0.95, 3)",
    ];
    let queries: Vec<_> =
        calls.iter().map(|call| format!("SELECT did, {call} AS x FROM telemetry GROUP BY did")).collect();
    insta::assert_snapshot!(self::queries(&queries.iter().map(String::as_str).collect::<Vec<_>>()));
}

#[test]
fn state_that_grows_with_every_event_has_to_be_accepted() {
    let view = |with: &str, query: &str| format!("CREATE VIEW v {with} AS {query};");
    const NAMES: &str = "SELECT did, string_agg(name, ', ') AS names FROM telemetry GROUP BY did";
    const LATEST: &str = "SELECT n, array_agg(f) AS all FROM (SELECT did, n, max(f) AS f FROM telemetry GROUP BY did, n) t GROUP BY n";
    insta::assert_snapshot!(statements(&[
        &view("", NAMES),
        &view("WITH (state_retention = '7 days')", NAMES),
        &view("WITH (state_retention = 'forever')", NAMES),
        &view("WITH (state_retentoin = 'unbounded')", LATEST),
    ]));
    for good in [
        view("WITH (state_retention = 'unbounded')", NAMES),
        view("", LATEST),
        format!("CREATE SINK s AS {LATEST} WITH (connector = 'stdout');"),
        view("", "SELECT array_agg(DISTINCT name) AS names, count(DISTINCT did) AS dids FROM telemetry"),
    ] {
        compiled(&format!("{TELEMETRY}{good}")).unwrap_or_else(|wrong| panic!("{good}: {wrong}"));
    }
}

#[test]
fn names_that_do_not_exist_have_the_nearest_one_as_a_hint() {
    let shown = queries(&[
        "SELECT eventTime FROM telemetry",
        "SELECT did, nam FROM telemetry WHERE xyz > 1",
        "SELECT t.did FROM telemetry",
        "SELECT did FROM telemety",
        "SELECT did FROM a.telemetry",
        "SELECT uper(did) AS x, lenght(did) AS y FROM telemetry",
        "SELECT did, summ(i) AS x FROM telemetry GROUP BY did",
        "SELECT did, did FROM telemetry",
        "SELECT max(i), max(n) FROM telemetry GROUP BY did",
        "SELECT *, did FROM telemetry",
        "SELECT i + 1 FROM telemetry",
        "SELECT did, name FROM telemetry GROUP BY did",
        "SELECT * FROM telemetry GROUP BY did",
    ]);
    insta::assert_snapshot!(shown);
}

#[test]
fn types_that_do_not_fit_are_refused_at_the_expression() {
    let shown = queries(&[
        "SELECT did FROM telemetry WHERE name = 100",
        "SELECT did FROM telemetry WHERE i > 1 AND name > 5",
        "SELECT did FROM telemetry WHERE name = i",
        "SELECT did FROM telemetry WHERE name IN (1, 2)",
        "SELECT did FROM telemetry WHERE name BETWEEN 1 AND 2",
        "SELECT did FROM telemetry WHERE \"eventTime\" > name",
        "SELECT did FROM telemetry WHERE b = name",
        "SELECT did FROM telemetry WHERE i",
        "SELECT did FROM telemetry WHERE upper(name)",
        "SELECT CASE WHEN i THEN 1 ELSE 2 END AS x FROM telemetry",
        "SELECT CASE i WHEN name THEN 1 END AS x FROM telemetry",
        "SELECT did || (i * (did - b)) AS x FROM telemetry",
        "SELECT did, sum(name) FROM telemetry GROUP BY did",
        "SELECT did, sum(i) FILTER (WHERE name) FROM telemetry GROUP BY did",
        "SELECT sqrt(name) AS x, abs(did) AS y FROM telemetry",
        "SELECT substr(did) AS x FROM telemetry",
        "SELECT -name AS x FROM telemetry",
        "SELECT NOT name AS x FROM telemetry",
        "SELECT i > 'abc' AS x FROM telemetry",
        "SELECT did FROM telemetry WHERE \"eventTime\" > '2020-13-01'",
        "SELECT CAST(i AS TIMESTAMP) AS x FROM telemetry",
        "SELECT CAST(\"eventTime\" AS BIGINT) AS x FROM telemetry",
        "SELECT CAST(i AS DATE) AS x FROM telemetry",
        "SELECT CAST(CAST(\"eventTime\" AS DATE) AS BIGINT) AS x FROM telemetry",
        "SELECT \"eventTime\" > 5 AS x FROM telemetry",
        "SELECT NULL AS x FROM telemetry",
        "SELECT 9223372036854775807 + 1 AS x FROM telemetry",
        "SELECT i + (9223372036854775807 * length('ab')) AS x FROM telemetry",
        "SELECT i / 0 AS x, 1 / 0 AS y FROM telemetry",
        "SELECT regexp_like(did, '(') AS x FROM telemetry",
        "SELECT date_trunc('yaer', \"eventTime\") AS x FROM telemetry",
        "SELECT did FROM telemetry WHERE f < 1e400",
        "SELECT payload.a AS x FROM telemetry",
        "SELECT did, i FROM telemetry UNION ALL SELECT did, name FROM telemetry",
        "SELECT did, i FROM telemetry UNION ALL SELECT did FROM telemetry",
        "SELECT did FROM telemetry WHERE max(i) > 1",
        "SELECT did FROM telemetry GROUP BY did HAVING sum(i)",
        "SELECT did, max(min(i)) FROM telemetry GROUP BY did",
        "SELECT max(i) AS x FROM telemetry GROUP BY max(i)",
        "SELECT did FROM telemetry HAVING did > 'a'",
        "SELECT count(*) AS c FROM telemetry HAVING did > 'a'",
        "SELECT 2 AS a, name, count(*) FROM telemetry GROUP BY a",
    ]);
    insta::assert_snapshot!(shown);
}

#[test]
fn json_is_neither_compared_nor_read_from_what_is_none() {
    let shown = queries(&[
        "SELECT did -> 'a' AS x FROM telemetry",
        "SELECT i ->> 'a' AS x FROM telemetry",
        "SELECT payload ->> 'a' ->> 'b' AS x FROM telemetry",
        "SELECT payload -> 1.5 AS x FROM telemetry",
        "SELECT did FROM telemetry WHERE payload -> 'a' = 'soc'",
        "SELECT did FROM telemetry WHERE payload = '{}'",
        "SELECT did FROM telemetry WHERE payload -> 'a' IN ('x', 'y')",
        "SELECT did FROM telemetry WHERE payload ->> 'a' > 5",
        "SELECT did, max(payload) FROM telemetry GROUP BY did",
        "SELECT did, min(payload -> 'a') AS x FROM telemetry GROUP BY did",
        "SELECT did, last_value(i ORDER BY payload) AS x FROM telemetry GROUP BY did",
        "SELECT payload -> 'a' AS a, count(*) FROM telemetry GROUP BY payload -> 'a'",
        "SELECT payload AS p FROM telemetry UNION ALL SELECT did FROM telemetry",
        "SELECT CAST('{' AS JSON) AS x FROM telemetry",
    ]);
    insta::assert_snapshot!(shown);
}

#[test]
fn functions_that_give_other_results_each_time_are_refused() {
    let shown = queries(&[
        "SELECT random() AS x FROM telemetry",
        "SELECT did, uuid() AS x FROM telemetry WHERE current_date > at",
        "SELECT did FROM telemetry WHERE \"eventTime\" > now()",
        "SELECT did, max(now()) AS x FROM telemetry GROUP BY did",
        "SELECT did, count(*) FROM telemetry GROUP BY did HAVING now() > max(at)",
        "SELECT did, max(i) AS i, now() AS t FROM telemetry GROUP BY did",
    ]);
    insta::assert_snapshot!(shown);
}

#[test]
fn sinks_do_not_share_a_place_and_names_are_names_of_files() {
    insta::assert_snapshot!(statements(&[
        "CREATE SINK a FROM telemetry WITH (connector = 'mongodb', collection = 'c', mode = 'append');\n\
         CREATE SINK b FROM telemetry WITH (connector = 'mongodb', collection = 'c', mode = 'append');",
        "CREATE SINK a FROM telemetry WITH (connector = 'file', path = 'o/s.jsonl');\n\
         CREATE SINK b FROM telemetry WITH (connector = 'file', path = './o/./s.jsonl');",
        "CREATE SINK a FROM telemetry WITH (connector = 'kafka', topic = 'x.dlq');",
        "CREATE SINK \"../a\" FROM telemetry WITH (connector = 'stdout');",
    ]));
}

#[test]
fn chains_and_doubling_views_are_refused_before_they_exhaust_the_machine() {
    let chain = format!("SELECT i{} AS x FROM telemetry", " IS NULL".repeat(300));
    let mut doubling = "CREATE VIEW v0 AS SELECT did FROM telemetry;\n".to_owned();
    for view in 0..30 {
        let next = view + 1;
        doubling +=
            &format!("CREATE VIEW v{next} AS SELECT did FROM v{view} UNION ALL SELECT did FROM v{view};\n");
    }
    let chain = queries(&[&chain]);
    assert!(chain.contains("more than 200 operators in a row"), "{chain}");
    let doubling = statements(&[&doubling]);
    assert!(doubling.contains("more than 1000 branches"), "{doubling}");
}

#[test]
fn sinks_that_do_not_fit_their_relation_are_refused() {
    const MONGO: &str = "WITH (connector = 'mongodb', collection = 'c', mode = 'append');";
    const UPSERT: &str = "WITH (connector = 'mongodb', collection = 'c', mode = 'upsert');";
    let counts = "CREATE VIEW v AS SELECT did, name, count(*) AS c FROM telemetry GROUP BY did, name;\n";
    let shown = statements(&[
        &format!("{counts}CREATE SINK s FROM v {MONGO}"),
        &format!("{counts}CREATE SINK s FROM v WITH (connector = 'kafka', topic = 't');"),
        &format!("CREATE SINK s FROM telemetry {UPSERT}"),
        &format!("{counts}CREATE SINK s AS SELECT did, c FROM v {UPSERT}"),
        &format!("{counts}CREATE SINK s AS SELECT did, name, c FROM v UNION ALL SELECT * FROM v {UPSERT}"),
        &format!(
            "{counts}CREATE SINK s FROM v WITH (connector = 'kafka', topic = 't', mode = 'upsert', key = 'did');"
        ),
        &format!(
            "{counts}CREATE SINK s FROM v WITH (connector = 'kafka', topic = 't', mode = 'upsert', key = 'did, nam');"
        ),
        "CREATE SINK s FROM telemetry WITH (connector = 'kafka', topic = 't', key = 'i', key.format = 'raw');",
        "CREATE SINK s FROM telemetry WITH (connector = 'mongodb', collection = 'c', document = 'did');",
        "CREATE SINK s FROM telemetry WITH (connector = 'mongodb', collection = 'c', key = 'did, at');",
        &format!("CREATE SINK s AS SELECT did AS _id FROM telemetry {MONGO}"),
        &format!("CREATE SINK s AS SELECT did, count(*) AS _v FROM telemetry GROUP BY did {UPSERT}"),
        &format!(
            "CREATE SINK s AS SELECT DISTINCT did FROM telemetry UNION ALL SELECT name FROM telemetry {MONGO}"
        ),
        "CREATE VIEW v (a, b, c) AS SELECT did, name FROM telemetry;",
        "CREATE SINK s FROM telemetri WITH (connector = 'stdout');",
        "CREATE SINK s FROM v WITH (connector = 'stdout');\nCREATE VIEW v AS SELECT did FROM telemetry;",
        "CREATE VIEW telemetry AS SELECT did FROM telemetry;",
        "CREATE SINK s FROM s WITH (connector = 'stdout');",
        "CREATE VIEW v AS SELECT di FROM telemetry;\nCREATE VIEW w AS SELECT did FROM v;\nCREATE SINK s FROM w WITH (connector = 'stdut');",
        "CREATE VIEW v AS SELECT did FROM w;\nCREATE VIEW w AS SELECT did FROM telemetry;",
    ]);
    insta::assert_snapshot!(shown);
}

#[test]
fn rules_of_sources_that_make_no_sense_are_refused() {
    let source =
        |columns: &&str| format!("CREATE SOURCE s ({columns}) WITH (connector = 'file', path = 'x.jsonl');");
    let columns = [
        "a TEXT, CHECK (a)",
        "a TEXT, CHECK (b = 1)",
        "a TEXT, CHECK (a = 1)",
        "a TEXT, CHECK (count(a) > 1)",
        "a TEXT, CHECK (a > now())",
        "a TEXT, CHECK (length(a, 2) > 1)",
        "at TIMESTAMP METADATA FROM 'ingestion_time', t TIMESTAMP, CHECK (t < at)",
        "a BIGINT DEFAULT 'x'",
        "a BIGINT DEFAULT 1.5",
        "a INT DEFAULT 3000000000",
        "a BIGINT DEFAULT 9223372036854775807 + 1",
        "a TIMESTAMP DEFAULT 'yesterday'",
        "a TEXT DEFAULT b, b TEXT",
        "a TEXT DEFAULT upper(now())",
        "a JSON DEFAULT '{'",
        "a TEXT NOT NULL DEFAULT NULL",
        "a TEXT METADATA FROM 'offset'",
        "a BIGINT, a TEXT",
        "t TEXT, WATERMARK FOR t AS t",
        "t TIMESTAMP, WATERMARK FOR u AS u",
        "t TIMESTAMP, u TIMESTAMP, WATERMARK FOR t AS u - INTERVAL '1 second'",
        "t TIMESTAMP, WATERMARK FOR t AS t - INTERVAL '1 month'",
        "t TIMESTAMP, WATERMARK FOR t AS t + INTERVAL '1 second'",
        "t TIMESTAMP, WATERMARK FOR t AS t - INTERVAL '-1 second'",
        "t TIMESTAMP METADATA FROM 'ingestion_time', WATERMARK FOR t AS t",
    ];
    let shown = rendered(&columns.iter().map(source).collect::<Vec<_>>());
    insta::assert_snapshot!(shown);
}

#[test]
fn what_a_record_of_csv_does_not_have_is_refused() {
    let source = |columns: &&str| {
        format!("CREATE SOURCE s ({columns}) WITH (connector = 'file', path = 'x.csv', format = 'csv');")
    };
    let columns = ["a TEXT, lat DOUBLE PATH 'position.lat'", "a TEXT, p JSON METADATA FROM 'payload'"];
    let shown = rendered(&columns.iter().map(source).collect::<Vec<_>>());
    insta::assert_snapshot!(shown);
}

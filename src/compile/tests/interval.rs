//! Joins of streams: which distance in time their conditions allow, what they become, and what is refused.

use super::compiled;
use crate::compile::explain::explain;
use crate::plan::{Bound, IntervalJoin, Operator, Plan, Step};

/// Two streams with time attributes, one without, and a relation that is none.
const STREAMS: &str = r#"
CREATE SOURCE a (k TEXT NOT NULL, x BIGINT, ts TIMESTAMP NOT NULL, other TIMESTAMP, WATERMARK FOR ts AS ts - INTERVAL '10 seconds')
WITH (connector = 'kafka', topic = 'a');
CREATE SOURCE b (k TEXT NOT NULL, y BIGINT, ts TIMESTAMP NOT NULL, WATERMARK FOR ts AS ts - INTERVAL '1 minute')
WITH (connector = 'kafka', topic = 'b');
CREATE SOURCE plain (k TEXT NOT NULL, ts TIMESTAMP NOT NULL) WITH (connector = 'kafka', topic = 'plain');
CREATE VIEW counts AS SELECT k, count(*) AS n FROM b GROUP BY k;
"#;

const SECOND: i64 = 1_000_000_000;

fn joined(query: &str) -> Result<Plan, String> {
    of_text(&format!("CREATE SINK s AS {query} WITH (connector = 'blackhole');"))
}

fn of_text(text: &str) -> Result<Plan, String> {
    compiled(&format!("{STREAMS}{text}")).map_err(|wrong| wrong.to_string())
}

fn interval(plan: &Plan) -> &IntervalJoin {
    let mut joins = plan.operators.iter().filter_map(|operator| match operator {
        Operator::IntervalJoin(join) => Some(join),
        _ => None,
    });
    joins.next().expect("an interval join")
}

#[test]
fn a_distance_in_time_is_found_however_it_is_written() {
    let cases = [
        ("b.ts BETWEEN a.ts - INTERVAL '5 minutes' AND a.ts", -300 * SECOND, 0),
        (
            "b.ts BETWEEN a.ts - INTERVAL '5' MINUTE AND a.ts + INTERVAL '1 hour'",
            -300 * SECOND,
            3_600 * SECOND,
        ),
        ("a.ts BETWEEN b.ts AND b.ts + INTERVAL '5 minutes'", -300 * SECOND, 0),
        ("b.ts >= a.ts AND b.ts <= a.ts + INTERVAL '10 seconds'", 0, 10 * SECOND),
        ("b.ts > a.ts AND b.ts < a.ts + INTERVAL '10 seconds'", 1, 10 * SECOND - 1),
        ("a.ts <= b.ts AND a.ts + INTERVAL '10 seconds' >= b.ts", 0, 10 * SECOND),
        (
            "b.ts - a.ts <= INTERVAL '5 minutes' AND a.ts - b.ts <= INTERVAL '1 minute'",
            -60 * SECOND,
            300 * SECOND,
        ),
        ("b.ts - a.ts BETWEEN INTERVAL '1 minute' AND INTERVAL '2 minutes'", 60 * SECOND, 120 * SECOND),
        (
            "INTERVAL '1 day' > b.ts - a.ts AND b.ts - INTERVAL '1 hour' > a.ts",
            3_600 * SECOND + 1,
            86_400 * SECOND - 1,
        ),
        ("b.ts - INTERVAL '1 minute' = a.ts", 60 * SECOND, 60 * SECOND),
        ("a.ts = b.ts", 0, 0),
        (
            "b.ts BETWEEN a.ts - INTERVAL '9 minutes' AND a.ts AND b.ts >= a.ts - INTERVAL '5 minutes'",
            -300 * SECOND,
            0,
        ),
        ("b.ts BETWEEN a.ts - (INTERVAL '1 minute' + INTERVAL '1 second') AND a.ts", -61 * SECOND, 0),
    ];
    for (condition, lower, upper) in cases {
        for query in [
            format!("SELECT a.x FROM a JOIN b ON a.k = b.k AND {condition}"),
            format!("SELECT a.x FROM a LEFT JOIN b ON {condition} AND a.k = b.k"),
            format!("SELECT a.x FROM a, b WHERE a.k = b.k AND {condition}"),
            format!("SELECT x FROM a WHERE EXISTS (SELECT 1 FROM b WHERE a.k = b.k AND {condition})"),
        ] {
            let plan = joined(&query).unwrap_or_else(|wrong| panic!("{query}: {wrong}"));
            let join = interval(&plan);
            assert_eq!((join.lower_ns, join.upper_ns), (lower, upper), "{query}");
            assert!(join.condition.is_none(), "{query}: {:?}", join.condition);
            let filter = |step: &Step| matches!(step, Step::Filter(_));
            assert!(
                !plan.legs.iter().flat_map(|leg| &leg.steps).any(filter),
                "{query}: nothing is left over"
            );
            let keys = if condition == "a.ts = b.ts" { 2 } else { 1 };
            assert_eq!(join.sides.each_ref().map(|side| side.keys.len()), [keys, keys], "{query}");
        }
    }
}

#[test]
fn what_a_condition_says_beside_the_distance_stays_one() {
    let near = "a.k = b.k AND b.ts BETWEEN a.ts AND a.ts + INTERVAL '1 minute'";
    let cases = [
        (format!("SELECT a.x FROM a JOIN b ON {near} AND a.x > b.y"), None, 1),
        (format!("SELECT a.x FROM a LEFT JOIN b ON {near} AND a.x > b.y"), Some("x > y"), 0),
        (format!("SELECT a.x FROM a LEFT JOIN b ON {near} WHERE a.x > 1"), None, 1),
        // Half of it speaks of another time.
        (
            format!("SELECT a.x FROM a LEFT JOIN b ON {near} AND b.ts BETWEEN a.other AND a.ts"),
            Some("ts BETWEEN other AND ts"),
            0,
        ),
    ];
    for (query, condition, filters) in cases {
        let plan = joined(&query).unwrap_or_else(|wrong| panic!("{query}: {wrong}"));
        let join = interval(&plan);
        assert_eq!(join.condition.as_ref().map(|condition| condition.text.as_str()), condition, "{query}");
        let steps = plan.legs.iter().flat_map(|leg| &leg.steps);
        assert_eq!(steps.filter(|step| matches!(step, Step::Filter(_))).count(), filters, "{query}");
    }
}

#[test]
fn times_behind_a_join_know_how_old_its_rows_can_be() {
    // Joined once more with something else, each time shows its bound.
    let bound = |select: &str, column: &str| {
        let view = format!(
            "CREATE VIEW v AS SELECT a.k, {select} FROM a JOIN b ON a.k = b.k
             AND b.ts BETWEEN a.ts - INTERVAL '5 minutes' AND a.ts + INTERVAL '1 minute';
             CREATE SINK s AS SELECT v.k FROM v JOIN b AS c ON c.k = v.k AND c.ts = v.{column} WITH (connector = 'blackhole');"
        );
        let plan = of_text(&view).unwrap_or_else(|wrong| panic!("{wrong}"));
        let last = plan.operators.last().expect("two joins");
        last.bounds()[0].clone().expect("a time attribute")
    };
    let (of_a, of_b) = (Bound::Source(0), Bound::Source(1));
    let left = Bound::least([of_a.clone(), of_b.clone().back(60 * SECOND)]);
    assert_eq!(bound("a.ts", "ts"), left, "a row of a meets rows of b that are up to a minute younger");
    let right = Bound::least([of_b, of_a.back(300 * SECOND)]);
    assert_eq!(
        bound("b.ts AS t", "t"),
        right,
        "a row of b meets rows of a that are up to five minutes younger"
    );
    let lost = "CREATE VIEW v AS SELECT a.k, b.ts FROM a LEFT JOIN b ON a.k = b.k AND a.ts = b.ts;
        CREATE SINK s AS SELECT v.k FROM v JOIN b ON b.k = v.k AND b.ts = v.ts WITH (connector = 'blackhole');";
    let lost = of_text(lost).expect_err("it can be NULL");
    assert!(lost.contains("`v` has no time attribute"), "{lost}");
}

#[test]
fn interval_joins_are_explained() {
    let queries = [
        "SELECT a.k, x, y, b.ts FROM a LEFT JOIN b ON a.k = b.k AND b.ts BETWEEN a.ts - INTERVAL '5 minutes' AND a.ts AND y > x",
        "SELECT a.x, b.y FROM a JOIN b ON b.ts = a.ts",
        "SELECT x FROM a WHERE NOT EXISTS (SELECT 1 FROM b WHERE b.k = a.k AND b.ts > a.ts AND b.ts < a.ts + INTERVAL '1 hour')",
    ];
    let explained = queries.map(|query| {
        let plan = joined(query).unwrap_or_else(|wrong| panic!("{wrong}"));
        let text = explain(&plan);
        // The sources are those of every other plan.
        let lines = text.lines().filter(|line| !line.contains("column ") && !line.contains("skew guard"));
        format!("{query}\n{}\n", lines.collect::<Vec<_>>().join("\n"))
    });
    insta::assert_snapshot!(explained.join("\n"));
}

#[test]
fn joins_of_streams_without_a_bound_are_refused_with_a_hint() {
    let wrong = [
        "SELECT a.x FROM a JOIN b ON a.k = b.k",
        "SELECT a.x FROM a JOIN b ON a.k = b.k AND b.ts >= a.ts",
        "SELECT a.x FROM a JOIN b ON a.k = b.k AND b.ts <= a.ts",
        "SELECT a.x FROM a JOIN b ON a.k = b.k AND b.ts BETWEEN a.other AND a.other + INTERVAL '1 minute'",
        "SELECT a.x FROM a JOIN b ON a.k = b.k AND b.ts BETWEEN a.ts AND a.ts + INTERVAL '1 month'",
        "SELECT a.x FROM a JOIN b ON a.k = b.k AND b.ts BETWEEN a.ts AND a.ts - INTERVAL '1 minute'",
        "SELECT a.x FROM a JOIN plain ON a.k = plain.k AND plain.ts = a.ts",
        "SELECT a.x FROM a JOIN counts ON a.k = counts.k",
        "SELECT x FROM a WHERE k IN (SELECT k FROM b)",
        "SELECT x FROM a WHERE EXISTS (SELECT 1 FROM b WHERE b.k = a.k AND b.ts > a.ts)",
    ];
    let shown = wrong.map(|query| match joined(query) {
        Ok(_) => panic!("nothing is wrong with {query}"),
        Err(wrong) => wrong,
    });
    let views = [
        // Conditions say nothing of time, and the view keeps its rows for some time, or for ever.
        "WITH (state_retention = '7 days') AS SELECT a.k, count(*) AS n FROM a GROUP BY a.k",
        "WITH (state_retention = '7 days') AS SELECT plain.k FROM plain JOIN counts ON plain.k = counts.k",
        "WITH (state_retention = '7 days') AS SELECT a.x FROM a JOIN plain ON a.k = plain.k",
        "WITH (state_retention = '7 months') AS SELECT a.x FROM a JOIN b ON a.k = b.k",
    ];
    let shown_views = views.map(|view| match of_text(&format!("CREATE VIEW v {view};")) {
        Ok(_) => panic!("nothing is wrong with {view}"),
        Err(wrong) => wrong,
    });
    insta::assert_snapshot!(format!("{}----\n{}", shown.join("----\n"), shown_views.join("----\n")));
}

#[test]
fn retention_is_a_distance_in_time() {
    let view = |retention: &str, condition: &str| {
        let text = format!(
            "CREATE VIEW v WITH (state_retention = '{retention}') AS SELECT a.x FROM a JOIN b ON a.k = b.k {condition};
             CREATE SINK s FROM v WITH (connector = 'blackhole');"
        );
        of_text(&text).unwrap_or_else(|wrong| panic!("{wrong}"))
    };
    let distance = |plan: &Plan| (interval(plan).lower_ns / SECOND, interval(plan).upper_ns / SECOND);
    assert_eq!(distance(&view("1 hour", "")), (-3_600, 3_600));
    assert_eq!(distance(&view("1 hour", "AND b.ts >= a.ts")), (0, 3_600));
    assert_eq!(distance(&view("1 hour", "AND b.ts BETWEEN a.ts - INTERVAL '2 hours' AND a.ts")), (-3_600, 0));
    let kept = view("unbounded", "AND b.ts BETWEEN a.ts - INTERVAL '2 hours' AND a.ts");
    assert!(matches!(kept.operators[0], Operator::Join(_)), "everything is kept, and nothing is late");
}

#[test]
fn a_join_of_streams_keeps_the_columns_that_are_read() {
    let names = |plan: &Plan| {
        let join = interval(plan);
        let of = |schema: &arrow::datatypes::SchemaRef| {
            let names = schema.fields().iter().map(|field| field.name().clone());
            names.collect::<Vec<_>>().join(" ")
        };
        let sides = join.sides.each_ref().map(|side| format!("{}@{}", of(&side.schema), side.time));
        format!("{} | {} > {}", sides[0], sides[1], of(&join.schema))
    };
    let near = "a.k = b.k AND b.ts BETWEEN a.ts AND a.ts + INTERVAL '1 minute'";
    let cases = [
        (format!("SELECT a.x, b.ts FROM a JOIN b ON {near}"), "k x ts@2 | k ts@1 > k x ts k ts"),
        (format!("SELECT b.k FROM a LEFT JOIN b ON {near} AND x > y"), "k x ts@2 | k y ts@2 > k x ts k y ts"),
        (
            format!("SELECT 1 AS one FROM a JOIN b ON {near} WHERE other > b.ts"),
            "k ts other@1 | k ts@1 > k ts other k ts",
        ),
        (
            format!("SELECT x FROM a WHERE EXISTS (SELECT 1 FROM b WHERE {near})"),
            "k x ts@2 | k ts@1 > k x ts",
        ),
        (
            format!("SELECT now() AS at, x FROM a WHERE NOT EXISTS (SELECT 1 FROM b WHERE {near})"),
            "k x ts@2 | k ts@1 > k x ts",
        ),
    ];
    for (query, kept) in cases {
        let plan = joined(&query).unwrap_or_else(|wrong| panic!("{wrong}"));
        assert_eq!(names(&plan), kept, "{query}");
    }
}

//! Joins, IN and EXISTS: what they become, and what is refused.

use super::{TELEMETRY, compiled};
use crate::compile::explain::explain;
use crate::plan::{JoinKind, Operator, Plan};

/// Relations to join: by one column, by two, of one row, and one without a key.
const VIEWS: &str = r#"
CREATE VIEW a AS SELECT did, n, max(i) AS x, max(name) AS t FROM telemetry GROUP BY did, n;
CREATE MATERIALIZED VIEW b AS SELECT did, max(i) AS y, max(b) AS flag, max("eventTime") AS at FROM telemetry GROUP BY did;
CREATE MATERIALIZED VIEW c AS SELECT i AS k, count(*) AS z FROM telemetry GROUP BY i;
CREATE VIEW one AS SELECT sum(y) AS total FROM b;
CREATE VIEW bag AS SELECT did, y FROM b UNION ALL SELECT did, x FROM a;
"#;

fn joined(query: &str) -> Result<Plan, String> {
    let text = format!("{TELEMETRY}{VIEWS}CREATE SINK s AS {query} WITH (connector = 'blackhole');");
    compiled(&text).map_err(|wrong| wrong.to_string())
}

/// The columns of the key of a query's result.
fn key(query: &str) -> Option<Vec<String>> {
    let plan = joined(query).unwrap_or_else(|wrong| panic!("{wrong}"));
    let sink = &plan.sinks[0];
    let name = |column: &usize| sink.schema.field(*column).name().clone();
    sink.key.as_ref().map(|key| key.iter().map(name).collect())
}

#[test]
fn the_key_of_a_join_is_no_longer_than_it_has_to_be() {
    let all = "b.did AS b_did, c.k AS c_k, b.y AS y FROM b";
    let cases = [
        // Each row of the left side meets at most one: its key is enough, also without a match.
        (format!("SELECT {all} JOIN c ON b.y = c.k"), Some(vec!["b_did"])),
        (format!("SELECT {all} LEFT JOIN c ON b.y = c.k"), Some(vec!["b_did"])),
        // A row of the right side meets many.
        (format!("SELECT {all} RIGHT JOIN c ON b.y = c.k"), Some(vec!["b_did", "c_k"])),
        // The key of b is never NULL, so rows of c alone differ from it.
        (format!("SELECT {all} FULL JOIN c ON b.y = c.k"), Some(vec!["b_did", "c_k"])),
        ("SELECT l.k AS l, r.k AS r FROM c l FULL JOIN c r ON l.z = r.k".into(), None),
        // Both keys are equal in an inner join: either will do.
        ("SELECT l.did FROM b l JOIN b r ON l.did = r.did".into(), Some(vec!["did"])),
        ("SELECT r.did FROM b l JOIN b r ON l.did = r.did".into(), Some(vec!["did"])),
        ("SELECT r.did FROM b l LEFT JOIN b r ON l.did = r.did".into(), None),
        // A part of the key.
        ("SELECT a.did, a.n, b.y FROM a JOIN b ON a.did = b.did".into(), Some(vec!["did", "n"])),
        ("SELECT b.did, a.n, b.y FROM b LEFT JOIN a ON a.did = b.did".into(), Some(vec!["did", "n"])),
        ("SELECT b.did, b.y FROM b LEFT JOIN a ON a.did = b.did".into(), None),
        (
            "SELECT l.did, l.n AS l, r.n AS r FROM a l JOIN a r USING (did)".into(),
            Some(vec!["did", "l", "r"]),
        ),
        // An equality that many values of the other side have is none of keys.
        ("SELECT b.did, k FROM b JOIN c ON CAST(b.y AS DOUBLE) = c.k".into(), Some(vec!["did", "k"])),
        ("SELECT b.did, total FROM b, one".into(), Some(vec!["did"])),
        ("SELECT b.did, total FROM one CROSS JOIN b".into(), Some(vec!["did"])),
        ("SELECT bag.did, c.k FROM bag JOIN c ON bag.y = c.k".into(), None),
        ("SELECT did, n FROM a WHERE did IN (SELECT did FROM b)".into(), Some(vec!["did", "n"])),
        ("SELECT did, y FROM bag WHERE EXISTS (SELECT 1 FROM b WHERE b.did = bag.did)".into(), None),
    ];
    for (query, wanted) in cases {
        let wanted = wanted.map(|names| names.into_iter().map(str::to_owned).collect());
        assert_eq!(key(&query), wanted, "{query}");
    }
}

#[test]
fn equalities_become_keys_and_the_rest_a_filter_or_a_part_of_the_match() {
    let explained = |query: &str| {
        let plan = joined(query).unwrap_or_else(|wrong| panic!("{wrong}"));
        let mut text = format!("{query}\n");
        for operator in &plan.operators {
            let Operator::Join(join) = operator else { continue };
            let key = |side: usize| {
                let exprs = plan.arrangements[side].key.iter().map(|expr| expr.physical.to_string());
                format!("{} by {}", plan.arrangements[side].name, exprs.collect::<Vec<_>>().join(", "))
            };
            text += &format!("    {}: {:?}, {}; {}", join.name, join.kind, key(join.left), key(join.right));
            text += &join.condition.as_ref().map_or(String::new(), |it| format!("; if {}", it.physical));
            text += "\n";
        }
        for step in plan.legs.iter().filter(|leg| leg.name.ends_with("->s")).flat_map(|leg| &leg.steps) {
            if let crate::plan::Step::Filter(filter) = step {
                text += &format!("    filter {}\n", filter.physical);
            }
        }
        text
    };
    let all = [
        "SELECT b.did FROM b JOIN c ON b.y = c.k AND z > 2 AND b.flag",
        "SELECT b.did FROM b LEFT JOIN c ON z > 2 AND b.y = c.k",
        "SELECT b.did FROM a, b, c WHERE a.x > b.y AND a.did = b.did AND c.k = b.y AND z > 1",
        "SELECT b.did FROM a JOIN b USING (did)",
        "SELECT b.did FROM a JOIN b ON a.x + 1 = b.y",
        "SELECT b.did FROM a JOIN b ON a.did = b.did AND 10 / a.x = b.y",
        "SELECT b.did FROM a LEFT JOIN b ON b.did = a.did, c WHERE c.k = b.y",
        "SELECT a.did FROM a JOIN b ON CAST(a.n AS BIGINT) = b.y AND a.did = b.did",
        "SELECT a.did FROM a JOIN a AS b ON a.n = b.n AND a.did = b.did",
        "SELECT did FROM b WHERE y > 1 AND y IN (SELECT k FROM c WHERE z > 1) AND NOT flag",
        "SELECT did FROM b WHERE NOT EXISTS (SELECT 1 FROM c WHERE c.k = b.y AND c.z > 1 AND c.z > b.y)",
        "SELECT did FROM b WHERE EXISTS (SELECT 1 FROM c WHERE z > 1)",
        "SELECT did FROM b WHERE NOT (did IN (SELECT did FROM b WHERE flag))",
        "SELECT did, count(*) AS n FROM a GROUP BY did HAVING count(*) IN (SELECT z FROM c)",
    ];
    insta::assert_snapshot!(all.map(explained).join("\n"));
}

#[test]
fn rows_by_the_same_key_are_kept_once() {
    let plan = joined(
        "SELECT l.did FROM b l JOIN b r ON l.did = r.did JOIN a ON a.did = l.did
         WHERE EXISTS (SELECT 1 FROM b WHERE b.did = l.did)",
    );
    let plan = plan.unwrap_or_else(|wrong| panic!("{wrong}"));
    let kinds = plan.operators.iter().filter_map(|operator| match operator {
        Operator::Join(join) => Some((join.kind, join.left, join.right)),
        _ => None,
    });
    let kinds: Vec<_> = kinds.collect();
    assert_eq!(kinds[0], (JoinKind::Inner, 0, 0), "both sides are the arrangement of the view itself");
    assert_eq!(kinds[2].2, 0, "and so is what EXISTS looks into");
    assert!(plan.arrangements[0].served);
    insta::assert_snapshot!(explain(&plan));
}

#[test]
fn joins_that_cannot_be_kept_are_refused_with_a_hint() {
    let wrong = [
        "SELECT a.did FROM telemetry JOIN a ON a.did = telemetry.did",
        "SELECT b.did FROM b, c",
        "SELECT b.did FROM b CROSS JOIN c",
        "SELECT b.did FROM b JOIN c ON b.y > c.k",
        "SELECT b.did FROM b JOIN c ON b.y = 5",
        "SELECT b.did FROM b LEFT JOIN c ON b.y IS NOT DISTINCT FROM c.k",
        "SELECT b.did FROM b, c WHERE b.y = c.k OR b.flag",
        "SELECT b.did FROM b JOIN c ON b.did = c.k",
        "SELECT b.did FROM b JOIN c ON b.flag = c.k",
        "SELECT b.did FROM b JOIN c ON b.at = c.k",
        "SELECT b.did FROM b JOIN c USING (k)",
        "SELECT b.did FROM b FULL JOIN a USING (did)",
        "SELECT b.did FROM b NATURAL JOIN a",
        "SELECT b.did FROM b LEFT SEMI JOIN a ON a.did = b.did",
        "SELECT b.did FROM b, LATERAL (SELECT x FROM a WHERE a.did = b.did) AS l",
        "SELECT b.did FROM b JOIN a FOR SYSTEM_TIME AS OF b.at ON a.did = b.did",
        "SELECT b.did FROM b JOIN b ON b.did = b.did",
        "SELECT did FROM a JOIN b ON a.did = b.did",
        "SELECT a.did, b.did FROM a JOIN b ON a.did = b.did",
        "SELECT a.did FROM a JOIN b ON a.did = b.did AND max(a.x) > 1",
        "SELECT a.did FROM a JOIN b ON a.did = b.did AND a.t",
        "SELECT a.did FROM a JOIN b ON a.did = b.did AND a.t > b.y",
        "SELECT a.did FROM a JOIN (SELECT did, y + 1 FROM b) AS s ON a.did = s.did",
        "SELECT a.did FROM a JOIN missing ON a.did = missing.did",
        "SELECT did FROM b WHERE flag OR did IN (SELECT did FROM a)",
        "SELECT did, did IN (SELECT did FROM a) AS known FROM b",
        "SELECT did FROM b WHERE y > (SELECT total FROM one)",
        "SELECT did FROM b WHERE y NOT IN (SELECT k FROM c)",
        "SELECT did FROM b WHERE did NOT IN (SELECT t FROM a)",
        "SELECT did FROM b WHERE did IN (SELECT k FROM c)",
        "SELECT did FROM b WHERE did IN (SELECT did, x FROM a)",
        "SELECT did FROM b WHERE did IN (SELECT did FROM telemetry)",
        "SELECT did FROM b WHERE EXISTS (SELECT max(x) AS m FROM a WHERE a.did = b.did)",
        "SELECT did FROM b WHERE EXISTS (SELECT b.y + a.x AS m FROM a)",
        "SELECT did FROM b WHERE EXISTS (SELECT 1 FROM missing WHERE missing.did = b.did)",
        "SELECT did FROM b WHERE EXISTS (SELECT 1 FROM a WHERE a.did = b.dod)",
        "SELECT now() AS t, a.did FROM a JOIN b ON a.did = b.did",
    ];
    let shown = wrong.map(|query| match joined(query) {
        Ok(_) => panic!("nothing is wrong with {query}"),
        Err(wrong) => wrong,
    });
    insta::assert_snapshot!(shown.join("----\n"));
}

#[test]
fn a_view_that_says_so_keeps_every_event() {
    let view = |options: &str| {
        let select = "SELECT t.did, i, y FROM telemetry t JOIN b ON b.did = t.did";
        let sink = "CREATE SINK s FROM v WITH (connector = 'stdout');";
        let text = format!("{TELEMETRY}{VIEWS}CREATE VIEW v {options} AS {select}; {sink}");
        compiled(&text).map_err(|wrong| wrong.to_string())
    };
    let plan = view("WITH (state_retention = 'unbounded')").unwrap_or_else(|wrong| panic!("{wrong}"));
    let kept: Vec<_> = plan.arrangements.iter().map(|kept| kept.name.as_str()).collect();
    assert_eq!(kept, ["b/view", "c/view", "v/left"], "the events, beside the views");
    let wrong = view("").expect_err("the events are not said to be kept");
    assert!(wrong.contains("CREATE VIEW v WITH (state_retention = 'unbounded') AS"), "{wrong}");
}

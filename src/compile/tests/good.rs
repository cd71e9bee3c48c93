//! Plans of good files, as `explain` shows them.

use super::compiled;
use crate::compile::explain::explain;

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
    assert_eq!(plan.aggregations[0].name, "vehicle_latest_state/aggregate");
    insta::assert_snapshot!(explain(&plan));
}

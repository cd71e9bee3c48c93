//! Plans and data that the benchmarks share.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{UInt32Array, UInt64Array};
use tidemill::batch::{Batch, Origin};
use tidemill::compile::{Request, compile};
use tidemill::ingest::fleet::Fleet;
use tidemill::parse::decoder;
use tidemill::plan::{Leg, Plan, Shape, Simulator};
use tidemill::record::{Chunk, Partition, Record};
use tidemill::time::EpochClose;
use tidemill::transform::steps::Steps;
use tidemill::transform::{Operator, Output, Progress};

/// Records of a chunk, as consumer threads cut them.
pub const RECORDS: usize = 8_192;

/// Latest states of vehicles, read live and written to MongoDB; and all events, as they came.
pub const VEHICLES: &str = r#"
CREATE SOURCE telemetry (
    did          TEXT      NOT NULL,
    name         TEXT      NOT NULL,
    float_value  DOUBLE,
    string_value TEXT,
    int_value    BIGINT,
    "eventTime"  TIMESTAMP NOT NULL,
    payload      JSON      METADATA FROM 'payload',
    WATERMARK FOR "eventTime" AS "eventTime" - INTERVAL '10 seconds'
) WITH (connector = 'kafka', topic = 'telemetry', format = 'json');

CREATE MATERIALIZED VIEW latest AS
SELECT did, max("eventTime") AS "eventTime",
       last_value(float_value ORDER BY "eventTime") FILTER (WHERE name = 'odometer')        AS odo,
       last_value(int_value   ORDER BY "eventTime") FILTER (WHERE name = 'soc')             AS soc,
       last_value(int_value   ORDER BY "eventTime") FILTER (WHERE name = 'speed')           AS speed,
       last_value(int_value   ORDER BY "eventTime") FILTER (WHERE name = 'ignition_status') AS ignition
FROM telemetry GROUP BY did;

CREATE SINK states FROM latest WITH (connector = 'mongodb', collection = 'states', mode = 'upsert');

CREATE SINK history AS SELECT payload FROM telemetry
WITH (connector = 'mongodb', collection = 'history', mode = 'append', document = 'payload');
"#;

/// The plan of a dataflow.
pub fn plan(text: &str) -> Plan {
    let request = Request {
        file: "bench.sql",
        text,
        name: "bench",
        directory: Path::new("."),
        parameters: &BTreeMap::new(),
    };
    compile(&request).expect("a good dataflow")
}

/// Events of vehicles as devices send them.
pub fn events(count: usize, keys: u64) -> Vec<Vec<u8>> {
    let simulator = Simulator { count: Some(count as u64), rate: 0, keys, ..Simulator::of(Shape::Vehicles) };
    let events: Vec<Vec<u8>> = Fleet::new(&simulator, 1_800_000_000_000).map(|record| record.value).collect();
    assert_eq!(events.len(), count);
    events
}

/// Events as the only source of a plan decodes them.
pub fn decode(plan: &Plan, events: &[Vec<u8>]) -> Chunk {
    let mut decoder = decoder(Arc::new(plan.sources[0].clone()), partition());
    for (offset, event) in events.iter().enumerate() {
        decoder.push(&Record::of(offset as u64, event));
    }
    let chunk = decoder.finish();
    assert_eq!((chunk.rows.num_rows(), &chunk.rejects), (events.len(), &Vec::new()));
    chunk
}

/// The partition that all events come from.
pub fn partition() -> Partition {
    Partition { id: 0, name: "telemetry".into(), number: 0 }
}

/// A chunk as a batch, cut as it stands.
pub fn batch(chunk: Chunk) -> Batch {
    let rows = chunk.rows.num_rows();
    let origin = Origin {
        source: 0,
        index: 0,
        partition: UInt32Array::from_value(0, rows),
        offset: UInt64Array::from_iter_values(0..rows as u64),
    };
    Batch::inserts(chunk.rows, Some(origin), 0)
}

/// What the filters and projections of a leg leave of a batch.
pub fn through(leg: &Leg, batch: Batch) -> Batch {
    let mut out = Output::default();
    Steps::new(leg.name.clone(), leg.steps.clone()).apply(batch, &mut out);
    assert!(out.letters.is_empty(), "no row fails");
    out.batches.pop().expect("rows are left")
}

/// Takes a batch through an epoch of an operator.
pub fn epoch(operator: &mut impl Operator, epoch: u64, batch: &Batch) -> Vec<Batch> {
    let mut out = Output::default();
    operator.on_batch(0, epoch, batch, &mut out);
    let close = EpochClose { epoch, wall_ms: 0, checkpoint: false, watermarks: Vec::new() };
    while operator.on_epoch(&close, &mut out) == Progress::More {}
    out.batches
}

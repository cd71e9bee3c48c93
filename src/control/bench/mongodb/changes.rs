//! What reaches two sinks of MongoDB from simulated vehicles, epoch by epoch.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{UInt32Array, UInt64Array};

use crate::batch::{Batch, Origin};
use crate::compile::{Request, compile};
use crate::control::bench::args::MongodbArgs;
use crate::control::bench::events::{Amount, Events, Noise};
use crate::error::{Error, Result};
use crate::parse::decoder;
use crate::plan::{Downstream, Plan, Sink, Upstream};
use crate::record::{Partition, PartitionNames, Record};
use crate::time::{Epoch, EpochClose};
use crate::transform::aggregate::KeyedState;
use crate::transform::steps::Steps;
use crate::transform::{Operator, Output, Progress};
use crate::write::{Changes, Op};

const DATAFLOW: &str = r#"
CREATE SOURCE telemetry (did TEXT NOT NULL, name TEXT NOT NULL, float_value DOUBLE, int_value BIGINT,
    "eventTime" TIMESTAMP NOT NULL, payload JSON METADATA FROM 'payload')
WITH (connector = 'kafka', topic = 'telemetry', format = 'json');

CREATE SINK history AS SELECT payload FROM telemetry
WITH (connector = 'mongodb', collection = 'history', mode = 'append', document = 'payload');

CREATE MATERIALIZED VIEW latest AS
SELECT did, max("eventTime") AS "eventTime",
       last_value(float_value ORDER BY "eventTime") FILTER (WHERE name = 'odometer')        AS odo,
       last_value(int_value   ORDER BY "eventTime") FILTER (WHERE name = 'soc')             AS soc,
       last_value(int_value   ORDER BY "eventTime") FILTER (WHERE name = 'speed')           AS speed,
       last_value(int_value   ORDER BY "eventTime") FILTER (WHERE name = 'ignition_status') AS ignition
FROM telemetry GROUP BY did;

CREATE SINK upsert FROM latest WITH (connector = 'mongodb', collection = 'latest', mode = 'upsert');
"#;
const START_MS: i64 = 1_800_000_000_000;

/// The dataflow and what it gives.
pub(super) struct Made {
    pub plan: Plan,
    pub partitions: Arc<PartitionNames>,
    history: Vec<Changes>,
    upsert: Vec<Changes>,
}

impl Made {
    /// The changes of each epoch for a sink.
    pub(super) fn of(&self, sink: &Sink) -> &[Changes] {
        if sink.name == "history" { &self.history } else { &self.upsert }
    }
}

/// Makes events and takes them through the dataflow.
pub(super) fn made(args: &MongodbArgs) -> Result<Made> {
    let request = Request {
        file: "mongodb.sql",
        text: DATAFLOW,
        name: "bench-mongodb",
        directory: Path::new("."),
        parameters: &Default::default(),
    };
    let plan = compile(&request)?;
    let source = Arc::new(plan.sources[0].clone());
    let amount = Amount {
        events: args.events,
        keys: args.keys,
        partitions: 1,
        seed: 1,
        rate: 0,
        noise: Noise::default(),
        start_ms: START_MS,
    };
    let mut events = Events::of(&source, amount).map(|event| event.value);
    let partition = Partition { id: 0, name: "telemetry".into(), number: 0 };
    let partitions = Arc::new(PartitionNames::default());
    partitions.add(0, &partition);
    let mut decoder = decoder(Arc::clone(&source), partition);
    let mut parts = Parts::new(&plan)?;
    let (mut history, mut upsert) = (Vec::new(), Vec::new());
    for epoch in 1.. {
        let first = (epoch - 1) * args.epoch;
        for (offset, event) in (first..).zip(events.by_ref().take(args.epoch as usize)) {
            decoder.push(&Record::of(offset, &event));
        }
        let chunk = decoder.finish();
        if chunk.is_empty() {
            break;
        }
        let origin = Origin {
            source: 0,
            index: 0,
            partition: UInt32Array::from_value(0, chunk.rows.num_rows()),
            offset: UInt64Array::clone(&chunk.offsets),
        };
        let batch = Batch::inserts(chunk.rows, Some(origin), 0);
        history.push(parts.history(batch.clone())?);
        upsert.push(parts.upsert(epoch, batch)?);
    }
    Ok(Made { plan, partitions, history, upsert })
}

/// The parts of the dataflow that rows pass.
struct Parts {
    to_history: Steps,
    to_latest: Steps,
    latest: KeyedState,
    to_upsert: Steps,
}

impl Parts {
    fn new(plan: &Plan) -> Result<Parts> {
        let steps = |from: Upstream, to: Downstream| {
            let leg = plan.legs.iter().find(|leg| leg.from == from && leg.to == to);
            let leg = leg.ok_or_else(|| Error::internal("the plan lacks a leg"))?;
            Ok::<_, Error>(Steps::new(leg.name.clone(), leg.steps.clone()))
        };
        let aggregation = plan.operators.first().and_then(|operator| operator.aggregation());
        let aggregation = aggregation.ok_or_else(|| Error::internal("the plan has no GROUP BY"))?;
        Ok(Parts {
            to_history: steps(Upstream::Source(0), Downstream::Sink(0))?,
            to_latest: steps(Upstream::Source(0), Downstream::Operator(0))?,
            latest: KeyedState::new(aggregation, 0, 1)?,
            to_upsert: steps(Upstream::Operator(0), Downstream::Sink(1))?,
        })
    }

    fn history(&mut self, batch: Batch) -> Result<Changes> {
        let mut out = Output::default();
        self.to_history.apply(batch, &mut out);
        let batch = joined(&out.batches)?;
        let origins =
            batch.origin.as_ref().map(|origin| (0..batch.len()).map(|row| origin.row(row)).collect());
        Ok(Changes { ops: vec![Op::Insert; batch.len()], rows: batch.rows, origins, wall_ms: 0 })
    }

    /// The rows that are there after an epoch and were not before it: what a sink with a key is given.
    fn upsert(&mut self, epoch: Epoch, batch: Batch) -> Result<Changes> {
        let mut out = Output::default();
        self.to_latest.apply(batch, &mut out);
        for batch in std::mem::take(&mut out.batches) {
            self.latest.on_batch(0, epoch, &batch, &mut out);
        }
        let close = EpochClose { epoch, wall_ms: 0, checkpoint: false, watermarks: Vec::new() };
        while self.latest.on_epoch(&close, &mut out) == Progress::More {}
        for batch in std::mem::take(&mut out.batches) {
            let added = (0..batch.len()).map(|row| Some(batch.diff(row) > 0)).collect();
            self.to_upsert.apply(batch.filter(&added).map_err(broken)?, &mut out);
        }
        let batch = joined(&out.batches)?;
        Ok(Changes { ops: vec![Op::Update; batch.len()], rows: batch.rows, origins: None, wall_ms: 0 })
    }
}

/// The one batch that a leg gives, or several of an epoch as one.
fn joined(batches: &[Batch]) -> Result<Batch> {
    match batches {
        [one] => Ok(one.clone()),
        [] => Err(Error::internal("an epoch without rows")),
        [first, ..] => {
            let rows = batches.iter().map(|batch| &batch.rows);
            let rows = arrow::compute::concat_batches(first.rows.schema_ref(), rows).map_err(broken)?;
            Ok(Batch::inserts(rows, None, 0))
        }
    }
}

fn broken(error: arrow::error::ArrowError) -> Error {
    Error::internal("cannot make the rows of a benchmark").caused_by(error)
}

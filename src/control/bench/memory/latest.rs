//! How many bytes the latest state of a key needs: of four fields, as keyed state alone and with the arrangement by
//! which it is read live.
//!
//! Each key gets a value of one field after the other, so that its row changes four times; then each changes once
//! more. In between all that an epoch leaves behind is taken up, as in a running dataflow.

use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use arrow::array::{
    ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray, TimestampNanosecondArray, UInt32Array,
    UInt64Array,
};
use serde_json::json;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::InputHandle;
use timely::dataflow::operators::probe::Handle;
use timely::dataflow::operators::{Input, Probe};
use timely::worker::Worker;

use super::{give_back, write_id};
use crate::batch::{Batch, Origin};
use crate::compile::{Request, compile};
use crate::control::bench::args::MemoryArgs;
use crate::control::failure::fatal;
use crate::control::progress;
use crate::control::samples::resident_in_use;
use crate::error::{Error, Result};
use crate::ledger::{Layout, Ledger};
use crate::plan::{Downstream, Plan};
use crate::time::{Epoch, EpochClose};
use crate::transform::aggregate::KeyedState;
use crate::transform::arrange::arrange;
use crate::transform::steps::Steps;
use crate::transform::view::ViewReader;
use crate::transform::{Operator, Output, Progress};

/// Rows of an epoch.
const EPOCH: u64 = 20_000;
const FIELDS: [&str; 4] = ["odometer", "soc", "speed", "ignition_status"];
const DATAFLOW: &str = r#"
CREATE SOURCE telemetry (did TEXT NOT NULL, name TEXT NOT NULL, float_value DOUBLE, int_value BIGINT,
    "eventTime" TIMESTAMP NOT NULL)
WITH (connector = 'kafka', topic = 'telemetry', format = 'json');
CREATE MATERIALIZED VIEW latest AS
SELECT did, max("eventTime") AS "eventTime",
       last_value(float_value ORDER BY "eventTime") FILTER (WHERE name = 'odometer')        AS odo,
       last_value(int_value   ORDER BY "eventTime") FILTER (WHERE name = 'soc')             AS soc,
       last_value(int_value   ORDER BY "eventTime") FILTER (WHERE name = 'speed')           AS speed,
       last_value(int_value   ORDER BY "eventTime") FILTER (WHERE name = 'ignition_status') AS ignition
FROM telemetry GROUP BY did;
"#;

/// Fills the state and prints what it needs.
pub(super) fn run(args: &MemoryArgs, arranged: bool) -> Result<()> {
    let args = args.clone();
    timely::execute_directly(move |worker| measure(&args, arranged, worker))
}

fn measure(args: &MemoryArgs, arranged: bool, worker: &mut Worker) -> Result<()> {
    let keys = args.ids.unwrap_or(1_000_000);
    // What the first epochs allocate once and for all is no key.
    let mut warm = Load::new(worker, args.id_bytes, EPOCH, arranged)?;
    warm.round(worker, 0)?;
    warm.close(worker);

    let before = resident_in_use()?;
    let mut load = Load::new(worker, args.id_bytes, keys, arranged)?;
    let began = Instant::now();
    let mut peak = 0;
    for field in 0..FIELDS.len() {
        peak = peak.max(load.round(worker, field)?);
    }
    let rows_s = (keys * FIELDS.len() as u64) as f64 / began.elapsed().as_secs_f64();
    give_back();
    let filled = resident_in_use()?;
    let steady_peak = load.round(worker, 0)?;
    give_back();
    let steady = resident_in_use()?;
    if load.state.rows_in_state() != ((FIELDS.len() + 1) as i64) * keys as i64 {
        return Err(Error::internal("the state does not hold the rows that it was given"));
    }
    load.close(worker);

    let each = |resident: u64| resident.saturating_sub(before) as f64 / keys as f64;
    let (at_fill, at_peak) = (each(filled), each(peak));
    let (at_steady, at_steady_peak) = (each(steady), each(steady_peak));
    let report = json!({
        "id_bytes": args.id_bytes, "keys": keys, "fields": FIELDS.len(), "arranged": arranged,
        "filled": { "bytes_each": at_fill, "peak_bytes_each": at_peak },
        "steady": { "bytes_each": at_steady, "peak_bytes_each": at_steady_peak },
        "rows_s": rows_s,
    });
    progress::say(&if args.json {
        format!("{report}\n")
    } else {
        let what = if arranged { "state and arrangement" } else { "state" };
        format!(
            "{keys} keys of {} bytes with 4 fields, {what}: resident bytes for each key\n\
             filled     {at_fill:>6.1}   {at_peak:>6.1} at most   {rows_s:.0} rows/s\n\
             going on   {at_steady:>6.1}   {at_steady_peak:>6.1} at most\n",
            args.id_bytes
        )
    });
    Ok(())
}

/// A latest state that is filled.
struct Load {
    plan: Plan,
    steps: Steps,
    state: KeyedState,
    view: Option<View>,
    id_bytes: usize,
    keys: u64,
    rows: u64,
    epoch: Epoch,
}

/// The arrangement behind it.
struct View {
    input: InputHandle<Epoch, CapacityContainerBuilder<Vec<(u16, Batch)>>>,
    probe: Handle<Epoch>,
    reader: ViewReader,
}

impl Load {
    fn new(worker: &mut Worker, id_bytes: usize, keys: u64, arranged: bool) -> Result<Load> {
        let request = Request {
            file: "latest.sql",
            text: DATAFLOW,
            name: "latest",
            directory: Path::new("."),
            parameters: &Default::default(),
        };
        let plan = compile(&request)?;
        let aggregation = plan.operators[0].aggregation();
        let aggregation = aggregation.ok_or_else(|| Error::internal("the plan has no GROUP BY"))?;
        let state = KeyedState::new(aggregation, 0, 1)?;
        let steps = Steps::new("telemetry->latest", plan.legs[0].steps.clone());
        let view = arranged.then(|| View::new(&plan, worker)).transpose()?;
        Ok(Load { plan, steps, state, view, id_bytes, keys, rows: 0, epoch: 0 })
    }

    /// Gives each key a value of a field. Returns the greatest resident size on the way.
    fn round(&mut self, worker: &mut Worker, field: usize) -> Result<u64> {
        let mut peak = 0;
        for first in (0..self.keys).step_by(EPOCH as usize) {
            let batch = self.batch(first..(first + EPOCH).min(self.keys), field)?;
            self.epoch += 1;
            let mut out = Output::default();
            self.steps.apply(batch, &mut out);
            for batch in std::mem::take(&mut out.batches) {
                self.state.on_batch(0, self.epoch, &batch, &mut out);
            }
            let close =
                EpochClose { epoch: self.epoch, wall_ms: 0, checkpoint: false, watermarks: Vec::new() };
            while self.state.on_epoch(&close, &mut out) == Progress::More {}
            if let Some(view) = &mut self.view {
                view.pass(worker, out.batches, self.epoch);
            }
            peak = peak.max(resident_in_use()?);
        }
        Ok(peak)
    }

    fn batch(&mut self, keys: std::ops::Range<u64>, field: usize) -> Result<Batch> {
        let rows = (keys.end - keys.start) as usize;
        let numbers: Vec<u64> = (self.rows..self.rows + rows as u64).collect();
        self.rows += rows as u64;
        let mut id = String::new();
        let ids: StringArray = keys
            .map(|key| {
                write_id(&mut id, key, self.id_bytes);
                Some(id.clone())
            })
            .collect();
        let times = numbers.iter().map(|number| *number as i64 * 1_000_000);
        let columns: Vec<ArrayRef> = vec![
            Arc::new(ids),
            Arc::new(StringArray::from(vec![FIELDS[field]; rows])),
            Arc::new(Float64Array::from_iter_values(numbers.iter().map(|number| *number as f64))),
            Arc::new(Int64Array::from_iter_values(numbers.iter().map(|number| *number as i64))),
            Arc::new(TimestampNanosecondArray::from_iter_values(times)),
        ];
        let partition = UInt32Array::from_value(0, rows);
        let origin = Origin { source: 0, index: 0, partition, offset: UInt64Array::from(numbers) };
        let rows = RecordBatch::try_new(self.plan.sources[0].schema.clone(), columns)
            .map_err(|error| Error::internal("cannot make rows").caused_by(error))?;
        Ok(Batch::inserts(rows, Some(origin), 0))
    }

    fn close(self, worker: &mut Worker) {
        if let Some(view) = self.view {
            let View { input, probe, reader } = view;
            drop(reader);
            input.close();
            worker.step_while(|| !probe.done());
        }
    }
}

impl View {
    fn new(plan: &Plan, worker: &mut Worker) -> Result<View> {
        let mut input = InputHandle::new();
        let reader = Rc::new(RefCell::new(None));
        let probe = worker.dataflow(|scope| {
            let rows = scope.input_from(&mut input);
            let ledger = Ledger::new(Arc::new(Layout::new(plan)));
            let account = ledger.layout().account(Downstream::Arrangement(0));
            let (kept, _, counted) = arrange(rows, &plan.arrangements[0], true, (account, ledger), fatal)?;
            *reader.borrow_mut() = Some(ViewReader::new(&plan.views[0], &kept)?);
            Ok::<_, Error>(counted.probe().0)
        })?;
        let reader = reader.take().ok_or_else(|| Error::internal("nobody reads the view"))?;
        Ok(View { input, probe, reader })
    }

    fn pass(&mut self, worker: &mut Worker, batches: Vec<Batch>, epoch: Epoch) {
        self.input.advance_to(epoch);
        batches.into_iter().for_each(|batch| self.input.send((0, batch)));
        self.input.advance_to(epoch + 1);
        worker.step_while(|| self.probe.less_than(&(epoch + 1)));
        self.reader.compact(epoch + 1);
        // What is merged in the background is merged while the next epoch is waited for.
        worker.step();
    }
}

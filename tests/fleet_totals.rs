//! The cost of a changed vehicle in `dataflows/fleet_totals` does not grow with the fleet: what its operators take
//! in and give out for the same changes is the same with 1,000 vehicles and with 100,000.
//!
//! `cargo test --release --test fleet_totals -- --ignored --nocapture` measures the time, too.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{
    ArrayRef, Int64Array, RecordBatch, StringArray, TimestampNanosecondArray, UInt32Array, UInt64Array,
};
use tidemill::batch::{Batch, Origin};
use tidemill::compile::{Request, compile};
use tidemill::plan::{self, Downstream, Plan, Upstream};
use tidemill::time::EpochClose;
use tidemill::transform::aggregate::KeyedState;
use tidemill::transform::steps::Steps;
use tidemill::transform::{Operator, Output, Progress};

const SMALL: usize = 1_000;
const LARGE: usize = 100_000;
/// Vehicles that change in one epoch.
const CHANGED: usize = 10;
const SIGNALS: [&str; 3] = ["soc", "speed", "ignition_status"];

/// An event: vehicle, signal, value.
type Event = (usize, &'static str, i64);

/// The two aggregations of the dataflow, one behind the other, on one worker.
struct Fleet {
    plan: Plan,
    states: [KeyedState; 2],
    epoch: u64,
    records: u64,
}

/// Rows that one epoch has moved: out of the latest states, into the totals, out of the totals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Moved {
    changes: usize,
    folded: usize,
    totals: usize,
}

impl Fleet {
    /// A fleet of which every vehicle has sent each signal once.
    fn of(vehicles: usize) -> Fleet {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("dataflows/fleet_totals");
        let text = fs::read_to_string(directory.join("dataflow.sql")).expect("the dataflow");
        let (file, name, parameters) = ("dataflow.sql", "fleet_totals", BTreeMap::new());
        let request = Request { file, text: &text, name, directory: &directory, parameters: &parameters };
        let plan = compile(&request).unwrap_or_else(|errors| panic!("{errors:?}"));
        assert_eq!(plan.operators.len(), 2, "latest states, and totals over them");
        let states = [0, 1].map(|index| {
            let aggregation = plan.operators[index].aggregation().expect("a GROUP BY");
            KeyedState::new(aggregation, 0, 1).expect("a state")
        });
        let mut fleet = Fleet { plan, states, epoch: 0, records: 0 };
        let each = |vehicle: usize| SIGNALS.map(|name| (vehicle, name, (vehicle % 2) as i64));
        fleet.epoch(&(0..vehicles).flat_map(each).collect::<Vec<_>>());
        fleet
    }

    /// One epoch with these events.
    fn epoch(&mut self, events: &[Event]) -> Moved {
        self.epoch += 1;
        let batch = self.batch(events);
        let changes = self.aggregate(0, Upstream::Source(0), vec![batch]);
        let rows = |batches: &[Batch]| batches.iter().map(Batch::len).sum();
        let mut moved = Moved { changes: rows(&changes), ..Moved::default() };
        let leg = self.plan.legs.iter().find(|leg| leg.to == Downstream::Operator(1)).expect("a leg");
        let mut out = Output::default();
        let mut steps = Steps::new("leg", leg.steps.clone());
        changes.into_iter().for_each(|batch| steps.apply(batch, &mut out));
        moved.folded = rows(&out.batches);
        moved.totals = rows(&self.aggregate(1, Upstream::Operator(0), out.batches));
        moved
    }

    fn aggregate(&mut self, index: usize, from: Upstream, batches: Vec<Batch>) -> Vec<Batch> {
        let reads = |leg: &&plan::Leg| leg.to == Downstream::Operator(index);
        assert!(self.plan.legs.iter().filter(reads).all(|leg| leg.from == from), "one reads the other");
        let close = EpochClose { epoch: self.epoch, wall_ms: 0, watermarks: Vec::new(), checkpoint: false };
        let (state, mut out) = (&mut self.states[index], Output::default());
        batches.iter().for_each(|batch| state.on_batch(0, close.epoch, batch, &mut out));
        while state.on_epoch(&close, &mut out) == Progress::More {}
        // The driver asks after every epoch; it must not cost a look at every group either.
        state.rows_in_state();
        assert!(out.letters.is_empty());
        out.batches
    }

    fn batch(&mut self, events: &[Event]) -> Batch {
        let first = self.records;
        self.records += events.len() as u64;
        let times = (first..self.records).map(|record| record as i64);
        let columns: Vec<ArrayRef> = vec![
            Arc::new(StringArray::from_iter_values(events.iter().map(|(did, ..)| format!("v{did}")))),
            Arc::new(StringArray::from_iter_values(events.iter().map(|(_, name, _)| name))),
            Arc::new(Int64Array::from_iter_values(events.iter().map(|(.., value)| *value))),
            Arc::new(TimestampNanosecondArray::from_iter_values(times)),
        ];
        let rows = RecordBatch::try_new(self.plan.sources[0].schema.clone(), columns).expect("the columns");
        let origin = Origin {
            source: 0,
            index: 0,
            partition: UInt32Array::from(vec![0; events.len()]),
            offset: UInt64Array::from_iter_values(first..self.records),
        };
        Batch::inserts(rows, Some(origin), 0)
    }
}

/// What changes in epoch `number`: some vehicles start or stop, some only get slower or are charged.
fn changes(number: usize) -> Vec<Event> {
    let event = |index: usize| {
        let vehicle = (number * CHANGED + index) * 7 % SMALL;
        let name = SIGNALS[(number + index) % SIGNALS.len()];
        (vehicle, name, ((number + index) % 3 + 2) as i64)
    };
    (0..CHANGED).map(event).collect()
}

#[test]
fn a_changed_vehicle_moves_as_many_rows_in_a_large_fleet() {
    let (mut small, mut large) = (Fleet::of(SMALL), Fleet::of(LARGE));
    let mut all = Moved::default();
    for number in 0..200 {
        let (in_small, in_large) = (small.epoch(&changes(number)), large.epoch(&changes(number)));
        // Each changed vehicle: its old row and its new one.
        assert_eq!(in_small.changes, 2 * CHANGED, "epoch {number}");
        assert_eq!(in_small.folded, 2 * CHANGED, "epoch {number}");
        assert_eq!(
            (in_small.changes, in_small.folded),
            (in_large.changes, in_large.folded),
            "epoch {number}"
        );
        for moved in [in_small, in_large] {
            // Groups 0 to 4 of ignition, old and new row of each.
            assert!(moved.totals <= 2 * 5, "epoch {number}: {moved:?}");
        }
        all.totals += in_large.totals;
    }
    assert!(all.totals > 200, "totals change with the vehicles: {all:?}");
}

#[test]
#[ignore = "measures; see docs/benchmarks.md"]
fn measure_a_changed_vehicle() {
    const EPOCHS: usize = 5_000;
    for vehicles in [SMALL, LARGE] {
        let mut fleet = Fleet::of(vehicles);
        let epochs: Vec<_> = (0..EPOCHS).map(changes).collect();
        let mut best = Duration::MAX;
        for _ in 0..5 {
            let begin = Instant::now();
            epochs.iter().for_each(|events| _ = fleet.epoch(events));
            best = best.min(begin.elapsed());
        }
        let each_ns = best.as_nanos() / (EPOCHS * CHANGED) as u128;
        println!("{vehicles} vehicles, {CHANGED} changed per epoch: {each_ns} ns per changed vehicle");
    }
}

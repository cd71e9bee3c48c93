//! Rows by key: 1,000 of 100,000 vehicles change in an epoch, and rows are looked up by key.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use criterion::{Criterion, Throughput};
use tidemill::batch::Batch;
use tidemill::canonical;
use tidemill::error::Error;
use tidemill::ledger::{Layout, Ledger};
use tidemill::plan::{Downstream, Plan};
use tidemill::time::Epoch;
use tidemill::transform::arrange::arrange;
use tidemill::transform::view::ViewReader;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::InputHandle;
use timely::dataflow::operators::probe::Handle;
use timely::dataflow::operators::{Input, Probe};
use timely::worker::Worker;

use crate::common::plan;

const KEYS: i64 = 100_000;
const CHANGES: i64 = 1_000;

const DATAFLOW: &str = r#"
CREATE SOURCE states (did TEXT NOT NULL, soc BIGINT NOT NULL)
WITH (connector = 'kafka', topic = 'states', format = 'json');
CREATE MATERIALIZED VIEW latest AS SELECT did, max(soc) AS soc FROM states GROUP BY did;
"#;

/// The changes of an epoch: keys from `first` on get another row.
fn changes(plan: &Plan, first: i64, epoch: i64) -> Batch {
    let change = |number: i64| (first + number / 2, if number % 2 == 0 { -1 } else { 1 });
    rows(plan, (0..2 * CHANGES).map(change), epoch)
}

fn rows(plan: &Plan, rows: impl Iterator<Item = (i64, i64)>, epoch: i64) -> Batch {
    let (keys, diffs): (Vec<i64>, Vec<i64>) = rows.unzip();
    let dids: StringArray = keys.iter().map(|key| Some(did(*key))).collect();
    // A row that goes is that of the round before.
    let round = |(key, diff): (&i64, &i64)| (epoch * CHANGES + KEYS - 1 - key) / KEYS + i64::from(*diff > 0);
    let socs = Int64Array::from_iter_values(keys.iter().zip(&diffs).map(round));
    let columns: Vec<ArrayRef> = vec![Arc::new(dids), Arc::new(socs)];
    let rows = RecordBatch::try_new(plan.views[0].schema.clone(), columns).expect("columns of the view");
    Batch { rows, diffs: Some(diffs.into()), origin: None, wall_ms: 0 }
}

fn did(key: i64) -> String {
    format!("vehicle-{key:08}")
}

fn fail(error: &Error) -> ! {
    panic!("{error}")
}

/// An arrangement with a row of each key, whose past is forgotten as in a running dataflow.
struct View {
    plan: Plan,
    input: InputHandle<Epoch, CapacityContainerBuilder<Vec<(u16, Batch)>>>,
    probe: Handle<Epoch>,
    reader: ViewReader,
    epoch: Epoch,
}

impl View {
    fn new(worker: &mut Worker) -> View {
        let plan = plan(DATAFLOW);
        let mut input = InputHandle::new();
        let reader = Rc::new(RefCell::new(None));
        let probe = worker.dataflow(|scope| {
            let rows = scope.input_from(&mut input);
            let ledger = Ledger::new(Arc::new(Layout::new(&plan)));
            let account = ledger.layout().account(Downstream::Arrangement(0));
            let built =
                arrange(rows, &plan.arrangements[0], true, (account, ledger), fail).expect("a good plan");
            let (kept, _, counted) = built;
            *reader.borrow_mut() = Some(ViewReader::new(&plan.views[0], &kept).expect("a good plan"));
            counted.probe().0
        });
        let reader = reader.take().expect("it was built");
        let mut view = View { plan, input, probe, reader, epoch: 0 };
        let all = rows(&view.plan, (0..KEYS).map(|key| (key, 1)), -1);
        view.pass(worker, all);
        view
    }

    /// Takes an epoch through.
    fn pass(&mut self, worker: &mut Worker, batch: Batch) {
        self.input.send((0, batch));
        self.epoch += 1;
        self.input.advance_to(self.epoch);
        let (epoch, probe) = (self.epoch, &self.probe);
        worker.step_while(|| probe.less_than(&epoch));
        self.reader.compact(epoch);
    }
}

/// How long `rounds` of 1,000 changed keys take.
fn insert(rounds: u64) -> Duration {
    timely::execute_directly(move |worker| {
        let mut view = View::new(worker);
        let mut taken = Duration::ZERO;
        for round in 0..rounds as i64 {
            let batch = changes(&view.plan, round * CHANGES % KEYS, round);
            let began = Instant::now();
            view.pass(worker, batch);
            taken += began.elapsed();
        }
        view.input.close();
        taken
    })
}

/// How long it takes to look up `rounds` times 1,000 keys.
fn look_up(rounds: u64) -> Duration {
    timely::execute_directly(move |worker| {
        let mut view = View::new(worker);
        let keys: Vec<Vec<u8>> = (0..CHANGES)
            .map(|number| {
                let key: ArrayRef = Arc::new(StringArray::from(vec![did(number * 7_919 % KEYS)]));
                canonical::encode(&[key], 1).row(0).to_vec()
            })
            .collect();
        let began = Instant::now();
        for _ in 0..rounds {
            for key in &keys {
                assert!(view.reader.get(key, view.epoch).expect("a good arrangement").is_some());
            }
        }
        let taken = began.elapsed();
        view.input.close();
        taken
    })
}

pub fn all(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("arrangement");
    group.throughput(Throughput::Elements(CHANGES as u64));
    group.bench_function("insert", |bencher| bencher.iter_custom(insert));
    group.bench_function("look up", |bencher| bencher.iter_custom(look_up));
    group.finish();
}

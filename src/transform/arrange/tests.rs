use std::cell::Cell;

use arrow::array::{Int64Array, RecordBatch};
use arrow::datatypes::{Field, Schema};
use datafusion_common::ScalarValue;
use datafusion_expr::Operator as Op;
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_expr::expressions::{BinaryExpr, Column, Literal};
use timely::dataflow::InputHandle;
use timely::dataflow::operators::{Input, Inspect, Probe};

use super::*;
use crate::ledger::{Layout, LedgerReport};
use crate::plan::{Downstream, Leg, Plan, Upstream};

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, true)]))
}

/// A view by `10 / n`, which fails for 0.
fn plan() -> Plan {
    let n: Arc<dyn PhysicalExpr> = Arc::new(Column::new("n", 0));
    let ten: Arc<dyn PhysicalExpr> = Arc::new(Literal::new(ScalarValue::from(10_i64)));
    let key = Expr {
        physical: Arc::new(BinaryExpr::new(ten, Op::Divide, n)),
        text: "10 / n".into(),
        uses_now: false,
    };
    let arrangement = Arrangement {
        name: "v/view".into(),
        schema: schema(),
        key: vec![key],
        key_types: vec![DataType::Int64],
        served: true,
    };
    let leg = Leg {
        name: "v->view".into(),
        from: Upstream::Operator(0),
        steps: Vec::new(),
        to: Downstream::Arrangement(0),
        port: 0,
        branch: 0,
        branches: 1,
        schema: schema(),
        sources: Vec::new(),
    };
    Plan {
        name: "test".into(),
        directory: ".".into(),
        sources: Vec::new(),
        operators: Vec::new(),
        arrangements: vec![arrangement],
        views: Vec::new(),
        sinks: Vec::new(),
        legs: vec![leg],
    }
}

fn fail(error: &Error) -> ! {
    panic!("{error}")
}

fn batch(rows: &[(i64, i64)]) -> Batch {
    let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(rows.iter().map(|(n, _)| *n)));
    let diffs = Int64Array::from_iter_values(rows.iter().map(|(_, diff)| *diff));
    let rows = RecordBatch::try_new(schema(), vec![numbers]).expect("one column");
    Batch { rows, diffs: Some(diffs), origin: None, wall_ms: 0 }
}

/// What is counted, what is kept, and the epoch of the changes that came last.
#[derive(Debug, PartialEq)]
struct Ran {
    emitted: i64,
    dead: i64,
    letters: usize,
    last: Option<Epoch>,
    rows: usize,
    bytes: u64,
}

fn run(is_read: bool) -> Ran {
    timely::execute_directly(move |worker| {
        let plan = plan();
        let ledger = Ledger::new(Arc::new(Layout::new(&plan)));
        let account = ledger.layout().account(Downstream::Arrangement(0));
        let letters = Rc::new(Cell::new(0));
        let mut input = InputHandle::<Epoch, CapacityContainerBuilder<Vec<(u16, Batch)>>>::new();
        let (probe, kept) = worker.dataflow(|scope| {
            let rows = scope.input_from(&mut input);
            let counts = (account, ledger.clone());
            let built = arrange(rows, &plan.arrangements[0], is_read, counts, fail).expect("arranges");
            let (Kept { arranged, last }, out, counted) = built;
            let seen = letters.clone();
            let _ = out.inspect(move |_| seen.set(seen.get() + 1));
            (counted.probe().0, (arranged.trace.clone(), last))
        });
        let (mut trace, last) = kept;
        input.advance_to(1);
        input.send((0, batch(&[(1, 1), (2, 1), (0, 1), (5, 1)])));
        input.advance_to(2);
        input.send((0, batch(&[(2, -1), (4, 1), (0, -1)])));
        input.send((0, batch(&[(0, 1), (4, -1)])));
        input.advance_to(3);
        worker.step_while(|| probe.less_than(&3));
        let (mut cursor, storage) = trace.cursor();
        let mut rows = 0;
        while cursor.get_key(&storage).is_some() {
            let mut sum = 0;
            cursor.map_times(&storage, |_, diff| sum += *diff);
            rows += usize::from(sum > 0);
            cursor.step_key(&storage);
        }
        drop((input, trace));
        let counts = ledger.settle(None);
        let report = LedgerReport::new(ledger.layout(), [&counts]);
        let count = |fate| report.count(Downstream::Arrangement(0), fate);
        Ran {
            emitted: count(Fate::Emitted),
            dead: count(Fate::Dead),
            letters: letters.get(),
            last: last.borrow().as_ref().map(|(epoch, _)| *epoch),
            rows,
            bytes: report.state_bytes(Downstream::Arrangement(0)).unsigned_abs(),
        }
    })
}

#[test]
fn what_nobody_reads_is_counted_and_not_kept() {
    let read = run(true);
    assert_eq!((read.emitted, read.dead, read.letters, read.last, read.rows), (2, 1, 2, Some(2), 2));
    assert!(read.bytes > 0);
    assert_eq!(run(false), Ran { rows: 0, bytes: 0, ..read });
}

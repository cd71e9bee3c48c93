//! Brings the ledgers of all workers together on worker 0, settled up to what is confirmed.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use timely::container::CapacityContainerBuilder;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::{Exchange, Pipeline};
use timely::dataflow::operators::generic::Operator;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;

use crate::ledger::Ledger;
use crate::time::Epoch;

/// How often a worker reports at most; at the end it always does.
const INTERVAL: Duration = Duration::from_millis(200);

/// The counts of each worker, on worker 0.
pub type Settled = Rc<RefCell<Vec<Vec<i64>>>>;

/// Reports the ledger of this worker as `confirmed` advances.
pub fn settle<'s>(confirmed: StreamVec<'s, Epoch, ()>, ledger: Ledger) -> Settled {
    let scope = confirmed.scope();
    let worker = scope.index();
    let settled: Settled = Rc::new(RefCell::new(vec![Vec::new(); scope.peers()]));
    let mut builder = OperatorBuilder::new("Settle".to_owned(), scope);
    let activator = scope.activator_for(builder.operator_info().address);
    let _confirmed = builder.new_input(confirmed, Pipeline);
    let (output, reports) = builder.new_output_connection(std::iter::empty());
    let mut output = OutputBuilder::<_, CapacityContainerBuilder<Vec<(usize, Vec<i64>)>>>::from(output);
    builder.build(move |mut capabilities| {
        let mut capability = capabilities.pop();
        let mut last: Option<(Instant, Option<Epoch>)> = None;
        move |frontiers| {
            let Some(held) = &capability else { return };
            let frontier = frontiers[0].frontier().first().copied();
            let due = last.is_none_or(|(at, _)| at.elapsed() >= INTERVAL);
            let moved = last.is_none_or(|(_, reported)| reported != frontier);
            if moved && (due || frontier.is_none()) {
                output.activate().session(held).give((worker, ledger.settle(frontier)));
                last = Some((Instant::now(), frontier));
            } else if moved {
                activator.activate_after(INTERVAL);
            }
            if frontier.is_none() {
                capability = None;
            }
        }
    });
    let collected = settled.clone();
    reports.sink(Exchange::new(|_: &(usize, Vec<i64>)| 0), "Ledger", move |(input, _)| {
        input.for_each(|_, reports| {
            for (worker, counts) in reports.drain(..) {
                collected.borrow_mut()[worker] = counts;
            }
        });
    });
    settled
}

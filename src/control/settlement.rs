//! Brings the ledgers of all workers together on worker 0, settled up to what is confirmed.
//!
//! A row is counted on one worker where it is read and on another where its fate is decided. So all workers
//! report at the same epochs, and only a boundary that all have reported is published: the sum is exact at any
//! moment, not only at the end.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use timely::container::CapacityContainerBuilder;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::{Exchange, Pipeline};
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::operators::generic::{Operator, OutputBuilder};

use crate::ledger::Ledger;
use crate::time::Epoch;

/// Time between two boundaries, more or less; all processes have the same epoch interval.
const INTERVAL: Duration = Duration::from_millis(80);

/// The boundary behind all epochs.
const END: Epoch = Epoch::MAX;

/// The counts of a worker up to a boundary.
type Report = (usize, Epoch, Vec<i64>);

/// The counts of each worker up to the newest common boundary, on worker 0.
#[derive(Clone, Debug)]
pub struct Settled(Rc<RefCell<Reports>>);

#[derive(Debug)]
struct Reports {
    published: Vec<Vec<i64>>,
    waiting: Vec<BTreeMap<Epoch, Vec<i64>>>,
}

impl Settled {
    fn new(workers: usize) -> Self {
        let reports =
            Reports { published: vec![Vec::new(); workers], waiting: vec![BTreeMap::new(); workers] };
        Settled(Rc::new(RefCell::new(reports)))
    }

    /// The counts of each worker; empty as long as not all have reported.
    pub fn counts(&self) -> Vec<Vec<i64>> {
        self.0.borrow().published.clone()
    }

    fn add(&self, (worker, boundary, counts): Report) {
        let reports = &mut *self.0.borrow_mut();
        reports.waiting[worker].insert(boundary, counts);
        let newest = reports.waiting.iter().map(|of_worker| of_worker.keys().next_back().copied());
        let Some(common) = newest.min().flatten() else { return };
        if !reports.waiting.iter().all(|of_worker| of_worker.contains_key(&common)) {
            return; // A worker's first boundary may be a later one.
        }
        for (published, waiting) in reports.published.iter_mut().zip(&mut reports.waiting) {
            published.clone_from(&waiting[&common]);
            *waiting = waiting.split_off(&common);
        }
    }
}

/// Reports the ledger of this worker as `confirmed` advances.
pub fn settle<'s>(confirmed: StreamVec<'s, Epoch, ()>, ledger: Ledger, epoch_interval: Duration) -> Settled {
    let stride = (INTERVAL.as_millis() / epoch_interval.as_millis().max(1)).max(1) as Epoch;
    let scope = confirmed.scope();
    let worker = scope.index();
    let settled = Settled::new(scope.peers());
    let mut builder = OperatorBuilder::new("Settle".to_owned(), scope);
    let _confirmed = builder.new_input(confirmed, Pipeline);
    let (output, reports) = builder.new_output_connection(std::iter::empty());
    let mut output = OutputBuilder::<_, CapacityContainerBuilder<Vec<Report>>>::from(output);
    builder.build(move |mut capabilities| {
        let mut capability = capabilities.pop();
        let mut last: Option<Epoch> = None;
        move |frontiers| {
            let Some(held) = &capability else { return };
            let mut output = output.activate();
            let mut session = output.session(held);
            match frontiers[0].frontier().first() {
                Some(0) => {} // Nothing has been ticked.
                Some(frontier) => {
                    let newest = frontier / stride;
                    // Whatever was counted before the first boundary that we see belongs to it.
                    for boundary in last.map_or(newest, |last| last + 1)..=newest {
                        session.give((worker, boundary * stride, ledger.settle(Some(boundary * stride))));
                        last = Some(boundary);
                    }
                }
                None => session.give((worker, END, ledger.settle(None))),
            }
            drop(session);
            if frontiers[0].is_empty() {
                capability = None;
            }
        }
    });
    let collected = settled.clone();
    reports.sink(Exchange::new(|_: &Report| 0), "Ledger", move |(input, _)| {
        input.for_each(|_, reports| reports.drain(..).for_each(|report| collected.add(report)));
    });
    settled
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_boundary_that_all_workers_have_reported_is_published() {
        let settled = Settled::new(2);
        settled.add((0, 16, vec![1]));
        settled.add((0, 32, vec![5]));
        assert!(settled.counts().iter().all(Vec::is_empty), "the other worker has said nothing");
        settled.add((1, 16, vec![2]));
        assert_eq!(settled.counts(), [[1], [2]]);
        settled.add((1, 32, vec![6]));
        settled.add((1, END, vec![7]));
        assert_eq!(settled.counts(), [[5], [6]]);
        settled.add((0, END, vec![8]));
        assert_eq!(settled.counts(), [[8], [7]]);
    }
}

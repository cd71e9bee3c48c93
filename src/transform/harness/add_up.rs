//! The driver of the first phase of a GROUP BY, in front of the exchange.

use std::collections::BTreeMap;

use timely::container::CapacityContainerBuilder;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;

use crate::batch::Batch;
use crate::plan::Bound;
use crate::time::{Epoch, EpochClose, Watermark};
use crate::transform::aggregate::partial::Partials;

/// Adds up rows, or lets them pass, each with the input of the second phase that it is for.
///
/// With `closes` the rows of an epoch wait until all epochs before it have closed: then it is known which of them
/// are late. Without, nothing waits.
pub fn add_up<'s>(
    rows: StreamVec<'s, Epoch, Batch>,
    closes: Option<StreamVec<'s, Epoch, EpochClose>>,
    mut phase: Partials,
    bound: Option<Bound>,
    name: &str,
) -> StreamVec<'s, Epoch, (u16, Batch)> {
    let mut builder = OperatorBuilder::new(format!("Add up {name}"), rows.scope());
    let mut input = builder.new_input(rows, Pipeline);
    let mut closes = closes.map(|closes| builder.new_input(closes, Pipeline));
    let (parts, parts_stream) = builder.new_output();
    let mut parts = OutputBuilder::<_, CapacityContainerBuilder<Vec<(u16, Batch)>>>::from(parts);
    builder.build(move |capabilities| {
        drop(capabilities);
        let mut waiting: BTreeMap<Epoch, (Capability<Epoch>, Vec<Batch>)> = BTreeMap::new();
        let mut closed: BTreeMap<Epoch, Watermark> = BTreeMap::new();
        move |frontiers| {
            input.for_each(|capability, batches| {
                let epoch = *capability.time();
                let entry = waiting.entry(epoch).or_insert_with(|| (capability.retain(0), Vec::new()));
                entry.1.append(batches);
            });
            if let (Some(closes), Some(bound)) = (&mut closes, &bound) {
                closes.for_each(|_, closes| {
                    closed.extend(closes.drain(..).map(|close| (close.epoch, bound.at(&close.watermarks))));
                });
            }
            let mut parts = parts.activate();
            while let Some(entry) = waiting.first_entry() {
                let epoch = *entry.key();
                if frontiers.get(1).is_some_and(|closes| closes.less_than(&epoch)) {
                    break;
                }
                while let Some(close) = closed.first_entry().filter(|close| *close.key() < epoch) {
                    phase.pass(close.remove());
                }
                let (capability, batches) = entry.remove();
                let mut session = parts.session(&capability);
                batches.into_iter().for_each(|batch| session.give_iterator(phase.add_up(batch).into_iter()));
            }
            // Where no rows come the closes must not pile up.
            let due = |epoch: &Epoch| waiting.is_empty() && !frontiers[0].less_equal(epoch);
            while let Some(close) = closed.first_entry().filter(|close| due(close.key())) {
                phase.pass(close.remove());
            }
        }
    });
    parts_stream
}

//! The binder on worker 0: makes the bindings of an epoch durable, and derives the sources' watermarks.
//!
//! It has two outputs. `closes` tells every operator that an epoch is complete at all sources, with its clock
//! and watermarks; operators compute on it at once. The frontier of `durable` passes an epoch when its
//! bindings are kept; only then may a sink release it. Until recovery exists the [`Journal`] is in memory and
//! immediate; recovery replaces the journal and nothing else.

use std::collections::BTreeMap;
use std::rc::Rc;

use serde::{Deserialize, Serialize};
use timely::container::CapacityContainerBuilder;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::{Exchange, Pipeline};
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::operators::vec::Broadcast;

use crate::ingest::align::{Alignment, BySource, Standing, Stands};
use crate::ingest::ticker::TickerControl;
use crate::time::{Binding, Epoch, EpochClose, Tick, Watermark};

/// What the sources of a worker tell worker 0.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Report {
    Binding(Binding),
    /// Where a partition of a source stands, for the alignment.
    Standing(u16, u32, Standing),
    /// This worker's process was asked to stop.
    Stop,
}

/// Keeps bindings.
pub trait Journal {
    /// Makes the bindings of an epoch durable; it is when this returns.
    fn bind(&mut self, epoch: Epoch, bindings: &[Binding]);
}

/// Keeps nothing: what a run has bound is forgotten with it.
#[derive(Debug, Default)]
pub struct InMemory;

impl Journal for InMemory {
    fn bind(&mut self, _epoch: Epoch, _bindings: &[Binding]) {}
}

/// Watermarks of sources, from the bindings of their partitions.
#[derive(Debug)]
pub struct Watermarks {
    /// Per source whether it may get more partitions.
    growing: Vec<bool>,
    partitions: Vec<BTreeMap<u32, Binding>>,
    sources: Vec<Watermark>,
}

impl Watermarks {
    /// No partition is known yet; `growing` tells of each source whether more can be found at any time.
    pub fn new(growing: Vec<bool>) -> Self {
        let sources = growing.len();
        let partitions = vec![BTreeMap::new(); sources];
        Watermarks { growing, partitions, sources: vec![Watermark::NONE; sources] }
    }

    /// Takes in what a partition has to say.
    pub fn update(&mut self, binding: Binding) {
        self.partitions[usize::from(binding.source)].insert(binding.partition, binding);
    }

    /// The watermark of each source: the least of its partitions that are neither idle nor ended. It never
    /// goes back, stands while all are idle, and is [`Watermark::END`] when all have ended. One that was just
    /// found holds it where it is, until it has data or is seen to be empty.
    pub fn close(&mut self) -> &[Watermark] {
        let of_source = self.partitions.iter().zip(&self.growing);
        for ((partitions, growing), source) in of_source.zip(&mut self.sources) {
            let active = partitions.values().filter(|binding| !binding.idle && !binding.ended);
            let ended =
                !growing && !partitions.is_empty() && partitions.values().all(|binding| binding.ended);
            match active.map(|binding| binding.watermark).min() {
                Some(least) => *source = (*source).max(least),
                None if ended => *source = Watermark::END,
                None => {}
            }
        }
        &self.sources
    }

    /// Whether every partition of every source has ended, and there will be no others.
    pub fn all_ended(&self) -> bool {
        let ended = |partitions: &BTreeMap<u32, Binding>| partitions.values().all(|binding| binding.ended);
        !self.growing.contains(&true) && self.partitions.iter().all(ended)
    }
}

/// What was reported of an epoch so far.
#[derive(Debug, Default)]
struct Reported {
    bindings: Vec<Binding>,
    standings: Vec<Stands>,
}

/// The ceilings of the sources behind an epoch.
fn align(alignments: &mut [Option<Alignment>], bindings: &[Binding], standings: Vec<Stands>) -> BySource {
    for (source, partition, standing) in standings {
        if let Some(alignment) = &mut alignments[usize::from(source)] {
            alignment.stands(partition, standing);
        }
    }
    let aligned = alignments.iter_mut().zip(0..).filter_map(|(alignment, source)| {
        let of_source = bindings.iter().filter(|binding| binding.source == source);
        let records = of_source.map(|binding| binding.to - binding.from).sum();
        Some((source, alignment.as_mut()?.close(records)?))
    });
    aligned.collect()
}

/// What the binder gives to all workers.
pub struct Bound<'s> {
    /// One message per epoch; its watermarks are those of the sources, in the order of the plan.
    pub closes: StreamVec<'s, Epoch, EpochClose>,
    /// Carries nothing; its frontier passes an epoch when it is durable.
    pub durable: StreamVec<'s, Epoch, ()>,
}

/// Collects the reports of all workers on worker 0. Of each source: whether it may get more partitions, and how
/// its partitions are aligned.
pub fn binder<'s>(
    ticks: StreamVec<'s, Epoch, Tick>,
    reports: StreamVec<'s, Epoch, Report>,
    (growing, mut alignments): (Vec<bool>, Vec<Option<Alignment>>),
    control: Rc<TickerControl>,
    mut journal: Box<dyn Journal>,
) -> Bound<'s> {
    let scope = ticks.scope();
    let first_worker = scope.index() == 0;
    let mut builder = OperatorBuilder::new("Binder".to_owned(), scope);
    let mut ticks = builder.new_input(ticks, Pipeline);
    let mut reports = builder.new_input(reports, Exchange::new(|_: &Report| 0));
    let (closes, closes_stream) = builder.new_output();
    let (_durable, durable_stream) = builder.new_output::<Vec<()>>();
    let mut closes = OutputBuilder::<_, CapacityContainerBuilder<Vec<EpochClose>>>::from(closes);
    builder.build(move |capabilities| {
        drop(capabilities);
        let mut open = BTreeMap::new();
        let mut reported: BTreeMap<Epoch, Reported> = BTreeMap::new();
        let mut watermarks = Watermarks::new(growing);
        move |frontiers| {
            ticks.for_each(|capability, ticks| {
                for tick in ticks.drain(..).filter(|_| first_worker) {
                    open.insert(tick.epoch, (tick, capability.retain(0), capability.retain(1)));
                }
            });
            reports.for_each(|capability, reports| {
                for report in reports.drain(..) {
                    let reported = reported.entry(*capability.time()).or_default();
                    match report {
                        Report::Binding(binding) => {
                            if binding.from != binding.to {
                                // Other processes cannot tell the ticker that records arrive.
                                control.arrivals.notify();
                            }
                            reported.bindings.push(binding);
                        }
                        Report::Standing(source, partition, standing) => {
                            reported.standings.push((source, partition, standing));
                        }
                        Report::Stop => control.stop.store(true, std::sync::atomic::Ordering::Relaxed),
                    }
                }
            });
            let mut closes = closes.activate();
            while let Some(entry) = open.first_entry() {
                if frontiers.iter().any(|frontier| frontier.less_equal(entry.key())) {
                    break;
                }
                let (tick, close_capability, durable_capability) = entry.remove();
                let Reported { bindings, standings } = reported.remove(&tick.epoch).unwrap_or_default();
                control.ceilings.stand(&standings, tick.wall_ms);
                control.ceilings.learn(tick.epoch, align(&mut alignments, &bindings, standings));
                bindings.iter().cloned().for_each(|binding| watermarks.update(binding));
                let close = EpochClose {
                    epoch: tick.epoch,
                    wall_ms: tick.wall_ms,
                    checkpoint: tick.checkpoint,
                    watermarks: watermarks.close().to_vec(),
                };
                control.watermarks.borrow_mut().clone_from(&close.watermarks);
                closes.session(&close_capability).give(close);
                journal.bind(tick.epoch, &bindings);
                drop(durable_capability);
                control.ended.set(watermarks.all_ended());
            }
        }
    });
    Bound { closes: closes_stream.broadcast(), durable: durable_stream.broadcast() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn binding(partition: u32, watermark: i64, idle: bool, ended: bool) -> Binding {
        let watermark = Watermark(watermark);
        Binding { epoch: 1, source: 0, partition, from: 0, to: 0, watermark, idle, ended, input_hash: 0 }
    }

    #[test]
    fn the_watermark_is_that_of_the_slowest_active_partition_and_never_goes_back() {
        let mut watermarks = Watermarks::new(vec![false]);
        watermarks.update(binding(0, 100, false, false));
        watermarks.update(binding(1, 50, false, false));
        assert_eq!(watermarks.close(), [Watermark(50)]);
        watermarks.update(binding(1, 50, true, false));
        assert_eq!(watermarks.close(), [Watermark(100)], "an idle partition does not hold the others");
        watermarks.update(binding(1, 60, false, false));
        assert_eq!(watermarks.close(), [Watermark(100)], "one that comes back never lowers it");
        watermarks.update(binding(0, 100, true, false));
        watermarks.update(binding(1, 60, true, false));
        assert_eq!(watermarks.close(), [Watermark(100)], "when all are idle it stands");
        watermarks.update(binding(0, 100, false, true));
        watermarks.update(binding(1, 60, false, true));
        assert_eq!(watermarks.close(), [Watermark::END]);
        assert!(watermarks.all_ended());
    }

    #[test]
    fn a_partition_that_was_just_found_holds_the_watermark_and_never_lowers_it() {
        let mut watermarks = Watermarks::new(vec![true]);
        assert!(!watermarks.all_ended(), "what has no partition yet may still get one");
        watermarks.update(binding(0, 100, false, false));
        assert_eq!(watermarks.close(), [Watermark(100)]);
        watermarks.update(binding(7, Watermark::NONE.0, false, false));
        watermarks.update(binding(0, 200, false, false));
        assert_eq!(watermarks.close(), [Watermark(100)], "nobody knows yet what the new one holds");
        watermarks.update(binding(7, 50, false, false));
        assert_eq!(watermarks.close(), [Watermark(100)]);
        watermarks.update(binding(7, 150, false, false));
        assert_eq!(watermarks.close(), [Watermark(150)]);
        watermarks.update(binding(7, 150, true, false));
        assert_eq!(watermarks.close(), [Watermark(200)], "at its end and silent");
        watermarks.update(binding(0, 200, false, true));
        watermarks.update(binding(7, 150, false, true));
        assert_eq!(watermarks.close(), [Watermark(200)], "there may be another partition");
        assert!(!watermarks.all_ended());
    }
}

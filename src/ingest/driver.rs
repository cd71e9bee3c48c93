//! The source operator of one worker: on each tick it cuts the epoch from the queues of its partitions.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use timely::container::CapacityContainerBuilder;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::scheduling::SyncActivator;

use crate::batch::Batch;
use crate::dead_letter::DeadLetter;
use crate::error::Result;
use crate::ingest::binder::Report;
use crate::ingest::cut::{Cut, PartitionCut, Place};
use crate::ledger::{Count, Ledger};
use crate::plan::Source;
use crate::record::{Chunk, RawRecords};
use crate::time::{Binding, Epoch, Tick};

/// Decoded records of one partition that wait to be cut; filled by a consumer thread.
pub trait Queue {
    /// Takes at most `max_records` records out, oldest first.
    fn take(&self, max_records: usize) -> Vec<Chunk>;

    /// Number of records that wait.
    fn queued(&self) -> usize;

    /// Where the reader stands. Says `caught_up` or `ended` only if no record waits.
    fn place(&self) -> Place;
}

/// One partition of a source as its worker sees it.
pub struct LocalPartition {
    pub id: u32,
    pub queue: Arc<dyn Queue + Send + Sync>,
}

/// Everything the source operator of one worker is made of.
pub struct SourceParts {
    pub source: Arc<Source>,
    /// Index in the plan.
    pub index: usize,
    pub partitions: Vec<LocalPartition>,
    /// Bounded runs: an epoch waits until each partition has this many records or has ended.
    pub bounded: bool,
    pub max_epoch_records: usize,
    /// The process was asked to stop.
    pub stop: Arc<AtomicBool>,
    pub ledger: Ledger,
    pub retained: Rc<RefCell<Retained>>,
}

/// What a source operator gives out.
pub struct Cuts<'s> {
    pub rows: StreamVec<'s, Epoch, Batch>,
    pub letters: StreamVec<'s, Epoch, DeadLetter>,
    pub reports: StreamVec<'s, Epoch, Report>,
    /// Wakes the operator from a consumer thread.
    pub activator: SyncActivator,
}

/// Records of this worker's partitions as they were received, until the dead letters of their epochs are
/// written.
#[derive(Debug, Default)]
pub struct Retained {
    epochs: VecDeque<(Epoch, usize, u32, RawRecords)>,
}

impl Retained {
    fn keep(&mut self, epoch: Epoch, source: usize, partition: u32, chunks: &[Chunk]) {
        let kept = chunks.iter().map(|chunk| (epoch, source, partition, chunk.raw.clone()));
        self.epochs.extend(kept);
    }

    /// The record with this origin.
    pub fn find(&self, source: usize, partition: u32, offset: u64) -> Option<crate::dead_letter::RawRecord> {
        let mut parts = self.epochs.iter().filter(|(_, s, p, _)| (*s, *p) == (source, partition));
        parts.find_map(|(_, _, _, raw)| raw.find(offset))
    }

    /// Forgets the epochs before `frontier` (`None`: all).
    pub fn release(&mut self, frontier: Option<Epoch>) {
        let done = |epoch: Epoch| frontier.is_none_or(|frontier| epoch < frontier);
        while self.epochs.front().is_some_and(|(epoch, ..)| done(*epoch)) {
            self.epochs.pop_front();
        }
    }
}

/// The partitions of one worker and what has been cut from them. Knows nothing of timely.
struct Cutter {
    parts: SourceParts,
    cuts: Vec<PartitionCut>,
    reported: Vec<Option<Binding>>,
}

impl Cutter {
    fn new(parts: SourceParts) -> Self {
        let cut = |p: &LocalPartition| PartitionCut::new(parts.source.clone(), parts.index as u16, p.id);
        let cuts = parts.partitions.iter().map(cut).collect();
        Cutter { reported: vec![None; parts.partitions.len()], cuts, parts }
    }

    /// Whether the epoch can be cut: in a bounded run it must be filled.
    fn ready(&self) -> bool {
        let filled = |partition: &LocalPartition| {
            partition.queue.queued() >= self.parts.max_epoch_records || partition.queue.place().ended
        };
        !self.parts.bounded
            || self.parts.stop.load(Ordering::Relaxed)
            || self.parts.partitions.iter().all(filled)
    }

    /// Cuts all partitions.
    fn cut(&mut self, tick: &Tick) -> Result<(Vec<Cut>, Vec<Report>)> {
        let (mut cuts, mut reports) = (Vec::new(), Vec::new());
        for (place, partition) in self.parts.partitions.iter().enumerate() {
            let chunks = partition.queue.take(self.parts.max_epoch_records);
            self.parts.retained.borrow_mut().keep(tick.epoch, self.parts.index, partition.id, &chunks);
            let cut = self.cuts[place].cut(tick, &chunks, partition.queue.place())?;
            self.count(tick.epoch, &cut);
            if self.reported[place].as_ref().is_none_or(|reported| news(reported, &cut.binding)) {
                self.reported[place] = Some(cut.binding.clone());
                reports.push(Report::Binding(cut.binding.clone()));
            }
            cuts.push(cut);
        }
        if self.parts.stop.load(Ordering::Relaxed) {
            reports.push(Report::Stop);
        }
        Ok((cuts, reports))
    }

    fn count(&self, epoch: Epoch, cut: &Cut) {
        let (ledger, source) = (&self.parts.ledger, self.parts.index);
        ledger.add(epoch, Count::Read(source), cut.read as i64);
        ledger.add(epoch, Count::SourceDead(source), cut.letters.len() as i64);
        ledger.add(epoch, Count::SourceOut(source), cut.batches.iter().map(Batch::diff_sum).sum());
    }
}

/// Whether a binding says something that the last one of its partition did not.
fn news(reported: &Binding, binding: &Binding) -> bool {
    binding.from != binding.to
        || (reported.to, reported.watermark, reported.idle, reported.ended)
            != (binding.to, binding.watermark, binding.idle, binding.ended)
}

/// Builds the source operator of this worker. `fail` ends the process with a message.
pub fn cut_on_ticks<'s>(
    ticks: StreamVec<'s, Epoch, Tick>,
    parts: SourceParts,
    fail: fn(&crate::error::Error) -> !,
) -> Cuts<'s> {
    let scope = ticks.scope();
    let mut builder = OperatorBuilder::new(format!("Source {}", parts.source.name), scope);
    let info = builder.operator_info();
    let activator = scope.activator_for(info.address.clone());
    let sync_activator = scope.worker().sync_activator_for(info.address.to_vec());
    let mut ticks = builder.new_input(ticks, Pipeline);
    let (rows, rows_stream) = builder.new_output();
    let (letters, letters_stream) = builder.new_output();
    let (reports, reports_stream) = builder.new_output();
    let mut rows = OutputBuilder::<_, CapacityContainerBuilder<Vec<Batch>>>::from(rows);
    let mut letters = OutputBuilder::<_, CapacityContainerBuilder<Vec<DeadLetter>>>::from(letters);
    let mut reports = OutputBuilder::<_, CapacityContainerBuilder<Vec<Report>>>::from(reports);
    builder.build(move |capabilities| {
        drop(capabilities);
        let mut cutter = Cutter::new(parts);
        let mut open: VecDeque<(Tick, [Capability<Epoch>; 3])> = VecDeque::new();
        move |_frontiers| {
            ticks.for_each(|capability, ticks| {
                for tick in ticks.drain(..) {
                    open.push_back((tick, [0, 1, 2].map(|port| capability.retain(port))));
                }
            });
            let (mut rows, mut letters) = (rows.activate(), letters.activate());
            let mut reports = reports.activate();
            while !open.is_empty() && cutter.ready() {
                let Some((tick, [rows_at, letters_at, reports_at])) = open.pop_front() else { break };
                match cutter.cut(&tick) {
                    Ok((cuts, bindings)) => {
                        reports.session(&reports_at).give_iterator(bindings.into_iter());
                        for cut in cuts {
                            rows.session(&rows_at).give_iterator(cut.batches.into_iter());
                            letters.session(&letters_at).give_iterator(cut.letters.into_iter());
                        }
                    }
                    Err(error) => fail(&error),
                }
            }
            if !open.is_empty() {
                // Consumer threads wake us when there is more; the timer is a net for a stop request.
                activator.activate_after(Duration::from_millis(100));
            }
        }
    });
    Cuts { rows: rows_stream, letters: letters_stream, reports: reports_stream, activator: sync_activator }
}

//! The source operator of one worker: on each tick it cuts the epoch from the queues of its partitions.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use timely::container::CapacityContainerBuilder;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;

use crate::alarm::{Alarm, Woken};
use crate::batch::Batch;
use crate::dead_letter::DeadLetter;
use crate::error::Result;
use crate::ingest::align::{Alignment, Standing};
use crate::ingest::beat::Arrivals;
use crate::ingest::binder::Report;
use crate::ingest::cut::{Cut, PartitionCut, Place, Until};
use crate::ingest::observed::Observed;
use crate::ingest::queue::{Limits, PartitionQueue, Taken};
use crate::ledger::{Count, Ledger};
use crate::plan::Source;
use crate::record::{Chunk, FoundPartition, RawRecords};
use crate::time::{Binding, Epoch, Tick};

/// Everything the source operator of one worker is made of.
pub struct SourceParts {
    pub source: Arc<Source>,
    /// Index in the plan.
    pub index: usize,
    /// Begins to read those of the partitions that this worker reads; gives their queues.
    pub take_on: TakeOn,
    /// Further partitions may be found at any time.
    pub growing: bool,
    /// Bounded runs: an epoch waits until each partition fills its limits or has ended.
    pub bounded: bool,
    /// What one partition contributes to an epoch.
    pub epoch_limits: Limits,
    /// Records come when their event times say, at this speed in thousandths.
    pub replay_milli: Option<u64>,
    /// The process was asked to stop.
    pub stop: Arc<AtomicBool>,
    pub ledger: Ledger,
    pub retained: Rc<RefCell<Retained>>,
    pub progress: SourceProgress,
    pub observed: Arc<Observed>,
    /// Told when more waits than an epoch takes.
    pub arrivals: Arc<Arrivals>,
    /// Told of the epoch in which tables are read to their end.
    pub loading: Rc<Cell<Option<Epoch>>>,
    /// Lets the consumer thread wake the operator.
    pub woken: Woken,
}

impl SourceParts {
    /// How the partitions of the source are aligned, if they are.
    pub fn alignment(&self) -> Option<Alignment> {
        Some(Alignment::new(self.source.max_drift?, self.epoch_limits.records))
    }
}

/// What is done with partitions that a tick tells of.
pub type TakeOn = Box<dyn FnMut(Vec<FoundPartition>) -> Vec<PartitionQueue>>;

/// How far the partitions of a worker are, by source and partition; for the status.
pub type SourceProgress = Rc<RefCell<BTreeMap<(usize, u32), PartitionProgress>>>;

/// How far a partition is.
#[derive(Clone, Debug)]
pub struct PartitionProgress {
    /// Its last one.
    pub binding: Binding,
    /// Records behind that in the log; `None` while the end of the log is not known.
    pub lag: Option<u64>,
    /// It was deleted where it is kept.
    pub gone: bool,
    /// Records wait for partitions that are behind.
    pub held: bool,
}

/// What a source operator gives out.
pub struct Cuts<'s> {
    pub rows: StreamVec<'s, Epoch, Batch>,
    pub letters: StreamVec<'s, Epoch, DeadLetter>,
    pub reports: StreamVec<'s, Epoch, Report>,
}

/// Records of this worker's partitions as they were received, until the dead letters of their epochs are
/// written.
#[derive(Debug)]
pub struct Retained {
    epochs: VecDeque<(Epoch, usize, u32, RawRecords)>,
    /// Bytes that this process holds until they are confirmed.
    held_bytes: Arc<AtomicUsize>,
}

impl Retained {
    /// Nothing is kept; what will be, is counted in `held_bytes`.
    pub fn new(held_bytes: Arc<AtomicUsize>) -> Self {
        Retained { epochs: VecDeque::new(), held_bytes }
    }

    fn keep(&mut self, epoch: Epoch, source: usize, partition: u32, records: Vec<RawRecords>) {
        let bytes = records.iter().map(RawRecords::bytes).sum();
        self.epochs.extend(records.into_iter().map(|records| (epoch, source, partition, records)));
        self.held_bytes.fetch_add(bytes, Ordering::Relaxed);
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
            let released = self.epochs.pop_front().map_or(0, |(_, _, _, raw)| raw.bytes());
            self.held_bytes.fetch_sub(released, Ordering::Relaxed);
        }
    }
}

/// The partitions of one worker and what has been cut from them. Knows nothing of timely.
struct Cutter {
    parts: SourceParts,
    partitions: Vec<Cuttable>,
}

/// A partition of this worker.
struct Cuttable {
    queue: PartitionQueue,
    cut: PartitionCut,
    reported: Option<Binding>,
    /// Where it stood when that was told.
    stood: Option<Standing>,
    /// Of a table: the end that it has at the start.
    end: Option<u64>,
}

impl Cutter {
    fn new(parts: SourceParts) -> Self {
        Cutter { parts, partitions: Vec::new() }
    }

    /// Takes on the partitions of this source that exist from the epoch on.
    fn take_on(&mut self, found: Vec<(u16, FoundPartition)>) {
        let index = self.parts.index as u16;
        let found: Vec<_> =
            found.into_iter().filter(|(source, _)| *source == index).map(|(_, found)| found).collect();
        if found.is_empty() {
            return;
        }
        for queue in (self.parts.take_on)(found) {
            let source = self.parts.source.clone();
            let cut = PartitionCut::new(source, index, queue.partition().id, queue.from());
            self.partitions.push(Cuttable { queue, cut, reported: None, stood: None, end: None });
        }
    }

    /// Whether the epoch can be cut: in a bounded run it must be filled.
    fn ready(&self, tick: &Tick) -> bool {
        if tick.loading {
            self.parts.loading.set(Some(tick.epoch));
            return true;
        }
        let filled = |partition: &Cuttable| partition.queue.fills(self.parts.epoch_limits);
        !self.parts.bounded || self.parts.stop.load(Ordering::Relaxed) || self.partitions.iter().all(filled)
    }

    /// Cuts all partitions, of a stream without anything in the epoch in which tables are read. Whether the epoch
    /// is cut to its end.
    fn cut(&mut self, tick: &Tick) -> Result<(Vec<Cut>, Vec<Report>, bool)> {
        let (mut cuts, mut reports) = (Vec::new(), Vec::new());
        // Taken out for the while, so that the rest can be borrowed beside them.
        let mut partitions = std::mem::take(&mut self.partitions);
        let (of_table, stop) = (self.parts.source.table.is_some(), self.parts.stop.load(Ordering::Relaxed));
        let part = match (tick.loading, of_table) {
            (false, _) => Part::Next,
            (true, false) => Part::Nothing,
            (true, true) => Part::All,
        };
        let mut whole = true;
        for partition in &mut partitions {
            let (cut, at_end) = self.part(tick, partition, part)?;
            whole &= at_end || stop;
            cuts.push(cut);
        }
        if whole {
            for (partition, cut) in partitions.iter_mut().zip(&cuts) {
                partition.cut.end();
                self.report(partition, cut, part, &mut reports);
            }
        }
        self.partitions = partitions;
        if stop {
            reports.push(Report::Stop);
        }
        Ok((cuts, reports, whole))
    }

    /// Tells what is new about a partition.
    fn report(&self, partition: &mut Cuttable, cut: &Cut, part: Part, reports: &mut Vec<Report>) {
        let Cuttable { reported, stood, .. } = partition;
        if reported.as_ref().is_none_or(|reported| news(reported, &cut.binding)) {
            *reported = Some(cut.binding.clone());
            reports.push(Report::Binding(cut.binding.clone()));
        }
        // Where a stream stands that was not read yet, nobody has to wait for.
        let is_asked = self.parts.source.max_drift.is_some() || self.parts.replay_milli.is_some();
        if is_asked && part != Part::Nothing && *stood != Some(cut.standing) {
            *stood = Some(cut.standing);
            reports.push(Report::Standing(self.parts.index as u16, cut.binding.partition, cut.standing));
        }
    }

    /// Cuts one partition. Whether there is nothing left of it that belongs to the epoch.
    fn part(&self, tick: &Tick, partition: &mut Cuttable, part: Part) -> Result<(Cut, bool)> {
        let Cuttable { queue, cut, end, .. } = partition;
        let (chunks, place) = match part {
            Part::Nothing => (Vec::new(), Place::default()),
            _ => {
                let Taken { chunks, held } = queue.take(self.parts.epoch_limits, cut.hold(tick));
                (chunks, Place { held, ..place(queue) })
            }
        };
        let id = queue.partition().id;
        let records = match self.parts.source.table {
            // Rows of a table have no origin: only what is no row is asked for.
            Some(_) => chunks.iter().map(rejected).filter(|records| !records.is_empty()).collect(),
            None => chunks.iter().map(|chunk| chunk.raw.clone()).collect(),
        };
        self.parts.retained.borrow_mut().keep(tick.epoch, self.parts.index, id, records);
        let cut = match part {
            Part::All => cut.cut(tick, &chunks, place, Until::More)?,
            _ => cut.cut(tick, &chunks, place, Until::End)?,
        };
        self.count(tick.epoch, &cut);
        self.observe(&cut);
        let (binding, lag) = (cut.binding.clone(), lag(queue, cut.binding.to));
        *end = end.or(queue.log_end()).or(place.caught_up);
        let read_to_end = || end.is_some_and(|end| binding.to >= end);
        let read = place.ended || !self.parts.bounded && (queue.gone() || read_to_end());
        let seen = PartitionProgress { binding, lag, gone: queue.gone(), held: place.held.is_some() };
        self.parts.progress.borrow_mut().insert((self.parts.index, id), seen);
        if queue.queued_records() > 0 {
            self.parts.arrivals.notify();
        }
        Ok((cut, part != Part::All || read))
    }

    fn observe(&self, cut: &Cut) {
        if cut.in_order == 0 && cut.late_ms.is_empty() && cut.future.is_empty() {
            return;
        }
        let mut observed = self.parts.observed.source(self.parts.index);
        observed.lateness.record(cut.in_order, &cut.late_ms);
        if let (Some(device), 0) = (cut.future.first(), observed.future.total()) {
            let source = &self.parts.source;
            tracing::warn!(
                source = source.name,
                device,
                "a clock is ahead by more than max_future or max_jump"
            );
        }
        cut.future.iter().for_each(|device| observed.future.add(device));
    }

    fn count(&self, epoch: Epoch, cut: &Cut) {
        let (ledger, source) = (&self.parts.ledger, self.parts.index);
        ledger.add(epoch, Count::Read(source), cut.read as i64);
        ledger.add(epoch, Count::SourceDead(source), cut.letters.len() as i64);
        ledger.add(epoch, Count::LettersOut, cut.letters.len() as i64);
        ledger.add(epoch, Count::SourceOut(source), cut.batches.iter().map(Batch::diff_sum).sum());
    }
}

/// What of a partition belongs to an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    /// What has come.
    Next,
    /// A stream waits until the tables are read.
    Nothing,
    /// A table up to its end.
    All,
}

/// The records of a chunk that gave no row, in memory of their own.
fn rejected(chunk: &Chunk) -> RawRecords {
    chunk.raw.only(chunk.rejects.iter().map(|reject| reject.offset))
}

/// Where the reader of a queue stands, as far as nothing waits to be cut before that. The queue is asked for
/// its records last: they can only have come after what was answered before.
pub(super) fn place(queue: &PartitionQueue) -> Place {
    let (caught_up, unsure) = queue.end();
    let place = Place { caught_up, unsure, ended: queue.ended(), held: None };
    if queue.queued_records() == 0 { place } else { Place::default() }
}

/// Records behind `next` in the log; `None` while its end is not known.
fn lag(queue: &PartitionQueue, next: u64) -> Option<u64> {
    let queued = queue.queued_records() as u64;
    match (queue.end().0, queue.log_end()) {
        (Some(_), _) => Some(queued),
        (None, end) => end.map(|end| end.saturating_sub(next).max(queued)),
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
    let mut alarm = Alarm::new(scope.activator_for(info.address.clone()));
    parts.woken.set(scope.worker().sync_activator_for(info.address.to_vec()));
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
            while let Some((tick, [rows_at, letters_at, reports_at])) = open.front_mut() {
                cutter.take_on(std::mem::take(&mut tick.partitions));
                if !cutter.ready(tick) {
                    break;
                }
                let (cuts, bindings, whole) = cutter.cut(tick).unwrap_or_else(|error| fail(&error));
                reports.session(reports_at).give_iterator(bindings.into_iter());
                let some = cuts.iter().any(|cut| cut.read > 0);
                for cut in cuts {
                    rows.session(rows_at).give_iterator(cut.batches.into_iter());
                    letters.session(letters_at).give_iterator(cut.letters.into_iter());
                }
                if !whole {
                    if some {
                        // Others work in between; perhaps nobody wakes us, since there is more already.
                        alarm.within(Duration::ZERO);
                    }
                    break;
                }
                open.pop_front();
            }
            if !open.is_empty() {
                // Consumer threads wake us when there is more; the timer is a net for a stop request.
                alarm.within(Duration::from_millis(100));
            }
        }
    });
    Cuts { rows: rows_stream, letters: letters_stream, reports: reports_stream }
}

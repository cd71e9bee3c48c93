//! The timely operator of a join.

use std::collections::BTreeMap;
use std::collections::btree_map::IntoIter;
use std::time::{Duration, Instant};

use differential_dataflow::operators::arrange::Arranged;
use differential_dataflow::trace::TraceReader;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::progress::frontier::AntichainRef;

use super::Matcher;
use super::events::Buffer;
use super::lookup::{Delta, KeyRows, SideCursor};
use crate::batch::Batch;
use crate::dead_letter::DeadLetter;
use crate::error::{Error, Result};
use crate::ledger::{Count, Ledger};
use crate::time::{Epoch, EpochClose};
use crate::transform::arrange::{Bytes, Sealed, Trace, each};
use crate::transform::harness::Outputs;
use crate::transform::{Output, Progress};

/// How long a join works before it lets others work. In tests it does so whenever it can.
const SLICE: Duration = Duration::from_millis(if cfg!(test) { 0 } else { 10 });

/// What the driver of a join must know.
pub struct JoinParts {
    /// Index of the operator in the plan.
    pub index: usize,
    pub matcher: Matcher,
    pub ledger: Ledger,
    /// Ends the process with a message.
    pub fail: fn(&Error) -> !,
}

/// Joins two arrangements. Keys must be on the same workers on both sides.
pub fn join<'s>(
    sides: [Arranged<'s, Trace>; 2],
    closes: StreamVec<'s, Epoch, EpochClose>,
    parts: JoinParts,
) -> Outputs<'s> {
    let scope = closes.scope();
    let mut builder = OperatorBuilder::new(parts.matcher.plan.name.clone(), scope);
    let activator = scope.activator_for(builder.operator_info().address);
    let traces = sides.each_ref().map(|side| side.trace.clone());
    let mut inputs = sides.map(|side| builder.new_input(side.stream, Pipeline));
    let mut closes = builder.new_input(closes, Pipeline);
    let (rows, rows_stream) = builder.new_output();
    let (letters, letters_stream) = builder.new_output();
    let mut rows = OutputBuilder::<_, CapacityContainerBuilder<Vec<Batch>>>::from(rows);
    let mut letters = OutputBuilder::<_, CapacityContainerBuilder<Vec<DeadLetter>>>::from(letters);
    builder.build(move |capabilities| {
        drop(capabilities);
        let mut driver =
            Driver { parts, traces, changed: BTreeMap::new(), working: None, buffer: Buffer::default() };
        let mut open: BTreeMap<Epoch, (EpochClose, [Capability<Epoch>; 2])> = BTreeMap::new();
        move |frontiers| {
            for (side, input) in inputs.iter_mut().enumerate() {
                input.for_each(|_, batches| {
                    batches.drain(..).for_each(|batch| driver.take_in(side, &batch));
                });
            }
            closes.for_each(|capability, closes| {
                for close in closes.drain(..) {
                    open.insert(close.epoch, (close, [0, 1].map(|port| capability.retain(port))));
                }
            });
            let (mut rows, mut letters) = (rows.activate(), letters.activate());
            let deadline = Instant::now() + SLICE;
            let complete = |epoch: &Epoch| !frontiers.iter().any(|frontier| frontier.less_equal(epoch));
            while let Some(entry) = open.first_entry().filter(|entry| complete(entry.key())) {
                let (close, at) = entry.get();
                let mut out = Output::default();
                let progress = match driver.close(close, deadline, &mut out) {
                    Ok(progress) => progress,
                    Err(error) => (driver.parts.fail)(&error),
                };
                driver.count(close.epoch, &out);
                rows.session(&at[0]).give_iterator(out.batches.into_iter());
                letters.session(&at[1]).give_iterator(out.letters.into_iter());
                if progress == Progress::More {
                    activator.activate();
                    break;
                }
                entry.remove();
            }
        }
    });
    Outputs { rows: rows_stream, letters: letters_stream, late: None }
}

/// What an epoch has changed, by key.
type Changes = BTreeMap<Bytes, [Delta; 2]>;

struct Driver {
    parts: JoinParts,
    traces: [Trace; 2],
    /// By epochs that are not finished.
    changed: BTreeMap<Epoch, Changes>,
    /// The keys of the epoch at hand that are left.
    working: Option<IntoIter<Bytes, [Delta; 2]>>,
    buffer: Buffer,
}

impl Driver {
    /// Notes what has changed.
    fn take_in(&mut self, side: usize, batch: &Sealed) {
        each(batch, |key, row, epoch, diff| {
            let changes = self.changed.entry(epoch).or_default();
            // Looked up by reference first: most keys of an epoch have several updates.
            match changes.get_mut(key) {
                Some(deltas) => deltas[side].push((row.to_vec(), diff)),
                None => {
                    let mut deltas: [Delta; 2] = Default::default();
                    deltas[side].push((row.to_vec(), diff));
                    changes.insert(key.to_vec(), deltas);
                }
            }
        });
    }

    /// Works on an epoch until it is finished or the time is up.
    fn close(&mut self, close: &EpochClose, deadline: Instant, out: &mut Output) -> Result<Progress> {
        let epoch = close.epoch;
        if self.working.is_none() {
            let changes = self.changed.remove(&epoch).unwrap_or_default();
            self.working = Some(changes.into_iter());
        }
        let join = &self.parts.matcher.plan;
        let mut cursors = None;
        while let Some(keys) = &mut self.working {
            if self.buffer.is_open() {
                self.buffer.fill(join);
            } else if let Some((key, deltas)) = keys.next() {
                let cursors = cursors.get_or_insert_with(|| self.traces.each_mut().map(SideCursor::new));
                self.buffer.push(KeyRows::read(join, &key, deltas, cursors, epoch));
                self.buffer.fill(join);
            } else {
                self.working = None;
            }
            if self.buffer.is_full() || self.working.is_none() {
                self.parts.matcher.decide(&mut self.buffer, close.wall_ms, out)?;
                self.buffer.clear();
                if self.working.is_some() && Instant::now() >= deadline {
                    return Ok(Progress::More);
                }
            }
        }
        // The next epoch still asks how it was before it: the end of this one.
        for trace in &mut self.traces {
            trace.set_logical_compaction(AntichainRef::new(&[epoch]));
            trace.set_physical_compaction(AntichainRef::new(&[epoch]));
        }
        Ok(Progress::Done)
    }

    fn count(&self, epoch: Epoch, out: &Output) {
        let ledger = &self.parts.ledger;
        let rows = out.batches.iter().map(Batch::diff_sum).sum();
        ledger.add(epoch, Count::OperatorOut(self.parts.index), rows);
        ledger.add(epoch, Count::LettersOut, out.letters.len() as i64);
    }
}

//! Drivers: the only part of `transform` that touches timely.
//!
//! [`leg`] runs filters and projections as batches pass, [`add_up`] the first phase of a GROUP BY. [`stateful`] runs an [`Operator`]: it holds batches
//! of later epochs back, closes an epoch when all inputs and the epoch's close have arrived, and lets others
//! work in between.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use timely::container::CapacityContainerBuilder;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::scheduling::Activator;

use crate::batch::Batch;
use crate::dead_letter::DeadLetter;
use crate::ledger::{Count, Fate, Ledger};
use crate::plan::{Bound, Leg};
use crate::time::{Epoch, EpochClose, Watermark};
use crate::transform::steps::Steps;
use crate::transform::{Operator, Output, Progress};

pub mod add_up;

/// How long an operator works before it lets others work.
const SLICE: Duration = Duration::from_millis(10);

/// Rows and dead letters of an operator.
pub struct Outputs<'s> {
    pub rows: StreamVec<'s, Epoch, Batch>,
    pub letters: StreamVec<'s, Epoch, DeadLetter>,
    /// Rows that came too late for the operator, where it knows of time.
    pub late: Option<StreamVec<'s, Epoch, Batch>>,
}

/// Runs the steps of a leg. `index` is its place in the plan and `account` that of its ledger account.
pub fn leg<'s>(
    rows: StreamVec<'s, Epoch, Batch>,
    mut steps: Steps,
    leg: &Leg,
    (index, account): (usize, usize),
    ledger: Ledger,
) -> Outputs<'s> {
    let (branch, branches) = (leg.branch, leg.branches);
    let mut builder = OperatorBuilder::new(format!("Leg {}", leg.name), rows.scope());
    let mut input = builder.new_input(rows, Pipeline);
    let (rows, rows_stream) = builder.new_output();
    let (letters, letters_stream) = builder.new_output();
    let mut rows = OutputBuilder::<_, CapacityContainerBuilder<Vec<Batch>>>::from(rows);
    let mut letters = OutputBuilder::<_, CapacityContainerBuilder<Vec<DeadLetter>>>::from(letters);
    builder.build(move |capabilities| {
        drop(capabilities);
        move |_frontiers| {
            let (mut rows, mut letters) = (rows.activate(), letters.activate());
            input.for_each(|capability, batches| {
                let epoch = *capability.time();
                for mut batch in batches.drain(..) {
                    ledger.add(epoch, Count::LegIn(index), batch.diff_sum());
                    if let Some(origin) = &mut batch.origin {
                        // Behind a lookup the row may be a copy already; all copies stay apart.
                        origin.index = origin.index.wrapping_mul(branches).wrapping_add(branch);
                    }
                    let mut out = Output::default();
                    steps.apply(batch, &mut out);
                    ledger.add(epoch, Count::Account(account, Fate::Filtered), out.filtered);
                    ledger.add(epoch, Count::Account(account, Fate::Dead), out.dead);
                    let filled = out.batches.into_iter().filter(|batch| !batch.is_empty());
                    rows.session(&capability.retain(0)).give_iterator(filled);
                    ledger.add(epoch, Count::LettersOut, out.letters.len() as i64);
                    letters.session(&capability.retain(1)).give_iterator(out.letters.into_iter());
                }
            });
        }
    });
    Outputs { rows: rows_stream, letters: letters_stream, late: None }
}

/// What the driver of a stateful operator must know besides the operator.
pub struct StatefulParts {
    pub name: String,
    /// Index of the operator in the plan, and of its ledger account.
    pub index: usize,
    pub account: usize,
    /// How far event time has come at each input port, where the operator asks.
    pub bounds: Vec<Option<Bound>>,
    pub ledger: Ledger,
}

/// Runs a stateful operator over rows that are already on the right worker.
pub fn stateful<'s>(
    rows: StreamVec<'s, Epoch, (u16, Batch)>,
    closes: StreamVec<'s, Epoch, EpochClose>,
    operator: Box<dyn Operator>,
    parts: StatefulParts,
) -> Outputs<'s> {
    let scope = rows.scope();
    let mut builder = OperatorBuilder::new(parts.name.clone(), scope);
    let activator = scope.activator_for(builder.operator_info().address);
    let mut input = builder.new_input(rows, Pipeline);
    let mut closes = builder.new_input(closes, Pipeline);
    let (rows, rows_stream) = builder.new_output();
    let (letters, letters_stream) = builder.new_output();
    let (late, late_stream) = builder.new_output();
    let mut rows = OutputBuilder::<_, CapacityContainerBuilder<Vec<Batch>>>::from(rows);
    let mut letters = OutputBuilder::<_, CapacityContainerBuilder<Vec<DeadLetter>>>::from(letters);
    let mut late = OutputBuilder::<_, CapacityContainerBuilder<Vec<Batch>>>::from(late);
    builder.build(move |capabilities| {
        drop(capabilities);
        let mut driver = Driver {
            operator,
            parts,
            activator,
            waiting: BTreeMap::new(),
            held: Output::default(),
            in_state: 0,
            bytes: 0,
        };
        let mut open: BTreeMap<Epoch, (EpochClose, [Capability<Epoch>; 3])> = BTreeMap::new();
        move |frontiers| {
            input.for_each(|capability, batches| {
                driver.waiting.entry(*capability.time()).or_default().append(batches);
            });
            closes.for_each(|capability, closes| {
                for close in closes.drain(..) {
                    open.insert(close.epoch, (close, [0, 1, 2].map(|port| capability.retain(port))));
                }
            });
            let (mut rows, mut letters, mut late) = (rows.activate(), letters.activate(), late.activate());
            let deadline = Instant::now() + SLICE;
            loop {
                // Before its close arrives an epoch may be worked on, but only if it is the oldest.
                let complete = |epoch: &Epoch| !frontiers.iter().any(|frontier| frontier.less_equal(epoch));
                let oldest = frontiers.iter().filter_map(|f| f.frontier().first().copied()).min();
                let next = open.keys().next().copied().or(oldest);
                let Some(epoch) = next.filter(|epoch| oldest.is_none_or(|oldest| *epoch <= oldest)) else {
                    break;
                };
                if !driver.take_in(epoch, deadline) {
                    break;
                }
                let Some(entry) = open.first_entry().filter(|entry| complete(entry.key())) else { break };
                let (close, at) = entry.get();
                let progress = driver.close(close);
                rows.session(&at[0]).give_iterator(driver.held.batches.drain(..));
                letters.session(&at[1]).give_iterator(driver.held.letters.drain(..));
                late.session(&at[2]).give_iterator(driver.held.late.drain(..));
                if progress == Progress::Done {
                    entry.remove();
                } else {
                    driver.activator.activate();
                    break;
                }
            }
        }
    });
    Outputs { rows: rows_stream, letters: letters_stream, late: Some(late_stream) }
}

/// An operator with the batches that it has not seen yet.
struct Driver {
    operator: Box<dyn Operator>,
    parts: StatefulParts,
    activator: Activator,
    waiting: BTreeMap<Epoch, Vec<(u16, Batch)>>,
    /// Given out while an epoch is taken in, to be sent at its close.
    held: Output,
    /// Rows in the state at the end of the last epoch.
    in_state: i64,
    /// Bytes of memory of the state at the end of the last epoch.
    bytes: i64,
}

impl Driver {
    /// Hands the batches of an epoch to the operator; false if the time is up before all are taken in.
    fn take_in(&mut self, epoch: Epoch, deadline: Instant) -> bool {
        let Some(mut batches) = self.waiting.remove(&epoch) else { return true };
        batches.reverse();
        while let Some((port, batch)) = batches.pop() {
            self.operator.on_batch(usize::from(port), epoch, &batch, &mut self.held);
            if Instant::now() >= deadline && !batches.is_empty() {
                batches.reverse();
                self.waiting.insert(epoch, batches);
                self.activator.activate();
                return false;
            }
        }
        true
    }

    /// Closes an epoch and counts what it gave.
    fn close(&mut self, close: &EpochClose) -> Progress {
        let close = EpochClose { watermarks: self.watermarks(&close.watermarks), ..close.clone() };
        let progress = self.operator.on_epoch(&close, &mut self.held);
        let (ledger, account, epoch) = (&self.parts.ledger, self.parts.account, close.epoch);
        let out = self.held.batches.iter().map(Batch::diff_sum).sum();
        ledger.add(epoch, Count::OperatorOut(self.parts.index), out);
        ledger.add(epoch, Count::LettersOut, self.held.letters.len() as i64);
        let late = self.held.late.iter().map(Batch::diff_sum).sum();
        ledger.add(epoch, Count::Account(account, Fate::Late), late);
        if progress == Progress::Done {
            let held = &mut self.held;
            let fates = [
                (Fate::Filtered, &mut held.filtered),
                (Fate::Deduplicated, &mut held.deduplicated),
                (Fate::Late, &mut held.late_rows),
                (Fate::Dead, &mut held.dead),
                (Fate::Emitted, &mut held.emitted),
            ];
            for (fate, rows) in fates {
                ledger.add(epoch, Count::Account(account, fate), std::mem::take(rows));
            }
            ledger.add(epoch, Count::Conflict(self.parts.index), std::mem::take(&mut held.conflicts));
            let in_state = self.operator.rows_in_state();
            ledger.add(epoch, Count::Account(account, Fate::InState), in_state - self.in_state);
            self.in_state = in_state;
            let bytes = self.operator.state_bytes() as i64;
            ledger.add(epoch, Count::StateBytes(account), bytes - self.bytes);
            self.bytes = bytes;
        }
        progress
    }

    /// W(e) of each port.
    fn watermarks(&self, sources: &[Watermark]) -> Vec<Watermark> {
        let at = |bound: &Option<Bound>| bound.as_ref().map_or(Watermark::NONE, |bound| bound.at(sources));
        self.parts.bounds.iter().map(at).collect()
    }
}

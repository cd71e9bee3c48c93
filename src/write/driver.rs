//! Drivers of sinks: the only part of `write` that touches timely.
//!
//! [`open`] starts the sinks of this worker and tells worker 0 when they are ready. [`sink`] releases epochs
//! in order when the data and the durable frontier have both passed them, and holds each epoch until the
//! other side has confirmed it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use timely::container::CapacityContainerBuilder;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::{Scope, StreamVec};
use timely::scheduling::SyncActivator;

use crate::alarm::{Alarm, Woken};
use crate::batch::Batch;
use crate::dead_letter::DeadLetter;
use crate::error::{Error, Result};
use crate::ledger::{Count, Fate, Ledger};
use crate::plan;
use crate::time::{Epoch, Opening};
use crate::write::outbox::Outbox;
use crate::write::release::{consolidate, diff_of, last_of_key};
use crate::write::{Changes, Op, Receipt};

/// Shards of a sink that live on this worker, with their numbers.
pub type Shards = Rc<RefCell<Vec<(u16, Outbox)>>>;

/// Starts outboxes when the operator first runs, so that they can wake it. One entry per sink.
pub type Start = Box<dyn FnOnce(SyncActivator) -> Result<Vec<(u16, Outbox)>>>;

/// Opens the sinks of this worker. The stream ends when all are open, or when they are given up because the
/// process was asked to `stop`.
pub fn open<'s>(
    scope: Scope<'s, Epoch>,
    starts: Vec<Start>,
    stop: Arc<AtomicBool>,
    fail: fn(&Error) -> !,
) -> (StreamVec<'s, Epoch, Opening>, Vec<Shards>) {
    let mut builder = OperatorBuilder::new("Open sinks".to_owned(), scope);
    let address = builder.operator_info().address;
    let activator = scope.worker().sync_activator_for(address.to_vec());
    let mut alarm = Alarm::new(scope.activator_for(address));
    let (output, seen) = builder.new_output();
    let mut output = OutputBuilder::<_, CapacityContainerBuilder<Vec<Opening>>>::from(output);
    let started = starts.into_iter().map(|start| match start(activator.clone()) {
        Ok(outboxes) => Rc::new(RefCell::new(outboxes)),
        Err(error) => fail(&error),
    });
    let sinks: Vec<Shards> = started.collect();
    let opening = sinks.clone();
    builder.build(move |mut capabilities| {
        let mut capability = capabilities.pop();
        let mut waiting: usize = opening.iter().map(|shards| shards.borrow().len()).sum();
        move |_| {
            let Some(held) = &capability else { return };
            let mut output = output.activate();
            for shards in &opening {
                for (_, outbox) in &*shards.borrow() {
                    for epoch in outbox.opened.try_iter() {
                        output.session(held).give(Opening::Seen(epoch));
                        waiting -= 1;
                    }
                }
            }
            if waiting > 0 && stop.load(Ordering::Relaxed) {
                // Nothing has been read: whoever still waits for the other side need not go on.
                opening.iter().for_each(|shards| shards.borrow().iter().for_each(|(_, o)| o.health.stop()));
                output.session(held).give(Opening::Stopped);
                waiting = 0;
            }
            if waiting == 0 {
                capability = None;
            } else {
                alarm.within(Duration::from_millis(100));
            }
        }
    });
    (seen, sinks)
}

/// What the driver of a sink must know.
pub struct SinkParts {
    pub sink: plan::Sink,
    pub account: usize,
    pub ledger: Ledger,
    pub shards: Shards,
    /// Lets the sink's threads wake the operator.
    pub woken: Woken,
}

/// Releases epochs to the shards of a sink. Gives out the letters of rows that the other side refused; its
/// frontier passes an epoch when the epoch is confirmed.
pub fn sink<'s>(
    rows: StreamVec<'s, Epoch, (u16, Batch)>,
    durable: StreamVec<'s, Epoch, ()>,
    parts: SinkParts,
    fail: fn(&Error) -> !,
) -> StreamVec<'s, Epoch, DeadLetter> {
    let scope = rows.scope();
    let mut builder = OperatorBuilder::new(format!("Sink {}", parts.sink.name), scope);
    let activator = scope.worker().sync_activator_for(builder.operator_info().address.to_vec());
    parts.woken.set(activator);
    let mut input = builder.new_input(rows, Pipeline);
    let _durable = builder.new_input(durable, Pipeline);
    let (output, letters) = builder.new_output();
    let mut output = OutputBuilder::<_, CapacityContainerBuilder<Vec<DeadLetter>>>::from(output);
    builder.build_reschedule(move |capabilities| {
        drop(capabilities);
        let mut driver = Driver { parts, waiting: BTreeMap::new(), unconfirmed: BTreeMap::new() };
        move |frontiers| {
            input.for_each(|capability, batches| {
                let epoch = *capability.time();
                let (_, waiting) =
                    driver.waiting.entry(epoch).or_insert_with(|| (capability.retain(0), BTreeMap::new()));
                for (shard, batch) in batches.drain(..) {
                    waiting.entry(shard).or_insert_with(Vec::new).push(batch);
                }
            });
            let released = |epoch: &Epoch| !frontiers.iter().any(|frontier| frontier.less_equal(epoch));
            while let Some(entry) = driver.waiting.first_entry().filter(|entry| released(entry.key())) {
                let (epoch, (capability, shards)) = entry.remove_entry();
                if let Err(error) = driver.release(epoch, capability, shards) {
                    fail(&error);
                }
            }
            let mut output = output.activate();
            for (epoch, letters) in driver.confirmations() {
                let Some((capability, ..)) = driver.unconfirmed.get(&epoch) else { continue };
                driver.parts.ledger.add(epoch, Count::LettersOut, letters.len() as i64);
                output.session(capability).give_iterator(letters.into_iter());
            }
            // Only now: several shards may have confirmed the same epoch.
            driver.unconfirmed.retain(|_, (_, shards)| !shards.is_empty());
            let done = driver.unconfirmed.is_empty() && driver.waiting.is_empty();
            if done && frontiers.iter().all(|frontier| frontier.is_empty()) {
                driver.parts.shards.borrow_mut().drain(..).for_each(|(_, mut outbox)| outbox.close());
                return false;
            }
            true
        }
    });
    letters
}

/// Batches of an epoch by shard, with the capability that holds the epoch open.
type Waiting = (Capability<Epoch>, BTreeMap<u16, Vec<Batch>>);

/// Operations of an epoch by shard that are not confirmed, with the capability that holds the epoch open.
type Unconfirmed = (Capability<Epoch>, BTreeMap<u16, Vec<Op>>);

struct Driver {
    parts: SinkParts,
    waiting: BTreeMap<Epoch, Waiting>,
    unconfirmed: BTreeMap<Epoch, Unconfirmed>,
}

impl Driver {
    fn release(
        &mut self,
        epoch: Epoch,
        capability: Capability<Epoch>,
        batches: BTreeMap<u16, Vec<Batch>>,
    ) -> Result<()> {
        let (sink, mut open) = (&self.parts.sink, BTreeMap::new());
        for (shard, outbox) in &*self.parts.shards.borrow() {
            let Some(batches) = batches.get(shard) else { continue };
            let mut changes: Changes = consolidate(&sink.schema, sink.key.as_deref(), sink.changes, batches)?;
            if let (Some(key), true) = (&sink.key, sink.replaces) {
                let (last, replaced) = last_of_key(changes, key)?;
                let emitted = Count::Account(self.parts.account, Fate::Emitted);
                self.parts.ledger.add(epoch, emitted, replaced as i64);
                changes = last;
            }
            if changes.ops.is_empty() {
                continue;
            }
            open.insert(*shard, changes.ops.clone());
            outbox.send(epoch, changes);
        }
        if !open.is_empty() {
            self.unconfirmed.insert(epoch, (capability, open));
        }
        Ok(())
    }

    /// What has been confirmed since the last call, as letters of refused rows; counts the rest.
    fn confirmations(&mut self) -> Vec<(Epoch, Vec<DeadLetter>)> {
        let mut confirmed = Vec::new();
        for (shard, outbox) in &*self.parts.shards.borrow() {
            for (epoch, receipt) in outbox.confirmed.try_iter() {
                let Some((_, open)) = self.unconfirmed.get_mut(&epoch) else { continue };
                let Some(ops) = open.remove(shard) else { continue };
                confirmed.push((epoch, count(&self.parts, epoch, &ops, receipt)));
            }
        }
        confirmed
    }
}

/// Counts the fates of an epoch's rows in a shard.
fn count(parts: &SinkParts, epoch: Epoch, ops: &[Op], receipt: Receipt) -> Vec<DeadLetter> {
    let total: i64 = ops.iter().map(|op| diff_of(*op)).sum();
    let dead: i64 = receipt.refused.iter().map(|(row, _)| diff_of(ops[*row])).sum();
    let duplicates = receipt.duplicates as i64;
    let account = |fate| Count::Account(parts.account, fate);
    parts.ledger.add(epoch, account(Fate::Dead), dead);
    parts.ledger.add(epoch, account(Fate::Deduplicated), duplicates);
    parts.ledger.add(epoch, account(Fate::Emitted), total - dead - duplicates);
    receipt.refused.into_iter().map(|(_, letter)| letter).collect()
}

//! Drivers of dead letters.
//!
//! Letters of all stages go back to the worker that read their record, which adds the record as it was
//! received, and from there to worker 0, which writes them. An epoch's letters are released after all sinks
//! have confirmed it, since sinks too can refuse rows; so the frontier behind this is the frontier of
//! everything outside.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use timely::container::CapacityContainerBuilder;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::{Exchange, Pipeline};
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::scheduling::SyncActivator;

use crate::batch::RowOrigin;
use crate::dead_letter::{AddressedLetter, DeadLetter, RawRecord, Reason};
use crate::ledger::{Count, Ledger};
use crate::time::{Epoch, EpochClose};
use crate::write::outbox::{Content, Outbox};

impl Content for Vec<AddressedLetter> {
    fn bytes(&self) -> usize {
        let size = |record: &RawRecord| record.payload.as_ref().map_or(0, Vec::len);
        self.iter().map(|letter| size(&letter.record) + size_of::<AddressedLetter>()).sum()
    }
}

/// Numbers of dead letters by reason, on the process that writes them.
#[derive(Debug, Default)]
pub struct LetterCounts([AtomicU64; Reason::ALL.len()]);

impl LetterCounts {
    /// The number for each reason.
    pub fn by_reason(&self) -> impl Iterator<Item = (Reason, u64)> {
        Reason::ALL.into_iter().map(|reason| (reason, self.0[reason as usize].load(Ordering::Relaxed)))
    }
}

/// What is known about records, on the worker that read them.
pub struct Records {
    /// Index of the worker that reads a partition.
    pub owner: Box<dyn Fn(RowOrigin) -> usize>,
    /// The record as it was received, with topic (or file) and partition number.
    pub find: Box<dyn Fn(RowOrigin) -> (String, u32, RawRecord)>,
    /// The source whose policy applies to a letter without origin, by the letter's stage.
    pub source_of_stage: Box<dyn Fn(&str) -> usize>,
}

/// Adds to each letter what the dead-letter sink writes of it.
pub fn address<'s>(
    letters: StreamVec<'s, Epoch, DeadLetter>,
    closes: StreamVec<'s, Epoch, EpochClose>,
    records: Records,
) -> StreamVec<'s, Epoch, AddressedLetter> {
    let Records { owner, find, source_of_stage } = records;
    let route = Exchange::new(move |letter: &DeadLetter| letter.origin.map_or(0, &owner) as u64);
    let mut builder = OperatorBuilder::new("Address letters".to_owned(), letters.scope());
    let mut letters = builder.new_input(letters, route);
    let mut closes = builder.new_input(closes, Pipeline);
    let (output, addressed) = builder.new_output();
    let mut output = OutputBuilder::<_, CapacityContainerBuilder<Vec<AddressedLetter>>>::from(output);
    builder.build(move |capabilities| {
        drop(capabilities);
        let mut clocks: BTreeMap<Epoch, i64> = BTreeMap::new();
        let mut waiting: BTreeMap<Epoch, (Capability<Epoch>, Vec<DeadLetter>)> = BTreeMap::new();
        move |frontiers| {
            closes.for_each(|_, closes| {
                clocks.extend(closes.drain(..).map(|close| (close.epoch, close.wall_ms)));
            });
            letters.for_each(|capability, letters| {
                let epoch = *capability.time();
                let (_, waiting) = waiting.entry(epoch).or_insert_with(|| (capability.retain(0), Vec::new()));
                waiting.append(letters);
            });
            let mut output = output.activate();
            waiting.retain(|epoch, (capability, letters)| {
                let Some(wall_ms) = clocks.get(epoch) else { return true };
                let letters = letters.drain(..).map(|letter| {
                    let Some(origin) = letter.origin else {
                        let source = source_of_stage(&letter.stage);
                        return AddressedLetter {
                            source,
                            topic: String::new(),
                            partition: 0,
                            record: RawRecord::default(),
                            wall_ms: *wall_ms,
                            letter,
                        };
                    };
                    let (topic, partition, record) = find(origin);
                    let source = usize::from(origin.source);
                    AddressedLetter { source, topic, partition, record, wall_ms: *wall_ms, letter }
                });
                output.session(capability).give_iterator(letters);
                false
            });
            clocks.retain(|epoch, _| frontiers.iter().any(|frontier| frontier.less_equal(epoch)));
        }
    });
    addressed
}

/// Writes the letters of released epochs, in the order of their origins. The frontier of what it gives out
/// passes an epoch when all its letters are safe.
pub fn write<'s>(
    letters: StreamVec<'s, Epoch, AddressedLetter>,
    durable: StreamVec<'s, Epoch, ()>,
    (counts, ledger): (Arc<LetterCounts>, Ledger),
    start: impl FnOnce(SyncActivator) -> Option<Outbox<Vec<AddressedLetter>>>,
) -> StreamVec<'s, Epoch, ()> {
    let scope = letters.scope();
    let mut builder = OperatorBuilder::new("Dead letters".to_owned(), scope);
    let activator = scope.worker().sync_activator_for(builder.operator_info().address.to_vec());
    let mut outbox = start(activator);
    let mut input = builder.new_input(letters, Exchange::new(|_: &AddressedLetter| 0));
    let _durable = builder.new_input(durable, Pipeline);
    let (_output, confirmed) = builder.new_output();
    builder.build_reschedule(move |capabilities| {
        drop(capabilities);
        let mut waiting: BTreeMap<Epoch, (Capability<Epoch>, Vec<AddressedLetter>)> = BTreeMap::new();
        let mut unconfirmed: BTreeMap<Epoch, (Capability<Epoch>, usize)> = BTreeMap::new();
        move |frontiers| {
            input.for_each(|capability, letters| {
                let epoch = *capability.time();
                let (_, waiting) = waiting.entry(epoch).or_insert_with(|| (capability.retain(0), Vec::new()));
                waiting.append(letters);
            });
            let released = |epoch: &Epoch| !frontiers.iter().any(|frontier| frontier.less_equal(epoch));
            while let Some(entry) = waiting.first_entry().filter(|entry| released(entry.key())) {
                let (epoch, (capability, mut letters)) = entry.remove_entry();
                let order =
                    |l: &AddressedLetter| (l.letter.origin, l.letter.row.clone(), l.letter.stage.clone());
                letters.sort_by_cached_key(order);
                for letter in &letters {
                    counts.0[letter.letter.reason as usize].fetch_add(1, Ordering::Relaxed);
                }
                if let Some(outbox) = &outbox {
                    unconfirmed.insert(epoch, (capability, letters.len()));
                    outbox.send(epoch, letters);
                }
            }
            if let Some(outbox) = &outbox {
                for (epoch, _) in outbox.confirmed.try_iter() {
                    let written = unconfirmed.remove(&epoch).map_or(0, |(_, letters)| letters);
                    ledger.add(epoch, Count::LettersWritten, written as i64);
                }
            }
            let done = waiting.is_empty() && unconfirmed.is_empty();
            if done && frontiers.iter().all(|frontier| frontier.is_empty()) {
                if let Some(mut outbox) = outbox.take() {
                    outbox.close();
                }
                return false;
            }
            true
        }
    });
    confirmed
}

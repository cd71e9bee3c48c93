//! MongoDB collections.
//!
//! *Append* inserts documents; what is there already is compared and never overwritten. *Upsert* replaces a
//! document unless the stored one carries a version (`_v`, the epoch) that is as new. Both can be sent
//! again without harm, so every command is repeated until a majority of the replica set has confirmed it.
//!
//! A delete takes the guard of its document away; so an epoch with deletes is alone in flight, and its
//! deletes follow its updates.

mod attempt;
mod classify;
mod command;
mod document;
mod encode;
mod open;
mod operations;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

use self::attempt::{Outcome, Target, attempt};
use self::command::{Batch, Kind, Operation, split};
use self::operations::{Encoded, Operations};
use super::backoff::{Backoff, stopped, until_it_works};
use super::connect::Context;
use super::ids::IdSource;
use super::refusal::refusal;
use super::{Changes, Health, Identity, Receipt, Sink};
use crate::dead_letter::Reason;
use crate::error::{Error, Result};
use crate::plan;
use crate::settings::{MongoDb, Secret};
use crate::time::Epoch;

#[doc(hidden)]
pub use self::operations::commands;

/// Commands that are under way at once.
const IN_FLIGHT: usize = 4;
/// How often a thread that waits for an answer looks whether it has to stop.
const LOOK: Duration = Duration::from_millis(200);
/// Looks without an answer after which the server counts as away.
const LOOKS: u32 = 15;

/// The sink of `connector = 'mongodb'` when the settings name a server.
#[derive(Debug)]
pub(super) struct Collection {
    sink: String,
    operations: Operations,
    uri: Secret,
    database: String,
    collection: String,
    not_compared: Vec<String>,
    connection: Option<Connection>,
    /// Commands that are under way, in the order of their epochs.
    in_flight: VecDeque<Attempt>,
    /// Receipts of the epochs written since the last confirmation.
    receipts: VecDeque<(Epoch, Receipt)>,
    backoff: Backoff,
    health: Arc<Health>,
}

#[derive(Debug)]
struct Connection {
    runtime: Runtime,
    target: Arc<Target>,
}

/// A command under way. It is never dropped, which would leave its connection in doubt: it runs to its end
/// as a task of its own.
#[derive(Debug)]
struct Attempt {
    batch: Arc<Batch>,
    task: JoinHandle<Result<Outcome>>,
}

impl Collection {
    /// The collection of a sink on the server at `uri`.
    pub(super) fn new(
        sink: &plan::Sink,
        target: &plan::MongoSink,
        uri: &Secret,
        settings: &MongoDb,
        context: &Context,
        health: Arc<Health>,
    ) -> Self {
        let not_compared = target.not_compared.iter().map(|&column| sink.schema.field(column).name().clone());
        Collection {
            sink: sink.name.clone(),
            operations: Operations::new(sink, target, &context.partitions),
            uri: uri.clone(),
            database: target.database.clone().unwrap_or_else(|| settings.database.clone()),
            collection: target.collection.clone(),
            not_compared: not_compared.collect(),
            connection: None,
            in_flight: VecDeque::new(),
            receipts: VecDeque::new(),
            backoff: Backoff::new(&sink.name),
            health,
        }
    }

    /// Sends operations in as many commands as they need.
    fn send(
        &mut self,
        epoch: Epoch,
        kind: Kind,
        operations: Vec<Operation>,
        changes: &Arc<Changes>,
    ) -> Result<()> {
        // Of two rows with one business key the earlier is the one that stays.
        let limit = match (kind, &self.operations.ids) {
            (Kind::Insert, IdSource::Columns(_)) => 1,
            _ => IN_FLIGHT,
        };
        for operations in split(operations) {
            while self.in_flight.len() >= limit {
                self.settle_first()?;
            }
            let batch = Batch { epoch, kind, operations, repeated: false, changes: changes.clone() };
            let attempt = self.start(batch)?;
            self.in_flight.push_back(attempt);
        }
        Ok(())
    }

    fn start(&self, batch: Batch) -> Result<Attempt> {
        let connection = self.connection.as_ref().ok_or_else(not_open)?;
        let (batch, target) = (Arc::new(batch), connection.target.clone());
        let sent = batch.clone();
        let task = connection.runtime.spawn(async move { attempt(&target, &sent).await });
        Ok(Attempt { batch, task })
    }

    /// Waits until nothing is under way.
    fn settle_all(&mut self) -> Result<()> {
        while !self.in_flight.is_empty() {
            self.settle_first()?;
        }
        Ok(())
    }

    /// Waits until the oldest command is done, however often it has to be sent.
    fn settle_first(&mut self) -> Result<()> {
        let Some(mut attempt) = self.in_flight.pop_front() else { return Ok(()) };
        loop {
            let outcome = self.outcome(&mut attempt.task)?;
            let batch = &attempt.batch;
            if let Some(receipt) = self.receipt(batch.epoch) {
                receipt.duplicates += outcome.duplicates;
            }
            for (row, reason, error) in outcome.refused {
                self.refuse(batch.epoch, &batch.changes, row, reason, error);
            }
            let Some(error) = outcome.away else {
                self.health.set_back(&self.sink);
                self.backoff.reset();
                return Ok(());
            };
            self.backoff.wait(&self.sink, &self.health, error)?;
            let again = Batch { operations: outcome.left, repeated: true, ..Batch::clone(batch) };
            attempt = self.start(again)?;
        }
    }

    /// Waits for the end of a command, which a server that hangs can put off by many seconds.
    fn outcome(&self, task: &mut JoinHandle<Result<Outcome>>) -> Result<Outcome> {
        let connection = self.connection.as_ref().ok_or_else(not_open)?;
        let mut looks = 0;
        loop {
            let answer = connection.runtime.block_on(async { tokio::time::timeout(LOOK, &mut *task).await });
            let silent = || Error::away("MongoDB does not answer");
            match answer {
                Ok(Ok(outcome)) => return outcome,
                Ok(Err(error)) => return Err(Error::internal("a MongoDB task has failed").caused_by(error)),
                Err(_) if self.health.stopping() && looks >= LOOKS => {
                    return Err(stopped(silent()));
                }
                Err(_) => looks += 1,
            }
            if looks == LOOKS {
                self.health.set_away(&self.sink, &silent());
            }
        }
    }

    fn refuse(&mut self, epoch: Epoch, changes: &Changes, row: usize, reason: Reason, error: String) {
        let letter = refusal(&self.sink, changes, row, reason, error);
        if let Some(receipt) = self.receipt(epoch) {
            receipt.refused.push((row, letter));
        }
    }

    fn receipt(&mut self, epoch: Epoch) -> Option<&mut Receipt> {
        self.receipts.iter_mut().rev().find(|(other, _)| *other == epoch).map(|(_, receipt)| receipt)
    }
}

impl Sink for Collection {
    fn open(&mut self, _identity: &Identity) -> Result<Epoch> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name(format!("mongodb {}", self.sink))
            .enable_all()
            .build()
            .map_err(|error| Error::internal("cannot start the threads of MongoDB").caused_by(error))?;
        let client = || runtime.block_on(open::client(&self.uri));
        let client = until_it_works(&self.sink, &self.health, client)?;
        let database = client.database(&self.database);
        let prepare = || runtime.block_on(open::prepare(&database, &self.collection, self.operations.mode));
        let progress = until_it_works(&self.sink, &self.health, prepare)?;
        let target = Arc::new(Target {
            database,
            collection: self.collection.clone(),
            not_compared: self.not_compared.clone(),
        });
        self.connection = Some(Connection { runtime, target });
        Ok(progress)
    }

    fn write(&mut self, epoch: Epoch, changes: Changes) -> Result<()> {
        self.receipts.push_back((epoch, Receipt::default()));
        let changes = Arc::new(changes);
        let Encoded { written, deleted, refused } = self.operations.encode(epoch, &changes)?;
        for (row, error) in refused {
            self.refuse(epoch, &changes, row, Reason::SinkRefused, error);
        }
        let kind = self.operations.kind();
        if deleted.is_empty() {
            return self.send(epoch, kind, written, &changes);
        }
        self.settle_all()?;
        self.send(epoch, kind, written, &changes)?;
        self.settle_all()?;
        self.send(epoch, Kind::Delete, deleted, &changes)?;
        self.settle_all()
    }

    fn confirm(&mut self) -> Result<Vec<(Epoch, Receipt)>> {
        self.settle_all()?;
        let mut receipts: Vec<_> = self.receipts.drain(..).collect();
        for (_, receipt) in &mut receipts {
            receipt.refused.sort_by_key(|(row, _)| *row);
        }
        Ok(receipts)
    }

    fn close(&mut self) -> Result<()> {
        self.settle_all()
    }
}

fn not_open() -> Error {
    Error::internal("a collection was used before it was open")
}

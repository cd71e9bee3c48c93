//! The thread of one sink shard: takes released epochs in, writes them, and tells when they are safe.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, unbounded};

use crate::error::{Error, Result};
use crate::time::Epoch;
use crate::write::{Changes, Health, Identity, Receipt, Sink};

/// What an outbox takes: something whose size is known.
pub trait Content: Send + 'static {
    /// Bytes in memory, more or less.
    fn bytes(&self) -> usize;
}

impl Content for Changes {
    fn bytes(&self) -> usize {
        // Of slices only their part: a batch from another process is one buffer for all its columns.
        let sizes = self.rows.columns().iter().map(|column| column.to_data().get_slice_memory_size());
        sizes.map(|size| size.unwrap_or_default()).sum()
    }
}

/// Opens the connection of a sink; called on the sink's own thread, because it may wait.
pub type Connect<T> = Box<dyn FnOnce() -> Result<Box<dyn Sink<T>>> + Send>;

/// A sink shard from the side of its worker. The queue needs no bound of its own: the ticker stops while too
/// many epochs or bytes are unconfirmed.
pub struct Outbox<T = Changes> {
    pub health: Arc<Health>,
    /// Tells once the highest epoch that the other side has seen: then the sink is open. It has a channel of
    /// its own because another operator listens to it.
    pub opened: Receiver<Epoch>,
    /// Tells which epochs are safe on the other side.
    pub confirmed: Receiver<(Epoch, Receipt)>,
    queue: Option<Sender<(Epoch, T)>>,
    bytes: Arc<AtomicUsize>,
    thread: Option<JoinHandle<()>>,
}

impl<T: Content> Outbox<T> {
    /// Starts the thread. `wake` is called after each message of it; `fail` ends the process with a message.
    pub fn start(
        identity: Identity,
        connect: Connect<T>,
        health: Arc<Health>,
        bytes: Arc<AtomicUsize>,
        wake: impl Fn() + Send + 'static,
        fail: fn(&Error) -> !,
    ) -> Result<Self> {
        let (queue, epochs) = unbounded();
        let (tell_opened, opened) = unbounded();
        let (tell_confirmed, confirmed) = unbounded();
        let name = format!("sink {}", identity.sink);
        let (thread_bytes, thread_health) = (bytes.clone(), health.clone());
        let run = move || {
            let sink = identity.sink.clone();
            // A worker that is gone has nothing left to learn.
            let tell_opened = |epoch| {
                let _ = tell_opened.send(epoch);
                wake();
            };
            let tell_confirmed = |confirmed| {
                let _ = tell_confirmed.send(confirmed);
                wake();
            };
            if let Err(error) = serve(identity, connect, &epochs, &thread_bytes, tell_opened, tell_confirmed)
                && !thread_health.stopping()
            {
                fail(&error.context(format_args!("sink \"{sink}\"")));
            }
        };
        let thread = std::thread::Builder::new().name(name).spawn(run);
        let thread = thread.map_err(|error| Error::internal("cannot start a thread").caused_by(error))?;
        Ok(Outbox { health, opened, confirmed, queue: Some(queue), bytes, thread: Some(thread) })
    }

    /// Hands a released epoch over.
    pub fn send(&self, epoch: Epoch, changes: T) {
        self.bytes.fetch_add(changes.bytes(), Ordering::Relaxed);
        if let Some(queue) = &self.queue {
            // The thread ends early only when the process is failing already.
            let _ = queue.send((epoch, changes));
        }
    }

    /// No further epoch will come: waits until the sink is closed.
    pub fn close(&mut self) {
        self.queue = None;
        if let Some(thread) = self.thread.take() {
            // A panic on that thread has ended the process through the panic hook.
            let _ = thread.join();
        }
    }
}

/// Epochs that are written before they are confirmed together.
const GROUP: usize = 64;

fn serve<T: Content>(
    identity: Identity,
    connect: Connect<T>,
    epochs: &Receiver<(Epoch, T)>,
    bytes: &AtomicUsize,
    tell_opened: impl Fn(Epoch),
    tell_confirmed: impl Fn((Epoch, Receipt)),
) -> Result<()> {
    let mut sink = connect()?;
    tell_opened(sink.open(&identity)?);
    while let Ok(first) = epochs.recv() {
        let mut size = 0;
        // What has piled up meanwhile shares one confirmation.
        for (epoch, changes) in std::iter::once(first).chain(epochs.try_iter().take(GROUP - 1)) {
            size += changes.bytes();
            sink.write(epoch, changes)?;
        }
        let confirmed = sink.confirm()?;
        bytes.fetch_sub(size, Ordering::Relaxed);
        confirmed.into_iter().for_each(&tell_confirmed);
    }
    sink.close()
}

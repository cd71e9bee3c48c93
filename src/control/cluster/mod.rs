//! Several processes as one: sockets that are connected, checked and framed by us, and timely on top.
//!
//! ```text
//!   process i listens on line i of the hosts file and connects to all lower ones
//!   dialer  -- greeting -->  listener        who I am, what I run
//!   dialer  <-- greeting --  listener        the same, and whether it agrees
//!   both    == frames ====   both            timely's bytes, each frame with a checksum
//! ```
//!
//! Timely has no fault tolerance: when one process ends, all end. What it leaves open is closed here: a
//! start that waits for ever, a stray connection that ends the process, a peer with another plan.

mod connect;
mod frame;
mod greeting;
pub mod hosts;
#[cfg(test)]
mod tests;

use std::any::Any;

use timely::communication::allocator::thread::ThreadBuilder;
use timely::communication::allocator::zero_copy::initialize::initialize_networking_from_sockets;
use timely::communication::allocator::{AllocatorBuilder, ProcessBuilder};
use timely::communication::{Hooks, allocator::zero_copy::stream::Stream};

use crate::error::{Error, Result};
use crate::settings;

pub use frame::Framed;

/// Which processes there are, and which this one is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Membership {
    /// `host:port` of every process; empty for a single process.
    pub hosts: Vec<String>,
    /// Which of them this is.
    pub process: usize,
    /// Worker threads of each process.
    pub workers: usize,
}

impl Membership {
    /// Number of processes.
    pub fn processes(&self) -> usize {
        self.hosts.len().max(1)
    }

    /// Number of workers of all processes.
    pub fn peers(&self) -> usize {
        self.processes() * self.workers
    }
}

/// What all processes of a cluster must agree on besides their hosts and workers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Agreement {
    /// Name of the dataflow.
    pub dataflow: String,
    /// The plan as text, as `explain` prints it.
    pub plan: String,
    /// Settings and flags that decide what is computed: bounded, clock, records per epoch, ...
    pub options: String,
}

/// What timely runs on: to be given to `timely::execute::execute_from`. The second part joins the
/// communication threads when it is dropped.
pub type Communication = (Vec<AllocatorBuilder>, Box<dyn Any + Send>);

/// Connects the processes and builds timely's allocators, one per worker of this process.
pub fn build(
    membership: &Membership,
    agreement: &Agreement,
    settings: &settings::Cluster,
) -> Result<Communication> {
    let hooks = Hooks::default();
    if membership.processes() == 1 {
        if membership.workers == 1 {
            return Ok((vec![AllocatorBuilder::Thread(ThreadBuilder)], Box::new(())));
        }
        let workers = ProcessBuilder::new_typed_vector(membership.workers, hooks.refill, hooks.spill);
        return Ok((workers.into_iter().map(AllocatorBuilder::Process).collect(), Box::new(())));
    }
    let sockets = connect::connect(membership, agreement, settings)?;
    let mut streams = Vec::new();
    for (peer, socket) in sockets.into_iter().enumerate() {
        streams.push(socket.map(|socket| Framed::new(socket, peer)));
    }
    build_on(membership, streams)
}

/// Builds timely's allocators on streams that are already connected, `None` at the own place.
fn build_on<S: Stream + 'static>(membership: &Membership, streams: Vec<Option<S>>) -> Result<Communication> {
    let hooks = Hooks::default();
    let workers = ProcessBuilder::new_typed_vector(membership.workers, hooks.refill.clone(), None);
    let (builders, guard) =
        initialize_networking_from_sockets(workers, streams, membership.process, membership.workers, hooks)
            .map_err(|error| {
            Error::internal("cannot start the threads of the cluster's connections").caused_by(error)
        })?;
    Ok((builders.into_iter().map(AllocatorBuilder::Tcp).collect(), Box::new(guard)))
}

//! Connects the processes of a cluster before a deadline, and nobody else.

use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender};
use socket2::{SockRef, Socket, TcpKeepalive};

use super::greeting::{Greeting, receive_verdict, send_verdict};
use super::{Agreement, Membership};
use crate::error::{Error, Result};
use crate::settings;

/// How often a peer that is not there yet is tried, and how long one wait for a connection is.
const RETRY: Duration = Duration::from_millis(50);
const ACCEPT: Duration = Duration::from_millis(20);

/// What a connection has to say who it is; a silent one holds nothing up but itself.
const GREETING: Duration = Duration::from_secs(3);

/// Connections that may be silent at the same time.
const GREETINGS_MAX: usize = 64;

/// What the threads of the start report to the one that waits.
enum Event {
    /// A peer is connected, and both sides agree.
    Connected { peer: usize, socket: TcpStream },
    /// Somebody was turned away, or a peer was not there; the start goes on.
    Missed { who: Who, why: String },
    /// The cluster cannot come up.
    Hopeless(Error),
}

/// Whom an event is about.
enum Who {
    Peer(usize),
    Stranger(SocketAddr),
}

/// What all threads of the start see.
struct Start {
    membership: Membership,
    greeting: Greeting,
    deadline: Instant,
    over: AtomicBool,
    /// Peers that have connected to this process.
    taken: Mutex<Vec<bool>>,
    greetings: AtomicUsize,
    events: Sender<Event>,
}

/// Sockets to all other processes, `None` at the own place.
pub fn connect(
    membership: &Membership,
    agreement: &Agreement,
    settings: &settings::Cluster,
) -> Result<Vec<Option<TcpStream>>> {
    let own = &membership.hosts[membership.process];
    let listener = TcpListener::bind(own).map_err(|error| {
        Error::config(format!("process {} cannot listen on {own}", membership.process))
            .caused_by(error)
            .hint("line p of the hosts file (from 0, comments not counted) is the address of process p")
    })?;
    connect_from(listener, membership, agreement, settings)
}

/// The same with a listener that is already there.
pub fn connect_from(
    listener: TcpListener,
    membership: &Membership,
    agreement: &Agreement,
    settings: &settings::Cluster,
) -> Result<Vec<Option<TcpStream>>> {
    let (events, arrivals) = crossbeam_channel::unbounded();
    let start = Arc::new(Start {
        membership: membership.clone(),
        greeting: Greeting::of(membership, agreement),
        deadline: Instant::now() + settings.connect_timeout,
        over: AtomicBool::new(false),
        taken: Mutex::new(vec![false; membership.processes()]),
        greetings: AtomicUsize::new(0),
        events,
    });
    for peer in 0..membership.process {
        let start = Arc::clone(&start);
        spawn(&format!("dial-{peer}"), move || start.dial(peer))?;
    }
    let sockets = await_all(&start, listener, &arrivals);
    start.over.store(true, Ordering::Relaxed);
    let sockets = sockets.map_err(|error| error.context(format_args!("process {}", membership.process)))?;
    for socket in sockets.iter().flatten() {
        prepare(socket, settings.stall_timeout).map_err(|error| {
            Error::internal("cannot prepare a connection of the cluster").caused_by(error)
        })?;
    }
    tracing::info!(process = membership.process, processes = membership.processes(), "cluster is connected");
    Ok(sockets)
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<()> {
    thread::Builder::new()
        .name(format!("cluster:{name}"))
        .spawn(work)
        .map(|_| ())
        .map_err(|error| Error::internal("cannot start a thread").caused_by(error))
}

/// Accepts and collects until every peer is there or the deadline has passed.
fn await_all(
    start: &Arc<Start>,
    listener: TcpListener,
    arrivals: &Receiver<Event>,
) -> Result<Vec<Option<TcpStream>>> {
    let processes = start.membership.processes();
    let mut sockets: Vec<Option<TcpStream>> = (0..processes).map(|_| None).collect();
    let mut missed = BTreeMap::new();
    let listener = Socket::from(listener);
    listener
        .set_read_timeout(Some(ACCEPT))
        .map_err(|error| Error::internal("cannot prepare the listener of the cluster").caused_by(error))?;
    while sockets.iter().flatten().count() + 1 < processes {
        if Instant::now() >= start.deadline {
            return Err(too_late(&start.membership, &sockets, &missed));
        }
        match listener.accept() {
            Ok((socket, _)) => start.greet(TcpStream::from(socket))?,
            Err(error) if is_wait(&error) => {}
            // The connection was given up before it was taken.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                return Err(Error::internal("cannot accept connections of the cluster").caused_by(error));
            }
        }
        for event in arrivals.try_iter() {
            match event {
                Event::Connected { peer, socket } => sockets[peer] = Some(socket),
                Event::Hopeless(error) => return Err(error),
                Event::Missed { who: Who::Peer(peer), why } => _ = missed.insert(peer, why),
                Event::Missed { who: Who::Stranger(address), why } => {
                    tracing::warn!(%address, "rejected a connection to the cluster's port: {why}");
                }
            }
        }
    }
    Ok(sockets)
}

fn is_wait(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted)
}

fn too_late(
    membership: &Membership,
    sockets: &[Option<TcpStream>],
    missed: &BTreeMap<usize, String>,
) -> Error {
    let missing =
        (0..membership.processes()).filter(|peer| *peer != membership.process && sockets[*peer].is_none());
    let missing: Vec<String> = missing
        .map(|peer| match missed.get(&peer) {
            Some(why) => format!("process {peer} at {} ({why})", membership.hosts[peer]),
            None => format!("process {peer} at {}", membership.hosts[peer]),
        })
        .collect();
    Error::config(format!("cluster is incomplete, missing: {}", missing.join(", ")))
        .hint("start all processes with the same hosts file within cluster.connect_timeout")
}

/// Small messages go out at once; a peer that is gone without a word is noticed.
fn prepare(socket: &TcpStream, patience: Duration) -> io::Result<()> {
    socket.set_read_timeout(None)?;
    socket.set_write_timeout(None)?;
    socket.set_nodelay(true)?;
    let keepalive =
        TcpKeepalive::new().with_time(Duration::from_secs(10)).with_interval(Duration::from_secs(5));
    let socket = SockRef::from(socket);
    socket.set_tcp_keepalive(&keepalive)?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(patience))?;
    #[cfg(not(target_os = "linux"))]
    let _ = patience;
    Ok(())
}

impl Start {
    fn remaining(&self) -> Duration {
        // A timeout of zero would mean none.
        self.deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1))
    }

    fn report(&self, event: Event) {
        // Nobody listens any more once the start is over.
        let _ = self.events.send(event);
    }

    fn missed(&self, who: Who, why: impl ToString) {
        self.report(Event::Missed { who, why: why.to_string() });
    }

    // ------------------------------------------------------------------------------------------ dialing

    /// Tries a lower process until it is there.
    fn dial(&self, peer: usize) {
        while !self.over.load(Ordering::Relaxed) && Instant::now() < self.deadline {
            match self.dial_once(peer) {
                Ok(socket) => return self.report(Event::Connected { peer, socket }),
                Err(Failure::Hopeless(error)) => return self.report(Event::Hopeless(error)),
                Err(Failure::NotYet(error)) => self.missed(Who::Peer(peer), error),
            }
            thread::park_timeout(RETRY);
        }
    }

    fn dial_once(&self, peer: usize) -> Result<TcpStream, Failure> {
        let host = &self.membership.hosts[peer];
        let mut socket = self.open(host)?;
        socket.set_read_timeout(Some(self.remaining()))?;
        self.greeting.send(&mut socket)?;
        let hopeless =
            |why: String| Failure::Hopeless(Error::config(format!("process {peer} at {host}: {why}")));
        let theirs = Greeting::receive(&mut socket).map_err(|error| match error.kind() {
            io::ErrorKind::InvalidData => hopeless(error.to_string()),
            _ => Failure::NotYet(error),
        })?;
        if let Some(mismatch) = self.greeting.mismatch(&theirs) {
            return Err(hopeless(mismatch));
        }
        if theirs.process != peer as u64 {
            return Err(hopeless(format!("process {} answers there", theirs.process)));
        }
        match receive_verdict(&mut socket)? {
            Some(refusal) => Err(hopeless(format!("it refuses: {refusal}"))),
            None => Ok(socket),
        }
    }

    /// A connection to one of the addresses of a host.
    fn open(&self, host: &str) -> io::Result<TcpStream> {
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
        for address in host.to_socket_addrs()? {
            match TcpStream::connect_timeout(&address, self.remaining().min(Duration::from_secs(1))) {
                // Where the port is one of those that the system hands out, a socket can meet itself.
                Ok(socket) if socket.local_addr()? == socket.peer_addr()? => {
                    last = io::Error::from(io::ErrorKind::ConnectionRefused);
                }
                Ok(socket) => return Ok(socket),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    // ---------------------------------------------------------------------------------------- listening

    /// Finds out who has connected, on a thread of its own: a silent stranger holds up nobody.
    fn greet(self: &Arc<Self>, socket: TcpStream) -> Result<()> {
        if self.greetings.fetch_add(1, Ordering::Relaxed) >= GREETINGS_MAX {
            self.greetings.fetch_sub(1, Ordering::Relaxed);
            return Ok(());
        }
        let start = Arc::clone(self);
        spawn("greet", move || {
            let address = socket.peer_addr();
            if let (Err(error), Ok(address)) = (start.greet_one(socket), address) {
                start.missed(Who::Stranger(address), error);
            }
            start.greetings.fetch_sub(1, Ordering::Relaxed);
        })
    }

    fn greet_one(&self, mut socket: TcpStream) -> io::Result<()> {
        socket.set_read_timeout(Some(self.remaining().min(GREETING)))?;
        let theirs = Greeting::receive(&mut socket)?;
        self.greeting.send(&mut socket)?;
        if let Err(refusal) = self.admit(&theirs) {
            send_verdict(&mut socket, &refusal)?;
            // Who was given the same addresses belongs here, and it will not come again: no use to wait.
            if self.greeting.same_hosts(&theirs) {
                let message = format!("process {} does not fit: {refusal}", theirs.process);
                self.report(Event::Hopeless(Error::config(message)));
            }
            return Err(io::Error::other(refusal));
        }
        send_verdict(&mut socket, "")?;
        // `admit` has seen that the index is one of ours.
        self.report(Event::Connected { peer: theirs.process as usize, socket });
        Ok(())
    }

    /// Takes the place of a peer, or says why not.
    fn admit(&self, theirs: &Greeting) -> Result<(), String> {
        if let Some(mismatch) = self.greeting.mismatch(theirs) {
            return Err(mismatch);
        }
        let mut taken = self.taken.lock().expect("no panic under this lock");
        let peer = usize::try_from(theirs.process).unwrap_or(usize::MAX);
        if peer == self.membership.process || taken.get(peer) == Some(&true) {
            return Err(format!("there are two processes with -p {peer}"));
        }
        if peer < self.membership.process || peer >= taken.len() {
            return Err(format!("process {peer} must not connect to process {}", self.membership.process));
        }
        taken[peer] = true;
        Ok(())
    }
}

/// Why a connection to a lower process did not come about.
enum Failure {
    /// It may yet.
    NotYet(io::Error),
    /// It never will.
    Hopeless(Error),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Failure::NotYet(error)
    }
}

//! One worker: prepares its parts of the dataflow, then steps it until it ends.
//!
//! Between steps it answers live reads, lets go of what is no longer needed, and on worker 0 keeps the
//! status up to date. It never waits for anything but its own inbox.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use timely::dataflow::operators::probe::Handle;
use timely::worker::Worker;

use crate::alarm::Woken;
use crate::batch::RowOrigin;
use crate::control::failure::fatal;
use crate::control::publish::{self, Facts};
use crate::control::samples::Sampler;
use crate::control::timings::Timings;
use crate::control::watchdog::{Progress, Watchdog};
use crate::dataflow::{self, Parts, Running, StartLetters};
use crate::dead_letter::RawRecord;
use crate::error::Result;
use crate::execution::{Execution, LookupRequest, partition_worker};
use crate::ingest::align::{Ceilings, Replay};
use crate::ingest::binder::InMemory;
use crate::ingest::consumer::ConsumerHandle;
use crate::ingest::driver::{Retained, SourceParts, SourceProgress};
use crate::ingest::ticker::{Gauge, TickerControl};
use crate::ledger::{Ledger, LedgerReport};
use crate::time::Epoch;
use crate::transform::view::ViewReader;
use crate::write::letters::Records;
use crate::write::outbox::Outbox;

/// How long a worker without anything to do sleeps; whoever has something for it wakes it earlier.
const PARK: Duration = Duration::from_millis(100);
/// How often views are compacted and the status is written.
const HOUSEKEEPING: Duration = Duration::from_millis(250);

/// Runs the dataflow on this worker until it ends.
pub fn run(worker: &mut Worker, execution: &Arc<Execution>) -> Result<()> {
    let gauge = Gauge::new(execution.settings.flow.clone(), execution.held_bytes.clone());
    let control = Rc::new(TickerControl {
        ended: Cell::new(false),
        stop: execution.stop.clone(),
        next: Cell::new(0),
        arrivals: execution.arrivals.clone(),
        findings: execution.findings.clone(),
        watermarks: RefCell::default(),
        ceilings: Ceilings::new(
            execution.plan.sources.iter().any(|source| source.max_drift.is_some()),
            replays(execution),
        ),
        tables: execution.plan.reads_tables(),
    });
    let ledger = Ledger::new(execution.layout.clone());
    let retained = Rc::new(RefCell::new(Retained::new(execution.held_bytes.clone())));
    let progress = SourceProgress::default();
    let shared = (&ledger, &retained, &progress, &gauge.loading);
    let (sources, consumers) = read_sources(execution, worker, shared)?;
    let parts = Parts {
        plan: execution.plan.clone(),
        pace: execution.pace.clone(),
        gauge: gauge.clone(),
        control: control.clone(),
        journal: Box::new(InMemory),
        ledger: ledger.clone(),
        sources,
        sinks: execution.sink_starts(worker.index(), worker.peers()),
        records: records(execution, worker.peers(), &retained),
        letters: letters(execution, worker.index()),
        letter_counts: execution.letter_counts.clone(),
        rows_per_partial: execution.settings.flow.rows_per_partial,
        serves: execution.serves(),
        fail: fatal,
    };
    let running = worker.dataflow_named(&execution.plan.name, |scope| dataflow::build(scope, parts))?;
    let watchdog = Watchdog::new(execution.settings.cluster.stall_timeout);
    let mut state = Loop {
        execution: execution.clone(),
        gauge,
        control,
        retained,
        progress,
        consumers,
        running,
        watchdog,
        timings: Timings::default(),
        next_housekeeping: Instant::now(),
        sampler: sampler(execution, worker.index()),
    };
    while worker.step_or_park(Some(PARK)) {
        state.after_step(worker.index())?;
    }
    state.finish(worker.index());
    Ok(())
}

/// The sources whose records come when their event times say.
fn replays(execution: &Execution) -> Vec<Replay> {
    let sources = 0..execution.plan.sources.len();
    let replay = |index| Some(Replay::new(index as u16, execution.replay_milli(index)?));
    sources.filter_map(replay).collect()
}

/// What the source operators of this worker share with its other parts.
type Shared<'a> = (&'a Ledger, &'a Rc<RefCell<Retained>>, &'a SourceProgress, &'a Rc<Cell<Option<Epoch>>>);

/// Starts what reads the partitions of this worker; ticks tell of them.
fn read_sources(
    execution: &Arc<Execution>,
    worker: &Worker,
    (ledger, retained, progress, loading): Shared<'_>,
) -> Result<(Vec<SourceParts>, Vec<Rc<ConsumerHandle>>)> {
    let (mut sources, mut consumers) = (Vec::new(), Vec::new());
    for index in 0..execution.plan.sources.len() {
        let woken = Woken::default();
        let operator = woken.clone();
        let arrivals = execution.arrivals.clone();
        let waits = execution.bounded || execution.plan.sources[index].table.is_some();
        // Live epochs are cut on ticks; bounded ones when there is enough, and tables at first when they come.
        let wake = move || {
            arrivals.notify();
            if waits {
                operator.wake();
            }
        };
        let consumer = Rc::new(execution.read_source(index, wake)?);
        let (shared, reading, of_worker) =
            (execution.clone(), consumer.clone(), (worker.index(), worker.peers()));
        let take_on = Box::new(move |found| shared.take_on(index, of_worker, &reading, found));
        sources.push(SourceParts {
            source: Arc::new(execution.plan.sources[index].clone()),
            index,
            take_on,
            growing: execution.grows(index),
            bounded: execution.bounded,
            epoch_limits: execution.epoch_limits(),
            replay_milli: execution.replay_milli(index),
            stop: execution.stop.clone(),
            ledger: ledger.clone(),
            retained: retained.clone(),
            progress: progress.clone(),
            observed: execution.observed.clone(),
            arrivals: execution.arrivals.clone(),
            loading: loading.clone(),
            woken,
        });
        consumers.push(consumer);
    }
    Ok((sources, consumers))
}

/// What the dead letters of this worker's records need.
fn records(execution: &Arc<Execution>, peers: usize, retained: &Rc<RefCell<Retained>>) -> Records {
    let (names, retained) = (execution.names.clone(), retained.clone());
    let find = move |origin: RowOrigin| {
        let partition = names.find(origin.source, origin.partition);
        let record = retained.borrow().find(usize::from(origin.source), origin.partition, origin.offset);
        let (name, number) = partition.map_or_else(Default::default, |p| (p.name.to_string(), p.number));
        (name, number, record.unwrap_or_else(RawRecord::default))
    };
    let sources = execution.stage_sources();
    Records {
        owner: Box::new(move |origin| partition_worker(origin.source, origin.partition, peers)),
        find: Box::new(find),
        source_of_stage: Box::new(move |stage| sources.get(stage).copied().unwrap_or_default()),
    }
}

/// Starts the dead letters' outbox on worker 0; if every source drops its letters it still counts them.
fn letters(execution: &Arc<Execution>, worker: usize) -> StartLetters {
    let (execution, bytes) = (execution.clone(), execution.held_bytes.clone());
    Box::new(move |activator| {
        if worker != 0 {
            return None;
        }
        let wake = move || {
            let _ = activator.activate();
        };
        let connect = execution.letter_writer();
        let outbox = Outbox::start(
            execution.identity("dead_letters", 1, 0),
            connect,
            execution.letters_health.clone(),
            bytes,
            wake,
            fatal,
        );
        match outbox {
            Ok(outbox) => Some(outbox),
            Err(error) => fatal(&error),
        }
    })
}

/// What is written down now and then, on worker 0.
fn sampler(execution: &Execution, worker: usize) -> Option<Sampler> {
    let mut sampler = execution.samples.lock().expect("no panic under this lock");
    if worker == 0 { sampler.take() } else { None }
}

/// What a worker keeps an eye on between steps.
struct Loop {
    execution: Arc<Execution>,
    gauge: Rc<Gauge>,
    control: Rc<TickerControl>,
    retained: Rc<RefCell<Retained>>,
    progress: SourceProgress,
    consumers: Vec<Rc<ConsumerHandle>>,
    running: Running,
    watchdog: Watchdog,
    timings: Timings,
    next_housekeeping: Instant,
    /// On worker 0 of a benchmark that asks for it.
    sampler: Option<Sampler>,
}

impl Loop {
    /// The first epoch that is not yet released; `None` when there will be no more.
    fn released(&self) -> Option<Epoch> {
        match (first(&self.gauge.computed), first(&self.gauge.durable)) {
            (Some(computed), Some(durable)) => Some(computed.min(durable)),
            (computed, durable) => computed.or(durable),
        }
    }

    fn after_step(&mut self, worker: usize) -> Result<()> {
        let next = self.control.next.get();
        let confirmed = first(&self.gauge.confirmed);
        self.retained.borrow_mut().release(confirmed);
        self.gauge.wake(next);
        if worker == 0 && next > 0 {
            self.timings.look(next, first(&self.gauge.computed), confirmed, &self.execution.telemetry);
        }
        self.answer(worker)?;
        if let Some(error) = self.consumers.iter().find_map(|consumer| consumer.take_error()) {
            return Err(error);
        }
        let sampled = self.sampler.as_ref().is_some_and(|sampler| sampler.is_due(confirmed));
        if Instant::now() < self.next_housekeeping && !sampled {
            return Ok(());
        }
        self.next_housekeeping = Instant::now() + HOUSEKEEPING;
        if let Some(released) = self.released() {
            self.running.views.iter_mut().for_each(|view| view.compact(released));
        }
        if worker == 0 {
            self.watch()?;
            self.execution.reserve(self.control.next.get())?;
        }
        self.publish(worker, self.released(), confirmed);
        if let (Some(sampler), Some(confirmed), true) = (&mut self.sampler, confirmed, sampled) {
            sampler.take(confirmed, &self.execution.telemetry.status())?;
        }
        Ok(())
    }

    /// Tells everybody who looks how things are.
    fn publish(&self, worker: usize, released: Option<Epoch>, confirmed: Option<Epoch>) {
        let newest = |view: &ViewReader| {
            view.newest(publish::NEWEST, released.unwrap_or(Epoch::MAX))
                .iter()
                .map(|row| view.render(row))
                .collect::<Vec<_>>()
        };
        let counts = self.running.settled.counts();
        let ledger = (worker == 0).then(|| LedgerReport::new(&self.execution.layout, counts.iter()));
        let facts = Facts {
            worker,
            partitions: self.progress.borrow().values().cloned().collect(),
            newest: self.running.views.iter().map(newest).collect(),
            released,
            confirmed,
            next: self.control.next.get(),
            loading: self.gauge.is_loading(),
            sources_away: self.consumers.iter().map(|consumer| consumer.away()).collect(),
            waits: [0, 1].map(|limit| self.gauge.waits[limit].get()),
            ledger,
            watermarks: self.control.watermarks.borrow().clone(),
        };
        publish::publish(&self.execution, facts);
    }

    /// Ends the process if the frontier stands although nothing outside holds it.
    fn watch(&mut self) -> Result<()> {
        let frontier = first(&self.gauge.computed);
        let next = self.control.next.get();
        let frontier = frontier.unwrap_or(next);
        let progress = Progress {
            frontier,
            // A table that is away, or long, holds its epoch.
            open_epochs: match self.execution.bounded || self.gauge.is_loading() {
                true => 0,
                false => next.saturating_sub(frontier),
            },
            sink_away: self.execution.away().next().is_some(),
        };
        self.watchdog.tick(Instant::now(), progress)
    }

    /// Answers the live reads that have arrived.
    fn answer(&mut self, worker: usize) -> Result<()> {
        let Some(requests) = self.execution.lookups(worker) else { return Ok(()) };
        let released = self.released().unwrap_or(Epoch::MAX);
        for LookupRequest { view, key, reply } in requests.try_iter() {
            let row = self.running.views[view].get(&key, released);
            let json = row.map(|row| row.map(|row| self.running.views[view].render(&row)));
            // Who asked may have gone.
            let _ = reply.send(json);
        }
        Ok(())
    }

    /// The last words of this worker.
    fn finish(self, worker: usize) {
        self.publish(worker, None, None);
        if worker == 0 {
            let counts = self.running.settled.counts();
            let report = LedgerReport::new(&self.execution.layout, counts.iter());
            *self.execution.final_ledger.lock().expect("no panic under this lock") = Some(report.to_json());
            self.execution.next_epoch.store(self.control.next.get(), Ordering::Relaxed);
        }
    }
}

/// The first epoch that a probe has not seen pass; `None` at the end.
fn first(probe: &Handle<Epoch>) -> Option<Epoch> {
    probe.with_frontier(|frontier| frontier.first().copied())
}

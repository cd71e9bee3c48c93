//! The ticker on worker 0: opens the end of each epoch, and with it is the only back-pressure there is.
//!
//! While too many epochs are under way it does not tick; then sources do not cut, consumers are not asked,
//! and the broker holds the backlog.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use timely::container::CapacityContainerBuilder;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::operators::probe::Handle;
use timely::dataflow::operators::vec::Broadcast;
use timely::dataflow::{Scope, StreamVec};
use timely::scheduling::Activator;

use crate::alarm::Alarm;
use crate::ingest::align::Ceilings;
use crate::ingest::beat::{Arrivals, Beat};
use crate::ingest::discovery::Findings;
use crate::settings::Flow;
use crate::time::{Epoch, Opening, Tick, Watermark};

/// When epochs end.
#[derive(Clone, Debug)]
pub struct Pace {
    /// Length of an epoch.
    pub interval: Duration,
    /// Length of an epoch while nothing arrives.
    pub idle_interval: Duration,
    /// Bounded runs tick as fast as the flow allows; the sources cut by count.
    pub bounded: bool,
    /// `--clock`: the wall clock before the first epoch, in milliseconds since the Unix epoch; each epoch is
    /// one interval later.
    pub clock_ms: Option<i64>,
    /// The first epoch of this run.
    pub first_epoch: Epoch,
}

/// What is under way, seen from worker 0.
#[derive(Debug)]
pub struct Gauge {
    /// Frontier behind the operators.
    pub computed: Handle<Epoch>,
    /// Frontier of what is bound durably.
    pub durable: Handle<Epoch>,
    /// Frontier behind the sinks and dead letters.
    pub confirmed: Handle<Epoch>,
    /// Bytes that this process holds until they are confirmed.
    pub held_bytes: Arc<AtomicUsize>,
    limits: Flow,
    /// The epoch in which tables are read to their end, until it is computed. No other is cut before.
    pub loading: Rc<Cell<Option<Epoch>>>,
    /// Ticks that were held back because too many epochs were computed, and because too much was under way
    /// to the sinks.
    pub waits: [Cell<u64>; 2],
    blocked: Cell<bool>,
    ticker: RefCell<Option<Activator>>,
}

impl Gauge {
    /// A gauge whose probes are not yet attached.
    pub fn new(limits: Flow, held_bytes: Arc<AtomicUsize>) -> Rc<Self> {
        Rc::new(Gauge {
            computed: Handle::new(),
            durable: Handle::new(),
            confirmed: Handle::new(),
            held_bytes,
            limits,
            loading: Rc::default(),
            waits: Default::default(),
            blocked: Cell::new(false),
            ticker: RefCell::new(None),
        })
    }

    /// Which of the limits makes epoch `next` wait for earlier ones, if one does.
    fn full(&self, next: Epoch) -> Option<Limit> {
        let computed = self.computed.with_frontier(|f| f.first().copied()).unwrap_or(next);
        if self.is_loading() {
            return Some(Limit::Computing);
        }
        let confirmed = self.confirmed.with_frontier(|f| f.first().copied()).unwrap_or(next);
        if next.saturating_sub(computed) >= self.limits.max_epochs_computing {
            return Some(Limit::Computing);
        }
        let in_flight = computed.saturating_sub(confirmed) >= self.limits.max_epochs_in_flight
            || self.held_bytes.load(Ordering::Relaxed) >= self.limits.sink_buffer_bytes;
        in_flight.then_some(Limit::InFlight)
    }

    /// Whether tables are being read that were not read to their end before.
    pub fn is_loading(&self) -> bool {
        let Some(epoch) = self.loading.get() else { return false };
        let computed = self.computed.with_frontier(|f| f.first().is_none_or(|computed| *computed > epoch));
        if computed {
            self.loading.set(None);
        }
        !computed
    }

    fn hold(&self, limit: Limit) {
        self.blocked.set(true);
        let waits = &self.waits[limit as usize];
        waits.set(waits.get() + 1);
    }

    /// Called after each step of the worker: wakes the ticker if it waits and may go on.
    pub fn wake(&self, next: Epoch) {
        if self.blocked.get() && self.full(next).is_none() {
            self.blocked.set(false);
            if let Some(ticker) = &*self.ticker.borrow() {
                ticker.activate();
            }
        }
    }
}

/// A limit of what is under way.
#[derive(Clone, Copy, Debug)]
enum Limit {
    Computing,
    InFlight,
}

/// What the rest of worker 0 tells the ticker.
#[derive(Debug, Default)]
pub struct TickerControl {
    /// All partitions of all sources have ended.
    pub ended: Cell<bool>,
    /// Drain and stop.
    pub stop: Arc<AtomicBool>,
    /// The next epoch to be ticked.
    pub next: Cell<Epoch>,
    /// Records that wait to be cut.
    pub arrivals: Arc<Arrivals>,
    /// Partitions that the next tick tells of.
    pub findings: Arc<Findings>,
    /// Those of the sources behind the last epoch.
    pub watermarks: RefCell<Vec<Watermark>>,
    /// Up to which event time sources are cut.
    pub ceilings: Ceilings,
    /// There are tables, which the first epoch reads to their end.
    pub tables: bool,
}

impl TickerControl {
    /// What a sink says when it is open: no epoch is used that it has seen.
    fn opened(&self, opening: Opening, next: &mut Epoch) {
        match opening {
            Opening::Seen(epoch) => *next = (*next).max(epoch + 1),
            Opening::Stopped => self.stop.store(true, Ordering::Relaxed),
        }
    }
}

/// Wall clock of epochs: never goes back, whatever the machine's clock does.
#[derive(Debug)]
struct Clock {
    /// Wall clock before the first epoch, and the length of an epoch, if the clock is given.
    given: Option<(i64, i64)>,
    ticked: i64,
    last_ms: i64,
}

impl Clock {
    fn new(pace: &Pace) -> Self {
        let interval_ms = i64::try_from(pace.interval.as_millis()).unwrap_or(i64::MAX);
        Clock { given: pace.clock_ms.map(|start| (start, interval_ms)), ticked: 0, last_ms: i64::MIN }
    }

    /// The clock of the next epoch, milliseconds since the Unix epoch.
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the machine's clock")]
    fn tick(&mut self) -> i64 {
        self.ticked += 1;
        let now = match self.given {
            Some((start, interval)) => start.saturating_add(self.ticked.saturating_mul(interval)),
            None => {
                let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
            }
        };
        self.last_ms = self.last_ms.max(now);
        self.last_ms
    }
}

/// Ticks on worker 0, broadcast to all workers.
///
/// `ready` brings the epochs that sinks have seen, and its end means that all are open: the first tick waits
/// for it.
pub fn ticker<'s>(
    scope: Scope<'s, Epoch>,
    ready: StreamVec<'s, Epoch, Opening>,
    pace: Pace,
    gauge: Rc<Gauge>,
    control: Rc<TickerControl>,
) -> StreamVec<'s, Epoch, Tick> {
    let mut builder = OperatorBuilder::new("Ticker".to_owned(), scope);
    let info = builder.operator_info();
    let mut alarm = Alarm::new(scope.activator_for(info.address.clone()));
    if scope.index() == 0 {
        control.arrivals.wake(scope.worker().sync_activator_for(info.address.to_vec()));
    }
    control.ceilings.wake(scope.activator_for(info.address.clone()));
    *gauge.ticker.borrow_mut() = Some(scope.activator_for(info.address));
    let mut ready = builder.new_input(ready, Exchange::new(|_: &Opening| 0));
    let (output, ticks) = builder.new_output_connection(std::iter::empty());
    let mut output = OutputBuilder::<_, CapacityContainerBuilder<Vec<Tick>>>::from(output);
    let first_worker = scope.index() == 0;
    builder.build(move |mut capabilities| {
        let mut capability = if first_worker { capabilities.pop() } else { None };
        capabilities.clear();
        let mut clock = Clock::new(&pace);
        let mut next = pace.first_epoch;
        let mut first = None;
        let mut beat = Beat::new(pace.interval, pace.idle_interval);
        move |frontiers| {
            ready.for_each(|_, openings| {
                openings.drain(..).for_each(|opening| control.opened(opening, &mut next));
            });
            if !frontiers[0].is_empty() {
                return;
            }
            let Some(held) = &mut capability else { return };
            let mut output = output.activate();
            loop {
                if *held.time() < next {
                    held.downgrade(&next);
                }
                control.next.set(next);
                if control.ended.get() || control.stop.load(Ordering::Relaxed) {
                    break;
                }
                let now = Instant::now();
                if let Some(wait) = wait(&pace, &gauge, &control, &mut beat, (next, now)) {
                    alarm.within(wait);
                    return;
                }
                let loading = control.tables && first.is_none();
                // The first epoch that has something of streams.
                let first = *first.get_or_insert(next + Epoch::from(loading));
                let Some(mut ceilings) = control.ceilings.of(next, first, pace.bounded) else { return };
                beat.ticked(now, control.arrivals.take());
                if loading {
                    gauge.loading.set(Some(next));
                }
                let (wall_ms, partitions) = (clock.tick(), control.findings.take());
                control.ceilings.lower(&mut ceilings, wall_ms);
                let tick = Tick { epoch: next, wall_ms, checkpoint: false, loading, partitions, ceilings };
                output.session(&*held).give(tick);
                next += 1;
            }
            capability = None;
        }
    });
    ticks.broadcast()
}

/// How long the next tick has to wait, for room or for its time.
fn wait(
    pace: &Pace,
    gauge: &Gauge,
    control: &TickerControl,
    beat: &mut Beat,
    (next, now): (Epoch, Instant),
) -> Option<Duration> {
    if let Some(limit) = gauge.full(next) {
        gauge.hold(limit);
        return Some(pace.interval);
    }
    let wait = beat.wait(now, control.arrivals.waiting());
    Some(wait).filter(|wait| !pace.bounded && !wait.is_zero())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pace(clock_ms: Option<i64>) -> Pace {
        let interval = Duration::from_millis(20);
        Pace { interval, idle_interval: interval, bounded: true, clock_ms, first_epoch: 1 }
    }

    #[test]
    fn a_given_clock_depends_on_the_number_of_ticks_alone() {
        let mut clock = Clock::new(&pace(Some(1000)));
        assert_eq!([clock.tick(), clock.tick(), clock.tick()], [1020, 1040, 1060]);
    }

    #[test]
    fn the_wall_clock_never_goes_back() {
        let mut clock = Clock { last_ms: i64::MAX, ..Clock::new(&pace(None)) };
        assert_eq!(clock.tick(), i64::MAX);
    }
}

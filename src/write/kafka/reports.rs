//! Delivery reports: how many records are under way, and whether one has failed.

use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use rdkafka::client::ClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{DeliveryResult, ProducerContext};

use crate::kafka::Heard;

/// What the reports of one producer come to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct State {
    pub(super) under_way: usize,
    /// Reports that have come in.
    pub(super) reports: u64,
    /// The first failure.
    pub(super) failed: Option<RDKafkaErrorCode>,
    /// The producer is given up.
    pub(super) closed: bool,
}

/// Shared between the thread that sends and the thread that takes reports in. A count of our own, because nothing
/// else tells which of them failed, and whether any came while the brokers were silent.
///
/// Records are counted without a lock: with one, and a waiting thread woken by each report, the two threads did
/// little else than hand the lock to each other.
#[derive(Debug, Default)]
pub(super) struct Reports {
    under_way: AtomicUsize,
    reports: AtomicU64,
    /// Somebody waits for the next report, not only for the last one.
    awaited: AtomicBool,
    has_failed: AtomicBool,
    rest: Mutex<Rest>,
    changed: Condvar,
    /// What librdkafka said about its connections.
    pub(super) heard: Heard,
}

/// What changes seldom.
#[derive(Debug, Default)]
struct Rest {
    failed: Option<RDKafkaErrorCode>,
    closed: bool,
}

impl Reports {
    /// One more record is handed over.
    pub(super) fn expect(&self) {
        if self.under_way.fetch_add(1, SeqCst) == 0 {
            self.wake();
        }
    }

    /// It was not taken after all.
    pub(super) fn take_back(&self) {
        self.arrived();
    }

    /// One report has come in.
    pub(super) fn report(&self, failure: Option<&KafkaError>) {
        if let Some(error) = failure {
            let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail);
            self.lock().failed.get_or_insert(code);
            self.has_failed.store(true, SeqCst);
        }
        self.reports.fetch_add(1, SeqCst);
        self.arrived();
    }

    fn arrived(&self) {
        let last = self.under_way.fetch_sub(1, SeqCst) == 1;
        if last || self.awaited.swap(false, SeqCst) {
            self.wake();
        }
    }

    /// Whether a record has failed.
    pub(super) fn has_failed(&self) -> bool {
        self.has_failed.load(SeqCst)
    }

    /// How many reports have come in.
    pub(super) fn count(&self) -> u64 {
        self.reports.load(SeqCst)
    }

    /// Waits until a record is under way or the producer is given up, or until `limit` has passed.
    pub(super) fn wait_for_work(&self, limit: Duration) -> State {
        self.wait_while(limit, |reports, rest| reports.under_way.load(SeqCst) == 0 && !rest.closed)
    }

    /// Waits until all reports are in, or until `limit` has passed.
    pub(super) fn wait(&self, limit: Duration) -> State {
        self.wait_while(limit, |reports, _| reports.under_way.load(SeqCst) > 0)
    }

    /// Waits for one report more than `before`, or until `limit` has passed.
    pub(super) fn wait_for_one(&self, before: u64, limit: Duration) -> State {
        self.wait_while(limit, |reports, _| {
            // First asked for, then looked: a report in between wakes.
            reports.awaited.store(true, SeqCst);
            reports.count() == before
        })
    }

    /// The producer is given up.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    fn wait_while(&self, limit: Duration, goes_on: impl Fn(&Self, &Rest) -> bool) -> State {
        let waited = self.changed.wait_timeout_while(self.lock(), limit, |rest| goes_on(self, rest));
        let (rest, _) = waited.expect("no panic under this lock");
        State {
            under_way: self.under_way.load(SeqCst),
            reports: self.count(),
            failed: rest.failed,
            closed: rest.closed,
        }
    }

    /// Wakes whoever waits. Under the lock, since else a thread that has just looked and goes to sleep misses it.
    fn wake(&self) {
        let _looking = self.lock();
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Rest> {
        self.rest.lock().expect("no panic under this lock")
    }
}

/// Lets librdkafka report.
#[derive(Clone, Debug, Default)]
pub(super) struct Context(pub(super) Arc<Reports>);

impl ClientContext for Context {
    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "librdkafka");
        self.0.heard.hear(&error, reason);
    }
}

impl ProducerContext for Context {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, _opaque: ()) {
        self.0.report(result.as_ref().err().map(|(error, _)| error));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Longer than any test may take.
    const HANG: Duration = Duration::from_secs(600);

    #[test]
    fn who_waits_for_all_reports_is_woken_by_the_last_one() {
        let reports = Reports::default();
        for round in 0..2_000 {
            (0..10).for_each(|_| reports.expect());
            std::thread::scope(|threads| {
                threads.spawn(|| (0..10).for_each(|_| reports.report(None)));
                assert_eq!(reports.wait(HANG).under_way, 0, "round {round}");
            });
        }
        assert_eq!(reports.count(), 20_000);
    }

    #[test]
    fn who_waits_for_one_report_is_woken_by_the_next_one() {
        let reports = Reports::default();
        for round in 0..2_000 {
            let before = reports.count();
            (0..2).for_each(|_| reports.expect());
            std::thread::scope(|threads| {
                threads.spawn(|| reports.report(None));
                assert!(reports.wait_for_one(before, HANG).reports > before, "round {round}");
            });
            reports.take_back();
        }
    }

    #[test]
    fn who_waits_for_work_is_woken_by_the_first_record_and_by_the_end() {
        let reports = Reports::default();
        for round in 0..2_000 {
            std::thread::scope(|threads| {
                threads.spawn(|| reports.expect());
                assert_eq!(reports.wait_for_work(HANG).under_way, 1, "round {round}");
            });
            reports.take_back();
        }
        std::thread::scope(|threads| {
            threads.spawn(|| reports.close());
            assert!(reports.wait_for_work(HANG).closed);
        });
    }

    #[test]
    fn the_first_failure_is_told() {
        let reports = Reports::default();
        (0..3).for_each(|_| reports.expect());
        assert!(!reports.has_failed());
        reports.report(None);
        reports.report(Some(&KafkaError::MessageProduction(RDKafkaErrorCode::MessageTimedOut)));
        reports.report(Some(&KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull)));
        let expected = State {
            under_way: 0,
            reports: 3,
            failed: Some(RDKafkaErrorCode::MessageTimedOut),
            closed: false,
        };
        assert_eq!((reports.wait(HANG), reports.has_failed()), (expected, true));
    }
}

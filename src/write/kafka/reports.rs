//! Delivery reports: how many records are under way, and whether one has failed.

use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use rdkafka::client::ClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{DeliveryResult, ProducerContext};

use crate::kafka::Heard;

/// What the reports of one producer come to.
#[derive(Clone, Debug, Default)]
pub(super) struct State {
    pub(super) under_way: usize,
    /// Reports that have come in.
    pub(super) reports: u64,
    /// The first failure.
    pub(super) failed: Option<RDKafkaErrorCode>,
    /// The producer is given up.
    pub(super) closed: bool,
}

/// Shared between the thread that sends and the thread that takes reports in. A count of our own, because
/// waiting in librdkafka's `flush` takes 100 ms at least.
#[derive(Debug, Default)]
pub(super) struct Reports {
    state: Mutex<State>,
    changed: Condvar,
    /// What librdkafka said about its connections.
    pub(super) heard: Heard,
}

impl Reports {
    /// One more record is handed over.
    pub(super) fn expect(&self) {
        let mut state = self.lock();
        state.under_way += 1;
        if state.under_way == 1 {
            self.changed.notify_all();
        }
    }

    /// Waits until a record is under way or the producer is given up, or until `limit` has passed.
    pub(super) fn wait_for_work(&self, limit: Duration) -> State {
        let idle = |state: &mut State| state.under_way == 0 && !state.closed;
        let state = self.changed.wait_timeout_while(self.lock(), limit, idle);
        state.expect("no panic under this lock").0.clone()
    }

    /// The producer is given up.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    /// It was not taken after all.
    pub(super) fn take_back(&self) {
        self.lock().under_way -= 1;
    }

    /// Waits until all reports are in, or until `limit` has passed.
    pub(super) fn wait(&self, limit: Duration) -> State {
        let state = self.changed.wait_timeout_while(self.lock(), limit, |state| state.under_way > 0);
        state.expect("no panic under this lock").0.clone()
    }

    /// Waits for one more report, or until `limit` has passed.
    pub(super) fn wait_for_one(&self, limit: Duration) -> State {
        let state = self.lock();
        let before = state.reports;
        let state = self.changed.wait_timeout_while(state, limit, |state| state.reports == before);
        state.expect("no panic under this lock").0.clone()
    }

    /// One report has come in.
    pub(super) fn report(&self, failure: Option<&KafkaError>) {
        let mut state = self.lock();
        state.under_way = state.under_way.saturating_sub(1);
        state.reports += 1;
        if let Some(error) = failure {
            let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail);
            state.failed.get_or_insert(code);
        }
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic under this lock")
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

//! A producer with the thread that takes its reports in.
//!
//! The library's own polling thread wakes ten times a second and spins through the last millisecond of each
//! wait, about one percent of a core for nothing. This one sleeps while nothing is under way.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use rdkafka::bindings as sys;
use rdkafka::error::KafkaResult;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use super::reports::{Context, Reports};
use crate::error::{Error, Result};

/// How long one poll takes; reports that come meanwhile are taken in at once.
const POLL: Duration = Duration::from_millis(50);
/// How often the connections' troubles are looked at while nothing is under way.
const LOOK: Duration = Duration::from_secs(1);

/// A producer that is polled while records are under way.
pub(super) struct Poller {
    producer: Arc<BaseProducer<Context>>,
    reports: Arc<Reports>,
    thread: Option<JoinHandle<()>>,
}

impl Poller {
    /// Starts the thread. `reports` are those of the producer's context.
    pub(super) fn start(producer: BaseProducer<Context>, reports: Arc<Reports>) -> Result<Self> {
        let producer = Arc::new(producer);
        let (polled, state) = (producer.clone(), reports.clone());
        let poll = move || {
            loop {
                let work = state.wait_for_work(LOOK);
                if work.closed {
                    return;
                }
                polled.poll(if work.under_way > 0 { POLL } else { Duration::ZERO });
            }
        };
        let thread = std::thread::Builder::new().name("kafka reports".to_owned()).spawn(poll);
        let thread = thread.map_err(|error| Error::internal("cannot start a thread").caused_by(error))?;
        Ok(Poller { producer, reports, thread: Some(thread) })
    }

    /// Hands a record to librdkafka, or gives the error and the record back.
    pub(super) fn send<'a>(&self, record: BaseRecord<'a, [u8], [u8]>) -> KafkaResult<()> {
        self.producer.send(record).map_err(|(error, _)| error)
    }

    /// Has everything sent now that was handed over, and waits until it is delivered or `limit` has passed.
    ///
    /// Until then the client collects records into batches (`linger.ms`), and it must not send them one by one: it
    /// has one batch of a partition under way, and while records that are due wait behind it, its thread asks for
    /// the time and the socket without a pause. On a machine that it shares with the broker, it takes the
    /// processor away from the answer it waits for.
    pub(super) fn flush(&self, limit: Duration) {
        let limit_ms = i32::try_from(limit.as_millis()).unwrap_or(i32::MAX);
        // Not the safe `flush` of the library: that asks for a moment only, takes reports in on this thread, and
        // lets records wait for company again while it does.
        // SAFETY: the client lives. What the call says, the reports say as well, and better.
        unsafe { sys::rd_kafka_flush(self.producer.client().native_ptr(), limit_ms) };
    }

    /// What has been reported.
    pub(super) fn reports(&self) -> &Reports {
        &self.reports
    }
}

impl Drop for Poller {
    /// The thread ends first, so that nothing of a producer that is given up is still sent or reported.
    fn drop(&mut self) {
        self.reports.close();
        if let Some(thread) = self.thread.take() {
            // A panic in there has ended the process already.
            let _ = thread.join();
        }
    }
}

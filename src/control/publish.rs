//! From what a worker knows to the [`Status`] that everybody reads.

use std::sync::atomic::Ordering;
use std::time::{SystemTime, UNIX_EPOCH};

use super::metrics::LATENESS_BOUNDS_MS;
use super::status::{
    LatenessStatus, LegStatus, Phase, SinkStatus, SourceStatus, StateStatus, Status, ViewStatus,
};
use crate::execution::Execution;
use crate::ingest::driver::PartitionProgress;
use crate::ingest::observed::Lateness;
use crate::ledger::{Fate, LedgerReport};
use crate::plan::{Downstream, Source, SourceConnector};
use crate::time::{Epoch, NANOS_PER_MILLI, Watermark};

/// Rows of a view that are shown.
pub const NEWEST: usize = 3;

/// What a worker can say at a moment.
pub struct Facts<'a> {
    /// Index of the worker.
    pub worker: usize,
    /// The partitions that this worker reads.
    pub partitions: Vec<PartitionProgress>,
    /// Rows of each view that changed last, as JSON.
    pub newest: Vec<Vec<String>>,
    /// The next epoch to be released and to be confirmed; `None` after the end.
    pub released: Option<Epoch>,
    pub confirmed: Option<Epoch>,
    /// The next epoch to be cut.
    pub next: Epoch,
    /// Tables are read for the first time.
    pub loading: bool,
    /// Per source why its reader on this worker waits, if it does.
    pub sources_away: Vec<Option<String>>,
    /// Ticks that were held back, see [`Gauge`](crate::ingest::ticker::Gauge).
    pub waits: [u64; 2],
    /// Those of the sources behind the last epoch; on worker 0 only.
    pub watermarks: Vec<Watermark>,
    /// The ledgers of all workers; on worker 0 only.
    pub ledger: Option<LedgerReport<'a>>,
}

/// The status of a source that has not started.
fn source(source: &Source) -> SourceStatus {
    let named = match &source.connector {
        SourceConnector::Kafka(kafka) => !kafka.topics.named().is_empty(),
        _ => false,
    };
    let table = source.table.is_some();
    SourceStatus { name: source.name.clone(), named, table, ..SourceStatus::default() }
}

/// The status of an execution that has not started.
pub fn initial(execution: &Execution, process: usize) -> Status {
    Status {
        dataflow: execution.plan.name.clone(),
        process,
        sources: execution.plan.sources.iter().map(source).collect(),
        views: execution
            .plan
            .views
            .iter()
            .map(|v| ViewStatus { name: v.name.clone(), ..ViewStatus::default() })
            .collect(),
        states: execution
            .plan
            .states()
            .map(|(name, _)| StateStatus { name: name.to_owned(), ..StateStatus::default() })
            .collect(),
        sinks: execution
            .plan
            .sinks
            .iter()
            .map(|s| SinkStatus { name: s.name.clone(), ..SinkStatus::default() })
            .collect(),
        ..Status::default()
    }
}

/// Brings the status up to date with what a worker knows.
pub fn publish(execution: &Execution, facts: Facts<'_>) {
    if facts.ledger.is_some() {
        execution.telemetry.waits_computing.store(facts.waits[0], Ordering::Relaxed);
        execution.telemetry.waits_in_flight.store(facts.waits[1], Ordering::Relaxed);
    }
    let mut status = execution.telemetry.status();
    status.buffered_bytes = execution.held_bytes.load(Ordering::Relaxed) as u64;
    status.phase = match (execution.is_stopping(), facts.next > 0 || facts.released.is_some_and(|e| e > 0)) {
        (true, _) => Phase::Draining,
        (false, true) => Phase::Running,
        (false, false) => status.phase,
    };
    status.letters_away = execution.letters_health.away();
    for (source, away) in status.sources.iter_mut().zip(facts.sources_away) {
        source.set_away(facts.worker, away);
    }
    status.sources.iter_mut().for_each(|source| source.loading = source.table && facts.loading);
    status.epoch = status.epoch.max(facts.next.saturating_sub(1));
    status.released = status.released.max(facts.released.unwrap_or(facts.next).saturating_sub(1));
    for PartitionProgress { binding, lag, gone, held } in &facts.partitions {
        let source = usize::from(binding.source);
        let Some(partition) = execution.names.find(binding.source, binding.partition) else { continue };
        let delay_ns = execution.plan.sources[source].watermark.map_or(0, |watermark| watermark.delay_ns);
        let partition = status.sources[source].partition(&partition);
        partition.offset = binding.to;
        partition.idle = binding.idle;
        partition.lag_records = *lag;
        partition.gone = *gone;
        partition.held = *held;
        if binding.watermark.is_known() {
            partition.watermark_ms = Some(binding.watermark.0 / NANOS_PER_MILLI);
            partition.lag_event_ms = Some(behind_ms(binding.watermark, delay_ns));
        }
    }
    for (index, source) in status.sources.iter_mut().enumerate() {
        let delay_ns = execution.plan.sources[index].watermark.map_or(0, |watermark| watermark.delay_ns);
        if let Some(watermark) = facts.watermarks.get(index).filter(|watermark| watermark.is_known()) {
            source.watermark_ms = Some(watermark.0 / NANOS_PER_MILLI);
            source.lag_event_ms = Some(behind_ms(*watermark, delay_ns));
        }
        let observed = execution.observed.source(index);
        source.lateness = lateness(&observed.lateness);
        let (devices, others) = observed.future.counts();
        source.future.clone_from(devices);
        source.future_others = others;
    }
    for (view, newest) in status.views.iter_mut().zip(facts.newest) {
        if !newest.is_empty() {
            view.newest = newest;
        }
    }
    for (sink, health) in status.sinks.iter_mut().zip(&execution.sink_health) {
        sink.away = health.away();
        // Workers learn of it one after the other, and only worker 0 knows the end.
        sink.confirmed = sink.confirmed.max(facts.confirmed.unwrap_or(facts.next).saturating_sub(1));
    }
    let letters = execution.letter_counts.by_reason().filter(|(_, count)| *count > 0);
    status.letters = letters.map(|(reason, count)| (reason.as_str().to_owned(), count)).collect();
    if let Some(report) = facts.ledger {
        fill_ledger(execution, &report, &mut status);
    }
}

/// How far the event time that a watermark stands for is behind the machine's clock.
fn behind_ms(watermark: Watermark, delay_ns: i64) -> i64 {
    wall_ms().saturating_sub(watermark.0.saturating_add(delay_ns) / NANOS_PER_MILLI)
}

fn lateness(seen: &Lateness) -> Option<LatenessStatus> {
    let (max_ms, sum_ms) = seen.max_and_sum();
    Some(LatenessStatus {
        records: seen.count(),
        p99_ms: seen.quantile(0.99),
        p999_ms: seen.quantile(0.999),
        p9999_ms: seen.quantile(0.9999),
        max_ms,
        sum_ms,
        up_to: LATENESS_BOUNDS_MS.iter().map(|bound| seen.up_to(*bound)).collect(),
    })
    .filter(|lateness| lateness.records > 0)
}

fn fill_ledger(execution: &Execution, report: &LedgerReport<'_>, status: &mut Status) {
    let unsigned = |count: i64| u64::try_from(count).unwrap_or_default();
    for (index, source) in status.sources.iter_mut().enumerate() {
        source.read = unsigned(report.read(index));
        source.dead = unsigned(report.read_dead(index));
    }
    for (view, plan) in status.views.iter_mut().zip(&execution.plan.views) {
        let rows = report.count(Downstream::Arrangement(plan.arrangement), Fate::Emitted);
        view.rows = unsigned(rows);
    }
    for (state, (_, place)) in status.states.iter_mut().zip(execution.plan.states()) {
        let served = |index: usize| execution.plan.arrangements[index].served;
        let fate = match place {
            Downstream::Arrangement(index) if served(index) => Fate::Emitted,
            _ => Fate::InState,
        };
        state.rows = unsigned(report.count(place, fate));
        state.bytes = unsigned(report.state_bytes(place));
    }
    for (index, sink) in status.sinks.iter_mut().enumerate() {
        sink.acknowledged = unsigned(report.count(Downstream::Sink(index), Fate::Emitted));
        sink.duplicates = unsigned(report.count(Downstream::Sink(index), Fate::Deduplicated));
    }
    let accounts = (0..execution.layout.accounts()).map(|account| {
        let count = |fate| unsigned(report.fate(account, fate));
        LegStatus {
            leg: execution.layout.account_name(account).to_owned(),
            rows_in: unsigned(report.entered(account)),
            filtered: count(Fate::Filtered),
            deduplicated: count(Fate::Deduplicated),
            late: count(Fate::Late),
            dead: count(Fate::Dead),
            in_state: count(Fate::InState),
            emitted: count(Fate::Emitted),
            conflicts: report.conflicts(account).map(unsigned),
        }
    });
    status.legs = accounts.collect();
    status.unaccounted = unsigned(report.unaccounted());
}

/// The machine's clock, milliseconds since the Unix epoch: for people, and for where simulated time begins.
#[expect(
    clippy::disallowed_methods,
    reason = "how far event time is behind is a question to the machine's clock"
)]
pub fn wall_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as i64
}

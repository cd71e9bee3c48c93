//! A run of a dataflow in this process: everything that is prepared once and shared by its workers.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender};
use timely::scheduling::SyncActivator;

use crate::alarm::Woken;
use crate::control::failure::fatal;
use crate::control::lineage::Lineage;
use crate::control::samples::Sampler;
use crate::control::telemetry::Telemetry;
use crate::dead_letter::AddressedLetter;
use crate::error::{Error, ErrorKind, Result};
use crate::ingest::Connector;
use crate::ingest::beat::Arrivals;
use crate::ingest::consumer::{self, ConsumerHandle, ConsumerSettings, Input};
use crate::ingest::discovery::{Findings, Growing};
use crate::ingest::observed::Observed;
use crate::ingest::queue::{Limits, PartitionQueue};
use crate::ingest::ticker::Pace;
use crate::ledger::Layout;
use crate::parse;
use crate::plan::{Downstream, Leg, Operator, Plan, SourceConnector};
use crate::record::{FoundPartition, PartitionNames};
use crate::route::shard::worker_of_shard;
use crate::settings::Settings;
use crate::time::Epoch;
use crate::write::dead_letters::DeadLetterWriter;
use crate::write::driver::Start;
use crate::write::letters::LetterCounts;
use crate::write::outbox::{Connect, Outbox};
use crate::write::{self, Health, Identity, Sink};

/// Bytes of a partition in an epoch. An epoch of a hundred partitions stays below what an Arrow column of
/// text can hold, and none takes long to compute.
const EPOCH_BYTES: usize = 16 << 20;

/// Everything the workers of this process share.
pub struct Execution {
    pub plan: Arc<Plan>,
    pub settings: Settings,
    pub layout: Arc<Layout>,
    pub pace: Pace,
    pub bounded: bool,
    /// Where every sink writes a file instead of what its connector says.
    pub output: Option<PathBuf>,
    pub blackhole: bool,
    /// Whether files or a simulator are read instead of what the sources name.
    pub stand_in: bool,
    /// The open state directory; on process 0 of a run that keeps state.
    pub lineage: Mutex<Option<Lineage>>,
    /// Per source of the plan how to reach it, and whether anything reads it.
    pub sources: Vec<(Arc<dyn Connector>, bool)>,
    /// Partitions that the next tick tells of; on process 0.
    pub findings: Arc<Findings>,
    pub names: Arc<PartitionNames>,
    /// Drain and stop.
    pub stop: Arc<AtomicBool>,
    /// Records that wait to be cut in this process.
    pub arrivals: Arc<Arrivals>,
    /// Per sink of the plan.
    pub sink_health: Vec<Arc<Health>>,
    pub letters_health: Arc<Health>,
    /// Bytes of this process that wait for confirmation: in outboxes, and records as they were received.
    pub held_bytes: Arc<AtomicUsize>,
    pub letter_counts: Arc<LetterCounts>,
    /// What the cuts of this process have seen of event time.
    pub observed: Arc<Observed>,
    pub telemetry: Arc<Telemetry>,
    /// Taken by worker 0: what it writes down now and then for a benchmark.
    pub samples: Mutex<Option<Sampler>>,
    /// The ledger at the end, on process 0.
    pub final_ledger: Mutex<Option<serde_json::Value>>,
    /// The epoch after the last one of this run, on process 0.
    pub next_epoch: AtomicU64,
    /// Index of the first worker of this process.
    pub first_worker: usize,
    /// Live reads for each worker of this process.
    pub lookups: Vec<(Sender<LookupRequest>, Receiver<LookupRequest>)>,
}

/// A live read of one key.
pub struct LookupRequest {
    /// Index of the view in the plan.
    pub view: usize,
    /// Canonical bytes of the key.
    pub key: Vec<u8>,
    /// Takes the row as JSON.
    pub reply: Sender<Result<Option<String>>>,
}

/// The worker that reads a partition: known from the numbers alone, so that all processes agree.
pub fn partition_worker(source: u16, partition: u32, workers: usize) -> usize {
    let (topic, number) = (partition >> 16, partition & 0xffff);
    (usize::from(source) + topic as usize + number as usize) % workers
}

impl Execution {
    /// Starts what reads a source on one worker. `wake` is called when there is something to cut.
    pub fn read_source(&self, index: usize, wake: impl Fn() + Send + 'static) -> Result<ConsumerHandle> {
        let mut settings = ConsumerSettings::from(&self.settings.flow);
        if self.bounded {
            // An epoch is cut only when it is full, so at least one must fit.
            let epoch = self.epoch_limits();
            let ahead = settings.read_ahead;
            settings.read_ahead = Limits {
                records: ahead.records.max(2 * epoch.records),
                bytes: ahead.bytes.max(2 * epoch.bytes),
            };
        }
        consumer::spawn(&self.plan.sources[index].name, self.sources[index].0.reader(), settings, wake)
    }

    /// Has worker `worker` of `workers` read those of the partitions of source `index` that are its own.
    pub fn take_on(
        &self,
        index: usize,
        (worker, workers): (usize, usize),
        consumer: &ConsumerHandle,
        found: Vec<FoundPartition>,
    ) -> Vec<PartitionQueue> {
        let source = Arc::new(self.plan.sources[index].clone());
        found.iter().for_each(|found| self.names.add(index as u16, &found.partition));
        let mine = |p: &FoundPartition| partition_worker(index as u16, p.partition.id, workers) == worker;
        let input = |found: FoundPartition| {
            let decoder = parse::decoder(source.clone(), found.partition.clone());
            Input { found, decoder }
        };
        consumer.add(found.into_iter().filter(mine).map(input).collect())
    }

    /// At which speed the event times of a source are replayed, in thousandths, if they are: a bounded run reads as
    /// fast as it can, and what stands in for the connectors is not theirs.
    pub fn replay_milli(&self, index: usize) -> Option<u64> {
        match &self.plan.sources[index].connector {
            SourceConnector::File(file) if !self.bounded && !self.stand_in => file.replay_milli,
            _ => None,
        }
    }

    /// How often process 0 looks for more partitions of a source, if it does.
    pub fn find_interval(&self, index: usize) -> Option<Duration> {
        let (connector, is_read) = &self.sources[index];
        connector.find_interval().filter(|_| *is_read && !self.bounded)
    }

    /// Whether a source may get more partitions at any time.
    pub fn grows(&self, index: usize) -> bool {
        self.find_interval(index).is_some()
    }

    /// Looks for the partitions of all sources, and goes on looking where they can become more. To be called
    /// once, on process 0.
    pub fn find_partitions(&self) -> Result<()> {
        for (index, source) in self.plan.sources.iter().enumerate() {
            let (connector, is_read) = &self.sources[index];
            if !is_read {
                continue;
            }
            let found = waiting(&source.name, &self.stop, || connector.find(None))?;
            let known = found.iter().map(|found| found.partition.clone()).collect();
            self.findings.add(index as u16, found);
            if let Some(interval) = self.find_interval(index) {
                let (name, connector) = (source.name.clone(), connector.clone());
                let growing = Growing { source: index as u16, name, connector, known };
                let told = (self.findings.clone(), self.arrivals.clone());
                growing.watch(interval, told, self.stop.clone())?;
            }
        }
        Ok(())
    }

    /// What one partition contributes to an epoch at most; in bounded runs all but the last epoch are full.
    pub fn epoch_limits(&self) -> Limits {
        Limits { records: self.settings.flow.max_epoch_records, bytes: EPOCH_BYTES }
    }

    /// Who writes, for a shard of a sink.
    pub fn identity(&self, sink: &str, shards: u16, shard: u16) -> Identity {
        let lineage = self.lineage.lock().expect("no panic under this lock");
        Identity {
            lineage: lineage.as_ref().map_or_else(String::new, |lineage| lineage.id().to_owned()),
            generation: lineage.as_ref().map_or(0, Lineage::generation),
            dataflow: self.plan.name.clone(),
            sink: sink.to_owned(),
            shards,
            shard,
        }
    }

    fn context(&self) -> write::Context {
        write::Context {
            directory: self.plan.directory.clone(),
            bounded: self.bounded,
            output: self.output.clone(),
            blackhole: self.blackhole,
            partitions: self.names.clone(),
        }
    }

    /// For each sink of the plan what starts its shards on worker `worker` of `workers`.
    pub fn sink_starts(self: &Arc<Self>, worker: usize, workers: usize) -> Vec<(Start, Woken)> {
        let start = |index: usize| {
            let woken = Woken::default();
            let (execution, driver) = (self.clone(), woken.clone());
            let start: Start = Box::new(move |opening: SyncActivator| {
                let shards = execution.plan.sinks[index].shards;
                let mine = (0..shards).filter(|shard| worker_of_shard(*shard, shards, workers) == worker);
                mine.map(|shard| {
                    Ok((shard, execution.outbox(index, shard, opening.clone(), driver.clone())?))
                })
                .collect()
            });
            (start, woken)
        };
        (0..self.plan.sinks.len()).map(start).collect()
    }

    fn outbox(
        self: &Arc<Self>,
        index: usize,
        shard: u16,
        opening: SyncActivator,
        driver: Woken,
    ) -> Result<Outbox> {
        let sink = self.plan.sinks[index].clone();
        let health = self.sink_health[index].clone();
        let (execution, thread_health) = (self.clone(), health.clone());
        let identity = self.identity(&sink.name, sink.shards, shard);
        let connect: Connect<_> = Box::new(move || -> Result<Box<dyn Sink>> {
            write::connect(&sink, &execution.settings, &execution.context(), thread_health)
        });
        let wake = move || {
            // It is gone when the dataflow is; then nobody waits for the notice.
            let _ = opening.activate();
            driver.wake();
        };
        Outbox::start(identity, connect, health, self.held_bytes.clone(), wake, fatal)
    }

    /// What writes the dead letters.
    pub fn letter_writer(self: &Arc<Self>) -> Connect<Vec<AddressedLetter>> {
        let execution = self.clone();
        Box::new(move || {
            let health = execution.letters_health.clone();
            Ok(Box::new(DeadLetterWriter::new(
                &execution.plan,
                &execution.settings,
                execution.output.clone(),
                execution.stand_in,
                health,
            )?))
        })
    }

    /// For each stage that can make letters without origin, the source whose policy applies to them.
    pub fn stage_sources(&self) -> HashMap<String, usize> {
        // The stream rather than the tables that its rows are looked up in.
        let first = |leg: &Leg| {
            let is_stream = |source: &&usize| self.plan.sources[**source].table.is_none();
            leg.sources.iter().find(is_stream).or(leg.sources.first()).copied()
        };
        let of_leg = self.plan.legs.iter().map(|leg| (leg.name.clone(), first(leg)));
        let below = |to: Downstream| self.plan.legs.iter().find(|leg| leg.to == to).and_then(first);
        let operators = self.plan.operators.iter().enumerate();
        let of_operator = operators.map(|(index, operator)| {
            let input = match operator {
                Operator::Join(join) => Downstream::Arrangement(join.left),
                _ => Downstream::Operator(index),
            };
            (operator.name().to_owned(), below(input))
        });
        let arrangements = self.plan.arrangements.iter().enumerate();
        let of_arrangement =
            arrangements.map(|(index, kept)| (kept.name.clone(), below(Downstream::Arrangement(index))));
        let sinks = self.plan.sinks.iter().enumerate();
        let of_sink = sinks.map(|(index, sink)| (sink.name.clone(), below(Downstream::Sink(index))));
        let all = of_leg.chain(of_operator).chain(of_arrangement).chain(of_sink);
        all.filter_map(|(stage, source)| Some((stage, source?))).collect()
    }

    /// Makes sure that no later run uses epochs up to well above `next`.
    pub fn reserve(&self, next: Epoch) -> Result<()> {
        let mut lineage = self.lineage.lock().expect("no panic under this lock");
        lineage.as_mut().map_or(Ok(()), |lineage| lineage.reserve(next))
    }

    /// Whether a stop was asked for.
    pub fn is_stopping(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Sinks whose other side is away, with the reason.
    pub fn away(&self) -> impl Iterator<Item = (String, String)> {
        let sinks = self.plan.sinks.iter().map(|sink| sink.name.as_str()).zip(&self.sink_health);
        let all = sinks.chain(std::iter::once(("dead_letters", &self.letters_health)));
        all.filter_map(|(name, health)| Some((name.to_owned(), health.away()?)))
    }

    /// Whether this process answers questions about its views: not without HTTP, and not where files are compared.
    pub fn serves(&self) -> bool {
        self.settings.http.enabled && self.output.is_none()
    }

    /// The live reads that wait for worker `worker`.
    pub fn lookups(&self, worker: usize) -> Option<&Receiver<LookupRequest>> {
        let local = worker.checked_sub(self.first_worker)?;
        self.lookups.get(local).map(|(_, requests)| requests)
    }
}

/// Does something with a source's other side; waits while that is away, and says so.
pub fn waiting<T>(name: &str, stop: &AtomicBool, attempt: impl Fn() -> Result<T>) -> Result<T> {
    let mut pause = Duration::from_millis(250);
    loop {
        match attempt() {
            Err(error) if error.kind() == ErrorKind::Away => {
                tracing::warn!(source = name, %error, "source is away, waiting");
            }
            other => return other.map_err(|error| error.context(format_args!("source \"{name}\""))),
        }
        if stop.load(Ordering::Relaxed) {
            return Err(Error::away(format!("source \"{name}\": stopped while waiting for the other side")));
        }
        std::thread::park_timeout(pause);
        pause = (pause * 2).min(Duration::from_secs(5));
    }
}

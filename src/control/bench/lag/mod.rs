//! `tidemill bench lag`: how long an event takes until a view, a topic or a collection shows it, at a fixed rate
//! or at rates that grow until they cannot be held.

mod html;
mod report;
mod send;
mod slo;
mod target;
mod tracker;
mod watch;

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

pub use self::slo::Slo;

use self::report::{Report, Step};
use self::send::{Sample, Sending};
use self::slo::Facts;
use self::target::{Identity, Place, Target};
use self::tracker::Tracker;
use self::watch::Watching;
use super::args::{Broker, LagArgs, ThroughputArgs};
use super::child::Running;
use super::events::{Amount, Noise};
use super::redirect::{Redirect, redirected};
use super::setup::{Setup, free_ports};
use super::{cleanup, throughput};
use crate::control::cli::SinksArg;
use crate::control::progress;
use crate::control::simulate::KafkaTopic;
use crate::error::{Error, Result};
use crate::plan::{Plan, Source};
use crate::settings::Settings;

const MS_PER_SECOND: u64 = 1_000;
const START_TIMEOUT: Duration = Duration::from_secs(120);
const LOOK: Duration = Duration::from_millis(10);
/// Before it counts: connections, first documents, a topic's metadata.
const WARM_UP: Duration = Duration::from_secs(2);
const WARM_UP_RATE: u64 = 200;
/// A rate is held when nobody falls behind by more.
const BEHIND_MAX: Duration = Duration::from_secs(1);
/// Rates that are tried between the last one that was held and the first that was not.
const REFINEMENTS: usize = 3;
const DOUBLINGS_MAX: usize = 12;

/// Measures, prints a report, and says whether all goals were reached.
pub fn run(args: &LagArgs, settings: Settings) -> Result<ExitCode> {
    let Some(servers) = settings.kafka.bootstrap_servers.clone() else {
        return Err(Error::config("there is no broker to send to").hint("set kafka.bootstrap_servers"));
    };
    if let Some(rate) = args.rate.iter().find(|rate| **rate > rate_max(args)) {
        return Err(Error::config(format!(
            "{rate} events/s of {} keys cannot be told apart",
            args.load.keys
        ))
        .hint("an event is known by its key and its millisecond: give more --keys"));
    }
    let setup = Setup::new(&args.dataflow, &args.settings, settings)?;
    let source = setup.sources().next().cloned();
    let source = source.ok_or_else(|| Error::config("the dataflow reads no source"))?;
    let prefix = setup.topics();
    let mut plan = setup.plan.clone();
    Redirect { sources: Some(prefix.clone()), sinks: Some(setup.sinks(1)) }
        .apply(&mut plan, &setup.settings.state_dir);
    let topics: Vec<_> = setup.sources().map(|source| redirected(&prefix, &source.name)).collect();
    // Every source has to exist; the first one gets the events.
    let open = |topic: &String| KafkaTopic::open(&servers, &setup.settings, topic, args.load.partitions);
    let mut opened = topics.iter().map(open).collect::<Result<Vec<_>>>()?;
    let measured = match opened.first_mut() {
        Some(topic) => measure(args, &setup, (&plan, &source), topic),
        None => Err(Error::internal("a source without a topic")),
    };
    let cleaned =
        cleanup::sinks(&mut plan, &setup.settings).and_then(|()| cleanup::topics(&topics, &setup.settings));
    let mut report = measured?;
    cleaned?;
    judge(args, &setup.settings, &mut report)?;
    progress::say(&report.text());
    report.write(args.report.as_deref(), args.hgrm.as_deref())?;
    if args.json {
        progress::say(&format!("{}\n", report.json()));
    }
    Ok(if report.verdicts.iter().all(|verdict| verdict.reached) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Above this two events of a key would have the same millisecond.
fn rate_max(args: &LagArgs) -> u64 {
    args.load.keys.saturating_mul(MS_PER_SECOND)
}

fn measure(
    args: &LagArgs,
    setup: &Setup,
    (plan, source): (&Plan, &Source),
    topic: &mut KafkaTopic,
) -> Result<Report> {
    let identity = Identity::of(source)?;
    let (targets, left_out) = target::targets(plan, &identity);
    let without_mongo = |target: &Target| {
        matches!(target.place, Place::MongoDb { .. }) && setup.settings.mongodb.uri.is_none()
    };
    let targets: Vec<_> = targets.into_iter().filter(|target| !without_mongo(target)).collect();
    if targets.is_empty() {
        let message = format!("no sink and no view shows {} and {}", identity.key.0, identity.time.0);
        return Err(Error::config(message).hint("so nobody can tell when an event has arrived"));
    }
    let (address, children) = start(args, setup)?;
    let tracker = Arc::new(Tracker::new(&targets));
    let watchers = Watchers::start(&targets, &tracker, &identity, (&address, &setup.settings), args.grace)?;
    let sending = Sending { source, identity: &identity, tracker: &tracker, sampled: &watchers.sampled };
    let mut bench = Bench { args, sending, topic, children, steps: Vec::new() };
    let result = bench.steps();
    let (steps, children) = (bench.steps, bench.children);
    watchers.stop()?;
    result?;
    let outputs = children.into_iter().map(Running::stop).collect::<Result<Vec<_>>>()?;
    let ledger = throughput::ledger(outputs.first().map_or("", String::as_str))?;
    Ok(Report::new(args, left_out, steps, ledger["unaccounted"].as_i64().unwrap_or(-1)))
}

/// Starts the dataflow and waits until it runs. The address is that of its HTTP server.
fn start(args: &LagArgs, setup: &Setup) -> Result<(String, Vec<Running>)> {
    let hosts = setup.hosts(args.load.processes)?;
    // Process p listens p ports higher.
    let address = format!("127.0.0.1:{}", free_ports(1)?[0]);
    let mut children = Vec::new();
    for process in 0..args.load.processes {
        let mut command = setup.command(None, &["run"])?;
        command.args(["--print-interval", "0s", "--set", &format!("http.listen={address}")]);
        command.args(["--redirect-sources", &setup.topics(), "--redirect-sinks", &setup.sinks(1)]);
        command.args(["--workers", &args.load.workers.to_string()]);
        if let Some(hosts) = &hosts {
            command
                .args(["-n", &args.load.processes.to_string(), "-p", &process.to_string(), "--hosts"])
                .arg(hosts);
        }
        children.push(Running::start(&mut command)?);
    }
    watch::until_ready(&address, START_TIMEOUT)?;
    Ok((address, children))
}

struct Bench<'a> {
    args: &'a LagArgs,
    sending: Sending<'a>,
    topic: &'a mut KafkaTopic,
    children: Vec<Running>,
    steps: Vec<Step>,
}

impl Bench<'_> {
    fn steps(&mut self) -> Result<()> {
        self.step(WARM_UP_RATE, WARM_UP)?;
        self.steps.clear();
        let rates = self.args.rate.clone();
        for rate in &rates {
            self.step(*rate, self.args.duration)?;
        }
        if self.args.search { self.search(rates.last().copied().unwrap_or(1)) } else { Ok(()) }
    }

    /// Doubles the rate until it is not held, then looks in between.
    fn search(&mut self, from: u64) -> Result<()> {
        let (mut held, mut missed) = (from, None);
        for _ in 0..DOUBLINGS_MAX {
            let rate = held * 2;
            if rate > rate_max(self.args) {
                break;
            }
            if !self.step(rate, self.args.duration)? {
                missed = Some(rate);
                break;
            }
            held = rate;
        }
        for _ in 0..REFINEMENTS {
            let Some(above) = missed else { break };
            let rate = u64::midpoint(held, above);
            if self.step(rate, self.args.duration)? {
                held = rate;
            } else {
                missed = Some(rate);
            }
        }
        Ok(())
    }

    /// One rate. Whether it was held.
    fn step(&mut self, rate: u64, duration: Duration) -> Result<bool> {
        let amount = Amount {
            events: 0,
            keys: self.args.load.keys,
            partitions: self.args.load.partitions,
            // A new seed gives other vehicles' lives, not the same ones again.
            seed: self.args.load.seed + self.steps.len() as u64,
            rate,
            noise: Noise {
                disorder: self.args.disorder,
                duplicates: self.args.duplicates,
                broken: self.args.broken,
            },
            start_ms: 0,
        };
        self.sending.tracker.begin();
        let sent = self.sending.send(self.topic, amount, duration)?;
        let ended = Instant::now();
        while self.sending.tracker.waiting() > 0 && ended.elapsed() < self.args.grace {
            if self.children.iter_mut().any(Running::has_ended) {
                return Err(Error::config("the measured process has ended").hint("its message stands above"));
            }
            std::thread::park_timeout(LOOK);
        }
        let drained = ended.elapsed();
        let routes = self.sending.tracker.finish();
        let lost = routes.iter().any(|route| route.lost() > 0);
        let held = !lost && sent.behind < BEHIND_MAX && drained < BEHIND_MAX;
        self.steps.push(Step { rate, sent, drained, held, routes });
        Ok(held)
    }
}

/// The threads that look for rows.
struct Watchers {
    sampled: Vec<(usize, mpsc::Sender<Sample>)>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Result<()>>>,
}

impl Watchers {
    fn start(
        targets: &[Target],
        tracker: &Arc<Tracker>,
        identity: &Identity,
        (address, settings): (&str, &Settings),
        grace: Duration,
    ) -> Result<Self> {
        let mut watchers = Watchers { sampled: Vec::new(), stop: Arc::default(), threads: Vec::new() };
        for (target, Target { name, place, .. }) in targets.iter().enumerate() {
            let watching = Watching {
                tracker: tracker.clone(),
                target,
                identity: identity.clone(),
                stop: watchers.stop.clone(),
            };
            let thread = match place {
                Place::View => {
                    let (sender, samples) = mpsc::channel();
                    watchers.sampled.push((target, sender));
                    let (address, name) = (address.to_owned(), name.clone());
                    std::thread::spawn(move || {
                        watching.view(&address, &name, &samples, grace);
                        Ok(())
                    })
                }
                Place::Kafka { topic } => {
                    let (reader, partitions) = watch::open_topic(topic, settings)?;
                    std::thread::spawn(move || watching.topic(reader, partitions))
                }
                Place::MongoDb { database, collection } => {
                    let changes =
                        watch::open_collection((database.as_deref(), collection), identity, settings)?;
                    std::thread::spawn(move || watching.collection(changes))
                }
            };
            watchers.threads.push(thread);
        }
        Ok(watchers)
    }

    fn stop(self) -> Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        let panicked = |_| Err(Error::internal("a watching thread panicked"));
        self.threads.into_iter().try_for_each(|thread| thread.join().unwrap_or_else(panicked))
    }
}

/// Compares what was found with the goals; where they ask for it, a backlog is measured for that.
fn judge(args: &LagArgs, settings: &Settings, report: &mut Report) -> Result<()> {
    let Some(slo) = &args.slo else { return Ok(()) };
    let backfill_mb_per_s = if slo.wants_backfill() {
        Some(throughput::megabytes_per_second(&backlog(args), settings.clone())?)
    } else {
        None
    };
    let slowest = |percentile| (percentile, report.slowest(percentile));
    let percentiles = slo.percentiles().map(slowest).filter_map(|(p, found)| Some((p, found?))).collect();
    let facts = Facts { percentiles, lost: report.is_measured().then(|| report.lost()), backfill_mb_per_s };
    report.verdicts = slo.verdicts(&facts);
    Ok(())
}

/// The backlog of the goal `backfill`.
fn backlog(args: &LagArgs) -> ThroughputArgs {
    ThroughputArgs {
        dataflow: args.dataflow.clone(),
        broker: Some(Broker::Real),
        events: args.backlog,
        load: args.load.clone(),
        cores: None,
        sinks: SinksArg::Real,
        repetitions: 1,
        json: false,
        settings: args.settings.clone(),
    }
}

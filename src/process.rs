//! One process of a run: compile, find the partitions, connect the cluster, run the workers, say how it ended.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::compile;
use crate::control::api::{self, Api, Server};
use crate::control::cluster;
use crate::control::dataflow_path::DataflowPath;
use crate::control::failure::fatal;
use crate::control::lineage::Lineage;
use crate::control::live::LiveReads;
use crate::control::profile::Profiler;
use crate::control::progress::Printer;
use crate::control::run::RunRequest;
use crate::control::samples::Sampler;
use crate::control::telemetry::Telemetry;
use crate::control::{publish, shutdown, simulate};
use crate::error::{Error, ErrorKind, Result};
use crate::execution::Execution;
use crate::ingest::align::Alignment;
use crate::ingest::connect;
use crate::ingest::observed::Observed;
use crate::ingest::survey::{self, Seen, Surveyed};
use crate::ingest::ticker::Pace;
use crate::ledger::Layout;
use crate::plan::{self, Format, KeySaid, Plan, SinkConnector, SourceConnector, Upstream};
use crate::settings::Settings;
use crate::time::Epoch;
use crate::worker;
use crate::write::Health;

/// Length of an epoch while nothing arrives: watermarks and idle flags still move.
const IDLE_INTERVAL: Duration = Duration::from_millis(200);

/// The same in a cluster, where what arrives at another process cannot wake the ticker: the first record after
/// a silence waits for as long.
const CLUSTER_IDLE_INTERVAL: Duration = Duration::from_millis(60);

/// How often a survey looks whether its reader has failed.
const WAIT: Duration = Duration::from_millis(100);

/// Compiles the SQL of a dataflow; the error holds all its mistakes.
pub fn load(dataflow: &DataflowPath, settings: &Settings) -> Result<Plan> {
    let request = compile::Request {
        file: &dataflow.file.display().to_string(),
        text: &dataflow.read()?,
        name: &dataflow.name,
        directory: &dataflow.directory,
        parameters: &settings.parameters,
    };
    Ok(compile::compile(&request)?)
}

/// Runs a dataflow to its end or until it is stopped.
pub fn run(request: &RunRequest, settings: Settings) -> Result<()> {
    let mut plan = load(&request.dataflow, &settings)?;
    request.redirect.apply(&mut plan, &settings.state_dir);
    refuse_what_cannot_run(request, &plan, &settings)?;
    if request.input.is_some() {
        // Their records stand in files, which have no keys beside them.
        let tables = plan.sources.iter_mut().filter_map(|source| source.table.as_mut());
        tables.for_each(|table| table.said = KeySaid::Record);
    }
    if request.output.is_some() {
        // One file has one writer, whatever the connector could do side by side.
        plan.sinks.iter_mut().for_each(|sink| sink.shards = 1);
    }
    let shutdown = shutdown::listen(settings.shutdown_timeout)?;
    let stop = Arc::new(AtomicBool::new(false));
    let flag = stop.clone();
    shutdown.on_request(move || flag.store(true, Ordering::Relaxed));

    // A bounded run into files begins anew each time and leaves nothing behind.
    let keeps_state = request.membership.process == 0 && request.output.is_none();
    let lineage = if keeps_state { Some(Lineage::open(&settings.state_dir, &plan.name)?) } else { None };
    let agreement = request.agreement(&compile::explain::explain(&plan), &settings);
    let communication = cluster::build(&request.membership, &agreement, &settings.cluster)?;
    // From here on the other processes would wait for ever for one that only returns an error.
    let prepared = prepare(request, settings, plan, lineage, stop.clone());
    let execution = prepared.unwrap_or_else(|error| end(&error, &stop));
    execute(request, &Arc::new(execution), communication).unwrap_or_else(|error| fatal(&error));
    Ok(())
}

/// What was seen of sources, which are named by their places in the plan.
pub type Surveys = Vec<(usize, Seen)>;

/// Reads the sources of a dataflow to their ends and tells what was seen of their event times. Nothing is written.
pub fn survey(request: &RunRequest, settings: Settings) -> Result<(Arc<Plan>, Surveys)> {
    let plan = load(&request.dataflow, &settings)?;
    refuse_what_cannot_run(request, &plan, &settings)?;
    let execution = Arc::new(prepare(request, settings, plan, None, Arc::default())?);
    let interval_ms = i64::try_from(execution.pace.interval.as_millis()).unwrap_or(i64::MAX);
    let wall_ms = |epoch: Epoch| match execution.pace.clock_ms {
        Some(start) => start.saturating_add(interval_ms.saturating_mul(epoch.cast_signed())),
        None => publish::wall_ms(),
    };
    let mut found = execution.findings.take();
    let mut all = Vec::new();
    for (index, (_, is_read)) in execution.sources.iter().enumerate() {
        let source = Arc::new(execution.plan.sources[index].clone());
        // Of a table the last row counts, whenever it came.
        if !is_read || source.table.is_some() {
            continue;
        }
        let here = std::thread::current();
        let consumer = execution.read_source(index, move || here.unpark())?;
        let mine =
            found.extract_if(.., |(of, _)| usize::from(*of) == index).map(|(_, found)| found).collect();
        let epoch_limits = execution.epoch_limits();
        // Aligned as it would be if something waited for the watermark.
        let alignment = source.max_drift.map(|drift| Alignment::new(drift, epoch_limits.records));
        let queues = execution.take_on(index, (0, 1), &consumer, mine);
        let surveyed =
            Surveyed { source: source.clone(), index: index as u16, queues, epoch_limits, alignment };
        let wait = || {
            std::thread::park_timeout(WAIT);
            consumer.take_error().map_or(Ok(()), Err)
        };
        all.push((index, survey::survey(surveyed, wall_ms, wait)?));
    }
    Ok((execution.plan.clone(), all))
}

/// Refuses what the compiler cannot know.
fn refuse_what_cannot_run(request: &RunRequest, plan: &Plan, settings: &Settings) -> Result<()> {
    if plan.legs.is_empty() {
        return Err(Error::config(format!("{} has nothing to run", request.dataflow.file.display()))
            .hint("add a CREATE SINK, or a materialized view with GROUP BY that can be read live"));
    }
    let csv = plan.sources.iter().find(|source| source.format != Format::Json);
    if let (Some(source), Some(_)) = (csv, &request.simulator) {
        return Err(Error::config(format!(
            "source \"{}\" is CSV, but the simulator makes JSON",
            source.name
        ))
        .hint("remove --simulate, or format = 'csv'"));
    }
    let table = plan.sources.iter().find(|source| source.table.is_some());
    if let (Some(table), Some(_)) = (table, &request.simulator) {
        return Err(Error::config(format!("the simulator makes events, not the table \"{}\"", table.name))
            .hint("remove --simulate, and give the table as a file: --input"));
    }
    let is_kafka = |source: &plan::Source| matches!(source.connector, SourceConnector::Kafka(_));
    let embedded_source = request.input.is_none()
        && request.simulator.is_none()
        && settings.kafka.bootstrap_servers.is_none()
        && plan.sources.iter().any(is_kafka);
    let embedded_sink = |sink: &plan::Sink| match sink.connector {
        SinkConnector::Kafka(_) => settings.kafka.bootstrap_servers.is_none(),
        SinkConnector::MongoDb(_) => settings.mongodb.uri.is_none(),
        _ => false,
    };
    let writes = request.output.is_none() && !request.blackhole;
    let embedded = embedded_source || writes && plan.sinks.iter().any(embedded_sink);
    if embedded && request.membership.processes() > 1 {
        return Err(Error::config("embedded topics and collections belong to one process")
            .hint("set kafka.bootstrap_servers and mongodb.uri, or run one process with more --workers"));
    }
    Ok(())
}

/// Ends the process because of an error. One that waited for a server when it was asked to stop has read
/// nothing yet: it ends well.
fn end(error: &Error, stop: &AtomicBool) -> ! {
    if error.kind() == ErrorKind::Away && stop.load(Ordering::Relaxed) {
        tracing::info!(%error, "stopped before anything was read");
        std::process::exit(0)
    }
    fatal(error)
}

/// Runs the workers of this process until the dataflow has ended.
fn execute(
    request: &RunRequest,
    execution: &Arc<Execution>,
    communication: cluster::Communication,
) -> Result<()> {
    let membership = &request.membership;
    *execution.telemetry.status() = publish::initial(execution, membership.process);
    let live = Arc::new(LiveReads {
        execution: execution.clone(),
        peers: membership.peers(),
        workers: membership.workers,
        threads: Mutex::default(),
    });
    let visible = request.output.is_none();
    let server = if execution.serves() {
        let peers = api::addresses(execution.settings.http.listen, &membership.hosts);
        let api = Api { telemetry: execution.telemetry.clone(), lookup: live.clone(), peers };
        Some(Server::start(execution.settings.http.listen, membership.process, api)?)
    } else {
        None
    };
    let interval = request.print_interval.filter(|_| membership.process == 0 && visible);
    let printer =
        interval.map(|interval| Printer::start(execution.telemetry.clone(), interval)).transpose()?;

    let profiler = request.profile.as_ref().map(|(path, operators)| Profiler::start(path, *operators));
    let profiler = Arc::new(profiler);
    let (running, watching) = (execution.clone(), profiler.clone());
    let mut config = timely::WorkerConfig::default();
    differential_dataflow::configure(&mut config, &differential_dataflow::Config::default());
    let (allocators, guard) = communication;
    let workers = timely::execute::execute_from(allocators, guard, config, move |timely| {
        watching.iter().for_each(|profiler| profiler.watch(timely));
        worker::run(timely, &running).unwrap_or_else(|error| end(&error, &running.stop));
    });
    let workers = workers.map_err(|error| Error::internal(format!("cannot start the workers: {error}")))?;
    *live.threads.lock().expect("no panic under this lock") =
        workers.guards().iter().map(|guard| guard.thread().clone()).collect();
    for result in workers.join() {
        // A panic of a worker has ended the process already.
        result.map_err(|message| Error::internal(format!("a worker has failed: {message}")))?;
    }
    profiler.iter().try_for_each(Profiler::finish)?;
    for (index, source) in execution.plan.sources.iter().enumerate() {
        let future = execution.observed.source(index).future.clone();
        if future.total() > 0 {
            let (source, records, devices) = (&source.name, future.total(), future.most(10));
            tracing::warn!(
                source,
                records,
                devices,
                "records were ahead by more than max_future or max_jump"
            );
        }
    }
    drop((server, printer));
    if let Some(lineage) = execution.lineage.lock().expect("no panic under this lock").take() {
        lineage.close(execution.next_epoch.load(Ordering::Relaxed))?;
    }
    finish(execution)
}

/// The last line, for machines: what was read and what became of it.
fn finish(execution: &Execution) -> Result<()> {
    let Some(ledger) = execution.final_ledger.lock().expect("no panic under this lock").take() else {
        return Ok(());
    };
    crate::control::progress::say(&format!("ledger {ledger}\n"));
    match ledger["unaccounted"].as_i64() {
        Some(0) => Ok(()),
        _ => Err(Error::internal(format!("{} rows are unaccounted for", ledger["unaccounted"]))
            .hint("this is a bug: please report it with the ledger line")),
    }
}

/// The topic that a sink writes, if it does.
fn sink_topic(sink: &plan::Sink) -> Option<String> {
    match &sink.connector {
        SinkConnector::Kafka(kafka) => Some(kafka.topic.clone()),
        _ => None,
    }
}

fn prepare(
    request: &RunRequest,
    settings: Settings,
    plan: Plan,
    lineage: Option<Lineage>,
    stop: Arc<AtomicBool>,
) -> Result<Execution> {
    let plan = Arc::new(plan);
    let context = connect::Context {
        directory: plan.directory.clone(),
        bounded: request.bounded,
        input: request.input.clone(),
        simulator: request.simulator.clone(),
        sink_topics: plan.sinks.iter().filter_map(sink_topic).collect(),
        start_ms: request.clock_ms.unwrap_or_else(|| match &request.simulator {
            Some(simulator) => simulate::start_ms(simulator, publish::wall_ms()),
            None => publish::wall_ms(),
        }),
    };
    let mut sources = Vec::new();
    for (index, source) in plan.sources.iter().enumerate() {
        let connector = connect::connect(source, &settings, &context)?;
        sources.push((connector, plan.legs.iter().any(|leg| leg.from == Upstream::Source(index))));
    }
    let pace = Pace {
        interval: settings.epoch_interval,
        idle_interval: if request.membership.processes() == 1 {
            IDLE_INTERVAL
        } else {
            CLUSTER_IDLE_INTERVAL
        },
        bounded: request.bounded,
        clock_ms: request.clock_ms,
        first_epoch: lineage.as_ref().map_or(1, Lineage::first_epoch),
    };
    let sampler = request.samples.as_ref().map(|(path, every)| Sampler::start(path, *every));
    let sampler = sampler.transpose()?;
    let execution = Execution {
        layout: Arc::new(Layout::new(&plan)),
        pace,
        bounded: request.bounded,
        output: request.output.clone(),
        blackhole: request.blackhole,
        stand_in: request.input.is_some() || request.simulator.is_some(),
        lineage: Mutex::new(lineage),
        sources,
        findings: Arc::default(),
        names: Arc::default(),
        stop,
        arrivals: Arc::default(),
        sink_health: plan.sinks.iter().map(|_| Health::new()).collect(),
        letters_health: Health::new(),
        held_bytes: Arc::default(),
        letter_counts: Arc::default(),
        observed: Arc::new(Observed::new(plan.sources.len())),
        telemetry: Telemetry::new(),
        samples: Mutex::new(sampler),
        final_ledger: Mutex::new(None),
        next_epoch: AtomicU64::new(0),
        first_worker: request.membership.process * request.membership.workers,
        lookups: (0..request.membership.workers).map(|_| crossbeam_channel::unbounded()).collect(),
        plan,
        settings,
    };
    if request.membership.process == 0 {
        execution.find_partitions()?;
    }
    Ok(execution)
}

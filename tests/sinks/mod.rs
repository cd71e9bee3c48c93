//! What the tests of sinks against real servers share: sinks, changes, and servers that are killed.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::{Duration, Instant};

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::Schema;
use tidemill::batch::RowOrigin;
use tidemill::plan::{self, ChangeMode, ColumnType, SinkConnector};
use tidemill::record::{Partition, PartitionNames};
use tidemill::settings::{Cluster, Flow, Http, Kafka, MongoDb, Secret, Settings};
use tidemill::time::Epoch;
use tidemill::write::{Changes, Context, Health, Identity, Op, Receipt, Sink, connect};

/// The address of a server in the environment.
pub fn server(variable: &str, service: &str) -> String {
    std::env::var(variable).unwrap_or_else(|_| {
        panic!("{variable} names no server: eval \"$(tests/services.py up {service})\" starts one")
    })
}

/// Calls `tests/services.py`.
fn services(action: &str, service: &str) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/services.py");
    let output = Command::new(script).args([action, service]).output().expect("Python 3");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

/// The process of a server; it is asked for, since it may have been killed and started before.
fn process(service: &str) -> String {
    let variable = format!("export {}_PID=", service.to_uppercase());
    let environment = services("env", service);
    let process = environment.lines().find_map(|line| line.strip_prefix(&variable));
    process.expect("a server that services.py has started: only such a one may be killed").trim().to_owned()
}

/// Starts a killed server again on the same port and with the same data.
fn restart(service: &str) {
    services("up", service);
}

/// Columns `k TEXT, n BIGINT`.
pub fn sink(connector: SinkConnector, changes: ChangeMode) -> plan::Sink {
    let fields = vec![ColumnType::Text.field("k", true), ColumnType::BigInt.field("n", true)];
    let schema = Arc::new(Schema::new(fields));
    let key = (changes == ChangeMode::Updating).then(|| vec![0]);
    plan::Sink {
        name: "s".into(),
        schema,
        changes,
        key,
        replaces: false,
        connector,
        document: None,
        format: plan::Format::Json,
        shards: 1,
    }
}

/// Changes of such a sink, with the offsets `first_offset..` of partition 0 of `telemetry_raw`.
pub fn changes(first_offset: u64, rows: &[(&str, i64, Op)]) -> Changes {
    let keys: ArrayRef = Arc::new(StringArray::from_iter_values(rows.iter().map(|row| row.0)));
    let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.1)));
    let origin =
        |row: usize| RowOrigin { source: 0, partition: 0, offset: first_offset + row as u64, index: 0 };
    let plan = sink(SinkConnector::Blackhole, ChangeMode::AppendOnly);
    Changes {
        rows: RecordBatch::try_new(plan.schema, vec![keys, numbers]).expect("columns"),
        ops: rows.iter().map(|row| row.2).collect(),
        origins: Some((0..rows.len()).map(origin).collect()),
        wall_ms: 1_761_559_635_000,
    }
}

/// Settings that name the servers given.
pub fn settings(kafka: Option<String>, mongodb: Option<String>) -> Settings {
    Settings {
        state_dir: "unused".into(),
        epoch_interval: Duration::from_millis(20),
        flow: Flow {
            max_epochs_computing: 4,
            max_epochs_in_flight: 64,
            sink_buffer_bytes: 64 << 20,
            max_epoch_records: 10_000,
            read_ahead_records: 10_000,
            rows_per_partial: 16,
        },
        kafka: Kafka { bootstrap_servers: kafka, properties: BTreeMap::new() },
        mongodb: MongoDb { uri: mongodb.map(Secret::new), database: "tidemill_tests".into() },
        http: Http { enabled: false, listen: ([127, 0, 0, 1], 0).into() },
        cluster: Cluster { connect_timeout: Duration::from_secs(1), stall_timeout: Duration::from_secs(1) },
        parameters: BTreeMap::new(),
        shutdown_timeout: Duration::from_secs(1),
    }
}

/// A sink that is open, the highest epoch that its other side has seen, and its health.
pub fn open(plan: &plan::Sink, settings: &Settings) -> (Box<dyn Sink>, Epoch, Arc<Health>) {
    let health = Health::new();
    let mut sink = connect(plan, settings, &context(), health.clone()).expect("a sink");
    let progress = sink.open(&identity()).expect("open");
    (sink, progress, health)
}

/// One partition of one topic.
pub fn context() -> Context {
    let names = PartitionNames::default();
    names.add(0, &Partition { id: 0, name: "telemetry_raw".into(), number: 0 });
    Context {
        directory: ".".into(),
        bounded: false,
        output: None,
        blackhole: false,
        partitions: Arc::new(names),
    }
}

/// Who writes.
pub fn identity() -> Identity {
    Identity {
        lineage: "l".into(),
        generation: 1,
        dataflow: "d".into(),
        sink: "s".into(),
        shards: 1,
        shard: 0,
    }
}

/// Writes one epoch and waits for its receipt.
pub fn write(sink: &mut dyn Sink, epoch: Epoch, changes: Changes) -> Receipt {
    sink.write(epoch, changes).expect("written");
    let receipts = sink.confirm().expect("confirmed");
    let [(confirmed, receipt)] = &receipts[..] else { panic!("{receipts:?}") };
    assert_eq!(*confirmed, epoch);
    receipt.clone()
}

/// Writes epochs of `rows` rows each without a pause, kills the server meanwhile as a power cut would, sees
/// the sink waiting and starts the server again. Gives back the receipts, one per epoch from 1.
pub fn write_while_killed(
    service: &str,
    plan: &plan::Sink,
    settings: &Settings,
    rows: u64,
    op: Op,
) -> Vec<Receipt> {
    let (mut sink, _, health) = open(plan, settings);
    let process = process(service);
    let (tell, told) = mpsc::channel();
    let enough = Arc::new(AtomicBool::new(false));
    let until = enough.clone();
    let writer = std::thread::spawn(move || {
        let mut receipts = Vec::new();
        for epoch in 1.. {
            let keys: Vec<String> = (0..rows).map(|row| key(epoch, row, rows)).collect();
            let changed: Vec<_> = keys.iter().map(|key| (key.as_str(), epoch as i64, op)).collect();
            sink.write(epoch, changes(epoch * rows, &changed)).expect("written");
            let last = until.load(Ordering::Relaxed);
            if epoch % 5 == 0 || last {
                receipts.extend(sink.confirm().expect("confirmed").into_iter().map(|(_, receipt)| receipt));
                // Nobody listens any more once the server has been killed.
                let _ = tell.send(epoch);
            }
            if last {
                assert_eq!(receipts.len() as u64, epoch);
                break;
            }
        }
        sink.close().expect("closed");
        receipts
    });
    while told.recv().expect("the writer goes on") < 20 {}
    let killed = Command::new("kill").args(["-9", &process]).status().expect("kill");
    assert!(killed.success());
    let began = Instant::now();
    while health.away().is_none() {
        assert!(began.elapsed() < Duration::from_secs(300), "the sink must say that it waits");
        std::thread::park_timeout(Duration::from_millis(20));
    }
    restart(service);
    enough.store(true, Ordering::Relaxed);
    let receipts = writer.join().expect("no panic");
    assert_eq!(health.away(), None, "and that it is back");
    receipts
}

/// Key of a row of [`write_while_killed`]: of twice as many keys as an epoch has rows, every epoch has half.
pub fn key(epoch: u64, row: u64, rows: u64) -> String {
    format!("k{}", (epoch * 7 + row) % (rows * 2))
}

/// A name that nobody else has used, not even a test of an earlier run on servers that are kept.
pub fn unique(name: &str) -> String {
    format!("{name}_{:016x}", RandomState::new().hash_one(name))
}

/// Keeps the tests of one process apart, since some of them kill the server.
pub fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

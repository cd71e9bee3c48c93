//! How long an event takes from Kafka into the document of its vehicle. A measurement: it says how long, and
//! fails only where an event did not arrive.

#[path = "support/process.rs"]
mod process;
#[expect(dead_code, reason = "servers are neither stopped nor looked into here")]
#[path = "support/services.rs"]
mod services;
#[path = "support/vehicle_state.rs"]
mod vehicle_state;
#[expect(dead_code, reason = "only the number of partitions is needed here")]
#[path = "support/vehicles.rs"]
mod vehicles;

use std::collections::{HashMap, VecDeque};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::{Duration, Instant};

use mongodb::Client;
use mongodb::bson::{Document, doc};
use process::Cluster;
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use serde_json::json;
use vehicle_state::{LATEST, VehicleState, finish};
use vehicles::PARTITIONS;

const WORKERS: [usize; 2] = [1, 2];
/// Events per second. At 20 they would always meet epochs of 20 ms in the same places.
const RATES: [u64; 2] = [19, 1_000];
const SECONDS: u64 = 15;
const VEHICLES: u64 = 100;
/// Milliseconds since the Unix epoch: 2025-10-27T10:00:00Z.
const START_MS: i64 = 1_761_559_200_000;
/// For the last events to arrive, on a machine that is busy with other things.
const ARRIVAL_TIMEOUT: Duration = Duration::from_secs(120);

/// `eventTime` of an event that is due, or of a document that was seen.
struct Moment {
    did: String,
    event_ms: i64,
    at: Instant,
}

#[test]
#[ignore = "a measurement: ./test --run-ignored only -E 'test(real_latency)' --no-capture"]
fn real_latency_to_the_document() {
    for workers in WORKERS {
        let mut dataflow = VehicleState::without_topic();
        dataflow.create_topic();
        let mut cluster = dataflow.start(workers, 1);
        let seen = watch(&dataflow);
        let mut fleet = Fleet::new(&dataflow);
        // Before the first document there are connections to make and topics to find.
        let first = fleet.send(VEHICLES, 1);
        latencies(&first, &seen, &cluster);
        for rate in RATES {
            let sent = fleet.send(rate, SECONDS);
            let latencies = latencies(&sent, &seen, &cluster);
            println!("{workers} workers, {rate} events/s: {}", percentiles(latencies));
        }
        finish(&mut cluster);
    }
}

/// Vehicles that report one after the other. Event times are numbers that grow, so that each is told apart.
struct Fleet {
    producer: ThreadedProducer<DefaultProducerContext>,
    topic: String,
    next: u64,
}

impl Fleet {
    fn new(dataflow: &VehicleState) -> Fleet {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &dataflow.services.bootstrap).set("linger.ms", "0");
        let producer = config.create().expect("a producer");
        Fleet { producer, topic: dataflow.source.clone(), next: 0 }
    }

    /// Sends by a schedule, whatever becomes of the events.
    fn send(&mut self, rate: u64, seconds: u64) -> Vec<Moment> {
        let began = Instant::now();
        let sent = (0..rate * seconds).map(|number| {
            let at = began + Duration::from_secs(1) * number as u32 / rate as u32;
            while let Some(left) = at.checked_duration_since(Instant::now()) {
                thread::park_timeout(left);
            }
            self.report(at)
        });
        let sent = sent.collect();
        self.producer.flush(ARRIVAL_TIMEOUT).expect("all events acknowledged");
        sent
    }

    /// Sends the next event, which was due at a moment.
    fn report(&mut self, at: Instant) -> Moment {
        let (number, vehicle) = (self.next, self.next % VEHICLES);
        self.next += 1;
        let (did, event_ms) = (format!("v{vehicle}"), START_MS + number as i64);
        let event = json!({ "did": did, "name": "speed", "int_value": number, "eventTime": event_ms });
        let payload = event.to_string();
        let partition = (vehicle % PARTITIONS as u64) as i32;
        let record = BaseRecord::to(&self.topic).partition(partition).key(&did).payload(&payload);
        self.producer.send(record).map_err(|(error, _)| error).expect("room in the producer");
        Moment { did, event_ms, at }
    }
}

/// Watches the documents of the latest states. A change stream shows what a majority has, and with it what
/// can be read with that concern.
fn watch(dataflow: &VehicleState) -> Receiver<Moment> {
    let (uri, database) = (dataflow.services.mongodb_uri.clone(), dataflow.services.database.clone());
    let (tell, seen) = mpsc::channel();
    let (tell_open, open) = mpsc::channel();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(tell_changes(&uri, &database, &tell_open, &tell)).expect("a change stream");
    });
    open.recv_timeout(ARRIVAL_TIMEOUT).expect("a change stream");
    seen
}

async fn tell_changes(
    uri: &str,
    database: &str,
    tell_open: &Sender<()>,
    tell: &Sender<Moment>,
) -> mongodb::error::Result<()> {
    let collection = Client::with_uri_str(uri).await?.database(database).collection::<Document>(LATEST);
    // A new document is shown whole, of an update what it has changed.
    let time = doc! { "$ifNull": ["$fullDocument.eventTime", "$updateDescription.updatedFields.eventTime"] };
    let shown = doc! { "$project": { "did": "$documentKey._id", "eventTime": time } };
    let mut changes = collection.watch().pipeline([shown]).await?.with_type::<Document>();
    // Whoever has stopped to listen does not want to know more.
    let mut listening = tell_open.send(()).is_ok();
    while listening && changes.is_alive() {
        let change = changes.next_if_any().await?.unwrap_or_default();
        let at = Instant::now();
        if let (Ok(did), Ok(time)) = (change.get_str("did"), change.get_datetime("eventTime")) {
            let (did, event_ms) = (did.to_owned(), time.timestamp_millis());
            listening = tell.send(Moment { did, event_ms, at }).is_ok();
        }
    }
    Ok(())
}

/// From when each event was due until a document showed it, or one after it.
fn latencies(sent: &[Moment], seen: &Receiver<Moment>, cluster: &Cluster) -> Vec<Duration> {
    let mut waiting: HashMap<&str, VecDeque<&Moment>> = HashMap::new();
    sent.iter().for_each(|event| waiting.entry(&event.did).or_default().push_back(event));
    let mut latencies = Vec::new();
    while latencies.len() < sent.len() {
        let Ok(document) = seen.recv_timeout(ARRIVAL_TIMEOUT) else {
            panic!("{} of {} events arrived\n{}", latencies.len(), sent.len(), cluster.log());
        };
        let Some(events) = waiting.get_mut(document.did.as_str()) else { continue };
        while let Some(event) = events.pop_front_if(|event| event.event_ms <= document.event_ms) {
            latencies.push(document.at.duration_since(event.at));
        }
    }
    latencies
}

fn percentiles(mut latencies: Vec<Duration>) -> String {
    latencies.sort_unstable();
    let last = latencies.len() - 1;
    let points = [("p50", 50), ("p90", 90), ("p99", 99), ("max", 100)];
    let texts = points.map(|(name, percent)| {
        let latency = latencies[last * percent / 100];
        format!("{name} {:.1} ms", latency.as_secs_f64() * 1e3)
    });
    texts.join(", ")
}

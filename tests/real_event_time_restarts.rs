//! Windows, sessions, duplicates, joins of streams, lookups and `lag` from real Kafka into real Kafka and MongoDB, while
//! processes are killed again and again. At the end the sinks hold what a run holds that nobody has disturbed.
//!
//! No record is later than its source declares, so nothing may be late, however epochs are cut; and no partition counts as
//! idle while its next records are still on their way from the test. Kafka sinks are at least once: there the same
//! records count once.

#[path = "support/process.rs"]
mod process;
#[expect(dead_code, reason = "what ends by itself is run elsewhere")]
#[path = "support/scene.rs"]
mod scene;
#[expect(dead_code, reason = "servers are not stopped here")]
#[path = "support/services.rs"]
mod services;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use mongodb::bson::Bson;
use process::{Cluster, check_ledger, until};
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64Mcg;
use scene::{Record, Scene};
use serde_json::{Value, json};

/// 2025-10-27T10:00:00Z
const START_MS: i64 = 1_761_559_200_000;
const DEVICES: usize = 12;
const PARTITIONS: usize = 3;
/// How far records are behind others, and no farther.
const DELAY_MS: i64 = 10_000;
/// Minutes of data that are sent between two kills.
const MINUTES: i64 = 3;
const KILLS: usize = 6;
/// A device whose records only move event time on: windows of its own are open at the end, and not compared.
const LAST: &str = "last";

fn sql(scene: &Scene) -> String {
    let (readings, alarms, devices) =
        (scene.topic("readings"), scene.topic("alarms"), scene.topic("devices"));
    format!(
        "CREATE SOURCE readings (event_id TEXT NOT NULL, device TEXT NOT NULL, value BIGINT NOT NULL,
             ts TIMESTAMP NOT NULL, WATERMARK FOR ts AS ts - INTERVAL '10 seconds')
         WITH (connector = 'kafka', topic = '{readings}', idle_timeout = '1 hour');
         CREATE SOURCE alarms (id BIGINT NOT NULL, device TEXT NOT NULL, raised TIMESTAMP NOT NULL,
             WATERMARK FOR raised AS raised - INTERVAL '10 seconds')
         WITH (connector = 'kafka', topic = '{alarms}', idle_timeout = '1 hour');
         CREATE TABLE devices (device TEXT PRIMARY KEY, site TEXT NOT NULL)
         WITH (connector = 'kafka', topic = '{devices}', key.format = 'raw');

         CREATE VIEW once WITH (deduplicate_horizon = '5 minutes') AS
         SELECT DISTINCT ON (event_id) event_id, device, value, ts FROM readings;
         CREATE VIEW enriched AS
         SELECT r.event_id, r.device, d.site, r.value, r.ts
         FROM once r LEFT JOIN devices FOR SYSTEM_TIME AS OF PROCTIME() AS d ON r.device = d.device;

         CREATE VIEW minutes AS
         SELECT site, window_start, count(*) AS n, sum(value) AS total, median(value) AS middle
         FROM enriched GROUP BY site, tumble(ts, INTERVAL '1 minute');
         CREATE SINK minute_documents FROM minutes
         WITH (connector = 'mongodb', collection = 'minutes', key = 'site, window_start');
         CREATE SINK minute_records FROM minutes
         WITH (connector = 'kafka', topic = '${{RUN}}.minutes', key = 'site, window_start');
         CREATE SINK early AS
         SELECT device, window_start, window_end, count(*) AS n, max(value) AS highest
         FROM enriched GROUP BY device, hop(ts, INTERVAL '30 seconds', INTERVAL '1 minute') EMIT CHANGES
         WITH (connector = 'mongodb', collection = 'early', mode = 'upsert');
         CREATE SINK visits AS
         SELECT device, window_start, window_end, count(*) AS n
         FROM enriched GROUP BY device, session(ts, INTERVAL '8 seconds')
         WITH (connector = 'mongodb', collection = 'visits', key = 'device, window_start, window_end');
         CREATE SINK changes AS
         SELECT event_id, device, value - lag(value) OVER (PARTITION BY device ORDER BY ts) AS difference FROM enriched
         WITH (connector = 'kafka', topic = '${{RUN}}.changes');
         CREATE SINK causes AS
         SELECT a.id, a.device, r.event_id, r.value
         FROM alarms a LEFT JOIN enriched r ON r.device = a.device AND r.value > 90
              AND r.ts BETWEEN a.raised - INTERVAL '5 seconds' AND a.raised
         WITH (connector = 'kafka', topic = '${{RUN}}.causes');
         CREATE SINK unexplained AS
         SELECT id, device FROM alarms a WHERE NOT EXISTS
             (SELECT 1 FROM once r WHERE r.device = a.device AND a.raised - r.ts BETWEEN INTERVAL '0 seconds' AND INTERVAL '3 seconds')
         WITH (connector = 'mongodb', collection = 'unexplained', key = 'id');
         CREATE SINK latest AS
         SELECT site, count(*) AS n, last_value(value ORDER BY ts) AS value FROM enriched GROUP BY site
         WITH (connector = 'kafka', topic = '${{RUN}}.latest', mode = 'upsert');"
    )
}

/// What is sent, in slices that follow each other in event time.
struct Sender {
    random: Pcg64Mcg,
    events: usize,
    alarms: usize,
    minute: i64,
}

fn record(partition: usize, value: &Value) -> Record {
    (partition as i32, None, Some(value.to_string().into_bytes()))
}

impl Sender {
    /// The next minutes of readings and alarms. A device is in one partition, and so are duplicates; each partition has
    /// a reading of each half minute, so that none is left behind.
    fn slice(&mut self) -> [Vec<Record>; 2] {
        let from = START_MS + self.minute * 60_000;
        self.minute += MINUTES;
        let (mut readings, mut alarms) = (Vec::new(), Vec::new());
        for second in 0..MINUTES * 60 {
            for device in 0..DEVICES {
                let at = from + second * 1_000 + self.random.random_range(0..1_000);
                let name = format!("d{device}");
                if second % 30 == 0 || self.random.random_ratio(1, 6) {
                    self.events += 1;
                    let value = self.random.random_range(0..100);
                    let reading = json!({ "event_id": format!("e{}", self.events), "device": name, "value": value, "ts": at });
                    let times = if self.random.random_ratio(1, 10) { 2 } else { 1 };
                    for _ in 0..times {
                        let arrives = at + self.random.random_range(0..DELAY_MS);
                        readings.push((arrives, record(device % PARTITIONS, &reading)));
                    }
                }
                if second % 30 == 15 || self.random.random_ratio(1, 40) {
                    self.alarms += 1;
                    let alarm = json!({ "id": self.alarms, "device": name, "raised": at });
                    alarms.push((at, record(device % 2, &alarm)));
                }
            }
        }
        [readings, alarms].map(|mut records| {
            records.shuffle(&mut self.random);
            records.sort_by_key(|(arrives, _)| *arrives);
            records.into_iter().map(|(_, record)| record).collect()
        })
    }

    /// Records of every partition that are an hour later than all others.
    fn end(&self) -> [Vec<Record>; 2] {
        let at = START_MS + self.minute * 60_000 + 3_600_000;
        let reading = |partition| {
            record(
                partition,
                &json!({ "event_id": format!("{LAST}{partition}"), "device": LAST, "value": 0, "ts": at }),
            )
        };
        let alarm = |partition| {
            record(partition, &json!({ "id": -(partition as i64), "device": LAST, "raised": at }))
        };
        [(0..PARTITIONS).map(reading).collect(), (0..2).map(alarm).collect()]
    }
}

/// What the sinks of a run hold, by their names.
type Held = BTreeMap<&'static str, BTreeSet<String>>;

fn held(scene: &Scene, run: &str) -> Held {
    let is_compared = |row: &Value| row["device"] != LAST && row["site"] != LAST;
    let mut held = Held::new();
    for collection in ["minutes", "early", "visits", "unexplained"] {
        let documents = scene.services.documents_of(run, collection).into_iter().map(|mut document| {
            document.remove("_v");
            Bson::Document(document).into_relaxed_extjson()
        });
        held.insert(collection, documents.filter(is_compared).map(|row| row.to_string()).collect());
    }
    for name in ["minutes", "changes", "causes", "latest"] {
        let records = scene.services.consume(&format!("{run}.{name}"));
        let parsed = |text: &str| serde_json::from_str::<Value>(text).expect("JSON");
        let of = |(key, value): &(String, String)| format!("{key} {value}");
        let rows = records.iter().filter(|(_, value)| is_compared(&parsed(value)));
        let rows = if name == "latest" {
            // The last record of a key counts.
            rows.map(|record| (&record.0, of(record))).collect::<BTreeMap<_, _>>().into_values().collect()
        } else {
            rows.map(of).collect()
        };
        held.insert(if name == "minutes" { "minute_records" } else { name }, rows);
    }
    held
}

fn differences(expected: &Held, found: &Held) -> String {
    let of_sink = |(sink, expected): (&&str, &BTreeSet<String>)| {
        let found = &found[sink];
        let missing = expected.difference(found).map(|row| format!("- {row}\n"));
        let added = found.difference(expected).map(|row| format!("+ {row}\n"));
        let lines: Vec<String> = missing.chain(added).take(10).collect();
        if lines.is_empty() { String::new() } else { format!("{sink}\n{}", lines.concat()) }
    };
    expected.iter().map(of_sink).collect()
}

struct Restarts {
    scene: Scene,
    sender: Sender,
    topics: [String; 2],
}

impl Restarts {
    fn new(seed: u64) -> Restarts {
        let mut scene = Scene::new("restarts");
        let topics =
            [scene.create("readings", PARTITIONS as i32, 1 << 20), scene.create("alarms", 2, 1 << 20)];
        let devices = scene.create("devices", 2, 1 << 20);
        topics.iter().for_each(|topic| scene.services.delete_later(&format!("{topic}.dlq")));
        scene.dataflow(&sql(&scene));
        // Some devices are not in the table.
        let sites: Vec<Record> = (0..DEVICES - 2)
            .map(|device| {
                let row = json!({ "site": format!("site {}", device % 4) }).to_string();
                (device as i32 % 2, Some(format!("d{device}").into_bytes()), Some(row.into_bytes()))
            })
            .chain([(0, Some(LAST.into()), Some(json!({ "site": LAST }).to_string().into_bytes()))])
            .collect();
        scene.produce(&devices, &sites);
        let random = Pcg64Mcg::seed_from_u64(seed);
        Restarts { scene, sender: Sender { random, events: 0, alarms: 0, minute: 0 }, topics }
    }

    fn send(&mut self, records: [Vec<Record>; 2]) {
        self.topics.iter().zip(records).for_each(|(topic, records)| self.scene.produce(topic, &records));
    }

    /// A run whose sinks nobody else writes.
    fn named(&mut self, run: &str) -> String {
        let name = format!("{}_{run}", self.scene.prefix);
        for topic in ["minutes", "changes", "causes", "latest"] {
            self.scene.services.delete_later(&format!("{name}.{topic}"));
        }
        self.scene.services.databases.push(name.clone());
        name
    }

    fn start(&self, run: &str, workers: usize, processes: usize) -> Cluster {
        self.scene.start(workers, processes, run, &["--param", &format!("RUN={run}")])
    }

    /// Kills a process, at some moment; the others end by themselves.
    fn kill(&mut self, mut cluster: Cluster) {
        let pause = Duration::from_millis(self.sender.random.random_range(50..1_500));
        let dead = self.sender.random.random_range(0..cluster.processes.len());
        let over = Instant::now() + pause;
        let lives =
            |cluster: &mut Cluster| cluster.processes[dead].child.try_wait().expect("a status").is_none();
        until("the pause is over", String::new, || Instant::now() >= over);
        assert!(lives(&mut cluster), "it ended by itself\n{}", cluster.log());
        cluster.processes[dead].child.kill().expect("killed");
        let codes = cluster.wait();
        let expected = (0..codes.len()).map(|process| if process == dead { None } else { Some(1) });
        assert_eq!(codes, expected.collect::<Vec<_>>(), "after {pause:?}\n{}", cluster.log());
    }

    /// Waits until the sinks of a run hold what is expected, and stops it.
    fn finish(&self, run: &str, mut cluster: Cluster, expected: &Held) {
        let complaints = RefCell::new(String::new());
        let log = || format!("(- expected, + found)\n{}{}", complaints.borrow(), cluster.log());
        until("the sinks hold what they should", log, || {
            complaints.replace(differences(expected, &held(&self.scene, run)));
            complaints.borrow().is_empty()
        });
        let ledger = scene::stop(&mut cluster);
        check_ledger(&ledger);
        check_fates(&ledger);
        // And what was under way at the stop has added nothing.
        assert_eq!(differences(expected, &held(&self.scene, run)), "");
        for topic in &self.topics {
            assert_eq!(self.scene.services.consume(&format!("{topic}.dlq")), [], "dead letters of {topic}");
        }
    }
}

/// Nothing is late, no duplicate says something else.
fn check_fates(ledger: &Value) {
    for leg in ledger["legs"].as_array().expect("legs") {
        assert_eq!((&leg["late"], &leg["dead"]), (&json!(0), &json!(0)), "{leg}");
    }
}

fn survives_kills(workers: usize, processes: usize) {
    let given = std::env::var("RESTARTS_SEED").ok().map(|seed| seed.parse().expect("a number"));
    let seed = given.unwrap_or(workers as u64 * 10 + processes as u64);
    println!("seed {seed} (RESTARTS_SEED)");
    let mut restarts = Restarts::new(seed);
    let disturbed = restarts.named("disturbed");
    // Every partition has something: one that is empty counts as idle at once.
    let first = restarts.sender.slice();
    restarts.send(first);
    for _ in 0..KILLS {
        let cluster = restarts.start(&disturbed, workers, processes);
        let slice = restarts.sender.slice();
        restarts.send(slice);
        restarts.kill(cluster);
    }
    let end = restarts.sender.end();
    restarts.send(end);

    let calm = restarts.named("calm");
    let expected = {
        let arguments = ["--param", &format!("RUN={calm}"), "--bounded"];
        let mut cluster = restarts.scene.start(2, 1, &calm, &arguments);
        assert_eq!(cluster.wait(), [Some(0)], "{}", cluster.log());
        let ledger = cluster.ledger();
        check_ledger(&ledger);
        check_fates(&ledger);
        held(&restarts.scene, &calm)
    };
    let rows: Vec<_> = expected.iter().map(|(sink, rows)| (*sink, rows.len())).collect();
    println!("{rows:?}");
    assert!(rows.iter().all(|(sink, rows)| *rows >= if *sink == "latest" { 5 } else { 50 }), "{rows:?}");
    let cluster = restarts.start(&disturbed, workers, processes);
    restarts.finish(&disturbed, cluster, &expected);
}

#[test]
fn real_event_time_survives_kills_of_its_process() {
    survives_kills(2, 1);
}

#[test]
fn real_event_time_survives_kills_of_one_process_of_two() {
    survives_kills(1, 2);
}

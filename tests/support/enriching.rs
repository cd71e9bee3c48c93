//! A dataflow whose events are looked up in tables that change while it runs.

use std::collections::BTreeMap;
use std::fs;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::process::{Cluster, check_ledger, tidemill, until};

const DEVICES: usize = 3_000;
const EVENTS: usize = 1_000;

/// Appends a record with this key and payload to a partition of a topic.
pub type Produce<'a> = &'a dyn Fn(&str, u32, Option<&str>, Option<&str>);

/// The dataflow in a folder of its own.
pub struct Enriching {
    pub folder: TempDir,
    prefix: String,
}

impl Enriching {
    /// Reads topics whose names begin with `prefix`.
    pub fn new(prefix: &str) -> Enriching {
        let folder = tempfile::tempdir().expect("a folder");
        let sql = format!(
            "CREATE TABLE devices (id TEXT, name TEXT NOT NULL, site TEXT, PRIMARY KEY (id))
             WITH (connector = 'kafka', topic = '{prefix}devices', dead_letters = 'drop');
             CREATE TABLE sites (site TEXT PRIMARY KEY, city TEXT NOT NULL)
             WITH (connector = 'kafka', topic = '{prefix}sites', key.format = 'raw');
             CREATE SOURCE events (n BIGINT NOT NULL, id TEXT NOT NULL)
             WITH (connector = 'kafka', topic = '{prefix}events');
             CREATE SINK enriched AS
             SELECT e.n, e.id, d.name, s.city
             FROM events e LEFT JOIN devices FOR SYSTEM_TIME AS OF PROCTIME() AS d ON e.id = d.id
             LEFT JOIN sites s ON d.site = s.site
             WITH (connector = 'file', path = 'enriched.jsonl');
             CREATE SINK directory AS SELECT id, name FROM devices
             WITH (connector = 'file', path = 'directory.jsonl');"
        );
        fs::create_dir(folder.path().join("enriching")).expect("a folder");
        fs::write(folder.path().join("enriching/dataflow.sql"), sql).expect("a file");
        Enriching { folder, prefix: prefix.to_owned() }
    }

    /// The names of its topics.
    pub fn topic(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// Starts it with these settings, as they stand in the environment.
    pub fn start(&self, workers: usize, processes: usize, settings: &[(&str, &str)]) -> Cluster {
        Cluster::spawn(processes, |process| {
            let mut command = tidemill(&["run", "--no-http", "--print-interval", "0s"]);
            command.arg(self.folder.path().join("enriching"));
            command.args(["--workers", &workers.to_string()]);
            command.arg("--state-dir").arg(self.folder.path().join(format!("state-{process}")));
            command.envs(settings.iter().copied());
            command
        })
    }

    fn rows(&self, sink: &str) -> Vec<Value> {
        let path = self.folder.path().join(format!("enriching/{sink}.jsonl"));
        let text = fs::read_to_string(path).unwrap_or_default();
        // The last line may be half written.
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole.lines().map(|line| serde_json::from_str(line).expect("a row")).collect()
    }

    /// Waits until the table has been seen to have these names; `None` for a device that is gone.
    fn wait_for(&self, cluster: &Cluster, names: &[(&str, Option<&str>)]) {
        let is_so = || {
            let mut last = BTreeMap::new();
            for row in self.rows("directory") {
                let id = row["id"].as_str().expect("an id").to_owned();
                let gone = row["op"] == "delete";
                last.insert(id, if gone { Value::Null } else { row["name"].clone() });
            }
            names.iter().all(|(id, name)| last.get(*id).unwrap_or(&Value::Null) == &json!(name))
        };
        until("the table has changed", || cluster.log(), is_so);
    }

    /// Waits for the event with this number, and gives what it was enriched with.
    fn enriched(&self, cluster: &Cluster, n: usize) -> Value {
        let found = || self.rows("enriched").into_iter().find(|row| row["n"] == n);
        until("the event is there", || cluster.log(), || found().is_some());
        let row = found().expect("it is there");
        json!([row["name"], row["city"]])
    }
}

/// What the topics hold before the start: more devices than events, all of which are known.
pub fn fill(enriching: &Enriching, produce: Produce) {
    let (devices, sites) = (enriching.topic("devices"), enriching.topic("sites"));
    produce(&sites, 0, Some("b"), Some(r#"{"city": "Bonn"}"#));
    produce(&sites, 0, Some("z"), Some(r#"{"city": "Zug"}"#));
    produce(&sites, 0, Some("b"), Some(r#"{"city": "Berlin"}"#));
    for n in (0..EVENTS).rev() {
        let event = json!({ "n": n, "id": format!("d{}", n % DEVICES) }).to_string();
        produce(&enriching.topic("events"), (n % 2) as u32, None, Some(&event));
    }
    for (round, site) in ["z", "b"].iter().enumerate() {
        for n in 0..DEVICES {
            let (key, name) = (json!({ "id": format!("d{n}") }), format!("device {n}.{round}"));
            let row = json!({ "name": name, "site": site }).to_string();
            produce(&devices, (n % 2) as u32, Some(&key.to_string()), Some(&row));
        }
    }
}

/// Every event of the backlog has found its device as it was at the end of the table; then the table changes, and
/// what comes afterwards sees the change. Gives the ledger.
pub fn check(enriching: &Enriching, cluster: &mut Cluster, produce: Produce) -> Value {
    let log = || cluster.log();
    until("the backlog is read", log, || enriching.rows("enriched").len() >= EVENTS);
    let before = enriching.rows("enriched");
    for row in &before {
        let n = row["n"].as_u64().expect("a number") as usize;
        assert_eq!((&row["name"], &row["city"]), (&json!(format!("device {n}.1")), &json!("Berlin")));
    }

    let devices = enriching.topic("devices");
    let change = |n: usize, row: Option<&str>| {
        produce(&devices, (n % 2) as u32, Some(&json!({ "id": format!("d{n}") }).to_string()), row);
    };
    // Whoever sees what follows it in its partition has read it.
    change(3, Some("no JSON"));
    change(1, Some(r#"{"name": "moved", "site": "z"}"#));
    change(2, None);
    change(4, Some(r#"{"name": "lost", "site": "nowhere"}"#));
    produce(&devices, 0, None, Some(r#"{"name": "nobody"}"#));
    enriching.wait_for(cluster, &[("d1", Some("moved")), ("d2", None), ("d4", Some("lost"))]);
    let ask = |n: usize, id: &str| {
        let event = json!({ "n": n, "id": id }).to_string();
        produce(&enriching.topic("events"), 0, None, Some(&event));
    };
    let ids = ["d1", "d2", "d3", "d4", "d5", "none"];
    ids.iter().enumerate().for_each(|(place, id)| ask(EVENTS + place, id));
    let found: Vec<Value> = (0..ids.len()).map(|place| enriching.enriched(cluster, EVENTS + place)).collect();
    let expected = [
        json!(["moved", "Zug"]),
        json!([null, null]),
        json!(["device 3.1", "Berlin"]),
        json!(["lost", null]),
        json!(["device 5.1", "Berlin"]),
        json!([null, null]),
    ];
    assert_eq!(found, expected);

    // A device that is there again, and a site that is gone.
    change(2, Some(r#"{"name": "back", "site": "b"}"#));
    produce(&enriching.topic("sites"), 0, Some("b"), None);
    enriching.wait_for(cluster, &[("d2", Some("back"))]);
    ask(EVENTS + 10, "d2");
    assert_eq!(enriching.enriched(cluster, EVENTS + 10)[0], json!("back"));
    let rows = enriching.rows("enriched");
    assert!(before.iter().all(|row| rows.contains(row)), "what was written is never written again");

    for process in &cluster.processes {
        let pid = process.child.id().to_string();
        assert!(std::process::Command::new("kill").args(["-TERM", &pid]).status().expect("kill").success());
    }
    let codes = cluster.wait();
    assert!(codes.iter().all(|code| *code == Some(0)), "ended with {codes:?}\n{}", cluster.log());
    let ledger = cluster.ledger();
    check_ledger(&ledger);
    assert_eq!(ledger["read"]["devices"], 2 * DEVICES + 6, "{ledger:#}");
    ledger
}

//! What a running dataflow holds, as its metrics tell it: it grows with what comes and falls when that is forgotten.

#[expect(dead_code, reason = "no cluster is started here")]
#[path = "support/process.rs"]
mod process;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use process::{Process, free_port, tidemill, until};
use tidemill::topic_log::{TopicWriter, topic_directory};

const HOUR_MS: i64 = 3_600_000;

const DATAFLOW: &str = r#"
CREATE SOURCE readings (id TEXT NOT NULL, device TEXT NOT NULL, value BIGINT NOT NULL, ts TIMESTAMP NOT NULL,
                        WATERMARK FOR ts AS ts - INTERVAL '1 second')
WITH (connector = 'kafka', topic = 'readings');
CREATE VIEW events WITH (deduplicate_horizon = '1 minute') AS
SELECT DISTINCT ON (id) id, device, value, ts FROM readings;
CREATE SINK minutes AS SELECT id, window_end, count(*) AS n FROM events GROUP BY id, tumble(ts, INTERVAL '1 minute')
WITH (connector = 'blackhole');
CREATE SINK bursts AS SELECT id, window_end, count(*) AS n FROM events GROUP BY id, session(ts, INTERVAL '1 minute')
WITH (connector = 'blackhole');
CREATE SINK steps AS SELECT id, ts, lag(value) OVER (PARTITION BY device ORDER BY ts) AS before FROM events
WITH (connector = 'blackhole');
CREATE SINK pairs AS SELECT a.id, b.ts FROM events a JOIN events b
ON a.id = b.id AND b.ts BETWEEN a.ts AND a.ts + INTERVAL '10 seconds' WITH (connector = 'blackhole');
CREATE MATERIALIZED VIEW latest AS SELECT device, max(ts) AS ts FROM events GROUP BY device;
"#;

/// Those that forget, and those that grow with the number of keys.
const FORGET: [&str; 5] =
    ["events/deduplicate", "minutes/aggregate", "bursts/aggregate", "steps/lag", "pairs/join"];
const KEEP: [&str; 2] = ["latest/aggregate", "latest/view"];

const EVENTS: u64 = 40_000;
/// What a state holds that is at least half full. (The bounds do not depend on when one looks while it grows.)
const FULL_BYTES: u64 = EVENTS / 2 * 40;
/// What it may keep for the next keys when all are forgotten.
const EMPTY_BYTES: u64 = 200_000;

fn append(state: &Path, events: impl Iterator<Item = (u64, i64)>) {
    let directory = topic_directory(state, "readings").expect("a name");
    let mut writer = TopicWriter::open(&directory, 1).expect("opened");
    for (number, ms) in events {
        let device = number % 10;
        let payload =
            format!(r#"{{"id": "e{number}", "device": "d{device}", "value": {number}, "ts": {ms}}}"#);
        writer.append(0, None, Some(payload.as_bytes()), &[], ms).expect("appended");
    }
    writer.flush().expect("flushed");
}

/// `tidemill_state_bytes` by state.
fn sizes(address: &str) -> BTreeMap<String, u64> {
    let Ok(mut answer) = ureq::get(format!("http://{address}/metrics")).call() else {
        return BTreeMap::new();
    };
    let text = answer.body_mut().read_to_string().expect("a text");
    let values = text.lines().filter_map(|line| {
        let rest = line.strip_prefix(r#"tidemill_state_bytes{state=""#)?;
        let (state, value) = rest.split_once(r#""} "#)?;
        Some((state.to_owned(), value.parse().expect("a number of bytes")))
    });
    values.collect()
}

#[expect(clippy::disallowed_methods, reason = "what arrives is as old as the clock of the run says")]
fn now_ms() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    i64::try_from(now.as_millis()).expect("a time")
}

#[test]
fn states_tell_their_bytes_and_give_them_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let (dataflow, state) = (folder.path().join("states.sql"), folder.path().join("state"));
    std::fs::write(&dataflow, DATAFLOW).expect("a file");
    let start = now_ms() - 3 * HOUR_MS;
    // All at one time: however the epochs are cut, none of them is late, and none can be forgotten yet.
    append(&state, (0..EVENTS).map(|number| (number, start)));

    let (port, _taken) = free_port();
    let address = format!("127.0.0.1:{port}");
    let mut command = tidemill(&["run", "--print-interval", "0s", "--workers", "2"]);
    command.arg(&dataflow).arg("--state-dir").arg(&state);
    command.args(["--set", &format!("http.listen={address}")]);
    let process = Process::spawn(&mut command);
    let full = |sizes: &BTreeMap<String, u64>| {
        FORGET.iter().all(|name| sizes.get(*name).is_some_and(|bytes| *bytes > FULL_BYTES))
            && KEEP.iter().all(|name| sizes.get(*name).is_some_and(|bytes| *bytes > 500))
    };
    let log = || format!("{:#?}\n{}", sizes(&address), process.log());
    let mut before = BTreeMap::new();
    until("all states hold something", log, || {
        before = sizes(&address);
        full(&before)
    });

    let fell = |names: &[&str]| {
        let after = sizes(&address);
        names.iter().all(|name| after.get(*name).is_some_and(|bytes| *bytes < EMPTY_BYTES))
    };
    // The first event opens windows behind all that close with it; their places are the last to be given back.
    append(&state, std::iter::once((EVENTS, start + HOUR_MS)));
    until("ids are forgotten", log, || fell(&FORGET[..1]));
    append(&state, std::iter::once((EVENTS + 1, start + 2 * HOUR_MS)));
    until("what is forgotten is given back", log, || fell(&FORGET));
    let after = sizes(&address);
    assert!(KEEP.iter().all(|name| after[*name] > before[*name] / 2), "keys stay: {before:#?}\n{after:#?}");
}

//! `tidemill simulate`: fills topics of a broker, embedded ones, or files with simulated telemetry.

pub mod args;
mod folder;
mod kafka;
mod kinds;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

pub use self::folder::{Folder, Split};
pub use self::kafka::KafkaTopic;
use self::kinds::Kinds;
use super::{progress, publish, shutdown};
use crate::error::Result;
use crate::ingest::fleet::{Fleet, partitions};
use crate::plan::Simulator;
use crate::settings::Settings;
use crate::topic_log::{TopicWriter, topic_directory};

/// What `tidemill simulate` asks for.
#[derive(Clone, Debug)]
pub struct SimulateRequest {
    pub target: Target,
    pub simulator: Simulator,
    /// Events of the past instead of those of now.
    pub history: Option<History>,
}

/// Where events go.
#[derive(Clone, Debug)]
pub enum Target {
    /// A topic, or with a `*` in the name one for each kind of device.
    Topic(String),
    Folder(PathBuf),
}

/// Whole days in the past.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct History {
    /// Their beginning, milliseconds since the Unix epoch.
    pub start_ms: i64,
    pub days: u32,
}

/// Sends the telemetry of a fleet until its end, or until a signal.
pub fn fill(request: &SimulateRequest, settings: &Settings) -> Result<()> {
    let shutdown = shutdown::listen(settings.shutdown_timeout)?;
    let stop = Arc::new(AtomicBool::new(false));
    let flag = stop.clone();
    shutdown.on_request(move || flag.store(true, Ordering::Relaxed));
    let simulator = &request.simulator;
    let mut fleet = match request.history {
        Some(History { start_ms, days }) => Fleet::history(simulator, start_ms, days),
        None => Fleet::new(simulator, start_ms(simulator, publish::wall_ms())),
    };
    let text = match &request.target {
        Target::Folder(folder) => {
            let partitions = Split::Partitions(partitions(simulator));
            let split = if request.history.is_some() { Split::Days } else { partitions };
            let sent = fleet.send(&stop, &mut Folder::open(folder, split)?)?;
            format!("{sent} records written to {}\n", folder.display())
        }
        Target::Topic(topic) => {
            let sent = fill_topics(&mut fleet, topic, partitions(simulator), settings, &stop)?;
            format!("{sent} records sent to topic {topic}\n")
        }
    };
    progress::say(&text);
    Ok(())
}

fn fill_topics(
    fleet: &mut Fleet,
    name: &str,
    partitions: u32,
    settings: &Settings,
    stop: &AtomicBool,
) -> Result<u64> {
    let Some(servers) = &settings.kafka.bootstrap_servers else {
        let open = |name: &str| TopicWriter::open(&topic_directory(&settings.state_dir, name)?, partitions);
        let mut topics = Kinds::new(name, open);
        topics.open_the_only_one()?;
        return fleet.send(stop, &mut topics);
    };
    let mut topics = Kinds::new(name, |name: &str| KafkaTopic::open(servers, settings, name, partitions));
    topics.open_the_only_one()?;
    let sent = fleet.send(stop, &mut topics)?;
    topics.topics().try_for_each(KafkaTopic::finish)?;
    Ok(sent)
}

/// Where simulated time begins so that no event is in the future: with a rate it is the clock, without one
/// every device sends an event per second of simulated time, and the last ones are sent about now.
pub fn start_ms(simulator: &Simulator, now_ms: i64) -> i64 {
    /// For a stream without end: two days of every device.
    const ENDLESS_S: u64 = 2 * 86_400;
    if simulator.rate > 0 {
        return now_ms;
    }
    let seconds = simulator.count.map_or(ENDLESS_S, |count| count / simulator.keys.max(1) + 1);
    now_ms.saturating_sub(i64::try_from(seconds).unwrap_or(i64::MAX).saturating_mul(1_000))
}

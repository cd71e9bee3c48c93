//! What a running dataflow says about itself: written by the workers several times a second, read by everybody who
//! looks.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::record::Partition;
use crate::time::Epoch;

/// The state of one process. Counts are since its start and never fall.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Status {
    pub dataflow: String,
    pub process: usize,
    pub phase: Phase,
    /// The newest epoch that was cut.
    pub epoch: Epoch,
    /// The newest epoch that may be seen outside.
    pub released: Epoch,
    pub sources: Vec<SourceStatus>,
    pub views: Vec<ViewStatus>,
    /// States of operators, and rows that are arranged for joins and live reads.
    pub states: Vec<StateStatus>,
    pub sinks: Vec<SinkStatus>,
    /// Bytes that wait to be written by all sinks.
    pub buffered_bytes: u64,
    /// Why the dead letters wait, if they do.
    pub letters_away: Option<String>,
    /// Dead letters by [`Reason`](crate::dead_letter::Reason), as it is named in letters.
    pub letters: BTreeMap<String, u64>,
    pub legs: Vec<LegStatus>,
    /// Sum of the absolute residuals of all legs and edges: 0, or rows are lost.
    pub unaccounted: u64,
}

/// Where a process is in its life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Connecting, opening sinks, finding partitions.
    #[default]
    Starting,
    Running,
    /// A stop was asked for: what was read is finished.
    Draining,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct SourceStatus {
    pub name: String,
    /// Whether the dataflow names its topics: then it needs all of them.
    #[serde(skip)]
    pub named: bool,
    /// Records read, whether they could be used or not.
    pub read: u64,
    /// Records that became dead letters.
    pub dead: u64,
    /// Whether it is a table.
    #[serde(skip)]
    pub table: bool,
    /// A table that is read to its end, before anything is read of the streams.
    pub loading: bool,
    /// Why the source waits for its server, if it does; see [`set_away`](Self::set_away).
    pub away: Option<String>,
    /// The same by worker, for the readers that wait.
    #[serde(skip)]
    pub(super) readers_away: BTreeMap<usize, String>,
    /// That of all its partitions, milliseconds since the Unix epoch; `None` before it has one, and on processes
    /// other than the first.
    pub watermark_ms: Option<i64>,
    /// How far the slowest of the partitions that hold the watermark is behind the machine's clock.
    pub lag_event_ms: Option<i64>,
    /// How far records were behind the greatest event time of their partition; `None` before the first.
    pub lateness: Option<LatenessStatus>,
    /// Records that were ahead of the clock by more than `max_future`, by device, and those of devices beyond the
    /// limit.
    pub future: BTreeMap<String, u64>,
    pub future_others: u64,
    /// Those that this process reads, as far as they are known.
    pub partitions: Vec<PartitionStatus>,
}

impl SourceStatus {
    /// Takes in whether the reader of one worker waits: the source does as long as any of them does.
    pub fn set_away(&mut self, worker: usize, away: Option<String>) {
        match away {
            Some(why) => _ = self.readers_away.insert(worker, why),
            None => _ = self.readers_away.remove(&worker),
        }
        self.away = self.readers_away.values().next().cloned();
    }

    /// The status of a partition that this process reads; they stand in the order of their ids.
    pub fn partition(&mut self, partition: &Partition) -> &mut PartitionStatus {
        let place = match self.partitions.binary_search_by_key(&partition.id, |known| known.id) {
            Ok(place) => place,
            Err(place) => {
                let (id, name, number) = (partition.id, partition.name.to_string(), partition.number);
                let status = PartitionStatus { id, name, number, ..PartitionStatus::default() };
                self.partitions.insert(place, status);
                place
            }
        };
        &mut self.partitions[place]
    }
}

/// How late records were, in milliseconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct LatenessStatus {
    pub records: u64,
    /// All but so many are not later than this.
    pub p99_ms: u64,
    pub p999_ms: u64,
    pub p9999_ms: u64,
    pub max_ms: u64,
    #[serde(skip)]
    pub sum_ms: u64,
    /// Number of records that are not later than each of [`LATENESS_BOUNDS_MS`](super::metrics::LATENESS_BOUNDS_MS).
    #[serde(skip)]
    pub up_to: Vec<u64>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct PartitionStatus {
    /// Its number in the source.
    #[serde(skip)]
    pub id: u32,
    /// Topic or file.
    pub name: String,
    pub number: u32,
    /// First offset that was not read.
    pub offset: u64,
    /// Records between what was read and the end of the log; `None` where nobody knows.
    pub lag_records: Option<u64>,
    /// How far the greatest event time is behind the machine's clock, when this was written.
    pub lag_event_ms: Option<i64>,
    /// Milliseconds since the Unix epoch; `None` before the first record.
    pub watermark_ms: Option<i64>,
    pub idle: bool,
    /// Its records wait for partitions that are behind in event time.
    pub held: bool,
    /// It was deleted where it is kept; the others are read on.
    pub gone: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ViewStatus {
    pub name: String,
    /// Rows that this process holds.
    pub rows: u64,
    /// A few rows that changed last, as JSON, the newest first.
    pub newest: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct StateStatus {
    /// Identity of the operator or arrangement: `<view>/<role>`.
    pub name: String,
    /// Rows folded into them.
    pub rows: u64,
    /// About how many bytes of memory it takes on all workers.
    pub bytes: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct SinkStatus {
    pub name: String,
    /// Rows that are safe on the other side.
    pub acknowledged: u64,
    /// Rows that were there already with the same content.
    pub duplicates: u64,
    /// The newest epoch that is safe on the other side.
    pub confirmed: Epoch,
    /// Why the sink waits, if it does.
    pub away: Option<String>,
}

/// Rows of one leg by fate: `rows_in` is the sum of the others.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct LegStatus {
    pub leg: String,
    #[serde(rename = "in")]
    pub rows_in: u64,
    pub filtered: u64,
    pub deduplicated: u64,
    pub late: u64,
    pub dead: u64,
    pub in_state: u64,
    pub emitted: u64,
    /// How many of the duplicates had other content than the row that stayed, where DISTINCT ON drops them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conflicts: Option<u64>,
}

impl Status {
    /// Why the process is not ready; nothing when it is.
    pub fn not_ready(&self) -> Vec<String> {
        let mut reasons = Vec::new();
        match self.phase {
            Phase::Starting => reasons.push("starting".to_string()),
            Phase::Draining => reasons.push("stopping".to_string()),
            Phase::Running => {}
        }
        let loading = self.sources.iter().filter(|source| source.loading);
        reasons.extend(loading.map(|source| format!("table {} is read, before the streams", source.name)));
        let away = self.sources.iter().filter_map(|source| Some((&source.name, source.away.as_ref()?)));
        reasons.extend(away.map(|(source, why)| format!("source {source} is away: {why}")));
        for source in self.sources.iter().filter(|source| source.named) {
            let gone = source.partitions.iter().filter(|partition| partition.gone);
            let topics: BTreeSet<&str> = gone.map(|partition| partition.name.as_str()).collect();
            let reason = |topic| format!("source {}: topic {topic} does not exist any more", source.name);
            reasons.extend(topics.into_iter().map(reason));
        }
        let away = self.sinks.iter().filter_map(|sink| Some((&sink.name, sink.away.as_ref()?)));
        reasons.extend(away.map(|(sink, why)| format!("sink {sink} is away: {why}")));
        reasons.extend(self.letters_away.iter().map(|why| format!("dead letters wait: {why}")));
        reasons
    }

    /// Records read from all sources.
    pub fn read(&self) -> u64 {
        self.sources.iter().map(|source| source.read).sum()
    }

    /// Dead letters of all reasons.
    pub fn dead(&self) -> u64 {
        self.letters.values().sum()
    }

    /// Records that wait in all partitions; `None` while that is not known of one of them.
    pub fn lag_records(&self) -> Option<u64> {
        self.partitions().map(|partition| partition.lag_records).sum()
    }

    /// The greatest distance of a partition's event time from the clock; idle partitions have none.
    pub fn lag_event_ms(&self) -> Option<i64> {
        let busy = self.partitions().filter(|partition| !partition.idle);
        busy.filter_map(|partition| partition.lag_event_ms).max()
    }

    fn partitions(&self) -> impl Iterator<Item = &PartitionStatus> {
        self.sources.iter().flat_map(|source| &source.partitions)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A status with something of everything.
    pub(crate) fn sample() -> Status {
        Status {
            dataflow: "fleet".into(),
            phase: Phase::Running,
            epoch: 12,
            released: 11,
            sources: vec![SourceStatus {
                name: "telemetry".into(),
                read: 100,
                dead: 3,
                watermark_ms: Some(1_735_689_600_000),
                lag_event_ms: Some(11_500),
                lateness: Some(LatenessStatus {
                    records: 97,
                    max_ms: 4_000,
                    sum_ms: 9_000,
                    up_to: vec![94, 95],
                    ..LatenessStatus::default()
                }),
                future: BTreeMap::from([("car 7".to_string(), 2)]),
                future_others: 1,
                partitions: vec![
                    PartitionStatus {
                        id: 0,
                        name: "raw".into(),
                        number: 0,
                        offset: 60,
                        lag_records: Some(7),
                        lag_event_ms: Some(1500),
                        watermark_ms: Some(1_735_689_600_000),
                        idle: false,
                        held: true,
                        gone: false,
                    },
                    PartitionStatus {
                        id: 1,
                        name: "raw".into(),
                        number: 1,
                        offset: 40,
                        lag_event_ms: Some(90_000),
                        idle: true,
                        ..PartitionStatus::default()
                    },
                ],
                ..SourceStatus::default()
            }],
            views: vec![ViewStatus { name: "latest".into(), rows: 9, newest: vec![r#"{"did":"a"}"#.into()] }],
            states: vec![StateStatus { name: "latest/aggregate".into(), rows: 97, bytes: 4096 }],
            sinks: vec![SinkStatus {
                name: "documents".into(),
                acknowledged: 50,
                duplicates: 1,
                confirmed: 11,
                ..SinkStatus::default()
            }],
            letters: BTreeMap::from([("malformed".to_string(), 2), ("not_null".to_string(), 1)]),
            legs: vec![LegStatus {
                leg: "telemetry->latest".into(),
                rows_in: 97,
                in_state: 97,
                ..LegStatus::default()
            }],
            ..Status::default()
        }
    }

    #[test]
    fn readiness_gives_every_reason() {
        assert_eq!(Status::default().not_ready(), ["starting"]);
        let mut status = sample();
        assert!(status.not_ready().is_empty());
        status.sinks[0].away = Some("connection refused".into());
        status.sources[0].set_away(1, Some("no route".into()));
        status.sources[0].set_away(0, None);
        assert_eq!(
            status.not_ready(),
            ["source telemetry is away: no route", "sink documents is away: connection refused"]
        );
        status.sources[0].set_away(1, None);
        assert_eq!(status.not_ready().len(), 1, "the reader of worker 1 is back");
        status.sources[0].partitions.iter_mut().for_each(|partition| partition.gone = true);
        assert_eq!(status.not_ready().len(), 1, "topics of a pattern come and go");
        (status.sources[0].table, status.sources[0].loading) = (true, true);
        assert_eq!(status.not_ready()[0], "table telemetry is read, before the streams");
        status.sources[0].loading = false;
        status.sources[0].named = true;
        assert_eq!(status.not_ready()[0], "source telemetry: topic raw does not exist any more");
    }

    #[test]
    fn totals() {
        let status = sample();
        assert_eq!((status.read(), status.dead(), status.lag_records()), (100, 3, None));
        assert_eq!(status.lag_event_ms(), Some(1500));
    }
}

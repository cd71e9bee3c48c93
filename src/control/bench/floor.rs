//! The floor: the consumer and decoder of a dataflow over its backlog, and nothing behind them.
//!
//! Settings of the client, number of threads and the partitions of each are those of a run, so the difference
//! between the two is what the dataflow costs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::args::{FloorArgs, Reading};
use super::redirect::Redirect;
use crate::control::dataflow_path::DataflowPath;
use crate::control::progress;
use crate::error::{Error, Result};
use crate::execution::partition_worker;
use crate::ingest::{Connector, RecordSink, connect, kafka};
use crate::parse::decoder;
use crate::plan::{Source, SourceConnector, Upstream};
use crate::process;
use crate::record::{Decode, FoundPartition, Record};
use crate::settings::Settings;

/// As in the consumer threads of a run.
const CHUNK_RECORDS: usize = 8_192;
const MAX_WAIT: Duration = Duration::from_millis(100);

/// What was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Floor {
    /// From the opening of the readers to the end of the last one.
    pub seconds: f64,
    pub records: u64,
    /// Of values.
    pub bytes: u64,
    /// Records that became rows; 0 where nothing was decoded.
    pub rows: u64,
}

/// Reads every source of a dataflow to its end and prints what was read as one line of JSON.
pub fn run(args: &FloorArgs, settings: &Settings) -> Result<()> {
    let dataflow = DataflowPath::find(&args.dataflow)?;
    let mut plan = process::load(&dataflow, settings)?;
    Redirect { sources: args.topics.clone(), sinks: None }.apply(&mut plan, &settings.state_dir);
    let context = connect::Context {
        directory: plan.directory.clone(),
        bounded: true,
        input: args.input.clone(),
        simulator: None,
        sink_topics: Vec::new(),
        start_ms: 0,
    };
    let workers = usize::from(args.workers);
    let mut inputs = Vec::new();
    for (index, source) in plan.sources.iter().enumerate() {
        if plan.legs.iter().any(|leg| leg.from == Upstream::Source(index)) {
            let connector = connect::connect(source, settings, &context)?;
            let partitions = connector.find(None)?;
            for worker in 0..workers {
                let mine = |found: &&FoundPartition| {
                    partition_worker(index as u16, found.partition.id, workers) == worker
                };
                let partitions = partitions.iter().filter(mine).cloned().collect();
                inputs.push((connector.clone(), Arc::new(source.clone()), partitions));
            }
        }
    }
    let began = Instant::now();
    let failed = AtomicBool::new(false);
    let read = |(connector, source, partitions): (Arc<dyn Connector>, Arc<Source>, Vec<FoundPartition>)| {
        let read = match args.reading {
            Reading::Poll => poll(&source, &partitions, settings),
            reading => read(connector, source, partitions, reading == Reading::Consume, &failed),
        };
        failed.fetch_or(read.is_err(), Ordering::Relaxed);
        read
    };
    let floors: Vec<Result<Floor>> = std::thread::scope(|scope| {
        let threads: Vec<_> = inputs.into_iter().map(|input| scope.spawn(|| read(input))).collect();
        let panicked = |_| Err(Error::internal("a reading thread panicked"));
        threads.into_iter().map(|thread| thread.join().unwrap_or_else(panicked)).collect()
    });
    let mut all = Floor { seconds: began.elapsed().as_secs_f64(), ..Floor::default() };
    for floor in floors {
        let floor = floor?;
        all.records += floor.records;
        all.bytes += floor.bytes;
        all.rows += floor.rows;
    }
    progress::say(&format!("{}\n", serde_json::json!(all)));
    Ok(())
}

fn read(
    connector: Arc<dyn Connector>,
    source: Arc<Source>,
    partitions: Vec<FoundPartition>,
    consume_only: bool,
    failed: &AtomicBool,
) -> Result<Floor> {
    let mut reader = connector.open(&partitions)?;
    let of = |found: FoundPartition| decoder(source.clone(), found.partition);
    let mut sink = Decoding {
        ended: vec![false; partitions.len()],
        decoders: partitions.into_iter().map(of).collect(),
        consume_only,
        read: Floor::default(),
    };
    while sink.ended.contains(&false) && !failed.load(Ordering::Relaxed) {
        let wanted: Vec<bool> = sink.ended.iter().map(|ended| !ended).collect();
        reader.read(&wanted, MAX_WAIT, &mut sink)?;
        sink.finish(1);
    }
    Ok(sink.read)
}

/// What the client of Kafka gives by one call for each record, as most programs ask for them.
fn poll(source: &Source, partitions: &[FoundPartition], settings: &Settings) -> Result<Floor> {
    let SourceConnector::Kafka(topics) = &source.connector else {
        return Err(Error::config(format!("source {} is none of Kafka", source.name)));
    };
    let mut read = Floor::default();
    kafka::poll_each(topics, &settings.kafka, partitions, |payload| {
        read.records += 1;
        read.bytes += payload as u64;
    })?;
    Ok(read)
}

struct Decoding {
    decoders: Vec<Box<dyn Decode>>,
    ended: Vec<bool>,
    consume_only: bool,
    read: Floor,
}

impl Decoding {
    /// Finishes the chunks that have so many records at least.
    fn finish(&mut self, records: usize) {
        for decoder in self.decoders.iter_mut().filter(|decoder| decoder.len() >= records) {
            self.read.rows += decoder.finish().rows.num_rows() as u64;
        }
    }
}

impl RecordSink for Decoding {
    fn record(&mut self, partition: usize, record: &Record<'_>) {
        self.read.records += 1;
        self.read.bytes += record.payload.map_or(0, <[u8]>::len) as u64;
        if !self.consume_only {
            self.decoders[partition].push(record);
            if self.decoders[partition].len() >= CHUNK_RECORDS {
                self.finish(CHUNK_RECORDS);
            }
        }
    }

    fn caught_up(&mut self, _partition: usize, _next: u64) {}

    fn ended(&mut self, partition: usize) {
        self.ended[partition] = true;
    }
}

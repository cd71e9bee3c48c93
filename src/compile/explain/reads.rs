//! What a source reads, in words.

use super::delivery;
use crate::plan::{
    Format, KafkaSource, KeyFormat, KeySaid, OPERATION, SourceConnector, StartupMode, TableSource, Topics,
};

/// What a source reads.
pub(super) fn reads(connector: &SourceConnector, format: &Format) -> String {
    match connector {
        SourceConnector::Kafka(kafka) => {
            let format = match format {
                Format::Json => "JSON".to_owned(),
                Format::Csv(dialect) => delivery::csv(dialect),
            };
            format!("Kafka {}, {}, {format}", topics(kafka), begin(kafka))
        }
        SourceConnector::File(file) => {
            let again = file.monitor.map_or(String::new(), |interval| {
                let interval = humantime::format_duration(interval);
                format!(", looked at every {interval} for new files and lines")
            });
            let pace = file.replay_milli.map_or(String::new(), |milli| match milli {
                1_000 => ", as their event times say".to_owned(),
                milli => format!(", as their event times say, {} times as fast", milli as f64 / 1e3),
            });
            format!("files {}, {}{again}{pace}", file.path, delivery::lines(format))
        }
        SourceConnector::Simulator(simulator) => {
            let rate = match simulator.rate {
                0 => "as fast as they are taken".to_owned(),
                rate => format!("{rate} events/s"),
            };
            let count = simulator.count.map_or("without end".to_owned(), |count| format!("{count} events"));
            let (keys, devices) = (simulator.keys, simulator.shape.devices());
            format!("simulator of {keys} {devices}, {rate}, {count}, seed {}", simulator.seed)
        }
    }
}

/// What a record of a table says of its key.
pub(super) fn records(table: &TableSource) -> String {
    let key = match table.said {
        KeySaid::Message(KeyFormat::Json) => "the key of the message is a JSON object of the key columns",
        KeySaid::Message(KeyFormat::Raw) => "the key of the message is the key column",
        KeySaid::Record => {
            return format!(
                "the last one of a key is its row; one whose field {OPERATION} is 'delete' deletes it"
            );
        }
    };
    format!("the last one of a key is its row; {key}, one without payload deletes it")
}

/// The topics of a source.
fn topics(source: &KafkaSource) -> String {
    let pattern = match &source.topics {
        Topics::Named(names) if names.len() == 1 => return format!("topic {}", names[0]),
        Topics::Named(names) => return format!("topics {}", names.join(", ")),
        Topics::Pattern(pattern) => pattern.as_str(),
    };
    match source.find_interval {
        Some(interval) => {
            let interval = humantime::format_duration(interval);
            format!("topics matching '{pattern}' (new ones are looked for every {interval})")
        }
        None => format!("topics matching '{pattern}' that there are at the start"),
    }
}

/// Where a start begins to read.
fn begin(source: &KafkaSource) -> String {
    match &source.startup {
        StartupMode::Earliest => "from the earliest record".to_owned(),
        StartupMode::Latest => "from what arrives after the start".to_owned(),
        StartupMode::Timestamp(ms) => match chrono::DateTime::from_timestamp_millis(*ms) {
            Some(time) => {
                format!("from records of {} on", time.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true))
            }
            None => format!("from records of {ms} ms on"),
        },
        StartupMode::Offsets(offsets) => {
            let offsets =
                offsets.iter().map(|((topic, number), offset)| format!("{topic}/{number} from {offset}"));
            format!("{}, others from the earliest record", offsets.collect::<Vec<_>>().join(", "))
        }
    }
}

//! `tidemill lateness`: which delay of a watermark covers how many records, and what it costs.

use std::fmt::Write;
use std::time::Duration;

use serde_json::{Value, json};

use crate::ingest::survey::Seen;
use crate::plan::Source;
use crate::time::{EventTime, NANOS_PER_MILLI};

/// Shares of the records that delays are told for.
const SHARES: [f64; 4] = [0.99, 0.999, 0.9999, 1.0];

/// A delay, and what it means.
#[derive(Debug, PartialEq)]
struct Delay {
    /// Share of the records that it covers at least; `None` for the declared one.
    share: Option<f64>,
    delay_ms: u64,
    /// Records that are late nevertheless.
    late: u64,
    /// The same share within each partition by itself, whatever the others do.
    within_ms: Option<u64>,
    /// Records that come while results wait: on average and at most.
    held: (u64, u64),
}

fn delays(source: &Source, seen: &Seen) -> Vec<Delay> {
    let covering = SHARES.into_iter().map(|share| {
        let delay_ms = seen.judged.value_at_quantile(share).min(seen.judged.max());
        let over = seen.judged.iter_recorded().filter(|step| step.value_iterated_to() > delay_ms);
        Delay {
            share: Some(share),
            delay_ms,
            late: over.map(|step| step.count_at_value()).sum(),
            within_ms: Some(seen.within.value_at_quantile(share).min(seen.within.max())),
            held: seen.density.within(delay_ms),
        }
    });
    let declared = source.watermark.map(|watermark| {
        let delay_ms = (watermark.delay_ns / NANOS_PER_MILLI).unsigned_abs();
        let held = seen.density.within(delay_ms);
        Delay { share: None, delay_ms, late: seen.late, within_ms: None, held }
    });
    covering.chain(declared).collect()
}

/// For machines.
pub fn to_json(source: &Source, seen: &Seen) -> Value {
    let time = |time: EventTime| json!(rfc3339(time));
    let delays = delays(source, seen).into_iter().map(|delay| {
        json!({
            "covers": delay.share,
            "declared": delay.share.is_none(),
            "delay_ms": delay.delay_ms,
            "late": delay.late,
            "within_partitions_ms": delay.within_ms,
            "records_held_mean": delay.held.0,
            "records_held_max": delay.held.1,
        })
    });
    json!({
        "source": source.name,
        "watermark": source.watermark.is_some(),
        "partitions": seen.partitions,
        "records": seen.records,
        "dead": seen.dead,
        "from": seen.span.map(|(from, _)| time(from)),
        "to": seen.span.map(|(_, to)| time(to)),
        "delays": delays.collect::<Vec<_>>(),
    })
}

/// For people.
pub fn to_text(source: &Source, seen: &Seen) -> String {
    let mut text = String::new();
    let mut line =
        |args: std::fmt::Arguments<'_>| writeln!(text, "{args}").expect("a text takes what is written");
    if source.watermark.is_none() {
        line(format_args!("source {}: declares no WATERMARK, so nothing is late", source.name));
        return text;
    }
    let (records, partitions, dead) = (seen.records, seen.partitions, seen.dead);
    line(format_args!(
        "source {}: {records} records in {partitions} partitions, {dead} dead letters",
        source.name
    ));
    let Some((from, to)) = seen.span else { return text };
    line(format_args!("  event time from {} to {}", rfc3339(from), rfc3339(to)));
    line(format_args!(
        "  {:<10} {:>14} {:>10} {:>18} {:>14} {:>14}",
        "covers", "delay", "late", "within partitions", "held, mean", "held, most"
    ));
    for delay in delays(source, seen) {
        let share = delay.share.map_or("declared".to_owned(), |share| format!("{} %", share * 100.0));
        let within = delay.within_ms.map_or(String::new(), duration);
        let (mean, most) = delay.held;
        line(format_args!(
            "  {share:<10} {:>14} {:>10} {within:>18} {mean:>14} {most:>14}",
            duration(delay.delay_ms),
            delay.late
        ));
    }
    text
}

/// What the columns mean, once below all sources.
pub const LEGEND: &str = "
delay: WATERMARK FOR t AS t - INTERVAL '<delay>' makes no more records late than told; results wait so long
within partitions: the same if each partition stood alone; a delay of this length covers any order of reading
held: records (or remembered ids) that come while results wait, on average and at most
";

fn duration(ms: u64) -> String {
    humantime::format_duration(Duration::from_millis(ms)).to_string()
}

fn rfc3339(time: EventTime) -> String {
    chrono::DateTime::from_timestamp_nanos(time).to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true)
}

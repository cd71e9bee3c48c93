//! `tidemill lateness`: which delay of a watermark covers how many records, and what it costs.

use std::fmt::Write;
use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::ingest::survey::Seen;
use crate::plan::{Operator, Plan, Source, Window};
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

/// What a view keeps while it waits for the watermark.
#[derive(Debug, PartialEq)]
pub struct Kept {
    /// Name of the state: `<view>/aggregate`.
    name: String,
    what: What,
}

#[derive(Debug, PartialEq)]
enum What {
    /// Windows that begin every `slide_ns` and are open so long behind the newest event time, beside the delay.
    Windows { slide_ns: i64, open_ns: i64 },
    /// Rows, one by one, so long beside the delay.
    Ids { held_ns: i64 },
}

/// The views that wait for the watermark of a source, as far as the delay alone tells what they keep: how many
/// sessions are open depends on the rows.
pub fn kept(plan: &Plan, source: usize) -> Vec<Kept> {
    let of = |operator: &Operator| match operator {
        Operator::Aggregation(aggregation) => {
            let windowing = aggregation.window.as_ref().filter(|window| window.bound.depends_on(source))?;
            let (slide_ns, size_ns) = match windowing.window {
                Window::Tumble { size_ns } => (size_ns, size_ns),
                Window::Hop { slide_ns, size_ns } => (slide_ns, size_ns),
                Window::Cumulate { step_ns, size_ns } => (step_ns, size_ns),
                Window::Session { .. } | Window::Given => return None,
            };
            Some(What::Windows { slide_ns, open_ns: size_ns.saturating_add(windowing.allowed_lateness_ns) })
        }
        Operator::Deduplication(deduplication) => {
            let horizon = deduplication.horizon.as_ref().filter(|it| it.bound.depends_on(source))?;
            Some(What::Ids { held_ns: horizon.ns.saturating_mul(2) })
        }
        _ => None,
    };
    let kept = |operator: &Operator| Some(Kept { name: operator.name().to_owned(), what: of(operator)? });
    plan.operators.iter().filter_map(kept).collect()
}

impl Kept {
    /// How many windows of one key are open at most, or how many rows are remembered at most, with a delay.
    fn most(&self, seen: &Seen, delay_ms: u64) -> u64 {
        let delay_ns = i64::try_from(delay_ms).unwrap_or(i64::MAX).saturating_mul(NANOS_PER_MILLI);
        match self.what {
            What::Windows { slide_ns, open_ns } => windows(delay_ns.saturating_add(open_ns), slide_ns),
            What::Ids { held_ns } => {
                let ms = held_ns.saturating_add(delay_ns) / NANOS_PER_MILLI;
                seen.density.within(ms.unsigned_abs()).1
            }
        }
    }

    fn unit(&self) -> &'static str {
        match self.what {
            What::Windows { .. } => "open windows of each key, most",
            What::Ids { .. } => "remembered ids, most",
        }
    }
}

/// How many windows begin in a length of time at most.
fn windows(length_ns: i64, slide_ns: i64) -> u64 {
    length_ns.unsigned_abs().div_ceil(slide_ns.unsigned_abs())
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
pub fn to_json(source: &Source, kept: &[Kept], seen: &Seen) -> Value {
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
            "kept": kept.iter().map(|kept| (kept.name.clone(), json!(kept.most(seen, delay.delay_ms)))).collect::<Map<_, _>>(),
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
pub fn to_text(source: &Source, kept: &[Kept], seen: &Seen) -> String {
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
    let delays = delays(source, seen);
    for delay in &delays {
        let share = delay.share.map_or("declared".to_owned(), |share| format!("{} %", share * 100.0));
        let within = delay.within_ms.map_or(String::new(), duration);
        let (mean, most) = delay.held;
        line(format_args!(
            "  {share:<10} {:>14} {:>10} {within:>18} {mean:>14} {most:>14}",
            duration(delay.delay_ms),
            delay.late
        ));
    }
    for kept in kept {
        let most = delays.iter().map(|delay| kept.most(seen, delay.delay_ms).to_string());
        let most = most.collect::<Vec<_>>().join(", ");
        line(format_args!("  {}: {}: {most}", kept.name, kept.unit()));
    }
    text
}

/// What the columns mean, once below all sources.
pub const LEGEND: &str = "
delay: WATERMARK FOR t AS t - INTERVAL '<delay>' makes no more records late than told; results wait so long
within partitions: the same if each partition stood alone; a delay of this length covers any order of reading
held: records that come while results wait, on average and at most
below: what each view keeps, with the delays from above to below
";

fn duration(ms: u64) -> String {
    humantime::format_duration(Duration::from_millis(ms)).to_string()
}

fn rfc3339(time: EventTime) -> String {
    chrono::DateTime::from_timestamp_nanos(time).to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_is_open_from_its_start_until_the_delay_behind_its_end() {
        // Of a minute, with delays of 0, 1, 60 and 61 seconds.
        assert_eq!([60, 61, 120, 121].map(|length| windows(length, 60)), [1, 2, 2, 3]);
        // Of a minute, each 20 seconds.
        assert_eq!([60, 61, 80, 81].map(|length| windows(length, 20)), [3, 4, 4, 5]);
    }
}

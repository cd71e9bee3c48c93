//! `/metrics`: the status and the counters in Prometheus' text format.

use std::fmt::{Display, Write};
use std::sync::atomic::Ordering;

use super::status::{LegStatus, Phase, Status};
use super::telemetry::{BUCKETS_US, Histogram, Telemetry};

/// Upper bounds of the buckets of lateness, in milliseconds: from records in order to those of a device that was
/// away for a week.
pub const LATENESS_BOUNDS_MS: [u64; 14] = [
    0,
    100,
    1_000,
    5_000,
    10_000,
    30_000,
    60_000,
    300_000,
    600_000,
    1_800_000,
    3_600_000,
    21_600_000,
    86_400_000,
    604_800_000,
];

/// All metrics of a process.
pub fn render(telemetry: &Telemetry) -> String {
    let status = telemetry.status().clone();
    let mut text = Text::default();
    process(&mut text, &status);
    sources(&mut text, &status);
    event_time(&mut text, &status);
    partitions(&mut text, &status);
    rows(&mut text, &status);
    sinks(&mut text, &status);
    counters(&mut text, telemetry);
    text.0
}

fn process(text: &mut Text, status: &Status) {
    text.gauge("ready", "1 when /readyz says so").value(&[], u8::from(status.not_ready().is_empty()));
    let draining = status.phase == Phase::Draining;
    text.gauge("draining", "1 while what was read is finished before a stop").value(&[], u8::from(draining));
    text.gauge("epoch", "newest epoch that was cut").value(&[], status.epoch);
    text.gauge("epoch_released", "newest epoch that may be seen outside").value(&[], status.released);
    text.gauge("ledger_unaccounted_rows", "rows without a known fate: 0, or rows are lost")
        .value(&[], status.unaccounted);
}

fn sources(text: &mut Text, status: &Status) {
    text.counter("source_records_total", "records read");
    for source in &status.sources {
        text.value(&[("source", &source.name)], source.read);
    }
    text.counter("source_dead_records_total", "records that became dead letters");
    for source in &status.sources {
        text.value(&[("source", &source.name)], source.dead);
    }
    text.gauge("table_loading", "1 while a table is read to its end, before the streams");
    for source in status.sources.iter().filter(|source| source.table) {
        text.value(&[("table", &source.name)], u8::from(source.loading));
    }
    text.counter("dead_letters_total", "records and rows that could not be used");
    for (reason, count) in &status.letters {
        text.value(&[("reason", reason)], count);
    }
}

fn event_time(text: &mut Text, status: &Status) {
    text.gauge("source_watermark_seconds", "watermark of all partitions, seconds since the Unix epoch");
    for source in &status.sources {
        text.known(&[("source", &source.name)], source.watermark_ms.map(Seconds));
    }
    text.gauge("source_lag_seconds", "distance of the event time of the slowest partition from the clock");
    for source in &status.sources {
        text.known(&[("source", &source.name)], source.lag_event_ms.map(Seconds));
    }
    text.counter("source_future_records_total", "records ahead by more than max_future or max_jump");
    for source in &status.sources {
        for (device, count) in &source.future {
            text.value(&[("source", &source.name), ("device", device)], count);
        }
        if source.future_others > 0 {
            text.value(&[("source", &source.name), ("device", "(others)")], source.future_others);
        }
    }
    let help = "how far records are behind the greatest event time of their partition";
    text.open("source_lateness_seconds", "histogram", help);
    for source in &status.sources {
        let Some(lateness) = &source.lateness else { continue };
        let name = Labels(&[("source", &source.name)]).to_string();
        let labels = name.trim_end_matches('}');
        let bounds = LATENESS_BOUNDS_MS.iter().map(|bound| (*bound as f64 / 1e3).to_string());
        let buckets = bounds.zip(&lateness.up_to).chain([("+Inf".to_owned(), &lateness.records)]);
        for (bound, count) in buckets {
            let line =
                format_args!("tidemill_source_lateness_seconds_bucket{labels},le=\"{bound}\"}} {count}");
            text.line(line);
        }
        text.line(format_args!(
            "tidemill_source_lateness_seconds_sum{name} {}",
            lateness.sum_ms as f64 / 1e3
        ));
        text.line(format_args!("tidemill_source_lateness_seconds_count{name} {}", lateness.records));
    }
}

fn partitions(text: &mut Text, status: &Status) {
    let partitions: Vec<_> = status
        .sources
        .iter()
        .flat_map(|source| source.partitions.iter().map(move |partition| (&source.name, partition)))
        .map(|(source, partition)| (source, partition, partition.number.to_string()))
        .collect();
    let labels = |index: usize| {
        let (source, partition, number) = &partitions[index];
        [("source", source.as_str()), ("topic", partition.name.as_str()), ("partition", number.as_str())]
    };
    text.gauge("partition_offset", "first offset that was not read");
    for (index, (_, partition, _)) in partitions.iter().enumerate() {
        text.value(&labels(index), partition.offset);
    }
    text.gauge("partition_lag_records", "records between what was read and the end of the log");
    for (index, (_, partition, _)) in partitions.iter().enumerate() {
        text.known(&labels(index), partition.lag_records);
    }
    text.gauge("partition_lag_seconds", "distance of the greatest event time from the clock");
    for (index, (_, partition, _)) in partitions.iter().enumerate() {
        text.known(&labels(index), partition.lag_event_ms.map(Seconds));
    }
    text.gauge("partition_watermark_seconds", "watermark, seconds since the Unix epoch");
    for (index, (_, partition, _)) in partitions.iter().enumerate() {
        text.known(&labels(index), partition.watermark_ms.map(Seconds));
    }
    text.gauge("partition_idle", "1 when the partition holds no watermark back");
    for (index, (_, partition, _)) in partitions.iter().enumerate() {
        text.value(&labels(index), u8::from(partition.idle));
    }
    text.gauge("partition_held", "1 while its records wait for partitions that are behind in event time");
    for (index, (_, partition, _)) in partitions.iter().enumerate() {
        text.value(&labels(index), u8::from(partition.held));
    }
}

/// Name of a fate and how many rows of a leg have it.
type Fate = (&'static str, fn(&LegStatus) -> u64);

fn rows(text: &mut Text, status: &Status) {
    const FATES: [Fate; 5] = [
        ("filtered", |leg| leg.filtered),
        ("deduplicated", |leg| leg.deduplicated),
        ("late", |leg| leg.late),
        ("dead", |leg| leg.dead),
        ("emitted", |leg| leg.emitted),
    ];
    text.counter("leg_rows_in_total", "rows that entered a leg");
    for leg in &status.legs {
        text.value(&[("leg", &leg.leg)], leg.rows_in);
    }
    text.counter("leg_rows_total", "rows of a leg by their fate");
    for leg in &status.legs {
        for (fate, count) in FATES {
            text.value(&[("leg", &leg.leg), ("fate", fate)], count(leg));
        }
    }
    text.counter("leg_conflicts_total", "duplicates of a leg with other content than the row that stayed");
    for leg in &status.legs {
        text.known(&[("leg", &leg.leg)], leg.conflicts);
    }
    text.gauge("leg_rows_in_state", "rows of a leg that are kept in state");
    for leg in &status.legs {
        text.value(&[("leg", &leg.leg)], leg.in_state);
    }
    text.gauge("view_rows", "rows of a view in this process");
    for view in &status.views {
        text.value(&[("view", &view.name)], view.rows);
    }
    text.gauge("state_rows", "rows folded into the groups that are kept");
    for state in &status.states {
        text.value(&[("state", &state.name)], state.rows);
    }
    text.gauge("state_bytes", "bytes of memory that a state takes, about");
    for state in &status.states {
        text.value(&[("state", &state.name)], state.bytes);
    }
}

fn sinks(text: &mut Text, status: &Status) {
    text.counter("sink_rows_total", "rows that are safe on the other side");
    for sink in &status.sinks {
        text.value(&[("sink", &sink.name)], sink.acknowledged);
    }
    text.counter("sink_duplicate_rows_total", "rows that were there already with the same content");
    for sink in &status.sinks {
        text.value(&[("sink", &sink.name)], sink.duplicates);
    }
    text.gauge("sink_epoch", "newest epoch that is safe on the other side");
    for sink in &status.sinks {
        text.value(&[("sink", &sink.name)], sink.confirmed);
    }
    text.gauge("sinks_buffered_bytes", "bytes that wait to be written").value(&[], status.buffered_bytes);
    text.gauge("sink_away", "1 while the sink waits for its server");
    for sink in &status.sinks {
        text.value(&[("sink", &sink.name)], u8::from(sink.away.is_some()));
    }
}

fn counters(text: &mut Text, telemetry: &Telemetry) {
    text.counter("ticker_waits_total", "ticks that were held back, by the limit that did it");
    text.value(&[("limit", "computing")], telemetry.waits_computing.load(Ordering::Relaxed));
    text.value(&[("limit", "in_flight")], telemetry.waits_in_flight.load(Ordering::Relaxed));
    text.counter("view_lookups_total", "rows asked for by key");
    for (outcome, count) in [
        ("found", &telemetry.lookups_found),
        ("missing", &telemetry.lookups_missing),
        ("failed", &telemetry.lookups_failed),
    ] {
        text.value(&[("outcome", outcome)], count.load(Ordering::Relaxed));
    }
    text.histogram(
        "epoch_close_seconds",
        "from the cut of an epoch to its completion",
        &telemetry.epoch_close,
    );
    let help = "from the cut of an epoch to its confirmation by all sinks";
    text.histogram("epoch_confirm_seconds", help, &telemetry.epoch_confirm);
}

/// Milliseconds, written as seconds.
struct Seconds(i64);

impl Display for Seconds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0 as f64 / 1e3)
    }
}

/// The text so far; values belong to the metric that was opened last.
#[derive(Default)]
struct Text(String);

impl Text {
    fn gauge(&mut self, name: &str, help: &str) -> &mut Self {
        self.open(name, "gauge", help)
    }

    fn counter(&mut self, name: &str, help: &str) -> &mut Self {
        self.open(name, "counter", help)
    }

    fn open(&mut self, name: &str, kind: &str, help: &str) -> &mut Self {
        self.line(format_args!("# HELP tidemill_{name} {help}"));
        self.line(format_args!("# TYPE tidemill_{name} {kind}"));
        self
    }

    fn known(&mut self, labels: &[(&str, &str)], value: Option<impl Display>) {
        if let Some(value) = value {
            self.value(labels, value);
        }
    }

    fn value(&mut self, labels: &[(&str, &str)], value: impl Display) {
        let name = self.metric().to_string();
        self.line(format_args!("{name}{} {value}", Labels(labels)));
    }

    /// Name of the metric that was opened last.
    fn metric(&self) -> &str {
        let kind = self.0.rfind("# TYPE ").map_or("", |at| &self.0[at + "# TYPE ".len()..]);
        kind.split(' ').next().unwrap_or_default()
    }

    fn histogram(&mut self, name: &str, help: &str, histogram: &Histogram) {
        self.open(name, "histogram", help);
        let (counts, sum_us) = histogram.cumulative();
        for (count, bound) in counts.iter().zip(BUCKETS_US) {
            self.line(format_args!("tidemill_{name}_bucket{{le=\"{}\"}} {count}", bound as f64 / 1e6));
        }
        let all = counts[BUCKETS_US.len()];
        self.line(format_args!("tidemill_{name}_bucket{{le=\"+Inf\"}} {all}"));
        self.line(format_args!("tidemill_{name}_sum {}", sum_us as f64 / 1e6));
        self.line(format_args!("tidemill_{name}_count {all}"));
    }

    fn line(&mut self, line: impl Display) {
        writeln!(self.0, "{line}").expect("a text takes what is written");
    }
}

/// `{a="b",c="d"}`, with the values escaped.
struct Labels<'a>(&'a [(&'a str, &'a str)]);

impl Display for Labels<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (index, (name, value)) in self.0.iter().enumerate() {
            let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            write!(f, "{}{name}=\"{value}\"", if index == 0 { '{' } else { ',' })?;
        }
        if self.0.is_empty() { Ok(()) } else { f.write_str("}") }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Duration;

    use super::*;
    use crate::control::status::tests::sample;

    fn rendered() -> String {
        let telemetry = Telemetry::new();
        let mut status = sample();
        status.legs[0].leg = "a\"b\\c->d".into();
        status.sinks[0].away = Some("gone".into());
        *telemetry.status() = status;
        telemetry.epoch_close.record(Duration::from_millis(3));
        telemetry.lookups_found.fetch_add(2, Ordering::Relaxed);
        render(&telemetry)
    }

    #[test]
    fn values_are_there() {
        let text = rendered();
        for line in [
            "# TYPE tidemill_source_records_total counter",
            "tidemill_source_records_total{source=\"telemetry\"} 100",
            "tidemill_dead_letters_total{reason=\"not_null\"} 1",
            "tidemill_partition_lag_records{source=\"telemetry\",topic=\"raw\",partition=\"0\"} 7",
            "tidemill_partition_lag_seconds{source=\"telemetry\",topic=\"raw\",partition=\"0\"} 1.5",
            "tidemill_partition_idle{source=\"telemetry\",topic=\"raw\",partition=\"1\"} 1",
            "tidemill_leg_rows_in_state{leg=\"a\\\"b\\\\c->d\"} 97",
            "tidemill_sink_away{sink=\"documents\"} 1",
            "tidemill_ready 0",
            "tidemill_source_watermark_seconds{source=\"telemetry\"} 1735689600",
            "tidemill_source_lag_seconds{source=\"telemetry\"} 11.5",
            "tidemill_source_future_records_total{source=\"telemetry\",device=\"car 7\"} 2",
            "tidemill_source_future_records_total{source=\"telemetry\",device=\"(others)\"} 1",
            "tidemill_source_lateness_seconds_bucket{source=\"telemetry\",le=\"0.1\"} 95",
            "tidemill_source_lateness_seconds_bucket{source=\"telemetry\",le=\"+Inf\"} 97",
            "tidemill_source_lateness_seconds_sum{source=\"telemetry\"} 9",
            "tidemill_ledger_unaccounted_rows 0",
            "tidemill_view_lookups_total{outcome=\"found\"} 2",
            "tidemill_epoch_close_seconds_bucket{le=\"0.0025\"} 0",
            "tidemill_epoch_close_seconds_bucket{le=\"0.005\"} 1",
            "tidemill_epoch_close_seconds_bucket{le=\"+Inf\"} 1",
            "tidemill_epoch_close_seconds_sum 0.003",
        ] {
            assert!(text.lines().any(|l| l == line), "no line {line} in\n{text}");
        }
        // What nobody knows has no value, rather than a wrong one.
        assert!(!text.contains("partition_lag_records{source=\"telemetry\",topic=\"raw\",partition=\"1\"}"));
    }

    #[test]
    fn every_metric_is_described_once() {
        let text = rendered();
        let mut described = BTreeSet::new();
        for line in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
            let name = line.split(' ').next().unwrap_or_default();
            assert!(described.insert(name), "{name} is described twice");
        }
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let name = line.split(['{', ' ']).next().unwrap_or_default();
            let base = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
            assert!(described.contains(name) || base.is_some_and(|base| described.contains(base)), "{name}");
        }
    }
}

//! The cut of one partition: which records belong to an epoch, and what is known about event time after it.
//!
//! Pure: chunks and a tick in; batches, letters and a binding out. The skew guard is applied here, because
//! it needs the epoch's clock; the decoder knows only bytes.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BooleanArray, RecordBatch, TimestampNanosecondArray, UInt32Array, UInt64Array,
};
use arrow::compute::{filter, filter_record_batch};
use xxhash_rust::xxh3::Xxh3;

use super::align::Standing;
use super::hold::{self, Hold};
use crate::batch::{Batch, Origin, RowOrigin};
use crate::dead_letter::{DeadLetter, Reason};
use crate::error::{Error, Result};
use crate::plan::{ColumnOrigin, Metadata, Source};
use crate::record::Chunk;
use crate::time::{Binding, EventTime, NANOS_PER_MILLI, Tick, Watermark};

/// What one partition contributes to an epoch.
#[derive(Debug)]
pub struct Cut {
    pub batches: Vec<Batch>,
    pub letters: Vec<DeadLetter>,
    pub binding: Binding,
    /// Where the partition stands behind it, for the alignment of the source.
    pub standing: Standing,
    /// Records read, rows and letters together.
    pub read: usize,
}

/// Event time and offsets of one partition, from epoch to epoch.
#[derive(Debug)]
pub struct PartitionCut {
    source: Arc<Source>,
    source_index: u16,
    partition: u32,
    next_offset: u64,
    max_event_time: Option<EventTime>,
    /// The middle of the last event times.
    stands_at: Option<EventTime>,
    /// Wall clock of the last epoch that brought event time on, or in which nobody knew whether there was more.
    last_data_ms: Option<i64>,
    /// The epoch at hand, as far as it was cut in parts.
    open: Option<Open>,
}

/// What was read in an epoch that is not at its end.
struct Open {
    from: u64,
    read: usize,
    input: Xxh3,
}

impl std::fmt::Debug for Open {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Open").field("from", &self.from).field("read", &self.read).finish_non_exhaustive()
    }
}

/// What the reader says about its place in the log at the moment of the cut.
#[derive(Clone, Copy, Debug, Default)]
pub struct Place {
    /// At the end of the log, with the offset that follows.
    pub caught_up: Option<u64>,
    /// There will never be another record.
    pub ended: bool,
    /// The other side does not answer, so the log may go on behind its end.
    pub unsure: bool,
    /// Records are left because they are too far ahead, about here.
    pub held: Option<EventTime>,
}

/// Whether an epoch is cut to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    End,
    /// The binding is for people to look at, until that of the end.
    More,
}

impl PartitionCut {
    /// A partition from which nothing has been cut, and which is read from offset `from` on.
    pub fn new(source: Arc<Source>, source_index: u16, partition: u32, from: u64) -> Self {
        PartitionCut {
            source,
            source_index,
            partition,
            next_offset: from,
            max_event_time: None,
            stands_at: None,
            last_data_ms: None,
            open: None,
        }
    }

    /// Which records are too far ahead for the epoch of `tick`, if its source has a ceiling.
    pub fn hold(&self, tick: &Tick) -> Option<Hold> {
        let (watermark, after) = (self.source.watermark?, tick.ceiling(self.source_index)?);
        Some(Hold { column: watermark.column, after, to: self.clock_limit(tick) })
    }

    /// What is later is no event time, but the time of a broken clock.
    fn clock_limit(&self, tick: &Tick) -> EventTime {
        let max_future_ns = i64::try_from(self.source.max_future.as_nanos()).unwrap_or(i64::MAX);
        tick.wall_ms.saturating_mul(NANOS_PER_MILLI).saturating_add(max_future_ns)
    }

    /// Ends an epoch that was cut in parts.
    pub fn end(&mut self) {
        self.open = None;
    }

    /// Cuts the epoch of `tick`: `chunks` are its records, in order, or with `More` behind it the next of them.
    pub fn cut(&mut self, tick: &Tick, chunks: &[Chunk], place: Place, until: Until) -> Result<Cut> {
        let (mut batches, mut letters, mut read) = (Vec::new(), Vec::new(), 0);
        let mut seen = Vec::new();
        let mut timed = self.source.watermark.is_none() && !chunks.is_empty();
        let from = chunks.first().map_or(self.next_offset, |chunk| chunk.raw.offset(0));
        let mut open = self.open.take().unwrap_or_else(|| Open { from, read: 0, input: Xxh3::new() });
        if open.read == 0 {
            open.from = from;
        }
        for chunk in chunks {
            read += chunk.len();
            for record in 0..chunk.len() {
                seen.extend_from_slice(&chunk.raw.offset(record).to_le_bytes());
                seen.extend_from_slice(&(chunk.raw.size(record) as u64).to_le_bytes());
            }
            self.next_offset = chunk.raw.offset(chunk.len() - 1) + 1;
            letters.extend(chunk.rejects.iter().map(|reject| DeadLetter {
                origin: Some(self.origin(reject.offset)),
                row: None,
                reason: reject.reason,
                error: reject.error.clone(),
                rule: reject.rule.clone(),
                stage: self.source.name.clone(),
            }));
            let (rows, offsets) = self.guard(tick, &chunk.rows, &chunk.offsets, &mut letters)?;
            timed |= self.observe(&rows)?;
            if rows.num_rows() > 0 {
                batches.push(self.batch(tick, rows, offsets)?);
            }
        }
        if timed || place.unsure {
            self.last_data_ms = Some(tick.wall_ms);
        }
        if let Some(next) = place.caught_up {
            self.next_offset = self.next_offset.max(next);
        }
        open.read += read;
        open.input.update(&seen);
        let binding = Binding {
            epoch: tick.epoch,
            source: self.source_index,
            partition: self.partition,
            from: open.from.min(self.next_offset),
            to: self.next_offset,
            watermark: self.watermark(),
            idle: !timed && self.idle(tick, place),
            ended: place.ended,
            input_hash: open.input.digest(),
        };
        self.open = (until == Until::More).then_some(open);
        let standing = self.standing(tick, chunks, place);
        Ok(Cut { batches, letters, binding, standing, read })
    }

    fn origin(&self, offset: u64) -> RowOrigin {
        RowOrigin { source: self.source_index, partition: self.partition, offset, index: 0 }
    }

    /// Takes out rows that are further ahead of the epoch's clock than `max_future`, before they can move the
    /// watermark: one broken clock never makes a fleet late.
    fn guard(
        &self,
        tick: &Tick,
        rows: &RecordBatch,
        offsets: &UInt64Array,
        letters: &mut Vec<DeadLetter>,
    ) -> Result<(RecordBatch, UInt64Array)> {
        let Some(watermark) = self.source.watermark else { return Ok((rows.clone(), offsets.clone())) };
        let times = times(rows, watermark.column)?;
        let limit = self.clock_limit(tick);
        let is_future = |(row, time): (usize, Option<EventTime>)| Some(row).filter(|_| time > Some(limit));
        let future: Vec<usize> = times.iter().enumerate().filter_map(is_future).collect();
        if future.is_empty() {
            return Ok((rows.clone(), offsets.clone()));
        }
        let mut keep = vec![true; rows.num_rows()];
        let column = &self.source.columns[watermark.column].name;
        for row in future {
            keep[row] = false;
            letters.push(DeadLetter {
                origin: Some(self.origin(offsets.value(row))),
                row: None,
                reason: Reason::FutureTime,
                error: format!(
                    "field \"{column}\": {} is more than {} ahead of the clock",
                    chrono::DateTime::from_timestamp_nanos(times.value(row))
                        .to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true),
                    humantime::format_duration(self.source.max_future)
                ),
                rule: "max_future".into(),
                stage: self.source.name.clone(),
            });
        }
        let keep = BooleanArray::from(keep);
        let offsets = filter(offsets, &keep).map_err(internal)?;
        Ok((filter_record_batch(rows, &keep).map_err(internal)?, UInt64Array::from(offsets.to_data())))
    }

    /// Moves the greatest event time. Whether the rows have any.
    fn observe(&mut self, rows: &RecordBatch) -> Result<bool> {
        let Some(watermark) = self.source.watermark else { return Ok(false) };
        let greatest = arrow::compute::max(times(rows, watermark.column)?);
        self.max_event_time = self.max_event_time.max(greatest);
        Ok(greatest.is_some())
    }

    /// Fills in ingestion times and origins.
    fn batch(&self, tick: &Tick, rows: RecordBatch, offsets: UInt64Array) -> Result<Batch> {
        let length = rows.num_rows();
        let is_ingestion = |from: &ColumnOrigin| *from == ColumnOrigin::Metadata(Metadata::IngestionTime);
        let rows = if self.source.columns.iter().any(|column| is_ingestion(&column.from)) {
            let wall_ns = tick.wall_ms.saturating_mul(NANOS_PER_MILLI);
            let time: ArrayRef = Arc::new(TimestampNanosecondArray::from_value(wall_ns, length));
            // Behind the declared columns a table has one more.
            let declared = self.source.columns.iter().map(Some).chain(std::iter::repeat(None));
            let columns = declared.zip(rows.columns()).map(|(declared, array)| match declared {
                Some(column) if is_ingestion(&column.from) => time.clone(),
                _ => array.clone(),
            });
            RecordBatch::try_new(rows.schema(), columns.collect()).map_err(internal)?
        } else {
            rows
        };
        let origin = Origin {
            source: self.source_index,
            index: 0,
            partition: UInt32Array::from_value(self.partition, length),
            offset: offsets,
        };
        Ok(Batch::inserts(rows, Some(origin), tick.wall_ms))
    }

    fn watermark(&self) -> Watermark {
        match (self.source.watermark, self.max_event_time) {
            (Some(watermark), Some(time)) => Watermark(time.saturating_sub(watermark.delay_ns)),
            _ => Watermark::NONE,
        }
    }

    /// Idle only at the log end and never during a backlog; a partition that never had data starts idle. Records
    /// that cannot be used are no data: a device that sends nothing else must not hold the others.
    fn idle(&self, tick: &Tick, place: Place) -> bool {
        let timeout_ms = i64::try_from(self.source.idle_timeout.as_millis()).unwrap_or(i64::MAX);
        let silent = self.last_data_ms.is_none_or(|last| tick.wall_ms.saturating_sub(last) >= timeout_ms);
        silent && place.caught_up.is_some() && !place.unsure
    }

    fn standing(&mut self, tick: &Tick, chunks: &[Chunk], place: Place) -> Standing {
        if let Some(watermark) = self.source.watermark.filter(|_| self.source.max_drift.is_some()) {
            let last = hold::behind(chunks, watermark.column, self.clock_limit(tick));
            self.stands_at = last.or(self.stands_at);
        }
        match (place.held, self.stands_at) {
            _ if place.ended => Standing::Ended,
            (Some(time), _) => Standing::Held(time),
            _ if place.caught_up.is_some() => Standing::AtEnd,
            (None, Some(time)) => Standing::At(time),
            (None, None) => Standing::Unknown,
        }
    }
}

/// The event times of rows.
fn times(rows: &RecordBatch, column: usize) -> Result<&TimestampNanosecondArray> {
    let times = rows.column(column).as_any().downcast_ref::<TimestampNanosecondArray>();
    times.ok_or_else(|| Error::internal("a watermark column is not a TIMESTAMP"))
}

fn internal(error: arrow::error::ArrowError) -> Error {
    Error::internal("cannot cut a batch").caused_by(error)
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::Duration;

    use arrow::datatypes::{DataType, Field, Schema, TimeUnit};

    use super::*;
    use crate::plan;
    use crate::record::{RawBuilder, Record};

    pub fn source() -> Arc<Source> {
        let column = |name: &str, from| plan::Column {
            name: name.into(),
            kind: plan::ColumnType::Timestamp,
            nullable: true,
            default: None,
            from,
        };
        let time = DataType::Timestamp(TimeUnit::Nanosecond, None);
        let fields = vec![Field::new("ts", time.clone(), true), Field::new("at", time, true)];
        Arc::new(Source {
            name: "s".into(),
            columns: vec![
                column("ts", ColumnOrigin::Path(vec!["ts".into()])),
                column("at", ColumnOrigin::Metadata(Metadata::IngestionTime)),
            ],
            schema: Arc::new(Schema::new(fields)),
            checks: vec![],
            table: None,
            watermark: Some(plan::WatermarkColumn { column: 0, delay_ns: 10 }),
            connector: plan::SourceConnector::File(plan::FileSource { path: "x".into(), monitor: None }),
            format: plan::Format::Json,
            timestamp_format: plan::TimestampFormat::default(),
            max_future: Duration::from_secs(1),
            idle_timeout: Duration::from_secs(10),
            max_drift: None,
            max_record_bytes: 1000,
            dead_letters: plan::DeadLetterPolicy::Drop,
        })
    }

    /// Records with these event times.
    pub fn chunk(times: &[i64], first_offset: u64) -> Chunk {
        let mut raw = RawBuilder::default();
        let offsets: Vec<u64> = (0..times.len() as u64).map(|row| first_offset + row).collect();
        for offset in &offsets {
            raw.push(&Record::of(*offset, b"x"));
        }
        let ts: ArrayRef = Arc::new(TimestampNanosecondArray::from(times.to_vec()));
        let at: ArrayRef = Arc::new(TimestampNanosecondArray::from(vec![None; times.len()]));
        Chunk {
            rows: RecordBatch::try_new(source().schema.clone(), vec![ts, at]).expect("two columns"),
            offsets: UInt64Array::from(offsets),
            rejects: vec![],
            raw: raw.finish(),
        }
    }

    pub fn tick(epoch: u64, wall_ms: i64) -> Tick {
        Tick { epoch, wall_ms, checkpoint: false, loading: false, partitions: vec![], ceilings: vec![] }
    }

    #[test]
    fn a_record_from_the_future_is_a_letter_and_moves_no_watermark() {
        let mut partition = PartitionCut::new(source(), 0, 3, 5);
        let cut = partition.cut(
            &tick(1, 1000),
            &[chunk(&[500, 9_000_000_000, 700], 5)],
            Place::default(),
            Until::End,
        );
        let cut = cut.expect("cut");
        assert_eq!(cut.binding.watermark, Watermark(690));
        assert_eq!((cut.binding.from, cut.binding.to, cut.read), (5, 8, 3));
        assert_eq!(cut.batches[0].len(), 2);
        assert_eq!(cut.letters[0].reason, Reason::FutureTime);
        assert_eq!(cut.letters[0].origin.map(|origin| (origin.partition, origin.offset)), Some((3, 6)));
        let ingestion = cut.batches[0].rows.column(1);
        let ingestion = ingestion.as_any().downcast_ref::<TimestampNanosecondArray>().expect("timestamps");
        assert_eq!(ingestion.value(0), 1_000_000_000);
    }

    fn at_end() -> Place {
        Place { caught_up: Some(0), ..Place::default() }
    }

    #[test]
    fn a_partition_is_idle_only_at_the_log_end_after_the_timeout() {
        let mut partition = PartitionCut::new(source(), 0, 0, 0);
        let mut idle = |epoch, wall_ms, chunks: &[Chunk], place| {
            partition.cut(&tick(epoch, wall_ms), chunks, place, Until::End).expect("cut").binding.idle
        };
        assert!(idle(1, 0, &[], at_end()), "an empty partition starts idle");
        assert!(!idle(2, 10, &[chunk(&[5], 0)], at_end()));
        assert!(!idle(3, 9_000, &[], at_end()));
        assert!(!idle(4, 60_000, &[], Place::default()), "a backlog is never idle");
        assert!(idle(5, 60_000, &[], at_end()));
    }

    #[test]
    fn while_the_other_side_does_not_answer_a_partition_is_not_idle_and_its_silence_begins_anew() {
        let mut partition = PartitionCut::new(source(), 0, 0, 0);
        let mut idle = |epoch, wall_ms, unsure| {
            let place = Place { unsure, ..at_end() };
            partition.cut(&tick(epoch, wall_ms), &[], place, Until::End).expect("cut").binding.idle
        };
        assert!(idle(1, 0, false));
        assert!(!idle(2, 20, true));
        assert!(!idle(3, 60_000, true));
        assert!(!idle(4, 60_020, false), "what was written meanwhile is still on its way");
        assert!(idle(5, 70_000, false));
    }

    #[test]
    fn a_partition_of_which_nothing_can_be_used_becomes_idle() {
        let mut partition = PartitionCut::new(source(), 0, 0, 0);
        let mut idle = |epoch, wall_ms, time: i64| {
            let chunks = [chunk(&[time], epoch)];
            let cut = partition.cut(&tick(epoch, wall_ms), &chunks, at_end(), Until::End).expect("cut");
            (cut.binding.idle, cut.letters.len())
        };
        assert_eq!(idle(1, 0, 5), (false, 0));
        assert_eq!(idle(2, 9_000, i64::MAX), (false, 1));
        assert_eq!(idle(3, 10_000, i64::MAX), (true, 1), "its clock is broken, and it is alone there");
        assert_eq!(idle(4, 10_020, 6), (false, 0));
    }

    #[test]
    fn where_a_partition_stands_follows_what_was_cut() {
        let source = Source { max_drift: Some(Duration::from_secs(1)), ..(*source()).clone() };
        let mut partition = PartitionCut::new(Arc::new(source), 0, 0, 0);
        let mut stands = |chunks: &[Chunk], place| {
            partition.cut(&tick(1, 1_000), chunks, place, Until::End).expect("cut").standing
        };
        assert_eq!(stands(&[], Place::default()), Standing::Unknown);
        assert_eq!(stands(&[chunk(&[3, 9, i64::MAX], 0)], Place::default()), Standing::At(3));
        assert_eq!(stands(&[], Place { held: Some(70), ..Place::default() }), Standing::Held(70));
        assert_eq!(stands(&[], Place::default()), Standing::At(3));
        assert_eq!(stands(&[], Place { unsure: true, ..at_end() }), Standing::AtEnd);
        assert_eq!(stands(&[], Place { ended: true, ..at_end() }), Standing::Ended);
    }
}

//! The cut of one partition: which records belong to an epoch, and what is known about event time after it.
//!
//! Pure: chunks and a tick in; batches, letters and a binding out. The skew guard is applied here, because
//! it needs the epoch's clock; the decoder knows only bytes.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, TimestampNanosecondArray, UInt32Array, UInt64Array};
use xxhash_rust::xxh3::Xxh3;

use super::align::Standing;
use super::furthest::Furthest;
use super::hold::{self, Hold};
use crate::batch::{Batch, Origin, RowOrigin};
use crate::dead_letter::DeadLetter;
use crate::error::{Error, Result};
use crate::plan::{ColumnOrigin, Metadata, Source};
use crate::record::Chunk;
use crate::time::{Binding, EventTime, NANOS_PER_MILLI, Tick, Watermark};

mod guard;

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
    /// Rows at the greatest event time of their partition so far, and of the others how far they are behind it.
    pub in_order: u64,
    pub late_ms: Vec<u64>,
    /// Whose records were ahead of the clock, of the time of their record or of the others around, once for each.
    pub future: Vec<String>,
}

/// Event time and offsets of one partition, from epoch to epoch.
#[derive(Debug)]
pub struct PartitionCut {
    source: Arc<Source>,
    source_index: u16,
    partition: u32,
    next_offset: u64,
    /// The greatest event time that counts.
    furthest: Furthest,
    /// The middle of the last event times.
    stands_at: Option<EventTime>,
    /// Wall clock of the last epoch that brought event time on, or in which nobody knew whether there was more.
    last_data_ms: Option<i64>,
    /// The epoch at hand, as far as it was cut in parts.
    open: Option<Open>,
    /// Memory of the last cut: offsets and sizes of its records.
    seen: Vec<u8>,
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
            furthest: Furthest::new(source.max_jump),
            source,
            source_index,
            partition,
            next_offset: from,
            stands_at: None,
            last_data_ms: None,
            open: None,
            seen: Vec::new(),
        }
    }

    /// Which records are too far ahead for the epoch of `tick`, if its source has a ceiling.
    pub fn hold(&self, tick: &Tick) -> Option<Hold> {
        let (watermark, after) = (self.source.watermark?, tick.ceiling(self.source_index)?);
        Some(Hold { column: watermark.column, after, to: self.clock_limit(tick) })
    }

    /// What is later is no event time, but the time of a broken clock.
    fn clock_limit(&self, tick: &Tick) -> EventTime {
        self.limit(tick.wall_ms)
    }

    /// Ends an epoch that was cut in parts.
    pub fn end(&mut self) {
        self.open = None;
    }

    /// Cuts the epoch of `tick`: `chunks` are its records, in order, or with `More` behind it the next of them.
    pub fn cut(&mut self, tick: &Tick, chunks: &[Chunk], place: Place, until: Until) -> Result<Cut> {
        let (mut batches, mut letters, mut read) = (Vec::new(), Vec::new(), 0);
        let mut seen_time = SeenTime::default();
        self.seen.clear();
        let from = chunks.first().map_or(self.next_offset, |chunk| chunk.raw.offset(0));
        let mut open = self.open.take().unwrap_or_else(|| Open { from, read: 0, input: Xxh3::new() });
        if open.read == 0 {
            open.from = from;
        }
        for chunk in chunks {
            read += chunk.len();
            for (offset, size) in chunk.raw.places() {
                self.seen.extend_from_slice(&(u128::from(offset) | (size as u128) << 64).to_le_bytes());
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
            let (rows, offsets) = self.judge((tick, place), chunk, &mut letters, &mut seen_time)?;
            if rows.num_rows() > 0 {
                batches.push(self.batch(tick, rows, offsets)?);
            }
        }
        let SeenTime { in_order, late_ms, future } = seen_time;
        let timed = in_order > 0 || !late_ms.is_empty() || self.source.watermark.is_none() && read > 0;
        if timed || place.unsure {
            self.last_data_ms = Some(tick.wall_ms);
        }
        if let Some(next) = place.caught_up {
            self.next_offset = self.next_offset.max(next);
        }
        open.read += read;
        open.input.update(&self.seen);
        if self.seen.len() < self.seen.capacity() / 8 {
            // What a backlog needed is not kept for the few records of the epochs behind it.
            self.seen = Vec::new();
        }
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
        Ok(Cut { batches, letters, binding, standing, read, in_order, late_ms, future })
    }

    fn origin(&self, offset: u64) -> RowOrigin {
        RowOrigin { source: self.source_index, partition: self.partition, offset, index: 0 }
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
        match (self.source.watermark, self.furthest.time()) {
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

/// What the rows of an epoch tell of event time.
#[derive(Debug, Default)]
struct SeenTime {
    in_order: u64,
    late_ms: Vec<u64>,
    future: Vec<String>,
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
pub(super) mod tests;

//! Broken clocks: which event times of a partition count.
//!
//! A device whose clock is ahead must not make a fleet late. What is ahead of the epoch's clock is taken out; so is
//! what is ahead of the time that the log holds for its record, so that a replay takes out what was taken out when
//! it was new. What is neither, but far ahead of the records around it, stays and moves no watermark.

use arrow::array::{Array, BooleanArray, RecordBatch, UInt64Array};
use arrow::compute::{filter, filter_record_batch};
use arrow::util::display::array_value_to_string;

use super::{PartitionCut, Place, SeenTime, internal, times};
use crate::dead_letter::{DeadLetter, Reason};
use crate::error::Result;
use crate::ingest::furthest::Seen;
use crate::record::Chunk;
use crate::time::{EventTime, NANOS_PER_MILLI, Tick};

/// A record that is read when it is new has an event time not longer ago than this.
const FRESH_NS: EventTime = 3_600_000_000_000;

impl PartitionCut {
    /// The last event time that a record of this time may have.
    pub(super) fn limit(&self, wall_ms: i64) -> EventTime {
        let max_future_ns = i64::try_from(self.source.max_future.as_nanos()).unwrap_or(i64::MAX);
        wall_ms.saturating_mul(NANOS_PER_MILLI).saturating_add(max_future_ns)
    }

    /// Takes out the rows that are from the future, and lets the others move event time.
    pub(super) fn judge(
        &mut self,
        (tick, place): (&Tick, Place),
        chunk: &Chunk,
        letters: &mut Vec<DeadLetter>,
        seen: &mut SeenTime,
    ) -> Result<(RecordBatch, UInt64Array)> {
        let Chunk { rows, offsets, raw, .. } = chunk;
        let Some(watermark) = self.source.watermark else { return Ok((rows.clone(), offsets.clone())) };
        let (clock, mut record) = (self.clock_limit(tick), 0);
        // At the end of the log records are new: there the clock says whether their time can be right.
        let fresh = place.caught_up.map(|_| tick.wall_ms.saturating_mul(NANOS_PER_MILLI) - FRESH_NS);
        let mut future = Vec::new();
        for (row, time) in times(rows, watermark.column)?.iter().enumerate() {
            while raw.offset(record) < offsets.value(row) {
                record += 1;
            }
            let Some(time) = time else { continue };
            let certain = fresh.is_some_and(|fresh| time >= fresh);
            // Logs without times hold 0 or -1. Who has sent the record may have given a time that is long behind
            // what has counted already, or behind what is new: then it is that one which is wrong.
            let believed = |logged: &i64| {
                let counted = self.furthest.time();
                !certain && *logged > 0 && counted.is_none_or(|counted| counted <= self.limit(*logged))
            };
            let logged = raw.timestamp_ms(record).filter(believed);
            if time > clock || logged.is_some_and(|logged| time > self.limit(logged)) {
                let ahead_of = logged.filter(|_| time <= clock);
                future.push(row);
                seen.future.push(self.device(chunk, row)?);
                letters.push(self.letter(offsets.value(row), watermark.column, time, ahead_of));
                continue;
            }
            match self.furthest.see(time, certain) {
                Seen::InOrder => seen.in_order += 1,
                Seen::Behind(ns) => seen.late_ms.push(ns.div_ceil(NANOS_PER_MILLI.unsigned_abs())),
                Seen::Ahead => seen.future.push(self.device(chunk, row)?),
            }
        }
        if future.is_empty() {
            return Ok((rows.clone(), offsets.clone()));
        }
        let mut keep = vec![true; rows.num_rows()];
        future.into_iter().for_each(|row| keep[row] = false);
        let keep = BooleanArray::from(keep);
        let offsets = filter(offsets, &keep).map_err(internal)?;
        Ok((filter_record_batch(rows, &keep).map_err(internal)?, UInt64Array::from(offsets.to_data())))
    }

    fn letter(&self, offset: u64, column: usize, time: EventTime, logged: Option<i64>) -> DeadLetter {
        let shown = |ns: EventTime| {
            chrono::DateTime::from_timestamp_nanos(ns).to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true)
        };
        let of = match logged {
            Some(logged) => {
                format!("the time of its record, {}", shown(logged.saturating_mul(NANOS_PER_MILLI)))
            }
            None => "the clock".to_owned(),
        };
        DeadLetter {
            origin: Some(self.origin(offset)),
            row: None,
            reason: Reason::FutureTime,
            error: format!(
                "field \"{}\": {} is more than {} ahead of {of}",
                self.source.columns[column].name,
                shown(time),
                humantime::format_duration(self.source.max_future)
            ),
            rule: "max_future".into(),
            stage: self.source.name.clone(),
        }
    }

    /// Who has sent a row: as the source says, else by the key of the record.
    fn device(&self, chunk: &Chunk, row: usize) -> Result<String> {
        let key = match self.source.device {
            Some(column) => {
                let column = chunk.rows.column(column);
                column
                    .is_valid(row)
                    .then(|| array_value_to_string(column, row))
                    .transpose()
                    .map_err(internal)?
            }
            None => {
                let record = chunk.raw.find(chunk.offsets.value(row));
                record.and_then(|record| record.key).map(|key| String::from_utf8_lossy(&key).into_owned())
            }
        };
        Ok(key.unwrap_or_else(|| "(unknown)".to_owned()))
    }
}

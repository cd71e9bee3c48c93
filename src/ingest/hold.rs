//! Where the cut of a partition ends because what follows is too far ahead in event time.
//!
//! Records are held back, not sorted out: all behind the place wait. Telemetry is disordered, so one record says
//! little about where its partition stands. A few from a clock that is ahead do not stop the partition, and a few
//! that come late do not keep it going: it is the middle of the event times that follow that counts.

use arrow::array::TimestampNanosecondArray;

use crate::record::Chunk;
use crate::time::EventTime;

/// How many event times say where a partition stands.
const AROUND: usize = 64;

/// Which event times are too far ahead.
#[derive(Clone, Copy, Debug)]
pub struct Hold {
    /// The watermark column in the rows of the chunks.
    pub column: usize,
    /// Those behind this one,
    pub after: EventTime,
    /// up to this one: what is even further ahead is no event time but a broken clock, which the skew guard
    /// takes out.
    pub to: EventTime,
}

/// Where a cut ends before its limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// Number of records in front of it.
    pub records: usize,
    /// The middle of the event times behind it.
    pub time: EventTime,
}

/// Finds the place among the records that an epoch could take: chunks, with the number of their records.
pub(super) fn place(parts: &[(&Chunk, usize)], hold: Hold) -> Option<Held> {
    if !parts.iter().any(|(chunk, _)| is_beyond(chunk, hold)) {
        return None;
    }
    let mut rows = Vec::new();
    let mut records = 0;
    for (chunk, taken) in parts {
        let places = chunk.offsets.values().iter().map(|offset| chunk.raw.before(*offset));
        // The column of a watermark is a TIMESTAMP; the cut says so where it is not.
        if let Some(times) = times(chunk, hold.column) {
            let known = places.zip(times).take_while(|(place, _)| place < taken);
            let known = known.filter_map(|(place, time)| Some((records + place, time?)));
            rows.extend(known.filter(|(_, time)| *time <= hold.to));
        }
        records += taken;
    }
    let mut beyond_before = vec![0; rows.len() + 1];
    for (row, (_, time)) in rows.iter().enumerate() {
        beyond_before[row + 1] = beyond_before[row] + usize::from(*time > hold.after);
    }
    let to = |row: usize| rows.len().min(row + AROUND);
    let is_ahead = |row: &usize| {
        let to = to(*row);
        rows[*row].1 > hold.after && 2 * (beyond_before[to] - beyond_before[*row]) > to - *row
    };
    let row = (0..rows.len()).find(is_ahead)?;
    let around = rows[row..to(row)].iter().map(|(_, time)| *time);
    Some(Held { records: rows[row].0, time: middle(around.collect())? })
}

/// Where a partition stands behind a cut: the middle of the last event times, up to `to`.
pub(super) fn behind(chunks: &[Chunk], column: usize, to: EventTime) -> Option<EventTime> {
    let mut last = Vec::new();
    for chunk in chunks.iter().rev() {
        let times = times(chunk, column).into_iter().flatten().flatten();
        last.extend(times.rev().filter(|time| *time <= to).take(AROUND - last.len()));
    }
    middle(last)
}

/// Whether an event time of the chunk may be too far ahead. Mostly none is, and then no record is looked at: all
/// values are compared in one loop without a branch, also what stands where an event time is missing.
fn is_beyond(chunk: &Chunk, hold: Hold) -> bool {
    let beyond = |found: bool, time: &EventTime| found | (*time > hold.after);
    column_of(chunk, hold.column).is_some_and(|times| times.values().iter().fold(false, beyond))
}

fn times(chunk: &Chunk, column: usize) -> Option<impl DoubleEndedIterator<Item = Option<EventTime>> + '_> {
    column_of(chunk, column).map(TimestampNanosecondArray::iter)
}

fn column_of(chunk: &Chunk, column: usize) -> Option<&TimestampNanosecondArray> {
    chunk.rows.column(column).as_any().downcast_ref()
}

/// The lower median.
fn middle(mut times: Vec<EventTime>) -> Option<EventTime> {
    let middle = times.len().checked_sub(1)? / 2;
    Some(*times.select_nth_unstable(middle).1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingest::cut::tests::chunk;

    fn hold(times: &[i64], after: i64) -> Option<Held> {
        let chunks = [chunk(&times[..times.len() / 3], 10), chunk(&times[times.len() / 3..], 1_000)];
        let parts: Vec<_> = chunks.iter().map(|chunk| (chunk, chunk.len())).collect();
        place(&parts, Hold { column: 0, after, to: 10_000 })
    }

    #[test]
    fn the_cut_ends_where_the_records_are_too_far_ahead() {
        let times: Vec<i64> = (0..300).collect();
        assert_eq!(hold(&times, 300), None);
        assert_eq!(hold(&times, 99), Some(Held { records: 100, time: 131 }));
        assert_eq!(hold(&times, -1), Some(Held { records: 0, time: 31 }));
        assert_eq!(hold(&times, i64::MIN).map(|held| held.records), Some(0));
        assert_eq!(hold(&[], 5), None);
        assert_eq!(hold(&[7], 5), Some(Held { records: 0, time: 7 }));
    }

    #[test]
    fn a_few_that_are_ahead_do_not_stop_it_and_a_few_that_are_late_do_not_keep_it_going() {
        let mut times: Vec<i64> = (0..300).collect();
        times[50] = 9_000;
        times[120] = 9_000;
        assert_eq!(hold(&times, 300), None);
        times.iter_mut().skip(1).step_by(7).for_each(|time| *time = -50);
        let held = hold(&times, 150).expect("held");
        assert!((150..200).contains(&held.records), "{held:?}");
    }

    #[test]
    fn a_clock_that_is_broken_counts_for_nothing() {
        let mut times: Vec<i64> = (0..200).map(|_| 20_000).collect();
        assert_eq!(hold(&times, 5), None, "the skew guard takes them out");
        times.extend([6; 3]);
        assert_eq!(hold(&times, 5), Some(Held { records: 200, time: 6 }));
        let chunks = [chunk(&[1, 2, 3], 0), chunk(&[90, 4, 5], 3)];
        assert_eq!(behind(&chunks, 0, 50), Some(3));
        assert_eq!(behind(&chunks, 0, 0), None);
    }

    #[test]
    fn what_an_epoch_holds_gets_through_when_the_ceiling_has_reached_it() {
        let times: Vec<i64> = (0..100).map(|n| (n * 37) % 500).collect();
        let held = hold(&times, 100).expect("held");
        assert!(hold(&times[held.records..], held.time).is_none_or(|later| later.records > 0));
    }
}

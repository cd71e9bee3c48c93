//! Reads a source as a bounded run does, without a dataflow behind it, to see how late its records are.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, TimestampNanosecondArray};
use hdrhistogram::Histogram;

use super::align::{Alignment, Ceilings};
use super::binder::Watermarks;
use super::cut::{Cut, PartitionCut, Place, Until};
use super::driver::place;
use super::queue::{Limits, PartitionQueue, Taken};
use crate::error::Result;
use crate::plan::{Source, WatermarkColumn};
use crate::time::{Epoch, EventTime, NANOS_PER_MILLI, Tick, Watermark};

/// A hundred years: what is later counts as this late.
const LATENESS_MAX_MS: u64 = 100 * 366 * 86_400_000;
/// Steps of event time in which records are counted; where there are more, the steps become longer.
const STEPS_MAX: usize = 1 << 16;

/// A source that is about to be read.
pub struct Surveyed {
    pub source: Arc<Source>,
    /// Index in the plan.
    pub index: u16,
    pub queues: Vec<PartitionQueue>,
    pub epoch_limits: Limits,
    pub alignment: Option<Alignment>,
}

/// What was seen of a source.
#[derive(Debug)]
pub struct Seen {
    pub partitions: usize,
    /// Records with an event time.
    pub records: u64,
    /// Records that became dead letters.
    pub dead: u64,
    /// Records that the declared delay makes late.
    pub late: u64,
    /// The least and the greatest event time.
    pub span: Option<(EventTime, EventTime)>,
    /// How far records were behind the watermark of the source, if it had no delay; and behind the greatest event
    /// time of their own partition. Milliseconds, rounded up.
    pub judged: Histogram<u64>,
    pub within: Histogram<u64>,
    pub density: Density,
}

impl Seen {
    fn new(partitions: usize) -> Self {
        let histogram = || Histogram::new_with_bounds(1, LATENESS_MAX_MS, 4).expect("four digits fit");
        Seen {
            partitions,
            records: 0,
            dead: 0,
            late: 0,
            span: None,
            judged: histogram(),
            within: histogram(),
            density: Density::default(),
        }
    }

    /// Takes in what was cut of a partition; `before` is the watermark of the source behind the epoch before.
    fn add(&mut self, cut: &Cut, column: WatermarkColumn, before: Watermark) {
        self.dead += cut.letters.len() as u64;
        self.within.saturating_record_n(0, cut.in_order);
        cut.late_ms.iter().for_each(|late| self.within.saturating_record((*late).min(LATENESS_MAX_MS)));
        // The delay moves all watermarks alike, so without it they would be where they are and so much further.
        let reached = before.is_known().then(|| before.0.saturating_add(column.delay_ns));
        for batch in &cut.batches {
            let times = batch.rows.column(column.column).as_any().downcast_ref::<TimestampNanosecondArray>();
            for time in times.into_iter().flat_map(|times| times.iter()).flatten() {
                self.records += 1;
                self.late += u64::from(before.is_known() && time < before.0);
                let behind = reached.map_or(0, |reached| reached.saturating_sub(time).max(0).unsigned_abs());
                let behind_ms = behind.div_ceil(NANOS_PER_MILLI.unsigned_abs());
                self.judged.saturating_record(behind_ms.min(LATENESS_MAX_MS));
                let (least, greatest) = self.span.unwrap_or((time, time));
                self.span = Some((least.min(time), greatest.max(time)));
                self.density.add(time);
            }
        }
    }
}

/// How many records there are in which time.
#[derive(Debug)]
pub struct Density {
    step_ns: i64,
    steps: BTreeMap<i64, u64>,
}

impl Default for Density {
    fn default() -> Self {
        Density { step_ns: 1_000 * NANOS_PER_MILLI, steps: BTreeMap::new() }
    }
}

impl Density {
    fn add(&mut self, time: EventTime) {
        *self.steps.entry(time.div_euclid(self.step_ns)).or_default() += 1;
        if self.steps.len() > STEPS_MAX {
            self.step_ns = self.step_ns.saturating_mul(2);
            let steps = std::mem::take(&mut self.steps);
            steps.into_iter().for_each(|(step, n)| *self.steps.entry(step.div_euclid(2)).or_default() += n);
        }
    }

    /// Records in a length of time: as many as there are on average while there are any, and the most.
    pub fn within(&self, length_ms: u64) -> (u64, u64) {
        let length = i64::try_from(length_ms).unwrap_or(i64::MAX).saturating_mul(NANOS_PER_MILLI);
        let steps = length / self.step_ns + i64::from(length % self.step_ns > 0);
        let (mut sum, mut most, mut windows) = (0, 0, 0u128);
        let mut first = self.steps.iter().peekable();
        for (step, count) in &self.steps {
            sum += count;
            while let Some((oldest, count)) = first.peek().map(|(oldest, count)| (**oldest, **count))
                && step.saturating_sub(oldest) >= steps
            {
                sum -= count;
                first.next();
            }
            most = most.max(sum);
            windows += u128::from(sum);
        }
        let mean = windows / (self.steps.len().max(1) as u128);
        (u64::try_from(mean).unwrap_or(u64::MAX), most)
    }
}

/// Reads a source to its end. `wall_ms` is the clock of an epoch; `wait` waits until there is more.
pub fn survey(
    surveyed: Surveyed,
    wall_ms: impl Fn(Epoch) -> i64,
    wait: impl Fn() -> Result<()>,
) -> Result<Seen> {
    let Surveyed { source, index, queues, epoch_limits, mut alignment } = surveyed;
    let mut seen = Seen::new(queues.len());
    let Some(column) = source.watermark.filter(|_| !queues.is_empty()) else { return Ok(seen) };
    let cut =
        |queue: &PartitionQueue| PartitionCut::new(source.clone(), index, queue.partition().id, queue.from());
    let mut cuts: Vec<_> = queues.iter().map(cut).collect();
    let mut watermarks = Watermarks::new(vec![false; usize::from(index) + 1]);
    let ceilings = Ceilings::new(alignment.is_some(), Vec::new());
    let mut before = Watermark::NONE;
    for epoch in 1.. {
        while !queues.iter().all(|queue| queue.fills(epoch_limits)) {
            wait()?;
        }
        let ceilings_now = ceilings.of(epoch, 1, true).unwrap_or_default();
        let wall_ms = wall_ms(epoch);
        let tick = Tick {
            epoch,
            wall_ms,
            checkpoint: false,
            loading: false,
            partitions: Vec::new(),
            ceilings: ceilings_now,
        };
        let mut records = 0;
        for (queue, cut) in queues.iter().zip(&mut cuts) {
            let Taken { chunks, held } = queue.take(epoch_limits, cut.hold(&tick));
            let cut = cut.cut(&tick, &chunks, Place { held, ..place(queue) }, Until::End)?;
            seen.add(&cut, column, before);
            records += cut.binding.to - cut.binding.from;
            alignment.iter_mut().for_each(|it| it.stands(cut.binding.partition, cut.standing));
            watermarks.update(cut.binding);
        }
        let ceiling = alignment.as_mut().and_then(|alignment| alignment.close(records));
        ceilings.learn(epoch, ceiling.into_iter().map(|ceiling| (index, ceiling)).collect());
        before = watermarks.close()[usize::from(index)];
        if before == Watermark::END {
            break;
        }
    }
    Ok(seen)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000_000;

    #[test]
    fn the_most_records_in_a_length_of_time() {
        let mut density = Density::default();
        for second in [0, 0, 1, 2, 10, 11, 11, 11, 12, 500] {
            density.add(second * SECOND);
        }
        assert_eq!(density.within(1_000).1, 3);
        assert_eq!(density.within(2_000).1, 4);
        assert_eq!(density.within(3_000), (2, 5));
        assert_eq!(density.within(1_000_000_000).1, 10);
        assert_eq!(density.within(0).1, 0);
        assert_eq!(Density::default().within(5), (0, 0));
    }

    #[test]
    fn long_times_are_counted_in_long_steps() {
        let mut density = Density::default();
        let seconds = 3 * STEPS_MAX as i64;
        (0..seconds).for_each(|second| density.add(second * SECOND));
        assert!(density.steps.len() <= STEPS_MAX && density.step_ns > SECOND);
        let (mean, most) = density.within(3_600_000);
        assert!((3_600..=3_610).contains(&most) && (3_400..=3_610).contains(&mean), "{mean} {most}");
    }
}

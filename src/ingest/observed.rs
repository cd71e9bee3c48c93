//! What the cuts of a process have seen of event time: how late records are against each other, and whose clocks
//! are ahead. For people; nothing is computed from it.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use hdrhistogram::Histogram;

/// Devices that are told apart; what others send is counted together.
const DEVICES_MAX: usize = 256;
/// A longer name of a device is cut.
const NAME_MAX: usize = 64;
/// Ten years: what is later counts as this late.
const LATENESS_MAX_MS: u64 = 10 * 366 * 86_400_000;

/// Per source of the plan.
#[derive(Debug)]
pub struct Observed(Vec<Mutex<SourceObserved>>);

impl Observed {
    /// Nothing was seen of so many sources.
    pub fn new(sources: usize) -> Self {
        Observed((0..sources).map(|_| Mutex::default()).collect())
    }

    /// What was seen of a source; not to be held.
    pub fn source(&self, index: usize) -> MutexGuard<'_, SourceObserved> {
        self.0[index].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What was seen of one source.
#[derive(Debug, Default)]
pub struct SourceObserved {
    pub lateness: Lateness,
    pub future: Devices,
}

/// How far records are behind the greatest event time that their partition had given before them.
#[derive(Debug)]
pub struct Lateness {
    /// In milliseconds, rounded up.
    histogram: Histogram<u64>,
    sum_ms: u64,
}

impl Default for Lateness {
    fn default() -> Self {
        let histogram = Histogram::new_with_bounds(1, LATENESS_MAX_MS, 2);
        Lateness { histogram: histogram.expect("two digits of ten years fit"), sum_ms: 0 }
    }
}

impl Lateness {
    /// Counts records: so many in order, and of the others how late they are.
    pub fn record(&mut self, in_order: u64, late_ms: &[u64]) {
        self.histogram.saturating_record_n(0, in_order);
        for late in late_ms {
            self.histogram.saturating_record(*late);
            self.sum_ms = self.sum_ms.saturating_add(*late);
        }
    }

    /// Number of records.
    pub fn count(&self) -> u64 {
        self.histogram.len()
    }

    /// Number of records that are at most so late.
    pub fn up_to(&self, ms: u64) -> u64 {
        let at_most = self.histogram.iter_recorded().take_while(|step| step.value_iterated_to() <= ms);
        at_most.map(|step| step.count_at_value()).sum()
    }

    /// How late all but a share of the records are at most, in milliseconds.
    pub fn quantile(&self, share: f64) -> u64 {
        self.histogram.value_at_quantile(share)
    }

    /// The latest of all, and the sum.
    pub fn max_and_sum(&self) -> (u64, u64) {
        (self.histogram.max(), self.sum_ms)
    }
}

/// Counts by device, of a bounded number of devices.
#[derive(Clone, Debug, Default)]
pub struct Devices {
    counts: BTreeMap<String, u64>,
    others: u64,
}

impl Devices {
    /// Counts one record of a device.
    pub fn add(&mut self, device: &str) {
        let end = device.char_indices().map(|(at, _)| at).nth(NAME_MAX).unwrap_or(device.len());
        let device = &device[..end];
        if let Some(count) = self.counts.get_mut(device) {
            *count += 1;
        } else if self.counts.len() < DEVICES_MAX {
            self.counts.insert(device.to_owned(), 1);
        } else {
            self.others += 1;
        }
    }

    /// By device; and those of devices beyond the limit.
    pub fn counts(&self) -> (&BTreeMap<String, u64>, u64) {
        (&self.counts, self.others)
    }

    /// All of them.
    pub fn total(&self) -> u64 {
        self.counts.values().sum::<u64>() + self.others
    }

    /// The devices with most of them, for a line of text.
    pub fn most(&self, devices: usize) -> String {
        let mut counts: Vec<_> = self.counts.iter().collect();
        counts.sort_by_key(|(device, count)| (std::cmp::Reverse(**count), *device));
        let left: u64 = counts.iter().skip(devices).map(|(_, count)| **count).sum::<u64>() + self.others;
        let named = counts.iter().take(devices).map(|(device, count)| format!("{device}: {count}"));
        let rest = (left > 0).then(|| format!("others: {left}"));
        named.chain(rest).collect::<Vec<_>>().join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lateness_is_counted_up_to_bounds() {
        let mut lateness = Lateness::default();
        lateness.record(97, &[5, 100, u64::MAX]);
        assert_eq!(lateness.count(), 100);
        assert_eq!([lateness.up_to(0), lateness.up_to(5), lateness.up_to(1_000)], [97, 98, 99]);
        assert_eq!((lateness.quantile(0.5), lateness.quantile(0.98)), (0, 5));
        assert!(lateness.quantile(1.0) >= LATENESS_MAX_MS);
    }

    #[test]
    fn devices_beyond_the_limit_are_counted_together() {
        let mut devices = Devices::default();
        (0..DEVICES_MAX + 10).for_each(|device| devices.add(&format!("d{device:03}")));
        (0..5).for_each(|_| devices.add("d007"));
        let (counts, others) = devices.counts();
        assert_eq!((counts.len(), counts["d007"], others, devices.total()), (256, 6, 10, 271));
        assert_eq!(devices.most(2), "d007: 6, d000: 1, others: 264");
        let mut devices = Devices::default();
        devices.add(&"ä".repeat(100));
        assert_eq!(devices.most(1), format!("{}: 1", "ä".repeat(64)));
    }
}

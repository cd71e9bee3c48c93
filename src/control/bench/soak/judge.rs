//! Whether what a run holds has stayed as it was.
//!
//! Compared are the first and the last third of the time after all states are full. Of states the greatest sizes: they
//! depend on the events alone, and what goes up and down within a window does so in both. Of the resident size the
//! medians: what waits in queues when the machine is busy with something else is a peak, and no growth.

use std::fmt::Write;

use serde_json::{Value, json};

use super::{mib, moment};
use crate::control::samples::Sample;
use crate::error::{Error, Result};

/// So little growth of a process, and of states, is none: what the allocator keeps at hand, and a few groups.
const RESIDENT_NOISE: u64 = 32 << 20;
const STATE_NOISE: u64 = 64 << 10;
/// Samples that each third needs.
const SAMPLES_MIN: usize = 3;

/// What is allowed.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// From when on all states are full, milliseconds since the Unix epoch.
    pub filled_ms: i64,
    /// The share by which a size may grow after that.
    pub tolerance: f64,
}

/// A size in the first and in the last third of the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    pub first: u64,
    pub last: u64,
    /// At most so much it may be in the last third.
    pub limit: u64,
}

impl Sizes {
    fn new(first: u64, last: u64, noise: u64, tolerance: f64) -> Self {
        let allowed = noise.max((first as f64 * tolerance) as u64);
        Sizes { first, last, limit: first.saturating_add(allowed) }
    }

    fn is_flat(self) -> bool {
        self.last <= self.limit
    }

    pub fn json(self) -> Value {
        json!({ "first_third": self.first, "last_third": self.last, "limit": self.limit })
    }

    fn text(self, what: &str, of: &str) -> String {
        let Sizes { first, last, limit } = self;
        let verdict = if self.is_flat() { "flat" } else { "GROWS" };
        let (first, last, limit) = (mib(first), mib(last), mib(limit));
        format!("{verdict:<6} {what}: {of} {first} in the first third, {last} in the last, {limit} allowed\n")
    }
}

/// The verdict.
#[derive(Clone, Debug)]
pub struct Judged {
    filled_ms: i64,
    /// Number of samples since then.
    samples: usize,
    pub resident: Sizes,
    /// All states together.
    pub states: Sizes,
    /// Each state by itself, where it grows.
    growing: Vec<(String, Sizes)>,
}

impl Judged {
    pub fn is_flat(&self) -> bool {
        self.resident.is_flat() && self.states.is_flat()
    }

    pub fn text(&self, start_ms: i64) -> String {
        let mut text = format!(
            "all states are full at {}; {} samples behind that, in three thirds\n",
            moment(self.filled_ms - start_ms),
            self.samples
        );
        text += &self.resident.text("resident size", "median");
        text += &self.states.text("all states", "at most");
        if !self.states.is_flat() {
            for (name, sizes) in &self.growing {
                let _ = write!(text, "{}", sizes.text(name, "at most"));
            }
        }
        text
    }
}

/// Compares the samples behind the moment at which all is full.
pub fn judge(samples: &[Sample], limits: Limits) -> Result<Judged> {
    let full = |sample: &&Sample| sample.watermark_ms.is_some_and(|ms| ms >= limits.filled_ms);
    let behind: Vec<&Sample> = samples.iter().filter(full).collect();
    let third = behind.len() / 3;
    if third < SAMPLES_MIN {
        let message = format!(
            "{} of {} samples were taken behind the moment at which all states are full",
            behind.len(),
            samples.len()
        );
        return Err(
            Error::config(message).hint("give more --events, or a lower --rate: event time has to go on")
        );
    }
    let (first, last) = (&behind[..third], &behind[behind.len() - third..]);
    let most = |samples: &[&Sample], size: &dyn Fn(&Sample) -> u64| {
        samples.iter().map(|sample| size(sample)).max().unwrap_or_default()
    };
    let sizes = |noise, size: &dyn Fn(&Sample) -> u64| {
        Sizes::new(most(first, size), most(last, size), noise, limits.tolerance)
    };
    let median = |samples: &[&Sample]| {
        let mut sizes: Vec<u64> = samples.iter().map(|sample| sample.resident).collect();
        sizes.sort_unstable();
        sizes[sizes.len() / 2]
    };
    let names = behind[0].states.keys();
    let of = |name: &String| {
        let size = |sample: &Sample| sample.states.get(name).copied().unwrap_or_default();
        (name.clone(), sizes(STATE_NOISE, &size))
    };
    Ok(Judged {
        filled_ms: limits.filled_ms,
        samples: behind.len(),
        resident: Sizes::new(median(first), median(last), RESIDENT_NOISE, limits.tolerance),
        states: sizes(STATE_NOISE, &|sample| sample.states.values().sum()),
        growing: names.map(of).filter(|(_, sizes)| !sizes.is_flat()).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn judged(size: impl Fn(u64) -> (u64, u64)) -> Result<Judged> {
        let sample = |number: u64| {
            let (resident, state) = size(number);
            let states = [("a/aggregate".to_owned(), state), ("b/lag".to_owned(), MIB)];
            let watermark_ms = Some(number as i64 * 1_000);
            Sample { epoch: number, watermark_ms, read: number, resident, states: states.into() }
        };
        let samples: Vec<Sample> = (0..100).map(sample).collect();
        judge(&samples, Limits { filled_ms: 40_000, tolerance: 0.1 })
    }

    #[test]
    fn what_goes_up_and_down_is_flat_and_what_grows_is_not() {
        let peaks = |n: u64| if n == 90 { 900 } else { 0 };
        let waves =
            judged(|n| ((500 + n % 2 * 20 + peaks(n)) * MIB, (100 + n % 5 * 30) * MIB)).expect("samples");
        assert!(waves.is_flat() && waves.samples == 60, "{waves:?}");
        assert_eq!((waves.resident.first, waves.states.last), (520 * MIB, 221 * MIB));
        let until_full = judged(|n| (n.min(40) * 100 * MIB, n.min(40) * MIB)).expect("samples");
        assert!(until_full.is_flat(), "{until_full:?}");
        let resident = judged(|n| ((500 + 2 * n) * MIB, MIB)).expect("samples");
        assert!(!resident.is_flat() && resident.states.is_flat(), "60 of 600 MiB may be added: {resident:?}");
    }

    #[test]
    fn a_state_that_grows_is_named() {
        let grows = judged(|n| (500 * MIB, n * MIB)).expect("samples");
        assert!(!grows.is_flat() && grows.resident.is_flat());
        let text = grows.text(0);
        assert!(text.contains("all states are full at 40s; 60 samples"), "{text}");
        assert!(text.contains("flat   resident size: median 500.0 MiB in the first third"), "{text}");
        assert!(text.contains("GROWS  a/aggregate: at most 59.0 MiB") && !text.contains("b/lag"), "{text}");
    }

    #[test]
    fn a_run_that_ends_before_it_can_be_judged_is_no_result() {
        let early = judge(&[], Limits { filled_ms: 0, tolerance: 0.1 }).expect_err("no samples");
        assert!(early.to_string().contains("0 of 0 samples"), "{early}");
    }
}

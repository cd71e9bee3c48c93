//! How sinks wait for the other side: growing pauses, said aloud, ended by a stop.

use std::time::Duration;

use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64;
use xxhash_rust::xxh3::xxh3_64;

use super::Health;
use crate::error::{Error, ErrorKind, Result};

/// The first pause.
const FIRST: Duration = Duration::from_millis(100);
/// The longest pause.
const LONGEST: Duration = Duration::from_secs(10);

/// Pauses between attempts: 100 ms, doubled up to 10 s, each shortened at random by up to a half, so that
/// the sinks of a fleet do not come back in step.
#[derive(Debug)]
pub(super) struct Backoff {
    random: Pcg64,
    next: Duration,
}

impl Backoff {
    /// Starts with the shortest pause; `name` seeds the jitter.
    pub(super) fn new(name: &str) -> Self {
        Backoff { random: Pcg64::seed_from_u64(xxh3_64(name.as_bytes())), next: FIRST }
    }

    /// The pause before the next attempt.
    pub(super) fn pause(&mut self) -> Duration {
        let pause = self.next.mul_f64(self.random.random_range(0.5..=1.0));
        self.next = (self.next * 2).min(LONGEST);
        pause
    }

    /// An attempt has worked: the next trouble begins with the shortest pause.
    pub(super) fn reset(&mut self) {
        self.next = FIRST;
    }

    /// Says that the sink is away and waits; an error when the process stops meanwhile.
    pub(super) fn wait(&mut self, sink: &str, health: &Health, error: Error) -> Result<()> {
        health.set_away(sink, &error);
        if health.pause(self.pause()) { Err(stopped(error)) } else { Ok(()) }
    }
}

/// The process stops while the other side is away.
pub(super) fn stopped(last: Error) -> Error {
    Error::away("stopped while the other side was away").caused_by(last)
}

/// Tries until it works. Errors of kind [`ErrorKind::Away`] wait, all others end it.
pub(super) fn until_it_works<T>(
    sink: &str,
    health: &Health,
    mut attempt: impl FnMut() -> Result<T>,
) -> Result<T> {
    let mut backoff = Backoff::new(sink);
    loop {
        match attempt() {
            Ok(value) => {
                health.set_back(sink);
                return Ok(value);
            }
            Err(error) if error.kind() == ErrorKind::Away => backoff.wait(sink, health, error)?,
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_from_a_tenth_of_a_second_to_ten_seconds() {
        let mut backoff = Backoff::new("s");
        let mut expected = FIRST;
        for _ in 0..20 {
            let pause = backoff.pause();
            assert!(pause <= expected && pause >= expected / 2, "{pause:?} of {expected:?}");
            expected = (expected * 2).min(LONGEST);
        }
        assert_eq!(expected, LONGEST);
        backoff.reset();
        assert!(backoff.pause() <= FIRST);
    }

    #[test]
    fn waiting_is_seen_and_ends_when_it_works_or_the_process_stops() {
        let health = Health::new();
        let mut attempts = 0;
        let value = until_it_works("s", &health, || {
            attempts += 1;
            if attempts == 1 {
                return Err(Error::away("no answer"));
            }
            assert_eq!(health.away().as_deref(), Some("no answer"));
            Ok(7)
        });
        assert_eq!((value.expect("it worked"), health.away()), (7, None));
        health.stop();
        let error = until_it_works::<()>("s", &health, || Err(Error::away("gone"))).expect_err("stopped");
        assert_eq!(error.kind(), ErrorKind::Away);
    }

    #[test]
    fn other_errors_are_not_waited_for() {
        let error = until_it_works::<()>("s", &Health::new(), || Err(Error::config("wrong password")));
        assert_eq!(error.expect_err("refused").kind(), ErrorKind::Config);
    }
}

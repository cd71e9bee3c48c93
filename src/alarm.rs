//! One timer of an operator.

use std::time::{Duration, Instant};

use timely::scheduling::Activator;

/// Wakes its operator after a while. Timely keeps every `activate_after`; an operator that sets one at each
/// activation would gather more and more of them and never sleep.
#[derive(Debug)]
pub struct Alarm {
    activator: Activator,
    at: Option<Instant>,
}

impl Alarm {
    /// An alarm that is not set.
    pub fn new(activator: Activator) -> Self {
        Alarm { activator, at: None }
    }

    /// Wakes the operator within `delay`, unless it will be woken by then anyway.
    pub fn within(&mut self, delay: Duration) {
        let now = Instant::now();
        let at = now + delay;
        if self.at.is_none_or(|set| set <= now || set > at) {
            self.activator.activate_after(delay);
            self.at = Some(at);
        }
    }
}

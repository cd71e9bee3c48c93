//! What wakes operators: a timer, and threads that have something for them.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use timely::scheduling::{Activator, SyncActivator};

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

/// Lets a thread wake an operator that is built after the thread was started.
#[derive(Clone, Default)]
pub struct Woken(Arc<OnceLock<SyncActivator>>);

impl Woken {
    /// Names the operator, when it is built.
    pub fn set(&self, operator: SyncActivator) {
        // Each worker builds its own, and once.
        let _ = self.0.set(operator);
    }

    /// Wakes the operator. One that is not built yet will look by itself when it is.
    pub fn wake(&self) {
        // One that is gone with its dataflow has nothing left to do.
        let _ = self.0.get().map(SyncActivator::activate);
    }
}

//! How long epochs take: from their tick to their completion by the operators, and to their confirmation.

use std::collections::VecDeque;
use std::time::Instant;

use super::telemetry::{Histogram, Telemetry};
use crate::time::Epoch;

/// Epochs that are under way, on worker 0.
#[derive(Debug, Default)]
pub struct Timings {
    next: Option<Epoch>,
    computing: VecDeque<(Epoch, Instant)>,
    unconfirmed: VecDeque<(Epoch, Instant)>,
}

impl Timings {
    /// Looks at the progress: `next` is the first epoch that was not ticked, the frontiers are those behind
    /// the operators and behind all sinks (`None`: at the end).
    pub fn look(
        &mut self,
        next: Epoch,
        computed: Option<Epoch>,
        confirmed: Option<Epoch>,
        telemetry: &Telemetry,
    ) {
        let now = Instant::now();
        for epoch in self.next.unwrap_or(next)..next {
            self.computing.push_back((epoch, now));
            self.unconfirmed.push_back((epoch, now));
        }
        self.next = Some(next);
        record(&mut self.computing, computed, now, &telemetry.epoch_close);
        record(&mut self.unconfirmed, confirmed, now, &telemetry.epoch_confirm);
    }
}

fn record(open: &mut VecDeque<(Epoch, Instant)>, frontier: Option<Epoch>, now: Instant, into: &Histogram) {
    while let Some((_, since)) =
        open.pop_front_if(|(epoch, _)| frontier.is_none_or(|frontier| *epoch < frontier))
    {
        into.record(now.saturating_duration_since(since));
    }
}

//! What tests of operators share: a state that is saved now and then, and put back.

use arrow::array::RecordBatch;
use rand::Rng;

use super::{KeyGroup, Operator, SnapshotKind};

/// What a run would have kept of a state: a full snapshot, and the deltas behind it.
#[derive(Default)]
pub(super) struct Snapshots {
    taken: Vec<Vec<(KeyGroup, RecordBatch)>>,
}

impl Snapshots {
    /// Takes one, full or not, which can fail. Whether it is kept.
    pub fn take(&mut self, state: &mut impl Operator, random: &mut impl Rng) -> bool {
        let full = self.taken.is_empty() || random.random_bool(0.3);
        let taken = state.snapshot(if full { SnapshotKind::Full } else { SnapshotKind::Delta });
        if random.random_bool(0.3) {
            state.snapshot_failed();
            return false;
        }
        if full {
            self.taken.clear();
        }
        self.taken.push(taken);
        true
    }

    /// Puts everything back into a state that is new. The snapshots that follow stand on these.
    pub fn restore(&self, state: &mut impl Operator) {
        for (_, part) in self.taken.iter().flatten() {
            state.restore(part).expect("its own state");
        }
    }
}

//! A sink that takes everything and keeps nothing.

use super::{Changes, Identity, Receipt, Sink};
use crate::error::Result;
use crate::time::Epoch;

/// Counts as written what it throws away.
#[derive(Debug, Default)]
pub(super) struct Blackhole {
    epochs: Vec<(Epoch, Receipt)>,
}

impl Sink for Blackhole {
    fn open(&mut self, _identity: &Identity) -> Result<Epoch> {
        Ok(0)
    }

    fn write(&mut self, epoch: Epoch, _changes: Changes) -> Result<()> {
        self.epochs.push((epoch, Receipt::default()));
        Ok(())
    }

    fn confirm(&mut self) -> Result<Vec<(Epoch, Receipt)>> {
        Ok(std::mem::take(&mut self.epochs))
    }

    fn close(&mut self) -> Result<()> {
        Ok(())
    }
}

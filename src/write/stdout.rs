//! Changes on the standard output, as JSON Lines or CSV.

use std::io::{self, Write};

use super::lines::Lines;
use super::{Changes, Identity, Receipt, Sink};
use crate::error::{Error, Result};
use crate::plan;
use crate::time::Epoch;

/// Writes every epoch at once, so that lines of several sinks do not mix within an epoch.
#[derive(Debug)]
pub(super) struct Stdout {
    lines: Lines,
    /// What is to be written: at the beginning the header.
    text: Vec<u8>,
    epochs: Vec<(Epoch, Receipt)>,
}

impl Stdout {
    /// A sink that nobody needs to connect to.
    pub(super) fn new(sink: &plan::Sink) -> Self {
        let lines = Lines::of_changes(sink);
        Stdout { text: lines.header(), lines, epochs: Vec::new() }
    }
}

impl Sink for Stdout {
    fn open(&mut self, _identity: &Identity) -> Result<Epoch> {
        Ok(0)
    }

    fn write(&mut self, epoch: Epoch, changes: Changes) -> Result<()> {
        self.lines.append(&changes, &mut self.text);
        let mut out = io::stdout().lock();
        let written = out.write_all(&self.text).and_then(|()| out.flush());
        written.map_err(|error| Error::config("cannot write to the standard output").caused_by(error))?;
        self.text.clear();
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

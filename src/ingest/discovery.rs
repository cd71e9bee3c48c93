//! Discovery: partitions that appear while a dataflow runs.
//!
//! Process 0 asks the connectors, on threads of its own. What it finds waits for the next tick, which tells all
//! workers; from that epoch on the partition exists, everywhere.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::Connector;
use super::beat::Arrivals;
use crate::error::{Error, Result};
use crate::record::{FoundPartition, Partition};

/// How often a thread that has nothing to ask looks for the stop flag.
const LOOK: Duration = Duration::from_millis(500);

/// Partitions that were found and that no tick has told of yet.
#[derive(Debug, Default)]
pub struct Findings(Mutex<Vec<(u16, FoundPartition)>>);

impl Findings {
    /// Keeps partitions of source number `source` for the next tick.
    pub fn add(&self, source: u16, found: impl IntoIterator<Item = FoundPartition>) {
        self.lock().extend(found.into_iter().map(|found| (source, found)));
    }

    /// Everything that waits, for the tick that is about to be sent.
    pub fn take(&self) -> Vec<(u16, FoundPartition)> {
        std::mem::take(&mut self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(u16, FoundPartition)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A source whose partitions can become more.
pub struct Growing {
    /// Index in the plan.
    pub source: u16,
    pub name: String,
    pub connector: Arc<dyn Connector>,
    /// Partitions that were found already.
    pub known: Vec<Partition>,
}

impl Growing {
    /// Asks the connector once.
    fn look(&mut self, findings: &Findings) -> Result<bool> {
        let found = self.connector.find(Some(&self.known))?;
        for found in &found {
            let Partition { name, number, .. } = &found.partition;
            tracing::info!(source = self.name, partition = %format_args!("{name}/{number}"), "found a partition");
        }
        self.known.extend(found.iter().map(|found| found.partition.clone()));
        let any = !found.is_empty();
        findings.add(self.source, found);
        Ok(any)
    }

    /// Starts a thread that asks every `interval` until `stop`. What it finds is told to `arrivals`.
    pub fn watch(
        mut self,
        interval: Duration,
        (findings, arrivals): (Arc<Findings>, Arc<Arrivals>),
        stop: Arc<AtomicBool>,
    ) -> Result<()> {
        let watch = move || {
            let mut trouble = String::new();
            while sleep(interval, &stop) {
                match self.look(&findings) {
                    Ok(any) => {
                        trouble.clear();
                        if any {
                            arrivals.notify();
                        }
                    }
                    // What is read already is read on; if that has the same trouble, its reader says so.
                    Err(error) if error.to_string() != trouble => {
                        trouble = error.to_string();
                        tracing::warn!(source = self.name, %error, "cannot look for new partitions");
                    }
                    Err(_) => {}
                }
            }
        };
        let thread = std::thread::Builder::new().name("discover".to_owned()).spawn(watch);
        // It is not waited for at the end: it may be in the middle of a question, and nobody needs the answer.
        thread.map(drop).map_err(|error| Error::config("cannot start a thread").caused_by(error))
    }
}

/// Sleeps; false when a stop was asked for.
fn sleep(interval: Duration, stop: &AtomicBool) -> bool {
    let until = Instant::now() + interval;
    while !stop.load(Ordering::Relaxed) {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return true;
        }
        std::thread::park_timeout(left.min(LOOK));
    }
    false
}

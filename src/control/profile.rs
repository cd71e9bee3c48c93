//! Where the time of a run goes, per operator of its workers: for `tidemill bench`.
//!
//! Timely tells when it starts and stops each operator. An operator's time is its own: what the operators
//! inside a scope take is not counted for the scope.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use timely::logging::{StartStop, TimelyEvent, TimelyEventBuilder};
use timely::worker::Worker;

use crate::error::{Error, Result};

/// What a process says about a run that has ended.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Profile {
    /// From the start of the workers to their end, when every sink has confirmed everything.
    pub seconds: f64,
    /// Busy seconds by name of the operator, summed over the workers; empty unless they were watched.
    pub operators: BTreeMap<String, f64>,
}

/// Takes the times while a run goes on.
#[derive(Debug)]
pub struct Profiler {
    path: PathBuf,
    watches_operators: bool,
    began: Instant,
    busy: Arc<Mutex<BTreeMap<String, Duration>>>,
}

impl Profiler {
    /// Begins now. What it has found is written to the file at `path`.
    pub fn start(path: &Path, watches_operators: bool) -> Self {
        Profiler { path: path.to_owned(), watches_operators, began: Instant::now(), busy: Arc::default() }
    }

    /// Has a worker tell about its operators, if they are watched. To be called before there is a dataflow.
    pub fn watch(&self, worker: &Worker) {
        let Some(mut registry) = worker.log_register().filter(|_| self.watches_operators) else { return };
        let mut stopwatch = Stopwatch::default();
        let busy = self.busy.clone();
        registry.insert::<TimelyEventBuilder, _>("timely", move |_, events| {
            let mut spent: BTreeMap<String, Duration> = BTreeMap::new();
            for (at, event) in events.iter().flatten() {
                if let Some((name, own)) = stopwatch.on(*at, event) {
                    *spent.entry(name).or_default() += own;
                }
            }
            let mut busy = busy.lock().unwrap_or_else(PoisonError::into_inner);
            for (name, own) in spent {
                *busy.entry(name).or_default() += own;
            }
        });
    }

    /// Writes down what was found.
    pub fn finish(&self) -> Result<()> {
        let busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        let seconds = |(name, own): (&String, &Duration)| (name.clone(), own.as_secs_f64());
        let profile = Profile {
            seconds: self.began.elapsed().as_secs_f64(),
            operators: busy.iter().map(seconds).collect(),
        };
        let failed = |error: std::io::Error| {
            Error::config(format!("cannot write the profile '{}'", self.path.display())).caused_by(error)
        };
        let text = serde_json::to_vec(&profile).map_err(|error| failed(error.into()))?;
        std::fs::write(&self.path, text).map_err(failed)
    }
}

/// The operators of one worker that have been started and not stopped.
#[derive(Debug, Default)]
struct Stopwatch {
    names: HashMap<usize, String>,
    running: Vec<Running>,
}

#[derive(Debug)]
struct Running {
    id: usize,
    since: Duration,
    /// Time of the operators inside.
    inner: Duration,
}

impl Stopwatch {
    /// The name and own time of an operator that stops.
    fn on(&mut self, at: Duration, event: &TimelyEvent) -> Option<(String, Duration)> {
        match event {
            TimelyEvent::Operates(operator) => {
                self.names.insert(operator.id, operator.name.clone());
                None
            }
            TimelyEvent::Schedule(schedule) if schedule.start_stop == StartStop::Start => {
                self.running.push(Running { id: schedule.id, since: at, inner: Duration::ZERO });
                None
            }
            TimelyEvent::Schedule(schedule) => {
                let stopped = self.running.pop_if(|running| running.id == schedule.id)?;
                let whole = at.saturating_sub(stopped.since);
                if let Some(outer) = self.running.last_mut() {
                    outer.inner += whole;
                }
                let name = self.names.get(&stopped.id).cloned().unwrap_or_default();
                Some((name, whole.saturating_sub(stopped.inner)))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use timely::logging::{OperatesEvent, ScheduleEvent};

    use super::*;

    #[test]
    fn a_scope_is_not_charged_for_what_is_inside() {
        let mut stopwatch = Stopwatch::default();
        let ms = Duration::from_millis;
        for (id, name) in [(1, "scope"), (2, "leg")] {
            let event = OperatesEvent { id, addr: vec![id], name: name.to_owned() };
            assert_eq!(stopwatch.on(ms(0), &TimelyEvent::Operates(event)), None);
        }
        assert_eq!(stopwatch.on(ms(1), &ScheduleEvent::start(1).into()), None);
        assert_eq!(stopwatch.on(ms(3), &ScheduleEvent::start(2).into()), None);
        assert_eq!(stopwatch.on(ms(7), &ScheduleEvent::stop(2).into()), Some(("leg".to_owned(), ms(4))));
        assert_eq!(stopwatch.on(ms(8), &ScheduleEvent::stop(1).into()), Some(("scope".to_owned(), ms(3))));
    }

    #[test]
    fn a_profile_can_be_read_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("profile.json");
        let profiler = Profiler::start(&path, true);
        profiler.busy.lock().expect("no panic").insert("cut".to_owned(), Duration::from_millis(1_500));
        profiler.finish().expect("written");
        let text = std::fs::read(&path).expect("a file");
        let profile: Profile = serde_json::from_slice(&text).expect("a profile");
        assert_eq!(profile.operators["cut"], 1.5);
        assert!(profile.seconds >= 0.0);
    }
}

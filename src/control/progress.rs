//! Progress as plain lines on standard output, and the thread that prints them.

use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;

use super::status::Status;
use super::telemetry::Telemetry;
use crate::error::{Error, Result};

/// Prints the status at an interval until it is dropped.
#[derive(Debug)]
pub struct Printer {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Printer {
    /// Starts to print.
    pub fn start(telemetry: Arc<Telemetry>, interval: Duration) -> Result<Printer> {
        let (stop, stopped) = crossbeam_channel::bounded::<()>(0);
        let thread = std::thread::Builder::new().name("progress".to_string()).spawn(move || {
            let (mut before, mut then) = (0, Instant::now());
            // Nothing is ever sent: the channel's end is the signal.
            while stopped.recv_timeout(interval).is_err_and(|error| error.is_timeout()) {
                let status = telemetry.status().clone();
                let read = status.read();
                let rate = read.saturating_sub(before) as f64 / then.elapsed().as_secs_f64().max(1e-3);
                (before, then) = (read, Instant::now());
                say(&lines(&status, rate));
            }
        });
        let thread = thread.map_err(|error| Error::internal("cannot start a thread").caused_by(error))?;
        Ok(Printer { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Printer {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic in there has ended the process already.
            let _ = thread.join();
        }
    }
}

/// Writes to standard output. A reader that has gone (`tidemill explain ... | head`) is no reason to fail, and none
/// to stop a dataflow.
pub fn say(text: &str) {
    let mut output = std::io::stdout().lock();
    let _ = output.write_all(text.as_bytes()).and_then(|()| output.flush());
}

/// One line with the numbers, one per waiting sink, one per newest row.
pub fn lines(status: &Status, records_per_second: f64) -> String {
    let mut text = format!("epoch {}", status.epoch);
    let mut add =
        |part: std::fmt::Arguments<'_>| write!(text, "{part}").expect("a text takes what is written");
    for view in &status.views {
        add(format_args!(" | {} {} rows", view.name, view.rows));
    }
    add(format_args!(" | {records_per_second:.0} events/s, {} read", status.read()));
    match status.lag_records() {
        Some(lag) => add(format_args!(" | lag {lag} records")),
        None => add(format_args!(" | catching up")),
    }
    if let Some(ms) = status.lag_event_ms() {
        add(format_args!(", {:.1} s", ms as f64 / 1e3));
    }
    let acknowledged: u64 = status.sinks.iter().map(|sink| sink.acknowledged).sum();
    add(format_args!(" | {} dead letters", status.dead()));
    add(format_args!(" | {acknowledged} rows written | ledger: {} unaccounted\n", status.unaccounted));
    for reason in status.not_ready() {
        add(format_args!("  not ready: {reason}\n"));
    }
    for view in &status.views {
        for row in &view.newest {
            add(format_args!("  {} {row}\n", view.name));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::status::tests::sample;

    #[test]
    fn lines_say_what_matters() {
        let mut status = sample();
        status.sinks[0].away = Some("no answer".into());
        assert_eq!(
            lines(&status, 1234.5),
            "epoch 12 | latest 9 rows | 1234 events/s, 100 read | catching up, 1.5 s | 3 dead letters \
             | 50 rows written | ledger: 0 unaccounted\n  not ready: sink documents is away: no answer\n  \
             latest {\"did\":\"a\"}\n"
        );
    }

    #[test]
    fn printers_stop_at_once() {
        let printer = Printer::start(Telemetry::new(), Duration::from_secs(600)).expect("a thread");
        drop(printer);
    }
}

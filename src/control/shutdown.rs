//! A stop that drains: SIGTERM or SIGINT ask for it, a second one or too long a drain ends the process.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::failure;
use crate::error::{Error, Result};

type Callback = Box<dyn FnOnce() + Send>;

/// Whether a stop was asked for; shared by all who have to know.
#[derive(Clone, Default)]
pub struct Shutdown {
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    requested: AtomicBool,
    callbacks: Mutex<Vec<Callback>>,
}

impl std::fmt::Debug for Shutdown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shutdown").field("requested", &self.is_requested()).finish()
    }
}

impl Shutdown {
    /// Nothing was asked for yet.
    pub fn new() -> Shutdown {
        Shutdown::default()
    }

    /// Whether a stop was asked for.
    pub fn is_requested(&self) -> bool {
        self.inner.requested.load(Ordering::SeqCst)
    }

    /// Asks for a stop. Only the first call has an effect.
    pub fn request(&self) {
        let callbacks = {
            let mut callbacks = self.callbacks();
            self.inner.requested.store(true, Ordering::SeqCst);
            std::mem::take(&mut *callbacks)
        };
        callbacks.into_iter().for_each(|callback| callback());
    }

    /// Calls `callback` once when a stop is asked for, now if it was: to unpark a worker, for instance.
    pub fn on_request(&self, callback: impl FnOnce() + Send + 'static) {
        let mut callbacks = self.callbacks();
        if self.is_requested() {
            drop(callbacks);
            callback();
        } else {
            callbacks.push(Box::new(callback));
        }
    }

    fn callbacks(&self) -> std::sync::MutexGuard<'_, Vec<Callback>> {
        self.inner.callbacks.lock().expect("no panic under this lock")
    }
}

/// Turns signals into a request to stop, on a thread of its own, from now on.
///
/// A second signal ends the process at once with code 130; a drain that takes longer than `timeout` ends it
/// with code 1.
pub fn listen(timeout: Duration) -> Result<Shutdown> {
    let failed = |error: std::io::Error| Error::internal("cannot listen to signals").caused_by(error);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    let signals = {
        let _inside = runtime.enter();
        (signal(SignalKind::terminate()).map_err(failed)?, signal(SignalKind::interrupt()).map_err(failed)?)
    };
    let shutdown = Shutdown::new();
    let handle = shutdown.clone();
    std::thread::Builder::new()
        .name("signals".to_string())
        .spawn(move || runtime.block_on(watch(signals, handle, timeout)))
        .map_err(failed)?;
    Ok(shutdown)
}

async fn watch(mut signals: (Signal, Signal), shutdown: Shutdown, timeout: Duration) {
    next(&mut signals).await;
    tracing::info!("stopping: what was read is finished first; a second signal stops at once");
    shutdown.request();
    match tokio::time::timeout(timeout, next(&mut signals)).await {
        Ok(()) => {
            failure::print_text("stopped at once by a second signal");
            std::process::exit(failure::INTERRUPTED)
        }
        Err(_) => failure::fatal(
            &Error::away(format!("the stop took longer than {timeout:?}"))
                .hint("shutdown_timeout sets how long it may take; what was not confirmed is read again"),
        ),
    }
}

async fn next((terminate, interrupt): &mut (Signal, Signal)) {
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::process::{Child, ChildStdout, Command, Stdio};
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[test]
    fn callbacks_run_once_before_and_after_the_request() {
        let shutdown = Shutdown::new();
        let calls = Arc::new(AtomicUsize::new(0));
        let count = |shutdown: &Shutdown| {
            let calls = Arc::clone(&calls);
            shutdown.on_request(move || _ = calls.fetch_add(1, Ordering::SeqCst));
        };
        count(&shutdown);
        assert!(!shutdown.is_requested());
        shutdown.request();
        shutdown.clone().request();
        assert!(shutdown.is_requested());
        count(&shutdown);
        assert_eq!(calls.load(Ordering::SeqCst), 2);
    }

    /// What the child processes of the next test do; without the variable it is an empty test.
    #[test]
    fn child() {
        let Ok(timeout) = std::env::var("TIDEMILL_TEST_SHUTDOWN") else {
            return;
        };
        let timeout = humantime::parse_duration(&timeout).expect("a duration");
        let shutdown = listen(timeout).expect("signals");
        shutdown.on_request(|| println!("\ndraining"));
        println!("\nlistening");
        loop {
            std::thread::park();
        }
    }

    fn start(timeout: &str) -> (Child, BufReader<ChildStdout>) {
        let mut child = Command::new(std::env::current_exe().expect("a path"))
            .args(["--exact", "control::shutdown::tests::child", "--nocapture"])
            .env("TIDEMILL_TEST_SHUTDOWN", timeout)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("a child");
        let output = BufReader::new(child.stdout.take().expect("a pipe"));
        (child, output)
    }

    fn await_line(output: &mut impl BufRead, expected: &str) {
        let found = output.lines().any(|line| line.is_ok_and(|line| line == expected));
        assert!(found, "the child has ended without '{expected}'");
    }

    fn kill(child: &Child, signal: &str) {
        let status = Command::new("kill").args([signal, &child.id().to_string()]).status().expect("kill");
        assert!(status.success());
    }

    #[test]
    fn signals_drain_then_stop() {
        let (child, mut output) = start("1h");
        await_line(&mut output, "listening");
        kill(&child, "-TERM");
        await_line(&mut output, "draining");
        kill(&child, "-INT");
        let ended = child.wait_with_output().expect("an end");
        assert_eq!(ended.status.code(), Some(failure::INTERRUPTED));

        let (child, mut output) = start("10ms");
        await_line(&mut output, "listening");
        kill(&child, "-INT");
        let ended = child.wait_with_output().expect("an end");
        assert_eq!(ended.status.code(), Some(failure::FAILED));
        let text = String::from_utf8_lossy(&ended.stderr);
        assert!(text.contains("tidemill: the stop took longer than 10ms"), "{text}");
    }
}

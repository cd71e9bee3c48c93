//! How a process ends when it cannot go on: with a message on standard error and a code that is not 0.
//!
//! Timely has no fault tolerance, and other workers are not told of a panic: their frontier just stands. So a
//! panic in any thread ends the whole process, and with its sockets the whole cluster. Nothing is lost by
//! that: state is made anew from where it was safe, never from a process that is half alive.

use std::io::Write;
use std::panic::PanicHookInfo;
use std::process;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::Error;
use crate::unwind;

/// Code of a process that failed with a message.
pub const FAILED: i32 = 1;
/// Code of a process in which a thread panicked.
pub const PANICKED: i32 = 101;
/// Code of a process that was stopped a second time.
pub const INTERRUPTED: i32 = 130;

/// Prints an error the way all errors are printed.
pub fn print(error: &Error) {
    print_text(&error.to_string());
}

/// Last words. Where standard error is closed they are lost: the code must come through.
pub fn print_text(text: &str) {
    let _ = writeln!(std::io::stderr(), "tidemill: {text}");
}

/// Ends the process because of an error that no caller can handle: from a thread of a sink, a worker, ...
pub fn fatal(error: &Error) -> ! {
    print(error);
    process::exit(FAILED)
}

/// Makes a panic in any thread the end of the process.
pub fn install_panic_hook() {
    let ending = AtomicBool::new(false);
    std::panic::set_hook(Box::new(move |info| {
        if unwind::catching() {
            return; // It becomes an error of the row.
        }
        if ending.swap(true, Ordering::SeqCst) {
            // Another thread is ending the process; what breaks meanwhile is a consequence.
            loop {
                std::thread::park();
            }
        }
        let thread = std::thread::current();
        let end = End::of_panic(thread.name().unwrap_or("unnamed"), &describe(info), &place(info));
        print_text(&end.message);
        process::exit(end.code)
    }));
}

fn describe(info: &PanicHookInfo<'_>) -> String {
    unwind::text_of(info.payload())
}

fn place(info: &PanicHookInfo<'_>) -> String {
    info.location().map_or_else(|| "an unknown place".to_string(), ToString::to_string)
}

/// The last words of a process and its code.
#[derive(Debug, PartialEq, Eq)]
struct End {
    message: String,
    code: i32,
}

impl End {
    /// Tells a peer that has gone from a bug of our own.
    fn of_panic(thread: &str, text: &str, place: &str) -> End {
        let from_connection = text.strip_prefix("timely communication error: ");
        if let Some(cause) = from_connection {
            // Timely names its threads after the process at the other end: `timely:recv-1`.
            let peer = thread.rsplit_once('-').map_or("another process", |(_, peer)| peer);
            let message = if cause.contains("corrupt data") {
                format!("{cause}; the cluster stops")
            } else {
                format!("lost the connection to process {peer} ({cause}); the cluster stops")
            };
            return End { message, code: FAILED };
        }
        // What workers and sending threads find when a receiving thread has ended.
        let consequences = ["MergeQueue poisoned", "Send thread panic", "Recv thread panic", "Worker panic"];
        if consequences.iter().any(|consequence| text.contains(consequence)) {
            let message = "lost the connection to another process; the cluster stops".to_string();
            return End { message, code: FAILED };
        }
        End {
            message: format!(
                "thread '{thread}' panicked at {place}: {text}\n  hint: this is a bug in tidemill; the \
                 process stops, and what was confirmed is safe"
            ),
            code: PANICKED,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Output};

    use super::*;

    #[test]
    fn peers_that_are_gone_are_no_bugs() {
        let gone = "timely communication error: reading data: socket closed";
        let end = End::of_panic("timely:recv-3", gone, "tcp.rs:1");
        let message = "lost the connection to process 3 (reading data: socket closed); the cluster stops";
        assert_eq!(end, End { message: message.to_string(), code: FAILED });
        let corrupt =
            "timely communication error: reading data: corrupt data from process 1: frame 5 of 3 bytes";
        let end = End::of_panic("timely:recv-1", corrupt, "tcp.rs:1");
        assert!(end.message.contains("corrupt data from process 1: frame 5") && end.code == FAILED);
        assert_eq!(End::of_panic("timely:work-0", "MergeQueue poisoned.", "x").code, FAILED);
        let end = End::of_panic("timely:work-0", "index out of bounds", "src/a.rs:1:2");
        assert!(
            end.message.starts_with("thread 'timely:work-0' panicked at src/a.rs:1:2: index out of bounds")
        );
        assert_eq!(end.code, PANICKED);
    }

    /// What the child processes of the next test do; without the variable it is an empty test.
    #[test]
    fn child() {
        match std::env::var("FAILURE_TEST_END").as_deref() {
            Ok("panic") => {
                install_panic_hook();
                let thread = std::thread::Builder::new().name("helper".into());
                let thread = thread.spawn(|| panic!("out of {}", "luck")).expect("a thread");
                // The hook must end the process; a hook that does not is seen by the code.
                let _ = thread.join();
                process::exit(0)
            }
            Ok("fatal") => fatal(&Error::config("nothing works").hint("go home")),
            _ => {}
        }
    }

    fn run_child(end: &str) -> Output {
        Command::new(std::env::current_exe().expect("a path"))
            .args(["--exact", "control::failure::tests::child", "--nocapture"])
            .env("FAILURE_TEST_END", end)
            .output()
            .expect("a child")
    }

    #[test]
    fn panics_and_fatal_errors_end_the_process() {
        let output = run_child("panic");
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(PANICKED), "{text}");
        assert!(text.contains("tidemill: thread 'helper' panicked at src/control/failure.rs:"), "{text}");
        assert!(text.contains("out of luck"), "{text}");
        let output = run_child("fatal");
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(FAILED), "{text}");
        assert!(text.contains("tidemill: nothing works\n  hint: go home"), "{text}");
    }
}

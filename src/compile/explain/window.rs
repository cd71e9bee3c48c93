//! Windows as `explain` shows them.

use std::time::Duration;

use crate::plan::{Bound, Emit, Source, Window, Windowing};

/// Which windows.
pub(super) fn window(windowing: &Windowing) -> String {
    let time = &windowing.time.text;
    match windowing.window {
        Window::Tumble { size_ns } => format!("tumble({time}), {} long", length(size_ns)),
        Window::Hop { slide_ns, size_ns } => {
            format!("hop({time}), {} long, one every {}", length(size_ns), length(slide_ns))
        }
        Window::Cumulate { step_ns, size_ns } => {
            format!("cumulate({time}), {} long, given out every {}", length(size_ns), length(step_ns))
        }
        Window::Session { gap_ns } => format!("session({time}), with gaps of up to {}", length(gap_ns)),
        Window::Given => format!("those of the input, by {time}"),
    }
}

/// When a row is late.
pub(super) fn late(windowing: &Windowing, sources: &[Source]) -> String {
    let bound = bound(&windowing.bound, sources);
    match windowing.allowed_lateness_ns {
        0 => format!("when {bound} has passed its windows"),
        lateness => format!("when {bound} has passed its windows by {}", length(lateness)),
    }
}

/// When results come out.
pub(super) fn emits(windowing: &Windowing) -> String {
    match (windowing.emit, windowing.is_final()) {
        (Emit::Final, true) => "append-only: the result of each window when it closes".to_owned(),
        (Emit::Final, false) => {
            "updating: the result of each window at its end, and again when late rows change it".to_owned()
        }
        (Emit::Changes, _) => {
            "updating: old and new result of each changed window, once per epoch, until it closes".to_owned()
        }
    }
}

/// How far event time has come, in words.
fn bound(bound: &Bound, sources: &[Source]) -> String {
    let name = |index: &usize| sources.get(*index).map_or("?", |source| source.name.as_str());
    match bound {
        Bound::Source(index) => format!("the watermark of {}", name(index)),
        Bound::Least(all) => {
            let all: Vec<_> = all.iter().map(|bound| self::bound(bound, sources)).collect();
            format!("the least of ({})", all.join(", "))
        }
        Bound::Back { of, by_ns } if *by_ns < 0 => {
            format!("{} + {}", self::bound(of, sources), length(by_ns.saturating_neg()))
        }
        Bound::Back { of, by_ns } => format!("{} - {}", self::bound(of, sources), length(*by_ns)),
        Bound::Starts { of, .. } => format!("the earliest open window by {}", self::bound(of, sources)),
    }
}

/// A length of time.
pub(super) fn length(ns: i64) -> String {
    humantime::format_duration(Duration::from_nanos(ns.unsigned_abs())).to_string()
}

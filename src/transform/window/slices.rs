//! Windows as arithmetic: the slices that they are made of.
//!
//! A row is kept once, in its slice; the result of a window is that of its slices together. Slices are as long
//! as windows begin and end nowhere inside of them: so overlapping windows cost no more memory than others.

use crate::plan::Window;
use crate::time::{EventTime, greatest_common_divisor};

/// The slices of one kind of windows. A slice is named by its start; that of [`Window::Given`] by the end of
/// the window, which is all that is known of it.
#[derive(Clone, Copy, Debug)]
pub struct Slices {
    window: Window,
}

impl Slices {
    /// The slices of `window`, which is no session.
    pub fn new(window: Window) -> Self {
        Slices { window }
    }

    /// The slice of a row; `None` if its windows would reach beyond the range of TIMESTAMP.
    pub fn of(self, time: EventTime) -> Option<EventTime> {
        if self.window == Window::Given {
            return Some(time);
        }
        Window::can_hold(time).then(|| floor(time, self.length()))
    }

    /// The end of the last window that holds a slice; `None` in the gap between two windows.
    pub fn last_end(self, slice: EventTime) -> Option<EventTime> {
        self.ends(slice).next_back()
    }

    /// The ends of all windows that hold a slice, ascending.
    pub fn ends(self, slice: EventTime) -> impl DoubleEndedIterator<Item = EventTime> {
        let (first, step, count) = match self.window {
            Window::Tumble { size_ns } => (slice + size_ns, size_ns, 1),
            Window::Hop { slide_ns, size_ns } => {
                let last = floor(slice, slide_ns);
                let first = floor(slice - size_ns, slide_ns) + slide_ns;
                (first + size_ns, slide_ns, if last < first { 0 } else { (last - first) / slide_ns + 1 })
            }
            Window::Cumulate { step_ns, size_ns } => {
                let (first, last) = (slice + step_ns, floor(slice, size_ns) + size_ns);
                (first, step_ns, (last - first) / step_ns + 1)
            }
            Window::Given | Window::Session { .. } => (slice, 1, 1),
        };
        (0..count).map(move |number| first + number * step)
    }

    /// The start of the window that ends at `end`.
    pub fn start(self, end: EventTime) -> EventTime {
        match self.window {
            Window::Tumble { size_ns } | Window::Hop { size_ns, .. } => end - size_ns,
            Window::Cumulate { size_ns, .. } => floor(end - 1, size_ns),
            Window::Given | Window::Session { .. } => end,
        }
    }

    /// The slices of the window that ends at `end`: from the first one to before the last.
    pub fn range(self, end: EventTime) -> std::ops::Range<EventTime> {
        match self.window {
            Window::Given | Window::Session { .. } => end..end.saturating_add(1),
            _ => self.start(end)..end,
        }
    }

    /// The most slices that a window has.
    pub fn per_window(self) -> usize {
        let size_ns = match self.window {
            Window::Tumble { .. } | Window::Given | Window::Session { .. } => return 1,
            Window::Hop { size_ns, .. } | Window::Cumulate { size_ns, .. } => size_ns,
        };
        usize::try_from(size_ns / self.length()).unwrap_or(usize::MAX)
    }

    /// How long a slice is, in nanoseconds.
    pub fn length(self) -> i64 {
        match self.window {
            Window::Tumble { size_ns } => size_ns,
            Window::Hop { slide_ns, size_ns } => greatest_common_divisor(slide_ns, size_ns),
            Window::Cumulate { step_ns, .. } => step_ns,
            Window::Given | Window::Session { .. } => 1,
        }
    }
}

/// The greatest multiple of `step` that is not above `time`, also before 1970.
fn floor(time: EventTime, step: i64) -> EventTime {
    time - time.rem_euclid(step)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All windows near zero, by their definition: (start, end).
    fn windows(window: Window) -> Vec<(i64, i64)> {
        let all = -100..100i64;
        match window {
            Window::Tumble { size_ns } => all.map(|n| (n * size_ns, (n + 1) * size_ns)).collect(),
            Window::Hop { slide_ns, size_ns } => {
                all.map(|n| (n * slide_ns, n * slide_ns + size_ns)).collect()
            }
            Window::Cumulate { step_ns, size_ns } => {
                let steps = |base: i64| (1..=size_ns / step_ns).map(move |n| (base, base + n * step_ns));
                all.flat_map(|n| steps(n * size_ns)).collect()
            }
            Window::Session { .. } | Window::Given => unreachable!("not aligned"),
        }
    }

    #[test]
    fn slices_make_the_windows_of_the_definition() {
        let kinds = [
            Window::Tumble { size_ns: 7 },
            Window::Hop { slide_ns: 3, size_ns: 9 },
            Window::Hop { slide_ns: 4, size_ns: 10 },
            Window::Hop { slide_ns: 10, size_ns: 4 },
            Window::Hop { slide_ns: 5, size_ns: 5 },
            Window::Cumulate { step_ns: 2, size_ns: 8 },
            Window::Cumulate { step_ns: 5, size_ns: 5 },
        ];
        for window in kinds {
            let slices = Slices::new(window);
            for time in -50..50 {
                let mut expected: Vec<_> = windows(window);
                expected.retain(|(start, end)| (*start..*end).contains(&time));
                expected.sort_unstable_by_key(|(_, end)| *end);
                let slice = slices.of(time).expect("in range");
                let found: Vec<_> = slices.ends(slice).map(|end| (slices.start(end), end)).collect();
                assert_eq!(found, expected, "{window:?} at {time}");
                assert_eq!(slices.last_end(slice), expected.last().map(|(_, end)| *end));
                for (_, end) in found {
                    assert!(slices.range(end).contains(&slice), "{window:?} at {time}");
                    let count = slices.range(end).step_by(slices.length() as usize).count();
                    assert!(count <= slices.per_window());
                }
            }
        }
    }

    #[test]
    fn times_at_the_ends_of_the_range_belong_to_no_window() {
        let longest = Window::LENGTH_NS_MAX;
        let slices = Slices::new(Window::Hop { slide_ns: longest, size_ns: longest - 1 });
        for time in [i64::MIN, i64::MIN + longest, i64::MAX - longest, i64::MAX] {
            assert_eq!(slices.of(time), None);
        }
        assert!(slices.of(0).is_some_and(|slice| slices.last_end(slice).is_some()));
        assert_eq!(Slices::new(Window::Given).of(i64::MAX), Some(i64::MAX));
    }
}

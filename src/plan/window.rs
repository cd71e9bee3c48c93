//! The windows of a GROUP BY.

use super::{Bound, Expr};
use crate::time::{EventTime, Watermark};

/// By which stretches of event time a GROUP BY groups, and when their results come out.
#[derive(Clone, Debug)]
pub struct Windowing {
    pub window: Window,
    /// Event time over the input of the aggregation: a TIMESTAMP. For [`Window::Given`] the end of a window.
    pub time: Expr,
    /// How far event time has come in the input.
    pub bound: Bound,
    /// How long a window still takes rows after event time has passed its end, in nanoseconds.
    pub allowed_lateness_ns: i64,
    pub emit: Emit,
}

impl Windowing {
    /// Whether a result, once it is out, is never replaced.
    pub fn is_final(&self) -> bool {
        self.emit == Emit::Final && self.allowed_lateness_ns == 0
    }

    /// Whether a window that ends at `end` takes no more rows.
    pub fn is_closed_at(&self, end: EventTime, watermark: Watermark) -> bool {
        Watermark(end.saturating_add(self.allowed_lateness_ns)) <= watermark
    }

    /// How far the ends of windows have come in the result: no row with an earlier one comes any more.
    pub fn ends(&self) -> Bound {
        // A session that ends at the watermark is not out yet.
        let behind_ns = if matches!(self.window, Window::Session { .. }) { 1 } else { 0 };
        self.bound.clone().back(self.allowed_lateness_ns.saturating_add(behind_ns))
    }

    /// The same for the starts; `None` where it cannot be told from the watermark alone.
    pub fn starts(&self) -> Option<Bound> {
        let (slide_ns, size_ns) = match self.window {
            Window::Tumble { size_ns } | Window::Cumulate { size_ns, .. } => (size_ns, size_ns),
            Window::Hop { slide_ns, size_ns } => (slide_ns, size_ns),
            Window::Session { .. } | Window::Given => return None,
        };
        Some(Bound::Starts { of: Box::new(self.ends()), slide_ns, size_ns })
    }
}

/// Which windows hold a row, `[start, end)`, aligned to the Unix epoch. All lengths are in nanoseconds and
/// positive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Window {
    /// One after the other.
    Tumble { size_ns: i64 },
    /// One of `size_ns` begins every `slide_ns`: they overlap, or leave gaps.
    Hop { slide_ns: i64, size_ns: i64 },
    /// Each window of `size_ns` is also given out after every `step_ns`, up to there.
    Cumulate { step_ns: i64, size_ns: i64 },
    /// Rows of a key that are at most `gap_ns` apart.
    Session { gap_ns: i64 },
    /// Those of the input: its rows are results of windows, and are grouped by their end.
    Given,
}

/// When the result of a window comes out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Emit {
    /// When event time has passed its end, and again for each change within the allowed lateness.
    #[default]
    Final,
    /// Whenever it changes: EMIT CHANGES.
    Changes,
}

impl Window {
    /// The longest window and gap, in nanoseconds: about 29 years.
    pub const LENGTH_NS_MAX: i64 = i64::MAX / 10;

    /// Whether a time is so far from the ends of TIMESTAMP that no window that holds it reaches beyond them.
    pub fn can_hold(time: EventTime) -> bool {
        let margin_ns = 3 * Self::LENGTH_NS_MAX;
        time > EventTime::MIN + margin_ns && time < EventTime::MAX - margin_ns
    }

    /// Number of columns that name a window in the result: its start and its end.
    pub fn columns(&self) -> usize {
        if *self == Window::Given { 1 } else { 2 }
    }
}

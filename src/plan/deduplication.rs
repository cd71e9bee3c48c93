//! DISTINCT ON: what it keeps, and for how long.

use arrow::datatypes::SchemaRef;

use super::Bound;

/// Of the rows with the same key the first; the others are dropped.
#[derive(Clone, Debug)]
pub struct Deduplication {
    /// `<view>/deduplicate`, see [`Operator`](super::Operator).
    pub name: String,
    /// What arrives: the columns that leave, and behind them those that only this operator reads.
    pub input: SchemaRef,
    /// What leaves: the first columns of `input`.
    pub schema: SchemaRef,
    /// Columns of DISTINCT ON, as indices of `input`.
    pub keys: Vec<usize>,
    /// The columns in which the same row that is sent twice does not differ, without those of the key: where
    /// they do, the duplicate is a conflict.
    pub content: Vec<usize>,
    /// `None`: a key is remembered as long as the dataflow runs.
    pub horizon: Option<Horizon>,
}

/// How far apart in event time rows with the same key are no duplicates any more.
#[derive(Clone, Debug)]
pub struct Horizon {
    /// The column of event time, as an index of [`Deduplication::input`]; it has no NULLs.
    pub time: usize,
    /// In nanoseconds, from 1 on.
    pub ns: i64,
    /// How far event time has come in this column.
    pub bound: Bound,
    /// How far the newest event time usually is ahead of it, in nanoseconds.
    pub ahead_ns: i64,
}

impl Horizon {
    /// How much event time is forgotten at once: at most a quarter of the horizon more than what has to be
    /// remembered, or a sixteenth of that where it is long. A row is looked for in few such spans.
    pub fn span_ns(&self) -> i64 {
        let held = self.ns.saturating_mul(2).saturating_add(self.ahead_ns);
        (held / 16).clamp(self.ns / 4 + i64::from(self.ns % 4 > 0), self.ns.saturating_mul(16))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_neither_many_nor_long() {
        let span =
            |ns: i64, ahead_ns: i64| Horizon { time: 0, ns, bound: Bound::Source(0), ahead_ns }.span_ns();
        assert_eq!([span(600, 10), span(600, 600), span(1, 0), span(3, 0)], [150, 150, 1, 1]);
        assert_eq!(span(600, 40_000), 2_575, "a sixteenth of what is held");
        assert_eq!(span(1, 86_400), 16, "not so long that one key stands in it very often");
        assert_eq!(span(i64::MAX, i64::MAX), i64::MAX / 4 + 1);
    }
}

//! How far event time has come in a relation, as a function of the watermarks of the sources.

use crate::time::Watermark;

/// The watermark of one event-time column of a relation: no row with an earlier value is expected any more.
/// Each such column has its own, so that a slow source holds nothing but what is made from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bound {
    /// The watermark of a source, by its index in [`Plan::sources`](super::Plan::sources).
    Source(usize),
    /// The least of several: UNION ALL, joins.
    Least(Vec<Bound>),
    /// So many nanoseconds behind another one.
    Back { of: Box<Bound>, by_ns: i64 },
    /// The earliest start of a window that may still change: windows of `size_ns` nanoseconds that begin every
    /// `slide_ns` and change until `of` reaches their end.
    Starts { of: Box<Bound>, slide_ns: i64, size_ns: i64 },
}

impl Bound {
    /// The least of several bounds, each once.
    pub fn least(bounds: impl IntoIterator<Item = Bound>) -> Bound {
        let mut all: Vec<Bound> = Vec::new();
        for bound in bounds {
            let parts = if let Bound::Least(parts) = bound { parts } else { vec![bound] };
            for part in parts {
                if !all.contains(&part) {
                    all.push(part);
                }
            }
        }
        if all.len() == 1 { all.swap_remove(0) } else { Bound::Least(all) }
    }

    /// This one, `by_ns` nanoseconds earlier.
    pub fn back(self, by_ns: i64) -> Bound {
        if by_ns == 0 { self } else { Bound::Back { of: Box::new(self), by_ns } }
    }

    /// Whether the watermark of a source has a part in it.
    pub fn depends_on(&self, source: usize) -> bool {
        match self {
            Bound::Source(index) => *index == source,
            Bound::Least(all) => all.iter().any(|bound| bound.depends_on(source)),
            Bound::Back { of, .. } | Bound::Starts { of, .. } => of.depends_on(source),
        }
    }

    /// How long the windows are whose starts these are; 0 for other times.
    pub fn windows_ns(&self) -> i64 {
        match self {
            Bound::Source(_) => 0,
            Bound::Least(all) => all.iter().map(Bound::windows_ns).max().unwrap_or_default(),
            Bound::Back { of, .. } => of.windows_ns(),
            Bound::Starts { size_ns, .. } => *size_ns,
        }
    }

    /// Its value where the sources of the plan have these watermarks.
    pub fn at(&self, sources: &[Watermark]) -> Watermark {
        match self {
            Bound::Source(index) => sources[*index],
            Bound::Least(all) => all.iter().map(|bound| bound.at(sources)).min().unwrap_or(Watermark::END),
            Bound::Back { of, by_ns } => of.at(sources).map(|time| time.saturating_sub(*by_ns)),
            Bound::Starts { of, slide_ns, size_ns } => of.at(sources).map(|time| {
                let slides = time.saturating_sub(*size_ns).div_euclid(*slide_ns);
                slides.saturating_add(1).saturating_mul(*slide_ns)
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn starts(slide_ns: i64, size_ns: i64, watermark: i64) -> i64 {
        let bound = Bound::Starts { of: Box::new(Bound::Source(0)), slide_ns, size_ns };
        bound.at(&[Watermark(watermark)]).0
    }

    #[test]
    fn a_start_is_open_until_the_watermark_reaches_the_end_of_its_window() {
        assert_eq!([starts(60, 60, 59), starts(60, 60, 60), starts(60, 60, 61)], [0, 60, 60]);
        assert_eq!([starts(20, 60, 59), starts(20, 60, 60), starts(20, 60, 80)], [0, 20, 40]);
        assert_eq!([starts(60, 10, 9), starts(60, 10, 10), starts(60, 10, 70)], [0, 60, 120], "with gaps");
        assert_eq!([starts(60, 60, -60), starts(60, 60, -61)], [-60, -120], "before 1970");
    }

    #[test]
    fn the_beginning_and_the_end_of_time_stay_what_they_are() {
        let bounds = [
            Bound::Source(0).back(5),
            Bound::Starts { of: Box::new(Bound::Source(0)), slide_ns: 60, size_ns: 60 },
            Bound::least([Bound::Source(0), Bound::Source(0)]),
        ];
        for bound in bounds {
            assert_eq!(bound.at(&[Watermark::NONE]), Watermark::NONE, "{bound:?}");
            assert_eq!(bound.at(&[Watermark::END]), Watermark::END, "{bound:?}");
        }
    }

    #[test]
    fn of_several_the_least_counts() {
        let bound = Bound::least([Bound::Source(0), Bound::Source(1).back(10), Bound::Source(0)]);
        assert_eq!(bound, Bound::Least(vec![Bound::Source(0), Bound::Source(1).back(10)]));
        assert_eq!(bound.at(&[Watermark(100), Watermark(105)]), Watermark(95));
        assert_eq!(bound.at(&[Watermark(100), Watermark::END]), Watermark(100));
        assert_eq!(Bound::least([Bound::Source(1)]), Bound::Source(1));
        assert!(bound.depends_on(1) && !bound.depends_on(2));
    }
}

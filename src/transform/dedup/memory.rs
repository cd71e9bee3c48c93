//! The keys that are remembered, by spans of event time, so that they are forgotten a span at a time.

use std::hint::black_box;
use std::ops::Range;

use crate::transform::dedup::table::{Entry, Table};

/// Tables of a span: each is so small that building its index anew takes no time that anybody notices.
pub const TABLES: usize = 32;

/// What is remembered about a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// Nothing that is near enough.
    No,
    /// A row with the same content.
    Same,
    /// Rows, all of them with other content.
    Other,
}

/// Keys with their event times.
#[derive(Debug)]
pub struct Memory {
    /// Rows of a key less than this apart are duplicates.
    horizon: u64,
    span: i64,
    /// By number, ascending: there are few, and a row is looked for in several that stand side by side.
    spans: Vec<(i64, Vec<Part>)>,
}

/// A part of the keys of a span.
#[derive(Debug, Default)]
struct Part {
    table: Table,
    /// Number of entries when the last snapshot was taken, and when the one before.
    saved: usize,
    saved_before: usize,
}

impl Memory {
    /// An empty memory for this horizon, cut into spans of this length.
    pub fn new(horizon: i64, span: i64) -> Self {
        Memory { horizon: horizon.unsigned_abs(), span, spans: Vec::new() }
    }

    /// Whether a row of the same key less than the horizon away is remembered.
    pub fn find(&self, row: &Entry) -> Known {
        let Entry { id, time, content } = *row;
        let mut known = Known::No;
        for (_, parts) in &self.spans[self.reach(time)] {
            for near in parts[part_of(id)].table.find(id) {
                if near.time.abs_diff(time) >= self.horizon {
                    continue;
                }
                if near.content == content {
                    return Known::Same;
                }
                known = Known::Other;
            }
        }
        known
    }

    /// Reads what looking for these rows, and inserting them, will read. Each stands somewhere else in a memory
    /// that no cache holds; so the processor waits for all of them at once, and not for one after the other.
    pub fn touch<'r>(&self, rows: impl Iterator<Item = &'r Entry>) {
        let mut seen = 0;
        for row in rows {
            let own = row.time.div_euclid(self.span);
            for (span, parts) in &self.spans[self.reach(row.time)] {
                let table = &parts[part_of(row.id)].table;
                seen ^= u32::from(table.touch(row.id));
                if *span == own {
                    seen ^= table.touch_place(row.id);
                }
            }
        }
        // Nobody wants to know; but what is not used is not read.
        black_box(seen);
    }

    /// The spans in which rows may stand that are less than the horizon away from `time`.
    #[inline]
    fn reach(&self, time: i64) -> Range<usize> {
        let reach = i64::try_from(self.horizon - 1).unwrap_or(i64::MAX);
        let (from, to) = (time.saturating_sub(reach), time.saturating_add(reach));
        let (from, to) = (from.div_euclid(self.span), to.div_euclid(self.span));
        let start = self.spans.partition_point(|(span, _)| *span < from);
        let spans = self.spans[start..].iter().take_while(|(span, _)| *span <= to).count();
        start..start + spans
    }

    /// Remembers a row.
    pub fn insert(&mut self, entry: Entry) {
        let span = entry.time.div_euclid(self.span);
        let place = self.spans.binary_search_by_key(&span, |(span, _)| *span).unwrap_or_else(|place| {
            self.spans.insert(place, (span, (0..TABLES).map(|_| Part::default()).collect()));
            place
        });
        self.spans[place].1[part_of(entry.id)].table.insert(entry);
    }

    /// Forgets the spans of which no moment is newer than `time`.
    pub fn forget(&mut self, time: i64) {
        let gone = match time.checked_add(1).map(|next| next.div_euclid(self.span)) {
            Some(first) => self.spans.partition_point(|(span, _)| *span < first),
            None => self.spans.len(),
        };
        self.spans.drain(..gone);
    }

    /// Number of rows that are remembered.
    pub fn len(&self) -> usize {
        self.parts().map(|part| part.table.len()).sum()
    }

    /// Bytes that it has allocated.
    pub fn bytes(&self) -> usize {
        self.parts().map(|part| size_of::<Part>() + part.table.bytes()).sum()
    }

    /// What is remembered; with `only_new` what has come since the last snapshot.
    pub fn entries(&self, only_new: bool) -> impl Iterator<Item = &Entry> {
        self.parts().flat_map(move |part| part.table.since(if only_new { part.saved } else { 0 }))
    }

    /// All that is remembered now is in a snapshot.
    pub fn saved(&mut self) {
        self.parts_mut().for_each(|part| {
            part.saved_before = std::mem::replace(&mut part.saved, part.table.len());
        });
    }

    /// The last snapshot has failed.
    pub fn save_failed(&mut self) {
        self.parts_mut().for_each(|part| part.saved = part.saved_before);
    }

    fn parts(&self) -> impl Iterator<Item = &Part> {
        self.spans.iter().flat_map(|(_, parts)| parts)
    }

    fn parts_mut(&mut self) -> impl Iterator<Item = &mut Part> {
        self.spans.iter_mut().flat_map(|(_, parts)| parts)
    }
}

/// The number of the table of a key. The key group is not used: a worker has only some of them.
pub fn part_of(id: u128) -> usize {
    (id >> 8) as usize % TABLES
}

#[cfg(test)]
mod tests {
    use xxhash_rust::xxh3::xxh3_128;

    use super::*;

    fn entry(key: u64, time: i64) -> Entry {
        Entry { id: xxh3_128(&key.to_le_bytes()), time, content: key }
    }

    #[test]
    fn a_row_is_known_up_to_the_horizon_in_both_directions() {
        for span in [5, 7, 10, 160] {
            for start in [-1_000, -3, 0, 4, i64::MIN, i64::MAX - 30] {
                let mut memory = Memory::new(10, span);
                let time = start + 15;
                memory.insert(entry(1, time));
                let near: Vec<i64> =
                    (start..start + 30).filter(|t| memory.find(&entry(1, *t)) == Known::Same).collect();
                assert_eq!(near, (time - 9..time + 10).collect::<Vec<_>>(), "span {span}, start {start}");
                assert_eq!(memory.find(&entry(2, time)), Known::No);
                assert_eq!(memory.find(&Entry { content: 5, ..entry(1, time) }), Known::Other);
            }
        }
    }

    #[test]
    fn of_two_near_rows_one_with_the_same_content_is_enough() {
        let mut memory = Memory::new(10, 5);
        memory.insert(Entry { content: 7, ..entry(1, 0) });
        memory.insert(Entry { content: 8, ..entry(1, 10) });
        let found = |time, content| memory.find(&Entry { content, ..entry(1, time) });
        assert_eq!([found(5, 7), found(5, 8), found(5, 9)], [Known::Same, Known::Same, Known::Other]);
        assert_eq!([found(0, 8), found(10, 7)], [Known::Other, Known::Other]);
    }

    #[test]
    fn what_is_forgotten_gives_its_memory_back() {
        let mut memory = Memory::new(100, 50);
        for time in 0..1_000 {
            for key in 0..10 {
                memory.insert(entry(time as u64 * 10 + key, time));
            }
        }
        let (all, bytes) = (memory.len(), memory.bytes());
        assert_eq!(all, 10_000);
        memory.forget(48);
        assert_eq!(memory.len(), all, "the first span holds 49 too");
        memory.forget(49);
        assert_eq!(memory.len(), all - 500);
        memory.forget(899);
        assert_eq!(memory.len(), 1_000);
        assert!(memory.bytes() < bytes / 9, "{} of {bytes} bytes", memory.bytes());
        memory.forget(i64::MAX);
        assert_eq!((memory.len(), memory.bytes()), (0, 0));
    }
}

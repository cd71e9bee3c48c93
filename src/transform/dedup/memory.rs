//! The keys that are remembered, by spans of event time, so that they are forgotten a span at a time.

use std::collections::BTreeMap;

use crate::transform::dedup::table::{Entry, Table};

/// Tables of a span: each is so small that building its index anew takes no time that anybody notices.
const TABLES: usize = 32;

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
    spans: BTreeMap<i64, Vec<Part>>,
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
        Memory { horizon: horizon.unsigned_abs(), span, spans: BTreeMap::new() }
    }

    /// Whether a row of the same key less than the horizon away is remembered.
    pub fn find(&self, row: &Entry) -> Known {
        let Entry { id, time, content } = *row;
        let reach = i64::try_from(self.horizon - 1).unwrap_or(i64::MAX);
        let (from, to) = (time.saturating_sub(reach), time.saturating_add(reach));
        let spans = self.spans.range(from.div_euclid(self.span)..=to.div_euclid(self.span));
        let entries = spans.flat_map(|(_, parts)| parts[part_of(id)].table.find(id));
        let mut known = Known::No;
        for near in entries.filter(|entry| entry.time.abs_diff(time) < self.horizon) {
            if near.content == content {
                return Known::Same;
            }
            known = Known::Other;
        }
        known
    }

    /// Remembers a row.
    pub fn insert(&mut self, entry: Entry) {
        let parts = self.spans.entry(entry.time.div_euclid(self.span));
        let parts = parts.or_insert_with(|| (0..TABLES).map(|_| Part::default()).collect());
        parts[part_of(entry.id)].table.insert(entry);
    }

    /// Forgets the spans of which no moment is newer than `time`.
    pub fn forget(&mut self, time: i64) {
        let first = match time.checked_add(1) {
            Some(next) => next.div_euclid(self.span),
            None => return self.spans.clear(),
        };
        if self.spans.first_key_value().is_some_and(|(span, _)| *span < first) {
            self.spans = self.spans.split_off(&first);
        }
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
        self.spans.values().flatten()
    }

    fn parts_mut(&mut self) -> impl Iterator<Item = &mut Part> {
        self.spans.values_mut().flatten()
    }
}

/// The key group is not used: a worker has only some of them.
fn part_of(id: u128) -> usize {
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

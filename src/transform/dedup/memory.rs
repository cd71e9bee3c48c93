//! The keys that are remembered, by spans of event time, so that they are forgotten a span at a time.

use std::hint::black_box;

use crate::time::EventTime;
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
    /// A row of a key is a duplicate of another that is at most this far away.
    reach: i64,
    span: i64,
    /// In order of their times: there are few, and a row is looked for in several that stand side by side.
    spans: Vec<Span>,
    /// What was near the last row; most of the next ones have the same.
    near: Near,
}

/// The keys of a span of event time.
#[derive(Debug)]
struct Span {
    /// Its first moment and its last one.
    from: EventTime,
    to: EventTime,
    parts: Vec<Part>,
}

/// A part of the keys of a span.
#[derive(Debug, Default)]
struct Part {
    table: Table,
    /// Number of entries when the last snapshot was taken, and when the one before.
    saved: usize,
    saved_before: usize,
}

/// The spans in which rows may stand that are duplicates of a row of some event time.
#[derive(Clone, Copy, Debug)]
struct Near {
    /// From the first of these event times to the last it holds.
    from: EventTime,
    to: EventTime,
    /// Numbers of the first span, and behind the last one.
    start: usize,
    end: usize,
    /// Number of the span of the event time itself.
    own: Option<usize>,
}

impl Near {
    /// Holds for no event time.
    const NEVER: Near = Near { from: EventTime::MAX, to: EventTime::MIN, start: 0, end: 0, own: None };
}

impl Memory {
    /// An empty memory for this horizon, cut into spans of this length. Rows of a key less than the horizon apart are
    /// duplicates.
    pub fn new(horizon: i64, span: i64) -> Self {
        Memory { reach: horizon - 1, span, spans: Vec::new(), near: Near::NEVER }
    }

    /// Whether a row of the same key less than the horizon away is remembered.
    pub fn find(&mut self, row: &Entry) -> Known {
        let Entry { id, time, content } = *row;
        let near = self.near(time);
        let mut known = Known::No;
        for span in &self.spans[near.start..near.end] {
            for other in span.parts[part_of(id)].table.find(id) {
                if other.time.abs_diff(time) > self.reach.unsigned_abs() {
                    continue;
                }
                if other.content == content {
                    return Known::Same;
                }
                known = Known::Other;
            }
        }
        known
    }

    /// Reads what looking for these rows, and inserting them, will read. Each stands somewhere else in a memory
    /// that no cache holds; so the processor waits for all of them at once, and not for one after the other.
    pub fn touch<'r>(&mut self, rows: impl Iterator<Item = &'r Entry>) {
        let mut seen = 0;
        for row in rows {
            let near = self.near(row.time);
            let part = part_of(row.id);
            for span in &self.spans[near.start..near.end] {
                seen ^= span.parts[part].table.index().touch(row.id);
            }
            if let Some(own) = near.own {
                seen ^= u64::from(self.spans[own].parts[part].table.index().touch_number(row.id));
            }
        }
        // Nobody wants to know; but what is not used is not read.
        black_box(seen);
    }

    /// The spans in which rows may stand that are less than the horizon away from `time`.
    #[inline]
    fn near(&mut self, time: EventTime) -> Near {
        if !(self.near.from..=self.near.to).contains(&time) {
            self.near = self.look_around(time);
        }
        self.near
    }

    #[cold]
    fn look_around(&self, time: EventTime) -> Near {
        let Memory { reach, spans, .. } = self;
        let (first, last) = (time.saturating_sub(*reach), time.saturating_add(*reach));
        let start = spans.partition_point(|span| span.to < first);
        let end = start + spans[start..].iter().take_while(|span| span.from <= last).count();
        let Some(own) = (start..end).find(|span| (spans[*span].from..=spans[*span].to).contains(&time))
        else {
            return Near { from: time, to: time, start, end, own: None };
        };
        // Until the next span comes near, or one of these does not: where that is beyond all times, it never does.
        let mut near = Near { from: spans[own].from, to: spans[own].to, start, end, own: Some(own) };
        near.to = near.to.min(spans[start].to.saturating_add(*reach));
        near.from = near.from.max(spans[end - 1].from.saturating_sub(*reach));
        if let Some(before) = start.checked_sub(1) {
            near.from = near.from.max(spans[before].to + reach + 1);
        }
        if let Some(behind) = spans.get(end) {
            near.to = near.to.min(behind.from - reach - 1);
        }
        near
    }

    /// Remembers a row.
    pub fn insert(&mut self, entry: Entry) {
        let own = match self.near(entry.time).own {
            Some(own) => own,
            None => self.new_span(entry.time),
        };
        self.spans[own].parts[part_of(entry.id)].table.insert(entry);
    }

    /// Adds the span of a moment, and gives its number.
    fn new_span(&mut self, time: EventTime) -> usize {
        let from = i128::from(time.div_euclid(self.span)) * i128::from(self.span);
        let moment = |time: i128| time.clamp(EventTime::MIN.into(), EventTime::MAX.into()) as EventTime;
        let (from, to) = (moment(from), moment(from + i128::from(self.span) - 1));
        let place = self.spans.partition_point(|span| span.to < from);
        // Room for as many keys as came in the span just before, since an index that grows is built again and again.
        // Where fewer come, it stays too large until the span is forgotten; it is never larger than that span's was.
        let before = place.checked_sub(1).map(|before| &self.spans[before]);
        let before = before.filter(|span| span.to.checked_add(1) == Some(from));
        let room = |part: usize| before.map_or(0, |span| span.parts[part].table.len());
        let part = |part| Part { table: Table::with_room(room(part)), ..Part::default() };
        let parts = (0..TABLES).map(part).collect();
        self.spans.insert(place, Span { from, to, parts });
        self.near = Near::NEVER;
        place
    }

    /// Forgets the spans of which no moment is newer than `time`.
    pub fn forget(&mut self, time: i64) {
        let gone = self.spans.partition_point(|span| span.to <= time);
        self.spans.drain(..gone);
        self.near = Near::NEVER;
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
        self.spans.iter().flat_map(|span| &span.parts)
    }

    fn parts_mut(&mut self) -> impl Iterator<Item = &mut Part> {
        self.spans.iter_mut().flat_map(|span| &mut span.parts)
    }
}

/// The number of the table of a key. The key group is not used: a worker has only some of them.
pub fn part_of(id: u128) -> usize {
    (id >> 8) as usize % TABLES
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng};
    use rand_pcg::Pcg64Mcg;
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
        let mut found = |time, content| memory.find(&Entry { content, ..entry(1, time) });
        assert_eq!([found(5, 7), found(5, 8), found(5, 9)], [Known::Same, Known::Same, Known::Other]);
        assert_eq!([found(0, 8), found(10, 7)], [Known::Other, Known::Other]);
    }

    #[test]
    fn it_knows_what_a_list_of_all_rows_knows_wherever_the_times_are() {
        const ROWS: usize = 400;
        for seed in 0..200 {
            let random = &mut Pcg64Mcg::seed_from_u64(seed);
            let (horizon, span) = (random.random_range(1..40), random.random_range(1..60));
            let start = [i64::MIN, -300, 0, i64::MAX - 600][random.random_range(0..4)];
            // Some of the times are far from each other, so that there are gaps between the spans.
            let scale = [1, 1, 17][random.random_range(0..3)];
            let (mut memory, mut rows) = (Memory::new(horizon, span), Vec::<Entry>::new());
            for _ in 0..ROWS {
                let time = start + random.random_range(0..600 / scale) * scale;
                let row =
                    Entry { content: random.random_range(0..2), ..entry(random.random_range(0..20), time) };
                let near =
                    |other: &&Entry| other.id == row.id && other.time.abs_diff(time) < horizon.unsigned_abs();
                let expected = match rows.iter().filter(near).map(|other| other.content == row.content).max()
                {
                    None => Known::No,
                    Some(true) => Known::Same,
                    Some(false) => Known::Other,
                };
                memory.touch([row].iter());
                assert_eq!(memory.find(&row), expected, "seed {seed}, {row:?}");
                if random.random_ratio(1, 2) {
                    memory.insert(row);
                    rows.push(row);
                }
                if random.random_ratio(1, 50) {
                    memory.forget(time);
                    let last =
                        |row: &Entry| row.time.div_euclid(span) as i128 * span as i128 + span as i128 - 1;
                    rows.retain(|row| last(row).min(i64::MAX.into()) > time.into());
                }
                assert_eq!(memory.len(), rows.len(), "seed {seed}");
            }
        }
    }

    #[test]
    fn a_span_has_room_for_the_keys_of_the_one_just_before() {
        let mut memory = Memory::new(10, 100);
        for key in 0..10_000 {
            memory.insert(entry(key, 0));
        }
        let index = |memory: &Memory, span: usize| -> usize {
            memory.spans[span].parts.iter().map(|part| part.table.bytes()).sum()
        };
        let full = index(&memory, 0);
        for (time, has_room) in [(-1, false), (200, false), (100, true)] {
            memory.insert(entry(1, time));
            let own = memory.near(time).own.expect("the span of a row");
            assert_eq!(index(&memory, own) > full / 10, has_room, "{time}");
            assert!(index(&memory, own) < full, "{time}");
        }
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

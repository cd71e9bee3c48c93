//! Keys to dense numbers: the interner of a keyed state.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use hashbrown::HashTable;
use xxhash_rust::xxh3::xxh3_64;

/// A group: a number below [`Groups::slots`], given again after the group is gone.
pub type Group = u32;

/// Length of the key of a slot that is free.
const FREE: u32 = u32::MAX;
/// Keys of gone groups that are kept before the others are moved together.
const GARBAGE_BYTES_MIN: usize = 1 << 16;

/// How many slots are kept although nobody needs them; tests have few groups.
pub const SLOTS_MIN: usize = if cfg!(test) { 4 } else { 1024 };

/// The groups of a state with their canonical key bytes and row counts.
#[derive(Debug, Default)]
pub struct Groups {
    table: HashTable<Group>,
    spans: Vec<Span>,
    /// The keys, one after the other, with holes.
    arena: Vec<u8>,
    garbage_bytes: usize,
    /// The lowest is given first, so that the highest slots become free together.
    free: BinaryHeap<Reverse<Group>>,
    /// Sum of the diffs of the rows of each group.
    rows: Vec<i64>,
    /// Sum of `rows`, kept beside it: an epoch that changes one group must not cost a look at all of them.
    total_rows: i64,
}

#[derive(Clone, Copy, Debug)]
struct Span {
    start: u64,
    length: u32,
}

impl Groups {
    /// The group with this key, made if there is none.
    pub fn intern(&mut self, key: &[u8]) -> Group {
        let hash = xxh3_64(key);
        let (spans, arena) = (&self.spans, &self.arena);
        if let Some(group) = self.table.find(hash, |group| bytes(spans, arena, *group) == key) {
            return *group;
        }
        let span = Span { start: self.arena.len() as u64, length: key.len() as u32 };
        self.arena.extend_from_slice(key);
        let group = match self.free.pop() {
            Some(Reverse(group)) => {
                self.spans[group as usize] = span;
                group
            }
            None => {
                self.spans.push(span);
                self.rows.push(0);
                (self.spans.len() - 1) as Group
            }
        };
        let (spans, arena) = (&self.spans, &self.arena);
        self.table.insert_unique(hash, group, |group| xxh3_64(bytes(spans, arena, *group)));
        group
    }

    /// A group without a key, which nobody finds.
    pub fn reserve(&mut self) -> Group {
        let nothing = Span { start: 0, length: FREE };
        self.free.pop().map(|Reverse(group)| group).unwrap_or_else(|| {
            self.spans.push(nothing);
            self.rows.push(0);
            (self.spans.len() - 1) as Group
        })
    }

    /// Gives back a group from [`reserve`](Self::reserve).
    pub fn give_back(&mut self, group: Group) {
        self.free.push(Reverse(group));
    }

    /// The group with this key, if there is one.
    pub fn find(&self, key: &[u8]) -> Option<Group> {
        self.table.find(xxh3_64(key), |group| self.key(*group) == key).copied()
    }

    /// The key of a group.
    pub fn key(&self, group: Group) -> &[u8] {
        bytes(&self.spans, &self.arena, group)
    }

    /// Sum of the diffs of the rows of a group.
    pub fn rows(&self, group: Group) -> i64 {
        self.rows[group as usize]
    }

    /// Sum of the diffs of the rows of all groups.
    pub fn total_rows(&self) -> i64 {
        self.total_rows
    }

    /// Adds to the rows of a group.
    pub fn add_rows(&mut self, group: Group, diff: i64) {
        self.rows[group as usize] += diff;
        self.total_rows += diff;
    }

    /// Forgets a group; its number will be given again.
    pub fn remove(&mut self, group: Group) {
        let key = bytes(&self.spans, &self.arena, group);
        let length = key.len();
        if let Ok(entry) = self.table.find_entry(xxh3_64(key), |other| *other == group) {
            entry.remove();
        }
        self.spans[group as usize].length = FREE;
        self.add_rows(group, -self.rows(group));
        self.free.push(Reverse(group));
        self.garbage_bytes += length;
        if self.garbage_bytes > GARBAGE_BYTES_MIN.max(self.arena.len() / 2) {
            self.compact();
        }
    }

    /// Whether there is a group with this number.
    pub fn holds(&self, group: Group) -> bool {
        self.spans[group as usize].length != FREE
    }

    /// Number of groups that have a key.
    pub fn count(&self) -> usize {
        self.table.len()
    }

    /// Number of slots, those of gone groups included.
    pub fn slots(&self) -> usize {
        self.spans.len()
    }

    /// All groups, in the order of their numbers.
    pub fn iter(&self) -> impl Iterator<Item = Group> {
        let taken = |(_, span): &(usize, &Span)| span.length != FREE;
        self.spans.iter().enumerate().filter(taken).map(|(group, _)| group as Group)
    }

    /// Gives back the memory of gone groups, where it is most of all; whether there are fewer slots now. No group
    /// may be reserved.
    pub fn trim(&mut self) -> bool {
        let slots = self.slots();
        if slots <= SLOTS_MIN || self.table.len() > slots / 4 {
            return false;
        }
        let last = self.spans.iter().rposition(|span| span.length != FREE).map_or(0, |last| last + 1);
        if last > slots / 2 {
            return false;
        }
        self.spans.truncate(last);
        self.spans.shrink_to_fit();
        self.rows.truncate(last);
        self.rows.shrink_to_fit();
        self.free.retain(|Reverse(group)| (*group as usize) < last);
        self.free.shrink_to_fit();
        self.compact();
        let (spans, arena) = (&self.spans, &self.arena);
        self.table.shrink_to_fit(|group| xxh3_64(bytes(spans, arena, *group)));
        true
    }

    /// Bytes of memory.
    pub fn bytes(&self) -> usize {
        let slots = self.spans.capacity() * (size_of::<Span>() + size_of::<i64>());
        slots + self.arena.capacity() + (self.table.capacity() + self.free.capacity()) * size_of::<Group>()
    }

    fn compact(&mut self) {
        let mut arena = Vec::with_capacity(self.arena.len() - self.garbage_bytes);
        for span in self.spans.iter_mut().filter(|span| span.length != FREE) {
            let start = span.start as usize;
            span.start = arena.len() as u64;
            arena.extend_from_slice(&self.arena[start..start + span.length as usize]);
        }
        self.arena = arena;
        self.garbage_bytes = 0;
    }
}

fn bytes<'a>(spans: &[Span], arena: &'a [u8], group: Group) -> &'a [u8] {
    let span = spans[group as usize];
    &arena[span.start as usize..][..span.length as usize]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_keep_their_numbers_while_others_come_and_go() {
        let mut groups = Groups::default();
        let key = |i: usize| format!("a rather long key with number {i}").into_bytes();
        let first: Vec<Group> = (0..5_000).map(|i| groups.intern(&key(i))).collect();
        for i in (0..5_000).filter(|i| i % 10 != 0) {
            groups.remove(first[i]);
        }
        assert!(groups.arena.len() < 5_000 * 31, "gone keys are dropped");
        for i in 5_000..6_000 {
            assert!(groups.intern(&key(i)) < 5_000, "numbers are given again");
        }
        for (i, group) in first.into_iter().enumerate() {
            assert_eq!(groups.find(&key(i)), (i % 10 == 0).then_some(group));
        }
        assert!(groups.iter().all(|group| groups.find(groups.key(group)) == Some(group)));
        assert_eq!((groups.iter().count(), groups.slots()), (1_500, 5_000));
    }

    #[test]
    fn the_total_is_the_sum_of_all_groups() {
        let mut groups = Groups::default();
        for step in 0..1_000u32 {
            let group = groups.intern(&(step * step % 97).to_be_bytes());
            groups.add_rows(group, i64::from(step % 5) - 1);
            if step % 7 == 0 {
                groups.remove(group);
            }
            assert_eq!(groups.total_rows(), groups.iter().map(|group| groups.rows(group)).sum::<i64>());
        }
        assert!(groups.total_rows() > 0);
    }
}

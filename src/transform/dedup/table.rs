//! Remembered keys in little memory: 32 bytes each, and between 6 and 8 for finding them.
//!
//! Entries stand in chunks in the order in which they came and never move, so that growing copies none of
//! them and what has come since a snapshot is known. The index beside them has one byte and one number for
//! each slot. When it is 80 % full, it is built anew by a quarter more; only that of a few entries, or one that
//! had room for more than came, is ever less than 64 % full.

use crate::transform::dedup::index::Index;

/// A key that is remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Names the key: the upper 15 bytes of the 128-bit hash of its canonical bytes, then its key group.
    pub id: u128,
    /// Event time of its row.
    pub time: i64,
    /// Hash of the row's content.
    pub content: u64,
}

/// Entries of a chunk: 4 KiB.
const CHUNK: usize = 128;

/// Entries that are found by their id.
#[derive(Debug, Default)]
pub struct Table {
    /// All are full but the last one.
    chunks: Vec<Vec<Entry>>,
    length: usize,
    /// Finds their numbers.
    index: Index,
}

impl Table {
    /// An empty table whose index has room for so many entries.
    pub fn with_room(entries: usize) -> Self {
        Table { index: Index::new(entries + entries.div_ceil(4)), ..Table::default() }
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.length
    }

    /// The entries from number `from` on, in the order in which they came.
    pub fn since(&self, from: usize) -> impl Iterator<Item = &Entry> {
        let skipped = (from / CHUNK).min(self.chunks.len());
        self.chunks[skipped..].iter().flatten().skip(from - skipped * CHUNK)
    }

    /// The entries with this id.
    #[inline]
    pub fn find(&self, id: u128) -> impl Iterator<Item = &Entry> {
        self.index.find(id).map(|number| self.entry(number)).filter(move |entry| entry.id == id)
    }

    /// The index, to read from it what an entry will need.
    #[inline]
    pub fn index(&self) -> &Index {
        &self.index
    }

    /// Adds an entry; others with its id stay.
    pub fn insert(&mut self, entry: Entry) {
        if (self.length + 1) * 5 > self.index.slots() * 4 {
            self.grow();
        }
        self.index.put(entry.id, u32::try_from(self.length).expect("more entries than memory holds"));
        match self.chunks.last_mut().filter(|chunk| chunk.len() < CHUNK) {
            Some(chunk) => chunk.push(entry),
            None => {
                // Few entries need little room; the chunks of many are whole.
                let mut chunk = Vec::with_capacity(if self.chunks.is_empty() { 4 } else { CHUNK });
                chunk.push(entry);
                self.chunks.push(chunk);
            }
        }
        self.length += 1;
    }

    /// Bytes that it has allocated.
    pub fn bytes(&self) -> usize {
        let entries: usize = self.chunks.iter().map(Vec::capacity).sum();
        entries * size_of::<Entry>() + self.chunks.capacity() * size_of::<Vec<Entry>>() + self.index.bytes()
    }

    fn entry(&self, number: u32) -> &Entry {
        &self.chunks[number as usize / CHUNK][number as usize % CHUNK]
    }

    fn grow(&mut self) {
        let slots = self.index.slots();
        // The old index is gone before the new one is filled.
        self.index = Index::default();
        let mut index = Index::new(slots + slots / 4 + 1);
        self.since(0).zip(0..).for_each(|(entry, number)| index.put(entry.id, number));
        self.index = index;
    }
}

#[cfg(test)]
mod tests {
    use xxhash_rust::xxh3::xxh3_128;

    use super::*;

    fn entry(number: u64) -> Entry {
        Entry { id: xxh3_128(&number.to_le_bytes()), time: number as i64, content: number }
    }

    #[test]
    fn what_is_inserted_is_found_however_many_there_are() {
        let mut table = Table::default();
        assert_eq!(table.find(entry(0).id).count(), 0);
        for number in 0..5_000 {
            table.insert(entry(number));
            let some = [0, number / 2, number];
            assert!(some.iter().all(|n| table.find(entry(*n).id).eq([&entry(*n)])), "{number}");
            assert_eq!(table.find(entry(number + 1).id).count(), 0);
        }
        assert_eq!(table.len(), 5_000);
        for from in [0, 1, 127, 128, 129, 4_999, 5_000] {
            assert!(table.since(from).map(|entry| entry.content).eq(from as u64..5_000), "{from}");
        }
    }

    #[test]
    fn an_index_with_room_does_not_grow() {
        for entries in (0..200).chain([5_000]) {
            let mut table = Table::with_room(entries);
            let slots = table.index.slots();
            (0..entries as u64).for_each(|number| table.insert(entry(number)));
            assert_eq!(table.index.slots(), slots, "{entries}");
        }
    }

    #[test]
    fn an_id_may_stand_more_than_once() {
        let mut table = Table::default();
        for time in 0..100 {
            table.insert(Entry { time, ..entry(7) });
            table.insert(entry(time as u64 + 1_000));
        }
        assert!(table.find(entry(7).id).map(|entry| entry.time).eq(0..100));
    }

    #[test]
    fn an_entry_never_needs_48_bytes() {
        let mut table = Table::default();
        for number in 0..100_000 {
            table.insert(entry(number));
            let bytes = table.bytes() as f64 / table.len() as f64;
            assert!(number < 5_000 || bytes < 44.0, "{bytes} bytes for each of {} entries", table.len());
        }
    }
}

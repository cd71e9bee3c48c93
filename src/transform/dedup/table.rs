//! Remembered keys in little memory: 32 bytes each, and between 6 and 8 for finding them.
//!
//! Entries stand in chunks in the order in which they came and never move, so that growing copies none of
//! them and what has come since a snapshot is known. The index beside them has one byte and one number for
//! each slot and is at least 64 % full; when it grows, it is built anew by a quarter more.

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
/// Tag of a slot that is free.
const FREE: u8 = 0;
const SLOTS_MIN: usize = 8;

/// Entries that are found by their id.
#[derive(Debug, Default)]
pub struct Table {
    /// All are full but the last one.
    chunks: Vec<Vec<Entry>>,
    length: usize,
    /// By slot: a few bits of the id of the entry there.
    tags: Box<[u8]>,
    /// By slot: the number of the entry there.
    places: Box<[u32]>,
}

impl Table {
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
    pub fn find(&self, id: u128) -> Found<'_> {
        let slots = self.tags.len();
        Found { table: self, id, slot: home(id, slots), left: slots }
    }

    /// Reads the memory that looking for an id begins with, and says something about it that is of no use.
    #[inline]
    pub fn touch(&self, id: u128) -> u8 {
        self.tags.get(home(id, self.tags.len())).copied().unwrap_or_default()
    }

    /// The same of the memory that an insertion writes to.
    #[inline]
    pub fn touch_place(&self, id: u128) -> u32 {
        self.places.get(home(id, self.places.len())).copied().unwrap_or_default()
    }

    /// Adds an entry; others with its id stay.
    pub fn insert(&mut self, entry: Entry) {
        if (self.length + 1) * 5 > self.tags.len() * 4 {
            self.grow();
        }
        let place = u32::try_from(self.length).expect("more entries than memory holds");
        occupy(&mut self.tags, &mut self.places, entry.id, place);
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
        let slots = self.tags.len() * (size_of::<u8>() + size_of::<u32>());
        entries * size_of::<Entry>() + self.chunks.capacity() * size_of::<Vec<Entry>>() + slots
    }

    fn entry(&self, place: u32) -> &Entry {
        &self.chunks[place as usize / CHUNK][place as usize % CHUNK]
    }

    fn grow(&mut self) {
        let slots = (self.tags.len() + self.tags.len() / 4).max(SLOTS_MIN);
        // The old index is gone before the new one is filled.
        (self.tags, self.places) = Default::default();
        let (mut tags, mut places) =
            (vec![FREE; slots].into_boxed_slice(), vec![0; slots].into_boxed_slice());
        for (entry, place) in self.since(0).zip(0..) {
            occupy(&mut tags, &mut places, entry.id, place);
        }
        (self.tags, self.places) = (tags, places);
    }
}

/// The entries of a table with an id.
#[derive(Debug)]
pub struct Found<'t> {
    table: &'t Table,
    id: u128,
    slot: usize,
    /// Slots that were not looked at yet.
    left: usize,
}

impl<'t> Iterator for Found<'t> {
    type Item = &'t Entry;

    #[inline]
    fn next(&mut self) -> Option<&'t Entry> {
        let Table { tags, places, .. } = self.table;
        let wanted = tag(self.id);
        while self.left > 0 {
            let (slot, found) = (self.slot, tags[self.slot]);
            if found == FREE {
                self.left = 0;
                return None;
            }
            self.left -= 1;
            self.slot = if slot + 1 == tags.len() { 0 } else { slot + 1 };
            if found == wanted {
                let entry = self.table.entry(places[slot]);
                if entry.id == self.id {
                    return Some(entry);
                }
            }
        }
        None
    }
}

/// Puts an entry into the next free slot.
fn occupy(tags: &mut [u8], places: &mut [u32], id: u128, place: u32) {
    let mut slot = home(id, tags.len());
    while tags[slot] != FREE {
        slot = if slot + 1 == tags.len() { 0 } else { slot + 1 };
    }
    (tags[slot], places[slot]) = (tag(id), place);
}

/// The slot where the search for an id begins.
fn home(id: u128, slots: usize) -> usize {
    (((id >> 64) * slots as u128) >> 64) as usize
}

/// Bits of an id that say nothing of its slot or of its table; never that of a free slot.
fn tag(id: u128) -> u8 {
    let bits = (id >> 16) as u8;
    if bits == FREE { u8::MAX } else { bits }
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

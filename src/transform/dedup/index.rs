//! Finds the numbers of entries by their ids. Slots stand in buckets of eight, whose tags are compared at once; an
//! entry stands in the first bucket from its own on that had a free slot when it came.

/// Slots of a bucket.
const BUCKET: usize = 8;
/// Tag of a slot that is free. So a bucket of free slots is a zero, too.
const FREE: u8 = 0;

/// Slots with the numbers of entries.
#[derive(Debug, Default)]
pub struct Index {
    /// By bucket: of each slot a few bits of the id of the entry there, that of the first slot lowest.
    tags: Box<[u64]>,
    /// By bucket: the numbers of the entries there.
    numbers: Box<[[u32; BUCKET]]>,
}

impl Index {
    /// Free slots, at least so many.
    pub fn new(slots: usize) -> Self {
        let buckets = slots.div_ceil(BUCKET);
        Index {
            tags: vec![0; buckets].into_boxed_slice(),
            numbers: vec![[0; BUCKET]; buckets].into_boxed_slice(),
        }
    }

    /// Number of slots.
    pub fn slots(&self) -> usize {
        self.tags.len() * BUCKET
    }

    /// Bytes that it has allocated.
    pub fn bytes(&self) -> usize {
        size_of_val(&*self.tags) + size_of_val(&*self.numbers)
    }

    /// The numbers of the entries that may have this id.
    #[inline]
    pub fn find(&self, id: u128) -> Candidates<'_> {
        let tag = u64::from(tag(id)) * u64::from_ne_bytes([1; BUCKET]);
        let bucket = self.home(id);
        let matching = self.tags.get(bucket).map_or(0, |tags| zeros(tags ^ tag));
        Candidates { index: self, tag, bucket, left: self.tags.len(), matching }
    }

    /// Puts the number of an entry into the next free slot.
    ///
    /// # Panics
    ///
    /// If there is no slot at all. If none is free, it does not end.
    pub fn put(&mut self, id: u128, number: u32) {
        let mut bucket = self.home(id);
        let slot = loop {
            match first(zeros(self.tags[bucket])) {
                Some(slot) => break slot,
                None => bucket = self.behind(bucket),
            }
        };
        self.tags[bucket] |= u64::from(tag(id)) << (8 * slot);
        self.numbers[bucket][slot] = number;
    }

    /// Reads the memory that looking for an id begins with, and says something about it that is of no use.
    #[inline]
    pub fn touch(&self, id: u128) -> u64 {
        self.tags.get(self.home(id)).copied().unwrap_or_default()
    }

    /// The same of the memory that is written to when an entry with this id comes.
    #[inline]
    pub fn touch_number(&self, id: u128) -> u32 {
        self.numbers.get(self.home(id)).map_or(0, |numbers| numbers[0])
    }

    /// The bucket where the search for an id begins.
    #[inline]
    fn home(&self, id: u128) -> usize {
        (((id >> 64) * self.tags.len() as u128) >> 64) as usize
    }

    #[inline]
    fn behind(&self, bucket: usize) -> usize {
        if bucket + 1 == self.tags.len() { 0 } else { bucket + 1 }
    }
}

/// The numbers of entries that may have an id.
#[derive(Debug)]
pub struct Candidates<'i> {
    index: &'i Index,
    /// The tag that is looked for, eight times.
    tag: u64,
    bucket: usize,
    /// Buckets that are not done, this one included.
    left: usize,
    /// The slots of this bucket with the tag that were not given out yet.
    matching: u64,
}

impl Iterator for Candidates<'_> {
    type Item = u32;

    #[inline]
    fn next(&mut self) -> Option<u32> {
        let Index { tags, numbers } = self.index;
        loop {
            if let Some(slot) = first(self.matching) {
                self.matching &= self.matching - 1;
                return Some(numbers[self.bucket][slot]);
            }
            if self.left <= 1 || zeros(tags[self.bucket]) != 0 {
                return None;
            }
            self.left -= 1;
            self.bucket = self.index.behind(self.bucket);
            self.matching = zeros(tags[self.bucket] ^ self.tag);
        }
    }
}

/// The highest bit of each byte that is zero.
#[inline]
fn zeros(bytes: u64) -> u64 {
    const LOW: u64 = u64::from_ne_bytes([0x7f; BUCKET]);
    // The sum reaches the highest bit of a byte if one of its lower bits is set, and never the next byte.
    !(((bytes & LOW) + LOW) | bytes | LOW)
}

/// The number of the lowest byte that is marked by its highest bit.
#[inline]
fn first(marks: u64) -> Option<usize> {
    (marks != 0).then(|| marks.trailing_zeros() as usize / 8)
}

/// Bits of an id that say nothing of its bucket or of its table; never that of a free slot.
fn tag(id: u128) -> u8 {
    let bits = (id >> 16) as u8;
    if bits == FREE { u8::MAX } else { bits }
}

#[cfg(test)]
mod tests {
    use xxhash_rust::xxh3::xxh3_128;

    use super::*;

    #[test]
    fn bytes_that_are_zero_are_marked_and_no_others() {
        let bytes = [0, 1, 0x7f, 0x80, 0xff, 0];
        for mut pattern in (0..bytes.len().pow(8)).step_by(7) {
            let mut word = [0; BUCKET];
            for byte in &mut word {
                *byte = bytes[pattern % bytes.len()];
                pattern /= bytes.len();
            }
            let marks = word.map(|byte| if byte == 0 { 0x80 } else { 0 });
            assert_eq!(zeros(u64::from_le_bytes(word)), u64::from_le_bytes(marks), "{word:?}");
        }
    }

    #[test]
    fn all_that_is_put_is_found_until_no_slot_is_free() {
        for slots in [1, 8, 16, 200] {
            let mut index = Index::new(slots);
            let id = |number: u32| xxh3_128(&(number / 3).to_le_bytes());
            for number in 0..index.slots() as u32 {
                index.put(id(number), number);
                for known in 0..=number {
                    assert!(index.find(id(known)).any(|found| found == known), "{known} of {number}");
                }
            }
        }
        assert_eq!(Index::default().find(1).count(), 0);
    }
}

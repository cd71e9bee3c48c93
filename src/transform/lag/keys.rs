//! Keys, and the last values of each.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use crate::transform::aggregate::state::vector;

/// A key by its number.
pub type Key = u32;

/// All keys that were ever seen. Their number grows; what is kept of each does not.
#[derive(Default)]
pub struct Keys {
    numbers: HashMap<Arc<[u8]>, Key>,
    bytes: Vec<Arc<[u8]>>,
    /// Of each key, one after the other: for each value the last ones, the oldest first.
    last: Vec<VecDeque<Box<[u8]>>>,
    /// How many values there are.
    width: usize,
    /// Bytes of keys and values, and number of the values.
    held_bytes: usize,
    values: usize,
    /// Whether there is a snapshot that a delta can stand on.
    based: bool,
    based_before: bool,
    /// Keys that have changed since the last snapshot, and between the last two.
    changed: BTreeSet<Key>,
    changed_before: BTreeSet<Key>,
}

impl Keys {
    /// No key yet; `width` values will be kept of each.
    pub fn new(width: usize) -> Self {
        Keys { width, ..Keys::default() }
    }

    /// The number of a key, given its canonical bytes.
    pub fn intern(&mut self, bytes: &[u8]) -> Key {
        if let Some(number) = self.numbers.get(bytes) {
            return *number;
        }
        let (bytes, number): (Arc<[u8]>, _) = (bytes.into(), self.bytes.len() as Key);
        self.held_bytes += bytes.len();
        self.numbers.insert(bytes.clone(), number);
        self.bytes.push(bytes);
        self.last.resize(self.last.len() + self.width, VecDeque::new());
        number
    }

    /// Canonical bytes of a key.
    pub fn bytes(&self, key: Key) -> &[u8] {
        &self.bytes[key as usize]
    }

    /// Adds a value to the last ones of value `number` of a key, of which there are at most `most`; gives the one
    /// that it takes the place of.
    pub fn push(&mut self, key: Key, number: usize, value: &[u8], most: usize) -> Option<Box<[u8]>> {
        let last = &mut self.last[key as usize * self.width + number];
        let front = if last.len() == most { last.pop_front() } else { None };
        self.held_bytes += value.len();
        self.held_bytes -= front.as_ref().map_or(0, |front| front.len());
        self.values += usize::from(front.is_none());
        last.push_back(value.into());
        front
    }

    /// The one that the next value takes the place of.
    pub fn first(&self, key: Key, number: usize, most: usize) -> Option<&[u8]> {
        let last = &self.last[key as usize * self.width + number];
        if last.len() == most { last.front().map(AsRef::as_ref) } else { None }
    }

    /// Bytes of keys and values, and number of the values.
    #[cfg(test)]
    pub fn held(&self) -> (usize, usize) {
        (self.held_bytes, self.values)
    }

    /// About how many bytes of memory they take, with what is kept of them.
    pub fn memory_bytes(&self) -> usize {
        // Each key is known by its bytes in two places, which share them.
        let numbers = self.numbers.capacity() * size_of::<(Arc<[u8]>, Key)>();
        let values = self.values * size_of::<Box<[u8]>>();
        numbers + vector(&self.bytes) + vector(&self.last) + values + self.held_bytes
    }

    /// The last ones of all values of a key as bytes: of each value their number, then length and bytes of each.
    pub fn encode(&self, key: Key) -> Vec<u8> {
        let start = key as usize * self.width;
        let mut bytes = Vec::new();
        for last in &self.last[start..start + self.width] {
            bytes.extend((last.len() as u32).to_be_bytes());
            for value in last {
                bytes.extend((value.len() as u32).to_be_bytes());
                bytes.extend(&value[..]);
            }
        }
        bytes
    }

    /// Puts back what [`encode`](Self::encode) gave; `None` if it gave something else.
    pub fn decode(&mut self, key: Key, mut bytes: &[u8]) -> Option<()> {
        fn number(bytes: &mut &[u8]) -> Option<usize> {
            let (number, rest) = bytes.split_first_chunk::<4>()?;
            *bytes = rest;
            Some(u32::from_be_bytes(*number) as usize)
        }
        for value in 0..self.width {
            let count = number(&mut bytes)?;
            let old = std::mem::take(&mut self.last[key as usize * self.width + value]);
            self.held_bytes -= old.iter().map(|value| value.len()).sum::<usize>();
            self.values -= old.len();
            for _ in 0..count {
                let length = number(&mut bytes)?;
                let (kept, rest) = bytes.split_at_checked(length)?;
                self.push(key, value, kept, count);
                bytes = rest;
            }
        }
        bytes.is_empty().then_some(())
    }

    /// Something of a key has changed.
    pub fn change(&mut self, key: Key) {
        if self.based {
            self.changed.insert(key);
        }
    }

    /// The keys that a snapshot holds: all of them, or those that have changed since the last one.
    pub fn start_snapshot(&mut self, full: bool) -> Vec<Key> {
        let keys = match full || !self.based {
            true => (0..self.bytes.len() as Key).collect(),
            false => self.changed.iter().copied().collect(),
        };
        self.changed_before = std::mem::take(&mut self.changed);
        (self.based_before, self.based) = (self.based, true);
        keys
    }

    /// The last snapshot has failed: what it held counts as changed again.
    pub fn snapshot_failed(&mut self) {
        self.based = self.based_before;
        self.changed.append(&mut self.changed_before);
        if !self.based {
            self.changed.clear();
        }
    }
}

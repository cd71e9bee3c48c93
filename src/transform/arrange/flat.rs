//! How keys and rows lie in an arrangement: one behind the other, without a piece of memory for each.

use differential_dataflow::trace::implementations::{BatchContainer, Layout, OffsetList};
use timely::container::PushInto;

use crate::time::Epoch;

/// The layout of arrangements of bytes by bytes.
pub struct Flat;

impl Layout for Flat {
    type KeyContainer = Texts;
    type ValContainer = Texts;
    type TimeContainer = Vec<Epoch>;
    type DiffContainer = Vec<isize>;
    type OffsetContainer = OffsetList;
}

/// Byte strings. With vectors in their place, an arrangement of short rows needs twice as much memory.
pub struct Texts {
    /// Where each ends.
    ends: OffsetList,
    bytes: Vec<u8>,
}

impl Texts {
    fn with_room(count: usize, bytes: usize) -> Self {
        Texts { ends: OffsetList::with_capacity(count), bytes: Vec::with_capacity(bytes) }
    }

    fn push(&mut self, text: &[u8]) {
        self.bytes.extend_from_slice(text);
        self.ends.push(self.bytes.len());
    }
}

impl PushInto<Vec<u8>> for Texts {
    fn push_into(&mut self, text: Vec<u8>) {
        self.push(&text);
    }
}

impl BatchContainer for Texts {
    type Owned = Vec<u8>;
    type ReadItem<'a> = &'a [u8];

    fn into_owned(text: &[u8]) -> Vec<u8> {
        text.to_vec()
    }

    fn push_ref(&mut self, text: &[u8]) {
        self.push(text);
    }

    fn push_own(&mut self, text: &Vec<u8>) {
        self.push(text);
    }

    fn clear(&mut self) {
        self.ends = OffsetList::with_capacity(0);
        self.bytes.clear();
    }

    fn with_capacity(count: usize) -> Self {
        Texts::with_room(count, 0)
    }

    fn merge_capacity(left: &Self, right: &Self) -> Self {
        Texts::with_room(left.len() + right.len(), left.bytes.len() + right.bytes.len())
    }

    fn reborrow<'b, 'a: 'b>(text: &'a [u8]) -> &'b [u8] {
        text
    }

    fn index(&self, index: usize) -> &[u8] {
        let start = index.checked_sub(1).map_or(0, |before| self.ends.index(before));
        &self.bytes[start..self.ends.index(index)]
    }

    fn len(&self) -> usize {
        self.ends.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_come_back_as_they_were() {
        let texts: Vec<Vec<u8>> = (0..200u8).map(|n| vec![n; usize::from(n % 7)]).collect();
        let mut flat = Texts::with_capacity(3);
        assert!(flat.is_empty());
        for round in 0..2 {
            for (at, text) in texts.iter().enumerate() {
                match at % 3 {
                    0 => flat.push_into(text.clone()),
                    1 => flat.push_own(text),
                    _ => flat.push_ref(text),
                }
                assert_eq!(flat.last(), Some(&text[..]), "round {round}");
            }
            assert_eq!(flat.len(), texts.len());
            assert!(texts.iter().enumerate().all(|(at, text)| flat.get(at) == Some(text)));
            assert_eq!(flat.get(texts.len()), None);
            flat.clear();
        }
        assert_eq!(Texts::merge_capacity(&flat, &flat).len(), 0);
    }
}

//! A text that is looked for at one place after the other.

/// A text with its beginning as words: most are compared by two steps without a loop.
#[derive(Clone, Debug, Default)]
pub struct Literal {
    text: Box<[u8]>,
    /// The first bytes, zeros behind the end.
    head: [u128; 2],
    /// Which of them belong to the text.
    mask: [u128; 2],
}

const WORD: usize = size_of::<u128>();

impl Literal {
    /// The literal of a text.
    pub fn new(text: &str) -> Self {
        let (mut head, mut mask) = ([[0; WORD]; 2], [[0; WORD]; 2]);
        for (at, byte) in text.bytes().take(2 * WORD).enumerate() {
            head[at / WORD][at % WORD] = byte;
            mask[at / WORD][at % WORD] = u8::MAX;
        }
        let words = |words: [[u8; WORD]; 2]| words.map(u128::from_le_bytes);
        Literal { text: text.as_bytes().into(), head: words(head), mask: words(mask) }
    }

    /// Number of its bytes.
    #[inline]
    pub fn len(&self) -> usize {
        self.text.len()
    }

    /// Whether it is no text.
    pub fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// Whether `bytes` are this text and nothing else.
    #[inline]
    pub fn is(&self, bytes: &[u8]) -> bool {
        *self.text == *bytes
    }

    /// Whether `bytes` begin with this text.
    #[inline]
    pub fn begins(&self, bytes: &[u8]) -> bool {
        if let Some((first, rest)) = bytes.split_first_chunk::<WORD>() {
            if (u128::from_le_bytes(*first) ^ self.head[0]) & self.mask[0] != 0 {
                return false;
            }
            if self.len() <= WORD {
                return true;
            }
            if let Some(second) = rest.first_chunk::<WORD>().filter(|_| self.len() <= 2 * WORD) {
                return (u128::from_le_bytes(*second) ^ self.head[1]) & self.mask[1] == 0;
            }
        }
        bytes.starts_with(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_literal_of_any_length_is_found_where_it_stands_and_nowhere_else() {
        let text: String = (0..100).map(|at| char::from(b'a' + at % 26)).collect();
        for length in 0..60 {
            let literal = Literal::new(&text[..length]);
            assert_eq!((literal.len(), literal.is_empty()), (length, length == 0));
            for end in 0..text.len() {
                assert_eq!(literal.begins(&text.as_bytes()[..end]), end >= length, "{length} in {end}");
                assert_eq!(literal.is(&text.as_bytes()[..end]), end == length);
            }
            for at in 0..length {
                for end in [length, length + 1, text.len()] {
                    let mut other = text.as_bytes()[..end].to_vec();
                    other[at] ^= 1;
                    assert!(!literal.begins(&other), "{length} in {end} with another byte {at}");
                }
            }
        }
    }
}

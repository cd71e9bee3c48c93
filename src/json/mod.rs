//! Reading JSON text where it lies: tokens are spans of the text, nothing is built and nothing is copied.
//!
//! Written by hand because of what the product promises and no library offers together: text of a value
//! exactly as written (also of numbers beyond any type), a bound on nesting that holds for skipped values
//! too (libraries recurse into these and overflow the stack), and no failure of a record over a number that
//! nobody reads. The grammar is RFC 8259; the same mutated documents are accepted as by `serde_json`.

mod access;
mod escape;
mod literal;
mod plain;
mod scan;
#[cfg(test)]
mod tests;

use std::fmt;
use std::ops::Range;

pub use access::{element, field, is_json};
pub use escape::{unescape, write_string};
pub use literal::Literal;
pub use scan::Scanner;

/// Whether a text is one JSON value.
pub fn is_value(text: &str) -> bool {
    let mut scanner = Scanner::new(text);
    scanner.value(0).and_then(|_| scanner.end()).is_ok()
}

/// How many containers may be open at once.
pub const DEPTH_MAX: u32 = 128;

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// There is none.
    Missing,
    Null,
    True,
    False,
    /// A number without fraction and exponent.
    Integer,
    /// Any other number.
    Decimal,
    /// A string without escapes.
    Text,
    /// A string that has to be unescaped.
    Escaped,
    Object,
    Array,
}

/// A value, or a key, as a span of the text. It is given back in two registers, in an `Option` too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token {
    pub kind: Kind,
    /// Where it begins; in the upper half where it ends.
    place: u64,
}

impl Token {
    /// No token.
    pub const MISSING: Token = Token { kind: Kind::Missing, place: 0 };

    #[inline(always)]
    fn new(kind: Kind, start: usize, end: usize) -> Self {
        Token { kind, place: start as u64 | (end as u64) << 32 }
    }

    #[inline(always)]
    fn start(self) -> usize {
        self.place as u32 as usize
    }

    #[inline(always)]
    fn end(self) -> usize {
        (self.place >> 32) as usize
    }

    /// The text without the quotes of a string. `text` is what was scanned.
    #[inline]
    pub fn body(self, text: &str) -> &str {
        &text[self.start()..self.end()]
    }

    /// The text as it stands in the document, quotes included.
    pub fn raw(self, text: &str) -> &str {
        &text[self.span()]
    }

    /// Where that lies.
    #[inline]
    pub fn span(self) -> Range<usize> {
        match self.kind {
            Kind::Text | Kind::Escaped => self.start() - 1..self.end() + 1,
            _ => self.start()..self.end(),
        }
    }

    /// The content of a string; `scratch` holds it where it had to be unescaped.
    #[inline]
    pub fn content<'t>(self, text: &'t str, scratch: &'t mut String) -> &'t str {
        if self.kind != Kind::Escaped {
            return self.body(text);
        }
        self.unescaped(text, scratch)
    }

    #[cold]
    fn unescaped<'t>(self, text: &str, scratch: &'t mut String) -> &'t str {
        scratch.clear();
        // The scanner has seen that the escapes are good.
        let _ = unescape(self.body(text), |part| scratch.push_str(part));
        scratch
    }
}

/// Why a text is not JSON, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed {
    pub problem: &'static str,
    /// Byte of the text, from 0.
    pub at: usize,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at byte {}", self.problem, self.at)
    }
}

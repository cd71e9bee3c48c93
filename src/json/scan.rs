//! The scanner: from a text to tokens, one value after the other.

use super::plain::plain_end;
use super::{DEPTH_MAX, Kind, Literal, Malformed, Token, unescape};

/// Reads a JSON text from its beginning. A copy reads on by itself.
///
/// ```
/// use tidemill::json::{Kind, Scanner};
///
/// let text = r#"{"soc": 100, "on": true}"#;
/// let mut scanner = Scanner::new(text);
/// assert!(scanner.enter_object(0)?);
/// let key = scanner.next_key(true)?.expect("a key");
/// let value = scanner.value(1)?;
/// assert_eq!((key.body(text), value.raw(text), value.kind), ("soc", "100", Kind::Integer));
/// # Ok::<(), tidemill::json::Malformed>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Scanner<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
}

type Result<T> = std::result::Result<T, Malformed>;

impl<'a> Scanner<'a> {
    /// A scanner at the beginning of a text of less than 4 GiB.
    pub fn new(text: &'a str) -> Self {
        debug_assert!(u32::try_from(text.len()).is_ok(), "tokens have 32-bit positions");
        Scanner { text, bytes: text.as_bytes(), at: 0 }
    }

    /// Steps into the object that comes next. `false` and no step if it is another value. `depth` is the
    /// number of containers that are open already.
    #[inline(always)]
    pub fn enter_object(&mut self, depth: u32) -> Result<bool> {
        if self.next_byte() != b'{' {
            return Ok(false);
        }
        if depth >= DEPTH_MAX {
            return self.fail("nested too deeply");
        }
        self.at += 1;
        Ok(true)
    }

    /// Steps into the array that comes next. `false` and no step if it is another value.
    pub fn enter_array(&mut self, depth: u32) -> Result<bool> {
        if self.next_byte() != b'[' {
            return Ok(false);
        }
        if depth >= DEPTH_MAX {
            return self.fail("nested too deeply");
        }
        self.at += 1;
        Ok(true)
    }

    /// Steps to the next element of the array that was entered. `false`, and a step out of it, at its end.
    pub fn next_element(&mut self, first: bool) -> Result<bool> {
        match self.next_byte() {
            b']' => {
                self.at += 1;
                return Ok(false);
            }
            b',' if !first => self.at += 1,
            _ if first => {}
            _ => return self.fail("expected ',' or ']'"),
        }
        Ok(true)
    }

    /// The next key of the object that was entered; its value comes next. `None`, and a step out of the
    /// object, at its end. `first` says that no key of it was read yet.
    #[inline]
    pub fn next_key(&mut self, first: bool) -> Result<Option<Token>> {
        if self.next_member(first)? { self.key().map(Some) } else { Ok(None) }
    }

    /// Steps to the next key of the object that was entered. `false`, and a step out of it, at its end.
    #[inline(always)]
    pub fn next_member(&mut self, first: bool) -> Result<bool> {
        match self.next_byte() {
            b'}' => {
                self.at += 1;
                return Ok(false);
            }
            b',' if !first => self.at += 1,
            _ if first => {}
            _ => return self.fail("expected ',' or '}'"),
        }
        Ok(true)
    }

    /// The next key, if it is written without escapes and a colon follows; else nothing happens. What
    /// [`key`](Scanner::key) gives, without saying why there is none.
    #[inline(always)]
    pub fn plain_key(&mut self) -> Option<Token> {
        let mut behind = *self;
        if behind.next_byte() != b'"' {
            return None;
        }
        let (start, end) = (behind.at + 1, plain_end(self.bytes, behind.at + 1));
        behind.at = end + 1;
        if self.byte(end) != b'"' || behind.next_byte() != b':' {
            return None;
        }
        self.at = behind.at + 1;
        Some(Token::new(Kind::Text, start, end))
    }

    /// The next key; its value comes next.
    #[inline]
    pub fn key(&mut self) -> Result<Token> {
        if self.next_byte() != b'"' {
            return self.fail("expected a key");
        }
        let key = self.string()?;
        if self.next_byte() != b':' {
            return self.fail("expected ':'");
        }
        self.at += 1;
        Ok(key)
    }

    /// Steps over a text, white space and all, if it comes next. Who takes a text leaves the grammar to whoever
    /// has found it at the same place of another document.
    #[inline]
    pub fn take(&mut self, literal: &Literal) -> bool {
        let found = self.bytes.get(self.at..).is_some_and(|rest| literal.begins(rest));
        self.at += if found { literal.len() } else { 0 };
        found
    }

    /// Whether a text, white space and all, is what is left.
    #[inline]
    pub fn ends_with(&self, literal: &Literal) -> bool {
        self.bytes.get(self.at..).is_some_and(|rest| literal.is(rest))
    }

    /// Whether an object comes next.
    #[inline]
    pub fn at_object(&mut self) -> bool {
        self.next_byte() == b'{'
    }

    /// The value that comes next. `depth` is the number of containers that are open.
    #[inline(always)]
    pub fn value(&mut self, depth: u32) -> Result<Token> {
        let start = *self;
        match self.found(depth) {
            Some(value) => Ok(value),
            None => Err(start.why_none(depth)),
        }
    }

    /// The same, without saying why there is none: what values mostly are is looked at here, and the token stays
    /// in registers.
    #[inline(always)]
    pub fn found(&mut self, depth: u32) -> Option<Token> {
        let next = self.next_byte();
        if next == b'"' {
            let (start, end) = (self.at + 1, plain_end(self.bytes, self.at + 1));
            if self.byte(end) == b'"' {
                self.at = end + 1;
                return Some(Token::new(Kind::Text, start, end));
            }
        } else if next == b'-' || next.is_ascii_digit() {
            return self.try_number();
        }
        let token = value_at(self.text, self.at, depth)?;
        self.at = token.span().end;
        Some(token)
    }

    #[cold]
    fn why_none(mut self, depth: u32) -> Malformed {
        self.any_value(depth).expect_err("what is a value was found")
    }

    fn any_value(&mut self, depth: u32) -> Result<Token> {
        match self.next_byte() {
            b'{' | b'[' => self.container(depth),
            _ => self.scalar(),
        }
    }

    /// A token from `start`, where [`position`](Scanner::position) was before an object was entered, to here.
    #[inline(always)]
    pub fn object_since(&self, start: usize) -> Token {
        Token::new(Kind::Object, start, self.at)
    }

    /// The byte that comes next; the length of the text at its end.
    #[inline(always)]
    pub fn position(&mut self) -> usize {
        self.next_byte();
        self.at
    }

    /// Whether nothing follows but white space.
    pub fn end(&mut self) -> Result<()> {
        self.next_byte();
        if self.at < self.bytes.len() { self.fail("something follows the end of the object") } else { Ok(()) }
    }

    #[inline(always)]
    fn scalar(&mut self) -> Result<Token> {
        match self.byte(self.at) {
            b'"' => self.string(),
            b'-' | b'0'..=b'9' => self.number(),
            b't' => self.literal("true", Kind::True),
            b'f' => self.literal("false", Kind::False),
            b'n' => self.literal("null", Kind::Null),
            _ => self.fail("expected a value"),
        }
    }

    /// A whole object or array. Keeps a bit per open container in place of recursion.
    fn container(&mut self, depth: u32) -> Result<Token> {
        let start = self.at;
        let mut objects = 0u128;
        let mut open = 0;
        loop {
            let bracket = self.next_byte();
            if bracket == b'{' || bracket == b'[' {
                if depth + open >= DEPTH_MAX {
                    return self.fail("nested too deeply");
                }
                open += 1;
                objects = objects << 1 | u128::from(bracket == b'{');
                self.at += 1;
                match (self.next_byte(), bracket) {
                    (b'}', b'{') | (b']', b'[') => {}
                    (_, b'{') => {
                        self.key()?;
                        continue;
                    }
                    _ => continue,
                }
            } else {
                self.scalar()?;
            }
            if self.close(&mut objects, &mut open)? {
                let kind = if self.bytes[start] == b'{' { Kind::Object } else { Kind::Array };
                return Ok(Token::new(kind, start, self.at));
            }
        }
    }

    /// Behind a value: closes containers up to the next comma, and reads the key behind it in an object.
    /// `true` when none is open any more.
    #[inline]
    fn close(&mut self, objects: &mut u128, open: &mut u32) -> Result<bool> {
        while *open > 0 {
            match (self.next_byte(), *objects & 1) {
                (b',', 1) => {
                    self.at += 1;
                    self.key()?;
                    return Ok(false);
                }
                (b',', _) => {
                    self.at += 1;
                    return Ok(false);
                }
                (b'}', 1) | (b']', 0) => {
                    self.at += 1;
                    *objects >>= 1;
                    *open -= 1;
                }
                _ => return self.fail("expected ',' or the end of the container"),
            }
        }
        Ok(true)
    }

    #[inline(always)]
    fn string(&mut self) -> Result<Token> {
        let start = self.at + 1;
        let mut escaped = false;
        self.at = plain_end(self.bytes, start);
        while self.byte(self.at) != b'"' {
            if self.byte(self.at) != b'\\' {
                return self.fail("control character in a string");
            }
            escaped = true;
            // Whatever is escaped, a quote too, is passed over here and judged below.
            self.at = plain_end(self.bytes, self.at + 2);
        }
        let end = self.at;
        self.at += 1;
        if escaped {
            unescape(&self.text[start..end], |_| ()).map_err(|problem| Malformed { problem, at: start })?;
            return Ok(Token::new(Kind::Escaped, start, end));
        }
        Ok(Token::new(Kind::Text, start, end))
    }

    fn number(&mut self) -> Result<Token> {
        match self.try_number() {
            Some(number) => Ok(number),
            None => self.fail("expected a digit"),
        }
    }

    /// `None` where a digit is missing.
    #[inline(always)]
    fn try_number(&mut self) -> Option<Token> {
        let start = self.at;
        let mut kind = Kind::Integer;
        self.at += usize::from(self.byte(start) == b'-');
        if self.byte(self.at) == b'0' {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.byte(self.at) == b'.' {
            kind = Kind::Decimal;
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.byte(self.at), b'e' | b'E') {
            kind = Kind::Decimal;
            self.at += 1;
            self.at += usize::from(matches!(self.byte(self.at), b'+' | b'-'));
            self.digits()?;
        }
        Some(Token::new(kind, start, self.at))
    }

    /// One digit or more.
    #[inline(always)]
    fn digits(&mut self) -> Option<()> {
        let start = self.at;
        while self.byte(self.at).is_ascii_digit() {
            self.at += 1;
        }
        (self.at > start).then_some(())
    }

    #[inline]
    fn literal(&mut self, word: &'static str, kind: Kind) -> Result<Token> {
        if !self.bytes[self.at..].starts_with(word.as_bytes()) {
            return self.fail("expected a value");
        }
        self.at += word.len();
        Ok(Token::new(kind, self.at - word.len(), self.at))
    }

    /// Passes white space; gives the byte behind it.
    #[inline(always)]
    fn next_byte(&mut self) -> u8 {
        loop {
            let byte = self.byte(self.at);
            if byte > b' ' || !matches!(byte, b' ' | b'\n' | b'\r' | b'\t') {
                return byte;
            }
            self.at += 1;
        }
    }

    /// The byte at a position; behind the end a zero, which is nowhere allowed.
    #[inline(always)]
    fn byte(&self, at: usize) -> u8 {
        self.bytes.get(at).copied().unwrap_or(0)
    }

    /// Takes a copy of the scanner: one that nobody points to can stay in registers.
    #[cold]
    fn fail<T>(self, problem: &'static str) -> Result<T> {
        let cut = self.at >= self.bytes.len();
        Err(Malformed {
            problem: if cut { "unexpected end" } else { problem },
            at: self.at.min(self.bytes.len()),
        })
    }
}

/// The value at a position. A function of its own, with nothing to look at but the text, so that the scanner of
/// who calls it need not be in memory.
#[inline(never)]
fn value_at(text: &str, at: usize, depth: u32) -> Option<Token> {
    let mut scanner = Scanner { at, ..Scanner::new(text) };
    scanner.any_value(depth).ok()
}

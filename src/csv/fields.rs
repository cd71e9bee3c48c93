//! The fields of one record.

use std::fmt;

use csv_core::{ReadFieldResult, Reader};

use super::Dialect;
use crate::json::Malformed;

/// The fields of a record, to be used again for the next one.
#[derive(Debug, Default)]
pub struct Fields {
    /// Contents of all fields, one behind the other, and perhaps rest of earlier ones.
    content: Vec<u8>,
    fields: Vec<Field>,
    count: usize,
}

#[derive(Clone, Copy, Debug)]
struct Field {
    start: usize,
    end: usize,
    quoted: bool,
}

impl Fields {
    /// Number of fields, also of those that are not kept.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Content of a field without its quotes, and whether it stood in quotes. `None` if it is not kept.
    pub fn get(&self, index: usize) -> Option<(&str, bool)> {
        let field = self.fields.get(index)?;
        // Fields end at ASCII characters of a text.
        let content = str::from_utf8(&self.content[field.start..field.end]).ok()?;
        Some((content, field.quoted))
    }
}

/// Finds the fields of a record.
pub struct Parser {
    core: Reader,
    quote: u8,
}

impl Parser {
    /// A parser of records of this kind.
    pub fn new(dialect: &Dialect) -> Self {
        Parser { core: dialect.reader(), quote: dialect.quote }
    }

    /// Fills `out` from the text of one record, with or without its line break. At most `keep` fields are
    /// kept; those behind are only counted.
    pub fn parse(&mut self, text: &str, keep: usize, out: &mut Fields) -> Result<(), Malformed> {
        out.fields.clear();
        out.count = 0;
        self.core.reset();
        let input = text.trim_matches(BREAKS).as_bytes();
        // Positions are told as they are in `text`.
        let first = text.len() - text.trim_start_matches(BREAKS).len();
        if input.is_empty() {
            return Err(Malformed { problem: "empty", at: first });
        }
        if out.content.len() < input.len() {
            out.content.resize(input.len(), 0);
        }
        let (mut at, mut filled, mut ended) = (0, 0, false);
        while !ended {
            let (start, begin) = (at, filled);
            let raw;
            (raw, ended) = self
                .field(input, &mut at, &mut out.content, &mut filled)
                .map_err(|problem| Malformed { problem, at: first + start })?;
            let quoted = raw.first() == Some(&self.quote);
            if quoted && !self.is_closed(raw, &out.content[begin..filled]) {
                return Err(Malformed { problem: "something follows the closing quote", at: first + start });
            }
            if out.fields.len() < keep {
                out.fields.push(Field { start: begin, end: filled, quoted });
            }
            out.count += 1;
        }
        if at < input.len() {
            return Err(Malformed { problem: "a second record begins", at: first + at });
        }
        Ok(())
    }

    /// The field at `at` as it is written, and whether it is the last one.
    fn field<'i>(
        &mut self,
        input: &'i [u8],
        at: &mut usize,
        content: &mut [u8],
        filled: &mut usize,
    ) -> Result<(&'i [u8], bool), &'static str> {
        let start = *at;
        if start < input.len() {
            let (result, read, written) = self.core.read_field(&input[start..], &mut content[*filled..]);
            *at += read;
            *filled += written;
            match result {
                ReadFieldResult::Field { record_end } => return Ok((&input[start..*at - 1], record_end)),
                ReadFieldResult::InputEmpty => {}
                // The content is never longer than the text.
                ReadFieldResult::OutputFull | ReadFieldResult::End => return Err("not a field"),
            }
        }
        // A line break ends the last field, unless it is one of the characters inside of open quotes.
        match self.core.read_field(b"\n", &mut [0; 8]) {
            (ReadFieldResult::Field { .. }, _, 0) => Ok((&input[start..], true)),
            _ => Err("a quote is not closed"),
        }
    }

    /// Whether a field that begins with a quote consists of what stands in quotes and nothing else: behind the
    /// closing quote, quotes would not have been doubled.
    fn is_closed(&self, raw: &[u8], content: &[u8]) -> bool {
        let quotes = content.iter().filter(|byte| **byte == self.quote).count();
        raw.len() >= 2 && raw.last() == Some(&self.quote) && raw.len() == content.len() + quotes + 2
    }
}

const BREAKS: [char; 2] = ['\r', '\n'];

impl fmt::Debug for Parser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parser").field("quote", &(self.quote as char)).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng};

    use super::super::Cutter;
    use super::*;

    /// Quoted fields are shown in angle brackets.
    fn parsed(text: &str) -> Result<Vec<String>, String> {
        let mut fields = Fields::default();
        let parser = &mut Parser::new(&Dialect::default());
        parser.parse(text, usize::MAX, &mut fields).map_err(|malformed| malformed.to_string())?;
        let show = |index| match fields.get(index).expect("kept") {
            (content, true) => format!("<{content}>"),
            (content, false) => content.to_owned(),
        };
        Ok((0..fields.count()).map(show).collect())
    }

    #[test]
    fn fields_are_told_apart_also_quoted_from_empty_ones() {
        for (text, fields) in [
            ("a", &["a"] as &[&str]),
            ("a,b\r\n", &["a", "b"]),
            (",", &["", ""]),
            ("\"\",,\"\"", &["<>", "", "<>"]),
            ("a,\n", &["a", ""]),
            ("\n\"a\nb\",\"c\r\nd\"\n", &["<a\nb>", "<c\r\nd>"]),
            ("\"say \"\"x\"\"\",\"\"\"\"", &["<say \"x\">", "<\">"]),
            ("a\"b,c\"", &["a\"b", "c\""]),
            (" \"a\" , b", &[" \"a\" ", " b"]),
            ("é,\"🚗,\"", &["é", "<🚗,>"]),
            ("\0,\t", &["\0", "\t"]),
        ] {
            assert_eq!(
                parsed(text).as_deref(),
                Ok(&fields.iter().map(|f| (*f).to_owned()).collect::<Vec<_>>()[..]),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_no_record_is_refused() {
        for (text, error) in [
            ("", "empty at byte 0"),
            ("\r\n", "empty at byte 2"),
            ("a,\"b", "a quote is not closed at byte 2"),
            ("\"", "a quote is not closed at byte 0"),
            ("a,\"b\"\"", "a quote is not closed at byte 2"),
            ("\"a\"b", "something follows the closing quote at byte 0"),
            ("1,\"a\"b\"", "something follows the closing quote at byte 2"),
            ("\"a\" ,1", "something follows the closing quote at byte 0"),
            ("\"a\"b\"c\"", "something follows the closing quote at byte 0"),
            ("a,b\nc,d", "a second record begins at byte 4"),
            ("a\rb", "a second record begins at byte 2"),
        ] {
            assert_eq!(parsed(text).expect_err(text), error, "{text}");
        }
    }

    #[test]
    fn fields_beyond_what_is_kept_are_counted() {
        let mut fields = Fields::default();
        let text = ",".repeat(1_000_000);
        Parser::new(&Dialect::default()).parse(&text, 3, &mut fields).expect("fields");
        assert_eq!((fields.count(), fields.fields.len(), fields.get(3)), (1_000_001, 3, None));
    }

    #[test]
    fn random_files_give_the_records_that_the_csv_crate_reads() {
        let mut random = rand_pcg::Pcg64Mcg::seed_from_u64(4180);
        for _ in 0..20_000 {
            let length = random.random_range(0..24);
            let text: String = (0..length)
                .map(|_| ['a', 'é', ',', '"', '"', '\n', '\r', ' '][random.random_range(0..8)])
                .collect();
            let mut reader =
                csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(text.as_bytes());
            let expected: Vec<Vec<String>> = reader
                .records()
                .map(|record| record.expect("UTF-8").iter().map(str::to_owned).collect())
                .collect();
            let (mut cutter, mut parser) =
                (Cutter::new(&Dialect::default()), Parser::new(&Dialect::default()));
            let (mut fields, mut rest, mut found) = (Fields::default(), text.as_str(), 0);
            while !rest.trim_matches(BREAKS).is_empty() {
                let (taken, _) = cutter.take(rest.as_bytes());
                let record = &rest[..taken];
                rest = &rest[taken..];
                match parser.parse(record, usize::MAX, &mut fields) {
                    Ok(()) => {
                        let contents: Vec<&str> =
                            (0..fields.count()).filter_map(|index| Some(fields.get(index)?.0)).collect();
                        assert_eq!(contents, expected[found], "{text:?}");
                    }
                    Err(malformed) => assert!(malformed.problem.contains("quote"), "{malformed} {text:?}"),
                }
                found += 1;
            }
            assert_eq!(found, expected.len(), "{text:?}");
        }
    }
}

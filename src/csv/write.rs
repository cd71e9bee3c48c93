//! Fields as they are written.

use super::Dialect;

/// Writes a text, in quotes where it would be read as something else without.
pub fn write_text(out: &mut Vec<u8>, text: &str, dialect: &Dialect) {
    let start = out.len();
    out.extend_from_slice(text.as_bytes());
    if text.is_empty() || text == dialect.null || text.starts_with('\u{feff}') {
        quote(out, start, dialect);
    } else {
        end_field(out, start, dialect);
    }
}

/// Puts the field that was written from `start` on into quotes where it needs them.
pub fn end_field(out: &mut Vec<u8>, start: usize, dialect: &Dialect) {
    let special = |byte: &u8| [dialect.delimiter, dialect.quote, b'\r', b'\n'].contains(byte);
    if out[start..].iter().any(special) {
        quote(out, start, dialect);
    }
}

fn quote(out: &mut Vec<u8>, start: usize, dialect: &Dialect) {
    let content = out.split_off(start);
    out.push(dialect.quote);
    for part in content.split_inclusive(|byte| *byte == dialect.quote) {
        out.extend_from_slice(part);
        if part.last() == Some(&dialect.quote) {
            out.push(dialect.quote);
        }
    }
    out.push(dialect.quote);
}

#[cfg(test)]
mod tests {
    use super::super::{Fields, Parser};
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let dialects = [
            Dialect::default(),
            Dialect { delimiter: b'\t', null: "NULL".into(), ..Dialect::default() },
            Dialect { delimiter: b'-', quote: b'\'', ..Dialect::default() },
        ];
        for dialect in dialects {
            let texts =
                ["", "a", "NULL", "a,b", "it's", "\"", "\"\"a\"", "x\r\ny", "\u{feff}z", " ", "1-2\t3", "é"];
            let mut out = Vec::new();
            for text in texts {
                write_text(&mut out, text, &dialect);
                out.push(dialect.delimiter);
            }
            out.extend_from_slice(dialect.null.as_bytes());
            let mut fields = Fields::default();
            let record = String::from_utf8(out).expect("UTF-8");
            Parser::new(&dialect).parse(&record, usize::MAX, &mut fields).expect("a record");
            let is_null = |index| fields.get(index) == Some((dialect.null.as_str(), false));
            for (index, text) in texts.iter().enumerate() {
                assert_eq!(fields.get(index).map(|field| field.0), Some(*text), "{dialect:?}");
                assert!(!is_null(index), "{dialect:?} {text}");
            }
            assert!(fields.count() == texts.len() + 1 && is_null(texts.len()));
        }
    }

    #[test]
    fn quotes_stand_only_where_they_are_needed() {
        let mut out = Vec::new();
        for text in ["plain text", "", "a,b", "5\" pipe"] {
            write_text(&mut out, text, &Dialect::default());
            out.push(b'\n');
        }
        assert_eq!(String::from_utf8(out).as_deref(), Ok("plain text\n\"\"\n\"a,b\"\n\"5\"\" pipe\"\n"));
    }
}

//! Escapes in JSON strings, both ways.

/// Gives the content of a string, part by part. Fails where an escape is none, or stands for half a
/// character only.
pub fn unescape(body: &str, mut emit: impl FnMut(&str)) -> Result<(), &'static str> {
    let mut rest = body;
    while let Some(at) = rest.find('\\') {
        emit(&rest[..at]);
        let (character, behind) = escape(&rest[at + 1..])?;
        emit(character.encode_utf8(&mut [0; 4]));
        rest = behind;
    }
    emit(rest);
    Ok(())
}

/// The character of the escape whose text behind the backslash begins `text`, and what follows.
fn escape(text: &str) -> Result<(char, &str), &'static str> {
    let character = match text.as_bytes().first() {
        Some(quoted @ (b'"' | b'\\' | b'/')) => *quoted as char,
        Some(b'b') => '\u{8}',
        Some(b'f') => '\u{c}',
        Some(b'n') => '\n',
        Some(b'r') => '\r',
        Some(b't') => '\t',
        Some(b'u') => return unicode(&text[1..]),
        _ => return Err("unknown escape"),
    };
    Ok((character, &text[1..]))
}

/// `XXXX`, or `XXXX\uYYYY` of a surrogate pair.
fn unicode(text: &str) -> Result<(char, &str), &'static str> {
    const LONE: &str = "half of a surrogate pair";
    let (first, rest) = four_digits(text)?;
    if let Some(character) = char::from_u32(first) {
        return Ok((character, rest));
    }
    let (second, rest) = four_digits(rest.strip_prefix("\\u").ok_or(LONE)?)?;
    if first >= 0xdc00 || !(0xdc00..0xe000).contains(&second) {
        return Err(LONE);
    }
    let code = 0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00);
    Ok((char::from_u32(code).ok_or(LONE)?, rest))
}

fn four_digits(text: &str) -> Result<(u32, &str), &'static str> {
    const BAD: &str = "bad \\u escape";
    let digits = text.as_bytes().first_chunk::<4>().ok_or(BAD)?;
    let mut code = 0;
    for digit in digits {
        code = code << 4 | (*digit as char).to_digit(16).ok_or(BAD)?;
    }
    Ok((code, &text[4..]))
}

/// Writes a text as a JSON string, with as few escapes as possible.
pub fn write_string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let mut plain = 0;
    for (at, byte) in text.bytes().enumerate() {
        if byte >= 0x20 && byte != b'"' && byte != b'\\' {
            continue;
        }
        out.extend_from_slice(&text.as_bytes()[plain..at]);
        plain = at + 1;
        let short = match byte {
            b'"' | b'\\' => byte,
            b'\n' => b'n',
            b'\r' => b'r',
            b'\t' => b't',
            0x8 => b'b',
            0xc => b'f',
            _ => {
                let digit = |nibble: u8| b"0123456789abcdef"[nibble as usize];
                out.extend_from_slice(&[b'\\', b'u', b'0', b'0', digit(byte >> 4), digit(byte & 15)]);
                continue;
            }
        };
        out.extend_from_slice(&[b'\\', short]);
    }
    out.extend_from_slice(&text.as_bytes()[plain..]);
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unescaped(body: &str) -> Result<String, &'static str> {
        let mut text = String::new();
        unescape(body, |part| text.push_str(part))?;
        Ok(text)
    }

    #[test]
    fn every_escape_is_read() {
        assert_eq!(unescaped(r#"a\"\\\/\b\f\n\r\tz"#).as_deref(), Ok("a\"\\/\u{8}\u{c}\n\r\tz"));
        assert_eq!(unescaped("\\u00e9\\u20AC \\ud83d\\ude97!").as_deref(), Ok("é€ 🚗!"));
    }

    #[test]
    fn bad_escapes_and_half_pairs_are_refused() {
        for body in ["\\", "\\x", "\\u12", "\\u12g4", "\\u+123", "\\ud83d", "\\ud83d\\n", "\\ude97", "\\é"] {
            assert!(unescaped(body).is_err(), "{body}");
        }
        assert!(unescaped("\\ud83d\\u0041").is_err());
        assert!(unescaped("\\ud83d\\ud83d").is_err());
        assert!(unescaped("\\uéé").is_err());
    }

    #[test]
    fn what_is_written_is_what_serde_json_reads() {
        let text: String = (0..0x120).filter_map(char::from_u32).chain("\"\\/é🚗".chars()).collect();
        let mut out = Vec::new();
        write_string(&mut out, &text);
        assert_eq!(serde_json::from_slice::<String>(&out).expect("a string"), text);
    }
}

//! Which texts are JSON, and where their tokens lie.

use super::*;

fn scan(text: &str) -> Result<Token, Malformed> {
    let mut scanner = Scanner::new(text);
    let value = scanner.value(0)?;
    scanner.end()?;
    Ok(value)
}

#[test]
fn values_are_spans_of_the_text() {
    for (text, kind) in [
        ("null", Kind::Null),
        (" true ", Kind::True),
        ("false", Kind::False),
        ("-0", Kind::Integer),
        ("12345678901234567890123", Kind::Integer),
        ("1e400", Kind::Decimal),
        ("-1.50E+07", Kind::Decimal),
        ("\"plain é 12345678\"", Kind::Text),
        ("\"\\\"12345678\\\"\"", Kind::Escaped),
        ("{\"a\" : [ { } , [ ] , {\"b\":1,\"c\":\"}\"} ] }", Kind::Object),
        ("[1,[2,[3]],\"]\"]", Kind::Array),
    ] {
        let token = scan(text).expect(text);
        assert_eq!((token.kind, token.raw(text)), (kind, text.trim()), "{text}");
    }
}

#[test]
fn what_is_not_json_is_refused() {
    for text in [
        "",
        " ",
        "nul",
        "nulll",
        "NaN",
        "Infinity",
        "-",
        "01",
        "1.",
        ".5",
        "1e",
        "1e+",
        "+1",
        "0x1",
        "'a'",
        "\"",
        "\"a",
        "\"\\\"",
        "\"\\",
        "\"\\x\"",
        "\"a\nb\"",
        "\"\\ud800\"",
        "[",
        "]",
        "[1",
        "[1,",
        "[1,]",
        "[,1]",
        "[1 2]",
        "[1}",
        "{",
        "}",
        "{1:2}",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\":1,}",
        "{\"a\":1]",
        "{\"a\":1 \"b\":2}",
        "{,}",
        "{}{}",
        "1 2",
        "[] x",
        "{\"a\":1}}",
    ] {
        assert!(scan(text).is_err(), "{text}");
    }
}

#[test]
fn nesting_is_bounded_without_recursion() {
    let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
    assert!(scan(&nested(128)).is_ok());
    assert_eq!(scan(&nested(129)), Err(Malformed { problem: "nested too deeply", at: 128 }));
    assert!(scan(&nested(3_000_000)).is_err());
    let objects = "{\"a\":".repeat(128) + "1" + &"}".repeat(128);
    assert!(scan(&objects).is_ok());
    assert!(scan(&format!("[{objects}]")).is_err());
}

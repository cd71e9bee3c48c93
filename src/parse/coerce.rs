//! From what stands in a record to a value of a column's type.

use super::number;
use super::timestamp::{self, Minute};
use crate::json::{self, Kind, Token};
use crate::plan::{ColumnType, TimestampFormat};

/// One value on its way into a column.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Datum<'a> {
    Null,
    /// Also JSON text.
    Text(&'a str),
    BigInt(i64),
    Int(i32),
    Double(f64),
    Boolean(bool),
    /// Nanoseconds since the Unix epoch.
    Timestamp(i64),
    /// Days since the Unix epoch.
    Date(i32),
}

/// Memory that is used again from value to value.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    /// A string without its escapes.
    pub text: String,
    pub minute: Minute,
}

/// The value of a field for a column of type `kind`; `None` if the column cannot hold it.
#[inline(always)]
pub(super) fn coerce<'t>(
    token: Token,
    kind: ColumnType,
    format: TimestampFormat,
    text: &'t str,
    scratch: &'t mut Scratch,
) -> Option<Datum<'t>> {
    match (kind, token.kind) {
        (_, Kind::Missing | Kind::Null) => Some(Datum::Null),
        (ColumnType::Json, _) => Some(Datum::Text(token.raw(text))),
        (_, Kind::Object | Kind::Array) => None,
        (ColumnType::Text, _) => Some(Datum::Text(token.content(text, &mut scratch.text))),
        (ColumnType::Boolean, Kind::True) => Some(Datum::Boolean(true)),
        (ColumnType::Boolean, Kind::False) => Some(Datum::Boolean(false)),
        (_, Kind::True | Kind::False) => None,
        (_, Kind::Integer | Kind::Decimal) => from_number(token.body(text), kind, format),
        (_, Kind::Text | Kind::Escaped) => {
            let Scratch { text: unescaped, minute } = scratch;
            let content = token.content(text, unescaped);
            if content.is_empty() { Some(Datum::Null) } else { from_text(content, kind, format, minute) }
        }
    }
}

/// The value of a field of CSV; `quoted` says whether it stood in quotes. `None` if the column cannot hold it.
///
/// NULL is the text that the source declares for it, without quotes; for all but texts also an empty field.
#[inline]
pub(super) fn coerce_field<'t>(
    text: &'t str,
    quoted: bool,
    null: &str,
    kind: ColumnType,
    format: TimestampFormat,
    minute: &mut Minute,
) -> Option<Datum<'t>> {
    if !quoted && text == null {
        return Some(Datum::Null);
    }
    if kind == ColumnType::Text {
        return Some(Datum::Text(text));
    }
    let text = text.trim_matches([' ', '\t']);
    match kind {
        _ if text.is_empty() => Some(Datum::Null),
        ColumnType::Json => json::is_value(text).then_some(Datum::Text(text)),
        _ => from_text(text, kind, format, minute),
    }
}

/// A function of its own for texts: their numbers are rare, and what values mostly are stays in registers.
#[inline(never)]
fn from_number_in_text<'t>(text: &str, kind: ColumnType, format: TimestampFormat) -> Option<Datum<'t>> {
    from_number(text, kind, format)
}

#[inline(always)]
fn from_number<'t>(text: &str, kind: ColumnType, format: TimestampFormat) -> Option<Datum<'t>> {
    match kind {
        ColumnType::BigInt => number::integer(text).map(Datum::BigInt),
        ColumnType::Int => number::integer(text).and_then(|value| i32::try_from(value).ok()).map(Datum::Int),
        ColumnType::Double => number::double(text).map(Datum::Double),
        ColumnType::Timestamp => timestamp::number(text, format).map(Datum::Timestamp),
        ColumnType::Boolean => match number::integer(text)? {
            0 => Some(Datum::Boolean(false)),
            1 => Some(Datum::Boolean(true)),
            _ => None,
        },
        ColumnType::Text | ColumnType::Json | ColumnType::Date => None,
    }
}

#[inline(always)]
fn from_text<'t>(
    text: &str,
    kind: ColumnType,
    format: TimestampFormat,
    minute: &mut Minute,
) -> Option<Datum<'t>> {
    match kind {
        ColumnType::Boolean if text.eq_ignore_ascii_case("true") => Some(Datum::Boolean(true)),
        ColumnType::Boolean if text.eq_ignore_ascii_case("false") => Some(Datum::Boolean(false)),
        ColumnType::Timestamp => {
            minute.rfc3339(text).or_else(|| timestamp::number(text, format)).map(Datum::Timestamp)
        }
        ColumnType::Date => timestamp::date(text).map(Datum::Date),
        _ => from_number_in_text(text, kind, format),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::Scanner;

    /// The value of `json` in a column, as `Debug`; `-` where the column cannot hold it.
    fn coerced(json: &str, kind: ColumnType) -> String {
        let token = Scanner::new(json).value(0).expect("JSON");
        let mut scratch = Scratch::default();
        let datum = coerce(token, kind, TimestampFormat::EpochMillis, json, &mut scratch);
        datum.map_or("-".to_owned(), |datum| format!("{datum:?}"))
    }

    #[test]
    fn the_table_of_coercions() {
        use ColumnType::{BigInt, Boolean, Date, Double, Int, Json, Text, Timestamp};
        for (json, kind, expected) in [
            ("7.0", BigInt, "BigInt(7)"),
            ("\"7\"", BigInt, "BigInt(7)"),
            ("\"\\u0037\"", BigInt, "BigInt(7)"),
            ("\"\"", BigInt, "Null"),
            ("null", BigInt, "Null"),
            ("7.5", BigInt, "-"),
            ("\"NaN\"", BigInt, "-"),
            ("true", BigInt, "-"),
            ("[7]", BigInt, "-"),
            ("9223372036854775808", BigInt, "-"),
            ("2147483647", Int, "Int(2147483647)"),
            ("2147483648", Int, "-"),
            ("\"-2147483648.0\"", Int, "Int(-2147483648)"),
            ("1e400", Double, "-"),
            ("\"1e400\"", Double, "-"),
            ("\"NaN\"", Double, "-"),
            ("\"inf\"", Double, "-"),
            ("-0.0", Double, "Double(-0.0)"),
            ("18446744073709551616", Double, "Double(1.8446744073709552e19)"),
            ("\"101.5\"", Double, "Double(101.5)"),
            ("\"\"", Double, "Null"),
            ("false", Double, "-"),
            ("true", Boolean, "Boolean(true)"),
            ("\"False\"", Boolean, "Boolean(false)"),
            ("1", Boolean, "Boolean(true)"),
            ("\"0\"", Boolean, "Boolean(false)"),
            ("0.0", Boolean, "Boolean(false)"),
            ("\"\"", Boolean, "Null"),
            ("2", Boolean, "-"),
            ("\"yes\"", Boolean, "-"),
            ("1761559635234", Timestamp, "Timestamp(1761559635234000000)"),
            ("\"1761559635234\"", Timestamp, "Timestamp(1761559635234000000)"),
            ("\"2025-10-27T10:07:15.234Z\"", Timestamp, "Timestamp(1761559635234000000)"),
            ("\"\"", Timestamp, "Null"),
            ("\"90/02/2032\"", Timestamp, "-"),
            ("9223372036854775807", Timestamp, "-"),
            ("true", Timestamp, "-"),
            ("\"2024-02-29\"", Date, "Date(19782)"),
            ("\"0000-01-01\"", Date, "Date(-719528)"),
            ("\"9999-12-31\"", Date, "Date(2932896)"),
            ("\"\"", Date, "Null"),
            ("\"2023-02-29\"", Date, "-"),
            ("\"2024-2-9\"", Date, "-"),
            ("\"2024-02-29T00:00:00Z\"", Date, "-"),
            ("\" 2024-02-29\"", Date, "-"),
            ("19782", Date, "-"),
            ("\"\"", Text, "Text(\"\")"),
            ("\"a\\nb\"", Text, "Text(\"a\\nb\")"),
            ("1.50e3", Text, "Text(\"1.50e3\")"),
            ("true", Text, "Text(\"true\")"),
            ("{}", Text, "-"),
            ("[\"a\"]", Text, "-"),
            ("1.50e3", Json, "Text(\"1.50e3\")"),
            ("\"a\\nb\"", Json, "Text(\"\\\"a\\\\nb\\\"\")"),
            ("{ \"a\" : 1 }", Json, "Text(\"{ \\\"a\\\" : 1 }\")"),
            ("null", Json, "Null"),
        ] {
            assert_eq!(coerced(json, kind), expected, "{json} as {kind:?}");
        }
    }
}

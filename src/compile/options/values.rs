//! Values of options: numbers, sizes, durations, names and lists, from their text.

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::compile::ast::Name;
use crate::compile::diagnostic::Diagnostic;

/// An integer within its range.
pub(super) fn integer(value: &Name, range: RangeInclusive<i64>) -> Result<i64, Diagnostic> {
    let parsed = value.value.trim().replace('_', "").parse::<i64>();
    parsed.ok().filter(|number| range.contains(number)).ok_or_else(|| {
        let expected = match (*range.start(), *range.end()) {
            (from, i64::MAX) => format!("expected a whole number from {from} on"),
            (from, to) => format!("expected a whole number from {from} to {to}"),
        };
        let error = Diagnostic::new(value.span, format!("{expected}, found '{}'", value.value));
        error.hint(format!("write one, such as {}", (*range.start()).max(1)))
    })
}

/// A share, 0 to 1.
pub(super) fn share(value: &Name) -> Result<f64, Diagnostic> {
    let parsed = value.value.trim().parse::<f64>();
    parsed.ok().filter(|number| (0.0..=1.0).contains(number)).ok_or_else(|| {
        let error =
            Diagnostic::new(value.span, format!("expected a share from 0 to 1, found '{}'", value.value));
        error.hint("write 0.01 for one in a hundred")
    })
}

/// A number of bytes, with or without a unit: `65536`, `64 KiB`, `1 MB`.
pub(super) fn bytes(value: &Name) -> Result<usize, Diagnostic> {
    let text = value.value.trim();
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let factor: Option<usize> = match unit.trim().to_lowercase().as_str() {
        "" | "b" | "bytes" => Some(1),
        "kb" => Some(1000),
        "kib" => Some(1 << 10),
        "mb" => Some(1_000_000),
        "mib" => Some(1 << 20),
        _ => None,
    };
    let size =
        number.parse::<usize>().ok().zip(factor).and_then(|(number, factor)| number.checked_mul(factor));
    size.filter(|size| *size > 0 && *size <= 1 << 30).ok_or_else(|| {
        let message = format!("expected a number of bytes up to 1 GiB, found '{}'", value.value);
        Diagnostic::new(value.span, message).hint("write a number, or one with a unit: '64 KiB', '1 MiB'")
    })
}

/// A length of time: `10s`, `500ms`, `1h 30m`, `10 seconds`.
pub(super) fn duration(value: &Name) -> Result<Duration, Diagnostic> {
    let text = value.value.trim();
    let wrong = |message: String| {
        let hint = "write a number with a unit: '500ms', '10s', '5 minutes', '1h 30m', '7 days'";
        Err(Diagnostic::new(value.span, message).hint(hint))
    };
    let units: Vec<&str> = text.split(|c: char| !c.is_alphabetic()).filter(|unit| !unit.is_empty()).collect();
    if units.is_empty() && text.chars().any(|c| c.is_ascii_digit() && c != '0') {
        return wrong(format!("'{text}' has no unit of time"));
    }
    let is_calendar = |unit: &&&str| {
        let lower = unit.to_lowercase();
        **unit == "M" || lower == "y" || lower.starts_with("month") || lower.starts_with("year")
    };
    if let Some(unit) = units.iter().find(is_calendar) {
        return wrong(format!("'{unit}' is not a fixed length of time"));
    }
    let mut short = text.to_lowercase();
    for (long, unit) in LONG_UNITS {
        short = short.replace(long, unit);
    }
    match humantime::parse_duration(&short) {
        // Times are nanoseconds in 64 bits everywhere.
        Ok(duration) if i64::try_from(duration.as_nanos()).is_ok() => Ok(duration),
        Ok(_) => wrong(format!("'{text}' is longer than 292 years")),
        Err(humantime::DurationError::UnknownUnit { unit, .. }) if !unit.is_empty() => wrong(format!(
            "'{unit}' is no unit of time: there are milliseconds, seconds, minutes, hours, days and weeks"
        )),
        Err(_) => wrong(format!("expected a length of time, found '{text}'")),
    }
}

/// Units that the library knows by shorter names only.
const LONG_UNITS: [(&str, &str); 6] = [
    ("milliseconds", "ms"),
    ("millisecond", "ms"),
    ("microseconds", "us"),
    ("microsecond", "us"),
    ("nanoseconds", "ns"),
    ("nanosecond", "ns"),
];

/// `'a, b'`: the parts with their places; none of them is empty or stands twice.
pub(super) fn list(value: &Name, what: &str) -> Result<Vec<Name>, Diagnostic> {
    let mut names: Vec<Name> = Vec::new();
    let mut from = 0;
    for part in value.value.split(',') {
        let length = part.chars().count();
        let blank = part.chars().take_while(|c| c.is_whitespace()).count();
        let name = part.trim();
        let place = value.part(from + blank, from + blank + name.chars().count());
        from += length + 1;
        if name.is_empty() {
            let message = match value.value.trim() {
                "" => format!("expected {what}, found nothing"),
                _ => format!("expected {what}, one part of the list is empty"),
            };
            return Err(
                Diagnostic::new(value.span, message).hint("write the names with commas between: 'a, b'")
            );
        }
        if names.iter().any(|other| other.value == name) {
            return Err(Diagnostic::new(place, format!("`{name}` stands twice")).hint("remove one of them"));
        }
        names.push(Name { value: name.to_owned(), span: place });
    }
    Ok(names)
}

/// A topic that Kafka would accept.
pub(super) fn topic(name: &Name) -> Result<String, Diagnostic> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let value = &name.value;
    let dots = value == "." || value == "..";
    if value.is_empty() || value.len() > 249 || dots || !value.chars().all(allowed) {
        let error = Diagnostic::new(name.span, format!("'{value}' is not the name of a topic"));
        return Err(error.hint("up to 249 letters, digits, '.', '_' and '-'"));
    }
    Ok(value.clone())
}

/// A collection that MongoDB would accept.
pub(super) fn collection(name: &Name) -> Result<String, Diagnostic> {
    let value = &name.value;
    if value.trim().is_empty() || value.contains(['$', '\0']) || value.starts_with("system.") {
        let error = Diagnostic::new(name.span, format!("'{value}' is not the name of a collection"));
        return Err(error.hint("not empty, without '$', and not starting with 'system.'"));
    }
    Ok(value.clone())
}

/// A database that MongoDB would accept.
pub(super) fn database(name: &Name) -> Result<String, Diagnostic> {
    let value = &name.value;
    let forbidden = ['/', '\\', '.', ' ', '"', '$', '*', '<', '>', ':', '|', '?', '\0'];
    if value.is_empty() || value.len() > 63 || value.contains(forbidden) {
        let error = Diagnostic::new(name.span, format!("'{value}' is not the name of a database"));
        return Err(error.hint("up to 63 characters, without blanks and / \\ . \" $ * < > : | ?"));
    }
    Ok(value.clone())
}

#[cfg(test)]
mod tests {
    use datafusion_sql::sqlparser::tokenizer::Span;

    use super::*;

    fn name(value: &str) -> Name {
        Name { value: value.to_owned(), span: Span::empty() }
    }

    #[test]
    fn durations_have_fixed_units() {
        for (text, seconds) in
            [("10s", 10), ("10 seconds", 10), ("10 MINUTES", 600), ("1h 30m", 5400), ("0", 0)]
        {
            assert_eq!(duration(&name(text)), Ok(Duration::from_secs(seconds)), "{text}");
        }
        assert_eq!(duration(&name("500ms")), Ok(Duration::from_millis(500)));
        for text in
            ["700 milliseconds", "700 millisecond", "700ms", "700000 microseconds", "0s 700 Milliseconds"]
        {
            assert_eq!(duration(&name(text)), Ok(Duration::from_millis(700)), "{text}");
        }
        let unknown = duration(&name("3 fortnights")).expect_err("no unit");
        assert!(unknown.message.starts_with("'fortnights' is no unit of time"), "{}", unknown.message);
        for wrong in ["", "10", "1 month", "2M", "3y", "ten seconds", "-1s", "400000000000s"] {
            assert!(duration(&name(wrong)).is_err(), "{wrong}");
        }
    }

    #[test]
    fn sizes_have_units_or_none() {
        assert_eq!(bytes(&name("65536")), Ok(65536));
        assert_eq!(bytes(&name("1 MiB")), Ok(1 << 20));
        for wrong in ["", "0", "1 TB", "-1", "1.5 MiB", "99999999999999999999 KiB"] {
            assert!(bytes(&name(wrong)).is_err(), "{wrong}");
        }
    }
}

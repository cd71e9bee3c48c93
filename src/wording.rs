//! What libraries say about a value, in the words of a dataflow's author: types as SQL names them, no internals.

/// What a library says of a value, without what it says about itself.
pub fn error(text: &str) -> String {
    const PREFIXES: [&str; 9] = [
        "Arrow error: ",
        "Cast error: ",
        "Compute error: ",
        "Execution error: ",
        "External error: ",
        "Invalid argument error: ",
        "Parser error: ",
        "Arithmetic overflow: ",
        "Overflow happened on: ",
    ];
    let mut line = text.lines().next().unwrap_or_default().trim();
    let mut overflow = false;
    while let Some((prefix, rest)) = PREFIXES.iter().find_map(|p| Some((*p, line.strip_prefix(p)?))) {
        overflow |= prefix.starts_with("Overflow");
        line = rest;
    }
    if overflow {
        return format!("overflow in {}", line.trim_end_matches(['*', ' ']));
    }
    if line.starts_with("Divide by zero") {
        return "division by zero".to_owned();
    }
    let cast = line.strip_prefix("Cannot cast string ").or_else(|| line.strip_prefix("Can't cast value "));
    let cast = cast.or_else(|| line.strip_prefix("Cannot cast "));
    let cast = cast.and_then(|rest| {
        let (value, target) = rest.split_once(" to value of ").or_else(|| rest.split_once(" to type "))?;
        Some(format!("cannot cast {value} to {}", target.trim_end_matches(" type")))
    });
    decapitalised(&sql_types(&cast.unwrap_or_else(|| line.to_owned())))
}

/// What a panic of a library over a value means; its own words are about its code.
pub fn panic() -> String {
    "cannot be computed for this value".to_owned()
}

/// A text with the libraries' names of types replaced.
pub fn sql_types(text: &str) -> String {
    const NAMES: [(&str, &str); 15] = [
        ("Timestamp(ns)", "TIMESTAMP"),
        ("Timestamp(Nanosecond, None)", "TIMESTAMP"),
        ("Date32", "DATE"),
        ("LargeUtf8", "TEXT"),
        ("Utf8View", "TEXT"),
        ("Utf8", "TEXT"),
        ("UInt64", "UNSIGNED BIGINT"),
        ("UInt32", "UNSIGNED INT"),
        ("Int64", "BIGINT"),
        ("Int32", "INT"),
        ("Float64", "DOUBLE"),
        ("Boolean", "BOOLEAN"),
        ("Interval(MonthDayNano)", "INTERVAL"),
        ("Duration(ns)", "INTERVAL"),
        ("FACTORIAL", "factorial"),
    ];
    NAMES.iter().fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
}

/// With a small letter at the start, unless the first word is one of capitals.
pub fn decapitalised(text: &str) -> String {
    let mut letters = text.chars();
    match (letters.next(), letters.clone().next()) {
        (Some(first), Some(second)) if first.is_uppercase() && second.is_lowercase() => {
            first.to_lowercase().chain(letters).collect()
        }
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_speak_sql() {
        for (said, expected) in [
            ("Divide by zero error", "division by zero"),
            ("Cast error: Cannot cast string 'x10' to value of Int64 type", "cannot cast 'x10' to BIGINT"),
            ("Cast error: Can't cast value 1e300 to type Int64", "cannot cast 1e300 to BIGINT"),
            ("Arithmetic overflow: Overflow happened on: 10 + 9", "overflow in 10 + 9"),
            (
                "Execution error: Unable to parse date from 2027, 2, 29",
                "unable to parse date from 2027, 2, 29",
            ),
            (
                "Arrow error: Parser error: Error parsing 'x' as Timestamp(ns)",
                "error parsing 'x' as TIMESTAMP",
            ),
            ("UTF8 is fine", "UTF8 is fine"),
            ("", ""),
        ] {
            assert_eq!(error(said), expected, "{said}");
        }
    }
}

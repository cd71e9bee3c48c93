//! Messages of the planner in our words: types as SQL names them, no internals.

use datafusion_common::DataFusionError;

use super::problem::Problem;
use super::text;

/// What the planner or an expression says.
pub(super) fn failed(error: &DataFusionError) -> Problem {
    let root = error.find_root();
    let message = root.message();
    known(&message).unwrap_or_else(|| Problem::new(plain(&message)))
}

/// Says that two columns would have one name.
pub(super) fn twice(name: &str) -> Problem {
    let problem = Problem::new(format!("two columns have the name `{}`", text::name(name)));
    let problem = problem.hint("give one of them another name with AS");
    Problem { column: Some(name.to_owned()), ..problem }
}

/// Messages that can be said better.
fn known(message: &str) -> Option<Problem> {
    if message.contains("must appear in the GROUP BY clause") || message.contains("must be in GROUP BY") {
        let quoted = message.split('"').nth(1).unwrap_or_default();
        let name = quoted.rsplit('.').next().unwrap_or_default();
        let is_name = !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || c == '_');
        let what = if is_name { format!("`{}`", text::name(name)) } else { "an expression".to_owned() };
        return Some(
            Problem::new(format!("{what} is neither in GROUP BY nor inside an aggregate function"))
                .hint("add it to GROUP BY, or take last_value(... ORDER BY ...) or max(...) of it"),
        );
    }
    if message.contains("require unique expression names") {
        let name = message.split('"').nth(1).unwrap_or_default();
        return Some(twice(name.rsplit('.').next().unwrap_or(name)));
    }
    if let Some((_, found)) = message.split_once("non-boolean predicate") {
        let found = found.rsplit("returning ").next().unwrap_or_default();
        let message = format!("a condition has to be BOOLEAN, this one is {}", sql_types(found.trim()));
        return Some(Problem::new(message).hint("compare it with something"));
    }
    if message.contains("different number of columns") {
        return Some(Problem::new("the branches of UNION ALL have different numbers of columns"));
    }
    if message.starts_with("Substring without for/from") {
        return Some(Problem::new("`substr` needs a position").hint("write substr(text, from, length)"));
    }
    if message.contains("annot access field") {
        let hint = "of JSON write payload -> 'a' ->> 'b'; or declare a column of the source with PATH 'a.b'";
        return Some(Problem::new("columns have no fields to access").hint(hint));
    }
    signature(message)
}

/// A function that does not take its arguments.
fn signature(message: &str) -> Option<Problem> {
    let message =
        message.trim_start_matches("Execution error: ").trim_start_matches("Error during planning: ");
    let call = message.strip_prefix("Failed to coerce arguments to satisfy a call to '");
    let call = call.or_else(|| message.strip_prefix("Internal error: Function '"));
    let call = call.or_else(|| message.strip_prefix("Function '"));
    let (name, rest) = call?.split_once('\'')?;
    let rest = match rest.split_once("argument types '") {
        Some((_, types)) => types.split_once('(').map_or(rest, |(_, types)| types),
        None => rest,
    };
    let types = rest.split_once("coercion from ").and_then(|(_, rest)| rest.split_once(" to the signature"));
    let types = types.or_else(|| rest.split_once("(DataType: ").and_then(|(_, rest)| rest.split_once(')')));
    let message = match types {
        Some((types, _)) => format!("`{name}` does not take {}", sql_types(types)),
        None => format!("`{name}` does not take these arguments"),
    };
    Some(Problem::new(message).hint("check their number, and CAST them to the types that it takes"))
}

/// The part of a message that says something to a user.
fn plain(message: &str) -> String {
    let mut lines = message.lines().map(str::trim).filter(|line| !line.is_empty());
    let first = lines.next().unwrap_or_default();
    let mut line = first.to_owned();
    // Several lines of a picture, with the reason in the last one.
    if let Some(last) = lines.next_back().filter(|_| line.ends_with(':')) {
        line = format!("{first} {}", last.trim_start_matches("error: "));
    }
    let line = line.split(". This issue was likely caused").next().unwrap_or_default();
    let mut line = line.trim_end_matches('.');
    for prefix in
        ["Internal error: ", "Error during planning: ", "Arrow error: ", "Cast error: ", "Parser error: "]
    {
        line = line.trim_start_matches(prefix);
    }
    let line = line.replace("Arithmetic overflow: Overflow happened on:", "overflow in");
    let line = sql_types(&line.replace("Divide by zero error", "division by zero"));
    let mut letters = line.chars();
    match (letters.next(), letters.clone().next()) {
        // A word in capitals stays as it is.
        (Some(first), Some(second)) if first.is_uppercase() && second.is_lowercase() => {
            first.to_lowercase().chain(letters).collect()
        }
        _ => line,
    }
}

/// A text with the library's names of types replaced.
fn sql_types(text: &str) -> String {
    const NAMES: [(&str, &str); 13] = [
        ("Timestamp(ns)", "TIMESTAMP"),
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
    ];
    NAMES.iter().fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
}

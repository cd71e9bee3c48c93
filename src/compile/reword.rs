//! Messages of the planner in our words: types as SQL names them, no internals.

use datafusion_common::DataFusionError;

use super::problem::Problem;
use super::{refuse, text};
use crate::wording::{decapitalised, sql_types};

/// What the planner or an expression says.
pub(super) fn failed(error: &DataFusionError) -> Problem {
    let root = error.find_root();
    let message = root.message();
    known(&message).unwrap_or_else(|| {
        let problem = Problem::new(plain(&message));
        problem.hint(
            "docs/functions.md has all functions with their arguments, docs/sql.md the rest of the language",
        )
    })
}

/// Says that two columns would have one name.
pub(super) fn twice(name: &str) -> Problem {
    if name.contains(['(', ' ']) {
        // The planner's name of an expression.
        let problem = Problem::new("two expressions are the same for the planner");
        return problem.hint("compute one of them in a subquery, under a name of its own");
    }
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
    if let Some((_, name)) = message.split_once("uplicate qualified field name ") {
        return Some(twice(name.trim().rsplit('.').next().unwrap_or(name)));
    }
    if message.contains("different number of columns") {
        let problem = Problem::new("the branches of UNION have different numbers of columns");
        return Some(problem.hint("add what is missing, for example CAST(NULL AS TEXT) AS name"));
    }
    if message.starts_with("Substring without for/from") {
        return Some(Problem::new("`substr` needs a position").hint("write substr(text, from, length)"));
    }
    if message.contains("annot access field") {
        return Some(refuse::function::no_fields());
    }
    if let Some(rest) =
        message.strip_prefix("No field named ").or_else(|| message.strip_prefix("no field named "))
    {
        let name = rest.split_whitespace().next().unwrap_or_default().trim_end_matches('.');
        return Some(
            Problem::new(format!("there is no column `{name}`"))
                .hint("name a column of the relations in FROM"),
        );
    }
    let found = signature(message).or_else(|| operands(message)).or_else(|| constant(message));
    found.or_else(|| clause(message)).or_else(|| other(message))
}

/// A function that does not take its arguments.
fn signature(message: &str) -> Option<Problem> {
    let starts = [
        "Failed to coerce arguments to satisfy a call to '",
        "Internal error: Function '",
        "Function '",
        "The function '",
        "Error during planning: Function '",
        "Error during planning: The function '",
        "No function matches the given name and argument types '",
    ];
    let message =
        message.trim_start_matches("Execution error: ").trim_start_matches("Error during planning: ");
    let call = starts.iter().find_map(|start| message.strip_prefix(start));
    let call =
        call.or_else(|| message.strip_prefix('\'').filter(|rest| rest.contains("support zero arguments")))?;
    let end = call.find(['\'', '('])?;
    let (name, rest) = call.split_at(end);
    let types = rest.split_once("coercion from ").and_then(|(_, rest)| rest.split_once(" to the signature"));
    let called = rest.split_once("argument types '").map_or(rest, |(_, call)| call);
    let types = types.or_else(|| called.split_once('(').and_then(|(_, types)| types.split_once(")'")));
    let message = match types {
        Some((types, _)) if !types.is_empty() => format!("`{name}` does not take {}", sql_types(types)),
        _ if rest.contains("zero arguments") => format!("`{name}` needs arguments"),
        _ => format!("`{name}` does not take these arguments"),
    };
    let problem = Problem::new(message);
    Some(match syntax(name) {
        Some(syntax) => problem.hint(format!("it is called as {syntax}; CAST what has another type")),
        None => problem.hint("check their number, and CAST them to the types that it takes"),
    })
}

/// How a function is called, in the words of its documentation.
fn syntax(name: &str) -> Option<String> {
    let scalar = datafusion_functions::all_default_functions();
    let scalar = scalar.iter().find(|function| function.name() == name);
    let example = |documentation: &datafusion_expr::Documentation| {
        let line = documentation.syntax_example.lines().next().unwrap_or_default();
        // The functions of aggregates show clauses that are not supported.
        line.split(" [").next().unwrap_or_default().to_owned()
    };
    let found = scalar.and_then(|function| function.documentation().map(example));
    found.or_else(|| {
        let aggregates = datafusion_functions_aggregate::all_default_aggregate_functions();
        let function = aggregates.iter().find(|function| function.name() == name)?;
        Some(match name {
            "sum" | "avg" => format!("{name}(number)"),
            _ => example(function.documentation()?),
        })
    })
}

/// Two operands that do not go together: `... operation TEXT + BIGINT`.
fn operands(message: &str) -> Option<Problem> {
    let after = |start: &str| message.split_once(start).map(|(_, rest)| rest);
    let rest = after("coerce arithmetic expression ")
        .or_else(|| after("argument type for comparison operation "))
        .or_else(|| after("argument type for logical boolean operation "))
        .or_else(|| after("argument type for regex operation "))
        .or_else(|| after("argument type for operation "))
        .or_else(|| after("result type for temporal operation "))?;
    let rest = sql_types(rest.lines().next().unwrap_or_default());
    let rest = rest.split(": ").next().unwrap_or_default().trim_end_matches(" to valid types");
    const OPERATORS: [&str; 29] = [
        " IS NOT DISTINCT FROM ",
        " IS DISTINCT FROM ",
        " AND ",
        " OR ",
        " <= ",
        " >= ",
        " != ",
        " <> ",
        " !~* ",
        " ~* ",
        " !~ ",
        " ~ ",
        " || ",
        " = ",
        " < ",
        " > ",
        " + ",
        " - ",
        " * ",
        " / ",
        " % ",
        " !~~* ",
        " ~~* ",
        " !~~ ",
        " ~~ ",
        " & ",
        " | ",
        " << ",
        " >> ",
    ];
    let (operator, (left, right)) =
        OPERATORS.iter().find_map(|operator| Some((operator.trim(), rest.split_once(operator)?)))?;
    let compares = ["=", "<", ">", "<=", ">=", "!=", "<>"].contains(&operator) || operator.starts_with("IS ");
    let message = match operator {
        "AND" | "OR" => format!("{operator} stands between conditions, but here are {left} and {right}"),
        _ if compares => format!("{left} and {right} cannot be compared"),
        _ => format!("`{operator}` does not go with {left} and {right}"),
    };
    Some(Problem::new(message).hint(instead(operator, compares, left, right)))
}

/// What to write instead of two operands that do not go together.
fn instead(operator: &str, compares: bool, left: &str, right: &str) -> &'static str {
    let either = |kind: &str| left.starts_with(kind) || right.starts_with(kind);
    match operator {
        "AND" | "OR" => "compare what is no BOOLEAN with something",
        _ if operator.contains('~') => "regular expressions match TEXT: CAST(... AS TEXT)",
        _ if operator.starts_with("IS ") && either("BOOLEAN") && either("TEXT") => {
            "write IS [NOT] DISTINCT FROM TRUE, without quotes"
        }
        _ if compares && either("BOOLEAN") => {
            "a BOOLEAN is a condition by itself, or CAST(... AS INT). Comparisons do not chain: a < b AND b < c"
        }
        _ if compares && either("TIMESTAMP") => {
            "a number becomes a TIMESTAMP by to_timestamp_millis(...), a text stands as '2025-01-31T12:00:00Z'"
        }
        "+" if left == "TEXT" && right == "TEXT" => {
            "texts are joined by ||; numbers in texts need CAST(... AS DOUBLE)"
        }
        _ if either("TIMESTAMP") && either("TEXT") => "write INTERVAL '1 hour' for a length of time",
        _ if left.starts_with("TIMESTAMP") && right.starts_with("TIMESTAMP") => {
            "the seconds between two times are extract(epoch FROM a) - extract(epoch FROM b)"
        }
        _ if either("TIMESTAMP") => "write INTERVAL '5 seconds' for a length of time",
        _ if either("TEXT") => "numbers in texts need CAST(... AS DOUBLE); texts are joined by ||",
        _ => "CAST one of them to the type of the other",
    }
}

/// A constant that cannot become what it has to be.
fn constant(message: &str) -> Option<Problem> {
    let try_cast = "write another one; TRY_CAST gives NULL for what cannot be converted";
    if let Some((value, kind)) = message.split_once("Cannot cast string '").and_then(|(_, rest)| {
        let (value, rest) = rest.rsplit_once("' to value of ")?;
        Some((value, rest.split(" type").next().unwrap_or_default()))
    }) {
        return Some(Problem::new(format!("'{value}' is no {}", sql_types(kind))).hint(try_cast));
    }
    if let Some((value, kind)) =
        message.split_once("Can't cast value ").and_then(|(_, rest)| rest.split_once(" to type "))
    {
        return Some(
            Problem::new(format!("{value} does not fit into {}", sql_types(kind.trim_end_matches('.'))))
                .hint(try_cast),
        );
    }
    if let Some((_, rest)) = message.split_once("Error parsing timestamp from '") {
        let (value, _) = rest.split_once('\'')?;
        return Some(
            Problem::new(format!("'{value}' is no TIMESTAMP"))
                .hint("write '2025-01-31T12:00:00Z' or '2025-01-31'"),
        );
    }
    if let Some((_, rest)) = message.split_once("Invalid input syntax for type interval: ") {
        let value = rest.trim().trim_matches('"');
        let hint = "write a number with a unit: INTERVAL '5 seconds', '10 minutes', '1 hour', '7 days'";
        return Some(Problem::new(format!("'{value}' is no INTERVAL")).hint(hint));
    }
    if let Some((_, rest)) = message.split_once("granularity: '") {
        let (value, units) = rest.split_once("'. Supported values are: ")?;
        return Some(
            Problem::new(format!("`date_trunc` knows no unit '{value}'")).hint(format!("units are {units}")),
        );
    }
    let overflow = message.split_once("Overflow happened on: ").map(|(_, rest)| rest);
    if let Some(calculation) = overflow {
        let hint = "the result does not fit into BIGINT; CAST one side to DOUBLE";
        return Some(Problem::new(format!("overflow in {}", calculation.trim())).hint(hint));
    }
    None
}

/// What belongs to a clause or a syntax, and not to a function.
fn clause(message: &str) -> Option<Problem> {
    if let Some((_, rest)) = message.split_once(" columns but only ") {
        let count = rest.split(' ').next().unwrap_or_default();
        let all = message.rsplit_once(" contains ").map_or("", |(_, rest)| rest);
        let all = all.split(' ').next().unwrap_or_default();
        let problem = Problem::new(format!("{count} names for the columns of a relation that has {all}"));
        return Some(problem.hint("name each of its columns, in their order, or remove the names"));
    }
    if let Some((what, instead)) = message.split_once(": use ").filter(|_| message.contains(" would keep ")) {
        let what = what.trim_start_matches("Error during planning: ");
        return Some(Problem::new(what).hint(format!("use {instead}")));
    }
    if let Some((types, _)) = message.split_once(" is not comparable")
        && let Some((function, types)) =
            types.split_once("or function '").and_then(|(_, rest)| rest.split_once("' "))
    {
        let problem = Problem::new(format!("`{function}` compares {}", sql_types(types)));
        return Some(problem.hint("CAST one to the type of the other; TRUE and FALSE stand without quotes"));
    }
    if let Some((_, reason)) = message.split_once("the text is no JSON: ") {
        let problem = Problem::new(format!("the text is no JSON: {reason}"));
        return Some(problem.hint("write JSON, as in CAST('{\"a\": 1}' AS JSON)"));
    }
    let (message, hint) = if message.contains("The subquery should only return one column") {
        (
            "the subquery of IN has several columns",
            "select one; compare several with EXISTS (SELECT ... WHERE a.x = b.x AND ...)",
        )
    } else if message.contains("LIKE does not support escape_char") {
        ("LIKE escapes with the backslash only", "write \\% and \\_, or regexp_like(text, 'pattern')")
    } else if message.contains("JSON is read from text") {
        ("`->` and `->>` need JSON", "read fields of a JSON column, or of CAST(text AS JSON)")
    } else if message.contains("a field has a name, an element a number") {
        ("a field has a name, an element of an array a whole number", "write payload -> 'a' or payload -> 0")
    } else if message.contains("TIMESTAMP WITH TIME ZONE is not supported") {
        ("the type TIMESTAMP WITH TIME ZONE is not supported yet", "write TIMESTAMP: it is an instant in UTC")
    } else {
        return None;
    };
    Some(Problem::new(message).hint(hint))
}

/// Other things that the planner says.
fn other(message: &str) -> Option<Problem> {
    if message.contains("common type to coerce") && message.contains("LIKE") {
        let types = message.split_once("to coerce ").and_then(|(_, rest)| rest.split_once(" in "));
        let types = types.map_or(String::new(), |(types, _)| sql_types(types));
        return Some(
            Problem::new(format!("LIKE compares texts, but here are {types}"))
                .hint("CAST(... AS TEXT) what is no text"),
        );
    }
    if message.starts_with("Negation only supports") {
        return Some(Problem::new("`-` needs a number").hint("numbers in texts need CAST(... AS DOUBLE)"));
    }
    if message.starts_with("Unsupported ast node") {
        let problem = Problem::new("this expression is not supported");
        return Some(problem.hint("docs/sql.md has all operators, docs/functions.md all functions"));
    }
    if let Some((_, operator)) = message.split_once("nsupported binary operator: ") {
        let (written, instead) = match operator.trim() {
            "PGOverlap" => ("&&", "write AND"),
            "Spaceship" => ("<=>", "write IS NOT DISTINCT FROM"),
            "MyIntegerDivide" | "DuckIntegerDivide" => ("DIV", "integers are divided by /"),
            "PGExp" | "BitwiseXor" => ("^", "write power(a, b)"),
            _ => ("this operator", "write a function, or an expression with other operators"),
        };
        let shown = if written.contains(' ') { written.to_owned() } else { format!("`{written}`") };
        return Some(Problem::new(format!("{shown} is not supported")).hint(instead));
    }
    if let Some((_, name)) = message.split_once("nsupported SQL type ") {
        let name = name.trim();
        return Some(Problem::new(format!("unknown type {name}")).hint(format!("{name} is none of {TYPES}")));
    }
    if message.contains("regex parse error") {
        let reason = message.lines().rfind(|line| line.contains("error: ")).unwrap_or_default();
        let reason = reason.trim().trim_start_matches("error: ");
        let hint = "the characters . * + ? ( ) [ ] { } | ^ $ \\ stand for themselves behind a \\";
        return Some(Problem::new(format!("the regular expression is wrong: {reason}")).hint(hint));
    }
    None
}

const TYPES: &str = "TEXT, BIGINT, INT, DOUBLE, BOOLEAN, TIMESTAMP";

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
    decapitalised(&line)
}

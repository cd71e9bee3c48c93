//! Every scalar function of the library: right, or refused. A new version cannot bring one along unseen.

use super::table::differs;

/// `expression => answers`, see [`differs`].
const KNOWN: &str = include_str!("functions.txt");

#[test]
fn every_function_gives_the_known_answers_or_is_refused() {
    let lines: Vec<_> = KNOWN.lines().map(|line| line.split_once(" => ").expect("an answer")).collect();
    let wrong: String =
        lines.iter().filter_map(|(expression, answers)| differs(expression, answers)).collect();
    assert!(wrong.is_empty(), "{wrong}");

    let called = |name: &str| {
        let call = format!("{name}(");
        let is_call = |expression: &str| {
            let mut places = expression.match_indices(&call);
            places.any(|(at, _)| !expression[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_'))
        };
        lines.iter().any(|(expression, _)| is_call(expression))
    };
    for function in datafusion_functions::all_default_functions() {
        // It has its own test, because the clock is a column.
        if function.name() != "now" {
            let mut names = function.aliases().iter().map(String::as_str).chain([function.name()]);
            assert!(names.any(called), "nothing is known of {}()", function.name());
        }
    }
}

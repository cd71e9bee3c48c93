//! Functions of the library that are refused, by their name or for what they are given.

use arrow::datatypes::DataType;
use datafusion_expr::Volatility;
use datafusion_expr::expr::ScalarFunction;

use super::{format, planned};
use crate::compile::expression::{Scope, is_json, type_of};
use crate::compile::function::json::{self, Json};
use crate::compile::problem::Problem;
use crate::compile::{text, types};

/// Checks a call as it was written.
pub(super) fn call(call: &ScalarFunction, scope: &Scope) -> Result<(), Problem> {
    if matches!(json::of(call), Some(Json::Get | Json::GetText)) {
        return reads_json(call, scope);
    }
    let name = call.func.name();
    if name == "get_field" {
        // Nobody writes it: the planner makes it of `a.b` where `a` is a column.
        return Err(no_fields());
    }
    if let Some((reason, hint)) = reason(name) {
        return Err(Problem::new(format!("`{name}` is not supported: {reason}")).hint(hint));
    }
    // These compare their arguments.
    if matches!(name, "nullif" | "greatest" | "least") {
        call.args.windows(2).try_for_each(|pair| planned::comparable(&pair[0], &pair[1], scope))?;
    }
    if let Some(problem) = cuts_times(call, scope) {
        return Err(problem);
    }
    if let Some(problem) = format::wrong(call) {
        return Err(problem);
    }
    if name == "now" || call.func.signature().volatility == Volatility::Immutable {
        return Ok(());
    }
    let message = format!("`{name}()` gives other results when rows are read again");
    Err(Problem::new(message).hint("only now() is supported, in the SELECT list"))
}

/// Says that `a.b` is no column.
pub(in crate::compile) fn no_fields() -> Problem {
    let hint = "of JSON write payload -> 'a' ->> 'b'; or declare a column of the source with PATH 'a.b'";
    Problem::new("columns have no fields to access").hint(hint)
}

fn reads_json(call: &ScalarFunction, scope: &Scope) -> Result<(), Problem> {
    let Some(document) = call.args.first().filter(|document| !is_json(document, scope)) else {
        return Ok(());
    };
    let text = text::expression(document, scope);
    let found = type_of(document, scope.schema).map(|found| types::name(&found));
    let found = found.unwrap_or_else(|| "something else".to_owned());
    let problem = Problem::new(format!("`->` and `->>` need JSON, but `{text}` is {found}"));
    Err(problem.hint(format!("write CAST({text} AS JSON)")))
}

/// Functions that cut the fraction of a time off, so that times before 1970 would be rounded up.
fn cuts_times(call: &ScalarFunction, scope: &Scope) -> Option<Problem> {
    let unit = match call.func.name() {
        "to_timestamp_seconds" => "second",
        "to_timestamp_millis" => "millisecond",
        "to_timestamp_micros" => "microsecond",
        _ => return None,
    };
    let argument = call.args.first()?;
    let is_time = matches!(type_of(argument, scope.schema)?, DataType::Timestamp(..));
    let (name, text) = (call.func.name(), text::expression(argument, scope));
    is_time.then(|| {
        let problem = Problem::new(format!("`{name}` takes a number or a text, and `{text}` is a TIMESTAMP"));
        problem.hint(format!("write date_trunc('{unit}', {text})"))
    })
}

/// Why a function is refused, and what to do instead.
fn reason(name: &str) -> Option<(&'static str, &'static str)> {
    const INTERNAL: &str = "it shows how values are kept, which is no part of the language";
    const PARTS: &str = "columns hold single values";
    const VARIES: &str = "it gives other results when rows are read again";
    Some(match name {
        "arrow_cast" | "arrow_try_cast" | "cast_to_type" | "try_cast_to_type" => {
            (INTERNAL, "use CAST(x AS TYPE) or TRY_CAST(x AS TYPE)")
        }
        "arrow_typeof" | "arrow_field" | "arrow_metadata" | "with_metadata" | "union_extract"
        | "union_tag" => (INTERNAL, "`tidemill explain` shows the types of columns"),
        "version" => ("its result changes with the version", "remove it"),
        "named_struct" | "struct" | "row" => {
            (PARTS, "use a column for each part, or JSON and payload -> 'field'")
        }
        "random" | "uuid" | "current_date" | "today" | "current_time" => {
            (VARIES, "only now() is supported, in the SELECT list")
        }
        _ => return None,
    })
}

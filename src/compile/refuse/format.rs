//! Formats of times that the library would take and not keep to.

use chrono::format::{Fixed, Item, Numeric, StrftimeItems};
use datafusion_expr::Expr;
use datafusion_expr::expr::ScalarFunction;

use crate::compile::problem::Problem;

/// Says what is wrong with the formats of a call, if it has any.
pub(super) fn wrong(call: &ScalarFunction) -> Option<Problem> {
    let name = call.func.name();
    match call.args.as_slice() {
        [_, Expr::Literal(format, _)] if name == "to_char" => without_parts(format.try_as_str()??),
        [_, formats @ ..] if name.starts_with("to_timestamp") || name == "to_unixtime" => {
            formats.iter().find_map(|format| incomplete(name, format))
        }
        _ => None,
    }
}

/// Other systems write formats of times as `yyyy-MM-dd`, which would come out as it stands, and match nothing else.
fn without_parts(format: &str) -> Option<Problem> {
    let problem = Problem::new(format!("the format '{format}' has no % in it"));
    let problem = problem.hint("parts of a time are written as in '%Y-%m-%d %H:%M:%S'");
    (!format.contains('%')).then_some(problem)
}

/// The library reads the day alone where a format has some of the time but not hour and minute.
fn incomplete(name: &str, format: &Expr) -> Option<Problem> {
    let Expr::Literal(value, _) = format else {
        let problem = Problem::new(format!("the format of `{name}` has to be a constant"));
        return Some(problem.hint("write it in single quotes, as in '%Y-%m-%d %H:%M:%S'"));
    };
    let format = value.try_as_str()??;
    if let Some(problem) = without_parts(format) {
        return Some(problem);
    }
    let parts = Parts::of(format);
    let missing = match parts {
        Parts { whole: true, .. } | Parts { hour: false, twelve: false, minute: false, less: false, .. } => {
            return None;
        }
        Parts { hour: false, twelve: true, half: false, .. } => "%p, which of the two halves of the day",
        Parts { hour: false, twelve: false, .. } => "%H, the hour",
        Parts { minute: false, .. } => "%M, the minute",
        _ => return None,
    };
    let problem = Problem::new(format!("the format '{format}' has a part of a time without {missing}"));
    Some(problem.hint("write the whole time, as in to_timestamp(s || ':00', '%Y-%m-%d %H:%M')"))
}

/// Which parts of a time a format has.
#[derive(Default)]
struct Parts {
    /// A number or a form that has all parts.
    whole: bool,
    hour: bool,
    /// The hour from 1 to 12.
    twelve: bool,
    half: bool,
    minute: bool,
    /// Seconds or parts of them.
    less: bool,
}

impl Parts {
    fn of(format: &str) -> Self {
        let mut parts = Parts::default();
        for item in StrftimeItems::new(format) {
            match item {
                Item::Numeric(Numeric::Timestamp, _) | Item::Fixed(Fixed::RFC2822 | Fixed::RFC3339) => {
                    parts.whole = true;
                }
                Item::Numeric(Numeric::Hour, _) => parts.hour = true,
                Item::Numeric(Numeric::Hour12, _) => parts.twelve = true,
                Item::Fixed(Fixed::LowerAmPm | Fixed::UpperAmPm) => parts.half = true,
                Item::Numeric(Numeric::Minute, _) => parts.minute = true,
                Item::Numeric(Numeric::Second | Numeric::Nanosecond, _) => parts.less = true,
                Item::Fixed(
                    Fixed::Nanosecond | Fixed::Nanosecond3 | Fixed::Nanosecond6 | Fixed::Nanosecond9,
                ) => parts.less = true,
                _ => {}
            }
        }
        parts
    }
}

//! Calls of aggregate functions: arguments in the types that the functions work on, and constants.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion_common::ScalarValue;
use datafusion_expr::expr::{AggregateFunction as Call, Sort};
use datafusion_expr::{Expr, expr::NullTreatment};

use super::functions::{self, SUPPORTED};
use crate::compile::distinct::incomparable;
use crate::compile::expression::{Compiled, Scope, cast_to, columns_span, compile, condition, unalias};
use crate::compile::problem::Problem;
use crate::compile::{text, types};
use crate::plan::{self, Aggregate, AggregateFunction, OrderBy, Parameter};

/// Compiles a call. What the syntax shows to be wrong has been refused.
pub(super) fn aggregate(call: &Call, expr: &Expr, scope: &Scope) -> Result<Aggregate, Problem> {
    compiled(call, expr, scope).map_err(|problem| problem.near(columns_span(expr)))
}

fn compiled(call: &Call, expr: &Expr, scope: &Scope) -> Result<Aggregate, Problem> {
    let name = call.func.name();
    let text = text::expression(unalias(expr), scope);
    let Some(function) = functions::function(name) else {
        let message = format!("the aggregate function `{name}` is not supported yet");
        return Err(Problem::new(message).hint(SUPPORTED));
    };
    let scope =
        &Scope { no_now: Some("`now()` cannot be used inside an aggregate function"), ..scope.clone() };
    let params = &call.params;
    let (args, second) = pair(function, name, &params.args)?;
    let (argument, parameter) = arguments(function, name, args, &params.order_by)?;
    let counts_rows = function == AggregateFunction::Count
        && matches!(argument, Expr::Literal(value, _) if !value.is_null());
    if counts_rows && params.distinct {
        return Err(
            Problem::new("count(DISTINCT ...) counts the values of an expression").hint("name a column")
        );
    }
    let argument = if counts_rows { None } else { Some(compile(argument, scope)?) };
    let compares = params.distinct
        || matches!(
            function,
            AggregateFunction::Min | AggregateFunction::Max | AggregateFunction::ApproxDistinct
        );
    if let Some(json) = argument.as_ref().filter(|argument| compares && argument.json) {
        return Err(incomparable(&json.expr.text));
    }
    let (argument, result) = typed(function, argument, &text)?;
    let second = second.map(|second| typed(function, Some(compile(second, scope)?), &text)).transpose()?;
    let filter = params.filter.as_deref().map(|filter| condition(filter, scope, "FILTER")).transpose()?;
    let ordered = function.picks() || function.lists();
    let orders = params.order_by.iter().filter(|_| ordered);
    let order_by = orders.map(|sort| order(function, sort, scope)).collect::<Result<Vec<_>, _>>()?;
    if function.picks() && order_by.is_empty() {
        return Err(
            Problem::new(format!("`{name}` needs an order")).hint(format!("write {name}(x ORDER BY t)"))
        );
    }
    // The value of one row is what it was; what is counted or computed is not JSON, an array is.
    let own = argument.as_ref().is_some_and(|argument| argument.json);
    let json = function == AggregateFunction::ArrayAgg || (function.picks() && own);
    let parameter = parameter.or((function == AggregateFunction::ArrayAgg && own).then_some(Parameter::Json));
    Ok(Aggregate {
        function,
        distinct: params.distinct && differs_by_distinct(function),
        argument: argument.map(|argument| argument.expr),
        second: second.and_then(|(second, _)| second).map(|second| second.expr),
        parameter,
        order_by,
        ignore_nulls: params.null_treatment == Some(NullTreatment::IgnoreNulls),
        filter,
        field: Arc::new(plan::field(&text, result, !functions::counts(function), json)),
        text,
    })
}

/// Whether values that come twice make a difference.
fn differs_by_distinct(function: AggregateFunction) -> bool {
    use AggregateFunction as F;
    !matches!(function, F::Min | F::Max | F::BoolAnd | F::BoolOr | F::BitAnd | F::BitOr | F::ApproxDistinct)
}

/// The arguments without the second one of a function of pairs, and that one.
fn pair<'e>(
    function: AggregateFunction,
    name: &str,
    args: &'e [Expr],
) -> Result<(&'e [Expr], Option<&'e Expr>), Problem> {
    match (function, args) {
        (AggregateFunction::OfPairs(_), [_, second]) => Ok((&args[..1], Some(second))),
        (AggregateFunction::OfPairs(_), _) => {
            let problem = Problem::new(format!("`{name}` takes two arguments"));
            Err(problem.hint(format!("write {name}(y, x)")))
        }
        _ => Ok((args, None)),
    }
}

/// The value that a function is called with, and its constant.
fn arguments<'e>(
    function: AggregateFunction,
    name: &str,
    args: &'e [Expr],
    within_group: &[Sort],
) -> Result<(&'e Expr, Option<Parameter>), Problem> {
    match (function, args) {
        (AggregateFunction::StringAgg, [value, Expr::Literal(separator, _)]) => {
            match separator.try_as_str().flatten() {
                Some(separator) => Ok((value, Some(Parameter::Separator(separator.to_owned())))),
                None => {
                    Err(Problem::new("the separator of `string_agg` is a TEXT").hint("string_agg(x, ', ')"))
                }
            }
        }
        (AggregateFunction::StringAgg, _) => {
            let problem = Problem::new("`string_agg` takes a text and a constant separator");
            Err(problem.hint("string_agg(x, ', ')"))
        }
        (function, [value, Expr::Literal(fraction, _), rest @ ..])
            if function.constants_within_group() == Some(rest.len() + 1) =>
        {
            let descending = within_group.first().is_some_and(|sort| !sort.asc);
            let fraction = self::fraction(function, name, fraction, descending)?;
            let parameter = match rest {
                [] => Parameter::Fraction(fraction),
                [sigmas, ..] => Parameter::Clipped { fraction, sigmas: self::sigmas(name, sigmas)? },
            };
            Ok((value, Some(parameter)))
        }
        (function, _) if function.constants_within_group().is_some() => {
            let constants = match function {
                AggregateFunction::SigmaClippedPercentile => {
                    ", a constant fraction, and how many standard deviations from the mean are near"
                }
                _ => " and a constant fraction",
            };
            let problem = Problem::new(format!("`{name}` takes a value{constants}"));
            Err(problem.hint(fraction_hint(function, name)))
        }
        (_, [value]) => Ok((value, None)),
        _ => {
            let problem = Problem::new(format!("`{name}` takes one argument"));
            Err(problem
                .hint("aggregate each by itself; of several columns together, the rows of SELECT DISTINCT"))
        }
    }
}

fn fraction(
    function: AggregateFunction,
    name: &str,
    given: &ScalarValue,
    descending: bool,
) -> Result<f64, Problem> {
    let problem = |message| Err(Problem::new(message).hint(fraction_hint(function, name)));
    match number(given) {
        None => problem(format!("the fraction of `{name}` is a number")),
        Some(given) if !(0.0..=1.0).contains(&given) => {
            problem(format!("the fraction of `{name}` is from 0 to 1, not {given}"))
        }
        Some(given) => Ok(if descending { 1.0 - given } else { given }),
    }
}

fn sigmas(name: &str, given: &Expr) -> Result<f64, Problem> {
    let given = match given {
        Expr::Literal(value, _) => number(value),
        _ => None,
    };
    given.filter(|given| *given > 0.0 && given.is_finite()).ok_or_else(|| {
        let message =
            format!("how many standard deviations from the mean are near to `{name}` is a number above 0");
        Problem::new(message).hint(fraction_hint(AggregateFunction::SigmaClippedPercentile, name))
    })
}

fn number(value: &ScalarValue) -> Option<f64> {
    match value.cast_to(&DataType::Float64) {
        Ok(ScalarValue::Float64(number)) if value.try_as_str().is_none() => number,
        _ => None,
    }
}

fn fraction_hint(function: AggregateFunction, name: &str) -> String {
    let constants = if function == AggregateFunction::SigmaClippedPercentile { "0.95, 3" } else { "0.95" };
    format!("{name}(x, {constants}), or {name}({constants}) WITHIN GROUP (ORDER BY x)")
}

fn order(function: AggregateFunction, sort: &Sort, scope: &Scope) -> Result<OrderBy, Problem> {
    let order = compile(&sort.expr, scope)?;
    if order.json {
        return Err(incomparable(&order.expr.text));
    }
    let nulls_first = match function {
        AggregateFunction::FirstValue => false,
        AggregateFunction::LastValue => true,
        _ => sort.nulls_first,
    };
    Ok(OrderBy { expr: order.expr, descending: !sort.asc, nulls_first })
}

/// The argument in the type that the function works on, and the type of its result.
fn typed(
    function: AggregateFunction,
    argument: Option<Compiled>,
    text: &str,
) -> Result<(Option<Compiled>, DataType), Problem> {
    use AggregateFunction as F;
    use DataType::{Boolean, Float64, Int32, Int64, Utf8};
    let Some(argument) = argument else { return Ok((None, DataType::Int64)) };
    let function_of_texts = matches!(function, F::StringAgg | F::BoolAnd | F::BoolOr);
    let found = if argument.json { "JSON".to_owned() } else { types::name(&argument.data_type) };
    let wrong = |what: &str, hint: &str| {
        let hint = match &argument.data_type {
            DataType::Timestamp(..) if !function_of_texts => "extract(epoch FROM ...) gives seconds",
            DataType::Date32 if !function_of_texts => {
                "subtract a day, as in d - DATE '1970-01-01', which gives days"
            }
            _ if argument.json => "take a field of it, as in CAST(j ->> 'n' AS DOUBLE)",
            _ => hint,
        };
        let message = format!("`{text}` needs {what}, but `{}` is {found}", argument.expr.text);
        Err(Problem::new(message).hint(hint))
    };
    let works_on = match (function, &argument.data_type) {
        (F::Sum | F::Avg, Int32 | Int64) => Int64,
        (F::Sum | F::Avg, Float64) => Float64,
        (F::VarPop | F::VarSamp | F::StddevPop | F::StddevSamp, Int32 | Int64 | Float64) => Float64,
        (
            F::Median | F::PercentileCont | F::ApproxPercentileCont | F::SigmaClippedPercentile,
            Int32 | Int64 | Float64,
        ) => Float64,
        (F::OfPairs(_), Int32 | Int64 | Float64) => Float64,
        (F::BitAnd | F::BitOr | F::BitXor, Int32 | Int64) => Int64,
        (F::BoolAnd | F::BoolOr, Boolean) => Boolean,
        (F::StringAgg, Utf8) if !argument.json => Utf8,
        (F::Sum | F::Avg | F::VarPop | F::VarSamp | F::StddevPop | F::StddevSamp | F::OfPairs(_), _) => {
            return wrong("a number", "CAST it to BIGINT or DOUBLE");
        }
        (F::Median | F::PercentileCont | F::ApproxPercentileCont | F::SigmaClippedPercentile, _) => {
            return wrong("a number", "CAST it to BIGINT or DOUBLE");
        }
        (F::BitAnd | F::BitOr | F::BitXor, _) => return wrong("an integer", "CAST it to BIGINT"),
        (F::BoolAnd | F::BoolOr, _) => return wrong("a BOOLEAN", "compare it with something"),
        (F::StringAgg, _) => return wrong("TEXT", "CAST it to TEXT"),
        (F::Count | F::ApproxDistinct | F::ArrayAgg, other) => other.clone(),
        (F::Min | F::Max | F::FirstValue | F::LastValue | F::FirstRows, other) => other.clone(),
    };
    let result = functions::result(function, &argument.data_type);
    Ok((Some(cast_to(argument, &works_on)), result))
}

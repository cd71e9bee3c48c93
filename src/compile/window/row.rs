//! The windows that hold a row, for windows in FROM: a function of its event time.

use std::sync::Arc;

use arrow::array::{Array, AsArray, TimestampNanosecondArray};
use arrow::datatypes::{DataType, TimestampNanosecondType};
use datafusion_common::{Result, ScalarValue, exec_err};
use datafusion_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use super::{Edge, window};
use crate::compile::types::TIMESTAMP;
use crate::plan::{Bound, Window};

/// `window_of_row('window_start', 'hop', 2, time, slide, size)`: of the windows that may hold the row that one which
/// begins two slides before the last.
pub(super) const NAME: &str = "window_of_row";

/// The function; nobody can write it.
pub(super) fn function() -> ScalarUDF {
    ScalarUDF::new_from_impl(WindowOfRow(Signature::variadic_any(Volatility::Immutable)))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct WindowOfRow(Signature);

/// An edge of a window of a row.
pub(in crate::compile) struct OfRow<'a> {
    pub edge: Edge,
    pub window: Window,
    /// Which one, where several hold the row.
    number: i64,
    pub time: &'a Expr,
}

impl OfRow<'_> {
    /// How far event time has come in the edge, where it has come to `time` in the row.
    pub fn bound(&self, time: Bound) -> Bound {
        let (slide_ns, size_ns) = match (self.edge, self.window) {
            (Edge::Start, Window::Tumble { size_ns } | Window::Cumulate { size_ns, .. }) => {
                (size_ns, size_ns)
            }
            (Edge::Start, Window::Hop { slide_ns, size_ns }) => (slide_ns, size_ns),
            _ => return time,
        };
        Bound::Starts { of: Box::new(time), slide_ns, size_ns }
    }
}

/// The edge of a window of a row that an expression of the planner is, if it is one.
pub(in crate::compile) fn of(expr: &Expr) -> Option<OfRow<'_>> {
    let Expr::ScalarFunction(call) = expr else { return None };
    if call.func.name() != NAME {
        return None;
    }
    let [edge, kind, number, time, lengths @ ..] = call.args.as_slice() else { return None };
    let text = |expr: &'_ Expr| match expr {
        Expr::Literal(ScalarValue::Utf8(text), _) => text.clone(),
        _ => None,
    };
    let integer = |expr: &Expr| match expr {
        Expr::Literal(ScalarValue::Int64(length), _) => *length,
        _ => None,
    };
    let lengths: Vec<i64> = lengths.iter().map(integer).collect::<Option<_>>()?;
    let window = window(&text(kind)?, &lengths)?;
    Some(OfRow { edge: Edge::named(&text(edge)?)?, window, number: integer(number)?, time })
}

/// Start and end of a window that may hold a time; `None` beyond the ends of time.
fn edges(window: Window, number: i64, time: i64) -> Option<(i64, i64)> {
    let floor = |length: i64| time.checked_sub(time.rem_euclid(length));
    match window {
        Window::Tumble { size_ns } => {
            floor(size_ns).and_then(|start| Some((start, start.checked_add(size_ns)?)))
        }
        Window::Hop { slide_ns, size_ns } => {
            let start = floor(slide_ns)?.checked_sub(number.checked_mul(slide_ns)?)?;
            Some((start, start.checked_add(size_ns)?))
        }
        Window::Cumulate { step_ns, size_ns } => {
            let steps = number.checked_add(1)?.checked_mul(step_ns)?;
            Some((floor(size_ns)?, floor(step_ns)?.checked_add(steps)?))
        }
        Window::Session { .. } | Window::Given => None,
    }
}

impl ScalarUDFImpl for WindowOfRow {
    fn name(&self) -> &str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.0
    }

    fn return_type(&self, _types: &[DataType]) -> Result<DataType> {
        Ok(TIMESTAMP)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let literal = |value: &ColumnarValue| match value {
            ColumnarValue::Scalar(value) => Some(Expr::Literal(value.clone(), None)),
            ColumnarValue::Array(_) => None,
        };
        let [edge, kind, number, time, lengths @ ..] = args.args.as_slice() else {
            return exec_err!("{NAME} needs a time");
        };
        let constants = [edge, kind, number].into_iter().chain(lengths).map(literal);
        let Some(mut constants) = constants.collect::<Option<Vec<_>>>() else {
            return exec_err!("{NAME} is of constants");
        };
        constants.insert(3, Expr::Literal(ScalarValue::Null, None));
        let call = Expr::ScalarFunction(datafusion_expr::expr::ScalarFunction::new_udf(
            Arc::new(function()),
            constants,
        ));
        let Some(OfRow { edge, window, number, .. }) = of(&call) else {
            return exec_err!("{NAME} is of constants");
        };
        let time = time.to_array(args.number_rows)?;
        let Some(times) = time.as_primitive_opt::<TimestampNanosecondType>() else {
            return exec_err!("a window is over a TIMESTAMP");
        };
        if times.null_count() > 0 {
            return exec_err!("the time of a window is NULL");
        }
        let edges = times.values().iter().map(|time| match (edge, edges(window, number, *time)) {
            (Edge::Start, Some((start, _))) => Ok(start),
            (Edge::End, Some((_, end))) => Ok(end),
            (_, None) => exec_err!("the window of a row reaches beyond the ends of TIMESTAMP"),
        });
        let edges = edges.collect::<Result<Vec<_>>>()?;
        let array =
            TimestampNanosecondArray::new(edges.into(), None).with_data_type(times.data_type().clone());
        Ok(ColumnarValue::Array(Arc::new(array)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_of_a_time_are_aligned_to_1970_also_before_it() {
        let tumble = Window::Tumble { size_ns: 10 };
        assert_eq!(
            [edges(tumble, 0, 10), edges(tumble, 0, 19), edges(tumble, 0, -1)],
            [Some((10, 20)), Some((10, 20)), Some((-10, 0))]
        );
        let hop = Window::Hop { slide_ns: 4, size_ns: 10 };
        assert_eq!(
            [edges(hop, 0, 9), edges(hop, 1, 9), edges(hop, 2, 9)],
            [Some((8, 18)), Some((4, 14)), Some((0, 10))]
        );
        let cumulate = Window::Cumulate { step_ns: 2, size_ns: 10 };
        assert_eq!([edges(cumulate, 0, 13), edges(cumulate, 1, 13)], [Some((10, 14)), Some((10, 16))]);
        assert_eq!(edges(tumble, 0, i64::MAX), None);
        assert_eq!(edges(hop, 1, i64::MIN + 1), None);
    }
}

//! Limits on arguments: one row could fill the memory with a text, or get the end of the range for a time.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Float64Array, Int64Array, StringArray};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use datafusion_common::cast::{as_float64_array, as_int64_array, as_string_array};
use datafusion_common::{Result, exec_err};
use datafusion_expr::expr::ScalarFunction;
use datafusion_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

/// Longest text that `repeat`, `lpad`, `rpad` and `replace` may make: as long as a record may be.
const BYTES_MAX: usize = 1 << 20;

/// Which function is limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Limited {
    /// Gives the count back.
    Repeat,
    /// Gives the length back.
    Pad,
    /// Gives the text back.
    Replace,
    /// Gives the seconds back: beyond the range they would stand still at its end.
    Seconds,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Limit {
    function: Limited,
    signature: Signature,
}

/// Puts the limit around an argument of the functions that need it.
pub(in crate::compile) fn limited(mut call: ScalarFunction) -> (ScalarFunction, bool) {
    let function = match (call.func.name(), call.args.as_slice()) {
        ("repeat", [_, _]) => Limited::Repeat,
        ("lpad" | "rpad", [_, _, ..]) => Limited::Pad,
        ("replace", [_, _, _]) => Limited::Replace,
        ("to_timestamp", [_]) => Limited::Seconds,
        _ => return (call, false),
    };
    let signature = Signature::any(call.args.len(), Volatility::Immutable);
    let limit = Arc::new(ScalarUDF::new_from_impl(Limit { function, signature }));
    let argument = function.argument();
    call.args[argument] = Expr::ScalarFunction(ScalarFunction::new_udf(limit, call.args.clone()));
    (call, true)
}

impl Limited {
    /// The argument around which the limit stands.
    fn argument(self) -> usize {
        usize::from(matches!(self, Limited::Repeat | Limited::Pad))
    }
}

impl ScalarUDFImpl for Limit {
    fn name(&self) -> &str {
        match self.function {
            Limited::Repeat => "limited_count",
            Limited::Pad => "limited_length",
            Limited::Replace => "limited_text",
            Limited::Seconds => "limited_seconds",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        Ok(arguments[self.function.argument()].clone())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = if args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_))) {
            1
        } else {
            args.number_rows
        };
        let column = |at: usize, data_type| -> Result<ArrayRef> {
            Ok(cast(&args.args[at].to_array(rows)?, data_type)?)
        };
        if self.function == Limited::Seconds {
            if args.args[0].data_type() == DataType::Float64 {
                in_range(as_float64_array(&column(0, &DataType::Float64)?)?)?;
            }
            return Ok(args.args[0].clone());
        }
        let text = column(0, &DataType::Utf8)?;
        let text = as_string_array(&text)?;
        match self.function {
            Limited::Replace => {
                let (from, to) = (column(1, &DataType::Utf8)?, column(2, &DataType::Utf8)?);
                let (from, to) = (as_string_array(&from)?, as_string_array(&to)?);
                check(rows, |row| replaced(text, from, to, row))?;
                Ok(args.args[0].clone())
            }
            function => {
                let count = column(1, &DataType::Int64)?;
                let count = as_int64_array(&count)?;
                let unit = if function == Limited::Repeat { Some(text) } else { None };
                check(rows, |row| repeated(count, unit, row))?;
                Ok(args.args[1].clone())
            }
        }
    }
}

/// Seconds of a double whose nanoseconds have 64 bits.
fn in_range(seconds: &Float64Array) -> Result<()> {
    const SECONDS: Range<f64> = -9_223_372_036.854_776..9_223_372_036.854_776;
    match seconds.iter().flatten().find(|seconds| !SECONDS.contains(seconds)) {
        Some(seconds) => exec_err!("{seconds} seconds since 1970 are no TIMESTAMP"),
        None => Ok(()),
    }
}

fn check(rows: usize, bytes: impl Fn(usize) -> usize) -> Result<()> {
    match (0..rows).map(bytes).find(|bytes| *bytes > BYTES_MAX) {
        Some(bytes) => exec_err!("a text of {bytes} bytes is longer than {BYTES_MAX} bytes"),
        None => Ok(()),
    }
}

/// Bytes of a text that is repeated; of one that is padded at least as many as characters.
fn repeated(count: &Int64Array, text: Option<&StringArray>, row: usize) -> usize {
    if count.is_null(row) || text.is_some_and(|text| text.is_null(row)) {
        return 0;
    }
    let length = text.map_or(1, |text| text.value(row).len());
    usize::try_from(count.value(row)).unwrap_or(0).saturating_mul(length)
}

fn replaced(text: &StringArray, from: &StringArray, to: &StringArray, row: usize) -> usize {
    if text.is_null(row) || from.is_null(row) || to.is_null(row) {
        return 0;
    }
    let (text, from, to) = (text.value(row), from.value(row), to.value(row));
    // Where even the most matches are few enough, they need not be counted.
    if text.len().saturating_add(1).saturating_mul(to.len().saturating_add(1)) <= BYTES_MAX {
        return 0;
    }
    let matches = text.matches(from).count();
    (text.len() - matches * from.len()).saturating_add(matches.saturating_mul(to.len()))
}

#[cfg(test)]
mod tests {
    use datafusion_common::ScalarValue;

    use super::*;

    fn limit(function: Limited, args: Vec<ScalarValue>) -> Result<ColumnarValue> {
        let signature = Signature::any(args.len(), Volatility::Immutable);
        let fields = args.iter().map(|arg| Arc::new(arrow::datatypes::Field::new("", arg.data_type(), true)));
        Limit { function, signature }.invoke_with_args(ScalarFunctionArgs {
            arg_fields: fields.collect(),
            args: args.into_iter().map(ColumnarValue::Scalar).collect(),
            number_rows: 8192,
            return_field: Arc::new(arrow::datatypes::Field::new("", DataType::Utf8, true)),
            config_options: Arc::default(),
        })
    }

    #[test]
    fn texts_within_the_limit_pass_and_longer_ones_fail() {
        let text = |length: usize| ScalarValue::Utf8(Some("x".repeat(length)));
        let count = |count: i64| ScalarValue::Int64(Some(count));
        assert!(limit(Limited::Repeat, vec![text(2), count(1 << 19)]).is_ok());
        assert!(limit(Limited::Repeat, vec![text(2), count((1 << 19) + 1)]).is_err());
        assert!(limit(Limited::Repeat, vec![text(2), count(i64::MAX)]).is_err());
        assert!(limit(Limited::Repeat, vec![text(0), count(i64::MAX)]).is_ok());
        assert!(limit(Limited::Repeat, vec![text(9), count(-1)]).is_ok());
        assert!(limit(Limited::Repeat, vec![ScalarValue::Utf8(None), count(i64::MAX)]).is_ok());
        assert!(limit(Limited::Pad, vec![text(0), count(1 << 20)]).is_ok());
        assert!(limit(Limited::Pad, vec![text(0), count((1 << 20) + 1)]).is_err());
        assert!(limit(Limited::Replace, vec![text(1 << 10), text(1), text(1 << 10)]).is_ok());
        assert!(limit(Limited::Replace, vec![text((1 << 10) + 1), text(1), text(1 << 10)]).is_err());
        assert!(limit(Limited::Replace, vec![text(1 << 20), text(2), text(1)]).is_ok());
    }
}

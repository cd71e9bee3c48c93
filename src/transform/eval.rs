//! Evaluates expressions so that a row that fails does not take its batch with it.
//!
//! What a row gives is what it gives in a batch of its own: where an expression fails on a batch, the batch
//! is halved until the failing rows stand alone. So results do not depend on how rows were batched.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, AsArray, BooleanArray, RecordBatch, RecordBatchOptions, TimestampNanosecondArray,
    new_empty_array, new_null_array,
};
use arrow::compute::{CastOptions, cast_with_options, concat};
use arrow::datatypes::{DataType, Field, FieldRef, Schema, TimeUnit};
use datafusion_common::DataFusionError;

use crate::batch::Batch;
use crate::dead_letter::{DeadLetter, Reason};
use crate::plan::Expr;
use crate::time::NANOS_PER_MILLI;
use crate::transform::Output;
use crate::transform::letter::row_json;
use crate::{unwind, wording};

/// Longest text that an expression may give: no document holds more, and functions such as `repeat` could fill
/// the memory with one row.
pub const TEXT_BYTES_MAX: usize = 16 << 20;

/// Evaluates expressions over one batch and collects the rows on which any of them fails.
pub struct Evaluation<'a> {
    batch: &'a Batch,
    /// The rows with the column `now()` behind them, made when an expression first asks for it.
    with_now: Option<RecordBatch>,
    failed: Failed,
}

/// Rows that cannot be used, each with the first thing that was wrong with it.
#[derive(Debug, Default)]
pub struct Failed(BTreeMap<usize, Failure>);

/// What was wrong with a row.
#[derive(Debug, PartialEq, Eq)]
struct Failure {
    reason: Reason,
    rule: String,
    error: String,
}

impl<'a> Evaluation<'a> {
    /// An evaluation over the rows of `batch`.
    pub fn new(batch: &'a Batch) -> Self {
        Evaluation { batch, with_now: None, failed: Failed::default() }
    }

    /// The values of `expr`, cast to `to`: one for each row of the batch, NULL where it fails.
    pub fn column(&mut self, expr: &Expr, to: &DataType) -> ArrayRef {
        let rows = if expr.uses_now {
            self.with_now.get_or_insert_with(|| with_now(self.batch))
        } else {
            &self.batch.rows
        };
        if rows.num_rows() == 0 {
            return new_empty_array(to);
        }
        if let Ok(values) = attempt(expr, rows, to) {
            return values;
        }
        let mut parts = Vec::new();
        isolate(expr, rows, to, 0, &mut parts, &mut self.failed);
        joined(&parts, &expr.text, to, &mut self.failed)
    }

    /// The values of `expr` for a column of a relation: a NULL in a column without NULLs is a failure too.
    pub fn field(&mut self, expr: &Expr, field: &FieldRef) -> ArrayRef {
        let values = self.column(expr, field.data_type());
        if !field.is_nullable() && values.logical_null_count() > 0 {
            let nulls = values.logical_nulls().expect("there are nulls");
            for row in (0..values.len()).filter(|row| nulls.is_null(*row)) {
                self.failed.add(row, || Failure {
                    reason: Reason::NotNull,
                    rule: format!("NOT NULL {}", field.name()),
                    error: format!("{} is NULL", expr.text),
                });
            }
        }
        values
    }

    /// The rows that failed.
    pub fn finish(self) -> Failed {
        self.failed
    }
}

impl Failed {
    /// Whether all rows are good.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Says that a row cannot be used, unless something else is wrong with it already.
    pub fn push(&mut self, row: usize, reason: Reason, rule: String, error: &str) {
        self.add(row, || Failure { reason, rule, error: error.to_owned() });
    }

    /// The rows that failed.
    pub fn rows(&self) -> impl Iterator<Item = usize> {
        self.0.keys().copied()
    }

    /// Counts the failed rows as dead and writes their letters. A row that is taken back had its letter when
    /// it was added; one of which `is_known` says so takes the place of a row that failed, too. Gives the mask
    /// of the good rows.
    pub fn report(
        self,
        batch: &Batch,
        stage: &str,
        out: &mut Output,
        is_known: impl Fn(usize) -> bool,
    ) -> BooleanArray {
        let mut good = vec![true; batch.len()];
        for (row, failure) in self.0 {
            good[row] = false;
            out.dead += batch.diff(row);
            if batch.diff(row) > 0 && !is_known(row) {
                let origin = batch.origin.as_ref().map(|origin| origin.row(row));
                out.letters.push(DeadLetter {
                    origin,
                    row: if origin.is_none() { Some(row_json(&batch.rows, row)) } else { None },
                    reason: failure.reason,
                    error: failure.error,
                    rule: failure.rule,
                    stage: stage.to_owned(),
                });
            }
        }
        BooleanArray::from(good)
    }

    /// Keeps the first failure of a row.
    fn add(&mut self, row: usize, failure: impl FnOnce() -> Failure) {
        self.0.entry(row).or_insert_with(failure);
    }
}

/// Evaluates over all of `rows` or fails as a whole.
fn attempt(expr: &Expr, rows: &RecordBatch, to: &DataType) -> Result<ArrayRef, String> {
    let evaluate = || expr.physical.evaluate(rows).and_then(|value| value.into_array(rows.num_rows()));
    let values = unwind::catch(evaluate).map_err(|_| wording::panic())?.map_err(|error| message(&error))?;
    let values = if values.data_type() == to {
        values
    } else {
        let options = CastOptions { safe: false, ..CastOptions::default() };
        cast_with_options(&values, to, &options).map_err(|error| wording::error(&error.to_string()))?
    };
    match longest_text(&values) {
        longest if longest > TEXT_BYTES_MAX => {
            Err(format!("a text of {longest} bytes is longer than {TEXT_BYTES_MAX} bytes"))
        }
        _ => Ok(values),
    }
}

/// Bytes of the longest text, as far as it matters: 0 where all together are within the limit.
fn longest_text(values: &ArrayRef) -> usize {
    match values.as_string_opt::<i32>() {
        Some(texts) if texts.values().len() > TEXT_BYTES_MAX => {
            texts.offsets().lengths().max().unwrap_or_default()
        }
        _ => 0,
    }
}

/// Evaluates by halves; `start` is the number of the first row in the batch.
fn isolate(
    expr: &Expr,
    rows: &RecordBatch,
    to: &DataType,
    start: usize,
    parts: &mut Vec<ArrayRef>,
    failed: &mut Failed,
) {
    match attempt(expr, rows, to) {
        Ok(values) => parts.push(values),
        Err(error) if rows.num_rows() == 1 => {
            parts.push(new_null_array(to, 1));
            failed.add(start, || Failure { reason: Reason::Expression, rule: expr.text.clone(), error });
        }
        Err(_) => {
            let half = rows.num_rows() / 2;
            isolate(expr, &rows.slice(0, half), to, start, parts, failed);
            isolate(expr, &rows.slice(half, rows.num_rows() - half), to, start + half, parts, failed);
        }
    }
}

/// The parts as one column. Texts of more than 2 GiB together have no place in one: then all rows fail, since
/// the batch would otherwise end the process.
fn joined(parts: &[ArrayRef], rule: &str, to: &DataType, failed: &mut Failed) -> ArrayRef {
    let offsets = parts.iter().filter_map(|part| part.as_string_opt::<i32>()).map(|texts| texts.offsets());
    let bytes: usize = offsets.flat_map(|offsets| offsets.lengths()).sum();
    if i32::try_from(bytes).is_err() {
        let rows = parts.iter().map(|part| part.len()).sum();
        for row in 0..rows {
            failed.add(row, || Failure {
                reason: Reason::Expression,
                rule: rule.to_owned(),
                error: format!("the texts of a batch have {bytes} bytes together, more than 2 GiB"),
            });
        }
        return new_null_array(to, rows);
    }
    let parts: Vec<_> = parts.iter().map(AsRef::as_ref).collect();
    concat(&parts).expect("parts of one type")
}

/// The innermost error without its decoration: it names the value.
fn message(error: &DataFusionError) -> String {
    match error.find_root() {
        DataFusionError::ArrowError(error, _) => wording::error(&error.to_string()),
        root => wording::error(&root.strip_backtrace()),
    }
}

fn with_now(batch: &Batch) -> RecordBatch {
    let schema = batch.rows.schema();
    let mut fields: Vec<FieldRef> = schema.fields().iter().cloned().collect();
    fields.push(Arc::new(Field::new("now()", DataType::Timestamp(TimeUnit::Nanosecond, None), false)));
    let now = batch.wall_ms.saturating_mul(NANOS_PER_MILLI);
    let mut columns = batch.rows.columns().to_vec();
    columns.push(Arc::new(TimestampNanosecondArray::from_value(now, batch.len())));
    let options = RecordBatchOptions::new().with_row_count(Some(batch.len()));
    RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options)
        .expect("one more column of the same length")
}

#[cfg(test)]
mod tests {
    use arrow::array::{Array, StringArray};

    use super::*;

    #[test]
    fn texts_beyond_two_gib_fail_their_rows_and_not_the_process() {
        let text: ArrayRef = Arc::new(StringArray::from(vec!["x".repeat(TEXT_BYTES_MAX), "y".to_owned()]));
        let parts = |count: usize| vec![Arc::clone(&text); count];
        let mut failed = Failed::default();
        let few = joined(&parts(2), "f(x)", &DataType::Utf8, &mut failed);
        assert_eq!((few.len(), few.null_count(), failed.0.len()), (4, 0, 0));
        let many = joined(&parts(128), "f(x)", &DataType::Utf8, &mut failed);
        assert_eq!((many.len(), many.null_count(), failed.0.len()), (256, 256, 256));
        assert!(failed.0[&0].error.contains("more than 2 GiB"), "{failed:?}");
    }
}

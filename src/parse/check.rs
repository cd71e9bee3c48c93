//! CHECK constraints over a chunk: FALSE rejects a row, NULL passes, an error rejects the row that caused it.

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, UInt64Array};
use arrow::compute::{filter, filter_record_batch};
use arrow::util::display::array_value_to_string;
use datafusion_common::{DataFusionError, Result};
use datafusion_physical_expr::utils::collect_columns;

use super::fault::shortened;
use crate::dead_letter::Reason;
use crate::plan::{Expr, Source};
use crate::record::Reject;
use crate::{unwind, wording};

/// Evaluates the checks in order, each on the rows that passed those before it, so that a check may rely on
/// an earlier one. Gives the rows that are left; what was wrong with the others is added to `rejects`.
pub(super) fn apply(
    source: &Source,
    mut rows: RecordBatch,
    mut offsets: UInt64Array,
    rejects: &mut Vec<Reject>,
) -> (RecordBatch, UInt64Array) {
    for check in &source.checks {
        let keep = vec![true; rows.num_rows()];
        // Of a record that deletes only the key is there; its last column says so.
        let deletes = source.table.as_ref().and_then(|_| rows.columns().last().cloned());
        let mut judged = Judged { check, keep, deletes, offsets: &offsets, rejects };
        judged.rows(&rows, 0);
        let keep = judged.keep;
        if keep.contains(&false) {
            (rows, offsets) = kept(&rows, &offsets, &BooleanArray::from(keep));
        }
    }
    (rows, offsets)
}

fn kept(rows: &RecordBatch, offsets: &UInt64Array, keep: &BooleanArray) -> (RecordBatch, UInt64Array) {
    let rows = filter_record_batch(rows, keep).expect("the mask has one element per row");
    let offsets = filter(offsets, keep).expect("the mask has one element per row");
    (rows, offsets.as_primitive().clone())
}

/// One check with its verdicts.
struct Judged<'a> {
    check: &'a Expr,
    keep: Vec<bool>,
    /// Rows of a table that the check is not about.
    deletes: Option<ArrayRef>,
    offsets: &'a UInt64Array,
    rejects: &'a mut Vec<Reject>,
}

impl Judged<'_> {
    /// Judges `rows`, of which the first is row `start` of the chunk. An error halves them until the row
    /// stands alone that causes it.
    fn rows(&mut self, rows: &RecordBatch, start: usize) {
        let count = rows.num_rows();
        if count == 0 {
            return;
        }
        match self.evaluate(rows) {
            Ok(verdicts) if verdicts.false_count() == 0 => {}
            Ok(verdicts) => {
                for row in (0..count).filter(|row| verdicts.is_valid(*row) && !verdicts.value(*row)) {
                    let rule = self.rule();
                    let error = format!("{rule} is false{}", self.operands(rows, row));
                    self.reject(start + row, Reason::Check, error, rule);
                }
            }
            Err(error) if count == 1 => {
                let rule = self.rule();
                let why = wording::error(&error.strip_backtrace());
                let error = format!("{rule} failed{}: {why}", self.operands(rows, 0));
                self.reject(start, Reason::Expression, error, rule);
            }
            Err(_) => {
                let half = count / 2;
                self.rows(&rows.slice(0, half), start);
                self.rows(&rows.slice(half, count - half), start + half);
            }
        }
    }

    fn evaluate(&self, rows: &RecordBatch) -> Result<BooleanArray> {
        let evaluate = || self.check.physical.evaluate(rows)?.into_array(rows.num_rows());
        let verdicts =
            unwind::catch(evaluate).map_err(|_| DataFusionError::Execution(wording::panic()))??;
        Ok(datafusion_common::cast::as_boolean_array(&verdicts)?.clone())
    }

    fn reject(&mut self, row: usize, reason: Reason, error: String, rule: String) {
        if self.deletes.as_ref().is_some_and(|deletes| deletes.as_boolean().value(row)) {
            return;
        }
        self.keep[row] = false;
        self.rejects.push(Reject { offset: self.offsets.value(row), reason, error, rule });
    }

    /// The constraint as the user wrote it.
    fn rule(&self) -> String {
        let text = self.check.text.trim();
        let named = text.get(..5).is_some_and(|word| word.eq_ignore_ascii_case("check"));
        if named { text.to_owned() } else { format!("CHECK ({text})") }
    }

    /// `: soc = -5, speed = NULL`, the columns that the check looks at.
    fn operands(&self, rows: &RecordBatch, row: usize) -> String {
        let mut columns: Vec<usize> =
            collect_columns(&self.check.physical).iter().map(|column| column.index()).collect();
        columns.sort_unstable();
        let shown = columns.iter().filter(|index| **index < rows.num_columns()).map(|index| {
            let column = rows.column(*index);
            let value = match column.is_null(row) {
                true => "NULL".to_owned(),
                false => array_value_to_string(column, row).unwrap_or_default(),
            };
            format!("{} = {}", rows.schema_ref().field(*index).name(), shortened(&value))
        });
        let shown: Vec<String> = shown.collect();
        if shown.is_empty() { String::new() } else { format!(": {}", shown.join(", ")) }
    }
}

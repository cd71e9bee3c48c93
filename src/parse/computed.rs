//! Computed columns over a chunk: an error, or NULL in a column that is NOT NULL, rejects the row.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, UInt64Array, new_null_array};
use arrow::compute::{concat, filter, filter_record_batch};
use datafusion_common::{DataFusionError, Result};

use crate::dead_letter::Reason;
use crate::plan::{Computed, Source};
use crate::record::Reject;
use crate::{unwind, wording};

/// Computes the columns, each on the rows that are left. Gives these rows; what was wrong with the others is added
/// to `rejects`.
pub(super) fn apply(
    source: &Source,
    mut rows: RecordBatch,
    mut offsets: UInt64Array,
    rejects: &mut Vec<Reject>,
) -> (RecordBatch, UInt64Array) {
    for computed in &source.computed {
        let count = rows.num_rows();
        let mut computing =
            Computing { source, computed, offsets: &offsets, rejects, keep: vec![true; count] };
        let mut parts = Vec::new();
        computing.rows(&rows, 0, &mut parts);
        let keep = BooleanArray::from(computing.keep);
        let parts: Vec<&dyn Array> = parts.iter().map(AsRef::as_ref).collect();
        let kind = rows.schema_ref().field(computed.column).data_type().clone();
        let values = if parts.is_empty() { Ok(new_null_array(&kind, 0)) } else { concat(&parts) };
        let values = values.expect("the parts are of one type");
        let kept = "the mask has one element per row";
        let mut columns = filter_record_batch(&rows, &keep).expect(kept).columns().to_vec();
        columns[computed.column] = filter(&values, &keep).expect(kept);
        offsets = filter(&offsets, &keep).expect(kept).as_primitive().clone();
        rows = RecordBatch::try_new(rows.schema(), columns).expect("rows without a value are taken out");
    }
    (rows, offsets)
}

/// One column, and which rows have it.
struct Computing<'a> {
    source: &'a Source,
    computed: &'a Computed,
    offsets: &'a UInt64Array,
    rejects: &'a mut Vec<Reject>,
    keep: Vec<bool>,
}

impl Computing<'_> {
    /// Computes `rows`, of which the first is row `start` of the chunk. An error halves them until the row stands
    /// alone that causes it.
    fn rows(&mut self, rows: &RecordBatch, start: usize, parts: &mut Vec<ArrayRef>) {
        let count = rows.num_rows();
        if count == 0 {
            return;
        }
        match self.evaluate(rows) {
            Ok(values) => {
                let column = &self.source.columns[self.computed.column];
                for row in (0..count).filter(|row| !column.nullable && values.is_null(*row)) {
                    let error = format!("column \"{}\", which is computed, is NULL", column.name);
                    self.reject(start + row, Reason::NotNull, error, format!("NOT NULL {}", column.name));
                }
                parts.push(values);
            }
            Err(error) if count == 1 => {
                let text = &self.computed.expr.text;
                let name = &self.source.columns[self.computed.column].name;
                let why = wording::error(&error.strip_backtrace());
                self.reject(start, Reason::Expression, format!("column \"{name}\": {why}"), text.clone());
                parts.push(new_null_array(rows.column(self.computed.column).data_type(), 1));
            }
            Err(_) => {
                let half = count / 2;
                self.rows(&rows.slice(0, half), start, parts);
                self.rows(&rows.slice(half, count - half), start + half, parts);
            }
        }
    }

    fn evaluate(&self, rows: &RecordBatch) -> Result<ArrayRef> {
        let physical = Arc::clone(&self.computed.expr.physical);
        let evaluate = || physical.evaluate(rows)?.into_array(rows.num_rows());
        unwind::catch(evaluate).map_err(|_| DataFusionError::Execution(wording::panic()))?
    }

    fn reject(&mut self, row: usize, reason: Reason, error: String, rule: String) {
        self.keep[row] = false;
        self.rejects.push(Reject { offset: self.offsets.value(row), reason, error, rule });
    }
}

//! Rows in dead letters that have no record to point to.

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::Schema;

use crate::render::RowWriter;

/// A row as a JSON object.
pub fn row_json(rows: &RecordBatch, row: usize) -> String {
    RowWriter::new(rows.schema_ref(), None).row_text(rows, row)
}

/// The first row of `columns`, the first ones of `schema`, as a JSON object.
pub fn object_json(schema: &Schema, columns: Vec<ArrayRef>) -> String {
    let fields = schema.fields()[..columns.len()].to_vec();
    if columns.is_empty() {
        return "{}".into();
    }
    let rows = RecordBatch::try_new(Schema::new(fields).into(), columns);
    row_json(&rows.expect("columns of the schema"), 0)
}

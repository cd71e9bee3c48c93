//! Filters and projections: what a leg does to each row by itself.

use arrow::array::{Array, AsArray, BooleanArray, RecordBatch, RecordBatchOptions};
use arrow::compute::{and, prep_null_mask_filter};
use arrow::datatypes::{DataType, SchemaRef};

use crate::batch::Batch;
use crate::plan::{Expr, Step};
use crate::transform::Output;
use crate::transform::eval::Evaluation;

/// The steps of one leg.
pub struct Steps {
    /// Name of the leg: the stage of its dead letters.
    stage: String,
    steps: Vec<Step>,
}

impl Steps {
    /// The steps of the leg `stage`.
    pub fn new(stage: impl Into<String>, steps: Vec<Step>) -> Self {
        Steps { stage: stage.into(), steps }
    }

    /// Takes a batch through all steps. What is left of it, if anything, goes to `out`.
    pub fn apply(&mut self, mut batch: Batch, out: &mut Output) {
        for step in &self.steps {
            if batch.is_empty() {
                return;
            }
            batch = match step {
                Step::Filter(predicate) => keep(predicate, batch, &self.stage, out),
                Step::Project { exprs, schema } => project(exprs, schema, &batch, &self.stage, out),
            };
        }
        if !batch.is_empty() {
            out.batches.push(batch);
        }
    }
}

/// Keeps the rows for which `predicate` is true; NULL is not true.
fn keep(predicate: &Expr, batch: Batch, stage: &str, out: &mut Output) -> Batch {
    let mut evaluation = Evaluation::new(&batch);
    let values = evaluation.column(predicate, &DataType::Boolean);
    let failed = evaluation.finish();
    let mut wanted = values.as_boolean().clone();
    if wanted.null_count() > 0 {
        wanted = prep_null_mask_filter(&wanted);
    }
    if wanted.true_count() == batch.len() {
        return batch;
    }
    let dead_before = out.dead;
    if !failed.is_empty() {
        let good = failed.report(&batch, stage, out);
        wanted = and(&wanted, &good).expect("masks of one length");
    }
    let kept = filter(&batch, &wanted);
    out.filtered += batch.diff_sum() - kept.diff_sum() - (out.dead - dead_before);
    kept
}

/// Computes the columns of `schema`.
fn project(exprs: &[Expr], schema: &SchemaRef, batch: &Batch, stage: &str, out: &mut Output) -> Batch {
    let mut evaluation = Evaluation::new(batch);
    let mut columns: Vec<_> =
        exprs.iter().zip(schema.fields()).map(|(expr, field)| evaluation.field(expr, field)).collect();
    let failed = evaluation.finish();
    let mut beside = batch.clone();
    if !failed.is_empty() {
        let good = failed.report(batch, stage, out);
        for column in &mut columns {
            *column = arrow::compute::filter(column, &good).expect("masks of one length");
        }
        beside = filter(batch, &good);
    }
    let options = RecordBatchOptions::new().with_row_count(Some(beside.len()));
    let rows = RecordBatch::try_new_with_options(schema.clone(), columns, &options);
    beside.with_rows(rows.expect("columns were cast to the types of the schema"))
}

fn filter(batch: &Batch, wanted: &BooleanArray) -> Batch {
    batch.filter(wanted).expect("masks of one length")
}

#[cfg(test)]
mod tests;

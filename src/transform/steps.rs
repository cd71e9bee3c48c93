//! Filters and projections: what a leg does to each row by itself.

use arrow::array::{Array, AsArray, BooleanArray, RecordBatch, RecordBatchOptions};
use arrow::compute::{and, prep_null_mask_filter};
use arrow::datatypes::{DataType, SchemaRef};

use crate::batch::Batch;
use crate::plan::{Expr, Step};
use crate::transform::Output;
use crate::transform::eval::{Evaluation, Failed};
use crate::transform::steps::replaced::Replaced;

mod replaced;

/// The steps of one leg.
pub struct Steps {
    /// Name of the leg: the stage of its dead letters.
    stage: String,
    steps: Vec<Step>,
    /// Columns of what comes in by which rows that replace each other are known.
    key: Option<Vec<usize>>,
}

impl Steps {
    /// The steps of the leg `stage`.
    pub fn new(stage: impl Into<String>, steps: Vec<Step>) -> Self {
        Steps { stage: stage.into(), steps, key: None }
    }

    /// The same steps for rows of an operator whose key is `key`: it gives the row that replaces another one
    /// directly behind it.
    #[must_use]
    pub fn with_key(self, key: Option<Vec<usize>>) -> Self {
        Steps { key, ..self }
    }

    /// Takes a batch through all steps. What is left of it, if anything, goes to `out`.
    pub fn apply(&mut self, mut batch: Batch, out: &mut Output) {
        let mut replaced = self.key.as_deref().and_then(|key| Replaced::new(&batch, key));
        for step in &self.steps {
            if batch.is_empty() {
                return;
            }
            batch = match step {
                Step::Filter(predicate) => keep(predicate, batch, &self.stage, (out, &mut replaced)),
                Step::Project { exprs, schema } => {
                    project(exprs, schema, &batch, &self.stage, (out, &mut replaced))
                }
            };
        }
        if !batch.is_empty() {
            out.batches.push(batch);
        }
    }
}

/// Keeps the rows for which `predicate` is true; NULL is not true.
fn keep(
    predicate: &Expr,
    batch: Batch,
    stage: &str,
    (out, replaced): (&mut Output, &mut Option<Replaced>),
) -> Batch {
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
        let good = report(failed, &batch, stage, (out, replaced));
        wanted = and(&wanted, &good).expect("masks of one length");
    }
    let kept = filter(&batch, &wanted, replaced);
    out.filtered += batch.diff_sum() - kept.diff_sum() - (out.dead - dead_before);
    kept
}

/// Computes the columns of `schema`.
fn project(
    exprs: &[Expr],
    schema: &SchemaRef,
    batch: &Batch,
    stage: &str,
    (out, replaced): (&mut Output, &mut Option<Replaced>),
) -> Batch {
    let mut evaluation = Evaluation::new(batch);
    let mut columns: Vec<_> =
        exprs.iter().zip(schema.fields()).map(|(expr, field)| evaluation.field(expr, field)).collect();
    let failed = evaluation.finish();
    let mut beside = batch.clone();
    if !failed.is_empty() {
        let good = report(failed, batch, stage, (out, replaced));
        for column in &mut columns {
            *column = arrow::compute::filter(column, &good).expect("masks of one length");
        }
        beside = filter(batch, &good, replaced);
    }
    let options = RecordBatchOptions::new().with_row_count(Some(beside.len()));
    let rows = RecordBatch::try_new_with_options(schema.clone(), columns, &options);
    beside.with_rows(rows.expect("columns were cast to the types of the schema"))
}

fn filter(batch: &Batch, wanted: &BooleanArray, replaced: &mut Option<Replaced>) -> Batch {
    if let Some(replaced) = replaced {
        replaced.keep(wanted);
    }
    batch.filter(wanted).expect("masks of one length")
}

/// Writes the letters of rows that failed, but for those that replace a row that failed: a group of which a
/// result is an error again and again has one letter, when that begins.
fn report(
    failed: Failed,
    batch: &Batch,
    stage: &str,
    (out, replaced): (&mut Output, &mut Option<Replaced>),
) -> BooleanArray {
    let Some(replaced) = replaced else { return failed.report(batch, stage, out, |_| false) };
    replaced.note(&failed, batch);
    failed.report(batch, stage, out, |row| replaced.failed(row))
}

#[cfg(test)]
mod tests;

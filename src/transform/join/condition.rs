//! Conditions of joins on pairs of rows.

use arrow::array::{Array, AsArray, BooleanArray};
use arrow::datatypes::DataType;

use crate::batch::Batch;
use crate::plan::Expr;
use crate::transform::Output;
use crate::transform::eval::Evaluation;

/// Whether a condition holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holds {
    True,
    /// Or NULL.
    False,
    Failed,
}

/// A condition on each of some pairs; where it fails, a letter of the join `stage`.
pub fn holds(condition: &Expr, pairs: &Batch, stage: &str, out: &mut Output) -> Vec<Holds> {
    let mut evaluation = Evaluation::new(pairs);
    let values = evaluation.column(condition, &DataType::Boolean);
    let failed = evaluation.finish();
    let good = match failed.is_empty() {
        true => BooleanArray::from(vec![true; pairs.len()]),
        false => {
            // Pairs are no rows of a leg: only their letters count.
            let mut letters = Output::default();
            let good = failed.report(pairs, stage, &mut letters, |_| false);
            out.letters.append(&mut letters.letters);
            good
        }
    };
    let values = values.as_boolean();
    let holds = |row: usize| match (good.value(row), values.is_valid(row) && values.value(row)) {
        (false, _) => Holds::Failed,
        (true, true) => Holds::True,
        (true, false) => Holds::False,
    };
    (0..pairs.len()).map(holds).collect()
}

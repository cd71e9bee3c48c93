//! Joins: rows of two relations that belong together, kept as both change.
//!
//! Both sides are arrangements, which other joins and live reads may share; a join has no state of its own.
//! When an epoch is complete, the keys that it has changed are taken in their order. For each the rows of both
//! sides are read as they were before the epoch and as they are behind it, as far as they matter, and what
//! differs leaves: so a row leaves at most once per epoch, whatever has happened on both sides in between.
//!
//! - Keys that hold a NULL match nothing.
//! - A row that is there twice matches twice, as SQL has it.
//! - A pair on which the condition fails is a dead letter when it comes to be. It is no match, but its rows do
//!   not count as without a match either: they have no row until the condition says something of them.
//!
//! What a change costs: of a key whose rows have changed on one side only, the changed rows and those of the
//! other side that they meet. With a condition beside the equalities, all pairs of the key where the right side
//! has changed.

pub mod condition;
mod driver;
mod events;
mod lookup;
#[cfg(test)]
mod tests;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, new_null_array};
use arrow::datatypes::SchemaRef;

use self::condition::{Holds, holds};
pub use self::driver::{JoinParts, join};
use self::events::{Buffer, Event};
use self::lookup::KeyRows;
use crate::batch::Batch;
use crate::error::Result;
use crate::plan::{self, JoinKind};
use crate::transform::Output;
use crate::transform::arrange::RowCodec;

/// Finds pairs and rows without pairs, and makes rows of them.
pub struct Matcher {
    plan: plan::Join,
    sides: [Side; 2],
}

/// The rows of one side as bytes.
struct Side {
    codec: RowCodec,
    /// A row of NULLs, for where this side has none.
    nulls: Vec<u8>,
}

/// Before the epoch, and behind it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Both<T> {
    old: T,
    new: T,
}

/// What has been found out about a row of a key.
#[derive(Clone, Copy, Debug, Default)]
struct Found {
    /// There is a pair.
    matched: Both<bool>,
    /// There is a pair on which the condition fails.
    undecided: Both<bool>,
}

/// A row that leaves: places of its parts in the buffer, and its diff.
struct Leaving {
    key: usize,
    left: Option<usize>,
    right: Option<usize>,
    diff: i64,
}

impl Matcher {
    /// For a join whose sides have rows of the schemas `left` and `right`.
    pub fn new(plan: &plan::Join, left: &SchemaRef, right: &SchemaRef) -> Result<Self> {
        Ok(Matcher { plan: plan.clone(), sides: [Side::new(left)?, Side::new(right)?] })
    }

    /// Decides about what is in `buffer`, and gives out the rows that differ.
    fn decide(&self, buffer: &mut Buffer, wall_ms: i64, out: &mut Output) -> Result<()> {
        let holds = self.conditions(buffer, wall_ms, out)?;
        let mut holds = holds.iter();
        let mut leaving = Vec::new();
        for event in &buffer.events {
            match *event {
                Event::Pair { key, left, right } => {
                    let holds = holds.next().unwrap_or(&Holds::True);
                    let keys = &mut buffer.keys[key];
                    let counts = keys.pair(left, right);
                    if *holds == Holds::True && self.plan.kind.gives_pairs() && counts.new != counts.old {
                        let diff = counts.new - counts.old;
                        leaving.push(Leaving { key, left: Some(left), right: Some(right), diff });
                    }
                    if self.plan.condition.is_some() {
                        keys.find(left, right, *holds == Holds::True, *holds == Holds::Failed);
                    }
                }
                Event::LeftEnds { key, left } => {
                    let keys = &buffer.keys[key];
                    let diff = self.left_alone(keys, left);
                    if diff != 0 {
                        leaving.push(Leaving { key, left: Some(left), right: None, diff });
                    }
                }
                Event::RightEnds { key, right } => {
                    let keys = &buffer.keys[key];
                    let diff = alone(keys.counts(1, right), keys.found(1, right));
                    if diff != 0 {
                        leaving.push(Leaving { key, left: None, right: Some(right), diff });
                    }
                }
            }
        }
        if !leaving.is_empty() {
            out.batches.push(self.rows(buffer, &leaving, wall_ms)?);
        }
        Ok(())
    }

    /// How often a row of the left side leaves by itself.
    fn left_alone(&self, keys: &KeyRows, left: usize) -> i64 {
        let (counts, found) = (keys.counts(0, left), keys.found(0, left));
        match self.plan.kind {
            JoinKind::Semi => {
                let old = if found.matched.old { counts.old } else { 0 };
                let new = if found.matched.new { counts.new } else { 0 };
                new - old
            }
            _ => alone(counts, found),
        }
    }

    /// The condition on each pair of `buffer`; empty where there is none.
    fn conditions(&self, buffer: &Buffer, wall_ms: i64, out: &mut Output) -> Result<Vec<Holds>> {
        let Some(condition) = &self.plan.condition else { return Ok(Vec::new()) };
        let pair = |event: &Event| match *event {
            Event::Pair { key, left, right } => {
                let counts = buffer.keys[key].pair(left, right);
                let diff = counts.new - counts.old;
                Some(Leaving { key, left: Some(left), right: Some(right), diff })
            }
            _ => None,
        };
        let pairs: Vec<Leaving> = buffer.events.iter().filter_map(pair).collect();
        if pairs.is_empty() {
            return Ok(Vec::new());
        }
        let batch = self.pairs(buffer, &pairs, wall_ms)?;
        Ok(holds(condition, &batch, &self.plan.name, out))
    }

    fn rows(&self, buffer: &Buffer, leaving: &[Leaving], wall_ms: i64) -> Result<Batch> {
        if self.plan.kind.gives_pairs() {
            let batch = self.pairs(buffer, leaving, wall_ms)?;
            let rows = RecordBatch::try_new(self.plan.schema.clone(), batch.rows.columns().to_vec());
            return Ok(batch.with_rows(rows.expect("the columns of both sides")));
        }
        let columns = self.columns(0, buffer, leaving)?;
        Ok(batch(&self.plan.schema, columns, leaving, wall_ms))
    }

    fn pairs(&self, buffer: &Buffer, leaving: &[Leaving], wall_ms: i64) -> Result<Batch> {
        let mut columns = self.columns(0, buffer, leaving)?;
        columns.extend(self.columns(1, buffer, leaving)?);
        Ok(batch(&self.plan.pairs, columns, leaving, wall_ms))
    }

    /// The columns of one side.
    fn columns(&self, side: usize, buffer: &Buffer, leaving: &[Leaving]) -> Result<Vec<ArrayRef>> {
        let nulls = &self.sides[side].nulls;
        let row = |leaving: &Leaving| -> &[u8] {
            let place = if side == 0 { leaving.left } else { leaving.right };
            place.map_or(nulls, |row| buffer.keys[leaving.key].row(side, row))
        };
        let rows: Vec<&[u8]> = leaving.iter().map(row).collect();
        self.sides[side].codec.decode(rows.into_iter())
    }
}

/// How often a row leaves because it has no pair.
fn alone(counts: Both<i64>, found: Found) -> i64 {
    let old = if found.matched.old || found.undecided.old { 0 } else { counts.old };
    let new = if found.matched.new || found.undecided.new { 0 } else { counts.new };
    new - old
}

fn batch(schema: &SchemaRef, columns: Vec<ArrayRef>, leaving: &[Leaving], wall_ms: i64) -> Batch {
    let rows = RecordBatch::try_new(schema.clone(), columns).expect("columns of the sides");
    let diffs = Int64Array::from_iter_values(leaving.iter().map(|leaving| leaving.diff));
    Batch { rows, diffs: Some(diffs), origin: None, wall_ms }
}

impl Side {
    fn new(schema: &SchemaRef) -> Result<Self> {
        let codec = RowCodec::new(schema)?;
        let nulls: Vec<ArrayRef> =
            schema.fields().iter().map(|field| new_null_array(field.data_type(), 1)).collect();
        let nulls = codec.encode(&nulls)?.row(0).as_ref().to_vec();
        Ok(Side { codec, nulls })
    }
}

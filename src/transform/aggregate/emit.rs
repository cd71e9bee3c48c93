//! What an epoch has changed, as rows: the old one taken back, the new one added.

use std::collections::BTreeMap;
use std::ops::BitAnd;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, UInt32Array};
use arrow::buffer::BooleanBuffer;
use arrow::compute::{interleave, kernels::cmp::not_distinct, take};

use crate::batch::Batch;
use crate::canonical;
use crate::dead_letter::{DeadLetter, Reason};
use crate::transform::Output;
use crate::transform::aggregate::KeyedState;
use crate::transform::aggregate::groups::Group;
use crate::transform::aggregate::touched::Old;
use crate::transform::letter::object_json;

/// The results of all aggregates for some groups.
pub struct Results {
    pub columns: Vec<ArrayRef>,
    /// By place the first aggregate without a result, and why.
    pub failed: BTreeMap<usize, (usize, String)>,
}

/// A group of an epoch: where its old row is among the chunks, and its new one among the results.
struct Change {
    group: Group,
    old: Option<(usize, usize)>,
    new: Option<usize>,
}

impl KeyedState {
    /// Evaluates all aggregates for `groups`.
    pub(super) fn evaluate(&self, groups: &[Group]) -> Results {
        let mut failed = BTreeMap::new();
        let mut errors = Vec::new();
        let mut columns = Vec::with_capacity(self.states.len());
        for (aggregate, state) in self.states.iter().enumerate() {
            columns.push(state.evaluate(groups, &mut errors));
            for (place, error) in errors.drain(..) {
                failed.entry(place).or_insert((aggregate, error));
            }
        }
        Results { columns, failed }
    }

    /// Emits the changes of `groups`.
    pub(super) fn emit(&self, groups: &[Group], wall_ms: i64, out: &mut Output) {
        let alive: Vec<Group> = groups.iter().copied().filter(|group| self.exists(*group)).collect();
        let results = self.evaluate(&alive);
        let mut alive = alive.iter().enumerate().peekable();
        let mut changes = Vec::with_capacity(groups.len());
        for group in groups {
            let place = alive.next_if(|(_, alive)| *alive == group).map(|(place, _)| place);
            let old = self.touched.old(*group);
            let failure = place.and_then(|place| results.failed.get(&place));
            if let Some((aggregate, error)) = failure.filter(|_| old != Old::Failed) {
                out.letters.push(self.letter(*group, *aggregate, error.clone()));
            }
            let old =
                if let Old::Row(chunk, row) = old { Some((chunk as usize, row as usize)) } else { None };
            changes.push(Change { group: *group, old, new: place.filter(|_| failure.is_none()) });
        }
        self.drop_unchanged(&mut changes, &results);
        if let Some(batch) = self.rows(&changes, &results, wall_ms) {
            out.batches.push(batch);
        }
    }

    fn letter(&self, group: Group, aggregate: usize, error: String) -> DeadLetter {
        let key = canonical::decode(std::iter::once(self.groups.key(group)), &self.key_types);
        let key = key.expect("the state holds canonical keys");
        DeadLetter {
            origin: None,
            row: Some(object_json(&self.schema, key)),
            reason: Reason::Aggregate,
            error,
            rule: self.texts[aggregate].clone(),
            stage: self.name.clone(),
        }
    }

    /// Removes the groups whose row is the same as before.
    fn drop_unchanged(&self, changes: &mut Vec<Change>, results: &Results) {
        let both = changes.iter().filter_map(|change| change.old.zip(change.new));
        let (old, new): (Vec<_>, Vec<_>) = both.map(|(old, new)| (old, new as u32)).unzip();
        if old.is_empty() {
            changes.retain(|change| change.old.is_some() || change.new.is_some());
            return;
        }
        let new = UInt32Array::from(new);
        let mut same = BooleanBuffer::new_set(old.len());
        for (column, results) in results.columns.iter().enumerate() {
            let chunks: Vec<_> = self.touched.chunks().iter().map(|chunk| chunk[column].as_ref()).collect();
            let old = interleave(&chunks, &old).expect("chunks of one type");
            let new = take(results, &new, None).expect("places of results");
            let equal = not_distinct(&old, &new).expect("columns of one type");
            same = same.bitand(equal.values());
        }
        let mut same = same.iter();
        changes.retain(|change| match (change.old, change.new) {
            (Some(_), Some(_)) => !same.next().unwrap_or(false),
            (old, new) => old.is_some() || new.is_some(),
        });
    }

    /// The rows of `changes`, if there are any.
    fn rows(&self, changes: &[Change], results: &Results, wall_ms: i64) -> Option<Batch> {
        let chunks = self.touched.chunks();
        let (mut keys, mut places, mut diffs) = (Vec::new(), Vec::new(), Vec::new());
        for change in changes {
            let new = change.new.map(|row| (chunks.len(), row));
            for (place, diff) in [(change.old, -1), (new, 1)] {
                if let Some(place) = place {
                    keys.push(self.groups.key(change.group));
                    places.push(place);
                    diffs.push(diff);
                }
            }
        }
        if diffs.is_empty() {
            return None;
        }
        let keys = canonical::decode(keys.into_iter(), &self.key_types);
        let mut columns = keys.expect("the state holds canonical keys");
        for (column, results) in results.columns.iter().enumerate() {
            let mut sources: Vec<_> = chunks.iter().map(|chunk| chunk[column].as_ref()).collect();
            sources.push(results.as_ref());
            columns.push(interleave(&sources, &places).expect("chunks of one type"));
        }
        let rows = RecordBatch::try_new(self.schema.clone(), columns).expect("columns of the schema");
        Some(Batch { rows, diffs: Some(Int64Array::from(diffs)), origin: None, wall_ms })
    }
}

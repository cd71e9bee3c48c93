//! What an epoch has changed, as rows: the old one taken back, the new one added.

use std::ops::BitAnd;

use arrow::array::{ArrayRef, UInt32Array};
use arrow::buffer::BooleanBuffer;
use arrow::compute::{interleave, kernels::cmp::not_distinct, take};

use crate::transform::aggregate::groups::Group;
use crate::transform::aggregate::keyed::Results;
use crate::transform::aggregate::touched::{Old, Touched};

/// The rows that leave: each an aggregate's columns for one of the groups, added or taken back.
pub struct Emitted {
    pub groups: Vec<Group>,
    /// One per aggregate.
    pub columns: Vec<ArrayRef>,
    pub diffs: Vec<i64>,
}

/// A group of an epoch: where its old row is among the chunks, and its new one among the results.
struct Change {
    group: Group,
    old: Option<(usize, usize)>,
    new: Option<usize>,
}

/// The changes of `groups`, in their order; `alive` are those of them that have a row now, in the same order,
/// with their `results`. `fails` is told of each group whose result begins to be an error.
pub fn changes(
    touched: &Touched,
    groups: &[Group],
    alive: &[Group],
    results: &Results,
    mut fails: impl FnMut(Group, usize, &str),
) -> Option<Emitted> {
    let mut alive = alive.iter().enumerate().peekable();
    let mut changes = Vec::with_capacity(groups.len());
    for group in groups {
        let place = alive.next_if(|(_, alive)| *alive == group).map(|(place, _)| place);
        let old = touched.old(*group);
        let failure = place.and_then(|place| results.failed.get(&place));
        if let Some((aggregate, error)) = failure.filter(|_| old != Old::Failed) {
            fails(*group, *aggregate, error);
        }
        let old = if let Old::Row(chunk, row) = old { Some((chunk as usize, row as usize)) } else { None };
        changes.push(Change { group: *group, old, new: place.filter(|_| failure.is_none()) });
    }
    drop_unchanged(touched, &mut changes, results);
    rows(touched, &changes, results)
}

/// Removes the groups whose row is the same as before.
fn drop_unchanged(touched: &Touched, changes: &mut Vec<Change>, results: &Results) {
    let both = changes.iter().filter_map(|change| change.old.zip(change.new));
    let (old, new): (Vec<_>, Vec<_>) = both.map(|(old, new)| (old, new as u32)).unzip();
    if old.is_empty() {
        changes.retain(|change| change.old.is_some() || change.new.is_some());
        return;
    }
    let new = UInt32Array::from(new);
    let mut same = BooleanBuffer::new_set(old.len());
    for (column, results) in results.columns.iter().enumerate() {
        let chunks: Vec<_> = touched.chunks().iter().map(|chunk| chunk[column].as_ref()).collect();
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
fn rows(touched: &Touched, changes: &[Change], results: &Results) -> Option<Emitted> {
    let chunks = touched.chunks();
    let (mut groups, mut places, mut diffs) = (Vec::new(), Vec::new(), Vec::new());
    for change in changes {
        let new = change.new.map(|row| (chunks.len(), row));
        for (place, diff) in [(change.old, -1), (new, 1)] {
            if let Some(place) = place {
                groups.push(change.group);
                places.push(place);
                diffs.push(diff);
            }
        }
    }
    if diffs.is_empty() {
        return None;
    }
    let column = |(column, results): (usize, &ArrayRef)| {
        let mut sources: Vec<_> = chunks.iter().map(|chunk| chunk[column].as_ref()).collect();
        sources.push(results.as_ref());
        interleave(&sources, &places).expect("chunks of one type")
    };
    let columns = results.columns.iter().enumerate().map(column).collect();
    Some(Emitted { groups, columns, diffs })
}

//! Which columns name the rows of a join, and in which order its sides are arranged.

use std::collections::BTreeSet;

use super::{Equality, Sides};
use crate::compile::flow::Flow;
use crate::plan::JoinKind;

/// Brings equalities into the order of a key of one of the sides, so that its arrangement by that key is found.
pub(super) fn arrange(equalities: &mut [Equality], sides: &Sides) {
    let column = |equality: &Equality, side: usize| match side {
        0 => equality.left.column,
        _ => equality.right.column,
    };
    for (side, flow) in [(1, &sides.right), (0, &sides.left)] {
        let Some(key) = &flow.key else { continue };
        let place = |equality: &Equality| {
            let column = column(equality, side)?;
            key.iter().position(|key| *key == column)
        };
        let places: Option<BTreeSet<usize>> = equalities.iter().map(place).collect();
        if places.is_some_and(|places| places.len() == key.len() && equalities.len() == key.len()) {
            equalities.sort_by_key(place);
            return;
        }
    }
}

/// The keys of a join's result, the best first. `equal` are the columns of both sides that are equal in pairs.
pub(super) fn of(kind: JoinKind, sides: &Sides, equal: &[(usize, usize)]) -> Vec<Vec<usize>> {
    let width = sides.left.columns.len();
    let keys = |flow: &Flow, offset: usize| -> Vec<Vec<usize>> {
        let all = flow.key.iter().chain(&flow.other_keys);
        all.map(|key| key.iter().map(|column| column + offset).collect()).collect()
    };
    let (left, right) = (keys(&sides.left, 0), keys(&sides.right, width));
    let left_equal: Vec<usize> = equal.iter().map(|(left, _)| *left).collect();
    let right_equal: Vec<usize> = equal.iter().map(|(_, right)| right + width).collect();
    let within = |keys: &[Vec<usize>], columns: &[usize]| {
        keys.iter().any(|key| key.iter().all(|column| columns.contains(column)))
    };
    // Whether a row meets at most one of the other side.
    let (one_right, one_left) = (within(&right, &right_equal), within(&left, &left_equal));
    let mut found = Vec::new();
    match kind {
        JoinKind::Semi | JoinKind::Anti => return left,
        JoinKind::Inner | JoinKind::Left if one_right => found.extend(left.iter().cloned()),
        _ => {}
    }
    if one_left && matches!(kind, JoinKind::Inner | JoinKind::Right) {
        found.extend(right.iter().cloned());
    }
    let (Some(left), Some(right)) = (left.first(), right.first()) else { return found };
    let replaced = |key: &[usize], from: &[usize], to: &[usize]| -> Vec<usize> {
        let place = |column: &usize| from.iter().position(|other| other == column).map(|at| to[at]);
        key.iter().map(|column| place(column).unwrap_or(*column)).collect()
    };
    // Of two columns that are equal one is enough; it has to be that of the side which is never missing.
    match kind {
        JoinKind::Inner | JoinKind::Left => {
            found.push(joined(left, &replaced(right, &right_equal, &left_equal)));
        }
        JoinKind::Right => found.push(joined(&replaced(left, &left_equal, &right_equal), right)),
        _ => {
            // Without a column that is never NULL, rows without a match could be taken for each other.
            let never_null = |column: &usize| !sides.schema.field(*column).is_nullable();
            if left.iter().chain(right).any(never_null) {
                found.push(joined(left, right));
            }
        }
    }
    if kind == JoinKind::Inner {
        found.push(joined(&replaced(left, &left_equal, &right_equal), right));
        found.push(joined(left, right));
    }
    found
}

fn joined(left: &[usize], right: &[usize]) -> Vec<usize> {
    let mut key = left.to_vec();
    key.extend(right.iter().filter(|column| !left.contains(column)));
    key
}

//! All values of a group in order, with cursors at the places that results are read from.
//!
//! A row moves a wanted place by one value at most, so following it costs a step or two.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Included, Unbounded};

use crate::transform::aggregate::bytes::read_count;
use crate::transform::aggregate::state::tree;
use crate::transform::aggregate::values::fixed_to_float;

/// About as many steps along the order as it takes to find a value in it.
const STEPS_PER_SEARCH: usize = if cfg!(test) { 2 } else { 16 };

/// The values of a group as [`Fixed`](crate::transform::aggregate::values::Fixed) has them, with how often each is
/// there.
#[derive(Clone, Debug, Default)]
pub struct Ranked {
    values: BTreeMap<i64, i64>,
    total: i64,
    cursor: Cell<Cursor>,
}

/// A place in the order: a value, and how many rows have a lesser one.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cursor {
    value: i64,
    before: i64,
}

impl Cursor {
    /// Rows of a value are added or taken back.
    pub fn note(&mut self, value: i64, diff: i64) {
        if value < self.value {
            self.before += diff;
        }
    }
}

impl Ranked {
    /// Adds rows of a value, or takes them back.
    pub fn add(&mut self, value: i64, diff: i64) {
        let count = self.values.entry(value).or_default();
        *count += diff;
        if *count == 0 {
            self.values.remove(&value);
        }
        self.total += diff;
        self.cursor.get_mut().note(value, diff);
    }

    /// Adds rows, in order. Where many values come again, walking along all of them takes less than finding each.
    pub fn add_sorted(&mut self, rows: &[i64]) {
        let (Some(first), Some(last)) = (rows.first(), rows.last()) else { return };
        if rows.len().saturating_mul(STEPS_PER_SEARCH) < self.values.len() {
            return rows.iter().for_each(|value| self.add(*value, 1));
        }
        let mut found = self.values.range_mut(first..=last).peekable();
        let mut others = Vec::new();
        for same in rows.chunk_by(|left, right| left == right) {
            let (value, diff) = (same[0], same.len() as i64);
            while found.next_if(|(at, _)| **at < value).is_some() {}
            match found.next_if(|(at, count)| **at == value && **count + diff != 0) {
                Some((_, count)) => {
                    *count += diff;
                    self.total += diff;
                    self.cursor.get_mut().note(value, diff);
                }
                None => others.push((value, diff)),
            }
        }
        others.into_iter().for_each(|(value, diff)| self.add(value, diff));
    }

    /// Number of rows.
    pub fn total(&self) -> i64 {
        self.total
    }

    /// Number of distinct values.
    pub fn distinct(&self) -> usize {
        self.values.len()
    }

    /// About how many bytes it has outside of itself.
    pub fn bytes(&self) -> usize {
        tree(self.values.len(), size_of::<(i64, i64)>())
    }

    /// The values with their numbers of rows.
    pub fn iter(&self) -> impl Iterator<Item = (i64, i64)> {
        self.values.iter().map(|(value, count)| (*value, *count))
    }

    /// Moves a cursor to a value, and returns how many rows have a lesser one.
    pub fn below(&self, cursor: &Cell<Cursor>, limit: i64) -> i64 {
        let Cursor { value, before } = cursor.get();
        let rows = |from: i64, to: i64| -> i64 { self.values.range(from..to).map(|(_, count)| count).sum() };
        let moved = if limit < value { -rows(limit, value) } else { rows(value, limit) };
        cursor.set(Cursor { value: limit, before: before + moved });
        before + moved
    }

    /// The value at a fraction of `rows` rows behind the first `skipped` ones; between two values in proportion.
    pub fn at(&self, fraction: f64, skipped: i64, rows: i64) -> Option<f64> {
        if rows <= 0 {
            return None;
        }
        let place = fraction * (rows - 1) as f64;
        let (rank, share) = (skipped + place.floor() as i64, place - place.floor());
        let Cursor { value, before } = self.seek(rank);
        let low = fixed_to_float(value);
        let last = self.values.get(&value).is_some_and(|count| rank + 1 >= before + count);
        let next = self.values.range((Excluded(value), Unbounded)).next().filter(|_| last);
        match next.map(|(next, _)| fixed_to_float(*next)) {
            Some(high) if share > 0.0 => Some(low * (1.0 - share) + high * share),
            _ => Some(low),
        }
    }

    /// The cursor at the row with this rank, from 0.
    fn seek(&self, rank: i64) -> Cursor {
        let mut cursor = self.cursor.get();
        let mut lesser = self.values.range((Unbounded, Excluded(cursor.value))).rev();
        while rank < cursor.before {
            let Some((value, count)) = lesser.next() else { break };
            cursor = Cursor { value: *value, before: cursor.before - count };
        }
        let mut rest = self.values.range((Included(cursor.value), Unbounded)).peekable();
        while let Some((value, count)) = rest.next() {
            cursor.value = *value;
            if rank < cursor.before + count || rest.peek().is_none() {
                break;
            }
            cursor.before += count;
        }
        self.cursor.set(cursor);
        cursor
    }

    /// The values as bytes, for a snapshot.
    pub fn save(&self) -> Vec<u8> {
        self.values
            .iter()
            .flat_map(|(value, count)| [value.to_le_bytes(), count.to_le_bytes()].concat())
            .collect()
    }
}

/// The values and counts that [`Ranked::save`] wrote; `None` if they are broken.
pub fn saved(mut bytes: &[u8]) -> Option<Vec<(i64, i64)>> {
    let mut values = Vec::with_capacity(bytes.len() / 16);
    while !bytes.is_empty() {
        values.push(read_count(&mut bytes).zip(read_count(&mut bytes))?);
    }
    Some(values)
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng};
    use rand_pcg::Pcg64Mcg;

    use super::*;

    #[test]
    fn the_cursors_find_what_sorting_finds() {
        for seed in 0..20 {
            let random = &mut Pcg64Mcg::seed_from_u64(seed);
            let (mut ranked, mut all) = (Ranked::default(), Vec::new());
            let mut limited = Cell::new(Cursor::default());
            let span = [3, 50, 100_000][random.random_range(0..3)];
            for step in 0..1_500 {
                for _ in 0..random.random_range(1..4) {
                    // Grows first, then shrinks to nothing.
                    let back = random.random_bool(if step < 700 { 0.3 } else { 0.8 });
                    let (value, diff) = match back {
                        true if all.is_empty() => continue,
                        true => (all.swap_remove(random.random_range(0..all.len())), -1),
                        false => (random.random_range(-span..span), 1),
                    };
                    if diff > 0 {
                        all.push(value);
                    }
                    ranked.add(value, diff);
                    limited.get_mut().note(value, diff);
                }
                let many = random.random_range(0..8) * usize::from(step < 700 && step % 16 == 0);
                let mut sorted: Vec<i64> = (0..many).map(|_| random.random_range(-span..span)).collect();
                sorted.sort_unstable();
                ranked.add_sorted(&sorted);
                sorted.iter().for_each(|value| limited.get_mut().note(*value, 1));
                all.extend(sorted);
                all.sort_unstable();
                let limit = random.random_range(-span..span);
                let below = all.iter().filter(|value| **value < limit).count();
                assert_eq!(ranked.below(&limited, limit), below as i64, "seed {seed}, step {step}");
                if !all.is_empty() {
                    let rank = random.random_range(0..all.len());
                    assert_eq!(ranked.seek(rank as i64).value, all[rank], "seed {seed}, step {step}");
                }
            }
        }
    }
}

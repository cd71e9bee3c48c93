//! Sessions over random rows against their definition, with disorder, any batches and a restore at any place.

use std::collections::BTreeMap;

use arrow::array::Array;
use arrow::datatypes::Int64Type;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64Mcg;

use super::*;
use crate::transform::window::tests::{KEYS, Row, batch, close, plan};

/// A row of the result: key, start and end, count, sum and last value by time.
type Shown = (String, i64, i64, i64, i64, i64);

fn end_epoch(state: &mut SessionState, epoch: Epoch, watermark: Watermark, out: &mut Output) {
    while state.on_epoch(&close(epoch, watermark), out) == Progress::More {}
}

/// The rows of a batch of the result with their diffs.
fn shown(batch: &Batch) -> Vec<(Shown, i64)> {
    let columns = batch.rows.columns();
    let int = |column: usize, row: usize| columns[column].as_primitive::<Int64Type>().value(row);
    let time =
        |column: usize, row: usize| columns[column].as_primitive::<TimestampNanosecondType>().value(row);
    assert!(columns.iter().all(|column| column.null_count() == 0) && columns.len() == 6);
    let row = |row| {
        let key = columns[0].as_string::<i32>().value(row).to_owned();
        ((key, time(1, row), time(2, row), int(3, row), int(4, row), int(5, row)), batch.diff(row))
    };
    (0..batch.len()).map(row).collect()
}

/// What sessions are, word by word.
struct Model {
    gap: i64,
    emit: Emit,
    lateness: i64,
    /// Sessions that may still change, as their rows with their offsets.
    open: Vec<Vec<(u64, Row)>>,
    shown: BTreeMap<Shown, i64>,
    late: i64,
    watermark: i64,
}

impl Model {
    /// Rows and sessions that are connected by steps of at most the gap.
    fn connected(&self, rows: &[(u64, Row)]) -> Vec<(bool, Vec<(u64, Row)>)> {
        let mut parts: Vec<(bool, Vec<(u64, Row)>)> =
            self.open.iter().map(|rows| (true, rows.clone())).collect();
        parts.extend(rows.iter().map(|row| (false, vec![*row])));
        loop {
            let near = |left: &[(u64, Row)], right: &[(u64, Row)]| {
                left.iter()
                    .any(|(_, a)| right.iter().any(|(_, b)| a.0 == b.0 && (a.1 - b.1).abs() <= self.gap))
            };
            let pairs = (0..parts.len()).flat_map(|left| (0..left).map(move |right| (right, left)));
            let Some((into, from)) = pairs.into_iter().find(|(a, b)| near(&parts[*a].1, &parts[*b].1)) else {
                return parts;
            };
            let (open, rows) = parts.swap_remove(from);
            parts[into].0 |= open;
            parts[into].1.extend(rows);
        }
    }

    fn row(&self, rows: &[(u64, Row)]) -> Shown {
        let mut rows = rows.to_vec();
        rows.sort_by_key(|(offset, row)| (row.1, *offset));
        let (first, last) = (rows[0].1, rows[rows.len() - 1].1);
        let sum = rows.iter().map(|(_, row)| row.2).sum();
        (first.0.to_owned(), first.1, last.1 + self.gap, rows.len() as i64, sum, last.2)
    }

    fn is_visible(&self, row: &Shown, watermark: i64) -> bool {
        self.emit == Emit::Changes || row.2 < watermark
    }

    fn epoch(&mut self, rows: &[(u64, Row)], watermark: i64) {
        let before: Vec<Shown> = self.open.iter().map(|rows| self.row(rows)).collect();
        let mut open = Vec::new();
        for (has_session, rows) in self.connected(rows) {
            if !has_session && self.row(&rows).2 + self.lateness < self.watermark {
                self.late += rows.len() as i64;
            } else {
                open.push(rows);
            }
        }
        for row in before {
            if self.is_visible(&row, self.watermark) {
                assert_eq!(self.shown.remove(&row), Some(1));
            }
        }
        let now: Vec<Shown> = open.iter().map(|rows| self.row(rows)).collect();
        for row in &now {
            if self.is_visible(row, watermark) {
                self.shown.insert(row.clone(), 1);
            }
        }
        let stays = now.iter().map(|row| row.2 + self.lateness >= watermark);
        let stays: Vec<bool> = stays.collect();
        let mut stays = stays.into_iter();
        open.retain(|_| stays.next().unwrap_or(false));
        self.open = open;
        self.watermark = watermark;
    }
}

/// Saves a state and puts it back into an empty one.
fn moved(state: &mut SessionState, plan: &Aggregation, epoch: Epoch, watermark: i64) -> SessionState {
    let mut other = SessionState::new(plan).expect("a plan");
    for (_, part) in state.snapshot(SnapshotKind::Full) {
        other.restore(&part).expect("its own state");
    }
    let mut out = Output::default();
    end_epoch(&mut other, epoch, Watermark(watermark), &mut out);
    assert!(out.batches.is_empty() && out.emitted == 0, "what was shown before is not shown again");
    other
}

fn run(gap: i64, emit: Emit, lateness: i64, seed: u64) {
    let what = format!("gap {gap} {emit:?} {lateness}: SESSION_SEED={seed}");
    let random = &mut Pcg64Mcg::seed_from_u64(seed);
    let plan = plan(Window::Session { gap_ns: gap }, emit, lateness);
    let mut state = SessionState::new(&plan).expect("a plan");
    let (open, shown_before) = (Vec::new(), BTreeMap::new());
    let mut model = Model { gap, emit, lateness, open, shown: shown_before, late: 0, watermark: i64::MIN };
    let mut view: BTreeMap<Shown, i64> = BTreeMap::new();
    let (mut offset, mut now, mut watermark) = (0, 0, -100);
    let (mut late, mut emitted, mut count) = (0, 0, 0);
    for epoch in 1..=12 {
        let rows = (0..random.random_range(0..14)).map(|_| {
            offset += 1;
            now += random.random_range(0..6);
            let time = now - random.random_range(0..40);
            (offset, (KEYS[random.random_range(0..KEYS.len())], time, random.random_range(-9..9)))
        });
        let mut rows: Vec<(u64, Row)> = rows.collect();
        count += rows.len() as i64;
        watermark = if epoch == 12 { i64::MAX } else { watermark.max(now - random.random_range(0..30)) };
        model.epoch(&rows, watermark);
        rows.shuffle(random);
        let mut out = Output::default();
        for part in rows.chunks(random.random_range(1..8)) {
            state.on_batch(0, epoch, &batch(&plan, part), &mut out);
        }
        end_epoch(&mut state, epoch, Watermark(watermark), &mut out);
        for (row, diff) in out.batches.iter().flat_map(shown) {
            assert!(plan.window.as_ref().is_some_and(|window| !window.is_final()) || diff == 1, "{what}");
            *view.entry(row).or_default() += diff;
        }
        view.retain(|_, count| *count != 0);
        assert_eq!(view, model.shown, "{what}, epoch {epoch}");
        late += out.late.iter().map(Batch::diff_sum).sum::<i64>();
        emitted += out.emitted;
        assert_eq!((late, late + emitted + state.rows_in_state()), (model.late, count), "{what}");
        if random.random_bool(0.3) && epoch < 12 {
            state = moved(&mut state, &plan, epoch, watermark);
        }
    }
    let left = (state.rows_in_state(), state.keyed.groups.iter().count(), state.keys.iter().count());
    assert_eq!(left, (0, 0, 0), "{what}: nothing is kept");
}

#[test]
fn sessions_show_what_their_definition_says_after_every_epoch() {
    let seed = std::env::var("SESSION_SEED").ok().map_or(0, |seed| seed.parse().expect("a number"));
    eprintln!("SESSION_SEED={seed}");
    for gap in [1, 5, 11] {
        for (emit, lateness) in [(Emit::Final, 0), (Emit::Final, 12), (Emit::Changes, 0), (Emit::Changes, 12)]
        {
            (seed..seed + 40).for_each(|seed| run(gap, emit, lateness, seed));
        }
    }
}

#[test]
fn sessions_that_have_ended_give_their_memory_back() {
    for emit in [Emit::Final, Emit::Changes] {
        let plan = plan(Window::Session { gap_ns: 5 }, emit, 0);
        let mut state = SessionState::new(&plan).expect("a plan");
        let rows = (0..5_000).map(|offset| (offset, (KEYS[offset as usize % 3], offset as i64 * 10, 1)));
        let mut out = Output::default();
        state.on_batch(0, 1, &batch(&plan, &rows.collect::<Vec<_>>()), &mut out);
        end_epoch(&mut state, 1, Watermark(0), &mut out);
        let full = state.state_bytes();
        end_epoch(&mut state, 2, Watermark(50_010), &mut out);
        let empty = state.state_bytes();
        assert!(full > 500_000 && empty < full / 20, "{emit:?}: {full} bytes, then {empty}");
    }
}

//! The rows of one key on both sides, before an epoch and behind it.

use differential_dataflow::trace::{Cursor, TraceReader};

use super::{Both, Found};
use crate::plan::{Join, JoinKind};
use crate::time::Epoch;
use crate::transform::arrange::{Bytes, Trace};

/// Rows that an epoch has added to a key and taken back.
pub(super) type Delta = Vec<(Bytes, i64)>;

/// The rows of one key, as far as they matter for what leaves.
pub(super) struct KeyRows {
    sides: [Vec<KeyRow>; 2],
    /// Whether a side has any row. Only where there is no condition.
    exists: [Both<bool>; 2],
    /// Whether what is found stands in `exists` or at the rows.
    conditional: bool,
    /// The key holds a NULL: its rows match nothing.
    pub unmatched: bool,
}

struct KeyRow {
    bytes: Bytes,
    /// How often it is there. Where only its change matters, that, as if it had not been there before.
    counts: Both<i64>,
    found: Found,
}

impl KeyRows {
    /// Reads what matters of `key` for `join` after the changes `deltas` of `epoch`.
    pub fn read(
        join: &Join,
        key: &Bytes,
        deltas: [Delta; 2],
        cursors: &mut [SideCursor; 2],
        epoch: Epoch,
    ) -> Self {
        let conditional = join.condition.is_some();
        let unmatched = crate::canonical::has_null(key);
        let mut rows =
            KeyRows { sides: Default::default(), exists: Default::default(), conditional, unmatched };
        let [left_changed, right_changed] = [0, 1].map(|side: usize| !deltas[side].is_empty());
        if unmatched {
            rows.conditional = false;
            rows.sides = deltas.map(changes);
            return rows;
        }
        let pairs = join.kind.gives_pairs();
        if !conditional {
            if join.kind.keeps_left() || join.kind == JoinKind::Semi {
                rows.exists[1] = cursors[1].exists(key, epoch, right_changed);
            }
            if join.kind.keeps_right() {
                rows.exists[0] = cursors[0].exists(key, epoch, left_changed);
            }
        }
        let right_moves = rows.exists[1].old != rows.exists[1].new;
        let all_left =
            right_changed && (pairs || conditional || right_moves) || conditional && join.kind.keeps_right();
        let all_right = conditional || left_changed && pairs;
        let [left, right] = deltas;
        let mut side = |side: usize, delta: Delta, all: bool| match all {
            true => cursors[side].all(key, epoch),
            false => changes(delta),
        };
        rows.sides = [side(0, left, all_left), side(1, right, all_right)];
        rows
    }

    /// Number of rows of a side.
    pub fn len(&self, side: usize) -> usize {
        self.sides[side].len()
    }

    pub fn row(&self, side: usize, row: usize) -> &[u8] {
        &self.sides[side][row].bytes
    }

    pub fn counts(&self, side: usize, row: usize) -> Both<i64> {
        self.sides[side][row].counts
    }

    /// Whether a row has changed.
    pub fn changed(&self, side: usize, row: usize) -> bool {
        let counts = self.counts(side, row);
        counts.old != counts.new
    }

    /// How often a pair is there.
    pub fn pair(&self, left: usize, right: usize) -> Both<i64> {
        let (left, right) = (self.counts(0, left), self.counts(1, right));
        Both { old: left.old * right.old, new: left.new * right.new }
    }

    /// Whether a row of `side` has pairs.
    pub fn found(&self, side: usize, row: usize) -> Found {
        match (self.unmatched, self.conditional) {
            (true, _) => Found::default(),
            (false, true) => self.sides[side][row].found,
            (false, false) => Found { matched: self.exists[1 - side], ..Found::default() },
        }
    }

    /// Notes what the condition says of a pair.
    pub fn find(&mut self, left: usize, right: usize, matched: bool, undecided: bool) {
        let (of_left, of_right) = (self.counts(0, left), self.counts(1, right));
        for (side, row, other) in [(0, left, of_right), (1, right, of_left)] {
            let found = &mut self.sides[side][row].found;
            found.matched.old |= matched && other.old > 0;
            found.matched.new |= matched && other.new > 0;
            found.undecided.old |= undecided && other.old > 0;
            found.undecided.new |= undecided && other.new > 0;
        }
    }
}

fn changes(delta: Delta) -> Vec<KeyRow> {
    let row = |(bytes, diff)| KeyRow { bytes, counts: Both { old: 0, new: diff }, found: Found::default() };
    delta.into_iter().map(row).collect()
}

type TraceCursor =
    differential_dataflow::trace::cursor::CursorList<differential_dataflow::trace::BatchCursor<Trace>>;

/// Reads an arrangement key by key, ascending.
pub(super) struct SideCursor {
    cursor: TraceCursor,
    storage: Vec<<Trace as TraceReader>::Batch>,
}

impl SideCursor {
    pub fn new(trace: &mut Trace) -> Self {
        let (cursor, storage) = trace.cursor();
        SideCursor { cursor, storage }
    }

    /// Goes to the first row of a key; false if there is none.
    fn seek(&mut self, key: &Bytes) -> bool {
        let key = key.as_slice();
        self.cursor.seek_key(&self.storage, key);
        let found = self.cursor.get_key(&self.storage) == Some(key);
        if found {
            self.cursor.rewind_vals(&self.storage);
        }
        found
    }

    /// How often the row at hand is there.
    fn counts(&mut self, epoch: Epoch) -> Both<i64> {
        let mut counts = Both::default();
        self.cursor.map_times(&self.storage, |time, diff| {
            if *time < epoch {
                counts.old += *diff as i64;
            }
            if *time <= epoch {
                counts.new += *diff as i64;
            }
        });
        counts
    }

    /// Whether a key has rows. Where it has not `changed`, the first row decides.
    fn exists(&mut self, key: &Bytes, epoch: Epoch, changed: bool) -> Both<bool> {
        let mut exists = Both::default();
        if !self.seek(key) {
            return exists;
        }
        while self.cursor.val_valid(&self.storage) {
            let counts = self.counts(epoch);
            exists.old |= counts.old > 0;
            exists.new |= counts.new > 0;
            if exists.new && (exists.old || !changed) {
                break;
            }
            self.cursor.step_val(&self.storage);
        }
        exists
    }

    /// The rows of a key that are there, or have been.
    fn all(&mut self, key: &Bytes, epoch: Epoch) -> Vec<KeyRow> {
        let mut rows = Vec::new();
        if !self.seek(key) {
            return rows;
        }
        while let Some(bytes) = self.cursor.get_val(&self.storage) {
            let bytes = bytes.to_vec();
            let counts = self.counts(epoch);
            if counts != Both::default() {
                rows.push(KeyRow { bytes, counts, found: Found::default() });
            }
            self.cursor.step_val(&self.storage);
        }
        rows
    }
}

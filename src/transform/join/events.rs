//! What is to be decided about keys, one piece after the other, so that a key with many rows can be
//! interrupted: pairs, and the ends of rows, when all pairs of theirs have been seen.

use super::lookup::KeyRows;
use crate::plan::{Join, JoinKind};

/// How much is decided at once. Few in tests, so that keys are interrupted.
const EVENTS_MAX: usize = if cfg!(test) { 5 } else { 8_192 };

/// Places are those of [`Buffer::keys`] and of the rows in it.
pub(super) enum Event {
    Pair { key: usize, left: usize, right: usize },
    LeftEnds { key: usize, left: usize },
    RightEnds { key: usize, right: usize },
}

/// Events of some keys.
#[derive(Default)]
pub(super) struct Buffer {
    pub keys: Vec<KeyRows>,
    pub events: Vec<Event>,
    /// How far the last of the keys has come.
    at: Position,
}

#[derive(Clone, Copy, Default)]
enum Position {
    #[default]
    Start,
    /// The next pair.
    Pairs {
        left: usize,
        right: usize,
    },
    /// The next row of the right side to end.
    RightEnds(usize),
    Done,
}

impl Buffer {
    /// Whether it is time to decide.
    pub fn is_full(&self) -> bool {
        self.events.len() >= EVENTS_MAX || self.keys.len() >= EVENTS_MAX
    }

    /// Whether the last key has further events.
    pub fn is_open(&self) -> bool {
        !self.keys.is_empty() && !matches!(self.at, Position::Done)
    }

    /// Begins with a key.
    pub fn push(&mut self, rows: KeyRows) {
        self.keys.push(rows);
        self.at = Position::Start;
    }

    /// Forgets what has been decided; a key that has further events stays.
    pub fn clear(&mut self) {
        self.events.clear();
        let open = if self.is_open() { self.keys.pop() } else { None };
        self.keys.clear();
        self.keys.extend(open);
    }

    /// Adds events of the last key until there are no more, or enough.
    pub fn fill(&mut self, join: &Join) {
        let Some(rows) = self.keys.last() else { return };
        let key = self.keys.len() - 1;
        let paired = !rows.unmatched && (join.kind.gives_pairs() || join.condition.is_some());
        let width = if paired { rows.len(1) } else { 0 };
        let left_ends = join.kind.keeps_left() || join.kind == JoinKind::Semi;
        let all = join.condition.is_some();
        // Of a row that has not changed only pairs with rows that have changed matter.
        let changed: Vec<usize> = (0..width).filter(|right| rows.changed(1, *right)).collect();
        loop {
            if self.events.len() >= EVENTS_MAX {
                return;
            }
            self.at = match self.at {
                Position::Start => Position::Pairs { left: 0, right: 0 },
                Position::Pairs { left, .. } if left == rows.len(0) => Position::RightEnds(0),
                Position::Pairs { left, right } => {
                    let few = !all && !rows.changed(0, left);
                    let wanted = if few { changed.get(right).copied() } else { Some(right) };
                    match wanted.filter(|right| *right < width) {
                        Some(wanted) => {
                            self.events.push(Event::Pair { key, left, right: wanted });
                            Position::Pairs { left, right: right + 1 }
                        }
                        None => {
                            if left_ends {
                                self.events.push(Event::LeftEnds { key, left });
                            }
                            Position::Pairs { left: left + 1, right: 0 }
                        }
                    }
                }
                Position::RightEnds(right) if right < rows.len(1) && join.kind.keeps_right() => {
                    self.events.push(Event::RightEnds { key, right });
                    Position::RightEnds(right + 1)
                }
                Position::RightEnds(_) | Position::Done => {
                    self.at = Position::Done;
                    return;
                }
            };
        }
    }
}

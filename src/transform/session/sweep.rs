//! Which rows and sessions of a key are one session.

use std::ops::Range;

use crate::time::EventTime;

/// A session with the rows and the older sessions that it is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Joined {
    /// Time of its first row.
    pub start: EventTime,
    /// Time of its last row.
    pub last: EventTime,
    pub rows: Range<usize>,
    pub sessions: Range<usize>,
}

/// Joins what is at most `gap_ns` apart. `rows` are times and `sessions` first and last times; both ascend.
pub fn sweep(rows: &[EventTime], sessions: &[(EventTime, EventTime)], gap_ns: i64) -> Vec<Joined> {
    let mut joined: Vec<Joined> = Vec::new();
    let (mut row, mut session) = (0, 0);
    loop {
        let next_row = rows.get(row).copied();
        let next_session = sessions.get(session).copied();
        let (start, last, is_row) = match (next_row, next_session) {
            (Some(time), Some((start, _))) if time <= start => (time, time, true),
            (_, Some((start, last))) => (start, last, false),
            (Some(time), None) => (time, time, true),
            (None, None) => return joined,
        };
        let apart = joined.last().is_none_or(|current| start.saturating_sub(current.last) > gap_ns);
        if apart {
            joined.push(Joined { start, last, rows: row..row, sessions: session..session });
        }
        let current = joined.last_mut().expect("there is one now");
        current.last = current.last.max(last);
        if is_row {
            row += 1;
            current.rows.end = row;
        } else {
            session += 1;
            current.sessions.end = session;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_at_most_the_gap_apart_is_one_session() {
        let found = sweep(&[1, 6, 12, 40], &[(17, 20), (26, 30)], 5);
        let parts: Vec<_> =
            found.iter().map(|it| (it.start, it.last, it.rows.clone(), it.sessions.clone())).collect();
        let first = (1, 6, 0..2, 0..0);
        assert_eq!(parts, [first, (12, 20, 2..3, 0..1), (26, 30, 3..3, 1..2), (40, 40, 3..4, 2..2)]);
    }

    #[test]
    fn a_row_joins_two_sessions() {
        let found = sweep(&[25], &[(10, 20), (30, 40)], 5);
        assert_eq!(found, [Joined { start: 10, last: 40, rows: 0..1, sessions: 0..2 }]);
    }

    #[test]
    fn a_row_inside_of_a_session_changes_nothing_of_its_stretch() {
        let found = sweep(&[15, 15], &[(10, 20)], 1);
        assert_eq!(found, [Joined { start: 10, last: 20, rows: 0..2, sessions: 0..1 }]);
        assert!(sweep(&[], &[], 1).is_empty());
    }
}

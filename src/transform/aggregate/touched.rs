//! The groups that an epoch has touched, with their rows as they were before it.

use arrow::array::ArrayRef;

use crate::transform::aggregate::groups::{Group, Groups};
use crate::transform::aggregate::state::{fit, give_back, vector};

/// How many groups are emitted in one call.
pub const EMIT_GROUPS_MAX: usize = 16_384;

const UNTOUCHED: u32 = u32::MAX;

/// The touched groups of the current epoch.
#[derive(Default)]
pub struct Touched {
    /// Per slot the place in `list`, or [`UNTOUCHED`].
    places: Vec<u32>,
    list: Vec<(Group, Old)>,
    /// Old values of the aggregates, column by column; a chunk for each batch that touched new groups.
    chunks: Vec<Vec<ArrayRef>>,
    closing: Option<Closing>,
}

/// The row of a group before the epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Old {
    /// There was no such group.
    None,
    /// The group had no row, because its result was an error.
    Failed,
    /// Its aggregates, as (chunk, row).
    Row(u32, u32),
}

/// The groups on their way out in the order of their keys, sorted only as far as they are needed.
pub struct Closing {
    /// Each with the first bytes of its key that may differ from those of others, so that sorting seldom has
    /// to look at the keys, which are all over the memory.
    groups: Vec<(u64, Group)>,
    emitted: usize,
    /// Ends of parts that hold only lesser keys than the next part, the nearest end last.
    ends: Vec<usize>,
}

impl Touched {
    /// Makes room for groups up to `slots`.
    pub fn resize(&mut self, slots: usize) {
        fit(&mut self.places, slots, || UNTOUCHED);
    }

    /// Whether the group has been touched in this epoch.
    pub fn contains(&self, group: Group) -> bool {
        self.places[group as usize] != UNTOUCHED
    }

    /// Whether no group has been touched.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Touches a group for the first time in this epoch.
    pub fn insert(&mut self, group: Group, old: Old) {
        self.places[group as usize] = self.list.len() as u32;
        self.list.push((group, old));
    }

    /// The result of a touched group was an error before the epoch.
    pub fn set_failed(&mut self, group: Group) {
        self.list[self.places[group as usize] as usize].1 = Old::Failed;
    }

    /// Number of the next chunk of old values.
    pub fn next_chunk(&self) -> u32 {
        self.chunks.len() as u32
    }

    /// Adds a chunk of old values.
    pub fn push_chunk(&mut self, columns: Vec<ArrayRef>) {
        self.chunks.push(columns);
    }

    /// All chunks of old values.
    pub fn chunks(&self) -> &[Vec<ArrayRef>] {
        &self.chunks
    }

    /// What the group was before the epoch.
    pub fn old(&self, group: Group) -> Old {
        self.list[self.places[group as usize] as usize].1
    }

    /// The next groups to emit, at most `max`, in the order of their keys.
    pub fn next_groups(&mut self, keys: &Groups, max: usize) -> Vec<Group> {
        let list = &self.list;
        let groups = || list.iter().map(|(group, _)| *group);
        self.closing.get_or_insert_with(|| Closing::new(groups, keys)).next(keys, max)
    }

    /// Whether all groups have been given out.
    pub fn is_done(&self) -> bool {
        self.closing.as_ref().is_none_or(Closing::is_done)
    }

    /// Bytes of memory between two epochs.
    pub fn bytes(&self) -> usize {
        vector(&self.places) + vector(&self.list)
    }

    /// Ends the epoch.
    pub fn clear(&mut self) {
        for (group, _) in self.list.drain(..) {
            self.places[group as usize] = UNTOUCHED;
        }
        give_back(&mut self.list);
        self.chunks.clear();
        self.closing = None;
    }
}

impl Closing {
    /// All of `list`, each of them once.
    pub fn new<L: Iterator<Item = Group>>(list: impl Fn() -> L, keys: &Groups) -> Self {
        let first = list().next().map_or(&[][..], |group| keys.key(group));
        let common = list().fold(first.len(), |common, group| {
            let same = first[..common].iter().zip(keys.key(group)).take_while(|(left, right)| left == right);
            same.count()
        });
        let groups: Vec<_> = list().map(|group| (word(&keys.key(group)[common..]), group)).collect();
        Closing { ends: vec![groups.len()], groups, emitted: 0 }
    }

    /// Whether all groups have been given out.
    pub fn is_done(&self) -> bool {
        self.emitted == self.groups.len()
    }

    /// Sorting a million keys at once would hold up everybody else; so the nearest part is halved until it
    /// is small enough, and only that is sorted.
    pub fn next(&mut self, keys: &Groups, max: usize) -> Vec<Group> {
        let by_key = |left: &(u64, Group), right: &(u64, Group)| {
            left.0.cmp(&right.0).then_with(|| keys.key(left.1).cmp(keys.key(right.1)))
        };
        loop {
            let Some(end) = self.ends.last().copied() else { return Vec::new() };
            let part = &mut self.groups[self.emitted..end];
            if part.len() <= max {
                part.sort_unstable_by(by_key);
                self.emitted = end;
                self.ends.pop();
                return part.iter().map(|(_, group)| *group).collect();
            }
            let half = part.len() / 2;
            part.select_nth_unstable_by(half, by_key);
            self.ends.push(self.emitted + half);
        }
    }
}

/// The first eight bytes as a number that compares as they do; missing ones are zero.
fn word(bytes: &[u8]) -> u64 {
    let mut word = [0; 8];
    let length = bytes.len().min(8);
    word[..length].copy_from_slice(&bytes[..length]);
    u64::from_be_bytes(word)
}

//! The rows of one side, by key and time.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use arrow::array::{ArrayRef, new_null_array};
use arrow::datatypes::SchemaRef;

use super::New;
use crate::error::Result;
use crate::time::EventTime;
use crate::transform::aggregate::groups::Group;
use crate::transform::aggregate::state::tree;
use crate::transform::arrange::RowCodec;

/// Where a row is kept: those of one key stand beside each other, in the order of their times.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub group: Group,
    pub time: EventTime,
    /// The row in Arrow row format.
    pub row: Box<[u8]>,
}

/// What is known of a row that is kept.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kept {
    /// How often it is there.
    pub count: u64,
    pub flags: Flags,
}

/// What has happened to a row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Flags(u8);

impl Flags {
    /// It has a pair.
    pub const MATCHED: Flags = Flags(1);
    /// It has a pair on which the condition fails.
    pub const UNDECIDED: Flags = Flags(2);
    /// Changed since the last snapshot.
    pub const CHANGED: Flags = Flags(4);
    /// Changed before the last snapshot, which may still turn out to have failed.
    pub const CHANGED_BEFORE: Flags = Flags(8);

    pub fn has(self, flag: Flags) -> bool {
        self.0 & flag.0 != 0
    }

    pub fn set(&mut self, flag: Flags, to: bool) {
        self.0 = if to { self.0 | flag.0 } else { self.0 & !flag.0 };
    }

    pub fn add(&mut self, others: Flags) {
        self.0 |= others.0;
    }
}

/// The rows of one side.
pub(super) struct Side {
    codec: RowCodec,
    /// A row of NULLs, for where this side has none.
    nulls: Box<[u8]>,
    pub rows: BTreeMap<Place, Kept>,
    /// The earliest time of each key that has rows.
    due: BTreeSet<(EventTime, Group)>,
    /// Bytes of the rows.
    row_bytes: usize,
}

impl Side {
    pub fn new(schema: &SchemaRef) -> Result<Self> {
        let codec = RowCodec::new(schema)?;
        let nulls: Vec<ArrayRef> =
            schema.fields().iter().map(|field| new_null_array(field.data_type(), 1)).collect();
        let nulls = codec.encode(&nulls)?.row(0).as_ref().into();
        Ok(Side { codec, nulls, rows: BTreeMap::new(), due: BTreeSet::new(), row_bytes: 0 })
    }

    /// The bytes of rows.
    pub fn encode(&self, columns: &[ArrayRef]) -> Vec<Box<[u8]>> {
        let rows = self.codec.encode(columns).expect("columns of this side");
        rows.iter().map(|row| row.as_ref().into()).collect()
    }

    /// The columns of rows; NULLs where there is none.
    pub fn decode(&self, rows: &[Option<&[u8]>]) -> Vec<ArrayRef> {
        let rows = rows.iter().map(|row| row.unwrap_or(&self.nulls));
        self.codec.decode(rows).expect("rows of this side")
    }

    /// The rows of a key from one time to another, behind the place `after`.
    pub fn between(
        &self,
        group: Group,
        (from, to): (EventTime, EventTime),
        after: Option<&Place>,
    ) -> impl Iterator<Item = (&Place, &Kept)> {
        let (start, end) = span(group, from, to);
        let start = after.map_or(start, |after| Bound::Excluded(after.clone()));
        self.rows.range((start, end))
    }

    /// Adds a row.
    pub fn insert(&mut self, new: New) {
        let New { place, count, flags } = new;
        let earliest = self.earliest(place.group);
        if earliest.is_none_or(|earliest| place.time < earliest) {
            if let Some(earliest) = earliest {
                self.due.remove(&(earliest, place.group));
            }
            self.due.insert((place.time, place.group));
        }
        let bytes = place.row.len();
        let kept = self.rows.entry(place).or_insert_with(|| {
            self.row_bytes += bytes;
            Kept { count: 0, flags }
        });
        kept.count += count;
        kept.flags.add(flags);
    }

    /// Forgets rows up to a time, at most about `most` at once, and gives them out.
    pub fn forget(&mut self, through: EventTime, most: usize) -> Vec<(Place, Kept)> {
        let mut gone = Vec::new();
        while gone.len() < most
            && let Some((time, group)) = self.due.first().copied()
            && time <= through
        {
            self.due.pop_first();
            let range = span(group, EventTime::MIN, through);
            let known = gone.len();
            gone.extend(self.rows.extract_if(range, |_, _| true).take(most - known));
            self.row_bytes -= gone[known..].iter().map(|(place, _)| place.row.len()).sum::<usize>();
            if let Some(earliest) = self.earliest(group) {
                self.due.insert((earliest, group));
            }
        }
        gone
    }

    /// Takes out a row.
    pub fn remove(&mut self, place: &Place) -> Option<Kept> {
        self.rows.remove(place).inspect(|_| self.row_bytes -= place.row.len())
    }

    /// About how many bytes of memory its rows take.
    pub fn bytes(&self) -> usize {
        let rows = tree(self.rows.len(), size_of::<(Place, Kept)>()) + self.row_bytes;
        rows + tree(self.due.len(), size_of::<(EventTime, Group)>())
    }

    fn earliest(&self, group: Group) -> Option<EventTime> {
        let (start, end) = span(group, EventTime::MIN, EventTime::MAX);
        self.rows.range((start, end)).next().map(|(place, _)| place.time)
    }
}

/// All places of a key from one time to another.
fn span(group: Group, from: EventTime, to: EventTime) -> (Bound<Place>, Bound<Place>) {
    let place = |group, time| Place { group, time, row: Box::default() };
    let end = match to.checked_add(1) {
        Some(behind) => Bound::Excluded(place(group, behind)),
        None => {
            group.checked_add(1).map_or(Bound::Unbounded, |next| Bound::Excluded(place(next, EventTime::MIN)))
        }
    };
    (Bound::Included(place(group, from)), end)
}

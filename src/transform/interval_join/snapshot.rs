//! Snapshots of an interval join: by key group, all rows or those that have changed.
//!
//! Columns: `side` (0 or 1), `count`, `matched`, `undecided`, then those of the left and of the right side, of
//! which one are NULL. Rows that are forgotten are not named one by one: a row without side holds in
//! `through.0` and `through.1` up to which times rows of its key group are gone.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Int32Array, Int64Array, RecordBatch, new_null_array,
};
use arrow::compute::concat;
use arrow::datatypes::{DataType, Field, Int32Type, Int64Type, Schema, SchemaRef};

use super::side::{Flags, Kept, Place, Side};
use super::{IntervalJoin, New};
use crate::batch::Batch;
use crate::canonical::{KEY_GROUPS, key_group};
use crate::error::{Error, Result};
use crate::plan;
use crate::time::EventTime;
use crate::transform::{KeyGroup, Output, SnapshotKind};

/// Columns in front of those of the sides.
const OWN: usize = 6;

/// What has changed since the last snapshot, beside the flags of rows. Nothing is kept until there has been one.
#[derive(Default)]
pub(super) struct Tracker {
    based: bool,
    based_before: bool,
    /// Key groups of which rows were forgotten.
    forgot: Forgot,
    forgot_before: Forgot,
    /// Up to which times rows of the sides were forgotten.
    through: [Option<EventTime>; 2],
}

struct Forgot([bool; KEY_GROUPS]);

impl Default for Forgot {
    fn default() -> Self {
        Forgot([false; KEY_GROUPS])
    }
}

impl Tracker {
    /// Whether there is a snapshot that a delta can stand on.
    pub fn is_based(&self) -> bool {
        self.based
    }

    /// A row of a key is forgotten.
    pub fn forget(&mut self, key: &[u8]) {
        if self.based {
            self.forgot.0[usize::from(key_group(key))] = true;
        }
    }

    /// Rows of a side are forgotten up to a time.
    pub fn forgotten(&mut self, side: usize, through: EventTime) {
        self.through[side] = self.through[side].max(Some(through));
    }

    fn start(&mut self, sides: &mut [Side; 2]) {
        for kept in sides.iter_mut().flat_map(|side| side.rows.values_mut()) {
            let changed = kept.flags.has(Flags::CHANGED);
            kept.flags.set(Flags::CHANGED_BEFORE, changed);
            kept.flags.set(Flags::CHANGED, false);
        }
        self.forgot_before = std::mem::take(&mut self.forgot);
        (self.based_before, self.based) = (self.based, true);
    }

    /// The last snapshot has failed: what it held counts as changed again.
    pub fn fail(&mut self, sides: &mut [Side; 2]) {
        self.based = self.based_before;
        for kept in sides.iter_mut().flat_map(|side| side.rows.values_mut()) {
            let changed = kept.flags.has(Flags::CHANGED) || kept.flags.has(Flags::CHANGED_BEFORE);
            kept.flags.set(Flags::CHANGED, changed && self.based);
            kept.flags.set(Flags::CHANGED_BEFORE, false);
        }
        for (forgot, before) in self.forgot.0.iter_mut().zip(self.forgot_before.0) {
            *forgot = (*forgot || before) && self.based;
        }
    }
}

/// Columns of the snapshots of `plan`.
pub(super) fn state_schema(plan: &plan::IntervalJoin) -> SchemaRef {
    let mut fields = vec![
        Field::new("side", DataType::Int32, true),
        Field::new("count", DataType::Int64, true),
        Field::new("matched", DataType::Boolean, true),
        Field::new("undecided", DataType::Boolean, true),
        Field::new("through.0", DataType::Int64, true),
        Field::new("through.1", DataType::Int64, true),
    ];
    for (side, name) in plan.sides.iter().zip(["left", "right"]) {
        let columns = side.schema.fields().iter().enumerate();
        fields.extend(
            columns.map(|(i, field)| Field::new(format!("{name}.{i}"), field.data_type().clone(), true)),
        );
    }
    Arc::new(Schema::new(fields))
}

/// Rows of one key group.
#[derive(Default)]
struct Part<'a> {
    rows: [Vec<(&'a Place, &'a Kept)>; 2],
    forgot: bool,
}

impl IntervalJoin {
    pub(super) fn take_snapshot(&mut self, kind: SnapshotKind) -> Vec<(KeyGroup, RecordBatch)> {
        let all = kind == SnapshotKind::Full || !self.tracker.based;
        let mut parts: Vec<Part> = (0..KEY_GROUPS).map(|_| Part::default()).collect();
        for (number, side) in self.sides.iter().enumerate() {
            for (place, kept) in side.rows.iter().filter(|(_, kept)| all || kept.flags.has(Flags::CHANGED)) {
                let group = usize::from(key_group(self.groups.key(place.group)));
                parts[group].rows[number].push((place, kept));
            }
        }
        for (part, forgot) in parts.iter_mut().zip(&self.tracker.forgot.0) {
            part.forgot = *forgot && !all;
        }
        let parts = (0..=KeyGroup::MAX).zip(&parts);
        let wanted = |part: &Part| part.forgot || part.rows.iter().any(|rows| !rows.is_empty());
        let snapshot = parts.filter(|(_, part)| wanted(part)).map(|(group, part)| (group, self.save(part)));
        let snapshot = snapshot.collect();
        self.tracker.start(&mut self.sides);
        snapshot
    }

    fn save(&self, part: &Part) -> RecordBatch {
        let heads = usize::from(part.forgot);
        let [left, right] = [0, 1].map(|side| part.rows[side].len());
        let rows = || part.rows.iter().flatten();
        let beside_head = |column: ArrayRef| joined(&[new_null_array(column.data_type(), heads), column]);
        let sides = std::iter::repeat_n(0, left).chain(std::iter::repeat_n(1, right));
        let has = |flag: Flags| rows().map(|(_, kept)| Some(kept.flags.has(flag))).collect::<BooleanArray>();
        let through = |side: usize| -> ArrayRef {
            let head: ArrayRef = Arc::new(Int64Array::from(vec![self.tracker.through[side]; heads]));
            joined(&[head, new_null_array(&DataType::Int64, left + right)])
        };
        let mut columns = vec![
            beside_head(Arc::new(Int32Array::from_iter_values(sides))),
            beside_head(Arc::new(Int64Array::from_iter_values(rows().map(|(_, kept)| kept.count as i64)))),
            beside_head(Arc::new(has(Flags::MATCHED))),
            beside_head(Arc::new(has(Flags::UNDECIDED))),
            through(0),
            through(1),
        ];
        for (side, (before, behind)) in [(heads, right), (heads + left, 0)].into_iter().enumerate() {
            let rows: Vec<_> = part.rows[side].iter().map(|(place, _)| Some(&*place.row)).collect();
            for column in self.sides[side].decode(&rows) {
                let nulls = |rows| new_null_array(column.data_type(), rows);
                columns.push(joined(&[nulls(before), column.clone(), nulls(behind)]));
            }
        }
        RecordBatch::try_new(self.state_schema.clone(), columns).expect("columns of the state schema")
    }

    pub(super) fn load(&mut self, state: &RecordBatch) -> Result<()> {
        let types =
            |schema: &Schema| schema.fields().iter().map(|f| f.data_type().clone()).collect::<Vec<_>>();
        if types(&state.schema()) != types(&self.state_schema) {
            return Err(Error::internal(format!("the stored state of {} has other columns", self.plan.name)));
        }
        self.tracker.based = true;
        let sides = state.column(0).as_primitive::<Int32Type>().clone();
        for row in (0..sides.len()).filter(|row| sides.is_null(*row)) {
            for side in [0, 1] {
                let through = state.column(4 + side).as_primitive::<Int64Type>();
                if through.is_valid(row) {
                    self.drop_through(side, through.value(row));
                }
            }
        }
        for side in [0, 1] {
            let own: BooleanArray = sides.iter().map(|at| Some(at == Some(side as i32))).collect();
            let rows = arrow::compute::filter_record_batch(state, &own);
            self.load_side(side, &rows.map_err(|error| Error::internal("broken state").caused_by(error))?)?;
        }
        Ok(())
    }

    fn drop_through(&mut self, side: usize, through: EventTime) {
        for (place, kept) in self.sides[side].forget(through, usize::MAX) {
            self.groups.add_rows(place.group, -(kept.count as i64));
            if self.groups.rows(place.group) == 0 {
                self.groups.remove(place.group);
            }
        }
        self.tracker.forgotten(side, through);
    }

    fn load_side(&mut self, side: usize, state: &RecordBatch) -> Result<()> {
        let schema = self.plan.sides[side].schema.clone();
        let first = OWN + if side == 0 { 0 } else { self.plan.sides[0].schema.fields().len() };
        let columns = state.columns()[first..first + schema.fields().len()].to_vec();
        let rows = RecordBatch::try_new(schema, columns);
        let rows = rows.map_err(|error| Error::internal("broken state").caused_by(error))?;
        let batch = Batch::inserts(rows, None, 0);
        let mut out = Output::default();
        if self.keys(side, &batch, &mut out).is_some() {
            return Err(Error::internal(format!("a stored key of {} cannot be computed", self.plan.name)));
        }
        let times = self.times(side, &batch.rows).clone();
        let counts = state.column(1).as_primitive::<Int64Type>();
        let (matched, undecided) = (state.column(2).as_boolean(), state.column(3).as_boolean());
        for (row, bytes) in self.sides[side].encode(batch.rows.columns()).into_iter().enumerate() {
            let group = self.groups.intern(self.keys.row(row));
            let place = Place { group, time: times.value(row), row: bytes };
            let mut flags = Flags::default();
            flags.set(Flags::MATCHED, matched.value(row));
            flags.set(Flags::UNDECIDED, undecided.value(row));
            let rows = counts.value(row);
            // What a delta says of a row takes the place of what was known.
            let known = self.sides[side].remove(&place).map_or(0, |kept| kept.count as i64);
            self.groups.add_rows(group, rows - known);
            self.sides[side].insert(New { place, count: rows as u64, flags });
        }
        Ok(())
    }
}

fn joined(parts: &[ArrayRef]) -> ArrayRef {
    let parts: Vec<&dyn Array> = parts.iter().map(|part| part.as_ref()).collect();
    concat(&parts).expect("parts of one type")
}

//! DISTINCT ON: of the rows with the same key the first stays, the others are dropped.
//!
//! A row is a duplicate if the event time of a row of its key that stayed is less than the horizon away from
//! its own, in either direction. A row older than W(e-1) by more than the horizon is late, whatever is known of
//! its key; so a row that stayed is of no use, and forgotten, when it is twice the horizon behind W(e).
//!
//! The first is the one of the earliest epoch, inside an epoch the one with the lowest origin. So the rows of an
//! epoch are decided about when it closes, in the order of their origins; rows without one, behind an
//! aggregation, in the order of their canonical bytes.
//!
//! Of a row that stays 32 bytes are remembered: a hash of its key of 128 bits, its event time, and a hash of its
//! content that tells whether a duplicate says something else. Two keys with the same hash are taken for one:
//! among 10^12 remembered keys the chance of any such pair is below 10^-14.

use std::cmp::Ordering;
use std::collections::VecDeque;

use arrow::array::{ArrayRef, AsArray, BooleanArray, RecordBatch};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::{SchemaRef, TimestampNanosecondType};
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

use crate::batch::Batch;
use crate::canonical::{self, CanonicalRows, key_group};
use crate::error::{Error, Result};
use crate::plan::{Deduplication, Horizon};
use crate::time::{Epoch, EpochClose, EventTime, Watermark};
use crate::transform::dedup::memory::{Known, Memory, TABLES, part_of};
use crate::transform::dedup::snapshot::Saved;
use crate::transform::dedup::table::Entry;
use crate::transform::{KeyGroup, Operator, Output, Progress, SnapshotKind};

mod index;
mod memory;
mod snapshot;
mod table;

/// Rows that are worked on in one call.
const SLICE: usize = 16_384;
/// Rows whose places in the memory are read at once.
const TOUCHED: usize = 64;

/// The state of one DISTINCT ON on one worker.
pub struct Deduplicator {
    plan: Deduplication,
    /// W(e-1).
    watermark: Watermark,
    memory: Memory,
    /// The rows of the epoch, until it closes.
    arrived: VecDeque<Arrived>,
    closing: Option<Closing>,
    saved: Saved,
    /// Memory of the last batch.
    bytes: CanonicalRows,
}

/// A batch of the epoch.
struct Arrived {
    batch: Batch,
    /// What would be remembered of each row.
    entries: Vec<Entry>,
    fates: Vec<Fate>,
    /// The rows' canonical bytes, where they have no origin.
    rows: Option<CanonicalRows>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Stays,
    Duplicate,
    Late,
}

/// An epoch that is about to be closed: its rows in order, and how many of them are decided.
struct Closing {
    rows: Vec<Due>,
    decided: usize,
}

/// A row that is decided about. It is there until its epoch is closed, and no part of the state.
#[derive(Clone, Copy)]
struct Due {
    /// What would be remembered of it: a copy, since of all rows in their order each is somewhere else.
    entry: Entry,
    batch: u32,
    row: u32,
}

impl Deduplicator {
    /// The empty state of `plan`. Fails on types that cannot be compared.
    pub fn new(plan: &Deduplication) -> Result<Self> {
        let types = plan.input.fields().iter().map(|field| field.data_type());
        if let Some(other) = types.into_iter().find(|data_type| !canonical::supports(data_type)) {
            return Err(Error::internal(format!("{} cannot compare values of type {other}", plan.name)));
        }
        // Without event time all rows are of one moment.
        let (horizon, span) = plan.horizon.as_ref().map_or((1, 1), |horizon| (horizon.ns, horizon.span_ns()));
        Ok(Deduplicator {
            plan: plan.clone(),
            watermark: Watermark::NONE,
            memory: Memory::new(horizon, span),
            arrived: VecDeque::new(),
            closing: None,
            saved: Saved::default(),
            bytes: CanonicalRows::default(),
        })
    }

    /// Number of rows that are remembered.
    pub fn remembered(&self) -> usize {
        self.memory.len()
    }

    /// What would be remembered of the rows of a batch.
    fn entries(&mut self, batch: &Batch) -> Vec<Entry> {
        let pick = |columns: &[usize]| -> Vec<ArrayRef> {
            columns.iter().map(|column| batch.rows.column(*column).clone()).collect()
        };
        let times = self.plan.horizon.as_ref().map(|horizon| times(batch, horizon));
        let time = |row: usize| times.map_or(0, |times| times[row]);
        self.bytes.encode(&pick(&self.plan.keys), batch.len());
        let ids = self.bytes.iter().enumerate();
        let mut entries: Vec<Entry> =
            ids.map(|(row, key)| Entry { id: id(key), time: time(row), content: 0 }).collect();
        self.bytes.encode(&pick(&self.plan.content), batch.len());
        for (entry, content) in entries.iter_mut().zip(self.bytes.iter()) {
            entry.content = xxh3_64(content);
        }
        entries
    }

    /// The rows of the epoch in the order that decides which is first.
    fn order(&self) -> Vec<(u32, u32)> {
        let mut order = Vec::with_capacity(self.arrived.iter().map(|arrived| arrived.entries.len()).sum());
        for (batch, arrived) in (0..).zip(&self.arrived) {
            order.extend((0..arrived.entries.len() as u32).map(|row| (batch, row)));
        }
        // Rows of a partition come in order: this sort finds such runs.
        order.sort_by(|left, right| compare(self.at(*left), self.at(*right)));
        order
    }

    /// The same rows by the table that remembers their keys, those of a table in the order in which they were: no row
    /// of another table decides about them, and of one table at a time the caches hold most.
    fn by_table(&self, order: &[(u32, u32)]) -> Vec<Due> {
        let Some(first) = order.first() else { return Vec::new() };
        let due = |&(batch, row): &(u32, u32)| Due {
            entry: self.arrived[batch as usize].entries[row as usize],
            batch,
            row,
        };
        let mut places = [0; TABLES];
        order.iter().for_each(|row| places[part_of(due(row).entry.id)] += 1);
        let mut start = 0;
        for place in &mut places {
            start += std::mem::replace(place, start);
        }
        let mut rows = vec![due(first); order.len()];
        for due in order.iter().map(due) {
            let place = &mut places[part_of(due.entry.id)];
            rows[*place] = due;
            *place += 1;
        }
        rows
    }

    fn at(&self, (batch, row): (u32, u32)) -> (&Arrived, usize) {
        (&self.arrived[batch as usize], row as usize)
    }

    /// The earliest event time that is not late.
    fn earliest(&self) -> EventTime {
        let horizon = self.plan.horizon.as_ref();
        horizon.map_or(EventTime::MIN, |horizon| self.watermark.0.saturating_sub(horizon.ns))
    }

    /// The columns that leave.
    fn leaving(&self, batch: Batch) -> Batch {
        let columns: Vec<usize> = (0..self.plan.schema.fields().len()).collect();
        batch.with_rows(batch.rows.project(&columns).expect("what leaves is a part of what arrives"))
    }

    /// Decides about the next rows in order; false if some are left.
    fn decide(&mut self, out: &mut Output) -> bool {
        let closing = self.closing.take();
        let mut closing =
            closing.unwrap_or_else(|| Closing { rows: self.by_table(&self.order()), decided: 0 });
        let end = closing.rows.len().min(closing.decided + SLICE);
        for rows in closing.rows[closing.decided..end].chunks(TOUCHED) {
            self.memory.touch(rows.iter().map(|due| &due.entry));
            rows.iter().for_each(|due| self.decide_about(due, out));
        }
        closing.decided = end;
        let done = end == closing.rows.len();
        self.closing = Some(closing);
        done
    }

    fn decide_about(&mut self, Due { entry, batch, row }: &Due, out: &mut Output) {
        let (earliest, row) = (self.earliest(), *row as usize);
        let arrived = &mut self.arrived[*batch as usize];
        let copies = arrived.batch.diff(row);
        let late = entry.time < earliest;
        arrived.fates[row] = match if late { None } else { Some(self.memory.find(entry)) } {
            None => Fate::Late,
            Some(Known::No) => {
                self.memory.insert(*entry);
                out.emitted += 1;
                // Of a row that comes several times at once one stays.
                out.deduplicated += copies - 1;
                Fate::Stays
            }
            Some(known) => {
                out.deduplicated += copies;
                out.conflicts += if known == Known::Other { copies } else { 0 };
                Fate::Duplicate
            }
        };
    }

    /// Gives out rows that are decided; false if some are left.
    fn give_out(&mut self, out: &mut Output) -> bool {
        let mut given = 0;
        while given < SLICE {
            let Some(arrived) = self.arrived.pop_front() else { break };
            given += arrived.batch.len();
            out.late.extend(arrived.with(Fate::Late).map(|late| self.leaving(late)));
            let stays = arrived.with(Fate::Stays).map(|stays| Batch { diffs: None, ..stays });
            out.batches.extend(stays.map(|stays| self.leaving(stays)));
        }
        self.arrived.is_empty()
    }

    /// Forgets what no row can meet any more that will not be late.
    fn advance(&mut self, watermark: Watermark) {
        self.watermark = self.watermark.max(watermark);
        match (&self.plan.horizon, self.watermark) {
            (None, _) | (_, Watermark::NONE) => {}
            (Some(_), Watermark::END) => self.memory.forget(EventTime::MAX),
            (Some(horizon), Watermark(time)) => {
                self.memory.forget(time.saturating_sub(horizon.ns).saturating_sub(horizon.ns));
            }
        }
    }
}

impl Arrived {
    /// The rows with this fate, if there are any.
    fn with(&self, fate: Fate) -> Option<Batch> {
        let number = self.fates.iter().filter(|found| **found == fate).count();
        match number {
            0 => None,
            all if all == self.fates.len() => Some(self.batch.clone()),
            _ => {
                let wanted = |row: usize| self.fates[row] == fate;
                let mask = BooleanArray::new(BooleanBuffer::collect_bool(self.fates.len(), wanted), None);
                Some(self.batch.filter(&mask).expect("a mask of the same length"))
            }
        }
    }
}

/// Names a key by the canonical bytes of its values.
fn id(key: &[u8]) -> u128 {
    (xxh3_128(key) & !0xff) | u128::from(key_group(key))
}

/// The key group of a key that is named like this.
fn group_of(id: u128) -> KeyGroup {
    id as u8
}

fn times<'a>(batch: &'a Batch, horizon: &Horizon) -> &'a [EventTime] {
    batch.rows.column(horizon.time).as_primitive::<TimestampNanosecondType>().values()
}

/// Which of two rows is first: by origin; without one, behind those that have one, by the row itself.
fn compare((left, left_row): (&Arrived, usize), (right, right_row): (&Arrived, usize)) -> Ordering {
    match (&left.batch.origin, &right.batch.origin) {
        (Some(one), Some(other)) => one.row(left_row).cmp(&other.row(right_row)),
        (one, other) if one.is_some() != other.is_some() => other.is_some().cmp(&one.is_some()),
        _ => left.canonical(left_row).cmp(&right.canonical(right_row)),
    }
}

impl Arrived {
    fn canonical(&self, row: usize) -> Option<&[u8]> {
        self.rows.as_ref().map(|rows| rows.row(row))
    }
}

impl Operator for Deduplicator {
    fn on_batch(&mut self, _port: usize, _epoch: Epoch, batch: &Batch, _out: &mut Output) {
        if batch.is_empty() {
            return;
        }
        let entries = self.entries(batch);
        let rows = batch.origin.is_none().then(|| canonical::encode(batch.rows.columns(), batch.len()));
        let fates = vec![Fate::Duplicate; entries.len()];
        self.arrived.push_back(Arrived { batch: batch.clone(), entries, fates, rows });
    }

    fn on_epoch(&mut self, close: &EpochClose, out: &mut Output) -> Progress {
        let done = self.arrived.is_empty() || (self.decide(out) && self.give_out(out));
        if !done {
            return Progress::More;
        }
        self.closing = None;
        self.advance(close.watermarks[0]);
        Progress::Done
    }

    /// Rows are in the state only until their epoch closes; what is remembered of them is none.
    fn rows_in_state(&self) -> i64 {
        self.arrived.iter().map(|arrived| arrived.batch.diff_sum()).sum()
    }

    fn state_bytes(&self) -> usize {
        self.memory.bytes()
    }

    fn snapshot(&mut self, kind: SnapshotKind) -> Vec<(KeyGroup, RecordBatch)> {
        self.saved.take(kind, &mut self.memory)
    }

    fn snapshot_failed(&mut self) {
        self.saved.fail(&mut self.memory);
    }

    fn restore(&mut self, state: &RecordBatch) -> Result<()> {
        for entry in snapshot::read(state, &self.plan.name)? {
            self.memory.insert(entry);
        }
        self.saved.restored(&mut self.memory);
        Ok(())
    }

    fn state_schema(&self) -> SchemaRef {
        snapshot::schema()
    }
}

#[cfg(test)]
mod tests;

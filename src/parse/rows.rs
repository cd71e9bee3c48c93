//! Rows under construction, whatever the format of their records.

use std::mem;
use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions, UInt64Array};

use super::coerce::Datum;
use super::column::{ColumnBuilder, datum};
use super::fault::{self, Fault};
use super::{check, computed};
use crate::plan::{Column, ColumnOrigin, ColumnType, Metadata, Source};
use crate::record::{Chunk, Partition, RawBuilder, Record, Reject};

/// The rows and rejects of one partition since the last chunk.
#[derive(Debug)]
pub(super) struct Rows {
    pub source: Arc<Source>,
    pub partition: Partition,
    pub columns: Vec<ColumnBuilder>,
    /// Of the rows.
    offsets: Vec<u64>,
    rejects: Vec<Reject>,
    raw: RawBuilder,
}

/// Where a column takes its values from.
#[derive(Clone, Copy, Debug)]
pub(super) enum Input {
    /// Index of the field in what was read of the record.
    Field(usize),
    /// Index of the field in what was read of the key of the message: a key column of a table.
    Key(usize),
    Metadata(Metadata),
    /// From the other columns, when the chunk is finished.
    Computed,
}

/// What stands in a record for a column, for the message about it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Found<'t> {
    Missing,
    Null,
    /// As it is written.
    Text(&'t str),
}

impl Rows {
    pub(super) fn new(source: Arc<Source>, partition: Partition) -> Self {
        let kinds = source.columns.iter().map(|column| column.kind);
        // Whether a record of a table deletes.
        let flag = source.table.iter().map(|_| ColumnType::Boolean);
        Rows {
            columns: kinds.chain(flag).map(ColumnBuilder::new).collect(),
            source,
            partition,
            offsets: Vec::new(),
            rejects: Vec::new(),
            raw: RawBuilder::default(),
        }
    }

    /// Keeps the record that was appended to the columns, or what was wrong with it; then what was appended of
    /// it is taken back.
    #[inline]
    pub(super) fn settle(&mut self, record: &Record<'_>, result: Result<(), Fault>) {
        self.raw.push(record);
        match result {
            Ok(()) => self.offsets.push(record.offset),
            Err(fault) => {
                for column in &mut self.columns {
                    column.truncate(self.offsets.len());
                }
                self.rejects.push(fault.reject(record.offset));
            }
        }
    }

    pub(super) fn len(&self) -> usize {
        self.raw.len()
    }

    pub(super) fn finish(&mut self) -> Chunk {
        let offsets = mem::replace(&mut self.offsets, Vec::with_capacity(self.raw.len()));
        for (column, builder) in self.source.columns.iter().zip(&mut self.columns) {
            if comes_later(column) {
                builder.fill(offsets.len(), column.nullable);
            }
        }
        let options = RecordBatchOptions::new().with_row_count(Some(offsets.len()));
        let columns = self.columns.iter_mut().map(ColumnBuilder::finish).collect();
        let rows = RecordBatch::try_new_with_options(Arc::clone(&self.source.schema), columns, &options)
            .expect("the columns of a source have the types of its schema");
        let mut rejects = mem::take(&mut self.rejects);
        let (rows, offsets) = computed::apply(&self.source, rows, UInt64Array::from(offsets), &mut rejects);
        let (rows, offsets) = check::apply(&self.source, rows, offsets, &mut rejects);
        rejects.sort_by_key(|reject| reject.offset);
        Chunk { rows, offsets, rejects, raw: self.raw.finish() }
    }
}

/// Whether a column has its values from others of the chunk, or at the cut; until then nothing is kept of it.
fn comes_later(column: &Column) -> bool {
    matches!(column.from, ColumnOrigin::Metadata(Metadata::IngestionTime) | ColumnOrigin::Computed)
}

/// Appends a value that the column can hold.
pub(super) fn append_known(builder: &mut ColumnBuilder, value: Datum<'_>) {
    let fits = builder.push(value);
    debug_assert!(fits, "{value:?} does not fit into its column");
}

/// Appends the value of a column, or its DEFAULT. `None` is a value that the column cannot hold; `found` is
/// asked for only when something is wrong.
#[inline]
pub(super) fn append<'t>(
    builder: &mut ColumnBuilder,
    column: &Column,
    value: Option<Datum<'_>>,
    found: impl FnOnce() -> Found<'t>,
) -> Result<(), Fault> {
    let is_null = matches!(value, Some(Datum::Null));
    // What stands in a register is not moved through memory.
    let fits = match (&column.default, value) {
        (Some(default), Some(_)) if is_null => builder.push(datum(&default.0, column.kind)),
        (None, Some(_)) if is_null && !column.nullable => return Err(fault::not_null(column, found())),
        (_, Some(value)) => builder.push(value),
        (_, None) => false,
    };
    if fits { Ok(()) } else { Err(fault::wrong_type(column, found())) }
}

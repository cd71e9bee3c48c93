//! Live reads: the rows of a view by key, from its arrangement, as of the last released epoch.

use arrow::array::RecordBatch;
use differential_dataflow::trace::{Cursor, TraceReader};
use timely::progress::Antichain;

use crate::error::{Error, Result};
use crate::plan::ServedView;
use crate::render::RowWriter;
use crate::time::Epoch;
use crate::transform::arrange::{Kept, Last, RowCodec, Trace};

/// The part of a view that lives on this worker.
pub struct ViewReader {
    view: ServedView,
    codec: RowCodec,
    writer: RowWriter,
    trace: Trace,
    last: Last,
}

impl ViewReader {
    /// Reads `view` from its arrangement.
    pub fn new(view: &ServedView, kept: &Kept<'_>) -> Result<Self> {
        Ok(ViewReader {
            view: view.clone(),
            codec: RowCodec::new(&view.schema)?,
            writer: RowWriter::new(&view.schema, None),
            trace: kept.arranged.trace.clone(),
            last: kept.last.clone(),
        })
    }

    /// The view that this is a part of.
    pub fn view(&self) -> &ServedView {
        &self.view
    }

    /// The row with this key (canonical bytes) as of the epochs before `released`, if there is one.
    pub fn get(&mut self, key: &[u8], released: Epoch) -> Result<Option<RecordBatch>> {
        let (mut cursor, storage) = self.trace.cursor();
        cursor.seek_key(&storage, key);
        if cursor.get_key(&storage) != Some(key) {
            return Ok(None);
        }
        while let Some(row) = cursor.get_val(&storage) {
            let mut count = 0;
            cursor.map_times(&storage, |epoch, diff| {
                if *epoch < released {
                    count += *diff;
                }
            });
            if count > 0 {
                return self.decode(row).map(Some);
            }
            cursor.step_val(&storage);
        }
        Ok(None)
    }

    /// Up to `limit` of the rows that changed last; none while they are not released.
    pub fn newest(&self, limit: usize, released: Epoch) -> Vec<RecordBatch> {
        let last = self.last.borrow();
        let Some((_, batch)) = last.as_ref().filter(|(epoch, _)| *epoch < released) else {
            return Vec::new();
        };
        let added = (0..batch.len()).rev().filter(|row| batch.diff(*row) > 0);
        added.take(limit).map(|row| batch.rows.slice(row, 1)).collect()
    }

    /// A row as JSON text.
    pub fn render(&self, row: &RecordBatch) -> String {
        self.writer.row_text(row, 0)
    }

    /// Lets the arrangement forget how it came to be before `released`.
    pub fn compact(&mut self, released: Epoch) {
        let mut upper = Antichain::new();
        self.trace.read_upper(&mut upper);
        if upper.is_empty() {
            return; // The input has ended; an empty frontier would close the trace.
        }
        // Reads count times before `released`, so the last of them must stay apart from later ones.
        let since = Antichain::from_elem(released.saturating_sub(1));
        self.trace.set_logical_compaction(since.borrow());
        self.trace.set_physical_compaction(since.borrow());
    }

    fn decode(&self, row: &[u8]) -> Result<RecordBatch> {
        let columns = self.codec.decode(std::iter::once(row))?;
        RecordBatch::try_new(self.view.schema.clone(), columns)
            .map_err(|error| Error::internal("cannot read an arranged row").caused_by(error))
    }
}

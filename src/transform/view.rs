//! Live reads: the rows of a view by key, in a differential arrangement, as of the last released epoch.
//!
//! The arrangement holds our canonical key bytes and the row in Arrow row format, in memory only. It is
//! compacted as epochs are released, so that it stays as large as the view.

use std::cell::RefCell;
use std::rc::Rc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::row::{RowConverter, SortField};
use differential_dataflow::operators::arrange::arrangement::arrange_core;
use differential_dataflow::operators::arrange::{Arranged, TraceAgent};
use differential_dataflow::trace::implementations::chunker::ContainerChunker;
use differential_dataflow::trace::implementations::{ValBatcher, ValBuilder, ValSpine};
use differential_dataflow::trace::{Cursor, TraceReader};
use timely::container::CapacityContainerBuilder;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::Probe;
use timely::dataflow::operators::generic::Operator;
use timely::dataflow::operators::probe::Handle;
use timely::dataflow::operators::vec::Map;
use timely::progress::Antichain;

use crate::batch::Batch;
use crate::canonical;
use crate::error::{Error, Result};
use crate::ledger::{Count, Fate, Ledger};
use crate::plan::ServedView;
use crate::render::RowWriter;
use crate::time::Epoch;

type Bytes = Vec<u8>;
type Update = ((Bytes, Bytes), Epoch, isize);
type Trace = TraceAgent<ValSpine<Bytes, Bytes, Epoch, isize>>;

/// The part of a view that lives on this worker.
pub struct ViewReader {
    view: ServedView,
    converter: RowConverter,
    writer: RowWriter,
    trace: Trace,
    /// The changes that came last, for a look at the view.
    last: Rc<RefCell<Option<(Epoch, Batch)>>>,
}

/// Arranges the changes of a view. They must already be on the worker of their key. The frontier of the
/// stream that comes with the reader passes an epoch when the view has counted all its rows.
pub fn arrange<'s>(
    rows: StreamVec<'s, Epoch, (u16, Batch)>,
    view: ServedView,
    account: usize,
    ledger: Ledger,
    probe: &Handle<Epoch>,
    fail: fn(&Error) -> !,
) -> Result<(ViewReader, StreamVec<'s, Epoch, ()>)> {
    let converter = row_converter(&view.schema)?;
    let encoder = row_converter(&view.schema)?;
    let key = view.key.clone();
    let last = Rc::new(RefCell::new(None));
    let newest = last.clone();
    let updates = rows.unary::<CapacityContainerBuilder<Vec<Update>>, _, _, _>(
        Pipeline,
        &format!("Rows {}", view.name),
        move |_, _| {
            move |input, output| {
                input.for_each(|capability, batches| {
                    let epoch = *capability.time();
                    let mut session = output.session(&capability);
                    for (_, batch) in batches.drain(..) {
                        ledger.add(epoch, Count::Account(account, Fate::Emitted), batch.diff_sum());
                        match encode(&encoder, &key, epoch, &batch) {
                            Ok(updates) => session.give_iterator(updates.into_iter()),
                            Err(error) => fail(&error),
                        }
                        *newest.borrow_mut() = Some((epoch, batch));
                    }
                });
            }
        },
    );
    let arranged: Arranged<'s, Trace> = arrange_core::<
        _,
        _,
        ContainerChunker<Vec<Update>>,
        ValBatcher<Bytes, Bytes, Epoch, isize>,
        ValBuilder<Bytes, Bytes, Epoch, isize>,
        ValSpine<Bytes, Bytes, Epoch, isize>,
    >(updates, Pipeline, &view.name);
    let counted = arranged.stream.clone().flat_map(|_| None);
    arranged.stream.probe_with(probe);
    let writer = RowWriter::new(&view.schema, None);
    Ok((ViewReader { view, converter, writer, trace: arranged.trace, last }, counted))
}

fn row_converter(schema: &SchemaRef) -> Result<RowConverter> {
    let fields = schema.fields().iter().map(|field| SortField::new(field.data_type().clone()));
    RowConverter::new(fields.collect())
        .map_err(|error| Error::internal("cannot arrange rows").caused_by(error))
}

fn encode(encoder: &RowConverter, key: &[usize], epoch: Epoch, batch: &Batch) -> Result<Vec<Update>> {
    let columns: Vec<_> = key.iter().map(|column| batch.rows.column(*column).clone()).collect();
    let keys = canonical::encode(&columns, batch.len());
    let rows = encoder
        .convert_columns(batch.rows.columns())
        .map_err(|error| Error::internal("cannot arrange rows").caused_by(error))?;
    let update = |row: usize| {
        let data = (keys.row(row).to_vec(), rows.row(row).as_ref().to_vec());
        (data, epoch, batch.diff(row) as isize)
    };
    Ok((0..batch.len()).map(update).collect())
}

impl ViewReader {
    /// The view that this is a part of.
    pub fn view(&self) -> &ServedView {
        &self.view
    }

    /// The row with this key (canonical bytes) as of the epochs before `released`, if there is one.
    pub fn get(&mut self, key: &[u8], released: Epoch) -> Result<Option<RecordBatch>> {
        let (mut cursor, storage) = self.trace.cursor();
        let key = key.to_vec();
        cursor.seek_key(&storage, &key);
        if cursor.get_key(&storage) != Some(&key) {
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
        let parser = self.converter.parser();
        let columns = self.converter.convert_rows([parser.parse(row)]);
        let batch = columns.and_then(|columns| RecordBatch::try_new(self.view.schema.clone(), columns));
        batch.map_err(|error| Error::internal("cannot read an arranged row").caused_by(error))
    }
}

//! Rows by key, for whoever looks rows up: joins and live reads.
//!
//! An arrangement holds our canonical key bytes and the row in Arrow row format, in memory only, on the
//! worker of the key. Several readers share one; each tells up to which epoch it needs the past, and what
//! nobody needs any more is merged away, so that an arrangement stays as large as its relation.
//!
//! Arrangements are derived state: they are not part of a checkpoint. A restart restores the operators in
//! front of them, has these give out all their rows as of the checkpoint once more, and fills the arrangements
//! with that; joins begin behind that epoch, since what they gave before it is outside already. A side that
//! comes straight from a source (`state_retention = 'unbounded'`) has no operator in front: its arrangement
//! has to be saved as rows, by key group, which is what a cursor over it gives.

mod flat;

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, BooleanArray, PrimitiveArray};
use arrow::buffer::ScalarBuffer;
use arrow::datatypes::{DataType, SchemaRef};
use arrow::downcast_primitive_array;
use arrow::row::{RowConverter, Rows, SortField};
use differential_dataflow::operators::arrange::arrangement::arrange_core;
use differential_dataflow::operators::arrange::{Arranged, TraceAgent};
use differential_dataflow::trace::implementations::ValBatcher;
use differential_dataflow::trace::implementations::chunker::ContainerChunker;
use differential_dataflow::trace::implementations::ord_neu::{OrdValBatch, OrdValBuilder};
use differential_dataflow::trace::implementations::spine_fueled::Spine;
use differential_dataflow::trace::rc_blanket_impls::RcBuilder;
use differential_dataflow::trace::{Cursor, Navigable, TraceReader};
use timely::container::CapacityContainerBuilder;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::operators::generic::{Operator, OutputBuilder};

use self::flat::Flat;
use crate::batch::Batch;
use crate::canonical;
use crate::dead_letter::DeadLetter;
use crate::error::{Error, Result};
use crate::ledger::{Count, Fate, Ledger};
use crate::plan::{Arrangement, Expr};
use crate::time::Epoch;
use crate::transform::Output;
use crate::transform::eval::Evaluation;

/// Bytes of a key or of a row.
pub type Bytes = Vec<u8>;
type Update = ((Bytes, Bytes), Epoch, isize);
/// A handle of an arrangement. It keeps the past from the epoch that it was last told.
pub type Trace = TraceAgent<Merged>;
type Merged = Spine<Rc<OrdValBatch<Flat>>>;
/// Updates of some epochs, as they were added.
pub type Sealed = <Trace as TraceReader>::Batch;

/// The changes that came last, for a look at a view.
pub type Last = Rc<RefCell<Option<(Epoch, Batch)>>>;

/// An arrangement that is built.
pub struct Kept<'s> {
    pub arranged: Arranged<'s, Trace>,
    pub last: Last,
}

/// An arrangement, the letters of rows whose key has failed, and a stream whose frontier passes an epoch when
/// all rows of it are counted.
pub type Built<'s> = (Kept<'s>, StreamVec<'s, Epoch, DeadLetter>, StreamVec<'s, Epoch, ()>);

/// Arranges rows. They must already be on the worker of their key. If nobody looks any up (`is_read` is false), the
/// arrangement stays empty, and so does its memory; rows are judged and counted all the same, and the last batch is
/// there to be shown.
pub fn arrange<'s>(
    rows: StreamVec<'s, Epoch, (u16, Batch)>,
    plan: &Arrangement,
    is_read: bool,
    (account, ledger): (usize, Ledger),
    fail: fn(&Error) -> !,
) -> Result<Built<'s>> {
    let encoder = Encoder::new(plan)?;
    let last = Rc::new(RefCell::new(None));
    let newest = plan.served.then(|| last.clone());
    let mut builder = OperatorBuilder::new(format!("Rows {}", plan.name), rows.scope());
    let mut input = builder.new_input(rows, Pipeline);
    let (updates, updates_stream) = builder.new_output();
    let (letters, letters_stream) = builder.new_output();
    let mut updates = OutputBuilder::<_, CapacityContainerBuilder<Vec<Update>>>::from(updates);
    let mut letters = OutputBuilder::<_, CapacityContainerBuilder<Vec<DeadLetter>>>::from(letters);
    let fate = if plan.served { Fate::Emitted } else { Fate::InState };
    let counts = ledger.clone();
    builder.build(move |capabilities| {
        drop(capabilities);
        move |_frontiers| {
            let (mut updates, mut letters) = (updates.activate(), letters.activate());
            input.for_each(|capability, batches| {
                let epoch = *capability.time();
                for (_, batch) in batches.drain(..) {
                    let mut out = Output::default();
                    let judged = encoder.judge(&batch, &mut out);
                    if is_read {
                        match encoder.updates(&batch, judged, epoch) {
                            Ok(found) => {
                                updates.session(&capability.retain(0)).give_iterator(found.into_iter())
                            }
                            Err(error) => fail(&error),
                        }
                    } else {
                        counts.add(epoch, Count::Account(account, fate), batch.diff_sum() - out.dead);
                    }
                    counts.add(epoch, Count::Account(account, Fate::Dead), out.dead);
                    counts.add(epoch, Count::LettersOut, out.letters.len() as i64);
                    letters.session(&capability.retain(1)).give_iterator(out.letters.into_iter());
                    if let Some(newest) = &newest {
                        *newest.borrow_mut() = Some((epoch, batch));
                    }
                }
            });
        }
    });
    let arranged: Arranged<'s, Trace> = arrange_core::<
        _,
        _,
        ContainerChunker<Vec<Update>>,
        ValBatcher<Bytes, Bytes, Epoch, isize>,
        RcBuilder<OrdValBuilder<Flat, Vec<Update>>>,
        Merged,
    >(updates_stream, Pipeline, &plan.name);
    let counted = count(arranged.stream.clone(), (account, fate), ledger);
    Ok((Kept { arranged, last }, letters_stream, counted))
}

/// What a row of an arrangement takes beside its bytes and those of its key: two vectors, their places, its epoch
/// and its diff.
const BESIDE_BYTES: usize = 2 * size_of::<Bytes>() + 2 * size_of::<usize>() + size_of::<(Epoch, isize)>();

/// Counts rows, and about the bytes that they take, as they are in the arrangement, not as they came.
fn count<'s>(
    batches: StreamVec<'s, Epoch, Sealed>,
    (account, fate): (usize, Fate),
    ledger: Ledger,
) -> StreamVec<'s, Epoch, ()> {
    batches.unary::<CapacityContainerBuilder<Vec<()>>, _, _, _>(Pipeline, "Count rows", move |_, _| {
        move |input, _output| {
            input.for_each(|_, batches| {
                for batch in batches.drain(..) {
                    each(&batch, |key, row, epoch, diff| {
                        ledger.add(epoch, Count::Account(account, fate), diff);
                        let bytes = (key.len() + row.len() + BESIDE_BYTES) as i64;
                        ledger.add(epoch, Count::StateBytes(account), diff * bytes);
                    });
                }
            });
        }
    })
}

/// Goes over updates in the order of their keys: key, row, epoch, diff.
pub fn each(batch: &Sealed, mut take: impl FnMut(&[u8], &[u8], Epoch, i64)) {
    let mut cursor = batch.cursor();
    while let Some(key) = cursor.get_key(batch) {
        while let Some(row) = cursor.get_val(batch) {
            cursor.map_times(batch, |epoch, diff| take(key, row, *epoch, *diff as i64));
            cursor.step_val(batch);
        }
        cursor.step_key(batch);
    }
}

/// Rows of one schema as bytes that only this process reads.
pub struct RowCodec(RowConverter);

impl RowCodec {
    /// For rows of `schema`.
    pub fn new(schema: &SchemaRef) -> Result<Self> {
        let fields = schema.fields().iter().map(|field| SortField::new(field.data_type().clone()));
        RowConverter::new(fields.collect()).map(RowCodec).map_err(broken)
    }

    /// The rows of `columns`.
    pub fn encode(&self, columns: &[ArrayRef]) -> Result<Rows> {
        self.0.convert_columns(columns).map_err(broken)
    }

    /// The columns of rows that [`encode`](Self::encode) gave.
    pub fn decode<'a>(&self, rows: impl Iterator<Item = &'a [u8]>) -> Result<Vec<ArrayRef>> {
        let parser = self.0.parser();
        let columns = self.0.convert_rows(rows.map(|row| parser.parse(row))).map_err(broken)?;
        Ok(columns.iter().map(zero_below_nulls).collect())
    }
}

/// Below a NULL that is decoded stands the least of all values, on which functions of the library fail that compute
/// before they look whether there is a value.
fn zero_below_nulls(column: &ArrayRef) -> ArrayRef {
    fn zeroed<T: ArrowPrimitiveType>(array: &PrimitiveArray<T>) -> ArrayRef {
        let values: ScalarBuffer<T::Native> = array.iter().map(Option::unwrap_or_default).collect();
        let zeroed = PrimitiveArray::<T>::new(values, array.nulls().cloned());
        Arc::new(zeroed.with_data_type(array.data_type().clone()))
    }

    if column.null_count() == 0 {
        return Arc::clone(column);
    }
    let array = column.as_ref();
    downcast_primitive_array!(
        array => zeroed(array),
        _ => Arc::clone(column)
    )
}

fn broken(error: arrow::error::ArrowError) -> Error {
    Error::internal("cannot arrange rows").caused_by(error)
}

/// Makes updates of batches.
struct Encoder {
    name: String,
    key: Vec<(Expr, DataType)>,
    codec: RowCodec,
}

impl Encoder {
    fn new(plan: &Arrangement) -> Result<Self> {
        let key = plan.key.iter().cloned().zip(plan.key_types.iter().cloned()).collect();
        Ok(Encoder { name: plan.name.clone(), key, codec: RowCodec::new(&plan.schema)? })
    }

    /// The keys of rows, and which rows have one if not all do: one whose key cannot be evaluated is no update but a
    /// letter.
    fn judge(&self, batch: &Batch, out: &mut Output) -> (Vec<ArrayRef>, Option<BooleanArray>) {
        let mut evaluation = Evaluation::new(batch);
        let keys = self.key.iter().map(|(expr, data_type)| evaluation.column(expr, data_type));
        let keys: Vec<ArrayRef> = keys.collect();
        let failed = evaluation.finish();
        let good = (!failed.is_empty()).then(|| failed.report(batch, &self.name, out, |_| false));
        (keys, good)
    }

    fn updates(
        &self,
        batch: &Batch,
        (keys, good): (Vec<ArrayRef>, Option<BooleanArray>),
        epoch: Epoch,
    ) -> Result<Vec<Update>> {
        let mut encoded = canonical::CanonicalRows::default();
        encoded.encode(&keys, batch.len());
        let rows = self.codec.encode(batch.rows.columns())?;
        let update = |row: usize| {
            let data = (encoded.row(row).to_vec(), rows.row(row).as_ref().to_vec());
            (data, epoch, batch.diff(row) as isize)
        };
        let good = |row: &usize| good.as_ref().is_none_or(|good| good.value(*row));
        Ok((0..batch.len()).filter(good).map(update).collect())
    }
}

#[cfg(test)]
mod tests;

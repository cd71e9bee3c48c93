//! What a GROUP BY reads of its input: keys, arguments, order keys and filters, evaluated over a batch.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray};
use arrow::buffer::BooleanBuffer;
use arrow::compute::filter;
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef, TimeUnit};

use crate::batch::Batch;
use crate::canonical;
use crate::error::{Error, Result};
use crate::plan::{Aggregate, AggregateFunction, Aggregation, Expr, OrderBy};
use crate::transform::Output;
use crate::transform::aggregate::order::{OrderColumn, pack};
use crate::transform::aggregate::state::Arguments;
use crate::transform::eval::Evaluation;

const TIMESTAMP: DataType = DataType::Timestamp(TimeUnit::Nanosecond, None);

/// The expressions of a GROUP BY.
pub struct Inputs {
    keys: Vec<(Expr, FieldRef)>,
    /// Event time, where there are windows: it has to be there.
    time: Option<(Expr, FieldRef)>,
    aggregates: Vec<AggregateInput>,
}

struct AggregateInput {
    value: Option<(Expr, DataType)>,
    second: Option<Expr>,
    order: Vec<(OrderBy, DataType)>,
    /// Whether the state is given the order as bytes.
    packed: bool,
    /// Whether rows without an order key take part.
    picks: bool,
    keeps_nulls: bool,
    filter: Option<Expr>,
}

/// The types in which a state is given its arguments.
#[derive(Clone, Debug)]
pub struct Types {
    pub value: Option<DataType>,
    /// Binary where [`pack`] makes one column of the order.
    pub order: Option<DataType>,
    orders: Vec<DataType>,
}

/// A batch without the rows that failed, and what was evaluated over it.
pub struct Taken {
    pub batch: Batch,
    pub keys: Vec<ArrayRef>,
    /// Event time, where there are windows.
    pub time: Option<ArrayRef>,
    pub arguments: Vec<Arguments>,
}

impl Taken {
    /// Only the rows of which `keep` says so.
    #[must_use]
    pub fn filtered(self, keep: &BooleanArray) -> Self {
        let batch = self.batch.filter(keep).expect("masks of one length");
        let kept = |column: ArrayRef| kept(&column, keep);
        let arguments = self.arguments.into_iter().map(|arguments| Arguments {
            value: arguments.value.map(kept),
            second: arguments.second.map(kept),
            order: arguments.order.map(kept),
            selection: arguments.selection.map(|selection| {
                let selection: ArrayRef = Arc::new(BooleanArray::new(selection, None));
                kept(selection).as_boolean().values().clone()
            }),
        });
        Taken {
            arguments: arguments.collect(),
            keys: self.keys.into_iter().map(kept).collect(),
            time: self.time.map(kept),
            batch,
        }
    }
}

impl Types {
    /// The types for `aggregate` over rows of `input`.
    pub fn of(aggregate: &Aggregate, input: &SchemaRef) -> Result<Self> {
        use AggregateFunction as F;
        let own = aggregate.argument.as_ref().map(|argument| type_of(argument, input)).transpose()?;
        let value = match aggregate.function {
            F::Sum | F::Min | F::Max | F::FirstValue | F::LastValue => {
                Some(aggregate.field.data_type().clone())
            }
            _ => own.map(|own| storable(&own)),
        };
        let orders = aggregate.order_by.iter().map(|order| type_of(&order.expr, input));
        let orders = orders.map(|order| order.map(|order| storable(&order))).collect::<Result<Vec<_>>>()?;
        let order = match (orders.as_slice(), aggregate.order_by.as_slice()) {
            ([], _) => None,
            ([plain], [order]) if aggregate.function.picks() && !order.descending => Some(plain.clone()),
            _ => Some(DataType::Binary),
        };
        Ok(Types { value, order, orders })
    }
}

impl Inputs {
    /// The expressions of `plan`, with the types of its aggregates.
    pub fn new(plan: &Aggregation, types: &[Types]) -> Self {
        let keys = plan.keys.iter().cloned().zip(plan.schema.fields().iter().cloned()).collect();
        let aggregates = plan.aggregates.iter().zip(types).map(|(aggregate, types)| AggregateInput {
            value: aggregate.argument.clone().zip(types.value.clone()),
            second: aggregate.second.clone(),
            order: aggregate.order_by.iter().cloned().zip(types.orders.iter().cloned()).collect(),
            packed: types.order == Some(DataType::Binary),
            picks: aggregate.function.picks(),
            keeps_nulls: aggregate.function.keeps_nulls() && !aggregate.ignore_nulls,
            filter: aggregate.filter.clone(),
        });
        let time = plan.window.as_ref().map(|window| {
            let name = window.time.text.as_str();
            (window.time.clone(), Arc::new(Field::new(name, TIMESTAMP, false)))
        });
        Inputs { keys, time, aggregates: aggregates.collect() }
    }

    /// Evaluates over `batch`. A row on which any expression fails takes no part in any aggregate.
    pub fn take(&self, batch: &Batch, stage: &str, out: &mut Output) -> Taken {
        let mut evaluation = Evaluation::new(batch);
        let mut keys: Vec<_> = self.keys.iter().map(|(expr, field)| evaluation.field(expr, field)).collect();
        let mut time = self.time.as_ref().map(|(expr, field)| evaluation.field(expr, field));
        let mut columns: Vec<Columns> =
            self.aggregates.iter().map(|aggregate| Columns::evaluate(aggregate, &mut evaluation)).collect();
        let failed = evaluation.finish();
        let mut batch = batch.clone();
        if !failed.is_empty() {
            let good = failed.report(&batch, stage, out, |_| false);
            keys.iter_mut().chain(&mut time).for_each(|key| *key = kept(key, &good));
            columns.iter_mut().for_each(|columns| columns.keep(&good));
            batch = batch.filter(&good).expect("masks of one length");
        }
        let columns = columns.into_iter().zip(&self.aggregates);
        let arguments = columns.map(|(columns, aggregate)| columns.select(aggregate, batch.len()));
        Taken { arguments: arguments.collect(), batch, keys, time }
    }
}

/// The evaluated expressions of one aggregate.
struct Columns {
    value: Option<ArrayRef>,
    second: Option<ArrayRef>,
    order: Vec<ArrayRef>,
    filter: Option<ArrayRef>,
}

impl Columns {
    fn evaluate(aggregate: &AggregateInput, evaluation: &mut Evaluation<'_>) -> Self {
        let value = aggregate.value.as_ref().map(|(expr, to)| evaluation.column(expr, to));
        let second = aggregate.second.as_ref().map(|expr| evaluation.column(expr, &DataType::Float64));
        let order = aggregate.order.iter().map(|(order, to)| evaluation.column(&order.expr, to)).collect();
        let filter = aggregate.filter.as_ref().map(|expr| evaluation.column(expr, &DataType::Boolean));
        Columns { value, second, order, filter }
    }

    fn keep(&mut self, good: &BooleanArray) {
        let columns = [&mut self.value, &mut self.second, &mut self.filter];
        for column in columns.into_iter().flatten().chain(&mut self.order) {
            *column = kept(column, good);
        }
    }

    /// Works out which rows the aggregate takes in, and their order.
    fn select(self, aggregate: &AggregateInput, rows: usize) -> Arguments {
        let filter = self.filter.map(|filter| {
            let filter = filter.as_boolean();
            both(Some(filter.values().clone()), valid(filter)).expect("the filter is there")
        });
        let ordered = self.order.first().filter(|_| aggregate.picks).and_then(|column| valid(column));
        let present = self.value.as_ref().filter(|_| !aggregate.keeps_nulls).and_then(|column| valid(column));
        let paired = self.second.as_ref().and_then(|column| valid(column));
        let selection = both(filter, both(ordered, both(present, paired)));
        let order = match aggregate.packed {
            false => self.order.into_iter().next(),
            true => {
                let orders = self.order.into_iter().zip(&aggregate.order);
                let column = |(values, (order, _)): (ArrayRef, &(OrderBy, DataType))| OrderColumn {
                    values,
                    descending: order.descending,
                    nulls_first: order.nulls_first,
                };
                let columns: Vec<_> = orders.map(column).collect();
                Some(Arc::new(pack(&columns, rows)) as ArrayRef)
            }
        };
        Arguments { selection, value: self.value, second: self.second, order }
    }
}

fn valid(column: &dyn Array) -> Option<BooleanBuffer> {
    column.logical_nulls().filter(|nulls| nulls.null_count() > 0).map(|nulls| nulls.inner().clone())
}

fn both(left: Option<BooleanBuffer>, right: Option<BooleanBuffer>) -> Option<BooleanBuffer> {
    match (left, right) {
        (Some(left), Some(right)) => Some(&left & &right),
        (left, right) => left.or(right),
    }
}

fn kept(column: &ArrayRef, good: &BooleanArray) -> ArrayRef {
    filter(column, good).expect("masks of one length")
}

/// The type of an expression over rows of `input`.
fn type_of(expr: &Expr, input: &SchemaRef) -> Result<DataType> {
    let mut fields: Vec<FieldRef> = input.fields().iter().cloned().collect();
    if expr.uses_now {
        let now = DataType::Timestamp(TimeUnit::Nanosecond, None);
        fields.push(Field::new("now()", now, false).into());
    }
    let found = expr.physical.data_type(&Schema::new(fields));
    found.map_err(|error| Error::internal(format!("{} has no type", expr.text)).caused_by(error))
}

/// The type in which order keys of `data_type` are kept.
fn storable(data_type: &DataType) -> DataType {
    match data_type {
        supported if canonical::supports(supported) => supported.clone(),
        DataType::Utf8View | DataType::LargeUtf8 => DataType::Utf8,
        integer if integer.is_integer() => DataType::Int64,
        float if float.is_floating() => DataType::Float64,
        DataType::Timestamp(_, _) => DataType::Timestamp(TimeUnit::Nanosecond, None),
        DataType::Date64 => DataType::Date32,
        other => other.clone(),
    }
}

//! What a GROUP BY reads of its input: keys, arguments, order keys and filters, evaluated over a batch.

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray};
use arrow::buffer::BooleanBuffer;
use arrow::compute::filter;
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef, TimeUnit};

use crate::batch::Batch;
use crate::canonical;
use crate::error::{Error, Result};
use crate::plan::{Aggregate, AggregateFunction, Aggregation, Expr};
use crate::transform::Output;
use crate::transform::aggregate::state::Arguments;
use crate::transform::eval::Evaluation;

/// The expressions of a GROUP BY.
pub struct Inputs {
    keys: Vec<(Expr, FieldRef)>,
    aggregates: Vec<AggregateInput>,
}

struct AggregateInput {
    value: Option<(Expr, DataType)>,
    order: Option<(Expr, DataType)>,
    filter: Option<Expr>,
}

/// The types in which a state is given its arguments.
#[derive(Clone, Debug)]
pub struct Types {
    pub value: Option<DataType>,
    pub order: Option<DataType>,
}

/// A batch without the rows that failed, and what was evaluated over it.
pub struct Taken {
    pub batch: Batch,
    pub keys: Vec<ArrayRef>,
    pub arguments: Vec<Arguments>,
}

impl Types {
    /// The types for `aggregate` over rows of `input`.
    pub fn of(aggregate: &Aggregate, input: &SchemaRef) -> Result<Self> {
        let own = aggregate.argument.as_ref().map(|argument| type_of(argument, input)).transpose()?;
        let value = match aggregate.function {
            AggregateFunction::Count => own,
            AggregateFunction::Avg => {
                own.map(|own| if own.is_integer() { DataType::Int64 } else { DataType::Float64 })
            }
            _ => Some(aggregate.field.data_type().clone()),
        };
        let order = aggregate.order_by.as_ref().map(|order| type_of(order, input)).transpose()?;
        Ok(Types { value, order: order.map(|order| storable(&order)) })
    }
}

impl Inputs {
    /// The expressions of `plan`, with the types of its aggregates.
    pub fn new(plan: &Aggregation, types: &[Types]) -> Self {
        let keys = plan.keys.iter().cloned().zip(plan.schema.fields().iter().cloned()).collect();
        let aggregates = plan.aggregates.iter().zip(types).map(|(aggregate, types)| AggregateInput {
            value: aggregate.argument.clone().zip(types.value.clone()),
            order: aggregate.order_by.clone().zip(types.order.clone()),
            filter: aggregate.filter.clone(),
        });
        Inputs { keys, aggregates: aggregates.collect() }
    }

    /// Evaluates over `batch`. A row on which any expression fails takes no part in any aggregate.
    pub fn take(&self, batch: &Batch, stage: &str, out: &mut Output) -> Taken {
        let mut evaluation = Evaluation::new(batch);
        let mut keys: Vec<_> = self.keys.iter().map(|(expr, field)| evaluation.field(expr, field)).collect();
        let mut columns: Vec<Columns> =
            self.aggregates.iter().map(|aggregate| Columns::evaluate(aggregate, &mut evaluation)).collect();
        let failed = evaluation.finish();
        let mut batch = batch.clone();
        if !failed.is_empty() {
            let good = failed.report(&batch, stage, out);
            keys.iter_mut().for_each(|key| *key = kept(key, &good));
            columns.iter_mut().for_each(|columns| columns.keep(&good));
            batch = batch.filter(&good).expect("masks of one length");
        }
        Taken { batch, keys, arguments: columns.into_iter().map(Columns::select).collect() }
    }
}

/// The evaluated expressions of one aggregate.
struct Columns {
    value: Option<ArrayRef>,
    order: Option<ArrayRef>,
    filter: Option<ArrayRef>,
}

impl Columns {
    fn evaluate(aggregate: &AggregateInput, evaluation: &mut Evaluation<'_>) -> Self {
        let mut typed = |expr: &Option<(Expr, DataType)>| {
            expr.as_ref().map(|(expr, data_type)| evaluation.column(expr, data_type))
        };
        let (value, order) = (typed(&aggregate.value), typed(&aggregate.order));
        let filter = aggregate.filter.as_ref().map(|expr| evaluation.column(expr, &DataType::Boolean));
        Columns { value, order, filter }
    }

    fn keep(&mut self, good: &BooleanArray) {
        for column in [&mut self.value, &mut self.order, &mut self.filter].into_iter().flatten() {
            *column = kept(column, good);
        }
    }

    /// Works out which rows the aggregate takes in.
    fn select(self) -> Arguments {
        let filter = self.filter.map(|filter| {
            let filter = filter.as_boolean();
            both(Some(filter.values().clone()), valid(filter)).expect("the filter is there")
        });
        // Rows without an order key are ignored where there is an order, rows without a value elsewhere.
        let present = self.order.as_ref().or(self.value.as_ref()).and_then(|column| valid(column));
        Arguments { selection: both(filter, present), value: self.value, order: self.order }
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

//! Rows in dead letters that have no record to point to.

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{
    DataType, Float64Type, Int32Type, Int64Type, SchemaRef, TimeUnit, TimestampNanosecondType,
};
use arrow::util::display::array_value_to_string;
use chrono::{DateTime, SecondsFormat};
use serde_json::{Map, Value};

/// A row as a JSON object.
pub fn row_json(rows: &RecordBatch, row: usize) -> String {
    object_json(&rows.schema(), rows.columns(), row)
}

/// Values of `columns`, the first of `schema`, as a JSON object.
pub fn object_json(schema: &SchemaRef, columns: &[ArrayRef], row: usize) -> String {
    let values = schema.fields().iter().zip(columns);
    let object: Map<String, Value> =
        values.map(|(field, column)| (field.name().clone(), value(column, row))).collect();
    Value::Object(object).to_string()
}

fn value(column: &ArrayRef, row: usize) -> Value {
    if column.is_null(row) {
        return Value::Null;
    }
    match column.data_type() {
        DataType::Boolean => column.as_boolean().value(row).into(),
        DataType::Int32 => column.as_primitive::<Int32Type>().value(row).into(),
        DataType::Int64 => column.as_primitive::<Int64Type>().value(row).into(),
        DataType::Float64 => column.as_primitive::<Float64Type>().value(row).into(),
        DataType::Timestamp(TimeUnit::Nanosecond, None) => {
            let nanos = column.as_primitive::<TimestampNanosecondType>().value(row);
            let format = if nanos % 1_000 == 0 { SecondsFormat::Micros } else { SecondsFormat::Nanos };
            DateTime::from_timestamp_nanos(nanos).to_rfc3339_opts(format, true).into()
        }
        _ => array_value_to_string(column, row).unwrap_or_default().into(),
    }
}

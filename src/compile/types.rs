//! The types that columns can have, between SQL names and Arrow.

use arrow::datatypes::{DataType, Field, TimeUnit};

use super::problem::Problem;
use crate::plan::is_json;

/// TIMESTAMP.
pub(super) const TIMESTAMP: DataType = DataType::Timestamp(TimeUnit::Nanosecond, None);

/// How messages name the type of an expression.
pub(super) fn name(data_type: &DataType) -> String {
    match data_type {
        DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8 => "TEXT".to_owned(),
        DataType::Int64 => "BIGINT".to_owned(),
        DataType::Int32 => "INT".to_owned(),
        DataType::Float64 => "DOUBLE".to_owned(),
        DataType::Boolean => "BOOLEAN".to_owned(),
        DataType::Timestamp(_, None) => "TIMESTAMP".to_owned(),
        DataType::Timestamp(_, Some(_)) => "TIMESTAMP WITH TIME ZONE".to_owned(),
        DataType::Date32 | DataType::Date64 => "DATE".to_owned(),
        DataType::Time32(_) | DataType::Time64(_) => "TIME".to_owned(),
        DataType::Interval(_) | DataType::Duration(_) => "INTERVAL".to_owned(),
        DataType::Decimal128(..) | DataType::Decimal256(..) => "DECIMAL".to_owned(),
        DataType::Null => "NULL".to_owned(),
        DataType::Struct(_) => "STRUCT".to_owned(),
        DataType::List(_) | DataType::LargeList(_) | DataType::FixedSizeList(..) => "LIST".to_owned(),
        DataType::Binary | DataType::BinaryView | DataType::LargeBinary | DataType::FixedSizeBinary(_) => {
            "BINARY".to_owned()
        }
        other => other.to_string().to_uppercase(),
    }
}

/// How messages name the type of a field.
pub(super) fn of_field(field: &Field) -> String {
    if is_json(field) { "JSON".to_owned() } else { name(field.data_type()) }
}

/// Whether values are text.
pub(super) fn is_text(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8)
}

/// The type in which a column of a relation holds values of `data_type`: functions return several kinds of
/// text and numbers, columns have one of each, so that no stage meets two.
pub(super) fn column(data_type: &DataType) -> Result<DataType, Problem> {
    use DataType as D;
    let (reason, hint) = match data_type {
        D::Utf8 | D::Utf8View | D::LargeUtf8 => return Ok(D::Utf8),
        D::Int8 | D::Int16 | D::Int32 | D::UInt8 | D::UInt16 => return Ok(D::Int32),
        D::Int64 | D::UInt32 | D::UInt64 => return Ok(D::Int64),
        D::Float16 | D::Float32 | D::Float64 => return Ok(D::Float64),
        D::Boolean => return Ok(D::Boolean),
        D::Date32 | D::Date64 => return Ok(D::Date32),
        D::Timestamp(_, None) => return Ok(TIMESTAMP),
        D::Timestamp(_, Some(_)) => (
            "columns hold TIMESTAMP (UTC), not TIMESTAMP WITH TIME ZONE",
            "use the TIMESTAMP itself, or format it with to_char",
        ),
        D::Interval(_) | D::Duration(_) => (
            "columns of type INTERVAL are not supported yet",
            "subtract numbers instead: extract(epoch FROM a) - extract(epoch FROM b)",
        ),
        D::Decimal128(..) | D::Decimal256(..) | D::Decimal32(..) | D::Decimal64(..) => {
            ("columns of type DECIMAL are not supported yet", "CAST it to DOUBLE or BIGINT")
        }
        D::Binary | D::BinaryView | D::LargeBinary | D::FixedSizeBinary(_) => {
            ("columns of type BINARY are not supported", "make TEXT of it: encode(x, 'hex')")
        }
        D::List(_) | D::LargeList(_) | D::FixedSizeList(..) => (
            "columns of type LIST are not supported",
            "take one text out of it: split_part(x, ',', 1), or regexp_replace(x, '.*(a+).*', '${1}')",
        ),
        D::Null => ("NULL alone has no type", "write CAST(NULL AS TEXT), with the type that is meant"),
        other => {
            let problem = format!("columns of type {} are not supported", name(other));
            return Err(
                Problem::new(problem).hint("CAST it to TEXT, BIGINT, DOUBLE, BOOLEAN, DATE or TIMESTAMP")
            );
        }
    };
    Err(Problem::new(reason).hint(hint))
}

/// The type of a column that holds values of both types, or nothing if there is none.
pub(super) fn common(left: &DataType, right: &DataType) -> Option<DataType> {
    use DataType as D;
    match (left, right) {
        _ if left == right => Some(left.clone()),
        (D::Int32 | D::Int64, D::Int32 | D::Int64) => Some(D::Int64),
        (D::Int32 | D::Int64 | D::Float64, D::Int32 | D::Int64 | D::Float64) => Some(D::Float64),
        (D::Date32, D::Timestamp(_, None)) | (D::Timestamp(_, None), D::Date32) => Some(TIMESTAMP),
        _ => None,
    }
}

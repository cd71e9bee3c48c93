use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Date32Array, Float64Array, Int32Array, Int64Array, StringArray,
    TimestampNanosecondArray, UInt16Array,
};
use arrow::datatypes::Field;
use chrono::{DateTime, SecondsFormat};
use rand::{Rng, SeedableRng};

use super::*;
use crate::plan::ColumnType;

fn batch(columns: Vec<(Field, ArrayRef)>) -> RecordBatch {
    let (fields, arrays): (Vec<_>, Vec<_>) = columns.into_iter().unzip();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).expect("columns of the schema")
}

fn row(rows: &RecordBatch, document: Option<usize>, row: usize) -> String {
    let mut out = Vec::new();
    RowWriter::new(rows.schema_ref(), document).write_row(&mut out, rows, row);
    String::from_utf8(out).expect("UTF-8")
}

#[test]
fn every_type_has_its_text_and_null_is_written() {
    let rows = batch(vec![
        (ColumnType::Text.field("te\"xt", true), Arc::new(StringArray::from(vec![Some("a\"\n"), None]))),
        (ColumnType::BigInt.field("long", true), Arc::new(Int64Array::from(vec![Some(i64::MIN), None]))),
        (ColumnType::Int.field("int", true), Arc::new(Int32Array::from(vec![Some(-7), None]))),
        (ColumnType::Double.field("double", true), Arc::new(Float64Array::from(vec![Some(0.1), None]))),
        (ColumnType::Boolean.field("on", true), Arc::new(BooleanArray::from(vec![Some(true), None]))),
        (
            ColumnType::Json.field("json", true),
            Arc::new(StringArray::from(vec![Some("{\"a\":\n\"0\"}"), None])),
        ),
        (ColumnType::Date.field("day", true), Arc::new(Date32Array::from(vec![Some(19_782), None]))),
        (
            ColumnType::Timestamp.field("at", true),
            Arc::new(TimestampNanosecondArray::from(vec![Some(1), None])),
        ),
        (Field::new("other", DataType::UInt16, true), Arc::new(UInt16Array::from(vec![Some(7), None]))),
    ]);
    assert_eq!(
        row(&rows, None, 0),
        r#"{"te\"xt":"a\"\n","long":-9223372036854775808,"int":-7,"double":0.1,"on":true,"json":{"a": "0"},"day":"2024-02-29","at":"1970-01-01T00:00:00.000000001Z","other":"7"}"#
    );
    assert_eq!(
        row(&rows, None, 1),
        r#"{"te\"xt":null,"long":null,"int":null,"double":null,"on":null,"json":null,"day":null,"at":null,"other":null}"#
    );
    let mut key = Vec::new();
    RowWriter::new(rows.schema_ref(), None).write_key(&mut key, &rows, &[2, 0], 0);
    assert_eq!(String::from_utf8(key).as_deref(), Ok(r#"{"int":-7,"te\"xt":"a\"\n"}"#));
}

#[test]
fn doubles_read_back_as_the_same_number() {
    let text = |value: f64| {
        let mut out = Vec::new();
        write_double(&mut out, value);
        String::from_utf8(out).expect("ASCII")
    };
    assert_eq!((text(25.0).as_str(), text(-0.0).as_str(), text(101.5).as_str()), ("25.0", "-0.0", "101.5"));
    assert_eq!((text(f64::NAN).as_str(), text(f64::NEG_INFINITY).as_str()), ("null", "null"));
    let mut random = rand_pcg::Pcg64Mcg::seed_from_u64(64);
    for _ in 0..10_000 {
        let value = f64::from_bits(random.random());
        if value.is_finite() {
            assert_eq!(text(value).parse::<f64>().map(f64::to_bits), Ok(value.to_bits()));
        }
    }
}

#[test]
fn a_document_is_spread_as_it_was_received() {
    let documents = [
        Some("{\"did\" : \"981\", \"int_value\":\"0\",\"at\\u0065\":{\"x\":\r\n1}, \"f\":1.50, \"at\":1}"),
        None,
        Some("[1]"),
        Some(" { } "),
    ];
    let rows = batch(vec![
        (ColumnType::Json.field("payload", true), Arc::new(StringArray::from(documents.to_vec()))),
        (ColumnType::BigInt.field("at", true), Arc::new(Int64Array::from(vec![7; 4]))),
    ]);
    assert_eq!(
        row(&rows, Some(0), 0),
        "{\"did\":\"981\",\"int_value\":\"0\",\"at\\u0065\":{\"x\":  1},\"f\":1.50,\"at\":7}"
    );
    assert_eq!(row(&rows, Some(0), 1), r#"{"at":7}"#);
    assert_eq!(row(&rows, Some(0), 2), r#"{"payload":[1],"at":7}"#);
    assert_eq!(row(&rows, Some(0), 3), r#"{"at":7}"#);
}

#[test]
fn timestamps_agree_with_chrono() {
    let mut random = rand_pcg::Pcg64Mcg::seed_from_u64(3339);
    let ends = [i64::MIN, -1, 0, 999, 1_000, i64::MAX];
    let times = ends.into_iter().chain((0..20_000).map(|_| random.random::<i64>()));
    for time in times.flat_map(|time| [time, time / 1_000 * 1_000]) {
        let mut out = Vec::new();
        write_timestamp(&mut out, time);
        let form = if time % 1_000 == 0 { SecondsFormat::Micros } else { SecondsFormat::Nanos };
        let expected = DateTime::from_timestamp_nanos(time).to_rfc3339_opts(form, true);
        assert_eq!(String::from_utf8(out).as_deref(), Ok(expected.as_str()), "{time}");
    }
}

#[test]
fn dates_agree_with_chrono_and_years_beyond_four_digits_have_a_sign() {
    let text = |day: i64| {
        let mut out = Vec::new();
        write_date(&mut out, day);
        String::from_utf8(out).expect("ASCII")
    };
    let epoch = chrono::NaiveDate::from_ymd_opt(1970, 1, 1).expect("a date");
    for day in (-800_000..3_100_000).step_by(13) {
        let expected = epoch + chrono::Duration::days(day);
        assert_eq!(text(day), expected.to_string(), "{day}");
    }
    assert_eq!((text(2_932_896), text(2_932_897)), ("9999-12-31".into(), "+10000-01-01".into()));
    assert_eq!((text(-719_528), text(-719_529)), ("0000-01-01".into(), "-0001-12-31".into()));
    assert_eq!(
        (text(i32::MAX.into()), text(i32::MIN.into())),
        ("+5881580-07-11".into(), "-5877641-06-23".into())
    );
}

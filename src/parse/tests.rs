//! Named cases of decoding, and the sources that the random tests decode with too.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array};
use arrow::datatypes::{Float64Type, Int64Type, Schema, TimestampNanosecondType};
use datafusion_common::ScalarValue;
use datafusion_expr::Operator;
use datafusion_physical_expr::expressions::{binary, col, lit};

use super::*;
use crate::dead_letter::Reason;
use crate::plan::{
    ArrayRef1, Column, ColumnType, DeadLetterPolicy, Expr, FileSource, Format, SourceConnector,
    TimestampFormat,
};
use crate::record::Reject;

pub(super) fn field(path: &str, kind: ColumnType) -> Column {
    let from = ColumnOrigin::Path(path.split('.').map(str::to_owned).collect());
    Column { name: path.replace('.', "_"), kind, nullable: true, default: None, from }
}

pub(super) fn required(path: &str, kind: ColumnType) -> Column {
    Column { nullable: false, ..field(path, kind) }
}

fn metadata(metadata: Metadata, kind: ColumnType) -> Column {
    Column { from: ColumnOrigin::Metadata(metadata), ..field(&format!("{metadata:?}"), kind) }
}

/// A source with these columns and checks `left operator right` between a column and a BIGINT.
pub(super) fn source(columns: Vec<Column>, checks: &[(&str, Operator, i64)]) -> Source {
    let fields: Vec<_> =
        columns.iter().map(|column| column.kind.field(&column.name, column.nullable)).collect();
    let schema = Arc::new(Schema::new(fields));
    let checks = checks.iter().map(|(column, operator, value)| {
        let left = col(column, &schema).expect("a column");
        let right = lit(ScalarValue::Int64(Some(*value)));
        let compared = match operator {
            // Stands for an expression that can fail: 100 / column > value.
            Operator::Divide => {
                let quotient = binary(lit(100i64), Operator::Divide, left, &schema).expect("BIGINT");
                binary(quotient, Operator::Gt, right, &schema)
            }
            operator => binary(left, *operator, right, &schema),
        };
        Expr {
            physical: compared.expect("BIGINT"),
            text: format!("{column} {operator} {value}"),
            uses_now: false,
        }
    });
    Source {
        name: "telemetry_raw".into(),
        checks: checks.collect(),
        columns,
        schema,
        table: None,
        watermark: None,
        connector: SourceConnector::File(FileSource {
            path: "input".into(),
            monitor: None,
            replay_milli: None,
        }),
        format: Format::Json,
        timestamp_format: TimestampFormat::EpochMillis,
        max_future: Duration::from_secs(300),
        max_jump: None,
        idle_timeout: Duration::from_secs(10),
        computed: Vec::new(),
        max_drift: None,
        device: None,
        max_record_bytes: 1 << 20,
        dead_letters: DeadLetterPolicy::File,
    }
}

pub(super) fn decoder(source: &Source) -> JsonDecoder {
    let partition = Partition { id: 65_537, name: "telemetry_raw".into(), number: 1 };
    JsonDecoder::new(Arc::new(source.clone()), partition)
}

pub(super) fn record(offset: u64, payload: &[u8]) -> Record<'_> {
    Record::of(offset, payload)
}

fn decode(source: &Source, payloads: &[&[u8]]) -> Chunk {
    let mut decoder = decoder(source);
    for (offset, payload) in payloads.iter().enumerate() {
        decoder.push(&record(offset as u64, payload));
    }
    decoder.finish()
}

/// The reject of a source with one BIGINT `a` that has to be there.
fn reject(payload: &[u8]) -> Reject {
    let chunk = decode(&source(vec![required("a", ColumnType::BigInt)], &[]), &[payload]);
    assert_eq!((chunk.len(), chunk.rows.num_rows(), chunk.rejects.len()), (1, 0, 1));
    chunk.rejects[0].clone()
}

fn malformed(payload: &[u8]) -> String {
    let reject = reject(payload);
    assert_eq!((reject.reason, reject.rule.as_str()), (Reason::Malformed, ""));
    reject.error
}

fn longs(chunk: &Chunk, column: usize) -> Vec<Option<i64>> {
    chunk.rows.column(column).as_primitive::<Int64Type>().iter().collect()
}

fn texts(chunk: &Chunk, column: usize) -> Vec<Option<&str>> {
    chunk.rows.column(column).as_string::<i32>().iter().collect()
}

#[test]
fn what_is_not_one_object_is_malformed() {
    assert_eq!(malformed(b""), "empty at byte 0");
    assert_eq!(malformed(b" \r\n"), "empty at byte 1");
    assert_eq!(malformed(b"[1]"), "not a JSON object at byte 0");
    assert_eq!(malformed(b"7"), "not a JSON object at byte 0");
    assert_eq!(malformed(b"{\"a\":1"), "unexpected end at byte 6");
    assert_eq!(malformed(b"{\"a\":1} {}"), "something follows the end of the object at byte 8");
    assert_eq!(malformed(b"{\"a\":1,}"), "expected a key at byte 7");
}

#[test]
fn invalid_utf8_is_malformed() {
    assert_eq!(malformed(b"{\"a\":1,\"b\":\"\xff\"}"), "not UTF-8 at byte 12");
}

#[test]
fn nan_is_malformed() {
    assert_eq!(malformed(b"{\"a\":NaN}"), "expected a value at byte 5");
    assert_eq!(malformed(b"{\"b\":-Infinity,\"a\":1}"), "expected a digit at byte 6");
}

#[test]
fn deep_nesting_is_malformed_and_needs_no_stack() {
    for nested in ["[", "{\"a\":", "[{\"pos\":"] {
        let text = format!("{{\"pos\":{}", nested.repeat(100_000));
        assert!(malformed(text.as_bytes()).starts_with("nested too deeply"), "{nested}");
    }
    let inner = format!("{}{}", "[".repeat(127), "]".repeat(127));
    let chunk =
        decode(&source(vec![field("b", ColumnType::Json)], &[]), &[format!("{{\"b\":{inner}}}").as_bytes()]);
    assert_eq!(texts(&chunk, 0), [Some(inner.as_str())]);
}

#[test]
fn a_tombstone_is_malformed() {
    let mut decoder = decoder(&source(vec![field("a", ColumnType::BigInt)], &[]));
    decoder.push(&Record { payload: None, ..record(7, b"") });
    let chunk = decoder.finish();
    assert_eq!((chunk.rejects[0].reason, chunk.rejects[0].error.as_str()), (Reason::Malformed, "no payload"));
    assert_eq!(chunk.raw.find(7).and_then(|raw| raw.payload), None);
}

#[test]
fn a_line_of_5_mb_is_too_large_unless_allowed() {
    let line = format!("{{\"b\":\"{}\",\"a\":1}}", "x".repeat(5_000_000));
    let found = reject(line.as_bytes());
    assert_eq!(found.reason, Reason::TooLarge);
    assert_eq!(found.error, "5000014 bytes are more than max_record_bytes = 1048576");
    let columns = vec![field("a", ColumnType::BigInt), field("b", ColumnType::Text)];
    let source = Source { max_record_bytes: 5_000_014, ..source(columns, &[]) };
    let chunk = decode(&source, &[line.as_bytes()]);
    assert_eq!((longs(&chunk, 0), texts(&chunk, 1)[0].map(str::len)), (vec![Some(1)], Some(5_000_000)));
}

#[test]
fn duplicate_keys_the_last_one_counts() {
    let columns = vec![field("a", ColumnType::BigInt), field("pos.lat", ColumnType::BigInt)];
    let payload: &[u8] = br#"{"a":"x","pos":{"lat":1},"a":2,"pos":{}}"#;
    let chunk = decode(&source(columns, &[]), &[payload]);
    assert_eq!((longs(&chunk, 0), longs(&chunk, 1)), (vec![Some(2)], vec![None]));
}

#[test]
fn bom_and_crlf_are_stripped() {
    let columns = vec![field("a", ColumnType::BigInt), metadata(Metadata::Payload, ColumnType::Json)];
    let payloads: [&[u8]; 3] = [b"\xef\xbb\xbf{\"a\":1}", b"{\"a\":1}\r", b" {\"a\":1} \r\n"];
    let chunk = decode(&source(columns, &[]), &payloads);
    assert_eq!(longs(&chunk, 0), [Some(1); 3]);
    assert_eq!(texts(&chunk, 1), [Some("{\"a\":1}"), Some("{\"a\":1}"), Some(" {\"a\":1} ")]);
    assert_eq!(chunk.raw.find(0).and_then(|raw| raw.payload).as_deref(), Some(payloads[0]));
}

#[test]
fn numbers_beyond_64_bits_are_wrong_only_where_they_do_not_fit() {
    let columns = vec![field("a", ColumnType::BigInt), field("d", ColumnType::Double)];
    let payloads: [&[u8]; 4] = [
        br#"{"a":9223372036854775807,"d":9223372036854775808}"#,
        br#"{"a":9223372036854775808}"#,
        br#"{"d":1e400}"#,
        br#"{"unread":1e400,"a":-9223372036854775808}"#,
    ];
    let chunk = decode(&source(columns, &[]), &payloads);
    assert_eq!(longs(&chunk, 0), [Some(i64::MAX), Some(i64::MIN)]);
    assert_eq!(chunk.rows.column(1).as_primitive::<Float64Type>().value(0), 9_223_372_036_854_775_808.0);
    let errors: Vec<_> = chunk.rejects.iter().map(|reject| (reject.reason, reject.error.as_str())).collect();
    assert_eq!(
        errors,
        [
            (Reason::WrongType, "field \"a\": 9223372036854775808 is not a BIGINT"),
            (Reason::WrongType, "field \"d\": 1e400 is not a DOUBLE"),
        ]
    );
}

#[test]
fn timestamps_reach_to_the_ends_of_the_range() {
    let payloads: [&[u8]; 4] = [
        br#"{"t":"2262-04-11T23:47:16.854775807Z"}"#,
        br#"{"t":"1677-09-21T00:12:43.145224192Z"}"#,
        br#"{"t":"2262-04-11T23:47:16.854775808Z"}"#,
        br#"{"t":9223372036855}"#,
    ];
    let chunk = decode(&source(vec![field("t", ColumnType::Timestamp)], &[]), &payloads);
    let times: Vec<_> = chunk.rows.column(0).as_primitive::<TimestampNanosecondType>().values().to_vec();
    assert_eq!(times, [i64::MAX, i64::MIN]);
    assert_eq!(chunk.rejects[1].error, "field \"t\": 9223372036855 is not a TIMESTAMP");
}

#[test]
fn errors_name_field_and_shortened_value() {
    let error = |value: &str| reject(format!("{{\"a\":{value}}}").as_bytes()).error;
    assert_eq!(error("\"abc\""), "field \"a\": \"abc\" is not a BIGINT");
    let long = error(&format!("\"{}\"", "é".repeat(1_000)));
    assert_eq!(long, format!("field \"a\": \"{}... is not a BIGINT", "é".repeat(59)));
}

#[test]
fn defaults_come_before_not_null() {
    let default: ArrayRef = Arc::new(Int64Array::from(vec![5]));
    let columns = vec![
        Column { default: Some(ArrayRef1(default)), ..required("a", ColumnType::BigInt) },
        required("did", ColumnType::Text),
    ];
    let payloads: [&[u8]; 6] = [
        br#"{"did":"x"}"#,
        br#"{"did":"x","a":null}"#,
        br#"{"did":"","a":""}"#,
        br#"{"did":null,"a":1}"#,
        br#"{"a":1}"#,
        br#"{"did":"x","a":7}"#,
    ];
    let chunk = decode(&source(columns, &[]), &payloads);
    assert_eq!(longs(&chunk, 0), [Some(5), Some(5), Some(5), Some(7)]);
    assert_eq!(chunk.offsets.values().to_vec(), [0, 1, 2, 5]);
    let found: Vec<_> = chunk.rejects.iter().map(|r| (r.offset, r.error.as_str(), r.rule.as_str())).collect();
    assert_eq!(
        found,
        [(3, "field \"did\" is null", "NOT NULL did"), (4, "field \"did\" is missing", "NOT NULL did"),]
    );
}

#[test]
fn metadata_columns() {
    let at_cut = Column { nullable: false, ..metadata(Metadata::IngestionTime, ColumnType::Timestamp) };
    let columns = vec![
        metadata(Metadata::Topic, ColumnType::Text),
        metadata(Metadata::Partition, ColumnType::Int),
        metadata(Metadata::Offset, ColumnType::BigInt),
        metadata(Metadata::Key, ColumnType::Text),
        metadata(Metadata::Headers, ColumnType::Json),
        metadata(Metadata::Timestamp, ColumnType::Timestamp),
        Column { name: "late".into(), nullable: true, ..at_cut.clone() },
        at_cut,
        metadata(Metadata::Payload, ColumnType::Json),
    ];
    let mut decoder = decoder(&source(columns, &[]));
    let headers: &[(&str, Option<&[u8]>)] = &[("h", Some(b"1"))];
    let payload = br#"{"int_value": "0"}"#;
    let full = Record { key: Some(b"981"), headers, timestamp_ms: Some(-5), ..record(42, payload) };
    decoder.push(&full);
    decoder.push(&Record { key: Some(b"\xff"), ..record(43, b"{}") });
    let chunk = decoder.finish();
    assert_eq!(chunk.rejects, []);
    assert_eq!(texts(&chunk, 0), [Some("telemetry_raw"); 2]);
    assert_eq!(chunk.rows.column(1).as_ref(), &arrow::array::Int32Array::from(vec![1, 1]));
    assert_eq!(longs(&chunk, 2), [Some(42), Some(43)]);
    assert_eq!(texts(&chunk, 3), [Some("981"), None]);
    assert_eq!(texts(&chunk, 4), [Some("{\"h\":\"1\"}"), Some("{}")]);
    let times = chunk.rows.column(5).as_primitive::<TimestampNanosecondType>();
    assert_eq!((times.value(0), times.is_null(1)), (-5_000_000, true));
    assert_eq!((chunk.rows.column(6).null_count(), chunk.rows.column(7).null_count()), (2, 0));
    assert_eq!(texts(&chunk, 8), [Some("{\"int_value\": \"0\"}"), Some("{}")]);
}

#[test]
fn checks_reject_single_rows_and_the_first_one_names_the_rule() {
    let columns = vec![field("a", ColumnType::BigInt), field("b", ColumnType::BigInt)];
    let checks = [("a", Operator::Gt, 0), ("b", Operator::Divide, 3), ("a", Operator::Lt, 10)];
    let payloads: Vec<&[u8]> = vec![
        br#"{"a":5,"b":2}"#,
        br#"{"a":-5,"b":0}"#,
        br#"{"a":5,"b":0}"#,
        br#"{"a":"x"}"#,
        br#"{"b":2}"#,
        br#"{"a":50,"b":2}"#,
        br#"{"a":5}"#,
        br#"{"a":5,"b":0}"#,
    ];
    let chunk = decode(&source(columns, &checks), &payloads);
    assert_eq!(chunk.offsets.values().to_vec(), [0, 4, 6]);
    assert_eq!(longs(&chunk, 1), [Some(2), Some(2), None]);
    let found: Vec<_> = chunk.rejects.iter().map(|r| (r.offset, r.reason, r.rule.as_str())).collect();
    assert_eq!(
        found,
        [
            (1, Reason::Check, "CHECK (a > 0)"),
            (2, Reason::Expression, "CHECK (b / 3)"),
            (3, Reason::WrongType, ""),
            (5, Reason::Check, "CHECK (a < 10)"),
            (7, Reason::Expression, "CHECK (b / 3)"),
        ]
    );
    assert_eq!(chunk.rejects[0].error, "CHECK (a > 0) is false: a = -5");
    assert!(chunk.rejects[1].error.starts_with("CHECK (b / 3) failed: b = 0: "), "{:?}", chunk.rejects[1]);
}

#[test]
fn a_decoder_starts_anew_after_finish() {
    let mut decoder = decoder(&source(vec![required("a", ColumnType::BigInt)], &[]));
    assert!(decoder.is_empty() && decoder.finish().is_empty());
    for offset in 0..3 {
        decoder.push(&record(offset, b"{\"a\":1}"));
        decoder.push(&record(offset + 10, b"{}"));
        assert_eq!(decoder.len(), 2);
        let chunk = decoder.finish();
        assert_eq!((chunk.rows.num_rows(), chunk.rejects.len(), decoder.len()), (1, 1, 0));
        assert_eq!(chunk.raw.offset(1), offset + 10);
    }
}

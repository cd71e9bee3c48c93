//! Named cases of CSV.

use arrow::array::{ArrayRef, AsArray, Int64Array};
use arrow::datatypes::{Float64Type, Int64Type, TimestampNanosecondType};
use datafusion_expr::Operator;

use super::super::tests::{field, required, source};
use super::*;
use crate::dead_letter::Reason;
use crate::plan::{ArrayRef1, Column, ColumnType, Format};

fn decode(source: &Source, header: Option<&str>, records: &[&[u8]]) -> Chunk {
    let partition = Partition { id: 1, name: "a.csv".into(), number: 0 };
    let Format::Csv(dialect) = &source.format else { panic!("CSV") };
    let mut decoder = CsvDecoder::new(Arc::new(source.clone()), partition, dialect);
    if let Some(header) = header {
        decoder.header(&Record::of(0, header.as_bytes()));
    }
    for (offset, record) in records.iter().enumerate() {
        decoder.push(&Record::of(offset as u64, record));
    }
    let chunk = decoder.finish();
    assert_eq!(chunk.rows.num_rows() + chunk.rejects.len(), records.len());
    chunk
}

fn csv(columns: Vec<Column>, dialect: Dialect) -> Source {
    Source { format: Format::Csv(dialect), ..source(columns, &[]) }
}

fn texts(chunk: &Chunk, column: usize) -> Vec<Option<&str>> {
    chunk.rows.column(column).as_string::<i32>().iter().collect()
}

fn longs(chunk: &Chunk, column: usize) -> Vec<Option<i64>> {
    chunk.rows.column(column).as_primitive::<Int64Type>().iter().collect()
}

fn errors(chunk: &Chunk) -> Vec<(u64, Reason, &str)> {
    chunk.rejects.iter().map(|reject| (reject.offset, reject.reason, reject.error.as_str())).collect()
}

#[test]
fn the_header_names_the_columns_in_any_order() {
    let columns =
        vec![field("a", ColumnType::BigInt), field("b", ColumnType::Text), field("c", ColumnType::Text)];
    let source = csv(columns, Dialect::default());
    let chunk =
        decode(&source, Some("\u{feff}b,unknown,\"a\"\r"), &[b"x,skipped,7", b"\"y\nz\",\"\", 8 \r\n"]);
    assert_eq!(errors(&chunk), []);
    assert_eq!(longs(&chunk, 0), [Some(7), Some(8)]);
    assert_eq!(texts(&chunk, 1), [Some("x"), Some("y\nz")]);
    assert_eq!(texts(&chunk, 2), [None, None]);
}

#[test]
fn a_header_that_cannot_be_used_makes_letters_of_all_records() {
    let source = csv(vec![field("a", ColumnType::BigInt)], Dialect::default());
    for (header, error) in [
        ("x,y", "the header of its file: no column of the source is among x,y"),
        ("a,b,a", "the header of its file: \"a\" stands twice"),
        ("\"a", "the header of its file: a quote is not closed at byte 0"),
        ("A,b", "the header of its file: no column of the source is among A,b"),
    ] {
        assert_eq!(errors(&decode(&source, Some(header), &[b"1,2"])), [(0, Reason::Malformed, error)]);
    }
}

#[test]
fn without_header_the_fields_are_the_columns_and_all_have_to_be_there() {
    let source = csv(vec![field("a", ColumnType::BigInt), field("b", ColumnType::Text)], Dialect::default());
    let chunk =
        decode(&source, None, &[b"1,x", b"2", b"3,x,y", b"", b"4,\"x", b"5,\"x\"y", b"6,\xff", b"7,x\n8,y"]);
    assert_eq!(longs(&chunk, 0), [Some(1)]);
    assert_eq!(
        errors(&chunk),
        [
            (1, Reason::Malformed, "1 field, expected 2"),
            (2, Reason::Malformed, "3 fields, expected 2"),
            (3, Reason::Malformed, "empty at byte 0"),
            (4, Reason::Malformed, "a quote is not closed at byte 2"),
            (5, Reason::Malformed, "something follows the closing quote at byte 2"),
            (6, Reason::Malformed, "not UTF-8 at byte 2"),
            (7, Reason::Malformed, "a second record begins at byte 4"),
        ]
    );
    assert_eq!(chunk.raw.find(6).and_then(|raw| raw.payload).as_deref(), Some(&b"6,\xff"[..]));
}

#[test]
fn nothing_is_null_and_quotes_around_nothing_are_an_empty_text() {
    let columns =
        vec![field("t", ColumnType::Text), field("n", ColumnType::BigInt), field("j", ColumnType::Json)];
    let chunk =
        decode(&csv(columns.clone(), Dialect::default()), None, &[b",,", b"\"\",\"\",\"\"", b"NULL, ,1"]);
    assert_eq!(texts(&chunk, 0), [None, Some(""), Some("NULL")]);
    assert_eq!(longs(&chunk, 1), [None; 3]);
    assert_eq!(texts(&chunk, 2), [None, None, Some("1")]);
    let null = Dialect { null: "NULL".into(), ..Dialect::default() };
    let chunk = decode(&csv(columns, null), None, &[b",,", b"\"NULL\",\"\",NULL", b"NULL,NULL,null"]);
    assert_eq!(texts(&chunk, 0), [Some(""), Some("NULL"), None]);
    assert_eq!(longs(&chunk, 1), [None; 3]);
    assert_eq!(texts(&chunk, 2), [None, None, Some("null")]);
}

#[test]
fn every_type_and_what_it_cannot_hold() {
    let columns = vec![
        field("t", ColumnType::Timestamp),
        field("d", ColumnType::Double),
        field("i", ColumnType::Int),
        field("b", ColumnType::Boolean),
        field("j", ColumnType::Json),
    ];
    let semicolons = Dialect { delimiter: b';', quote: b'\'', ..Dialect::default() };
    let records: &[&[u8]] = &[
        b"2025-10-27 10:07:15.234+01:00;1e3;7.0;TRUE;'{\"a\":\"b;c\"}'",
        b"1761559635234;'-0.5';'-7';0;'[1,\n''x'']'",
        b"1761559635234;-0.5;-7;0;[1,2]",
        b";NaN;;;",
        b";;2147483648;;",
        b";;;yes;",
        b";;;;{a:1}",
        b"9223372036855;;;;",
        b";1e400;;;",
    ];
    let chunk = decode(&csv(columns, semicolons), None, records);
    let times = chunk.rows.column(0).as_primitive::<TimestampNanosecondType>();
    assert_eq!(times.value(0), 1_761_556_035_234_000_000);
    assert_eq!(chunk.rows.column(1).as_primitive::<Float64Type>().values(), &[1000.0, -0.5]);
    assert_eq!(texts(&chunk, 4), [Some("{\"a\":\"b;c\"}"), Some("[1,2]")]);
    assert_eq!(
        errors(&chunk),
        [
            (1, Reason::WrongType, "field \"j\": [1,\n'x'] is not a JSON"),
            (3, Reason::WrongType, "field \"d\": NaN is not a DOUBLE"),
            (4, Reason::WrongType, "field \"i\": 2147483648 is not an INT"),
            (5, Reason::WrongType, "field \"b\": yes is not a BOOLEAN"),
            (6, Reason::WrongType, "field \"j\": {a:1} is not a JSON"),
            (7, Reason::WrongType, "field \"t\": 9223372036855 is not a TIMESTAMP"),
            (8, Reason::WrongType, "field \"d\": 1e400 is not a DOUBLE"),
        ]
    );
}

#[test]
fn defaults_rules_and_metadata_are_those_of_all_formats() {
    let default: ArrayRef = Arc::new(Int64Array::from(vec![5]));
    let metadata = |metadata, kind| Column { from: ColumnOrigin::Metadata(metadata), ..field("m", kind) };
    let columns = vec![
        metadata(Metadata::Offset, ColumnType::BigInt),
        Column { default: Some(ArrayRef1(default)), ..required("a", ColumnType::BigInt) },
        required("did", ColumnType::Text),
        Column { name: "p".into(), ..metadata(Metadata::Payload, ColumnType::Text) },
        Column {
            name: "at".into(),
            nullable: false,
            ..metadata(Metadata::IngestionTime, ColumnType::Timestamp)
        },
    ];
    let with_check = source(columns, &[("a", Operator::Gt, 0)]);
    let source = Source { format: Format::Csv(Dialect::default()), ..with_check };
    let chunk = decode(&source, Some("did,a"), &[b"x,", b"y,7\r\n", b",1", b"z,-1"]);
    assert_eq!((longs(&chunk, 0), longs(&chunk, 1)), (vec![Some(0), Some(1)], vec![Some(5), Some(7)]));
    assert_eq!(texts(&chunk, 3), [Some("x,"), Some("y,7")]);
    assert_eq!(
        errors(&chunk),
        [
            (2, Reason::NotNull, "field \"did\" is empty"),
            (3, Reason::Check, "CHECK (a > 0) is false: a = -1"),
        ]
    );
    let chunk = decode(&source, Some("a"), &[b"1"]);
    assert_eq!(errors(&chunk), [(0, Reason::NotNull, "field \"did\" is missing")]);
}

#[test]
fn without_columns_that_are_fields_a_record_has_any_number_of_them() {
    let raw = Column { from: ColumnOrigin::Metadata(Metadata::Payload), ..field("raw", ColumnType::Text) };
    let source = csv(vec![raw], Dialect { header: false, ..Dialect::default() });
    let chunk = decode(&source, None, &[b"a", b"a,b", b"\"a\nb\",,", b"\"a"]);
    assert_eq!(texts(&chunk, 0), [Some("a"), Some("a,b"), Some("\"a\nb\",,")]);
    assert_eq!(errors(&chunk).len(), 1, "a quote that is not closed");
    // A header still says how many there are.
    let chunk = decode(&source, Some("x,y"), &[b"a,b", b"a"]);
    assert_eq!(errors(&chunk), [(1, Reason::Malformed, "1 field, expected 2")]);
}

#[test]
fn files_named_tsv_have_tabs_unless_something_else_is_chosen() {
    let named = |dialect: &Dialect, name: &str| dialect.of_file(name).delimiter;
    let usual = Dialect::default();
    assert_eq!([named(&usual, "a.tsv"), named(&usual, "in/a.tsv.gz"), named(&usual, "a.csv")], *b"\t\t,");
    let chosen = Dialect { delimiter: b';', chosen: true, ..Dialect::default() };
    assert_eq!(named(&chosen, "a.tsv"), b';');
}

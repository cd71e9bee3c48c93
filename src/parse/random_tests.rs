//! Records broken at random, and real ones: each is exactly one row or one reject, however they are batched.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use arrow::array::{Array, AsArray};
use arrow::compute::concat_batches;
use arrow::datatypes::{Float64Type, TimestampNanosecondType};
use datafusion_expr::Operator;
use flate2::read::MultiGzDecoder;
use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64Mcg;
use serde::de::IgnoredAny;
use serde_json::Value;

use super::tests::{decoder, field, record, required, source};
use super::*;
use crate::dead_letter::Reason;
use crate::plan::{Column, ColumnType};

const RECORDS: usize = 25_000;

fn telemetry() -> Source {
    let columns = vec![
        required("did", ColumnType::Text),
        field("name", ColumnType::Text),
        field("float_value", ColumnType::Double),
        field("int_value", ColumnType::BigInt),
        field("small", ColumnType::Int),
        field("on", ColumnType::Boolean),
        field("eventTime", ColumnType::Timestamp),
        field("pos.lat", ColumnType::Double),
        field("pos.deep.x", ColumnType::Text),
        field("tags", ColumnType::Json),
        Column {
            name: "payload".into(),
            from: ColumnOrigin::Metadata(Metadata::Payload),
            ..field("p", ColumnType::Json)
        },
    ];
    source(columns, &[("int_value", Operator::GtEq, 0), ("int_value", Operator::Divide, 0)])
}

fn value(random: &mut Pcg64Mcg, depth: u32) -> String {
    let shape = random.random_range(0..if depth < 3 { 14 } else { 12 });
    shaped(shape, random, depth)
}

/// A value that fits a column of this name, mostly.
fn fitting(name: &str, random: &mut Pcg64Mcg, depth: u32) -> String {
    let shapes: &[u32] = match name {
        "did" | "name" | "x" => &[0, 4, 10],
        "float_value" | "int_value" | "small" | "lat" => &[0, 3, 3, 5, 6, 7, 8],
        "on" => &[1, 2],
        "eventTime" => &[0, 9, 11],
        "pos" | "deep" if depth < 3 => &[0, 12, 12],
        _ => return value(random, depth),
    };
    shaped(shapes[random.random_range(0..shapes.len())], random, depth)
}

fn shaped(shape: u32, random: &mut Pcg64Mcg, depth: u32) -> String {
    match shape {
        0 => "null".into(),
        1 => "true".into(),
        2 => "\"false\"".into(),
        3 => random.random_range(-3..120).to_string(),
        4 => format!("\"{}\"", random.random::<i64>()),
        5 => format!("{}", random.random::<f64>() * 1e3),
        6 => "\"\"".into(),
        7 => "7.0".into(),
        8 => ["1e400", "-0.0", "18446744073709551616", "1E-7"][random.random_range(0..4)].into(),
        9 => format!("\"2025-10-27T10:07:{:02}.{}Z\"", random.random_range(0..61), random.random::<u32>()),
        10 => "\"caf\\u00e9 \\\"quoted\\\" \\ud83d\\ude97 é🚗\"".into(),
        11 => random.random_range(1_761_559_635_000i64..1_761_559_700_000).to_string(),
        12 => object(random, depth + 1),
        _ => format!("[{}, {} ]", value(random, depth + 1), value(random, depth + 1)),
    }
}

fn object(random: &mut Pcg64Mcg, depth: u32) -> String {
    const NAMES: [&str; 16] = [
        "did",
        "name",
        "float_value",
        "int_value",
        "small",
        "on",
        "eventTime",
        "pos",
        "lat",
        "deep",
        "x",
        "tags",
        "unknown",
        "nam\\u0065",
        "pos.lat",
        "",
    ];
    let mut members = Vec::new();
    for _ in 0..random.random_range(0..10) {
        let name = NAMES[random.random_range(0..NAMES.len())];
        let space = ["", " ", "\n  "][random.random_range(0..3)];
        let value =
            if random.random_ratio(9, 10) { fitting(name, random, depth) } else { value(random, depth) };
        members.push(format!("{space}\"{name}\"{space}:{value}"));
    }
    format!("{{{}}}", members.join(","))
}

fn payload(random: &mut Pcg64Mcg) -> Vec<u8> {
    const SYNTAX: &[u8] = b"{}[]\",:\\0-.eE+ntfu \r\n\0\xff\xc3";
    let did = if random.random_ratio(9, 10) { "{\"did\":\"981\"," } else { "{" };
    let mut payload = format!("{did}{}", &object(random, 0)[1..]).into_bytes();
    for _ in 0..random.random_range(0..4) / 2 {
        let at = random.random_range(0..=payload.len());
        match random.random_range(0..5) {
            0 => payload.truncate(at),
            1 if at < payload.len() => drop(payload.remove(at)),
            2 => payload.insert(at, SYNTAX[random.random_range(0..SYNTAX.len())]),
            _ if at < payload.len() => payload[at] = random.random(),
            _ => {}
        }
    }
    payload
}

/// Whether others find that this is a JSON object.
fn is_object(payload: &[u8]) -> bool {
    let text = str::from_utf8(payload).map(|text| text.strip_prefix('\u{feff}').unwrap_or(text));
    text.is_ok_and(|text| {
        serde_json::from_str::<IgnoredAny>(text).is_ok()
            && text.trim_start_matches([' ', '\t', '\n', '\r']).starts_with('{')
    })
}

fn check_chunk(chunk: &Chunk, payloads: &[Vec<u8>], first: usize) {
    assert_eq!(chunk.len(), payloads.len());
    assert_eq!(chunk.rows.num_rows() + chunk.rejects.len(), payloads.len());
    assert_eq!(chunk.rows.num_rows(), chunk.offsets.len());
    assert!(chunk.rejects.is_sorted_by(|a, b| a.offset < b.offset));
    let mut fates: Vec<u64> = chunk.offsets.values().to_vec();
    fates.extend(chunk.rejects.iter().map(|reject| reject.offset));
    fates.sort_unstable();
    assert!(fates.iter().enumerate().all(|(at, offset)| *offset == (first + at) as u64));
    for (at, payload) in payloads.iter().enumerate() {
        let raw = chunk.raw.find((first + at) as u64).expect("kept");
        assert_eq!(raw.payload.as_ref(), Some(payload));
    }
    for reject in &chunk.rejects {
        let payload = &payloads[reject.offset as usize - first];
        let shown = String::from_utf8_lossy(payload);
        // Half a surrogate pair is in the grammar, but is no text.
        let judged = is_object(payload) && !reject.error.contains("surrogate");
        assert_eq!(reject.reason != Reason::Malformed, judged, "{reject:?} {shown}");
    }
    for offset in chunk.offsets.values() {
        let payload = &payloads[*offset as usize - first];
        assert!(is_object(payload), "{}", String::from_utf8_lossy(payload));
    }
}

/// Compares some columns with what `serde_json` reads; it cannot read numbers beyond DOUBLE.
fn check_values(chunk: &Chunk, payloads: &[Vec<u8>]) -> usize {
    let mut compared = 0;
    for (row, offset) in chunk.offsets.values().iter().enumerate() {
        let Ok(expected) = serde_json::from_slice::<Value>(&payloads[*offset as usize]) else {
            continue;
        };
        let found = |column: usize| chunk.rows.column(column);
        let name = found(1).as_string::<i32>();
        match &expected["name"] {
            Value::Null => assert!(name.is_null(row)),
            Value::String(text) => assert_eq!(name.value(row), text),
            Value::Bool(on) => assert_eq!(name.value(row), on.to_string()),
            _ => {}
        }
        for (column, value) in [(2, &expected["float_value"]), (7, &expected["pos"]["lat"])] {
            let doubles = found(column).as_primitive::<Float64Type>();
            match value {
                // Without the feature `float_roundtrip` it may be off in the last digit.
                Value::Number(number) => {
                    let number = number.as_f64().expect("a number");
                    assert!((doubles.value(row) - number).abs() <= number.abs() * 1e-15);
                    compared += 1;
                }
                Value::Null => assert!(doubles.is_null(row)),
                _ => {}
            }
        }
        let tags = found(9).as_string::<i32>();
        let tags = tags.is_valid(row).then(|| serde_json::from_str(tags.value(row)).expect("JSON"));
        assert_eq!(&tags.unwrap_or(Value::Null), &expected["tags"]);
    }
    compared
}

#[test]
fn every_broken_record_is_one_row_or_one_reject_however_it_is_batched() {
    let seed = std::env::var("DECODER_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(981);
    eprintln!("seed {seed} (DECODER_SEED)");
    let mut random = Pcg64Mcg::seed_from_u64(seed);
    let payloads: Vec<_> = (0..RECORDS).map(|_| payload(&mut random)).collect();
    let source = telemetry();

    let mut whole = decoder(&source);
    for (offset, payload) in payloads.iter().enumerate() {
        whole.push(&record(offset as u64, payload));
    }
    let whole = whole.finish();
    check_chunk(&whole, &payloads, 0);
    let (share, compared) = (whole.rows.num_rows() * 100 / RECORDS, check_values(&whole, &payloads));
    eprintln!("{share} % rows, {compared} numbers compared");
    assert!((10..90).contains(&share) && compared > 500, "no good test");

    let mut parts = decoder(&source);
    let (mut rows, mut rejects, mut first) = (Vec::new(), Vec::new(), 0);
    for (offset, payload) in payloads.iter().enumerate() {
        parts.push(&record(offset as u64, payload));
        if random.random_ratio(1, 20) || offset + 1 == RECORDS {
            let chunk = parts.finish();
            check_chunk(&chunk, &payloads[first..=offset], first);
            first = offset + 1;
            rows.push(chunk.rows);
            rejects.extend(chunk.rejects);
        }
    }
    let rows = concat_batches(&source.schema, &rows).expect("one schema");
    assert_eq!(rows, whole.rows);
    assert_eq!(rejects, whole.rejects);
}

/// The first lines of a file, plain or gzip, below the folder of recorded data. `None`, and a loud word, where there is none.
fn recorded(file: &str) -> Option<Vec<String>> {
    let Some(folder) = std::env::var_os("RECORDED_DATA") else {
        eprintln!("SKIPPED: RECORDED_DATA does not name the folder of recorded data");
        return None;
    };
    let path = Path::new(&folder).join(file);
    let file = fs::File::open(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let reader: Box<dyn Read> = match path.extension() {
        Some(end) if end == "gz" => Box::new(MultiGzDecoder::new(file)),
        _ => Box::new(file),
    };
    let lines = BufReader::new(reader).lines().take(RECORDS);
    Some(lines.map(|line| line.expect("a line")).collect())
}

fn decode_lines(source: &Source, lines: &[String]) -> Chunk {
    let mut decoder = decoder(source);
    for (offset, line) in lines.iter().enumerate() {
        decoder.push(&record(offset as u64, line.as_bytes()));
    }
    decoder.finish()
}

#[test]
fn recorded_events_of_the_use_cases_are_all_rows() {
    let columns = vec![
        required("did", ColumnType::Text),
        required("timestamp", ColumnType::Timestamp),
        field("float_value", ColumnType::Double),
        required("int_value", ColumnType::BigInt),
        required("eventTime", ColumnType::Timestamp),
    ];
    for (file, count) in [("usecases/use_case1.input.jsonl", 4), ("usecases/use_case2.input.jsonl", 8)] {
        let Some(lines) = recorded(file) else { return };
        let chunk = decode_lines(&source(columns.clone(), &[]), &lines);
        assert_eq!((chunk.rows.num_rows(), &chunk.rejects), (count, &Vec::new()));
        assert_eq!(chunk.rows.column(1).null_count(), 0);
    }
}

#[test]
fn recorded_events_of_a_fleet_are_all_rows_with_their_nested_fields() {
    let columns = vec![
        required("type", ColumnType::Text),
        required("ev.vehicleId", ColumnType::Text),
        required("ev.ts", ColumnType::Timestamp),
        field("ev.receivedTs", ColumnType::Timestamp),
        field("ev.pos.latlon.lat", ColumnType::Double),
        field("ev.pos", ColumnType::Json),
    ];
    let mut without_arrival = 0;
    for (file, count) in [
        ("tajo_fleet/vehicle1-trip1.jsonl", 865),
        ("tajo_fleet/vehicle1-trip2.jsonl", 2_209),
        ("tajo_fleet/vehicle2-trip1.jsonl", 492),
    ] {
        let Some(lines) = recorded(file) else { return };
        let chunk = decode_lines(&source(columns.clone(), &[]), &lines);
        assert_eq!((chunk.rows.num_rows(), &chunk.rejects), (count, &Vec::new()));
        without_arrival += chunk.rows.column(3).null_count();
        for (at, pos) in chunk.rows.column(5).as_string::<i32>().iter().enumerate() {
            assert_eq!(pos.is_some(), chunk.rows.column(4).is_valid(at), "{}", lines[at]);
        }
    }
    assert_eq!(without_arrival, 5);
}

#[test]
fn recorded_aircraft_have_the_times_and_heights_that_serde_json_reads() {
    let columns = vec![
        required("icao24", ColumnType::Text),
        required("timestamp", ColumnType::Timestamp),
        field("altitude", ColumnType::Double),
        required("onground", ColumnType::Boolean),
    ];
    let Some(lines) = recorded("traffic/quickstart.jsonl.gz") else { return };
    let chunk = decode_lines(&source(columns, &[]), &lines);
    assert_eq!((chunk.rows.num_rows(), &chunk.rejects), (RECORDS, &Vec::new()));
    let times = chunk.rows.column(1).as_primitive::<TimestampNanosecondType>();
    let heights = chunk.rows.column(2).as_primitive::<Float64Type>();
    for (row, line) in lines.iter().enumerate() {
        let event: Value = serde_json::from_str(line).expect("JSON");
        assert_eq!(Some(times.value(row)), event["timestamp"].as_i64().map(|millis| millis * 1_000_000));
        assert_eq!(heights.is_valid(row).then(|| heights.value(row)), event["altitude"].as_f64());
    }
}

//! Bytes to columns, beside `sonic-rs` into structs of the same fields that borrow from the text.
//!
//! `sonic-rs` leaves times as texts and builds nothing; the decoder parses them, keeps the original bytes and makes
//! Arrow columns. *Known order*: every record has the fields of the one before it in the same order, as devices send
//! them. *Any order*: the fields of each record are shuffled, so that no record helps with the next.

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, Throughput};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_pcg::Pcg64Mcg;
use serde::Deserialize;
use tidemill::parse::decoder;
use tidemill::record::{Decode, Record};

use crate::common::{RECORDS, events, partition, plan};

const SOURCE: &str = r#"
CREATE SOURCE telemetry (
    did            TEXT NOT NULL,
    "timestamp"    TEXT,
    name           TEXT NOT NULL,
    value_type     TEXT,
    float_value    DOUBLE,
    string_value   TEXT,
    int_value      BIGINT,
    "eventTime"    TIMESTAMP NOT NULL,
    "receivedTime" TIMESTAMP
) WITH (connector = 'kafka', topic = 'telemetry', format = 'json');
CREATE SINK nowhere AS SELECT * FROM telemetry WITH (connector = 'blackhole');
"#;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(dead_code, reason = "the fields are read into and no further")]
struct Event<'a> {
    did: &'a str,
    timestamp: &'a str,
    name: &'a str,
    #[serde(rename = "value_type")]
    value_type: &'a str,
    #[serde(rename = "float_value")]
    float_value: f64,
    #[serde(rename = "string_value")]
    string_value: &'a str,
    #[serde(rename = "int_value")]
    int_value: i64,
    event_time: &'a str,
    received_time: &'a str,
}

/// Events that also a struct can hold: an integer is never a text.
fn known_order() -> Vec<Vec<u8>> {
    let events = events(RECORDS, 10_000).into_iter();
    let text = |event| String::from_utf8(event).expect("JSON");
    events.map(|event| text(event).replace(r#""int_value": "0""#, r#""int_value": 0"#).into_bytes()).collect()
}

/// The same with the fields of each shuffled.
fn any_order() -> Vec<Vec<u8>> {
    let random = &mut Pcg64Mcg::seed_from_u64(1);
    let shuffled = |event: Vec<u8>| {
        let text = str::from_utf8(&event).expect("JSON");
        let mut members: Vec<&str> = text[1..text.len() - 1].split(", ").collect();
        members.shuffle(random);
        format!("{{{}}}", members.join(", ")).into_bytes()
    };
    known_order().into_iter().map(shuffled).collect()
}

fn decode(decoder: &mut dyn Decode, events: &[Vec<u8>]) {
    for (offset, event) in events.iter().enumerate() {
        decoder.push(&Record::of(offset as u64, event));
    }
    let chunk = decoder.finish();
    assert_eq!(chunk.rows.num_rows(), events.len());
    black_box(chunk);
}

pub fn all(criterion: &mut Criterion) {
    for (name, events) in [("known order", known_order as fn() -> _), ("any order", any_order)] {
        let mut group = criterion.benchmark_group(format!("decoder, {name}"));
        let bytes = events().iter().map(Vec::len).sum::<usize>();
        group.throughput(Throughput::Bytes(bytes as u64));
        group.bench_function("tidemill", |bencher| {
            let (source, events) = (Arc::new(plan(SOURCE).sources[0].clone()), events());
            let mut decoder = decoder(source, partition());
            bencher.iter(|| decode(&mut *decoder, &events));
        });
        group.bench_function("sonic-rs", |bencher| {
            let events = events();
            bencher.iter(|| {
                for event in &events {
                    black_box(sonic_rs::from_slice::<Event<'_>>(event).expect("an event"));
                }
            });
        });
        group.finish();
    }
}

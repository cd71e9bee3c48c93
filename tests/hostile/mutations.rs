//! Hundreds of thousands of broken messages: no panic, no stall, each is one row or one dead letter.

use std::collections::BTreeMap;

use rand::SeedableRng;
use rand_pcg::Pcg64Mcg;
use tidemill::probe::{Counts, Probe, Written};

use super::{Dataflow, mutate};

/// Of each of four tests.
const MESSAGES: usize = 60_000;
/// Messages that share a chunk.
const TOGETHER: usize = 500;
/// Messages of a run of the binary.
const IN_A_RUN: usize = 30_000;

fn random(test: u64) -> Pcg64Mcg {
    let seed: u64 = std::env::var("DECODER_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(981);
    eprintln!("seed {seed} (DECODER_SEED)");
    Pcg64Mcg::seed_from_u64(seed.wrapping_mul(16).wrapping_add(test))
}

/// Decodes broken messages, most of them many at a time.
fn decode(test: u64, written: Written) {
    let mut random = random(test);
    let (mut counts, mut left) = (Counts::default(), MESSAGES);
    while left > 0 {
        // Few of them are also decoded one by one and compared.
        let length = if left % 20 == 0 { 10 } else { TOGETHER }.min(left);
        let mut messages: Vec<_> = (0..length).map(|_| mutate::message(&mut random, written)).collect();
        if written == Written::Semicolons {
            messages.insert(0, mutate::header(&mut random));
        }
        let found = Probe::shared().messages(written, &messages);
        assert_eq!(found.rows + found.rejects, length);
        counts.rows += found.rows;
        counts.rejects += found.rejects;
        left -= length;
    }
    let share = counts.rows * 100 / MESSAGES;
    eprintln!("{written:?}: {counts:?}");
    assert!((10..90).contains(&share), "no good test: {share} % are rows");
}

#[test]
fn broken_messages_of_json_have_one_fate_each() {
    decode(1, Written::Json);
}

#[test]
fn more_broken_messages_of_json_have_one_fate_each() {
    decode(2, Written::Json);
}

#[test]
fn broken_messages_of_csv_have_one_fate_each() {
    decode(3, Written::Csv);
}

#[test]
fn broken_messages_of_csv_behind_a_header_have_one_fate_each() {
    decode(4, Written::Semicolons);
}

#[test]
fn broken_bytes_are_cut_into_records_and_decoded() {
    let mut random = random(5);
    for _ in 0..1_500 {
        let written =
            [Written::Json, Written::Csv, Written::Semicolons][rand::Rng::random_range(&mut random, 0..3)];
        let parts: Vec<_> = (0..4).map(|_| mutate::message(&mut random, written)).collect();
        Probe::shared().bytes(&parts.join(&b'\n'));
    }
}

/// Columns of a run; the offset tells which record a row was.
const COLUMNS: &str =
    "did TEXT NOT NULL, name TEXT, d DOUBLE, n BIGINT DEFAULT 7, i INT, b BOOLEAN, t TIMESTAMP, j JSON, w DATE,
    CHECK (n IS NULL OR 100 / n < 1000), o BIGINT METADATA FROM 'offset', f TEXT METADATA FROM 'topic'";

/// A whole run over broken files: rows and letters have the offsets of all records, each once.
fn runs(test: u64, written: Written, options: &str) {
    let mut random = random(test);
    let dataflow = Dataflow::new(COLUMNS, &format!("{options}, max_record_bytes = 4096"));
    let extension = if written == Written::Json { "jsonl" } else { "csv" };
    for file in 0..3 {
        let mut parts = Vec::new();
        if written == Written::Semicolons {
            parts.push(b"did;name;d;n;i;b;t;j;w".to_vec());
        }
        parts.extend((0..IN_A_RUN / 3).map(|_| mutate::message(&mut random, written)));
        dataflow.file(&format!("{file}.{extension}"), parts.join(&b'\n'));
    }
    let ended = dataflow.run();
    ended.adds_up();
    let mut fates: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for row in &ended.rows {
        // Not by a parser: numbers beyond DOUBLE are right inside of JSON.
        let (rest, file) = row.rsplit_once(",\"f\":").expect("a file");
        let offset = rest.rsplit_once(",\"o\":").and_then(|(_, offset)| offset.parse().ok());
        let file = file.trim_matches(['"', '}']).to_owned();
        fates.entry(file).or_default().push(offset.expect("an offset"));
    }
    for letter in &ended.letters {
        fates.entry(letter.file.clone()).or_default().push(letter.offset);
    }
    for (file, mut offsets) in fates {
        offsets.sort_unstable();
        assert!(offsets.iter().copied().eq(0..offsets.len() as u64), "{file}: each record once");
    }
    eprintln!("{written:?}: {} rows, {} letters", ended.rows.len(), ended.letters.len());
    assert!(ended.rows.len() > IN_A_RUN / 20 && ended.letters.len() > IN_A_RUN / 20, "no good test");
}

#[test]
fn a_run_over_broken_json_accounts_for_every_line() {
    runs(6, Written::Json, "format = 'json'");
}

#[test]
fn a_run_over_broken_csv_accounts_for_every_record() {
    runs(7, Written::Csv, "format = 'csv', csv.header = 'false'");
}

#[test]
fn a_run_over_broken_csv_with_headers_accounts_for_every_record() {
    let options =
        "format = 'csv', csv.field-delimiter = ';', csv.quote-character = '''', csv.null-literal = 'NULL'";
    runs(8, Written::Semicolons, options);
}

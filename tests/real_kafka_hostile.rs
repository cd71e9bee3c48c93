//! Messages that were not meant well, through a real broker into real sinks: each becomes one row of each sink or one
//! dead letter, which can be read, and nothing else happens.

#[expect(dead_code, reason = "messages have no header")]
#[path = "hostile/mutate.rs"]
mod mutate;
#[path = "support/process.rs"]
mod process;
#[expect(dead_code, reason = "all runs end by themselves")]
#[path = "support/scene.rs"]
mod scene;
#[expect(dead_code, reason = "servers are not stopped here")]
#[path = "support/services.rs"]
mod services;

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64Mcg;
use scene::{Record, Scene};
use serde_json::Value;
use tidemill::probe::Written;

const PARTITIONS: i32 = 3;
/// Messages that are broken at random.
const MUTATED: usize = 12_000;
const MIB: usize = 1 << 20;

/// Partition and offset of a record.
type Place = (i64, i64);

/// Messages with a name for what is wrong with them, or strange.
fn strange() -> Vec<Record> {
    let open = |count: usize| "[".repeat(count);
    let nested = |count: usize| format!("{{\"did\":\"deep\",\"j\":{}{}}}", open(count), "]".repeat(count));
    let long = |bytes: usize| format!("{{\"did\":\"long\",\"name\":\"{}\"}}", noise(bytes));
    let texts = [
        nested(90),
        nested(127),
        nested(128),
        format!("{{\"did\":1,\"x\":{}", open(MIB)),
        long(5_000_000),
        long(7_000_000),
        format!("{{\"did\":\"digits\",\"n\":{}}}", "9".repeat(100_000)),
        format!("{{\"did\":\"many\",{}\"n\":1}}", "\"n\":0,".repeat(60_000)),
        "\u{feff}{\"did\":\"bom\",\"n\":1}".to_owned(),
        "{\"did\":\"crlf\"}\r\n".to_owned(),
        "{\"did\":\"two\"}\r\n{\"did\":\"lines\"}".to_owned(),
        "{\"did\":\"nul\\u0000\",\"name\":\"\\u0000\",\"j\":{\"a\\u0000b\":1}}".to_owned(),
        "{\"did\":\"dollar\",\"j\":{\"$where\":1,\"a.b\":2,\"\":3,\"a\":4,\"a\":5}}".to_owned(),
        "{\"did\":\"huge\",\"j\":[1e400,-1e99999,123456789012345678901234567890],\"d\":1e308}".to_owned(),
        "{\"did\":\"nan\",\"d\":NaN}".to_owned(),
        "{\"did\":\"beyond\",\"n\":9223372036854775808}".to_owned(),
        "{\"did\":\"least\",\"n\":-9223372036854775808,\"i\":-2147483648,\"d\":-1.7976931348623157e308}"
            .to_owned(),
        "{\"did\":\"first\",\"t\":\"1677-09-21T00:12:43.145224193Z\"}".to_owned(),
        "{\"did\":\"last\",\"t\":\"2262-04-11T23:47:16.854775807Z\"}".to_owned(),
        String::new(),
        " \r\n\t".to_owned(),
        "\0".to_owned(),
    ];
    let mut records: Vec<Record> = Vec::new();
    for (number, text) in texts.into_iter().enumerate() {
        records.push((number as i32 % PARTITIONS, Some(b"key".to_vec()), Some(text.into_bytes())));
    }
    let bytes: [&[u8]; 4] = [
        b"{\"did\":\"\xff\"}",
        b"\xfe\xff\x00{",
        b"{\"did\":\"\xed\xa0\x80\"}",
        b"\x1f\x8b\x08\x00\x00\x00\x00\x00",
    ];
    records.extend(bytes.map(|bytes| (0, Some(b"\xff\xfe".to_vec()), Some(bytes.to_vec()))));
    // A message without payload, with and without key, and a long key that is no text.
    records.extend([(1, Some(b"gone".to_vec()), None), (1, None, None)]);
    records.push((2, Some(vec![0xff; 100_000]), Some(b"{\"did\"".to_vec())));
    records
}

/// Text that does not get smaller by compression.
fn noise(bytes: usize) -> String {
    let words = (0..bytes / 16).map(|word| format!("{:016x}", RandomState::new().hash_one(word)));
    words.collect()
}

fn seed() -> u64 {
    let given = std::env::var("DECODER_SEED").ok().map(|seed| seed.parse().expect("a number"));
    given.unwrap_or(981)
}

/// Strange and broken messages by turns.
fn messages(seed: u64) -> Vec<Record> {
    let mut random = Pcg64Mcg::seed_from_u64(seed);
    let mut records = strange();
    for number in 0..MUTATED {
        let payload = mutate::message(&mut random, Written::Json);
        let key = (number % 3 > 0).then(|| mutate::message(&mut random, Written::Csv));
        let at = random.random_range(0..=records.len());
        records.insert(at, (number as i32 % PARTITIONS, key, Some(payload)));
    }
    records
}

const COLUMNS: &str =
    "did TEXT NOT NULL, name TEXT, d DOUBLE, n BIGINT DEFAULT 7, i INT, b BOOLEAN, t TIMESTAMP,
    w DATE, lat DOUBLE PATH 'pos.lat', j JSON, CHECK (n IS NULL OR n <> 5),
    p INT METADATA FROM 'partition', o BIGINT METADATA FROM 'offset',
    WATERMARK FOR t AS t - INTERVAL '10 seconds'";

/// Where each message of a topic is, and what it was.
fn places(records: &[Record]) -> BTreeMap<Place, &Record> {
    let mut next = BTreeMap::<i64, i64>::new();
    let place = |record: &Record| {
        let offset = next.entry(record.0.into()).or_default();
        *offset += 1;
        (record.0.into(), *offset - 1)
    };
    let places: Vec<Place> = records.iter().map(place).collect();
    places.into_iter().zip(records).collect()
}

/// The letters of a topic, each of which has to be JSON and to hold the bytes of its record.
fn letters(scene: &Scene, topic: &str, records: &BTreeMap<Place, &Record>) -> Vec<(Option<Place>, Value)> {
    let read = scene.services.consume(&format!("{topic}.dlq"));
    let letters =
        read.into_iter().map(|(_, letter)| serde_json::from_str(&letter).expect("a letter is JSON"));
    let placed = letters.map(|letter: Value| {
        let place = letter["original_partition"].as_i64().zip(letter["original_offset"].as_i64());
        if let Some(place) = place {
            let (_, key, payload) = records[&place];
            is_part(&letter, "original_key", key.as_deref());
            is_part(&letter, "original_value", payload.as_deref());
            let size = payload.as_ref().map_or(0, Vec::len) as u64;
            assert_eq!(letter["original_size"].as_u64().unwrap_or_default(), size);
        }
        (place, letter)
    });
    placed.collect()
}

/// Whether a field of a letter is the beginning of what was sent.
fn is_part(letter: &Value, field: &str, sent: Option<&[u8]>) {
    let shown = letter[field].as_str().map(|text| match letter["original_encoding"].as_str() {
        Some("base64") => BASE64_STANDARD.decode(text).expect("base64"),
        _ => text.as_bytes().to_vec(),
    });
    let (shown, sent) = (shown.unwrap_or_default(), sent.unwrap_or_default());
    assert!(sent.starts_with(&shown), "{field} of {:?}", letter["error"]);
    assert!(shown.len() == sent.len() || shown.len() > 1_000, "{field} is cut to {} bytes", shown.len());
}

/// Partition and offset at the end of a row: not by a parser, since numbers beyond DOUBLE are right inside of JSON.
fn place_of(row: &str) -> Place {
    let (rest, offset) = row.strip_suffix('}').and_then(|row| row.rsplit_once(",\"o\":")).expect("an offset");
    let (_, partition) = rest.rsplit_once(",\"p\":").expect("a partition");
    (partition.parse().expect("a number"), offset.parse().expect("a number"))
}

fn hostile_messages(workers: usize, processes: usize) {
    let seed = seed();
    println!("seed {seed} (DECODER_SEED)");
    let mut scene = Scene::new("hostile");
    let source = scene.create("s", PARTITIONS, 8 * MIB);
    let target = scene.create("rows", 2, MIB);
    scene.services.delete_later(&format!("{source}.dlq"));
    scene.dataflow(&format!(
        "CREATE SOURCE s ({COLUMNS})
         WITH (connector = 'kafka', topic = '{source}', max_record_bytes = '6 MiB');
         CREATE SINK documents FROM s WITH (connector = 'mongodb', collection = 'documents');
         CREATE SINK rows FROM s WITH (connector = 'kafka', topic = '{target}', key = 'did');
         CREATE SINK dids AS SELECT did, count(*) AS n, max(o) AS o FROM s GROUP BY did
         WITH (connector = 'mongodb', collection = 'dids', mode = 'upsert');
         CREATE SINK days AS SELECT window_start, count(*) AS n FROM s GROUP BY tumble(t, INTERVAL '1 day')
         WITH (connector = 'mongodb', collection = 'days', key = 'window_start');"
    ));
    let sent = messages(seed);
    scene.produce(&source, &sent);
    let (ledger, log) = scene.run_to_the_end(workers, processes, &[]);
    assert_eq!(ledger["read"]["s"], sent.len(), "{ledger:#}");
    let records = places(&sent);

    let mut fates: BTreeMap<(&str, Place), usize> = BTreeMap::new();
    let mut count = |sink, place| *fates.entry((sink, place)).or_default() += 1;
    let letters = letters(&scene, &source, &records);
    let mut refused = BTreeMap::<&str, usize>::new();
    for (place, letter) in &letters {
        let (stage, place) = (letter["stage"].as_str().expect("a stage"), place.expect("a place"));
        *refused.entry(letter["error_type"].as_str().expect("a reason")).or_default() += 1;
        match stage {
            "s" => ["documents", "rows"].into_iter().for_each(|sink| count(sink, place)),
            "documents" | "rows" => count(stage, place),
            // A row without time has no window.
            other => assert!(other.starts_with("days"), "{letter:#}"),
        }
    }
    for document in scene.services.documents("documents") {
        let number = |name: &str| {
            document.get(name).and_then(|value| value.as_i64()).or(document.get_i32(name).ok().map(i64::from))
        };
        count("documents", (number("p").expect("a partition"), number("o").expect("an offset")));
    }
    let rows = scene.services.consume(&target);
    rows.iter().for_each(|(_, row)| count("rows", place_of(row)));
    for sink in ["documents", "rows"] {
        for (place, record) in &records {
            let fate = fates.get(&(sink, *place)).copied().unwrap_or_default();
            let text = String::from_utf8_lossy(record.2.as_deref().unwrap_or_default())
                .chars()
                .take(200)
                .collect::<String>();
            assert_eq!(fate, 1, "{place:?} in {sink}: {text}\n{log}");
        }
    }
    assert_eq!(fates.len(), 2 * sent.len(), "nothing that was not sent");
    println!("{} rows, letters: {refused:?}", rows.len());
    let expected = ["malformed", "not_null", "sink_refused", "too_large", "wrong_type"];
    assert!(expected.iter().all(|reason| refused.contains_key(reason)), "{refused:?}");
    assert!(rows.len() > sent.len() / 10 && letters.len() > sent.len() / 10, "no good test");
}

#[test]
fn real_hostile_messages_have_one_fate_each_on_two_workers() {
    hostile_messages(2, 1);
}

#[test]
fn real_hostile_messages_have_one_fate_each_in_two_processes() {
    hostile_messages(1, 2);
}

#[test]
fn real_letters_that_their_topic_refuses_are_in_a_file_and_the_log_says_so() {
    let mut scene = Scene::new("refused");
    let source = scene.create("s", 2, 8 * MIB);
    // A key is not cut, as a value is; noise, since brokers judge a record by its size after compression.
    let letters = scene.create("s.dlq", 1, 2_000);
    scene.dataflow(&format!(
        "CREATE SOURCE s (a BIGINT NOT NULL, o BIGINT METADATA FROM 'offset')
         WITH (connector = 'kafka', topic = '{source}');
         CREATE SINK documents FROM s WITH (connector = 'mongodb', collection = 'documents');"
    ));
    let sent: Vec<Record> = (0..600)
        .map(|number: i32| {
            let long_key = noise(if number % 5 == 0 { 8_000 } else { 16 });
            let long_value = noise(if number % 7 == 0 { 50_000 } else { 16 });
            let payload = match number % 3 {
                0 => format!("{{\"a\":{number}}}"),
                1 => format!("{{\"a\":\"{long_value}\"}}"),
                _ => long_value,
            };
            (number % 2, Some(long_key.into_bytes()), Some(payload.into_bytes()))
        })
        .collect();
    scene.produce(&source, &sent);
    let (ledger, log) = scene.run_to_the_end(1, 2, &[]);
    assert_eq!(ledger["read"]["s"], sent.len(), "{ledger:#}");
    assert!(log.contains("a dead letter was refused by its topic and is kept in a file"), "{log}");

    let place = |letter: &Value| (letter["original_partition"].as_i64(), letter["original_offset"].as_i64());
    let parsed = |text: &str| serde_json::from_str::<Value>(text).expect("a letter is JSON");
    let read = scene.services.consume(&letters);
    let in_topic: Vec<Value> = read.iter().map(|(_, letter)| parsed(letter)).collect();
    let file = scene.state(0).join("dead_letters/s.dlq.jsonl");
    assert!(log.contains(&file.display().to_string()), "the log names the file:\n{log}");
    let text = std::fs::read_to_string(&file).expect("a file");
    let in_file: Vec<Value> = text.lines().map(parsed).collect();
    let expected = |long: bool| {
        let all = (0..600i64).filter(move |number| number % 3 > 0 && (number % 5 == 0) == long);
        let mut places: Vec<_> = all.map(|number| (Some(number % 2), Some(number / 2))).collect();
        places.sort_unstable();
        places
    };
    let found = |letters: &[Value]| {
        let mut places: Vec<_> = letters.iter().map(place).collect();
        places.sort_unstable();
        places
    };
    assert_eq!((found(&in_topic), found(&in_file)), (expected(false), expected(true)));
    let keys = in_file.iter().map(|letter| letter["original_key"].as_str().map(str::len));
    assert!(keys.eq(std::iter::repeat_n(Some(8_000), in_file.len())), "keys are whole");
    assert_eq!(scene.services.documents("documents").len(), 200);
}

/// The rows of a file of CSV without its header.
fn lines(text: &str) -> Vec<String> {
    let mut rows: Vec<String> =
        text.split('\n').skip(1).filter(|row| !row.is_empty()).map(str::to_owned).collect();
    rows.sort();
    rows
}

/// Records of CSV: good ones, then broken ones.
const CSV: [&[u8]; 14] = [
    "1;Zürich;47.4;2025-10-27T10:00:00Z".as_bytes(),
    b"2;\"a; b\";1e1;1761559200000\r\n",
    b"3;\"two\r\nlines, and \"\"quotes\"\"\";NULL;NULL",
    b"4;;\" 5 \";",
    b"5;\"NULL\";NULL;\"2025-10-27\"\n",
    b"6;NULL;;",
    "\u{feff}7;bom;1;".as_bytes(),
    b"8;too far;91;",
    b"9;too few",
    b"10;too;many;;fields",
    b"11;\"not closed;1;",
    b"12;\"closed\"x;1;",
    b"x;no number;1;",
    b"13;\xff;1;",
];
const CSV_ROWS: [&str; 8] = [
    r#"{"id":1,"name":"Zürich","lat":47.4,"at":"2025-10-27T10:00:00.000000Z"}"#,
    r#"{"id":14,"name":"last","lat":1.0,"at":null}"#,
    r#"{"id":2,"name":"a; b","lat":10.0,"at":"2025-10-27T10:00:00.000000Z"}"#,
    r#"{"id":3,"name":"two\r\nlines, and \"quotes\"","lat":null,"at":null}"#,
    r#"{"id":4,"name":"","lat":5.0,"at":null}"#,
    r#"{"id":5,"name":"NULL","lat":null,"at":"2025-10-27T00:00:00.000000Z"}"#,
    r#"{"id":6,"name":null,"lat":null,"at":null}"#,
    r#"{"id":7,"name":"bom","lat":1.0,"at":null}"#,
];
const CSV_LINES: [&str; 7] = [
    "1\tZürich\t47.4",
    "14\tlast\t1.0",
    "2\ta; b\t10.0",
    "4\t\"\"\t5.0",
    "5\tNULL\t",
    "6\t\t",
    "7\tbom\t1.0",
];
/// Partition, offset and reason of letters.
const CSV_LETTERS: [(i64, i64, &str); 9] = [
    (0, 7, "check"),
    (0, 8, "malformed"),
    (0, 9, "malformed"),
    (0, 10, "malformed"),
    (0, 11, "malformed"),
    (0, 12, "wrong_type"),
    (0, 13, "malformed"),
    (1, 0, "malformed"),
    (1, 1, "malformed"),
];

#[test]
fn real_records_of_csv_go_through_a_broker() {
    let mut scene = Scene::new("csv");
    let source = scene.create("s", 2, MIB);
    let target = scene.create("rows", 1, MIB);
    scene.services.delete_later(&format!("{source}.dlq"));
    scene.dataflow(&format!(
        "CREATE SOURCE s (id BIGINT NOT NULL, name TEXT, lat DOUBLE CHECK (lat < 90), at TIMESTAMP,
             o BIGINT METADATA FROM 'offset')
         WITH (connector = 'kafka', topic = '{source}', format = 'csv', csv.field-delimiter = ';',
             csv.null-literal = 'NULL');
         CREATE SINK documents FROM s WITH (connector = 'mongodb', collection = 'documents', key = 'id');
         CREATE SINK rows AS SELECT id, name, lat, at FROM s WITH (connector = 'kafka', topic = '{target}');
         CREATE SINK file AS SELECT id, name, lat FROM s
         WITH (connector = 'file', path = 'file.csv', format = 'csv', csv.field-delimiter = '\\t');"
    ));
    scene.produce(&source, &CSV.map(|bytes| (0, None, Some(bytes.to_vec()))));
    let more = [(1, None, Some(Vec::new())), (1, None, None), (1, None, Some(b"14;last;1;".to_vec()))];
    scene.produce(&source, &more);
    let (ledger, _) = scene.run_to_the_end(2, 1, &[]);
    assert_eq!(ledger["read"]["s"], CSV.len() + more.len(), "{ledger:#}");

    let mut rows: Vec<String> = scene.services.consume(&target).into_iter().map(|(_, row)| row).collect();
    rows.sort();
    assert_eq!(rows, CSV_ROWS);
    let documents = scene.services.documents("documents");
    let mut ids: Vec<i64> =
        documents.iter().map(|document| document.get_i64("_id").expect("an id")).collect();
    ids.sort_unstable();
    assert_eq!(ids, [1, 2, 3, 4, 5, 6, 7, 14]);
    let file = scene.file("file.csv");
    let two_lines = "3\t\"two\r\nlines, and \"\"quotes\"\"\"\t\n";
    assert!(file.starts_with("id\tname\tlat\n") && file.contains(two_lines), "{file}");
    assert_eq!(lines(&file.replace(two_lines, "")), CSV_LINES);

    let letters = scene.services.consume(&format!("{source}.dlq"));
    let mut letters: Vec<_> = letters
        .iter()
        .map(|(_, letter)| {
            let letter: Value = serde_json::from_str(letter).expect("JSON");
            let number = |field: &str| letter[field].as_i64().expect("a number");
            let reason = letter["error_type"].as_str().expect("a reason").to_owned();
            (number("original_partition"), number("original_offset"), reason)
        })
        .collect();
    letters.sort();
    assert_eq!(
        letters,
        CSV_LETTERS.map(|(partition, offset, reason)| (partition, offset, reason.to_owned()))
    );
}

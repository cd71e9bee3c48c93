//! Records that are broken, or stranger than one would think.

use tidemill::topic_log::{TopicWriter, topic_directory};

use super::Dataflow;

/// Lines of one file through a source with these columns.
#[track_caller]
fn lines(columns: &str, options: &str, lines: &[&[u8]], rows: &[&str], letters: &[(u64, &str, &str)]) {
    let dataflow = Dataflow::new(columns, options);
    let ended = dataflow.file("a.jsonl", lines.join(&b'\n')).run();
    ended.gives(rows, letters);
    for letter in &ended.letters {
        // A letter has the bytes of its record.
        let line = lines.iter().filter(|line| !line.trim_ascii().is_empty()).nth(letter.offset as usize);
        let line = line.map(|line| line.strip_suffix(b"\r").unwrap_or(line));
        assert_eq!(letter.size, line.map(|line| line.len() as u64));
        let value = letter.value.as_deref().expect("a value");
        assert!(line.is_some_and(|line| line.starts_with(value)), "{letter:?}");
    }
}

#[test]
fn deep_nesting() {
    let open = |count: usize| "[".repeat(count);
    let legal = format!("{{\"a\":1,\"x\":{}{}}}", open(127), "]".repeat(127));
    let too_deep = format!("{{\"a\":2,\"x\":{}{}}}", open(128), "]".repeat(128));
    let million = format!("{{\"a\":3,\"x\":{}", open(1_000_000));
    let objects = format!("{{\"a\":4,\"x\":{}", "{\"x\":".repeat(200_000));
    lines(
        "a BIGINT, x JSON, y BIGINT PATH 'x.x.x'",
        "max_record_bytes = '2 MiB'",
        &[
            legal.as_bytes(),
            too_deep.as_bytes(),
            million.as_bytes(),
            objects.as_bytes(),
            open(1_000_000).as_bytes(),
        ],
        &[&format!("{{\"a\":1,\"x\":{}{},\"y\":null}}", open(127), "]".repeat(127))],
        &[
            (1, "malformed", "nested too deeply at byte 138"),
            (2, "malformed", "nested too deeply at byte 138"),
            (3, "malformed", "nested too deeply at byte 646"),
            (4, "malformed", "not a JSON object at byte 0"),
        ],
    );
}

#[test]
fn a_line_of_5_mb() {
    let line = format!("{{\"a\":1,\"b\":\"{}\"}}", "é".repeat(2_500_000));
    let dataflow = Dataflow::new("a BIGINT", "");
    let ended = dataflow.file("a.jsonl", format!("{{\"a\":0}}\r\n{line}\r\n{{\"a\":2}}")).run();
    let size = line.len();
    let error = format!("{size} bytes are more than max_record_bytes = 1048576");
    ended.gives(&["{\"a\":0}", "{\"a\":2}"], &[(1, "too_large", &error)]);
    assert_eq!(ended.letters[0].size, Some(size as u64));
    let value = ended.letters[0].value.as_deref().expect("a value");
    assert!(line.as_bytes().starts_with(value) && value.len() + 4 > 256 << 10, "{}", value.len());

    let dataflow = Dataflow::new("a BIGINT, n BIGINT DEFAULT 7", "max_record_bytes = '8 MiB'");
    dataflow.file("a.jsonl", &line).run().gives(&["{\"a\":1,\"n\":7}"], &[]);
    let dataflow = Dataflow::new("a BIGINT, b TEXT", "format = 'csv'");
    let ended = dataflow.file("a.csv", format!("a,b\n1,\"{}\n\"\"\"\n2,x\n", "y".repeat(5_000_000))).run();
    let error = "5000007 bytes are more than max_record_bytes = 1048576";
    ended.gives(&["{\"a\":2,\"b\":\"x\"}"], &[(0, "too_large", error)]);
}

#[test]
fn invalid_utf8_in_keys_values_and_outside() {
    lines(
        "a BIGINT, b TEXT",
        "",
        &[
            b"{\"a\":1,\"b\":\"\xff\"}",
            b"{\"a\":2,\"\xc3\x28\":1}",
            b"{\"a\":3} \x80",
            b"\xfe{\"a\":4}",
            b"{\"a\":5,\"b\":\"\xed\xa0\x80\"}",
            b"{\"a\":6,\"b\":\"\xf0\x9f\x9a\x97\"}",
            b"{\"a\":7,\"skipped\":\"\xc0\xaf\"}",
        ],
        &["{\"a\":6,\"b\":\"\u{1f697}\"}"],
        &[
            (0, "malformed", "not UTF-8 at byte 12"),
            (1, "malformed", "not UTF-8 at byte 8"),
            (2, "malformed", "not UTF-8 at byte 8"),
            (3, "malformed", "not UTF-8 at byte 0"),
            (4, "malformed", "not UTF-8 at byte 12"),
            (6, "malformed", "not UTF-8 at byte 18"),
        ],
    );
}

#[test]
fn nan_infinity_and_numbers_beyond_their_types() {
    let long = format!("{{\"n\":{}}}", "9".repeat(100_000));
    let precise = format!("{{\"n\":7.{}}}", "0".repeat(100_000));
    let shown = format!("field \"n\": {}... is not a BIGINT", "9".repeat(60));
    lines(
        "n BIGINT, d DOUBLE, i INT, t TEXT",
        "",
        &[
            br#"{"d":NaN}"#,
            br#"{"d":"NaN"}"#,
            br#"{"d":-Infinity}"#,
            br#"{"d":"Infinity"}"#,
            br#"{"d":1e400}"#,
            br#"{"d":"-1e400"}"#,
            br#"{"d":1e-400,"n":9223372036854775807,"i":-2147483648}"#,
            br#"{"d":1.7976931348623157e308,"n":-9223372036854775808,"i":2147483647}"#,
            br#"{"n":9223372036854775808}"#,
            br#"{"n":-9223372036854775809}"#,
            br#"{"i":2147483648}"#,
            br#"{"n":1e19}"#,
            br#"{"n":1e18,"d":18446744073709551616,"t":123456789012345678901234567890}"#,
            br#"{"skipped":1e99999,"n":1}"#,
            br#"{"n":1.5}"#,
            br#"{"n":0x10}"#,
            br#"{"n":01}"#,
            br#"{"n":1e999999999999999999999}"#,
            long.as_bytes(),
            precise.as_bytes(),
        ],
        &[
            "{\"n\":9223372036854775807,\"d\":0.0,\"i\":-2147483648,\"t\":null}",
            "{\"n\":-9223372036854775808,\"d\":1.7976931348623157e+308,\"i\":2147483647,\"t\":null}",
            "{\"n\":1000000000000000000,\"d\":1.8446744073709552e+19,\"i\":null,\"t\":\"123456789012345678901234567890\"}",
            "{\"n\":1,\"d\":null,\"i\":null,\"t\":null}",
            "{\"n\":7,\"d\":null,\"i\":null,\"t\":null}",
        ],
        &[
            (0, "malformed", "expected a value at byte 5"),
            (1, "wrong_type", "field \"d\": \"NaN\" is not a DOUBLE"),
            (2, "malformed", "expected a digit at byte 6"),
            (3, "wrong_type", "field \"d\": \"Infinity\" is not a DOUBLE"),
            (4, "wrong_type", "field \"d\": 1e400 is not a DOUBLE"),
            (5, "wrong_type", "field \"d\": \"-1e400\" is not a DOUBLE"),
            (8, "wrong_type", "field \"n\": 9223372036854775808 is not a BIGINT"),
            (9, "wrong_type", "field \"n\": -9223372036854775809 is not a BIGINT"),
            (10, "wrong_type", "field \"i\": 2147483648 is not an INT"),
            (11, "wrong_type", "field \"n\": 1e19 is not a BIGINT"),
            (14, "wrong_type", "field \"n\": 1.5 is not a BIGINT"),
            (15, "malformed", "expected ',' or '}' at byte 6"),
            (16, "malformed", "expected ',' or '}' at byte 6"),
            (17, "wrong_type", "field \"n\": 1e999999999999999999999 is not a BIGINT"),
            (18, "wrong_type", &shown),
        ],
    );
}

#[test]
fn duplicate_keys_the_last_one_counts_also_of_very_many() {
    let many: String = (0..60_000).map(|n| format!("\"a\":{n},\"pos\":{{\"x\":{n}}},")).collect();
    let many = format!("{{{many}\"b\":1}}");
    let keys: String = (0..60_000).map(|n| format!("\"k{n}\":{n},")).collect();
    let keys = format!("{{{keys}\"b\":2}}");
    let long = format!("{{\"{}\":1,\"b\":3}}", "\\u0061".repeat(300_000));
    lines(
        "a BIGINT, b BIGINT, x BIGINT PATH 'pos.x'",
        "max_record_bytes = '4 MiB'",
        &[
            br#"{"a":"wrong","a":1,"\u0061":2,"pos":{"x":1},"pos":{}}"#,
            br#"{"a":1,"a":"wrong"}"#,
            many.as_bytes(),
            keys.as_bytes(),
            long.as_bytes(),
        ],
        &[
            "{\"a\":2,\"b\":null,\"x\":null}",
            "{\"a\":59999,\"b\":1,\"x\":59999}",
            "{\"a\":null,\"b\":2,\"x\":null}",
            "{\"a\":null,\"b\":3,\"x\":null}",
        ],
        &[(1, "wrong_type", "field \"a\": \"wrong\" is not a BIGINT")],
    );
}

#[test]
fn byte_order_marks_line_ends_and_blank_lines() {
    let dataflow =
        Dataflow::new("a BIGINT, p JSON METADATA FROM 'payload', o BIGINT METADATA FROM 'offset'", "");
    dataflow.file("a.jsonl", "\u{feff}{\"a\":1}\r\n\r\n \t \n\n{\"a\":2}\n\u{feff}{\"a\":3}\r\n{\"a\":\u{feff}4}\n{\"a\":5}\r{\"a\":6}\n\u{feff}\n{\"a\":7}");
    dataflow.run().gives(
        &[
            "{\"a\":1,\"p\":{\"a\":1},\"o\":0}",
            "{\"a\":2,\"p\":{\"a\":2},\"o\":1}",
            "{\"a\":3,\"p\":{\"a\":3},\"o\":2}",
            "{\"a\":7,\"p\":{\"a\":7},\"o\":6}",
        ],
        &[
            (3, "malformed", "expected a value at byte 5"),
            (4, "malformed", "something follows the end of the object at byte 8"),
            (5, "malformed", "empty at byte 0"),
        ],
    );
}

#[test]
fn escapes_lone_surrogates_and_nul_bytes() {
    lines(
        "a TEXT, j JSON",
        "",
        &[
            br#"{"a":"\ud83d"}"#,
            br#"{"a":"\ude97\ud83d"}"#,
            br#"{"\ud83d":1}"#,
            br#"{"skipped":"\ud83dx"}"#,
            br#"{"a":"\ud83d\ude97"}"#,
            br#"{"a":"\u0000","j":"\u0000"}"#,
            b"{\"a\":\"\0\"}",
            b"{\"a\":1}\0",
            b"\0",
            b"{\"\0\":1}",
            br#"{"a":"\x41"}"#,
            br#"{"a":"\u00g0"}"#,
            b"{\"a\":\"tab\there\"}",
        ],
        &["{\"a\":\"\u{1f697}\",\"j\":null}", "{\"a\":\"\\u0000\",\"j\":\"\\u0000\"}"],
        &[
            (0, "malformed", "half of a surrogate pair at byte 6"),
            (1, "malformed", "half of a surrogate pair at byte 6"),
            (2, "malformed", "half of a surrogate pair at byte 2"),
            (3, "malformed", "half of a surrogate pair at byte 12"),
            (6, "malformed", "control character in a string at byte 6"),
            (7, "malformed", "something follows the end of the object at byte 7"),
            (8, "malformed", "not a JSON object at byte 0"),
            (9, "malformed", "control character in a string at byte 2"),
            (10, "malformed", "unknown escape at byte 6"),
            (11, "malformed", "bad \\u escape at byte 6"),
            (12, "malformed", "control character in a string at byte 9"),
        ],
    );
}

#[test]
fn timestamps_at_the_ends_of_the_range_and_beyond() {
    let wrong = |value: &str| format!("field \"t\": {value} is not a TIMESTAMP");
    let texts = [
        "\"2262-04-11T23:47:16.854775808Z\"",
        "\"1677-09-21T00:12:43.145224191Z\"",
        "9223372036855",
        "-9223372036854.775809",
        "\"9999-12-31T23:59:59Z\"",
        "\"0000-01-01T00:00:00Z\"",
        "\"2016-12-31T23:59:61Z\"",
        "\"2025-02-29T00:00:00Z\"",
        "1e300",
        "\"10000-01-01T00:00:00Z\"",
    ];
    let broken: Vec<String> = texts.iter().map(|text| format!("{{\"t\":{text}}}")).collect();
    let good: [&[u8]; 6] = [
        br#"{"t":"2262-04-11T23:47:16.854775807Z"}"#,
        br#"{"t":"1677-09-21T00:12:43.145224192Z"}"#,
        br#"{"t":9223372036854.775807}"#,
        br#"{"t":-9223372036854.775808}"#,
        br#"{"t":"2016-12-31T23:59:60.999999999Z"}"#,
        br#"{"t":"2262-04-12T23:47:16.854775807+24:00"}"#,
    ];
    let all: Vec<&[u8]> = good.into_iter().chain(broken.iter().map(String::as_bytes)).collect();
    let mut errors = vec![wrong("\"2262-04-12T23:47:16.854775807+24:00\"")];
    errors.extend(texts.map(wrong));
    let letters: Vec<_> =
        (5u64..).zip(&errors).map(|(at, error)| (at, "wrong_type", error.as_str())).collect();
    lines(
        "t TIMESTAMP",
        "",
        &all,
        &[
            "{\"t\":\"2262-04-11T23:47:16.854775807Z\"}",
            "{\"t\":\"1677-09-21T00:12:43.145224192Z\"}",
            "{\"t\":\"2262-04-11T23:47:16.854775807Z\"}",
            "{\"t\":\"1677-09-21T00:12:43.145224192Z\"}",
            "{\"t\":\"2017-01-01T00:00:00.999999999Z\"}",
        ],
        &letters,
    );
}

#[test]
fn the_ends_of_the_range_are_event_times_too() {
    // A watermark below the first instant, and one that is ahead of every clock.
    lines(
        "t TIMESTAMP NOT NULL, WATERMARK FOR t AS t - INTERVAL '1 day'",
        "timestamp_format = 'epoch_ns'",
        &[
            br#"{"t":-9223372036854775808}"#,
            br#"{"t":9223372036854775807}"#,
            br#"{"t":1761955200000000000}"#,
            br#"{"t":9223372036854775808}"#,
        ],
        &["{\"t\":\"1677-09-21T00:12:43.145224192Z\"}", "{\"t\":\"2025-11-01T00:00:00.000000Z\"}"],
        &[
            (
                1,
                "future_time",
                "field \"t\": 2262-04-11T23:47:16.854775807Z is more than 5m ahead of the clock",
            ),
            (3, "wrong_type", "field \"t\": 9223372036854775808 is not a TIMESTAMP"),
        ],
    );
}

#[test]
fn csv_of_an_attacker() {
    let commas = ",".repeat(400_000);
    let quotes = "\"\"".repeat(100_000);
    let text = [
        "a,b",
        &format!("0,\"{quotes}\""),
        &commas,
        "2,\"\"\"\"",
        "3,x\0",
        "4,\"\"x\"\"",
        "\u{feff}5,\u{feff}",
        "6,a\"b\rover,",
        "\"8\",\"y\r\n,\n\"",
        "9,'x,y'",
        &format!("10,\"{}", "never closed\n".repeat(1_000)),
    ];
    let dataflow = Dataflow::new("a BIGINT, b TEXT", "format = 'csv'");
    let ended = dataflow.file("a.csv", text.join("\n")).run();
    ended.gives(
        &[
            &format!("{{\"a\":0,\"b\":\"{}\"}}", "\\\"".repeat(100_000)),
            "{\"a\":2,\"b\":\"\\\"\"}",
            "{\"a\":3,\"b\":\"x\\u0000\"}",
            "{\"a\":5,\"b\":\"\u{feff}\"}",
            "{\"a\":6,\"b\":\"a\\\"b\"}",
            "{\"a\":8,\"b\":\"y\\r\\n,\\n\"}",
        ],
        &[
            (1, "malformed", "400001 fields, expected 2"),
            (4, "malformed", "something follows the closing quote at byte 2"),
            (7, "wrong_type", "field \"a\": over is not a BIGINT"),
            (9, "malformed", "3 fields, expected 2"),
            (10, "malformed", "a quote is not closed at byte 3"),
        ],
    );
    assert_eq!(ended.letters[4].size, Some(4 + 13 * 1_000));
}

#[test]
fn a_header_with_very_many_columns() {
    let names: Vec<String> = (0..50_000).map(|n| format!("c{n}")).collect();
    let values: Vec<String> = (0..50_000).map(|n| n.to_string()).collect();
    let columns: Vec<String> = (0..200).map(|n| format!("c{} INT", 49_999 - n * 7)).collect();
    let text = format!("{}\n{}\n{},1\n", names.join(","), values.join(","), values.join(","));
    let dataflow = Dataflow::new(&columns.join(", "), "format = 'csv'");
    let row: Vec<String> = (0..200).map(|n| format!("\"c{0}\":{0}", 49_999 - n * 7)).collect();
    let row = format!("{{{}}}", row.join(","));
    let ended = dataflow.file("a.csv", text).run();
    ended.gives(&[&row], &[(1, "malformed", "50001 fields, expected 50000")]);
}

#[test]
fn messages_without_value_with_an_empty_key_and_with_many_headers() {
    let dataflow = Dataflow::new(
        "a BIGINT, k TEXT METADATA FROM 'key', h JSON METADATA FROM 'headers', o BIGINT METADATA FROM 'offset'",
        "connector = 'kafka', topic = 't', dead_letters = 'file'",
    );
    let directory = topic_directory(&dataflow.path().join("state"), "t").expect("a topic");
    let mut topic = TopicWriter::open(&directory, 1).expect("a topic");
    let names: Vec<String> = (0..100_000).map(|n| format!("h{}", n % 50_000)).collect();
    let many: Vec<(&str, Option<&[u8]>)> =
        names.iter().map(|name| (name.as_str(), Some(&b"x"[..]))).collect();
    let odd: Vec<(&str, Option<&[u8]>)> =
        vec![("", None), ("\"\n", Some(b"\xff")), ("a", Some(b"1")), ("a", Some(b""))];
    let mut send = |key: Option<&[u8]>, value: Option<&[u8]>, headers: &[(&str, Option<&[u8]>)]| {
        topic.append(0, key, value, headers, 5).expect("appended");
    };
    send(Some(b"k"), None, &[]);
    send(Some(b""), Some(b"{\"a\":1}"), &[]);
    send(None, Some(b""), &[]);
    send(Some(b"\xff\0"), Some(b"{\"a\":2}\r\n"), &odd);
    send(None, Some(b"{\"a\":3}"), &many);
    topic.flush().expect("written");
    let ended = dataflow.run();
    ended.adds_up();
    let letters: Vec<_> = ended.letters.iter().map(|l| (l.offset, l.error.as_str(), l.size)).collect();
    assert_eq!(letters, [(0, "no payload", None), (2, "empty at byte 0", Some(0))]);
    assert_eq!(ended.rows[0], "{\"a\":1,\"k\":\"\",\"h\":{},\"o\":1}");
    assert_eq!(
        ended.rows[1],
        "{\"a\":2,\"k\":null,\"h\":{\"\":null,\"\\\"\\n\":\"/w==\",\"a\":\"\"},\"o\":3}"
    );
    assert!(ended.rows[2].starts_with("{\"a\":3,\"k\":null,\"h\":{\"h0\":\"x\""));
}

//! Messages broken at random.

use rand::Rng;
use rand_pcg::Pcg64Mcg;
use tidemill::probe::Written;

const JSON: &[&str] = &[
    r#"{"did":"981","name":"soc","d":22.5,"n":100,"i":-3,"b":true,"w":"2024-02-29","t":"2025-10-27T10:07:15.234Z","j":{"a":[1,{"b":null}]}}"#,
    r#"{"did":"v","pos":{"lat":53.5,"deep":{"x":"caf\u00e9 \ud83d\ude97"}},"n":"7","t":1761559635234}"#,
    r#"{ "did" : "é🚗" , "j" : "text" , "d" : "1e3", "other" : [ [ [ ] ] ], "b": 0 }"#,
    r#"{"did":"","n":null,"pos":{"lat":1},"pos":{"deep":{"x":"\\\"\/"}},"i":2147483647}"#,
];
const CSV: &[&str] = &[
    "981,soc,22.5,100,-3,true,2025-10-27T10:07:15.234Z,\"{\"\"a\"\":[1,2]}\",2024-02-29",
    "v,\"line\r\nbreak, and \"\"quotes\"\"\",,7,,0,1761559635234,,\"1999-12-31\"",
    "\"\",\"\",1e3, 5 ,2147483647,FALSE,,null,",
];
const SEMICOLONS: &[&str] = &[
    "981;'it''s';22.5;NULL;-3;true;NULL;[1];2024-02-29",
    "v;'NULL';'1';7;;0;1761559635234;'{\"a\":';';NULL",
    "é;🚗;;;;;;;",
];
const HEADERS: &[&str] =
    &["did;name;d;n;i;b;t;j;w", "t;j;x;did;n", "'did';name;did", "nothing", "\u{feff}did;'n'"];

/// What is put in.
const PIECES: &[&[u8]] = &[
    b"\"",
    b"'",
    b",",
    b";",
    b":",
    b"{",
    b"}",
    b"[",
    b"]",
    b"\\",
    b"\n",
    b"\r\n",
    b"\r",
    b"\0",
    b"\xff",
    b"\xc3",
    b"\xed\xa0\x80",
    b"\xef\xbb\xbf",
    b"\\u",
    b"\\ud83d",
    b"\\u0000",
    b"NaN",
    b"-Infinity",
    b"null",
    b"true",
    b"1e400",
    b"-0.0",
    b"9223372036854775808",
    b"-9223372036854775808",
    b"0000000000000000000001",
    b"1e99999999999",
    b"\"did\":\"x\",",
    b"\"pos\":{",
    b"9999-12-31T23:59:60Z",
    b"2016-12-31T23:59:60Z",
    b"{\"\":",
    b"  ",
    b"\t",
];

/// A message, mostly one that was good once.
pub fn message(random: &mut Pcg64Mcg, written: Written) -> Vec<u8> {
    let seeds = match written {
        Written::Json => JSON,
        Written::Csv => CSV,
        Written::Semicolons => SEMICOLONS,
    };
    let mut bytes = seeds[random.random_range(0..seeds.len())].as_bytes().to_vec();
    for _ in 0..random.random_range(0..5) {
        mutate(random, &mut bytes, seeds);
        bytes.truncate(8_000);
    }
    bytes
}

/// What a file of CSV begins with.
pub fn header(random: &mut Pcg64Mcg) -> Vec<u8> {
    let usual = random.random_ratio(3, 4);
    let chosen = if usual { 0 } else { random.random_range(0..HEADERS.len()) };
    let mut header = HEADERS[chosen].as_bytes().to_vec();
    if random.random_ratio(1, 8) {
        mutate(random, &mut header, HEADERS);
    }
    header
}

fn mutate(random: &mut Pcg64Mcg, bytes: &mut Vec<u8>, seeds: &[&str]) {
    let at = random.random_range(0..=bytes.len());
    let to = random.random_range(at..=bytes.len());
    match random.random_range(0..9) {
        0 => bytes.truncate(at),
        1 => drop(bytes.drain(at..to.min(at + 8))),
        2 if at < bytes.len() => bytes[at] = random.random(),
        3 if at < bytes.len() => bytes[at] ^= 1 << random.random_range(0..8),
        4 => {
            // A part again, perhaps often.
            let part = bytes[at..to.min(at + 20)].to_vec();
            let times = [1, 2, 200][random.random_range(0..3)];
            bytes.splice(at..at, part.repeat(times));
        }
        5 => {
            let other = seeds[random.random_range(0..seeds.len())].as_bytes();
            let from = random.random_range(0..=other.len());
            bytes.truncate(at);
            bytes.extend_from_slice(&other[from..]);
        }
        6 => drop(bytes.splice(at..to.min(at + 6), piece(random))),
        _ => drop(bytes.splice(at..at, piece(random))),
    }
}

fn piece(random: &mut Pcg64Mcg) -> Vec<u8> {
    PIECES[random.random_range(0..PIECES.len())].to_vec()
}

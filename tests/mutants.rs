//! Mutants of the shipped dataflows: tokens deleted, repeated, swapped and replaced, text cut. Whatever the
//! editor holds, the compiler answers, quickly, and every mistake has a place in the file.
//!
//! `MUTATION_SEED=n` repeats the run that printed it.

#[path = "support/seed.rs"]
mod seed;

use std::collections::BTreeMap;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64Mcg;
use tidemill::compile::explain::explain;
use tidemill::compile::{Request, compile};

/// Mutants of each file. One takes about two milliseconds.
const MUTANTS: usize = 300;

/// Pieces that belong somewhere in SQL, to be put where they do not belong.
const PIECES: [&str; 28] = [
    "(",
    ")",
    ",",
    ";",
    "'",
    "\"",
    "--",
    "/*",
    "*/",
    ".",
    "::",
    "->",
    "->>",
    "*",
    "NULL",
    "SELECT",
    "FROM",
    "WHERE",
    "GROUP BY",
    "OVER ()",
    "DISTINCT",
    "UNION ALL",
    "CREATE VIEW",
    "1e400",
    "99999999999999999999",
    "`",
    "\0",
    "ß🚗",
];

/// Words, numbers, quoted texts and single characters, with the blanks behind them.
fn pieces(text: &str) -> Vec<String> {
    let mut pieces: Vec<String> = Vec::new();
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    for c in text.chars() {
        match pieces.last_mut() {
            Some(last) if c.is_whitespace() || is_word(c) && last.ends_with(is_word) => last.push(c),
            _ => pieces.push(c.to_string()),
        }
    }
    pieces
}

fn mutate(random: &mut Pcg64Mcg, text: &str) -> String {
    let mut pieces = pieces(text);
    for _ in 0..random.random_range(1..=4) {
        let (at, other) = (random.random_range(0..pieces.len()), random.random_range(0..pieces.len()));
        match random.random_range(0..7) {
            0 => drop(pieces.remove(at)),
            1 => pieces.insert(at, pieces[at].clone()),
            2 => pieces.swap(at, other),
            3 => pieces[at] = pieces[other].clone(),
            4 => pieces.insert(at, format!("{} ", PIECES[random.random_range(0..PIECES.len())])),
            5 => pieces.truncate(at),
            _ => drop(pieces.drain(at.min(other)..at.max(other).min(at.min(other) + 10))),
        }
        if pieces.is_empty() {
            pieces.push(" ".to_owned());
        }
    }
    pieces.concat()
}

/// What is wrong with the answer to a text, if anything is.
fn complaint(text: &str) -> Option<String> {
    let parameters = BTreeMap::new();
    let directory = Path::new(".");
    let request = Request { file: "mutant.sql", text, name: "mutant", directory, parameters: &parameters };
    let answer = catch_unwind(AssertUnwindSafe(|| compile(&request).map(|plan| explain(&plan).len())));
    let mistakes = match answer {
        Err(_) => return Some("a panic".to_owned()),
        Ok(Ok(_)) => return None,
        Ok(Err(mistakes)) => mistakes,
    };
    let lines = text.matches('\n').count() as u64 + 1;
    let placed = |line: u64, column: u64| (1..=lines).contains(&line) && column > 0;
    let lost = mistakes.list.iter().find(|mistake| {
        let start = mistake.span.start;
        !placed(start.line, start.column) || mistake.message.is_empty()
    });
    match lost {
        Some(mistake) => Some(format!("no place: {mistake:?}")),
        None if mistakes.list.is_empty() => Some("refused without a mistake".to_owned()),
        None => None,
    }
}

fn shipped() -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("dataflows");
    let mut files: Vec<_> = fs::read_dir(folder)
        .expect("the folder of dataflows")
        .map(|entry| entry.expect("an entry").path().join("dataflow.sql"))
        .collect();
    files.sort();
    files.iter().map(|file| fs::read_to_string(file).expect("a file in UTF-8")).collect()
}

#[test]
fn mutants_of_shipped_dataflows_are_answered() {
    let seed = seed::seed("MUTATION_SEED");
    let files = shipped();
    let complaints: Vec<String> = std::thread::scope(|scope| {
        let look = |(number, file): (usize, &String)| {
            let mut random = Pcg64Mcg::seed_from_u64(seed.wrapping_add(number as u64));
            let mutants = (0..MUTANTS).map(|_| mutate(&mut random, file));
            let complain = |mutant: String| complaint(&mutant).map(|what| format!("{what}\n{mutant}"));
            mutants.filter_map(complain).take(3).collect::<Vec<_>>()
        };
        let threads: Vec<_> =
            files.iter().enumerate().map(|numbered| scope.spawn(move || look(numbered))).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("no panic")).collect()
    });
    assert!(complaints.is_empty(), "MUTATION_SEED={seed}\n{}", complaints.join("\n----\n"));
}

/// Texts at which mutants have failed.
#[test]
fn what_once_failed_is_answered() {
    for text in
        ["", ";", "CREATE", "CREATE SINK", "CREATE SOURCE s (", "\u{feff}", "\r\r\n", "-- only", "/*", "'"]
    {
        assert_eq!(complaint(text), None, "{text:?}");
    }
}

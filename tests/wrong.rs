//! Wrong dataflow files, each with everything that `tidemill check` says about it: `tests/wrong/<name>.sql` and
//! beside it `<name>.txt`. Adding a file adds a test.
//!
//! `UPDATE_EXPECTED=1 cargo nextest run --test wrong` writes what is said; read it with the eyes of an author:
//! is it clear what is wrong, where, and what to do?

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const THREADS: usize = 4;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/wrong")
}

/// The wrong files, without `.sql`.
fn names() -> Vec<String> {
    let entries = fs::read_dir(folder()).expect("a folder");
    let files = entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8"));
    let mut names: Vec<_> = files.filter_map(|file| Some(file.strip_suffix(".sql")?.to_owned())).collect();
    names.sort();
    names
}

/// Whether `check` refuses the file, and what it says.
fn checked(name: &str) -> (bool, String) {
    let file = format!("{name}.sql");
    let mut tidemill = Command::new(env!("CARGO_BIN_EXE_tidemill"));
    let output = tidemill.args(["check", &file]).current_dir(folder()).output().expect("the binary");
    (output.status.code() == Some(1), String::from_utf8(output.stderr).expect("UTF-8"))
}

#[test]
fn wrong_files_are_refused_with_what_stands_beside_them() {
    let names = names();
    assert!(names.len() >= 60, "only {} wrong files", names.len());
    let update = std::env::var_os("UPDATE_EXPECTED").is_some();
    let complain = |name: &String| {
        let (refused, said) = checked(name);
        let path = folder().join(name).with_extension("txt");
        let expected = fs::read_to_string(&path).unwrap_or_default();
        if said == expected && refused {
            return None;
        }
        if update && refused {
            fs::write(&path, &said).expect("a writable folder");
        }
        let what = if refused { "says something else" } else { "is not refused" };
        Some(format!("{name}.sql {what}:\n{said}"))
    };
    let complaints: Vec<String> = std::thread::scope(|scope| {
        let part = |part: &'_ [String]| part.iter().filter_map(complain).collect::<Vec<_>>();
        let chunks = names.chunks(names.len().div_ceil(THREADS));
        let threads: Vec<_> = chunks.map(|chunk| scope.spawn(move || part(chunk))).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("no panic")).collect()
    });
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

#[test]
fn every_text_belongs_to_a_file() {
    let names = names();
    for entry in fs::read_dir(folder()).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path.file_stem().and_then(|name| name.to_str()).expect("a name in UTF-8");
        assert!(names.iter().any(|known| known == name), "{} belongs to nothing", path.display());
    }
}

/// One mistake as it is shown.
#[derive(Debug, Default)]
struct Mistake<'a> {
    place: (u64, u64),
    message: &'a str,
    hint: Option<&'a str>,
}

/// The mistakes in a text: `name.sql:line:column: message`, then the line, then the hint.
fn mistakes<'a>(name: &str, text: &'a str) -> Vec<Mistake<'a>> {
    let mut found = Vec::new();
    for line in text.lines().skip(1).filter(|line| !line.is_empty()) {
        if let Some(rest) = line.strip_prefix(&format!("{name}.sql:")) {
            let mut parts = rest.splitn(3, ':');
            let mut number = || parts.next().and_then(|part| part.parse().ok());
            let place = number().zip(number()).unwrap_or_else(|| panic!("{name}: no place: {line}"));
            found.push(Mistake { place, message: parts.next().unwrap_or_default().trim(), hint: None });
        } else if let Some(hint) = line.strip_prefix("  hint: ") {
            found.last_mut().unwrap_or_else(|| panic!("{name}: {line}")).hint = Some(hint);
        } else {
            assert!(line.starts_with("  ") && line.contains(" | "), "{name}: {line}");
        }
    }
    found
}

/// What belongs to the libraries and to Rust, and to no author.
const JARGON: [&str; 26] = [
    "Internal error",
    "internal error",
    "bug in",
    "DataFusion",
    "sqlparser",
    "Arrow",
    "planning",
    "Utf8",
    "Int64",
    "Int32",
    "Float64",
    "Boolean",
    "Timestamp(",
    "Interval(",
    "Struct",
    "Some(",
    "Ok(",
    "Err(",
    "Expr",
    "Ident",
    "coerc",
    "signature",
    "EOF",
    "panicked",
    "PG",
    "Invalid argument",
];

#[test]
fn every_mistake_has_a_place_and_a_hint_and_speaks_of_sql() {
    let mut complaints = Vec::new();
    for name in names() {
        let path = folder().join(&name).with_extension("txt");
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let mistakes = mistakes(&name, &text);
        assert!(!mistakes.is_empty(), "{name}: no mistake");
        let places: Vec<_> = mistakes.iter().map(|mistake| mistake.place).collect();
        assert!(places.is_sorted() && places.iter().all(|(line, column)| *line > 0 && *column > 0), "{name}");
        complaints.extend(mistakes.iter().flat_map(|mistake| faults(&name, mistake)));
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

/// What is wrong with the wording of a mistake.
fn faults(name: &str, mistake: &Mistake) -> Vec<String> {
    let Mistake { message, hint, .. } = mistake;
    let mut faults = Vec::new();
    let mut letters = message.chars();
    let capital =
        letters.next().is_some_and(char::is_uppercase) && letters.next().is_some_and(char::is_lowercase);
    if message.is_empty() || capital || message.ends_with('.') {
        faults.push(format!("{name}: not in lower case or with a full stop: {message}"));
    }
    if hint.is_none_or(str::is_empty) {
        faults.push(format!("{name}: without a hint: {message}"));
    }
    let said = [*message, hint.unwrap_or_default()].join("\n");
    faults.extend(
        JARGON
            .iter()
            .filter(|word| said.contains(**word))
            .map(|word| format!("{name}: `{word}` is not the author's language: {said}")),
    );
    faults
}

#[test]
fn faults_of_wording_are_found() {
    let faults_of = |message, hint| faults("x", &Mistake { place: (1, 1), message, hint }).len();
    assert_eq!(faults_of("there is no column `a`", Some("did you mean `b`?")), 0);
    assert_eq!(faults_of("WHERE needs a BOOLEAN", Some("compare it")), 0);
    assert_eq!(faults_of("There is no column", Some("x")), 1);
    assert_eq!(faults_of("there is no column", None), 1);
    assert_eq!(faults_of("`a` is Utf8", Some("cast it to Int64")), 2);
    let text = "tidemill: x.sql has 1 mistake\n\nx.sql:2:3: a: b\n  2 | abc\n    |   ^\n  hint: c\n";
    let found = mistakes("x", text);
    assert_eq!((found[0].place, found[0].message, found[0].hint), ((2, 3), "a: b", Some("c")));
}

//! Examples with rows: what goes in, what comes out, one line each.
//!
//! ```text
//! readings < {"device": "a", "value": 1}     a record of a source, exactly as it stands here
//! readings < not json
//! copy     > {"device": "a", "value": 1}     a row of a sink, a view or a source at the end
//! empty    >                                 no rows
//! readings ! malformed                       a dead letter: its error, and perhaps a part of its text
//! -- a remark
//! ```
//!
//! Rows are compared as JSON, in any order; of each relation that has a `>` all rows are listed, and so are all
//! dead letters. The dataflow is the SQL in front of the example.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;

use serde_json::Value;

use super::bounded::{Mode, lines, run};

/// The lines of an example, by what they say.
#[derive(Debug, Default)]
pub struct Example {
    /// Lines that stay as they are when the results are written anew.
    given: Vec<String>,
    /// Records by source, in order.
    records: Vec<(String, String)>,
    /// Rows by relation, in the order in which relations are first named.
    rows: Vec<(String, Vec<String>)>,
    letters: Vec<(String, String)>,
}

impl Example {
    /// Reads an example, or says which line is none.
    pub fn parse(text: &str) -> Result<Example, String> {
        let mut example = Example::default();
        for line in text.lines() {
            if line.trim().is_empty() || line.starts_with("--") {
                example.given.push(line.to_owned());
                continue;
            }
            let Some((name, mark, rest)) = split(line) else {
                return Err(format!("`{line}` has no `name <`, `name >` or `name !` in front"));
            };
            let rest = rest.to_owned();
            match mark {
                '<' => {
                    example.given.push(line.to_owned());
                    example.records.push((name, rest));
                }
                '>' => {
                    let known = example.rows.iter_mut().find(|(relation, _)| *relation == name);
                    match known {
                        Some((_, rows)) => rows.push(rest),
                        None => example.rows.push((name, vec![rest])),
                    }
                }
                _ => example.letters.push((name, rest)),
            }
        }
        for (_, rows) in &mut example.rows {
            rows.retain(|row| !row.is_empty());
        }
        Ok(example)
    }

    /// Names of the relations whose rows are shown.
    pub fn shown(&self) -> impl Iterator<Item = &str> {
        self.rows.iter().map(|(name, _)| name.as_str())
    }

    /// Runs `dataflow` over the records. `shown_by` tells the sink that writes a relation.
    ///
    /// Gives the example as it should stand, if that is not what stands there.
    pub fn check(
        &self,
        dataflow: &str,
        sources: &[&str],
        shown_by: &dyn Fn(&str) -> String,
    ) -> Option<String> {
        let folder = tempfile::tempdir().expect("a folder");
        let (input, directory) = (folder.path().join("input"), folder.path().join("document"));
        fs::create_dir(&input).expect("a folder");
        fs::create_dir(&directory).expect("a folder");
        fs::write(directory.join("dataflow.sql"), dataflow).expect("a file");
        for source in sources {
            let records = self.records.iter().filter(|(name, _)| name == source);
            let text: String = records.map(|(_, record)| format!("{record}\n")).collect();
            // The source reads the one of its format.
            for extension in ["jsonl", "csv"] {
                fs::write(input.join(format!("{source}.{extension}")), &text).expect("a file");
            }
        }
        let output = run(&directory, &input, Mode::of(1, 1));
        let mut right = true;
        let mut results = String::new();
        for (name, wanted) in &self.rows {
            let file = ["jsonl", "csv"].map(|extension| format!("{}.{extension}", shown_by(name)));
            let csv = output.path().join(&file[1]).exists();
            let found = lines(output.path(), &file[usize::from(csv)]);
            right &= normal(wanted) == normal(&found);
            let listed = if found.is_empty() { vec![String::new()] } else { found };
            listed.iter().for_each(|row| writeln!(results, "{name} > {row}").expect("a String takes it"));
        }
        let mut letters = Vec::new();
        for source in sources {
            let file = output.path().join(format!("{source}.dlq.jsonl"));
            let text = fs::read_to_string(file).unwrap_or_default();
            letters.extend(text.lines().map(|line| (source.to_string(), letter(line))));
        }
        right &= self.are_letters(&letters);
        for (source, (kind, error)) in &letters {
            writeln!(results, "{source} ! {kind} {error}").expect("a String takes it");
        }
        let given: String = self.given.iter().map(|line| format!("{line}\n")).collect();
        (!right).then(|| given + &results)
    }

    /// Whether each letter that is wanted is one of `found`, and the other way round.
    fn are_letters(&self, found: &[(String, (String, String))]) -> bool {
        let mut left: Vec<_> = found.iter().collect();
        let all_found = self.letters.iter().all(|(source, wanted)| {
            let (kind, part) = wanted.split_once(' ').unwrap_or((wanted, ""));
            let is_it = |(from, (error, text)): &&(String, (String, String))| {
                from == source && error == kind && text.contains(part.trim())
            };
            let at = left.iter().position(is_it);
            at.map(|at| left.swap_remove(at)).is_some()
        });
        all_found && left.is_empty()
    }
}

/// `name < text`
fn split(line: &str) -> Option<(String, char, &str)> {
    let at = line.find(['<', '>', '!'])?;
    let (name, rest) = line.split_at(at);
    let mark = rest.chars().next()?;
    let is_name = name.ends_with(' ') && !name.trim().is_empty() && !name.trim().contains(' ');
    let rest = &rest[1..];
    is_name.then(|| (name.trim().to_owned(), mark, rest.strip_prefix(' ').unwrap_or(rest)))
}

/// Kind and text of a dead letter.
fn letter(line: &str) -> (String, String) {
    let letter: Value = serde_json::from_str(line).expect("a dead letter is JSON");
    let text = |field: &str| letter[field].as_str().unwrap_or_default().to_owned();
    (text("error_type"), text("error"))
}

/// Rows as far as they matter: how often each of them is there. What is no JSON is compared as text.
fn normal(rows: &[String]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for row in rows {
        let value: Value = serde_json::from_str(row).unwrap_or_else(|_| Value::String(row.trim().to_owned()));
        *counts.entry(sorted(&value)).or_default() += 1;
    }
    counts
}

/// A value as text, with the fields of objects in the order of their names.
fn sorted(value: &Value) -> String {
    match value {
        Value::Object(fields) => {
            let fields: BTreeMap<_, _> = fields.iter().map(|(name, value)| (name, sorted(value))).collect();
            format!("{fields:?}")
        }
        Value::Array(values) => format!("{:?}", values.iter().map(sorted).collect::<Vec<_>>()),
        other => other.to_string(),
    }
}

#[test]
fn lines_of_examples_are_told_apart() {
    let text =
        "-- why\ns < {\"a\": \"<\"}\nout > {\"a\": 1}\nout > {\"a\": 2}\nnone >\ns ! malformed at byte 0\n";
    let example = Example::parse(text).expect("an example");
    assert_eq!(example.records, [("s".to_owned(), "{\"a\": \"<\"}".to_owned())]);
    assert_eq!(example.rows[0], ("out".to_owned(), vec!["{\"a\": 1}".to_owned(), "{\"a\": 2}".to_owned()]));
    assert_eq!(example.rows[1], ("none".to_owned(), Vec::new()));
    assert_eq!(example.letters, [("s".to_owned(), "malformed at byte 0".to_owned())]);
    assert!(Example::parse("s {\"a\": 1}").is_err());
    let other = |rows: &[&str]| normal(&rows.iter().map(|row| (*row).to_owned()).collect::<Vec<_>>());
    assert_eq!(other(&["{\"a\":1,\"b\":2}", "x"]), other(&["x", "{\"b\": 2, \"a\": 1}"]));
    assert_ne!(other(&["{\"a\":1}"]), other(&["{\"a\":1.0}"]));
    assert_ne!(other(&["{\"a\":1}"]), other(&["{\"a\":1}", "{\"a\":1}"]));
    let letters = |error: &str| vec![("s".to_owned(), ("malformed".to_owned(), error.to_owned()))];
    assert!(example.are_letters(&letters("not a JSON object at byte 0")));
    assert!(!example.are_letters(&letters("another")) && !example.are_letters(&[]));
}

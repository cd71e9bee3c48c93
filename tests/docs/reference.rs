//! The reference is whole: `docs/functions.md` has every function with an example that gives what stands beside it,
//! what is called refused is refused, and `docs/sql.md` has every option of every connector, and no other.

use std::fs;

use serde_json::Value;

use super::bounded::{Mode, lines, run};
use super::statements::mistakes;
use super::{Document, document};

/// Cells of the rows of tables with `width` columns, without the heading.
fn rows(document: &Document, section: impl Fn(&str) -> bool, width: usize) -> Vec<Vec<String>> {
    let mut inside = false;
    let mut rows = Vec::new();
    for (_, line) in document.prose() {
        if let Some(heading) = line.strip_prefix("## ") {
            inside = section(heading);
        }
        if inside && line.starts_with("| `") {
            let cells = line.replace("\\|", "\u{1}");
            let cells = cells.trim_matches('|').split(" | ").map(|cell| cell.trim().replace('\u{1}', "|"));
            rows.push(cells.collect::<Vec<_>>());
        }
    }
    assert!(!rows.is_empty() && rows.iter().all(|row| row.len() == width), "{rows:?}");
    rows
}

/// What stands in backticks.
fn code(cell: &str) -> &str {
    cell.trim_matches('`')
}

/// The source of the examples, and its one record.
fn source(document: &Document) -> (String, String) {
    let blocks = document.blocks();
    let text = |kind: &str| blocks.iter().find(|block| block.kind == kind).expect("a block").text.clone();
    let record = text("example").lines().find_map(|line| line.strip_prefix("v < ").map(str::to_owned));
    (text("sql"), record.expect("a record"))
}

#[test]
fn functions_give_what_stands_beside_them() {
    let document = document("docs/functions.md");
    let (source, record) = source(&document);
    let rows = rows(&document, |heading| heading != "Refused", 4);
    let columns = rows.iter().enumerate().map(|(number, row)| format!("{} AS c{number}", code(&row[2])));
    let columns = columns.collect::<Vec<_>>().join(",\n");
    let folder = tempfile::tempdir().expect("a folder");
    let (dataflow, input) = (folder.path().join("functions"), folder.path().join("input"));
    fs::create_dir(&dataflow).expect("a folder");
    fs::create_dir(&input).expect("a folder");
    let text = format!("{source}CREATE SINK out AS SELECT {columns}\nFROM v WITH (connector = 'stdout');\n");
    assert_eq!(mistakes(&text), None);
    fs::write(dataflow.join("dataflow.sql"), text).expect("a file");
    fs::write(input.join("v.jsonl"), record + "\n").expect("a file");
    let output = run(&dataflow, &input, Mode::of(1, 1));
    let found: Value = serde_json::from_str(&lines(output.path(), "out.jsonl")[0]).expect("a row");
    for (number, row) in rows.iter().enumerate() {
        let expected: Value = serde_json::from_str(code(&row[3])).expect("a value in JSON");
        assert_eq!(found[format!("c{number}")], expected, "{}", row[2]);
    }
}

#[test]
fn every_function_has_a_line() {
    let document = document("docs/functions.md");
    let missing: Vec<String> = datafusion_functions::all_default_functions()
        .iter()
        .map(|function| function.name().to_owned())
        .filter(|name| {
            !document.text.contains(&format!("`{name}`")) && !document.text.contains(&format!("`{name}("))
        })
        .collect();
    assert!(missing.is_empty(), "docs/functions.md says nothing of {}", missing.join(", "));
}

#[test]
fn what_is_called_refused_is_refused() {
    let document = document("docs/functions.md");
    let (source, _) = source(&document);
    for row in rows(&document, |heading| heading == "Refused", 2) {
        let call = code(&row[0]);
        let text =
            format!("{source}CREATE SINK out AS SELECT {call} AS x FROM v WITH (connector = 'stdout');\n");
        let mistakes = mistakes(&text).unwrap_or_else(|| panic!("{call} is not refused"));
        assert!(mistakes.contains(&row[1]), "{call}: {mistakes}");
    }
}

/// The options that the compiler knows of a connector: it names them where it knows none that is like another.
fn known_options(statement: &str) -> Vec<String> {
    let text =
        format!("CREATE SOURCE readings (id BIGINT) WITH (connector = 'kafka', topic = 'r');\n{statement}");
    let mistakes = mistakes(&text).expect("an option that is not known");
    let (_, known) = mistakes.split_once("known options: ").unwrap_or_else(|| panic!("{mistakes}"));
    known.lines().next().unwrap_or_default().split(", ").map(str::to_owned).collect()
}

#[test]
fn every_option_is_documented_and_no_other() {
    let document = document("docs/sql.md");
    let mut known = Vec::new();
    for connector in ["kafka", "file", "simulator"] {
        let bogus = format!("CREATE SOURCE s (id BIGINT) WITH (connector = '{connector}', qqqqqqqq = 'x');");
        known.extend(known_options(&bogus));
    }
    for connector in ["mongodb", "kafka", "file", "stdout"] {
        let bogus = format!("CREATE SINK s FROM readings WITH (connector = '{connector}', qqqqqqqq = 'x');");
        known.extend(known_options(&bogus));
    }
    known.extend(known_options("CREATE VIEW v WITH (qqqqqqqq = 'x') AS SELECT id FROM readings;"));
    // Families of names; the options of CSV have their own table.
    known.extend(["properties.*", "csv.*"].map(str::to_owned));
    let missing: Vec<_> = known.iter().filter(|name| !document.text.contains(&format!("`{name}`"))).collect();
    assert!(missing.is_empty(), "docs/sql.md says nothing of the options {missing:?}");

    let (_, options) = document.text.split_once("\n## Options\n").expect("the options");
    let options = options.split("\n## ").next().unwrap_or_default();
    let mut documented: Vec<&str> = Vec::new();
    let mut is_options = false;
    for line in options.lines() {
        is_options = if line.starts_with('|') { is_options || line.starts_with("| option ") } else { false };
        if is_options && line.starts_with("| `") {
            let cell = line.trim_matches('|').split('|').next().unwrap_or_default();
            documented.extend(cell.split('`').skip(1).step_by(2));
        }
    }
    assert!(documented.len() > 20, "{documented:?}");
    let unknown: Vec<_> =
        documented.iter().filter(|name| !known.iter().any(|known| known == *name)).collect();
    assert!(unknown.is_empty(), "docs/sql.md has options that do not exist: {unknown:?}");
}

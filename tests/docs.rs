//! What the documents say is checked as far as a machine can: SQL compiles, TOML is a configuration, commands
//! are accepted, links and names of code lead somewhere, tables of metrics and reasons are complete.
//!
//! Fences say what a block is: `sql` (checked where it contains CREATE; it may read what earlier blocks of the
//! document create), `example` (records and rows: `docs/example.rs`; the dataflow is the `sql` in front of it),
//! `sql,refused` (must be refused), `refused` (with what is said about it: `docs/refusals.rs`), `toml` (settings), `sh` (lines with `tidemill` are parsed). Everything else
//! is not looked at.

#[path = "support/bounded.rs"]
mod bounded;
#[path = "docs/example.rs"]
mod example;
#[path = "support/process.rs"]
mod process;
#[path = "docs/reference.rs"]
mod reference;
#[path = "docs/refusals.rs"]
mod refusals;
#[path = "docs/statements.rs"]
mod statements;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use clap::Parser;
use tidemill::control::cli::Cli;
use tidemill::control::configuration::{Inputs, load};
use tidemill::control::metrics;
use tidemill::control::telemetry::Telemetry;
use tidemill::dead_letter::Reason;

/// A Markdown file; `path` is relative to the repository.
struct Document {
    path: String,
    text: String,
}

/// Text between two fences.
#[derive(Clone)]
struct Block {
    /// As behind the opening fence: `sql,refused`.
    kind: String,
    /// `docs/sql.md:17`
    place: String,
    text: String,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn documents() -> Vec<Document> {
    let mut paths = vec![PathBuf::from("README.md"), PathBuf::from("CHANGELOG.md")];
    for folder in ["docs", "docs/adr"] {
        let entries = fs::read_dir(root().join(folder)).expect("a folder of documents");
        let names = entries.map(|entry| entry.expect("an entry").file_name());
        let files = names.map(|name| Path::new(folder).join(name));
        paths.extend(files.filter(|path| path.extension().is_some_and(|extension| extension == "md")));
    }
    paths.sort();
    let read = |path: PathBuf| Document {
        text: fs::read_to_string(root().join(&path)).expect("a document in UTF-8"),
        path: path.to_str().expect("a path in UTF-8").to_owned(),
    };
    paths.into_iter().map(read).collect()
}

impl Document {
    fn blocks(&self) -> Vec<Block> {
        let mut blocks = Vec::new();
        let mut open: Option<Block> = None;
        for (index, line) in self.text.lines().enumerate() {
            let fence = line.trim_start().strip_prefix("```");
            match (&mut open, fence) {
                (None, Some(kind)) => {
                    let place = format!("{}:{}", self.path, index + 1);
                    open = Some(Block { kind: kind.trim().to_owned(), place, text: String::new() });
                }
                (Some(_), Some(_)) => blocks.extend(open.take()),
                (Some(block), None) => block.text.extend([line, "\n"]),
                (None, None) => {}
            }
        }
        assert!(open.is_none(), "{}: a fence is not closed", self.path);
        blocks
    }

    /// Lines outside of fences, with their numbers.
    fn prose(&self) -> impl Iterator<Item = (usize, &str)> {
        let mut inside = false;
        self.text.lines().enumerate().filter_map(move |(index, line)| {
            let fence = line.trim_start().starts_with("```");
            inside ^= fence;
            (!inside && !fence).then_some((index + 1, line))
        })
    }

    fn section(&self, heading: &str) -> &str {
        let (_, rest) = self.text.split_once(&format!("\n## {heading}\n")).expect("the section is there");
        rest.split("\n## ").next().unwrap_or_default()
    }
}

fn document(path: &str) -> Document {
    documents().into_iter().find(|document| document.path == path).expect("the document is there")
}

/// Blocks of one kind in all documents.
fn all_blocks(kind: &str) -> Vec<Block> {
    let blocks: Vec<_> = documents().iter().flat_map(Document::blocks).collect();
    blocks.into_iter().filter(|block| block.kind == kind).collect()
}

#[test]
fn the_readme_shows_the_shipped_dataflow() {
    let readme = document("README.md");
    let shown: String = readme.blocks().iter().filter(|b| b.kind == "sql").map(|b| b.text.clone()).collect();
    let file = bounded::shipped("vehicle_state").join("dataflow.sql");
    let shipped = fs::read_to_string(file).expect("the shipped dataflow");
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    for statement in shown.split_inclusive(";\n") {
        assert!(words(&shipped).contains(&words(statement)), "not in the shipped dataflow:\n{statement}");
    }
    assert!(shown.contains("CREATE MATERIALIZED VIEW"));
}

#[test]
fn toml_is_a_configuration() {
    let folder = tempfile::tempdir().expect("a folder");
    for block in all_blocks("toml") {
        let path = folder.path().join("settings.toml");
        fs::write(&path, &block.text).expect("a file");
        let loaded = load(&Inputs { files: vec![path], ..Inputs::default() });
        assert!(loaded.is_ok(), "{}: {}", block.place, loaded.expect_err("not loaded"));
    }
}

/// Words of a command line; single and double quotes hold words together.
fn command_words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), String::new(), None);
    for c in line.chars() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '\'' | '"') => quote = Some(c),
            (None, '#') if word.is_empty() => break,
            (None, c) if c.is_whitespace() => words.extend(Some(std::mem::take(&mut word))),
            (_, c) => word.push(c),
        }
    }
    words.push(word);
    words.retain(|word| !word.is_empty());
    words
}

#[test]
fn commands_are_accepted() {
    let mut checked = 0;
    for block in all_blocks("sh") {
        for line in block.text.replace("\\\n", " ").lines() {
            let line = line.trim_end_matches('&');
            let words = command_words(line);
            let Some(start) = words.iter().position(|word| !word.contains('=')) else { continue };
            if words[start] != "tidemill" && words[start] != "./tidemill" {
                continue;
            }
            if let Some(named) = words.iter().find(|word| word.starts_with("dataflows/")) {
                assert!(root().join(named).exists(), "{}: there is no {named}", block.place);
            }
            let parsed = Cli::try_parse_from(&words[start..]).and_then(Cli::checked);
            assert!(parsed.is_ok(), "{}: {line}\n{}", block.place, parsed.expect_err("refused"));
            let variables = words[..start].iter().filter_map(|word| word.split_once('='));
            let environment = variables.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
            let loaded = load(&Inputs { environment, ..Inputs::default() });
            assert!(loaded.is_ok(), "{}: {line}\n{}", block.place, loaded.expect_err("refused"));
            checked += 1;
        }
    }
    assert!(checked > 5, "only {checked} commands were found");
}

/// What a heading is called in a link: lower case, without punctuation, with `-` for spaces.
fn anchor(heading: &str) -> String {
    let heading = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.collect::<String>().replace(' ', "-")
}

fn anchors(path: &Path) -> BTreeSet<String> {
    let text = fs::read_to_string(path).expect("a document in UTF-8");
    let document = Document { path: String::new(), text };
    let headings = document.prose().filter(|(_, line)| line.starts_with('#'));
    headings.map(|(_, line)| anchor(line)).collect()
}

#[test]
fn links_lead_somewhere() {
    let mut complaints = Vec::new();
    for document in documents() {
        let file = root().join(&document.path);
        for (number, line) in document.prose() {
            let targets = line.split("](").skip(1).filter_map(|rest| rest.split(')').next());
            for target in targets.filter(|target| !target.contains("://")) {
                let (path, heading) = target.split_once('#').unwrap_or((target, ""));
                let path = if path.is_empty() { file.clone() } else { file.with_file_name(path) };
                if !path.exists() || !heading.is_empty() && !anchors(&path).contains(heading) {
                    complaints.push(format!("{}:{number}: {target}", document.path));
                }
            }
        }
    }
    assert!(complaints.is_empty(), "links that lead nowhere:\n{}", complaints.join("\n"));
}

/// The words in backticks of a line.
fn quoted(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2)
}

/// Whether a file defines `name`.
fn defines(path: &Path, name: &str) -> bool {
    let text = fs::read_to_string(path).expect("a file in UTF-8");
    let defines = |kind: &str| {
        let found = format!("{kind} {name}");
        text.match_indices(&found).any(|(at, _)| {
            let next = text[at + found.len()..].chars().next();
            next.is_none_or(|c| !c.is_alphanumeric() && c != '_')
        })
    };
    ["fn", "struct", "enum", "trait", "type", "const", "mod"].into_iter().any(defines)
}

#[test]
fn named_files_and_functions_exist() {
    const FOLDERS: [&str; 8] =
        ["src/", "tests/", "docs/", "config/", "dataflows/", ".ci/", ".config/", ".githooks/"];
    let mut complaints = Vec::new();
    for document in documents() {
        for (number, line) in document.prose() {
            for named in quoted(line).filter(|word| FOLDERS.iter().any(|folder| word.starts_with(folder))) {
                let mut parts = named.split("::");
                let path = root().join(parts.next().unwrap_or_default());
                let is_pattern = named.contains(['<', '*', '{', ' ']);
                let exists = path.exists() && parts.all(|name| defines(&path, name));
                if !is_pattern && !exists {
                    complaints.push(format!("{}:{number}: {named}", document.path));
                }
            }
        }
    }
    assert!(complaints.is_empty(), "names of nothing:\n{}", complaints.join("\n"));
}

/// The first words in backticks of a table's rows.
fn first_column(table: &str) -> BTreeSet<String> {
    let rows = table.lines().filter(|line| line.starts_with("| `"));
    rows.filter_map(|line| Some(quoted(line).next()?.to_owned())).collect()
}

#[test]
fn documented_metrics_are_the_metrics() {
    let text = metrics::render(&Telemetry::new());
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let names: BTreeSet<_> = types.filter_map(|line| Some(line.split(' ').next()?.to_owned())).collect();
    assert_eq!(first_column(document("docs/operations.md").section("Metrics")), names);
}

#[test]
fn documented_reasons_are_the_reasons() {
    let names: BTreeSet<_> = Reason::ALL.into_iter().map(|reason| reason.as_str().to_owned()).collect();
    let operations = document("docs/operations.md");
    let section = operations.section("Dead letters");
    let (_, reasons) = section.split_once("\n### Reasons\n").expect("the reasons have a heading");
    assert_eq!(first_column(reasons), names);
}

#[test]
fn rules_can_fail() {
    assert_eq!(anchor("### CREATE VIEW, `x` and y"), "create-view-x-and-y");
    assert_eq!(
        command_words("A=1 ./tidemill query v '{\"a\": 1}' # why"),
        ["A=1", "./tidemill", "query", "v", "{\"a\": 1}"]
    );
    let lib = root().join("src/dataflow.rs");
    assert!(defines(&lib, "build") && defines(&lib, "Parts") && !defines(&lib, "Part"));
}

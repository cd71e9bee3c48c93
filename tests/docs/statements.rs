//! SQL in documents compiles or is refused, as its fence says, and gives the rows that are shown behind it.
//!
//! `UPDATE_EXPECTED=1 cargo nextest run --test docs` writes the rows that come out into the documents, where
//! others are shown; look at the difference before it is committed.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use tidemill::compile::diagnostic::Diagnostics;
use tidemill::compile::{Request, compile};
use tidemill::plan::Plan;

use super::example::Example;
use super::{Document, documents, root};

/// The mistakes of a dataflow, or nothing.
pub fn mistakes(text: &str) -> Option<String> {
    compiled(&with_parameters(text)).err().map(|mistakes| mistakes.to_string())
}

/// The plan of a dataflow, or its mistakes.
pub fn compiled(text: &str) -> Result<Plan, Diagnostics> {
    let request = Request {
        file: "block",
        text,
        name: "document",
        directory: Path::new("."),
        parameters: &BTreeMap::new(),
    };
    compile(&request)
}

/// The text with each parameter `${NAME}` replaced by its name in lower case.
fn with_parameters(text: &str) -> String {
    let mut pieces = text.split("${");
    let mut whole = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let (name, rest) = piece.split_once('}').expect("a parameter ends");
        whole += &name.to_lowercase();
        whole += rest;
    }
    whole
}

/// Statements of a block, comments in front of them included.
fn statements(block: &str) -> impl Iterator<Item = &str> {
    block.split_inclusive(";\n").filter(|statement| statement.contains("CREATE "))
}

/// What a statement creates: its kind and name.
fn created(statement: &str) -> Option<(&str, &str)> {
    let lines = statement.lines().filter(|line| !line.trim_start().starts_with("--"));
    let mut words = lines.flat_map(str::split_whitespace);
    let kind = words.find(|word| ["SOURCE", "VIEW", "SINK", "TABLE"].contains(word))?;
    Some((kind, words.next()?.trim_end_matches('(').trim_matches('"')))
}

/// The block, alone or behind the statements of earlier blocks that it does not replace: if need be, behind the
/// sources among them alone. Or what is wrong with it.
fn whole(earlier: &[String], block: &str) -> Result<String, String> {
    let names: Vec<_> = statements(block).filter_map(created).map(|(_, name)| name).collect();
    let kept = earlier.iter().filter_map(|statement| Some((statement, created(statement)?)));
    let kept: Vec<_> = kept.filter(|(_, (_, name))| !names.contains(name)).collect();
    let behind = |kinds: &[&str]| {
        let kept = kept.iter().filter(|(_, (kind, _))| kinds.contains(kind));
        let before: String = kept.map(|(statement, _)| statement.as_str()).collect();
        let text = before + block;
        mistakes(&text).map_or(Ok(text), Err)
    };
    behind(&[])
        .or_else(|_| behind(&["SOURCE", "TABLE"]))
        .or_else(|_| behind(&["SOURCE", "TABLE", "VIEW", "SINK"]))
}

/// Adds the statements of a block, which replace those of the same names.
fn add(earlier: &mut Vec<String>, block: &str) {
    for statement in statements(block) {
        let name = |statement: &str| created(statement).map(|(_, name)| name.to_owned());
        earlier.retain(|other| name(other) != name(statement));
        earlier.push(statement.to_owned());
    }
}

/// Rows shown in a document, and the dataflow that they are of.
struct Shown {
    place: String,
    dataflow: String,
    text: String,
}

impl Shown {
    /// Gives the example as it should stand, if that is not what stands there.
    fn run(&self) -> Option<String> {
        // The last of these names the one that fails.
        eprintln!("{}", self.place);
        let example = Example::parse(&self.text).unwrap_or_else(|error| panic!("{}: {error}", self.place));
        let dataflow = with_parameters(&self.dataflow);
        let made: Vec<_> = statements(&dataflow).filter_map(created).collect();
        let named = |wanted: &str| -> Vec<&str> {
            made.iter().filter(|(kind, _)| *kind == wanted).map(|(_, name)| *name).collect()
        };
        let sinks = named("SINK");
        let is_sink = |name: &str| sinks.contains(&name);
        let shown_by = |name: &str| if is_sink(name) { name.to_owned() } else { format!("rows of {name}") };
        let others = example.shown().filter(|name| !is_sink(name));
        let sink =
            |name| format!("CREATE SINK \"rows of {name}\" FROM \"{name}\" WITH (connector = 'stdout');\n");
        let whole = others.map(sink).fold(dataflow.clone(), |whole, sink| whole + &sink);
        if let Some(mistakes) = mistakes(&whole) {
            panic!("{}\n{mistakes}", self.place);
        }
        let sources = [named("SOURCE"), named("TABLE")].concat();
        example.check(&whole, &sources, &shown_by)
    }
}

/// What is wrong with the SQL of a document, and the examples behind it.
fn look(document: &Document) -> (Vec<String>, Vec<(usize, Shown)>) {
    let (mut complaints, mut examples) = (Vec::new(), Vec::new());
    let (mut earlier, mut last) = (Vec::new(), None);
    let blocks = document.blocks();
    for (index, block) in blocks.iter().enumerate() {
        let place = block.place.clone();
        let has_statements = block.text.contains("CREATE ");
        match block.kind.as_str() {
            "example" => match last.clone() {
                Some(dataflow) => examples.push((index, Shown { place, dataflow, text: block.text.clone() })),
                None => complaints.push(format!("{place}: there is no SQL in front of it")),
            },
            "sql" if has_statements => {
                last = None;
                match whole(&earlier, &block.text) {
                    Ok(text) => {
                        add(&mut earlier, &block.text);
                        last = Some(text);
                    }
                    Err(mistakes) => complaints.push(format!("{place}\n{mistakes}")),
                }
                let next = blocks.get(index + 1).is_some_and(|next| next.kind == "example");
                if REFERENCES.contains(&document.path.as_str()) && !next {
                    complaints.push(format!("{place}: no example with rows is behind it"));
                }
            }
            "sql,refused" if whole(&earlier, &block.text).is_ok() => {
                complaints.push(format!("{place}: is not refused"));
            }
            kind if kind.starts_with("sql") && !["sql", "sql,refused"].contains(&kind) => {
                complaints.push(format!("{place}: what is `{kind}`?"));
            }
            _ => {}
        }
    }
    (complaints, examples)
}

/// Documents in which every statement is shown with rows.
const REFERENCES: [&str; 1] = ["docs/sql.md"];

#[test]
fn sql_compiles_or_is_refused_as_its_fence_says() {
    let complaints: Vec<_> = documents().iter().flat_map(|document| look(document).0).collect();
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

#[test]
fn examples_give_the_rows_that_are_shown() {
    let mut complaints = Vec::new();
    for document in documents() {
        let examples = look(&document).1;
        let right = run_all(&examples);
        for (place, text) in examples.iter().map(|(_, shown)| &shown.place).zip(&right) {
            complaints.extend(text.as_ref().map(|text| format!("{place}: should be\n{text}")));
        }
        if std::env::var_os("UPDATE_EXPECTED").is_some() {
            let right = right.into_iter().enumerate();
            let wrong = right.filter_map(|(number, text)| Some((examples[number].0, text?)));
            let path = root().join(&document.path);
            fs::write(path, document.with_blocks(&wrong.collect())).expect("a writable document");
        }
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

/// Runs examples, a few at a time.
fn run_all(examples: &[(usize, Shown)]) -> Vec<Option<String>> {
    const THREADS: usize = 4;
    std::thread::scope(|scope| {
        let share = examples.len().div_ceil(THREADS).max(1);
        let part = |part: &'_ [(usize, Shown)]| part.iter().map(|(_, shown)| shown.run()).collect::<Vec<_>>();
        let threads: Vec<_> = examples.chunks(share).map(|chunk| scope.spawn(move || part(chunk))).collect();
        let results = threads.into_iter().map(|thread| thread.join());
        results
            .flat_map(|result| result.expect("an example that runs; its place is the last above"))
            .collect()
    })
}

impl Document {
    /// The text with other blocks in place of those with these numbers.
    pub fn with_blocks(&self, blocks: &BTreeMap<usize, String>) -> String {
        let mut whole = String::new();
        let (mut number, mut inside) = (0, false);
        for line in self.text.lines() {
            let fence = line.trim_start().starts_with("```");
            let replaced = blocks.get(&number).filter(|_| inside);
            match (fence, replaced) {
                (true, Some(text)) => whole += text,
                (false, Some(_)) => continue,
                _ => {}
            }
            whole.extend([line, "\n"]);
            number += usize::from(fence && inside);
            inside ^= fence;
        }
        whole
    }
}

#[test]
fn blocks_are_replaced_and_statements_found() {
    let text = "a\n```sql\nb\n```\nc\n```example\nd\ne\n```\nf\n".to_owned();
    let document = Document { path: String::new(), text };
    let changed = document.with_blocks(&BTreeMap::from([(1, "x\n".to_owned())]));
    assert_eq!(changed, "a\n```sql\nb\n```\nc\n```example\nx\n```\nf\n");
    assert_eq!(created("-- a SINK\nCREATE MATERIALIZED VIEW \"v\" AS"), Some(("VIEW", "v")));
    assert_eq!(with_parameters("a ${B} c"), "a b c");
    assert!(mistakes("CREATE SINK s FROM nothing WITH (connector = 'stdout');").is_some());
}

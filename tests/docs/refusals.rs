//! `docs/refusals.md`: what is refused, each with the shortest SQL and with what is said about it.
//!
//! A `refused` block has examples with blank lines between them: SQL, under it carets and the message, and the hint.
//! `UPDATE_EXPECTED=1 cargo nextest run --test docs` writes what stands under the SQL.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use regex::{Captures, Regex};
use tidemill::compile::diagnostic::Diagnostic;

use super::statements::compiled;
use super::{Block, Document, anchor, document, quoted, root};

const PAGE: &str = "docs/refusals.md";

/// What cannot be shown on a page: bytes that no text has, what nobody sees, and what is too long.
const UNSEEN: [&str; 5] = [
    "the byte 0xF0 is not UTF-0",
    "there is an invisible character here",
    "there is no statement in this file",
    "nested more than 0 levels deep",
    "more than 0 operators in a row",
];

fn is_remark(line: &str) -> bool {
    line.trim_start().starts_with('^') || line.starts_with("hint: ")
}

/// An example without what is said about it.
fn sql_of(example: &str) -> Vec<&str> {
    example.lines().filter(|line| !is_remark(line)).collect()
}

/// What has to stand around a query, which is that of a sink, and around options, which are those of a source.
fn surroundings(sql: &str) -> (&str, &str) {
    let begins = |words: &[&str]| words.iter().any(|word| sql.starts_with(word)) && !sql.ends_with(';');
    if begins(&["WITH ("]) {
        ("CREATE SOURCE input (id TEXT)\n", "\n")
    } else if begins(&["SELECT ", "WITH ", "VALUES "]) {
        ("CREATE SINK out AS\n", "\nWITH (connector = 'stdout');\n")
    } else {
        ("", "\n")
    }
}

/// The names that statements create.
fn created(sql: &str) -> BTreeSet<String> {
    let pattern =
        Regex::new(r"CREATE (?:MATERIALIZED )?(?:SOURCE|TABLE|VIEW|SINK) (\w+)").expect("a pattern");
    pattern.captures_iter(sql).map(|found| found[1].to_owned()).collect()
}

/// The mistakes of SQL behind the relations that it does not create anew. Lines are counted from the SQL's first.
fn mistakes(relations: &str, sql: &str) -> Result<Vec<Diagnostic>, String> {
    let names = created(sql);
    let kept = relations.split_inclusive(";\n").filter(|statement| created(statement).is_disjoint(&names));
    let (head, tail) = surroundings(sql);
    let head = kept.chain([head]).collect::<String>();
    let above = u64::try_from(head.lines().count()).map_err(|error| error.to_string())?;
    let mut mistakes = compiled(&format!("{head}{sql}{tail}")).err().ok_or("is not refused")?.list;
    let place = Regex::new(r"in line ([0-9]+)").expect("a pattern");
    for Diagnostic { span, message, .. } in &mut mistakes {
        *message = place
            .replace(message, |found: &Captures| {
                let line = found[1].parse::<u64>().unwrap_or_default();
                format!("in line {}", line.saturating_sub(above))
            })
            .into_owned();
        let line = span.start.line.checked_sub(above).filter(|line| *line > 0);
        let ends_there = span.end.line == span.start.line;
        span.start.line = line.ok_or_else(|| format!("the mistake is not in it: {message}"))?;
        span.end.line = if ends_there { span.start.line } else { span.start.line + 1 };
    }
    Ok(mistakes)
}

/// The example as it should stand.
fn rendered(before: &str, lines: &[&str]) -> Result<String, String> {
    let mistakes = mistakes(before, &lines.join("\n"))?;
    let mut text = String::new();
    for (number, line) in (1..).zip(lines) {
        text.extend([line, "\n"]);
        for mistake in mistakes.iter().filter(|mistake| mistake.span.start.line == number) {
            let skipped = usize::try_from(mistake.span.start.column - 1).unwrap_or_default();
            let end = if mistake.span.end.line == number { mistake.span.end.column - 1 } else { u64::MAX };
            let end = usize::try_from(end).unwrap_or(usize::MAX).min(line.chars().count());
            let carets = "^".repeat(end.saturating_sub(skipped).max(1));
            text += &format!("{:skipped$}{carets} {}\n", "", mistake.message);
            text.extend(mistake.hint.iter().map(|hint| format!("hint: {hint}\n")));
        }
    }
    let shown = mistakes.iter().filter(|mistake| text.contains(&mistake.message)).count();
    if shown == mistakes.len() { Ok(text) } else { Err("a mistake is behind its last line".to_owned()) }
}

/// A block as it should stand, and what is wrong with examples that cannot be shown.
fn right(before: &str, block: &Block) -> (String, Vec<String>) {
    let mut complaints = Vec::new();
    let examples = block.text.split("\n\n").map(str::trim_end).filter(|example| !example.is_empty());
    let examples = examples.map(|example| {
        rendered(before, &sql_of(example)).unwrap_or_else(|complaint| {
            complaints.push(format!("{}: {complaint}:\n{example}", block.place));
            format!("{example}\n")
        })
    });
    (examples.collect::<Vec<_>>().join("\n"), complaints)
}

/// What the examples read.
fn relations(page: &Document) -> String {
    page.blocks().into_iter().filter(|block| block.kind == "sql").map(|block| block.text).collect()
}

#[test]
fn refusals_are_as_shown() {
    let page = document(PAGE);
    let before = relations(&page);
    let blocks = page.blocks().into_iter().enumerate().filter(|(_, block)| block.kind == "refused");
    let blocks: Vec<_> = blocks.collect();
    let looked_at: Vec<_> = std::thread::scope(|scope| {
        let before = &before;
        let look = |(_, block): &'_ (usize, Block)| right(before, block);
        let threads: Vec<_> = blocks.iter().map(|block| scope.spawn(move || look(block))).collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    });
    let (mut complaints, mut wrong) = (Vec::new(), BTreeMap::new());
    for ((number, block), (text, failures)) in blocks.iter().zip(looked_at) {
        complaints.extend(failures);
        if text != block.text {
            complaints.push(format!("{}: should be\n{text}", block.place));
            wrong.insert(*number, text);
        }
    }
    if std::env::var_os("UPDATE_EXPECTED").is_some() {
        fs::write(root().join(PAGE), page.with_blocks(&wrong)).expect("a writable document");
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

/// What differs from case to case, and what stands for it.
static REPLACED: LazyLock<Vec<(Regex, &str)>> = LazyLock::new(|| {
    let patterns = [
        ("`[^`]*`|'[^']*'", "_"),
        ("[0-9]+", "0"),
        (r"\b(TEXT|BIGINT|INT|DOUBLE|BOOLEAN|TIMESTAMP|DATE|JSON|INTERVAL|DECIMAL)\b", "T"),
        (r"\btype [A-Z_0-9]+", "type T"),
        (r"(unknown option _ of a \w+).*|(is wrong|is not a regular expression): .*", "$1$2"),
        ("T, T", "T"),
        (r"(sink|relation) \([^)]*\)", "$1 (_)"),
    ];
    patterns.into_iter().map(|(pattern, with)| (Regex::new(pattern).expect("a pattern"), with)).collect()
});

/// A message without names, values, numbers and types.
fn kind(message: &str) -> String {
    let replace =
        |message: String, (pattern, with): &(Regex, &str)| pattern.replace_all(&message, *with).into_owned();
    REPLACED.iter().fold(message.to_owned(), replace)
}

/// The messages of texts in which mistakes are shown: `file.sql:line:column: message`.
fn messages(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter_map(|line| {
        let mut parts = line.split_once(".sql:")?.1.splitn(3, ':');
        let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        let placed = parts.next().is_some_and(is_number) && parts.next().is_some_and(is_number);
        parts.next().filter(|_| placed).map(str::trim)
    })
}

/// All messages that tests expect, by their kinds, with the file that has the first one.
fn expected(folder: &Path, kinds: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            expected(&path, kinds);
        } else if path.extension().is_some_and(|extension| extension == "txt" || extension == "snap") {
            let text = fs::read_to_string(&path).expect("UTF-8");
            for message in messages(&text) {
                kinds.entry(kind(message)).or_insert_with(|| format!("{message} ({})", path.display()));
            }
        }
    }
}

#[test]
fn every_kind_of_refusal_has_an_example() {
    let mut kinds = BTreeMap::new();
    expected(&root().join("tests/wrong"), &mut kinds);
    expected(&root().join("src/compile"), &mut kinds);
    assert!(kinds.len() > 200, "only {} kinds of messages were found", kinds.len());
    let page = document(PAGE);
    let blocks = page.blocks();
    let remarks = blocks.iter().filter(|block| block.kind == "refused").flat_map(|block| block.text.lines());
    let shown: BTreeSet<_> =
        remarks.map(|line| kind(line.trim_start().trim_start_matches('^').trim())).collect();
    let is_shown = |kind: &String| shown.contains(kind) || UNSEEN.iter().any(|unseen| kind.contains(unseen));
    let missing: Vec<_> =
        kinds.iter().filter(|(kind, _)| !is_shown(kind)).map(|(_, seen)| seen.as_str()).collect();
    assert!(missing.is_empty(), "{PAGE} shows no example of\n{}", missing.join("\n"));
}

/// The lines of a document under the heading of this anchor, up to the next heading.
fn under<'a>(page: &'a Document, wanted: &str) -> String {
    let mut inside = false;
    let lines = page.text.lines().filter(|line: &&'a str| {
        if line.starts_with('#') {
            inside = anchor(line) == wanted;
        }
        inside
    });
    lines.collect::<Vec<_>>().join("\n").to_lowercase()
}

#[test]
fn what_the_reference_calls_refused_leads_to_its_examples() {
    let (reference, page) = (document("docs/sql.md"), document(PAGE));
    let rows = reference.section("What is refused").lines().filter(|line| line.starts_with("| "));
    let rows: Vec<_> =
        rows.filter(|line| !line.starts_with("| not ") && !line.starts_with("| refused ")).collect();
    assert!(rows.len() > 20, "{rows:?}");
    let mut complaints = Vec::new();
    for row in rows {
        let linked = row.split("(refusals.md#").nth(1).and_then(|rest| rest.split(')').next());
        let Some(linked) = linked else {
            complaints.push(format!("does not lead to {PAGE}: {row}"));
            continue;
        };
        let examples = under(&page, linked);
        let named = quoted(row.trim_start_matches("| ").split(" | ").next().unwrap_or_default());
        let words = named.flat_map(|named| named.split(|c: char| !c.is_alphanumeric() && c != '_'));
        let absent = words.map(str::to_lowercase).filter(|word| !examples.contains(word));
        complaints.extend(absent.map(|word| format!("`{word}` is not in {PAGE}#{linked}: {row}")));
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

#[test]
fn examples_can_be_wrong() {
    let relations = "CREATE SOURCE s (a TEXT) WITH (connector = 'kafka', topic = 't');\n";
    let shown = rendered(relations, &["SELECT a,", "  bb FROM s"]).expect("refused");
    assert!(shown.starts_with("SELECT a,\n  bb FROM s\n  ^^ there is no column `bb`"), "{shown}");
    assert_eq!(sql_of(&shown), ["SELECT a,", "  bb FROM s"]);
    assert_eq!(rendered(relations, &["SELECT a FROM s"]), Err("is not refused".to_owned()));
    assert_eq!(kind("`a` is 7 or 'b': BIGINT, TEXT"), "_ is 0 or _: T");
    let text = "tidemill: x.sql has 1 mistake\n\nx.sql:2:3: a: b\n  2 | c\n";
    assert_eq!(messages(text).collect::<Vec<_>>(), ["a: b"]);
}

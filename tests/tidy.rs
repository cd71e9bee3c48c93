//! Style as a failing test.
//!
//! A rule is a function from a file to complaints about it, and beside each is a test that shows on a small
//! sample that the rule can fail.

#[path = "tidy/scanner.rs"]
mod scanner;

use std::fs;
use std::path::Path;

use scanner::{body, code_only, first_names, words};

const FILE_LINES_MAX: usize = 400;
const FUNCTION_LINES_MAX: usize = 70;

/// The stages of the data path. They meet in `src/dataflow.rs` only, and `src/control` may name them all.
const STAGES: [&str; 6] = ["compile", "ingest", "parse", "route", "transform", "write"];

#[test]
fn tree_is_tidy() {
    let files = read_tree(Path::new(env!("CARGO_MANIFEST_DIR")));
    let rules =
        [path_names, file_length, function_length, banned_texts, machine_paths, trailing_space, layering];
    let mut complaints = dead_files(&files);
    complaints.extend(files.iter().flat_map(|file| rules.iter().flat_map(|rule| rule(file))));
    assert!(!files.is_empty(), "found no file to check");
    assert!(complaints.is_empty(), "not tidy:\n{}\n", complaints.join("\n"));
}

/// A source file; `path` is relative to the repository. In `code`, comments and literals are blank, all else
/// has the place that it has in `text`.
struct File {
    path: String,
    text: String,
    code: String,
}

impl File {
    fn new(path: &str, text: &str) -> File {
        File { path: path.to_string(), text: text.to_string(), code: code_only(text) }
    }

    fn complaint(&self, at: usize, what: impl std::fmt::Display) -> String {
        let line = self.text[..at].matches('\n').count() + 1;
        format!("{}:{line}: {what}", self.path)
    }
}

fn read_tree(root: &Path) -> Vec<File> {
    let mut files = Vec::new();
    let mut folders = vec![root.join("src"), root.join("tests")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a readable folder") {
            let path = entry.expect("a readable entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path
                    .strip_prefix(root)
                    .expect("a path below the root")
                    .to_str()
                    .expect("a path in UTF-8");
                files.push(File::new(name, &fs::read_to_string(&path).expect("a file in UTF-8")));
            }
        }
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    files
}

// Rules, each with the test that it can fail.

/// A second version is not put beside the first; it replaces it.
fn path_names(file: &File) -> Vec<String> {
    let mut words = file.path.split(|c: char| !c.is_alphanumeric());
    words
        .find(|word| ["v2", "new", "legacy"].contains(word))
        .map(|word| file.complaint(0, format!("`{word}` in a path: replace the first version and delete it")))
        .into_iter()
        .collect()
}

#[test]
fn path_names_tell_second_versions() {
    for path in ["src/write/v2/mod.rs", "src/parse/new_json.rs", "src/legacy.rs"] {
        assert_eq!(path_names(&File::new(path, "")).len(), 1, "{path}");
    }
    assert!(path_names(&File::new("src/route/renew_lease.rs", "")).is_empty());
}

fn file_length(file: &File) -> Vec<String> {
    let lines = file.text.lines().count();
    if lines <= FILE_LINES_MAX {
        return Vec::new();
    }
    vec![file.complaint(0, format!("{lines} lines, at most {FILE_LINES_MAX}: split by responsibility"))]
}

#[test]
fn file_length_counts_lines() {
    assert_eq!(file_length(&File::new("src/a.rs", &"\n".repeat(FILE_LINES_MAX + 1))).len(), 1);
    assert!(file_length(&File::new("src/a.rs", &"\n".repeat(FILE_LINES_MAX))).is_empty());
}

fn function_length(file: &File) -> Vec<String> {
    let mut complaints = Vec::new();
    for at in words(&file.code, "fn ") {
        let Some(body) = body(&file.code[at..]) else {
            continue;
        };
        let lines = file.code[at..at + body].lines().count();
        if lines > FUNCTION_LINES_MAX {
            let what = format!("a function of {lines} lines, at most {FUNCTION_LINES_MAX}: name its parts");
            complaints.push(file.complaint(at, what));
        }
    }
    complaints
}

#[test]
fn function_length_counts_from_signature_to_closing_brace() {
    let function = |lines: usize| {
        let filler = "// }\n\n'}';\n\"}\";\n".repeat(lines / 4) + &"\n".repeat(lines % 4);
        format!("fn outer(a: [u8; 2]) {{\n{filler}}}\nfn after() {{}}\n")
    };
    let complaints = function_length(&File::new("src/a.rs", &function(FUNCTION_LINES_MAX - 1)));
    assert_eq!(complaints, ["src/a.rs:1: a function of 71 lines, at most 70: name its parts"]);
    assert!(function_length(&File::new("src/a.rs", &function(FUNCTION_LINES_MAX - 2))).is_empty());
    assert!(function_length(&File::new("src/a.rs", &format!("fn f();\n{}", "\n".repeat(99)))).is_empty());
}

/// What is not written, in which files it may be nevertheless, and what to write instead.
type Ban = (&'static str, fn(&str) -> bool, &'static str);

const BANNED: [Ban; 9] = [
    ("todo!", nowhere, "refuse it by name when the file is compiled, or leave it out"),
    ("unimplemented!", nowhere, "refuse it by name when the file is compiled, or leave it out"),
    ("dbg!", nowhere, "`tracing::debug!`"),
    (
        "thread::sleep",
        waits_for_processes,
        "wait for the event: a channel, `park_timeout`, the virtual clock",
    ),
    ("[allow(", nowhere, "`#[expect(..., reason = \"...\")]`, which says when it is no longer needed"),
    ("println!", prints, "`tracing`; standard output belongs to control/ and write/stdout.rs"),
    ("print!", prints, "`tracing`; standard output belongs to control/ and write/stdout.rs"),
    ("static mut", nowhere, "a value that is passed down"),
    (
        "abomonation",
        |path| path.starts_with("tests/"),
        "Arrow IPC; abomonation is unsound and stays in benches/",
    ),
];

fn nowhere(_path: &str) -> bool {
    false
}

/// A process of somebody else's announces nothing; it has to be asked again and again.
fn waits_for_processes(path: &str) -> bool {
    let mut parts = path.split('/');
    parts.next() == Some("tests")
        && parts.any(|part| part.starts_with("real_") || part.starts_with("process"))
}

fn prints(path: &str) -> bool {
    !path.starts_with("src/") || path.starts_with("src/control/") || path == "src/write/stdout.rs"
}

fn banned_texts(file: &File) -> Vec<String> {
    let mut complaints = Vec::new();
    for (banned, allowed, instead) in BANNED {
        if !allowed(&file.path) {
            let found = words(&file.code, banned);
            complaints.extend(found.map(|at| file.complaint(at, format!("`{banned}`, instead: {instead}"))));
        }
    }
    complaints
}

#[test]
fn banned_texts_are_found_in_code_only() {
    for (banned, _, _) in BANNED {
        let found = banned_texts(&File::new("src/parse/a.rs", &format!("fn f() {{}}\n#{banned}(x)")));
        assert_eq!(found.len(), 1, "{banned}: {found:?}");
        assert!(found[0].starts_with("src/parse/a.rs:2: "), "{found:?}");
        let elsewhere =
            format!("// {banned}\n/* {banned} */ const A: &str = \"{banned}\"; eprintln!(r#\"{banned}\"#);");
        assert!(banned_texts(&File::new("src/parse/a.rs", &elsewhere)).is_empty(), "{banned}");
    }
    let (sleep, print) = ("fn f() { thread::sleep(x) }", "fn f() { println!() }");
    assert!(banned_texts(&File::new("tests/it/real_kafka.rs", sleep)).is_empty());
    assert_eq!(banned_texts(&File::new("tests/it/golden.rs", sleep)).len(), 1);
    assert!(banned_texts(&File::new("src/control/cli.rs", print)).is_empty());
}

/// A path of one machine is a setting, or a temporary folder that the test asks for. Comments count too.
fn machine_paths(file: &File) -> Vec<String> {
    // This file names them.
    let paths: &[&str] = match file.path.as_str() {
        path if path.starts_with("src/") => &["/work/", "/root/", "/home/", "/tmp/"],
        "tests/tidy.rs" => &[],
        _ => &["/work/", "/root/", "/home/"],
    };
    let found = paths.iter().flat_map(|path| file.text.match_indices(path));
    found.map(|(at, path)| file.complaint(at, format!("a path of this machine, `{path}`"))).collect()
}

#[test]
fn machine_paths_are_found_in_strings_and_comments() {
    let text = "// see /work/notes\nconst DIR: &str = \"/tmp/x\";";
    assert_eq!(machine_paths(&File::new("src/a.rs", text)).len(), 2);
    assert_eq!(machine_paths(&File::new("tests/a.rs", text)).len(), 1);
}

fn trailing_space(file: &File) -> Vec<String> {
    let lines = file.text.split('\n').enumerate();
    let wrong = lines.filter(|(_, line)| line.trim_end() != *line);
    wrong
        .map(|(number, _)| format!("{}:{}: white space at the end of the line", file.path, number + 1))
        .collect()
}

#[test]
fn trailing_space_is_found() {
    let file = File::new("src/a.rs", "a\nb \n\tc\r\n");
    let lines = [2, 3].map(|line| format!("src/a.rs:{line}: white space at the end of the line"));
    assert_eq!(trailing_space(&file), lines);
}

fn layering(file: &File) -> Vec<String> {
    let Some(own) = STAGES.into_iter().find(|stage| file.path.starts_with(&format!("src/{stage}/"))) else {
        return Vec::new();
    };
    let mut complaints = Vec::new();
    for at in words(&file.code, "crate::") {
        for name in first_names(&file.code[at + "crate::".len()..]) {
            if name != own && STAGES.contains(&name) {
                let what = format!("`{own}` names the stage `{name}`: only src/dataflow.rs connects stages");
                complaints.push(file.complaint(at, what));
            }
        }
    }
    complaints
}

#[test]
fn layering_keeps_stages_apart() {
    let text = "use crate::{error::Error, ingest::{parse, Source}, write};\nuse crate::parse::Row; // crate::route\n";
    let complaints = layering(&File::new("src/parse/json.rs", text));
    assert_eq!(complaints.len(), 2, "{complaints:?}");
    assert!(complaints[0].contains("the stage `ingest`") && complaints[1].contains("the stage `write`"));
    let inline = "fn f() -> crate::write::Sink {}";
    assert_eq!(layering(&File::new("src/transform/latest.rs", inline)).len(), 1);
    assert!(layering(&File::new("src/dataflow.rs", inline)).is_empty());
    assert!(layering(&File::new("src/route/exchange.rs", "use crate::writer::Writer;")).is_empty());
}

/// Every file of the library is named by a `mod` line of its parent; the compiler does not see a file that
/// nobody names.
fn dead_files(files: &[File]) -> Vec<String> {
    let modules = files.iter().filter(|file| file.path.starts_with("src/"));
    let dead = modules.filter_map(|file| {
        let path = file.path.strip_suffix("/mod.rs").or(file.path.strip_suffix(".rs"))?;
        let (folder, name) = path.rsplit_once('/')?;
        let parents = match folder {
            "src" if name == "lib" || name == "main" => return None,
            "src" => ["src/lib.rs".to_string(), "src/main.rs".to_string()],
            _ => [format!("{folder}.rs"), format!("{folder}/mod.rs")],
        };
        let mut parents = files.iter().filter(|file| parents.contains(&file.path));
        let named = parents.any(|parent| words(&parent.code, &format!("mod {name};")).next().is_some());
        (!named)
            .then(|| file.complaint(0, "no `mod` line leads here: delete the file, or name it in its parent"))
    });
    dead.collect()
}

#[test]
fn dead_files_are_those_that_no_mod_line_names() {
    let tree = |lib: &str, ingest: &str| {
        let files = [
            ("src/lib.rs", lib),
            ("src/ingest/mod.rs", ingest),
            ("src/ingest/file.rs", ""),
            ("tests/a.rs", ""),
        ];
        dead_files(&files.map(|(path, text)| File::new(path, text)))
    };
    assert!(tree("pub mod ingest;", "mod file;").is_empty());
    assert!(tree("pub mod ingest;", "// mod file;")[0].starts_with("src/ingest/file.rs:1: no `mod` line"));
    assert!(tree("", "pub(crate) mod file;")[0].starts_with("src/ingest/mod.rs:1: no `mod` line"));
}

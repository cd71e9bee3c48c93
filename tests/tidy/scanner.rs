//! As much Rust as the rules need: what is a comment or a literal, and which brace closes which.

/// The places of `word` in `code` where it is not the tail of a longer name.
pub fn words<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    code.match_indices(word).map(|(at, _)| at).filter(|at| !code[..*at].ends_with(is_name))
}

fn is_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// How long the function at the start of `code` is, up to and with its closing brace; None if it has no body.
pub fn body(code: &str) -> Option<usize> {
    let mut brackets = 0;
    let open = code.find(|c| {
        brackets += depth(c);
        c == '{' || c == ';' && brackets == 0
    })?;
    code[open..].starts_with('{').then(|| open + block(&code[open..]))
}

/// How long the block is that `code` begins with.
fn block(code: &str) -> usize {
    let mut open = 0;
    let end = code.find(|c| {
        open += depth(c);
        open == 0
    });
    end.map_or(code.len(), |end| end + 1)
}

fn depth(c: char) -> i32 {
    match c {
        '{' | '(' | '[' => 1,
        '}' | ')' | ']' => -1,
        _ => 0,
    }
}

/// The first name of each path in what follows `crate::`, which is one path or a group of them.
pub fn first_names(code: &str) -> Vec<&str> {
    if !code.starts_with('{') {
        return vec![code.split(|c| !is_name(c)).next().unwrap_or_default()];
    }
    let mut open = 0;
    let paths = code[1..block(code) - 1].split(move |c| {
        open += depth(c);
        c == ',' && open == 0
    });
    paths.map(|path| path.trim().split(|c| !is_name(c)).next().unwrap_or_default()).collect()
}

/// `text` with a blank for every byte of its comments and literals.
pub fn code_only(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    while let Some(next) = text[code.len()..].chars().next() {
        let rest = &text[code.len()..];
        match opaque(rest, code.ends_with(is_name)) {
            Some(length) => {
                code.extend(rest.as_bytes()[..length].iter().map(|b| if *b == b'\n' { '\n' } else { ' ' }))
            }
            None => code.push(next),
        }
    }
    code
}

/// The length of the comment or literal that `rest` begins with, None where it begins with code.
fn opaque(rest: &str, in_name: bool) -> Option<usize> {
    let until =
        |end: &str, from: usize| rest[from..].find(end).map_or(rest.len(), |at| from + at + end.len());
    if rest.starts_with("//") {
        return Some(rest.find('\n').unwrap_or(rest.len()));
    }
    if rest.starts_with("/*") {
        return Some(until("*/", 2));
    }
    if let Some(string) = rest.strip_prefix('"') {
        let mut escaped = false;
        let end = string.find(|c| {
            let closes = c == '"' && !escaped;
            escaped = c == '\\' && !escaped;
            closes
        });
        return Some(end.map_or(rest.len(), |at| at + 2));
    }
    if rest.starts_with('\'') {
        let mut chars = rest.char_indices().skip(1);
        return match (chars.next()?.1, chars.next()?) {
            ('\\', (at, escaped)) => Some(until("'", at + escaped.len_utf8())),
            (_, (at, '\'')) => Some(at + 1),
            _ => None, // a lifetime
        };
    }
    let raw = rest.strip_prefix('b').unwrap_or(rest).strip_prefix('r').filter(|_| !in_name)?;
    let hashes = &raw[..raw.len() - raw.trim_start_matches('#').len()];
    let open = rest.len() - raw.len() + hashes.len();
    rest[open..].starts_with('"').then(|| until(&format!("\"{hashes}"), open + 1))
}

#[test]
fn scanner_tells_code_from_comments_and_literals() {
    let samples = [
        ("a // b", "a     "),
        ("a /* b\n */ c", "a     \n    c"),
        (r#"f("\"}", b"{")"#, r#"f(     , b   )"#),
        ("r#\"a\"b\"# + br\"c\" + bar", "         +       + bar"),
        (r"g('{', '\'', '\u{7d}', 'é')", r"g(   ,     ,         ,     )"),
        ("fn f<'a>(x: &'a str) {}", "fn f<'a>(x: &'a str) {}"),
    ];
    for (text, code) in samples {
        assert_eq!(code_only(text), code, "{text}");
    }
}

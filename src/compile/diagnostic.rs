//! Mistakes of the author of a dataflow file: where, what, and what to do.

use std::fmt;

use datafusion_sql::sqlparser::tokenizer::{Location, Span};

use crate::error::Error;
use crate::nearest::nearest;

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Lines and columns from 1, in characters; the end is exclusive.
    pub span: Span,
    /// What is wrong and why, in lower case and without a full stop.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Diagnostic {
    /// A mistake at `span`.
    pub fn new(span: Span, message: impl Into<String>) -> Self {
        Diagnostic { span, message: message.into(), hint: None }
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds the known name that `word` was probably meant to be, else all of them.
    #[must_use]
    pub fn hint_known(self, word: &str, what: &str, known: &[&str]) -> Self {
        match nearest(word, known) {
            Some(name) => self.hint(format!("did you mean '{name}'?")),
            None if known.is_empty() => self,
            None => self.hint(format!("{what}: {}", known.join(", "))),
        }
    }
}

/// All mistakes of a file, in the order of their places.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostics {
    /// As the file is named in messages.
    pub file: String,
    /// The file's text.
    pub text: String,
    pub list: Vec<Diagnostic>,
}

impl Diagnostics {
    /// Puts the mistakes in the order of their places.
    pub fn new(file: impl Into<String>, text: impl Into<String>, mut list: Vec<Diagnostic>) -> Self {
        list.sort_by_key(|diagnostic| diagnostic.span.start);
        Diagnostics { file: file.into(), text: text.into(), list }
    }

    fn write(&self, f: &mut fmt::Formatter<'_>, lines: &[&str], diagnostic: &Diagnostic) -> fmt::Result {
        let (start, end) = (diagnostic.span.start, diagnostic.span.end);
        if start.line == 0 {
            writeln!(f, "{}: {}", self.file, diagnostic.message)?;
        } else {
            writeln!(f, "{}:{}:{}: {}", self.file, start.line, start.column, diagnostic.message)?;
            let index = usize::try_from(start.line - 1).unwrap_or(usize::MAX);
            if let Some(line) = lines.get(index) {
                let skipped = usize::try_from(start.column.saturating_sub(1)).unwrap_or(usize::MAX);
                let width = if end.line == start.line {
                    usize::try_from(end.column.saturating_sub(start.column)).unwrap_or(1)
                } else {
                    line.chars().count().saturating_sub(skipped)
                };
                write_line(f, start.line, line, skipped, width.max(1))?;
            }
        }
        if let Some(hint) = &diagnostic.hint {
            writeln!(f, "  hint: {hint}")?;
        }
        Ok(())
    }
}

/// The line with carets under `width` characters behind the `skipped` first ones.
fn write_line(
    f: &mut fmt::Formatter<'_>,
    number: u64,
    line: &str,
    skipped: usize,
    width: usize,
) -> fmt::Result {
    let number = number.to_string();
    // A control character would do something to the terminal.
    let line = line.replace(|c: char| c.is_control() && c != '\t', "\u{fffd}");
    let (line, skipped, width) = cut(&line, skipped, width);
    let line = line.as_str();
    // A tab stays a tab, so that the carets stand below their characters however wide it is shown.
    let indent: String = line.chars().take(skipped).map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
    writeln!(f, "  {number} | {line}")?;
    writeln!(f, "  {:blank$} | {indent}{}", "", "^".repeat(width), blank = number.len())
}

/// The part of a long line around the `width` characters behind the `skipped` first ones.
fn cut(line: &str, skipped: usize, width: usize) -> (String, usize, usize) {
    const SHOWN: usize = 160;
    const BEFORE: usize = 60;
    let length = line.chars().count();
    if length <= SHOWN {
        return (line.to_owned(), skipped, width);
    }
    let from = skipped.saturating_sub(BEFORE).min(length);
    let to = (from + SHOWN).min(length);
    let (before, behind) = (if from > 0 { "..." } else { "" }, if to < length { "..." } else { "" });
    let part: String = line.chars().skip(from).take(to - from).collect();
    let skipped = skipped - from + before.len();
    let room = (part.chars().count() + before.len()).saturating_sub(skipped);
    (format!("{before}{part}{behind}"), skipped, width.min(room).max(1))
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.text.strip_prefix('\u{feff}').unwrap_or(&self.text);
        let lines: Vec<&str> = text.lines().collect();
        for (index, diagnostic) in self.list.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            self.write(f, &lines, diagnostic)?;
        }
        Ok(())
    }
}

impl std::error::Error for Diagnostics {}

impl From<Diagnostics> for Error {
    /// All mistakes of the file, each on lines of its own.
    fn from(mistakes: Diagnostics) -> Error {
        let count = match mistakes.list.len() {
            1 => "1 mistake".to_owned(),
            count => format!("{count} mistakes"),
        };
        Error::config(format!("{} has {count}\n\n{}", mistakes.file, mistakes.to_string().trim_end()))
    }
}

/// The text of a dataflow file, or where it stops to be text.
pub fn text(file: &str, bytes: Vec<u8>) -> Result<String, Diagnostics> {
    String::from_utf8(bytes).map_err(|error| {
        let bytes = error.as_bytes();
        let good = bytes.utf8_chunks().next().map_or("", |chunk| chunk.valid());
        let line = good.matches('\n').count() + 1;
        let column = good.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        let place = |column: usize| Location::new(line as u64, column as u64);
        let byte = bytes.get(good.len()).copied().unwrap_or_default();
        let message = format!("the byte 0x{byte:02X} is not UTF-8");
        let mistake = Diagnostic::new(Span::new(place(column), place(column + 1)), message);
        let hint = "save the file as UTF-8; it seems to have another encoding, such as Latin-1 or UTF-16";
        Diagnostics::new(file, String::from_utf8_lossy(bytes), vec![mistake.hint(hint)])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(line: u64, from: u64, to: u64) -> Span {
        Span::new(Location::new(line, from), Location::new(line, to))
    }

    #[test]
    fn of_a_long_line_the_part_with_the_mistake_is_shown() {
        let text = format!("{}wrong{}", "ü, ".repeat(1000), " and so on".repeat(1000));
        let list = vec![Diagnostic::new(span(1, 3001, 3006), "wrong").hint("write right")];
        let shown = Diagnostics::new("d.sql", text, list).to_string();
        let [_, line, carets, _] = shown.lines().collect::<Vec<_>>()[..] else { panic!("{shown}") };
        assert!(line.len() < 240 && line.contains("...") && line.ends_with("..."), "{shown}");
        let at = |text: &str, part: &str| text.find(part).map(|byte| text[..byte].chars().count());
        assert_eq!(at(line, "wrong"), at(carets, "^^^^^"), "{shown}");
    }

    #[test]
    fn mistakes_are_shown_with_their_line_underlined_in_characters() {
        let text = "SELECT 'größe',\n\t\"Übermaß\"\nFROM x";
        let list = vec![
            Diagnostic::new(span(2, 2, 11), "unknown column 'Übermaß'").hint("did you mean 'u'?"),
            Diagnostic::new(Span::new(Location::new(1, 8), Location::new(2, 3)), "over two lines"),
            Diagnostic::new(span(3, 7, 7), "empty place"),
        ];
        insta::assert_snapshot!(Diagnostics::new("d.sql", text, list), @r#"
        d.sql:1:8: over two lines
          1 | SELECT 'größe',
            |        ^^^^^^^^

        d.sql:2:2: unknown column 'Übermaß'
          2 | 	"Übermaß"
            | 	^^^^^^^^^
          hint: did you mean 'u'?

        d.sql:3:7: empty place
          3 | FROM x
            |       ^
        "#);
    }
}

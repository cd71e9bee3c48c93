//! Mistakes of the author of a dataflow file: where, what, and what to do.

use std::fmt;

use datafusion_sql::sqlparser::tokenizer::Span;

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
    // A tab stays a tab, so that the carets stand below their characters however wide it is shown.
    let indent: String = line.chars().take(skipped).map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
    writeln!(f, "  {number} | {line}")?;
    writeln!(f, "  {:blank$} | {indent}{}", "", "^".repeat(width), blank = number.len())
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

#[cfg(test)]
mod tests {
    use datafusion_sql::sqlparser::tokenizer::Location;

    use super::*;

    fn span(line: u64, from: u64, to: u64) -> Span {
        Span::new(Location::new(line, from), Location::new(line, to))
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

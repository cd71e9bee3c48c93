//! A tree of text: titles, lines below them, and children.

use std::fmt;

/// Width of the labels in front of the lines.
const LABEL: usize = 13;

/// One stage.
pub(super) struct Node {
    title: String,
    lines: Vec<(&'static str, String)>,
    pub children: Vec<Node>,
}

impl Node {
    pub(super) fn new(title: impl Into<String>) -> Self {
        Node { title: title.into(), lines: Vec::new(), children: Vec::new() }
    }

    /// Adds a line; a label that stands above already is not repeated.
    pub(super) fn line(&mut self, label: &'static str, text: String) {
        self.lines.push((label, text));
    }

    fn write(&self, f: &mut fmt::Formatter<'_>, indent: &str) -> fmt::Result {
        let bar = if self.children.is_empty() { "  " } else { "│ " };
        let mut above = "";
        for (label, text) in &self.lines {
            let shown = if *label == above { "" } else { label };
            writeln!(f, "{indent}{bar}{shown:LABEL$}{text}")?;
            above = label;
        }
        for (index, child) in self.children.iter().enumerate() {
            let last = index + 1 == self.children.len();
            let (corner, below) = if last { ("└─ ", "   ") } else { ("├─ ", "│  ") };
            writeln!(f, "{indent}{corner}{}", child.title)?;
            child.write(f, &format!("{indent}{below}"))?;
        }
        Ok(())
    }
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.title)?;
        self.write(f, "")
    }
}

//! A mistake whose place may still be unknown.

use datafusion_sql::sqlparser::tokenizer::Span;

use super::diagnostic::Diagnostic;

/// Something that is wrong with a query, found where the place in the text is not at hand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Problem {
    pub message: String,
    pub hint: Option<String>,
    pub span: Option<Span>,
    /// The column of the SELECT list that it is in.
    pub column: Option<String>,
}

impl Problem {
    pub fn new(message: impl Into<String>) -> Self {
        Problem { message: message.into(), hint: None, span: None, column: None }
    }

    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The place, if none is known so far.
    #[must_use]
    pub fn or_at(mut self, span: Option<Span>) -> Self {
        self.span = self.span.or(span.filter(known));
        self
    }

    /// The mistake as the author sees it: at its own place, else at `fallback`.
    pub fn into_diagnostic(self, fallback: Span) -> Diagnostic {
        let mut diagnostic = Diagnostic::new(self.span.unwrap_or(fallback), self.message);
        diagnostic.hint = self.hint;
        diagnostic
    }
}

/// Whether a span names a place; syntax that the parser made up has none.
pub(super) fn known(span: &Span) -> bool {
    span.start.line > 0
}

/// `span`, unless it names no place.
pub(super) fn or_else(span: Span, fallback: Span) -> Span {
    if known(&span) { span } else { fallback }
}

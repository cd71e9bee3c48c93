//! A mistake whose place may still be unknown.

use datafusion_sql::sqlparser::tokenizer::Span;

use super::diagnostic::Diagnostic;

/// Something that is wrong with a query, found where the place in the text is not at hand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Problem {
    pub message: String,
    pub hint: Option<String>,
    pub place: Place,
    /// The column of the SELECT list that it is in.
    pub column: Option<String>,
}

/// What is known about the place of a problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Unknown,
    /// The columns that the wrong expression names.
    Near(Span),
    At(Span),
}

impl Problem {
    pub fn new(message: impl Into<String>) -> Self {
        Problem { message: message.into(), hint: None, place: Place::Unknown, column: None }
    }

    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The column of the SELECT list that it is in.
    #[must_use]
    pub fn of_column(mut self, name: &str) -> Self {
        self.column = Some(name.to_owned());
        self
    }

    /// The place, unless it is known.
    #[must_use]
    pub fn or_at(mut self, span: Option<Span>) -> Self {
        if let (Place::Unknown | Place::Near(_), Some(span)) = (self.place, span.filter(known)) {
            self.place = Place::At(span);
        }
        self
    }

    /// Where about it is, unless something is known.
    #[must_use]
    pub fn near(mut self, span: Option<Span>) -> Self {
        if let (Place::Unknown, Some(span)) = (self.place, span.filter(known)) {
            self.place = Place::Near(span);
        }
        self
    }

    /// The mistake as the author sees it: at its own place, else at that of the expression among `culprits`
    /// which it must come from, else in the column `item`, else at `fallback`.
    pub fn into_diagnostic(self, culprits: &[Span], item: Option<Span>, fallback: Span) -> Diagnostic {
        let within = |region: Span| culprits.iter().find(|culprit| overlap(**culprit, region)).copied();
        let in_item = item.and_then(within);
        let found = match (self.place, item) {
            (Place::At(span), _) => Some(span),
            (Place::Near(near), _) => within(near).or(in_item).or(Some(near)),
            (Place::Unknown, Some(item)) => in_item.or(Some(item)),
            (Place::Unknown, None) => culprits.first().copied(),
        };
        let span = found.unwrap_or(fallback);
        let mut diagnostic = Diagnostic::new(span, self.message);
        diagnostic.hint = self.hint;
        diagnostic
    }
}

/// Whether two places have a character in common.
pub(super) fn overlap(left: Span, right: Span) -> bool {
    left.start < right.end && right.start < left.end
}

/// Whether a span names a place; syntax that the parser made up has none.
pub(super) fn known(span: &Span) -> bool {
    span.start.line > 0
}

/// `span`, unless it names no place.
pub(super) fn or_else(span: Span, fallback: Span) -> Span {
    if known(&span) { span } else { fallback }
}

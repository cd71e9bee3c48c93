//! One error type for everything that is not the data's fault; rows that cannot be used become dead letters.
//!
//! An error is classed by what the caller does next, see [`ErrorKind`].

use std::fmt;

/// What to do about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The data is bad: the record becomes a dead letter and the rest goes on.
    Data,
    /// The other side is away: wait with back-off, keep the back-pressure, lose nothing.
    Away,
    /// The configuration, the dataflow file or the environment is wrong: stop with a message.
    Config,
    /// A bug or broken state of our own: stop with a message.
    Internal,
}

/// What failed, with context pairs and the hint that lets a person act.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    message: String,
    hint: Option<String>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// The result of everything that can fail as a whole.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error of the given kind. The message says what failed, in lower case and without a full stop.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Error { kind, message: message.into(), hint: None, source: None }
    }

    /// The record is bad, see [`ErrorKind::Data`].
    pub fn data(message: impl Into<String>) -> Self {
        Error::new(ErrorKind::Data, message)
    }

    /// The other side is away, see [`ErrorKind::Away`].
    pub fn away(message: impl Into<String>) -> Self {
        Error::new(ErrorKind::Away, message)
    }

    /// The configuration is wrong, see [`ErrorKind::Config`].
    pub fn config(message: impl Into<String>) -> Self {
        Error::new(ErrorKind::Config, message)
    }

    /// A bug or broken state of our own, see [`ErrorKind::Internal`].
    pub fn internal(message: impl Into<String>) -> Self {
        Error::new(ErrorKind::Internal, message)
    }

    /// Adds what the reader can do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds the error that caused this one.
    #[must_use]
    pub fn caused_by(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Puts where it happened in front of the message.
    #[must_use]
    pub fn context(mut self, context: impl fmt::Display) -> Self {
        self.message = format!("{context}: {}", self.message);
        self
    }

    /// What the caller does next.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        let mut source = self.source.as_deref().map(|e| e as &dyn std::error::Error);
        while let Some(error) = source {
            write!(f, ": {error}")?;
            source = error.source();
        }
        if let Some(hint) = &self.hint {
            write!(f, "\n  hint: {hint}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|e| e as &(dyn std::error::Error + 'static))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn display_gives_message_cause_and_hint() {
        let error = Error::config("cannot open 'x'")
            .caused_by(std::io::Error::other("gone"))
            .hint("create it")
            .context("source s");
        assert_eq!(error.to_string(), "source s: cannot open 'x': gone\n  hint: create it");
        assert_eq!(error.kind(), ErrorKind::Config);
    }
}

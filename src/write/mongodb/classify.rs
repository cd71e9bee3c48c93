//! What an error of the server or the driver means for the rows that were sent.

use mongodb::error::{Error as DriverError, ErrorKind as DriverErrorKind};

use crate::error::Error;

/// What to do about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// Send the same again, later. Also for everything unknown: waiting loses nothing.
    Wait,
    /// The server will never take this document; all others are not concerned.
    Refused,
    /// Somebody has to change something.
    Config,
}

/// Refusals of one document: too large (2, 10334, 17419), nested too deeply (15), bad names or ids
/// (52, 53, 56, 57, 66), not what the validator wants (121).
const REFUSED: [i32; 10] = [2, 15, 52, 53, 56, 57, 66, 121, 10334, 17419];

/// Not allowed (13, 18, 8000), no such collection (26), invalid name (73), a write concern that cannot be met
/// (100), a server without replica set (20).
const CONFIG: [i32; 7] = [13, 18, 20, 26, 73, 100, 8000];

/// A document with one of the unique keys is there already.
pub(super) const DUPLICATE_KEY: i32 = 11000;

/// The class of an error code of the server.
pub(super) fn class_of_code(code: i32) -> Class {
    if REFUSED.contains(&code) {
        Class::Refused
    } else if CONFIG.contains(&code) {
        Class::Config
    } else {
        Class::Wait
    }
}

/// The class of a command that failed as a whole.
pub(super) fn class_of(error: &DriverError) -> Class {
    match error.kind.as_ref() {
        DriverErrorKind::Command(error) => class_of_code(error.code),
        DriverErrorKind::Authentication { .. }
        | DriverErrorKind::InvalidTlsConfig { .. }
        | DriverErrorKind::IncompatibleServer { .. } => Class::Config,
        _ => Class::Wait,
    }
}

/// An error of the driver as one of ours.
pub(super) fn failure(what: &str, error: DriverError) -> Error {
    let class = class_of(&error);
    let ours = match class {
        Class::Wait => Error::away(what),
        _ => Error::config(what),
    };
    ours.caused_by(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_waited_for_unless_they_are_known_to_be_final() {
        for code in [6, 7, 50, 64, 89, 91, 112, 134, 189, 262, 9001, 10107, 11600, 11602, 13435, 13436] {
            assert_eq!(class_of_code(code), Class::Wait, "{code}");
        }
        assert_eq!(class_of_code(123_456), Class::Wait, "unknown means wait, not drop");
        assert_eq!([class_of_code(121), class_of_code(13)], [Class::Refused, Class::Config]);
    }

    #[test]
    fn a_connection_that_breaks_is_waited_for() {
        let broken = DriverError::from(std::io::Error::other("reset by peer"));
        assert_eq!(class_of(&broken), Class::Wait);
        assert_eq!(failure("x", broken).kind(), crate::error::ErrorKind::Away);
    }
}

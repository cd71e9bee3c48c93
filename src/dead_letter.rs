//! Records and rows that could not be used, with the reason and where they came from.

use serde::{Deserialize, Serialize};

use crate::batch::RowOrigin;

/// One record or row that could not be used.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// The source record; `None` behind an aggregate, where `row` stands instead.
    #[serde(with = "origin")]
    pub origin: Option<RowOrigin>,
    /// The row as a JSON object, where there is no origin.
    pub row: Option<String>,
    pub reason: Reason,
    /// What was wrong, naming field and value.
    pub error: String,
    /// The rule that was broken, as the user wrote it: `NOT NULL did`, `CHECK (a > 0)`, an expression; empty
    /// where no rule of the user is involved.
    pub rule: String,
    /// Where it was decided: name of the source, leg, operator or sink.
    pub stage: String,
}

/// Why a record or row could not be used. Its name is the `error_type` of the letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Reason {
    /// Not JSON, not an object, not a record of CSV, not UTF-8, nested too deeply.
    Malformed,
    /// More than `max_record_bytes`.
    TooLarge,
    /// A field has a value that its column cannot hold.
    WrongType,
    /// A NOT NULL column is missing or null.
    NotNull,
    /// A CHECK is false.
    Check,
    /// Event time further ahead than `max_future`.
    FutureTime,
    /// An expression failed on this row.
    Expression,
    /// The result of a group cannot be computed.
    Aggregate,
    /// The sink's server refused the row.
    SinkRefused,
    /// Another document with the same `_id` has other content.
    Conflict,
}

impl Reason {
    /// Every reason, in the order of their numbers.
    pub const ALL: [Reason; 10] = [
        Reason::Malformed,
        Reason::TooLarge,
        Reason::WrongType,
        Reason::NotNull,
        Reason::Check,
        Reason::FutureTime,
        Reason::Expression,
        Reason::Aggregate,
        Reason::SinkRefused,
        Reason::Conflict,
    ];

    /// The `error_type` of a letter and the label of its metric.
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::Malformed => "malformed",
            Reason::TooLarge => "too_large",
            Reason::WrongType => "wrong_type",
            Reason::NotNull => "not_null",
            Reason::Check => "check",
            Reason::FutureTime => "future_time",
            Reason::Expression => "expression",
            Reason::Aggregate => "aggregate",
            Reason::SinkRefused => "sink_refused",
            Reason::Conflict => "conflict",
        }
    }
}

/// A record as it was received, kept until the dead letters of its epoch are written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RawRecord {
    pub key: Option<Vec<u8>>,
    pub payload: Option<Vec<u8>>,
    /// Bytes behind the payload that were not kept.
    pub left_out: u64,
}

/// A dead letter with all that the dead-letter sink writes of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AddressedLetter {
    pub letter: DeadLetter,
    /// Source of the letter: its `dead_letters` policy decides where it goes.
    pub source: usize,
    /// Topic or file of the record.
    pub topic: String,
    /// Kafka partition number, or 0 in a file.
    pub partition: u32,
    pub record: RawRecord,
    /// Wall clock of the epoch, milliseconds since the Unix epoch.
    pub wall_ms: i64,
}

/// Serde for an optional origin as a tuple.
mod origin {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use crate::batch::RowOrigin;

    pub fn serialize<S: Serializer>(origin: &Option<RowOrigin>, serializer: S) -> Result<S::Ok, S::Error> {
        origin.map(|o| (o.source, o.partition, o.offset, o.index)).serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<RowOrigin>, D::Error> {
        let fields = Option::<(u16, u32, u64, u32)>::deserialize(deserializer)?;
        Ok(fields.map(|(source, partition, offset, index)| RowOrigin { source, partition, offset, index }))
    }
}

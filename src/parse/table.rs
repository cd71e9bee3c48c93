//! What a record of a table says of its key: which it is, and whether it is gone.

use super::coerce::{Datum, Scratch, coerce};
use super::fault::{self, Fault};
use super::fields::Fields;
use crate::dead_letter::Reason;
use crate::json::Token;
use crate::plan::{Column, ColumnOrigin, KeyFormat, KeySaid, OPERATION, Source};
use crate::record::Record;

/// Reads the keys of messages.
#[derive(Debug)]
pub(super) struct Keys {
    said: KeySaid,
    /// Key columns in the JSON of a key.
    fields: Fields,
    tokens: Vec<Token>,
    scratch: Scratch,
    /// By column of the source its place among the fields of a key.
    slots: Vec<Option<usize>>,
    /// By column whether it is part of the key.
    is_key: Vec<bool>,
}

impl Keys {
    /// Those of a source; `None` for one that is no table.
    pub(super) fn of(source: &Source) -> Option<Keys> {
        let table = source.table.as_ref()?;
        let mut fields = Fields::new();
        let is_key: Vec<bool> = (0..source.columns.len()).map(|column| table.key.contains(&column)).collect();
        let in_message = matches!(table.said, KeySaid::Message(_));
        let slot = |(column, is_key): (&Column, &bool)| match &column.from {
            ColumnOrigin::Path(path) if in_message && *is_key => Some(fields.slot(path)),
            _ => None,
        };
        let slots = source.columns.iter().zip(&is_key).map(slot).collect();
        let tokens = vec![Token::MISSING; fields.len()];
        Some(Keys { said: table.said, fields, tokens, scratch: Scratch::default(), slots, is_key })
    }

    /// The place of a column among the fields of keys, if it is one of them.
    pub(super) fn slot(&self, column: usize) -> Option<usize> {
        self.slots[column]
    }

    pub(super) fn is_key(&self, column: usize) -> bool {
        self.is_key[column]
    }

    /// Whether a field of the record says what it does, which no column of `source` reads.
    pub(super) fn has_operation(&self, source: &Source) -> bool {
        let declared =
            |column: &Column| matches!(&column.from, ColumnOrigin::Path(path) if path[..] == [OPERATION]);
        self.said == KeySaid::Record && !source.columns.iter().any(declared)
    }

    /// Reads the key of a message. Gives its text, which is empty where the key is a part of the record.
    pub(super) fn read<'r>(&mut self, record: &Record<'r>) -> Result<&'r str, Fault> {
        let KeySaid::Message(format) = self.said else { return Ok("") };
        let Some(key) = record.key else {
            return Err(Fault::malformed("the message has no key, which a record of a table needs"));
        };
        let key = str::from_utf8(key).map_err(|error| {
            Fault::malformed(format!("in the key: not UTF-8 at byte {}", error.valid_up_to()))
        })?;
        if format == KeyFormat::Json {
            let read = self.fields.read(key, &mut self.tokens, &mut self.scratch.text);
            read.map_err(|malformed| Fault::from(malformed).in_key())?;
        }
        Ok(key)
    }

    /// Whether the record is a message without payload, which deletes its key.
    pub(super) fn is_tombstone(&self, record: &Record<'_>) -> bool {
        record.payload.is_none() && matches!(self.said, KeySaid::Message(_))
    }

    /// The value of a key column, which stands at `slot` of the key with this text.
    pub(super) fn value<'r>(
        &'r mut self,
        slot: usize,
        column: &Column,
        source: &Source,
        key: &'r str,
    ) -> Option<Datum<'r>> {
        match self.said {
            KeySaid::Message(KeyFormat::Raw) => Some(Datum::Text(key)),
            _ => {
                let format = source.timestamp_format;
                coerce(self.tokens[slot], column.kind, format, key, &mut self.scratch)
            }
        }
    }

    /// What stands at a place of the key.
    pub(super) fn token(&self, slot: usize) -> Token {
        self.tokens[slot]
    }
}

/// Whether a record whose field [`OPERATION`] is `operation` deletes its key.
pub(super) fn deletes(operation: Option<&str>) -> Result<bool, Fault> {
    match operation {
        None | Some("insert" | "update") => Ok(false),
        Some("delete") => Ok(true),
        Some(other) => {
            let shown = fault::shortened(other);
            let error = format!("field \"{OPERATION}\": {shown} is none of insert, update, delete");
            Err(Fault::new(Reason::WrongType, error))
        }
    }
}

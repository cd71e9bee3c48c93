//! Bytes to columns: a record becomes a row or a reject, and nothing else in its batch is touched.
//!
//! On its way a JSON record is scanned once into tokens (spans of its text, one per declared path), guided by the
//! records before it (`outline`), and one of CSV into its fields; then each is coerced to its column's type and
//! appended. When a value does not fit, what was appended of the record is taken back. CHECKs are evaluated over the
//! columns when the chunk is finished.
//!
//! Values are read generously where the meaning is certain: `7.0` and `"7"` are the BIGINT 7, `""` is NULL
//! except in a TEXT, a number or boolean in a TEXT is its JSON text. They are refused where it is not.

mod check;
mod coerce;
mod column;
mod computed;
mod csv;
mod fault;
mod fields;
mod metadata;
mod number;
mod outline;
mod rows;
mod table;
pub mod timestamp;

#[cfg(test)]
mod random_tests;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use self::coerce::{Datum, Scratch, coerce};
use self::fault::Fault;
use self::fields::Fields;
use self::rows::{Found, Input, Rows, append, append_known};
use self::table::Keys;
use crate::json::{Kind, Token};
use crate::plan::{ColumnOrigin, Format, Metadata, OPERATION, Source};
use crate::record::{Chunk, Decode, Partition, Record};

pub use self::csv::CsvDecoder;

/// What decodes the records of one partition of a source.
pub fn decoder(source: Arc<Source>, partition: Partition) -> Box<dyn Decode> {
    match source.format.clone() {
        Format::Json => Box::new(JsonDecoder::new(source, partition)),
        Format::Csv(dialect) => Box::new(CsvDecoder::new(source, partition, &dialect)),
    }
}

/// Decodes the JSON records of one partition of a source.
#[derive(Debug)]
pub struct JsonDecoder {
    rows: Rows,
    fields: Fields,
    inputs: Vec<Input>,
    /// Of a table.
    keys: Option<Keys>,
    /// Place of the field that says what a record of a table does.
    operation: Option<usize>,
    /// What stands at the paths of the record at hand.
    tokens: Vec<Token>,
    scratch: Scratch,
    bytes: Vec<u8>,
}

impl JsonDecoder {
    /// A decoder of the records of `partition`.
    pub fn new(source: Arc<Source>, partition: Partition) -> Self {
        let mut fields = Fields::new();
        let keys = Keys::of(&source);
        let in_key = |column| keys.as_ref().and_then(|keys| keys.slot(column));
        let inputs = source.columns.iter().enumerate().map(|(index, column)| match &column.from {
            ColumnOrigin::Path(path) => match in_key(index) {
                Some(slot) => Input::Key(slot),
                None => Input::Field(fields.slot(path)),
            },
            ColumnOrigin::Metadata(metadata) => Input::Metadata(*metadata),
            ColumnOrigin::Computed => Input::Computed,
        });
        let inputs = inputs.collect();
        let operation = keys.as_ref().filter(|keys| keys.has_operation(&source));
        JsonDecoder {
            inputs,
            operation: operation.map(|_| fields.slot(&[OPERATION.to_owned()])),
            keys,
            tokens: vec![Token::MISSING; fields.len()],
            fields,
            scratch: Scratch::default(),
            bytes: Vec::new(),
            rows: Rows::new(source, partition),
        }
    }

    /// Appends the record to the columns; perhaps to some of them only, if it fails.
    #[inline]
    fn append(&mut self, record: &Record<'_>) -> Result<(), Fault> {
        let Rows { source, partition, columns, .. } = &mut self.rows;
        let key = self.keys.as_mut().map_or(Ok(""), |keys| keys.read(record))?;
        let tombstone = self.keys.as_ref().is_some_and(|keys| keys.is_tombstone(record));
        let text = if tombstone { "{}" } else { fault::content(record, source.max_record_bytes)? };
        self.fields.read(text, &mut self.tokens, &mut self.scratch.text).map_err(Fault::from)?;
        let operation = self
            .operation
            .map(|slot| self.tokens[slot])
            .filter(|token| !matches!(token.kind, Kind::Missing | Kind::Null));
        let operation = operation.map(|operation| operation.content(text, &mut self.scratch.text));
        let deletes = tombstone || table::deletes(operation)?;
        for (((index, column), input), builder) in
            source.columns.iter().enumerate().zip(&self.inputs).zip(columns.iter_mut())
        {
            if deletes && !self.keys.as_ref().is_some_and(|keys| keys.is_key(index)) {
                append_known(builder, Datum::Null);
                continue;
            }
            let value = match *input {
                Input::Key(slot) => {
                    let Some(keys) = &mut self.keys else { continue };
                    let token = keys.token(slot);
                    let value = keys.value(slot, column, source, key);
                    append(builder, column, value, || shown(token, key)).map_err(Fault::in_key)?;
                    continue;
                }
                Input::Field(slot) => {
                    let format = source.timestamp_format;
                    coerce(self.tokens[slot], column.kind, format, text, &mut self.scratch)
                }
                Input::Metadata(Metadata::IngestionTime) | Input::Computed => continue,
                Input::Metadata(metadata) => {
                    metadata::value(metadata, column.kind, partition, record, text, &mut self.bytes)
                }
            };
            append(builder, column, value, || found(&self.tokens, *input, text))?;
        }
        if self.keys.is_some()
            && let Some(flag) = columns.last_mut()
        {
            append_known(flag, Datum::Boolean(deletes));
        }
        Ok(())
    }
}

/// What stands for a column; nothing for a metadata column.
#[cold]
fn found<'t>(tokens: &[Token], input: Input, text: &'t str) -> Found<'t> {
    let token = match input {
        Input::Field(slot) => tokens[slot],
        Input::Key(_) | Input::Metadata(_) | Input::Computed => Token::MISSING,
    };
    shown(token, text)
}

/// A token of `text`.
fn shown(token: Token, text: &str) -> Found<'_> {
    match token.kind {
        Kind::Missing => Found::Missing,
        Kind::Null => Found::Null,
        _ => Found::Text(token.raw(text)),
    }
}

impl Decode for JsonDecoder {
    #[inline]
    fn push(&mut self, record: &Record<'_>) {
        let result = self.append(record);
        self.rows.settle(record, result);
    }

    fn len(&self) -> usize {
        self.rows.len()
    }

    fn finish(&mut self) -> Chunk {
        self.rows.finish()
    }
}

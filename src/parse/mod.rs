//! Bytes to columns: a record becomes a row or a reject, and nothing else in its batch is touched.
//!
//! On its way a record is scanned once into tokens (spans of its text, one per declared path), then each
//! token is coerced to its column's type and appended. When a value does not fit, what was appended of the
//! record is taken back. CHECKs are evaluated over the columns when the chunk is finished.
//!
//! Values are read generously where the meaning is certain: `7.0` and `"7"` are the BIGINT 7, `""` is NULL
//! except in a TEXT, a number or boolean in a TEXT is its JSON text. They are refused where it is not.

mod check;
mod coerce;
mod column;
mod fault;
mod fields;
mod metadata;
mod number;
pub mod timestamp;

#[cfg(test)]
mod random_tests;
#[cfg(test)]
mod tests;

use std::mem;
use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions, UInt64Array};

use self::coerce::{Datum, coerce};
use self::column::{ColumnBuilder, datum};
use self::fault::Fault;
use self::fields::Fields;
use crate::json::Token;
use crate::plan::{ColumnOrigin, Metadata, Source};
use crate::record::{Chunk, Decode, Partition, RawBuilder, Record, Reject};

/// Decodes the JSON records of one partition of a source.
#[derive(Debug)]
pub struct JsonDecoder {
    source: Arc<Source>,
    partition: Partition,
    fields: Fields,
    inputs: Vec<Input>,
    columns: Vec<ColumnBuilder>,
    /// What stands at the paths of the record at hand.
    tokens: Vec<Token>,
    text: String,
    bytes: Vec<u8>,
    /// Of the rows.
    offsets: Vec<u64>,
    rejects: Vec<Reject>,
    raw: RawBuilder,
}

/// Where a column takes its values from.
#[derive(Clone, Copy, Debug)]
enum Input {
    /// Index of the token.
    Field(usize),
    Metadata(Metadata),
}

impl JsonDecoder {
    /// A decoder of the records of `partition`.
    pub fn new(source: Arc<Source>, partition: Partition) -> Self {
        let mut fields = Fields::new();
        let inputs = source.columns.iter().map(|column| match &column.from {
            ColumnOrigin::Path(path) => Input::Field(fields.slot(path)),
            ColumnOrigin::Metadata(metadata) => Input::Metadata(*metadata),
        });
        let inputs = inputs.collect();
        JsonDecoder {
            partition,
            inputs,
            columns: source.columns.iter().map(|column| ColumnBuilder::new(column.kind)).collect(),
            tokens: vec![Token::MISSING; fields.len()],
            fields,
            text: String::new(),
            bytes: Vec::new(),
            offsets: Vec::new(),
            rejects: Vec::new(),
            raw: RawBuilder::default(),
            source,
        }
    }

    /// Appends the record to the columns; perhaps to some of them only, if it fails.
    #[inline]
    fn append(&mut self, record: &Record<'_>) -> Result<(), Fault> {
        let text = fault::content(record.payload, self.source.max_record_bytes)?;
        self.fields.read(text, &mut self.tokens, &mut self.text).map_err(Fault::from)?;
        let columns = self.source.columns.iter().zip(&self.inputs).zip(&mut self.columns);
        for ((column, input), builder) in columns {
            let value = match *input {
                Input::Field(slot) => {
                    let format = self.source.timestamp_format;
                    coerce(self.tokens[slot], column.kind, format, text, &mut self.text)
                }
                Input::Metadata(Metadata::IngestionTime) if !column.nullable => {
                    builder.push_placeholder();
                    continue;
                }
                Input::Metadata(metadata) => {
                    metadata::value(metadata, column.kind, &self.partition, record, text, &mut self.bytes)
                }
            };
            let value = match (value, &column.default) {
                (Some(Datum::Null), Some(default)) => Some(datum(&default.0, column.kind)),
                (value, _) => value,
            };
            if value == Some(Datum::Null) && !column.nullable {
                return Err(fault::not_null(column, token(&self.tokens, *input), text));
            }
            if !value.is_some_and(|value| builder.push(value)) {
                return Err(fault::wrong_type(column, token(&self.tokens, *input), text));
            }
        }
        Ok(())
    }
}

/// The token of a column; none of a metadata column.
fn token(tokens: &[Token], input: Input) -> Token {
    match input {
        Input::Field(slot) => tokens[slot],
        Input::Metadata(_) => Token::MISSING,
    }
}

impl Decode for JsonDecoder {
    #[inline]
    fn push(&mut self, record: &Record<'_>) {
        self.raw.push(record);
        match self.append(record) {
            Ok(()) => self.offsets.push(record.offset),
            Err(fault) => {
                for column in &mut self.columns {
                    column.truncate(self.offsets.len());
                }
                self.rejects.push(fault.reject(record.offset));
            }
        }
    }

    fn len(&self) -> usize {
        self.raw.len()
    }

    fn finish(&mut self) -> Chunk {
        let offsets = mem::replace(&mut self.offsets, Vec::with_capacity(self.raw.len()));
        let options = RecordBatchOptions::new().with_row_count(Some(offsets.len()));
        let columns = self.columns.iter_mut().map(ColumnBuilder::finish).collect();
        let rows = RecordBatch::try_new_with_options(Arc::clone(&self.source.schema), columns, &options)
            .expect("the columns of a source have the types of its schema");
        let mut rejects = mem::take(&mut self.rejects);
        let (rows, offsets) =
            check::apply(&self.source.checks, rows, UInt64Array::from(offsets), &mut rejects);
        rejects.sort_by_key(|reject| reject.offset);
        Chunk { rows, offsets, rejects, raw: self.raw.finish() }
    }
}

//! Bytes to columns: a record becomes a row or a reject, and nothing else in its batch is touched.
//!
//! On its way a JSON record is scanned once into tokens (spans of its text, one per declared path), one of CSV
//! into its fields; then each is coerced to its column's type and appended. When a value does not fit, what was appended of the
//! record is taken back. CHECKs are evaluated over the columns when the chunk is finished.
//!
//! Values are read generously where the meaning is certain: `7.0` and `"7"` are the BIGINT 7, `""` is NULL
//! except in a TEXT, a number or boolean in a TEXT is its JSON text. They are refused where it is not.

mod check;
mod coerce;
mod column;
mod csv;
mod fault;
mod fields;
mod metadata;
mod number;
mod rows;
pub mod timestamp;

#[cfg(test)]
mod random_tests;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use self::coerce::coerce;
use self::fault::Fault;
use self::fields::Fields;
use self::rows::{Found, Input, Rows, append};
use crate::json::{Kind, Token};
use crate::plan::{ColumnOrigin, Format, Metadata, Source};
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
    /// What stands at the paths of the record at hand.
    tokens: Vec<Token>,
    text: String,
    bytes: Vec<u8>,
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
            inputs,
            tokens: vec![Token::MISSING; fields.len()],
            fields,
            text: String::new(),
            bytes: Vec::new(),
            rows: Rows::new(source, partition),
        }
    }

    /// Appends the record to the columns; perhaps to some of them only, if it fails.
    #[inline]
    fn append(&mut self, record: &Record<'_>) -> Result<(), Fault> {
        let Rows { source, partition, columns, .. } = &mut self.rows;
        let text = fault::content(record, source.max_record_bytes)?;
        self.fields.read(text, &mut self.tokens, &mut self.text).map_err(Fault::from)?;
        for ((column, input), builder) in source.columns.iter().zip(&self.inputs).zip(columns) {
            let value = match *input {
                Input::Field(slot) => {
                    let format = source.timestamp_format;
                    coerce(self.tokens[slot], column.kind, format, text, &mut self.text)
                }
                Input::Metadata(Metadata::IngestionTime) if !column.nullable => {
                    builder.push_placeholder();
                    continue;
                }
                Input::Metadata(metadata) => {
                    metadata::value(metadata, column.kind, partition, record, text, &mut self.bytes)
                }
            };
            append(builder, column, value, || found(&self.tokens, *input, text))?;
        }
        Ok(())
    }
}

/// What stands for a column; nothing for a metadata column.
#[cold]
fn found<'t>(tokens: &[Token], input: Input, text: &'t str) -> Found<'t> {
    let token = match input {
        Input::Field(slot) => tokens[slot],
        Input::Metadata(_) => Token::MISSING,
    };
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

//! Records of CSV to rows.

use std::collections::HashMap;
use std::sync::Arc;

use super::coerce::{Datum, coerce_field};
use super::fault::{self, Fault};
use super::metadata;
use super::rows::{Found, Input, Rows, append};
use crate::csv::{Dialect, Fields, Parser};
use crate::plan::{ColumnOrigin, Metadata, Source};
use crate::record::{Chunk, Decode, Partition, Record};

/// Decodes the CSV records of one partition of a source: by the names in its header where it has one, else by
/// position.
#[derive(Debug)]
pub struct CsvDecoder {
    rows: Rows,
    inputs: Vec<Input>,
    /// Text of NULL.
    null: String,
    parser: Parser,
    layout: Result<Layout, String>,
    /// Of the record at hand.
    fields: Fields,
    bytes: Vec<u8>,
}

/// Where the declared columns stand in a record.
#[derive(Debug)]
struct Layout {
    /// Place of each column that is a field; `None` for one that the header does not name.
    places: Vec<Option<usize>>,
    /// Fields of a record, where that is known.
    count: Option<usize>,
    /// Fields up to the last one that is read.
    keep: usize,
}

impl CsvDecoder {
    /// A decoder of the records of `partition`.
    pub fn new(source: Arc<Source>, partition: Partition, dialect: &Dialect) -> Self {
        let mut count = 0;
        let inputs = source.columns.iter().map(|column| match &column.from {
            ColumnOrigin::Path(_) => {
                count += 1;
                Input::Field(count - 1)
            }
            ColumnOrigin::Metadata(metadata) => Input::Metadata(*metadata),
        });
        let inputs = inputs.collect();
        CsvDecoder {
            inputs,
            null: dialect.null.clone(),
            parser: Parser::new(&dialect.of_file(&partition.name)),
            // Without any column that is a field, nothing is known of a record's fields.
            layout: Ok(Layout {
                places: (0..count).map(Some).collect(),
                count: (count > 0).then_some(count),
                keep: count,
            }),
            fields: Fields::default(),
            bytes: Vec::new(),
            rows: Rows::new(source, partition),
        }
    }

    fn layout(&mut self, header: &Record<'_>) -> Result<Layout, String> {
        let source = &self.rows.source;
        let text = fault::content(header, source.max_record_bytes).map_err(|fault| fault.text())?;
        self.parser.parse(text, usize::MAX, &mut self.fields).map_err(|malformed| malformed.to_string())?;
        let (fields, count) = (&self.fields, self.fields.count());
        // Of a name that stands twice, both places.
        let mut named: HashMap<&str, (usize, Option<usize>)> = HashMap::new();
        for (place, (name, _)) in (0..count).filter_map(|place| Some((place, fields.get(place)?))) {
            named.entry(name).and_modify(|(_, second)| *second = Some(place)).or_insert((place, None));
        }
        let mut places = Vec::new();
        for column in &source.columns {
            let ColumnOrigin::Path(path) = &column.from else { continue };
            let name = path.first().map_or("", String::as_str);
            match named.get(name) {
                Some((_, Some(_))) => return Err(format!("\"{name}\" stands twice")),
                found => places.push(found.map(|(place, _)| *place)),
            }
        }
        if !places.is_empty() && places.iter().all(Option::is_none) {
            return Err(format!("no column of the source is among {}", fault::shortened(text)));
        }
        let keep = places.iter().flatten().max().map_or(0, |last| last + 1);
        Ok(Layout { places, count: Some(count), keep })
    }

    /// Appends the record to the columns; perhaps to some of them only, if it fails.
    fn append(&mut self, record: &Record<'_>) -> Result<(), Fault> {
        let Rows { source, partition, columns, .. } = &mut self.rows;
        let text = fault::content(record, source.max_record_bytes)?;
        let layout = self
            .layout
            .as_ref()
            .map_err(|error| Fault::malformed(format!("the header of its file: {error}")))?;
        self.parser.parse(text, layout.keep, &mut self.fields)?;
        let count = self.fields.count();
        if let Some(expected) = layout.count.filter(|expected| *expected != count) {
            let s = if count == 1 { "" } else { "s" };
            return Err(Fault::malformed(format!("{count} field{s}, expected {expected}")));
        }
        for ((column, input), builder) in source.columns.iter().zip(&self.inputs).zip(columns) {
            let field = match *input {
                Input::Field(field) => layout.places[field].and_then(|place| self.fields.get(place)),
                Input::Metadata(_) => None,
            };
            let value = match (*input, field) {
                (Input::Field(_), None) => Some(Datum::Null),
                (Input::Field(_), Some((text, quoted))) => {
                    coerce_field(text, quoted, &self.null, column.kind, source.timestamp_format)
                }
                (Input::Metadata(Metadata::IngestionTime), _) if !column.nullable => {
                    builder.push_placeholder();
                    continue;
                }
                (Input::Metadata(metadata), _) => {
                    metadata::value(metadata, column.kind, partition, record, text, &mut self.bytes)
                }
            };
            append(builder, column, value, || match field {
                None => Found::Missing,
                Some((text, false)) if !text.is_empty() && text == self.null => Found::Null,
                Some((text, _)) => Found::Text(text),
            })?;
        }
        Ok(())
    }
}

impl Decode for CsvDecoder {
    fn header(&mut self, header: &Record<'_>) {
        self.layout = self.layout(header);
    }

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

#[cfg(test)]
mod tests;

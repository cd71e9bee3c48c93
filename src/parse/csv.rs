//! Records of CSV to rows.

use std::collections::HashMap;
use std::sync::Arc;

use super::coerce::{Datum, coerce_field};
use super::fault::{self, Fault};
use super::metadata;
use super::rows::{Found, Input, Rows, append, append_known};
use super::table::{self, Keys};
use super::timestamp::Minute;
use crate::csv::{Dialect, Fields, Parser};
use crate::plan::{ColumnOrigin, Metadata, OPERATION, Source};
use crate::record::{Chunk, Decode, Partition, Record};

/// Decodes the CSV records of one partition of a source: by the names in its header where it has one, else by
/// position.
#[derive(Debug)]
pub struct CsvDecoder {
    rows: Rows,
    inputs: Vec<Input>,
    /// Of a table.
    keys: Option<Keys>,
    /// Text of NULL.
    null: String,
    parser: Parser,
    layout: Result<Layout, String>,
    /// Of the record at hand.
    fields: Fields,
    minute: Minute,
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
    /// Place of the field that says what a record of a table does.
    operation: Option<usize>,
}

impl CsvDecoder {
    /// A decoder of the records of `partition`.
    pub fn new(source: Arc<Source>, partition: Partition, dialect: &Dialect) -> Self {
        let mut count = 0;
        let keys = Keys::of(&source);
        let inputs = source.columns.iter().enumerate().map(|(index, column)| match &column.from {
            ColumnOrigin::Path(_) => match keys.as_ref().and_then(|keys| keys.slot(index)) {
                Some(slot) => Input::Key(slot),
                None => {
                    count += 1;
                    Input::Field(count - 1)
                }
            },
            ColumnOrigin::Metadata(metadata) => Input::Metadata(*metadata),
            ColumnOrigin::Computed => Input::Computed,
        });
        let inputs = inputs.collect();
        CsvDecoder {
            inputs,
            keys,
            null: dialect.null.clone(),
            parser: Parser::new(&dialect.of_file(&partition.name)),
            // Without any column that is a field, nothing is known of a record's fields.
            layout: Ok(Layout {
                places: (0..count).map(Some).collect(),
                count: (count > 0).then_some(count),
                keep: count,
                operation: None,
            }),
            fields: Fields::default(),
            minute: Minute::default(),
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
        for (column, input) in source.columns.iter().zip(&self.inputs) {
            let (ColumnOrigin::Path(path), Input::Field(_)) = (&column.from, input) else { continue };
            let name = path.first().map_or("", String::as_str);
            match named.get(name) {
                Some((_, Some(_))) => return Err(format!("\"{name}\" stands twice")),
                found => places.push(found.map(|(place, _)| *place)),
            }
        }
        if !places.is_empty() && places.iter().all(Option::is_none) {
            return Err(format!("no column of the source is among {}", fault::shortened(text)));
        }
        let operation = self.keys.as_ref().filter(|keys| keys.has_operation(source));
        let operation = operation.and_then(|_| named.get(OPERATION)).map(|(place, _)| *place);
        let keep = places.iter().flatten().chain(&operation).max().map_or(0, |last| last + 1);
        Ok(Layout { places, count: Some(count), keep, operation })
    }

    /// Appends the record to the columns; perhaps to some of them only, if it fails.
    fn append(&mut self, record: &Record<'_>) -> Result<(), Fault> {
        let key = self.keys.as_mut().map_or(Ok(""), |keys| keys.read(record))?;
        let tombstone = self.keys.as_ref().is_some_and(|keys| keys.is_tombstone(record));
        let text = if tombstone { "" } else { self.read(record)? };
        let Rows { source, partition, columns, .. } = &mut self.rows;
        let layout = self.layout.as_ref().map_err(|error| unknown_header(error))?;
        let operation = layout.operation.and_then(|place| self.fields.get(place));
        let operation = operation.map(|(text, _)| text).filter(|text| !text.is_empty());
        let deletes = tombstone || table::deletes(operation)?;
        for (((index, column), input), builder) in
            source.columns.iter().enumerate().zip(&self.inputs).zip(columns.iter_mut())
        {
            if deletes && !self.keys.as_ref().is_some_and(|keys| keys.is_key(index)) {
                append_known(builder, Datum::Null);
                continue;
            }
            if let (Input::Key(slot), Some(keys)) = (*input, &mut self.keys) {
                let token = keys.token(slot);
                let value = keys.value(slot, column, source, key);
                append(builder, column, value, || super::shown(token, key)).map_err(Fault::in_key)?;
                continue;
            }
            let field = match *input {
                Input::Field(field) => layout.places[field].and_then(|place| self.fields.get(place)),
                Input::Key(_) | Input::Metadata(_) | Input::Computed => None,
            };
            let value = match (*input, field) {
                (Input::Field(_) | Input::Key(_), None) => Some(Datum::Null),
                (Input::Field(_) | Input::Key(_), Some((text, quoted))) => {
                    let format = source.timestamp_format;
                    coerce_field(text, quoted, &self.null, column.kind, format, &mut self.minute)
                }
                (Input::Metadata(Metadata::IngestionTime) | Input::Computed, _) => continue,
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
        if self.keys.is_some()
            && let Some(flag) = columns.last_mut()
        {
            append_known(flag, Datum::Boolean(deletes));
        }
        Ok(())
    }

    /// Cuts the record into its fields.
    fn read<'r>(&mut self, record: &Record<'r>) -> Result<&'r str, Fault> {
        let text = fault::content(record, self.rows.source.max_record_bytes)?;
        let layout = self.layout.as_ref().map_err(|error| unknown_header(error))?;
        self.parser.parse(text, layout.keep, &mut self.fields)?;
        let count = self.fields.count();
        if let Some(expected) = layout.count.filter(|expected| *expected != count) {
            let s = if count == 1 { "" } else { "s" };
            return Err(Fault::malformed(format!("{count} field{s}, expected {expected}")));
        }
        Ok(text)
    }
}

fn unknown_header(error: &str) -> Fault {
    Fault::malformed(format!("the header of its file: {error}"))
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

//! What has to hold for any bytes that reach a decoder: the body of the fuzz target and of the mutation test.
//!
//! Each message is exactly one row or one reject, keeps its bytes, and does not change what its neighbours
//! become; each row is written as JSON and CSV that is read back.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;

use crate::compile::{Request, compile};
use crate::csv::{Cutter, Dialect, Fields, Parser};
use crate::dead_letter::Reason;
use crate::json::{Malformed, Scanner};
use crate::parse::decoder;
use crate::plan::{Format, Source};
use crate::record::{Chunk, Decode, Partition, Record};
use crate::render::{CsvWriter, RowWriter};

/// Every type, nullable and not, with rules and metadata.
const COLUMNS: &str = r#"
    did TEXT NOT NULL, name TEXT, d DOUBLE, n BIGINT DEFAULT 7, i INT, b BOOLEAN, t TIMESTAMP, j JSON, w DATE,
    CHECK (d IS NULL OR d < 1e300), CHECK (n IS NULL OR 100 / n < 1000)"#;
const PATHS: &str = r#", lat DOUBLE PATH 'pos.lat', deep TEXT PATH 'pos.deep.x', pos JSON,
    payload JSON METADATA FROM 'payload'"#;
const MAX_RECORD_BYTES: usize = 4096;

/// What became of messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub rows: usize,
    pub rejects: usize,
}

/// Sources to decode with.
#[derive(Debug)]
pub struct Probe {
    json: Arc<Source>,
    csv: Arc<Source>,
    semicolons: Arc<Source>,
}

/// How messages are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    Json,
    /// By position.
    Csv,
    /// With semicolons and single quotes, behind a header.
    Semicolons,
}

impl Probe {
    /// The one that all threads share.
    pub fn shared() -> &'static Probe {
        static PROBE: OnceLock<Probe> = OnceLock::new();
        PROBE.get_or_init(|| Probe {
            json: source(PATHS, "format = 'json'"),
            csv: source("", "format = 'csv', csv.header = 'false'"),
            semicolons: source(
                "",
                "format = 'csv', csv.field-delimiter = ';', csv.quote-character = '''', csv.null-literal = 'NULL'",
            ),
        })
    }

    /// Takes bytes as one message, as lines, and as files of CSV. Panics where something does not hold.
    pub fn bytes(&self, data: &[u8]) {
        self.messages(Written::Json, &[data.to_vec()]);
        self.messages(Written::Csv, &[data.to_vec()]);
        let lines: Vec<Vec<u8>> = data.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
        self.messages(Written::Json, &lines);
        for written in [Written::Csv, Written::Semicolons] {
            self.messages(written, &self.records(written, data));
        }
    }

    /// Decodes messages. Panics where something does not hold.
    pub fn messages(&self, written: Written, messages: &[Vec<u8>]) -> Counts {
        let (header, messages) = match (written, messages) {
            (Written::Semicolons, [header, rest @ ..]) => (Some(header), rest),
            _ => (None, messages),
        };
        let source = self.source(written);
        let chunk = decode(source, header, messages.iter().enumerate());
        check_fates(&chunk, messages);
        check_alone(source, header, messages, &chunk);
        check_written(&chunk.rows);
        Counts { rows: chunk.rows.num_rows(), rejects: chunk.rejects.len() }
    }

    /// The records of a file.
    pub fn records(&self, written: Written, data: &[u8]) -> Vec<Vec<u8>> {
        let Format::Csv(dialect) = &self.source(written).format else { return vec![data.to_vec()] };
        let (mut cutter, mut records, mut record) = (Cutter::new(dialect), Vec::new(), Vec::new());
        let mut rest = data;
        while !rest.is_empty() {
            let (taken, whole) = cutter.take(rest);
            assert!(taken > 0, "a cutter takes something");
            record.extend_from_slice(&rest[..taken]);
            rest = &rest[taken..];
            if whole || rest.is_empty() {
                records.push(std::mem::take(&mut record));
            }
        }
        records
    }

    fn source(&self, written: Written) -> &Arc<Source> {
        match written {
            Written::Json => &self.json,
            Written::Csv => &self.csv,
            Written::Semicolons => &self.semicolons,
        }
    }
}

fn source(more: &str, options: &str) -> Arc<Source> {
    let text = format!(
        "CREATE SOURCE s ({COLUMNS}{more}) WITH (connector = 'file', path = 'x', {options}, \
         max_record_bytes = {MAX_RECORD_BYTES}); CREATE SINK o FROM s WITH (connector = 'blackhole');"
    );
    let parameters = BTreeMap::new();
    let directory = Path::new(".");
    let request = Request { file: "probe", text: &text, name: "probe", directory, parameters: &parameters };
    let plan = compile(&request).unwrap_or_else(|wrong| panic!("the probe compiles: {wrong}"));
    Arc::new(plan.sources.into_iter().next().expect("one source"))
}

fn decode<'m>(
    source: &Arc<Source>,
    header: Option<&Vec<u8>>,
    messages: impl Iterator<Item = (usize, &'m Vec<u8>)>,
) -> Chunk {
    let partition = Partition { id: 0, name: "x".into(), number: 0 };
    let mut decoder: Box<dyn Decode> = decoder(source.clone(), partition);
    if let Some(header) = header {
        decoder.header(&Record::of(0, header));
    }
    for (offset, message) in messages {
        decoder.push(&Record::of(offset as u64, message));
    }
    decoder.finish()
}

/// Each message has one fate, in order, and is kept as it was.
fn check_fates(chunk: &Chunk, messages: &[Vec<u8>]) {
    assert_eq!((chunk.len(), chunk.offsets.len()), (messages.len(), chunk.rows.num_rows()));
    let rejected = chunk.rejects.iter().map(|reject| reject.offset);
    let mut fates: Vec<u64> = chunk.offsets.values().iter().copied().chain(rejected).collect();
    fates.sort_unstable();
    assert!(fates.iter().copied().eq(0..messages.len() as u64), "one fate each: {fates:?}");
    assert!(chunk.offsets.values().is_sorted() && chunk.rejects.is_sorted_by_key(|reject| reject.offset));
    for reject in &chunk.rejects {
        let message = &messages[reject.offset as usize];
        let raw = chunk.raw.find(reject.offset).expect("kept");
        assert_eq!(raw.payload.as_ref(), Some(message));
        assert_eq!(reject.reason == Reason::TooLarge, message.len() > MAX_RECORD_BYTES, "{reject:?}");
        assert!(!reject.error.is_empty() && reject.error.len() < 2_000, "{reject:?}");
    }
}

/// A message becomes the same when it is alone. For a few messages only, because it is slow.
fn check_alone(source: &Arc<Source>, header: Option<&Vec<u8>>, messages: &[Vec<u8>], together: &Chunk) {
    if messages.len() > 16 {
        return;
    }
    let alone: Vec<Chunk> =
        messages.iter().enumerate().map(|message| decode(source, header, [message].into_iter())).collect();
    let rows: Vec<RecordBatch> = alone.iter().map(|chunk| chunk.rows.clone()).collect();
    let rows = concat_batches(&source.schema, &rows).expect("one schema");
    assert_eq!(rows, together.rows);
    assert!(alone.iter().flat_map(|chunk| &chunk.rejects).eq(&together.rejects));
}

/// Whether a line is an object of JSON values. Not as a whole: a value may be nested as deep as is allowed, and
/// stands one level deeper here.
fn is_object_of_values(line: &str) -> bool {
    let mut scanner = Scanner::new(line);
    let mut first = true;
    let mut members = || -> Result<(), Malformed> {
        scanner.enter_object(0)?;
        while scanner.next_key(std::mem::take(&mut first))?.is_some() {
            scanner.value(0)?;
        }
        scanner.end()
    };
    members().is_ok()
}

/// Rows are written so that they are read back.
fn check_written(rows: &RecordBatch) {
    let (lines, dialect) = (RowWriter::new(rows.schema_ref(), None), Dialect::default());
    let (records, mut parser) = (CsvWriter::new(rows.schema_ref(), &dialect), Parser::new(&dialect));
    let (mut out, mut fields) = (Vec::new(), Fields::default());
    for row in 0..rows.num_rows() {
        out.clear();
        lines.write_row(&mut out, rows, row);
        let line = str::from_utf8(&out).expect("text");
        assert!(is_object_of_values(line), "{line}");
        assert!(!line.contains(['\n', '\r']), "one line: {line:?}");
        out.clear();
        records.write_row(&mut out, None, rows, row);
        let record = str::from_utf8(&out).expect("text");
        let parsed = parser.parse(record, usize::MAX, &mut fields);
        assert!(parsed.is_ok() && fields.count() == rows.num_columns(), "{parsed:?} {record:?}");
    }
}

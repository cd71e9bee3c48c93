//! CSV (RFC 4180): records out of a stream of bytes, fields out of a record, and fields written.
//!
//! `csv-core` decides what is a record and a field. What it does not tell is seen from the bytes that it took:
//! whether a field stood in quotes (`""` is an empty text, nothing at all is NULL), whether its quote was
//! closed, and whether something stood behind it.

mod cut;
mod fields;
mod write;

pub use cut::Cutter;
pub use fields::{Fields, Parser};
pub use write::{end_field, write_text};

/// How a CSV is written. Delimiter and quote are ASCII and different.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dialect {
    pub delimiter: u8,
    /// Whether the author has chosen the delimiter: otherwise files named `.tsv` have tabs.
    pub chosen: bool,
    pub quote: u8,
    /// What stands, without quotes, for NULL.
    pub null: String,
    /// Whether the first record of a file names the columns.
    pub header: bool,
}

impl Default for Dialect {
    fn default() -> Self {
        Dialect { delimiter: b',', chosen: false, quote: b'"', null: String::new(), header: true }
    }
}

impl Dialect {
    /// How the file of this name is written.
    #[must_use]
    pub fn of_file(&self, name: &str) -> Self {
        let tabs = !self.chosen && name.strip_suffix(".gz").unwrap_or(name).ends_with(".tsv");
        Dialect { delimiter: if tabs { b'\t' } else { self.delimiter }, ..self.clone() }
    }

    fn reader(&self) -> csv_core::Reader {
        csv_core::ReaderBuilder::new().delimiter(self.delimiter).quote(self.quote).build()
    }
}

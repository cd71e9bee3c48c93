//! `format` and the options of CSV, for sources and sinks.

use super::reader::{Reader, Refused};
use crate::compile::ast::Name;
use crate::compile::diagnostic::Diagnostic;
use crate::csv::Dialect;
use crate::plan::Format;

/// The options of CSV, named as in Flink where it has them.
pub(super) const OPTIONS: &[&str] =
    &["csv.field-delimiter", "csv.quote-character", "csv.null-literal", "csv.header"];

/// Reads `format` and what belongs to it. `header` is what `csv.header` is where it is not given, or why there
/// can be none.
pub(super) fn format(
    reader: &mut Reader<'_>,
    header: Result<bool, &'static str>,
    refused: &[Refused],
) -> Option<Format> {
    let csv = reader.choice("format", &[("json", false), ("csv", true)], refused)?;
    if csv {
        return dialect(reader, header).map(Format::Csv);
    }
    for option in OPTIONS {
        if let Some(entry) = reader.entry(option) {
            let error = Diagnostic::new(entry.key.span, format!("option `{option}` needs format = 'csv'"));
            reader.report(error.hint("add format = 'csv', or remove it"));
        }
    }
    Some(Format::Json)
}

fn dialect(reader: &mut Reader<'_>, header: Result<bool, &'static str>) -> Option<Dialect> {
    let standard = Dialect::default();
    let delimiter = reader.parsed("csv.field-delimiter", standard.delimiter, character);
    // A topic may have any name; files named `.tsv` have tabs.
    let chosen = reader.entry("csv.field-delimiter").is_some() || header.is_err();
    let quote = reader.parsed("csv.quote-character", standard.quote, character);
    if delimiter == quote
        && let Some(entry) = reader.entry("csv.quote-character").or(reader.entry("csv.field-delimiter"))
    {
        let message = "fields cannot be separated by the character that quotes them";
        reader.report(Diagnostic::new(entry.value.span, message).hint("choose another one"));
    }
    let null = reader.parsed("csv.null-literal", standard.null, |value| {
        let special = |c: char| [delimiter as char, quote as char, '\r', '\n'].contains(&c);
        if !value.value.contains(special) {
            return Ok(value.value.clone());
        }
        let message = "the text of NULL has a character that would have to be quoted";
        Err(Diagnostic::new(value.span, message).hint("csv.null-literal = 'NULL'"))
    });
    let header = match header {
        Ok(default) => Some(reader.choice("csv.header", &headers(default), &[])?),
        Err(why) => {
            if let Some(entry) = reader.entry("csv.header").filter(|entry| entry.value.value != "false") {
                let error = Diagnostic::new(entry.key.span, "option `csv.header` is not possible here");
                reader.report(error.hint(why));
            }
            Some(false)
        }
    };
    Some(Dialect { delimiter, chosen, quote, null, header: header? })
}

/// `true` and `false`, the default first.
fn headers(default: bool) -> [(&'static str, bool); 2] {
    let (yes, no) = (("true", true), ("false", false));
    if default { [yes, no] } else { [no, yes] }
}

/// One ASCII character; a tab may be written as `\t`, as in Flink.
fn character(value: &Name) -> Result<u8, Diagnostic> {
    match value.value.as_bytes() {
        br"\t" => Ok(b'\t'),
        [byte] if byte.is_ascii() && !byte.is_ascii_alphanumeric() && !b"\r\n\0".contains(byte) => Ok(*byte),
        _ => {
            let message = format!("expected one character, found '{}'", value.value);
            let hint = r"a character of ASCII that is no letter, digit or line break: ',', ';', '|', '\t'";
            Err(Diagnostic::new(value.span, message).hint(hint))
        }
    }
}

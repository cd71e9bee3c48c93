//! Where records end in a stream of bytes.

use std::fmt;

use csv_core::{ReadRecordResult, Reader};

use super::Dialect;

/// Finds the ends of records. Line breaks inside of quotes are none.
pub struct Cutter {
    core: Reader,
    /// What `csv-core` writes and nobody reads.
    content: Box<[u8; 4096]>,
    ends: Box<[usize; 256]>,
}

impl Cutter {
    /// A cutter at the beginning of a record.
    pub fn new(dialect: &Dialect) -> Self {
        Cutter { core: dialect.reader(), content: Box::new([0; 4096]), ends: Box::new([0; 256]) }
    }

    /// Takes bytes up to the end of the record: how many, with the line break, and whether it has ended with
    /// them. Line breaks in front of a record belong to it; the LF of a CRLF stands in front of the next one.
    pub fn take(&mut self, input: &[u8]) -> (usize, bool) {
        let mut taken = 0;
        while taken < input.len() {
            let (result, read, _, _) =
                self.core.read_record(&input[taken..], &mut self.content[..], &mut self.ends[..]);
            taken += read;
            match result {
                ReadRecordResult::Record => return (taken, true),
                ReadRecordResult::OutputFull | ReadRecordResult::OutputEndsFull => {}
                ReadRecordResult::InputEmpty | ReadRecordResult::End => break,
            }
        }
        (taken, false)
    }
}

impl fmt::Debug for Cutter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cutter").field("line", &self.core.line()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(text: &str, step: usize) -> (Vec<String>, String) {
        let mut cutter = Cutter::new(&Dialect::default());
        let (mut records, mut record) = (Vec::new(), String::new());
        for part in text.as_bytes().chunks(step) {
            let mut at = 0;
            while at < part.len() {
                let (taken, whole) = cutter.take(&part[at..]);
                record += str::from_utf8(&part[at..at + taken]).expect("ASCII");
                at += taken;
                if whole {
                    records.push(std::mem::take(&mut record));
                }
            }
        }
        (records, record)
    }

    #[test]
    fn records_end_at_line_breaks_outside_of_quotes_however_they_arrive() {
        let text = "a,b\n\"x\ny\",\"q\"\"\n\"\r\n\n1,2\r3,\"4\"\n\"open\n5,6\n";
        let records = ["a,b\n", "\"x\ny\",\"q\"\"\n\"\r", "\n\n1,2\r", "3,\"4\"\n"];
        for step in 1..text.len() {
            assert_eq!(
                cut(text, step),
                (records.map(str::to_owned).to_vec(), "\"open\n5,6\n".into()),
                "{step}"
            );
        }
    }

    #[test]
    fn long_records_with_many_fields_need_no_room() {
        let long = format!("{}\"{}\n\"\n", ",".repeat(100_000), "x".repeat(100_000));
        let (records, rest) = cut(&format!("{long}1\n"), 8_192);
        assert_eq!((records.len(), records[0] == long, rest.as_str()), (2, true, ""));
    }
}

//! A dead letter as a JSON object.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::Value;

use crate::dead_letter::AddressedLetter;
use crate::error::{Error, Result};
use crate::render::write_timestamp;
use crate::time::{Epoch, NANOS_PER_MILLI};

/// Longer keys, values, rows and errors are cut.
const CUT_BYTES: usize = 256 << 10;

/// The same for all letters of a run.
#[derive(Clone, Debug)]
pub(super) struct Sender {
    pub(super) dataflow: String,
    pub(super) consumer_id: String,
}

/// The fields in their order. NULL is written; `original_encoding` is there only for `base64`, which key and
/// value have when one of them is not UTF-8.
#[derive(Serialize)]
struct Letter<'a> {
    original_topic: Option<&'a str>,
    original_partition: Option<u32>,
    original_offset: Option<u64>,
    original_key: Option<Cow<'a, str>>,
    original_value: Option<Cow<'a, str>>,
    original_size: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    original_encoding: Option<&'static str>,
    error: &'a str,
    error_type: &'a str,
    rule: &'a str,
    stage: &'a str,
    dataflow: &'a str,
    epoch: Epoch,
    timestamp: String,
    retry_count: u32,
    consumer_id: &'a str,
    row: Option<Value>,
}

/// The letter in at most `limit` bytes: what does not fit is cut harder.
pub(super) fn encode(
    sender: &Sender,
    epoch: Epoch,
    letter: &AddressedLetter,
    limit: usize,
) -> Result<Vec<u8>> {
    let mut cut_bytes = CUT_BYTES;
    loop {
        let text = encode_cut(sender, epoch, letter, cut_bytes)?;
        if text.len() <= limit || cut_bytes == 0 {
            return Ok(text);
        }
        cut_bytes /= 4;
    }
}

fn encode_cut(
    sender: &Sender,
    epoch: Epoch,
    addressed: &AddressedLetter,
    cut_bytes: usize,
) -> Result<Vec<u8>> {
    let (letter, record) = (&addressed.letter, &addressed.record);
    let (key, value) = (record.key.as_deref(), record.payload.as_deref());
    let text = |bytes: Option<&[u8]>| bytes.is_none_or(|bytes| std::str::from_utf8(bytes).is_ok());
    let base64 = !(text(key) && text(value));
    let mut timestamp = Vec::with_capacity(30);
    write_timestamp(&mut timestamp, addressed.wall_ms.saturating_mul(NANOS_PER_MILLI));
    let json = Letter {
        original_topic: letter.origin.map(|_| addressed.topic.as_str()),
        original_partition: letter.origin.map(|_| addressed.partition),
        original_offset: letter.origin.map(|origin| origin.offset),
        original_key: key.map(|key| part(key, base64, cut_bytes)),
        original_value: value.map(|value| part(value, base64, cut_bytes)),
        original_size: value.map(|value| value.len() as u64 + record.left_out),
        original_encoding: base64.then_some("base64"),
        error: cut(&letter.error, cut_bytes),
        error_type: letter.reason.as_str(),
        rule: cut(&letter.rule, cut_bytes),
        stage: &letter.stage,
        dataflow: &sender.dataflow,
        epoch,
        timestamp: String::from_utf8_lossy(&timestamp).into_owned(),
        retry_count: 0,
        consumer_id: &sender.consumer_id,
        row: letter.row.as_deref().map(|row| object(row, cut_bytes)),
    };
    serde_json::to_vec(&json).map_err(|error| Error::internal("a dead letter is no JSON").caused_by(error))
}

fn part(bytes: &[u8], base64: bool, cut_bytes: usize) -> Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        Ok(text) if !base64 => Cow::Borrowed(cut(text, cut_bytes)),
        _ => Cow::Owned(STANDARD.encode(&bytes[..bytes.len().min(cut_bytes)])),
    }
}

/// The row as an object, or its beginning as a text where it is too long.
fn object(row: &str, cut_bytes: usize) -> Value {
    let whole = if row.len() <= cut_bytes { serde_json::from_str(row).ok() } else { None };
    whole.unwrap_or_else(|| Value::from(cut(row, cut_bytes)))
}

fn cut(text: &str, cut_bytes: usize) -> &str {
    &text[..text.floor_char_boundary(cut_bytes)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::RowOrigin;
    use crate::dead_letter::{DeadLetter, RawRecord, Reason};

    fn letter(key: &[u8], payload: &[u8]) -> AddressedLetter {
        AddressedLetter {
            letter: DeadLetter {
                origin: Some(RowOrigin { source: 0, partition: 65_537, offset: 42, index: 0 }),
                row: None,
                reason: Reason::NotNull,
                error: "field did is missing".into(),
                rule: "NOT NULL did".into(),
                stage: "telemetry_raw".into(),
            },
            source: 0,
            topic: "telemetry_raw".into(),
            partition: 1,
            record: RawRecord { key: Some(key.to_vec()), payload: Some(payload.to_vec()), left_out: 0 },
            wall_ms: 1_761_559_635_007,
        }
    }

    fn text(letter: &AddressedLetter, limit: usize) -> String {
        let sender = Sender { dataflow: "vehicle_state".into(), consumer_id: "tidemill-0".into() };
        let bytes = encode(&sender, 7, letter, limit).expect("JSON");
        assert!(bytes.len() <= limit, "{} bytes", bytes.len());
        String::from_utf8(bytes).expect("UTF-8")
    }

    #[test]
    fn a_record_is_kept_as_it_was() {
        insta::assert_snapshot!(text(&letter(b"981", br#"{"soc": 5}"#), 1000), @r#"{"original_topic":"telemetry_raw","original_partition":1,"original_offset":42,"original_key":"981","original_value":"{\"soc\": 5}","original_size":10,"error":"field did is missing","error_type":"not_null","rule":"NOT NULL did","stage":"telemetry_raw","dataflow":"vehicle_state","epoch":7,"timestamp":"2025-10-27T10:07:15.007000Z","retry_count":0,"consumer_id":"tidemill-0","row":null}"#);
    }

    #[test]
    fn bytes_that_are_no_text_are_base64() {
        insta::assert_snapshot!(text(&letter(b"981", b"\xff\xfe"), 1000), @r#"{"original_topic":"telemetry_raw","original_partition":1,"original_offset":42,"original_key":"OTgx","original_value":"//4=","original_size":2,"original_encoding":"base64","error":"field did is missing","error_type":"not_null","rule":"NOT NULL did","stage":"telemetry_raw","dataflow":"vehicle_state","epoch":7,"timestamp":"2025-10-27T10:07:15.007000Z","retry_count":0,"consumer_id":"tidemill-0","row":null}"#);
    }

    #[test]
    fn behind_an_aggregation_there_is_only_a_row() {
        let mut letter = letter(b"", b"");
        letter.letter.origin = None;
        letter.letter.row = Some(r#"{"did":"981","sum":null}"#.into());
        letter.letter.reason = Reason::Aggregate;
        letter.record = RawRecord::default();
        insta::assert_snapshot!(text(&letter, 1000), @r#"{"original_topic":null,"original_partition":null,"original_offset":null,"original_key":null,"original_value":null,"original_size":null,"error":"field did is missing","error_type":"aggregate","rule":"NOT NULL did","stage":"telemetry_raw","dataflow":"vehicle_state","epoch":7,"timestamp":"2025-10-27T10:07:15.007000Z","retry_count":0,"consumer_id":"tidemill-0","row":{"did":"981","sum":null}}"#);
    }

    #[test]
    fn long_values_are_cut_and_their_size_is_kept() {
        let long = "é\u{1}".repeat(200_000);
        let cut: Value = serde_json::from_str(&text(&letter(b"k", long.as_bytes()), 4 << 20)).expect("JSON");
        assert_eq!(cut["original_size"], 600_000);
        assert_eq!(
            cut["original_value"].as_str().map(str::len),
            Some(CUT_BYTES - 1),
            "between two characters"
        );
        // Each control character takes six bytes in JSON.
        let small: Value =
            serde_json::from_str(&text(&letter(b"k", long.as_bytes()), 300_000)).expect("JSON");
        assert_eq!(small["original_value"].as_str().map(str::len), Some(CUT_BYTES / 4 - 1));
    }
}

//! Rows as records of a topic: JSON values, keys, tombstones.

use arrow::array::{Array, AsArray};

use super::{Changes, Op};
use crate::error::{Error, Result};
use crate::plan::{self, KeyFormat, WriteMode};
use crate::render::RowWriter;

/// How the rows of a sink become keys and values.
#[derive(Clone, Debug)]
pub(super) struct Records {
    writer: RowWriter,
    mode: WriteMode,
    key: Vec<usize>,
    key_format: KeyFormat,
}

/// Key and value of a record; a value of `None` deletes the key.
pub(super) type KeyValue = (Option<Vec<u8>>, Option<Vec<u8>>);

impl Records {
    /// Records of a Kafka sink, whether there is a broker or not.
    pub(super) fn new(sink: &plan::Sink, target: &plan::KafkaSink) -> Self {
        Records {
            writer: RowWriter::new(&sink.schema, sink.document),
            mode: target.mode,
            key: target.key.clone(),
            key_format: target.key_format,
        }
    }

    /// The record of one row.
    pub(super) fn record(&self, changes: &Changes, row: usize) -> Result<KeyValue> {
        let key = self.key(changes, row)?;
        let value = match (self.mode, changes.ops[row]) {
            (WriteMode::Upsert, Op::Delete) => None,
            (WriteMode::Upsert, _) | (WriteMode::Append, Op::Insert) => {
                let mut value = Vec::with_capacity(256);
                self.writer.write_row(&mut value, &changes.rows, row);
                Some(value)
            }
            (WriteMode::Append, _) => {
                return Err(Error::internal("a row of a sink that appends was changed"));
            }
        };
        Ok((key, value))
    }

    fn key(&self, changes: &Changes, row: usize) -> Result<Option<Vec<u8>>> {
        match (self.key_format, &self.key[..]) {
            (KeyFormat::Json, []) if self.mode == WriteMode::Append => Ok(None),
            (KeyFormat::Json, columns) => {
                let mut key = Vec::new();
                self.writer.write_key(&mut key, &changes.rows, columns, row);
                Ok(Some(key))
            }
            (KeyFormat::Raw, [column]) => {
                let texts = changes.rows.column(*column).as_string_opt::<i32>();
                let texts = texts.ok_or_else(|| Error::internal("a raw key that is not a text"))?;
                Ok(texts.is_valid(row).then(|| texts.value(row).as_bytes().to_vec()))
            }
            (KeyFormat::Raw, _) => Err(Error::internal("a raw key of other than one column")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{changes, sink};
    use super::*;

    fn records(mode: WriteMode, key: Vec<usize>, key_format: KeyFormat, op: Op) -> String {
        let plan = sink("s", "k text, n int");
        let target = plan::KafkaSink {
            topic: "t".into(),
            mode,
            key,
            key_format,
            partitions: 1,
            replication: 1,
            properties: Default::default(),
        };
        let changes = changes(&plan, &[r#"{"k":"a","n":1}"#], &[op]);
        let text = |bytes: Option<Vec<u8>>| bytes.map(|bytes| String::from_utf8(bytes).expect("UTF-8"));
        match Records::new(&plan, &target).record(&changes, 0) {
            Ok((key, value)) => format!("{:?} {:?}", text(key), text(value)),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn keys_are_objects_or_the_text_itself_and_deletes_are_tombstones() {
        use {KeyFormat::*, WriteMode::*};
        insta::assert_snapshot!(records(Upsert, vec![0], Json, Op::Update), @r#"Some("{\"k\":\"a\"}") Some("{\"k\":\"a\",\"n\":1}")"#);
        insta::assert_snapshot!(records(Upsert, vec![0], Raw, Op::Delete), @r#"Some("a") None"#);
        insta::assert_snapshot!(records(Append, vec![], Json, Op::Insert), @r#"None Some("{\"k\":\"a\",\"n\":1}")"#);
        insta::assert_snapshot!(records(Append, vec![], Json, Op::Delete), @r#"a row of a sink that appends was changed"#);
        insta::assert_snapshot!(records(Upsert, vec![], Json, Op::Insert), @r#"Some("{}") Some("{\"k\":\"a\",\"n\":1}")"#);
    }
}

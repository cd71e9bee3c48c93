//! Raw write commands: the driver's own bulk calls neither split nor repeat the way this sink needs it.

use std::sync::Arc;

use mongodb::bson::{Document, RawArrayBuf, RawBson, RawDocumentBuf, rawdoc};

use crate::time::Epoch;
use crate::write::Changes;

/// Operations of a command at most. The server takes 100,000.
const COMMAND_OPERATIONS: usize = 1000;
/// Bytes of a command, unless a single operation has more. The server takes 16,793,600.
const COMMAND_BYTES: usize = 8 << 20;
/// What an array element needs besides its document.
const ELEMENT_BYTES: usize = 16;

/// What a command does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Insert,
    Upsert,
    Delete,
}

/// What is done for one row.
#[derive(Clone, Debug)]
pub(super) struct Operation {
    /// Number of the row in the changes of the epoch.
    pub(super) row: usize,
    pub(super) id: RawBson,
    /// The document, or the statement around it: the same bytes however often it is sent.
    pub(super) body: RawDocumentBuf,
}

/// Operations that are sent together.
#[derive(Clone, Debug)]
pub(super) struct Batch {
    pub(super) epoch: Epoch,
    pub(super) kind: Kind,
    pub(super) operations: Vec<Operation>,
    /// Sent before, perhaps with success: what is there already is ours.
    pub(super) repeated: bool,
    /// What the rows were, for dead letters.
    pub(super) changes: Arc<Changes>,
}

/// Replaces the document unless the stored one is as new; one without version counts as older. The literal
/// keeps values like "$v" what they are.
pub(super) fn upsert(id: &RawBson, document: RawDocumentBuf, version: i64) -> RawDocumentBuf {
    rawdoc! {
        "q": { "_id": id.clone() },
        "u": [{ "$replaceWith": { "$cond": [
            { "$lt": ["$_v", version] },
            { "$literal": document },
            "$$ROOT",
        ] } }],
        "upsert": true,
    }
}

/// Removes the document unless it is as new.
pub(super) fn delete(id: &RawBson, version: i64) -> RawDocumentBuf {
    rawdoc! { "q": { "_id": id.clone(), "_v": { "$lt": version } }, "limit": 1 }
}

/// Cuts operations into parts that fit into a command each.
pub(super) fn split(operations: Vec<Operation>) -> Vec<Vec<Operation>> {
    let mut parts = Vec::new();
    let (mut part, mut bytes) = (Vec::new(), 0);
    for operation in operations {
        let size = operation.body.as_bytes().len() + ELEMENT_BYTES;
        if part.len() == COMMAND_OPERATIONS || (!part.is_empty() && bytes + size > COMMAND_BYTES) {
            parts.push(std::mem::take(&mut part));
            bytes = 0;
        }
        bytes += size;
        part.push(operation);
    }
    if !part.is_empty() {
        parts.push(part);
    }
    parts
}

/// The command of some operations. Majority without explicit journal is both safe and fast.
pub(super) fn command(collection: &str, kind: Kind, operations: &[Operation]) -> RawDocumentBuf {
    let (verb, list) = match kind {
        Kind::Insert => ("insert", "documents"),
        Kind::Upsert => ("update", "updates"),
        Kind::Delete => ("delete", "deletes"),
    };
    let mut bodies = RawArrayBuf::new();
    for operation in operations {
        bodies.push(operation.body.clone());
    }
    let mut command = RawDocumentBuf::new();
    command.append(verb, collection);
    command.append("ordered", false);
    command.append("writeConcern", rawdoc! { "w": "majority" });
    command.append(list, bodies);
    command
}

/// What the server says about a command that it has carried out.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Reply {
    pub(super) errors: Vec<WriteError>,
    /// The write concern was not met: nothing of the reply is certain.
    pub(super) concern: Option<(i32, String)>,
}

/// One operation that was not carried out.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct WriteError {
    /// Position in the command.
    pub(super) index: usize,
    pub(super) code: i32,
    pub(super) message: String,
    /// Of a duplicate key: whether the index is that of `_id`; `None` where the server does not say.
    pub(super) on_id: Option<bool>,
}

impl Reply {
    /// Reads both lists of errors; a reply with errors is still an `Ok` of the driver.
    pub(super) fn read(reply: &Document) -> Option<Self> {
        let errors = match reply.get("writeErrors") {
            None => Vec::new(),
            Some(list) => {
                let list = list.as_array()?.iter();
                list.map(|error| WriteError::read(error.as_document()?)).collect::<Option<_>>()?
            }
        };
        let concern = match reply.get("writeConcernError") {
            None => None,
            Some(error) => {
                let error = error.as_document()?;
                Some((number(error, "code")?, text(error, "errmsg")))
            }
        };
        Some(Reply { errors, concern })
    }
}

impl WriteError {
    fn read(error: &Document) -> Option<Self> {
        let pattern = error.get_document("keyPattern").ok();
        Some(WriteError {
            index: usize::try_from(number(error, "index")?).ok()?,
            code: number(error, "code")?,
            message: text(error, "errmsg"),
            on_id: pattern.map(|pattern| pattern.len() == 1 && pattern.contains_key("_id")),
        })
    }
}

fn number(document: &Document, name: &str) -> Option<i32> {
    let value = document.get(name)?;
    value.as_i32().or_else(|| i32::try_from(value.as_i64()?).ok())
}

fn text(document: &Document, name: &str) -> String {
    document.get_str(name).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use mongodb::bson::doc;

    use super::*;

    fn operations(count: usize, bytes: usize) -> Vec<Operation> {
        let operation = |row| Operation {
            row,
            id: RawBson::Int64(row as i64),
            body: rawdoc! { "_id": row as i64, "x": "x".repeat(bytes) },
        };
        (0..count).map(operation).collect()
    }

    #[test]
    fn commands_are_cut_by_count_and_by_bytes_and_nothing_is_lost() {
        let sizes = |parts: Vec<Vec<Operation>>| parts.iter().map(Vec::len).collect::<Vec<_>>();
        assert_eq!(sizes(split(operations(2500, 1))), [1000, 1000, 500]);
        assert_eq!(sizes(split(operations(5, 3 << 20))), [2, 2, 1]);
        assert_eq!(sizes(split(operations(2, 9 << 20))), [1, 1]);
        assert_eq!(sizes(split(Vec::new())), [0; 0]);
        let rows: Vec<usize> =
            split(operations(2500, 1)).concat().iter().map(|operation| operation.row).collect();
        assert_eq!(rows, (0..2500).collect::<Vec<_>>());
    }

    #[test]
    fn a_guarded_upsert_takes_the_document_literally() {
        let statement = upsert(&RawBson::Int32(1), rawdoc! { "_id": 1, "x": "$v", "_v": 7_i64 }, 7);
        insta::assert_snapshot!(statement.to_document().expect("valid"), @r#"{ "q": { "_id": 1 }, "u": [{ "$replaceWith": { "$cond": [{ "$lt": ["$_v", 7] }, { "$literal": { "_id": 1, "x": "$v", "_v": 7 } }, "$$ROOT"] } }], "upsert": true }"#);
        insta::assert_snapshot!(delete(&RawBson::Int32(1), 7).to_document().expect("valid"), @r#"{ "q": { "_id": 1, "_v": { "$lt": 7 } }, "limit": 1 }"#);
    }

    #[test]
    fn commands_ask_for_a_majority() {
        let command = command("c", Kind::Insert, &operations(1, 0)).to_document().expect("valid");
        insta::assert_snapshot!(command, @r#"{ "insert": "c", "ordered": false, "writeConcern": { "w": "majority" }, "documents": [{ "_id": 0, "x": "" }] }"#);
    }

    #[test]
    fn both_lists_of_errors_are_read() {
        let reply = Reply::read(&doc! {
            "n": 1, "ok": 1.0,
            "writeErrors": [
                { "index": 0, "code": 11000, "keyPattern": { "_id": 1 }, "keyValue": { "_id": 1 }, "errmsg": "E11000" },
                { "index": 2, "code": 11000, "keyPattern": { "did": 1 }, "errmsg": "E11000" },
                { "index": 3, "code": 121, "errInfo": {}, "errmsg": "Document failed validation" },
            ],
            "writeConcernError": { "code": 64, "codeName": "WriteConcernFailed", "errmsg": "waiting for replication timed out" },
        });
        insta::assert_debug_snapshot!(reply, @r#"
        Some(
            Reply {
                errors: [
                    WriteError {
                        index: 0,
                        code: 11000,
                        message: "E11000",
                        on_id: Some(
                            true,
                        ),
                    },
                    WriteError {
                        index: 2,
                        code: 11000,
                        message: "E11000",
                        on_id: Some(
                            false,
                        ),
                    },
                    WriteError {
                        index: 3,
                        code: 121,
                        message: "Document failed validation",
                        on_id: None,
                    },
                ],
                concern: Some(
                    (
                        64,
                        "waiting for replication timed out",
                    ),
                ),
            },
        )
        "#);
        assert_eq!(Reply::read(&doc! { "n": 1, "ok": 1.0 }), Some(Reply::default()));
        assert_eq!(Reply::read(&doc! { "writeErrors": [{ "code": 1 }] }), None, "no index, no guess");
    }
}

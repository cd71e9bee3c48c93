//! The changes of an epoch as operations on a collection.

use std::sync::Arc;

use mongodb::bson::RawDocumentBuf;

use super::command::{self, Kind, Operation, delete, split, upsert};
use super::document::Documents;
use super::encode;
use crate::error::{Error, Result};
use crate::plan::{self, SinkConnector, WriteMode};
use crate::record::PartitionNames;
use crate::time::Epoch;
use crate::write::ids::IdSource;
use crate::write::{Changes, Op};

/// Makes operations for one sink.
#[derive(Debug)]
pub(super) struct Operations {
    pub(super) mode: WriteMode,
    pub(super) ids: IdSource,
    /// The column whose fields come first, see [`crate::plan::Sink::document`].
    document: Option<usize>,
}

/// What is done for the rows of an epoch.
#[derive(Debug, Default)]
pub(super) struct Encoded {
    pub(super) written: Vec<Operation>,
    /// After the others.
    pub(super) deleted: Vec<Operation>,
    /// Rows that no document can be made of, and why.
    pub(super) refused: Vec<(usize, String)>,
}

impl Operations {
    /// Those of `sink`, which writes to `target`.
    pub(super) fn new(sink: &plan::Sink, target: &plan::MongoSink, partitions: &Arc<PartitionNames>) -> Self {
        Operations { mode: target.mode, ids: IdSource::new(target, partitions), document: sink.document }
    }

    /// How they are sent.
    pub(super) fn kind(&self) -> Kind {
        if self.mode == WriteMode::Append { Kind::Insert } else { Kind::Upsert }
    }

    /// Makes the operations of an epoch.
    pub(super) fn encode(&mut self, epoch: Epoch, changes: &Changes) -> Result<Encoded> {
        let documents = Documents::new(&changes.rows, self.document)?;
        let version = epoch as i64;
        let mut encoded = Encoded::default();
        for (row, op) in changes.ops.iter().enumerate() {
            if self.mode == WriteMode::Append && *op != Op::Insert {
                return Err(Error::internal("a row of a sink that appends was changed"));
            }
            let origin = changes.origins.as_ref().map(|origins| &origins[row]);
            let id = encode::id(&mut self.ids, &documents, row, origin)?;
            let body = id.and_then(|id| {
                let body = match (self.mode, op) {
                    (WriteMode::Append, _) => encode::document(&id, &documents.fields(row), None)?,
                    (WriteMode::Upsert, Op::Delete) => delete(&id, version),
                    (WriteMode::Upsert, _) => {
                        let document = encode::document(&id, &documents.fields(row), Some(version))?;
                        upsert(&id, document, version)
                    }
                };
                Ok(Operation { row, id, body })
            });
            match body {
                Ok(operation) if *op == Op::Delete => encoded.deleted.push(operation),
                Ok(operation) => encoded.written.push(operation),
                Err(error) => encoded.refused.push((row, error)),
            }
        }
        Ok(encoded)
    }
}

/// The commands that write an epoch, as they go to the server.
pub fn commands(
    sink: &plan::Sink,
    epoch: Epoch,
    changes: &Changes,
    partitions: &Arc<PartitionNames>,
) -> Result<Vec<RawDocumentBuf>> {
    let SinkConnector::MongoDb(target) = &sink.connector else {
        return Err(Error::internal("a sink that does not write to MongoDB"));
    };
    let mut operations = Operations::new(sink, target, partitions);
    let parts = split(operations.encode(epoch, changes)?.written);
    Ok(parts.iter().map(|part| command::command(&target.collection, operations.kind(), part)).collect())
}

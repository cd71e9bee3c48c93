//! Collections without a server: tables of one SQLite file, with the semantics of the MongoDB sink.
//!
//! A table per collection: `_id` (JSON text of the key, or hexadecimal digits of the origin), `_v` (the epoch
//! of an upsert) and `document` (JSON text of the fields). Any SQLite client can look while it is written.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OptionalExtension, Transaction, TransactionBehavior, params};
use serde_json::{Map, Value};

use super::backoff::until_it_works;
use super::connect::Context;
use super::ids::{IdSource, is_compared};
use super::refusal::refusal;
use super::{Changes, Health, Identity, Op, Receipt, Sink};
use crate::dead_letter::Reason;
use crate::error::{Error, Result};
use crate::json::write_string;
use crate::plan::{self, WriteMode};
use crate::render::RowWriter;
use crate::time::Epoch;

/// Name of the file in the state directory.
const FILE: &str = "collections.sqlite";
/// Rows held back before they are written although nobody asked yet.
const PENDING_ROWS: usize = 10_000;
/// How long one sink waits for another that writes into the same file.
const BUSY: Duration = Duration::from_secs(5);

/// A collection as a table.
#[derive(Debug)]
pub(super) struct Collection {
    path: PathBuf,
    connection: Option<Connection>,
    table: Table,
    /// Epochs that wait for the next transaction.
    pending: Vec<(Epoch, Changes)>,
    pending_rows: usize,
    written: Vec<(Epoch, Receipt)>,
    health: Arc<Health>,
}

/// What is written and how.
#[derive(Debug)]
struct Table {
    sink: String,
    mode: WriteMode,
    writer: RowWriter,
    ids: IdSource,
    /// Names of the fields that are not compared when an `_id` comes again.
    not_compared: Vec<String>,
    /// Name of the table as an SQL identifier.
    name: String,
}

/// Number of documents of a collection in `state_dir`.
pub fn count(state_dir: &Path, collection: &str) -> Result<u64> {
    let connection = Connection::open(state_dir.join(FILE)).map_err(classify)?;
    let query = format!("SELECT count(*) FROM {}", identifier(collection));
    let count: i64 = connection.query_row(&query, [], |row| row.get(0)).map_err(classify)?;
    Ok(count.unsigned_abs())
}

/// A name as SQL writes it.
fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

impl Collection {
    /// The collection of a MongoDB sink as a table of the file in `state_dir`.
    pub(super) fn new(
        sink: &plan::Sink,
        target: &plan::MongoSink,
        state_dir: &Path,
        context: &Context,
        health: Arc<Health>,
    ) -> Self {
        let not_compared = target.not_compared.iter().map(|&column| sink.schema.field(column).name().clone());
        let table = Table {
            sink: sink.name.clone(),
            mode: target.mode,
            writer: RowWriter::new(&sink.schema, sink.document),
            ids: IdSource::new(target, &context.partitions),
            not_compared: not_compared.collect(),
            name: identifier(&target.collection),
        };
        Collection {
            path: state_dir.join(FILE),
            connection: None,
            table,
            pending: Vec::new(),
            pending_rows: 0,
            written: Vec::new(),
            health,
        }
    }

    /// Writes the epochs that wait, in one transaction that is tried until it works.
    fn flush(&mut self) -> Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let connection = self
            .connection
            .as_mut()
            .ok_or_else(|| Error::internal("a collection was used before it was open"))?;
        let (table, pending) = (&mut self.table, &self.pending);
        let sink = table.sink.clone();
        let receipts = until_it_works(&sink, &self.health, || {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate);
            let transaction = transaction.map_err(classify)?;
            let receipts: Result<Vec<_>> =
                pending.iter().map(|(epoch, changes)| table.apply(&transaction, *epoch, changes)).collect();
            let receipts = receipts?;
            transaction.commit().map_err(classify)?;
            Ok(receipts)
        })?;
        self.written.extend(self.pending.drain(..).map(|(epoch, _)| epoch).zip(receipts));
        self.pending_rows = 0;
        Ok(())
    }
}

impl Sink for Collection {
    fn open(&mut self, _identity: &Identity) -> Result<Epoch> {
        let table = &self.table;
        let (connection, progress) = until_it_works(&table.sink, &self.health, || table.open(&self.path))
            .map_err(|error| error.context(format!("cannot use {}", self.path.display())))?;
        self.connection = Some(connection);
        Ok(progress)
    }

    fn write(&mut self, epoch: Epoch, changes: Changes) -> Result<()> {
        self.pending_rows += changes.rows.num_rows();
        self.pending.push((epoch, changes));
        if self.pending_rows >= PENDING_ROWS { self.flush() } else { Ok(()) }
    }

    fn confirm(&mut self) -> Result<Vec<(Epoch, Receipt)>> {
        self.flush()?;
        Ok(std::mem::take(&mut self.written))
    }

    fn close(&mut self) -> Result<()> {
        self.flush()
    }
}

impl Table {
    /// Opens the file, creates what is missing and looks for the highest epoch.
    fn open(&self, path: &Path) -> Result<(Connection, Epoch)> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(|error| {
                Error::config(format!("cannot create the folder {}", folder.display())).caused_by(error)
            })?;
        }
        let connection = Connection::open(path).map_err(classify)?;
        connection.busy_timeout(BUSY).map_err(classify)?;
        let name = &self.name;
        let statements = format!(
            "PRAGMA journal_mode = WAL;
             PRAGMA synchronous = FULL;
             CREATE TABLE IF NOT EXISTS {name} (_id TEXT PRIMARY KEY, _v INTEGER, document TEXT NOT NULL);"
        );
        connection.execute_batch(&statements).map_err(classify)?;
        if self.mode == WriteMode::Append {
            return Ok((connection, 0));
        }
        let index = format!("\"{} _v\"", name.trim_matches('"'));
        connection
            .execute_batch(&format!("CREATE INDEX IF NOT EXISTS {index} ON {name} (_v);"))
            .map_err(classify)?;
        let highest = format!("SELECT max(_v) FROM {name}");
        let highest: Option<i64> = connection.query_row(&highest, [], |row| row.get(0)).map_err(classify)?;
        Ok((connection, highest.map_or(0, |epoch| epoch.max(0) as Epoch)))
    }

    /// Writes the changes of one epoch.
    fn apply(&mut self, transaction: &Transaction<'_>, epoch: Epoch, changes: &Changes) -> Result<Receipt> {
        let mut receipt = Receipt::default();
        for (row, op) in changes.ops.iter().enumerate() {
            let id = self.id(changes, row)?;
            if self.mode == WriteMode::Upsert && *op == Op::Delete {
                self.delete(transaction, epoch, &id)?;
                continue;
            }
            let text = self.writer.row_text(&changes.rows, row);
            match self.mode {
                WriteMode::Upsert => self.upsert(transaction, epoch, &id, &text)?,
                WriteMode::Append if *op == Op::Insert => match self.append(transaction, &id, &text)? {
                    Appended::New => {}
                    Appended::Duplicate => receipt.duplicates += 1,
                    Appended::Conflict => {
                        let error = format!("another document with _id {id} has other content");
                        receipt
                            .refused
                            .push((row, refusal(&self.sink, changes, row, Reason::Conflict, error)));
                    }
                },
                WriteMode::Append => {
                    return Err(Error::internal("a row of a sink that appends was changed"));
                }
            }
        }
        Ok(receipt)
    }

    /// The value of the one key column, an object of several, or the bytes of the origin.
    fn id(&mut self, changes: &Changes, row: usize) -> Result<String> {
        match &mut self.ids {
            IdSource::Columns(columns) => {
                let mut text = Vec::new();
                self.writer.write_key(&mut text, &changes.rows, columns, row);
                if let [column] = columns[..] {
                    let mut name = Vec::new();
                    write_string(&mut name, changes.rows.schema_ref().field(column).name());
                    // `{"name":value}`
                    text.drain(..name.len() + 2);
                    text.pop();
                }
                utf8(text)
            }
            IdSource::Origin(ids) => {
                let id = ids.id(changes.origins.as_ref().map(|origins| &origins[row]))?;
                Ok(id.iter().map(|byte| format!("{byte:02x}")).collect())
            }
        }
    }

    fn append(&self, transaction: &Transaction<'_>, id: &str, text: &str) -> Result<Appended> {
        let insert =
            format!("INSERT INTO {} (_id, document) VALUES (?1, ?2) ON CONFLICT (_id) DO NOTHING", self.name);
        let mut insert = transaction.prepare_cached(&insert).map_err(classify)?;
        if insert.execute(params![id, text]).map_err(classify)? > 0 {
            return Ok(Appended::New);
        }
        let select = format!("SELECT document FROM {} WHERE _id = ?1", self.name);
        let mut select = transaction.prepare_cached(&select).map_err(classify)?;
        let stored: Option<String> = select.query_row([id], |row| row.get(0)).optional().map_err(classify)?;
        let same = stored.is_some_and(|stored| self.compared(&stored) == self.compared(text));
        Ok(if same { Appended::Duplicate } else { Appended::Conflict })
    }

    /// A newer document stays; one without version counts as older.
    fn upsert(&self, transaction: &Transaction<'_>, epoch: Epoch, id: &str, text: &str) -> Result<()> {
        let upsert = format!(
            "INSERT INTO {0} (_id, _v, document) VALUES (?1, ?2, ?3)
             ON CONFLICT (_id) DO UPDATE SET _v = excluded._v, document = excluded.document
             WHERE {0}._v IS NULL OR {0}._v < excluded._v",
            self.name
        );
        let mut upsert = transaction.prepare_cached(&upsert).map_err(classify)?;
        upsert.execute(params![id, epoch as i64, text]).map_err(classify)?;
        Ok(())
    }

    fn delete(&self, transaction: &Transaction<'_>, epoch: Epoch, id: &str) -> Result<()> {
        let delete = format!("DELETE FROM {} WHERE _id = ?1 AND _v < ?2", self.name);
        let mut delete = transaction.prepare_cached(&delete).map_err(classify)?;
        delete.execute(params![id, epoch as i64]).map_err(classify)?;
        Ok(())
    }

    /// The fields that make up the content of a document.
    fn compared(&self, text: &str) -> Option<Map<String, Value>> {
        let mut fields: Map<String, Value> = serde_json::from_str(text).ok()?;
        fields.retain(|name, _| is_compared(name, &self.not_compared));
        Some(fields)
    }
}

fn utf8(text: Vec<u8>) -> Result<String> {
    String::from_utf8(text).map_err(|error| Error::internal("JSON that is not UTF-8").caused_by(error))
}

/// What became of a document that was to be added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Appended {
    New,
    Duplicate,
    Conflict,
}

/// A full disk and a locked file pass; a file that is not ours or is broken needs a person.
fn classify(error: rusqlite::Error) -> Error {
    let code = error.sqlite_error_code();
    let refused = [
        ErrorCode::NotADatabase,
        ErrorCode::DatabaseCorrupt,
        ErrorCode::PermissionDenied,
        ErrorCode::ReadOnly,
        ErrorCode::CannotOpen,
    ];
    match code {
        Some(code) if refused.contains(&code) => {
            Error::config("the SQLite file cannot be used").caused_by(error)
        }
        // The text of a statement was refused: that is a mistake of ours, or a reserved name of a table.
        Some(ErrorCode::Unknown) => Error::config("SQLite refuses a statement").caused_by(error),
        _ => Error::away("the SQLite file cannot be written").caused_by(error),
    }
}

#[cfg(test)]
mod tests;

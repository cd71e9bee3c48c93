//! One attempt to carry out a batch, and what is left to do after it.

use std::collections::HashMap;

use mongodb::Database;
use mongodb::bson::{Bson, Document, RawBson, RawBsonRef, RawDocument, RawDocumentBuf, doc, rawdoc};

use super::classify::{Class, DUPLICATE_KEY, class_of, class_of_code, failure};
use super::command::{Batch, Kind, Operation, Reply, WriteError, command};
use crate::dead_letter::Reason;
use crate::error::{Error, Result};
use crate::write::ids::is_compared;

/// Stored documents that are fetched at once.
const FETCH: usize = 100;

/// Where the commands of a sink go.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) database: Database,
    pub(super) collection: String,
    /// Names of the fields that are not compared when an `_id` comes again.
    pub(super) not_compared: Vec<String>,
}

/// What became of a batch. What is in none of the lists is done.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// Number of the row, reason and error.
    pub(super) refused: Vec<(usize, Reason, String)>,
    pub(super) duplicates: u64,
    /// To be sent again.
    pub(super) left: Vec<Operation>,
    /// Why something is left.
    pub(super) away: Option<Error>,
}

impl Outcome {
    /// Some operations have to be sent again.
    fn wait<'a>(&mut self, operations: impl IntoIterator<Item = &'a Operation>, error: Error) {
        self.left.extend(operations.into_iter().cloned());
        self.away = Some(error);
    }
}

/// Sends a batch once. An error only where somebody has to change something.
pub(super) async fn attempt(target: &Target, batch: &Batch) -> Result<Outcome> {
    let mut outcome = Outcome::default();
    // A command that is refused as a whole because of its content is cut in halves down to the culprit.
    let mut parts = vec![&batch.operations[..]];
    while let Some(operations) = parts.pop() {
        let command = command(&target.collection, batch.kind, operations);
        match target.database.run_raw_command(command).await {
            Ok(reply) => settle(target, batch, operations, &reply, &mut outcome).await?,
            Err(error) => match (class_of(&error), operations.len()) {
                (Class::Wait, _) => outcome.wait(operations, failure("MongoDB does not answer", error)),
                (Class::Config, _) => return Err(failure("MongoDB refuses to be written", error)),
                (Class::Refused, 0 | 1) => {
                    let rows = operations.iter().map(|operation| operation.row);
                    outcome.refused.extend(rows.map(|row| (row, Reason::SinkRefused, error.to_string())));
                }
                (Class::Refused, count) => {
                    let (front, back) = operations.split_at(count / 2);
                    parts.extend([back, front]);
                }
            },
        }
    }
    Ok(outcome)
}

/// Goes through the reply of a command.
async fn settle(
    target: &Target,
    batch: &Batch,
    operations: &[Operation],
    reply: &Document,
    outcome: &mut Outcome,
) -> Result<()> {
    let Some(reply) = Reply::read(reply) else {
        outcome
            .wait(operations, Error::away(format!("MongoDB gives an answer that nobody can read: {reply}")));
        return Ok(());
    };
    if let Some((code, message)) = reply.concern {
        let text = format!("MongoDB cannot confirm writes: {message} (code {code})");
        if class_of_code(code) == Class::Config {
            return Err(Error::config(text));
        }
        outcome.wait(operations, Error::away(text));
        return Ok(());
    }
    let mut there = Vec::new();
    for error in reply.errors {
        let Some(operation) = operations.get(error.index) else {
            return Err(Error::internal(format!(
                "MongoDB speaks of operation {}, which is none",
                error.index
            )));
        };
        let text = format!("{} (code {})", error.message, error.code);
        match verdict(batch.kind, &error) {
            Verdict::Compare => there.push((operation, error)),
            Verdict::Refuse => outcome.refused.push((operation.row, Reason::SinkRefused, text)),
            Verdict::Again => outcome.wait([operation], Error::away(text)),
            Verdict::Stop => return Err(Error::config(format!("MongoDB refuses a write: {text}"))),
        }
    }
    for group in there.chunks(FETCH) {
        compare(target, batch, group, outcome).await?;
    }
    Ok(())
}

/// What an error of one operation asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// Look at the document that is there.
    Compare,
    Refuse,
    Again,
    Stop,
}

fn verdict(kind: Kind, error: &WriteError) -> Verdict {
    if error.code == DUPLICATE_KEY {
        return match (kind, error.on_id) {
            (_, Some(false)) => Verdict::Refuse,
            (Kind::Insert, _) => Verdict::Compare,
            // Two upserts of a new key met; the next one finds the document.
            (_, Some(true)) => Verdict::Again,
            (_, None) => Verdict::Refuse,
        };
    }
    match class_of_code(error.code) {
        Class::Wait => Verdict::Again,
        Class::Refused => Verdict::Refuse,
        Class::Config => Verdict::Stop,
    }
}

/// Compares documents that were not inserted with those that have their `_id`.
async fn compare(
    target: &Target,
    batch: &Batch,
    group: &[(&Operation, WriteError)],
    outcome: &mut Outcome,
) -> Result<()> {
    let stored = match stored(target, group).await {
        Ok(stored) => stored,
        Err(error) if class_of(&error) == Class::Config => {
            return Err(failure("MongoDB refuses to be read", error));
        }
        Err(error) => {
            let operations = group.iter().map(|(operation, _)| *operation);
            outcome.wait(operations, failure("MongoDB does not answer", error));
            return Ok(());
        }
    };
    for ((operation, error), stored) in group.iter().zip(stored) {
        let Some(stored) = stored else {
            match error.on_id {
                // It was removed meanwhile.
                Some(_) => outcome.wait([*operation], Error::away(&error.message)),
                // So it was another index.
                None => {
                    outcome.refused.push((operation.row, Reason::SinkRefused, error.message.clone()));
                }
            }
            continue;
        };
        match difference(&stored, &operation.body, &target.not_compared) {
            None if batch.repeated => {}
            None => outcome.duplicates += 1,
            Some(field) => {
                let id = Bson::try_from(operation.id.clone()).map(|id| id.to_string()).unwrap_or_default();
                let error = format!("another document with _id {id} has other content in field {field}");
                outcome.refused.push((operation.row, Reason::Conflict, error));
            }
        }
    }
    Ok(())
}

/// The stored documents with the ids of these operations.
async fn stored(
    target: &Target,
    group: &[(&Operation, WriteError)],
) -> mongodb::error::Result<Vec<Option<RawDocumentBuf>>> {
    let collection = target.database.collection::<RawDocumentBuf>(&target.collection);
    let ids: Vec<Bson> =
        group.iter().map(|(operation, _)| Bson::try_from(operation.id.clone())).collect::<Result<_, _>>()?;
    let mut cursor = collection.find(doc! { "_id": { "$in": &ids } }).await?;
    let mut by_id = HashMap::new();
    while cursor.advance().await? {
        let document = cursor.current();
        if let Some(id) = document.get("_id")? {
            by_id.insert(id_bytes(id.to_raw_bson()), document.to_raw_document_buf());
        }
    }
    let mut stored = Vec::with_capacity(group.len());
    for ((operation, _), id) in group.iter().zip(ids) {
        stored.push(match by_id.get(&id_bytes(operation.id.clone())) {
            Some(document) => Some(document.clone()),
            // 7 and 7.0 are one `_id` to the server, but not the same bytes.
            None => collection.find_one(doc! { "_id": id }).await?,
        });
    }
    Ok(stored)
}

fn id_bytes(id: RawBson) -> Vec<u8> {
    rawdoc! { "": id }.into_bytes()
}

/// The first field in which two documents differ; their order does not count.
fn difference(stored: &RawDocument, ours: &RawDocument, not_compared: &[String]) -> Option<String> {
    let fields = |document: &RawDocument| -> HashMap<String, RawBson> {
        let fields = document.iter().flatten();
        let compared = fields.filter(|(name, _)| is_compared(name, not_compared));
        compared.map(|(name, value)| (name.to_owned(), value.to_raw_bson())).collect()
    };
    let mut left = fields(stored);
    for (name, value) in ours.iter().flatten() {
        if is_compared(name, not_compared) && !left.remove(name).is_some_and(|other| same(&other, value)) {
            return Some(name.to_owned());
        }
    }
    left.into_keys().min()
}

fn same(left: &RawBson, right: RawBsonRef<'_>) -> bool {
    match (left, right) {
        (RawBson::Double(left), RawBsonRef::Double(right)) => left.to_bits() == right.to_bits(),
        (left, right) => left.as_raw_bson_ref() == right,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_differ_by_content_and_not_by_order_or_technical_fields() {
        let stored = rawdoc! { "_id": 1, "a": 1, "b": { "c": [1] }, "at": 5, "_trace": "x", "n": f64::NAN };
        let named = ["at".to_owned()];
        let ours = rawdoc! { "_id": 1, "n": f64::NAN, "b": { "c": [1] }, "a": 1, "at": 6 };
        assert_eq!(difference(&stored, &ours, &named), None);
        let other = rawdoc! { "_id": 1, "n": f64::NAN, "b": { "c": [1] }, "a": "1" };
        assert_eq!(difference(&stored, &other, &named).as_deref(), Some("a"));
        let less = rawdoc! { "_id": 1, "n": f64::NAN, "b": { "c": [1] } };
        assert_eq!(difference(&stored, &less, &named).as_deref(), Some("a"));
    }

    #[test]
    fn errors_of_single_operations_are_told_apart() {
        let error = |code, on_id| WriteError { index: 0, code, message: String::new(), on_id };
        let insert = |code, on_id| verdict(Kind::Insert, &error(code, on_id));
        assert_eq!(insert(11000, Some(true)), Verdict::Compare);
        assert_eq!(insert(11000, None), Verdict::Compare);
        assert_eq!(insert(11000, Some(false)), Verdict::Refuse);
        assert_eq!(insert(121, None), Verdict::Refuse);
        assert_eq!(insert(11600, None), Verdict::Again);
        assert_eq!(insert(13, None), Verdict::Stop);
        assert_eq!(verdict(Kind::Upsert, &error(11000, Some(true))), Verdict::Again);
        assert_eq!(verdict(Kind::Upsert, &error(11000, Some(false))), Verdict::Refuse);
    }
}

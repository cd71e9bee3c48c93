//! MongoDB sinks against a real replica set, named by `MONGODB_URI`.

mod sinks;

use std::collections::BTreeMap;

use mongodb::bson::{Document, doc};
use mongodb::{Client, Database};
use sinks::{alone, changes, identity, key, open, server, settings, sink, unique, write, write_while_killed};
use tidemill::dead_letter::Reason;
use tidemill::error::ErrorKind;
use tidemill::plan::{self, ChangeMode, MongoSink, SinkConnector, WriteMode};
use tidemill::settings::Settings;
use tidemill::write::{Health, Op, connect};
use tokio::runtime::Runtime;

/// The server as the tests see it, and a collection of this test alone.
struct Server {
    runtime: Runtime,
    database: Database,
    collection: String,
}

impl Server {
    fn new(name: &str) -> Server {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let client = runtime.block_on(Client::with_uri_str(uri())).expect("a client");
        let database = client.database("tidemill_tests");
        Server { runtime, database, collection: unique(name) }
    }

    fn documents(&self) -> mongodb::Collection<Document> {
        self.database.collection(&self.collection)
    }

    fn insert(&self, document: Document) {
        self.runtime.block_on(self.documents().insert_one(document).into_future()).expect("inserted");
    }

    fn run(&self, command: Document) {
        self.runtime.block_on(self.database.run_command(command).into_future()).expect("done");
    }

    fn count(&self, filter: Document) -> u64 {
        self.runtime.block_on(self.documents().count_documents(filter).into_future()).expect("counted")
    }

    /// All documents, sorted by `_id`.
    fn all(&self) -> Vec<Document> {
        self.runtime.block_on(async {
            let mut cursor = self.documents().find(doc! {}).sort(doc! { "_id": 1 }).await.expect("found");
            let mut all = Vec::new();
            while cursor.advance().await.expect("read") {
                all.push(cursor.deserialize_current().expect("a document"));
            }
            all
        })
    }

    fn sink(&self, mode: WriteMode, id: Vec<usize>) -> plan::Sink {
        let changes = if mode == WriteMode::Append { ChangeMode::AppendOnly } else { ChangeMode::Updating };
        let target =
            MongoSink { collection: self.collection.clone(), database: None, mode, id, not_compared: vec![] };
        sink(SinkConnector::MongoDb(target), changes)
    }
}

fn uri() -> String {
    server("MONGODB_URI", "mongodb")
}

fn here() -> Settings {
    settings(None, Some(uri()))
}

#[test]
fn real_append_tells_duplicates_from_conflicts_and_overwrites_nothing() {
    let _alone = alone();
    let server = Server::new("append");
    let (mut sink, progress, _) = open(&server.sink(WriteMode::Append, vec![0]), &here());
    assert_eq!(progress, 0);
    let first = write(&mut *sink, 1, changes(0, &[("a", 1, Op::Insert), ("b", 2, Op::Insert)]));
    assert_eq!((first.duplicates, first.refused.len()), (0, 0));
    let rows = [("a", 1, Op::Insert), ("b", 3, Op::Insert), ("c", 4, Op::Insert), ("c", 5, Op::Insert)];
    let second = write(&mut *sink, 2, changes(2, &rows));
    assert_eq!(second.duplicates, 1);
    let refused: Vec<_> = second.refused.iter().map(|(row, letter)| (*row, letter.reason)).collect();
    assert_eq!(refused, [(1, Reason::Conflict), (3, Reason::Conflict)]);
    assert_eq!(second.refused[0].1.error, "another document with _id \"b\" has other content in field n");
    assert_eq!(second.refused[0].1.origin.map(|origin| origin.offset), Some(3));
    let document = |k: &str, n: i64| doc! { "_id": k, "k": k, "n": n };
    assert_eq!(server.all(), [document("a", 1), document("b", 2), document("c", 4)]);
}

#[test]
fn real_append_by_origin_can_be_repeated_and_other_unique_indexes_refuse() {
    let _alone = alone();
    let server = Server::new("origin");
    server.run(doc! {
        "createIndexes": &server.collection,
        "indexes": [{ "key": { "n": 1 }, "name": "n", "unique": true }],
    });
    let plan = server.sink(WriteMode::Append, vec![]);
    let rows = || changes(7, &[("a", 1, Op::Insert), ("a", 2, Op::Insert)]);
    assert_eq!(write(&mut *open(&plan, &here()).0, 1, rows()).duplicates, 0);
    let (mut again, ..) = open(&plan, &here());
    assert_eq!(write(&mut *again, 1, rows()).duplicates, 2);
    let receipt = write(&mut *again, 2, changes(9, &[("a", 3, Op::Insert), ("b", 1, Op::Insert)]));
    let [(1, letter)] = &receipt.refused[..] else { panic!("{receipt:?}") };
    assert_eq!(letter.reason, Reason::SinkRefused);
    assert!(letter.error.contains("E11000"), "{}", letter.error);
    assert_eq!(server.count(doc! {}), 3);
    // 3,000 at once that are all there: looked up in groups.
    let many: Vec<_> = (0..3000).map(|n| ("a", 10 + n, Op::Insert)).collect();
    assert_eq!(write(&mut *again, 3, changes(100, &many)).duplicates, 0);
    assert_eq!(write(&mut *again, 4, changes(100, &many)).duplicates, 3000);
}

#[test]
fn real_upsert_never_goes_backwards() {
    let _alone = alone();
    let server = Server::new("upsert");
    server.insert(doc! { "_id": "foreign", "old": true });
    let plan = server.sink(WriteMode::Upsert, vec![0]);
    let (mut sink, progress, _) = open(&plan, &here());
    assert_eq!(progress, 0);
    let rows = [("a", 1, Op::Insert), ("b", 1, Op::Insert), ("foreign", 1, Op::Insert)];
    write(&mut *sink, 5, changes(0, &rows));
    let (mut late, progress, _) = open(&plan, &here());
    assert_eq!(progress, 5);
    write(&mut *late, 4, changes(0, &[("a", 0, Op::Update), ("b", 1, Op::Delete)]));
    write(&mut *late, 5, changes(0, &[("a", 9, Op::Update), ("b", 1, Op::Delete)]));
    let document = |k: &str, n: i64, version: i64| doc! { "_id": k, "k": k, "n": n, "_v": version };
    assert_eq!(server.all(), [document("a", 1, 5), document("b", 1, 5), document("foreign", 1, 5)]);
    late.write(6, changes(0, &[("b", 1, Op::Delete), ("a", 2, Op::Update)])).expect("written");
    late.write(7, changes(0, &[("b", 3, Op::Insert), ("foreign", 1, Op::Delete)])).expect("written");
    assert_eq!(late.confirm().expect("confirmed").len(), 2);
    late.close().expect("closed");
    assert_eq!(server.all(), [document("a", 2, 6), document("b", 3, 7)]);
    assert_eq!(open(&plan, &here()).1, 7);
}

#[test]
fn real_upsert_refuses_versions_that_are_no_numbers() {
    let _alone = alone();
    let server = Server::new("version");
    server.insert(doc! { "_id": 1, "_v": "9" });
    let plan = server.sink(WriteMode::Upsert, vec![0]);
    let mut sink = connect(&plan, &here(), &sinks::context(), Health::new()).expect("a sink");
    let error = sink.open(&identity()).expect_err("refused");
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("_v"), "{error}");
}

#[test]
fn real_refused_documents_are_letters_and_all_others_are_written() {
    let _alone = alone();
    for (mode, id) in [(WriteMode::Append, vec![]), (WriteMode::Upsert, vec![0])] {
        let server = Server::new("validator");
        server.run(doc! { "create": &server.collection, "validator": { "n": { "$gt": 0 } } });
        let (mut sink, ..) = open(&server.sink(mode, id), &here());
        let large = "x".repeat((16 << 20) - 200);
        let too_large = "x".repeat(16 << 20);
        let rows = [
            ("a", 1, Op::Insert),
            ("b", -1, Op::Insert),
            ("c", 2, Op::Insert),
            (large.as_str(), 3, Op::Insert),
            (too_large.as_str(), 4, Op::Insert),
        ];
        // As an `_id` the long text would be there twice.
        let rows = if mode == WriteMode::Append { &rows[..] } else { &rows[..3] };
        let receipt = write(&mut *sink, 1, changes(0, rows));
        let refused: Vec<_> = receipt.refused.iter().map(|(row, letter)| (*row, letter.reason)).collect();
        let expected = [(1, Reason::SinkRefused), (4, Reason::SinkRefused)];
        assert_eq!(refused, expected[..refused.len()], "{mode:?}");
        assert_eq!(server.count(doc! {}) as usize, rows.len() - refused.len(), "{mode:?}");
        let letter = &receipt.refused[0].1;
        assert!(letter.error.contains("Document failed validation"), "{}", letter.error);
    }
}

#[test]
fn real_append_loses_nothing_when_the_server_is_killed() {
    let _alone = alone();
    let server = Server::new("killed");
    let plan = server.sink(WriteMode::Append, vec![]);
    let receipts = write_while_killed("mongodb", &plan, &here(), 1000, Op::Insert);
    assert!(receipts.iter().all(|receipt| receipt.refused.is_empty()), "{receipts:?}");
    let duplicates: u64 = receipts.iter().map(|receipt| receipt.duplicates).sum();
    let rows = receipts.len() as u64 * 1000;
    assert_eq!((server.count(doc! {}), duplicates), (rows, 0), "what was in doubt is ours");
}

#[test]
fn real_upsert_loses_nothing_when_the_server_is_killed() {
    let _alone = alone();
    let server = Server::new("killed_upsert");
    let plan = server.sink(WriteMode::Upsert, vec![0]);
    let receipts = write_while_killed("mongodb", &plan, &here(), 500, Op::Update);
    let mut expected = BTreeMap::new();
    for epoch in 1..=receipts.len() as u64 {
        expected.extend((0..500).map(|row| (key(epoch, row, 500), epoch as i64)));
    }
    let versions = |document: Document| {
        let (key, version) = (document.get_str("k").expect("k"), document.get_i64("_v").expect("_v"));
        (key.to_owned(), version)
    };
    assert_eq!(server.all().into_iter().map(versions).collect::<BTreeMap<_, _>>(), expected);
}

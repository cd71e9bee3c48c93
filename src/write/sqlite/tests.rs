use super::super::testing::{changes, identity, partitions, sink};
use super::*;

const SCHEMA: &str = "k text, n int, at timestamp";

fn collection(folder: &Path, mode: WriteMode, id: Vec<usize>) -> (plan::Sink, Collection) {
    let plan = sink("s", SCHEMA);
    let target =
        plan::MongoSink { collection: "my \"docs\"".into(), database: None, mode, id, not_compared: vec![2] };
    let context = Context {
        directory: folder.into(),
        bounded: false,
        output: None,
        blackhole: false,
        partitions: partitions(),
    };
    let collection = Collection::new(&plan, &target, folder, &context, Health::new());
    (plan, collection)
}

fn receipt(collection: &mut Collection) -> Receipt {
    let receipts = collection.confirm().expect("confirm");
    assert_eq!(receipts.len(), 1);
    receipts.into_iter().next().expect("one epoch").1
}

fn stored(folder: &Path) -> Vec<String> {
    let connection = Connection::open(folder.join(FILE)).expect("file");
    let select =
        "SELECT _id || ' ' || coalesce(_v, '-') || ' ' || document FROM \"my \"\"docs\"\"\" ORDER BY _id";
    let mut select = connection.prepare(select).expect("table");
    let rows = select.query_map([], |row| row.get(0)).expect("query");
    rows.collect::<rusqlite::Result<_>>().expect("rows")
}

#[test]
fn what_comes_again_is_a_duplicate_or_a_conflict_and_never_overwrites() {
    let folder = tempfile::tempdir().expect("folder");
    let (plan, mut collection) = collection(folder.path(), WriteMode::Append, vec![0]);
    assert_eq!(collection.open(&identity()).expect("open"), 0);
    let rows = [
        r#"{"k":"a","n":1,"at":0}"#,
        r#"{"k":"b","n":2,"at":0}"#,
        r#"{"k":"a","n":1,"at":5}"#,
        r#"{"k":"b","n":3,"at":0}"#,
    ];
    collection.write(1, changes(&plan, &rows, &[Op::Insert; 4])).expect("write");
    let receipt = receipt(&mut collection);
    assert_eq!(receipt.duplicates, 1);
    let [(3, letter)] = &receipt.refused[..] else { panic!("{receipt:?}") };
    assert_eq!((letter.reason, letter.origin.map(|origin| origin.offset)), (Reason::Conflict, Some(3)));
    insta::assert_snapshot!(letter.error, @r#"another document with _id "b" has other content"#);
    insta::assert_snapshot!(stored(folder.path()).join("\n"), @r#"
    "a" - {"k":"a","n":1,"at":"1970-01-01T00:00:00.000000Z"}
    "b" - {"k":"b","n":2,"at":"1970-01-01T00:00:00.000000Z"}
    "#);
}

#[test]
fn without_key_columns_the_origin_is_the_id() {
    let folder = tempfile::tempdir().expect("folder");
    let (plan, mut collection) = collection(folder.path(), WriteMode::Append, vec![]);
    collection.open(&identity()).expect("open");
    let epoch = changes(&plan, &["{}", "{}"], &[Op::Insert; 2]);
    collection.write(1, epoch.clone()).expect("write");
    assert_eq!(receipt(&mut collection).duplicates, 0);
    collection.write(2, epoch).expect("write");
    assert_eq!(receipt(&mut collection).duplicates, 2);
    insta::assert_snapshot!(stored(folder.path()).join("\n"), @r#"
    88a4ed1b2ed9ba1c000000000000000000000000 - {"k":null,"n":null,"at":null}
    88a4ed1b2ed9ba1c000000000000000000000001 - {"k":null,"n":null,"at":null}
    "#);
}

#[test]
fn an_upsert_never_goes_backwards() {
    let folder = tempfile::tempdir().expect("folder");
    let (plan, mut first) = collection(folder.path(), WriteMode::Upsert, vec![1, 0]);
    first.open(&identity()).expect("open");
    let (new, old) = (r#"{"k":"a","n":1,"at":2000}"#, r#"{"k":"a","n":1,"at":1000}"#);
    first.write(5, changes(&plan, &[new, r#"{"k":"z","n":1}"#], &[Op::Insert; 2])).expect("write");
    first.write(6, changes(&plan, &[r#"{"k":"z","n":1}"#], &[Op::Delete])).expect("write");
    first.confirm().expect("confirm");

    let (_, mut second) = collection(folder.path(), WriteMode::Upsert, vec![1, 0]);
    assert_eq!(second.open(&identity()).expect("open"), 5);
    second.write(4, changes(&plan, &[old], &[Op::Update])).expect("write");
    second.write(5, changes(&plan, &[old], &[Op::Delete])).expect("write");
    second.close().expect("close");
    insta::assert_snapshot!(stored(folder.path()).join("\n"), @r#"{"k":"a","n":1} 5 {"k":"a","n":1,"at":"1970-01-01T00:00:00.000002Z"}"#);
}

#[test]
fn a_file_that_is_no_database_is_refused() {
    let folder = tempfile::tempdir().expect("folder");
    std::fs::write(folder.path().join(FILE), "x".repeat(5000)).expect("write");
    let (_, mut collection) = collection(folder.path(), WriteMode::Upsert, vec![0]);
    let error = collection.open(&identity()).expect_err("refused");
    assert_eq!(error.kind(), crate::error::ErrorKind::Config, "{error}");
}

//! Random records, compared after every epoch with the last record of each key.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{BooleanArray, Int64Array, StringArray, UInt32Array, UInt64Array};
use arrow::datatypes::{Field, Int64Type, Schema};
use datafusion_physical_expr::expressions::Column;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64Mcg;

use super::*;
use crate::batch::Origin;
use crate::plan::record_schema;

/// Partition, offset, key, and the value; `None` deletes.
type Record = (u32, u64, i64, Option<&'static str>);
type Rows = BTreeMap<i64, String>;

fn plan() -> Table {
    let fields = vec![Field::new("id", DataType::Int64, false), Field::new("v", DataType::Utf8, false)];
    let key = Expr { physical: Arc::new(Column::new("id", 0)), text: "id".into(), uses_now: false };
    Table { name: "t/rows".into(), keys: vec![key], key: vec![0], schema: Arc::new(Schema::new(fields)) }
}

fn batch(records: &[Record]) -> Batch {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(records.iter().map(|record| record.2))),
        Arc::new(records.iter().map(|record| record.3).collect::<StringArray>()),
        Arc::new(BooleanArray::from_iter(records.iter().map(|record| Some(record.3.is_none())))),
    ];
    let rows = RecordBatch::try_new(record_schema(&plan().schema, &[0]), columns).expect("three columns");
    let origin = Origin {
        source: 0,
        index: 0,
        partition: UInt32Array::from_iter_values(records.iter().map(|record| record.0)),
        offset: UInt64Array::from_iter_values(records.iter().map(|record| record.1)),
    };
    Batch::inserts(rows, Some(origin), 0)
}

/// Runs an epoch; gives what leaves and how many records have ended in it.
fn run(table: &mut TableRows, epoch: Epoch, batches: &[Vec<Record>]) -> (Vec<(i64, String, i64)>, i64) {
    let mut out = Output::default();
    for records in batches {
        table.on_batch(0, epoch, &batch(records), &mut out);
    }
    let close = EpochClose { epoch, wall_ms: 0, checkpoint: false, watermarks: vec![] };
    while table.on_epoch(&close, &mut out) == Progress::More {}
    assert!(out.letters.is_empty() && out.dead == 0 && out.filtered == 0);
    let mut changes = Vec::new();
    for batch in &out.batches {
        let (ids, values) =
            (batch.rows.column(0).as_primitive::<Int64Type>(), batch.rows.column(1).as_string::<i32>());
        changes.extend(
            (0..batch.len()).map(|row| (ids.value(row), values.value(row).to_owned(), batch.diff(row))),
        );
    }
    (changes, out.emitted)
}

/// The records of some epochs, each in the order of its origins.
fn records(random: &mut Pcg64Mcg) -> Vec<Vec<Record>> {
    let mut offsets = [0; 3];
    let mut epoch = |random: &mut Pcg64Mcg| {
        let count = random.random_range(0..12);
        let record = |_| {
            let partition = random.random_range(0..3u32);
            let offset = &mut offsets[partition as usize];
            *offset += 1;
            let value = [None, Some("a"), Some("b"), Some("c")][random.random_range(0..4)];
            (partition, *offset, random.random_range(0..6), value)
        };
        let mut records: Vec<Record> = (0..count).map(record).collect();
        records.sort_unstable();
        records
    };
    (0..8).map(|_| epoch(random)).collect()
}

fn cut(records: &[Record], random: &mut Pcg64Mcg) -> Vec<Vec<Record>> {
    let mut records = records.to_vec();
    records.shuffle(random);
    records.chunks(random.random_range(1..6)).map(<[Record]>::to_vec).collect()
}

#[test]
fn each_key_has_its_last_row_however_records_come() {
    for seed in 0..200 {
        let random = &mut Pcg64Mcg::seed_from_u64(seed);
        let mut table = TableRows::new(&plan()).expect("a table");
        let (mut view, mut expected, mut read, mut ended) = (Rows::new(), Rows::new(), 0, 0);
        for (epoch, records) in records(random).into_iter().enumerate() {
            let (changes, emitted) = run(&mut table, epoch as Epoch, &cut(&records, random));
            for (_, _, id, value) in &records {
                match value {
                    Some(value) => _ = expected.insert(*id, (*value).to_owned()),
                    None => _ = expected.remove(id),
                }
            }
            for (place, (id, value, diff)) in changes.iter().enumerate() {
                match diff {
                    1 => assert_eq!(view.insert(*id, value.clone()), None, "seed {seed}"),
                    _ => assert_eq!(view.remove(id).as_ref(), Some(value), "seed {seed}"),
                }
                let before = place.checked_sub(1).map(|before| &changes[before]);
                assert!(*diff == -1 || before != Some(&(*id, value.clone(), -1)), "seed {seed}: no change");
            }
            assert!(changes.is_sorted_by_key(|(id, _, diff)| (*id, *diff)), "seed {seed}");
            assert_eq!(view, expected, "seed {seed}, epoch {epoch}");
            (read, ended) = (read + records.len() as i64, ended + emitted);
            assert_eq!(table.rows_in_state() + ended, read, "seed {seed}: every record has one fate");
            assert_eq!(table.rows_in_state(), expected.len() as i64);
        }
    }
}

/// Snapshots are taken in all epochs, of which some fail; at any point a table that is made of them goes on as the
/// one that they were taken of.
#[test]
fn a_restored_table_goes_on_as_the_first() {
    for seed in 0..100 {
        let random = &mut Pcg64Mcg::seed_from_u64(1_000 + seed);
        let mut table = TableRows::new(&plan()).expect("a table");
        let mut kept: Vec<Vec<(KeyGroup, RecordBatch)>> = Vec::new();
        for (epoch, records) in records(random).into_iter().enumerate() {
            let parts = cut(&records, random);
            let (first, _) = run(&mut table, epoch as Epoch, &parts);
            if epoch > 0 {
                let mut restored = TableRows::new(&plan()).expect("a table");
                for (group, state) in kept.iter().flatten() {
                    assert_eq!(state.schema(), restored.state_schema(), "key group {group}");
                    restored.restore(state).expect("its own state");
                }
                let (again, _) = run(&mut restored, epoch as Epoch, &parts);
                assert_eq!(again, first, "seed {seed}, epoch {epoch}");
                assert_eq!(restored.rows_in_state(), table.rows_in_state());
            }
            if random.random_bool(0.3) {
                table.snapshot(SnapshotKind::Delta);
                table.snapshot_failed();
            }
            if kept.is_empty() || random.random_bool(0.2) {
                kept = vec![table.snapshot(SnapshotKind::Full)];
            } else {
                kept.push(table.snapshot(SnapshotKind::Delta));
            }
        }
    }
}

#[test]
fn the_greatest_origin_of_an_epoch_counts_and_the_later_epoch_before_that() {
    let mut table = TableRows::new(&plan()).expect("a table");
    let (changes, emitted) = run(&mut table, 1, &[vec![(1, 5, 7, Some("b"))], vec![(0, 9, 7, Some("a"))]]);
    assert_eq!((changes, emitted), (vec![(7, "b".to_owned(), 1)], 1));
    let (changes, emitted) = run(&mut table, 2, &[vec![(0, 10, 7, Some("c"))]]);
    assert_eq!((changes, emitted), (vec![(7, "b".to_owned(), -1), (7, "c".to_owned(), 1)], 1));
    let same = run(&mut table, 3, &[vec![(0, 11, 7, Some("c"))]]);
    assert_eq!(same, (vec![], 1), "the same row again is no change, and the record has an end");
    let gone = run(&mut table, 4, &[vec![(0, 12, 7, None), (0, 13, 8, None)]]);
    assert_eq!(gone, (vec![(7, "c".to_owned(), -1)], 3), "both that delete, and the row");
    assert_eq!(table.rows_in_state(), 0);
}

#[test]
fn keys_that_are_deleted_give_their_memory_back() {
    let mut table = TableRows::new(&plan()).expect("a table");
    let records = |from: u64, value| vec![(0..5_000).map(|n| (0, from + n, n as i64, value)).collect()];
    run(&mut table, 1, &records(0, Some("a")));
    let full = table.state_bytes();
    run(&mut table, 2, &records(5_000, None));
    let empty = table.state_bytes();
    assert!(full > 200_000 && empty < full / 20, "{full} bytes, then {empty}");
}

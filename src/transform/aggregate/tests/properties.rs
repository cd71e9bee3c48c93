use rand::seq::SliceRandom;

use super::functions::everything;
use super::*;
use crate::canonical;

/// Three kinds of input: with origins, updating, and updating without keys.
fn kinds() -> [(Aggregation, bool); 3] {
    [(everything(&["k"], true), true), (everything(&["k"], false), false), (everything(&[], false), false)]
}

#[test]
fn the_view_is_that_of_recomputation_after_every_epoch() {
    for (kind, (plan, append_only)) in kinds().into_iter().enumerate() {
        for seed in first_seed()..first_seed() + 15 {
            let random = &mut Pcg64Mcg::seed_from_u64(seed);
            let epochs = random_epochs(random, !append_only);
            let mut operator = new_state(&plan);
            let (mut view, mut all) = (View::default(), Vec::new());
            for (epoch, rows) in epochs.iter().enumerate() {
                let size = random.random_range(1..30);
                let out = run_epoch(&mut operator, epoch as Epoch, rows, size, append_only);
                view.apply(&out, &plan.schema);
                all.extend_from_slice(rows);
                let expected = reference::view(&plan, &all);
                reference::same(&plan, &view.rows(), &expected)
                    .unwrap_or_else(|what| panic!("{what}\nkind {kind}, seed {seed}, epoch {epoch}"));
                let count: i64 = all.iter().map(|row| row.diff).sum();
                assert_eq!((operator.rows_in_state(), out.dead), (count, 0), "kind {kind}, seed {seed}");
            }
        }
    }
}

/// What an epoch gave, in full: rows in order with their diffs, and letters.
fn transcript(out: &Output, schema: &SchemaRef) -> (Vec<(Cells, i64)>, Vec<String>) {
    let (rows, diffs) = emitted(out, schema);
    let rows = diffs.into_iter().enumerate().map(|(row, diff)| (cells(&rows, row), diff)).collect();
    (rows, out.letters.iter().map(|letter| format!("{letter:?}")).collect())
}

#[test]
fn order_and_batches_change_nothing_that_is_emitted() {
    for (kind, (plan, append_only)) in kinds().into_iter().enumerate() {
        for seed in 0..6 {
            let random = &mut Pcg64Mcg::seed_from_u64(1_000 + seed);
            let epochs = random_epochs(random, !append_only);
            let (mut one, mut other) = (new_state(&plan), new_state(&plan));
            for (epoch, rows) in epochs.iter().enumerate() {
                let mut shuffled = rows.clone();
                shuffled.shuffle(random);
                let left = run_epoch(&mut one, epoch as Epoch, rows, 1_000, append_only);
                let size = random.random_range(1..10);
                let right = run_epoch(&mut other, epoch as Epoch, &shuffled, size, append_only);
                let left = transcript(&left, &plan.schema);
                assert_eq!(left, transcript(&right, &plan.schema), "kind {kind}, seed {seed}, epoch {epoch}");
            }
        }
    }
}

/// Latest state: the same records, again and in any order and epochs, give the same view.
#[test]
fn latest_state_does_not_depend_on_when_and_how_often_records_come() {
    use AggregateFunction::{FirstValue, LastValue, Max, Min};
    let soc = || Some(equals("name", "soc"));
    let aggregates = vec![
        aggregate(Max, Some("t"), None, None),
        aggregate(Min, Some("d"), None, None),
        aggregate(LastValue, Some("i"), Some("t"), soc()),
        aggregate(LastValue, Some("s"), Some("t"), None),
        aggregate(FirstValue, Some("d"), Some("t"), soc()),
    ];
    let plan = plan(&["k"], aggregates, true);
    for seed in 0..60 {
        let random = &mut Pcg64Mcg::seed_from_u64(2_000 + seed);
        let mut rows: Vec<Row> = random_epochs(random, false).concat();
        let mut expected = View::default();
        expected.apply(&run_epoch(&mut new_state(&plan), 1, &rows, 1_000, true), &plan.schema);
        let again = rows.len() / 2;
        rows.extend_from_within(..again);
        rows.shuffle(random);
        let (mut operator, mut view) = (new_state(&plan), View::default());
        for (epoch, part) in rows.chunks(random.random_range(1..60)).enumerate() {
            let size = random.random_range(1..20);
            view.apply(&run_epoch(&mut operator, epoch as Epoch, part, size, true), &plan.schema);
        }
        assert_eq!(view, expected, "seed {seed}");
    }
}

#[test]
fn snapshot_and_restore_at_any_point_change_nothing_that_follows() {
    for (kind, (plan, append_only)) in kinds().into_iter().enumerate() {
        for seed in 0..6 {
            let random = &mut Pcg64Mcg::seed_from_u64(3_000 + seed);
            let epochs = random_epochs(random, !append_only);
            let (mut original, mut restored) = (new_state(&plan), new_state(&plan));
            let mut durable: Vec<RecordBatch> = Vec::new();
            for (epoch, rows) in epochs.iter().enumerate() {
                let size = random.random_range(1..30);
                let left = run_epoch(&mut original, epoch as Epoch, rows, size, append_only);
                let right = run_epoch(&mut restored, epoch as Epoch, rows, size, append_only);
                let what = format!("kind {kind}, seed {seed}, epoch {epoch}");
                assert_eq!(transcript(&left, &plan.schema), transcript(&right, &plan.schema), "{what}");

                if !take_snapshot(&mut restored, &mut durable, random) {
                    continue;
                }
                restored = new_state(&plan);
                for part in &durable {
                    assert_eq!(part.schema(), restored.state_schema());
                    restored.restore(part).expect("our own snapshot");
                }
                assert_eq!(restored.rows_in_state(), original.rows_in_state(), "{what}");
            }
        }
    }
}

/// Takes snapshots of which some fail; whether the last one became durable.
fn take_snapshot(operator: &mut KeyedState, durable: &mut Vec<RecordBatch>, random: &mut Pcg64Mcg) -> bool {
    for _ in 0..random.random_range(0..4) {
        let full = random.random_bool(0.3);
        let kind = if full { SnapshotKind::Full } else { SnapshotKind::Delta };
        let snapshot = operator.snapshot(kind);
        if random.random_bool(0.5) {
            operator.snapshot_failed();
            continue;
        }
        if full {
            durable.clear();
        }
        for (group, part) in snapshot {
            let keys = part.columns()[..operator.keyed.key_types.len()].to_vec();
            let mut encoded = CanonicalRows::default();
            encoded.encode(&keys, part.num_rows());
            assert!(encoded.iter().all(|key| key_group(key) == group));
            durable.push(part);
        }
        return true;
    }
    false
}

/// Rows go to the worker of their group, as in a run: together the workers give what one alone gives.
#[test]
fn the_number_of_workers_changes_nothing() {
    for (kind, (plan, append_only)) in kinds().into_iter().enumerate() {
        for seed in first_seed()..first_seed() + 5 {
            let random = &mut Pcg64Mcg::seed_from_u64(4_000 + seed);
            let epochs = random_epochs(random, !append_only);
            let workers = [2, 4, 7][random.random_range(0..3)];
            let mut alone = new_state(&plan);
            let states = (0..workers).map(|worker| KeyedState::new(&plan, worker, workers).expect("types"));
            let mut states: Vec<KeyedState> = states.collect();
            for (epoch, rows) in epochs.iter().enumerate() {
                let size = random.random_range(1..30);
                let expected = run_epoch(&mut alone, epoch as Epoch, rows, size, append_only);
                let mut out = Output::default();
                for part in rows.chunks(size) {
                    for (worker, own) in by_worker(&plan, part, workers).into_iter().enumerate() {
                        let batch = batch(&own, append_only);
                        states[worker].on_batch(0, epoch as Epoch, &batch, &mut out);
                    }
                }
                for state in &mut states {
                    while state.on_epoch(&close(epoch as Epoch), &mut out) == Progress::More {}
                }
                let sorted = |out: &Output| {
                    let (mut rows, mut letters) = transcript(out, &plan.schema);
                    rows.sort();
                    letters.sort();
                    (rows, letters)
                };
                let what = format!("kind {kind}, seed {seed}, epoch {epoch}, {workers} workers");
                assert_eq!(sorted(&out), sorted(&expected), "{what}");
            }
        }
    }
}

fn by_worker(plan: &Aggregation, rows: &[Row], workers: usize) -> Vec<Vec<Row>> {
    let columns = batch(rows, true).rows.columns()[..plan.keys.len()].to_vec();
    let keys = canonical::encode(&columns, rows.len());
    let mut parts = vec![Vec::new(); workers];
    for (row, key) in rows.iter().zip(keys.iter()) {
        parts[worker_of(key_group(key), workers)].push(row.clone());
    }
    parts
}

use rand::seq::SliceRandom;

use super::*;

/// Every function over every kind of value, with and without a filter.
fn everything(keys: &[&str], append_only: bool) -> Aggregation {
    use AggregateFunction::{Avg, Count, FirstValue, LastValue, Max, Min, Sum};
    let mut aggregates = vec![aggregate(Count, None, None, None)];
    for filter in [false, true] {
        let filter = || filter.then(|| equals("name", "soc"));
        for argument in ["i", "d", "s", "t"] {
            aggregates.push(aggregate(Count, Some(argument), None, filter()));
            aggregates.push(aggregate(Min, Some(argument), None, filter()));
            aggregates.push(aggregate(Max, Some(argument), None, filter()));
            for order in ["t", "d", "s"] {
                aggregates.push(aggregate(FirstValue, Some(argument), Some(order), filter()));
                aggregates.push(aggregate(LastValue, Some(argument), Some(order), filter()));
            }
        }
        for argument in ["i", "d"] {
            aggregates.push(aggregate(Sum, Some(argument), None, filter()));
            aggregates.push(aggregate(Avg, Some(argument), None, filter()));
        }
    }
    plan(keys, aggregates, append_only)
}

/// Three kinds of input: with origins, updating, and updating without keys.
fn kinds() -> [(Aggregation, bool); 3] {
    [(everything(&["k"], true), true), (everything(&["k"], false), false), (everything(&[], false), false)]
}

#[test]
fn the_view_is_that_of_recomputation_after_every_epoch() {
    for (kind, (plan, append_only)) in kinds().into_iter().enumerate() {
        for seed in 0..15 {
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
                assert_eq!(view.rows(), expected, "kind {kind}, seed {seed}, epoch {epoch}");
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
        for seed in 0..10 {
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
        for seed in 0..10 {
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
            let keys = part.columns()[..operator.key_types.len()].to_vec();
            let mut encoded = CanonicalRows::default();
            encoded.encode(&keys, part.num_rows());
            assert!(encoded.iter().all(|key| key_group(key) == group));
            durable.push(part);
        }
        return true;
    }
    false
}

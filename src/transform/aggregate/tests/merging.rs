//! Merging groups: windows are made of slices, sessions of sessions.

use rand::seq::SliceRandom;

use super::functions::everything;
use super::*;

/// What `groups` of a state show, by aggregate: the rendered cell, or the error.
fn shown(state: &Keyed, groups: &[Group]) -> Vec<Vec<Result<Option<String>, String>>> {
    let shown = state.states.iter().map(|aggregate| {
        let mut errors = Vec::new();
        let column = aggregate.evaluate(groups, &mut errors);
        let rows = RecordBatch::try_from_iter_with_nullable([("x", column, true)]).expect("a column");
        let mut results: Vec<_> = (0..groups.len()).map(|row| Ok(cells(&rows, row).remove(0))).collect();
        errors.into_iter().for_each(|(place, error)| results[place] = Err(error));
        results
    });
    shown.collect()
}

/// A state with empty groups 0 to `count`.
fn with_groups(plan: &Aggregation, count: usize) -> Keyed {
    let mut state = new_state(plan).keyed;
    (0..count).for_each(|i| assert_eq!(state.groups.intern(&[i as u8]), i as Group));
    state.make_room();
    state
}

fn take_in(state: &mut Keyed, rows: &[Row], groups: &[Group], with_origin: bool) {
    let mut out = Output::default();
    let taken = state.take(&batch(rows, with_origin), &mut out);
    assert_eq!(out.dead, 0);
    state.row_groups = groups.to_vec();
    state.update(&taken);
}

fn saved(state: &Keyed, group: Group) -> Vec<ArrayRef> {
    state.states.iter().flat_map(|aggregate| aggregate.save(&[group], &state.ties)).collect()
}

/// Rows in many parts, merged two by two in any order, show the same as all rows in one group, to the last bit.
#[test]
fn parts_that_are_merged_in_any_order_show_what_the_whole_shows() {
    const PARTS: Group = 9;
    const WHOLE: Group = PARTS;
    const EMPTY: Group = PARTS + 1;
    for append_only in [true, false] {
        let plan = everything(&["k"], append_only);
        for seed in first_seed()..first_seed() + 40 {
            let random = &mut Pcg64Mcg::seed_from_u64(seed);
            let rows = random_epochs(random, !append_only).concat();
            let rows = &rows[..random.random_range(0..=rows.len())];
            let mut state = with_groups(&plan, EMPTY as usize + 1);
            let parts = random.random_range(1..=PARTS);
            for part in rows.chunks(random.random_range(1..40)) {
                let groups: Vec<Group> = part.iter().map(|_| random.random_range(0..parts)).collect();
                take_in(&mut state, part, &groups, append_only);
                take_in(&mut state, part, &vec![WHOLE; part.len()], append_only);
            }
            let names: Vec<_> = plan.aggregates.iter().map(|aggregate| &aggregate.text).collect();
            let same = |found: Vec<Vec<_>>, expected: Vec<Vec<_>>, what: &str| {
                for (name, (found, expected)) in names.iter().zip(found.iter().zip(&expected)) {
                    assert_eq!(found, expected, "{name} {what}: AGGREGATE_SEED={seed}, {append_only}");
                }
            };
            // Some of them begin in a group without rows, as a window that is made of slices does.
            let mut left: Vec<Group> = (0..parts).chain([EMPTY]).collect();
            while left.len() > 1 {
                left.shuffle(random);
                let (from, into) = (left.swap_remove(0), left[0]);
                // Parts may hold removals of rows that are in others, so that they show nothing sensible.
                let before = saved(&state, from);
                state.merge(from, into);
                assert_eq!(saved(&state, from), before, "{from} stays as it is: AGGREGATE_SEED={seed}");
            }
            same(shown(&state, &left), shown(&state, &[WHOLE]), "merged");
            merge_snapshots(&plan, &mut state, left[0], random, &same);
        }
    }
}

/// A group that was saved and loaded goes on to be merged like any other.
fn merge_snapshots(
    plan: &Aggregation,
    state: &mut Keyed,
    group: Group,
    random: &mut Pcg64Mcg,
    same: &impl Fn(Vec<Vec<Result<Option<String>, String>>>, Vec<Vec<Result<Option<String>, String>>>, &str),
) {
    let more: Vec<Row> = (0..30).map(|offset| random_row(random, 10_000 + offset)).collect();
    let (more_group, loaded) = (0, 1);
    let mut other = with_groups(plan, 2);
    let append_only = plan.append_only_input;
    take_in(&mut other, &more, &vec![more_group; more.len()], append_only);
    for (own, others) in state.states.iter().zip(&mut other.states) {
        let saved = own.save(&[group], &state.ties);
        others.load(&[loaded], &saved, &mut other.ties).expect("its own state");
    }
    other.merge(more_group, loaded);
    take_in(state, &more, &vec![group; more.len()], append_only);
    same(shown(&other, &[loaded]), shown(state, &[group]), "loaded and merged");
}

/// What is emptied is as good as new: a window is merged in a group that others used before.
#[test]
fn a_group_that_was_emptied_is_merged_into_like_a_new_one() {
    for append_only in [true, false] {
        let plan = everything(&["k"], append_only);
        let random = &mut Pcg64Mcg::seed_from_u64(7);
        let rows: Vec<Row> = (0..60).map(|offset| random_row(random, offset)).collect();
        let mut state = with_groups(&plan, 3);
        for (group, part) in rows.chunks(30).enumerate() {
            take_in(&mut state, part, &vec![group as Group; part.len()], append_only);
        }
        state.merge(0, 2);
        state.states.iter_mut().for_each(|aggregate| aggregate.clear(2));
        state.merge(1, 2);
        assert_eq!(shown(&state, &[2]), shown(&state, &[1]));
    }
}

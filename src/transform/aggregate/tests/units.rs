use super::*;
use crate::dead_letter::Reason;
use crate::transform::aggregate::ties::Ties;

fn row(k: &'static str, i: i64, diff: i64) -> Row {
    Row {
        k: Some(k),
        name: "soc",
        i: Some(i),
        d: None,
        s: Some("7"),
        t: Some(0),
        b: None,
        diff,
        origin: (0, 0),
    }
}

fn sums() -> Aggregation {
    let sum = aggregate(AggregateFunction::Sum, Some("i"), None, None);
    plan(&["k"], vec![sum, aggregate(AggregateFunction::Count, None, None, None)], false)
}

fn changes(out: &Output, schema: &SchemaRef) -> Vec<(String, i64)> {
    let (rows, diffs) = emitted(out, schema);
    let text = |row| cells(&rows, row).into_iter().map(|cell| cell.unwrap_or("-".into())).collect::<Vec<_>>();
    diffs.into_iter().enumerate().map(|(row, diff)| (text(row).join(" "), diff)).collect()
}

#[test]
fn a_group_has_no_row_while_its_sum_is_out_of_range_and_one_letter_per_transition() {
    let plan = sums();
    let mut state = new_state(&plan);
    let mut epoch = 0;
    let mut run = |rows: &[Row]| {
        epoch += 1;
        let out = run_epoch(&mut state, epoch, rows, 10, false);
        (changes(&out, &plan.schema), out.letters)
    };
    let (rows, letters) = run(&[row("a", i64::MAX, 1), row("b", 1, 1)]);
    assert_eq!(rows, [(format!("\"a\" {} 1", i64::MAX), 1), ("\"b\" 1 1".into(), 1)]);
    assert!(letters.is_empty());

    let (rows, letters) = run(&[row("a", 1, 1)]);
    assert_eq!(rows, [(format!("\"a\" {} 1", i64::MAX), -1)]);
    let [letter] = letters.as_slice() else { panic!("{letters:?}") };
    assert_eq!((letter.reason, letter.origin), (Reason::Aggregate, None));
    assert_eq!(letter.row.as_deref(), Some(r#"{"k":"a"}"#));
    assert_eq!(letter.error, "the sum 9223372036854775808 does not fit into BIGINT");
    assert_eq!(
        (letter.rule.as_str(), letter.stage.as_str()),
        (plan.aggregates[0].text.as_str(), "v/aggregate")
    );

    assert_eq!(run(&[row("a", 5, 1)]), (vec![], vec![]), "still an error: nothing new to say");
    let (rows, letters) = run(&[row("a", i64::MAX, -1)]);
    assert_eq!((rows, letters.len()), (vec![("\"a\" 6 2".into(), 1)], 0));
    let (rows, letters) = run(&[row("a", i64::MAX, 1)]);
    assert_eq!((rows, letters.len()), (vec![("\"a\" 6 2".into(), -1)], 1));
    let all = [row("a", 1, -1), row("a", 5, -1), row("a", i64::MAX, -1), row("b", 1, -1)];
    assert_eq!(run(&all).0, [("\"b\" 1 1".into(), -1)]);
    assert_eq!((state.rows_in_state(), state.keyed.groups.iter().count()), (0, 0));
}

#[test]
fn an_epoch_that_changes_nothing_emits_nothing() {
    let plan = sums();
    let mut state = new_state(&plan);
    run_epoch(&mut state, 1, &[row("a", 3, 1)], 10, false);
    let out = run_epoch(
        &mut state,
        2,
        &[row("b", 4, -1), row("a", 3, -1), row("b", 4, 1), row("a", 3, 1)],
        1,
        false,
    );
    assert!(out.batches.is_empty() && out.letters.is_empty());
    assert_eq!(state.keyed.groups.iter().count(), 1);
    let out = run_epoch(&mut state, 3, &[row("a", 1, 1)], 10, false);
    assert_eq!(changes(&out, &plan.schema), [("\"a\" 3 1".into(), -1), ("\"a\" 4 2".into(), 1)]);
    assert_eq!((out.batches[0].wall_ms, out.batches[0].origin.is_none()), (3, true));
}

#[test]
fn without_keys_there_is_always_one_row_on_one_worker() {
    let mut plan = sums();
    plan.keys.clear();
    plan.schema = Arc::new(Schema::new(plan.schema.fields()[1..].to_vec()));
    let mut operators: Vec<_> =
        (0..4).map(|worker| KeyedState::new(&plan, worker, 4).expect("types")).collect();
    let first: Vec<_> = operators
        .iter_mut()
        .flat_map(|state| changes(&run_epoch(state, 1, &[], 1, false), &plan.schema))
        .collect();
    assert_eq!(first, [("- 0".into(), 1)]);
    let owner = worker_of(key_group(&[]), 4);
    let out = run_epoch(&mut operators[owner], 2, &[row("x", 2, 1)], 1, false);
    assert_eq!(changes(&out, &plan.schema), [("- 0".into(), -1), ("2 1".into(), 1)]);
    let out = run_epoch(&mut operators[owner], 3, &[row("x", 2, -1)], 1, false);
    assert_eq!(changes(&out, &plan.schema), [("2 1".into(), -1), ("- 0".into(), 1)]);

    let snapshot = operators[owner].snapshot(SnapshotKind::Full);
    let mut restored = KeyedState::new(&plan, owner, 4).expect("types");
    restored.restore(&snapshot[0].1).expect("our own snapshot");
    assert!(run_epoch(&mut restored, 4, &[], 1, false).batches.is_empty(), "the row is known already");
}

#[test]
fn a_row_that_fails_anywhere_takes_part_nowhere() {
    let mut plan = sums();
    plan.append_only_input = true;
    plan.aggregates[0].filter = Some(number_is_seven());
    let mut state = new_state(&plan);
    let bad = Row { s: Some("x"), origin: (2, 9), ..row("a", 1, 1) };
    let eight = Row { s: Some("8"), ..row("a", 1, 1) };
    let null = Row { s: None, ..row("a", 1, 1) };
    let out = run_epoch(&mut state, 1, &[row("a", 1, 1), bad, eight, null], 10, true);
    assert_eq!(changes(&out, &plan.schema), [("\"a\" 1 3".into(), 1)]);
    assert_eq!((out.dead, state.rows_in_state()), (1, 3));
    let [letter] = out.letters.as_slice() else { panic!("{:?}", out.letters) };
    assert_eq!((letter.rule.as_str(), letter.reason), ("CAST(s AS BIGINT) = 7", Reason::Expression));
    assert_eq!(letter.origin.map(|origin| (origin.partition, origin.offset)), Some((2, 9)));
}

#[test]
fn many_groups_leave_in_parts_in_the_order_of_their_keys() {
    let mut plan = sums();
    plan.keys = vec![column("i")];
    let count = aggregate(AggregateFunction::Count, None, None, None);
    plan.schema =
        Arc::new(Schema::new(vec![Field::new("i", DataType::Int64, true), count.field.as_ref().clone()]));
    plan.aggregates = vec![count];
    let mut state = new_state(&plan);
    let keys = 3 * EMIT_GROUPS_MAX as i64 + 5;
    let rows: Vec<Row> = (0..keys).map(|i| row("a", i * 7_919 % keys - 1_000, 1)).collect();
    let mut out = Output::default();
    state.on_batch(0, 1, &batch(&rows, false), &mut out);
    let mut calls = 1;
    while state.on_epoch(&close(1), &mut out) == Progress::More {
        calls += 1;
    }
    assert!((4..=8).contains(&calls), "{calls} calls");
    assert!(out.batches.iter().all(|batch| batch.len() <= EMIT_GROUPS_MAX));
    let (rows, diffs) = emitted(&out, &plan.schema);
    let expected: Vec<i64> = (-1_000..keys - 1_000).collect();
    assert_eq!(rows.column(0).as_primitive::<Int64Type>().values(), expected.as_slice());
    assert!(diffs.iter().all(|diff| *diff == 1));
}

#[test]
fn states_of_other_columns_are_refused() {
    let mut sums_state = new_state(&sums());
    run_epoch(&mut sums_state, 1, &[row("a", 3, 1)], 10, false);
    let (_, snapshot) = sums_state.snapshot(SnapshotKind::Full).remove(0);
    let mut plan = sums();
    plan.aggregates.reverse();
    assert!(new_state(&plan).restore(&snapshot).is_err());
}

#[test]
fn a_list_that_is_too_long_is_an_error_of_its_group() {
    let list = aggregate(AggregateFunction::StringAgg, Some("s"), None, None);
    let separator = Some(Parameter::Separator("x".repeat(4 << 20)));
    let plan = plan(&["k"], vec![named(Aggregate { parameter: separator, ..list })], true);
    let mut state = new_state(&plan);
    let at = |offset| Row { origin: (0, offset), ..row("a", 1, 1) };
    let out = run_epoch(&mut state, 1, &[at(1), at(2), at(3), at(4)], 10, true);
    assert_eq!((out.batches.len(), out.letters.len()), (1, 0), "12 MiB and four texts");
    let out = run_epoch(&mut state, 2, &[at(5), row("b", 1, 1)], 10, true);
    let (rows, diffs) = emitted(&out, &plan.schema);
    assert_eq!((rows.num_rows(), diffs), (2, vec![-1, 1]), "the row of a goes, that of b comes");
    let [letter] = out.letters.as_slice() else { panic!("{:?}", out.letters) };
    assert_eq!(letter.error, "the result is longer than 16777216 bytes");
    assert!(run_epoch(&mut state, 3, &[at(6)], 10, true).letters.is_empty(), "nothing new to say");
}

#[test]
fn arrays_are_json_of_every_type() {
    use AggregateFunction::ArrayAgg;
    let of = |argument| aggregate(ArrayAgg, Some(argument), None, None);
    let json = named(Aggregate { parameter: Some(Parameter::Json), ..of("s") });
    let plan = plan(&[], ["i", "d", "s", "t", "b"].map(of).into_iter().chain([json]).collect(), true);
    let mut state = new_state(&plan);
    let first = Row { s: Some("[1.50]"), d: Some(f64::NAN), b: Some(true), ..row("a", -7, 1) };
    let second = Row { s: None, d: Some(1e300), t: Some(1), i: None, origin: (0, 1), ..first.clone() };
    let out = run_epoch(&mut state, 1, &[second, first], 1, true);
    let (rows, _) = emitted(&out, &plan.schema);
    let last = rows.num_rows() - 1;
    let arrays: Vec<_> = rows.columns().iter().map(|column| column.as_string::<i32>().value(last)).collect();
    assert_eq!(
        arrays,
        [
            "[-7,null]",
            "[null,1e+300]",
            "[\"[1.50]\",null]",
            "[\"1970-01-01T00:00:00.000000Z\",\"1970-01-01T00:00:00.000000001Z\"]",
            "[true,true]",
            "[[1.50],null]"
        ]
    );
}

#[test]
fn the_memory_of_groups_that_are_gone_is_given_back() {
    for append_only in [true, false] {
        let mut plan = functions::everything(&["k"], append_only);
        plan.append_only_input = false;
        let mut state = new_state(&plan);
        let rows = |diff| -> Vec<Row> {
            let texts = ["a", "b", "c", "d"];
            (0..4_000).map(|i| Row { k: Some(texts[i as usize % 4]), ..row("a", i, diff) }).collect()
        };
        run_epoch(&mut state, 1, &rows(1), 1_000, false);
        let full = state.state_bytes();
        run_epoch(&mut state, 2, &rows(-1), 1_000, false);
        let empty = state.state_bytes();
        assert!(full > 1_000_000 && empty < full / 10, "{full} bytes, then {empty}");
    }
    let mut plan = sums();
    plan.keys = vec![column("i")];
    let fields = plan.schema.fields().iter().skip(1).cloned();
    plan.schema = Arc::new(Schema::new(
        [Arc::new(Field::new("k", DataType::Int64, true))].into_iter().chain(fields).collect::<Vec<_>>(),
    ));
    let mut state = new_state(&plan);
    let rows = |from: i64, to: i64, diff| (from..to).map(|i| row("a", i, diff)).collect::<Vec<_>>();
    run_epoch(&mut state, 1, &rows(0, 100_000, 1), 10_000, false);
    let full = state.state_bytes();
    run_epoch(&mut state, 2, &rows(10, 100_000, -1), 10_000, false);
    let few = state.state_bytes();
    assert!(full > 5_000_000 && few < 10_000, "{full} bytes, then {few}");
    let out = run_epoch(&mut state, 3, &rows(5, 15, 1), 10, false);
    assert_eq!(
        (state.rows_in_state(), out.batches[0].len()),
        (20, 15),
        "five rows are replaced, five are new"
    );
    assert_eq!(state.keyed.groups.iter().count(), 15);
}

/// Small groups take little memory, whatever may come.
#[test]
fn states_of_functions_that_need_much_start_small() {
    use crate::transform::aggregate::{exact::Exact, sketch::ApproxDistinct};
    let mut sketch = ApproxDistinct::default();
    state::State::resize(&mut sketch, 1_000);
    let saved = state::State::save(&sketch, &(0..1_000).collect::<Vec<_>>(), &Ties::default());
    assert_eq!(saved[0].as_binary::<i32>().value_data().len(), 0);
    assert!(std::mem::size_of::<Exact>() <= 24);
}

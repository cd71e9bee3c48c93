//! What is added up before the exchange gives what the rows would have given.

use super::functions::everything;
use super::*;
use crate::canonical;
use crate::transform::aggregate::partial::{PARTIALS, Partials, ROWS};

/// The part of a batch that each worker owns, by the columns of its keys.
fn by_worker(batch: &Batch, keys: std::ops::Range<usize>, workers: usize) -> Vec<(usize, Batch)> {
    let encoded = canonical::encode(&batch.rows.columns()[keys], batch.len());
    let owners: Vec<usize> = encoded.iter().map(|key| worker_of(key_group(key), workers)).collect();
    let part = |worker| {
        let own: BooleanArray = owners.iter().map(|owner| Some(*owner == worker)).collect();
        (worker, batch.filter(&own).expect("a mask of the rows"))
    };
    (0..workers).map(part).filter(|(_, part)| !part.is_empty()).collect()
}

/// What an epoch gave on all workers, in one order: rows with their diffs, and letters.
fn transcript(out: &Output, schema: &SchemaRef) -> (Vec<(Cells, i64)>, Vec<String>) {
    let (rows, diffs) = emitted(out, schema);
    let mut rows: Vec<_> =
        diffs.into_iter().enumerate().map(|(row, diff)| (cells(&rows, row), diff)).collect();
    let mut letters: Vec<_> = out.letters.iter().map(|letter| format!("{letter:?}")).collect();
    rows.sort();
    letters.sort();
    (rows, letters)
}

/// Workers that add up what they read and send it to each other, some of it, or never.
struct Workers {
    phases: Vec<Partials>,
    states: Vec<KeyedState>,
    keys: usize,
    /// Partials that were sent.
    sent: usize,
}

impl Workers {
    fn new(plan: &Aggregation, count: usize, rows_per_partial: usize) -> Self {
        let phase = || Partials::new(plan, rows_per_partial, false).expect("types");
        Workers {
            phases: (0..count).map(|_| phase()).collect(),
            states: (0..count).map(|worker| KeyedState::new(plan, worker, count).expect("types")).collect(),
            keys: plan.keys.len(),
            sent: 0,
        }
    }

    /// A batch that worker `reader` has read.
    fn read(&mut self, reader: usize, epoch: Epoch, batch: Batch, out: &mut Output) {
        for (port, part) in self.phases[reader].add_up(batch) {
            self.sent += if port == PARTIALS { part.len() } else { 0 };
            let keys = if port == PARTIALS { self.phases[reader].key_columns() } else { 0..self.keys };
            for (worker, own) in by_worker(&part, keys, self.states.len()) {
                self.states[worker].on_batch(usize::from(port), epoch, &own, out);
            }
        }
    }
}

/// Whether and how much is added up, by how many workers and in which batches, changes no byte.
#[test]
fn what_is_added_up_shows_what_the_rows_show() {
    let mut sent = 0;
    for keys in [&["k"][..], &["k", "name"], &[]] {
        // Updating input has no first phase, but would be in good hands.
        for append_only in [true, false] {
            let plan = everything(keys, append_only);
            for seed in first_seed()..first_seed() + 4 {
                let random = &mut Pcg64Mcg::seed_from_u64(seed);
                let epochs = random_epochs(random, !append_only);
                let with_origin = append_only && random.random_bool(0.7);
                let workers = [1, 2, 4][random.random_range(0..3)];
                let per_partial = random.random_range(1..4);
                let (mut alone, mut all) = (new_state(&plan), Workers::new(&plan, workers, per_partial));
                for (epoch, rows) in (1..).zip(&epochs) {
                    let expected = run_epoch(&mut alone, epoch, rows, 1_000, with_origin);
                    let mut out = Output::default();
                    for part in rows.chunks(random.random_range(1..30)) {
                        let reader = random.random_range(0..workers);
                        all.read(reader, epoch, batch(part, with_origin), &mut out);
                    }
                    for state in &mut all.states {
                        while state.on_epoch(&close(epoch), &mut out) == Progress::More {}
                    }
                    let what = format!("{keys:?} {append_only} {workers} {epoch}: AGGREGATE_SEED={seed}");
                    assert_eq!(transcript(&out, &plan.schema), transcript(&expected, &plan.schema), "{what}");
                    let in_state: i64 = all.states.iter().map(Operator::rows_in_state).sum();
                    assert_eq!(in_state, alone.rows_in_state(), "{what}");
                }
                sent += all.sent;
            }
        }
    }
    assert!(sent > 100, "{sent} partials were sent");
}

fn plain() -> Aggregation {
    use AggregateFunction::{Count, LastValue, Sum};
    let aggregates = vec![
        aggregate(Count, None, None, None),
        aggregate(Sum, Some("i"), None, Some(number_is_seven())),
        aggregate(LastValue, Some("d"), Some("t"), None),
    ];
    plan(&["k"], aggregates, true)
}

fn row(k: &'static str, s: &'static str, offset: u64) -> Row {
    let (name, i, d, t) = ("soc", Some(1), Some(0.5), Some(1));
    Row { k: Some(k), name, i, d, s: Some(s), t, b: None, diff: 1, origin: (0, offset) }
}

/// Ports and lengths of what becomes of a batch.
fn parts(phase: &mut Partials, rows: &[Row]) -> Vec<(u16, usize)> {
    phase.add_up(batch(rows, true)).iter().map(|(port, part)| (*port, part.len())).collect()
}

#[test]
fn rows_are_added_up_where_that_leaves_few() {
    let mut phase = Partials::new(&plain(), 4, false).expect("types");
    let of_keys = |keys: &[&'static str]| -> Vec<Row> {
        (0..12).map(|offset| row(keys[offset as usize % keys.len()], "7", offset)).collect()
    };
    assert_eq!(parts(&mut phase, &of_keys(&["a", "b", "c"])), [(PARTIALS, 3)]);
    assert_eq!(parts(&mut phase, &of_keys(&["a"])[..3]), [(ROWS, 3)], "fewer rows than make a group");
    assert_eq!(parts(&mut phase, &of_keys(&["a"])), [(PARTIALS, 1)], "nothing is left of the batch before");
}

#[test]
fn after_batches_with_many_groups_others_are_not_looked_at() {
    let mut phase = Partials::new(&plain(), 4, false).expect("types");
    let many: Vec<Row> =
        (0..12).map(|offset| row(["a", "b", "c", "d"][offset as usize % 4], "7", offset)).collect();
    let few: Vec<Row> = (0..12).map(|offset| row("a", "7", offset)).collect();
    assert_eq!(parts(&mut phase, &many), [(ROWS, 12)]);
    assert_eq!(parts(&mut phase, &few), [(ROWS, 12)], "not looked at");
    assert_eq!(parts(&mut phase, &many), [(ROWS, 12)]);
    for _ in 0..3 {
        assert_eq!(parts(&mut phase, &few), [(ROWS, 12)], "not looked at");
    }
    assert_eq!(parts(&mut phase, &few), [(PARTIALS, 1)]);
    assert_eq!(parts(&mut phase, &many), [(ROWS, 12)]);
    assert_eq!(parts(&mut phase, &few), [(ROWS, 12)], "as at first");
    assert_eq!(parts(&mut phase, &few), [(PARTIALS, 1)]);
}

/// The dead letter of a row is written where its group is, as in a run without a first phase.
#[test]
fn a_batch_with_a_row_that_fails_goes_on_as_it_is() {
    let mut phase = Partials::new(&plain(), 1, false).expect("types");
    assert_eq!(parts(&mut phase, &[row("a", "7", 0), row("a", "seven", 1)]), [(ROWS, 2)]);
    assert_eq!(parts(&mut phase, &[row("a", "7", 0), row("a", "8", 1)]), [(PARTIALS, 1)]);
}

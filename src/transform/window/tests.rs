//! Windows over random rows against their definition, with disorder, any batches and a restore at any place.

use std::collections::BTreeMap;

use arrow::array::{ArrayRef, Int64Array, StringArray, UInt32Array, UInt64Array};
use arrow::datatypes::{Field, Int64Type, Schema};
use datafusion_physical_expr::expressions::Column;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64Mcg;

use super::*;
use crate::batch::Origin;
use crate::plan::{Aggregate, AggregateFunction, Bound, Expr, OrderBy};
use crate::transform::aggregate::partial::{Partials, ROWS};

/// A row: key, time, value. Its place in the input is its offset.
pub(in crate::transform) type Row = (&'static str, i64, i64);
/// A row of the result: key, end of the window, count, sum and last value by time.
type Shown = (String, i64, i64, i64, i64);

pub(in crate::transform) const KEYS: [&str; 3] = ["a", "b", "c"];

fn column(name: &str, index: usize) -> Expr {
    Expr { physical: Arc::new(Column::new(name, index)), text: name.into(), uses_now: false }
}

fn aggregate(function: AggregateFunction, argument: bool, order: bool) -> Aggregate {
    let by_time = OrderBy { expr: column("t", 1), descending: false, nulls_first: true };
    let text = format!("{function:?}");
    Aggregate {
        function,
        distinct: false,
        argument: argument.then(|| column("v", 2)),
        second: None,
        parameter: None,
        order_by: order.then_some(by_time).into_iter().collect(),
        ignore_nulls: false,
        filter: None,
        field: Arc::new(Field::new(&text, DataType::Int64, true)),
        text,
    }
}

pub(in crate::transform) fn plan(window: Window, emit: Emit, allowed_lateness_ns: i64) -> Aggregation {
    use AggregateFunction as F;
    let aggregates = vec![
        aggregate(F::Count, false, false),
        aggregate(F::Sum, true, false),
        aggregate(F::LastValue, true, true),
    ];
    let mut fields = vec![Arc::new(Field::new("k", DataType::Utf8, true))];
    let edges = ["window_start", "window_end"];
    let edges = &edges[2 - window.columns()..];
    fields.extend(edges.iter().map(|name| Arc::new(Field::new(*name, TIMESTAMP, false))));
    fields.extend(aggregates.iter().map(|aggregate| aggregate.field.clone()));
    let input = [("k", DataType::Utf8), ("t", TIMESTAMP), ("v", DataType::Int64)];
    let input = input.into_iter().map(|(name, data_type)| Field::new(name, data_type, true));
    Aggregation {
        name: "v/aggregate".into(),
        input: Arc::new(Schema::new(input.collect::<Vec<_>>())),
        keys: vec![column("k", 0)],
        aggregates,
        schema: Arc::new(Schema::new(fields)),
        append_only_input: true,
        window: Some(Windowing {
            window,
            time: column("t", 1),
            bound: Bound::Source(0),
            allowed_lateness_ns,
            emit,
        }),
    }
}

pub(in crate::transform) fn batch(plan: &Aggregation, rows: &[(u64, Row)]) -> Batch {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(rows.iter().map(|(_, row)| Some(row.0)).collect::<StringArray>()),
        Arc::new(rows.iter().map(|(_, row)| Some(row.1)).collect::<TimestampNanosecondArray>()),
        Arc::new(rows.iter().map(|(_, row)| Some(row.2)).collect::<Int64Array>()),
    ];
    let origin = Origin {
        source: 0,
        index: 0,
        partition: UInt32Array::from(vec![0; rows.len()]),
        offset: UInt64Array::from_iter_values(rows.iter().map(|(offset, _)| *offset)),
    };
    Batch::inserts(RecordBatch::try_new(plan.input.clone(), columns).expect("columns"), Some(origin), 0)
}

pub(in crate::transform) fn close(epoch: Epoch, watermark: Watermark) -> EpochClose {
    EpochClose { epoch, wall_ms: 0, checkpoint: false, watermarks: vec![watermark] }
}

fn end_epoch(state: &mut WindowedState, epoch: Epoch, watermark: Watermark, out: &mut Output) {
    while state.on_epoch(&close(epoch, watermark), out) == Progress::More {}
}

/// The rows of a batch of the result with their diffs.
fn shown(batch: &Batch, slices: Slices) -> Vec<(Shown, i64)> {
    let columns = batch.rows.columns();
    let int = |column: usize, row: usize| columns[column].as_primitive::<Int64Type>().value(row);
    let time =
        |column: usize, row: usize| columns[column].as_primitive::<TimestampNanosecondType>().value(row);
    let last = columns.len();
    let rows = (0..batch.len()).map(|row| {
        let end = time(last - 4, row);
        if last == 6 {
            assert_eq!(time(1, row), slices.start(end));
        }
        let key = columns[0].as_string::<i32>().value(row).to_owned();
        ((key, end, int(last - 3, row), int(last - 2, row), int(last - 1, row)), batch.diff(row))
    });
    rows.collect()
}

/// What windows are, word by word.
struct Model {
    slices: Slices,
    emit: Emit,
    lateness: i64,
    /// Rows that were not late, with their offsets.
    rows: Vec<(u64, Row)>,
    /// What is shown, by key and end.
    shown: BTreeMap<(String, i64), Shown>,
    late: i64,
    gaps: i64,
    watermark: i64,
}

impl Model {
    fn epoch(&mut self, rows: &[(u64, Row)], watermark: i64) {
        let judged_by = self.watermark;
        let mut changed = Vec::new();
        for (offset, row) in rows {
            let slice = self.slices.of(row.1).expect("in range");
            let ends: Vec<_> = self.slices.ends(slice).collect();
            let open: Vec<_> = ends.iter().filter(|end| **end + self.lateness > judged_by).copied().collect();
            match (ends.is_empty(), open.is_empty()) {
                (true, _) => self.gaps += 1,
                (false, true) => self.late += 1,
                (false, false) => {
                    self.rows.push((*offset, *row));
                    changed.extend(open.into_iter().map(|end| (row.0, end)));
                }
            }
        }
        let all: Vec<_> = self.rows.iter().map(|(_, row)| *row).collect();
        for row in all {
            changed.extend(self.slices.ends(self.slices.of(row.1).expect("in range")).filter_map(|end| {
                (end > judged_by && end <= watermark && self.emit == Emit::Final).then_some((row.0, end))
            }));
        }
        for (key, end) in changed {
            if self.emit == Emit::Final && end > watermark {
                continue;
            }
            let window = self.slices.range(end);
            let mut inside: Vec<_> =
                self.rows.iter().filter(|(_, row)| row.0 == key && window.contains(&row.1)).collect();
            inside.sort_by_key(|(offset, row)| (row.1, *offset));
            let sum = inside.iter().map(|(_, row)| row.2).sum();
            let last = inside.last().expect("it has rows").1.2;
            self.shown.insert((key.to_owned(), end), (key.to_owned(), end, inside.len() as i64, sum, last));
        }
        self.watermark = watermark;
    }
}

/// Saves a state and puts it back into an empty one, in two parts.
fn moved(state: &mut WindowedState, plan: &Aggregation, epoch: Epoch, watermark: i64) -> WindowedState {
    let mut other = WindowedState::new(plan).expect("a plan");
    for (_, part) in state.snapshot(SnapshotKind::Full) {
        other.restore(&part).expect("its own state");
    }
    let mut out = Output::default();
    end_epoch(&mut other, epoch, Watermark(watermark), &mut out);
    assert!(out.batches.is_empty() && out.emitted == 0, "what was shown before is not shown again");
    other
}

/// Gives a batch to the state, added up or not.
fn deliver(
    state: &mut WindowedState,
    phase: Option<&mut Partials>,
    epoch: Epoch,
    rows: Batch,
    out: &mut Output,
) {
    let parts = phase.map_or_else(|| vec![(ROWS, rows.clone())], |phase| phase.add_up(rows.clone()));
    parts.iter().for_each(|(port, part)| state.on_batch(usize::from(*port), epoch, part, out));
}

fn run(window: Window, emit: Emit, lateness: i64, seed: u64) {
    let what = format!("{window:?} {emit:?} {lateness}: WINDOW_SEED={seed}");
    let random = &mut Pcg64Mcg::seed_from_u64(seed);
    let plan = plan(window, emit, lateness);
    let slices = Slices::new(window);
    let mut state = WindowedState::new(&plan).expect("a plan");
    let late_is_read = random.random_bool(0.5);
    let first_phase = || Partials::new(&plan, 1, late_is_read).expect("a plan");
    let mut phase = first_phase();
    let (rows, shown_first, late, gaps) = (Vec::new(), BTreeMap::new(), 0, 0);
    let mut model =
        Model { slices, emit, lateness, rows, shown: shown_first, late, gaps, watermark: i64::MIN };
    let mut view: BTreeMap<Shown, i64> = BTreeMap::new();
    let (mut offset, mut now, mut watermark) = (0, 0, -100);
    let mut total = Output::default();
    let (mut late_seen, mut count) = (0, 0);
    for epoch in 1..=12 {
        let mut rows: Vec<(u64, Row)> = (0..random.random_range(0..20))
            .map(|_| {
                offset += 1;
                now += random.random_range(0..3);
                let time = now - random.random_range(0..30);
                (offset, (KEYS[random.random_range(0..KEYS.len())], time, random.random_range(-9..9)))
            })
            .collect();
        count += rows.len() as i64;
        watermark = if epoch == 12 { i64::MAX } else { watermark.max(now - random.random_range(5..25)) };
        model.epoch(&rows, watermark);
        rows.shuffle(random);
        let mut out = Output::default();
        for part in rows.chunks(random.random_range(1..8)) {
            let phase = random.random_bool(0.7).then_some(&mut phase);
            deliver(&mut state, phase, epoch, batch(&plan, part), &mut out);
        }
        phase.pass(Watermark(watermark));
        assert!(!late_is_read || out.late_rows == 0, "{what}: late rows that nobody can read");
        end_epoch(&mut state, epoch, Watermark(watermark), &mut out);
        for (row, diff) in out.batches.iter().flat_map(|batch| shown(batch, slices)) {
            assert!(plan.window.as_ref().is_some_and(|window| !window.is_final()) || diff == 1, "{what}");
            *view.entry(row).or_default() += diff;
        }
        view.retain(|_, count| *count != 0);
        assert!(view.values().all(|count| *count == 1), "{what}: {view:?}");
        assert!(view.keys().eq(model.shown.values()), "{what}, epoch {epoch}: {view:?} != {:?}", model.shown);
        late_seen += out.late.iter().map(Batch::diff_sum).sum::<i64>() + out.late_rows;
        total.filtered += out.filtered;
        total.emitted += out.emitted;
        let accounted = late_seen + total.filtered + total.emitted + state.rows_in_state();
        assert_eq!((late_seen, total.filtered, accounted), (model.late, model.gaps, count), "{what}");
        if random.random_bool(0.3) && epoch < 12 {
            state = moved(&mut state, &plan, epoch, watermark);
            phase = first_phase();
        }
    }
    assert_eq!((state.rows_in_state(), state.keyed.groups.iter().count()), (0, 0), "{what}: nothing is kept");
}

#[test]
fn windows_show_what_their_definition_says_after_every_epoch() {
    let seed = std::env::var("WINDOW_SEED").ok().map_or(0, |seed| seed.parse().expect("a number"));
    eprintln!("WINDOW_SEED={seed}");
    let windows = [
        Window::Tumble { size_ns: 10 },
        Window::Hop { slide_ns: 5, size_ns: 15 },
        Window::Hop { slide_ns: 6, size_ns: 15 },
        Window::Hop { slide_ns: 12, size_ns: 5 },
        Window::Cumulate { step_ns: 4, size_ns: 12 },
        Window::Given,
    ];
    for window in windows {
        for (emit, lateness) in [(Emit::Final, 0), (Emit::Final, 12), (Emit::Changes, 0), (Emit::Changes, 12)]
        {
            (seed..seed + 25).for_each(|seed| run(window, emit, lateness, seed));
        }
    }
}

/// Ports of what becomes of rows at these times, with the times or the slices in order.
fn ports(phase: &mut Partials, times: &[i64]) -> Vec<(u16, Vec<i64>)> {
    let plan = plan(Window::Tumble { size_ns: 10 }, Emit::Final, 5);
    let rows: Vec<(u64, Row)> = (0..).zip(times).map(|(offset, time)| (offset, ("a", *time, 1))).collect();
    let parts = phase.add_up(batch(&plan, &rows)).into_iter().map(|(port, part)| {
        let column = if port == ROWS { 1 } else { 0 };
        let mut times = part.rows.column(column).as_primitive::<TimestampNanosecondType>().values().to_vec();
        times.sort_unstable();
        (port, times)
    });
    parts.collect()
}

#[test]
fn late_rows_are_added_up_only_where_nobody_reads_them() {
    let plan = plan(Window::Tumble { size_ns: 10 }, Emit::Final, 5);
    let mut unread = Partials::new(&plan, 1, false).expect("a plan");
    let mut read = Partials::new(&plan, 1, true).expect("a plan");
    assert!(read.judges() && !unread.judges());
    let times = [3, 4, 12, 13, 21];
    assert_eq!(ports(&mut read, &times), [(ROWS, times.to_vec())], "nobody knows yet what is late");
    for phase in [&mut read, &mut unread] {
        phase.pass(Watermark(14));
        assert_eq!(ports(phase, &times), [(PARTIALS, vec![0, 10, 20])], "0 to 10 takes rows until 15");
        phase.pass(Watermark(15));
        phase.pass(Watermark(9));
    }
    assert_eq!(ports(&mut read, &times), [(PARTIALS, vec![10, 20]), (ROWS, vec![3, 4])]);
    assert_eq!(ports(&mut read, &times[..1]), [(ROWS, vec![3])]);
    assert_eq!(ports(&mut unread, &times), [(PARTIALS, vec![0, 10, 20])]);

    let mut state = WindowedState::new(&plan).expect("a plan");
    let mut out = Output::default();
    end_epoch(&mut state, 1, Watermark(15), &mut out);
    let rows: Vec<(u64, Row)> = (0..).zip(times).map(|(offset, time)| (offset, ("a", time, 1))).collect();
    deliver(&mut state, Some(&mut unread), 2, batch(&plan, &rows), &mut out);
    assert_eq!((out.late_rows, out.late.len(), state.rows_in_state()), (2, 0, 3));
}

/// Its dead letter is written where its group is.
#[test]
fn a_row_whose_windows_are_out_of_range_keeps_its_batch_from_being_added_up() {
    let plan = plan(Window::Tumble { size_ns: 10 }, Emit::Final, 5);
    let mut phase = Partials::new(&plan, 1, false).expect("a plan");
    assert_eq!(ports(&mut phase, &[1, i64::MAX]), [(ROWS, vec![1, i64::MAX])]);
    assert_eq!(ports(&mut phase, &[1, 2]), [(PARTIALS, vec![0])]);
}

#[test]
fn windows_that_have_closed_give_their_memory_back() {
    for emit in [Emit::Final, Emit::Changes] {
        let plan = plan(Window::Hop { slide_ns: 10, size_ns: 20 }, emit, 0);
        let mut state = WindowedState::new(&plan).expect("a plan");
        let mut run = |epoch, rows: std::ops::Range<u64>, watermark| {
            let rows = rows.map(|offset| (offset, (KEYS[offset as usize % 3], offset as i64 * 10, 1)));
            let mut out = Output::default();
            state.on_batch(0, epoch, &batch(&plan, &rows.collect::<Vec<_>>()), &mut out);
            end_epoch(&mut state, epoch, Watermark(watermark), &mut out);
            state.state_bytes()
        };
        let full = run(1, 0..5_000, 0);
        // These stand behind all that are gone with this epoch; the next ones take the places of those.
        run(2, 5_000..5_010, 50_020);
        let few = run(3, 5_010..5_020, 50_150);
        assert!(full > 500_000 && few > 0 && few < full / 20, "{emit:?}: {full} bytes, then {few}");
    }
}

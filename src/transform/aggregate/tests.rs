//! Helpers of the tests: a plan over rows `(k, name, i, d, s, t, b)`, random changelogs, and the view that the
//! emitted changes make.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, AsArray, BooleanArray, Float64Array, Int64Array, StringArray, TimestampNanosecondArray,
    UInt32Array, UInt64Array,
};
use arrow::compute::concat_batches;
use arrow::datatypes::{Field, Float64Type, Int64Type, Schema, TimeUnit, TimestampNanosecondType};
use datafusion_common::ScalarValue;
use datafusion_expr::Operator as Op;
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_expr::expressions::{BinaryExpr, CastExpr, Column, Literal};
use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64Mcg;

use super::*;
use crate::batch::Origin;
use crate::canonical::CanonicalRows;
use crate::plan::{Aggregate, AggregateFunction, Expr, OfPairs, OrderBy, Parameter};

mod functions;
mod merging;
mod of_pairs;
mod partials;
mod properties;
mod reference;
mod units;

const TIME: DataType = DataType::Timestamp(TimeUnit::Nanosecond, None);
const COLUMNS: [(&str, DataType); 7] = [
    ("k", DataType::Utf8),
    ("name", DataType::Utf8),
    ("i", DataType::Int64),
    ("d", DataType::Float64),
    ("s", DataType::Utf8),
    ("t", TIME),
    ("b", DataType::Boolean),
];

/// One row with its diff and place of origin (partition, offset).
#[derive(Clone, Debug, PartialEq)]
struct Row {
    k: Option<&'static str>,
    name: &'static str,
    i: Option<i64>,
    d: Option<f64>,
    s: Option<&'static str>,
    t: Option<i64>,
    b: Option<bool>,
    diff: i64,
    origin: (u32, u64),
}

fn physical(name: &str) -> Arc<dyn PhysicalExpr> {
    let index = COLUMNS.iter().position(|(column, _)| *column == name).expect("a column of the test");
    Arc::new(Column::new(name, index))
}

fn expr(physical: Arc<dyn PhysicalExpr>, text: &str) -> Expr {
    Expr { physical, text: text.into(), uses_now: false }
}

fn column(name: &str) -> Expr {
    expr(physical(name), name)
}

/// CAST(i AS DOUBLE)
fn double(name: &str) -> Expr {
    expr(Arc::new(CastExpr::new(physical(name), DataType::Float64, None)), name)
}

fn equals(name: &str, value: &str) -> Expr {
    let value = Literal::new(ScalarValue::Utf8(Some(value.into())));
    expr(Arc::new(BinaryExpr::new(physical(name), Op::Eq, Arc::new(value))), name)
}

/// CAST(s AS BIGINT) = 7
fn number_is_seven() -> Expr {
    let cast = CastExpr::new(physical("s"), DataType::Int64, None);
    let seven = Literal::new(ScalarValue::Int64(Some(7)));
    expr(Arc::new(BinaryExpr::new(Arc::new(cast), Op::Eq, Arc::new(seven))), "CAST(s AS BIGINT) = 7")
}

fn type_of(name: &str) -> DataType {
    COLUMNS.iter().find(|(column, _)| *column == name).expect("a column of the test").1.clone()
}

fn ascending(function: AggregateFunction, name: &str) -> OrderBy {
    let nulls_first = function == AggregateFunction::LastValue;
    OrderBy { expr: column(name), descending: false, nulls_first }
}

/// `text` is unique within a plan.
fn aggregate(
    function: AggregateFunction,
    argument: Option<&str>,
    order: Option<&str>,
    filter: Option<Expr>,
) -> Aggregate {
    use AggregateFunction as F;
    let result = match function {
        F::Count | F::ApproxDistinct | F::BitAnd | F::BitOr | F::BitXor => DataType::Int64,
        F::OfPairs(OfPairs::RegrCount) => DataType::Int64,
        F::BoolAnd | F::BoolOr => DataType::Boolean,
        F::StringAgg | F::ArrayAgg => DataType::Utf8,
        F::Sum | F::Min | F::Max | F::FirstValue | F::LastValue => {
            type_of(argument.expect("only count has none"))
        }
        _ => DataType::Float64,
    };
    let parameter = match function {
        F::StringAgg => Some(Parameter::Separator("; ".into())),
        F::PercentileCont | F::ApproxPercentileCont => Some(Parameter::Fraction(0.9)),
        F::SigmaClippedPercentile => Some(Parameter::Clipped { fraction: 0.9, sigmas: 1.5 }),
        _ => None,
    };
    named(Aggregate {
        function,
        distinct: false,
        argument: argument.map(column),
        second: matches!(function, F::OfPairs(_)).then(|| double("i")),
        parameter,
        order_by: order.map(|order| ascending(function, order)).into_iter().collect(),
        ignore_nulls: false,
        filter,
        field: Arc::new(Field::new("", result, true)),
        text: String::new(),
    })
}

/// With a text and a name that say all that is special about it.
fn named(aggregate: Aggregate) -> Aggregate {
    let Aggregate { function, distinct, parameter, ignore_nulls, .. } = &aggregate;
    let argument = aggregate.argument.as_ref().map(|argument| &argument.text);
    let order = |order: &OrderBy| format!("{} {} {}", order.expr.text, order.descending, order.nulls_first);
    let orders: Vec<_> = aggregate.order_by.iter().map(order).collect();
    let filtered = aggregate.filter.is_some();
    let text = format!(
        "{function:?}({distinct} {argument:?} {parameter:?} by {orders:?} {ignore_nulls}, {filtered})"
    );
    let field = Arc::new(aggregate.field.as_ref().clone().with_name(&text));
    Aggregate { field, text, ..aggregate }
}

fn plan(keys: &[&str], aggregates: Vec<Aggregate>, append_only_input: bool) -> Aggregation {
    let input = COLUMNS.iter().map(|(name, data_type)| Field::new(*name, data_type.clone(), true));
    let mut fields: Vec<_> = keys.iter().map(|key| Arc::new(Field::new(*key, type_of(key), true))).collect();
    fields.extend(aggregates.iter().map(|aggregate| aggregate.field.clone()));
    Aggregation {
        name: "v/aggregate".into(),
        input: Arc::new(Schema::new(input.collect::<Vec<_>>())),
        keys: keys.iter().map(|key| column(key)).collect(),
        aggregates,
        schema: Arc::new(Schema::new(fields)),
        append_only_input,
        window: None,
    }
}

fn batch(rows: &[Row], with_origin: bool) -> Batch {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(rows.iter().map(|row| row.k).collect::<StringArray>()),
        Arc::new(rows.iter().map(|row| Some(row.name)).collect::<StringArray>()),
        Arc::new(rows.iter().map(|row| row.i).collect::<Int64Array>()),
        Arc::new(rows.iter().map(|row| row.d).collect::<Float64Array>()),
        Arc::new(rows.iter().map(|row| row.s).collect::<StringArray>()),
        Arc::new(rows.iter().map(|row| row.t).collect::<TimestampNanosecondArray>()),
        Arc::new(rows.iter().map(|row| row.b).collect::<BooleanArray>()),
    ];
    let schema = plan(&[], vec![], true).input;
    let origin = with_origin.then(|| Origin {
        source: 0,
        index: 0,
        partition: UInt32Array::from_iter_values(rows.iter().map(|row| row.origin.0)),
        offset: UInt64Array::from_iter_values(rows.iter().map(|row| row.origin.1)),
    });
    let mut batch = Batch::inserts(RecordBatch::try_new(schema, columns).expect("columns"), origin, 0);
    if !with_origin {
        batch.diffs = Some(Int64Array::from_iter_values(rows.iter().map(|row| row.diff)));
    }
    batch
}

fn close(epoch: Epoch) -> EpochClose {
    EpochClose { epoch, wall_ms: epoch as i64, checkpoint: false, watermarks: vec![] }
}

/// Gives rows to an operator in batches of `size` and closes the epoch.
fn run_epoch(
    operator: &mut KeyedState,
    epoch: Epoch,
    rows: &[Row],
    size: usize,
    with_origin: bool,
) -> Output {
    let mut out = Output::default();
    for part in rows.chunks(size) {
        operator.on_batch(0, epoch, &batch(part, with_origin), &mut out);
    }
    while operator.on_epoch(&close(epoch), &mut out) == Progress::More {}
    out
}

fn new_state(plan: &Aggregation) -> KeyedState {
    KeyedState::new(plan, 0, 1).expect("types that can be kept")
}

/// All rows that were emitted, as one batch.
fn emitted(out: &Output, schema: &SchemaRef) -> (RecordBatch, Vec<i64>) {
    let rows = concat_batches(schema, out.batches.iter().map(|batch| &batch.rows)).expect("one schema");
    let diffs = out.batches.iter().flat_map(|batch| (0..batch.len()).map(|row| batch.diff(row)));
    (rows, diffs.collect())
}

/// A value for comparison: doubles by their bits.
type Cells = Vec<Option<String>>;

fn cells(rows: &RecordBatch, row: usize) -> Cells {
    let cell = |column: &ArrayRef| {
        column.is_valid(row).then(|| match column.data_type() {
            DataType::Utf8 => format!("{:?}", column.as_string::<i32>().value(row)),
            DataType::Int64 => column.as_primitive::<Int64Type>().value(row).to_string(),
            DataType::Boolean => column.as_boolean().value(row).to_string(),
            DataType::Float64 => double_text(column.as_primitive::<Float64Type>().value(row)),
            _ => format!("t{}", column.as_primitive::<TimestampNanosecondType>().value(row)),
        })
    };
    rows.columns().iter().map(cell).collect()
}

fn double_text(value: f64) -> String {
    // -0.0 and 0.0 are one value.
    if value.is_nan() { "NaN".into() } else { format!("{:e}", value + 0.0) }
}

/// The view that changes make. Complains about a change that does nothing, removes what is not there or
/// leaves two rows of a group.
#[derive(Clone, Debug, Default, PartialEq)]
struct View(BTreeMap<Cells, i64>);

impl View {
    fn apply(&mut self, out: &Output, schema: &SchemaRef) {
        let (rows, diffs) = emitted(out, schema);
        let mut epoch: BTreeMap<Cells, Vec<i64>> = BTreeMap::new();
        for (row, diff) in diffs.iter().enumerate() {
            let cells = cells(&rows, row);
            assert!(!epoch.contains_key(&cells), "{cells:?} is emitted twice in an epoch");
            epoch.entry(cells.clone()).or_default().push(*diff);
            *self.0.entry(cells).or_default() += diff;
        }
        self.0.retain(|_, count| *count != 0);
        assert!(self.0.values().all(|count| *count == 1), "{:?}", self.0);
    }

    fn rows(&self) -> Vec<Cells> {
        self.0.keys().cloned().collect()
    }
}

const KEYS: [Option<&str>; 5] = [None, Some(""), Some("a"), Some("b\0"), Some("c")];
const TEXTS: [Option<&str>; 5] = [None, Some(""), Some("7"), Some("8"), Some("9")];

const SPECIAL: [f64; 9] =
    [f64::INFINITY, f64::NEG_INFINITY, f64::NAN, f64::MAX, -f64::MAX, f64::MIN_POSITIVE, 5e-324, 0.0, -0.0];

fn random_double(random: &mut Pcg64Mcg) -> Option<f64> {
    match random.random_range(0..12) {
        0 => None,
        1 => Some(SPECIAL[random.random_range(0..SPECIAL.len())]),
        2 => Some(0.1),
        _ => {
            let magnitude = 10f64.powi(random.random_range(-6..=6));
            Some(random.random_range(-1.0..1.0) * magnitude)
        }
    }
}

fn random_row(random: &mut Pcg64Mcg, offset: u64) -> Row {
    let i = match random.random_range(0..25) {
        0 => None,
        1 => Some([i64::MAX, i64::MIN][random.random_range(0..2)]),
        _ => Some(random.random_range(-5..5)),
    };
    Row {
        k: KEYS[random.random_range(0..KEYS.len())],
        name: ["odo", "soc", "speed"][random.random_range(0..3)],
        i,
        d: random_double(random),
        s: TEXTS[random.random_range(0..TEXTS.len())],
        t: random.random_bool(0.9).then(|| random.random_range(-3..10)),
        b: [None, Some(false), Some(true), Some(true)][random.random_range(0..4)],
        diff: 1,
        origin: (random.random_range(0..3), offset),
    }
}

/// The first seed of a property: `AGGREGATE_SEED=n` begins elsewhere. A failure names its seed.
fn first_seed() -> u64 {
    let seed = std::env::var("AGGREGATE_SEED").ok().map_or(0, |seed| seed.parse().expect("a number"));
    eprintln!("AGGREGATE_SEED={seed}");
    seed
}

/// Epochs of rows. Where `updating`, rows are taken back too, perhaps before they are added in the same epoch.
fn random_epochs(random: &mut Pcg64Mcg, updating: bool) -> Vec<Vec<Row>> {
    let mut present: Vec<Row> = Vec::new();
    let mut offset = 0;
    let mut epochs = Vec::new();
    for _ in 0..8 {
        let mut rows = Vec::new();
        for _ in 0..random.random_range(0..25) {
            let back = updating && !present.is_empty() && random.random_bool(0.55);
            let row = if back {
                let row = present.swap_remove(random.random_range(0..present.len()));
                Row { diff: -1, ..row }
            } else {
                offset += 1;
                let row = random_row(random, offset);
                present.push(row.clone());
                row
            };
            rows.push(row);
        }
        if updating && random.random_bool(0.1) {
            rows.extend(present.drain(..).map(|row| Row { diff: -1, ..row }));
        }
        epochs.push(rows);
    }
    epochs
}

//! `row_number() OVER (PARTITION BY k ORDER BY x)`: rows with their places, final in a window that has closed, or
//! changing with every row that comes.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Schema};
use datafusion_expr::expr::WindowFunction;
use datafusion_expr::logical_plan::Window;

use super::aggregate::Retention;
use super::distinct::incomparable;
use super::expression::{self, Compiled, Scope, columns_span, compile};
use super::flow::{ColumnInfo, Flow};
use super::graph::Growth;
use super::lower::Lowering;
use super::over::{Input, names, place};
use super::problem::Problem;
use super::{text, types};
use crate::plan::{Bound, ChangeMode, Close, First, Number, OrderBy, Places, Rank};

/// What all functions of one OVER share.
struct Over {
    keys: Vec<Compiled>,
    order: Vec<(Compiled, bool, bool)>,
    /// Which of the keys is event time, and how far it has come.
    time: Option<(usize, Bound)>,
}

impl Lowering<'_> {
    pub(super) fn rank(
        &mut self,
        window: &Window,
        functions: &[&WindowFunction],
        numbers: Vec<Number>,
    ) -> Result<Flow, Vec<Problem>> {
        let mut flow = self.flow(&window.input)?;
        let (function, name) = (functions[0], numbers[0].name());
        let over = over(function, &flow).map_err(|problem| vec![problem.near(place(function))])?;
        let width = flow.columns.len();
        let is_final = over.time.is_some() && flow.changes == ChangeMode::AppendOnly;
        let mut first = None;
        if !is_final {
            first = self.firsts.give(window);
            let kept = self.kept_places(flow, first, (function, &over, name));
            flow = kept.map_err(|problem| vec![problem])?;
        }
        let mut input = Input::of(&flow);
        let key_columns: Option<Vec<usize>> = over.keys.iter().map(|key| key.column).collect();
        let newest_first = over.order.last().is_some_and(|(by, descending, _)| *descending && is_time(by));
        let keys: Vec<_> = over.keys.into_iter().map(|key| input.place(key)).collect();
        let order =
            over.order.into_iter().map(|(by, descending, first)| (input.place(by), descending, first));
        let order: Vec<_> = order.collect();
        let (schema, computes) = input.read(&mut flow);
        let at = |(index, text): &(usize, String)| expression::column(*index, &schema, text);
        let fields: Vec<FieldRef> =
            names(window, width).map(|name| Arc::new(Field::new(name, DataType::Int64, false))).collect();
        let leaving = schema.fields().iter().take(width).cloned().chain(fields.iter().cloned());
        let order_by = |(by, descending, nulls_first): &((usize, String), bool, bool)| OrderBy {
            expr: at(by),
            descending: *descending,
            nulls_first: *nulls_first,
        };
        let append_only_input = flow.changes == ChangeMode::AppendOnly;
        let closes = over.time.filter(|_| is_final).map(|(key, bound)| (keys[key].0, bound));
        let columns = described(&flow.columns, closes.as_ref(), &numbers);
        let number = numbers.iter().position(|number| *number == Number::RowNumber);
        let number = number.map(|number| width + number);
        flow = named(flow, key_columns, number, (first, is_final));
        let places = match closes {
            None => Places::Updating(first),
            Some((time, bound)) => Places::Final(Close {
                time: at(&(time, flow.columns[time].text.clone())),
                field: Arc::new(schema.field(time).clone().with_nullable(false)),
                bound,
                at_end: flow.columns[time].window_end,
            }),
        };
        let rank = Rank {
            name: String::new(),
            append_only_input,
            keys: keys.iter().map(at).collect(),
            order: order.iter().map(order_by).collect(),
            newest_first,
            places,
            numbers,
            schema: Arc::new(Schema::new(leaving.collect::<Vec<_>>())),
            input: Arc::clone(&schema),
        };
        let index = self.graph.add_rank(self.owner, rank);
        self.behind(flow, (index, &schema, computes), (fields, columns))
    }

    /// The rows that are kept for places that change: all of them, unless only the first ones of each key are asked
    /// for and none is ever taken back. Where they grow with something else than keys somebody has to have said so.
    fn kept_places(
        &mut self,
        flow: Flow,
        first: Option<First>,
        (function, over, name): (&WindowFunction, &Over, &str),
    ) -> Result<Flow, Problem> {
        let append_only = flow.changes == ChangeMode::AppendOnly;
        let forgets = append_only && first.is_some_and(|first| first.by == Number::RowNumber);
        let growth = self.growth(&flow);
        let (said, time) = self.said_of(&flow);
        match (said, time) {
            _ if forgets || growth == Growth::Keys => Ok(flow),
            (Retention::Unbounded, _) => Ok(flow),
            (Retention::Period(_), Some(_)) => Ok(self.kept(flow)),
            _ => {
                let accept = match self.retention {
                    Retention::OfSink => String::new(),
                    _ => format!(
                        "; if that is meant: CREATE VIEW {} WITH (state_retention = 'unbounded') AS ...",
                        text::name(self.owner)
                    ),
                };
                let place = function.params.partition_by.iter().find_map(columns_span).or(place(function));
                let problem = match (append_only, growth) {
                    (true, _) => unlimited(first, over, &flow, name),
                    (false, Growth::Windows) => windows(name),
                    (false, _) => {
                        let message = format!(
                            "`{name}` over rows that are replaced has to keep all of them, and these grow with \
                             every event"
                        );
                        Problem::new(message).hint("aggregate them in a view first, with GROUP BY key")
                    }
                };
                let hint = format!("{}{accept}", problem.hint.clone().unwrap_or_default());
                Err(problem.hint(hint).near(place))
            }
        }
    }
}

/// Whether an expression is a time.
fn is_time(compiled: &Compiled) -> bool {
    compiled.data_type == types::TIMESTAMP
}

/// The relation behind places: what names its rows. `number` is the column of `row_number()`.
fn named(
    flow: Flow,
    keys: Option<Vec<usize>>,
    number: Option<usize>,
    (first, is_final): (Option<First>, bool),
) -> Flow {
    let is_single = first == Some(First { by: Number::RowNumber, rows: 1 });
    let of_places = match (keys, number) {
        (Some(keys), _) if is_single => Some(keys),
        (Some(keys), Some(number)) => Some(keys.into_iter().chain([number]).collect()),
        _ => None,
    };
    let own = flow.key.iter().chain(&flow.other_keys).cloned();
    let mut all: Vec<Vec<usize>> = match is_final {
        // Places that are final do not name rows otherwise than they were.
        true => own.chain(of_places).collect(),
        false => of_places.into_iter().chain(own).collect(),
    };
    let other_keys = all.split_off(all.len().min(1));
    let changes = if is_final { flow.changes } else { ChangeMode::Updating };
    let upsert_key = flow.upsert_key.clone().filter(|_| is_final);
    Flow { key: all.pop(), other_keys, upsert_key, changes, ..flow }
}

/// The columns that leave. Where rows leave when their window has closed, event time is known in its start as well.
fn described(columns: &[ColumnInfo], closes: Option<&(usize, Bound)>, numbers: &[Number]) -> Vec<ColumnInfo> {
    let keeps_time = |(index, info): (usize, &ColumnInfo)| {
        let Some((time, bound)) = closes else { return false };
        let is_start = matches!(&info.time, Some(Bound::Starts { of, .. }) if **of == *bound);
        index == *time || is_start
    };
    let kept = columns.iter().enumerate().map(|column| match keeps_time(column) {
        true => column.1.clone(),
        false => column.1.without_time(),
    });
    let number =
        |number: &Number| ColumnInfo { text: format!("{}()", number.name()), ..ColumnInfo::default() };
    kept.chain(numbers.iter().map(number)).collect()
}

fn over(function: &WindowFunction, flow: &Flow) -> Result<Over, Problem> {
    let scope = Scope { no_now: Some("`now()` cannot be used inside OVER"), ..Scope::over(flow) };
    let comparable = |expr| {
        let compiled = compile(expr, &scope)?;
        if compiled.json { Err(incomparable(&compiled.expr.text)) } else { Ok(compiled) }
    };
    let keys = function.params.partition_by.iter().map(comparable).collect::<Result<Vec<_>, _>>()?;
    let order = function.params.order_by.iter();
    let order = order.map(|by| Ok((comparable(&by.expr)?, !by.asc, by.nulls_first)));
    let order = order.collect::<Result<Vec<_>, _>>()?;
    let times = keys.iter().enumerate().filter(|(_, key)| key.column.is_some());
    let times = times.filter_map(|(at, key)| Some((at, key.time.clone()?, key.window_end)));
    let time = times.max_by_key(|(at, _, window_end)| (*window_end, std::cmp::Reverse(*at)));
    let time = time.map(|(at, bound, _)| (at, bound));
    Ok(Over { keys, order, time })
}

/// Says that the places of all events would have to be kept.
fn unlimited(first: Option<First>, over: &Over, flow: &Flow, name: &str) -> Problem {
    if first.is_some() {
        let message = format!(
            "`{name}` over events has to keep all that are equal in their order: its state grows with every event"
        );
        return Problem::new(message).hint("row_number() with the same condition keeps as many as it says");
    }
    let message = format!(
        "`{name}` over events has to keep all of them, since each one that comes can change the places of others: its \
         state grows with every event"
    );
    let windows = flow.columns.iter().filter(|info| info.time.is_some()).map(|info| info.text.as_str());
    let window = windows.into_iter().find(|name| name.starts_with("window_"));
    let keys = over.keys.iter().map(|key| key.expr.text.as_str());
    let keys = window.into_iter().chain(keys).collect::<Vec<_>>().join(", ");
    Problem::new(message).hint(match window {
        Some(window) => format!("add {window}, in which places are final: PARTITION BY {keys}"),
        None => {
            "keep the first ones, in the same view: SELECT ... FROM (SELECT *, row_number() OVER (...) AS place FROM \
             t) WHERE place <= 3"
                .to_owned()
        }
    })
}

/// Says that the rows of all windows would have to be kept.
fn windows(name: &str) -> Problem {
    let message =
        format!("`{name}` over windows whose results are replaced has to keep the rows of all windows");
    let hint = "number the rows of windows whose results are final: without EMIT CHANGES and allowed_lateness; or say \
                how long they are kept: CREATE VIEW v WITH (state_retention = '7 days') AS ...";
    Problem::new(message).hint(hint)
}

//! `row_number() OVER (PARTITION BY window_end, k ORDER BY x)`: rows with their places in their window.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Schema};
use datafusion_expr::expr::WindowFunction;
use datafusion_expr::logical_plan::Window;

use super::distinct::incomparable;
use super::expression::{self, Compiled, Scope, columns_span, compile};
use super::flow::{ColumnInfo, Flow};
use super::lower::Lowering;
use super::over::{Input, names, place};
use super::problem::Problem;
use crate::plan::{Bound, ChangeMode, Number, OrderBy, Rank};

/// What all functions of one OVER share.
struct Over {
    keys: Vec<Compiled>,
    /// Which of the keys is event time, and how far it has come.
    time: (usize, Bound),
    order: Vec<(Compiled, bool, bool)>,
}

impl Lowering<'_> {
    pub(super) fn rank(
        &mut self,
        window: &Window,
        functions: &[&WindowFunction],
        numbers: Vec<Number>,
    ) -> Result<Flow, Vec<Problem>> {
        let mut flow = self.flow(&window.input)?;
        let name = numbers[0].name();
        let over =
            over(functions[0], &flow, name).map_err(|problem| vec![problem.near(place(functions[0]))])?;
        let width = flow.columns.len();
        let mut input = Input::of(&flow);
        let key_columns: Option<Vec<usize>> = over.keys.iter().map(|key| key.column).collect();
        let keys: Vec<_> = over.keys.into_iter().map(|key| input.place(key)).collect();
        let order =
            over.order.into_iter().map(|(by, descending, first)| (input.place(by), descending, first));
        let order: Vec<_> = order.collect();
        let (schema, computes) = input.read(&mut flow);
        let at = |(index, text): &(usize, String)| expression::column(*index, &schema, text);
        let fields: Vec<FieldRef> =
            names(window, width).map(|name| Arc::new(Field::new(name, DataType::Int64, false))).collect();
        let leaving = schema.fields().iter().take(width).cloned().chain(fields.iter().cloned());
        let (time, bound) = (&keys[over.time.0], over.time.1);
        let order_by = |(by, descending, nulls_first): &((usize, String), bool, bool)| OrderBy {
            expr: at(by),
            descending: *descending,
            nulls_first: *nulls_first,
        };
        let columns = described(&flow.columns, (time.0, &bound), &numbers);
        if let (Some(mut key), Some(number)) =
            (key_columns, numbers.iter().position(|number| *number == Number::RowNumber))
        {
            key.push(width + number);
            match flow.key {
                None => flow.key = Some(key),
                Some(_) => flow.other_keys.push(key),
            }
        }
        let rank = Rank {
            name: String::new(),
            keys: keys.iter().map(at).collect(),
            time: at(time),
            time_field: Arc::new(schema.field(time.0).clone().with_nullable(false)),
            bound,
            at_end: flow.columns[time.0].window_end,
            order: order.iter().map(order_by).collect(),
            numbers,
            schema: Arc::new(Schema::new(leaving.collect::<Vec<_>>())),
            input: Arc::clone(&schema),
        };
        let index = self.graph.add_rank(self.owner, rank);
        self.behind(flow, (index, &schema, computes), (fields, columns))
    }
}

/// The columns that leave. Rows leave when their window has closed; event time is known in its start as well.
fn described(columns: &[ColumnInfo], (time, bound): (usize, &Bound), numbers: &[Number]) -> Vec<ColumnInfo> {
    let is_start = |info: &ColumnInfo| matches!(&info.time, Some(Bound::Starts { of, .. }) if **of == *bound);
    let kept = columns.iter().enumerate().map(|(index, info)| match index == time || is_start(info) {
        true => info.clone(),
        false => info.without_time(),
    });
    let number =
        |number: &Number| ColumnInfo { text: format!("{}()", number.name()), ..ColumnInfo::default() };
    kept.chain(numbers.iter().map(number)).collect()
}

fn over(function: &WindowFunction, flow: &Flow, name: &str) -> Result<Over, Problem> {
    let scope = Scope { no_now: Some("`now()` cannot be used inside OVER"), ..Scope::over(flow) };
    if flow.changes == ChangeMode::Updating {
        let problem =
            Problem::new(format!("`{name}` over an updating relation: places could change at any time"));
        let hint = "number the rows of windows whose results are final: without EMIT CHANGES and \
                    allowed_lateness";
        return Err(problem.hint(hint));
    }
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
    match times.max_by_key(|(at, _, window_end)| (*window_end, std::cmp::Reverse(*at))) {
        Some((at, bound, _)) => Ok(Over { keys, time: (at, bound), order }),
        None => Err(no_window(function, flow, &order, name)),
    }
}

/// Says that a place would never be final.
fn no_window(
    function: &WindowFunction,
    flow: &Flow,
    order: &[(Compiled, bool, bool)],
    name: &str,
) -> Problem {
    let problem = Problem::new(format!(
        "`{name}` needs window_start or window_end in its PARTITION BY: without, a row that comes later could \
         change all places"
    ));
    let windows = flow.columns.iter().filter(|info| info.time.is_some()).map(|info| info.text.as_str());
    let windows: Vec<&str> = windows.filter(|name| name.starts_with("window_")).collect();
    let by_time = order.first().filter(|(by, ..)| by.data_type == super::types::TIMESTAMP);
    let key = function.params.partition_by.iter().map(|key| super::text::expression(key, &Scope::over(flow)));
    let key = key.collect::<Vec<_>>().join(", ");
    problem.near(function.params.partition_by.iter().find_map(columns_span)).hint(match (&*windows, by_time) {
        ([first, ..], _) => format!("add it: PARTITION BY {first}, ..."),
        ([], Some((_, true, _))) => {
            format!("the newest row of each key: last_value(x ORDER BY t) for each column, with GROUP BY {key}")
        }
        ([], Some((_, false, _))) => format!("the first row of each key: SELECT DISTINCT ON ({key}) ..."),
        ([], None) => "number the rows of a view with windows: GROUP BY k, tumble(t, INTERVAL '1 minute'), and \
                       PARTITION BY window_end over it"
            .to_owned(),
    })
}

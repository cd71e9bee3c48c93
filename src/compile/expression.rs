//! Expressions of the planner, turned into something that evaluates batches.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Schema};
use datafusion_common::config::ConfigOptions;
use datafusion_common::tree_node::{Transformed, TreeNode};
use datafusion_common::{Column, DFSchema, DFSchemaRef, DataFusionError, Spans};
use datafusion_expr::execution_props::ExecutionProps;
use datafusion_expr::simplify::SimplifyContext;
use datafusion_expr::{Expr, ExprSchemable};
use datafusion_optimizer::simplify_expressions::ExprSimplifier;
use datafusion_physical_expr::expressions::{CastExpr, Column as PhysicalColumn, Literal};
use datafusion_physical_expr::{PhysicalExpr, create_physical_expr};

use super::aggregate::Retention;
use super::flow::{ColumnInfo, Flow};
use super::function::{compared, correct, double, interval, json};
use super::guard;
use super::problem::Problem;
use super::reword::failed;
use super::window::{self, Edge};
use super::{protect, refuse, text, types};
use crate::{plan, unwind};

/// Name of the column that holds the epoch's wall clock, see [`plan::Expr::uses_now`].
pub(super) const NOW: &str = "now()";

/// What an expression can name, and what it may do.
#[derive(Clone)]
pub(super) struct Scope<'a> {
    pub schema: &'a DFSchemaRef,
    pub columns: &'a [ColumnInfo],
    /// `None`: `now()` may be used. Else the reason why not.
    pub no_now: Option<&'static str>,
}

/// A compiled expression and what is known about its values.
#[derive(Clone, Debug)]
pub(super) struct Compiled {
    pub expr: plan::Expr,
    /// One of the types of columns.
    pub data_type: DataType,
    pub nullable: bool,
    /// Index of the column, if the expression is one and nothing else.
    pub column: Option<usize>,
    /// Whether its text is JSON, see [`ColumnInfo::json`].
    pub json: bool,
    /// See [`ColumnInfo::ingestion`].
    pub ingestion: bool,
    /// See [`ColumnInfo::transport`].
    pub transport: bool,
    /// See [`ColumnInfo::time`].
    pub time: Option<plan::Bound>,
    /// See [`ColumnInfo::window_end`].
    pub window_end: bool,
    /// See [`ColumnInfo::retention`].
    pub retention: Retention,
}

impl<'a> Scope<'a> {
    /// The columns of `flow`, without `now()`.
    pub fn over(flow: &'a Flow) -> Self {
        Scope {
            schema: &flow.schema,
            columns: &flow.columns,
            no_now: Some("`now()` can only be used in the SELECT list"),
        }
    }
}

/// Compiles an expression over the columns of `scope`.
pub(super) fn compile(expr: &Expr, scope: &Scope) -> Result<Compiled, Problem> {
    let expr = unalias(expr);
    if let Expr::Column(column) = expr {
        return column_itself(column, scope);
    }
    let text = text::expression(expr, scope);
    let located = |problem: Problem| problem.near(columns_span(expr));
    refuse::planned::check(expr, scope).map_err(located)?;
    let (bound, schema, uses_now) = bind_now(expr, scope).map_err(located)?;
    let physical = physical(bound, &schema).map_err(located)?;
    let data_type = physical.data_type(schema.as_arrow()).map_err(|error| located(failed(&error)))?;
    let column_type = types::column(&data_type).map_err(located)?;
    let physical = cast(physical, &data_type, &column_type);
    // A constant that its column cannot hold fails for every row.
    let physical = if is_constant(&physical) {
        let value = guard::constant(&physical).map_err(|error| located(failed(&error)))?;
        Arc::new(Literal::new(value)) as Arc<dyn PhysicalExpr>
    } else {
        physical
    };
    let of_row = window::row::of(expr);
    // Plain columns know how far event time has come; of what is computed that is known of windows alone.
    let time = of_row.as_ref().and_then(|of_row| Some(of_row.bound(compile(of_row.time, scope).ok()?.time?)));
    let text = of_row.as_ref().map_or(text, |of_row| of_row.edge.name().to_owned());
    let ingestion = uses_now || indices(expr, scope).any(|index| scope.columns[index].ingestion);
    let transport = uses_now || indices(expr, scope).any(|index| scope.columns[index].transport);
    Ok(Compiled {
        expr: plan::Expr { physical, text, uses_now },
        data_type: column_type,
        // Only plain columns keep NOT NULL: the library is not exact about the results of functions.
        nullable: of_row.is_none(),
        column: None,
        json: is_json(expr, scope),
        ingestion,
        transport,
        window_end: time.is_some() && of_row.is_some_and(|of_row| of_row.edge == Edge::End),
        time,
        retention: Default::default(),
    })
}

/// Whether an expression is wrong in itself, whatever its type is good for.
pub(super) fn fails(expr: &Expr, scope: &Scope) -> bool {
    let compiled = refuse::planned::check(expr, scope).and_then(|()| {
        let (bound, schema, _) = bind_now(expr, scope)?;
        physical(bound, &schema)
    });
    compiled.is_err()
}

/// Compiles a condition. `what` names its place: WHERE, CHECK.
pub(super) fn condition(expr: &Expr, scope: &Scope, what: &str) -> Result<plan::Expr, Problem> {
    if type_of(unalias(expr), scope.schema) == Some(DataType::Null) {
        let text = text::expression(expr, scope);
        let problem = Problem::new(format!("{what} needs a BOOLEAN, but `{text}` has no type"));
        return Err(problem.hint("write a condition, such as x IS NULL").near(columns_span(expr)));
    }
    let compiled = compile(expr, scope)?;
    if compiled.data_type == DataType::Boolean {
        return Ok(compiled.expr);
    }
    let found = types::name(&compiled.data_type);
    let problem = Problem::new(format!("{what} needs a BOOLEAN, but `{}` is {found}", compiled.expr.text));
    Err(problem.hint("compare it with something").near(columns_span(expr)))
}

/// Casts a compiled expression to another type of columns.
pub(super) fn cast_to(compiled: Compiled, data_type: &DataType) -> Compiled {
    if compiled.data_type == *data_type {
        return compiled;
    }
    let physical = cast(Arc::clone(&compiled.expr.physical), &compiled.data_type, data_type);
    let expr = plan::Expr { physical, ..compiled.expr };
    Compiled {
        expr,
        data_type: data_type.clone(),
        column: None,
        json: false,
        time: None,
        window_end: false,
        retention: Default::default(),
        ..compiled
    }
}

/// Column `index` of a relation.
pub(super) fn column(index: usize, schema: &Schema, text: &str) -> plan::Expr {
    let physical = Arc::new(PhysicalColumn::new(schema.field(index).name(), index));
    plan::Expr { physical, text: text.to_owned(), uses_now: false }
}

/// Whether the text that an expression gives is JSON: a column as it is, what `->` finds, a cast.
pub(super) fn is_json(expr: &Expr, scope: &Scope) -> bool {
    match unalias(expr) {
        Expr::Column(column) => {
            scope.schema.maybe_index_of_column(column).is_some_and(|index| scope.columns[index].json)
        }
        Expr::ScalarFunction(call) => match json::of(call) {
            Some(json) => json.gives_json(),
            None => {
                matches!(call.func.name(), "coalesce" | "nvl")
                    && call.args.iter().all(|arg| is_json(arg, scope))
            }
        },
        Expr::Case(case) => {
            let results = case.when_then_expr.iter().map(|(_, then)| then).chain(&case.else_expr);
            let is_null = |expr: &Expr| matches!(expr, Expr::Literal(value, _) if value.is_null());
            let mut results = results.filter(|result| !is_null(result)).peekable();
            results.peek().is_some() && results.all(|result| is_json(result, scope))
        }
        Expr::Cast(cast) => plan::is_json(&cast.field),
        Expr::TryCast(cast) => plan::is_json(&cast.field),
        _ => false,
    }
}

/// An expression without the names that were given to it.
pub(super) fn unalias(expr: &Expr) -> &Expr {
    match expr {
        Expr::Alias(alias) => unalias(&alias.expr),
        other => other,
    }
}

/// The place from the first to the last column that an expression names.
pub(super) fn columns_span(expr: &Expr) -> Option<datafusion_sql::sqlparser::tokenizer::Span> {
    let mut spans = Vec::new();
    let _ = expr.apply(|expr| {
        if let Expr::Column(Column { spans: Spans(found), .. }) = expr {
            spans.extend(found.iter().copied());
        }
        Ok(datafusion_common::tree_node::TreeNodeRecursion::Continue)
    });
    datafusion_common::Span::union_iter(spans).map(super::query::span)
}

fn column_itself(column: &Column, scope: &Scope) -> Result<Compiled, Problem> {
    let index = scope.schema.index_of_column(column).map_err(|error| failed(&error))?;
    let field = scope.schema.field(index);
    let info = &scope.columns[index];
    Ok(Compiled {
        expr: self::column(index, scope.schema.as_arrow(), &info.text),
        data_type: field.data_type().clone(),
        nullable: field.is_nullable(),
        column: Some(index),
        json: info.json,
        ingestion: info.ingestion,
        transport: info.transport,
        time: info.time.clone(),
        window_end: info.window_end,
        retention: info.retention,
    })
}

/// Indices of the columns that an expression names.
pub(super) fn indices<'a>(expr: &'a Expr, scope: &'a Scope) -> impl Iterator<Item = usize> + 'a {
    expr.column_refs().into_iter().filter_map(|column| scope.schema.maybe_index_of_column(column))
}

/// Replaces `now()` by a column behind the others.
fn bind_now(expr: &Expr, scope: &Scope) -> Result<(Expr, DFSchemaRef, bool), Problem> {
    let bound = expr.clone().transform_up(|expr| match &expr {
        Expr::ScalarFunction(call) if call.func.name() == "now" => {
            Ok(Transformed::yes(Expr::Column(Column::new_unqualified(NOW))))
        }
        _ => Ok(Transformed::no(expr)),
    });
    let bound = bound.map_err(|error| failed(&error))?;
    if !bound.transformed {
        return Ok((bound.data, Arc::clone(scope.schema), false));
    }
    if let Some(reason) = scope.no_now {
        return Err(Problem::new(reason).hint("select a METADATA FROM 'ingestion_time' column of the source"));
    }
    let now = DFSchema::from_unqualified_fields(
        vec![Field::new(NOW, types::TIMESTAMP, false)].into(),
        Default::default(),
    );
    let schema = now.and_then(|now| scope.schema.join(&now)).map_err(|error| failed(&error))?;
    Ok((bound.data, Arc::new(schema), true))
}

/// Coerces, simplifies and compiles; a constant on which a function panics is a mistake like others.
fn physical(expr: Expr, schema: &DFSchemaRef) -> Result<Arc<dyn PhysicalExpr>, Problem> {
    unwind::catch(|| simplified(expr, schema)).unwrap_or_else(|_| {
        let problem = Problem::new("a function cannot be computed of the constants that it is given");
        Err(problem.hint("check that they, and its result, are in the range of their types"))
    })
}

fn simplified(expr: Expr, schema: &DFSchemaRef) -> Result<Arc<dyn PhysicalExpr>, Problem> {
    let options = Arc::new(ConfigOptions::default());
    let context = SimplifyContext::builder()
        .with_schema(Arc::clone(schema))
        .with_config_options(Arc::clone(&options))
        .build();
    let simplifier = ExprSimplifier::new(context);
    let error = |error: DataFusionError| failed(&error);
    let expr = replaced(expr, schema).map_err(error)?;
    let coerced = simplifier.coerce(expr.clone(), schema).map_err(error)?;
    refuse::planned::check_coerced(&expr, &coerced, schema)?;
    let disguised = protect::disguise(coerced, schema).map_err(error)?;
    let simplified = simplifier.simplify(disguised).map_err(error)?;
    let mut props = ExecutionProps::new();
    props.config_options = Some(options);
    let physical = create_physical_expr(&simplified, schema, &props).map_err(error)?;
    let physical = protect::reveal(physical).map_err(error)?;
    // Constants that a function does not take, such as date_trunc('yaer', ...), fail without any row as well.
    physical.evaluate(&RecordBatch::new_empty(Arc::clone(schema.inner()))).map_err(error)?;
    Ok(physical)
}

/// Puts functions of our own in the place of what the library would do in another way.
fn replaced(expr: Expr, schema: &DFSchema) -> Result<Expr, DataFusionError> {
    let replaced = expr.transform_up(|expr| {
        let expr = json::cast_to_json(expr);
        let expr = double::cast_of_text(expr.data, schema)?;
        let expr = correct::try_cast(expr.data, schema)?;
        let expr = interval::as_durations(expr.data, schema)?;
        compared::alike(expr.data, schema)
    })?;
    Ok(replaced.data)
}

fn cast(expr: Arc<dyn PhysicalExpr>, from: &DataType, to: &DataType) -> Arc<dyn PhysicalExpr> {
    if from == to { expr } else { Arc::new(CastExpr::new(expr, to.clone(), None)) }
}

/// Whether an expression is a constant in another type.
fn is_constant(expr: &Arc<dyn PhysicalExpr>) -> bool {
    expr.downcast_ref::<CastExpr>().is_some_and(|cast| cast.expr().downcast_ref::<Literal>().is_some())
}

/// The type of an expression as the planner sees it, if it has one.
pub(super) fn type_of(expr: &Expr, schema: &DFSchema) -> Option<DataType> {
    expr.get_type(schema).ok()
}

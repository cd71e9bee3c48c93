//! Plans of queries to flows: filters and projections become steps, GROUP BYs become operators.

use std::sync::Arc;

use datafusion_common::{DFSchema, DFSchemaRef, DataFusionError, TableReference};
use datafusion_expr::logical_plan::Projection;
use datafusion_expr::{Expr, LogicalPlan};
use datafusion_sql::sqlparser::ast;

use super::aggregate::{Retention, Timing};
use super::catalog::Catalog;
use super::expression::{self, Compiled, Scope, compile};
use super::first::Firsts;
use super::flow::{ColumnInfo, Flow};
use super::graph::Graph;
use super::problem::Problem;
use super::reword::failed;
use crate::plan::{self, ChangeMode, Step};

/// Lowers the queries of one statement.
pub(super) struct Lowering<'a> {
    pub catalog: &'a Catalog,
    pub graph: &'a mut Graph,
    /// Name of the view or sink, which is that of its state.
    pub owner: &'a str,
    pub retention: Retention,
    pub timing: Timing,
    /// Number of windows so far.
    pub windows: usize,
    /// The late rows of each operator that judges rows by their time, where somebody reads them.
    pub late: Vec<Flow>,
    /// Whether anything is kept for that long.
    pub retention_used: bool,
    /// The query as it is written, for the places of relations.
    pub query: &'a ast::Query,
    /// The names of the relations in which rows of streams are looked up.
    pub looked_up_in: Vec<String>,
    /// How many rows are asked for where they have places.
    pub firsts: Firsts,
}

/// A column that a step computes, with its place in the planner's schema.
pub(super) struct Output {
    pub qualifier: Option<TableReference>,
    pub name: String,
    pub compiled: Compiled,
}

impl Lowering<'_> {
    pub fn flow(&mut self, plan: &LogicalPlan) -> Result<Flow, Vec<Problem>> {
        match plan {
            LogicalPlan::TableScan(scan) => {
                let name = scan.table_name.table();
                match self.catalog.relation(name) {
                    Some(Some(flow)) => flow.named(scan.table_name.clone()).map_err(one),
                    _ => Err(vec![Problem::new(format!("there is no relation `{name}`"))]),
                }
            }
            LogicalPlan::SubqueryAlias(alias) => {
                let flow = self.flow(&alias.input)?;
                flow.named(alias.alias.clone()).map_err(one)
            }
            LogicalPlan::Filter(filter) => self.filter(filter),
            LogicalPlan::Projection(projection) => self.projection(projection),
            LogicalPlan::Aggregate(aggregate) => self.aggregate(aggregate),
            LogicalPlan::Join(join) => self.join(join, &mut Vec::new()),
            LogicalPlan::Union(union) => self.union(union),
            LogicalPlan::Distinct(distinct) => self.distinct(distinct),
            LogicalPlan::Window(window) => self.over(window),
            other => {
                let name = other.display().to_string();
                let name = name.split([':', '(']).next().unwrap_or_default().trim().to_owned();
                Err(vec![Problem::new(format!("{name} is not supported yet"))])
            }
        }
    }

    fn projection(&mut self, projection: &Projection) -> Result<Flow, Vec<Problem>> {
        let mut flow = self.flow(&projection.input)?;
        let no_now = (flow.changes == ChangeMode::Updating).then_some(
            "`now()` cannot be used over an updating relation: its rows are written again and again",
        );
        let scope = Scope { no_now, ..Scope::over(&flow) };
        let outputs = outputs(&projection.expr, &projection.schema, &scope)?;
        let place =
            |column: &usize| outputs.iter().position(|output| output.compiled.column == Some(*column));
        let keys = flow.key.iter().chain(&flow.other_keys);
        let placed = |key: &Vec<usize>| key.iter().map(place).collect::<Option<Vec<_>>>();
        let keys = keys.filter_map(placed);
        let upsert_key = flow.upsert_key.as_ref().and_then(placed);
        let mut keys = keys.collect::<Vec<_>>().into_iter();
        let (key, other_keys) = (keys.next(), keys.collect());
        let (schema, columns) = described(&outputs).map_err(one)?;
        let same = |(index, output): (usize, &Output)| output.compiled.column == Some(index);
        if schema.inner() != flow.schema.inner() || !outputs.iter().enumerate().all(same) {
            let exprs = outputs.into_iter().map(|output| output.compiled.expr).collect();
            flow.push(&Step::Project { exprs, schema: Arc::clone(schema.inner()) });
        }
        Ok(Flow { schema, columns, key, other_keys, upsert_key, ..flow })
    }
}

/// Compiles the columns of a SELECT list or GROUP BY; reports what is wrong in all of them.
pub(super) fn outputs(
    exprs: &[Expr],
    schema: &DFSchemaRef,
    scope: &Scope,
) -> Result<Vec<Output>, Vec<Problem>> {
    let mut outputs = Vec::new();
    let mut problems = Vec::new();
    for (expr, (qualifier, field)) in exprs.iter().zip(schema.iter()) {
        match compile(expr, scope) {
            Ok(compiled) => {
                outputs.push(Output { qualifier: qualifier.cloned(), name: field.name().clone(), compiled })
            }
            Err(problem) => problems.push(Problem { column: Some(field.name().clone()), ..problem }),
        }
    }
    if problems.is_empty() { Ok(outputs) } else { Err(problems) }
}

/// The schema of computed columns.
pub(super) fn described(outputs: &[Output]) -> Result<(DFSchemaRef, Vec<ColumnInfo>), DataFusionError> {
    let field = |output: &Output| {
        let (data_type, nullable) = (output.compiled.data_type.clone(), output.compiled.nullable);
        let field = plan::field(&output.name, data_type, nullable, output.compiled.json);
        (output.qualifier.clone(), Arc::new(field))
    };
    let schema = DFSchema::new_with_metadata(outputs.iter().map(field).collect(), Default::default())?;
    let info = |output: &Output| ColumnInfo {
        text: super::text::name(&output.name),
        json: output.compiled.json,
        ingestion: output.compiled.ingestion,
        transport: output.compiled.transport,
        time: output.compiled.time.clone(),
        window_end: output.compiled.window_end,
        retention: output.compiled.retention,
    };
    Ok((Arc::new(schema), outputs.iter().map(info).collect()))
}

/// A relation with other names for its columns, in their order.
pub(super) fn renamed(mut flow: Flow, names: &[&str]) -> Result<Flow, DataFusionError> {
    let columns = flow.schema.as_arrow().fields().iter().enumerate();
    let outputs = columns.zip(names).map(|((index, field), name)| Output {
        qualifier: flow.schema.qualified_field(index).0.cloned(),
        name: (*name).to_owned(),
        compiled: Compiled {
            expr: expression::column(index, flow.schema.as_arrow(), &flow.columns[index].text),
            data_type: field.data_type().clone(),
            nullable: field.is_nullable(),
            column: Some(index),
            json: flow.columns[index].json,
            ingestion: flow.columns[index].ingestion,
            transport: flow.columns[index].transport,
            time: flow.columns[index].time.clone(),
            window_end: flow.columns[index].window_end,
            retention: flow.columns[index].retention,
        },
    });
    let outputs: Vec<_> = outputs.collect();
    let (schema, columns) = described(&outputs)?;
    let exprs = outputs.into_iter().map(|output| output.compiled.expr).collect();
    flow.push(&Step::Project { exprs, schema: Arc::clone(schema.inner()) });
    Ok(Flow { schema, columns, ..flow })
}

/// An error of the library that no place is known for.
pub(super) fn one(error: DataFusionError) -> Vec<Problem> {
    vec![failed(&error)]
}

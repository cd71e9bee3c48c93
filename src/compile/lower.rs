//! Plans of queries to flows: filters and projections become steps, GROUP BYs become operators.

use std::sync::Arc;

use arrow::datatypes::Schema;
use datafusion_common::{DFSchema, DFSchemaRef, DataFusionError, TableReference};
use datafusion_expr::logical_plan::{Filter, Projection, Union};
use datafusion_expr::{Expr, LogicalPlan};

use super::catalog::Catalog;
use super::expression::{self, Compiled, Scope, compile};
use super::flow::{ColumnInfo, Flow};
use super::graph::Graph;
use super::problem::Problem;
use super::reword::failed;
use super::types;
use crate::plan::{self, ChangeMode, Step};

/// Each branch of a UNION ALL is a leg of its own, in every view and sink that it leads to.
const BRANCHES_MAX: usize = 1_000;

/// Lowers the queries of one statement.
pub(super) struct Lowering<'a> {
    pub catalog: &'a Catalog,
    pub graph: &'a mut Graph,
    /// Name of the view or sink, which is that of its state.
    pub owner: &'a str,
}

/// A column that a step computes, with its place in the planner's schema.
pub(super) struct Output {
    pub qualifier: Option<TableReference>,
    pub name: String,
    pub compiled: Compiled,
    pub json: bool,
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
            LogicalPlan::Union(union) => self.union(union),
            other => {
                let name = other.display().to_string();
                let name = name.split([':', '(']).next().unwrap_or_default().trim().to_owned();
                Err(vec![Problem::new(format!("{name} is not supported yet"))])
            }
        }
    }

    fn filter(&mut self, filter: &Filter) -> Result<Flow, Vec<Problem>> {
        let mut flow = self.flow(&filter.input)?;
        let place = if matches!(*filter.input, LogicalPlan::Aggregate(_)) { "HAVING" } else { "WHERE" };
        let condition = expression::condition(&filter.predicate, &Scope::over(&flow), place);
        let condition = condition.map_err(|problem| vec![problem])?;
        flow.push(&Step::Filter(condition));
        Ok(flow)
    }

    fn projection(&mut self, projection: &Projection) -> Result<Flow, Vec<Problem>> {
        let mut flow = self.flow(&projection.input)?;
        let no_now = (flow.changes == ChangeMode::Updating).then_some(
            "`now()` cannot be used over an updating relation: its rows are written again and again",
        );
        let scope = Scope { no_now, ..Scope::over(&flow) };
        let outputs = outputs(&projection.expr, &projection.schema, &scope)?;
        let key = flow.key.as_ref().and_then(|key| {
            let place =
                |column: &usize| outputs.iter().position(|output| output.compiled.column == Some(*column));
            key.iter().map(place).collect()
        });
        let (schema, columns) = described(&outputs).map_err(one)?;
        let same = |(index, output): (usize, &Output)| output.compiled.column == Some(index);
        if schema.inner() != flow.schema.inner() || !outputs.iter().enumerate().all(same) {
            let exprs = outputs.into_iter().map(|output| output.compiled.expr).collect();
            flow.push(&Step::Project { exprs, schema: Arc::clone(schema.inner()) });
        }
        Ok(Flow { schema, columns, key, ..flow })
    }

    fn union(&mut self, union: &Union) -> Result<Flow, Vec<Problem>> {
        let flows = union.inputs.iter().map(|input| self.flow(input)).collect::<Result<Vec<_>, _>>()?;
        if flows.iter().map(|flow| flow.branches.len()).sum::<usize>() > BRANCHES_MAX {
            let message =
                format!("this UNION ALL has more than {BRANCHES_MAX} branches, with those of its views");
            return Err(vec![
                Problem::new(message).hint("a view that is united with itself doubles each time"),
            ]);
        }
        let mut fields = Vec::new();
        let mut columns = Vec::new();
        for (index, (qualifier, field)) in union.schema.iter().enumerate() {
            let (data_type, nullable) = common_type(&flows, index, field.name())?;
            let json = flows.iter().all(|flow| flow.columns[index].json);
            let described = plan::field(field.name(), data_type, nullable, json);
            fields.push((qualifier.cloned(), Arc::new(described)));
            columns.push(ColumnInfo {
                text: super::text::name(field.name()),
                json,
                ingestion: flows.iter().any(|flow| flow.columns[index].ingestion),
            });
        }
        let schema = DFSchema::new_with_metadata(fields, Default::default()).map_err(one)?;
        let updating = flows.iter().any(|flow| flow.changes == ChangeMode::Updating);
        let branches = flows.into_iter().flat_map(|flow| aligned(flow, schema.inner())).collect();
        Ok(Flow {
            schema: Arc::new(schema),
            columns,
            changes: if updating { ChangeMode::Updating } else { ChangeMode::AppendOnly },
            key: None,
            branches,
        })
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
            Ok(compiled) => outputs.push(Output {
                qualifier: qualifier.cloned(),
                name: field.name().clone(),
                json: compiled.column.is_some_and(|column| scope.columns[column].json),
                compiled,
            }),
            Err(problem) => problems.push(Problem { column: Some(field.name().clone()), ..problem }),
        }
    }
    if problems.is_empty() { Ok(outputs) } else { Err(problems) }
}

/// The schema of computed columns.
fn described(outputs: &[Output]) -> Result<(DFSchemaRef, Vec<ColumnInfo>), DataFusionError> {
    let field = |output: &Output| {
        let (data_type, nullable) = (output.compiled.data_type.clone(), output.compiled.nullable);
        let field = plan::field(&output.name, data_type, nullable, output.json);
        (output.qualifier.clone(), Arc::new(field))
    };
    let schema = DFSchema::new_with_metadata(outputs.iter().map(field).collect(), Default::default())?;
    let info = |output: &Output| ColumnInfo {
        text: super::text::name(&output.name),
        json: output.json,
        ingestion: output.compiled.ingestion,
    };
    Ok((Arc::new(schema), outputs.iter().map(info).collect()))
}

/// The type of column `index` of a UNION ALL.
fn common_type(
    flows: &[Flow],
    index: usize,
    name: &str,
) -> Result<(arrow::datatypes::DataType, bool), Vec<Problem>> {
    let mut fields = flows.iter().map(|flow| flow.schema.field(index));
    let Some(first) = fields.next() else { return Err(vec![Problem::new("a UNION ALL of nothing")]) };
    let (mut data_type, mut nullable) = (first.data_type().clone(), first.is_nullable());
    for field in fields {
        nullable |= field.is_nullable();
        data_type = types::common(&data_type, field.data_type()).ok_or_else(|| {
            let (left, right) = (types::name(&data_type), types::name(field.data_type()));
            let name = super::text::name(name);
            let message =
                format!("column `{name}` is {left} in one branch of UNION ALL and {right} in another");
            let problem = Problem::new(message).hint("CAST one of them");
            vec![Problem { column: Some(field.name().clone()), ..problem }]
        })?;
    }
    Ok((data_type, nullable))
}

/// The branches of a flow, with a projection to exactly `schema` where they have another.
fn aligned(flow: Flow, schema: &Arc<Schema>) -> Vec<super::flow::Branch> {
    if flow.schema.inner() == schema {
        return flow.branches;
    }
    let scope = Scope::over(&flow);
    let exprs = schema.fields().iter().enumerate().map(|(index, field)| {
        let source = flow.schema.field(index);
        let compiled = Compiled {
            expr: expression::column(index, scope.schema.as_arrow(), &flow.columns[index].text),
            data_type: source.data_type().clone(),
            nullable: source.is_nullable(),
            column: Some(index),
            ingestion: false,
        };
        expression::cast_to(compiled, field.data_type()).expr
    });
    let step = Step::Project { exprs: exprs.collect(), schema: Arc::clone(schema) };
    let mut flow = flow;
    flow.push(&step);
    flow.branches
}

/// An error of the library that no place is known for.
pub(super) fn one(error: DataFusionError) -> Vec<Problem> {
    vec![failed(&error)]
}

//! UNION: relations put together, column by column, and the types that their columns then have.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Schema};
use datafusion_common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion_common::{DFSchema, DataFusionError, ScalarValue};
use datafusion_expr::expr::Cast;
use datafusion_expr::logical_plan::{Distinct, Projection, Union};
use datafusion_expr::{Expr, LogicalPlan};

use super::aggregate::Retention;
use super::expression::{self, Compiled, Scope};
use super::flow::{Branch, ColumnInfo, Flow};
use super::lower::{Lowering, one};
use super::problem::Problem;
use super::{text, types};
use crate::plan::{self, Bound, ChangeMode, Step};

/// Each branch of a UNION ALL is a leg of its own, in every view and sink that it leads to.
const BRANCHES_MAX: usize = 1_000;

impl Lowering<'_> {
    pub(super) fn union(&mut self, union: &Union) -> Result<Flow, Vec<Problem>> {
        let inputs = typed_nulls(union)?;
        let flows = inputs.iter().map(|input| self.flow(input)).collect::<Result<Vec<_>, _>>()?;
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
            let json = flows.iter().any(|flow| flow.columns[index].json);
            let described = plan::field(field.name(), data_type, nullable, json);
            fields.push((qualifier.cloned(), Arc::new(described)));
            columns.push(ColumnInfo {
                text: text::name(field.name()),
                json,
                ingestion: flows.iter().any(|flow| flow.columns[index].ingestion),
                transport: flows.iter().any(|flow| flow.columns[index].transport),
                time: time(&flows, index),
                window_end: flows.iter().all(|flow| flow.columns[index].window_end),
                retention: retention(&flows, index),
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
            other_keys: Vec::new(),
            upsert_key: None,
            branches,
        })
    }
}

/// The inputs of a union, with the type of the other branches for a NULL that has none of its own.
fn typed_nulls(union: &Union) -> Result<Vec<LogicalPlan>, Vec<Problem>> {
    let unknown: FieldRef = Arc::new(Field::new("", DataType::Null, true));
    let mut wanted = vec![unknown; union.schema.fields().len()];
    union.inputs.iter().for_each(|input| column_types(input, &mut wanted));
    let typed = union.inputs.iter().map(|input| with_types(input.as_ref().clone(), &wanted));
    typed.collect::<Result<_, _>>().map_err(one)
}

/// Fills in the types of the columns that have one.
fn column_types(input: &LogicalPlan, wanted: &mut [FieldRef]) {
    match input {
        // The planner gives a union the types of its first branch.
        LogicalPlan::Union(union) => union.inputs.iter().for_each(|input| column_types(input, wanted)),
        LogicalPlan::Distinct(Distinct::All(input)) => column_types(input, wanted),
        other => {
            for (wanted, field) in wanted.iter_mut().zip(other.schema().fields()) {
                if *wanted.data_type() == DataType::Null {
                    wanted.clone_from(field);
                }
            }
        }
    }
}

fn with_types(input: LogicalPlan, wanted: &[FieldRef]) -> Result<LogicalPlan, DataFusionError> {
    let typed = input.transform_down(|plan| match plan {
        LogicalPlan::Union(_) | LogicalPlan::Distinct(Distinct::All(_)) => Ok(Transformed::no(plan)),
        LogicalPlan::Projection(Projection { expr, input, .. }) => {
            let typed = expr.into_iter().zip(wanted).map(|(expr, wanted)| typed_null(expr, wanted));
            let projection = LogicalPlan::Projection(Projection::try_new(typed.collect(), input)?);
            Ok(Transformed::new(projection, true, TreeNodeRecursion::Jump))
        }
        other => Ok(Transformed::new(other, false, TreeNodeRecursion::Jump)),
    })?;
    Ok(typed.data)
}

fn typed_null(expr: Expr, wanted: &FieldRef) -> Expr {
    let named = expr.schema_name().to_string();
    match expression::unalias(&expr) {
        Expr::Literal(ScalarValue::Null, _) if *wanted.data_type() != DataType::Null => {
            let null = Box::new(Expr::Literal(ScalarValue::Null, None));
            // Of the field only its type counts, and that it is JSON.
            let field = plan::field("", wanted.data_type().clone(), true, plan::is_json(wanted));
            Expr::Cast(Cast::new_from_field(null, Arc::new(field))).alias(named)
        }
        _ => expr,
    }
}

/// The type of column `index` of a UNION ALL.
fn common_type(flows: &[Flow], index: usize, name: &str) -> Result<(DataType, bool), Vec<Problem>> {
    let mut fields = flows.iter().map(|flow| flow.schema.field(index));
    let Some(first) = fields.next() else { return Err(vec![Problem::new("a UNION ALL of nothing")]) };
    let (mut data_type, mut nullable) = (first.data_type().clone(), first.is_nullable());
    for field in fields {
        nullable |= field.is_nullable();
        let both_json = plan::is_json(first) == plan::is_json(field);
        let common = types::common(&data_type, field.data_type()).filter(|_| both_json);
        data_type = common.ok_or_else(|| {
            let (left, right) = match both_json {
                true => (types::name(&data_type), types::name(field.data_type())),
                false => (types::of_field(first), types::of_field(field)),
            };
            let name = text::name(name);
            let message = format!("column `{name}` is {left} in one branch and {right} in another");
            let problem = Problem::new(message).hint("CAST one of them");
            vec![Problem { column: Some(field.name().clone()), ..problem }]
        })?;
    }
    Ok((data_type, nullable))
}

/// What all branches say of how long rows of a column are kept, if they say the same.
fn retention(flows: &[Flow], index: usize) -> Retention {
    let mut said = flows.iter().map(|flow| flow.columns[index].retention);
    let first = said.next().unwrap_or_default();
    if said.all(|other| other == first) { first } else { Retention::default() }
}

/// How far event time has come in column `index`, if it is a time attribute of all branches.
fn time(flows: &[Flow], index: usize) -> Option<Bound> {
    let bounds = flows.iter().map(|flow| flow.columns[index].time.clone());
    bounds.collect::<Option<Vec<_>>>().map(Bound::least)
}

/// The branches of a flow, with a projection to exactly `schema` where they have another.
fn aligned(flow: Flow, schema: &Arc<Schema>) -> Vec<Branch> {
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
            json: false,
            ingestion: false,
            transport: false,
            time: None,
            window_end: false,
            retention: Default::default(),
        };
        expression::cast_to(compiled, field.data_type()).expr
    });
    let step = Step::Project { exprs: exprs.collect(), schema: Arc::clone(schema) };
    let mut flow = flow;
    flow.push(&step);
    flow.branches
}

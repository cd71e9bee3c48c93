//! What queries can name: relations, functions, types.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::ControlFlow;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, SchemaRef};
use datafusion_common::config::ConfigOptions;
use datafusion_common::{Result, TableReference, plan_err};
use datafusion_expr::planner::{ContextProvider, ExprPlanner, TypePlanner};
use datafusion_expr::{AggregateUDF, HigherOrderUDF, ScalarUDF, TableSource, WindowUDF};
use datafusion_functions::core::planner::CoreFunctionPlanner;
use datafusion_functions::datetime::planner::DatetimeFunctionPlanner;
use datafusion_functions::unicode::planner::UnicodeFunctionPlanner;
use datafusion_functions_aggregate::planner::AggregateFunctionPlanner;
use datafusion_sql::sqlparser::ast;

use super::aggregate;
use super::ast::{SinkInput, Statement};
use super::flow::Flow;
use super::function::{compared, json, lag, rank};
use super::refuse::query::normalized;
use super::types::TIMESTAMP;
use super::{late, window};
use crate::plan::{self, Number};

/// The relations that have been compiled so far, and all functions.
pub(super) struct Catalog {
    /// `None`: a relation whose statement is wrong and reported.
    relations: BTreeMap<String, Option<Flow>>,
    functions: HashMap<String, Arc<ScalarUDF>>,
    aggregates: HashMap<String, Arc<AggregateUDF>>,
    planners: Vec<Arc<dyn ExprPlanner>>,
    options: ConfigOptions,
    pub statements: Statements,
}

/// What is known of all statements before they are compiled.
#[derive(Debug, Default)]
pub(super) struct Statements {
    /// The view or sink that is being compiled.
    pub owner: String,
    pub sinks: BTreeSet<String>,
    /// The relations that each view reads.
    pub reads: BTreeMap<String, BTreeSet<String>>,
    /// The views whose late rows are read.
    pub late: BTreeSet<String>,
}

impl Statements {
    /// Looks at all statements.
    pub fn of(statements: &[Statement]) -> Statements {
        let mut known = Statements::default();
        for statement in statements {
            match statement {
                Statement::Sink(create) => {
                    known.sinks.insert(create.name.value.clone());
                    match &create.input {
                        SinkInput::From(name) => {
                            known.late.extend(late::view(&name.value).map(str::to_owned))
                        }
                        SinkInput::Query(query) => drop(known.read(&query.ast)),
                    }
                }
                Statement::View(create) => {
                    let reads = known.read(&create.query.ast);
                    known.reads.entry(create.name.value.clone()).or_default().extend(reads);
                }
                Statement::Source(_) | Statement::Broken(_) => {}
            }
        }
        known
    }

    /// The relations that a query reads; for `late(view)` the view.
    fn read(&mut self, query: &ast::Query) -> BTreeSet<String> {
        let mut reads = BTreeSet::new();
        let _ = ast::visit_relations(query, |relation| {
            let name = relation.0.last().and_then(|part| part.as_ident()).map(normalized);
            reads.extend(name.map(|name| match late::view(&name) {
                Some(view) => {
                    self.late.insert(view.to_owned());
                    view.to_owned()
                }
                None => name,
            }));
            ControlFlow::<()>::Continue(())
        });
        reads
    }

    /// Whether the view `from` reads `to`, itself or through others.
    pub fn leads(&self, from: &str, to: &str) -> bool {
        let (mut seen, mut open) = (BTreeSet::new(), vec![from]);
        while let Some(view) = open.pop() {
            if view == to {
                return true;
            }
            if seen.insert(view) {
                open.extend(self.reads.get(view).into_iter().flatten().map(String::as_str));
            }
        }
        false
    }
}

impl Catalog {
    pub fn new() -> Self {
        let mut functions = HashMap::new();
        for function in datafusion_functions::all_default_functions() {
            for alias in function.aliases() {
                functions.insert(alias.clone(), Arc::clone(&function));
            }
            functions.insert(function.name().to_owned(), function);
        }
        functions.extend(window::functions().map(|function| (function.name().to_owned(), function)));
        let aggregates = aggregate::functions::all().into_iter().collect();
        let planners: Vec<Arc<dyn ExprPlanner>> = vec![
            Arc::new(json::Operators),
            Arc::new(compared::Truths),
            Arc::new(CoreFunctionPlanner::default()),
            Arc::new(DatetimeFunctionPlanner),
            Arc::new(UnicodeFunctionPlanner),
            Arc::new(AggregateFunctionPlanner),
        ];
        Catalog {
            relations: BTreeMap::new(),
            functions,
            aggregates,
            planners,
            options: ConfigOptions::default(),
            statements: Statements::default(),
        }
    }

    /// Makes a relation known, or known to be broken.
    pub fn insert(&mut self, name: &str, flow: Option<Flow>) {
        self.relations.insert(name.to_owned(), flow);
    }

    /// A relation; inside, `None` stands for a broken one.
    pub fn relation(&self, name: &str) -> Option<Option<&Flow>> {
        self.relations.get(name).map(Option::as_ref)
    }

    pub fn relation_names(&self) -> impl Iterator<Item = &str> {
        self.relations.keys().map(String::as_str)
    }

    pub fn function(&self, name: &str) -> Option<&Arc<ScalarUDF>> {
        self.functions.get(name)
    }

    pub fn aggregate(&self, name: &str) -> Option<&Arc<AggregateUDF>> {
        self.aggregates.get(name)
    }

    pub fn function_names(&self) -> impl Iterator<Item = &str> {
        let all = self.functions.keys().chain(self.aggregates.keys()).map(String::as_str);
        all.filter(|name| !window::is_function(name))
    }
}

/// A relation as the planner sees it. Never with a plan to inline: the lowering does that, so that a GROUP BY
/// that several queries read is kept once.
struct Relation(SchemaRef);

impl TableSource for Relation {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.0)
    }
}

impl ContextProvider for Catalog {
    fn get_table_source(&self, name: TableReference) -> Result<Arc<dyn TableSource>> {
        match (&name, self.relations.get(name.table())) {
            (TableReference::Bare { .. }, Some(Some(flow))) => {
                Ok(Arc::new(Relation(Arc::clone(flow.schema.inner()))))
            }
            _ => plan_err!("there is no relation `{name}`"),
        }
    }

    fn get_expr_planners(&self) -> &[Arc<dyn ExprPlanner>] {
        &self.planners
    }

    fn get_type_planner(&self) -> Option<Arc<dyn TypePlanner>> {
        Some(Arc::new(Types))
    }

    fn get_function_meta(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        self.functions.get(name).cloned()
    }

    fn get_higher_order_meta(&self, _name: &str) -> Option<Arc<HigherOrderUDF>> {
        None
    }

    fn get_aggregate_meta(&self, name: &str) -> Option<Arc<AggregateUDF>> {
        self.aggregates.get(name).cloned()
    }

    fn get_window_meta(&self, name: &str) -> Option<Arc<WindowUDF>> {
        (name == lag::NAME).then(lag::function).or_else(|| rank::function(name))
    }

    fn get_variable_type(&self, _variable_names: &[String]) -> Option<DataType> {
        None
    }

    fn options(&self) -> &ConfigOptions {
        &self.options
    }

    fn udf_names(&self) -> Vec<String> {
        self.functions.keys().cloned().collect()
    }

    fn higher_order_function_names(&self) -> Vec<String> {
        Vec::new()
    }

    fn udaf_names(&self) -> Vec<String> {
        self.aggregates.keys().cloned().collect()
    }

    fn udwf_names(&self) -> Vec<String> {
        let numbers = Number::ALL.iter().map(|number| number.name());
        std::iter::once(lag::NAME).chain(numbers).map(str::to_owned).collect()
    }
}

/// The types that differ from those of the planner.
#[derive(Debug)]
struct Types;

impl TypePlanner for Types {
    fn plan_type_field(&self, sql_type: &ast::DataType) -> Result<Option<FieldRef>> {
        use ast::{DataType as T, TimezoneInfo as Z};
        let data_type = match sql_type {
            // The planner would ignore these.
            T::Varchar(Some(_))
            | T::Char(_)
            | T::Character(_)
            | T::CharVarying(_)
            | T::CharacterVarying(_)
            | T::Nvarchar(_) => {
                return plan_err!("the type {sql_type} would keep texts of any length: use left(x, n)");
            }
            T::Timestamp(Some(_), _) | T::Datetime(Some(_)) => {
                return plan_err!(
                    "the type {sql_type} would keep nanoseconds: use date_trunc('millisecond', t)"
                );
            }
            T::Timestamp(_, Z::None | Z::WithoutTimeZone) | T::Datetime(_) => TIMESTAMP,
            T::Timestamp(..) => return plan_err!("the type TIMESTAMP WITH TIME ZONE is not supported yet"),
            // The mark tells a cast to JSON from one to TEXT, see `types::marked_json`.
            T::JSON | T::JSONB => return Ok(Some(Arc::new(plan::field("", DataType::Utf8, true, true)))),
            _ => return Ok(None),
        };
        Ok(Some(Arc::new(Field::new("", data_type, true))))
    }
}

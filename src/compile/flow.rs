//! What a relation is while it is compiled: where its rows come from and what is known about them.

use std::collections::BTreeSet;
use std::sync::Arc;

use datafusion_common::{DFSchema, DFSchemaRef, DataFusionError, TableReference};
use datafusion_physical_expr::expressions::{CastExpr, Column};

use super::aggregate::Retention;
use crate::plan::{Bound, ChangeMode, Expr, Step, Upstream};

/// A relation, or an intermediate result of a query.
#[derive(Clone, Debug)]
pub(super) struct Flow {
    /// Names and types of the columns, qualified as the query at hand sees them.
    pub schema: DFSchemaRef,
    /// What else is known about each column.
    pub columns: Vec<ColumnInfo>,
    pub changes: ChangeMode,
    /// Columns whose values name a row.
    pub key: Option<Vec<usize>>,
    /// Further choices of columns that do so.
    pub other_keys: Vec<Vec<usize>>,
    /// Where rows have no such name: columns by which an upsert sink can write nevertheless, since of two rows
    /// with the same values the later one takes the place of the other.
    pub upsert_key: Option<Vec<usize>>,
    /// The ways by which rows arrive, each of them with this schema; several after a UNION ALL.
    pub branches: Vec<Branch>,
}

/// What is known about a column besides name and type.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ColumnInfo {
    /// How messages write it: a name, or the aggregate it is.
    pub text: String,
    /// Declared as JSON and not changed since.
    pub json: bool,
    /// Depends on when the record was read, so that it differs when the record is read again.
    pub ingestion: bool,
    /// Depends on how the record came, or when, and not on what is in it alone: it differs when the same is sent
    /// again.
    pub transport: bool,
    /// Where the column is a time attribute: event time of which is known how far it has come.
    pub time: Option<Bound>,
    /// A time attribute that is the end of a window: rows of one window have the same, and come at once.
    pub window_end: bool,
    /// Of a time attribute: what a view has said of how long joins and live views keep its rows.
    pub retention: Retention,
}

impl ColumnInfo {
    /// The same column, as no time attribute.
    pub fn without_time(&self) -> Self {
        ColumnInfo { time: None, window_end: false, ..self.clone() }
    }
}

/// One way from a stateful place to a relation.
#[derive(Clone, Debug)]
pub(super) struct Branch {
    pub from: Upstream,
    pub steps: Vec<Step>,
    /// Sources whose rows come this way.
    pub sources: BTreeSet<usize>,
}

impl Branch {
    /// Adds a step; a projection that only picks, renames or casts what the last one has computed becomes
    /// part of it.
    fn push(&mut self, step: &Step) {
        if let (Some(Step::Project { exprs: before, .. }), Step::Project { exprs, schema }) =
            (self.steps.last(), step)
            && let Some(exprs) = merged(before, exprs)
        {
            self.steps.pop();
            self.steps.push(Step::Project { exprs, schema: Arc::clone(schema) });
        } else {
            self.steps.push(step.clone());
        }
    }
}

/// `exprs` over what `before` computes, as one projection. `None` if it would compute anything twice.
fn merged(before: &[Expr], exprs: &[Expr]) -> Option<Vec<Expr>> {
    let mut used = BTreeSet::new();
    let pick = |expr: &Expr| {
        if expr.uses_now {
            return None;
        }
        let cast = expr.physical.downcast_ref::<CastExpr>();
        let column = cast.map_or(&expr.physical, |cast| cast.expr()).downcast_ref::<Column>()?;
        let source = before.get(column.index())?;
        if !used.insert(column.index()) && source.physical.downcast_ref::<Column>().is_none() {
            return None;
        }
        let physical = match cast {
            Some(cast) => {
                Arc::new(CastExpr::new(Arc::clone(&source.physical), cast.cast_type().clone(), None))
            }
            None => Arc::clone(&source.physical),
        };
        Some(Expr { physical, ..source.clone() })
    };
    exprs.iter().map(pick).collect()
}

impl Flow {
    /// The relation as a query sees it that calls it `name`.
    pub fn named(&self, name: TableReference) -> Result<Flow, DataFusionError> {
        let schema = DFSchema::try_from_qualified_schema(name, self.schema.as_arrow())?;
        Ok(Flow { schema: Arc::new(schema), ..self.clone() })
    }

    /// Adds a step to the end of every way.
    pub fn push(&mut self, step: &Step) {
        for branch in &mut self.branches {
            branch.push(step);
        }
    }

    /// The rows of this relation that come too late for an operator that reads it.
    pub fn late(&self, operator: usize) -> Flow {
        let sources = self.branches.iter().flat_map(|branch| branch.sources.clone()).collect();
        Flow {
            // Event time has passed them.
            columns: self.columns.iter().map(ColumnInfo::without_time).collect(),
            branches: vec![Branch { from: Upstream::Late(operator), steps: Vec::new(), sources }],
            ..self.clone()
        }
    }

    /// The index of a column by its plain name.
    pub fn column(&self, name: &str) -> Option<usize> {
        self.schema.fields().iter().position(|field| field.name() == name)
    }

    /// The names of some columns, for messages.
    pub fn names(&self, columns: &[usize]) -> String {
        let names: Vec<_> = columns.iter().map(|column| self.columns[*column].text.as_str()).collect();
        names.join(", ")
    }
}

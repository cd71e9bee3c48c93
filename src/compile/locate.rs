//! Finds the places of errors that have none: the innermost expressions that cannot be compiled by themselves.

mod distinct;
mod from;
mod names;

use std::ops::ControlFlow;

use datafusion_common::DFSchemaRef;
use datafusion_common::tree_node::{Transformed, TreeNode};
use datafusion_common::{Column, DFSchema};
use datafusion_expr::{Expr, ExprSchemable};
use datafusion_sql::sqlparser::ast::{self, GroupByExpr, SelectItem, SetExpr, Spanned, Visit};
use datafusion_sql::sqlparser::tokenizer::Span;

pub(super) use self::distinct::distinct_on;
use self::from::{aliases, on, subqueries};
pub(super) use self::from::{relation, renamed_columns, unused_system_times};
use self::names::Names;
use super::catalog::Catalog;
use super::diagnostic::Diagnostic;
use super::expression::{self, Scope, condition};
use super::flow::ColumnInfo;
use super::problem::{Problem, known, overlap};
use super::refuse::query::normalized;
use super::{query, refuse};

/// The culprits in a query. Its relations must be known.
pub(super) fn in_query(catalog: &Catalog, query: &ast::Query) -> Vec<Span> {
    let mut search = Search::new(catalog, None);
    search.query(query);
    search.found
}

/// All names in a query that are none of the columns, if one of them is among `problems`: the planner stops at
/// the first. Empty where they cannot be found.
pub(super) fn unknown_columns(
    catalog: &Catalog,
    query: &ast::Query,
    problems: &[Problem],
) -> Vec<Diagnostic> {
    let is_name = |problem: &Problem| {
        problem.message.starts_with("there is no column ")
            || problem.message.starts_with("there is no relation ")
    };
    if !problems.iter().all(is_name) {
        return Vec::new();
    }
    let mut search = Search::new(catalog, Some(Vec::new()));
    search.query(query);
    let mut unknown = search.unknown.unwrap_or_default();
    unknown.sort_by_key(|diagnostic| diagnostic.span.start);
    unknown.dedup();
    unknown
}

/// The item of GROUP BY that names an aggregate of the SELECT list.
pub(super) fn grouped_aggregate(catalog: &Catalog, query: &ast::Query) -> Option<Span> {
    let SetExpr::Select(select) = query.body.as_ref() else { return None };
    let GroupByExpr::Expressions(exprs, _) = &select.group_by else { return None };
    let made_by_aggregate = |name: &str| {
        select.projection.iter().any(|item| match item {
            SelectItem::ExprWithAlias { expr, alias } => {
                normalized(alias) == name && refuse::expression::has_aggregate(catalog, expr)
            }
            _ => false,
        })
    };
    exprs.iter().find_map(|expr| match expr {
        ast::Expr::Identifier(ident) => made_by_aggregate(&normalized(ident)).then_some(ident.span),
        _ => None,
    })
}

/// The culprits in an expression over the columns of `schema`.
pub(super) fn in_expression(catalog: &Catalog, expr: &ast::Expr, schema: &DFSchemaRef) -> Vec<Span> {
    let mut walk = Walk { catalog, schema, found: Vec::new() };
    let _ = expr.visit(&mut walk);
    walk.found
}

/// The item of a SELECT list that gives a column its name.
pub(super) fn column(query: &ast::Query, name: &str) -> Option<Span> {
    let ctes = query.with.iter().flat_map(|with| &with.cte_tables);
    let found = item(&query.body, name);
    found.or_else(|| ctes.into_iter().find_map(|cte| column(&cte.query, name)))
}

fn item(body: &SetExpr, name: &str) -> Option<Span> {
    let is_named = |item: &&SelectItem| match item {
        SelectItem::ExprWithAlias { alias, .. } => normalized(alias) == name,
        SelectItem::UnnamedExpr(ast::Expr::Identifier(ident)) => normalized(ident) == name,
        SelectItem::UnnamedExpr(ast::Expr::CompoundIdentifier(idents)) => {
            idents.last().is_some_and(|ident| normalized(ident) == name)
        }
        _ => false,
    };
    match body {
        SetExpr::Select(select) => {
            let found = select.projection.iter().find(is_named).map(Spanned::span);
            found.or_else(|| {
                select.from.iter().flat_map(subqueries).find_map(|subquery| column(subquery, name))
            })
        }
        SetExpr::Query(query) => column(query, name),
        SetExpr::SetOperation { left, right, .. } => item(left, name).or_else(|| item(right, name)),
        _ => None,
    }
}

struct Search<'a> {
    catalog: &'a Catalog,
    ctes: Vec<ast::Cte>,
    /// The columns of the queries around a subquery of IN or EXISTS, outermost first.
    around: Vec<DFSchemaRef>,
    found: Vec<Span>,
    /// `Some`: only names that are no columns are looked for.
    unknown: Option<Vec<Diagnostic>>,
}

impl<'a> Search<'a> {
    fn new(catalog: &'a Catalog, unknown: Option<Vec<Diagnostic>>) -> Self {
        Search { catalog, ctes: Vec::new(), around: Vec::new(), found: Vec::new(), unknown }
    }

    fn query(&mut self, query: &ast::Query) {
        let outside = self.ctes.len();
        for cte in query.with.iter().flat_map(|with| &with.cte_tables) {
            self.query(&cte.query);
            self.ctes.push(cte.clone());
        }
        self.body(&query.body);
        self.ctes.truncate(outside);
    }

    fn body(&mut self, body: &SetExpr) {
        match body {
            SetExpr::Select(select) => self.select(select),
            SetExpr::Query(query) => self.query(query),
            SetExpr::SetOperation { left, right, .. } => {
                self.body(left);
                self.body(right);
            }
            _ => {}
        }
    }

    fn select(&mut self, select: &ast::Select) {
        select.from.iter().flat_map(subqueries).for_each(|subquery| self.query(subquery));
        let schema = self.schema_of_from(select);
        self.around.extend(schema.clone());
        select.selection.iter().chain(&select.having).for_each(|condition| self.members(condition));
        self.around.truncate(self.around.len() - usize::from(schema.is_some()));
        let Some(schema) = schema else { return };
        let items = select.projection.iter().filter_map(|item| match item {
            SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => Some(expr),
            _ => None,
        });
        let groups: &[ast::Expr] = match &select.group_by {
            GroupByExpr::Expressions(exprs, _) => exprs,
            GroupByExpr::All(_) => &[],
        };
        let distinct: &[ast::Expr] = match &select.distinct {
            Some(ast::Distinct::On(exprs)) => exprs,
            _ => &[],
        };
        let groups = groups.iter().chain(distinct);
        let conditions = select.from.iter().flat_map(|table| &table.joins).filter_map(on);
        if let Some(unknown) = &mut self.unknown {
            let items_named = select.projection.iter().filter_map(|item| match item {
                SelectItem::ExprWithAlias { alias, .. } => Some(normalized(alias)),
                _ => None,
            });
            let mut names = Names {
                catalog: self.catalog,
                schema: &schema,
                around: &self.around,
                relations: select.from.iter().flat_map(aliases).collect(),
                aliases: items_named.collect(),
                depth: 0,
                sees: false,
                found: unknown,
            };
            items.chain(conditions).chain(&select.selection).for_each(|expr| names.visit(expr));
            names.sees = true;
            groups.chain(&select.having).for_each(|expr| names.visit(expr));
            return;
        }
        for expr in items.chain(groups).chain(conditions) {
            self.found.extend(in_expression(self.catalog, expr, &schema));
        }
        for expr in select.selection.iter().chain(&select.having) {
            let found = in_expression(self.catalog, expr, &schema);
            let whole = if found.is_empty() { self.not_boolean(expr, &schema) } else { None };
            self.found.extend(found.into_iter().chain(whole));
        }
    }

    /// The subqueries of IN and EXISTS.
    fn members(&mut self, condition: &ast::Expr) {
        match condition {
            ast::Expr::BinaryOp { left, right, .. } => {
                self.members(left);
                self.members(right);
            }
            ast::Expr::Nested(inner) | ast::Expr::UnaryOp { expr: inner, .. } => self.members(inner),
            ast::Expr::InSubquery { subquery, .. } | ast::Expr::Exists { subquery, .. } => {
                self.query(subquery);
            }
            _ => {}
        }
    }

    /// The columns of FROM, found by planning `SELECT *` over it.
    fn schema_of_from(&self, select: &ast::Select) -> Option<DFSchemaRef> {
        let star = SelectItem::Wildcard(ast::WildcardAdditionalOptions::default());
        let select = ast::Select {
            projection: vec![star],
            selection: None,
            having: None,
            group_by: GroupByExpr::Expressions(Vec::new(), Vec::new()),
            distinct: None,
            ..select.clone()
        };
        let with = ast::With {
            with_token: select.select_token.clone(),
            recursive: false,
            cte_tables: self.ctes.clone(),
        };
        let query = ast::Query {
            with: (!self.ctes.is_empty()).then_some(with),
            body: Box::new(SetExpr::Select(Box::new(select))),
            order_by: None,
            limit_clause: None,
            fetch: None,
            locks: Vec::new(),
            for_clause: None,
            settings: None,
            format_clause: None,
            pipe_operators: Vec::new(),
        };
        let plan = query::query(self.catalog, &query).ok()?;
        Some(DFSchemaRef::clone(plan.schema()))
    }

    fn not_boolean(&self, expr: &ast::Expr, schema: &DFSchemaRef) -> Option<Span> {
        let planned = query::expression(self.catalog, expr, schema).ok()?;
        let (planned, schema, columns) = without_aggregates(planned, schema)?;
        let scope = Scope { schema: &schema, columns: &columns, no_now: None };
        condition(&planned, &scope, "WHERE").is_err().then(|| expr.span()).filter(known)
    }
}

struct Walk<'a> {
    catalog: &'a Catalog,
    schema: &'a DFSchemaRef,
    found: Vec<Span>,
}

impl ast::Visitor for Walk<'_> {
    type Break = ();

    fn post_visit_expr(&mut self, expr: &ast::Expr) -> ControlFlow<()> {
        let span = expr.span();
        // What stands around a culprit fails as well, and comes behind it.
        let around = self.found.iter().any(|found| overlap(*found, span));
        if known(&span) && !around && self.fails(expr) {
            self.found.push(span);
        }
        ControlFlow::Continue(())
    }
}

impl Walk<'_> {
    fn fails(&self, expr: &ast::Expr) -> bool {
        let planned = match query::expression(self.catalog, expr, self.schema) {
            Ok(planned) => planned,
            // A name that is none of the columns may be an alias, and an unknown column has a place anyway.
            Err(error) => {
                return !matches!(error.find_root(), datafusion_common::DataFusionError::SchemaError(..));
            }
        };
        let is_subquery =
            |expr: &Expr| Ok(matches!(expr, Expr::InSubquery(_) | Expr::Exists(_) | Expr::ScalarSubquery(_)));
        if matches!(planned, Expr::Literal(..)) || planned.exists(is_subquery).unwrap_or(true) {
            return false;
        }
        let Some((planned, schema, columns)) = without_aggregates(planned, self.schema) else { return true };
        let scope = Scope { schema: &schema, columns: &columns, no_now: None };
        expression::fails(&planned, &scope)
    }
}

/// The expression with a column of the right type in the place of each aggregate.
fn without_aggregates(expr: Expr, schema: &DFSchemaRef) -> Option<(Expr, DFSchemaRef, Vec<ColumnInfo>)> {
    let mut fields = Vec::new();
    let replaced = expr.transform_up(|expr| {
        if !matches!(expr, Expr::AggregateFunction(_)) {
            return Ok(Transformed::no(expr));
        }
        let name = format!("aggregate {}", fields.len());
        fields.push(arrow::datatypes::Field::new(&name, expr.get_type(schema)?, true));
        Ok(Transformed::yes(Expr::Column(Column::new_unqualified(name))))
    });
    let extra = DFSchema::from_unqualified_fields(fields.into(), Default::default()).ok()?;
    let joined = schema.join(&extra).ok()?;
    let columns = joined.fields().iter();
    let columns = columns.map(|field| ColumnInfo { text: field.name().clone(), ..ColumnInfo::default() });
    let columns = columns.collect();
    Some((replaced.ok()?.data, DFSchemaRef::new(joined), columns))
}

//! INTERSECT and EXCEPT.

use std::collections::BTreeSet;

use datafusion_sql::sqlparser::ast::{
    self, SelectItem, SelectItemQualifiedWildcardKind, SetExpr, SetOperator, SetQuantifier, Spanned,
    TableFactor,
};
use datafusion_sql::sqlparser::tokenizer::Span;

use super::{Common, Rewriting, parsed, quoted};
use crate::compile::diagnostic::Diagnostic;
use crate::compile::names::natural;
use crate::compile::problem::or_else;
use crate::compile::refuse::query::normalized;

/// The names of the columns of a query; `None` for one that is computed and has no name.
pub(super) type Columns = Vec<Option<String>>;

impl Rewriting<'_> {
    /// `a INTERSECT b`: the rows of both, once each, counted by the side that they are from.
    pub(super) fn set_operation(&mut self, body: &mut SetExpr) {
        let SetExpr::SetOperation { op, set_quantifier, left, right } = &*body else { return };
        let (op, quantifier, place) = (*op, *set_quantifier, or_else(right.span(), self.span));
        let (first, second) = (self.columns(left), self.columns(right));
        if let (Some(first), Some(second)) = (&first, &second)
            && first.len() != second.len()
        {
            self.diagnostics.push(different(op, quantifier, (first.len(), second.len()), place));
            // What else is wrong with the first of them is said as well.
            *body = left.as_ref().clone();
            return self.set_operation(body);
        }
        let having = match (op, quantifier) {
            (SetOperator::Intersect, SetQuantifier::None | SetQuantifier::Distinct) => "> 0",
            (SetOperator::Except | SetOperator::Minus, SetQuantifier::None | SetQuantifier::Distinct) => {
                "= 0"
            }
            _ => return self.sides(body),
        };
        let Some(names) = first.and_then(|names| names.into_iter().collect::<Option<Vec<_>>>()) else {
            return self.sides(body);
        };
        let names: Vec<String> = names.iter().map(|name| quoted(name)).collect();
        let names = names.join(", ");
        // Columns of the second one need no names of their own.
        let renamed =
            if second.is_some_and(|names| !all_named(&names)) { &format!(" ({names})") } else { "" };
        let text = format!(
            "SELECT {names} FROM (SELECT *, 1 AS _side FROM (SELECT 1 AS a) AS _left \
             UNION ALL SELECT *, 2 AS _side FROM (SELECT 1 AS a) AS _right{renamed}) AS _sides GROUP BY {names} \
             HAVING count(*) FILTER (WHERE _side = 1) > 0 AND count(*) FILTER (WHERE _side = 2) {having}"
        );
        let Some(query) = parsed(&text, place) else { return };
        let ast::Query { body: ours, .. } = *query;
        let SetExpr::SetOperation { left, right, .. } = std::mem::replace(body, *ours) else { return };
        let Some(SetExpr::SetOperation { left: first, right: second, .. }) = subquery(body) else { return };
        // They are queries of their own now, and looked at as such.
        for (place, side) in [(first, left), (second, right)] {
            if let Some(place) = subquery(place) {
                *place = *side;
            }
        }
    }

    /// The operations on both sides of one that stays as it is: `a UNION b INTERSECT c`.
    fn sides(&mut self, body: &mut SetExpr) {
        if let SetExpr::SetOperation { left, right, .. } = body {
            self.set_operation(left);
            self.set_operation(right);
        }
    }

    /// Notes the relations of a WITH. Each may be read by those behind it.
    pub(super) fn enter(&mut self, query: &ast::Query) {
        self.with.push(Vec::new());
        for cte in query.with.iter().flat_map(|with| &with.cte_tables) {
            let columns = renamed(&cte.alias).or_else(|| self.of_query(&cte.query));
            let common = Common { name: normalized(&cte.alias.name), columns, cte: cte.clone() };
            if let Some(frame) = self.with.last_mut() {
                frame.push(common);
            }
        }
    }

    fn of_query(&mut self, query: &ast::Query) -> Option<Columns> {
        self.enter(query);
        let columns = self.columns(&query.body);
        self.with.pop();
        columns
    }

    /// The columns of a query, if they can be told from its text.
    fn columns(&mut self, body: &SetExpr) -> Option<Columns> {
        match body {
            SetExpr::Select(select) => self.selected(select),
            SetExpr::Query(query) => self.of_query(query),
            SetExpr::SetOperation { left, .. } => self.columns(left),
            _ => None,
        }
    }

    fn selected(&mut self, select: &ast::Select) -> Option<Columns> {
        let mut columns = Vec::new();
        for item in &select.projection {
            match item {
                SelectItem::ExprWithAlias { alias, .. } => columns.push(Some(normalized(alias))),
                SelectItem::UnnamedExpr(expr) => columns.push(natural(expr)),
                SelectItem::Wildcard(_) => {
                    for factor in factors(&select.from)? {
                        columns.extend(self.read(factor)?);
                    }
                }
                SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), _) => {
                    let wanted = plain(name)?;
                    let called = |factor: &&TableFactor| called(factor).is_some_and(|name| name == wanted);
                    columns.extend(self.read(factors(&select.from)?.into_iter().find(called)?)?);
                }
                _ => return None,
            }
        }
        Some(columns)
    }

    /// The columns of a relation in FROM.
    fn read(&mut self, factor: &TableFactor) -> Option<Columns> {
        let (TableFactor::Table { alias, .. } | TableFactor::Derived { alias, .. }) = factor else {
            return None;
        };
        if let Some(names) = alias.as_ref().and_then(renamed) {
            return Some(names);
        }
        match factor {
            TableFactor::Table { name, args: None, .. } => {
                let name = plain(name)?;
                let mut with = self.with.iter().rev().flat_map(|frame| frame.iter().rev());
                if let Some(common) = with.find(|common| common.name == name) {
                    return common.columns.clone();
                }
                let flow = self.catalog.relation(&name)??;
                Some(flow.schema.fields().iter().map(|field| Some(field.name().clone())).collect())
            }
            TableFactor::Derived { subquery, .. } => self.of_query(subquery),
            _ => None,
        }
    }
}

/// Says that the sides of an operation do not go together.
fn different(
    op: SetOperator,
    quantifier: SetQuantifier,
    (first, second): (usize, usize),
    place: Span,
) -> Diagnostic {
    let what = match quantifier {
        SetQuantifier::None => op.to_string(),
        quantifier => format!("{op} {quantifier}"),
    };
    let message = format!("the branches of {what} have different numbers of columns: {first} and {second}");
    Diagnostic::new(place, message).hint(match op {
        SetOperator::Union => "add what is missing, for example CAST(NULL AS TEXT) AS name",
        _ => "rows are compared column by column: select the same ones, in the same order",
    })
}

/// Whether all columns have names, and each another one.
fn all_named(columns: &Columns) -> bool {
    let mut seen = BTreeSet::new();
    columns.iter().all(|name| name.as_ref().is_some_and(|name| seen.insert(name)))
}

/// The relations of FROM, where `*` shows the columns of each.
fn factors(from: &[ast::TableWithJoins]) -> Option<Vec<&TableFactor>> {
    use ast::{JoinConstraint as C, JoinOperator as J};
    let shows_both = |join: &ast::Join| match &join.join_operator {
        J::Join(constraint)
        | J::Inner(constraint)
        | J::Left(constraint)
        | J::LeftOuter(constraint)
        | J::Right(constraint)
        | J::RightOuter(constraint)
        | J::FullOuter(constraint)
        | J::CrossJoin(constraint) => matches!(constraint, C::On(_) | C::None),
        _ => false,
    };
    let mut factors = Vec::new();
    for table in from {
        factors.push(&table.relation);
        for join in &table.joins {
            factors.push(Some(&join.relation).filter(|_| shows_both(join))?);
        }
    }
    Some(factors)
}

/// The name by which the columns of a relation are called.
fn called(factor: &TableFactor) -> Option<String> {
    match factor {
        TableFactor::Table { alias: Some(alias), .. } | TableFactor::Derived { alias: Some(alias), .. } => {
            Some(normalized(&alias.name))
        }
        TableFactor::Table { name, .. } => plain(name),
        _ => None,
    }
}

fn plain(name: &ast::ObjectName) -> Option<String> {
    match name.0.as_slice() {
        [part] => part.as_ident().map(normalized),
        _ => None,
    }
}

/// The names that an alias gives to the columns of its relation: all of them, if it is right.
fn renamed(alias: &ast::TableAlias) -> Option<Columns> {
    let names: Columns = alias.columns.iter().map(|column| Some(normalized(&column.name))).collect();
    if names.is_empty() { None } else { Some(names) }
}

/// The subquery that is the one relation in FROM.
fn subquery(body: &mut SetExpr) -> Option<&mut SetExpr> {
    let SetExpr::Select(select) = body else { return None };
    match &mut select.from.first_mut()?.relation {
        TableFactor::Derived { subquery, .. } => Some(subquery.body.as_mut()),
        _ => None,
    }
}

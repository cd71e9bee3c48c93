//! INTERSECT and EXCEPT.

use datafusion_sql::sqlparser::ast::{
    self, SelectItem, SetExpr, SetOperator, SetQuantifier, Spanned, TableFactor,
};

use super::{Rewriting, parsed, quoted};
use crate::compile::names::natural;
use crate::compile::problem::or_else;
use crate::compile::refuse::query::normalized;

impl Rewriting<'_> {
    /// `a INTERSECT b`: the rows of both, once each, counted by the side that they are from.
    pub(super) fn set_operation(&self, body: &mut SetExpr) {
        let SetExpr::SetOperation { op, set_quantifier, left, right } = &*body else { return };
        let second = match (op, set_quantifier) {
            (SetOperator::Intersect, SetQuantifier::None | SetQuantifier::Distinct) => "> 0",
            (SetOperator::Except | SetOperator::Minus, SetQuantifier::None | SetQuantifier::Distinct) => {
                "= 0"
            }
            _ => return,
        };
        let Some(names) = self.names(left) else { return };
        let names: Vec<String> = names.iter().map(|name| quoted(name)).collect();
        let names = names.join(", ");
        let text = format!(
            "SELECT {names} FROM (SELECT *, 1 AS _side FROM (SELECT 1 AS a) AS _left \
             UNION ALL SELECT *, 2 AS _side FROM (SELECT 1 AS a) AS _right) AS _sides GROUP BY {names} \
             HAVING count(*) FILTER (WHERE _side = 1) > 0 AND count(*) FILTER (WHERE _side = 2) {second}"
        );
        let Some(query) = parsed(&text, or_else(right.span(), self.span)) else { return };
        let ast::Query { body: ours, .. } = *query;
        let SetExpr::SetOperation { left, right, .. } = std::mem::replace(body, *ours) else { return };
        let Some(SetExpr::SetOperation { left: first, right: second, .. }) = subquery(body) else { return };
        for (place, side) in [(first, left), (second, right)] {
            if let Some(place) = subquery(place) {
                *place = *side;
            }
        }
    }

    /// Notes the relations of a WITH. Each may be read by those behind it.
    pub(super) fn enter(&mut self, query: &ast::Query) {
        self.with.push(Vec::new());
        for relation in query.with.iter().flat_map(|with| &with.cte_tables) {
            let names = renamed(&relation.alias).or_else(|| self.names(&relation.query.body));
            let name = normalized(&relation.alias.name);
            self.with.last_mut().into_iter().for_each(|frame| frame.push((name.clone(), names.clone())));
        }
    }

    /// The names of the columns of a query, if they can be told from its text.
    fn names(&self, body: &SetExpr) -> Option<Vec<String>> {
        match body {
            SetExpr::Select(select) => self.selected(select),
            SetExpr::Query(query) => self.names(&query.body),
            SetExpr::SetOperation { left, .. } => self.names(left),
            _ => None,
        }
    }

    fn selected(&self, select: &ast::Select) -> Option<Vec<String>> {
        let mut names = Vec::new();
        for item in &select.projection {
            match item {
                SelectItem::ExprWithAlias { alias, .. } => names.push(normalized(alias)),
                SelectItem::UnnamedExpr(expr) => names.push(natural(expr)?),
                SelectItem::Wildcard(_) => names.extend(self.columns(&select.from)?),
                _ => return None,
            }
        }
        Some(names)
    }

    /// The columns of the one relation in FROM.
    fn columns(&self, from: &[ast::TableWithJoins]) -> Option<Vec<String>> {
        let [ast::TableWithJoins { relation, joins }] = from else { return None };
        if !joins.is_empty() {
            return None;
        }
        let (TableFactor::Table { alias, .. } | TableFactor::Derived { alias, .. }) = relation else {
            return None;
        };
        if let Some(names) = alias.as_ref().and_then(renamed) {
            return Some(names);
        }
        match relation {
            TableFactor::Table { name, args: None, .. } => {
                let [part] = name.0.as_slice() else { return None };
                let name = normalized(part.as_ident()?);
                let mut with = self.with.iter().rev().flat_map(|frame| frame.iter().rev());
                if let Some((_, columns)) = with.find(|(known, _)| *known == name) {
                    return columns.clone();
                }
                let flow = self.catalog.relation(&name)??;
                Some(flow.schema.fields().iter().map(|field| field.name().clone()).collect())
            }
            TableFactor::Derived { subquery, .. } => self.names(&subquery.body),
            _ => None,
        }
    }
}

/// The names that an alias gives to the columns of its relation: all of them, if it is right.
fn renamed(alias: &ast::TableAlias) -> Option<Vec<String>> {
    let names: Vec<String> = alias.columns.iter().map(|column| normalized(&column.name)).collect();
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

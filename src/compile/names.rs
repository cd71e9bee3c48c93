//! Names for the columns of a query: every column of a relation has one, and no two have the same.

use datafusion_sql::sqlparser::ast::{self, Ident, SelectItem, SetExpr, Spanned, TableFactor};
use datafusion_sql::sqlparser::tokenizer::Span;

use super::diagnostic::Diagnostic;
use super::problem::or_else;
use super::refuse::query::normalized;
use super::reword::twice;

/// Names the columns that have no name. `span` is the place of the query; `renamed` says that its columns get
/// other names anyway, so that their own do not matter.
pub(super) fn columns(query: &mut ast::Query, span: Span, renamed: bool) -> Vec<Diagnostic> {
    let mut naming = Naming { span, diagnostics: Vec::new() };
    naming.query(query, !renamed);
    naming.diagnostics
}

struct Naming {
    span: Span,
    diagnostics: Vec<Diagnostic>,
}

impl Naming {
    /// `named`: whether the columns of this query name those of a relation.
    fn query(&mut self, query: &mut ast::Query, named: bool) {
        for cte in query.with.iter_mut().flat_map(|with| &mut with.cte_tables) {
            let named = cte.alias.columns.is_empty();
            self.query(&mut cte.query, named);
        }
        self.body(&mut query.body, named);
    }

    /// `first`: whether the columns of this part name those of the whole.
    fn body(&mut self, body: &mut SetExpr, first: bool) {
        match body {
            SetExpr::Select(select) => self.select(select, first),
            SetExpr::Query(query) => self.query(query, first),
            SetExpr::SetOperation { left, right, .. } => {
                self.body(left, first);
                self.body(right, false);
            }
            _ => {}
        }
    }

    fn table(&mut self, table: &mut ast::TableWithJoins) {
        let joined = table.joins.iter_mut().map(|join| &mut join.relation);
        for factor in std::iter::once(&mut table.relation).chain(joined) {
            match factor {
                TableFactor::Derived { subquery, alias, .. } => {
                    let named = alias.as_ref().is_none_or(|alias| alias.columns.is_empty());
                    self.query(subquery, named);
                }
                TableFactor::NestedJoin { table_with_joins, .. } => self.table(table_with_joins),
                _ => {}
            }
        }
    }

    fn select(&mut self, select: &mut ast::Select, first: bool) {
        select.from.iter_mut().for_each(|table| self.table(table));
        let mut names: Vec<String> = Vec::new();
        for (number, item) in select.projection.iter_mut().enumerate() {
            let span = or_else(item.span(), self.span);
            let own = match item {
                SelectItem::UnnamedExpr(expr) => natural(expr),
                SelectItem::ExprWithAlias { alias, .. } => Some(normalized(alias)),
                _ => continue,
            };
            let taken = own.as_ref().is_some_and(|name| names.contains(name));
            let name = match own {
                // Behind UNION, or with other names to come, these do not matter, but they have to differ.
                Some(_) if taken && !first => format!("#{number}"),
                Some(name) => name,
                None if first => {
                    if let SelectItem::UnnamedExpr(ast::Expr::Value(value)) = item
                        && let ast::Value::SingleQuotedString(text) = &value.value
                    {
                        let error =
                            Diagnostic::new(span, format!("the text '{text}' as a column needs a name"));
                        let hint = "single quotes are for texts: a column stands without quotes, or in double ones; \
                                    a text needs AS name";
                        self.diagnostics.push(error.hint(hint));
                        continue;
                    }
                    let message = "a column that is computed needs a name";
                    self.diagnostics.push(Diagnostic::new(span, message).hint("add AS and a name"));
                    continue;
                }
                None => format!("#{number}"),
            };
            if taken && first {
                self.diagnostics.push(twice(&name).into_diagnostic(&[], None, span));
            }
            rename(item, &name, span);
            names.push(name);
        }
        let ast::Select { distinct, projection, .. } = select;
        if let Some(ast::Distinct::On(exprs)) = distinct {
            exprs.iter_mut().for_each(|expr| of_select_list(expr, projection));
        }
    }
}

/// DISTINCT ON names columns of the SELECT list first, as ORDER BY does, also by number; the planner knows only
/// those of the input.
fn of_select_list(expr: &mut ast::Expr, items: &[SelectItem]) {
    let star =
        |item: &SelectItem| matches!(item, SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..));
    let named = |item: &&SelectItem, name: &ast::Ident| match item {
        SelectItem::ExprWithAlias { alias, .. } => normalized(alias) == normalized(name),
        _ => false,
    };
    let item = match expr {
        ast::Expr::Identifier(name) => items.iter().find(|item| named(item, name)),
        ast::Expr::Value(value) => match &value.value {
            ast::Value::Number(number, _) if !items.iter().any(star) => {
                number.parse::<usize>().ok().and_then(|number| items.get(number.checked_sub(1)?))
            }
            _ => None,
        },
        _ => None,
    };
    if let Some(SelectItem::UnnamedExpr(item) | SelectItem::ExprWithAlias { expr: item, .. }) = item {
        *expr = item.clone();
    }
}

/// The name that a column has without AS: its own, or that of the function.
pub(super) fn natural(expr: &ast::Expr) -> Option<String> {
    use ast::Expr as E;
    match expr {
        E::Identifier(ident) => Some(normalized(ident)),
        E::CompoundIdentifier(idents) => idents.last().map(normalized),
        E::Nested(inner) | E::Cast { expr: inner, .. } => natural(inner),
        E::Function(call) => match call.name.0.as_slice() {
            [part] => part.as_ident().map(normalized),
            _ => None,
        },
        _ => None,
    }
}

/// Gives an item a name with AS, unless it has this name already.
fn rename(item: &mut SelectItem, name: &str, span: Span) {
    let expr = match item {
        SelectItem::UnnamedExpr(ast::Expr::Identifier(ident)) if normalized(ident) == name => return,
        SelectItem::UnnamedExpr(expr) => expr.clone(),
        SelectItem::ExprWithAlias { expr, alias } if normalized(alias) != name => expr.clone(),
        _ => return,
    };
    let alias = Ident { value: name.to_owned(), quote_style: Some('"'), span };
    *item = SelectItem::ExprWithAlias { expr, alias };
}

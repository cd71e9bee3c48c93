//! Items of GROUP BY that the planner would take for something else.

use datafusion_sql::sqlparser::ast::{self, SelectItem, Spanned};

use super::{Look, normalized};
use crate::compile::diagnostic::Diagnostic;
use crate::compile::problem::or_else;
use crate::compile::refuse::expression::{Clause, Walk};
use crate::compile::window;

impl Look<'_> {
    /// An item of GROUP BY, which may be the number of an item of the SELECT list.
    pub(super) fn group(&mut self, expr: &ast::Expr, select: &ast::Select) {
        self.grouped_constant(expr, &select.projection);
        let items = &select.projection;
        let star = items
            .iter()
            .any(|item| matches!(item, SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..)));
        let number = match expr {
            ast::Expr::Value(value) if !star => match &value.value {
                ast::Value::Number(number, _) => Some(number),
                _ => None,
            },
            _ => None,
        };
        let index = |number: &String| number.parse::<usize>().ok()?.checked_sub(1);
        let meant = number.and_then(index).and_then(|index| items.get(index));
        if let (Some(number), None) = (number, meant) {
            let message = format!("GROUP BY {number}, but the SELECT list has {} columns", items.len());
            let error = Diagnostic::new(or_else(expr.span(), self.span), message);
            return self
                .findings
                .diagnostics
                .push(error.hint("write the name of a column, or a number from 1 on"));
        }
        if let Some(SelectItem::UnnamedExpr(item) | SelectItem::ExprWithAlias { expr: item, .. }) = meant {
            let mut ignored = Vec::new();
            if Walk::new(self.catalog, Clause::Select, self.span, &mut ignored).over(item).is_some() {
                let message = format!("GROUP BY cannot use `{expr}`: it is made by an aggregate function");
                let error = Diagnostic::new(or_else(expr.span(), self.span), message);
                let hint = "group by columns; to group by an aggregate, put it into a view and group that";
                return self.findings.diagnostics.push(error.hint(hint));
            }
        }
        match window::call(expr) {
            // Its other arguments are looked at where it is replaced.
            Some((call, _)) => {
                if let ast::FunctionArguments::List(list) = &call.args
                    && let Some(ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(time))) =
                        list.args.first()
                {
                    self.walk(time, Clause::GroupBy);
                }
            }
            None => self.walk(expr, Clause::GroupBy),
        }
    }

    /// The planner puts the expression of an alias in its place, and then takes an integer for the number of a
    /// column: `SELECT 2 AS a, k ... GROUP BY a` would be grouped by k.
    fn grouped_constant(&mut self, group: &ast::Expr, projection: &[SelectItem]) {
        if let ast::Expr::Value(value) = group
            && value.value == ast::Value::Null
        {
            let error = Diagnostic::new(or_else(group.span(), self.span), "NULL is the same for all rows");
            self.findings.diagnostics.push(error.hint("leave it out of GROUP BY"));
        }
        let ast::Expr::Identifier(name) = group else { return };
        let is_integer = |expr: &ast::Expr| match expr {
            ast::Expr::Value(value) => matches!(value.value, ast::Value::Number(..)),
            _ => false,
        };
        let constant = projection.iter().any(|item| match item {
            SelectItem::ExprWithAlias { expr, alias } => {
                normalized(alias) == normalized(name) && is_integer(expr)
            }
            _ => false,
        });
        if constant {
            let message = format!("`{}` is a constant, by which nothing is grouped", name.value);
            let error = Diagnostic::new(or_else(name.span, self.span), message);
            self.findings.diagnostics.push(error.hint("leave it out of GROUP BY"));
        }
    }
}

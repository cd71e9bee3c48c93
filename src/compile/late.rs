//! `late(view)`: the rows that came too late for a view, as a relation of its own.

use std::ops::ControlFlow;

use datafusion_sql::sqlparser::ast::{self, FunctionArg, FunctionArgExpr, TableFactor};

use super::refuse::query::normalized;

/// The name of the relation of the rows that came too late for `view`.
pub(super) fn name(view: &str) -> String {
    format!("late({view})")
}

/// The view whose late rows a relation of this name has.
pub(super) fn view(name: &str) -> Option<&str> {
    name.strip_prefix("late(")?.strip_suffix(')')
}

/// Makes plain names of all `late(view)` in FROM.
pub(super) fn rename(query: &mut ast::Query) {
    struct Renaming;

    impl ast::VisitorMut for Renaming {
        type Break = ();

        fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
            if let TableFactor::Table { name, args, .. } = factor
                && let Some(view) = args.as_ref().and_then(|args| called(name, args))
            {
                let [ast::ObjectNamePart::Identifier(ident)] = name.0.as_mut_slice() else {
                    return ControlFlow::Continue(());
                };
                ident.value = self::name(&view);
                ident.quote_style = Some('"');
                *args = None;
            }
            ControlFlow::Continue(())
        }
    }

    let _ = ast::VisitMut::visit(query, &mut Renaming);
}

/// The view in `late(view)`.
fn called(name: &ast::ObjectName, args: &ast::TableFunctionArgs) -> Option<String> {
    let [part] = name.0.as_slice() else { return None };
    if part.as_ident().map(normalized)? != "late" {
        return None;
    }
    match args.args.as_slice() {
        [FunctionArg::Unnamed(FunctionArgExpr::Expr(ast::Expr::Identifier(view)))] => Some(normalized(view)),
        _ => None,
    }
}

//! What expressions may not contain, found in the syntax.

use std::ops::ControlFlow;

use datafusion_sql::sqlparser::ast::{self, Spanned, Visit};
use datafusion_sql::sqlparser::tokenizer::Span;

use super::call;
use crate::compile::catalog::Catalog;
use crate::compile::diagnostic::Diagnostic;
use crate::compile::problem::or_else;
use crate::nearest::nearest;

/// Looks at an expression of a source.
pub(in crate::compile) fn expression(catalog: &Catalog, expr: &ast::Expr, span: Span) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    Walk::new(catalog, Clause::Rule, span, &mut found).over(expr);
    found
}

/// Whether an aggregate function is called in an expression.
pub(in crate::compile) fn has_aggregate(catalog: &Catalog, expr: &ast::Expr) -> bool {
    let mut ignored = Vec::new();
    Walk::new(catalog, Clause::Select, Span::empty(), &mut ignored).over(expr).is_some()
}

/// Where an expression stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Clause {
    Select,
    Where,
    /// The condition of a join.
    On,
    GroupBy,
    DistinctOn,
    Having,
    Qualify,
    /// CHECK or DEFAULT of a source.
    Rule,
}

/// Walks over the parts of an expression.
pub(super) struct Walk<'a> {
    catalog: &'a Catalog,
    clause: Clause,
    span: Span,
    found: &'a mut Vec<Diagnostic>,
    /// Number of aggregate functions around the place.
    aggregates: usize,
    /// Number of refused expressions around the place: nothing inside them is looked at.
    skipped: usize,
    first_aggregate: Option<Span>,
    /// Whether a minus stands in front of the place.
    negated: bool,
}

impl<'a> Walk<'a> {
    pub fn new(catalog: &'a Catalog, clause: Clause, span: Span, found: &'a mut Vec<Diagnostic>) -> Self {
        Walk {
            catalog,
            clause,
            span,
            found,
            aggregates: 0,
            skipped: 0,
            first_aggregate: None,
            negated: false,
        }
    }

    /// Walks over `expr`; gives the place of the first aggregate function so far.
    pub fn over(&mut self, expr: &ast::Expr) -> Option<Span> {
        let _ = expr.visit(self);
        self.first_aggregate
    }

    fn is_aggregate(&self, expr: &ast::Expr) -> bool {
        matches!(expr, ast::Expr::Function(call) if call::aggregate(self.catalog, call).is_some())
    }

    fn look(&self, expr: &ast::Expr) -> Option<Diagnostic> {
        if let ast::Expr::Function(call) = expr {
            return call::check(self.catalog, call, self.clause, self.aggregates > 0);
        }
        if let ast::Expr::Value(value) = expr
            && let ast::Value::Number(number, _) = &value.value
            && !(self.negated && number == SMALLEST)
        {
            return too_large(number).map(|error| Diagnostic { span: expr.span(), ..error });
        }
        if let Some(unknown) = unknown_type(expr) {
            return Some(unknown);
        }
        let (what, hint) = refused(expr)?;
        let place = match expr {
            // The parser does not know it.
            ast::Expr::RLike { expr: left, .. } => left.span(),
            _ => expr.span(),
        };
        Some(Diagnostic::new(place, format!("{what} is not supported yet")).hint(hint))
    }
}

impl ast::Visitor for Walk<'_> {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &ast::Expr) -> ControlFlow<()> {
        if self.skipped > 0 {
            self.skipped += 1;
            return ControlFlow::Continue(());
        }
        if let Some(mut diagnostic) = self.look(expr) {
            diagnostic.span = or_else(diagnostic.span, self.span);
            self.found.push(diagnostic);
            self.skipped = 1;
        } else if self.is_aggregate(expr) {
            self.aggregates += 1;
            self.first_aggregate = self.first_aggregate.or(Some(expr.span()));
        }
        self.negated = matches!(expr, ast::Expr::UnaryOp { op: ast::UnaryOperator::Minus, .. });
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &ast::Expr) -> ControlFlow<()> {
        if self.skipped > 0 {
            self.skipped -= 1;
        } else if self.is_aggregate(expr) {
            self.aggregates -= 1;
        }
        ControlFlow::Continue(())
    }
}

/// The one integer that has a BIGINT only with a minus in front.
const SMALLEST: &str = "9223372036854775808";

/// The planner would make a DOUBLE or a DECIMAL of an integer that no BIGINT holds.
fn too_large(number: &str) -> Option<Diagnostic> {
    let integer = number.bytes().all(|byte| byte.is_ascii_digit());
    if !integer || number.parse::<i64>().is_ok() {
        return None;
    }
    let error = Diagnostic::new(Span::empty(), "the integer is too large for a BIGINT");
    Some(error.hint(format!("write {number}.0 if a DOUBLE is meant")))
}

/// The type of a cast that is none of SQL's.
fn unknown_type(expr: &ast::Expr) -> Option<Diagnostic> {
    const TYPES: [&str; 8] = ["TEXT", "STRING", "VARCHAR", "BIGINT", "INT", "DOUBLE", "BOOLEAN", "TIMESTAMP"];
    let ast::Expr::Cast { data_type: ast::DataType::Custom(name, _), .. } = expr else { return None };
    let error = Diagnostic::new(name.span(), format!("unknown type `{name}`"));
    Some(match nearest(&name.to_string(), &TYPES) {
        Some(near) => error.hint(format!("did you mean {near}?")),
        None => error.hint("types are TEXT, BIGINT, INT, DOUBLE, BOOLEAN, TIMESTAMP"),
    })
}

/// Kinds of expressions that are refused, with a hint.
fn refused(expr: &ast::Expr) -> Option<(&'static str, &'static str)> {
    use ast::Expr as E;
    const FIELD: &str = "write payload -> 'a' ->> 'b', or declare a column of the source with PATH 'a.b'";
    Some(match expr {
        E::Subquery(_) => {
            let hint = "it needs an aggregate function, may name nothing of the query around it, and that one reads one \
                        relation without GROUP BY; else join it: FROM a, (SELECT max(x) AS m FROM b) AS c WHERE a.x = c.m";
            ("such a subquery as a value", hint)
        }
        E::Exists { .. } | E::InSubquery { .. } => {
            let hint = "IN and EXISTS stand in WHERE or HAVING, alone or joined by AND; for OR write a UNION, for \
                        a value a LEFT JOIN with IS NOT NULL";
            ("a subquery inside an expression", hint)
        }
        E::AnyOp { .. } | E::AllOp { .. } | E::InUnnest { .. } => {
            let hint = "write x IN (...) for = ANY, x > (SELECT max(y) FROM b) for > ALL";
            ("ANY, ALL or UNNEST", hint)
        }
        E::RLike { .. } => ("RLIKE", "write regexp_like(text, 'pattern')"),
        E::GroupingSets(_) => ("GROUPING SETS", "write one view per grouping"),
        E::Cube(_) => ("CUBE", "write one view per grouping"),
        E::Rollup(_) => ("ROLLUP", "write one view per grouping"),
        E::JsonAccess { .. } | E::CompoundFieldAccess { .. } => (
            "access to a part of a value",
            "of JSON write payload -> 'a' ->> 'b' or payload ->> 0, which is the first element; of a text \
             substr(text, from, length)",
        ),
        E::BinaryOp { op, .. } => {
            use ast::BinaryOperator as O;
            match op {
                O::BitwiseXor | O::PGBitwiseXor => {
                    ("the operator ^", "write power(x, y), if a power is meant")
                }
                O::HashArrow | O::HashLongArrow | O::AtArrow | O::ArrowAt => {
                    ("access to a field of JSON", FIELD)
                }
                _ => return None,
            }
        }
        E::AtTimeZone { .. } => {
            ("AT TIME ZONE", "TIMESTAMP is UTC; for a fixed offset add it: t + INTERVAL '1 hour'")
        }
        E::Value(value) if matches!(value.value, ast::Value::Placeholder(_)) => {
            ("a placeholder", "use ${NAME} in a WITH option, or write the value")
        }
        E::Array(_) | E::Struct { .. } | E::Map(_) | E::Dictionary(_) | E::Tuple(_) | E::Named { .. } => (
            "a value of several parts",
            "columns are TEXT, BIGINT, INT, DOUBLE, BOOLEAN, TIMESTAMP, DATE or JSON",
        ),
        E::Lambda(_) | E::MatchAgainst { .. } | E::MemberOf(_) | E::Prior(_) | E::OuterJoin(_) => {
            ("this expression", "write it in another way")
        }
        E::Collate { .. } => ("COLLATE", "text is compared by its bytes"),
        _ => return None,
    })
}

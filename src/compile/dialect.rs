//! The SQL dialect: what `sqlparser` may accept.

use std::any::TypeId;

use datafusion_sql::sqlparser::ast::Expr;
use datafusion_sql::sqlparser::dialect::{Dialect, GenericDialect, Precedence};
use datafusion_sql::sqlparser::keywords::Keyword::{DISTINCT, FROM, IS, NOT};
use datafusion_sql::sqlparser::parser::{Parser, ParserError};

/// Our SQL. It passes for the generic dialect where the parser asks for one by name, but everything that is
/// opt-in stays off unless it is named here: what is parsed and then ignored would be a silent lie.
///
/// `supports_table_versioning` stays off for that reason; `FOR SYSTEM_TIME` is refused by its tokens.
#[derive(Clone, Copy, Debug, Default)]
pub struct TidemillDialect;

impl Dialect for TidemillDialect {
    fn dialect(&self) -> TypeId {
        TypeId::of::<GenericDialect>()
    }

    fn is_delimited_identifier_start(&self, ch: char) -> bool {
        ch == '"'
    }

    fn is_identifier_start(&self, ch: char) -> bool {
        ch.is_alphabetic() || ch == '_'
    }

    fn is_identifier_part(&self, ch: char) -> bool {
        ch.is_alphanumeric() || ch == '_'
    }

    /// `->` and `->>` bind tighter than any other operator but `::`. The parser's own choice is looser than a
    /// comparison, so that `payload ->> 'a' = 'b'` would ask for the field `'a' = 'b'`.
    fn prec_value(&self, precedence: Precedence) -> u8 {
        match precedence {
            Precedence::PgOther => 45,
            other => GenericDialect.prec_value(other),
        }
    }

    /// The parser would take all of `b AND c` for the right side of `a IS DISTINCT FROM b AND c`.
    fn parse_infix(
        &self,
        parser: &mut Parser,
        expr: &Expr,
        _precedence: u8,
    ) -> Option<Result<Expr, ParserError>> {
        let build = if parser.parse_keywords(&[IS, DISTINCT, FROM]) {
            Expr::IsDistinctFrom
        } else if parser.parse_keywords(&[IS, NOT, DISTINCT, FROM]) {
            Expr::IsNotDistinctFrom
        } else {
            return None;
        };
        let right = parser.parse_subexpr(self.prec_value(Precedence::Is));
        Some(right.map(|right| build(Box::new(expr.clone()), Box::new(right))))
    }

    fn supports_filter_during_aggregation(&self) -> bool {
        true
    }

    fn supports_group_by_expr(&self) -> bool {
        true
    }

    fn supports_nested_comments(&self) -> bool {
        true
    }

    fn supports_window_function_null_treatment_arg(&self) -> bool {
        true
    }

    fn supports_array_typedef_with_brackets(&self) -> bool {
        true
    }
}

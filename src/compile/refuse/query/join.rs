//! Which joins and which subqueries in conditions there are.

use datafusion_sql::sqlparser::ast::{
    self, BinaryOperator, JoinConstraint, JoinOperator, Spanned, TableFactor, UnaryOperator,
};

use super::Look;
use crate::compile::refuse::expression::Clause;

impl Look<'_> {
    /// One item of FROM.
    pub(super) fn table(&mut self, table: &ast::TableWithJoins) {
        self.factor(&table.relation);
        for join in &table.joins {
            self.factor(&join.relation);
            self.join(join);
        }
    }

    fn join(&mut self, join: &ast::Join) {
        use JoinOperator as J;
        let span = join.relation.span();
        let exists = "write WHERE [NOT] EXISTS (SELECT ... WHERE a.key = b.key)";
        let refused = match &join.join_operator {
            J::Join(constraint) | J::Inner(constraint) => return self.constraint(join, constraint, true),
            J::Left(constraint) | J::LeftOuter(constraint) => return self.constraint(join, constraint, true),
            J::Right(constraint) | J::RightOuter(constraint) | J::FullOuter(constraint) => {
                return self.constraint(join, constraint, false);
            }
            J::CrossJoin(JoinConstraint::None) => return,
            J::CrossJoin(_) => ("CROSS JOIN with a condition", "write JOIN ... ON"),
            J::Semi(_) | J::LeftSemi(_) | J::RightSemi(_) => ("SEMI JOIN", exists),
            J::Anti(_) | J::LeftAnti(_) | J::RightAnti(_) => ("ANTI JOIN", exists),
            J::AsOf { .. } => ("ASOF JOIN", "joins by the nearest time come with event time"),
            J::CrossApply | J::OuterApply => ("APPLY", "write JOIN ... ON"),
            _ => ("this kind of join", "write [INNER | LEFT | RIGHT | FULL] JOIN ... ON"),
        };
        self.refuse(span, refused.0, refused.1);
    }

    /// `unfilled`: whether rows of the left side are always there, so that USING has one value for both.
    fn constraint(&mut self, join: &ast::Join, constraint: &JoinConstraint, unfilled: bool) {
        match constraint {
            JoinConstraint::On(condition) => self.walk(condition, Clause::On),
            JoinConstraint::Using(_) if unfilled => {}
            JoinConstraint::Using(_) => {
                let hint = "write ON a.key = b.key and select coalesce(a.key, b.key) AS key";
                self.refuse(join.relation.span(), "USING with RIGHT or FULL JOIN", hint);
            }
            JoinConstraint::Natural => {
                let hint = "name the columns: USING (key), or ON a.key = b.key";
                self.refuse(join.relation.span(), "NATURAL JOIN", hint);
            }
            // Whether it needs a condition depends on the relations.
            JoinConstraint::None => {}
        }
    }

    pub(super) fn nested(&mut self, factor: &TableFactor, table: &ast::TableWithJoins) {
        let TableFactor::NestedJoin { alias, .. } = factor else { return };
        if let Some(alias) = alias {
            let hint = "write (SELECT ... FROM a JOIN b ON ...) AS name";
            self.refuse(alias.name.span, "a name for a join in brackets", hint);
        }
        self.table(table);
    }

    /// WHERE or HAVING: the only places of IN and EXISTS with a subquery, as one of the conditions that AND
    /// joins.
    pub(super) fn condition(&mut self, expr: &ast::Expr, clause: Clause) {
        use ast::Expr as E;
        match expr {
            E::Nested(inner) => self.condition(inner, clause),
            E::BinaryOp { left, op: BinaryOperator::And, right } => {
                self.condition(left, clause);
                self.condition(right, clause);
            }
            E::UnaryOp { op: UnaryOperator::Not, expr: inner } if is_membership(inner) => {
                self.condition(inner, clause);
            }
            E::InSubquery { expr, subquery, .. } => {
                self.walk(expr, clause);
                self.query(subquery);
            }
            E::Exists { subquery, .. } => self.query(subquery),
            other => self.walk(other, clause),
        }
    }
}

fn is_membership(expr: &ast::Expr) -> bool {
    match expr {
        ast::Expr::Nested(inner) => is_membership(inner),
        ast::Expr::UnaryOp { op: UnaryOperator::Not, expr } => is_membership(expr),
        other => matches!(other, ast::Expr::InSubquery { .. } | ast::Expr::Exists { .. }),
    }
}

//! `WHERE place <= 3` over `row_number()`: how many rows are asked for, so that no others are kept.

use datafusion_common::{Column, ScalarValue};
use datafusion_expr::logical_plan::Window;
use datafusion_expr::{BinaryExpr, Expr, LogicalPlan, Operator};

use super::expression::unalias;
use super::over;
use crate::plan::{First, Number};

/// What the conditions directly over functions of places ask for. They are known before the functions are lowered. An
/// OVER is told from others by where it stands in the plan of its statement, which neither moves nor ends before all of
/// it is lowered.
#[derive(Debug, Default)]
pub(super) struct Firsts {
    asked: Vec<Asked>,
    given: Vec<(*const Window, First)>,
}

/// A condition on a place.
#[derive(Clone, Copy, Debug)]
struct Asked {
    window: *const Window,
    first: First,
    /// Whether it says nothing else than that.
    exact: bool,
}

impl Firsts {
    /// Reads the conditions on the rows of `input`. They count until they are forgotten: who reads the same rows
    /// elsewhere, as a second reader of a WITH does, asks for others. Gives how many there were before.
    pub fn ask(&mut self, input: &LogicalPlan, conditions: &[Expr]) -> usize {
        let before = self.asked.len();
        let asked = conditions.iter().filter_map(|condition| asked(input, condition));
        self.asked.extend(asked);
        before
    }

    /// Leaves the conditions that there were `before`.
    pub fn forget(&mut self, before: usize) {
        self.asked.truncate(before);
    }

    /// The rows of an OVER that somebody wants; no others are given from now on.
    pub fn give(&mut self, window: &Window) -> Option<First> {
        let of_window = self.asked.iter().filter(|asked| std::ptr::eq(asked.window, window));
        let nearest = of_window.clone().next_back()?.first.by;
        let first = of_window.map(|asked| asked.first).filter(|first| first.by == nearest);
        let first = first.min_by_key(|first| first.rows)?;
        self.given.push((window, first));
        Some(first)
    }

    /// Whether a condition on the rows of `input` is true of all that are given.
    pub fn is_met(&self, input: &LogicalPlan, condition: &Expr) -> bool {
        let Some(Asked { window, first, exact: true }) = asked(input, condition) else { return false };
        let given = self.given.iter().rev().find(|(of, _)| std::ptr::eq(*of, window));
        given.is_some_and(|(_, given)| given.by == first.by && given.rows <= first.rows)
    }
}

/// What a condition on the rows of `input` says of their places.
fn asked(input: &LogicalPlan, condition: &Expr) -> Option<Asked> {
    let (column, rows, exact) = bound(condition)?;
    let (window, by) = number(input, input.schema().maybe_index_of_column(column)?)?;
    // Of no row at all the condition still says so.
    let (rows, exact) = if rows < 1 { (1, false) } else { (rows, exact) };
    Some(Asked { window, first: First { by, rows: u32::try_from(rows).ok()? }, exact })
}

/// Up to which number a condition lets rows through, and whether all up to it.
fn bound(condition: &Expr) -> Option<(&Column, i64, bool)> {
    match unalias(condition) {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
            let (column, op, number) = match (unalias(left), unalias(right)) {
                (Expr::Column(column), value) => (column, *op, whole(value)?),
                (value, Expr::Column(column)) => (column, op.swap()?, whole(value)?),
                _ => return None,
            };
            match op {
                Operator::LtEq => Some((column, number, true)),
                Operator::Lt => Some((column, number.checked_sub(1)?, true)),
                Operator::Eq => Some((column, number, number == 1)),
                _ => None,
            }
        }
        Expr::Between(between) if !between.negated => match unalias(&between.expr) {
            Expr::Column(column) => Some((column, whole(&between.high)?, whole(&between.low)? <= 1)),
            _ => None,
        },
        Expr::InList(list) if !list.negated => match unalias(&list.expr) {
            Expr::Column(column) => {
                let numbers = list.list.iter().map(whole).collect::<Option<Vec<_>>>()?;
                let most = numbers.into_iter().max()?;
                Some((column, most, most == 1))
            }
            _ => None,
        },
        _ => None,
    }
}

/// A whole number that is written.
fn whole(expr: &Expr) -> Option<i64> {
    match unalias(expr) {
        Expr::Literal(ScalarValue::Int64(number), _) => *number,
        Expr::Literal(ScalarValue::Int32(number), _) => number.map(i64::from),
        Expr::Literal(ScalarValue::UInt64(number), _) => i64::try_from((*number)?).ok(),
        _ => None,
    }
}

/// The function of places that a column is.
fn number(plan: &LogicalPlan, column: usize) -> Option<(&Window, Number)> {
    match plan {
        LogicalPlan::SubqueryAlias(alias) => number(&alias.input, column),
        LogicalPlan::Filter(filter) => number(&filter.input, column),
        LogicalPlan::Projection(projection) => match unalias(projection.expr.get(column)?) {
            Expr::Column(inner) => {
                number(&projection.input, projection.input.schema().maybe_index_of_column(inner)?)
            }
            _ => None,
        },
        LogicalPlan::Window(window) => {
            let function = column.checked_sub(window.input.schema().fields().len())?;
            let function = over::function(window.window_expr.get(function)?)?;
            Some((window, Number::named(over::name(function))?))
        }
        _ => None,
    }
}

//! The call of a window as it is written: its time and its lengths.

use datafusion_common::DFSchema;
use datafusion_sql::sqlparser::ast::{
    self, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, Spanned,
};
use datafusion_sql::sqlparser::tokenizer::Span;

use super::{Edge, Rewriting, WINDOWS};
use crate::compile::diagnostic::Diagnostic;
use crate::compile::problem::or_else;
use crate::compile::refuse::query::normalized;
use crate::compile::{interval, query};
use crate::plan::Window;

/// Slices of one window: each of them is looked at when it closes.
const SLICES_MAX: i64 = 100_000;

/// The window that stands in GROUP BY as it is, if the expression is one.
pub(in crate::compile) fn call(expr: &ast::Expr) -> Option<(&Function, String)> {
    let ast::Expr::Function(call) = expr else { return None };
    let [part] = call.name.0.as_slice() else { return None };
    let name = normalized(part.as_ident()?);
    WINDOWS.contains(&name.as_str()).then_some((call, name))
}

/// What the call of a window says.
pub(super) struct Called {
    pub kind: String,
    pub time: ast::Expr,
    /// Nanoseconds.
    pub lengths: Vec<i64>,
    pub place: Span,
}

impl Called {
    /// The calls that stand for start and end of the window.
    pub fn edges(&self) -> [ast::Expr; 2] {
        [Edge::Start, Edge::End].map(|edge| self.edge(edge))
    }

    /// `window_start('hop', time, slide, size)`
    fn edge(&self, edge: Edge) -> ast::Expr {
        let value = |value: ast::Value| ast::Expr::Value(value.with_span(self.place));
        let kind = value(ast::Value::SingleQuotedString(self.kind.clone()));
        let lengths = self.lengths.iter().map(|length| value(ast::Value::Number(length.to_string(), false)));
        let args = [kind, self.time.clone()].into_iter().chain(lengths).collect();
        function(Ident { value: edge.name().to_owned(), quote_style: None, span: self.place }, args)
    }
}

/// A call of a function.
pub(super) fn function(name: Ident, args: Vec<ast::Expr>) -> ast::Expr {
    let args = args.into_iter().map(|arg| FunctionArg::Unnamed(FunctionArgExpr::Expr(arg)));
    ast::Expr::Function(Function {
        name: ast::ObjectName::from(vec![name]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(ast::FunctionArgumentList {
            duplicate_treatment: None,
            args: args.collect(),
            clauses: Vec::new(),
        }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}

impl Rewriting<'_> {
    /// What the call of a window says, or what is wrong with it.
    pub(super) fn called(&self, group: &ast::Expr) -> Result<Called, Diagnostic> {
        let (call, kind) = call(group).expect("it was looked for");
        let place = or_else(call.name.span(), self.span);
        let (usage, lengths) = match kind.as_str() {
            "tumble" => ("tumble(time, INTERVAL '1 minute')", 1),
            "hop" => ("hop(time, INTERVAL '1 minute', INTERVAL '5 minutes'): slide, then size", 2),
            "cumulate" => ("cumulate(time, INTERVAL '1 hour', INTERVAL '1 day'): step, then size", 2),
            _ => ("session(time, INTERVAL '10 minutes')", 1),
        };
        let wrong = |message: String| Diagnostic::new(place, message).hint(format!("write {usage}"));
        let plain = call.filter.is_none() && call.over.is_none() && call.within_group.is_empty();
        let arguments = match &call.args {
            FunctionArguments::List(list) if plain && list.clauses.is_empty() => list.args.as_slice(),
            _ => return Err(wrong(format!("`{kind}` has arguments only"))),
        };
        let arguments = arguments.iter().map(|argument| match argument {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr),
            _ => None,
        });
        let arguments: Option<Vec<_>> = arguments.collect();
        let Some((time, given)) = arguments.as_deref().and_then(<[_]>::split_first) else {
            return Err(wrong(format!("`{kind}` needs the event time and {lengths} INTERVAL")));
        };
        if given.len() != lengths {
            let message = format!("`{kind}` has {} arguments, not {}", lengths + 1, given.len() + 1);
            return Err(wrong(message));
        }
        let lengths = given.iter().map(|argument| self.length(argument, &kind, usage));
        let lengths: Vec<i64> = lengths.collect::<Result<_, _>>()?;
        check(&kind, &lengths).map_err(|(message, hint)| Diagnostic::new(place, message).hint(hint))?;
        Ok(Called { kind, time: (*time).clone(), lengths, place })
    }

    /// A length of a window, in nanoseconds.
    fn length(&self, argument: &ast::Expr, kind: &str, usage: &str) -> Result<i64, Diagnostic> {
        let span = or_else(argument.span(), self.span);
        let planned = query::expression(self.catalog, argument, &DFSchema::empty());
        let length = planned.ok().map(|planned| interval::constant(&planned, span)).transpose()?.flatten();
        let Some(length) = length else {
            let message = format!("the lengths of `{kind}` are constant INTERVALs");
            return Err(Diagnostic::new(span, message).hint(format!("write {usage}")));
        };
        match length {
            1..=Window::LENGTH_NS_MAX => Ok(length),
            ..=0 => {
                Err(Diagnostic::new(span, "a window needs a length above 0").hint(format!("write {usage}")))
            }
            _ => Err(Diagnostic::new(span, "a window has at most 29 years").hint("write a shorter one")),
        }
    }
}

/// What is wrong with the lengths of a window, and what to do.
fn check(kind: &str, lengths: &[i64]) -> Result<(), (String, &'static str)> {
    match (kind, lengths) {
        ("cumulate", [step, size]) if size % step != 0 => {
            Err(("the size of `cumulate` is no multiple of its step".to_owned(), "write one that is"))
        }
        ("cumulate", [step, size]) if size / step > SLICES_MAX => Err(too_many(size / step, kind)),
        ("hop", [slide, size]) => {
            let slice = crate::time::greatest_common_divisor(*slide, *size);
            if size / slice > SLICES_MAX { Err(too_many(size / slice, kind)) } else { Ok(()) }
        }
        _ => Ok(()),
    }
}

fn too_many(slices: i64, kind: &str) -> (String, &'static str) {
    let message = format!("a window of `{kind}` would be put together from {slices} slices");
    (message, "choose a longer first INTERVAL, or one that divides the second: 100000 slices are the most")
}

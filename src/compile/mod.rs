//! SQL text to [`Plan`](crate::plan::Plan): statements, names, types, expressions, legs.

pub mod ast;
pub mod diagnostic;
pub mod dialect;
pub mod explain;
pub mod options;
pub mod statement;

//! What is refused before it is planned, or before it is compiled.
//!
//! The planner accepts much that we do not run, drops some of it in silence (`FOR SYSTEM_TIME`), and rarely
//! knows the place of what it refuses. So syntax is looked at first, where everything has its place.

pub(super) mod call;
pub(super) mod elsewhere;
pub(super) mod expression;
pub(super) mod format;
pub(super) mod function;
mod over;
pub(super) mod planned;
pub(super) mod query;

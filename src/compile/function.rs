//! Functions of our own, behind operators and casts of SQL.

pub(super) mod json;
pub(super) mod limit;

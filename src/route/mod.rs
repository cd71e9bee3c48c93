//! Which worker a row belongs to, and how it gets there.

pub mod exchange;
pub mod shard;
pub mod split;
pub mod wire;

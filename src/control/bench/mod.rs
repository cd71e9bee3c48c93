//! `tidemill bench`: what a dataflow achieves on this machine, beside what the machine would allow.
//!
//! Everything measured runs in processes of its own, over topics, files and collections of its own. A result
//! counts only if the rows at the sinks are those of a reference run and the ledger adds up.

pub mod args;
mod child;
mod cleanup;
mod count;
mod events;
mod fill;
mod floor;
mod lag;
mod memory;
mod mongodb;
pub mod redirect;
mod report;
mod scratch;
mod setup;
mod soak;
mod throughput;

pub use self::floor::run as floor;
pub use self::lag::{Slo, run as lag};
pub use self::memory::run as memory;
pub use self::mongodb::run as mongodb;
pub use self::soak::run as soak;
pub use self::throughput::run as throughput;
